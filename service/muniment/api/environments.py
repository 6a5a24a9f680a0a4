"""``/v1/environments``: the closed list of environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit, Line, Page, Text
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.environments import Environment
from muniment.core.kept import Kept
from muniment.flows.browse_realm import list_environments
from muniment.flows.edit_environment import edit_environment

router = APIRouter(prefix="/v1/environments", tags=["environments"])

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$")]
Variables = Annotated[dict[Variable, Line], Field(max_length=500, description="What `${globals:name}` stands for.")]


class EnvironmentBody(Body):
    """An environment as it shall be."""

    description: Text = ""
    variables: Variables = {}


class EnvironmentAnswer(Body):
    """An environment; variables are shown to those who declare or administer somewhere."""

    name: str
    description: str
    variables: dict[str, str]
    version: int
    kept_in: KeptInBody | None = None


@router.get("")
async def get_environments(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[EnvironmentAnswer]:
    """The environments, in the order of their names."""
    shelf = await list_environments(house, asking)
    found, following = shelf.page(limit, after)
    stamp(response, revision=shelf.revision)
    return Page(items=[_answer(environment, shelf.kept) for environment in found], next=following)


@router.get("/{name}")
async def get_environment(house: Housed, asking: Asking, response: Response, name: str) -> EnvironmentAnswer:
    """One environment."""
    shelf = await list_environments(house, asking)
    environment = shelf.one(name)
    stamp(response, version=environment.version, revision=shelf.revision)
    return _answer(environment, shelf.kept)


@router.put("/{name}", response_model_exclude={"kept_in"})
async def put_environment(
    house: Housed, asking: Asking, response: Response, name: str, body: EnvironmentBody, after_version: AfterVersion
) -> EnvironmentAnswer:
    """Make an environment, or change it."""
    kept = await edit_environment(house, asking, proposed(name, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _answer(kept.noun)


def proposed(name: str, body: EnvironmentBody) -> Environment:
    """The environment that a body says."""
    return Environment(name, body.description, body.variables)


def _answer(environment: Environment, kept: Mapping[str, Kept] | None = None) -> EnvironmentAnswer:
    return EnvironmentAnswer(
        name=environment.name,
        description=environment.description,
        variables=dict(environment.variables),
        version=environment.version,
        kept_in=kept_in(kept.get(environment.name)) if kept is not None else None,
    )
