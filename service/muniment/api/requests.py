"""``/v1/requests``: who asked for what, and what others decided on it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Label, Limit, Line, Moment, Name, Page
from muniment.api.versions import IfMatch, stamp
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.requests import LONGEST, MOST_DATASETS, Narrowing, State, Terms
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.flows.request_access import (
    Told,
    Wish,
    approve_request,
    deny_request,
    list_requests,
    read_request,
    renew_access,
    request_access,
    withdraw_request,
)

router = APIRouter(prefix="/v1/requests", tags=["requests"])

_Actions = Annotated[list[Annotated[Action, Field(strict=False)]], Field(min_length=1, max_length=2)]
_Datasets = Annotated[list[Name], Field(min_length=1, max_length=MOST_DATASETS)]
_Environments = Annotated[list[Label], Field(min_length=1, max_length=50)]
_Until = Annotated[Moment, Field(strict=False)]


class RequestBody(Body):
    """What somebody asks for, and why."""

    actions: _Actions
    datasets: _Datasets
    environments: _Environments
    purpose: Label | None = None
    because: Annotated[Line, Field(min_length=1)]
    until: _Until | None = None


class ApprovalBody(Body):
    """A yes, or a yes to a part: what is given here is what is left."""

    actions: _Actions | None = None
    datasets: _Datasets | None = None
    environments: _Environments | None = None
    until: _Until | None = None
    comment: Line = ""


class RenewalBody(Body):
    """What somebody has and wants to keep for longer: a grant, until when, and why if that has changed."""

    grant: Annotated[str, Field(min_length=1, max_length=220)]
    because: Annotated[Line, Field(min_length=1)] | None = None
    until: _Until | None = None


class DenialBody(Body):
    """A no, and why."""

    because: Annotated[Line, Field(min_length=1)]


class WithdrawalBody(Body):
    """A request is taken back."""

    because: Line = ""


class TermsBody(Body):
    """What is asked for, or what an approver has left of it."""

    actions: list[Action]
    datasets: list[str]
    environments: list[str]
    until: str


class ApprovalAnswer(Body):
    """One approver's yes, said in the place of another where ``deputy_of`` names one."""

    by: str
    at: str
    comment: str
    deputy_of: str | None


class DecisionAnswer(Body):
    """How a request ended, and why."""

    state: State
    by: str
    at: str
    because: str
    deputy_of: str | None


class RequestAnswer(Body):
    """A request as it stands, and what the asker may do about it."""

    id: str
    state: State
    requester: str
    asked: TermsBody
    narrowed: TermsBody | None
    purpose: str | None
    because: str
    at: str
    expires: str
    domain: str
    escalated_to: list[str]
    administrators: bool
    approvals: list[ApprovalAnswer]
    approvals_needed: int
    decision: DecisionAnswer | None
    grants: list[str]
    may_decide: bool
    deputy_of: str | None
    notes: list[str]
    version: int


@router.get("")
async def get_requests(
    house: Housed,
    asking: Asking,
    response: Response,
    state: State | None = None,
    mine: Annotated[
        bool | None, Query(description="true: your own; false: those of others that have come to you.")
    ] = None,
    limit: Annotated[Limit, Query()] = 100,
    after: UUID | None = None,
) -> Page[RequestAnswer]:
    """Your own requests, and those of others that you may decide on or audit; the newest first."""
    cursor = str(after) if after else None
    found, following, revision = await list_requests(house, asking, Wish(state, mine), limit, cursor)
    stamp(response, revision=revision)
    return Page(items=[_answer(told, asking) for told in found], next=following)


@router.post("", status_code=201)
async def post_request(house: Housed, asking: Asking, response: Response, body: RequestBody) -> RequestAnswer:
    """Ask for access to datasets of one domain that you may know of."""
    terms = Terms(
        frozenset(body.actions), tuple(body.datasets), frozenset(body.environments), body.until or asking.at + LONGEST
    )
    return _stamped(response, asking, await request_access(house, asking, terms, body.because, body.purpose))


