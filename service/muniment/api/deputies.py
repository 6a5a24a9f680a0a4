"""``/v1/deputy``: who decides on requests in your place, and in whose place you do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Line, Moment
from muniment.api.versions import stamp
from muniment.core.deputies import Deputyship
from muniment.core.moments import write_moment
from muniment.core.subjects import Subject
from muniment.flows.name_deputy import end_deputy, name_deputy, read_deputies

router = APIRouter(prefix="/v1/deputy", tags=["requests"])


class DeputyBody(Body):
    """Who decides in your place, until when, and why."""

    deputy: Annotated[str, Field(min_length=1, max_length=210)]
    until: Annotated[Moment, Field(strict=False)]
    because: Line = ""


class DeputyshipAnswer(Body):
    """Who decides in whose place."""

    principal: str
    deputy: str
    since: str
    until: str
    because: str


class DeputiesAnswer(Body):
    """Who decides in your place, if anybody does, and in whose place you do."""

    deputy: DeputyshipAnswer | None
    of_others: list[DeputyshipAnswer]


@router.get("")
async def get_deputy(house: Housed, asking: Asking, response: Response) -> DeputiesAnswer:
    """Who decides on requests in your place, and in whose place you do."""
    found = await read_deputies(house, asking)
    stamp(response, revision=found.revision)
    return DeputiesAnswer(
        deputy=_answer(found.mine) if found.mine else None, of_others=[_answer(each) for each in found.of_others]
    )


@router.put("")
async def put_deputy(house: Housed, asking: Asking, body: DeputyBody) -> DeputyshipAnswer:
    """Let somebody decide on requests in your place until then, with no more right than you have."""
    return _answer(await name_deputy(house, asking, Subject.parse(body.deputy), body.until, body.because))


@router.delete("", status_code=204)
async def delete_deputy(house: Housed, asking: Asking) -> None:
    """Decide alone again."""
    await end_deputy(house, asking)


def _answer(named: Deputyship) -> DeputyshipAnswer:
    return DeputyshipAnswer(
        principal=str(named.principal),
        deputy=str(named.deputy),
        since=write_moment(named.at),
        until=write_moment(named.until),
        because=named.because,
    )
