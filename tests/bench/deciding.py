"""What deciding costs by itself, without the service around it: processor time, beside Cedar asked one by one.

Everything runs in this process on the realm of :mod:`tests.bench.fixture`, and is told as
processor time, which a busy machine changes less than it changes clocks. Cedar is asked the
way an engine without an index would: every policy, one dataset and one action at a time. It
is asked about a sample, each answer is compared with the engine's, and a whole listing is
told as that many questions.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from statistics import median

import cedarpy

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide, list_all, subject_entity
from muniment.core.divergence import divergences
from muniment.core.explanations import explain
from muniment.core.policies import Policy, PolicyKind, policy_set
from muniment.core.realm import Change, Realm, entity, row_of
from muniment.core.schema import DATA_ACTIONS, Action
from tests.bench.fixture import ASKED, SCHEMA, Misshapen, Person, Size, changes, people, shape_of

SIZES = (Size(10_000, 1_000), Size(10_000, 10_000), Size(100_000, 1_000))
QUICK_SIZES = SIZES[:1]
#: Over how many subjects a change is foreseen.
FORESEEN = 5_000

_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
_SUBJECTS = 24
_CHANGES = 15
_EXPLAINED = 40
#: For how many subjects, and about how many datasets each, Cedar is asked.
_CEDAR_SUBJECTS, _CEDAR_DATASETS = 3, 25

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time in milliseconds: the one in the middle, and the worst."""

    median: float
    worst: float
    times: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Cost:
        return cls(median(milliseconds), max(milliseconds), len(milliseconds))


@dataclass(frozen=True, slots=True)
class Deciding:
    """What one realm costs to decide on."""

    size: Size
    applicable: tuple[int, int, int]
    """The policies that apply to a subject: the fewest, the median, the most."""
    share: tuple[float, float]
    """What part of the datasets a subject may use: the smallest and the largest."""
    obliged: int
    """The masks and row filters among the policies."""
    listing: Cost
    cedar_question: float
    cedar_listing: float
    explained: Cost
    foreseen: Cost
    policy_changed: Cost
    dataset_changed: Cost

    @property
    def times_faster(self) -> float:
        """How many times the processor time of a listing Cedar takes, asked one by one."""
        return self.cedar_listing / self.listing.median


def measure(size: Size, tell: Tell) -> Deciding:
    """Measure one realm; :class:`Misshapen` when the engine and Cedar do not say the same."""
    tell(f"deciding, {size}: the realm is made ready")
    realm = Realm(0, SCHEMA).after(1, changes(size)).ready()
    known = people(_SUBJECTS)
    shape = shape_of(realm, size, known, _AT)
    # Each is as new as the first one: nothing that was found out for a subject is known any more.
    realm = Realm(0, SCHEMA).after(1, changes(size)).ready()
    gc.freeze()
    try:
        listing = Cost.of([_cpu(lambda person=person: list_all(realm, person.state, ASKED, _AT)) for person in known])
        tell(f"deciding, {size}: Cedar is asked one by one")
        question = median(_asked_of_cedar(realm, person) for person in known[:_CEDAR_SUBJECTS])
        tell(f"deciding, {size}: explained, foreseen, changed")
        applicable = sorted(shape.policies_of.values())
        return Deciding(
            size=size,
            applicable=(applicable[0], round(median(applicable)), applicable[-1]),
            share=(shape.shares[0], shape.shares[-1]),
            obliged=sum(policy.kind is not PolicyKind.ACCESS for policy in realm.policies.values()),
            listing=listing,
            cedar_question=question,
            cedar_listing=question * size.datasets * len(DATA_ACTIONS),
            explained=Cost.of(list(_explained(realm, known))),
            foreseen=Cost.of(list(_foreseen(realm))),
            policy_changed=Cost.of([_cpu(lambda c=c: realm.after(2, [c])) for c in _policy_changes(realm)]),
            dataset_changed=Cost.of([_cpu(lambda c=c: realm.after(2, [c])) for c in _dataset_changes(realm)]),
        )
    finally:
        gc.unfreeze()


def text(measured: Sequence[Deciding]) -> str:
    """What was measured, in words."""
    return "\n".join(line for each in measured for line in _lines(each))


