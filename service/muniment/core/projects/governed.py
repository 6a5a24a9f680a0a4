"""A Kedro project's catalog as governed datasets: what each entry becomes, or why it stays the project's own.

An entry is taken when the definition that it becomes is one that the service would accept where it would stand
(:func:`muniment.core.definitions.check`): no second set of rules lives here. What is changed on the way changes no
data: a type is called what it is called today, a path inside the project's ``data`` folder says so, ``layer``
stands where today's Kedro looks for it. Each such change is noted.

A name is governed in all environments or in none: otherwise the project's own definition would stand beside the
governed one, and win or lose by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from muniment.core.dataset_types import NEVER, Accepts, DatasetType, KnownTypes
from muniment.core.definitions import About, about, check, variables_of
from muniment.core.files import BLOCK
from muniment.core.locations import PROJECT, PROJECT_FOLDER, Location, parse_location
from muniment.core.names import is_dataset, is_environment
from muniment.core.problems import Fault, Invalid
from muniment.core.projects.conf import BASE, Conf, Left, Reason
from muniment.core.projects.names import Named, governed_names, is_pattern
from muniment.core.projects.values import NOTHING, Text, Unread, Why

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ABSOLUTE = re.compile(rf"/|(?!{PROJECT}:)[A-Za-z][A-Za-z0-9+.-]*://")
_TEMPLATE = re.compile(r"\{\{\s*cookiecutter\b|\{%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_PATH_KEY = re.compile(r"(?:^|_)(?:path|filepath|file|filename|dir|directory|folder)s?$")
_VARIABLE = re.compile(r"[a-z][a-z0-9_.]*")
_NO_PLACES = frozenset({"metadata", "sql", "query", "credentials", "type", "columns", "dtype", "schema"})
_MISSING_TYPE = "It has no type."
_OF_FILES = f"It has a block {BLOCK}:, as files in git have it. Bring those in with `muniment apply`, or take it out."

_WHY: Mapping[Why, Reason] = {
    Why.RESOLVER: Reason.RESOLVER,
    Why.REFERENCE: Reason.REFERENCE,
    Why.VARIABLE: Reason.VARIABLE,
    Why.PARAMETER: Reason.PARAMETER,
    Why.LITERAL: Reason.LITERAL,
}
#: The worst comes first: of an entry that has several faults, one reason is told.
_ABOUT: Mapping[About, Reason] = {
    About.SECRET: Reason.SECRET,
    About.SERVER: Reason.SERVER,
    About.TYPE: Reason.TYPE,
    About.FILLING: Reason.PARAMETER,
    About.PLACE: Reason.PATH,
    About.ARGUMENT: Reason.ARGUMENT,
}


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a project's datasets shall stand, and what already stands there."""

    domain: str
    types: KnownTypes
    #: The service's name for each of the project's environments; the same name where none is given.
    environments: Mapping[str, str] = field(default_factory=dict)
    #: Where data lies from now on, by the beginning of the path where it lay.
    moved: Mapping[str, str] = field(default_factory=dict)
    locations: tuple[str, ...] = ()
    #: What the project's ``names:`` says already.
    names: Mapping[str, str] = field(default_factory=dict)

    def environment(self, kedro: str) -> str:
        """The service's name for an environment of the project."""
        return BASE if kedro == BASE else self.environments.get(kedro, kedro)


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry that is governed from now on: its definitions by the service's environments, and what was changed."""

    name: str
    #: The name as ``names:`` maps it: a pattern's placeholders are called there as in the governed one.
    mapped: str
    governed: str
    environments: Mapping[str, Mapping[str, object]]
    layer: str | None
    #: The layers of the conf in which it stands, each with its file.
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """A whole project: what is governed, what is not, and what both sides need for it."""

    taken: tuple[Taken, ...]
    left: tuple[Left, ...]
    variables: Mapping[str, str]
    locations: tuple[str, ...]
    #: Types that kedro-datasets does not have, which the domain's administrator has to allow.
    types: tuple[str, ...]
    environments: Mapping[str, str]
    credentials: tuple[str, ...]
    #: How many entries the conf holds, in all its environments.
    count: int

    @property
    def names(self) -> Mapping[str, str]:
        """The governed name for each of the project's, as its ``names:`` says them."""
        return {taken.mapped: taken.governed for taken in self.taken}

    @property
    def taken_count(self) -> int:
        """How many of the entries are governed."""
        return sum(len(taken.files) for taken in self.taken)


