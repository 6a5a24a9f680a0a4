"""``/v1/use``: what a client says that it used; ``/v1/datasets/{name}/use``: what clients said of one dataset."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Line, Moment, Name, Run
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.core.uses import MOST_USES, Ended, Use
from muniment.flows.look_at_use import look_at_use
from muniment.flows.report_use import report_use

router = APIRouter(tags=["use"])


class UseBody(Body):
    """One use: the governed dataset, what was done with it, and when. All else is for whoever reads the ledger.

    ``id`` is the client's own, a UUID: told again it is not written down again. ``receipt`` is that of the lease that
    gave the dataset, ``name`` the project's name for it, ``outcome`` whether it was done or refused by the client.
    """

    id: Annotated[UUID, Field(strict=False)]
    dataset: Name
    action: Literal["load", "save"]
    at: Moment
    outcome: Annotated[Ended, Field(strict=False)] = Ended.DONE
    receipt: Line | None = None
    environment: Name | None = None
    project: Line | None = None
    run: Run | None = None
    session: Line | None = None
    pipeline: Line | None = None
    node: Line | None = None
    name: Line | None = None
    version: Line | None = None


class ReportBody(Body):
    """What was used since the last report."""

    events: Annotated[list[UseBody], Field(max_length=MOST_USES)]


class ReportedBody(Body):
    """How many uses are in the ledger now that were not, and how many had been told before."""

    recorded: int
    repeated: int


class DayBody(Body):
    """A day (UTC) on which a dataset was used: how often, and by how many subjects."""

    day: str
    loads: int
    saves: int
    subjects: int


class UseOverTimeBody(Body):
    """The days on which it was used; ``of_all`` where that is everybody's use, and not the asker's own alone."""

    items: list[DayBody]
    since: str
    of_all: bool


@router.get("/v1/datasets/{name}/use")
async def get_use(
    house: Housed,
    asking: Asking,
    response: Response,
    name: str,
    days: Annotated[int, Query(ge=1, le=366, description="How far back the ledger is read.")] = 90,
) -> UseOverTimeBody:
    """How often a dataset was loaded and saved a day: everybody's use for those who declare or audit there."""
    used = await look_at_use(house, asking, name, days)
    stamp(response, revision=used.revision)
    return UseOverTimeBody(
        items=[
            DayBody(day=each.day.isoformat(), loads=each.loads, saves=each.saves, subjects=each.subjects)
            for each in used.days
        ],
        since=write_moment(used.since),
        of_all=used.of_all,
    )


@router.post("/v1/use")
async def post_use(house: Housed, asking: Asking, body: ReportBody, response: Response) -> ReportedBody:
    """Report what was used. It is recorded as what it is: a claim by the client, of whatever dataset it names."""
    answer = await report_use(house, asking, [_use(each) for each in body.events])
    stamp(response, revision=answer.revision)
    # A row has the receipt of the lease that it is about, and this answer decides nothing.
    del response.headers["Muniment-Receipt"]
    return ReportedBody(recorded=answer.recorded, repeated=answer.repeated)


def _use(body: UseBody) -> Use:
    return Use(
        id=body.id,
        dataset=body.dataset,
        action=body.action,
        at=body.at,
        ended=body.outcome,
        receipt=body.receipt,
        environment=body.environment,
        project=body.project,
        run=body.run,
        session=body.session,
        pipeline=body.pipeline,
        node=body.node,
        name=body.name,
        version=body.version,
    )
