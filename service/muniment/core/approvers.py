"""Who decides on requests, found without asking about everybody: by what the rules name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from muniment.core.groups import ancestors, is_builtin
from muniment.core.names import lineage
from muniment.core.realm import Realm
from muniment.core.requests import AccessRequest, standings
from muniment.core.rules import Role
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState

#: The rights by which somebody decides on what others ask for.
_DECIDING: Final = frozenset({Action.APPROVE, Action.ADMINISTER})


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom rules could let decide: these subjects and the members of these groups, or anybody."""

    subjects: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    anybody: bool = False

    def __or__(self, other: Meant) -> Meant:
        return Meant(self.subjects | other.subjects, self.groups | other.groups, self.anybody or other.anybody)

    def includes(self, state: SubjectState) -> bool:
        """Whether a subject is one of them."""
        return self.anybody or str(state.subject) in self.subjects or not self.groups.isdisjoint(state.groups)


def meant(realm: Realm, domains: Iterable[str]) -> Meant:
    """Whom some rule could let decide on requests in these domains: found by what the rules name, and nobody judged.

    Most subjects decide on nothing, so that whoever looks for those who do need not ask about each.
    """
    above = {None, *(each for domain in domains for each in lineage(domain))}
    anchors = [
        rule.anchors
        for rules in realm.rules.values()
        for rule in rules
        if rule.role is Role.PERMIT and not rule.actions.isdisjoint(_DECIDING) and rule.policy.within in above
    ]
    if any(each is None for each in anchors):
        return Meant(anybody=True)
    named = {anchor for each in anchors for anchor in each or ()}
    return members(realm, (id_ if kind == "Group" else f"{kind.lower()}:{id_}" for kind, id_ in named))


def members(realm: Realm, names: Iterable[str]) -> Meant:
    """Those who are in one of these groups, directly or through other groups; a subject's own has that one."""
    listed = set(names)
    subjects, groups = {name for name in listed if is_builtin(name)}, {name for name in listed if not is_builtin(name)}
    within = {name for name in realm.groups if not groups.isdisjoint(ancestors(frozenset({name}), realm.groups))}
    subjects |= {str(member) for name in within for member in realm.groups[name].members}
    return Meant(frozenset(subjects), frozenset(groups - realm.groups.keys()))


def deciders(
    realm: Realm, states: Iterable[SubjectState], at: datetime, request: AccessRequest
) -> Iterator[SubjectState]:
    """Those of the subjects to whose decision a request has come by a right of their own, by name.

    Each is judged: give those alone who may be (:func:`meant`).
    """
    for each in sorted(states, key=lambda state: state.subject):
        if request.awaits(each.subject, at) and standings(realm, each, at, [request])[0].due:
            yield each
