"""Leases: what the service gives a project, and until when each part of it holds.

A lease is for one subject, one environment, one revision. A dataset that ends sooner than
the lease is named with its end, so that one ending grant does not end the whole lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from muniment.core.decisions import UNSTEADY, Wanted, boundaries, decide, list_all, scene_of
from muniment.core.names import domain_of, lineage
from muniment.core.policies import Compiled
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Kind, SubjectState

#: How many future moments are looked at; what lies behind the last is not promised at all.
_MOST_MOMENTS = 32


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long leases are, in hours: people sign in each day, jobs run over a weekend."""

    users: float = 12
    services: float = 72

    def of(self, asker: SubjectState) -> timedelta:
        """The length of a lease for this subject."""
        return timedelta(hours=self.users if asker.subject.kind is Kind.USER else self.services)


def ends(
    realm: Realm,
    asker: SubjectState,
    wanted: Wanted,
    at: datetime,
    until: datetime,
    given: Mapping[str, AbstractSet[Action]],
) -> Mapping[str, datetime]:
    """The datasets that the subject may use less after some moment before ``until``, with that moment.

    ``given`` is what the lease lets the subject do, by the names of datasets.

    An allowance that only begins later is not in the lease: a lease never grows.
    """
    timed = [rule.policy for rule in realm.rules_for(scene_of(realm, asker, {}).principal.above) if rule.timed]
    moments = boundaries(timed, at, until)
    found: dict[str, datetime] = {}
    for moment in moments[:_MOST_MOMENTS]:
        later = _later(realm, asker, wanted, moment, given.keys() - found.keys())
        found.update({name: moment for name, actions in later.items() if not given[name] <= actions})
    if len(moments) > _MOST_MOMENTS:
        found.update(dict.fromkeys(given.keys() - found.keys(), moments[_MOST_MOMENTS]))
    soon = min(at + UNSTEADY, until)
    found.update((name, min(soon, found.get(name, soon))) for name in given if _is_unsteady(name, timed))
    return dict(sorted(found.items()))


def _is_unsteady(name: str, policies: Iterable[Compiled]) -> bool:
    """Whether one of the policies may change its mind about a dataset at any moment."""
    above = {None, *lineage(domain_of(name))}
    return any(policy.unsteady and policy.within in above for policy in policies)


def _later(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, names: AbstractSet[str]
) -> Mapping[str, set[Action]]:
    """What the subject may do at another moment, to datasets that are declared and to those that patterns make."""
    found: dict[str, set[Action]] = {name: set() for name in names}
    found.update((name, set(actions)) for name, actions in list_all(realm, asker, wanted, at, only=names).usable())
    for name in names - realm.datasets.keys():
        dataset = realm.resolve(name)
        if dataset is not None:
            found[name] = set(decide(realm, asker, wanted, at, dataset).actions)
    return found
