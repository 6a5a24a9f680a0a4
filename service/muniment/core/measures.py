"""What is counted as the service works: plain numbers, held by whoever does the work.

To count is to add to a number: it costs well under a microsecond, waits for nothing and
cannot fail. Whoever wants to know reads the numbers (``api/metrics.py``), as often as they like.
A counter is an ``int`` or a ``float`` that only grows; how values are spread is a
:class:`Spread`. What takes how long is told by the one who did it, who read the clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

#: Bounds of seconds: an answer in memory at their lower end, what a caller gives up on at their upper one.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Bounds of how many travel together.
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Spread:
    """How many values fell below each of some bounds and not below the one before; the last place is above them all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds: Final = tuple(bounds)
        self.counts: Final = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value; one that equals a bound is below it, as Prometheus counts (``le``)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)
