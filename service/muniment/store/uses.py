"""Which reports of use were taken already, by the ids that their subjects gave them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Text, Uuid, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from muniment.core.subjects import Subject
from muniment.store.databases import Transaction
from muniment.store.tables import use_reports


async def take(tx: Transaction, subject: Subject, ids: Collection[UUID], at: datetime) -> frozenset[UUID]:
    """Take the reports of a subject that were not taken before; gives their ids.

    Whoever takes the same elsewhere waits for the end of this transaction. The order of ids keeps two who take the
    same ones from waiting for each other.
    """
    asked = func.unnest(literal(sorted(ids), ARRAY(Uuid)))
    told = select(literal(str(subject), Text), asked, literal(at, DateTime(timezone=True)))
    columns = use_reports.c
    taking = (
        insert(use_reports)
        .from_select([columns.subject, columns.id, columns.at], told)
        .on_conflict_do_nothing()
        .returning(columns.id)
    )
    return frozenset((await tx.execute(taking)).scalars())
