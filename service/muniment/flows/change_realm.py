"""Somebody changes the realm: one revision, one transaction, its rows in the ledger, or nothing.

Each kind of change has a planner of its own that says what the change is and who may
make it; what holds for all of them is here. A change is judged before anything is locked,
so that one which may not be made holds nobody up; under the counter's lock it is judged
again if another came between. So it is always judged by the realm that it changes, and
revisions follow commit order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Generic, TypeVar

from muniment.core.break_glass import check_not_joining
from muniment.core.cases import check_cases
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.decisions import EVALUATOR
from muniment.core.delegation import check_administrator_left, check_not_widening, may_leave_nobody
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.core.realm import Change, Noun, Realm
from muniment.core.second_names import check_filled
from muniment.core.soundness import check_sound
from muniment.core.subjects import SubjectState
from muniment.flows.house import House, aside
from muniment.store import changes, ledger, revisions, subjects
from muniment.store.databases import Transaction

Thing = TypeVar("Thing", Dataset, Domain, Environment, Group, Policy, Grant)


#: Where a realm holds the nouns of each kind.
_SHELVES: Mapping[type[Noun], str] = {
    Dataset: "datasets",
    Domain: "domains",
    Environment: "environments",
    Group: "groups",
    Policy: "policies",
    Grant: "grants",
}


#: For how long what a token said of its subject is taken into account when another one is used.
_SIGN_INS = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change and the version that it begins from; 0 means that the thing must not exist yet.

    None begins from whatever stands in the realm that the change was judged on.
    """

    change: Change
    after_version: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a flow wants to change, and how the ledger tells it.

    ``decided_sha256`` is of the decision by which it is made, where that is one of its own (the approval of a request).
    ``within`` writes what belongs to the change and is not of the realm, in the same
    transaction: it is given the new revision, and what it raises undoes everything.
    ``parts`` are the changes of which it is made, where each would have been one alone: the ledger tells of each in a
    row of its own beside, under the same receipt, in the order of ``edits``.
    """

    event: Event
    edits: tuple[Edit, ...]
    datasets: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    decided_sha256: str | None = None
    within: Callable[[Transaction, int], Awaitable[None]] | None = None
    parts: tuple[Plan, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What stands after a change: the nouns with their versions (nothing for one that was ended), and the revision.

    ``before`` is the realm that was changed, ``edits`` are the changes in the order of the nouns.
    """

    nouns: tuple[Noun | None, ...]
    revision: int
    before: Realm
    edits: tuple[Edit, ...]

    def only(self, kind: type[Thing]) -> Kept[Thing]:
        """The one noun that was put."""
        (noun,) = self.nouns
        if not isinstance(noun, kind):
            raise NotFound
        return Kept(noun, self.revision)


@dataclass(frozen=True, slots=True)
class Kept(Generic[Thing]):
    """A noun as it stands after it was put, with its version, and the revision that it made."""

    noun: Thing
    revision: int


#: Looks at the realm as it is and says what to change; raises a Problem when it may not be.
Planner = Callable[[Realm], Plan]


@dataclass(frozen=True, slots=True)
class Judged:
    """A plan that may be carried out on the realm that it was made for, as far as can be told without the database."""

    before: Realm
    after: Realm
    plan: Plan
    may_leave_nobody: bool

    def check_administrator_left(self, states: Sequence[SubjectState], occasion: Occasion) -> None:
        """Refuse a change after which neither the asker nor any of these may administer everything."""
        if self.may_leave_nobody:
            check_administrator_left(self.before, self.after, [occasion.asker, *states], occasion.at)


#: Says what becomes of a realm; raises a Problem when that may not be.
Judge = Callable[[Realm], Judged]


async def change_realm(house: House, occasion: Occasion, plan_of: Planner, tried: int | None = None) -> Changed:
    """Carry out what a planner says, all or none; a refused change is written down before the refusal leaves.

    ``tried`` is the revision at which its author saw what it would do: the realm may be at no other one.
    """

    def judge(before: Realm) -> Judged:
        if tried is not None and before.revision != tried:
            detail = "Something else was changed since you saw what this would do. Look at it again, then confirm it."
            raise StaleEdit(detail, revision=before.revision)
        return judge_one(house.types, before, occasion, plan_of)

    return await carry_out(house, occasion, judge)


async def carry_out(house: House, occasion: Occasion, judge: Judge, *, widening: bool = False) -> Changed:
    """Carry out what a judge lets pass, all or none; a refused change is written down before the refusal leaves.

    ``widening``: its author may gain by it, whatever else is known of them (an emergency).
    """
    async with refused_changes_recorded(house, occasion):
        return await _carried_out(house, occasion, judge, widening=widening)


@asynccontextmanager
async def refused_changes_recorded(house: House, occasion: Occasion, realm: Realm | None = None) -> AsyncIterator[None]:
    """Write down that nothing was changed, and why, before the refusal leaves; ``realm`` is what it was judged by."""
    try:
        yield
    except Unavailable:
        raise
    except Problem as refused:
        revision = None if realm is None else realm.revision
        await house.ledger.record(
            row(occasion, Event.CHANGE_REFUSED, Outcome.DENIED, revision=revision, details=told_of(refused))
        )
        raise


