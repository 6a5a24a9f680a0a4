"""What reports of use tell of which datasets were loaded and saved by the same node of the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from muniment.core.lineages import Passage, Side
from muniment.core.schema import Action
from muniment.store.databases import Transaction
from muniment.store.ledger import needed

#: How many uses of the dataset are looked beside, the newest, and how many kinds of passages are told.
_MOST_USES: Final = 1_000
_MOST_PASSAGES: Final = 5_000
#: How many uses of each dataset are looked at, the newest, on the steps after the first.
_MOST_FURTHER: Final = 500

#: Of one subject a run has one name; two who name theirs alike are two runs. Each is looked up by the index of runs and
#: no other, whatever the planner thinks of that (``OFFSET 0``): to read more of three months takes ten times as long.
_BESIDE: Final = """
    SELECT other.datasets[1] AS dataset, mine.name AS beside, mine.action, mine.project, mine.node, mine.environment,
      mine.subject, {runs} AS runs, max(mine.at) AS last
    FROM mine CROSS JOIN LATERAL (
      SELECT datasets, event, subject, project, receipt, details FROM ledger
      WHERE run = mine.run AND at >= :since OFFSET 0
    ) AS other
    WHERE other.event = 'use.reported' AND other.subject = mine.subject AND other.receipt IS NOT NULL
      AND other.details ->> 'action' <> mine.action AND other.details ->> 'node' IS NOT DISTINCT FROM mine.node
      AND other.project IS NOT DISTINCT FROM mine.project
    GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY last DESC, 1, 2 LIMIT :passages
"""
#: All of its uses are found before the newest are taken: few are of one dataset, and the newest of all are of any.
_PASSAGES: Final = """
    WITH used AS MATERIALIZED (
      SELECT id, at, run, subject, project, environment, details
      FROM ledger
      WHERE event = 'use.reported' AND at >= :since AND receipt IS NOT NULL AND run IS NOT NULL AND {named}
    ), mine AS MATERIALIZED (
      SELECT CAST(:beside AS text) AS name, at, run, subject, project, environment, details ->> 'node' AS node,
        details ->> 'action' AS action
      FROM used ORDER BY at DESC, id DESC LIMIT :uses
    )
""" + _BESIDE.format(runs="count(DISTINCT mine.run)")  # noqa: S608 - our own words
_OF_ONE: Final = text(_PASSAGES.format(named="datasets @> ARRAY[CAST(:name AS text)]"))
_OF_MADE: Final = text(_PASSAGES.format(named="datasets[1] ~ CAST(:name AS text)"))

#: Of each subject and place the newest run alone is looked beside: it tells what that node reads and writes now.
_FURTHER: Final = """
    WITH mine AS MATERIALIZED (
      SELECT asked.name, asked.action, newest.*
      FROM unnest(CAST(:names AS text[]), CAST(:actions AS text[])) AS asked (name, action)
      CROSS JOIN LATERAL (
        SELECT subject, project, environment, node, (array_agg(run ORDER BY at DESC))[1] AS run,
          count(DISTINCT run) AS runs, max(at) AS at
        FROM (
          SELECT at, run, subject, project, environment, details ->> 'node' AS node
          FROM ledger
          WHERE event = 'use.reported' AND at >= :since AND receipt IS NOT NULL AND run IS NOT NULL
            AND datasets @> ARRAY[asked.name] AND details ->> 'action' = asked.action
          ORDER BY at DESC, id DESC LIMIT :uses
        ) AS uses
        GROUP BY 1, 2, 3, 4
      ) AS newest
    )
""" + _BESIDE.format(runs="max(mine.runs)")  # noqa: S608 - our own words


async def passages(tx: Transaction, dataset: str, since: datetime, *, made: str | None = None) -> list[Passage]:
    """How data came to a dataset and went from it since a moment, by subject.

    Where it is a factory pattern, ``made`` is an expression that the names which it makes match.
    """
    asked = {
        "name": made or dataset,
        "beside": dataset,
        "since": since,
        "uses": _MOST_USES,
        "passages": _MOST_PASSAGES,
    }
    with needed():
        return _read(await tx.execute(_OF_MADE if made else _OF_ONE, asked))


async def further(tx: Transaction, following: Mapping[Side, Sequence[str]], since: datetime) -> list[Passage]:
    """How data came to the datasets upstream, and how it went from those downstream, since a moment, by subject.

    Each node is told of as its newest run was; ``runs`` counts those of the node that are looked at.
    """
    asked = [
        (name, Action.SAVE if side is Side.UPSTREAM else Action.LOAD) for side in following for name in following[side]
    ]
    if not asked:
        return []
    names, actions = zip(*asked, strict=True)
    values = {
        "names": list(names),
        "actions": [action.value for action in actions],
        "since": since,
        "uses": _MOST_FURTHER,
        "passages": _MOST_PASSAGES,
    }
    with needed():
        return _read(await tx.execute(text(_FURTHER), values))


def _read(found: Iterable[Any]) -> list[Passage]:
    return [
        Passage(
            dataset=row.dataset,
            beside=row.beside,
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
