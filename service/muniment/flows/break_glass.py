"""Somebody breaks the glass: access in an emergency, given to oneself, for hours, and loudly.

Those whom the operator has named do so signed in. The operator, who has the database, does so
where nobody can sign in: with a key that is made here and ends with its grant.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from muniment.core.break_glass import HELPER, Emergency, emergency_key, grant_in, grant_to
from muniment.core.grants import Grant
from muniment.core.keys import ISSUER, credential, written
from muniment.core.ledger import Event
from muniment.core.moments import write_moment
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.realm import Change, Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import Edit, Judged, Kept, Plan, carry_out, judged_whole
from muniment.flows.house import House, aside
from muniment.store import roster
from muniment.store.databases import Transaction

logger = logging.getLogger("muniment")


@dataclass(frozen=True, slots=True)
class EmergencyKey:
    """An emergency key, which nobody can tell again, and what it cannot do since a rule forbids that."""

    text: str = field(repr=False)
    until: datetime
    forbidden: tuple[Action, ...]


async def break_glass(house: House, occasion: Occasion, emergency: Emergency) -> Kept[Grant]:
    """Make the grant that an emergency needs, and tell everybody who listens.

    Nothing but this lets somebody gain by their own change, so what such a change gives
    them is not looked at; whether the realm stays sound is.
    """

    def judge(before: Realm) -> Judged:
        grant = grant_in(before, occasion, emergency, house.breakers)
        plan = Plan(
            Event.GLASS_BROKEN,
            (Edit(Change(Grant, grant.id, grant), 0),),
            (grant.on,) if grant.on_dataset else (),
            (grant.policy().id,),
            details={"until": write_moment(grant.until) if grant.until else None, "on": grant.on},
            reason=grant.because,
        )
        after = before.after(before.revision + 1, [edit.change for edit in plan.edits])
        return judged_whole(house.types, before, after, occasion, plan)

    made = (await carry_out(house, occasion, judge, widening=True)).only(Grant)
    logger.critical(
        "THE GLASS IS BROKEN: %s may %s on %s until %s. Receipt %s.",
        occasion.subject,
        ", ".join(sorted(made.noun.actions)),
        made.noun.on,
        made.noun.until,
        occasion.receipt,
    )
    return made


async def make_emergency_key(
    house: House, occasion: Occasion, lasting: timedelta, because: str, drawn: bytes, account: str
) -> EmergencyKey:
    """Make a key, of random bytes, that governs everything for hours; ``account`` is whose at the machine it was.

    The key, its grant and the row are of one transaction. That the access of whoever had the last emergency key has
    been ended is no hindrance.
    """
    key, text = emergency_key(occasion, lasting, because), written(drawn)

    def judge(before: Realm) -> Judged:
        grant = grant_to(key, before, occasion)
        edits = (Edit(Change(Grant, grant.id, grant), 0),)
        details = {"until": write_moment(key.until), "on": ROOT, "key": credential(key.id), "account": account}
        plan = Plan(
            Event.GLASS_BROKEN, edits, policies=(grant.policy().id,), details=details, reason=because, within=keep
        )
        after = before.after(before.revision + 1, [edit.change for edit in edits])
        return judged_whole(house.types, before, after, occasion, plan)

    async def keep(tx: Transaction, _revision: int) -> None:
        await _admit(tx, occasion, because)
        await house.keys.keep(tx, key, text)

    await carry_out(house, occasion, judge, widening=True)
    logger.critical(
        "THE GLASS IS BROKEN by the operator (%s): %s governs everything until %s. Receipt %s.",
        account,
        HELPER,
        write_moment(key.until),
        occasion.receipt,
    )
    realm = await house.realms.current()
    return EmergencyKey(text, key.until, await aside(lambda: _forbidden(realm, occasion.at)))


async def _admit(tx: Transaction, occasion: Occasion, because: str) -> None:
    """Let the helper sign in, if its access has been ended since the last emergency."""
    stands = await roster.of(tx, HELPER)
    if not stands.active:
        await roster.put(tx, stands.admitted(occasion.at, str(occasion.subject), because))


def _forbidden(realm: Realm, at: datetime) -> tuple[Action, ...]:
    helper = SubjectState(HELPER, ISSUER)
    return tuple(action for action in GOVERNING_ACTIONS if not may_govern(realm, helper, at, action, ROOT))
