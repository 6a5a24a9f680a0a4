"""Somebody looks how a dataset is used over time, as runs reported it.

Whoever declares or audits there is told of everybody's use, and how many they are; others of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from muniment.core.occasions import Occasion
from muniment.core.oversight import use_told
from muniment.core.uses import DayOfUse
from muniment.flows.house import House, aside
from muniment.store import uses


@dataclass(frozen=True, slots=True)
class UseOverTime:
    """How often a dataset was loaded and saved a day, since a moment; of everybody, or of the reader alone."""

    days: Sequence[DayOfUse]
    since: datetime
    of_all: bool
    revision: int


async def look_at_use(house: House, occasion: Occasion, name: str, days: int) -> UseOverTime:
    """The use of a dataset, or of what a factory pattern makes, in the last days; the asking is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        use = await aside(lambda: use_told(realm, occasion.asker, occasion.at, name))
    await house.record_reading(occasion, realm, name, read="use", days=days)
    since = (occasion.at - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    async with house.db.begin() as tx:
        subject = None if use.of_all else str(occasion.subject)
        found = await uses.by_day(tx, name, since, subject=subject, made=use.made)
    return UseOverTime(found, since, use.of_all, realm.revision)
