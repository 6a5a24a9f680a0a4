"""A steward makes several changes at once, all or none, on the very realm on which they were tried."""

from __future__ import annotations

from muniment.core.occasions import Occasion
from muniment.core.problems import StaleEdit
from muniment.core.realm import Realm
from muniment.flows.change_realm import Changed, Judge, Judged, carry_out
from muniment.flows.change_together import Together, judge_of
from muniment.flows.house import House


async def apply_changes(house: House, occasion: Occasion, together: Together, tried: int) -> Changed:
    """Make one revision of the changes, if the realm is still at the revision ``tried``."""
    judge = await judge_of(house, occasion, together)
    return await carry_out(house, occasion, _at(tried, judge))


async def apply_as_tried(house: House, occasion: Occasion, judged: Judged) -> Changed:
    """Make one revision of changes as they were judged within the same request, if the realm is still the same.

    A judgement follows from the realm, the changes, who makes them and when; those are what they were. So it is not
    made again: of a whole catalog it takes seconds.
    """
    return await carry_out(house, occasion, _at(judged.before.revision, lambda _: judged))


def _at(tried: int, judge: Judge) -> Judge:
    """The judge, of the realm at the revision ``tried`` and of no other."""

    def judge_as_tried(before: Realm) -> Judged:
        if before.revision != tried:
            detail = (
                f"This was tried at revision {tried}, and the realm is at revision {before.revision}: "
                "try it again, and apply it at the revision that the answer says."
            )
            raise StaleEdit(detail, revision=before.revision)
        return judge(before)

    return judge_as_tried
