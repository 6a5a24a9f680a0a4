"""Which reports of use were taken already, by the ids that their subjects gave them; and what they tell by day."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Date, DateTime, Text, Uuid, cast, func, literal, select, true
from sqlalchemy.dialects.postgresql import insert

from muniment.core.ledger import Event
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.uses import DayOfUse
from muniment.store.databases import Transaction
from muniment.store.ledger import needed
from muniment.store.tables import ledger, use_reports


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


async def by_day(
    tx: Transaction, dataset: str, since: datetime, *, subject: str | None = None, made: str | None = None
) -> list[DayOfUse]:
    """How a dataset was used a day since a moment, by everybody or by one; days without use are left out.

    Told are the reports under a lease that their subject was given. Where the dataset is a factory pattern, ``made`` is
    an expression that the names which it makes match.
    """
    columns = ledger.c
    day = cast(func.timezone("UTC", columns.at), Date).label("day")
    action = columns.details["action"].astext
    named = columns.datasets.contains([dataset]) if made is None else columns.datasets[1].op("~")(made)
    question = (
        select(
            day,
            func.count().filter(action == Action.LOAD.value).label("loads"),
            func.count().filter(action == Action.SAVE.value).label("saves"),
            func.count(columns.subject.distinct()).label("subjects"),
        )
        .where(
            columns.event == Event.USE_REPORTED,
            columns.at >= since,
            columns.receipt.is_not(None),
            named,
            *([] if subject is None else [columns.subject == subject]),
        )
        .group_by(day)
        .order_by(day)
    )
    with needed():
        return [DayOfUse(row.day, row.loads, row.saves, row.subjects) for row in await tx.execute(question)]


async def last_saved(
    tx: Transaction, dataset: str, environments: Collection[str], since: datetime
) -> Mapping[str, datetime]:
    """When somebody last saved a dataset in each of these environments since a moment, by their own report.

    Told are the reports under a lease, as in :func:`by_day`.
    """
    columns = ledger.c
    asked = func.unnest(literal(sorted(environments), ARRAY(Text))).column_valued("asked")
    newest = (
        select(columns.at)
        .where(
            columns.event == Event.USE_REPORTED,
            columns.at >= since,
            columns.receipt.is_not(None),
            columns.datasets.contains([dataset]),
            columns.details["action"].astext == Action.SAVE.value,
            columns.environment == asked,
        )
        .order_by(columns.at.desc())
        .limit(1)
        .lateral()
    )
    with needed():
        found = await tx.execute(select(asked.label("environment"), newest.c.at).join(newest, true()))
        return {row.environment: row.at for row in found}
