"""``/v1/reviews``: the rules that somebody must look at again, and what a reviewer decided about them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Name, Page
from muniment.api.versions import stamp
from muniment.core.grants import Grant
from muniment.core.groups import write_group
from muniment.core.moments import write_moment
from muniment.core.problems import Fault, Invalid
from muniment.core.reviews import MOST_DECISIONS, End, Keep, Verdict, reason_of
from muniment.core.rulebook import Written
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.house import aside
from muniment.flows.review_access import ToReview, list_due, review_access

router = APIRouter(prefix="/v1/reviews", tags=["reviews"])

_Kind = Literal["policy", "grant"]
_Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n]*\S[^\r\n]*$")]


class DueBody(Body):
    """A rule to look at: what it says and why, who is to look, since when it stands, when a run last rested on it."""

    kind: _Kind
    id: str
    version: int
    scope: str
    review_by: date
    overdue: bool
    reviewer: str
    says: str
    reason: str
    cedar: str
    since: str | None
    by: str | None
    last_used: str | None


class KeepBody(Body):
    """The rule is still needed."""

    review_by: Annotated[date, Field(strict=False)]
    reason: _Reason


class EndBody(Body):
    """The rule is not needed any more."""

    reason: _Reason


class VerdictBody(Body):
    """What the reviewer decided about one rule at the version that they saw: ``keep`` or ``end``."""

    kind: _Kind
    id: Name
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    keep: KeepBody | None = None
    end: EndBody | None = None


class SittingBody(Body):
    """What one reviewer decided in one sitting; all of it is done, or none."""

    decisions: Annotated[list[VerdictBody], Field(min_length=1, max_length=MOST_DECISIONS)]


class ReviewedBody(Body):
    """A rule as it stands after the sitting; one that was ended has neither version nor day."""

    kind: _Kind
    id: str
    version: int | None
    review_by: date | None


class SatBody(Body):
    """What came of the sitting: one revision."""

    items: list[ReviewedBody]
    revision: int


@router.get("")
async def get_reviews(
    house: Housed,
    asking: Asking,
    response: Response,
    scope: Annotated[
        str | None, Query(max_length=LONGEST_ASKED, description="Only the rules of this domain and those below.")
    ] = None,
    due_by: Annotated[date | None, Query(description="Due by this day; without it, by today.")] = None,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str, Query(max_length=200)] = "",
) -> Page[DueBody]:
    """The rules to look at again, of those that the asker reads; the most urgent first."""
    page = await list_due(house, asking, scope, due_by, limit, after)
    stamp(response, revision=page.revision)
    return Page(items=await aside(lambda: [_due(each) for each in page.found]), next=page.following)


@router.post("")
async def post_review(house: Housed, asking: Asking, response: Response, body: SittingBody) -> SatBody:
    """Keep rules until another day, or end them, each with a reason: one revision, one row in the ledger."""
    reviewed = await review_access(house, asking, _verdicts(body))
    stamp(response, revision=reviewed.revision)
    items = [
        ReviewedBody(
            kind=verdict.kind,
            id=verdict.id,
            version=rule.version if rule else None,
            review_by=rule.review_by if rule else None,
        )
        for verdict, rule in reviewed.verdicts
    ]
    return SatBody(items=items, revision=reviewed.revision)


def _verdicts(body: SittingBody) -> list[Verdict]:
    faults: list[Fault] = []
    verdicts: list[Verdict] = []
    for number, each in enumerate(body.decisions):
        if each.keep is not None and each.end is None:
            decision: Keep | End = Keep(each.keep.review_by, each.keep.reason)
        elif each.end is not None and each.keep is None:
            decision = End(each.end.reason)
        else:
            faults.append(Fault(f"decisions.{number}", "A rule is kept or ended: give exactly one of keep and end."))
            continue
        verdicts.append(Verdict(each.kind, each.id, each.version, decision))
    if faults:
        raise Invalid(faults[0].message, faults)
    return verdicts


def _due(each: ToReview) -> DueBody:
    rule = each.due.rule
    return DueBody(
        kind="grant" if isinstance(rule, Grant) else "policy",
        id=rule.id,
        version=rule.version,
        scope=rule.scope,
        review_by=each.due.review_by,
        overdue=each.due.overdue,
        reviewer=write_group(each.due.owner),
        says=sentence(rule),
        reason=reason_of(rule),
        cedar=_cedar(rule),
        since=write_moment(each.standing.since) if each.standing else None,
        by=each.standing.by if each.standing else None,
        last_used=write_moment(each.last_used) if each.last_used else None,
    )


def _cedar(rule: Written) -> str:
    return rule.policy().cedar if isinstance(rule, Grant) else rule.cedar
