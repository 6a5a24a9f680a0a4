"""An administrator, or who declares there, makes or changes a domain; only administrators give it locations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from muniment.core.dataset_types import KnownTypes
from muniment.core.domains import Domain
from muniment.core.ledger import Event
from muniment.core.locations import check_overlaps, parse_location
from muniment.core.names import ROOT, checked_domain, parent_of
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import Edit, Kept, Plan, change_realm
from muniment.flows.declare_dataset import faults_of_definitions
from muniment.flows.house import House

#: How many datasets are named in a refusal.
_NAMED = 10


async def edit_domain(house: House, occasion: Occasion, proposed: Domain, after_version: int) -> Kept[Domain]:
    """Put a domain as it shall be. What stands in it must still be sound afterwards."""

    def plan(realm: Realm) -> Plan:
        checked_domain(proposed.name)
        _check_may(realm, occasion, proposed)
        placed = replace(proposed, locations=tuple(str(parse_location(text)) for text in proposed.locations))
        change = Change(Domain, placed.name, placed)
        _check_sound(house.types, realm.after(realm.revision, [change]), placed)
        return Plan(Event.DOMAIN_CHANGED, (Edit(change, after_version),), details={"domain": placed.name})

    changed = await change_realm(house, occasion, plan)
    return changed.only(Domain)


def _check_may(realm: Realm, occasion: Occasion, proposed: Domain) -> None:
    current = realm.domains.get(proposed.name)
    parent = parent_of(proposed.name)
    asker, at = occasion.asker, occasion.at
    standing = proposed.name if current else parent
    if standing != ROOT and standing not in realm.domains:
        if may_govern(realm, asker, at, Action.ADMINISTER, ROOT):
            message = f"There is no domain {parent} yet; make it first."
            raise Invalid(message, [Fault("name", message)])
        raise NotFound
    if may_govern(realm, asker, at, Action.ADMINISTER, standing):
        return
    if not may_govern(realm, asker, at, Action.DECLARE, standing):
        raise NotFound
    if current is None or proposed.locations != current.locations or proposed.owner != current.owner:
        raise NotAllowed("Only an administrator makes a domain, or sets its owner and locations.")


def _check_sound(types: KnownTypes, after: Realm, placed: Domain) -> None:
    if placed.name == ROOT and placed.locations:
        message = "The root has no locations; give them to the domains below it."
        raise Invalid(message, [Fault("locations", message)])
    faults = check_overlaps({name: [*map(parse_location, d.locations)] for name, d in after.domains.items()})
    if faults:
        raise Invalid(faults[0].message, [Fault("locations", fault.message) for fault in faults])
    check_definitions(types, after)


def check_definitions(types: KnownTypes, after: Realm) -> None:
    """Refuse a change after which some dataset's definition would no longer be sound."""
    broken = list(_broken(types, after))
    if broken:
        message = f"{len(broken)} datasets would no longer be sound, the first: {broken[0].at}: {broken[0].message}"
        raise Invalid(message, broken[:_NAMED])


def _broken(types: KnownTypes, after: Realm) -> Iterable[Fault]:
    for name, dataset in sorted(after.datasets.items()):
        for fault in faults_of_definitions(after, types, dataset):
            yield Fault(name, fault.message)
            break
