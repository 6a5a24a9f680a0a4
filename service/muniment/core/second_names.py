"""One path, one right: nobody comes to the data of a dataset that they may not load by another name for its path.

A name is given a path when a dataset is declared, and again when a variable that stands
in its path changes. See decision 0011.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide
from muniment.core.definitions import variables_of
from muniment.core.delegation import may_come_to_use
from muniment.core.places import Places, Written
from muniment.core.problems import NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find_each


def check_declared(written: Written, realm: Realm, proposed: Dataset, asker: SubjectState, at: datetime) -> None:
    """Refuse a path that another dataset has and whose data the author may not load: the name might give it to them.

    A dataset fills no other's places, so they are what they were. Who declares many has one ``written`` for all.
    """
    if not may_come_to_use(realm, asker, proposed):
        return
    current = realm.datasets.get(proposed.name)
    places = Places(realm, written)
    named = places.of(current) if current else frozenset()
    _refuse_withheld(realm, asker, at, places.sharing(places.of(proposed) - named, but=proposed.name))


def check_filled(types: KnownTypes, before: Realm, after: Realm, asker: SubjectState, at: datetime) -> None:
    """Refuse variables by which a dataset that the author may come to use gets such a path."""
    if _variables(before) == _variables(after):
        return
    written = Written(types)
    then, now = Places(before, written), Places(after, written)
    for name, dataset in after.datasets.items():
        if not variables_of(dataset.environments) or not may_come_to_use(after, asker, dataset):
            continue
        stood = before.datasets.get(name)
        named = then.of(stood) if stood else frozenset()
        sharing = now.sharing(now.of(dataset) - named, but=name)
        already = {other.name for other in then.sharing(named, but=name)} if sharing else set()
        _refuse_withheld(after, asker, at, (other for other in sharing if other.name not in already))


def _variables(realm: Realm) -> tuple[object, ...]:
    """All that fills paths."""
    return (
        {name: domain.variables for name, domain in realm.domains.items() if domain.variables},
        {name: environment.variables for name, environment in realm.environments.items()},
    )


def _refuse_withheld(realm: Realm, asker: SubjectState, at: datetime, sharing: Iterable[Dataset]) -> None:
    withheld = [dataset for dataset in sharing if not _may_load(realm, asker, at, dataset)]
    if withheld:
        known = find_each(realm, asker, at, [dataset.name for dataset in withheld])
        told = next((name for name, dataset in sorted(known.items()) if dataset is not None), "another dataset")
        raise NotAllowed(f"This path is that of {told}, which you may not load.")


def _may_load(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> bool:
    """Whether the asker may load a dataset wherever it has a definition."""
    defined = [name for name in realm.environment_names if dataset.definition(name) is not None]
    decided = (decide(realm, asker, Wanted(name), at, dataset) for name in defined)
    return bool(defined) and all(Action.LOAD in each.actions for each in decided)
