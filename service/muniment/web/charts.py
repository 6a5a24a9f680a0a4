"""The shapes of charts: numbers in, rectangles and lines out.

A chart is drawn in a space of its own and stretched to the page's width; nothing is written into it, because letters
would be stretched too. What it says stands in its description, and in the table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WIDTH: Final = 600
_HEIGHT: Final = 160
#: What part of its room a bar leaves free.
_GAP: Final = 0.2
#: The least height of a bar that stands for something.
_LEAST: Final = 2.0
_RULES: Final = 2


@dataclass(frozen=True)
class Bar:
    """One bar, what it stands for, and where it is."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Rule:
    """A line across, at half of the greatest value and at all of it."""

    y: float


@dataclass(frozen=True)
class Chart:
    """Bars beside each other, and everything that is said about them."""

    title: str
    #: What the bars are side by side over ("Day"), and what their heights count ("Times used").
    over: str
    counts: str
    #: What one would say who looks at it.
    said: str
    bars: tuple[Bar, ...]
    lines: tuple[Rule, ...]
    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def first(self) -> str:
        """The label at the left."""
        return self.bars[0].label if self.bars else ""

    @property
    def last(self) -> str:
        """The label at the right."""
        return self.bars[-1].label if self.bars else ""

    @property
    def most(self) -> str:
        """What the highest line across stands for."""
        return f"{self.counts}: 0 – {max((bar.value for bar in self.bars), default=0):,}"


def bars(title: str, over: str, counts: str, values: Sequence[tuple[str, int]]) -> Chart:
    """A chart of these values, in their order; a value that is not 0 can be seen."""
    most = max((value for _, value in values), default=0)
    room = _WIDTH / len(values) if values else 0.0
    drawn = tuple(_bar(n, label, value, most, room) for n, (label, value) in enumerate(values))
    lines = tuple(Rule(_HEIGHT * n / _RULES) for n in range(_RULES)) if most else ()
    return Chart(title, over, counts, _said(counts, values), drawn, lines)


def _bar(n: int, label: str, value: int, most: int, room: float) -> Bar:
    height = max(_HEIGHT * value / most, _LEAST) if value else 0.0
    width, x = room * (1 - _GAP), room * (n + _GAP / 2)
    return Bar(label, value, round(x, 2), round(_HEIGHT - height, 2), round(width, 2), round(height, 2))


def _said(counts: str, values: Sequence[tuple[str, int]]) -> str:
    total = sum(value for _, value in values)
    if not total:
        return f"{counts}: 0."
    label, value = max(values, key=lambda each: each[1])
    return f"{counts}: {total:,}. {values[0][0]} – {values[-1][0]}. {label}: {value:,}."
