"""Where data comes from and where it goes: datasets that nodes of reported runs loaded, and saved beside them.

It rests on reports of use (:mod:`muniment.core.uses`), which are claims, of those alone under a lease that their
subject was given. One node of one run that loads a dataset and saves another makes the one upstream of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Side(StrEnum):
    """On which side of a dataset another one is."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """That a node of a project loads one dataset and saves another, of which ``dataset`` is the one not asked about.

    ``project``, ``node`` and ``environment`` are nothing where no report said them.
    """

    dataset: str
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
    """A dataset beside the one that is asked about, and how data passed between them; the latest passage first."""

    dataset: str
    side: Side
    passages: tuple[Passage, ...]


def neighbours_of(
    passages: Iterable[Passage], visible: Collection[str], *, told_of: str | None
) -> tuple[Neighbour, ...]:
    """The neighbours that a reader may know of, by side and name.

    ``told_of`` is the subject of whose runs alone the reader is told where they were; nothing means of all.
    """
    found: defaultdict[tuple[Side, str], dict[tuple[str | None, ...], Passage]] = defaultdict(dict)
    for passage in passages:
        if passage.dataset in visible:
            within = found[passage.side, passage.dataset]
            if told_of is None or told_of in passage.subjects:
                within[passage.place] = _together(within.get(passage.place), passage)
    return tuple(
        Neighbour(name, side, tuple(sorted(within.values(), key=_latest_first)))
        for (side, name), within in sorted(found.items(), key=lambda item: (item[0][0] is Side.DOWNSTREAM, item[0][1]))
    )


def _together(one: Passage | None, other: Passage) -> Passage:
    if one is None:
        return other
    return replace(
        one, subjects=one.subjects | other.subjects, runs=one.runs + other.runs, last=max(one.last, other.last)
    )


def _latest_first(passage: Passage) -> tuple[float, str, str]:
    return (-passage.last.timestamp(), passage.project or "", passage.node or "")