def _lines(each: Deciding) -> Iterator[str]:
    fewest, middle, most = each.applicable
    yield ""
    yield f"── deciding: {each.size} " + "─" * max(0, 108 - len(str(each.size)))
    yield (
        f"  {fewest}–{most} policies apply to a subject (median {middle}); {each.share[0]:.0%}–{each.share[1]:.0%} "
        f"of the datasets may be used; {each.obliged} policies mask or filter"
    )
    yield f"  listing, new subject   {_cost(each.listing)}: all actions and obligations on every dataset"
    yield (
        f"  Cedar, one by one      {each.cedar_question:.2f} ms a question, {each.cedar_listing:,.0f} ms a listing: "
        f"{each.times_faster:,.0f} times the engine's"
    )
    yield f"  explained              {_cost(each.explained)}"
    yield f"  a policy's end foreseen {_cost(each.foreseen)}: over {FORESEEN:,} subjects"
    yield f"  policy changed         {_cost(each.policy_changed)}: the realm brought forward"
    yield f"  dataset changed        {_cost(each.dataset_changed)}: the same"


def _cost(cost: Cost) -> str:
    return f"median {cost.median:.2f} ms CPU, worst {cost.worst:.2f} of {cost.times}"


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / 1e6


def _asked_of_cedar(realm: Realm, person: Person) -> float:
    """The milliseconds of one question; each answer is held against the engine's."""
    names = Random(person.id).sample(sorted(realm.datasets), _CEDAR_DATASETS)
    policies = policy_set(policy for policy in realm.compiled.values() if policy.kind is PolicyKind.ACCESS)
    context = json.dumps({"environment": ASKED.environment, "now": _now()})
    standing = realm.base_entities.with_added_json_str(json.dumps([subject_entity(realm, person.state)]))
    took = []
    for name in names:
        decided = decide(realm, person.state, ASKED, _AT, realm.datasets[name])
        row = row_of(realm.datasets[name])
        attributes = {key: _json(value) for key, value in row.attributes.items()}
        entities = standing.with_added_json_str(json.dumps([entity(*row.uid, attributes, row.above)]))
        allowed = {}
        for action in DATA_ACTIONS:
            asked = {
                "principal": {"type": "User", "id": person.id},
                "action": {"type": "Action", "id": action},
                "resource": {"type": "Dataset", "id": name},
                "context": context,
            }
            began = time.process_time_ns()
            answer = cedarpy.is_authorized(asked, policies, entities)
            took.append((time.process_time_ns() - began) / 1e6)
            allowed[action] = answer.allowed
        hidden = not allowed[Action.DISCOVER] and bool(decided.discover.because)
        if not hidden and allowed[Action.LOAD] != decided.load.allowed:
            raise Misshapen(f"Cedar and the engine differ about {person.id} loading {name}.")
    return sum(took) / len(took)


def _json(value: object) -> object:
    match value:
        case tuple():
            return {"__entity": {"type": value[0], "id": value[1]}}
        case frozenset():
            return sorted(value)
        case _:
            return value


def _now() -> dict[str, object]:
    return {"__extn": {"fn": "datetime", "arg": _AT.strftime("%Y-%m-%dT%H:%M:%SZ")}}


def _explained(realm: Realm, known: Sequence[Person]) -> Iterator[float]:
    """Allowed, forbidden and never permitted, as they come."""
    random = Random(31)
    names = sorted(realm.datasets)
    for _ in range(_EXPLAINED):
        state, dataset = random.choice(known).state, realm.datasets[random.choice(names)]
        yield _cpu(lambda s=state, d=dataset: explain(realm, s, ASKED, _AT, Action.LOAD, d))


def _foreseen(realm: Realm) -> Iterator[float]:
    states = [person.state for person in people(FORESEEN)]
    for id_ in Random(32).sample(sorted(realm.policies), _CHANGES):
        after = realm.after(2, [Change(Policy, id_, None)])
        wanted = [Wanted("prod")]
        yield _cpu(lambda a=after, w=wanted: list(divergences(realm, a, states, w, _AT)))


def _policy_changes(realm: Realm) -> Iterator[Change]:
    """A policy is worded otherwise, so that its text is read anew."""
    for number, id_ in enumerate(Random(33).sample(sorted(realm.policies), _CHANGES)):
        policy = realm.policies[id_]
        yield Change(Policy, id_, replace(policy, cedar=f"// {number}\n{policy.cedar}"))


def _dataset_changes(realm: Realm) -> Iterator[Change]:
    """Tags change, a dataset comes, one goes: in turn."""
    for number, name in enumerate(Random(34).sample(sorted(realm.datasets), _CHANGES)):
        dataset = realm.datasets[name]
        match number % 3:
            case 0:
                yield Change(Dataset, name, replace(dataset, tags=dataset.tags ^ {"golden"}))
            case 1:
                yield Change(Dataset, f"{name}_more", replace(dataset, name=f"{name}_more"))
            case _:
                yield Change(Dataset, name, None)
