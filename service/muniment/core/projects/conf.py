"""A Kedro project's conf, read from its texts: which datasets it defines, in which environment, and what they are.

Kedro's own rules are followed (``OmegaConfigLoader`` of Kedro 1): the files ``catalog*``, ``catalog*/**`` and
``**/catalog*`` of a layer are one catalog; a name that stands in two of them is an error; a name of an
environment replaces the whole entry of ``base``; names that begin with ``_`` are templates; each layer is resolved
with its own names, and with the globals of the environment that runs.

Nothing is run and nothing is looked up outside the texts. Whatever cannot be read is said with a :class:`Reason`, and
never left out: what comes in is given or named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath

from muniment.core.problems import Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.projects import values as projects_values
from muniment.core.projects.values import NOTHING, Known, Reading, Unread, Why

#: The layer under all environments, as Kedro calls it unless a project's settings say otherwise.
BASE = "base"

_SUFFIXES = frozenset({".yml", ".yaml", ".json"})
_GLOBALS = "globals.yml"
_COOKIECUTTER = re.compile(r"\{\{\s*cookiecutter\.(\w+)\s*\}\}")


class Reason(StrEnum):
    """Why an entry of a project's catalog is not governed and stays the project's own. The list is closed."""

    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    NOT_A_DATASET = "not-a-dataset"
    RESOLVER = "resolver"
    REFERENCE = "reference"
    VARIABLE = "variable"
    PARAMETER = "parameter"
    LITERAL = "literal"
    TEMPLATE = "template"
    SECRET = "secret"  # noqa: S105 - the name of a reason
    SERVER = "server"
    PATH = "path"
    TYPE = "type"
    ARGUMENT = "argument"
    CATCH_ALL = "catch-all"
    NAME = "name"
    SIBLING = "sibling"


#: What each reason says of an entry, for those who read the report; the reference page holds the same words.
REASONS: Mapping[Reason, str] = {
    Reason.UNREADABLE: "Its file is no YAML that Kedro could read.",
    Reason.DUPLICATE: "It stands in two files of one environment, which Kedro refuses.",
    Reason.NOT_A_DATASET: "It is no definition: Kedro could not build it.",
    Reason.RESOLVER: "It uses a resolver of the project's own, which is code and is never run here.",
    Reason.REFERENCE: "A ${…} in it leads nowhere, goes in a circle, or is not well formed.",
    Reason.VARIABLE: "It uses a variable that no globals.yml gives.",
    Reason.PARAMETER: "A runtime parameter stands where no run may choose, or cannot be kept as it is.",
    Reason.LITERAL: "It holds a ${ that is meant literally, and a served text is always filled in.",
    Reason.TEMPLATE: "It is part of a project template whose {{ … }} are not filled in yet.",
    Reason.SECRET: "It holds a secret. A definition names credentials and never holds them.",
    Reason.SERVER: "It says which server is asked, which belongs to the credentials.",
    Reason.PATH: "Its path or address cannot be governed: outside the project's data folder, or readable in two ways.",
    Reason.TYPE: "Its type is none that a definition may name.",
    Reason.ARGUMENT: "It has an argument that its type does not take, or that no definition may have.",
    Reason.CATCH_ALL: "Its pattern catches every name, so it would govern what nobody declared.",
    Reason.NAME: "No governed name can stand for its name and for no other.",
    Reason.SIBLING: "Its definition for another environment cannot be governed, and a name is governed in all or none.",
}


@dataclass(frozen=True, slots=True)
class Left:
    """An entry that stays the project's own, and why. ``name`` is ``None`` for a file of which no name is known."""

    environment: str
    name: str | None
    file: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class Layer:
    """What the files of one directory of a conf (``base``, ``prod``, …) say together, nothing in it resolved."""

    name: str
    tree: Mapping[object, object]
    #: The file in which each name stands.
    files: Mapping[str, str]
    left: tuple[Left, ...] = ()
    #: The layer's own ``globals.yml``; not those of the layer under it.
    globals_tree: Mapping[object, object] = field(default_factory=dict)
    #: What keeps ``globals.yml`` from being read.
    globals_fault: str | None = None

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names of the entries that can be looked at, in their order, each with its file."""
        return {name: file for name, file in self.files.items() if name in self.tree}

    @property
    def says_something(self) -> bool:
        """Whether it holds entries or variables: a file of comments makes no environment."""
        return bool(self.files or self.left or self.globals_tree or self.globals_fault)


@dataclass(frozen=True)
class Conf:
    """A whole conf: its layers, ``base`` first, the others in the order of their names."""

    layers: Mapping[str, Layer]

    @property
    def base(self) -> Layer:
        """The layer under all environments; an empty one if the conf has none."""
        return self.layers.get(BASE) or Layer(BASE, {}, {})

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments that say something of their own."""
        return tuple(name for name, layer in self.layers.items() if name != BASE and layer.says_something)

    @property
    def left(self) -> tuple[Left, ...]:
        """What could not be read at all."""
        return tuple(left for layer in self.layers.values() for left in layer.left)

    @property
    def count(self) -> int:
        """How many entries the conf holds, in all layers, those that cannot be read among them."""
        return sum(len(layer.names) for layer in self.layers.values()) + len(self.left)

    def globals_of(self, environment: str) -> Globals:
        """The variables that Kedro knows when it runs in an environment: its own replace those of ``base``."""
        own = self.layers.get(environment)
        over = own if own is not None and own is not self.base else None
        return Globals(self.base, over)

    def resolved(
        self, layer: str, name: str, environment: str, *, kept: Callable[[str], bool] = lambda _: False
    ) -> object:
        """The entry that a layer gives for a name when Kedro runs in an environment; raises :class:`Unread`.

        Variables that are ``kept`` stay open, as runtime parameters do.
        """
        resolvers: dict[str, Known] = {
            "globals": projects_values.variables(self.globals_of(environment).value, kept),
            "runtime_params": projects_values.runtime_parameter,
        }
        return Reading(self.layers[layer].tree, resolvers).value(name)


