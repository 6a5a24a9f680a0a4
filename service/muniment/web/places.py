"""The places that the head of every page leads to, and for whom there is something to do in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muniment.core.schema import Action


@dataclass(frozen=True)
class Place:
    """A part of the pages; what it is called stands among the words of the frame."""

    name: str
    address: str
    #: Of these governing actions one has to be somebody's to find anything there; none: it is for everybody.
    needs: frozenset[Action] = frozenset()


_RULES: Final = frozenset({Action.GRANT, Action.AUDIT, Action.ADMINISTER})

_PLACES: Final = (
    Place("datasets", "/datasets"),
    Place("requests", "/requests"),
    Place("projects", "/projects/new"),
    Place("policies", "/policies", _RULES),
    Place("reviews", "/reviews", _RULES),
    Place("audit", "/audit", frozenset({Action.AUDIT})),
)


def places(governs: frozenset[Action]) -> tuple[Place, ...]:
    """Where there is something to do for somebody who may do these governing actions somewhere."""
    return tuple(place for place in _PLACES if not place.needs or place.needs & governs)
