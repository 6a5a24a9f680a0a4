"""Who decides in whose place: one row for each approver, replaced when another deputy is named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert

from muniment.core.deputies import Deputyship
from muniment.core.subjects import Subject
from muniment.store.databases import Transaction
from muniment.store.tables import deputies


async def put(tx: Transaction, named: Deputyship) -> None:
    """From now on this is who decides in the principal's place."""
    values = {
        "deputy": str(named.deputy),
        "at": named.at,
        "until": named.until,
        "because": named.because,
    }
    statement = insert(deputies).values(principal=str(named.principal), **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=[deputies.c.principal], set_=values))


async def end(tx: Transaction, principal: Subject) -> Deputyship | None:
    """Nobody decides in the principal's place any more; gives who did."""
    gone = deputies.delete().where(deputies.c.principal == str(principal)).returning(deputies)
    row = (await tx.execute(gone)).one_or_none()
    return _read(row) if row is not None else None


async def of(tx: Transaction, principal: Subject, at: datetime) -> Deputyship | None:
    """Who decides in a principal's place at a moment."""
    question = select(deputies).where(deputies.c.principal == str(principal), deputies.c.until > at)
    row = (await tx.execute(question)).one_or_none()
    return _read(row) if row is not None else None


async def standing_for(tx: Transaction, deputy: Subject, at: datetime) -> Sequence[Deputyship]:
    """In whose place somebody decides at a moment, by name."""
    question = select(deputies).where(deputies.c.deputy == str(deputy), deputies.c.until > at)
    return [_read(row) for row in await tx.execute(question.order_by(deputies.c.principal))]


async def standing(tx: Transaction, at: datetime) -> Sequence[Deputyship]:
    """Who decides in anybody's place at a moment, by the principals' names."""
    question = select(deputies).where(deputies.c.until > at).order_by(deputies.c.principal)
    return [_read(row) for row in await tx.execute(question)]


def _read(row: Row[Any]) -> Deputyship:
    return Deputyship(Subject.parse(row.principal), Subject.parse(row.deputy), row.at, row.until, row.because)
