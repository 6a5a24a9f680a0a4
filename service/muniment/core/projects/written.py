"""Governed datasets written back as a Kedro project's conf, on which the project runs without Muniment.

The project's own names stand where ``names:`` maps them, paths in its ``data`` folder are relative to it again, and
the service's variables are its ``globals.yml``. What the project kept as its own stays as it was written, comments
included: from those files only the governed entries are cut out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import yaml

from muniment.core.dataset_types import EXPERIMENTAL, KnownTypes, runs_code
from muniment.core.definitions import variables_of
from muniment.core.locations import PROJECT
from muniment.core.problems import Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.projects.conf import BASE, is_catalog
from muniment.core.projects.governed import Imported, texts_in, type_names
from muniment.core.yaml_texts import dumped

#: The file that an export writes in each environment, beside the project's own.
CATALOG = "catalog_governed.yml"
GLOBALS = "globals.yml"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_INSIDE_PROJECT = f"{PROJECT}://"
_HEADING = "# Written by `muniment export`: what the service governs, as Kedro reads it.\n"


@dataclass(frozen=True)
class Naming:
    """What a project's ``muniment.yml`` says of names and environments."""

    names: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)
    #: Names, the project's or the service's, for which the project's own definition wins.
    own: frozenset[str] = frozenset()

    def locals_of(self, governed: str) -> tuple[str, ...]:
        """The project's names for a governed one: those that are mapped to it, else what a pattern makes of it."""
        mapped = self._mapped.get(governed)
        if mapped:
            return tuple(mapped)
        made = (_turned_back(pattern, name, governed) for pattern, name in self._patterns.items())
        return (next(filter(None, made), governed),)

    @cached_property
    def _mapped(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for local, name in self.names.items():
            found.setdefault(name, []).append(local)
        return found

    @cached_property
    def _patterns(self) -> Mapping[str, str]:
        """The most specific first, as Kedro takes them."""
        listed = sorted(self.names, key=lambda local: (-len(_PLACEHOLDER.sub("", local)), local))
        return {local: self.names[local] for local in listed if "{" in local}

    def layers_of(self, environment: str) -> tuple[str, ...]:
        """The project's environments for one of the service's."""
        found = tuple(kedro for kedro, service in self.environments.items() if service == environment)
        return (BASE,) if environment == BASE else found or (environment,)


def write_conf(
    datasets: Mapping[str, Mapping[str, Mapping[str, object]]],
    naming: Naming,
    variables: Mapping[str, Mapping[str, str]],
    own: Mapping[str, str],
) -> dict[str, str]:
    """The files of a conf, by their paths below it.

    ``datasets`` are definitions by name and environment; ``variables`` those of each environment, the domain's
    under ``base``; ``own`` the texts of the project's conf. Only files that Kedro reads as catalogs or globals come
    out: the others stay as they are.
    """
    entries = _entries(datasets, naming)
    used = {name for layer in entries.values() for each in layer.values() for name in variables_of(each)}
    files = {path: text for path, text in own.items() if _is_ours(path)}
    for path, text in tuple(files.items()):
        layer, _, within = path.partition("/")
        if is_catalog(within):
            files[path] = without(text, entries.get(layer, {}).keys())
    for layer, held in entries.items():
        files[f"{layer}/{CATALOG}"] = _HEADING + dumped(dict(sorted(held.items())))
    for environment, values in variables.items():
        given = {name: value for name, value in values.items() if name in used}
        for layer in naming.layers_of(environment) if given else ():
            path = f"{layer}/{GLOBALS}"
            files[path] = _with_globals(files.get(path, ""), given)
    return files


def _is_ours(path: str) -> bool:
    layer, _, within = path.partition("/")
    return bool(layer) and (is_catalog(within) or within == GLOBALS)


def _entries(
    datasets: Mapping[str, Mapping[str, Mapping[str, object]]], naming: Naming
) -> dict[str, dict[str, Mapping[str, object]]]:
    found: dict[str, dict[str, Mapping[str, object]]] = {}
    for governed, environments in datasets.items():
        for environment, definition in environments.items():
            for layer in naming.layers_of(environment):
                for local in naming.locals_of(governed) if governed not in naming.own else ():
                    if local in naming.own:
                        continue
                    found.setdefault(layer, {})[local] = {key: _own(value) for key, value in definition.items()}
    return found


def _own(value: object) -> object:
    """A value as the project writes it itself."""
    if isinstance(value, Mapping):
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_own(item) for item in value]
    return value.removeprefix(_INSIDE_PROJECT) if isinstance(value, str) else value


