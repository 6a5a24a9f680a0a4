"""``/v1/ledger/unusual``: a first look at what stands out in the ledger."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Moment
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.core.unusual import Kind, Unusual
from muniment.flows.look_at_unusual import look_at_unusual

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

_NOTE = "These are statistics: most have a plain reason, and what they do not tell may be wrong all the same."


class UnusualBody(Body):
    """One thing that stands out: a sentence, and the numbers behind it."""

    kind: Kind
    at: str
    words: str
    subject: str | None
    dataset: str | None
    policy: str | None
    numbers: dict[str, Any]


class LookedBody(Body):
    """What stands out in a window, the newest first. ``untold`` are more than are told."""

    since: str
    until: str
    items: list[UnusualBody]
    untold: int
    note: str


@router.get("/unusual")
async def get_unusual(
    house: Housed, asking: Asking, response: Response, since: Moment | None = None, until: Moment | None = None
) -> LookedBody:
    """What is unusual in a window of at most 31 days; without one, in the last seven. Looking is a row too."""
    looked = await look_at_unusual(house, asking, since, until)
    stamp(response, revision=looked.revision)
    return LookedBody(
        since=write_moment(looked.since),
        until=write_moment(looked.until),
        items=[_body(each) for each in looked.found],
        untold=looked.untold,
        note=_NOTE,
    )


def _body(each: Unusual) -> UnusualBody:
    return UnusualBody(
        kind=each.kind,
        at=write_moment(each.at),
        words=each.words,
        subject=each.subject,
        dataset=each.dataset,
        policy=each.policy,
        numbers=dict(each.numbers),
    )
