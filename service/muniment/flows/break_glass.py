"""Somebody breaks the glass: access in an emergency, given to oneself, for hours, and loudly."""

from __future__ import annotations

import logging

from muniment.core.break_glass import Emergency, grant_in
from muniment.core.catalog import write_moment
from muniment.core.grants import Grant
from muniment.core.ledger import Event
from muniment.core.occasions import Occasion
from muniment.core.realm import Change, Realm
from muniment.flows.change_realm import Edit, Judged, Kept, Plan, carry_out, judged_whole
from muniment.flows.house import House

logger = logging.getLogger("muniment")


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
