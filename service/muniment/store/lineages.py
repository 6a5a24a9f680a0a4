"""What reports of use tell of which datasets were loaded and saved by the same node of the same run."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text

from muniment.core.lineages import Passage, Side
from muniment.core.schema import Action
from muniment.store.databases import Transaction
from muniment.store.ledger import needed

#: How many uses of the dataset are looked beside, the newest, and how many kinds of passages are told.
_MOST_USES: Final = 5_000
_MOST_PASSAGES: Final = 5_000

#: Of one subject a run has one name; two who name theirs alike are two runs.
_PASSAGES: Final = """
    WITH mine AS (
      SELECT at, run, subject, project, environment, details ->> 'node' AS node, details ->> 'action' AS action
      FROM ledger
      WHERE event = 'use.reported' AND at >= :since AND receipt IS NOT NULL AND run IS NOT NULL AND {named}
      ORDER BY at DESC, id DESC LIMIT :uses
    )
    SELECT other.datasets[1] AS dataset, mine.action, mine.project, mine.node, mine.environment,
      mine.subject, count(DISTINCT mine.run) AS runs, max(mine.at) AS last
    FROM mine JOIN ledger AS other ON other.run = mine.run AND other.subject = mine.subject
    WHERE other.event = 'use.reported' AND other.at >= :since AND other.receipt IS NOT NULL
      AND other.details ->> 'action' <> mine.action AND other.details ->> 'node' IS NOT DISTINCT FROM mine.node
      AND other.project IS NOT DISTINCT FROM mine.project
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY last DESC, 1 LIMIT :passages
"""
_OF_ONE: Final = text(_PASSAGES.format(named="datasets @> ARRAY[CAST(:name AS text)]"))
_OF_MADE: Final = text(_PASSAGES.format(named="datasets[1] ~ CAST(:name AS text)"))


async def passages(tx: Transaction, dataset: str, since: datetime, *, made: str | None = None) -> list[Passage]:
    """How data came to a dataset and went from it since a moment, by subject.

    Where it is a factory pattern, ``made`` is an expression that the names which it makes match.
    """
    asked = {"name": made or dataset, "since": since, "uses": _MOST_USES, "passages": _MOST_PASSAGES}
    with needed():
        found = await tx.execute(_OF_MADE if made else _OF_ONE, asked)
    return [
        Passage(
            dataset=row.dataset,
            side=Side.UPSTREAM if row.action == Action.SAVE else Side.DOWNSTREAM,
            project=row.project,
            node=row.node,
            environment=row.environment,
            subjects=frozenset({row.subject}),
            runs=row.runs,
            last=row.last,
        )
        for row in found
    ]
