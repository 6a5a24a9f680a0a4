"""``/v1/ledger/figures``: how much was given, used and refused, counted by the ledger itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.ledger import Asked
from muniment.api.versions import stamp
from muniment.core.figures import By
from muniment.core.moments import write_moment
from muniment.flows.count_ledger import count_ledger

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


class FigureBody(Body):
    """How many rows there are of one name: leases that were given, uses that were reported, and refusals."""

    name: str
    given: int
    used: int
    refused: int


class FiguresBody(Body):
    """What was counted, from ``since`` until ``until``. ``untold`` names are more than are told."""

    by: By
    since: str
    until: str
    items: list[FigureBody]
    untold: int


class AskedFigures(Asked):
    """The filters of the ledger, and what is counted apart."""

    by: Annotated[By, Field(description="What is counted apart; `team` needs audit on all.")] = By.DAY


@router.get("/figures")
async def get_figures(
    house: Housed, asking: Asking, response: Response, asked: Annotated[AskedFigures, Query()]
) -> FiguresBody:
    """How much was given, used and refused, of the rows that you may read; without a time, in the last thirty days."""
    counted = await count_ledger(house, asking, asked.question, [asked.by])
    stamp(response, revision=counted.revision)
    (figures,) = counted.of
    return FiguresBody(
        by=figures.by,
        since=write_moment(figures.since),
        until=write_moment(figures.until),
        items=[FigureBody(name=e.name, given=e.given, used=e.used, refused=e.refused) for e in figures.figures],
        untold=figures.untold,
    )
