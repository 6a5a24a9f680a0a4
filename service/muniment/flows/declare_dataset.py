"""A steward declares, changes or retires a dataset.

``declare`` on its domain is needed, and ``classify`` for what changes who sees it: owner,
tags, classification, sensitivity. Where one may not declare, a dataset that one does not
know of and one that was never there give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Definition, Lifecycle
from muniment.core.decisions import Wanted, decide, decide_governing
from muniment.core.definitions import check, path_variables_of, variables_of, with_variables
from muniment.core.delegation import may_come_to_use
from muniment.core.environments import BASE, checked_known
from muniment.core.ledger import Event
from muniment.core.locations import parse_location, reach, safe_in_path
from muniment.core.names import checked_dataset, domain_of, lineage
from muniment.core.occasions import Occasion
from muniment.core.places import Places
from muniment.core.problems import Fault, Invalid, InvalidDefinition, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find, find_each, imagined, visible_successor
from muniment.flows.change_realm import Edit, Kept, Plan, change_realm
from muniment.flows.house import House

#: How many columns a dataset can have.
_MOST_COLUMNS = 10_000


async def declare_dataset(house: House, occasion: Occasion, proposed: Dataset, after_version: int) -> Kept[Dataset]:
    """Put a dataset as it shall be; ``after_version`` 0 declares a new one. The domain's owner owns it by default."""

    def plan(realm: Realm) -> Plan:
        checked_dataset(proposed.name)
        check_may_declare(realm, occasion.asker, occasion.at, proposed.name)
        owned = proposed if proposed.owner else replace(proposed, owner=realm.owner_of(proposed.domain))
        current = realm.datasets.get(owned.name)
        _check_may_classify(realm, occasion.asker, occasion.at, current, owned)
        _check(realm, house.types, owned, occasion.asker, occasion.at)
        _check_places(realm, house.types, owned, occasion.asker, occasion.at)
        edit = Edit(Change(Dataset, owned.name, owned), after_version)
        return Plan(Event.DATASET_DECLARED, (edit,), datasets=(owned.name,))

    return (await change_realm(house, occasion, plan)).only(Dataset)


async def retire_dataset(house: House, occasion: Occasion, name: str, after_version: int) -> Kept[Dataset]:
    """Take a dataset out of every catalog; its history and its name stay.

    Whoever retires it may not know of the successor that somebody else gave it.
    """

    def plan(realm: Realm) -> Plan:
        checked_dataset(name)
        check_may_declare(realm, occasion.asker, occasion.at, name)
        if name not in realm.datasets:
            raise NotFound
        retired = replace(realm.datasets[name], lifecycle=Lifecycle.RETIRED)
        edit = Edit(Change(Dataset, name, retired), after_version)
        return Plan(Event.DATASET_RETIRED, (edit,), datasets=(name,))

    changed = await change_realm(house, occasion, plan)
    kept = changed.only(Dataset)
    successor = visible_successor(changed.before, occasion.asker, occasion.at, kept.noun)
    return replace(kept, noun=replace(kept.noun, successor=successor))


def check_may_declare(realm: Realm, asker: SubjectState, at: datetime, name: str) -> None:
    """Refuse whoever may not declare there: openly if they know of the dataset, else as if nothing were there.

    To those who declare in a domain above, one that they may not know of is one that nobody made.
    """
    domain, *above = lineage(domain_of(name))
    dataset = find(realm, asker, at, name)
    declared = realm.datasets.get(name, imagined(realm, name))
    here, itself, *higher = decide_governing(realm, asker, Action.DECLARE, [domain, declared, *above], at)
    if (here.allowed and domain in realm.domains) or (itself.allowed and name in realm.datasets):
        return
    if dataset is not None and name in realm.datasets:
        raise NotAllowed(f"You may not declare in {domain}; its owner is group:{realm.owner_of(domain)}.")
    if any(decision.allowed for decision in (here, *higher)):
        message = (
            f"There is no domain {domain} in which you may declare; "
            f"an administrator makes one with PUT /v1/domains/{domain}."
        )
        raise Invalid(message, [Fault("name", message)])
    raise NotFound


def _check_may_classify(
    realm: Realm, asker: SubjectState, at: datetime, current: Dataset | None, proposed: Dataset
) -> None:
    standing = current or Dataset(name=proposed.name, owner=realm.owner_of(proposed.domain))
    privileged = [
        field
        for field in ("owner", "tags", "classification", "sensitivity", "layer")
        if getattr(standing, field) != getattr(proposed, field)
    ]
    resource = proposed.domain if current is None else current
    if privileged and not decide_governing(realm, asker, Action.CLASSIFY, [resource], at)[0].allowed:
        named = ", ".join(privileged)
        raise NotAllowed(f"To set {named} you need classify in {proposed.domain}: they change who sees the dataset.")


