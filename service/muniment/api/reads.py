"""``/v1/ledger/readers``: who read a dataset in some time, and under which rules."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Moment
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.core.reads import ReadBy, Times
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.find_readers import find_readers

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


class TimesBody(Body):
    """How often, and when first and last."""

    count: int
    first: str
    last: str


class RuleBody(Body):
    """A rule that let somebody read, and what it said then."""

    id: str
    says: str


class ReadByBody(Body):
    """One subject: the leases that ``given`` it the dataset, what it ``claimed`` to do with it, and the rules.

    ``partly`` says that a rule began or ended meanwhile, so not every lease may have given it.
    """

    subject: str
    given: TimesBody | None
    claimed: dict[str, TimesBody]
    environments: list[str]
    projects: list[str]
    because: list[RuleBody]
    partly: bool


class ReadersBody(Body):
    """Who read a dataset. ``whole`` says that nothing was left out of the answer.

    ``by_leases`` says whether leases of whole catalogs were looked at; ``undecided`` are those that could not be
    decided again, beside the ``decided`` ones; ``left`` leases were not looked at, the last of them at ``left_until``;
    and ``cut`` says that there were more reports than are told.
    """

    dataset: str
    since: str
    until: str
    items: list[ReadByBody]
    whole: bool
    by_leases: bool
    decided: int
    undecided: int
    left: int
    left_until: str | None
    cut: bool


@router.get("/readers")
async def get_readers(
    house: Housed,
    asking: Asking,
    response: Response,
    dataset: Annotated[str, Query(max_length=LONGEST_ASKED)],
    since: Moment | None = None,
    until: Moment | None = None,
    environment: Annotated[str | None, Field(max_length=LONGEST_ASKED)] = None,
) -> ReadersBody:
    """Who was given a dataset and who says they used it, with the rules of then; without a time, in the last month."""
    found = await find_readers(house, asking, dataset, since, until, environment)
    stamp(response, revision=found.revision)
    return ReadersBody(
        dataset=found.dataset,
        since=write_moment(found.since),
        until=write_moment(found.until),
        items=[_body(each) for each in found.found],
        whole=found.whole,
        by_leases=found.by_leases,
        decided=found.decided,
        undecided=found.undecided,
        left=found.left,
        left_until=None if found.left_until is None else write_moment(found.left_until),
        cut=found.cut,
    )


def _body(each: ReadBy) -> ReadByBody:
    return ReadByBody(
        subject=each.subject,
        given=None if each.given is None else _times(each.given),
        claimed={action: _times(times) for action, times in each.claimed.items()},
        environments=list(each.environments),
        projects=list(each.projects),
        because=[RuleBody(id=rule.id, says=rule.says) for rule in each.because],
        partly=each.partly,
    )


def _times(times: Times) -> TimesBody:
    return TimesBody(count=times.count, first=write_moment(times.first), last=write_moment(times.last))
