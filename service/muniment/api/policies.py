"""``/v1/policies``: rules of all kinds, as Cedar text or in the simple form, which is rendered to Cedar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Label, Limit, Line, Moment, Name, Page
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.datasets import Lifecycle
from muniment.core.forms import Comparison, Demand, Form
from muniment.core.groups import is_builtin, parse_group
from muniment.core.kept import Kept
from muniment.core.names import ROOT
from muniment.core.policies import LONGEST_TEXT, Policy, PolicyKind
from muniment.core.problems import Fault, InvalidPolicy
from muniment.core.readings import form_of
from muniment.core.schema import Action
from muniment.core.sentences import sentence
from muniment.flows.browse_realm import list_policies
from muniment.flows.edit_policy import edit_policy, end_policy
from muniment.flows.house import aside
from muniment.flows.read_policy import read_policy

router = APIRouter(prefix="/v1/policies", tags=["policies"])

Labels = Annotated[list[Label], Field(max_length=500)]
Asked = Annotated[list[Label], Field(min_length=1, max_length=500)]
Long = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Demands = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-zA-Z0-9_]{0,63}$")], "DemandBody"], Field(max_length=50)
]
_Action = Annotated[Action, Field(strict=False)]


class DemandBody(Body):
    """What is asked of one attribute: of a number, of a text, of a set, or of a boolean."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True, serialize_by_alias=True)

    at_least: Long | None = None
    at_most: Long | None = None
    one_of: Asked | None = None
    any_of: Asked | None = None
    all_of: Asked | None = None
    is_: bool | None = Field(default=None, alias="is")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.model_fields_set:
            listed = ", ".join(Comparison)
            raise ValueError(f"asks for nothing; give one of {listed}")
        return self


class PrincipalsBody(Body):
    """Who is meant; nobody named means everybody who has the attributes."""

    groups: Labels = []
    users: Labels = []
    services: Labels = []
    attributes: Demands = {}


class ResourcesBody(Body):
    """Which datasets are meant; nothing named means all in the policy's scope."""

    domains: Labels = []
    names: Annotated[list[Name], Field(max_length=500)] = []
    tags_all: Labels = []
    tags_any: Labels = []
    tags_none: Labels = []
    classifications: Labels = []
    owners: Labels = []
    layers: Labels = []
    lifecycles: Annotated[list[Annotated[Lifecycle, Field(strict=False)]], Field(max_length=500)] = []
    sensitivity_at_least: Long | None = None
    sensitivity_at_most: Long | None = None


class FormBody(Body):
    """The simple form: AND across fields, OR inside one."""

    effect: Literal["permit", "forbid"] = "permit"
    principals: PrincipalsBody = PrincipalsBody()
    except_groups: Labels = []
    except_attributes: Demands = {}
    actions: Annotated[list[_Action], Field(min_length=1)]
    resources: ResourcesBody = ResourcesBody()
    environments: Labels = []
    purposes: Labels = []
    projects: Labels = []
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
    """A policy: the Cedar text is what is enforced; ``form`` is the form that it is, whoever wrote it, if it is one.

    ``sentence`` says the same in English.
    """

    id: str
    kind: PolicyKind
    scope: str
    sentence: str
    cedar: str
    form: dict[str, Any] | None
    obligation: dict[str, Any] | None
    reason: str
    review_by: date | None
    cases: list[dict[str, Any]]
    version: int
    kept_in: KeptInBody | None = None


class DraftBody(Body):
    """A policy to be read and not kept: ``cedar`` or ``form``."""

    kind: Annotated[PolicyKind, Field(strict=False)] = PolicyKind.ACCESS
    scope: Name = ROOT
    cedar: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    form: FormBody | None = None
    obligation: dict[str, Any] | None = None


class FaultBody(Body):
    """One thing that is wrong; in a text with its line and column, counted from 1."""

    at: str
    message: str
    line: int | None
    column: int | None


class DraftAnswer(Body):
    """What a policy would be: its text, the form that it is, and what it says. Without faults it could be kept."""

    cedar: str
    form: dict[str, Any] | None
    sentence: str | None
    faults: list[FaultBody]


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
    return Page(items=await aside(lambda: [_answer(policy, shelf.kept) for policy in found]), next=following)


@router.post("/read")
async def post_read(house: Housed, asking: Asking, response: Response, body: DraftBody) -> DraftAnswer:
    """Read a policy without keeping it: what would it say, and what is wrong with it? For those who write rules."""
    given = PolicyBody(**{name: getattr(body, name) for name in DraftBody.model_fields})
    draft, revision = await read_policy(house, asking, proposed("draft", given))
    stamp(response, revision=revision)
    return DraftAnswer(
        cedar=draft.cedar,
        form=_written(draft.form),
        sentence=draft.sentence,
        faults=[FaultBody(at=f.at, message=f.message, line=f.line, column=f.column) for f in draft.faults],
    )