class _Refused(Exception):
    """An entry that cannot be governed."""

    def __init__(self, reason: Reason, message: str, layer: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        #: The layer whose entry it is; none where it is the name.
        self.layer = layer

    def of(self, layer: str) -> _Refused:
        """The same, of one layer's entry."""
        return _Refused(self.reason, self.message, layer)


_SPOILED = _Refused(Reason.SIBLING, "Its definition for another environment cannot be read.")


def govern(conf: Conf, aim: Aim) -> Imported:
    """Turn a project's catalog into governed datasets; nothing is dropped: each entry is taken or left."""
    left = list(conf.left)
    environments = _environments(conf, aim, left)
    aim = replace(aim, environments=environments)
    kept = Kept(conf)
    spoiled = {item.name for item in left}
    candidates: dict[str, _Candidate] = {}
    for name in _names(conf):
        if name in spoiled:
            left.extend(_left(conf, name, _SPOILED))
            continue
        try:
            candidates[name] = _candidate(conf, name, aim, kept)
        except _Refused as refused:
            left.extend(_left(conf, name, refused))
    names, unnamed = governed_names(candidates, aim.domain, aim.names)
    taken: list[Taken] = []
    for name, why in unnamed.items():
        left.extend(_left(conf, name, _Refused(Reason.CATCH_ALL if why.catches_all else Reason.NAME, why.why)))
    for name, named in names.items():
        try:
            taken.append(_taken(candidates[name], named, aim, conf))
        except _Refused as refused:
            left.extend(_left(conf, name, refused))
    # Of an entry that is left for two reasons the first is told.
    told = {(item.environment, item.name, item.file): item for item in reversed(left)}
    return _imported(conf, taken, list(told.values()), environments)


def _names(conf: Conf) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for layer in conf.layers.values() for name in layer.names))


def _left(conf: Conf, name: str, refused: _Refused) -> Iterator[Left]:
    """The entry of each layer: the one that cannot be governed with its reason, the others because of it."""
    at = refused.layer
    for layer in conf.layers.values():
        if name in layer.names:
            own = at is None or at == layer.name
            reason = refused.reason if own else Reason.SIBLING
            message = refused.message if own else f"Its definition in {at} cannot be governed."
            yield Left(layer.name, name, layer.files[name], reason, message)


def _environments(conf: Conf, aim: Aim, left: list[Left]) -> dict[str, str]:
    """The service's environment for each of the project's; entries of one that can have none are left."""
    found: dict[str, str] = {}
    for kedro in conf.environments:
        chosen = aim.environments.get(kedro, kedro)
        if is_environment(chosen) and chosen != BASE and chosen not in found.values():
            found[kedro] = chosen
            continue
        layer = conf.layers[kedro]
        message = f"{kedro} can be no environment of the service; name one: --environment {kedro}=NAME."
        left.extend(Left(kedro, name, layer.files[name], Reason.NAME, message) for name in layer.names)
    return found


# --- one entry ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An entry that can be read in every environment: what it is with variables kept, and with them filled in."""

    name: str
    kept: Mapping[str, Mapping[str, object]] | None
    filled: Mapping[str, Mapping[str, object]]
    notes: tuple[str, ...]


def _candidate(conf: Conf, name: str, aim: Aim, kept: Kept) -> _Candidate:
    notes: dict[str, None] = {}
    filled = _variants(conf, name, aim, notes, None)
    open_ones = _variants_with_variables(conf, name, aim, kept)
    uses = any(map(variables_of, open_ones.values()))
    return _Candidate(name, open_ones if uses else None, filled, tuple(notes))


def _variants_with_variables(conf: Conf, name: str, aim: Aim, kept: Kept) -> dict[str, Mapping[str, object]]:
    """The same with variables kept; none where one stands where none can be kept, such as in another's default."""
    try:
        return _variants(conf, name, aim, {}, kept) if kept.any else {}
    except _Refused:
        return {}


def _variants(
    conf: Conf, name: str, aim: Aim, notes: dict[str, None], kept: Kept | None
) -> dict[str, Mapping[str, object]]:
    """The definition for each environment in which it is not the one of ``base``."""
    found: dict[str, Mapping[str, object]] = {}
    in_base = name in conf.base.names
    for kedro in (BASE, *aim.environments):
        own = name in conf.layers[kedro].names if kedro in conf.layers else False
        if not own and not in_base:
            continue
        layer = kedro if own else BASE
        try:
            definition = _definition(conf, layer, name, kedro, aim, notes, kept)
        except _Refused as refused:
            raise refused.of(layer) from None
        if own or definition != found.get(BASE):
            found[aim.environment(kedro)] = definition
    return found