def told_of(refused: Problem) -> dict[str, object]:
    """What the ledger keeps of a refusal: why somebody may not, and of a mistake only what kind it was."""
    detail = {"detail": refused.detail} if isinstance(refused, NotAllowed | NotFound) else {}
    return {"problem": refused.title, **detail}


async def _carried_out(house: House, occasion: Occasion, judge: Judge, *, widening: bool) -> Changed:
    current = await house.realms.current()
    others = [] if widening else await _other_sign_ins(house, occasion)
    judged = await aside(lambda: _judged_for_all(judge, current, others, occasion))
    async with house.db.begin() as tx:
        before = await house.realms.within(tx)
        if before.revision != judged.before.revision:
            judged = await aside(lambda: _judged_for_all(judge, before, others, occasion))
        for author in (occasion.asker, *others):
            check_not_joining(judged.before, judged.after, author, house.breakers)
        plan = judged.plan
        if judged.may_leave_nobody:
            states = [seen.state for seen in await subjects.newest(tx)]
            await aside(lambda: judged.check_administrator_left(states, occasion))
        revision = await revisions.next(tx, occasion, plan.reason)
        nouns = await changes.append(tx, revision, [(edit.change, edit.after_version or 0) for edit in plan.edits])
        if plan.within is not None:
            await plan.within(tx, revision)
        await ledger.append(tx, [*_rows(occasion, plan, revision, nouns)])
    return Changed(tuple(nouns), revision, before, plan.edits)


def _rows(occasion: Occasion, plan: Plan, revision: int, nouns: Sequence[Noun | None]) -> Iterator[Row]:
    """What the ledger tells of a plan, and of each of its parts."""
    yield _row(occasion, plan, revision, nouns)
    of_parts = iter(nouns)
    for number, part in enumerate(plan.parts):
        beside = _row(occasion.beside(f" part {number}"), part, revision, [*islice(of_parts, len(part.edits))])
        yield replace(beside, receipt=occasion.receipt)


def _row(occasion: Occasion, plan: Plan, revision: int, nouns: Sequence[Noun | None]) -> Row:
    return row(
        occasion,
        plan.event,
        Outcome.DONE,
        revision=revision,
        datasets=plan.datasets,
        policies=plan.policies,
        decided_sha256=plan.decided_sha256,
        evaluator=EVALUATOR if plan.decided_sha256 else None,
        details={**plan.details, "versions": _versions(plan.edits, nouns), "reason": plan.reason},
    )


async def _other_sign_ins(house: House, occasion: Occasion) -> Sequence[SubjectState]:
    """What else was known of the author on the last day: a token may leave out groups that another one has."""
    async with house.db.begin() as tx:
        digests = await ledger.states_of(tx, str(occasion.subject), occasion.at - _SIGN_INS)
        found = await subjects.of_digests(tx, digests - {occasion.asker.digest})
    return [found[digest] for digest in sorted(found)]


def _judged_for_all(judge: Judge, before: Realm, others: Iterable[SubjectState], occasion: Occasion) -> Judged:
    judged = judge(before)
    for other in others:
        check_not_widening(judged.before, judged.after, other, occasion.at)
    return judged


def judge_one(types: KnownTypes, before: Realm, occasion: Occasion, plan_of: Planner) -> Judged:
    """What one change makes of a realm; raises a Problem when it may not be."""
    plan = settled(before, plan_of(before))
    after = before.after(before.revision + 1, [edit.change for edit in plan.edits])
    check_gains(types, before, after, occasion)
    return judged_whole(types, before, after, occasion, plan)


def check_gains(types: KnownTypes, before: Realm, after: Realm, occasion: Occasion) -> None:
    """Refuse a change by which its author gains access: by a rule, or by the path to which a variable leads."""
    check_not_widening(before, after, occasion.asker, occasion.at)
    check_filled(types, before, after, occasion.asker, occasion.at)


def judged_whole(types: KnownTypes, before: Realm, after: Realm, occasion: Occasion, plan: Plan) -> Judged:
    """A plan, each part of which may be carried out, judged by all that it makes of the realm."""
    check_sound(types, before, after, occasion.asker, occasion.at)
    check_cases(before, after, occasion.asker, occasion.at)
    return Judged(before, after, plan, may_leave_nobody(before, after, occasion.asker, occasion.at))


def settled(before: Realm, plan: Plan) -> Plan:
    """The plan with the version that each of its edits begins from."""
    edits = [
        edit if edit.after_version is not None else replace(edit, after_version=version_of(before, edit.change))
        for edit in plan.edits
    ]
    return replace(plan, edits=tuple(edits))


def version_of(realm: Realm, change: Change) -> int:
    """The version that stands where a change is to be made; 0 where nothing does."""
    shelf: Mapping[str, Noun] = getattr(realm, _SHELVES[change.kind])
    return shelf[change.key].version if change.key in shelf else 0


def _versions(edits: Sequence[Edit], nouns: Sequence[Noun | None]) -> list[dict[str, object]]:
    return [
        {
            "kind": edit.change.kind.__name__.lower(),
            "key": edit.change.key,
            "before": edit.after_version,
            "after": noun.version if noun else None,
        }
        for edit, noun in zip(edits, nouns, strict=True)
    ]