@dataclass(frozen=True)
class Globals:
    """The variables of one environment of a project."""

    base: Layer
    over: Layer | None

    def value(self, name: str) -> object:
        """A variable's value, :data:`NOTHING` if there is none; raises :class:`Unread` if it cannot be known."""
        first, *rest = name.split(".")
        for layer in (self.over, self.base):
            if layer is None:
                continue
            if layer.globals_fault is not None:
                raise Unread(Why.VARIABLE, layer.globals_fault)
            if first in layer.globals_tree:
                return _within(Reading(layer.globals_tree, {}).value(first), rest)
        return NOTHING

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The dotted names of all variables that are no mappings."""
        trees = {**self.base.globals_tree, **(self.over.globals_tree if self.over else {})}
        return tuple(sorted(_dotted(trees)))


def filled_in(texts: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The texts of a project template with its ``{{ cookiecutter.name }}`` filled in, as far as values are given."""
    return {path: _COOKIECUTTER.sub(lambda found: values.get(found[1], found[0]), text) for path, text in texts.items()}


def read_conf(texts: Mapping[str, str]) -> Conf:
    """Read a conf from its files' texts, by their paths below the conf directory (``base/catalog.yml``)."""
    by_layer: dict[str, dict[str, str]] = {}
    for path in sorted(texts):
        layer, _, within = path.partition("/")
        if not layer.startswith(".") and (is_catalog(within) or within == _GLOBALS):
            by_layer.setdefault(layer, {})[within] = texts[path]
    order = sorted(by_layer, key=lambda layer: (layer != BASE, layer))
    return Conf({layer: _read_layer(layer, by_layer[layer]) for layer in order})


def is_catalog(within: str) -> bool:
    """Whether Kedro reads a file of a layer as part of its catalog."""
    path = PurePosixPath(within)
    if path.suffix not in _SUFFIXES or any(part.startswith(".") for part in path.parts):
        return False
    return path.name.startswith("catalog") or path.parts[0].startswith("catalog")


def _read_layer(layer: str, files: Mapping[str, str]) -> Layer:
    documents: dict[str, Mapping[object, object]] = {}
    left: list[Left] = []
    for file, text in files.items():
        if file == _GLOBALS:
            continue
        try:
            documents[file] = projects_yaml.parse(text)
        except Invalid as refused:
            left.extend(_unreadable(layer, f"{layer}/{file}", text, refused.detail))
    doubled = _doubled(documents)
    tree: dict[object, object] = {}
    standing: dict[str, str] = {}
    for file, document in documents.items():
        where = f"{layer}/{file}"
        for key, value in document.items():
            if not isinstance(key, str):
                left.append(Left(layer, str(key), where, Reason.NOT_A_DATASET, "Its name is no text."))
            elif key in doubled and not key.startswith("_"):
                message = f"It stands in {' and '.join(f'{layer}/{each}' for each in doubled[key])}."
                left.append(Left(layer, key, where, Reason.DUPLICATE, message))
            else:
                tree[key] = _merged(tree.get(key), value)
                if not key.startswith("_"):
                    standing[key] = where
    variables, fault = _read_globals(layer, files.get(_GLOBALS))
    return Layer(layer, tree, standing, tuple(left), variables, fault)


def _read_globals(layer: str, text: str | None) -> tuple[Mapping[object, object], str | None]:
    if text is None:
        return {}, None
    try:
        return projects_yaml.parse(text), None
    except Invalid as refused:
        return {}, f"it uses a variable, and {layer}/{_GLOBALS} gives none: {refused.detail}"


def _unreadable(layer: str, file: str, text: str, why: str) -> Iterator[Left]:
    """One for each name that seems to stand in a file which is no YAML, so that nothing is lost in silence."""
    template = "is a template" in why
    names = [name for name, _ in projects_yaml.names_in(text) if not name.startswith("_")]
    reason = Reason.TEMPLATE if template else Reason.UNREADABLE
    for name in dict.fromkeys(names) or (None,):
        yield Left(layer, name, file, reason, why)


def _doubled(documents: Mapping[str, Mapping[object, object]]) -> Mapping[object, list[str]]:
    found: dict[object, list[str]] = {}
    for file, document in documents.items():
        for key in document:
            found.setdefault(key, []).append(file)
    return {key: files for key, files in found.items() if len(files) > 1}


def _merged(one: object, other: object) -> object:
    """Two values of a template that stands in several files: mappings are merged, else the later one stands."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {**one, **{key: _merged(one.get(key), value) for key, value in other.items()}}
    return other


def _within(value: object, keys: Iterable[str]) -> object:
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return NOTHING
    return value


def _dotted(tree: Mapping[object, object], above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(key, str) and not (key.startswith("_") and not above):
            name = f"{above}{key}"
            if isinstance(value, Mapping):
                yield from _dotted(value, f"{name}.")
            else:
                yield name