def _definition(
    conf: Conf, layer: str, name: str, environment: str, aim: Aim, notes: dict[str, None], kept: Kept | None
) -> Mapping[str, object]:
    try:
        entry = _written(conf.resolved(layer, name, environment, kept=kept or (lambda _: False)))
    except Unread as unread:
        message = _sentence(unread.message) + _of_an_older_kedro(conf, environment, unread.reference)
        raise _Refused(_WHY[unread.why], message) from None
    if not isinstance(entry, dict):
        raise _Refused(Reason.NOT_A_DATASET, "It is no mapping with a type.")
    if isinstance(entry.get(BLOCK), dict):
        raise _Refused(Reason.ARGUMENT, _OF_FILES)
    if not is_pattern(name) and any(_TEMPLATE.search(text) for text in texts_in(entry)):
        raise _Refused(Reason.TEMPLATE, "Its {{ … }} are not filled in yet.")
    return _Rewriting(aim, notes).dataset(entry)


def _of_an_older_kedro(conf: Conf, environment: str, reference: str | None) -> str:
    """What helps where a reference means a variable, as it did with the ``TemplatedConfigLoader`` before Kedro 0.19."""
    try:
        known = reference is not None and conf.globals_of(environment).value(reference) is not NOTHING
    except Unread:
        return ""
    return f" globals.yml gives it: Kedro writes ${{globals:{reference}}} for that since 0.19." if known else ""


class Kept:
    """Which variables the service keeps: those that are one plain text in every environment of the project.

    What differs by environment is written into the environment's definition instead: a variable of the
    service's environment would be heard by every domain.
    """

    def __init__(self, conf: Conf) -> None:
        self._known = [conf.globals_of(environment) for environment in (BASE, *conf.environments)]
        self._decided: dict[str, bool] = {}
        self.any = any(known.names for known in self._known)

    def __call__(self, name: str) -> bool:
        """Whether a variable stays one."""
        if name not in self._decided:
            self._decided[name] = _VARIABLE.fullmatch(name) is not None and self.value(name) is not None
        return self._decided[name]

    def value(self, name: str) -> str | None:
        """The value that it has everywhere."""
        try:
            values = [known.value(name) for known in self._known]
        except Unread:
            return None
        first = values[0]
        return first if isinstance(first, str) and "${" not in first and values.count(first) == len(values) else None


def _written(value: object) -> object:
    """A read value as plain data, its open places written out."""
    if isinstance(value, Text):
        try:
            return str(value)
        except Unread as unread:
            raise _Refused(_WHY[unread.why], _sentence(unread.message)) from None
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    return value


def texts_in(value: object) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


# --- what an entry becomes ----------------------------------------------------------------------


