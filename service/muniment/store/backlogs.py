"""What waits to be done behind the requests, for those who watch over the service: each found by an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, FromClause, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Place
from muniment.store import ledger_order
from muniment.store.tables import ledger_seals, ledger_witnesses, notice_sendings, webhook_deliveries, webhooks

_NONE: Final = timedelta()


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far the ledger is sealed: rows under the newest seal, and the age of the oldest that could be and is not."""

    rows: int
    behind: timedelta = _NONE


@dataclass(frozen=True, slots=True)
class Witnessed:
    """How far the witnesses are: seals that the last of them has not been told of, and how many cannot be told."""

    behind: int
    failing: int


@dataclass(frozen=True, slots=True)
class Queue:
    """How many wait to be sent, and for how long the oldest has waited."""

    waiting: int
    oldest: timedelta = _NONE


async def sealed(tx: AsyncConnection, at: datetime) -> Sealed:
    """How far the ledger is sealed."""
    seals = ledger_seals.c
    newest = select(seals.size, seals.cluster, seals.xact, seals.seq).order_by(seals.number.desc()).limit(1)
    seal = (await tx.execute(newest)).one_or_none()
    place = None if seal is None else Place(seal.cluster, int(seal.xact), seal.seq)
    following = await ledger_order.following(tx, place, 1)
    behind = max((max(_NONE, at - row.at) for _, row in following), default=_NONE)
    return Sealed(0 if seal is None else seal.size, behind)


async def witnessed(tx: AsyncConnection) -> Witnessed:
    """How far the witnesses are."""
    newest = select(func.coalesce(func.max(ledger_seals.c.number), 0)).scalar_subquery()
    witnesses = ledger_witnesses.c
    question = select(
        func.coalesce(newest - func.min(witnesses.number), 0).label("behind"),
        func.count(witnesses.fault).label("failing"),
    )
    found = (await tx.execute(question)).one()
    return Witnessed(max(0, found.behind), found.failing)


async def notices(tx: AsyncConnection, at: datetime) -> Queue:
    """The notices that wait to be sent, and whose time has come."""
    sendings = notice_sendings.c
    return await _queue(tx, notice_sendings, sendings.due, at, sendings.state == "waiting", sendings.due <= at)


async def deliveries(tx: AsyncConnection, at: datetime) -> Queue:
    """The rows that a webhook did not take yet, and that are sent to it again."""
    columns = webhook_deliveries.c
    return await _queue(tx, webhook_deliveries, columns.first_at, at, columns.state == "waiting")


async def webhooks_stopped(tx: AsyncConnection) -> int:
    """How many webhooks are sent nothing any more, because too much was refused."""
    return (await tx.execute(select(func.count(webhooks.c.stopped)))).scalar_one()


async def _queue(
    tx: AsyncConnection, table: FromClause, since: ColumnElement[datetime], at: datetime, *only: ColumnElement[bool]
) -> Queue:
    question = select(func.count().label("waiting"), func.min(since).label("oldest")).select_from(table).where(*only)
    found = (await tx.execute(question)).one()
    return Queue(found.waiting, _NONE if found.oldest is None else max(_NONE, at - found.oldest))
