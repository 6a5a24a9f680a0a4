"""Where data comes from and where it goes: datasets that nodes of reported runs loaded, and saved beside them.

It rests on reports of use (:mod:`muniment.core.uses`), which are claims, of those alone under a lease that their
subject was given. One node of one run that loads a dataset and saves another makes the one upstream of the other.

It is followed step by step, and only from a dataset that the reader may know of: so what is told is no more than stands
on the pages of those datasets, each read for itself, and a path through what is hidden ends before it (decision 0054).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

#: How many steps are gone at most, how many datasets are told of on each side, and how many of a step are followed.
MOST_STEPS: Final = 5
MOST_TOLD: Final = 500
MOST_FOLLOWED: Final = 60


class Side(StrEnum):
    """On which side of a dataset another one is."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """That a node of a project loads one dataset and saves another: ``dataset`` lies on that side of ``beside``.

    ``project``, ``node`` and ``environment`` are nothing where no report said them.
    """

    dataset: str
    beside: str
    side: Side
    project: str | None
    node: str | None
    environment: str | None
    subjects: frozenset[str]
    runs: int
    last: datetime

    @property
    def place(self) -> tuple[str | None, ...]:
        """Where it is."""
        return (self.project, self.node, self.environment)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A dataset beside another, and how data passed between them, the latest passage first.

    ``steps`` is how far it is from the dataset that is asked about, on the shortest of the ways that were followed.
    """

    dataset: str
    beside: str
    side: Side
    steps: int
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """What is told of a step, and from where the next one goes; ``cut`` where there is more than that."""

    neighbours: tuple[Neighbour, ...]
    following: Mapping[Side, tuple[str, ...]]
    cut: bool


def neighbours_of(
    passages: Iterable[Passage], visible: Collection[str], told_of: Callable[[str], str | None], steps: int = 1
) -> tuple[Neighbour, ...]:
    """The neighbours that a reader may know of, by side, name and what they are beside.

    ``told_of`` gives for a dataset the subject of whose runs with it alone the reader is told where they were; nothing
    means of all.
    """
    found: defaultdict[tuple[Side, str, str], dict[tuple[str | None, ...], Passage]] = defaultdict(dict)
    for passage in passages:
        if passage.dataset in visible:
            within = found[passage.side, passage.dataset, passage.beside]
            alone = told_of(passage.beside)
            if alone is None or alone in passage.subjects:
                within[passage.place] = _together(within.get(passage.place), passage)
    return tuple(
        Neighbour(name, beside, side, steps, tuple(sorted(within.values(), key=_latest_first)))
        for (side, name, beside), within in sorted(
            found.items(), key=lambda item: (item[0][0] is Side.DOWNSTREAM, *item[0][1:])
        )
    )


def follow(neighbours: Sequence[Neighbour], known: Mapping[Side, set[str]], *, further: bool) -> Followed:
    """What is told of a step, and where the next one goes if there is a ``further`` one: to what is new on each side.

    What is told of is added to ``known``. By name, not by what happened last: that may be what others did.
    """
    following: dict[Side, tuple[str, ...]] = {}
    cut = False
    for side, names in known.items():
        found = sorted({each.dataset for each in neighbours if each.side is side} - names)
        new = found[: MOST_TOLD - len(names)]
        names.update(new)
        following[side] = tuple(new[:MOST_FOLLOWED]) if further else ()
        cut |= len(new) < len(found) or (further and len(new) > MOST_FOLLOWED)
    return Followed(tuple(each for each in neighbours if each.dataset in known[each.side]), following, cut)


def _together(one: Passage | None, other: Passage) -> Passage:
    if one is None:
        return other
    return replace(
        one, subjects=one.subjects | other.subjects, runs=one.runs + other.runs, last=max(one.last, other.last)
    )


def _latest_first(passage: Passage) -> tuple[float, str, str]:
    return (-passage.last.timestamp(), passage.project or "", passage.node or "")
