"""What changed between two texts, line by line, as a table can show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

#: How many lines that stayed stand around those that did not.
_AROUND: Final = 3

#: Beyond so many lines, to find the fewest changes would take long: then all of one gives way to all of the other.
_MOST: Final = 2_000


@dataclass(frozen=True)
class Line:
    """One line: there now and not before, before and not now, or both; or the place where lines are left out."""

    sign: Literal["+", "-", " ", "…"]
    text: str
    before: int | None = None
    after: int | None = None


def lines(before: str, after: str) -> tuple[Line, ...]:
    """The lines that changed from one text to the other, with a few around them; none where nothing did."""
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        return ()
    if max(len(old), len(new)) > _MOST:
        return (*_gone(old, 0, len(old)), *_come(new, 0, len(new)))
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    groups = list(matcher.get_grouped_opcodes(_AROUND))
    found: list[Line] = []
    reached = 0
    for group in groups:
        if group[0][1] > reached:
            found.append(Line("…", ""))
        for what, i, i_end, j, j_end in group:
            if what == "equal":
                found.extend(Line(" ", old[i + n], i + n + 1, j + n + 1) for n in range(i_end - i))
            else:
                found.extend((*_gone(old, i, i_end), *_come(new, j, j_end)))
        reached = group[-1][2]
    if reached < len(old):
        found.append(Line("…", ""))
    return tuple(found)


def _gone(old: list[str], start: int, end: int) -> Iterator[Line]:
    return (Line("-", old[n], before=n + 1) for n in range(start, end))


def _come(new: list[str], start: int, end: int) -> Iterator[Line]:
    return (Line("+", new[n], after=n + 1) for n in range(start, end))
