"""``/v1/datasets/{name}/definition``: what a definition says in one environment, and where each value comes from."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.catalogs import Environment
from muniment.api.versions import stamp
from muniment.core.provenance import Origin, Source, Traced
from muniment.flows.trace_definition import trace_definition

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


class OriginBody(Body):
    """Who gave a value, or a part of it: a dataset's layer, a variable of a domain or environment, a default, a run."""

    source: Source
    name: str | None
    version: int | None
    layer: str | None
    variable: str | None
    value: Any


class ValueBody(Body):
    """One value: its place in the definition, what is served, how it was written, and who gave it."""

    at: str
    value: Any
    written: Any
    origins: list[OriginBody]


class DefinitionBody(Body):
    """A definition with its variables filled in; ``pattern`` is the factory pattern that made the name."""

    name: str
    environment: str
    pattern: str | None
    version: int
    layer: str
    definition: dict[str, Any]
    values: list[ValueBody]


@router.get("/{name}/definition")
async def get_definition(
    house: Housed, asking: Asking, response: Response, name: str, environment: Environment
) -> DefinitionBody:
    """The definition in force in an environment, resolved, with the origin of each of its values."""
    traced = await trace_definition(house, asking, name, environment)
    stamp(response, revision=traced.revision)
    return DefinitionBody(
        name=name,
        environment=environment,
        pattern=traced.pattern,
        version=traced.dataset.version,
        layer=traced.layer,
        definition=dict(traced.definition),
        values=[_value(value) for value in traced.values],
    )


def _value(traced: Traced) -> ValueBody:
    origins = [_origin(origin) for origin in traced.origins]
    return ValueBody(at=traced.at, value=traced.value, written=traced.written, origins=origins)


def _origin(origin: Origin) -> OriginBody:
    return OriginBody(
        source=origin.source,
        name=origin.name,
        version=origin.version,
        layer=origin.layer,
        variable=origin.variable,
        value=origin.value,
    )
