"""What whoever starts a project can choose from, and the templates that their project is made of.

Both are Muniment's own and, over them, those of the platform team, each in numbered versions: a version that was
given out is never changed, so that a project can be brought from the one it began with to the newest. A version is a
folder: its manifest ``starters.yml``, the templates of every project in ``base/``, and those of a single starter in a
folder of its name. What stands in a later layer replaces what an earlier one has under the same name or path.

Nothing here is asked of a network or a clock, and a folder is read when somebody asks for it (``store/starters.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, TypeVar

import yaml

from muniment.core.problems import Fault, Invalid

MANIFEST: Final = "starters.yml"
#: The folder whose templates are every project's.
BASE: Final = "base"

#: How much a version may hold.
MOST_FILES: Final = 300
LONGEST_FILE: Final = 256 * 1024
_DEEPEST: Final = 10

_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")
#: A part of a path that means the same on every system.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?(?:\[[a-z0-9,_-]{1,100}\])?")
_VERSION: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})(?:\.?(?:a|b|rc|post)[0-9]{1,3})?")
_PYTHON: Final = re.compile(r"3\.[0-9]{1,2}")
_CLAUSE: Final = re.compile(r"(==|!=|>=|<=|>|<)\s*([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})")

#: What the templates themselves rely on; each has its one version in every manifest that is not laid over another.
PINS: Final = ("kedro-muniment", "kedro-datasets", "pytest", "ruff", "sphinx")


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose, as it is shown."""

    id: str
    title: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that belong together; of an ``exclusive`` one at most one is taken."""

    id: str
    title: str
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """A package that a project may have; of one that is ``always`` there nobody is asked."""

    name: str
    title: str
    group: str
    versions: str
    pinned: str
    description: str = ""
    always: bool = False

    @property
    def id(self) -> str:
        """What it is chosen by."""
        return self.name


@dataclass(frozen=True, slots=True)
class Offer:
    """All that can be chosen, of one version; ``templates`` are by starter and path.

    ``brought`` is what of it the platform team's layer brings or replaces, by list and id; ``without`` is what that
    layer takes away.
    """

    version: str
    kedro: tuple[str, ...]
    python: tuple[str, ...]
    pins: Mapping[str, str]
    starters: tuple[Choice, ...]
    tools: tuple[Choice, ...]
    ci: tuple[Choice, ...]
    groups: tuple[Group, ...]
    packages: tuple[Package, ...]
    templates: Mapping[str, Mapping[str, str]] = field(repr=False)
    brought: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)
    without: tuple[str, ...] = ()


Thing = TypeVar("Thing", Choice, Group, Package)


@dataclass(frozen=True, slots=True)
class Layer:
    """A version as it stands in its folder: a manifest, and templates by the folder's name and the path in it."""

    number: int
    manifest: Mapping[str, object]
    templates: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Shelf:
    """Every version of what is offered: Muniment's own, and the platform team's over it."""

    own: Mapping[int, Layer]
    theirs: Mapping[int, Layer] = field(default_factory=dict)
    _offers: dict[str, Offer] = field(default_factory=dict, repr=False, compare=False)

    @property
    def newest(self) -> Offer:
        """What is offered now."""
        return self.of("+".join(str(max(layers)) for layers in (self.own, self.theirs) if layers))

    def of(self, version: str) -> Offer:
        """A version that was given out; raises :class:`Invalid` for one that is not kept here."""
        if version not in self._offers:
            numbers = version.split("+")
            known = [layers for layers in (self.own, self.theirs) if layers]
            if not 1 <= len(numbers) <= len(known) or not all(map(_NUMBER.fullmatch, numbers)):
                raise _unknown()
            layers = [found.get(int(number)) for number, found in zip(numbers, known, strict=False)]
            self._offers[version] = _offer(version, [layer for layer in layers if layer is not None], len(numbers))
        return self._offers[version]


