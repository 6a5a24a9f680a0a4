"""Asking once more for what one has: as it was given, before it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from muniment.core.grants import Grant
from muniment.core.problems import Conflict, NotFound
from muniment.core.realm import Realm
from muniment.core.requests import MOST_DATASETS, OF_REQUESTS, REQUESTABLE, Terms
from muniment.core.subjects import Subject

#: For how long access is asked for again, where nothing else is said.
AGAIN: Final = timedelta(days=90)

#: How long the id of the only grant of a request is: with several datasets each of its grants has a number behind it.
_ONE_GRANT: Final = len(OF_REQUESTS) + 36


@dataclass(frozen=True, slots=True)
class Again:
    """What to ask for to have access for longer: as it was given, and why that was."""

    terms: Terms
    because: str
    purpose: str | None = None


def asked_again(realm: Realm, asker: Subject, id_: str, at: datetime, until: datetime | None) -> Again:
    """What a subject asks for who wants to go on with what a grant gives; :class:`NotFound` for one that is not theirs.

    Where one request gave several datasets, all of them that still stand are asked for together.
    """
    grant = realm.grants.get(id_)
    if grant is None or grant.to != str(asker):
        raise NotFound
    if not grant.on_dataset:
        raise Conflict(f"{id_} is for a whole domain. Ask for the datasets in it that you use.")
    actions = grant.actions.intersection(REQUESTABLE)
    if not actions:
        raise Conflict(f"{id_} lets you neither load nor save; there is nothing to ask for again.")
    if len(grant.purposes) > 1:
        raise Conflict(f"{id_} is for several purposes. Ask for the one that you need it for.")
    together = [grant, *(each for each in realm.grants.values() if _given_together(grant, each))]
    names = tuple(sorted({each.on for each in together}))[:MOST_DATASETS]
    environments = grant.environments or frozenset(realm.environment_names)
    end = until or at + AGAIN
    return Again(
        Terms(actions, names, environments, end),
        grant.because or "to go on as before",
        next(iter(grant.purposes), None),
    )


def _given_together(one: Grant, other: Grant) -> bool:
    """Whether one approval made both, and both still give the same."""
    given = (one.to, one.kind, one.actions, one.environments, one.purposes, one.until)
    return (
        one.id.startswith(OF_REQUESTS)
        and len(one.id) > _ONE_GRANT
        and one.id[:_ONE_GRANT] == other.id[:_ONE_GRANT]
        and given == (other.to, other.kind, other.actions, other.environments, other.purposes, other.until)
    )
