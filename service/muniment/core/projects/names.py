"""Governed names for a project's own: one for each, always the same, and never one for two.

A governed leaf is made of a-z, 0-9 and _, so what Kedro allows beside that (upper case, dots of
namespaces, ``@`` of transcoding, ``#``) is written in those. Names that would become one get a number; a factory
pattern that would be taken for names of another gets no governed name at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from muniment.core.names import Pattern, is_dataset

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_NOT_OURS = re.compile(r"[^a-z0-9_]+")
#: Values to try patterns with; a literal part of another pattern in them is what can mislead.
_TRIED = ("x", "x_y")
_MOST_TRIED = 40


@dataclass(frozen=True, slots=True)
class Named:
    """A governed name, and what the placeholders of the project's pattern are called in it."""

    governed: str
    placeholders: Mapping[str, str]

    def mapped(self, name: str) -> str:
        """The project's name with its placeholders called so."""
        return _PLACEHOLDER.sub(lambda found: f"{{{self.placeholders[found[1]]}}}", name)

    def renamed(self, definition: Mapping[str, object]) -> dict[str, object]:
        """The definition with its placeholders called so."""
        changed = {old: new for old, new in self.placeholders.items() if old != new}
        return {key: _renamed(value, changed) for key, value in definition.items()}


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Why no governed name can stand for a name."""

    why: str
    catches_all: bool = False


def is_pattern(name: str) -> bool:
    """Whether Kedro takes a name for a factory pattern."""
    return "{" in name


def governed_names(
    names: Iterable[str], domain: str, standing: Mapping[str, str]
) -> tuple[Mapping[str, Named], Mapping[str, Unnamed]]:
    """A governed name for each that can have one, the same whatever the order; and why the others have none.

    ``standing`` is what the project's ``names:`` says already: that stays, and is nobody else's. Where one underscore
    for the dot of a namespace would leave patterns that are taken for each other, two stand for it.
    """
    all_names = tuple(names)
    found, unnamed = _named({name: leaf_of(name) for name in all_names}, domain, standing)
    if any(is_pattern(name) for name in unnamed):
        doubled = {name: leaf_of(name.replace(".", "__") if is_pattern(name) else name) for name in all_names}
        apart = _named(doubled, domain, standing)
        if len(apart[1]) < len(unnamed):
            return apart
    return found, unnamed


def _named(
    leafs: Mapping[str, str], domain: str, standing: Mapping[str, str]
) -> tuple[Mapping[str, Named], Mapping[str, Unnamed]]:
    found: dict[str, Named] = {}
    unnamed: dict[str, Unnamed] = {}
    given = {*standing.values()}
    # Names that are governed names already keep them; of the others the first in the alphabet goes first.
    for name in sorted(leafs, key=lambda each: (leafs[each] != each, is_pattern(each), each)):
        placeholders = _placeholders(name)
        why = _unusable(name, leafs[name], placeholders)
        mapped = standing.get(Named("", placeholders).mapped(name), "")
        stands = mapped.startswith(f"{domain}.") and is_dataset(mapped)
        governed = None if why else mapped if stands else _free(domain, leafs[name], given)
        if governed is None:
            unnamed[name] = why or Unnamed("No governed name can be made of it: it would be too long, or hold nothing.")
            continue
        given.add(governed)
        found[name] = Named(governed, placeholders)
    for name in _misleading(found):
        del found[name]
        unnamed[name] = Unnamed("For some of its names another dataset would be taken. Rename the pattern.")
    return found, unnamed


def leaf_of(name: str) -> str:
    """A name as a leaf of a governed name; placeholders stay."""
    literals = _PLACEHOLDER.split(name)[::2]
    written = [_plain(literal) for literal in literals]
    last = len(written) - 1
    # What stands between two placeholders has to be told from what fills them.
    parts = ["__" if 0 < at < last and part == "_" else part for at, part in enumerate(written)]
    placeholders = _placeholders(name).values()
    leaf = "".join(part + (f"{{{placeholder}}}") for part, placeholder in zip(parts, placeholders, strict=False))
    leaf += parts[-1]
    leaf = leaf if leaf[:1].isalpha() or leaf[:1] == "{" else f"d_{leaf}".replace("d__", "d_")
    return f"{leaf}_data" if leaf in {"params", "parameters"} else leaf


def _plain(text: str) -> str:
    """A text in the letters of governed names."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    spelled = ascii_only if ascii_only.strip("_- .") or text.isascii() else "_".join(f"{ord(c):x}" for c in text)
    return _NOT_OURS.sub("_", spelled.lower())


