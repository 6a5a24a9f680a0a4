"""``/v1/lint``: what is doubtful about the rules that the asker reads."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit
from muniment.api.versions import stamp
from muniment.core.lint import Doubt
from muniment.core.moments import write_moment
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.lint_rules import Asked, lint_rules

router = APIRouter(tags=["policies"])

#: The furthest that soon and long ago may be, in days.
_LONGEST_DAYS = 3_650


class FindingBody(Body):
    """One doubt about one rule, by the id that decisions name; ``related`` are other rules that it is about."""

    rule: str
    says: str
    scope: str
    doubt: Doubt
    message: str
    related: list[str]


class LookedAtBody(Body):
    """What the findings rest on: so much was looked at, and the ledger's checked runs since a moment.

    ``unjudged`` are rules whose effect would have taken too long to find out.
    """

    rules: int
    datasets: int
    subjects: int
    checked_runs_since: str
    unjudged: list[str]


class LintBody(Body):
    """A page of findings, in the order of rules."""

    items: list[FindingBody]
    next: str | None
    looked_at: LookedAtBody


@router.get("/v1/lint")
async def get_lint(
    house: Housed,
    asking: Asking,
    response: Response,
    scope: Annotated[
        str | None, Query(max_length=LONGEST_ASKED, description="Only the rules of this domain and those below.")
    ] = None,
    doubt: Annotated[Doubt | None, Query(description="Only this kind of doubt.")] = None,
    soon_days: Annotated[int, Query(ge=1, le=_LONGEST_DAYS, description="What ends within these days ends soon.")] = 30,
    unused_days: Annotated[
        int, Query(ge=1, le=_LONGEST_DAYS, description="What no checked run rested on for these days is unused.")
    ] = 90,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str, Query(max_length=200)] = "",
) -> LintBody:
    """What is doubtful about the rules of the scopes in which the asker grants, audits or administers."""
    asked = Asked(scope, doubt, soon_days, unused_days)
    linted = await lint_rules(house, asking, asked, limit, after)
    stamp(response, revision=linted.revision)
    return LintBody(
        items=[
            FindingBody(
                rule=found.rule,
                says=linted.says[found.rule],
                scope=found.scope,
                doubt=found.doubt,
                message=found.message,
                related=list(found.related),
            )
            for found in linted.findings
        ],
        next=linted.next,
        looked_at=LookedAtBody(
            rules=linted.rules,
            datasets=linted.datasets,
            subjects=linted.subjects,
            checked_runs_since=write_moment(linted.seen.since),
            unjudged=list(linted.unjudged),
        ),
    )
