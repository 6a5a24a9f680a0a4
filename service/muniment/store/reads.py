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
from muniment.core.reads import MOST_GIVEN, MOST_SPANS, MOST_TOLD, Alike, Claimed, Lent
from muniment.store.ledger import needed

_SETTLED: Final = "xact < pg_snapshot_xmin(pg_current_snapshot())"
_IN_TIME: Final = f"""
    at >= :since AND at < :until AND {_SETTLED} AND (CAST(:environment AS text) IS NULL OR environment = :environment)
"""

#: A lease of names that are others gave nothing of the dataset; one of a whole catalog may have.
_MAY_HAVE: Final = f"""
    FROM ledger
    WHERE event = 'lease.served' AND {_IN_TIME} AND revision IS NOT NULL AND environment IS NOT NULL
      AND (datasets @> ARRAY[CAST(:dataset AS text)] OR cardinality(datasets) = 0 AND NOT details ? 'named')
"""
_REVISIONS: Final = f"SELECT min(revision) AS first, max(revision) AS last {_MAY_HAVE}"

#: ``span`` is which of the revisions that matter was the last before it: between two of them all leases are one.
_GIVEN: Final = f"""
    WITH given AS (
      SELECT subject, subject_state, max(revision) AS revision, environment, project, purpose, count(*) AS times,
        min(at) AS first, max(at) AS last, width_bucket(revision, CAST(:mattering AS bigint[])) AS span
      {_MAY_HAVE}
      GROUP BY subject, subject_state, span, environment, project, purpose
    ), placed AS (
      SELECT *, row_number() OVER place AS place, dense_rank() OVER (ORDER BY span DESC) AS turn FROM given
      WINDOW place AS (
        ORDER BY span DESC, last DESC, subject COLLATE "C", subject_state, environment, project, purpose
      )
    ), looked AS (SELECT *, place <= :limit AND turn <= :spans AS at_it FROM placed)
    SELECT *, sum(times) FILTER (WHERE NOT at_it) OVER () AS left,
      max(last) FILTER (WHERE NOT at_it) OVER () AS left_until
    FROM looked ORDER BY place LIMIT :limit
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


async def lent_by(tx: AsyncConnection, asked: Asked) -> tuple[int, int] | None:
    """The first and the last revision by which leases were given that may have given the dataset, if any were."""
    (found,) = await _found(tx, _statement(_REVISIONS), asked)
    return None if found.first is None else (found.first, found.last)


async def leases(tx: AsyncConnection, asked: Asked, mattering: Sequence[int]) -> Lent:
    """The leases that may have given the dataset, those alike together, the last ones.

    ``mattering`` are the revisions that changed something that matters to it, in their order: leases by revisions with
    none of them in between are alike. Those of the oldest of these spans are left out where it is too many.
    """
    bounds = {"limit": MOST_GIVEN, "spans": MOST_SPANS, "mattering": list(mattering)}
    found = await _found(tx, _statement(_GIVEN), asked, **bounds)
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
        for each in found
        if each.at_it
    ]
    return Lent(told, int(found[0].left or 0), found[0].left_until) if found else Lent(told)


async def reports(tx: AsyncConnection, asked: Asked) -> tuple[Sequence[Claimed], bool]:
    """What clients say that they did with the dataset; whether that is all of it."""
    found = await _found(tx, _statement(_CLAIMED), asked, limit=MOST_TOLD + 1)
    return [Claimed(*each) for each in found[:MOST_TOLD]], len(found) <= MOST_TOLD


def _statement(page: str) -> TextClause:
    return text(page).bindparams(bindparam("environment", type_=TEXT))


async def _found(tx: AsyncConnection, statement: TextClause, asked: Asked, **bounds: object) -> Sequence[Any]:
    values = {"dataset": asked.dataset, "since": asked.since, "until": asked.until, "environment": asked.environment}
    with needed():
        return list(await tx.execute(statement, values | bounds))
