"""Who read a dataset in some time: who was given it, who says they used it, and under which rules.

What a lease gave stands in no row where it was of a whole catalog: it follows from the revision, the state of the
subject and the question, and is decided here again from those. Revisions between which nothing changed that matters to
the dataset are one, and leases that are alike in all three are decided once, and again at each moment between the first
and the last of them at which a rule may begin or end (decision 0054).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide_each, holding
from muniment.core.domains import Domain
from muniment.core.explanations import in_force
from muniment.core.grants import Grant
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.policies import Policy
from muniment.core.realm import Noun, Realm
from muniment.core.rulebook import Written, written
from muniment.core.schema import Action
from muniment.core.sentences import sentence
from muniment.core.subjects import SubjectState
from muniment.core.visibility import withheld

#: The longest time that is asked about, and the one that is where none is said.
LONGEST: Final = timedelta(days=366)
USUAL: Final = timedelta(days=31)

#: How many leases that differ are decided again (about 3,000 take a second), from how many states of the rules, and how
#: many reports that differ are told.
MOST_GIVEN: Final = 10_000
MOST_SPANS: Final = 500
MOST_TOLD: Final = 10_000

#: At how many moments leases that are alike are decided: a rule for some hours of the day begins and ends each day.
_MOST_MOMENTS: Final = 16


@dataclass(frozen=True, slots=True)
class Alike:
    """Leases to one subject in one state, for one question, by revisions that are one; ``revision`` is the last."""

    subject: str
    state: str
    revision: int
    wanted: Wanted
    times: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Lent:
    """Leases that may have given a dataset, and how many more there are that nobody looks at, the last at a moment."""

    alike: Sequence[Alike]
    left: int = 0
    left_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a subject says that it did with the dataset, in one environment and project."""

    subject: str
    action: str
    environment: str | None
    project: str | None
    times: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Because:
    """A rule as it stood when it let somebody read: its id, and what it said."""

    id: str
    says: str


@dataclass(frozen=True, slots=True)
class Times:
    """How often something happened, and when first and last."""

    count: int
    first: datetime
    last: datetime

    def merged(self, other: Times | None) -> Times:
        """Both together."""
        if other is None:
            return self
        return Times(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class Gave:
    """What leases that are alike gave of the dataset: by which rules; ``partly`` where not all of them may have."""

    alike: Alike
    because: tuple[Because, ...]
    partly: bool = False


@dataclass(frozen=True, slots=True)
class ReadBy:
    """One subject: what it was given, what it says that it loaded or saved, and the rules that let it.

    Without a ``given`` nothing is known that gave it the dataset in this time: an earlier lease may have, or a client
    claims what is not so. ``partly`` says that a rule began or ended meanwhile, so not every lease may have given it.
    """

    subject: str
    given: Times | None
    claimed: Mapping[str, Times]
    environments: tuple[str, ...]
    projects: tuple[str, ...]
    because: tuple[Because, ...]
    partly: bool


@dataclass
class _Gathered:
    given: Times | None = None
    claimed: dict[str, Times] = field(default_factory=dict)
    environments: set[str] = field(default_factory=set)
    projects: set[str] = field(default_factory=set)
    because: dict[str, Because] = field(default_factory=dict)
    partly: bool = False


def gave(realm: Realm, state: SubjectState, alike: Alike, name: str) -> Gave | None:
    """What leases that are alike gave of the dataset; nothing where they did not give it."""
    found = [_because(realm, state, alike.wanted, at, name) for at in _moments(realm, state, alike)]
    ids = sorted({id_ for each in found for id_ in each or ()})
    if all(each is None for each in found):
        return None
    rules = written(realm)
    return Gave(alike, tuple(_told(rules, id_) for id_ in ids), partly=None in found)


def _moments(realm: Realm, state: SubjectState, alike: Alike) -> Iterator[datetime]:
    """When leases that are alike are decided: at the first, whenever a rule may have begun or ended, at the last."""
    at = alike.first
    for _ in range(_MOST_MOMENTS - 1):
        yield at
        _, until = holding(realm, state, at)
        if until is None or until > alike.last:
            return
        at = until
    yield alike.last


def matters(name: str) -> Callable[[type[Noun], str, Sequence[Noun]], bool]:
    """Whether a change may matter to who may load a dataset: by its kind, its key, and what ever stood there.

    Another dataset matters only where it is a pattern, and a domain or a rule only where it is one above, or written in
    one.
    """
    above = frozenset({ROOT, *lineage(domain_of(name))})

    def one_that_matters(kind: type[Noun], key: str, stood: Sequence[Noun]) -> bool:
        if kind is Dataset:
            return key == name or "{" in key
        if kind is Domain:
            return key in above
        rules = [each for each in stood if isinstance(each, Policy | Grant)]
        return kind not in {Policy, Grant} or any(rule.scope in above for rule in rules)

    return one_that_matters


def spans(revisions: Iterable[int], mattering: Sequence[int]) -> list[list[int]]:
    """Revisions between which nothing changed that matters, together; the newest of all first."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for revision in sorted(set(revisions), reverse=True):
        found[bisect_right(mattering, revision)].append(revision)
    return [found[place] for place in sorted(found, reverse=True)]


def read_by(given: Iterable[Gave], claimed: Iterable[Claimed]) -> tuple[ReadBy, ...]:
    """All of it by subject: those who say that they used it most first, then those who were given it most."""
    found: defaultdict[str, _Gathered] = defaultdict(_Gathered)
    for each in given:
        alike, of = each.alike, found[each.alike.subject]
        of.given = Times(alike.times, alike.first, alike.last).merged(of.given)
        of.because |= {rule.id: rule for rule in each.because}
        of.partly |= each.partly
        _where(of, alike.wanted.environment, alike.wanted.project)
    for claim in claimed:
        of = found[claim.subject]
        of.claimed[claim.action] = Times(claim.times, claim.first, claim.last).merged(of.claimed.get(claim.action))
        _where(of, claim.environment, claim.project)
    return tuple(_of(subject, found[subject]) for subject in sorted(found, key=lambda name: _rank(name, found[name])))


def _because(realm: Realm, state: SubjectState, wanted: Wanted, at: datetime, name: str) -> tuple[str, ...] | None:
    """The rules by which the subject may load a dataset at a moment; nothing where it may not."""
    dataset = realm.resolve(name)
    if dataset is None or withheld(realm, state, at, dataset, wanted, Action.LOAD):
        return None
    (decided,) = decide_each(realm, state, wanted, at, [dataset])
    decision = in_force(decided, Action.LOAD)
    return decision.because if decision.allowed else None


def _told(rules: Mapping[str, Written], id_: str) -> Because:
    return Because(id_, sentence(rules[id_]))


def _where(of: _Gathered, environment: str | None, project: str | None) -> None:
    of.environments |= {environment} if environment else set()
    of.projects |= {project} if project else set()


def _rank(subject: str, of: _Gathered) -> tuple[int, int, str]:
    return -sum(each.count for each in of.claimed.values()), -(of.given.count if of.given else 0), subject


def _of(subject: str, of: _Gathered) -> ReadBy:
    because: Sequence[Because] = [of.because[id_] for id_ in sorted(of.because)]
    return ReadBy(
        subject,
        of.given,
        dict(sorted(of.claimed.items())),
        tuple(sorted(of.environments)),
        tuple(sorted(of.projects)),
        tuple(because),
        of.partly,
    )
