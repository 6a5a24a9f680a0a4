"""A steward makes several changes at once, all or none, on the very realm on which they were tried."""

from __future__ import annotations

from muniment.core.occasions import Occasion
from muniment.core.problems import StaleEdit
from muniment.core.realm import Realm
from muniment.flows.change_realm import Changed, Judged, carry_out
from muniment.flows.change_together import Together, judge_of
from muniment.flows.house import House


async def apply_changes(house: House, occasion: Occasion, together: Together, tried: int) -> Changed:
    """Make one revision of the changes, if the realm is still at the revision ``tried``."""
    judge = await judge_of(house, occasion, together)

    def judge_as_tried(before: Realm) -> Judged:
        if before.revision != tried:
            detail = (
                f"This was tried at revision {tried}, and the realm is at revision {before.revision}: "
                "try it again, and apply it at the revision that the answer says."
            )
            raise StaleEdit(detail, revision=before.revision)
        return judge(before)

    return await carry_out(house, occasion, judge_as_tried)
