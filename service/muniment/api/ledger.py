"""``/v1/ledger``: what was decided, given, changed and read."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Moment, Page
from muniment.api.versions import stamp
from muniment.core.catalog import write_moment
from muniment.core.decisions import EVALUATOR
from muniment.core.judgements import Judged
from muniment.core.ledger import Event, Question, Row
from muniment.core.replays import moment_of, state_of
from muniment.core.schema import Action
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.replay_decisions import replay_decision
from muniment.flows.review_ledger import review_ledger

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


class RowBody(Body):
    """One row of the ledger."""

    id: str
    at: str
    event: str
    outcome: str
    subject: str
    issuer: str
    subject_state: str
    address: str
    client: str
    credential: str
    request_id: str | None
    receipt: str | None
    revision: int | None
    environment: str | None
    project: str | None
    purpose: str | None
    run: str | None
    datasets: list[str]
    policies: list[str]
    decided_sha256: str | None
    evaluator: str | None
    details: dict[str, Any]


class JudgedBody(Body):
    """What was decided about one action on one dataset or domain; of a catalog, what it gives, with the version.

    Where a row tells of several subjects or circumstances, each line says its own. ``wrong``
    is what was wrong with a question that got no decision.
    """

    dataset: str | None
    domain: str | None
    version: int | None
    action: Action | None
    subject: str | None
    environment: str | None
    project: str | None
    purpose: str | None
    wrong: str | None
    known: bool
    allowed: bool
    because: list[str]
    obligations: list[str]


class DecisionBody(Body):
    """A recorded decision beside the one computed again. ``fault`` says why it could not be, where it could not."""

    id: str
    event: str
    revision: int | None
    at: str
    subject: str
    subject_state: str
    environment: str | None
    project: str | None
    purpose: str | None
    recorded: str | None
    computed: str | None
    equal: bool
    fault: str | None
    evaluator: str | None
    evaluator_now: str
    decided: list[JudgedBody]


@router.get("")
async def get_ledger(
    house: Housed,
    asking: Asking,
    response: Response,
    subject: Annotated[str | None, Query(max_length=LONGEST_ASKED, description="As `user:ann`.")] = None,
    dataset: Annotated[str | None, Query(max_length=LONGEST_ASKED)] = None,
    event: Event | None = None,
    receipt: UUID | None = None,
    run: Annotated[str | None, Query(max_length=LONGEST_ASKED, description="As the client names its run.")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[RowBody]:
    """Rows of the ledger, the newest first. Reading them is a row too."""
    question = Question(
        subject=subject, dataset=dataset, event=event, receipt=receipt, run=run, since=since, until=until
    )
    rows, following, revision = await review_ledger(house, asking, question, limit, after)
    stamp(response, revision=revision)
    return Page(items=[_body(row) for row in rows], next=following)


@router.get("/{id}/decision")
async def get_decision(house: Housed, asking: Asking, response: Response, id: UUID) -> DecisionBody:  # noqa: A002
    """What a row says was decided, computed again from what was so then, and whether it is the same."""
    told = await replay_decision(house, asking, id)
    replayed, row = told.replayed, told.replayed.row
    stamp(response, revision=told.revision)
    return DecisionBody(
        id=str(row.id),
        event=row.event.value,
        revision=row.revision,
        at=write_moment(moment_of(row)),
        subject=str(row.details.get("about") or row.subject),
        subject_state=state_of(row),
        environment=row.environment,
        project=row.project,
        purpose=row.purpose,
        recorded=row.decided_sha256,
        computed=replayed.computed,
        equal=replayed.equal,
        fault=replayed.fault,
        evaluator=row.evaluator,
        evaluator_now=EVALUATOR,
        decided=[_judged(each) for each in told.judged],
    )


def _judged(each: Judged) -> JudgedBody:
    return JudgedBody(
        dataset=None if each.on_domain else each.dataset,
        domain=each.dataset if each.on_domain else None,
        version=each.version,
        action=each.action,
        subject=each.about,
        environment=each.wanted.environment if each.wanted else None,
        project=each.wanted.project if each.wanted else None,
        purpose=each.wanted.purpose if each.wanted else None,
        wrong=each.wrong,
        known=each.known,
        allowed=each.allowed,
        because=list(each.because),
        obligations=list(each.obligations),
    )


def _body(row: Row) -> RowBody:
    return RowBody(
        id=str(row.id),
        at=write_moment(row.at),
        event=row.event.value,
        outcome=row.outcome.value,
        subject=row.subject,
        issuer=row.issuer,
        subject_state=row.subject_state,
        address=row.address,
        client=row.client,
        credential=row.credential,
        request_id=str(row.request_id) if row.request_id else None,
        receipt=str(row.receipt) if row.receipt else None,
        revision=row.revision,
        environment=row.environment,
        project=row.project,
        purpose=row.purpose,
        run=row.run,
        datasets=list(row.datasets),
        policies=list(row.policies),
        decided_sha256=row.decided_sha256,
        evaluator=row.evaluator,
        details=dict(row.details),
    )
