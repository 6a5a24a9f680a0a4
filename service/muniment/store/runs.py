"""The runs that the ledger recorded: what they asked to load and save, and which names projects use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Text, false, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.decisions import Wanted
from muniment.core.ledger import Event
from muniment.core.runs import Run, UsedIn
from muniment.core.subjects import SubjectState
from muniment.store import subjects
from muniment.store.tables import ledger

#: How many rows of each kind are read, the newest first.
MOST_ROWS: Final = 20_000

_NOTHING: Final[ColumnElement[Any]] = literal_column("'[]'::jsonb")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The runs since a moment; not ``complete`` when there were more than are read, and the oldest were left out."""

    runs: Sequence[Run]
    complete: bool


async def since(tx: AsyncConnection, moment: datetime, *, most: int = MOST_ROWS) -> Recorded:
    """The runs that were recorded since a moment, equal ones together."""
    found: list[Row[Any]] = []
    complete = True
    for question in (_preflights(moment, most), _named_leases(moment, most)):
        rows = list(await tx.execute(question))
        complete &= sum(row.times for row in rows) < most
        found.extend(rows)
    states = await subjects.of_digests(tx, {row.subject_state for row in found})
    runs = [_run(states[row.subject_state], row) for row in found if row.subject_state in states]
    return Recorded(runs, complete)


@dataclass(frozen=True, slots=True)
class Used:
    """Who used a dataset since a moment; not ``complete`` when there were more rows than are read."""

    uses: Sequence[UsedIn]
    complete: bool


async def using(
    tx: AsyncConnection, dataset: str, moment: datetime, *, made: str | None = None, most: int = MOST_ROWS
) -> Used:
    """Which projects used a dataset since a moment, by environment.

    Where it is a factory pattern, ``made`` is an expression that the names which it makes match.
    """
    each = func.unnest(ledger.c.datasets).column_valued("name")
    name: ColumnElement[str] = literal(dataset, Text).label("name") if made is None else each
    columns = ledger.c
    read = (
        select(columns.subject, columns.environment, columns.project, columns.event, columns.at, name)
        .where(
            columns.at >= moment,
            columns.event.in_([Event.LEASE_SERVED, Event.PREFLIGHT_ALLOWED, Event.USE_REPORTED]),
            columns.datasets.contains([dataset]) if made is None else each.op("~")(made),
            # What was asked for by name and not given is not used; nor is what a client says of a lease nobody knows.
            ~func.coalesce(columns.details["withheld"].has_key(name), false()),
            (columns.event != Event.USE_REPORTED) | columns.receipt.is_not(None),
        )
        .order_by(columns.at.desc(), columns.id.desc())
        .limit(most)
        .subquery()
    )
    alike = [read.c.name, read.c.project, read.c.environment, read.c.event]
    subjects_ = func.array_agg(read.c.subject.distinct()).label("subjects")
    question: Select[Any] = select(*alike, subjects_, func.max(read.c.at).label("last"), func.count().label("times"))
    rows = list(await tx.execute(question.group_by(*alike)))
    return Used([_use(row) for row in rows], sum(row.times for row in rows) < most)


def _use(row: Row[Any]) -> UsedIn:
    return UsedIn(
        dataset=row.name,
        project=row.project,
        environment=row.environment,
        subjects=frozenset(row.subjects),
        leased=row.last if row.event == Event.LEASE_SERVED else None,
        checked=row.last if row.event == Event.PREFLIGHT_ALLOWED else None,
        used=row.last if row.event == Event.USE_REPORTED else None,
    )


def _preflights(moment: datetime, most: int) -> Select[Any]:
    details = ledger.c.details
    return _newest(
        moment,
        most,
        [
            details["load"].label("load"),
            details["save"].label("save"),
            details["refused"].label("refused"),
            _NOTHING.label("used"),
        ],
        [
            ledger.c.event.in_([Event.PREFLIGHT_ALLOWED, Event.ACCESS_DENIED]),
            details.has_key("load"),
            details.has_key("save"),
        ],
    )


def _named_leases(moment: datetime, most: int) -> Select[Any]:
    return _newest(
        moment,
        most,
        [
            _NOTHING.label("load"),
            _NOTHING.label("save"),
            _NOTHING.label("refused"),
            func.to_jsonb(ledger.c.datasets).label("used"),
        ],
        [ledger.c.event == Event.LEASE_SERVED, func.cardinality(ledger.c.datasets) > 0],
    )


def _newest(
    moment: datetime, most: int, told: Sequence[ColumnElement[Any]], where: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """The newest rows of a kind, equal ones counted together."""
    read = (
        select(ledger.c.subject_state, ledger.c.environment, ledger.c.project, ledger.c.purpose, ledger.c.at, *told)
        .where(ledger.c.at >= moment, *where)
        .order_by(ledger.c.at.desc(), ledger.c.id.desc())
        .limit(most)
        .subquery()
    )
    alike = [column for column in read.c if column.name != "at"]
    last = func.max(read.c.at).label("last")
    return select(*alike, last, func.count().label("times")).group_by(*alike).order_by(last.desc())


def _run(state: SubjectState, row: Row[Any]) -> Run:
    refused = frozenset(row.refused or ())
    return Run(
        state=state,
        wanted=Wanted(row.environment, row.project, row.purpose),
        load=frozenset(name for name in row.load if f"load {name}" not in refused),
        save=frozenset(name for name in row.save if f"save {name}" not in refused),
        used=frozenset(row.used),
        at=row.last,
        times=row.times,
    )
