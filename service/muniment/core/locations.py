"""Where a domain's data may lie, and whether a path lies there.

A location is a canonical URL prefix that ends in ``/``. Only administrators set
locations, so a definition can name no place that nobody gave to its domain. A path
is read here once, strictly: whatever two programs might read differently (percent
encoding, ``..``, globs, chains, a user or a port before the path) is refused instead
of repaired. So that a path lies inside a location is the same as that its text
begins with the location's text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from muniment.core.problems import Fault, Invalid

#: The longest path or location, in characters.
LONGEST_PATH = 1024

#: The scheme of paths inside the project's own data folder: they need no location.
PROJECT = "project"

#: The one folder of a project that a path may reach: its code, settings and credentials lie beside it.
PROJECT_FOLDER = "data/"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_CONTAINER_AT_ACCOUNT = re.compile(r"[a-z0-9$][a-z0-9-]{0,62}@[a-z0-9]{3,24}(\.[a-z0-9-]{1,63})+")
_AUTHORITIES: Mapping[str, re.Pattern[str]] = {
    "s3": _BUCKET,
    "gs": _BUCKET,
    "abfs": _BUCKET,
    "abfss": _CONTAINER_AT_ACCOUNT,
    "file": re.compile(""),
}
_SPELLED_OTHERWISE: Mapping[str, str] = {
    "s3a": "Write s3://bucket/… instead.",
    "s3n": "Write s3://bucket/… instead.",
    "gcs": "Write gs://bucket/… instead.",
    "az": "Write abfss://container@account.dfs.core.windows.net/… instead.",
    "adl": "Write abfss://container@account.dfs.core.windows.net/… instead.",
    "wasb": "Write abfss://container@account.dfs.core.windows.net/… instead.",
    "wasbs": "Write abfss://container@account.dfs.core.windows.net/… instead.",
}
_HOW_AUTHORITIES_LOOK: Mapping[str, str] = {
    "s3": "s3://bucket/…, with the bucket's name alone before the path",
    "gs": "gs://bucket/…, with the bucket's name alone before the path",
    "abfs": "abfs://container/… or abfss://container@account.dfs.core.windows.net/…",
    "abfss": "abfss://container@account.dfs.core.windows.net/…",
    "file": "file:///folder/…, with no host before the path",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: Characters that some reader gives a meaning: globs, queries, encodings, quotes, shells.
_SPECIAL = re.compile(r"[*?\[\]{}\\#%,;|\"'<>^`$&!\x00-\x1f\x7f]")
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: What a variable may be so that it can stand within one segment of a path.
_SEGMENT_PART = re.compile(r"[A-Za-z0-9_](?:\.?[A-Za-z0-9_=-])*")


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A canonical URL prefix; :attr:`url` ends in ``/``. Made by :func:`parse_location`."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        """The storage's scheme: ``s3``, ``gs``, ``abfs``, ``abfss`` or ``file``."""
        return self.url.partition("://")[0]


def parse_location(text: str) -> Location:
    """Read a location as an administrator writes it; raises :class:`Invalid`."""
    url = canonical_path(text)
    if url.startswith(f"{PROJECT}://"):
        raise _refusal("A project's own files need no location: project:// paths are always the project's.")
    if not url.endswith("/"):
        raise _refusal("A location is a folder and ends in /: write a / at its end.")
    if url == "file:///":
        raise _refusal("The whole file system can't be a location. Name a folder in it.")
    return Location(url)


def canonical_path(text: str) -> str:
    """The one spelling of a path; raises :class:`Invalid` for whatever could be read in two ways.

    An absolute plain path becomes ``file://…``; everything else is canonical already or
    refused, a path relative to the project too.
    """
    if len(text) > LONGEST_PATH:
        raise _refusal(f"A path has at most {LONGEST_PATH} characters.")
    _refuse_special_characters(text)
    scheme, authority, rest = _split(text)
    _refuse_unsafe_segments(rest)
    return f"{scheme}://{authority}/{rest}" if scheme != PROJECT else f"{scheme}://{rest}"


def inside(path: str, locations: Iterable[Location]) -> bool:
    """Whether a path is readable in one way only and lies inside one of these locations."""
    try:
        canonical = canonical_path(path)
    except Invalid:
        return False
    return any(canonical.startswith(location.url) for location in locations)


def overlapping(one: Location, other: Location) -> bool:
    """Whether some file could lie inside both.

    Careful where storages differ: folders of a file system are compared without regard
    to case, and containers of Azure without regard to the account.
    """
    first, second = _place(one), _place(other)
    return first.startswith(second) or second.startswith(first)


