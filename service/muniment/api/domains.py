"""``/v1/domains``: the tree of business areas, their owners, variables, locations and types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit, Name, Page, Text
from muniment.api.environments import Variables
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.domains import Domain
from muniment.core.groups import parse_group, write_group
from muniment.core.kept import Kept
from muniment.core.leases import LONGEST
from muniment.core.names import parent_of
from muniment.core.problems import Fault, Invalid
from muniment.flows.browse_realm import list_domains
from muniment.flows.edit_domain import edit_domain

router = APIRouter(prefix="/v1/domains", tags=["domains"])

#: For how many hours leases give a domain's datasets, kept as it is written: 8 stays 8.
Hours = Annotated[int | float, Field(ge=0.25, le=LONGEST / timedelta(hours=1))]


class DomainBody(Body):
    """A domain as it shall be. The tree is in the names: ``sales.emea`` lies in ``sales``."""

    parent: Name | None = None
    owner: Name = Field(description="`group:<id>`, or one person's `user:<id>`.")
    description: Text = ""
    variables: Variables = {}
    locations: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=200)] = []
    types: Annotated[list[Name], Field(max_length=200)] = []
    lease_hours: Hours | None = None


class DomainAnswer(Body):
    """A domain; variables, locations and types are shown to those who declare or administer there."""

    name: str
    parent: str
    owner: str
    description: str
    variables: dict[str, str]
    locations: list[str]
    types: list[str]
    lease_hours: Hours | None
    version: int
    kept_in: KeptInBody | None = None


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
    return Page(items=[_answer(domain, shelf.kept) for domain in found], next=following)


@router.get("/{name}")
async def get_domain(house: Housed, asking: Asking, response: Response, name: str) -> DomainAnswer:
    """One domain."""
    shelf = await list_domains(house, asking)
    domain = shelf.one(name)
    stamp(response, version=domain.version, revision=shelf.revision)
    return _answer(domain, shelf.kept)


@router.put("/{name}", response_model_exclude={"kept_in"})
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
        types=tuple(body.types),
        lease_hours=body.lease_hours,
    )


def _answer(domain: Domain, kept: Mapping[str, Kept] | None = None) -> DomainAnswer:
    return DomainAnswer(
        name=domain.name,
        parent=domain.parent,
        owner=write_group(domain.owner),
        description=domain.description,
        variables=dict(domain.variables),
        locations=list(domain.locations),
        types=list(domain.types),
        lease_hours=domain.lease_hours,
        version=domain.version,
        kept_in=kept_in(kept.get(domain.name)) if kept is not None else None,
    )