def _placeholders(name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for old in _PLACEHOLDER.findall(name):
        new = old.lower().lstrip("_") or "part"
        while new in found.values():
            new += "_"
        found[old] = new
    return found


def _unusable(name: str, leaf: str, placeholders: Mapping[str, str]) -> Unnamed | None:
    if not name.strip() or name == "parameters" or name.startswith("params:"):
        return Unnamed("Kedro takes this name for parameters.")
    if not is_pattern(name):
        return None
    rest = _PLACEHOLDER.sub("", name)
    if "{" in rest or "}" in rest:
        return Unnamed("Its placeholders are none that a governed pattern can have: {name}, without a format.")
    if not _PLACEHOLDER.sub("", leaf).strip("_"):
        return Unnamed("It catches every name, or every one in a namespace.", catches_all=True)
    if len(placeholders) != len(_PLACEHOLDER.findall(name)):
        return Unnamed("The same placeholder stands in it twice.")
    return None


def _free(domain: str, leaf: str, given: set[str]) -> str | None:
    for number in range(1, len(given) + 2):
        governed = f"{domain}.{leaf}" if number == 1 else f"{domain}.{leaf}_{number}"
        if not is_dataset(governed):
            return None
        if governed not in given:
            return governed
    return None


def _misleading(named: Mapping[str, Named]) -> tuple[str, ...]:
    """The patterns of which some name would be read as another dataset's."""
    patterns = {name: each for name, each in named.items() if is_pattern(name)}
    governed = [(Pattern(each.governed), name) for name, each in patterns.items()]
    exact = {each.governed: name for name, each in named.items() if not is_pattern(name)}
    found: dict[str, None] = {}
    for name, each in patterns.items():
        own = Pattern(each.governed)
        if any(
            (values := own.match(other)) is not None and _filled(name, each, values) not in (local, *exact.values())
            for other, local in exact.items()
        ) or any(_taken_for(made, governed) != name for made in _tries(name, each, patterns)):
            found[name] = None
    return tuple(found)


def _filled(name: str, named: Named, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[named.placeholders[found[1]]], name)


def _tries(name: str, named: Named, patterns: Mapping[str, Named]) -> list[str]:
    """Governed names that names of a pattern become, if it is this pattern that Kedro takes for them."""
    values = list(_TRIED)
    for other in list(patterns)[:_MOST_TRIED]:
        values += [_plain(f"x{literal}x").strip("_") for literal in _PLACEHOLDER.split(other)[::2] if literal]
    made: list[str] = []
    for value in dict.fromkeys(values):
        local = _PLACEHOLDER.sub(value, name)
        if _of_kedro(local, patterns) == name:
            leaf = _PLACEHOLDER.sub(value, named.governed)
            made.append(leaf)
    return made


def _of_kedro(local: str, patterns: Iterable[str]) -> str | None:
    """The pattern that Kedro takes for a name: the one with most text outside its placeholders."""
    matching = [each for each in patterns if re.fullmatch(_regex(each), local, re.IGNORECASE)]
    return min(matching, key=lambda each: (-len(_PLACEHOLDER.sub("", each)), -each.count("{"), each), default=None)


def _regex(pattern: str) -> str:
    return "(.+?)".join(re.escape(literal) for literal in _PLACEHOLDER.split(pattern)[::2])


def _taken_for(made: str, governed: Iterable[tuple[Pattern, str]]) -> str | None:
    """The project's pattern whose governed one the service takes for a name."""
    matching = [(pattern.rank, name) for pattern, name in governed if pattern.match(made) is not None]
    return min(matching)[1] if matching else None


def _renamed(value: object, changed: Mapping[str, str]) -> object:
    if not changed:
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(item, changed) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, changed) for item in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"(?<![$\w])\{(\w+)\}", lambda found: f"{{{changed.get(found[1], found[1])}}}", value)
