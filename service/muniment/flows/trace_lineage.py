"""Somebody looks where a dataset's data comes from and where it goes, as runs reported it, one step or several.

They are told of the datasets alone that they may know of: what is hidden is no neighbour, and leads to none. In which
projects and nodes that was they are told of their own runs, and of all where they declare or audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from muniment.core.lineages import Neighbour, Passage, Side, follow, neighbours_of
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversees_use, use_told
from muniment.core.realm import Realm
from muniment.core.visibility import find_each
from muniment.flows.house import House, aside
from muniment.store import lineages


@dataclass(frozen=True, slots=True)
class TracedLineage:
    """The datasets around one, since a moment, the nearest first; ``of_all`` where the reader is told of all runs.

    ``cut`` says that there were more on a step than are followed.
    """

    neighbours: Sequence[Neighbour]
    since: datetime
    of_all: bool
    cut: bool
    revision: int


async def trace_lineage(house: House, occasion: Occasion, name: str, days: int, steps: int) -> TracedLineage:
    """What is upstream and downstream of a dataset, or of what a factory pattern makes; the asking is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        use = await aside(lambda: use_told(realm, occasion.asker, occasion.at, name))
    since = occasion.at - timedelta(days=days)
    async with house.db.begin() as tx:
        found = await lineages.passages(tx, name, since, made=use.made)
    await house.record_reading(occasion, realm, name, read="lineage", days=days, steps=steps)
    neighbours: list[Neighbour] = []
    known = {side: {name} for side in Side}
    cut = False
    for step in range(1, steps + 1):
        told = await aside(lambda: _told(realm, occasion, found, step))  # noqa: B023 - it is over before the next step
        followed = follow(told, known, further=step < steps)
        neighbours += followed.neighbours
        cut |= followed.cut
        if not any(followed.following.values()):
            break
        async with house.db.begin() as tx:
            found = await lineages.further(tx, followed.following, since)
    return TracedLineage(neighbours, since, use.of_all, cut, realm.revision)


def _told(realm: Realm, occasion: Occasion, found: Sequence[Passage], step: int) -> tuple[Neighbour, ...]:
    """The neighbours of a step that the asker may know of, with the runs that they are told of beside each dataset."""
    visible = find_each(realm, occasion.asker, occasion.at, {each.dataset for each in found})
    known = {name for name, dataset in visible.items() if dataset is not None}

    @cache
    def alone(domain: str) -> str | None:
        of_all = oversees_use(realm, occasion.asker, occasion.at, domain)
        return None if of_all else str(occasion.subject)

    return neighbours_of(found, known, lambda beside: alone(domain_of(beside)), step)
