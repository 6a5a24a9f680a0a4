"""Somebody looks at which data they may use, and until when."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from muniment.core.decisions import Listing, Wanted
from muniment.core.leases import lessened, moments_ahead
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.visibility import knowledge
from muniment.flows.house import House, Lane, aside

#: How far ahead an end is looked for, and from when on it is near.
_FAR: Final = timedelta(days=366)
NEAR: Final = timedelta(days=30)

#: For how long it is believed at one revision which ends are near: as time goes on, others come near.
_BELIEVED: Final = timedelta(hours=1)

#: What may be done to datasets, by environment.
_Given = Mapping[str, Mapping[str, frozenset[Action]]]


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody may do with a dataset in an environment, and the first moment from which they may do less."""

    dataset: str
    environment: str
    actions: frozenset[Action]
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Endings:
    """What ends in the next days, the soonest first; and whether there is any data that the asker may know of."""

    uses: tuple[Use, ...]
    knows: bool


@dataclass(frozen=True, slots=True)
class Mine:
    """A page of what somebody may use, in the order of names, and how many datasets that is in all."""

    uses: tuple[Use, ...]
    total: int
    following: str | None
    revision: int


async def see_access(house: House, occasion: Occasion, limit: int, after: str) -> Mine:
    """A page of the datasets that the asker may load or save, with where, and until when."""
    realm = await house.realms.current(occasion.revision)
    listings = await _listings(house, realm, occasion)
    mine = await aside(lambda: _page(realm, occasion, listings, limit, after))
    details = {"read": "mine", "entries": mine.total}
    await house.ledger.record(
        row(occasion, Event.DATASET_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return mine


async def see_endings(house: House, occasion: Occasion) -> Endings:
    """What of the asker's access ends in the next days."""
    realm = await house.realms.current(occasion.revision)
    key = ("endings", occasion.asker.digest)
    known = house.acquainted.get(realm.revision, key, occasion.at)
    near = known if isinstance(known, Endings) else None
    if near is None:
        listings = await _listings(house, realm, occasion)
        near = await aside(lambda: _near(realm, occasion, listings), Lane.CATALOGS)
        changes = [each.until for each in listings.values() if each.until is not None]
        until = min([occasion.at + _BELIEVED, *map(_end, near.uses), *changes])
        house.acquainted.put(realm.revision, key, near, until, 1 + len(near.uses), since=occasion.at)
    details = {"read": "endings", "entries": len(near.uses)}
    await house.ledger.record(
        row(occasion, Event.DATASET_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return near


async def _listings(house: House, realm: Realm, occasion: Occasion) -> Mapping[str, Listing]:
    return {each: await house.listing(realm, occasion, Wanted(each)) for each in realm.environment_names}


def _page(realm: Realm, occasion: Occasion, listings: Mapping[str, Listing], limit: int, after: str) -> Mine:
    given = _given(realm, listings)
    names = sorted({name for each in given.values() for name in each})
    page = [name for name in names if name > after][: limit + 1]
    uses = _uses(realm, occasion, given, frozenset(page[:limit]), _FAR)
    return Mine(uses, len(names), page[limit - 1] if len(page) > limit else None, realm.revision)


def _near(realm: Realm, occasion: Occasion, listings: Mapping[str, Listing]) -> Endings:
    uses = _uses(realm, occasion, _given(realm, listings), None, NEAR)
    ending = [use for use in uses if use.ends is not None]
    uses = tuple(sorted(ending, key=lambda use: (_end(use), use.dataset, use.environment)))
    return Endings(uses, knowledge(realm, occasion.asker, occasion.at, listings).every != 0)


def _end(use: Use) -> datetime:
    return use.ends or datetime.max.replace(tzinfo=UTC)


def _given(realm: Realm, listings: Mapping[str, Listing]) -> _Given:
    """What is served to the asker in each environment: the rest is no use to anybody."""
    return {
        environment: {
            name: frozenset(actions)
            for name, actions in listing.usable()
            if realm.datasets[name].served and realm.datasets[name].definition(environment) is not None
        }
        for environment, listing in listings.items()
    }


def _uses(
    realm: Realm, occasion: Occasion, given: _Given, names: Collection[str] | None, ahead: timedelta
) -> tuple[Use, ...]:
    """The uses of some datasets, or of all, in the order of their names, with the ends that come so soon."""
    moments = moments_ahead(realm, occasion.asker, occasion.at, occasion.at + ahead)
    found: list[Use] = []
    for environment, actions in given.items():
        wanted = {name: each for name, each in actions.items() if names is None or name in names}
        ends = lessened(realm, occasion.asker, Wanted(environment), moments, wanted) if wanted else {}
        found.extend(Use(name, environment, each, ends.get(name)) for name, each in wanted.items())
    return tuple(sorted(found, key=lambda use: (use.dataset, use.environment)))
