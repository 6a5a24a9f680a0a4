"""An administrator, or who declares there, makes or changes a domain; only administrators give it its means.

Those are where its data may lie, of which further types it may be, and how long leases give it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from muniment.core.dataset_types import check_registered
from muniment.core.domains import Domain
from muniment.core.ledger import Event, Outcome, row
from muniment.core.locations import check_overlaps, parse_location
from muniment.core.names import ROOT, checked_domain, lineage, parent_of
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.visibility import administers, may_govern
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House, aside


@dataclass(frozen=True, slots=True)
class Drafted:
    """A domain that somebody may put, as it stands if it does, and whether they may give it its means."""

    standing: Domain | None
    administers: bool
    revision: int


async def draft_domain(house: House, occasion: Occasion, name: str) -> Drafted:
    """A domain for whoever may change or make it; that it was read is written down."""
    checked_domain(name)
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        drafted = await aside(lambda: _drafted(realm, occasion, name))
    details = {"read": "domain", "domain": name}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return drafted


async def edit_domain(house: House, occasion: Occasion, proposed: Domain, after_version: int) -> Kept[Domain]:
    """Put a domain as it shall be. What stands in it must still be sound afterwards."""
    changed = await change_realm(house, occasion, plan_domain(occasion, proposed, after_version))
    return changed.only(Domain)


def plan_domain(occasion: Occasion, proposed: Domain, after_version: int | None) -> Planner:
    """Making a domain, or changing it."""

    def plan(realm: Realm) -> Plan:
        checked_domain(proposed.name)
        _check_may(realm, occasion, proposed)
        check_registered(proposed.types)
        placed = replace(proposed, locations=tuple(str(parse_location(text)) for text in proposed.locations))
        _check_locations(realm, occasion, placed)
        edit = Edit(Change(Domain, placed.name, placed), after_version)
        return Plan(Event.DOMAIN_CHANGED, (edit,), details={"domain": placed.name})

    return plan


def _drafted(realm: Realm, occasion: Occasion, name: str) -> Drafted:
    standing = realm.domains.get(name)
    _check_may(realm, occasion, standing or Domain(name, owner=realm.owner_of(parent_of(name))))
    return Drafted(standing, administers(realm, occasion.asker, occasion.at, name), realm.revision)


def _check_may(realm: Realm, occasion: Occasion, proposed: Domain) -> None:
    """Refuse whoever may not put this domain; one that nobody made and one that is hidden give the same answer."""
    asker, at = occasion.asker, occasion.at
    if administers(realm, asker, at, proposed.name):
        parent = parent_of(proposed.name)
        if parent != ROOT and parent not in realm.domains:
            message = f"There is no domain {parent} yet; make it first."
            raise Invalid(message, [Fault("name", message)])
        return
    current = realm.domains.get(proposed.name)
    declares = may_govern(realm, asker, at, Action.DECLARE, proposed.name)
    if current is not None and declares:
        if _administered(proposed) != _administered(current):
            raise NotAllowed(_AN_ADMINISTRATORS)
    elif declares or _governs_above(realm, occasion, proposed.name):
        raise NotAllowed(_AN_ADMINISTRATORS)
    else:
        raise NotFound


_AN_ADMINISTRATORS = "Only an administrator makes a domain, or sets its owner, locations, types and lease hours."


def _administered(domain: Domain) -> tuple[object, ...]:
    """What of a domain only an administrator sets."""
    return domain.owner, domain.locations, domain.types, domain.lease_hours


def _governs_above(realm: Realm, occasion: Occasion, name: str) -> bool:
    return any(
        may_govern(realm, occasion.asker, occasion.at, action, above)
        for above in lineage(name)[1:]
        for action in (Action.DECLARE, Action.ADMINISTER)
    )


def _check_locations(realm: Realm, occasion: Occasion, placed: Domain) -> None:
    """A location overlaps none of another branch, and whoever administers a part of the realm divides what it has."""
    if placed.name == ROOT and placed.locations:
        message = "The root has no locations; give them to the domains below it."
        raise Invalid(message, [Fault("locations", message)])
    everywhere = administers(realm, occasion.asker, occasion.at, ROOT)
    if not everywhere:
        _check_inside(realm, placed)
    faults = list(_overlaps(realm, placed, everywhere=everywhere))
    if faults:
        raise Invalid(faults[0].message, faults)


def _check_inside(realm: Realm, placed: Domain) -> None:
    current = realm.domains.get(placed.name)
    above = realm.locations_of(parent_of(placed.name))
    for text in set(placed.locations).difference(current.locations if current else ()):
        if not text.startswith(above):
            message = f"{text} lies in no location of a domain above; to give a new one you need administer on all."
            raise NotAllowed(message)


def _overlaps(realm: Realm, placed: Domain, *, everywhere: bool) -> Iterable[Fault]:
    """The locations that overlap another branch's, whose name and place only those learn who administer everything."""
    for text in placed.locations:
        mine = {placed.name: [parse_location(text)]}
        for name, domain in sorted(realm.domains.items()):
            if name == placed.name:
                continue
            for fault in check_overlaps({**mine, name: [*map(parse_location, domain.locations)]}):
                told = fault.message if everywhere else f"{text} overlaps a location of another domain."
                yield Fault("locations", told)