class _Rewriting:
    """An entry said the governed way: types by their names of today, paths that say whose they are."""

    def __init__(self, aim: Aim, notes: dict[str, None]) -> None:
        self._aim = aim
        self._notes = notes

    def dataset(self, entry: Mapping[object, object]) -> dict[str, object]:
        name = entry.get("type")
        known, named = self._type(name)
        said: dict[str, object] = {}
        for key, value in entry.items():
            said[str(key) if isinstance(key, str) else key] = (  # type: ignore[index]
                named if key == "type" else self._argument(known, key, value, entry)
            )
        return self._layered(known, said)

    def _type(self, name: object) -> tuple[DatasetType | None, object]:
        if not isinstance(name, str):
            return None, name
        new = self._aim.types.renamed(name)
        if new is not None:
            self._notes[f"Its type {name} is called {new} today."] = None
        return self._aim.types.find(new or name), new or name

    def _layered(self, known: DatasetType | None, said: dict[str, object]) -> dict[str, object]:
        """``layer`` under ``metadata``, where Kedro-Viz looks for it since Kedro 0.19."""
        if known is None or "layer" not in said or "layer" in known.by_name:
            return said
        layer = said.pop("layer")
        metadata = said.get("metadata", {})
        if not known.accepts_metadata or not isinstance(metadata, Mapping):
            self._notes["Its layer is left out: its type takes none."] = None
            return said
        viz = metadata.get("kedro-viz", {})
        self._notes["Its layer stands under metadata now, where Kedro-Viz looks for it."] = None
        return {
            **said,
            "metadata": {**metadata, "kedro-viz": {"layer": layer, **(viz if isinstance(viz, dict) else {})}},
        }

    def _argument(
        self, known: DatasetType | None, key: object, value: object, entry: Mapping[object, object]
    ) -> object:
        if not isinstance(key, str) or key in _NO_PLACES:
            return value
        accepts = known.by_name[key].accepts if known is not None and key in known.by_name else ()
        if Accepts.DATASET in accepts or (known is None and key == "dataset"):
            return self._nested(value)
        if Accepts.CHECKPOINT in accepts and isinstance(value, Mapping):
            return self.dataset(value) if "type" in value else {k: self._within(k, v) for k, v in value.items()}
        if Accepts.PATH in accepts or key in {"filepath", "path"}:
            return self._path(value)
        if key == "database" and entry.get("backend") in {"duckdb", "sqlite"}:
            return self._own_path(value)
        return self._within(key, value)

    def _nested(self, value: object) -> object:
        if isinstance(value, str):
            return self._type(value)[1]
        return self.dataset(value) if isinstance(value, Mapping) else value

    def _within(self, key: object, value: object) -> object:
        """An argument without a rule of its own, and what stands in it: a path is known by its key and its folder."""
        if key in _NO_PLACES:
            return value
        if isinstance(value, Mapping):
            local = value.get("backend") in ("duckdb", "sqlite")
            return {k: self._within("path" if local and k == "database" else k, v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._within(key, item) for item in value]
        return self._own_path(value) if isinstance(key, str) and _PATH_KEY.search(key) else value

    def _own_path(self, value: object) -> object:
        """A path where one is only guessed: changed when it plainly lies in the project's data folder."""
        placed = self._path(value)
        return placed if isinstance(placed, str) and placed.startswith(f"{PROJECT}://") else value

    def _path(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        for old, new in self._aim.moved.items():
            if value.startswith(old):
                self._notes[f"Its data lies in {new} now, not in {old}."] = None
                return new + value.removeprefix(old)
        url = _URL.match(value)
        if url:
            return url[0] + _single_slashes(value[url.end() :])
        if value.startswith("/"):
            return _single_slashes(value)
        plain = _single_slashes(value)
        while plain.startswith("./"):
            plain = plain[2:]
        plain = f"{plain}/" if f"{plain}/" == PROJECT_FOLDER else plain
        if plain.startswith(PROJECT_FOLDER) and not _DRIVE.match(value):
            return f"{PROJECT}://{plain}"
        return value


def _single_slashes(path: str) -> str:
    """A path whose doubled slashes, which file systems read as one, are one; nothing that is filled in is touched."""
    return "".join(part if part.startswith("${") else re.sub(r"//+", "/", part) for part in _OPEN.split(path))


_OPEN = re.compile(r"(\$\{[^{}]*\})")


# --- whether it can stand -----------------------------------------------------------------------


def _taken(candidate: _Candidate, named: Named, aim: Aim, conf: Conf) -> Taken:
    filled = {environment: named.renamed(each) for environment, each in candidate.filled.items()}
    _check(filled, named, aim, candidate.name)
    chosen = filled
    if candidate.kept is not None:
        kept = {environment: named.renamed(each) for environment, each in candidate.kept.items()}
        try:
            _check(kept, named, aim, candidate.name)
            chosen = kept
        except _Refused:
            pass
    files = {layer.name: layer.files[candidate.name] for layer in conf.layers.values() if candidate.name in layer.names}
    mapped = named.mapped(candidate.name)
    return Taken(candidate.name, mapped, named.governed, chosen, _layer(chosen), files, candidate.notes)


def _check(variants: Mapping[str, Mapping[str, object]], named: Named, aim: Aim, local: str) -> None:
    for environment, definition in variants.items():
        types = _registering(aim.types, definition)
        locations = [*map(parse_location, aim.locations), *_locations_for(definition, types)]
        faults = check(definition, name=named.governed, types=types, locations=locations)
        if faults:
            raise _Refused(*_reason(faults, definition), _layer_name(aim, environment))
    assert is_dataset(named.governed), local  # noqa: S101 - governed_names gives no other


def _layer_name(aim: Aim, environment: str) -> str:
    return next((kedro for kedro, service in aim.environments.items() if service == environment), environment)


def _reason(faults: Iterable[Fault], definition: Mapping[str, object]) -> tuple[Reason, str]:
    """The worst of the faults, as a reason; the others are not told, so that one line stands for one entry."""
    rank = list(_ABOUT)
    worst = min(faults, key=lambda fault: rank.index(about(fault)))
    if worst.at == "credentials" and not isinstance(definition.get("credentials"), str):
        return Reason.SECRET, "Its credentials are written out. Move them to credentials.yml and write their name."
    return _ABOUT[about(worst)], f"{worst.at}: {worst.message}"


def _registering(types: KnownTypes, definition: Mapping[str, object]) -> KnownTypes:
    """The known types and those of a definition that kedro-datasets does not have."""
    return types.registering(_own_types(definition, types))


def _own_types(definition: Mapping[str, object], types: KnownTypes) -> tuple[str, ...]:
    """The full names of types, nested ones too, that are the project's or another library's own."""
    return tuple(name for name in dict.fromkeys(type_names(definition)) if _is_own_type(name, types))


def _is_own_type(name: str, types: KnownTypes) -> bool:
    if types.find(name) is not None or not re.fullmatch(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+", name, re.ASCII):
        return False
    family, _, last = name.rpartition(".")
    known = any(each.startswith(f"{family}.") for each in types.types)
    return last not in NEVER and not (known and types.suggest(name))


def type_names(definition: Mapping[str, object]) -> Iterator[str]:
    """The types that a definition names, those of nested datasets too."""
    name = definition.get("type")
    if isinstance(name, str):
        yield name
    for key, value in definition.items():
        if key in {"dataset", "response_dataset", "checkpoint"}:
            yield from type_names(value if isinstance(value, Mapping) else {"type": value})


def _locations_for(definition: Mapping[str, object], types: KnownTypes) -> Iterator[Location]:
    """The folders that a definition's absolute paths lie in."""
    for path in _paths(definition, types):
        fixed = re.split(r"\$\{|\{", path)[0]
        try:
            yield parse_location(fixed[: fixed.rfind("/") + 1])
        except Invalid:
            continue


def _paths(definition: Mapping[str, object], types: KnownTypes) -> Iterator[str]:
    known = types.find(str(definition.get("type")))
    for key, value in definition.items():
        if isinstance(value, Mapping):
            yield from _paths(value, types)
        elif isinstance(value, str) and _ABSOLUTE.match(value):
            is_path = known is not None and key in known.path_parameters
            yield from [value] if is_path or _PATH_KEY.search(key) else []


def _layer(variants: Mapping[str, Mapping[str, object]]) -> str | None:
    for definition in variants.values():
        metadata = definition.get("metadata")
        viz = metadata.get("kedro-viz") if isinstance(metadata, Mapping) else None
        layer = viz.get("layer") if isinstance(viz, Mapping) else None
        if isinstance(layer, str) and 0 < len(layer) <= 100 and layer.isprintable():  # noqa: PLR2004 - api/bodies.py
            return layer
    return None


# --- all of it ----------------------------------------------------------------------------------


def _imported(conf: Conf, taken: list[Taken], left: list[Left], environments: Mapping[str, str]) -> Imported:
    definitions = [definition for each in taken for definition in each.environments.values()]
    kept = Kept(conf)
    used = sorted({name for definition in definitions for name in variables_of(definition)})
    types = KnownTypes.newest()
    return Imported(
        tuple(sorted(taken, key=lambda each: each.governed)),
        tuple(sorted(left, key=lambda item: (item.environment != BASE, item.environment, item.file, item.name or ""))),
        {name: value for name in used if (value := kept.value(name)) is not None},
        _fewest(location for each in definitions for location in _locations_for(each, types)),
        tuple(sorted({name for each in definitions for name in _own_types(each, types)})),
        environments,
        tuple(sorted(set(_credentials(definitions)))),
        conf.count,
    )


def _fewest(locations: Iterable[Location]) -> tuple[str, ...]:
    """Locations without those that lie inside another."""
    found: list[str] = []
    for url in sorted({location.url for location in locations}):
        if not any(url.startswith(other) for other in found):
            found.append(url)
    return tuple(found)


def _credentials(definitions: Iterable[Mapping[str, object]]) -> Iterator[str]:
    for definition in definitions:
        for key, value in definition.items():
            if key == "credentials" and isinstance(value, str):
                yield value
            elif isinstance(value, Mapping):
                yield from _credentials([value])


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:].removesuffix('.')}."
