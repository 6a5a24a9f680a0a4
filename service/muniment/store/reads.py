"""What the ledger holds about who read a dataset: leases, those alike together, and reports of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import TEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.decisions import Wanted
from muniment.core.reads import MOST_GIVEN, MOST_TOLD, Alike, Claimed
from muniment.store.ledger import needed

_SETTLED: Final = "xact < pg_snapshot_xmin(pg_current_snapshot())"
_IN_TIME: Final = f"""
    at >= :since AND at < :until AND {_SETTLED} AND (CAST(:environment AS text) IS NULL OR environment = :environment)
"""

#: A lease of names that are others gave nothing of the dataset; one of a whole catalog may have.
_GIVEN: Final = f"""
    SELECT subject, subject_state, revision, environment, project, purpose, count(*) AS times,
      min(at) AS first, max(at) AS last
    FROM ledger
    WHERE event = 'lease.served' AND {_IN_TIME} AND revision IS NOT NULL AND environment IS NOT NULL
      AND (datasets @> ARRAY[CAST(:dataset AS text)] OR cardinality(datasets) = 0 AND NOT details ? 'named')
    GROUP BY subject, subject_state, revision, environment, project, purpose
    ORDER BY last DESC, subject COLLATE "C", subject_state, revision DESC LIMIT :limit
"""  # noqa: S608 - our own words
_CLAIMED: Final = f"""
    SELECT subject, coalesce(details ->> 'action', '') AS action, environment, project, count(*) AS times,
      min(at) AS first, max(at) AS last
    FROM ledger
    WHERE event = 'use.reported' AND {_IN_TIME} AND datasets @> ARRAY[CAST(:dataset AS text)]
    GROUP BY subject, 2, environment, project
    ORDER BY last DESC, subject COLLATE "C", 2, environment, project LIMIT :limit
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Asked:
    """Which dataset is asked about, in which time, and in which environment if not in all."""

    dataset: str
    since: datetime
    until: datetime
    environment: str | None = None


async def leases(tx: AsyncConnection, asked: Asked) -> tuple[Sequence[Alike], bool]:
    """The leases that may have given the dataset, those alike together, the last ones; whether that is all of them."""
    found = await _found(tx, _statement(_GIVEN), asked, MOST_GIVEN)
    told = [
        Alike(
            each.subject,
            each.subject_state,
            each.revision,
            Wanted(each.environment, each.project, each.purpose),
            each.times,
            each.first,
            each.last,
        )
        for each in found[:MOST_GIVEN]
    ]
    return told, len(found) <= MOST_GIVEN


async def reports(tx: AsyncConnection, asked: Asked) -> tuple[Sequence[Claimed], bool]:
    """What clients say that they did with the dataset; whether that is all of it."""
    found = await _found(tx, _statement(_CLAIMED), asked, MOST_TOLD)
    return [Claimed(*each) for each in found[:MOST_TOLD]], len(found) <= MOST_TOLD


def _statement(page: str) -> TextClause:
    return text(page).bindparams(bindparam("environment", type_=TEXT))


async def _found(tx: AsyncConnection, statement: TextClause, asked: Asked, most: int) -> Sequence[Any]:
    values = {
        "dataset": asked.dataset,
        "since": asked.since,
        "until": asked.until,
        "environment": asked.environment,
        "limit": most + 1,
    }
    with needed():
        return list(await tx.execute(statement, values))
