"""Leases: what the service gives a project, and until when each part of it holds.

A lease is for one subject, one environment, one revision. A dataset that ends sooner than
the lease is named with its end, so that one ending grant does not end the whole lease.

What makes it worth keeping is a small signed statement beside it: whose lease it is, what
was asked for, until when it holds, and the digest of its body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from muniment.core.decisions import UNSTEADY, Wanted, boundaries, decide, list_all, scene_of
from muniment.core.names import domain_of, lineage
from muniment.core.occasions import Occasion
from muniment.core.policies import Compiled
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject, SubjectState

#: Whom a lease is for (``aud``), and what its statement is called (``typ``; RFC 8725, 3.11).
AUDIENCE: Final = "kedro"
TYPE: Final = "muniment-lease+jwt"

#: The longest that a lease may be set to hold; its key is shown for longer (decision 0030).
LONGEST: Final = timedelta(days=14)

#: How many future moments are looked at; what lies behind the last is not promised at all.
_MOST_MOMENTS = 32

#: Into how many steps the hours of a domain are divided: each is one that its datasets may end sooner.
_STEPS: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long leases are, in hours: people sign in each day, jobs run over a weekend."""

    users: float = 12
    services: float = 72

    def of(self, asker: SubjectState) -> timedelta:
        """The length of a lease for this subject."""
        return timedelta(hours=self.users if asker.subject.kind is Kind.USER else self.services)

    def end(self, occasion: Occasion) -> datetime:
        """When a lease ends that is given on this occasion."""
        return self.to(occasion).end(occasion.at)

    def to(self, occasion: Occasion) -> Length:
        """The length of a lease that is given on this occasion, and of the same one given again.

        It ends with the key of Muniment's own that asked for it, at the latest. A token's end is not the lease's:
        tokens last minutes, and are renewed by whoever may still sign in.
        """
        return Length(self.of(occasion.asker), None if occasion.bounds is None else occasion.until)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a lease is, and when it ends at the latest."""

    lasting: timedelta
    latest: datetime | None = None

    def end(self, at: datetime) -> datetime:
        """When a lease ends that is given at a moment."""
        end = at + self.lasting
        return end if self.latest is None else min(end, self.latest)


class Statement:
    """What the service signs of the leases that it gives one subject of one body.

    That is all but their times, receipts and revisions: a revision may change nothing of a body.
    ``names`` are those that were asked for, or None where all were. ``body_sha256`` is of the
    body as it is read, without the coding in which it travelled.
    """

    def __init__(
        self, *, issuer: str, subject: Subject, wanted: Wanted, names: Iterable[str] | None, sha256: str
    ) -> None:
        asked = {} if names is None else {"names": digest_of_names(names)}
        whose = {"iss": issuer, "sub": str(subject), "aud": AUDIENCE}
        what = {"environment": wanted.environment, "project": wanted.project, "purpose": wanted.purpose, **asked}
        self._whose = orjson.dumps(whose).decode()[:-1]
        self._what = orjson.dumps(what).decode()[1:-1]
        self.body_sha256 = sha256

    def claims(self, at: datetime, until: datetime, receipt: str, revision: int) -> bytes:
        """The claims (RFC 7519, 4.1, and our own) as JSON: moments in whole seconds, none later than it is."""
        return (
            f'{self._whose},"iat":{int(at.timestamp())},"exp":{int(until.timestamp())},{self._what},'
            f'"revision":{revision},"receipt":"{receipt}","body_sha256":"{self.body_sha256}"}}'
        ).encode()


def digest_of_names(names: Iterable[str]) -> str:
    """SHA-256 (hex) over the names, each once, sorted by code point, with commas between them, in UTF-8."""
    return hashlib.sha256(",".join(sorted(set(names))).encode()).hexdigest()


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
    timed = _timed(realm, asker)
    moments = boundaries(timed, at, until)
    found = lessened(realm, asker, wanted, moments[:_MOST_MOMENTS], given)
    if len(moments) > _MOST_MOMENTS:
        found.update(dict.fromkeys(given.keys() - found.keys(), moments[_MOST_MOMENTS]))
    for name, end in _own_ends(realm, given, at):
        if end < found.get(name, until):
            found[name] = end
    soon = min(at + UNSTEADY, until)
    found.update((name, min(soon, found.get(name, soon))) for name in _unsteady(given, timed))
    return dict(sorted(found.items()))


def lessened(
    realm: Realm,
    asker: SubjectState,
    wanted: Wanted,
    moments: Iterable[datetime],
    given: Mapping[str, AbstractSet[Action]],
) -> dict[str, datetime]:
    """Of the datasets with what the subject may do to each, those with which it may do less, and the first moment."""
    found: dict[str, datetime] = {}
    for moment in moments:
        later = _later(realm, asker, wanted, moment, given.keys() - found.keys())
        found.update({name: moment for name, actions in later.items() if not given[name] <= actions})
    return found


def moments_ahead(realm: Realm, asker: SubjectState, at: datetime, until: datetime) -> tuple[datetime, ...]:
    """When rules that concern the subject may change their minds, the first of those moments before ``until``."""
    return boundaries(_timed(realm, asker), at, until)[:_MOST_MOMENTS]


def _timed(realm: Realm, asker: SubjectState) -> list[Compiled]:
    return [rule.policy for rule in realm.rules_for(scene_of(realm, asker, {}).principal.above) if rule.timed]


def own_ends_hold_until(realm: Realm, at: datetime) -> datetime | None:
    """When a lease would first give another end to the datasets of a domain that has lease hours of its own."""
    hours = {domain.lease_hours for domain in realm.domains.values() if domain.lease_hours is not None}
    return min((_stepped(at, each) + timedelta(hours=each / _STEPS - each) for each in hours), default=None)


def _own_ends(realm: Realm, names: Iterable[str], at: datetime) -> Iterable[tuple[str, datetime]]:
    """When datasets end because their domain gives them for so many hours."""
    if all(domain.lease_hours is None for domain in realm.domains.values()):
        return
    hours = {domain: realm.lease_hours_of(domain) for domain in {*map(domain_of, names)}}
    for name in names:
        lasting = hours[domain_of(name)]
        if lasting is not None:
            yield name, _stepped(at, lasting)


def _stepped(at: datetime, hours: float) -> datetime:
    """So many hours later, rounded down to a step: in between, a lease is unchanged and need not be sent again."""
    step = timedelta(hours=hours / _STEPS)
    return at + timedelta(hours=hours) - (at - _EPOCH) % step


def _unsteady(names: Iterable[str], policies: Iterable[Compiled]) -> Iterable[str]:
    """The datasets about which one of the policies may change its mind at any moment."""
    within = {policy.within for policy in policies if policy.unsteady}
    if not within:
        return
    domains = {domain for domain in {*map(domain_of, names)} if not within.isdisjoint({None, *lineage(domain)})}
    yield from (name for name in names if domain_of(name) in domains)


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
