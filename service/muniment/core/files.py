"""Files in git that say how things shall be: what a steward's directory holds, read into things with their fields.

``datasets/**/*.yml`` is Kedro's catalog syntax: a name, and under it the definition for ``base`` with, beside its keys,
a block ``muniment:`` for what Kedro does not know (owner, tags, columns, and under ``environments:`` the definitions of
other environments). ``policies/*.cedar`` are policies by their file's name; what a text cannot say of itself (scope,
reason, cases) stands under the same id in ``policies/*.yml``. ``domains.yml``, ``environments.yml``, ``groups.yml`` and
``grants.yml`` hold things by name, as the doors take them. Each may be a directory of such files instead.

Datasets' YAML is read as Kedro reads it, and names in it that begin with ``_`` are templates for the rest of their file
and no things. In all other files ``on``, ``yes`` and ``no`` are words. A field that no file says is not of these files:
the pages keep it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final, NoReturn

import cedarpy

from muniment.core.bodies import DEFAULTS, fields_of
from muniment.core.dataset_types import KnownTypes
from muniment.core.definitions import secrets_in
from muniment.core.environments import BASE
from muniment.core.groups import is_builtin, parse_group, write_group
from muniment.core.kept import Address
from muniment.core.masks import read_mask, write_mask
from muniment.core.moments import write_moment
from muniment.core.names import checked_dataset, checked_domain, checked_environment, checked_id
from muniment.core.policies import PolicyKind
from muniment.core.problems import Fault, Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.row_filters import read_row_filter, write_row_filter

#: What says of the directory itself: what its source is called, and which files are not for it.
ABOUT: Final = "source.yml"

#: The block beside a definition.
BLOCK: Final = "muniment"

_PLACES: Final = {
    "datasets": "dataset",
    "domains": "domain",
    "environments": "environment",
    "groups": "group",
    "policies": "policy",
    "grants": "grant",
}
_ENDINGS: Final = (".yml", ".yaml")
_CEDAR: Final = ".cedar"
_TEXT, _LISTED, _NUMBER, _NAMED = "text", "a list of texts", "a whole number", "names with values under them"
_TEXT_OR_NONE, _OBJECTS, _ANYTHING = "text, or nothing", "a list of such as {name: …}", "anything"
_HOURS: Final = "a number of hours, or nothing"

#: What each kind can say, and what that looks like.
_SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    "dataset": {
        "owner": _TEXT, "description": _TEXT, "tags": _LISTED, "classification": _TEXT, "sensitivity": _NUMBER,
        "layer": _TEXT_OR_NONE, "columns": _OBJECTS, "lifecycle": _TEXT, "successor": _TEXT_OR_NONE,
        "environments": _NAMED,
    },
    "domain": {
        "owner": _TEXT, "description": _TEXT, "variables": _NAMED, "locations": _LISTED, "types": _LISTED,
        "lease_hours": _HOURS,
    },
    "environment": {"description": _TEXT, "variables": _NAMED},
    "group": {"description": _TEXT, "members": _LISTED, "parents": _LISTED},
    "policy": {
        "kind": _TEXT, "scope": _TEXT, "cedar": _TEXT, "form": _NAMED, "obligation": _ANYTHING, "reason": _TEXT,
        "review_by": _TEXT_OR_NONE, "cases": _OBJECTS,
    },
    "grant": {
        "to": _ANYTHING, "actions": _LISTED, "on": _NAMED, "environments": _LISTED, "purposes": _LISTED,
        "until": _TEXT_OR_NONE, "because": _TEXT, "review_by": _TEXT_OR_NONE,
    },
}  # fmt: skip
_COLUMN: Final = {"name": "", "type": "", "description": "", "tags": []}

_LOOKS: Final[Mapping[str, Callable[[object], bool]]] = {
    _TEXT: lambda value: isinstance(value, str),
    _LISTED: lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    _NUMBER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    _NAMED: lambda value: isinstance(value, dict),
    _TEXT_OR_NONE: lambda value: value is None or isinstance(value, str),
    _HOURS: lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool)),
    _OBJECTS: lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    _ANYTHING: lambda _: True,
}
_CHECKED: Final[Mapping[str, Callable[[str], str]]] = {
    "dataset": checked_dataset,
    "domain": checked_domain,
    "environment": checked_environment,
    "group": lambda name: parse_group(f"group:{name}"),
    "policy": checked_id,
    "grant": checked_id,
}


@dataclass(frozen=True, slots=True)
class Written:
    """A thing as the files say it: the fields that they say, and where.

    A policy may stand as a ``form`` of Cedar, and what its text cannot say in a file ``beside`` it.
    """

    kind: str
    key: str
    fields: Mapping[str, Any]
    file: str
    line: int | None = None
    form: Mapping[str, Any] | None = None
    beside: str | None = None

    @property
    def address(self) -> Address:
        """What the thing is known by."""
        return self.kind, self.key

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Files:
    """All that a directory says; ``source`` is what it calls itself."""

    things: Mapping[Address, Written] = field(default_factory=dict)
    source: str | None = None


def read_files(texts: Mapping[str, str], types: KnownTypes) -> Files:
    """What texts say, by their paths in the directory; :class:`Invalid` with every fault, each with file and line."""
    reading = _Reading(types)
    about = reading.about(texts.get(ABOUT))
    ignored = tuple(about.get("ignore", ()))
    for path, text in sorted(texts.items()):
        if path != ABOUT and not any(fnmatchcase(path, pattern) for pattern in ignored):
            reading.file(path, text)
    reading.join_policies()
    if reading.faults:
        count = "One thing is" if len(reading.faults) == 1 else f"{len(reading.faults)} things are"
        raise Invalid(f"{count} wrong in the files.", reading.faults)
    return Files(reading.things, about.get("name"))


def is_read(path: str) -> bool:
    """Whether a file of this path is one that says something, or that should not be overlooked."""
    parts = PurePosixPath(path).parts
    return not any(part.startswith(".") for part in parts) and path.endswith((*_ENDINGS, _CEDAR))


def formatted(cedar: str) -> str:
    """Cedar text in Cedar's own formatting, as the service keeps it; as it is where it cannot be read."""
    try:
        return cedarpy.format_policies(cedar).strip() + "\n"
    except ValueError:
        return cedar


