"""``/v1/policies``: rules of all kinds, as Cedar text or in the simple form, which is rendered to Cedar."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Label, Limit, Line, Moment, Name, Page
from muniment.api.versions import AfterVersion, stamp
from muniment.core.forms import Form
from muniment.core.groups import parse_group
from muniment.core.names import ROOT
from muniment.core.policies import LONGEST_TEXT, Policy, PolicyKind
from muniment.core.problems import Fault, InvalidPolicy
from muniment.core.schema import Action
from muniment.flows.browse_realm import list_policies
from muniment.flows.edit_policy import edit_policy, end_policy

router = APIRouter(prefix="/v1/policies", tags=["policies"])

Labels = Annotated[list[Label], Field(max_length=500)]
_Action = Annotated[Action, Field(strict=False)]


class PrincipalsBody(Body):
    """Who is meant; nobody named means everybody."""

    groups: Labels = []
    users: Labels = []
    services: Labels = []


class ResourcesBody(Body):
    """Which datasets are meant; nothing named means all in the policy's scope."""

    domains: Labels = []
    names: Annotated[list[Name], Field(max_length=500)] = []
    tags_all: Labels = []
    tags_any: Labels = []
    tags_none: Labels = []
    classifications: Labels = []


class FormBody(Body):
    """The simple form: AND across fields, OR inside one."""

    effect: Literal["permit", "forbid"] = "permit"
    principals: PrincipalsBody = PrincipalsBody()
    except_groups: Labels = []
    actions: Annotated[list[_Action], Field(min_length=1)]
    resources: ResourcesBody = ResourcesBody()
    environments: Labels = []
    purposes: Labels = []
    valid_from: Moment | None = Field(default=None, strict=False)
    valid_to: Moment | None = Field(default=None, strict=False)


class PolicyBody(Body):
    """A policy as it shall be: ``cedar`` or ``form``, for the domains below ``scope``.

    A mask or a row filter says in ``obligation`` what it demands of whoever loads what its text permits.
    """

    kind: Annotated[PolicyKind, Field(strict=False)] = PolicyKind.ACCESS
    scope: Name = ROOT
    cedar: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    form: FormBody | None = None
    obligation: dict[str, Any] | None = None
    reason: Line = ""
    review_by: date | None = Field(default=None, strict=False)
    cases: Annotated[list[dict[str, Any]], Field(max_length=100)] = []


class PolicyAnswer(Body):
    """A policy: the Cedar text is what is enforced; ``form`` is what it was made from."""

    id: str
    kind: PolicyKind
    scope: str
    cedar: str
    form: dict[str, Any] | None
    obligation: dict[str, Any] | None
    reason: str
    review_by: date | None
    cases: list[dict[str, Any]]
    version: int


@router.get("")
async def get_policies(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[PolicyAnswer]:
    """The policies of the scopes in which the asker grants, audits or administers, in the order of their ids."""
    shelf = await list_policies(house, asking)
    found, following = shelf.page(limit, after)
    stamp(response, revision=shelf.revision)
    return Page(items=[_answer(policy) for policy in found], next=following)


@router.get("/{id}")
async def get_policy(house: Housed, asking: Asking, response: Response, id: str) -> PolicyAnswer:  # noqa: A002
    """One policy."""
    shelf = await list_policies(house, asking)
    policy = shelf.one(id)
    stamp(response, version=policy.version, revision=shelf.revision)
    return _answer(policy)


@router.put("/{id}")
async def put_policy(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002 - as the address says it
    body: PolicyBody,
    after_version: AfterVersion,
) -> PolicyAnswer:
    """Write a policy, or change it; from the next request on everybody is decided by it."""
    kept = await edit_policy(house, asking, proposed(id, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _answer(kept.noun)


@router.delete("/{id}", status_code=204)
async def delete_policy(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    after_version: AfterVersion,
) -> None:
    """End a policy."""
    stamp(response, revision=await end_policy(house, asking, id, after_version))


def proposed(id_: str, body: PolicyBody) -> Policy:
    """The policy that a body says."""
    if (body.cedar is None) == (body.form is None):
        message = "A policy is given as cedar or as form: exactly one of them."
        raise InvalidPolicy(message, [Fault("cedar", message)])
    form = None if body.form is None else body.form.model_dump(mode="json", exclude_defaults=True)
    text = body.cedar if body.form is None else _form(body.form).cedar()
    return Policy(
        id=id_,
        cedar=text or "",
        scope=body.scope,
        reason=body.reason,
        review_by=body.review_by,
        form=form,
        kind=body.kind,
        obligation=body.obligation,
        cases=tuple(body.cases),
    )


def _form(body: FormBody) -> Form:
    named = body.principals
    principals = (
        *(parse_group(f"group:{group}") for group in named.groups),
        *(parse_group(f"user:{user}") for user in named.users),
        *(parse_group(f"service:{service}") for service in named.services),
    )
    resources = body.resources
    return Form(
        actions=frozenset(body.actions),
        effect=body.effect,
        principals=principals,
        except_groups=tuple(parse_group(f"group:{group}") for group in body.except_groups),
        domains=tuple(resources.domains),
        names=tuple(resources.names),
        tags_all=frozenset(resources.tags_all),
        tags_any=frozenset(resources.tags_any),
        tags_none=frozenset(resources.tags_none),
        classifications=frozenset(resources.classifications),
        environments=frozenset(body.environments),
        purposes=frozenset(body.purposes),
        valid_from=body.valid_from,
        valid_to=body.valid_to,
    )


def _answer(policy: Policy) -> PolicyAnswer:
    return PolicyAnswer(
        id=policy.id,
        kind=policy.kind,
        scope=policy.scope,
        cedar=policy.cedar,
        form=None if policy.form is None else dict(policy.form),
        obligation=None if policy.obligation is None else dict(policy.obligation),
        reason=policy.reason,
        review_by=policy.review_by,
        cases=[dict(case) for case in policy.cases],
        version=policy.version,
    )
