"""A steward declares, changes or retires a dataset.

``declare`` on its domain is needed, and ``classify`` for what changes who sees it: owner,
tags (those of columns too), classification, sensitivity. Where one may not declare, a
dataset that one does not know of and one that was never there give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import decide_governing
from muniment.core.environments import BASE, checked_known
from muniment.core.kept import Kept as KeptInFiles
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT, checked_dataset, domain_of, lineage
from muniment.core.occasions import Occasion
from muniment.core.places import Written
from muniment.core.problems import (
    Fault,
    Invalid,
    InvalidDefinition,
    NotAllowed,
    NotFound,
    UnknownEnvironment,
)
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.second_names import check_declared
from muniment.core.soundness import faults_of_definitions
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find, imagined, roles, visible_successor
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House, aside
from muniment.store import kept

#: How many columns a dataset can have.
_MOST_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody may declare, what lies there as a draft, and what there is to choose from."""

    domains: tuple[str, ...]
    drafts: tuple[Dataset, ...]
    types: KnownTypes
    environments: tuple[str, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Drafted:
    """A dataset as it shall be, and what whoever declares it has to know for that.

    ``standing`` is the dataset as it is, none for a new one; ``faults`` is all that is wrong with what is proposed.
    """

    standing: Dataset | None
    kept: KeptInFiles | None
    types: KnownTypes
    environments: tuple[str, ...]
    locations: tuple[str, ...]
    variables: Mapping[str, str]
    owner: str
    classifies: bool
    faults: tuple[Fault, ...]
    revision: int


async def begin_to_declare(house: House, occasion: Occasion) -> Desk:
    """What somebody who wants to declare chooses from; nothing, for those who may declare nowhere."""
    realm = await house.realms.current()
    desk = await aside(lambda: _desk(house.types, realm, occasion))
    await house.ledger.record(
        row(
            occasion,
            Event.RULES_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={"read": "domains to declare in"},
        )
    )
    return desk


async def draft_dataset(house: House, occasion: Occasion, name: str, proposed: Dataset | None = None) -> Drafted:
    """What a dataset is that somebody may declare, and what keeps it from being as they propose; nothing is changed."""
    checked_dataset(name)
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        drafted = await aside(lambda: _drafted(house.types, realm, occasion, name, proposed))
    async with house.db.begin() as tx:
        held = await kept.standing(tx, "dataset", [name])
    await house.record_reading(occasion, realm, name, read="draft")
    return replace(drafted, kept=held.get(("dataset", name)))


async def declare_dataset(house: House, occasion: Occasion, proposed: Dataset, after_version: int) -> Kept[Dataset]:
    """Put a dataset as it shall be; ``after_version`` 0 declares a new one. The domain's owner owns it by default."""
    plan = plan_dataset(house.types, occasion, proposed, after_version)
    return (await change_realm(house, occasion, plan)).only(Dataset)


async def retire_dataset(house: House, occasion: Occasion, name: str, after_version: int) -> Kept[Dataset]:
    """Take a dataset out of every catalog; its history and its name stay.

    Whoever retires it may not know of the successor that somebody else gave it.
    """
    changed = await change_realm(house, occasion, plan_retirement(occasion, name, after_version))
    kept = changed.only(Dataset)
    successor = visible_successor(changed.before, occasion.asker, occasion.at, kept.noun)
    return replace(kept, noun=replace(kept.noun, successor=successor))


def plan_dataset(
    types: KnownTypes, occasion: Occasion, proposed: Dataset, after_version: int | None, written: Written | None = None
) -> Planner:
    """Declaring a dataset, or changing it; what the others have ``written`` is read once for all that share it."""
    written = written or Written(types)

    def plan(realm: Realm) -> Plan:
        checked_dataset(proposed.name)
        check_may_declare(realm, occasion.asker, occasion.at, proposed.name)
        owned = proposed if proposed.owner else replace(proposed, owner=realm.owner_of(proposed.domain))
        current = realm.datasets.get(owned.name)
        _check_may_classify(realm, occasion.asker, occasion.at, current, owned)
        _check(realm, types, owned, occasion.asker, occasion.at)
        check_declared(written, realm, owned, occasion.asker, occasion.at)
        edit = Edit(Change(Dataset, owned.name, owned), after_version)
        return Plan(Event.DATASET_DECLARED, (edit,), datasets=(owned.name,))

    return plan


def plan_retirement(occasion: Occasion, name: str, after_version: int | None) -> Planner:
    """Taking a dataset out of every catalog."""

    def plan(realm: Realm) -> Plan:
        checked_dataset(name)
        check_may_declare(realm, occasion.asker, occasion.at, name)
        if name not in realm.datasets:
            raise NotFound
        retired = replace(realm.datasets[name], lifecycle=Lifecycle.RETIRED)
        edit = Edit(Change(Dataset, name, retired), after_version)
        return Plan(Event.DATASET_RETIRED, (edit,), datasets=(name,))

    return plan


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
    if _tagged_columns(standing) != _tagged_columns(proposed):
        privileged.append("tags of columns")
    resource = proposed.domain if current is None else current
    if privileged and not decide_governing(realm, asker, Action.CLASSIFY, [resource], at)[0].allowed:
        named = ", ".join(privileged)
        raise NotAllowed(f"To set {named} you need classify in {proposed.domain}: they change who sees the dataset.")


def _tagged_columns(dataset: Dataset) -> frozenset[tuple[str, str]]:
    """What masks find columns by: each column that carries a tag, once for each."""
    return frozenset((column.name, tag) for column in dataset.columns for tag in column.tags)


def _desk(types: KnownTypes, realm: Realm, occasion: Occasion) -> Desk:
    held = roles(realm, occasion.asker, occasion.at)
    domains = {domain for domain, actions in held.items() if Action.DECLARE in actions and domain != ROOT}
    drafts = sorted(
        (each for each in realm.datasets.values() if each.lifecycle is Lifecycle.DRAFT and each.domain in domains),
        key=lambda each: each.name,
    )
    further = {type_ for domain in domains for type_ in realm.types_of(domain)}
    known = types.registering(further)
    return Desk(tuple(sorted(domains)), tuple(drafts), known, realm.environment_names, realm.revision)


def _drafted(types: KnownTypes, realm: Realm, occasion: Occasion, name: str, proposed: Dataset | None) -> Drafted:
    asker, at, domain = occasion.asker, occasion.at, domain_of(name)
    check_may_declare(realm, asker, at, name)
    standing = realm.datasets.get(name)
    if standing is not None:
        standing = replace(standing, successor=visible_successor(realm, asker, at, standing))
    return Drafted(
        standing=standing,
        kept=None,
        types=types.registering(realm.types_of(domain)),
        environments=realm.environment_names,
        locations=realm.locations_of(domain),
        variables=realm.variables_of(domain, BASE),
        owner=realm.owner_of(domain),
        classifies=decide_governing(realm, asker, Action.CLASSIFY, [standing or domain], at)[0].allowed,
        faults=() if proposed is None else tuple(_every_fault(realm, types, proposed, asker, at)),
        revision=realm.revision,
    )


def _every_fault(
    realm: Realm, types: KnownTypes, proposed: Dataset, asker: SubjectState, at: datetime
) -> Iterator[Fault]:
    """What is wrong with a draft, environments that nobody made among it."""
    try:
        checked_known(set(proposed.environments) - {BASE}, realm.environment_names, at="environments")
    except UnknownEnvironment as refused:
        yield from refused.faults
    known = {*realm.environment_names, BASE}
    there = {name: definition for name, definition in proposed.environments.items() if name in known}
    yield from _faults(realm, types, replace(proposed, environments=there), asker, at)


def _check(realm: Realm, types: KnownTypes, proposed: Dataset, asker: SubjectState, at: datetime) -> None:
    checked_known(set(proposed.environments) - {BASE}, realm.environment_names, at="environments")
    faults = [*_faults(realm, types, proposed, asker, at)]
    if faults:
        count = "One thing" if len(faults) == 1 else f"{len(faults)} things"
        raise InvalidDefinition(f"{count} must change before this can be declared: {faults[0].message}", faults)


def _faults(realm: Realm, types: KnownTypes, proposed: Dataset, asker: SubjectState, at: datetime) -> Iterator[Fault]:
    yield from faults_of_definitions(realm, types, proposed)
    yield from _faults_of_columns(proposed)
    yield from _faults_of_successor(realm, asker, at, proposed)


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
