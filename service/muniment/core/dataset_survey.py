"""What dataset types take, read from their source without importing it.

A pure function from source texts to a value: nothing is imported, so that none of the
ninety types' dependencies is needed and none of their code runs. A test runs
the survey over the kedro-datasets that is installed and compares it with what is
shipped, and with ``inspect.signature`` where a type can be imported.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from muniment.core.dataset_types import Accepts, DatasetType, Parameter

#: The dataset types of Kedro itself that a definition may name.
KEDRO_IO = ("CachedDataset", "MemoryDataset", "SharedMemoryDataset")

#: Parameters that say where data lies although their annotation is a plain string.
_PATHS = frozenset({"filepath", "path", "index_path", "temppath", "location"})
_SCALARS: Mapping[str, Accepts] = {
    "str": Accepts.STRING,
    "bool": Accepts.BOOLEAN,
    "int": Accepts.INTEGER,
    "float": Accepts.NUMBER,
    "dict": Accepts.MAPPING,
    "list": Accepts.LIST,
    "tuple": Accepts.LIST,
    "Any": Accepts.ANY,
    "Literal": Accepts.STRING,
    "TCopyMode": Accepts.STRING,
    "PathLike": Accepts.PATH,
    "AbstractDataset": Accepts.DATASET,
    "Version": Accepts.VERSION,
}
_REFUSALS = frozenset({"DatasetError", "NotImplementedError"})
#: How classes begin that are there to be finished by a subclass.
_UNFINISHED = ("Abstract", "_")


@dataclass(frozen=True)
class _Class:
    module: str
    node: ast.ClassDef


@dataclass(frozen=True)
class _Sources:
    """Every class of the surveyed modules, and what each module imports from another."""

    classes: Mapping[tuple[str, str], _Class]
    imports: Mapping[tuple[str, str], tuple[str, str]]

    def find(self, module: str, name: str) -> _Class | None:
        """The class that a name means in a module, through as many imports as it takes."""
        place: tuple[str, str] | None = (module, name)
        passed: set[tuple[str, str]] = set()
        while place is not None and place not in self.classes and place not in passed:
            passed.add(place)
            place = self.imports.get(place)
        return self.classes.get(place) if place else None

    def line(self, one: _Class) -> Iterator[_Class]:
        """A class and its ancestors among the sources, nearest first."""
        yield one
        for base in one.node.bases:
            parent = self.find(one.module, _head(base))
            if parent is not None:
                yield from self.line(parent)


def survey(sources: Mapping[str, str]) -> tuple[DatasetType, ...]:
    """Every public dataset type in these sources (path → text), sorted by name.

    Paths are relative to the place of installation: ``kedro_datasets/pandas/__init__.py``.
    """
    trees = {_module(path): ast.parse(text) for path, text in sources.items()}
    packages = {_module(path) for path in sources if path.endswith("__init__.py")}
    gathered = _gather(trees, packages)
    found = [
        *_public(trees, gathered, packages),
        *(_type(name, one, gathered) for name in KEDRO_IO if (one := _in_kedro_io(name, gathered))),
    ]
    return tuple(sorted(found, key=lambda known: known.name))


def _gather(trees: Mapping[str, ast.Module], packages: set[str]) -> _Sources:
    classes: dict[tuple[str, str], _Class] = {}
    imports: dict[tuple[str, str], tuple[str, str]] = {}
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes[module, node.name] = _Class(module, node)
            elif isinstance(node, ast.ImportFrom):
                origin = _origin(module, node, is_package=module in packages)
                for alias in node.names:
                    imports[module, alias.asname or alias.name] = (origin, alias.name)
        imports.update({(module, name): place for name, place in _attached(module, tree)})
    return _Sources(classes, imports)


def _public(trees: Mapping[str, ast.Module], sources: _Sources, packages: set[str]) -> Iterator[DatasetType]:
    for package in sorted(packages):
        if package.startswith("kedro."):
            continue
        offered = dict(_attached(package, trees[package])) | dict(_imported(package, trees[package]))
        for name, place in offered.items():
            one = sources.classes.get(place)
            if one is not None and not name.startswith(_UNFINISHED) and _is_dataset(one, sources):
                yield _type(f"{package}.{name}".removeprefix("kedro_datasets."), one, sources)


def _attached(package: str, tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that a package offers lazily: ``lazy.attach(__name__, submod_attrs={…})``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            for submodule, names in ast.literal_eval(node.value).items():
                yield from ((name, (f"{package}.{submodule}", name)) for name in names)


def _imported(package: str, tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that a package imports from its own modules, also where it only tries to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            yield from ((alias.name, (f"{package}.{node.module}", alias.name)) for alias in node.names)


def _is_dataset(one: _Class, sources: _Sources) -> bool:
    return any(
        _head(base) in {"AbstractDataset", "AbstractVersionedDataset"}
        for ancestor in sources.line(one)
        for base in ancestor.node.bases
    )


def _in_kedro_io(name: str, sources: _Sources) -> _Class | None:
    places = (place for place in sources.classes if place[0].startswith("kedro.io.") and place[1] == name)
    return next((sources.classes[place] for place in places), None)


def _type(name: str, one: _Class, sources: _Sources) -> DatasetType:
    parameters, open_ended = _parameters(one, sources)
    return DatasetType(
        name,
        one.module,
        parameters,
        loads=_does("load", one, sources),
        saves=_does("save", one, sources),
        open_ended=open_ended,
    )


def _parameters(one: _Class, sources: _Sources) -> tuple[tuple[Parameter, ...], bool]:
    init = _method(("__init__",), one, sources)
    if init is None:
        return (), False
    arguments = init.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    named = [*zip(plain, [*defaults, *arguments.defaults], strict=True)][1:]
    named += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found = tuple(
        Parameter(a.arg, default is None, _accepts(a.arg, a.annotation), _usual(a.arg, default, one, sources))
        for a, default in named
    )
    return found, arguments.kwarg is not None


def _usual(name: str, default: ast.expr | None, one: _Class, sources: _Sources) -> object:
    """What an argument is where nothing is said: its default, or what its class adds to (``DEFAULT_SAVE_ARGS``)."""
    stands = _literal(default)
    if stands is not None:
        return stands
    for ancestor in sources.line(one):
        for node in ancestor.node.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, ast.Assign | ast.AnnAssign) and _head(targets[0]) == f"DEFAULT_{name.upper()}":
                return _literal(node.value)
    return None


def _literal(node: ast.expr | None) -> object:
    """Plain data that stands in the source, if it is some that JSON can hold and says anything."""
    try:
        value = ast.literal_eval(node) if node is not None else None
        return value if value not in ("", [], {}, ()) and json.loads(json.dumps(value)) == value else None
    except (TypeError, ValueError):
        return None


def _accepts(name: str, annotation: ast.expr | None) -> tuple[Accepts, ...]:
    if name == "checkpoint":
        return (Accepts.CHECKPOINT,)
    heads = list(_alternatives(annotation)) if annotation is not None else ["Any"]
    kinds = {_SCALARS.get(head, Accepts.OBJECT) for head in heads if head != "None"}
    if kinds & {Accepts.DATASET} or (name == "dataset" and Accepts.MAPPING in kinds):
        return (Accepts.DATASET,)
    if name in _PATHS or Accepts.PATH in kinds:
        return (Accepts.PATH,)
    return tuple(sorted(kinds))


def _alternatives(annotation: ast.expr) -> Iterator[str]:
    """The heads of a union's members: ``str | dict[str, Any] | None`` → str, dict, None."""
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    elif isinstance(annotation, ast.Subscript) and _head(annotation) in {"Optional", "Union", "type"}:
        inside = annotation.slice
        for member in inside.elts if isinstance(inside, ast.Tuple) else [inside]:
            yield from _alternatives(member)
    elif isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield from _alternatives(ast.parse(annotation.value, mode="eval").body)
    else:
        yield "None" if isinstance(annotation, ast.Constant) else _head(annotation)


def _does(action: str, one: _Class, sources: _Sources) -> bool:
    """Whether an action is more than a refusal."""
    method = _method((action, f"_{action}"), one, sources)
    if method is None:
        return True
    body = [node for node in method.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return not (len(body) == 1 and isinstance(body[0], ast.Raise) and _raised(body[0]) in _REFUSALS)


def _method(names: tuple[str, ...], one: _Class, sources: _Sources) -> ast.FunctionDef | None:
    for ancestor in sources.line(one):
        for node in ancestor.node.body:
            if isinstance(node, ast.FunctionDef) and node.name in names:
                return node
    return None


def _raised(node: ast.Raise) -> str:
    return _head(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)


def _head(node: ast.expr | None) -> str:
    """The last name of an expression: ``os.PathLike`` → PathLike, ``dict[str, Any]`` → dict."""
    if isinstance(node, ast.Subscript):
        return _head(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _origin(module: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """The module that an import takes from, with the dots of a relative one worked out."""
    if not node.level:
        return node.module or ""
    steps = module.split(".")
    kept = steps[: len(steps) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])
