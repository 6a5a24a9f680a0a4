"""What stands in a catalog under a dataset's name, environment by environment, and where the environments differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import orjson

from muniment.core.bodies import body_of
from muniment.core.catalog import resolved, unfilled
from muniment.core.datasets import Dataset, Definition
from muniment.core.file_texts import entries_text, entry_of
from muniment.core.provenance import layer_of, values_of
from muniment.core.realm import Realm
from muniment.core.yaml_texts import dumped


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset's entry in one environment, as it is served there; ``unfilled`` are variables without a value."""

    environment: str
    layer: str
    definition: Definition
    text: str
    unfilled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """One value of the entries, by environment; nothing where an entry does not have it."""

    at: str
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """Whether it is not the same everywhere."""
        return len(set(self.values)) > 1


def entries_of(realm: Realm, dataset: Dataset, environments: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of those of the environments where there is one, in their order."""
    return tuple(
        Entry(
            environment,
            layer_of(dataset, environment),
            served := resolved(realm, dataset, environment),
            dumped({dataset.name: served}),
            unfilled(realm, dataset, environment),
        )
        for environment in environments
        if dataset.definition(environment) is not None
    )


def side_by_side(entries: Sequence[Entry]) -> tuple[Compared, ...]:
    """Every value that some entry has, in the order in which it is first met."""
    by_entry = [{at: _written(value) for at, value in values_of(entry.definition)} for entry in entries]
    places = dict.fromkeys(at for values in by_entry for at in values)
    return tuple(Compared(at, tuple(values.get(at) for values in by_entry)) for at in places)


def text_of(dataset: Dataset, definitions: Iterable[str]) -> str:
    """A dataset as a file in git says it, with those of its definitions alone."""
    shown = {layer: definition for layer, definition in dataset.environments.items() if layer in set(definitions)}
    return entries_text({dataset.name: entry_of("dataset", body_of(replace(dataset, environments=shown)))})


def _written(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
