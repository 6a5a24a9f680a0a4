"""The rulebook: policies and grants together, as somebody may read them.

Who grants, audits or administers in a scope reads the rules that are written there. Who only
grants reads none that names a dataset which they may not know of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from muniment.core.decisions import decide_governing
from muniment.core.grants import Grant
from muniment.core.names import ROOT, domain_of
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import administers, find_each, known, may_name, readable_scopes

#: What governs access: a policy, or a grant, which is one.
Written = Policy | Grant

_Kind = TypeVar("_Kind", Policy, Grant)


def written(realm: Realm) -> Mapping[str, Written]:
    """Every policy and grant, by the id that decisions name."""
    return {**realm.policies, **{id_of(grant): grant for grant in realm.grants.values()}}


def id_of(rule: Written) -> str:
    """The id by which decisions and the ledger name a rule."""
    return f"grant:{rule.id}" if isinstance(rule, Grant) else rule.id


def readable(realm: Realm, asker: SubjectState, at: datetime, rules: Mapping[str, _Kind]) -> dict[str, _Kind]:
    """Those of the rules that a subject may read."""
    scopes = readable_scopes(realm, asker, at, {rule.scope for rule in rules.values()})
    found = {id_: rule for id_, rule in rules.items() if rule.scope in scopes}
    told = {name for rule in found.values() for name in _datasets_named(realm, rule)}
    everything = overseen(realm, asker, at, {domain_of(name) for name in told})
    asked = sorted(name for name in told if domain_of(name) not in everything)
    hidden = {name for name, dataset in find_each(realm, asker, at, asked).items() if dataset is None}
    return {id_: rule for id_, rule in found.items() if hidden.isdisjoint(_datasets_named(realm, rule))}


def all_readable(realm: Realm, asker: SubjectState, at: datetime) -> dict[str, Written]:
    """All policies and grants that a subject may read, by the id that decisions name."""
    grants = readable(realm, asker, at, realm.grants)
    return {**readable(realm, asker, at, realm.policies), **{id_of(grant): grant for grant in grants.values()}}


def overseen(realm: Realm, asker: SubjectState, at: datetime, domains: Iterable[str]) -> frozenset[str]:
    """The domains in which a subject audits or administers, and so reads rules about all that is there."""
    asked = sorted(domains)
    if administers(realm, asker, at, ROOT):
        return frozenset(asked)
    return frozenset(
        domain
        for action in (Action.AUDIT, Action.ADMINISTER)
        for domain, decision in zip(asked, decide_governing(realm, asker, action, asked, at), strict=True)
        if decision.allowed
    )


def tellable(realm: Realm, asker: SubjectState, at: datetime) -> frozenset[str]:
    """The declared datasets of which a subject may be told something: what they know of, and where they oversee."""
    everything = overseen(realm, asker, at, {domain_of(name) for name in realm.datasets})
    inside = {name for name in realm.datasets if domain_of(name) in everything}
    others = realm.datasets.keys() - inside
    return frozenset(inside.union(known(realm, asker, at, realm.environment_names, others) if others else ()))


def _datasets_named(realm: Realm, rule: Written) -> frozenset[str]:
    """The names of datasets that a rule tells of, whether there are such datasets or not."""
    if isinstance(rule, Grant):
        return frozenset({rule.on} if rule.on_dataset else ())
    in_cases = {str(case["dataset"]) for case in rule.cases if case.get("dataset")}
    return frozenset(filter(may_name, realm.compiled[rule.id].names | in_cases))
