"""Where each value of a definition comes from: the dataset, a variable of a domain or environment, or a default.

A definition is served as one layer of one version of a dataset, with its variables filled
in. Whoever finds a strange path in a catalog asks here who wrote which part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from muniment.core.catalog import resolved
from muniment.core.datasets import Dataset
from muniment.core.definitions import Filling, fillings
from muniment.core.environments import BASE
from muniment.core.names import lineage
from muniment.core.realm import Realm


class Source(StrEnum):
    """What can give a value, or a part of one."""

    DATASET = "dataset"
    DOMAIN = "domain"
    ENVIRONMENT = "environment"
    DEFAULT = "default"
    NOTHING = "nothing"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Origin:
    """One giver: which thing, in which version. ``variable`` is what it gives a value to; ``layer`` is a dataset's."""

    source: Source
    name: str | None = None
    version: int | None = None
    layer: str | None = None
    variable: str | None = None
    value: object = None


@dataclass(frozen=True, slots=True)
class Traced:
    """One value of a definition: its place, what it is as served, how it was written, and who gave it."""

    at: str
    value: object
    written: object
    origins: tuple[Origin, ...]


def layer_of(dataset: Dataset, environment: str) -> str:
    """The layer whose definition is in force: the environment's own replaces the one of ``base`` whole."""
    return environment if environment in dataset.environments else BASE


def trace(realm: Realm, dataset: Dataset, environment: str) -> tuple[Traced, ...]:
    """Every value of the definition in force, in the order in which it is written."""
    layer = layer_of(dataset, environment)
    written = dataset.environments.get(layer, {})
    served = resolved(realm, dataset, environment)
    itself = Origin(Source.DATASET, dataset.name, dataset.version, layer)
    given = variable_origins(realm, dataset.domain, environment)
    return tuple(
        Traced(at, value, as_written, (itself, *(_origin(given, filling) for filling in fillings(as_written))))
        for (at, as_written), (_, value) in zip(values_of(written), values_of(served), strict=True)
    )


def variable_origins(realm: Realm, domain: str, environment: str) -> Mapping[str, Origin]:
    """Each variable that a definition may use there, and who gives it: the one whose word is heard, and no other."""
    found: dict[str, Origin] = {}
    for name in reversed(lineage(domain)):
        if name in realm.domains:
            giver = realm.domains[name]
            found.update(_given(Source.DOMAIN, name, giver.version, giver.variables))
    for name in (BASE, environment):
        if name in realm.environments:
            layer = realm.environments[name]
            found.update(_given(Source.ENVIRONMENT, name, layer.version, layer.variables))
    return found


def _given(source: Source, name: str, version: int, variables: Mapping[str, str]) -> Iterable[tuple[str, Origin]]:
    for variable, value in variables.items():
        yield variable, Origin(source, name, version, variable=variable, value=value)


def _origin(given: Mapping[str, Origin], filling: Filling) -> Origin:
    if filling.variable is None:
        return Origin(Source.RUN, variable=filling.parameter, value=filling.default)
    if filling.variable in given:
        return given[filling.variable]
    source = Source.DEFAULT if filling.has_default else Source.NOTHING
    return Origin(source, variable=filling.variable, value=filling.default)


def values_of(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Every value at every depth with its place; an empty mapping or list is a value too."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from values_of(item, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from values_of(item, f"{at}.{index}")
    else:
        yield at, value