def _turned_back(pattern: str, governed_pattern: str, governed: str) -> str | None:
    """What a pattern of ``names:`` calls a governed name, which may be a pattern itself."""
    if "{" not in pattern:
        return None
    parts = _PLACEHOLDER.split(governed_pattern)
    expression = "".join(f"(?P<{part}>[a-z0-9_{{}}]+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    found = re.fullmatch(expression, governed)
    return _PLACEHOLDER.sub(lambda placeholder: found[placeholder[1]], pattern) if found else None


def _with_globals(text: str, given: Mapping[str, str]) -> str:
    """A globals file that gives these as well; one that gives them already is left as it stands."""
    tree = dict(projects_yaml.parse(text))
    missing = {name: value for name, value in given.items() if _held(tree, name.split(".")) != value}
    if not missing:
        return text
    if not any(name.partition(".")[0] in tree for name in missing):
        nested: dict[object, object] = {}
        for name, value in missing.items():
            _put(nested, name.split("."), value)
        return text + ("" if not text or text.endswith("\n") else "\n") + dumped(nested)  # type: ignore[arg-type]
    for name, value in missing.items():
        _put(tree, name.split("."), value)
    return dumped(tree)  # type: ignore[arg-type]


def _held(tree: object, keys: Sequence[str]) -> object:
    for key in keys:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def _put(tree: dict[object, object], keys: Sequence[str], value: str) -> None:
    for key in keys[:-1]:
        inner = tree.get(key)
        tree[key] = inner = dict(inner) if isinstance(inner, Mapping) else {}
        tree = inner
    tree[keys[-1]] = value


# --- the project's muniment.yml -------------------------------------------------------------------

#: Families whose types the client loads without being told to.
_PLAIN_FAMILIES = frozenset({
    "json", "matplotlib", "networkx", "openxml", "pandas", "partitions", "pillow", "plotly", "text", "yaml",
})  # fmt: skip
#: What the client counts among the formats that run code beside those that kedro-datasets warns of.
_CODE_TO_THE_CLIENT = frozenset({f"{EXPERIMENTAL}faiss.FAISSVectorStoreDataset"})


def settings_text(
    imported: Imported,
    types: KnownTypes,
    *,
    domain: str,
    url: str,
    default_environment: str | None = None,
    standing: str = "",
) -> str:
    """What the project's ``conf/base/muniment.yml`` says so that its pipelines run on what was imported.

    What ``standing``, the file's text, says already stays: only lists and mappings become longer.
    """
    before = projects_yaml.parse(standing)
    said = {
        key: _with(before.get(key), value)
        for key, value in _settings(imported, types, domain, url, default_environment).items()
    }
    changed = {key: value for key, value in said.items() if before.get(key) != value}
    parts = [without(standing, changed.keys()).rstrip() or _SETTINGS_HEADING.rstrip(), "\n"]
    for key, value in changed.items():
        parts.append(f"\n# {_SAID_OF_SETTINGS[key]}\n" if key in _SAID_OF_SETTINGS and key not in before else "")
        parts.append(dumped({key: value}))
    if "default_environment" not in {*said, *before}:
        parts.append(_NO_DEFAULT)
    return "".join(parts)


def _settings(
    imported: Imported, types: KnownTypes, domain: str, url: str, default_environment: str | None
) -> dict[str, object]:
    """The keys that the project needs, as if it had none."""
    code, other = _types_used(imported, types)
    inside = any(_INSIDE_PROJECT in text for text in _all_texts(imported))
    said: dict[str, object] = {
        "url": url,
        "environments": dict(sorted(imported.environments.items())),
        "default_environment": default_environment,
        "names": dict(sorted(imported.names.items())),
        "governed": [f"{domain}.*"],
        "project_paths": inside or None,
        "types": other,
        "allow_code_formats": code,
    }
    return {key: value for key, value in said.items() if value}


def _with(before: object, further: object) -> object:
    """A setting as it stands, made longer; a single value stays as it is."""
    if isinstance(before, dict) and isinstance(further, dict):
        return {**further, **before}
    if isinstance(before, list) and isinstance(further, list):
        return [*before, *(item for item in further if item not in before)]
    return further if before is None else before


_SETTINGS_HEADING = "# Written by `muniment import`. It holds no secret, and belongs in git.\n"
_NO_DEFAULT = "\n# Kedro runs in `local` unless told otherwise. Say which of the service's environments that is:\n"
_NO_DEFAULT += "# default_environment: dev\n"
_SAID_OF_SETTINGS: Mapping[str, str] = {
    "environments": "Kedro's environments, and the service's that they are.",
    "names": "The project's names, and what the service calls them.",
    "governed": "Whatever the service calls so is governed, also what is declared later.",
    "project_paths": "Some of the data lies in this project's own data folder.",
    "types": "Types that are used beside the plain ones of kedro-datasets: they are imported when a dataset is built.",
    "allow_code_formats": "Formats that run code when they are loaded: trust whoever can write this data.",
}


def _types_used(imported: Imported, types: KnownTypes) -> tuple[list[str], list[str]]:
    """Types that run code when their data is loaded, and those that the project has to allow by name."""
    code: set[str] = set()
    other: set[str] = set()
    for taken in imported.taken:
        for definition in taken.environments.values():
            for name in type_names(definition):
                known = types.find(name)
                spelled = known.name if known is not None else name
                if known is not None and (known.runs_code or spelled in _CODE_TO_THE_CLIENT):
                    code.add(spelled)
                elif known is None or ("." in spelled and spelled.partition(".")[0] not in _PLAIN_FAMILIES):
                    other.add(spelled)
            if _by_argument(definition, types):
                code.add(str(definition["type"]))
    return sorted(code), sorted(other - code)


def _by_argument(definition: Mapping[str, object], types: KnownTypes) -> bool:
    """Whether an argument makes a type run code that does not always."""
    known = types.find(str(definition.get("type")))
    return (
        known is not None
        and "." in known.name
        and not known.runs_code
        and runs_code({**definition, "dataset": None}, types)
    )


def _all_texts(imported: Imported) -> Iterator[str]:
    for taken in imported.taken:
        for definition in taken.environments.values():
            yield from texts_in(definition)


# --- taking entries out of a file ---------------------------------------------------------------


def without(text: str, names: Collection[str]) -> str:
    """A catalog's text without these entries. Everything else stays as it is written, comments too.

    A text that nothing can be cut out of line by line (JSON, or an anchor that another entry needs) is written anew.
    A text that is no YAML comes back as it is.
    """
    try:
        before = projects_yaml.parse(text)
    except Invalid:
        return text
    kept = {key: value for key, value in before.items() if key not in names}
    if len(kept) == len(before):
        return text
    cut = _cut(text, names)
    try:
        if projects_yaml.parse(cut) == kept:
            return cut
    except Invalid:
        pass
    return dumped(kept) if kept else ""  # type: ignore[arg-type]


def _cut(text: str, names: Collection[str]) -> str:
    lines = text.splitlines(keepends=True)
    gone: set[int] = set()
    for name, first, end in _spans(text, lines):
        if name in names:
            gone.update(range(first, end))
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _spans(text: str, lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """The lines of each top-level entry; blank lines and comments between two belong to neither."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return
    starts = [key.start_mark.line for key, _ in root.value] + [len(lines)]
    for (key, _), first, following in zip(root.value, starts, starts[1:], strict=False):
        end = following
        while end > first + 1 and lines[end - 1].lstrip()[:1] in {"", "#"}:
            end -= 1
        yield key.value, first, end


def naming_of(document: Mapping[object, object]) -> Naming:
    """What a ``muniment.yml`` says of names, environments, and who wins."""

    def texts(key: str) -> dict[str, str]:
        held = document.get(key)
        pairs = held.items() if isinstance(held, Mapping) else ()
        return {one: other for one, other in pairs if isinstance(one, str) and isinstance(other, str)}

    own = frozenset(name for name, choice in texts("precedence").items() if choice == "local")
    return Naming(texts("names"), texts("environments"), own)