def shelf(theirs: Traversable | None = None) -> Shelf:
    """What Muniment offers, and what the platform team's folder adds; raises :class:`Invalid` where that is wrong."""
    own = _versions(resources.files("muniment.core.starters").joinpath("versions"))
    made = Shelf(own, {} if theirs is None else _versions(theirs))
    if theirs is not None and not made.theirs:
        raise _wrong(theirs.name, f"it holds no folder 1 with a {MANIFEST}")
    _ = made.newest
    return made


def rewritten(before: Shelf, now: Shelf) -> tuple[int, ...]:
    """The versions of the platform team that are not as they were: projects that began with one may not be updated."""
    return tuple(number for number, layer in sorted(before.theirs.items()) if now.theirs.get(number) != layer)


def _unknown() -> Invalid:
    message = "These templates are not kept here any more, or never were. Start from those of now."
    return Invalid(message, [Fault("version", message)])


# --- from a folder ---------------------------------------------------------------------------------------------------


def _versions(folder: Traversable) -> Mapping[int, Layer]:
    try:
        numbers = sorted(int(each.name) for each in folder.iterdir() if each.is_dir() and _NUMBER.fullmatch(each.name))
        return {number: _numbered(folder.joinpath(str(number)), number) for number in numbers}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _wrong(folder.name, f"it cannot be read: {error}") from error


def _numbered(folder: Traversable, number: int) -> Layer:
    try:
        return _layer(folder, number)
    except Invalid as refused:
        raise _in_version(number, refused) from refused


def _layer(folder: Traversable, number: int) -> Layer:
    manifest = folder.joinpath(MANIFEST)
    said = yaml.load(manifest.read_text(encoding="utf-8"), yaml.CSafeLoader) if manifest.is_file() else None
    if not isinstance(said, dict):
        raise _wrong(MANIFEST, "it is missing, or holds no mapping")
    templates = {each.name: dict(_texts(each, ())) for each in folder.iterdir() if each.is_dir()}
    if sum(map(len, templates.values())) > MOST_FILES:
        raise _wrong("templates", f"there are more than {MOST_FILES} files")
    return Layer(number, said, templates)