def _check(realm: Realm, types: KnownTypes, proposed: Dataset, asker: SubjectState, at: datetime) -> None:
    checked_known(set(proposed.environments) - {BASE}, realm.environment_names, at="environments")
    faults = [
        *faults_of_definitions(realm, types, proposed),
        *_faults_of_columns(proposed),
        *_faults_of_successor(realm, asker, at, proposed),
    ]
    if faults:
        count = "One thing" if len(faults) == 1 else f"{len(faults)} things"
        raise InvalidDefinition(f"{count} must change before this can be declared: {faults[0].message}", faults)


def _check_places(realm: Realm, types: KnownTypes, proposed: Dataset, asker: SubjectState, at: datetime) -> None:
    """Refuse a path that another dataset has and whose data the author may not load: the name might give it to them."""
    if not may_come_to_use(realm, asker, proposed):
        return
    after = realm.after(realm.revision, [Change(Dataset, proposed.name, proposed)])
    current = realm.datasets.get(proposed.name)
    named = Places(realm, types).of(current) if current else frozenset()
    places = Places(after, types)
    others = (dataset for name, dataset in realm.datasets.items() if name != proposed.name)
    withheld = [d for d in places.sharing(places.of(proposed) - named, others) if not _may_load(realm, asker, at, d)]
    if withheld:
        known = find_each(realm, asker, at, [dataset.name for dataset in withheld])
        told = next((name for name, dataset in sorted(known.items()) if dataset is not None), "another dataset")
        raise NotAllowed(f"This path is that of {told}, which you may not load.")


def _may_load(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> bool:
    """Whether the asker may load a dataset wherever it has a definition."""
    defined = [name for name in realm.environment_names if dataset.definition(name) is not None]
    return bool(defined) and all(decide(realm, asker, Wanted(name), at, dataset).load.allowed for name in defined)


def faults_of_definitions(realm: Realm, types: KnownTypes, proposed: Dataset) -> Iterable[Fault]:
    """What is wrong with a dataset's definitions where its domain stands now: types, paths, variables.

    Each is checked as it is written, and again as it is served in each environment: the
    values of variables are nobody's until they stand in a place.
    """
    placed = {name: [parse_location(text) for text in domain.locations] for name, domain in realm.domains.items()}
    locations, foreign = reach(proposed.domain, placed)

    def faults(definition: Definition, at: str) -> list[Fault]:
        return check(definition, name=proposed.name, types=types, locations=locations, foreign=foreign, at=at)

    for environment, definition in sorted(proposed.environments.items()):
        at = f"environments.{environment}"
        found = faults(definition, at)
        yield from found
        if not found and variables_of(definition):
            for served in _served_by(realm, proposed, environment):
                variables = realm.variables_of(proposed.domain, served)
                yield from _faults_when_filled(types, definition, variables, faults, f"{at} (in {served})")


def _served_by(realm: Realm, proposed: Dataset, environment: str) -> Iterable[str]:
    """The environments in which a definition is the one in force."""
    if environment != BASE:
        return (environment,)
    return (name for name in realm.environment_names if name not in proposed.environments)


def _faults_when_filled(
    types: KnownTypes,
    definition: Definition,
    variables: Mapping[str, str],
    faults: Callable[[Definition, str], list[Fault]],
    at: str,
) -> list[Fault]:
    unsafe = [
        Fault(at, f"The variable {name} stands in a path; its value could leave it.")
        for name in sorted(path_variables_of(definition, types))
        if name in variables and not safe_in_path(variables[name])
    ]
    try:
        return unsafe or faults(with_variables(definition, variables), at)
    except InvalidDefinition as refused:
        return [Fault(at, refused.detail)]


def _faults_of_columns(proposed: Dataset) -> Iterable[Fault]:
    counted = Counter(column.name for column in proposed.columns)
    for name in sorted(name for name, times in counted.items() if times > 1):
        yield Fault("columns", f"The column {name!r} is described twice.")
    if len(proposed.columns) > _MOST_COLUMNS:
        yield Fault("columns", f"A dataset has at most {_MOST_COLUMNS:,} columns.")


def _faults_of_successor(realm: Realm, asker: SubjectState, at: datetime, proposed: Dataset) -> Iterable[Fault]:
    if proposed.successor is None:
        return
    known = find(realm, asker, at, proposed.successor)
    if known is None or proposed.successor not in realm.datasets:
        yield Fault("successor", "The successor does not exist, or you may not know of it.")
    elif proposed.successor == proposed.name:
        yield Fault("successor", "A dataset cannot succeed itself.")
