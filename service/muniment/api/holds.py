"""``/v1/ledger/holds``: which rows of the ledger must stay."""

from __future__ import annotations

from fastapi import APIRouter, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Page
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.flows.hold_rows import read_holds

router = APIRouter(prefix="/v1/ledger/holds", tags=["ledger"])


class HoldBody(Body):
    """A legal hold: the rows of a time, of a subject, about a dataset, or all of them."""

    id: str
    at: str
    because: str
    since: str | None
    until: str | None
    subject: str | None
    dataset: str | None


@router.get("")
async def get_holds(house: Housed, asking: Asking, response: Response) -> Page[HoldBody]:
    """The holds in force: what they hold is neither retired nor erased."""
    found, revision = await read_holds(house, asking)
    stamp(response, revision=revision)
    bodies = [
        HoldBody(
            id=str(hold.id),
            at=write_moment(hold.at),
            because=hold.because,
            since=write_moment(hold.since) if hold.since else None,
            until=write_moment(hold.until) if hold.until else None,
            subject=hold.subject,
            dataset=hold.dataset,
        )
        for hold in found
    ]
    return Page(items=bodies, next=None)