class _Reading:
    """One pass over a directory: the things, and everything that is wrong."""

    def __init__(self, types: KnownTypes) -> None:
        self.things: dict[Address, Written] = {}
        self.faults: list[Fault] = []
        self._types = types
        self._cedar: dict[str, tuple[str, str]] = {}
        self._rules: dict[str, tuple[dict[str, Any], str, int | None]] = {}

    def about(self, text: str | None) -> Mapping[str, Any]:
        said = self._parsed(ABOUT, text or "")
        for key, value in said.items():
            if key not in {"name", "ignore"} or not _LOOKS[_TEXT if key == "name" else _LISTED](value):
                self._fault(ABOUT, None, f"{key}: here stand name: <text> and ignore: [<paths>], no other.")
        return {} if self.faults else said

    def file(self, path: str, text: str) -> None:
        first = PurePosixPath(path).parts[0]
        kind = _PLACES.get(first.removesuffix(".yml").removesuffix(".yaml"))
        if kind is None or (path.endswith(_CEDAR) and kind != "policy"):
            self._fault(
                path,
                None,
                f"No file of this name is read. Files are {', '.join(_PLACES)} (.yml, or a directory of them), and "
                f"policies/*.cedar. Move it, or name it under ignore: in {ABOUT}.",
            )
        elif path.endswith(_CEDAR):
            self._cedar_file(path, text)
        else:
            said = self._parsed(path, text, of_kedro=kind == "dataset")
            lines = _lines_of(text)
            for key, value in said.items():
                if not (kind == "dataset" and isinstance(key, str) and key.startswith("_")):
                    self._entry(kind, key, value, path, lines.get(str(key)))

    def _cedar_file(self, path: str, text: str) -> None:
        id_ = PurePosixPath(path).name.removesuffix(_CEDAR)
        if id_ in self._cedar:
            self._fault(path, None, f"The policy {id_} stands in {self._cedar[id_][1]} too.")
        self._cedar[id_] = (text, path)

    def _parsed(self, path: str, text: str, *, of_kedro: bool = False) -> dict[Any, Any]:
        try:
            return projects_yaml.parse(text, of_kedro=of_kedro)
        except Invalid as refused:
            at = refused.faults[0] if refused.faults else None
            told = refused.detail if at is None or at.line is None else f"The file {at.message}."
            self._fault(path, None if at is None else at.line, told)
            return {}

    def _entry(self, kind: str, key: object, value: object, path: str, line: int | None) -> None:
        try:
            name = self._name(kind, key)
            said = self._mapping(value)
            if kind == "dataset":
                said = self._dataset(name, said)
            _check_shape(kind, said)
            if kind == "policy":
                self._rule(name, said, path, line)
                return
            self._put(Written(kind, name, fields_of(_normal(kind, said)), path, line))
        except Invalid as refused:
            for fault in refused.faults or [Fault("", refused.detail)]:
                self._fault(path, line, f"{key}: {fault.message}")

    def _name(self, kind: str, key: object) -> str:
        if not isinstance(key, str):
            _refuse("this name is not text; put it in quotes.")
        return _CHECKED[kind](key)

    def _mapping(self, value: object) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            _refuse("names with values should stand under it.")
        _check_plain(value)
        return value

    def _dataset(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """An entry of a catalog, as the fields of a dataset."""
        definition = {key: value for key, value in said.items() if key != BLOCK}
        block = self._mapping(said.get(BLOCK))
        environments = self._mapping(block.get("environments"))
        if definition and BASE in environments:
            _refuse(f"the definition for base stands both beside {BLOCK}: and under its environments:.")
        if block.pop("domain", name.rpartition(".")[0]) != name.rpartition(".")[0]:
            _refuse("the domain is the one that the name carries; another domain is another dataset.")
        layers = {**({BASE: definition} if definition else {}), **environments}
        for environment, each in layers.items():
            for fault in secrets_in(self._mapping(each), name=name, types=self._types):
                _refuse(f"{environment}.{fault.at}: {fault.message}")
        return {**block, **({"environments": layers} if layers else {})}

    def _rule(self, id_: str, said: dict[str, Any], path: str, line: int | None) -> None:
        if id_ in self._rules:
            _refuse(f"this policy stands in {self._rules[id_][1]} too.")
        self._rules[id_] = (said, path, line)

    def join_policies(self) -> None:
        """Policies from their texts and from what stands beside them."""
        for id_ in sorted(self._cedar.keys() | self._rules.keys()):
            said, path, line = self._rules.get(id_, ({}, "", None))
            text, file = self._cedar.get(id_, (None, path))
            given = [each for each in (text, said.get("cedar"), said.get("form")) if each is not None]
            if len(given) != 1:
                how = "has no text" if not given else "has more than one text"
                self._fault(
                    file, line, f"{id_}: this policy {how}: say it once, in {id_}.cedar, or as cedar: or form:."
                )
                continue
            try:
                _check_id(id_)
                whole = {**DEFAULTS["policy"], **said, **({"cedar": text} if text is not None else {})}
                form = whole.pop("form", None)
                beside = path if text is not None and path else None
                line = line if text is None else None
                self._put(Written("policy", id_, _normal("policy", whole), file, line, form, beside))
            except Invalid as refused:
                self._fault(file, line, f"{id_}: {refused.detail}")

    def _put(self, written: Written) -> None:
        if written.address in self.things:
            _refuse(f"it stands in {self.things[written.address].place} too.")
        self.things[written.address] = written

    def _fault(self, path: str, line: int | None, message: str) -> None:
        self.faults.append(Fault(path, message, line))


def _check_id(id_: str) -> None:
    checked_id(id_)


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, [Fault("", message)])


