"""Domains: the tree of business areas, by which stewardship is delegated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muniment.core.names import parent_of


@dataclass(frozen=True, slots=True)
class Domain:
    """A node of the tree. ``owner`` is a group's id; ``locations`` are canonical URL prefixes.

    Definitions of the domain's datasets lie inside a location of the domain or of an
    ancestor; only administrators set locations. ``variables`` serve its definitions. ``types``
    are further dataset types that may be declared in the domain and below it, and
    ``lease_hours`` is for how long leases give its datasets, where that is sooner than
    the lease itself ends; only administrators set both.
    """

    name: str
    owner: str
    description: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    locations: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    lease_hours: float | None = None
    version: int = 0

    @property
    def parent(self) -> str:
        """The domain above; the tree is in the names."""
        return parent_of(self.name)
