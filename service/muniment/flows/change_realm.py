"""Somebody changes the realm: one revision, one ledger row, one transaction, or nothing.

Each kind of change has a flow of its own that says what the change is and who may make
it; what holds for all of them is here. The counter's lock is taken first, so a change is
judged by the realm that it changes, and revisions follow commit order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from muniment.core.datasets import Dataset
from muniment.core.delegation import check_administrator_left, check_not_widening
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import NotAllowed, NotFound
from muniment.core.realm import Change, Noun, Realm
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
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


#: Looks at the realm as it is and says what to change; raises a Problem when it may not be.
Planner = Callable[[Realm], Plan]


async def change_realm(house: House, occasion: Occasion, plan_of: Planner) -> Changed:
    """Carry out a change, all or none; a refused one is written down before the refusal leaves."""
    try:
        return await _carried_out(house, occasion, plan_of)
    except (NotAllowed, NotFound) as refused:
        await house.ledger.record(
            row(
                occasion,
                Event.CHANGE_REFUSED,
                Outcome.DENIED,
                details={"problem": refused.title, "detail": refused.detail},
            )
        )
        raise


async def _carried_out(house: House, occasion: Occasion, plan_of: Planner) -> Changed:
    async with house.db.begin() as tx:
        before = await house.realms.within(tx)
        plan = await aside(lambda: plan_of(before))
        revision = await revisions.next(tx, occasion, plan.reason)
        after = before.after(revision, [edit.change for edit in plan.edits])
        await aside(lambda: check_not_widening(before, after, occasion.asker, occasion.at))
        if await aside(lambda: _may_leave_nobody(before, after, occasion)):
            others = [seen.state for seen in await subjects.newest(tx)]
            await aside(lambda: check_administrator_left(after, occasion.asker, others, occasion.at))
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


def _may_leave_nobody(before: Realm, after: Realm, occasion: Occasion) -> bool:
    """Whether rules changed under which even the one who changed them no longer administers."""
    same = all(getattr(before, shelf) is getattr(after, shelf) for shelf in ("policies", "grants", "groups"))
    return not same and not may_govern(after, occasion.asker, occasion.at, Action.ADMINISTER, ROOT)


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
