"""``/v1/break-glass``: access in an emergency."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Label, Line
from muniment.api.grants import OnBody
from muniment.api.versions import stamp
from muniment.core.break_glass import Emergency
from muniment.core.moments import write_moment
from muniment.core.names import checked_dataset, checked_domain
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import Action
from muniment.flows.break_glass import break_glass

router = APIRouter(prefix="/v1/break-glass", tags=["break-glass"])


class EmergencyBody(Body):
    """What is needed on which dataset or domain (``all`` for everything), for how many hours (at most 8), and why."""

    actions: Annotated[list[Annotated[Action, Field(strict=False)]], Field(min_length=1)]
    on: OnBody
    environments: Annotated[list[Label], Field(max_length=50)] = []
    hours: Annotated[float, Field(gt=0, le=8, strict=False)]
    because: Line


class BrokenBody(Body):
    """The grant that was made, and when it ends."""

    grant: str
    until: str | None
    revision: int


@router.post("", status_code=201)
async def post_break_glass(house: Housed, asking: Asking, response: Response, body: EmergencyBody) -> BrokenBody:
    """Give yourself access in an emergency: for those whom MUNIMENT_BREAK_GLASS names. It is told to everybody."""
    made = await break_glass(house, asking, _emergency(body))
    stamp(response, revision=made.revision)
    until = write_moment(made.noun.until) if made.noun.until else None
    return BrokenBody(grant=made.noun.id, until=until, revision=made.revision)


def _emergency(body: EmergencyBody) -> Emergency:
    if (body.on.dataset is None) == (body.on.domain is None):
        message = "Name exactly one of dataset and domain."
        raise Invalid(message, [Fault("on", message)])
    return Emergency(
        actions=frozenset(body.actions),
        on=checked_dataset(body.on.dataset) if body.on.dataset is not None else checked_domain(body.on.domain or ""),
        kind="dataset" if body.on.dataset is not None else "domain",
        lasting=timedelta(hours=body.hours),
        because=body.because,
        environments=frozenset(body.environments),
    )