def check_overlaps(domain_locations: Mapping[str, Sequence[Location]]) -> list[Fault]:
    """One fault for each pair of overlapping locations of domains in different branches.

    A domain's location may lie inside its ancestor's: that is how an area is divided.
    """
    placed = [(domain, location) for domain, own in sorted(domain_locations.items()) for location in own]
    return [
        Fault(
            f"domains.{second}.locations",
            f"{there} overlaps {here}, a location of {first}. Locations of different branches must not overlap.",
        )
        for index, (first, here) in enumerate(placed)
        for second, there in placed[index + 1 :]
        if not _same_branch(first, second) and overlapping(here, there)
    ]


def reach(
    domain: str, domain_locations: Mapping[str, Sequence[Location]]
) -> tuple[tuple[Location, ...], tuple[Location, ...]]:
    """The locations a domain's definitions may use, and those of other branches, which they may not.

    The second matters because a sibling's location can lie inside a common ancestor's.
    """
    usable: list[Location] = []
    foreign: list[Location] = []
    for other, own in sorted(domain_locations.items()):
        if other == domain or domain.startswith(f"{other}."):
            usable.extend(own)
        elif not other.startswith(f"{domain}."):
            foreign.extend(own)
    return tuple(usable), tuple(foreign)


def safe_in_path(value: object) -> bool:
    """Whether a variable's value can stand within one segment of a path without leaving it."""
    return isinstance(value, str) and len(value) <= LONGEST_PATH and _SEGMENT_PART.fullmatch(value) is not None


def _split(text: str) -> tuple[str, str, str]:
    """Scheme, authority and the path without its first slash."""
    if text.startswith("/"):
        return "file", "", text[1:]
    found = _SCHEME.match(text)
    if found is None:
        raise _refusal(_not_absolute(text))
    scheme, after = found[1], text[found.end() :]
    if scheme == PROJECT:
        if not after.startswith(PROJECT_FOLDER):
            raise _refusal("A path inside the project begins with project://data/: the rest of it is nobody's data.")
        return scheme, "", after
    _refuse_unknown_scheme(scheme)
    authority, slash, rest = after.partition("/")
    if not slash or not _AUTHORITIES[scheme].fullmatch(authority) or ".." in authority:
        raise _refusal(f"Such a path is written {_HOW_AUTHORITIES_LOOK[scheme]}.")
    return scheme, authority, rest


def _not_absolute(text: str) -> str:
    if ":" in text:
        return "A path is absolute (/folder/…) or a URL such as s3://bucket/…: this is neither."
    relative = text.removeprefix("./") or f"{PROJECT_FOLDER}…"
    own = f"project://{PROJECT_FOLDER}{relative.removeprefix(PROJECT_FOLDER)}"
    return (
        f"A relative path means another place in each project. If the file belongs to the project, write {own}; "
        f"if not, write the absolute location, such as s3://bucket/{relative}."
    )


def _refuse_unknown_scheme(scheme: str) -> None:
    if scheme in _AUTHORITIES:
        return
    lowered = scheme.lower()
    if lowered in _AUTHORITIES or lowered == PROJECT:
        raise _refusal(f"Write {lowered}:// in lower case.")
    raise _refusal(
        _SPELLED_OTHERWISE.get(lowered, f"Paths begin with {', '.join(f'{s}://' for s in _AUTHORITIES)} or project://.")
    )


def _refuse_special_characters(text: str) -> None:
    if "::" in text:
        raise _refusal("A path must not chain file systems with '::'. Name the storage itself.")
    special = _SPECIAL.search(text)
    if special:
        raise _refusal(f"A path must not hold {special[0]!r}: programs read it in different ways.")
    if not text.isascii():
        _refuse_strange_letters(text)


def _refuse_strange_letters(text: str) -> None:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise _refusal("A path must not hold invisible or unprintable characters.")
    if unicodedata.normalize("NFC", text) != text:
        raise _refusal("A path must be written in composed letters (Unicode NFC).")


def _refuse_unsafe_segments(rest: str) -> None:
    """Refuse a path whose segments could step outside it; a ``/`` at its end is allowed."""
    segments = rest.removesuffix("/").split("/") if rest else []
    for segment in segments:
        if not segment:
            raise _refusal("A path must not hold '//' after its beginning, nor be empty.")
        if not segment.strip("."):
            raise _refusal("A path must not hold '.' or '..': write where it leads.")
        if segment != segment.strip():
            raise _refusal("No part of a path may begin or end with a space.")
        if segment.startswith("~"):
            raise _refusal("A path must not begin a part with '~': write the folder itself.")


def _same_branch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _place(location: Location) -> str:
    scheme, _, rest = location.url.partition("://")
    if scheme == "file":
        return f"file://{rest.casefold()}"
    if scheme in {"abfs", "abfss"}:
        authority, _, path = rest.partition("/")
        return f"abfs://{authority.partition('@')[0]}/{path}"
    return location.url


def _refusal(message: str) -> Invalid:
    return Invalid(message, [Fault("path", message)])
