"""Somebody changes the realm: one revision, one ledger row, one transaction, or nothing.

Each kind of change has a flow of its own that says what the change is and who may make
it; what holds for all of them is here. A change is judged before anything is locked, so
that one which may not be made holds nobody up; under the counter's lock it is judged
again if another came between. So it is always judged by the realm that it changes, and
revisions follow commit order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from muniment.core.datasets import Dataset
from muniment.core.delegation import check_administrator_left, check_not_widening, may_leave_nobody
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import NotAllowed, NotFound, Problem, Unavailable
from muniment.core.realm import Change, Noun, Realm
from muniment.flows.house import House, aside
from muniment.store import changes, ledger, revisions, subjects

Thing = TypeVar("Thing", Dataset, Domain, Environment, Group, Policy, Grant)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change and the version that it begins from; 0 means that the thing must not exist yet."""

    change: Change
    after_version: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a flow wants to change, and how the ledger tells it."""

    event: Event
    edits: tuple[Edit, ...]
    datasets: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """What stands after a change: the nouns with their versions (nothing for one that was ended), and the revision.

    ``before`` is the realm that was changed.
    """

    nouns: tuple[Noun | None, ...]
    revision: int
    before: Realm

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


@dataclass(frozen=True, slots=True)
class _Judged:
    """A plan that may be carried out on the realm that it was made for, as far as can be told without the database."""

    before: Realm
    after: Realm
    plan: Plan
    may_leave_nobody: bool


#: Looks at the realm as it is and says what to change; raises a Problem when it may not be.
Planner = Callable[[Realm], Plan]


async def change_realm(house: House, occasion: Occasion, plan_of: Planner) -> Changed:
    """Carry out a change, all or none; a refused one is written down before the refusal leaves."""
    try:
        return await _carried_out(house, occasion, plan_of)
    except Unavailable:
        raise
    except Problem as refused:
        await house.ledger.record(
            row(occasion, Event.CHANGE_REFUSED, Outcome.DENIED, details=_told(refused)),
        )
        raise


def _told(refused: Problem) -> dict[str, object]:
    """What the ledger keeps of a refusal: why somebody may not, and of a mistake only what kind it was."""
    detail = {"detail": refused.detail} if isinstance(refused, NotAllowed | NotFound) else {}
    return {"problem": refused.title, **detail}


async def _carried_out(house: House, occasion: Occasion, plan_of: Planner) -> Changed:
    judged = await _judged(await house.realms.current(), occasion, plan_of)
    async with house.db.begin() as tx:
        before = await house.realms.within(tx)
        if before.revision != judged.before.revision:
            judged = await _judged(before, occasion, plan_of)
        plan = judged.plan
        if judged.may_leave_nobody:
            states = [occasion.asker, *(seen.state for seen in await subjects.newest(tx))]
            await aside(lambda: check_administrator_left(judged.before, judged.after, states, occasion.at))
        revision = await revisions.next(tx, occasion, plan.reason)
        nouns = await changes.append(tx, revision, [(edit.change, edit.after_version) for edit in plan.edits])
        await ledger.append(
            tx,
            [
                row(
                    occasion,
                    plan.event,
                    Outcome.DONE,
                    revision=revision,
                    datasets=plan.datasets,
                    policies=plan.policies,
                    details={**plan.details, "versions": _versions(plan.edits, nouns), "reason": plan.reason},
                )
            ],
        )
    return Changed(tuple(nouns), revision, before)


async def _judged(before: Realm, occasion: Occasion, plan_of: Planner) -> _Judged:
    return await aside(lambda: _judge(before, occasion, plan_of))


def _judge(before: Realm, occasion: Occasion, plan_of: Planner) -> _Judged:
    plan = plan_of(before)
    after = before.after(before.revision + 1, [edit.change for edit in plan.edits])
    check_not_widening(before, after, occasion.asker, occasion.at)
    return _Judged(before, after, plan, may_leave_nobody(before, after, occasion.asker, occasion.at))


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
