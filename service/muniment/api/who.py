"""``/v1/who``: everybody who may do something, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit
from muniment.api.catalogs import Project, Purpose
from muniment.api.past import At, read_point
from muniment.api.versions import stamp
from muniment.core.decisions import Wanted
from muniment.core.moments import write_moment
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.find_who import Who, find_who_governs, find_who_uses

router = APIRouter(tags=["explain"])


class FoundBody(Body):
    """A subject that may, the policies that settled it, and when the subject was last seen as it is judged."""

    subject: str
    because: list[str]
    reason: str
    seen_at: str


class WhoBody(Body):
    """A page of those who may; only subjects who were ever seen are known. ``notice`` says why nobody may."""

    action: Action
    dataset: str | None
    domain: str | None
    environment: str | None
    items: list[FoundBody]
    next: str | None
    subjects_known: int
    notice: str | None
    revision: int
    receipt: str


@router.get("/v1/who")
async def get_who(
    house: Housed,
    asking: Asking,
    response: Response,
    action: Annotated[Action, Query()],
    dataset: Annotated[str | None, Query(max_length=LONGEST_ASKED)] = None,
    domain: Annotated[
        str | None, Query(max_length=LONGEST_ASKED, description="In place of a dataset, for a governing action.")
    ] = None,
    environment: Annotated[
        str | None, Query(max_length=100, description="For discover, load and save: the environment.")
    ] = None,
    project: Project = None,
    purpose: Purpose = None,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
    at: At = None,
) -> WhoBody:
    """Every known subject that may do something to a dataset, or govern a domain, and why."""
    uses_data = action in DATA_ACTIONS
    _check(action, dataset, domain, environment)
    if uses_data:
        wanted = Wanted(environment or "", project, purpose)
        answer = await find_who_uses(house, asking, wanted, action, dataset or "", limit, after, read_point(at))
    else:
        answer = await find_who_governs(
            house, asking, action, dataset or domain or "", limit, after, read_point(at), on_dataset=dataset is not None
        )
    stamp(response, revision=answer.revision)
    return _body(answer, action, dataset, domain, environment)


def _check(action: Action, dataset: str | None, domain: str | None, environment: str | None) -> None:
    faults = []
    if action in DATA_ACTIONS and environment is None:
        faults.append(Fault("environment", f"Say in which environment: {action} is decided in one."))
    if action not in DATA_ACTIONS and environment is not None:
        faults.append(Fault("environment", f"Take it away: {action} is decided in no environment."))
    if action is Action.ADMINISTER and dataset is not None:
        faults.append(Fault("dataset", "Name a domain instead: a dataset is not administered."))
    if (dataset is None) == (domain is None):
        faults.append(Fault("dataset", "Name either a dataset or a domain."))
    elif action in DATA_ACTIONS and domain is not None:
        faults.append(Fault("domain", f"Name a dataset instead: {action} is done to datasets."))
    if faults:
        raise Invalid("The question does not say what it should; each place is listed.", faults)


def _body(answer: Who, action: Action, dataset: str | None, domain: str | None, environment: str | None) -> WhoBody:
    return WhoBody(
        action=action,
        dataset=dataset,
        domain=domain,
        environment=environment,
        items=[
            FoundBody(
                subject=str(found.subject),
                because=list(found.because),
                reason=found.reason,
                seen_at=write_moment(found.seen_at),
            )
            for found in answer.found
        ],
        next=answer.following,
        subjects_known=answer.subjects_known,
        notice=answer.notice,
        revision=answer.revision,
        receipt=str(answer.receipt),
    )
