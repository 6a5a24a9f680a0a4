"""How much of the ledger there is: what was given, what is said to have been used, what was refused, counted.

The three are never added up: that a lease was given is what the service did, a use is what a client says, and a
refusal is what did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from muniment.core.ledger import Event

#: The longest time that is counted, the one that is where none is said, and from where on it may take a moment.
LONGEST: Final = timedelta(days=366)
USUAL: Final = timedelta(days=30)
LONG: Final = timedelta(days=92)

#: Before this there is no ledger, and a little before the first year no time to count back from.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: How many names are told, those with the most first, and how many in a file; of days every one.
MOST: Final = 100
MOST_IN_A_FILE: Final = 50_000


class By(StrEnum):
    """What is counted apart. Leases of whole catalogs name no dataset, so by dataset and domain those do not count."""

    DAY = "day"
    DOMAIN = "domain"
    DATASET = "dataset"
    TEAM = "team"
    PROJECT = "project"
    SUBJECT = "subject"


#: Which rows are counted as what.
COUNTED: Final[Mapping[str, tuple[Event, ...]]] = MappingProxyType(
    {
        "given": (Event.LEASE_SERVED,),
        "used": (Event.USE_REPORTED,),
        "refused": (Event.ACCESS_DENIED, Event.REFUSAL_REPORTED),
    }
)


@dataclass(frozen=True, slots=True)
class Figure:
    """How many rows there are of one day, domain, dataset, team, project or subject; an empty name is of none."""

    name: str
    given: int = 0
    used: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted, from ``since`` until ``until``; ``untold`` names are more than are told."""

    by: By
    since: datetime
    until: datetime
    figures: tuple[Figure, ...]
    untold: int = 0


def every_day(found: Iterable[Figure], since: datetime, until: datetime) -> tuple[Figure, ...]:
    """The figures of every day (UTC) of a time, those on which nothing happened among them."""
    known = {each.name: each for each in found}
    first, last = since.astimezone(UTC).date(), (until.astimezone(UTC) - timedelta(microseconds=1)).date()
    days = ((first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1))
    return tuple(known.get(day, Figure(day)) for day in days)
