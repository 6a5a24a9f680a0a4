"""``/v1/ledger``: what was decided, given, changed and read."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Moment, Page
from muniment.api.versions import stamp
from muniment.core.decisions import EVALUATOR
from muniment.core.judgements import Judged
from muniment.core.ledger import Event, Outcome, Question, Row
from muniment.core.moments import write_moment
from muniment.core.replays import moment_of, state_of
from muniment.core.schema import Action
from muniment.core.tellings import Telling, events_that
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


class LedgerPage(Page[RowBody]):
    """A page of rows; ``previous`` goes into ``before=`` for the newer ones."""

    previous: str | None


class Asked(Body):
    """The filters of the ledger; each narrows."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    subject: Annotated[str | None, Field(max_length=LONGEST_ASKED, description="Whose rows, as `user:ann`.")] = None
    about: Annotated[
        str | None, Field(max_length=LONGEST_ASKED, description="Rows of others that are about this subject.")
    ] = None
    dataset: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None
    domain: Annotated[
        str | None, Field(max_length=LONGEST_ASKED, description="Rows that name a dataset in it or below it.")
    ] = None
    event: Annotated[list[Event] | None, Field(description="Given several times: any of them.")] = None
    kind: Annotated[
        list[Telling] | None,
        Field(
            description="What rows tell of their subject: was `told` of it, was `given` the means, says so itself "
            "(`claimed`), was `refused`, `changed` something, `read` rules or records. Several times: any of them."
        ),
    ] = None
    outcome: Outcome | None = None
    environment: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None
    project: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None
    purpose: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None
    policy: Annotated[
        str | None, Field(max_length=LONGEST_ASKED, description="Rows that it settled, or that changed it.")
    ] = None
    address: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None
    request_id: Annotated[UUID | None, Field(description="The `Muniment-Request-Id` of an answer.")] = None
    receipt: Annotated[UUID | None, Field(description="The `Muniment-Receipt` of an answer.")] = None
    run: Annotated[str | None, Field(max_length=LONGEST_ASKED, description="As the client names its run.")] = None
    since: Moment | None = None
    until: Moment | None = None

    @property
    def question(self) -> Question:
        """The question that the filters make."""
        given = {name: getattr(self, name) for name in Asked.model_fields if name not in {"event", "kind"}}
        return Question(**given, events=self._events)

    @property
    def _events(self) -> tuple[Event, ...] | None:
        if self.kind is None:
            return None if self.event is None else tuple(dict.fromkeys(self.event))
        told = {event for kind in self.kind for event in events_that(kind)}
        return tuple(event for event in Event if event in told and (self.event is None or event in self.event))


class AskedPage(Asked):
    """The filters of the ledger, and which page."""

    limit: Limit = 100
    after: Annotated[str | None, Field(max_length=200, description="The `next` of a page: older rows.")] = None
    before: Annotated[str | None, Field(max_length=200, description="The `previous` of a page: newer rows.")] = None


@router.get("")
async def get_ledger(
    house: Housed, asking: Asking, response: Response, asked: Annotated[AskedPage, Query()]
) -> LedgerPage:
    """Rows of the ledger, the newest first. Reading them is a row too."""
    question = asked.question
    reviewed = await review_ledger(house, asking, question, asked.limit, asked.after, asked.before)
    stamp(response, revision=reviewed.revision)
    page = reviewed.page
    return LedgerPage(items=[_body(row) for row in page.rows], next=page.following, previous=page.previous)


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
