"""Somebody leaves: what they hold is shown, and an administrator hands it over in one change.

Whoever audits or administers everything sees all of it; a steward sees what lies in the scopes
whose rules they read. What the identity provider says of a subject is not changed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.grants import Grant
from muniment.core.groups import Group, is_builtin, write_group
from muniment.core.holdings import Holdings, handed_over, holdings
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT, domain_of
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.rulebook import Written, all_readable, overseen, tellable
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import may_govern, readable_scopes
from muniment.flows.change_realm import Edit, Plan, Planner, change_realm
from muniment.flows.house import House, aside
from muniment.store import grants, policies, subjects
from muniment.store.databases import Transaction
from muniment.store.lines import Standing
from muniment.store.subjects import Known

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Held:
    """What a subject holds, as far as the asker may see it.

    ``wrote`` are the rules that stand as this subject put them. ``seen_at`` is none for one
    who was never here. ``may_hand_over`` says whether the asker may.
    """

    holdings: Holdings
    rules: Mapping[str, Written]
    wrote: tuple[str, ...]
    token_groups: tuple[str, ...]
    seen_at: datetime | None
    known_subjects: int
    may_hand_over: bool
    revision: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What was handed over, by name, and what is left of the subject here."""

    domains: tuple[str, ...]
    datasets: tuple[str, ...]
    groups: tuple[str, ...]
    ended: tuple[str, ...]
    left: Holdings
    revision: int


async def read_holdings(house: House, occasion: Occasion, subject: Subject) -> Held:
    """What a subject holds here; for those who read rules somewhere, cut to where they do."""
    realm = await house.realms.current()
    async with house.db.begin() as tx:
        known = await subjects.newest(tx)
        standing = await _standing(tx)
    async with house.refusals_recorded(occasion, realm):
        held = await aside(lambda: _held(realm, occasion, subject, known, standing))
        if held.seen_at is None and held.holdings.empty and not held.wrote:
            raise NotFound
    details = {"read": "holdings", "about": str(subject)}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return held


async def hand_over(house: House, occasion: Occasion, subject: Subject, to: str, reason: str) -> HandedOver:
    """Give a group, or a subject's own group, what a subject owned; end what was addressed to the subject alone."""
    async with house.db.begin() as tx:
        known = await subjects.newest(tx)
        sent = await subjects.provider_groups(tx, [to])
    people = {str(each.state.subject) for each in known}
    changed = await change_realm(
        house, occasion, plan_hand_over(occasion, subject, to, reason, is_known=to in sent or to in people)
    )
    edits = tuple(handed_over(changed.before, subject, to))
    after = changed.before.after(changed.revision, edits)
    left = await aside(lambda: _all(after, occasion, subject, known))
    return HandedOver(
        domains=tuple(edit.key for edit in edits if edit.kind is Domain),
        datasets=tuple(edit.key for edit in edits if edit.kind is Dataset),
        groups=tuple(edit.key for edit in edits if edit.kind is Group),
        ended=tuple(
            f"grant:{edit.key}" if edit.kind is Grant else edit.key for edit in edits if edit.kind in {Grant, Policy}
        ),
        left=left,
        revision=changed.revision,
    )


def plan_hand_over(occasion: Occasion, subject: Subject, to: str, reason: str, *, is_known: bool) -> Planner:
    """Handing over what a subject holds; ``is_known`` says that a token has brought ``to``, as a group or a subject."""

    def plan(realm: Realm) -> Plan:
        if not may_govern(realm, occasion.asker, occasion.at, Action.ADMINISTER, ROOT):
            raise NotAllowed("To hand over what somebody holds you need administer on all.")
        if to == str(subject):
            message = "What somebody holds is handed over to somebody else."
            raise Invalid(message, [Fault("to", message)])
        if not is_known and (is_builtin(to) or to not in realm.groups):
            message = f"Nobody knows {write_group(to)}: name a subject who was here, or a group that somebody is in."
            raise Invalid(message, [Fault("to", message)])
        changes = tuple(handed_over(realm, subject, to))
        if not changes:
            raise Conflict(f"{subject} owns nothing, is in no local group, and no rule means them alone.")
        return Plan(
            Event.SUBJECT_HANDED_OVER,
            tuple(Edit(change, None) for change in changes),
            datasets=tuple(change.key for change in changes if change.kind is Dataset),
            policies=tuple(
                f"grant:{change.key}" if change.kind is Grant else change.key
                for change in changes
                if change.kind in {Grant, Policy}
            ),
            details={"about": str(subject), "to": write_group(to)},
            reason=reason,
        )

    return plan


async def _standing(tx: Transaction) -> dict[str, Standing]:
    found = await policies.LINE.standing(tx)
    return found | {f"grant:{id_}": standing for id_, standing in (await grants.LINE.standing(tx)).items()}


def _all(realm: Realm, occasion: Occasion, subject: Subject, known: list[Known]) -> Holdings:
    states = {each.state.subject: each.state for each in known}
    others = [state for name, state in states.items() if name != subject]
    return holdings(realm, subject, states.get(subject), others, occasion.at)


def _held(
    realm: Realm, occasion: Occasion, subject: Subject, known: list[Known], standing: Mapping[str, Standing]
) -> Held:
    asker, at = occasion.asker, occasion.at
    scopes = readable_scopes(realm, asker, at, realm.domain_tree)
    if not scopes:
        raise NotAllowed("To see what somebody holds you need grant, audit or administer in some domain.")
    rules = all_readable(realm, asker, at)
    found = _all(realm, occasion, subject, known)
    seen = next((each for each in known if each.state.subject == subject), None)
    everything = bool(overseen(realm, asker, at, [ROOT]))
    if not everything:
        found = _cut(realm, occasion, found, scopes)
    addressed, named = ([id_ for id_ in ids if id_ in rules] for ids in (found.addressed, found.named))
    found = replace(found, addressed=tuple(addressed), named=tuple(named))
    return Held(
        holdings=found,
        rules={id_: rules[id_] for id_ in (*found.addressed, *found.named)},
        wrote=tuple(sorted(id_ for id_ in rules if id_ in standing and standing[id_].by == str(subject))),
        token_groups=tuple(sorted(seen.state.groups)) if seen and everything else (),
        seen_at=seen.seen_at if seen else None,
        known_subjects=len(known),
        may_hand_over=may_govern(realm, asker, at, Action.ADMINISTER, ROOT),
        revision=realm.revision,
    )


def _cut(realm: Realm, occasion: Occasion, found: Holdings, scopes: frozenset[str]) -> Holdings:
    """What lies in the scopes whose rules the asker reads, without datasets that they may not know of."""
    names = {name for name in tellable(realm, occasion.asker, occasion.at) if domain_of(name) in scopes}
    shown = names | scopes
    alone = {group: tuple(name for name in owned if name in shown) for group, owned in found.alone.items()}
    return replace(
        found,
        domains=tuple(name for name in found.domains if name in scopes),
        datasets=tuple(name for name in found.datasets if name in names),
        alone={group: owned for group, owned in alone.items() if owned},
        uses={name: used for name, used in found.uses.items() if name in names},
    )
