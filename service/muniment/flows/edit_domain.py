"""An administrator, or who declares there, makes or changes a domain; only administrators give it locations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.definitions import variables_of
from muniment.core.domains import Domain
from muniment.core.ledger import Event
from muniment.core.locations import check_overlaps, parse_location
from muniment.core.names import ROOT, checked_domain, lineage, parent_of
from muniment.core.occasions import Occasion
from muniment.core.places import Places, spelled
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.visibility import administers, find_each, may_govern
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
        _check_locations(realm, occasion, placed)
        change = Change(Domain, placed.name, placed)
        check_definitions(house.types, realm, realm.after(realm.revision, [change]), occasion)
        return Plan(Event.DOMAIN_CHANGED, (Edit(change, after_version),), details={"domain": placed.name})

    changed = await change_realm(house, occasion, plan)
    return changed.only(Domain)


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
        if proposed.locations != current.locations or proposed.owner != current.owner:
            raise NotAllowed(_AN_ADMINISTRATORS)
    elif declares or _governs_above(realm, occasion, proposed.name):
        raise NotAllowed(_AN_ADMINISTRATORS)
    else:
        raise NotFound


_AN_ADMINISTRATORS = "Only an administrator makes a domain, or sets its owner and locations."


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


def check_definitions(types: KnownTypes, before: Realm, after: Realm, occasion: Occasion) -> None:
    """Refuse a change by which some dataset's definition would no longer be sound.

    Only what the change can reach is looked at, only what it breaks is its fault, and
    only what the asker may know of is named.
    """
    broken = {
        name: found[0]
        for name in sorted(_reached(types, before, after))
        if (found := _newly_wrong(types, before, after, after.datasets[name]))
    }
    if not broken:
        return
    known = find_each(before, occasion.asker, occasion.at, broken)
    told = [Fault(name, fault.message) for name, fault in broken.items() if known[name] is not None]
    if not told:
        message = "A dataset that you may not know of would no longer be sound."
        raise Invalid(message, [Fault("", message)])
    count = "One dataset" if len(told) == 1 else f"{len(told)} datasets"
    message = f"{count} would no longer be sound, the first: {told[0].at}: {told[0].message}"
    raise Invalid(message, told[:_NAMED])


def _newly_wrong(types: KnownTypes, before: Realm, after: Realm, dataset: Dataset) -> list[Fault]:
    found = list(faults_of_definitions(after, types, dataset))
    standing = set(faults_of_definitions(before, types, dataset)) if found else set()
    return [fault for fault in found if fault not in standing]


def _reached(types: KnownTypes, before: Realm, after: Realm) -> Iterable[str]:
    """The datasets below a changed domain, those that use variables, and those on a place that is another's now."""
    domains = {name for name, domain in after.domains.items() if before.domains.get(name) is not domain}
    variables = before.environments is not after.environments
    added = _added_locations(before, after)
    places = Places(after, types)
    for name, dataset in after.datasets.items():
        below = not domains.isdisjoint(lineage(dataset.domain))
        filled = variables and variables_of(dataset.environments)
        if below or filled or (added and any(_meets(place, new) for place in places.of(dataset) for new in added)):
            yield name


def _added_locations(before: Realm, after: Realm) -> Sequence[str]:
    """The locations that a change gives, spelled as places are."""
    return [
        f"{spelled(text)}/"
        for name, domain in after.domains.items()
        if domain is not before.domains.get(name)
        for text in set(domain.locations).difference(before.domains[name].locations if name in before.domains else ())
    ]


def _meets(place: str, location: str) -> bool:
    """Whether a place may lie in a location or around it, whatever its placeholders are filled with."""
    fixed = place.partition("{")[0]
    return f"{fixed}/".startswith(location) or location.startswith(fixed)
