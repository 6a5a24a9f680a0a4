"""The legal holds on the ledger, and whether they touch rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, exists, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.holds import Hold, standing
from muniment.core.ledger import Event, Outcome, Row
from muniment.store.tables import ledger


async def in_force(tx: AsyncConnection) -> Sequence[Hold]:
    """The holds that nobody has released, the oldest first."""
    columns = ledger.c
    question = (
        select(columns.id, columns.at, columns.event, columns.details)
        .where(columns.event.in_([Event.LEDGER_HELD, Event.LEDGER_RELEASED]))
        .order_by(columns.at, columns.id)
    )
    return standing(
        Row(id=row.id, at=row.at, event=Event(row.event), outcome=Outcome.DONE, details=row.details)
        for row in await tx.execute(question)
    )


async def touching(tx: AsyncConnection, holds: Sequence[Hold], begin: datetime, end: datetime) -> Sequence[Hold]:
    """Those of the holds that hold rows of a time, or that stand in rows of it themselves."""
    return [hold for hold in holds if hold.lies_in(begin, end) or await _holds_any(tx, hold, begin, end)]


async def touching_rows(
    tx: AsyncConnection, holds: Sequence[Hold], places: Sequence[tuple[datetime, UUID]]
) -> Sequence[Hold]:
    """Those of the holds that hold one of the rows, which lie beside one another in time."""
    of_time = (ledger.c.at >= places[0][0], ledger.c.at <= places[-1][0])
    ids = literal([id_ for _, id_ in places], ARRAY(Uuid))
    found = []
    for hold in holds:
        question = select(exists(select(ledger.c.id).where(*of_time, ledger.c.id == any_(ids), *_conditions(hold))))
        if (await tx.execute(question)).scalar_one():
            found.append(hold)
    return found


async def _holds_any(tx: AsyncConnection, hold: Hold, begin: datetime, end: datetime) -> bool:
    if not hold.overlaps(begin, end):
        return False
    of_time = (ledger.c.at >= begin, ledger.c.at < end)
    question = select(exists(select(ledger.c.id).where(*of_time, *_conditions(hold))))
    return bool((await tx.execute(question)).scalar_one())


def _conditions(hold: Hold) -> list[ColumnElement[bool]]:
    columns = ledger.c
    wanted: list[ColumnElement[bool]] = []
    if hold.since is not None:
        wanted.append(columns.at >= hold.since)
    if hold.until is not None:
        wanted.append(columns.at < hold.until)
    if hold.subject is not None:
        wanted.append((columns.subject == hold.subject) | (columns.details["about"].as_string() == hold.subject))
    if hold.dataset is not None:
        wanted.append(columns.datasets.contains([hold.dataset]))
    return wanted
