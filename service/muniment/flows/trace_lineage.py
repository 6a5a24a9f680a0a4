"""Somebody looks where a dataset's data comes from and where it goes, as runs reported it.

They are told of the datasets alone that they may know of: what is hidden is no neighbour, and leads to none. In which
projects and nodes that was they are told of their own runs, and of all where they declare or audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from muniment.core.ledger import Event, Outcome, row
from muniment.core.lineages import Neighbour, neighbours_of
from muniment.core.names import Pattern, domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversees_use
from muniment.core.problems import NotFound
from muniment.core.realm import Realm
from muniment.core.visibility import find, find_each
from muniment.flows.house import House, aside
from muniment.store import lineages


@dataclass(frozen=True, slots=True)
class TracedLineage:
    """The datasets beside one, since a moment; ``of_all`` where the reader is told of everybody's runs."""

    neighbours: Sequence[Neighbour]
    since: datetime
    of_all: bool
    revision: int


async def trace_lineage(house: House, occasion: Occasion, name: str, days: int) -> TracedLineage:
    """What is upstream and downstream of a dataset, or of what a factory pattern makes; the asking is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        of_all, made = await aside(lambda: _asked(realm, occasion, name))
    since = occasion.at - timedelta(days=days)
    async with house.db.begin() as tx:
        found = await lineages.passages(tx, name, since, made=made)
    names = {each.dataset for each in found}
    visible = await aside(lambda: find_each(realm, occasion.asker, occasion.at, names))
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            datasets=(name,),
            details={"read": "lineage", "days": days},
        )
    )
    known = {each for each, dataset in visible.items() if dataset is not None}
    told_of = None if of_all else str(occasion.subject)
    return TracedLineage(neighbours_of(found, known, told_of=told_of), since, of_all, realm.revision)


def _asked(realm: Realm, occasion: Occasion, name: str) -> tuple[bool, str | None]:
    """Whether the reader is told of everybody's runs, and what the names match that the dataset makes, if it does."""
    dataset = find(realm, occasion.asker, occasion.at, name)
    if dataset is None:
        raise NotFound
    of_all = oversees_use(realm, occasion.asker, occasion.at, domain_of(name))
    return of_all, Pattern(name).expression if dataset.is_pattern else None
