"""What a subject holds here: what goes on in their name when they leave, and what somebody must take over.

Ownership, membership of local groups and rules addressed to one subject are the realm's, and can
be handed over in one change. Groups that come with the token are the identity provider's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from cedarpy import pst

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, list_all
from muniment.core.domains import Domain
from muniment.core.grants import Grant
from muniment.core.groups import Group, is_builtin
from muniment.core.policies import Compiled, Policy
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState


class _Owned(Protocol):
    @property
    def owner(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one subject holds, by name.

    ``alone`` are groups that own something and of which the subject is the only known member.
    ``addressed`` are the rules that mean this subject and nobody else, ``named`` the others
    that name the subject. ``uses`` are the datasets that it may load or save, by environment.
    """

    domains: tuple[str, ...]
    datasets: tuple[str, ...]
    groups: tuple[str, ...]
    alone: Mapping[str, tuple[str, ...]]
    addressed: tuple[str, ...]
    named: tuple[str, ...]
    uses: Mapping[str, Mapping[str, tuple[Action, ...]]]

    @property
    def empty(self) -> bool:
        """Whether nothing at all is held."""
        return not any((self.domains, self.datasets, self.groups, self.alone, self.addressed, self.named, self.uses))


def holdings(
    realm: Realm, subject: Subject, state: SubjectState | None, others: Sequence[SubjectState], at: datetime
) -> Holdings:
    """What a subject holds; ``state`` is its newest, if it was ever seen, ``others`` those of the other subjects."""
    return Holdings(
        domains=_owned(realm.domains, str(subject)),
        datasets=_owned(realm.datasets, str(subject)),
        groups=tuple(sorted(realm.memberships.get(str(subject), ()))),
        alone=_alone(realm, subject, state, others),
        addressed=tuple(sorted(id_ for id_, rule in realm.compiled.items() if _addressed(rule, subject))),
        named=tuple(sorted(id_ for id_, rule in realm.compiled.items() if _named(rule, subject))),
        uses={} if state is None else _uses(realm, state, at),
    )


def handed_over(realm: Realm, subject: Subject, to: str) -> Iterator[Change]:
    """The changes after which another owns what the subject owned, and no rule or local group is the subject's.

    A forbid addressed to the subject stays: its end would give something.
    """
    owner = str(subject)
    for name in _owned(realm.domains, owner):
        yield Change(Domain, name, replace(realm.domains[name], owner=to))
    for name in _owned(realm.datasets, owner):
        yield Change(Dataset, name, replace(realm.datasets[name], owner=to))
    for name in sorted(realm.memberships.get(owner, ())):
        group = realm.groups[name]
        yield Change(Group, name, replace(group, members=group.members - {subject}))
    for id_, grant in sorted(realm.grants.items()):
        if grant.to == owner:
            yield Change(Grant, id_, None)
    for id_ in sorted(realm.policies):
        if realm.compiled[id_].permits and _addressed(realm.compiled[id_], subject):
            yield Change(Policy, id_, None)


def _owned(shelf: Mapping[str, _Owned], owner: str) -> tuple[str, ...]:
    return tuple(sorted(name for name, noun in shelf.items() if noun.owner == owner))


def _alone(
    realm: Realm, subject: Subject, state: SubjectState | None, others: Iterable[SubjectState]
) -> Mapping[str, tuple[str, ...]]:
    """The owning groups of which nobody else is known to be a member, with what each owns."""
    mine = realm.all_groups_of(state or SubjectState(subject, ""))
    owned: defaultdict[str, list[str]] = defaultdict(list)
    owners = [(name, domain.owner) for name, domain in realm.domains.items()]
    owners += [(name, dataset.owner) for name, dataset in realm.datasets.items()]
    for name, owner in owners:
        if owner in mine and not is_builtin(owner):
            owned[owner].append(name)
    seen = {other.subject for other in others}
    listed = {member for group in realm.groups.values() for member in group.members} - seen
    for other in (*others, *(SubjectState(member, "") for member in sorted(listed))):
        for group in realm.all_groups_of(other) if other.subject != subject and owned else ():
            owned.pop(group, None)
    return {group: tuple(sorted(names)) for group, names in sorted(owned.items())}


def _addressed(rule: Compiled, subject: Subject) -> bool:
    return rule.anchor is not None and _is(rule.anchor, subject)


def _named(rule: Compiled, subject: Subject) -> bool:
    return not _addressed(rule, subject) and any(_is(entity, subject) for entity in pst.entity_uids(rule.tree))


def _is(entity: pst.EntityUid, subject: Subject) -> bool:
    return entity.id == subject.id and str(entity.type) == subject.kind.entity_type


def _uses(realm: Realm, state: SubjectState, at: datetime) -> Mapping[str, Mapping[str, tuple[Action, ...]]]:
    """The datasets that a subject may load or save, each with what it may do in which environment."""
    found: defaultdict[str, dict[str, tuple[Action, ...]]] = defaultdict(dict)
    for environment in realm.environment_names:
        listing = list_all(realm, state, Wanted(environment), at)
        for name in sorted({*listing.names(Action.LOAD), *listing.names(Action.SAVE)}):
            found[name][environment] = tuple(
                action for action in (Action.LOAD, Action.SAVE) if listing.decided[name][action].allowed
            )
    return dict(sorted(found.items()))