@router.get("/{id}")
async def get_policy(house: Housed, asking: Asking, response: Response, id: str) -> PolicyAnswer:  # noqa: A002
    """One policy."""
    shelf = await list_policies(house, asking)
    policy = shelf.one(id)
    stamp(response, version=policy.version, revision=shelf.revision)
    return _answer(policy, shelf.kept)


@router.put("/{id}", response_model_exclude={"kept_in"})
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
    text = body.cedar if body.form is None else _form(body.form, body.kind).cedar()
    return Policy(
        id=id_,
        cedar=text or "",
        scope=body.scope,
        reason=body.reason,
        review_by=body.review_by,
        kind=body.kind,
        obligation=body.obligation,
        cases=tuple(body.cases),
    )


def _form(body: FormBody, kind: PolicyKind) -> Form:
    named = body.principals
    principals = (
        *map(_group, named.groups),
        *(parse_group(f"user:{user}") for user in named.users),
        *(parse_group(f"service:{service}") for service in named.services),
    )
    resources = body.resources
    return Form(
        kind=kind,
        actions=frozenset(body.actions),
        effect=body.effect,
        principals=principals,
        except_groups=tuple(map(_group, body.except_groups)),
        domains=tuple(resources.domains),
        names=tuple(resources.names),
        tags_all=frozenset(resources.tags_all),
        tags_any=frozenset(resources.tags_any),
        tags_none=frozenset(resources.tags_none),
        classifications=frozenset(resources.classifications),
        environments=frozenset(body.environments),
        purposes=frozenset(body.purposes),
        projects=frozenset(body.projects),
        valid_from=body.valid_from,
        valid_to=body.valid_to,
        attributes=_demands(named.attributes),
        except_attributes=_demands(body.except_attributes),
        owners=tuple(map(_group, resources.owners)),
        layers=frozenset(resources.layers),
        lifecycles=frozenset(resources.lifecycles),
        sensitivity_at_least=resources.sensitivity_at_least,
        sensitivity_at_most=resources.sensitivity_at_most,
    )


def _group(text: str) -> str:
    """A group's id, as forms name it; that of one subject (``user:ann``) is one too."""
    return parse_group(text if is_builtin(text) else f"group:{text}")


def _demands(body: Mapping[str, DemandBody]) -> tuple[Demand, ...]:
    return tuple(
        Demand(attribute, Comparison(name), frozenset(value) if isinstance(value, list) else value)
        for attribute, asked in body.items()
        for name, value in asked.model_dump(exclude_none=True).items()
    )


@lru_cache(maxsize=20_000)
def _written(form: Form | None) -> dict[str, Any] | None:
    """A form as it is put, without what says nothing; none, where it could not be put like that."""
    if form is None:
        return None
    people: dict[str, list[str]] = {"groups": [], "users": [], "services": []}
    for id_ in form.principals:
        kind, _, name = id_.partition(":")
        people[f"{kind}s" if is_builtin(id_) else "groups"].append(name if is_builtin(id_) else id_)
    resources = {name: getattr(form, name) for name in ResourcesBody.model_fields}
    given = {
        **{name: getattr(form, name) for name in FormBody.model_fields if name not in {"principals", "resources"}},
        "principals": {**people, "attributes": _asked(form.attributes)},
        "except_attributes": _asked(form.except_attributes),
        "resources": {name: _listed(value) for name, value in resources.items()},
    }
    try:
        body = FormBody.model_validate({name: _listed(value) for name, value in given.items()})
    except ValidationError:
        return None
    return body.model_dump(mode="json", exclude_defaults=True)


def _asked(demands: Iterable[Demand]) -> dict[str, dict[str, object]]:
    asked: dict[str, dict[str, object]] = {}
    for demand in demands:
        asked.setdefault(demand.attribute, {})[demand.comparison] = _listed(demand.value)
    return asked


def _listed(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset | tuple) else value


def _answer(policy: Policy, kept: Mapping[str, Kept] | None = None) -> PolicyAnswer:
    return PolicyAnswer(
        id=policy.id,
        kind=policy.kind,
        scope=policy.scope,
        sentence=sentence(policy),
        cedar=policy.cedar,
        form=_written(form_of(policy.cedar, policy.kind)),
        obligation=None if policy.obligation is None else dict(policy.obligation),
        reason=policy.reason,
        review_by=policy.review_by,
        cases=[dict(case) for case in policy.cases],
        version=policy.version,
        kept_in=kept_in(kept.get(policy.id)) if kept is not None else None,
    )
