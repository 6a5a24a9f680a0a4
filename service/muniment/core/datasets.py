"""Datasets: governed catalog entries, and what policies can say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from muniment.core.environments import BASE
from muniment.core.names import domain_of

#: Kedro's configuration of one dataset, exactly as it stands under the name in ``catalog.yml``.
Definition = Mapping[str, object]


class Lifecycle(StrEnum):
    """Where a dataset stands in its life. Drafts and retired datasets are never served."""

    DRAFT = "draft"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


SERVED = frozenset({Lifecycle.ACTIVE, Lifecycle.DEPRECATED})


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the steward describes it."""

    name: str
    type: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """One governed catalog entry. ``owner`` is a group's id; ``sensitivity`` is 0 (open) to 100."""

    name: str
    owner: str
    description: str = ""
    tags: frozenset[str] = frozenset()
    classification: str = "internal"
    sensitivity: int = 0
    layer: str | None = None
    columns: tuple[Column, ...] = ()
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    successor: str | None = None
    environments: Mapping[str, Definition] = field(default_factory=dict)
    version: int = 0

    @property
    def domain(self) -> str:
        """The domain that carries the dataset; it is in the name."""
        return domain_of(self.name)

    @property
    def is_pattern(self) -> bool:
        """Whether the dataset is a factory pattern, which names many."""
        return "{" in self.name

    @property
    def served(self) -> bool:
        """Whether a catalog may hold the dataset."""
        return self.lifecycle in SERVED

    def definition(self, environment: str) -> Definition | None:
        """The definition in force: the environment's own, else the one of ``base``."""
        return self.environments.get(environment, self.environments.get(BASE))

    @property
    def access(self) -> tuple[object, ...]:
        """All that a policy can read of the dataset but its name: datasets alike here are decided alike."""
        return (
            self.domain,
            self.owner,
            self.tags,
            self.classification,
            self.sensitivity,
            self.layer,
            self.lifecycle,
        )
