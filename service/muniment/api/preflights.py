"""``/v1/preflight``: whether a run may begin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Line, Name, Run
from muniment.api.versions import stamp
from muniment.core.decisions import Wanted
from muniment.core.schema import Action
from muniment.flows.preflight import MOST_NAMES, preflight

router = APIRouter(tags=["preflight"])


class PreflightBody(Body):
    """What a run will load and save, where, and what for; ``run`` is its name, as reports of use say it."""

    environment: Name
    project: Line | None = None
    purpose: Line | None = None
    run: Run | None = None
    load: Annotated[list[Name], Field(max_length=MOST_NAMES)] = []
    save: Annotated[list[Name], Field(max_length=MOST_NAMES)] = []


class VerdictBody(Body):
    """Whether one thing may be done, and why; ``obligations`` are the read restrictions that are why it may not."""

    dataset: str
    action: Action
    allowed: bool
    known: bool
    reason: str
    because: list[str]
    owner: str | None
    explain: str | None
    notice: str | None
    obligations: dict[str, Any] | None
    request: str | None


class PreflightAnswer(Body):
    """The verdicts on a run; it may begin when all are allowed."""

    allowed: bool
    verdicts: list[VerdictBody]
    revision: int
    receipt: str


@router.post("/v1/preflight")
async def post_preflight(house: Housed, asking: Asking, body: PreflightBody, response: Response) -> PreflightAnswer:
    """A verdict with its reason for each dataset that a run will load or save."""
    wanted = Wanted(body.environment, body.project, body.purpose)
    answer = await preflight(house, asking, wanted, body.load, body.save, body.run)
    stamp(response, revision=answer.revision)
    return PreflightAnswer(
        allowed=answer.allowed,
        verdicts=[
            VerdictBody(
                dataset=verdict.dataset,
                action=verdict.action,
                allowed=verdict.allowed,
                known=verdict.known,
                reason=verdict.reason,
                because=list(verdict.because),
                owner=verdict.owner,
                explain=verdict.explain,
                notice=verdict.notice,
                obligations=None if verdict.obligations is None else dict(verdict.obligations),
                request=verdict.request,
            )
            for verdict in answer.verdicts
        ],
        revision=answer.revision,
        receipt=str(answer.receipt),
    )
