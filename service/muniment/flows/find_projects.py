"""Whoever declares or audits a dataset sees which projects use it: before it is renamed, changed or retired.

The ledger knows: who was given it by name, who checked a run that needs it, who said that they loaded or saved it.
What is told is how many they are, and not who.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from muniment.core.datasets import Dataset
from muniment.core.names import Pattern, domain_of
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.runs import UsingProject, projects_of
from muniment.core.schema import Action
from muniment.core.visibility import find, may_govern, may_name
from muniment.flows.house import House, aside
from muniment.store import runs


@dataclass(frozen=True, slots=True)
class FoundProjects:
    """The projects that used a dataset since a moment; not ``complete`` when the ledger holds more than was read."""

    projects: Sequence[UsingProject]
    since: datetime
    complete: bool
    revision: int


async def find_projects(house: House, occasion: Occasion, name: str, days: int) -> FoundProjects:
    """Which projects used a dataset, or what a factory pattern makes, in the last days; the asking is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        dataset = await aside(lambda: _overseen(realm, occasion, name))
    await house.record_reading(occasion, realm, name, read="projects", days=days)
    since = occasion.at - timedelta(days=days)
    async with house.db.begin() as tx:
        made = Pattern(name).expression if dataset.is_pattern else None
        found = await runs.using(tx, name, since, made=made)
    own = [use for use in found.uses if not dataset.is_pattern or realm.source_of(use.dataset) == name]
    return FoundProjects(projects_of(own, name), since, found.complete, realm.revision)


def _overseen(realm: Realm, occasion: Occasion, name: str) -> Dataset:
    """The dataset of which the asker may ask who uses it; others learn no more than that they know of it."""
    asker, at = occasion.asker, occasion.at
    known = find(realm, asker, at, name)
    if not may_name(name):
        raise NotFound
    domain = domain_of(name)
    oversees = any(may_govern(realm, asker, at, action, domain) for action in (Action.DECLARE, Action.AUDIT))
    dataset = realm.resolve(name) if oversees else known
    if dataset is None:
        raise NotFound
    if not oversees:
        raise NotAllowed(f"To see which projects use this dataset you need declare or audit in {domain}.")
    return dataset
