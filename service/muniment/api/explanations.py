"""``/v1/explain`` and ``/v1/whoami``: why, and who the service takes the asker for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.catalogs import Environment, Project, Purpose
from muniment.api.past import At, read_point
from muniment.api.versions import stamp
from muniment.core.decisions import Wanted
from muniment.core.groups import write_group
from muniment.core.moments import write_moment
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_realm import whoami
from muniment.flows.explain_access import explain_access

router = APIRouter(tags=["explain"])


class RuleBody(Body):
    """A policy that settled the decision, or was beaten in it: a permit, a forbid, a mask or a row filter."""

    id: str
    effect: str
    reason: str


class ExplanationBody(Body):
    """A decision and why: ``missing`` says what alone would have made it yes.

    ``obligations`` are the read restrictions that are why it is no.
    """

    subject: str
    action: Action
    dataset: str
    environment: str
    allowed: bool
    reason: str
    because: list[str]
    beaten: list[str]
    rules: list[RuleBody]
    missing: list[str]
    obligations: dict[str, Any] | None
    owner: str
    explain: str
    request: str | None
    subject_seen_at: str
    enforcement: Literal["advised"] = "advised"
    revision: int
    receipt: str


class MyselfBody(Body):
    """Who the asker is here: as the token says, with local groups, and the roles held on domains."""

    subject: str
    issuer: str
    groups: list[str]
    attributes: dict[str, str | int | bool | list[str]]
    domains: dict[str, list[Action]]
    revision: int


@router.get("/v1/explain")
async def get_explanation(
    house: Housed,
    asking: Asking,
    response: Response,
    action: Annotated[Literal["discover", "load", "save"], Query()],
    dataset: Annotated[str, Query(max_length=LONGEST_ASKED)],
    environment: Environment,
    project: Project = None,
    purpose: Purpose = None,
    subject: Annotated[
        str | None, Query(max_length=LONGEST_ASKED, description="Another subject, as `user:ann`.")
    ] = None,
    at: At = None,
) -> ExplanationBody:
    """Why a subject may, or may not, do something to a dataset, and whom to ask."""
    about = None if subject is None else Subject.parse(subject)
    wanted = Wanted(environment, project, purpose)
    answer = await explain_access(house, asking, wanted, Action(action), dataset, about, read_point(at))
    explained = answer.explanation
    stamp(response, revision=answer.revision)
    return ExplanationBody(
        subject=str(answer.subject),
        action=explained.action,
        dataset=explained.dataset,
        environment=environment,
        allowed=answer.allowed,
        reason=answer.reason,
        because=list(explained.decision.because),
        beaten=list(explained.decision.beaten),
        rules=[RuleBody(id=rule.id, effect=rule.effect, reason=rule.reason) for rule in explained.rules],
        missing=list(explained.missing),
        obligations=None if explained.obligations is None else dict(explained.obligations),
        owner=explained.owner,
        explain=answer.command,
        request=answer.request,
        subject_seen_at=write_moment(answer.seen_at),
        revision=answer.revision,
        receipt=str(answer.receipt),
    )


@router.get("/v1/whoami")
async def get_whoami(house: Housed, asking: Asking, response: Response) -> MyselfBody:
    """Who you are to this service."""
    myself = await whoami(house, asking)
    stamp(response, revision=myself.revision)
    return MyselfBody(
        subject=str(asking.subject),
        issuer=asking.asker.issuer,
        groups=sorted(map(write_group, myself.groups)),
        attributes={
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in sorted(asking.asker.attributes.items())
        },
        domains={domain: list(actions) for domain, actions in myself.roles.items()},
        revision=myself.revision,
    )
