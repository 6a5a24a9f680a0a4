"""Several changes at once: each judged as its own door would judge it, on the realm that the earlier ones make.

So a set may declare a domain and then a dataset in it, and may do nothing that its
changes could not do one after the other: after none of them does the author hold more
than before it. To judge that by the end alone would let an author take a right in a set,
use it there and give it back. What must be sound in the end (definitions, cases, that an
administrator is left) is judged by the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace

from muniment.core.bodies import key_of, word_of
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.kept import Address, Keeping, Kept, check_kept_by_nobody_else, keepable
from muniment.core.ledger import Event
from muniment.core.occasions import Occasion
from muniment.core.places import Written
from muniment.core.policies import Policy
from muniment.core.problems import Fault, Invalid, NotFound, Problem, StaleEdit
from muniment.core.realm import Change, Noun, Realm
from muniment.flows.change_realm import (
    Edit,
    Judge,
    Judged,
    Plan,
    Planner,
    check_gains,
    judged_whole,
    settled,
    version_of,
)
from muniment.flows.declare_dataset import plan_dataset, plan_retirement
from muniment.flows.edit_domain import plan_domain
from muniment.flows.edit_environment import plan_environment
from muniment.flows.edit_group import plan_group, plan_group_end
from muniment.flows.edit_policy import plan_grant, plan_grant_end, plan_policy, plan_policy_end
from muniment.flows.house import House
from muniment.store import kept, subjects
from muniment.store.databases import Transaction

#: How many changes can be made at once.
MOST_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class Put:
    """A noun as it shall be, after the version that the author saw; without one, after whatever stands."""

    noun: Noun
    after_version: int | None = None
    #: What the source keeps of it in files from now on.
    kept: Keeping | None = None

    @property
    def key(self) -> tuple[type[Noun], str]:
        """What is changed."""
        return type(self.noun), key_of(self.noun)

    @property
    def told(self) -> str:
        """What it is, for its author."""
        return f"put {_told(self.key)}"


@dataclass(frozen=True, slots=True)
class Delete:
    """The end of a noun: of a dataset, that it is retired."""

    kind: type[Dataset | Group | Policy | Grant]
    name: str
    after_version: int | None = None

    @property
    def key(self) -> tuple[type[Noun], str]:
        """What is changed."""
        return self.kind, self.name

    @property
    def told(self) -> str:
        """What it is, for its author."""
        return f"delete {_told(self.key)}"


@dataclass(frozen=True, slots=True)
class Keep:
    """A noun that stays as it stands, and what a source keeps of it from now on; nothing, where it lets go."""

    kind: type[Noun]
    name: str
    kept: Keeping | None
    after_version: int | None = None

    @property
    def key(self) -> tuple[type[Noun], str]:
        """What is kept."""
        return self.kind, self.name

    @property
    def told(self) -> str:
        """What it is, for its author."""
        return f"keep {_told(self.key)}"


Proposal = Put | Delete | Keep


@dataclass(frozen=True, slots=True)
class Together:
    """Changes in the order in which they are judged, made all or none; and why.

    ``source`` is whose files they come from, if any's. It may ``take_over`` what is kept in those of another.
    """

    proposals: tuple[Proposal, ...]
    reason: str = ""
    source: str | None = None
    take_over: bool = False

    @staticmethod
    def kept(proposals: Iterable[Proposal]) -> dict[Address, Keeping | None]:
        """What the source keeps of each thing from now on; nothing, of what it ends or lets go."""
        return {
            (word_of(each.key[0]), each.key[1]): None if isinstance(each, Delete) else each.kept
            for each in proposals
            if not isinstance(each, Put) or each.kept is not None
        }


async def judge_of(house: House, occasion: Occasion, together: Together) -> Judge:
    """Judges the changes on any realm: what they make of it, or which one may not be made, and why."""
    groups = [name for kind, name in (proposal.key for proposal in together.proposals) if kind is Group]
    async with house.db.begin() as tx:
        providers = await subjects.provider_groups(tx, groups) if groups else frozenset()
        standing = await _kept_of(tx, together)
    keepable_in, written = _Keepable(), Written(house.types)
    planners = [
        _planner_of_keeping(occasion, proposal, keepable_in)
        if isinstance(proposal, Keep)
        else _planner_of(house.types, occasion, proposal, providers, written)
        for proposal in together.proposals
    ]
    return lambda before: _judge(house.types, before, occasion, together, planners, standing)


@contextmanager
def naming(place: int, told: str) -> Iterator[None]:
    """Say of a refusal to which of the changes it belongs; ``told`` is what that change is."""
    try:
        yield
    except Problem as refused:
        refused.detail = f"changes.{place} ({told}): {refused.detail}"
        refused.members = {**refused.members, "change": place}
        if isinstance(refused, Invalid):
            refused.faults = tuple(replace(fault, at=f"changes.{place}.{fault.at}") for fault in refused.faults)
        raise


def _judge(
    types: KnownTypes,
    before: Realm,
    occasion: Occasion,
    together: Together,
    planners: Sequence[Planner],
    standing: Mapping[Address, Kept],
) -> Judged:
    _check_each_once(together.proposals)
    after, plans = before, []
    for place, (proposal, planner) in enumerate(zip(together.proposals, planners, strict=True)):
        with naming(place, proposal.told):
            plan = settled(after, planner(after))
            # What another source keeps is told to those alone who may put it.
            _check_kept(standing, together, [proposal])
            check_versions(after, plan.edits)
            if isinstance(proposal, Keep):
                continue
            following = after.after(before.revision + 1, [edit.change for edit in plan.edits])
            check_gains(types, after, following, occasion)
        plans.append(plan)
        after = following
    return judged_whole(types, before, after, occasion, _one_plan(plans, together))


def _check_each_once(proposals: Sequence[Proposal]) -> None:
    seen: set[tuple[type[Noun], str]] = set()
    for place, proposal in enumerate(proposals):
        if proposal.key in seen:
            message = f"{_told(proposal.key)} is changed twice; say once how it shall be."
            raise Invalid(message, [Fault(f"changes.{place}", message)], change=place)
        seen.add(proposal.key)


def check_versions(realm: Realm, edits: Sequence[Edit]) -> None:
    """Refuse a change that begins from another version than the one that stands."""
    for edit in edits:
        stands = version_of(realm, edit.change)
        if edit.after_version != stands:
            seen = f"version {edit.after_version}" if edit.after_version else "no version"
            where = f"at version {stands}" if stands else "not there"
            raise StaleEdit(f"You saw {seen} of it, and it is {where} now: read it and try again.", version=stands)


async def _kept_of(tx: Transaction, together: Together) -> dict[Address, Kept]:
    """What is kept in files of the things that a source speaks of."""
    if together.source is None:
        return {}
    addresses = together.kept(together.proposals).keys()
    found: dict[Address, Kept] = {}
    for kind in sorted({kind for kind, _ in addresses}):
        found |= await kept.standing(tx, kind, [key for of, key in addresses if of == kind])
    return found


def _check_kept(standing: Mapping[Address, Kept], together: Together, proposals: Sequence[Proposal]) -> None:
    """Refuse what is kept in the files of another source, unless it is taken over."""
    if together.source is not None and not together.take_over:
        check_kept_by_nobody_else(standing, together.source, together.kept(proposals))


def _one_plan(plans: Sequence[Plan], together: Together) -> Plan:
    """One change is told as what it is, whichever door it came by; several as a set, and each for itself beside."""
    if len(plans) == 1 and together.source is None:
        (plan,) = plans
        return replace(plan, reason=together.reason or plan.reason)

    async def within(tx: Transaction, revision: int) -> None:
        for plan in plans:
            if plan.within is not None:
                await plan.within(tx, revision)
        if together.source is not None:
            _check_kept(await _kept_of(tx, together), together, together.proposals)
            await kept.append(tx, together.source, together.kept(together.proposals), revision)

    details: dict[str, object] = {
        "changes": [{"event": plan.event, **plan.details, "reason": plan.reason} for plan in plans]
    }
    if together.source is not None:
        held = together.kept(together.proposals)
        details |= {"source": together.source, "kept": [" ".join(each) for each in held]}
    return Plan(
        Event.REALM_APPLIED,
        tuple(edit for plan in plans for edit in plan.edits),
        datasets=tuple(sorted({name for plan in plans for name in plan.datasets})),
        policies=tuple(sorted({id_ for plan in plans for id_ in plan.policies})),
        details=details,
        reason=together.reason,
        within=within,
        parts=tuple(plans),
    )


def _planner_of(
    types: KnownTypes, occasion: Occasion, proposal: Put | Delete, providers: AbstractSet[str], written: Written
) -> Planner:
    if isinstance(proposal, Delete):
        return _end_of(occasion, proposal)
    after = proposal.after_version
    match proposal.noun:
        case Dataset() as dataset:
            return plan_dataset(types, occasion, dataset, after, written)
        case Domain() as domain:
            return plan_domain(occasion, domain, after)
        case Environment() as environment:
            return plan_environment(occasion, environment, after)
        case Group() as group:
            return plan_group(occasion, group, after, providers)
        case Policy() as policy:
            return plan_policy(occasion, policy, after)
        case Grant() as grant:
            return plan_grant(occasion, grant, after)


def _planner_of_keeping(occasion: Occasion, proposal: Keep, keepable_in: _Keepable) -> Planner:
    """A thing that is not there and one that may not be kept are one: nothing is told of either."""

    def plan(realm: Realm) -> Plan:
        standing = keepable_in.of(realm, occasion, word_of(proposal.kind)).get(proposal.name)
        if standing is None:
            raise NotFound
        edit = Edit(Change(proposal.kind, proposal.name, standing), proposal.after_version)
        check_versions(realm, settled(realm, Plan(Event.REALM_APPLIED, (edit,))).edits)
        return Plan(Event.REALM_APPLIED, ())

    return plan


class _Keepable:
    """What may be kept of each kind, found once for a realm: a source keeps many things at once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Realm, Mapping[str, Noun]]] = {}

    def of(self, realm: Realm, occasion: Occasion, kind: str) -> Mapping[str, Noun]:
        if kind not in self._found or self._found[kind][0] is not realm:
            self._found[kind] = realm, keepable(realm, occasion.asker, occasion.at, kind)
        return self._found[kind][1]


def _end_of(occasion: Occasion, ending: Delete) -> Planner:
    if ending.kind is Dataset:
        return plan_retirement(occasion, ending.name, ending.after_version)
    if ending.kind is Group:
        return plan_group_end(occasion, ending.name, ending.after_version)
    if ending.kind is Policy:
        return plan_policy_end(occasion, ending.name, ending.after_version)
    return plan_grant_end(occasion, ending.name, ending.after_version)


def _told(key: tuple[type[Noun], str]) -> str:
    kind, name = key
    return f"{kind.__name__.lower()} {name}"
