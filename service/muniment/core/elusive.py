"""Policies whose occasions cannot be listed, and what they might do on some occasion.

A rule that compares the time and the purpose with literals tells where it may change its
mind, and each such place can be asked about. One that reckons with the time, or compares
the purpose with a pattern or with the dataset, does not tell: on some occasion it may do
what it would do without that condition, on another nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import takewhile

import cedarpy
from cedarpy import pst

from muniment.core.conditions import conjuncts
from muniment.core.policies import Compiled, Policy, PolicyKind, is_elusive, occasions_of, one_static
from muniment.core.realm import Change, Realm


def on_any_occasion(before: Realm, after: Realm) -> tuple[Realm, Realm]:
    """The two realms without what is elusive: whatever somebody gains on any occasion, they gain between these.

    An elusive rule that is the same in both permits all that it may, and withholds nothing.
    So does one of the later realm; one of the earlier realm that has changed permits
    nothing, and withholds all that it may.
    """
    changed = {id_ for id_ in before.policies.keys() | after.policies.keys() if _text(before, id_) != _text(after, id_)}
    earlier = [
        Change(Policy, rule.id, _bounded(before, rule, most=rule.id not in changed)) for rule in _elusive(before)
    ]
    later = [Change(Policy, rule.id, _bounded(after, rule, most=True)) for rule in _elusive(after)]
    return before.after(before.revision, earlier), after.after(after.revision, later)


def at_worst(realm: Realm) -> Realm:
    """The realm in which nothing elusive permits anything, and each withholds all that it may."""
    return realm.after(
        realm.revision, [Change(Policy, rule.id, _bounded(realm, rule, most=False)) for rule in _elusive(realm)]
    )


def _text(realm: Realm, id_: str) -> object:
    """All that a policy means."""
    policy = realm.policies.get(id_)
    return (policy.cedar, policy.scope, policy.kind, policy.obligation) if policy else None


def _elusive(realm: Realm) -> list[Compiled]:
    return [realm.compiled[id_] for id_ in sorted(realm.policies) if occasions_of(realm.compiled[id_]).elusive]


def _bounded(realm: Realm, rule: Compiled, *, most: bool) -> Policy | None:
    """The policy as it lets people do the most, or the least."""
    return _without_occasions(realm.policies[rule.id]) if rule.permits is most else None


def _without_occasions(policy: Policy) -> Policy:
    """The policy without its elusive conditions: satisfied wherever it may be satisfied on some occasion.

    What narrows is satisfied when it errs too, so of it nothing is left from the first such condition on.
    """
    tree = one_static(policy.cedar)
    permits = policy.kind is PolicyKind.ACCESS and tree.effect == "permit"
    conditions = list(_conditions(tree))
    told = (
        [condition for condition in conditions if not is_elusive(condition)]
        if permits
        else list(takewhile(lambda condition: not is_elusive(condition), conditions))
    )
    clauses = (pst.When(reduce(lambda left, right: pst.BinaryOp("and", left, right), told)),) if told else ()
    plain = replace(tree, id=policy.id, clauses=clauses)
    text = str(cedarpy.PolicySet.from_pst(pst.PolicySet({}, {policy.id: plain}, ())))
    return replace(policy, cedar=text)


def _conditions(tree: pst.Template) -> Iterator[pst.Expr]:
    """What must hold for a policy to be satisfied, in the order in which Cedar looks."""
    for clause in tree.clauses:
        if isinstance(clause, pst.When):
            yield from conjuncts(clause.expr)
        else:
            yield from conjuncts(pst.UnaryOp("not", clause.expr))
