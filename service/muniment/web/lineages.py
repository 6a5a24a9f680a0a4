"""The drawing of a dataset between its neighbours: where boxes and lines are, and what is written into them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from muniment.core.lineages import Neighbour, Side
from muniment.core.names import domain_of

_BOX_WIDTH: Final = 166
_BOX_HEIGHT: Final = 44
_GAP: Final = 14
_BETWEEN: Final = 44
#: How many datasets are drawn above each other, and how many letters of a name.
_MOST: Final = 8
_LETTERS: Final = 20
#: How many columns can be read when they are made as small as a page is wide.
_MOST_COLUMNS: Final = 6

#: A box by its dataset and the side on which it is; the dataset in the middle is on none.
_Key = tuple[Side | None, str]


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

    @property
    def wide(self) -> bool:
        """Whether its letters could not be read if it were made as small as a page is wide."""
        return self.width > _MOST_COLUMNS * (_BOX_WIDTH + _BETWEEN)


@dataclass(frozen=True)
class Sided:
    """What is on one side: beside the dataset, and further away; and how many datasets those are."""

    beside: Sequence[Neighbour]
    further: Sequence[Neighbour]

    @property
    def datasets(self) -> int:
        """How many datasets there are on this side."""
        return len({each.dataset for each in (*self.beside, *self.further)})


def sided(neighbours: Sequence[Neighbour], side: Side) -> Sided:
    """What is on a side of the dataset that is asked about, the nearest first."""
    found = [each for each in neighbours if each.side is side]
    return Sided([each for each in found if each.steps == 1], [each for each in found if each.steps > 1])


def drawn(name: str, neighbours: Sequence[Neighbour]) -> Drawing:
    """A dataset in the middle, what it is made from at its left, what is made from it at its right, step by step."""
    columns = {side: _columns(name, sided(neighbours, side)) for side in Side}
    height = _tall(max(1, *(len(rows) for each in columns.values() for rows in each)))
    lefts, rights = len(columns[Side.UPSTREAM]), len(columns[Side.DOWNSTREAM])
    boxes: dict[_Key, Box] = {(None, name): _box(name, _left(lefts), (height - _BOX_HEIGHT) // 2, here=True)}
    spare: list[Box] = []
    for side, each in columns.items():
        for step, rows in enumerate(each, start=1):
            x = _left(lefts - step if side is Side.UPSTREAM else lefts + step)
            for row, box in zip(rows, _column(rows, x, height), strict=True):
                if isinstance(row, str):
                    boxes[side, row] = box
                else:
                    spare.append(box)
    ways = _ways(name, neighbours, boxes)
    beside = [_way(box, boxes[None, name]) for box in spare if box.x + _BOX_WIDTH + _BETWEEN == boxes[None, name].x]
    beside += [_way(boxes[None, name], box) for box in spare if box.x == _left(lefts + 1)]
    return Drawing((*boxes.values(), *spare), (*ways, *beside), _left(lefts + rights) + _BOX_WIDTH, height)


def _left(column: int) -> int:
    return column * (_BOX_WIDTH + _BETWEEN)


def _columns(name: str, found: Sided) -> list[list[str | int]]:
    """The rows of each step, those beside each other that lead to the same; a number where there is no more room."""
    nearest: dict[str, int] = {}
    leads: defaultdict[str, set[str]] = defaultdict(set)
    for each in (*found.beside, *found.further):
        if each.dataset != name:
            nearest.setdefault(each.dataset, each.steps)
            leads[each.dataset].add(each.beside)
    columns: list[list[str | int]] = []
    places: Mapping[str, float] = {name: 0.0}
    for step in range(1, max(nearest.values(), default=0) + 1):
        here = sorted(
            (dataset for dataset, steps in nearest.items() if steps == step),
            key=lambda dataset: (fmean(places.get(each, _MOST) for each in leads[dataset]), dataset),
        )
        places = {dataset: float(row) for row, dataset in enumerate(here)}
        columns.append(_rows(here))
    return columns


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


def _ways(name: str, neighbours: Sequence[Neighbour], boxes: Mapping[_Key, Box]) -> list[Way]:
    """The lines between boxes, from what is loaded to what is saved; those that would go back stand in the tables."""
    found = {}
    for each in neighbours:
        far = boxes.get((each.side, each.dataset))
        near = boxes.get((None if each.beside == name else each.side, each.beside))
        if far is None or near is None:
            continue
        start, end = (far, near) if each.side is Side.UPSTREAM else (near, far)
        if start.x < end.x:
            found[each.side, each.dataset, each.beside] = _way(start, end)
    return list(found.values())


def _way(start: Box, end: Box) -> Way:
    x, y, x_end, y_end = start.x + start.width, start.y + start.height // 2, end.x, end.y + end.height // 2
    half = (x + x_end) // 2
    return Way(f"M{x} {y} C{half} {y} {half} {y_end} {x_end} {y_end}")
