"""Somebody asks what a definition says once it is resolved, and where each of its values comes from.

Whoever may load or save the dataset there may ask, and whoever declares in its domain: they
see the values anyway, each in the catalog, and here who gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from muniment.core.catalog import resolved
from muniment.core.datasets import Dataset, Definition
from muniment.core.environments import checked_known
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.provenance import Traced, layer_of, trace
from muniment.core.realm import Realm
from muniment.core.visibility import find, sees_definitions
from muniment.flows.house import House, aside


@dataclass(frozen=True, slots=True)
class TracedDefinition:
    """A definition as it is served in one environment, with the origins of its values.

    ``pattern`` is the factory pattern that made the name, for those who may know of it.
    """

    dataset: Dataset
    pattern: str | None
    layer: str
    definition: Mapping[str, object]
    values: tuple[Traced, ...]
    revision: int


async def trace_definition(house: House, occasion: Occasion, name: str, environment: str) -> TracedDefinition:
    """The definition of a name, factory patterns resolved; the asking is written down."""
    realm = await house.realms.current()
    checked_known([environment], realm.environment_names)
    async with house.refusals_recorded(occasion, realm, name):
        traced = await aside(lambda: _traced(realm, occasion, name, environment))
    await house.record_reading(occasion, realm, name, environment)
    return traced


def _traced(realm: Realm, occasion: Occasion, name: str, environment: str) -> TracedDefinition:
    dataset = find(realm, occasion.asker, occasion.at, name)
    if dataset is None:
        raise NotFound
    written = dataset.definition(environment)
    if written is None:
        message = f"{name} has no definition in {environment}."
        raise Invalid(message, [Fault("environment", message)])
    if not _sees(realm, occasion, dataset, environment, written):
        raise NotAllowed(f"To see this definition you need load or save in {environment}, or declare in its domain.")
    return TracedDefinition(
        dataset,
        _pattern(realm, occasion, name),
        layer_of(dataset, environment),
        resolved(realm, dataset, environment),
        trace(realm, dataset, environment),
        realm.revision,
    )


def _sees(realm: Realm, occasion: Occasion, dataset: Dataset, environment: str, written: Definition) -> bool:
    """Whether the asker may read what is served in this very environment: a shared layer has other values elsewhere."""
    there = replace(dataset, environments={environment: written})
    return environment in sees_definitions(realm, occasion.asker, occasion.at, there)


def _pattern(realm: Realm, occasion: Occasion, name: str) -> str | None:
    source = realm.source_of(name)
    if source is None or source == name or find(realm, occasion.asker, occasion.at, source) is None:
        return None
    return source
