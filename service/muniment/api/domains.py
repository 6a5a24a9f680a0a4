"""``/v1/domains``: the tree of business areas, their owners, variables and locations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit, Name, Page, Text
from muniment.api.environments import Variables
from muniment.api.versions import AfterVersion, stamp
from muniment.core.domains import Domain
from muniment.core.groups import parse_group, write_group
from muniment.core.names import parent_of
from muniment.core.problems import Fault, Invalid
from muniment.flows.browse_realm import list_domains
from muniment.flows.edit_domain import edit_domain

router = APIRouter(prefix="/v1/domains", tags=["domains"])


class DomainBody(Body):
    """A domain as it shall be. The tree is in the names: ``sales.emea`` lies in ``sales``."""

    parent: Name | None = None
    owner: Name = Field(description="`group:<id>`, or one person's `user:<id>`.")
    description: Text = ""
    variables: Variables = {}
    locations: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=200)] = []


class DomainAnswer(Body):
    """A domain; variables and locations are shown to those who declare or administer there."""

    name: str
    parent: str
    owner: str
    description: str
    variables: dict[str, str]
    locations: list[str]
    version: int


@router.get("")
async def get_domains(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[DomainAnswer]:
    """The domains that the asker may know of, in the order of their names."""
    shelf = await list_domains(house, asking)
    found, following = shelf.page(limit, after)
    stamp(response, revision=shelf.revision)
    return Page(items=[_answer(domain) for domain in found], next=following)


@router.get("/{name}")
async def get_domain(house: Housed, asking: Asking, response: Response, name: str) -> DomainAnswer:
    """One domain."""
    shelf = await list_domains(house, asking)
    domain = shelf.one(name)
    stamp(response, version=domain.version, revision=shelf.revision)
    return _answer(domain)


@router.put("/{name}")
async def put_domain(
    house: Housed, asking: Asking, response: Response, name: str, body: DomainBody, after_version: AfterVersion
) -> DomainAnswer:
    """Make a domain, or change it."""
    kept = await edit_domain(house, asking, proposed(name, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _answer(kept.noun)


def proposed(name: str, body: DomainBody) -> Domain:
    """The domain that a body says."""
    if body.parent not in {None, parent_of(name)}:
        message = "The parent must be the domain that the name lies in (all, for a top domain)."
        raise Invalid(message, [Fault("parent", message)])
    return Domain(
        name=name,
        owner=parse_group(body.owner),
        description=body.description,
        variables=body.variables,
        locations=tuple(body.locations),
    )


def _answer(domain: Domain) -> DomainAnswer:
    return DomainAnswer(
        name=domain.name,
        parent=domain.parent,
        owner=write_group(domain.owner),
        description=domain.description,
        variables=dict(domain.variables),
        locations=list(domain.locations),
        version=domain.version,
    )
