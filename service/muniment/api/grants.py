"""``/v1/grants``: who may do what, until when, and why; a grant is a Cedar policy made from a template."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Label, Limit, Line, Moment, Name, Page
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.grants import Grant
from muniment.core.groups import parse_group, write_group
from muniment.core.kept import Kept
from muniment.core.moments import write_moment
from muniment.core.names import checked_dataset, checked_domain
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import Action
from muniment.core.sentences import sentence
from muniment.flows.browse_realm import list_grants
from muniment.flows.edit_policy import edit_grant, end_grant
from muniment.flows.house import aside

router = APIRouter(prefix="/v1/grants", tags=["grants"])


class ToBody(Body):
    """A group, or a subject as ``user:ann``: exactly one."""

    group: Name | None = None
    subject: Name | None = None


class OnBody(Body):
    """A dataset or a domain: exactly one."""

    dataset: Name | None = None
    domain: Name | None = None


class GrantBody(Body):
    """A grant as it shall be. It ends, or says why it does not."""

    to: ToBody
    actions: Annotated[list[Annotated[Action, Field(strict=False)]], Field(min_length=1)]
    on: OnBody
    environments: Annotated[list[Label], Field(max_length=50)] = []
    purposes: Annotated[list[Label], Field(max_length=50)] = []
    until: Moment | None = Field(default=None, strict=False)
    because: Line = ""
    review_by: date | None = Field(default=None, strict=False)


class GrantAnswer(Body):
    """A grant, what it says in a sentence, and the Cedar text that it is."""

    id: str
    to: str
    actions: list[Action]
    on: dict[Literal["dataset", "domain"], str]
    environments: list[str]
    purposes: list[str]
    until: str | None
    because: str
    review_by: date | None
    sentence: str
    cedar: str
    version: int
    kept_in: KeptInBody | None = None


@router.get("")
async def get_grants(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[GrantAnswer]:
    """The grants of the scopes in which the asker grants, audits or administers, in the order of their ids."""
    shelf = await list_grants(house, asking)
    found, following = shelf.page(limit, after)
    stamp(response, revision=shelf.revision)
    return Page(items=await aside(lambda: [_answer(grant, shelf.kept) for grant in found]), next=following)


@router.get("/{id}")
async def get_grant(house: Housed, asking: Asking, response: Response, id: str) -> GrantAnswer:  # noqa: A002
    """One grant."""
    shelf = await list_grants(house, asking)
    grant = shelf.one(id)
    stamp(response, version=grant.version, revision=shelf.revision)
    return _answer(grant, shelf.kept)


@router.put("/{id}", response_model_exclude={"kept_in"})
async def put_grant(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002 - as the address says it
    body: GrantBody,
    after_version: AfterVersion,
) -> GrantAnswer:
    """Make a grant, or change it."""
    kept = await edit_grant(house, asking, proposed(id, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _answer(kept.noun)


@router.delete("/{id}", status_code=204)
async def delete_grant(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    after_version: AfterVersion,
) -> None:
    """End a grant before its time."""
    stamp(response, revision=await end_grant(house, asking, id, after_version))


def proposed(id_: str, body: GrantBody) -> Grant:
    """The grant that a body says."""
    if (body.to.group is None) == (body.to.subject is None):
        message = "A grant is to a group or to a subject: exactly one of them."
        raise Invalid(message, [Fault("to", message)])
    if (body.on.dataset is None) == (body.on.domain is None):
        message = "A grant is on a dataset or on a domain: exactly one of them."
        raise Invalid(message, [Fault("on", message)])
    on = checked_dataset(body.on.dataset) if body.on.dataset is not None else checked_domain(body.on.domain or "")
    group = body.to.group or ""
    return Grant(
        id=id_,
        to=parse_group(body.to.subject or (group if group.startswith("group:") else f"group:{group}")),
        actions=frozenset(body.actions),
        on=on,
        kind="dataset" if body.on.dataset is not None else "domain",
        environments=frozenset(body.environments),
        purposes=frozenset(body.purposes),
        until=body.until,
        because=body.because,
        review_by=body.review_by,
    )


def _answer(grant: Grant, kept: Mapping[str, Kept] | None = None) -> GrantAnswer:
    return GrantAnswer(
        id=grant.id,
        to=write_group(grant.to),
        actions=sorted(grant.actions),
        on={grant.kind: grant.on},
        environments=sorted(grant.environments),
        purposes=sorted(grant.purposes),
        until=write_moment(grant.until) if grant.until else None,
        because=grant.because,
        review_by=grant.review_by,
        sentence=sentence(grant),
        cedar=grant.policy().cedar,
        version=grant.version,
        kept_in=kept_in(kept.get(grant.id)) if kept is not None else None,
    )
