"""A steward declares, changes or retires a dataset.

``declare`` on its domain is needed, and ``classify`` for what changes who sees it: owner,
tags (those of columns too), classification, sensitivity. Where one may not declare, a
dataset that one does not know of and one that was never there give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import decide_governing
from muniment.core.environments import BASE, checked_known
from muniment.core.ledger import Event
from muniment.core.names import checked_dataset, domain_of, lineage
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, InvalidDefinition, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.second_names import check_declared
from muniment.core.soundness import faults_of_definitions
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find, imagined, visible_successor
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House

#: How many columns a dataset can have.
_MOST_COLUMNS = 10_000


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


def plan_dataset(types: KnownTypes, occasion: Occasion, proposed: Dataset, after_version: int | None) -> Planner:
    """Declaring a dataset, or changing it."""

    def plan(realm: Realm) -> Plan:
        checked_dataset(proposed.name)
        check_may_declare(realm, occasion.asker, occasion.at, proposed.name)
        owned = proposed if proposed.owner else replace(proposed, owner=realm.owner_of(proposed.domain))
        current = realm.datasets.get(owned.name)
        _check_may_classify(realm, occasion.asker, occasion.at, current, owned)
        _check(realm, types, owned, occasion.asker, occasion.at)
        check_declared(types, realm, owned, occasion.asker, occasion.at)
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
