"""What a subject may know of: what one may not see does not exist.

Decided before anything else is looked at, so that nothing (a name, a count, an error, a
tag, a time) tells a hidden dataset from one that was never there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Listing, Wanted, decide, decide_each, decide_governing, list_all
from muniment.core.directory import Known
from muniment.core.environments import BASE
from muniment.core.names import ROOT, domain_of, is_domain
from muniment.core.realm import Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.subjects import SubjectState

#: The longest name that anything is asked about, in characters: a factory pattern may make names longer than its own.
LONGEST_ASKED = 220


def may_govern(realm: Realm, asker: SubjectState, at: datetime, action: Action, domain: str) -> bool:
    """Whether the subject may do a governing action in a domain."""
    return decide_governing(realm, asker, action, [domain], at)[0].allowed


def administers(realm: Realm, asker: SubjectState, at: datetime, domain: str) -> bool:
    """Whether the subject administers a domain: those who administer ``all`` administer every one.

    That is decided on ``all`` itself, which no rule of a narrower scope reaches: so no
    steward can shut the administrators out of a domain.
    """
    return any(d.allowed for d in decide_governing(realm, asker, Action.ADMINISTER, sorted({ROOT, domain}), at))


def audits_somewhere(realm: Realm, asker: SubjectState, at: datetime) -> bool:
    """Whether the subject audits any domain at all."""
    domains = [ROOT, *sorted(realm.domains.keys() - {ROOT})]
    return any(decision.allowed for decision in decide_governing(realm, asker, Action.AUDIT, domains, at))


def readable_scopes(realm: Realm, asker: SubjectState, at: datetime, scopes: Iterable[str]) -> frozenset[str]:
    """Those of the scopes whose policies and grants the subject may read: who grants, audits or administers there."""
    asked = sorted(set(scopes))
    if may_govern(realm, asker, at, Action.ADMINISTER, ROOT):
        return frozenset(asked)
    return frozenset(
        scope
        for action in (Action.GRANT, Action.AUDIT, Action.ADMINISTER)
        for scope, decision in zip(asked, decide_governing(realm, asker, action, asked, at), strict=True)
        if decision.allowed
    )


def roles(realm: Realm, asker: SubjectState, at: datetime) -> dict[str, tuple[Action, ...]]:
    """The governing actions a subject may do, by domain; domains without one are left out.

    Who administers ``all`` administers every domain (:func:`administers`).
    """
    domains = [ROOT, *sorted(realm.domains.keys() - {ROOT})]
    found: dict[str, list[Action]] = {domain: [] for domain in domains}
    for action in GOVERNING_ACTIONS:
        for domain, decision in zip(domains, decide_governing(realm, asker, action, domains, at), strict=True):
            if decision.allowed or (action is Action.ADMINISTER and action in found[ROOT]):
                found[domain].append(action)
    return {domain: tuple(actions) for domain, actions in found.items() if actions}


def find(realm: Realm, asker: SubjectState, at: datetime, name: str, wanted: Wanted | None = None) -> Dataset | None:
    """The dataset of a name, factory patterns resolved, if the subject may know of it; ``wanted`` may let them."""
    return find_each(realm, asker, at, [name], wanted)[name]


def find_each(
    realm: Realm, asker: SubjectState, at: datetime, names: Iterable[str], wanted: Wanted | None = None
) -> dict[str, Dataset | None]:
    """The same for several names.

    The same work is done for each, whatever it is: a draft and a name that nothing has are
    decided on as they might be declared. So how long the answer takes does not tell a
    hidden dataset from one that was never there. What cannot be a dataset's name is nobody's
    secret, and is not looked at.
    """
    absent: dict[str, Dataset | None] = {}
    found = {}
    for name in names:
        absent[name] = None
        if may_name(name):
            found[name] = realm.resolve(name)
    judged = [
        imagined(realm, name) if dataset is None or dataset.lifecycle is Lifecycle.DRAFT else dataset
        for name, dataset in found.items()
    ]
    domains = sorted({dataset.domain for dataset in judged})
    declares = dict(zip(domains, decide_governing(realm, asker, Action.DECLARE, domains, at), strict=True))
    asked = [*map(Wanted, realm.environment_names), *([wanted] if wanted else [])]
    discovered = {
        dataset.name
        for each in asked
        for dataset, decided in zip(judged, decide_each(realm, asker, each, at, judged), strict=True)
        if decided.discover.allowed
    }
    return absent | {
        name: dataset
        if dataset is not None
        and (declares[dataset.domain].allowed or (name in discovered and dataset.lifecycle is not Lifecycle.DRAFT))
        else None
        for name, dataset in found.items()
    }


def may_name(text: str) -> bool:
    """Whether a text can name a dataset, one that a factory pattern makes included."""
    return len(text) <= LONGEST_ASKED and is_domain(domain_of(text))


def imagined(realm: Realm, name: str) -> Dataset:
    """A dataset of this name as it might be declared: what is decided on where nothing stands."""
    return Dataset(name=name, owner=realm.owner_of(domain_of(name)))


def knows(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> bool:
    """Whether the subject may know that a dataset exists: in some environment, or because it declares there."""
    if dataset.lifecycle is not Lifecycle.DRAFT and any(
        decide(realm, asker, Wanted(environment), at, dataset).discover.allowed
        for environment in realm.environment_names
    ):
        return True
    return may_govern(realm, asker, at, Action.DECLARE, dataset.domain)


def known(
    realm: Realm, asker: SubjectState, at: datetime, environments: Iterable[str], only: Iterable[str] | None = None
) -> tuple[str, ...]:
    """The names of all datasets that the subject may know of, sorted.

    ``declare`` on a domain implies knowing all in it: there, creating a dataset would
    tell as much.
    """
    listings = [list_all(realm, asker, Wanted(name), at, only) for name in environments]
    found = {
        name
        for listing in listings
        for name in listing.names(Action.DISCOVER)
        if realm.datasets[name].lifecycle is not Lifecycle.DRAFT
    }
    asked = realm.datasets.keys() if only is None else realm.datasets.keys() & set(only)
    domains = sorted({realm.datasets[name].domain for name in asked})
    declares = {
        domain
        for domain, decision in zip(domains, decide_governing(realm, asker, Action.DECLARE, domains, at), strict=True)
        if decision.allowed
    }
    found.update(name for name in asked if realm.datasets[name].domain in declares)
    return tuple(sorted(found))


def knowledge(realm: Realm, asker: SubjectState, at: datetime, listings: Mapping[str, Listing]) -> Known:
    """The same as bitmaps, by environment, of what was decided on all datasets there; and whose definitions they read.

    Those are for whoever may load or save there, or declares in the domain. A draft is the stewards' alone.
    """
    drafts = realm.shelf.valued("lifecycle", Lifecycle.DRAFT.value)
    standing = realm.directory.domains
    domains = sorted(standing)
    decisions = decide_governing(realm, asker, Action.DECLARE, domains, at)
    declared = (standing[name] for name, decision in zip(domains, decisions, strict=True) if decision.allowed)
    stewarded = reduce(or_, declared, 0)
    return Known(
        environments={name: (each.discover & ~drafts) | stewarded for name, each in listings.items()},
        usable={name: ((each.load & ~each.obliged) | each.save) & ~drafts for name, each in listings.items()},
        stewarded=stewarded,
    )


def sees_definitions(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> frozenset[str]:
    """The environments whose definition of a dataset the subject may read: all for a steward who declares there."""
    if may_govern(realm, asker, at, Action.DECLARE, dataset.domain):
        return frozenset(dataset.environments)
    usable = {
        name
        for name in realm.environment_names
        if dataset.lifecycle is not Lifecycle.DRAFT and decide(realm, asker, Wanted(name), at, dataset).actions
    }
    own = {name for name in usable if name in dataset.environments}
    return frozenset(own | ({BASE} & dataset.environments.keys() if usable - own else set()))


def not_served(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset, wanted: Wanted) -> str | None:
    """Why nobody loads or saves this dataset here, whatever the policies say; none if it is served.

    The reader who is told of it is ``asker``: a successor is named only to those who may know of it.
    """
    if not dataset.served:
        successor = visible_successor(realm, asker, at, dataset)
        return f"it is {dataset.lifecycle.value}" + (f"; use {successor}" if successor else "")
    if dataset.definition(wanted.environment) is None:
        return f"it has no definition in {wanted.environment}"
    if dataset.is_pattern:
        return "it is a factory pattern: ask about a name that it makes"
    return None


def withheld(realm: Realm, about: SubjectState, at: datetime, dataset: Dataset, wanted: Wanted, action: Action) -> bool:
    """Whether a subject cannot do what policies permit: nobody uses what is not served; drafts are the stewards'."""
    if not_served(realm, about, at, dataset, wanted) is None:
        return False
    if action is not Action.DISCOVER:
        return True
    return dataset.lifecycle is Lifecycle.DRAFT and not knows(realm, about, at, dataset)


def visible_successor(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> str | None:
    """The dataset to use instead, if the subject may know of it: an edge to a hidden node is hidden."""
    successor = realm.datasets.get(dataset.successor) if dataset.successor else None
    return successor.name if successor and knows(realm, asker, at, successor) else None


def notice(realm: Realm, asker: SubjectState, at: datetime, dataset: Dataset) -> str | None:
    """What whoever uses a dataset should know of it: that it is deprecated, and what follows it."""
    if dataset.lifecycle is not Lifecycle.DEPRECATED:
        return None
    successor = visible_successor(realm, asker, at, dataset)
    return "deprecated" + (f"; use {successor} instead" if successor else "")