def _check_shape(kind: str, said: Mapping[str, Any]) -> None:
    shapes = _SHAPES[kind]
    faults = [
        Fault("", f"{key} is nothing that a {kind} has; there are {', '.join(shapes)}.")
        if key not in shapes
        else Fault("", f"{key} should be {shapes[key]}.")
        for key, value in said.items()
        if key not in shapes or not _LOOKS[shapes[key]](value)
    ]
    if faults:
        raise Invalid(faults[0].message, faults)


def _check_plain(value: object) -> None:
    """Refuse what no JSON can hold: YAML knows sets, bytes and keys that are no text."""
    match value:
        case dict():
            for key, inner in value.items():
                if not isinstance(key, str):
                    _refuse(f"the key {key!r} is not text; put it in quotes.")
                _check_plain(inner)
        case list():
            for inner in value:
                _check_plain(inner)
        case None | bool() | int() | str():
            pass
        case float() if value == value and abs(value) != float("inf"):  # noqa: PLR0124 - not a number is not itself
            pass
        case _:
            _refuse("it holds a value that JSON has no word for.")


def _normal(kind: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said in the one spelling in which the service gives it back; a rule whole, since it is kept whole."""
    body = {**DEFAULTS[kind], **said} if kind in {"policy", "grant"} else dict(said)
    if kind == "policy":
        body["obligation"] = _obligation(body["kind"], body["obligation"])
    return {key: _SPELLINGS.get((kind, key), _as_it_is)(value) for key, value in body.items()}


def _as_it_is(value: Any) -> Any:
    return value


def _sorted(value: list[str]) -> list[str]:
    return sorted(set(value))


def _owner(value: str) -> str:
    return write_group(parse_group(value if ":" in value else f"group:{value}"))


def _groups(value: list[str]) -> list[str]:
    return sorted({_owner(each) for each in value})


def _columns(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for each in value:
        if "name" not in each or each.keys() - _COLUMN.keys():
            _refuse(f"a column has a name, and {', '.join(list(_COLUMN)[1:])} if you like.")
    return [{**_COLUMN, **each} for each in value]


def _moment(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
        if read.tzinfo is not None:
            return write_moment(read.astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    _refuse("until is a time with its zone, such as 2027-03-31T00:00:00Z.")


def _day(value: str | None) -> str | None:
    try:
        return value if value is None else date.fromisoformat(value).isoformat()
    except ValueError:
        _refuse("review_by is a day, such as 2027-03-31.")


def _obligation(kind: str, value: Any) -> object:
    """What a mask or a row filter demands, in its one spelling; what is neither, the service refuses."""
    if not isinstance(value, dict):
        return value
    if kind == PolicyKind.MASK:
        return dict(write_mask(read_mask(value)))
    predicate = read_row_filter(value) if kind == PolicyKind.ROW_FILTER else True
    return value if predicate is True else dict(write_row_filter(predicate))


def _to(value: object) -> dict[str, str]:
    """Who a grant is to: ``group:analysts``, ``user:ann``, or as the doors take it."""
    match value:
        case str():
            named = _owner(value)
        case {"group": str(name), **rest} if not rest:
            named = _owner(name)
        case {"subject": str(name), **rest} if not rest:
            named = name
        case _:
            _refuse("to is group:<name>, user:<id> or service:<id>.")
    return {"subject": named} if is_builtin(named) else {"group": named}


_SPELLINGS: Final[Mapping[tuple[str, str], Callable[[Any], Any]]] = {
    ("dataset", "owner"): _owner,
    ("dataset", "tags"): _sorted,
    ("dataset", "columns"): _columns,
    ("domain", "owner"): _owner,
    ("group", "members"): _sorted,
    ("group", "parents"): _groups,
    ("policy", "cedar"): formatted,
    ("policy", "review_by"): _day,
    ("grant", "to"): _to,
    ("grant", "actions"): _sorted,
    ("grant", "environments"): _sorted,
    ("grant", "purposes"): _sorted,
    ("grant", "until"): _moment,
    ("grant", "review_by"): _day,
}

_TOP = re.compile(r"""(?P<quote>["']?)(?P<key>[^\s#-].*?)(?P=quote)\s*:(?:\s|$)""")


def _lines_of(text: str) -> dict[str, int]:
    """The line of each key that stands at the beginning of one."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key = _TOP.match(line)
        if key is not None:
            found.setdefault(key["key"], number)
    return found
