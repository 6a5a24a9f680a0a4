"""The drawing of a dataset between its neighbours: where boxes and lines are, and what is written into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from muniment.core.names import domain_of

_BOX_WIDTH: Final = 220
_BOX_HEIGHT: Final = 44
_GAP: Final = 14
_BETWEEN: Final = 70
#: How many neighbours are drawn on each side, and how many letters of a name.
_MOST: Final = 8
_LETTERS: Final = 27


@dataclass(frozen=True)
class Box:
    """A dataset's box; one without a name says how many are not drawn."""

    name: str
    domain: str
    leaf: str
    x: int
    y: int
    here: bool = False
    further: int = 0
    width: int = _BOX_WIDTH
    height: int = _BOX_HEIGHT


@dataclass(frozen=True)
class Way:
    """A line from one box to another, as an SVG path."""

    path: str


@dataclass(frozen=True)
class Drawing:
    """All boxes and ways, in a space of this size."""

    boxes: tuple[Box, ...]
    ways: tuple[Way, ...]
    width: int
    height: int


def drawn(name: str, upstream: Sequence[str], downstream: Sequence[str]) -> Drawing:
    """A dataset in the middle, what it is made from at its left, what is made from it at its right."""
    sides = _rows(upstream), _rows(downstream)
    height = _tall(max(1, *map(len, sides)))
    left = _BOX_WIDTH + _BETWEEN if upstream else 0
    middle = _box(name, left, (height - _BOX_HEIGHT) // 2, here=True)
    up = _column(sides[0], 0, height)
    down = _column(sides[1], left + _BOX_WIDTH + _BETWEEN, height)
    ways = (*(_way(box, middle) for box in up), *(_way(middle, box) for box in down))
    width = left + _BOX_WIDTH + (_BETWEEN + _BOX_WIDTH if downstream else 0)
    return Drawing((*up, middle, *down), ways, width, height)


def _rows(names: Sequence[str]) -> list[str | int]:
    if len(names) <= _MOST:
        return [*names]
    return [*names[: _MOST - 1], len(names) - _MOST + 1]


def _tall(rows: int) -> int:
    return rows * _BOX_HEIGHT + max(rows - 1, 0) * _GAP


def _column(rows: Sequence[str | int], x: int, height: int) -> tuple[Box, ...]:
    top = (height - _tall(len(rows))) // 2
    places = (top + n * (_BOX_HEIGHT + _GAP) for n in range(len(rows)))
    return tuple(
        _box(row, x, y) if isinstance(row, str) else Box("", "", "", x, y, further=row)
        for row, y in zip(rows, places, strict=True)
    )


def _box(name: str, x: int, y: int, *, here: bool = False) -> Box:
    domain = domain_of(name)
    return Box(name, _short(domain), _short(name.removeprefix(f"{domain}.")), x, y, here=here)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _way(start: Box, end: Box) -> Way:
    x, y, x_end, y_end = start.x + start.width, start.y + start.height // 2, end.x, end.y + end.height // 2
    half = (x + x_end) // 2
    return Way(f"M{x} {y} C{half} {y} {half} {y_end} {x_end} {y_end}")