@router.post("/renewals", status_code=201)
async def post_renewal(house: Housed, asking: Asking, response: Response, body: RenewalBody) -> RequestAnswer:
    """Ask once more for what a grant gives you, for longer: 90 days, where you say no other end.

    Where it is approved, the grant goes on under its id.
    """
    return _stamped(response, asking, await renew_access(house, asking, body.grant, body.because, body.until))


@router.get("/{id}")
async def get_request(house: Housed, asking: Asking, response: Response, id: UUID) -> RequestAnswer:  # noqa: A002
    """One request: yours, or one that you may decide on or audit."""
    return _stamped(response, asking, await read_request(house, asking, str(id)))


@router.post("/{id}/approve")
async def post_approval(
    house: Housed,
    asking: Asking,
    response: Response,
    id: UUID,  # noqa: A002 - as the address says it
    body: ApprovalBody,
    if_match: IfMatch,
) -> RequestAnswer:
    """Approve somebody else's request, or a part of it. The approval is the grant."""
    narrowing = Narrowing(
        actions=frozenset(body.actions) if body.actions is not None else None,
        datasets=tuple(body.datasets) if body.datasets is not None else None,
        environments=frozenset(body.environments) if body.environments is not None else None,
        until=body.until,
    )
    told = await approve_request(house, asking, str(id), narrowing, body.comment, if_match)
    return _stamped(response, asking, told)


@router.post("/{id}/deny")
async def post_denial(
    house: Housed,
    asking: Asking,
    response: Response,
    id: UUID,  # noqa: A002
    body: DenialBody,
    if_match: IfMatch,
) -> RequestAnswer:
    """Deny somebody else's request."""
    return _stamped(response, asking, await deny_request(house, asking, str(id), body.because, if_match))


@router.post("/{id}/withdraw")
async def post_withdrawal(
    house: Housed,
    asking: Asking,
    response: Response,
    id: UUID,  # noqa: A002
    body: WithdrawalBody,
    if_match: IfMatch,
) -> RequestAnswer:
    """Take your own request back before it is decided."""
    return _stamped(response, asking, await withdraw_request(house, asking, str(id), body.because, if_match))


def _stamped(response: Response, asking: Occasion, told: Told) -> RequestAnswer:
    stamp(response, version=told.request.version, revision=told.revision)
    return _answer(told, asking)


def _answer(told: Told, asking: Occasion) -> RequestAnswer:
    request, at = told.request, asking.at
    return RequestAnswer(
        id=request.id,
        state=request.state(at),
        requester=str(request.requester),
        asked=_terms(request.asked),
        narrowed=_terms(request.narrowed) if request.narrowed else None,
        purpose=request.purpose,
        because=request.because,
        at=write_moment(request.at),
        expires=write_moment(request.expires_at),
        domain=request.domain,
        escalated_to=list(request.escalated_to(at)),
        administrators=request.with_administrators(at),
        approvals=[
            ApprovalAnswer(
                by=str(each.by), at=write_moment(each.at), comment=each.comment, deputy_of=_named(each.deputy_of)
            )
            for each in request.approvals
        ],
        approvals_needed=request.eyes,
        decision=DecisionAnswer(
            state=request.ending.state,
            by=str(request.ending.by),
            at=write_moment(request.ending.at),
            because=request.ending.reason,
            deputy_of=_named(request.ending.deputy_of),
        )
        if request.ending
        else None,
        grants=list(request.grants),
        may_decide=told.standing.decides and request.awaits(asking.subject, at),
        deputy_of=_named(told.standing.deputy_of),
        notes=list(told.notes),
        version=request.version,
    )


def _named(subject: Subject | None) -> str | None:
    return None if subject is None else str(subject)


def _terms(terms: Terms) -> TermsBody:
    return TermsBody(
        actions=sorted(terms.actions),
        datasets=list(terms.datasets),
        environments=sorted(terms.environments),
        until=write_moment(terms.until),
    )