def _texts(folder: Traversable, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for each in sorted(folder.iterdir(), key=lambda found: found.name):
        parts = (*above, each.name)
        if each.name == "__pycache__":
            continue
        if len(parts) > _DEEPEST or not _SEGMENT.fullmatch(each.name):
            raise _wrong("/".join(parts), "a path has at most 10 parts of letters, digits, '_', '-' and '.'")
        if each.is_dir():
            yield from _texts(each, parts)
            continue
        text = each.read_text(encoding="utf-8")
        if len(text) > LONGEST_FILE:
            raise _wrong("/".join(parts), f"a template has at most {LONGEST_FILE // 1024} KiB")
        yield "/".join(parts), text


# --- from layers -----------------------------------------------------------------------------------------------------


def _offer(version: str, layers: Sequence[Layer], wanted: int) -> Offer:
    """The layers as one; what is wrong with them is said with the number of the last."""
    if len(layers) != wanted:
        raise _unknown()
    try:
        return _laid(version, layers)
    except Invalid as refused:
        raise _in_version(layers[-1].number, refused) from refused


def _laid(version: str, layers: Sequence[Layer]) -> Offer:
    """The layers as one, a later one over an earlier."""
    manifests = [_Manifest(layer.manifest) for layer in layers]
    for manifest in manifests:
        manifest.check_keys()
    starters = _merged([m.choices("starters") for m in manifests], manifests)
    offer = Offer(
        version=version,
        kedro=next(found for m in reversed(manifests) if (found := m.versions("kedro", _VERSION))),
        python=next(found for m in reversed(manifests) if (found := m.versions("python", _PYTHON))),
        pins={name: pin for m in manifests for name, pin in m.pins().items()},
        starters=starters,
        tools=_merged([m.choices("tools") for m in manifests], manifests),
        ci=_merged([m.choices("ci") for m in manifests], manifests),
        groups=_merged([m.groups() for m in manifests], manifests),
        packages=_merged([m.packages() for m in manifests], manifests),
        templates={
            each.id: {
                path: text
                for layer in layers
                for folder in (BASE, each.id)
                for path, text in layer.templates.get(folder, {}).items()
            }
            for each in starters
        },
        brought=_brought(manifests[-1], layers[-1]) if len(layers) > 1 else frozenset(),
        without=tuple(dict.fromkeys(name for manifest in manifests[1:] for name in manifest.without())),
    )
    _check_whole(offer, layers)
    return offer


def _brought(manifest: _Manifest, layer: Layer) -> frozenset[tuple[str, str]]:
    """What a layer has of its own, by list and id; a template's id is its folder and its path."""
    things = {
        "kedro": manifest.versions("kedro", _VERSION),
        "python": manifest.versions("python", _PYTHON),
        "pins": manifest.pins(),
        **{key: [each.id for each in manifest.choices(key)] for key in ("starters", "tools", "ci")},
        "groups": [each.id for each in manifest.groups()],
        "packages": [each.id for each in manifest.packages()],
        "templates": [f"{folder}/{path}" for folder, held in layer.templates.items() for path in held],
    }
    return frozenset((key, id_) for key, ids in things.items() for id_ in ids)


def _merged(lists: Sequence[Sequence[Thing]], manifests: Sequence[_Manifest]) -> tuple[Thing, ...]:
    by_id = {each.id: each for things in lists for each in things}
    without = {name for manifest in manifests for name in manifest.without()}
    return tuple(each for id_, each in by_id.items() if id_ not in without)


def _check_whole(offer: Offer, layers: Sequence[Layer]) -> None:
    """What only shows when the lists are one."""
    groups = {group.id: group for group in offer.groups}
    for package in offer.packages:
        if package.group not in groups:
            raise _wrong(f"packages: {package.name}", f"there is no group {package.group}")
    for group in offer.groups:
        always = [each.name for each in offer.packages if each.group == group.id and each.always]
        if group.exclusive and len(always) > 1:
            raise _wrong(f"groups: {group.id}", f"of it one is taken, and {' and '.join(always)} are there always")
    if not offer.starters or not offer.ci:
        raise _wrong(MANIFEST, "at least one starter and one kind of CI must be left")
    missing = [name for name in PINS if name not in offer.pins]
    if missing:
        raise _wrong("pins", f"{', '.join(missing)} must have a version")
    strange = {name for layer in layers for name in layer.templates} - {BASE, *(each.id for each in offer.starters)}
    if strange:
        raise _wrong(min(strange), f"a folder is {BASE}, or has the name of a starter")


class _Manifest:
    """Reads one manifest; whatever is wrong with it is refused with the place where it stands."""

    def __init__(self, said: Mapping[str, object]) -> None:
        self._said = said

    def check_keys(self) -> None:
        known = {"kedro", "python", "pins", "starters", "tools", "ci", "groups", "packages", "without"}
        strange = sorted(str(key) for key in self._said if key not in known)
        if strange:
            raise _wrong(strange[0], f"there is no such key; there are {', '.join(sorted(known))}")

    def versions(self, key: str, shape: re.Pattern[str]) -> tuple[str, ...]:
        found = self._listed(key)
        for number, each in enumerate(found):
            if not isinstance(each, str) or not shape.fullmatch(each):
                raise _wrong(f"{key}.{number}", "it must be a version in quotes, such as '3.12'")
        return tuple(str(each) for each in found)

    def pins(self) -> Mapping[str, str]:
        said = self._said.get("pins", {})
        if not isinstance(said, dict):
            raise _wrong("pins", "it must be a mapping from a package to its version")
        for name, version in said.items():
            if name not in PINS or not _VERSION.fullmatch(str(version)):
                raise _wrong(f"pins.{name}", f"it must be the version of one of {', '.join(PINS)}")
        return {str(name): str(version) for name, version in said.items()}

    def without(self) -> Sequence[str]:
        return [str(each) for each in self._listed("without")]

    def choices(self, key: str) -> Sequence[Choice]:
        return [
            Choice(_id(where, each), _text(where, each, "title"), _text(where, each, "description", needed=False))
            for where, each in self._entries(key, {"id", "title", "description"})
        ]

    def groups(self) -> Sequence[Group]:
        return [
            Group(_id(where, each), _text(where, each, "title"), exclusive=_one_of(where, each, "choose", "any", "one"))
            for where, each in self._entries("groups", {"id", "title", "choose"})
        ]

    def packages(self) -> Sequence[Package]:
        keys = {"name", "title", "description", "group", "versions", "pinned", "always"}
        return [read_package(where, each) for where, each in self._entries("packages", keys)]

    def _entries(self, key: str, known: set[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
        for number, each in enumerate(self._listed(key)):
            where = f"{key}.{number}"
            if not isinstance(each, dict) or not known.issuperset(each):
                raise _wrong(where, f"it must be a mapping of {', '.join(sorted(known))}")
            yield where, each

    def _listed(self, key: str) -> Sequence[object]:
        said = self._said.get(key, [])
        if not isinstance(said, list):
            raise _wrong(key, "it must be a list")
        return said


def read_package(where: str, said: Mapping[str, object]) -> Package:
    """A package as a manifest says it; raises :class:`Invalid` with the place in ``where`` of what is wrong."""
    name, versions, pinned = (_text(where, said, key) for key in ("name", "versions", "pinned"))
    if not _PACKAGE.fullmatch(name):
        raise _wrong(f"{where}.name", "it must be the name of a package, with extras in brackets if it has any")
    if not _VERSION.fullmatch(pinned) or not _within(pinned, versions):
        raise _wrong(f"{where}.pinned", f"it must be one version that {versions!r} allows, such as 2.2.3")
    always = said.get("always", False)
    if not isinstance(always, bool):
        raise _wrong(f"{where}.always", "it must be true or false")
    return Package(
        name=name,
        title=_text(where, said, "title", needed=False) or name,
        group=_id(where, said, "group"),
        versions=versions.replace(" ", ""),
        pinned=pinned,
        description=_text(where, said, "description", needed=False),
        always=always,
    )


def _within(pinned: str, versions: str) -> bool:
    """Whether a range such as ``>=2.2,<4`` holds a version, by the numbers of its release."""
    clauses = [_CLAUSE.fullmatch(part.strip()) for part in versions.split(",")]
    return all(clause is not None and _holds(_release(pinned), clause[1], _release(clause[2])) for clause in clauses)


def _release(version: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(version)
    numbers = [int(part) for part in found[1].split(".")] if found else []
    return tuple([*numbers, 0, 0, 0, 0][:4])


def _holds(one: tuple[int, ...], sign: str, other: tuple[int, ...]) -> bool:
    match sign:
        case "==":
            return one == other
        case "!=":
            return one != other
        case ">=":
            return one >= other
        case "<=":
            return one <= other
        case ">":
            return one > other
        case _:
            return one < other


def _id(where: str, said: Mapping[str, object], key: str = "id") -> str:
    text = _text(where, said, key)
    if not _ID.fullmatch(text) or text == BASE:
        raise _wrong(f"{where}.{key}", "it must be a word of a-z, 0-9, '-' and '_', and not base")
    return text


def _text(where: str, said: Mapping[str, object], key: str, *, needed: bool = True) -> str:
    value = said.get(key, "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _wrong(f"{where}.{key}", "put it into quotes: YAML takes it for a number")
    if not isinstance(value, str) or not value.isprintable() or (needed and not value.strip()):
        raise _wrong(f"{where}.{key}", "it must be a line of text")
    return value.strip()


def _one_of(where: str, said: Mapping[str, object], key: str, usual: str, other: str) -> bool:
    value = said.get(key, usual)
    if value not in {usual, other}:
        raise _wrong(f"{where}.{key}", f"it must be {usual} or {other}")
    return value == other


def _wrong(where: str, what: str) -> Invalid:
    message = f"{where}: {what}."
    return Invalid(message, [Fault(where, message)])


def _in_version(number: int, refused: Invalid) -> Invalid:
    """The same refusal, with the version in which it is so."""
    faults = [Fault(fault.at, f"version {number}: {fault.message}") for fault in refused.faults]
    return Invalid(f"version {number}: {refused.detail}", faults)
