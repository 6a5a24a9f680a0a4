"""The rulebook: policies and grants together, as somebody may read them.

Who grants, audits or administers in a scope reads the rules that are written there. Who only
grants reads none that names a dataset which they may not know of, and nobody one that names a
domain which is shut to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from cedarpy import pst

from muniment.core.decisions import decide_governing
from muniment.core.grants import Grant
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
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
    shut = _telling_of_domains(realm, asker, at, found.values())
    return {
        id_: rule
        for id_, rule in found.items()
        if rule.id not in shut and hidden.isdisjoint(_datasets_named(realm, rule))
    }


def _telling_of_domains(realm: Realm, asker: SubjectState, at: datetime, rules: Collection[_Kind]) -> frozenset[str]:
    """Those of the rules, by their own ids, that name a domain of which a subject may not know.

    One that nobody made is not known of either, or whoever writes rules could tell it from one
    that is hidden; to those who only look after the rules there it is no secret.
    """
    if overseen(realm, asker, at, [ROOT]):
        return frozenset()
    named = {rule.id: domains for rule in rules if (domains := _domains_named(realm, rule))}
    if not named:
        return frozenset()
    scopes = {rule.id: rule.scope for rule in rules if rule.id in named}
    looked_after = overseen(realm, asker, at, set(scopes.values()))
    told = domains_known(realm, asker, at, frozenset().union(*named.values()))
    return frozenset(
        id_
        for id_, domains in named.items()
        if any(name in realm.domain_tree or scopes[id_] not in looked_after for name in domains - told)
    )


def domains_known(realm: Realm, asker: SubjectState, at: datetime, domains: Iterable[str]) -> frozenset[str]:
    """Those of the domains of which a subject may know: it has a right there or below, or knows of a dataset."""
    below = {name: [each for each in realm.domain_tree if name in lineage(each)] for name in domains}
    places = sorted({each for inside in below.values() for each in inside})
    lived = {
        place
        for action in GOVERNING_ACTIONS
        for place, decision in zip(places, decide_governing(realm, asker, action, places, at), strict=True)
        if decision.allowed
    }
    inside = {name for name, dataset in realm.datasets.items() if dataset.domain in places}
    lived |= {domain_of(name) for name in known(realm, asker, at, realm.environment_names, inside)}
    return frozenset(name for name, places_below in below.items() if not lived.isdisjoint(places_below))


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
    if administers(realm, asker, at, ROOT):
        return frozenset(realm.datasets)
    everything = overseen(realm, asker, at, {domain_of(name) for name in realm.datasets})
    inside = {name for name in realm.datasets if domain_of(name) in everything}
    others = realm.datasets.keys() - inside
    return frozenset(inside.union(known(realm, asker, at, realm.environment_names, others) if others else ()))


def _domains_named(realm: Realm, rule: Written) -> frozenset[str]:
    """The names of the domains that a policy tells of beside its scope and those above it."""
    if isinstance(rule, Grant):
        return frozenset()
    named = {entity.id for entity in pst.entity_uids(realm.compiled[rule.id].tree) if str(entity.type) == "Domain"}
    in_cases = {str(case["domain"]) for case in rule.cases if case.get("domain")}
    return frozenset((named | in_cases).difference(lineage(rule.scope)))


def _datasets_named(realm: Realm, rule: Written) -> frozenset[str]:
    """The names of datasets that a rule tells of, whether there are such datasets or not."""
    if isinstance(rule, Grant):
        return frozenset({rule.on} if rule.on_dataset else ())
    in_cases = {str(case["dataset"]) for case in rule.cases if case.get("dataset")}
    return frozenset(filter(may_name, realm.compiled[rule.id].names | in_cases))
