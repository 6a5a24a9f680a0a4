"""The ledger in the order in which its rows were committed: what is sealed, and what is sent out as it comes.

A row is given only when no transaction that began before its own can still commit, so
nothing ever appears before a place that somebody has passed (``rules.md``, 8). Neither
identities nor times are in that order. Where the ledger was dumped and restored into
another database cluster, transaction ids began again; the rows of before are all there,
and come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, DateTime, cast, func, literal, literal_column, select, tuple_
from sqlalchemy import Row as DatabaseRow
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Event, Outcome, Place, Row
from muniment.store.ledger import needed
from muniment.store.tables import TransactionId, ledger, ledger_clusters

_FIELDS: Final = tuple(field.name for field in fields(Row))

_EARLIEST: Final = literal(datetime(1, 1, 2, tzinfo=UTC), DateTime(timezone=True))
_LATEST: Final = literal(datetime(9999, 12, 30, tzinfo=UTC), DateTime(timezone=True))

#: Nothing can come before such a row any more.
_SETTLED: Final[ColumnElement[bool]] = literal_column("ledger.xact < pg_snapshot_xmin(pg_current_snapshot())", Boolean)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A database cluster that the ledger has lived in: its rows' ``seq`` lie after ``after_seq``, up to ``until``.

    ``until`` is open in the present one.
    """

    number: int
    after_seq: int
    until: int | None
    at: datetime

    def holds(self, seq: int) -> bool:
        """Whether the row with this ``seq`` was committed in it."""
        return self.after_seq < seq and (self.until is None or seq <= self.until)


def in_calendar(at: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """A moment as far as a calendar reaches: PostgreSQL knows others, which could not even be read."""
    return func.least(func.greatest(at, _EARLIEST), _LATEST)


async def note_cluster(tx: AsyncConnection) -> int:
    """The ordinal of the database cluster that this is; a new one after a restore from a dump."""
    noted: int = (await tx.execute(select(func.ledger_cluster()))).scalar_one()
    return noted


async def clusters(tx: AsyncConnection) -> Sequence[Cluster]:
    """The database clusters of this ledger, the first one first."""
    columns = ledger_clusters.c
    question = select(
        func.coalesce(columns.cluster, 0).label("cluster"),
        func.coalesce(columns.after_seq, 0).label("after_seq"),
        func.coalesce(in_calendar(columns.at), _EARLIEST).label("at"),
    ).order_by(columns.cluster)
    found = list(await tx.execute(question))
    ends = [*(each.after_seq for each in found[1:]), None]
    return [Cluster(each.cluster, each.after_seq, until, each.at) for each, until in zip(found, ends, strict=False)]


async def following(
    tx: AsyncConnection, after: Place | None, limit: int, *only: ColumnElement[bool]
) -> list[tuple[Place, Row]]:
    """The rows behind a place, as many as asked for, in the order of their commits; ``only`` some of them."""
    rows: list[tuple[Place, Row]] = []
    columns = ledger.c
    for cluster in await clusters(tx):
        if len(rows) == limit:
            break
        if after is not None and cluster.number < after.cluster:
            continue
        question = (
            select(*(columns[name] for name in _FIELDS), columns.xact, columns.seq)
            .where(*_behind(cluster, after), *only)
            .order_by(columns.xact, columns.seq, columns.id)
            .limit(limit - len(rows))
        )
        with needed():
            rows += [_read(cluster, found) for found in await tx.execute(question)]
    return rows


async def last(tx: AsyncConnection) -> Place | None:
    """The place of the last row that nothing can come before any more; None where there is no row."""
    columns = ledger.c
    for cluster in reversed(await clusters(tx)):
        question = (
            select(columns.xact, columns.seq)
            .where(*_behind(cluster, None))
            .order_by(columns.xact.desc(), columns.seq.desc())
            .limit(1)
        )
        with needed():
            found = (await tx.execute(question)).one_or_none()
        if found is not None:
            return Place(cluster.number, int(found.xact), found.seq)
    return None


async def before(tx: AsyncConnection, moment: datetime) -> Place:
    """A place behind which all rows from a moment on stand, and few others."""
    columns = ledger.c
    for cluster in await clusters(tx):
        question = (
            select(columns.xact, columns.seq)
            .where(*_behind(cluster, None), columns.at >= moment)
            .order_by(columns.xact, columns.seq)
            .limit(1)
        )
        with needed():
            found = (await tx.execute(question)).one_or_none()
        if found is not None:
            return Place(cluster.number, int(found.xact), found.seq - 1)
    return await last(tx) or Place(0, 0, 0)


def _behind(cluster: Cluster, after: Place | None) -> list[ColumnElement[bool]]:
    """The conditions on the rows of a cluster that stand behind a place."""
    columns = ledger.c
    where: list[ColumnElement[bool]] = []
    if cluster.after_seq:
        where.append(columns.seq > cluster.after_seq)
    if cluster.until is None:
        where.append(_SETTLED)
    else:
        where.append(columns.seq <= cluster.until)
    if after is not None and after.cluster == cluster.number:
        place = tuple_(cast(literal(str(after.xact)), TransactionId), literal(after.seq))
        where.append(tuple_(columns.xact, columns.seq) > place)
    return where


def _read(cluster: Cluster, found: DatabaseRow[*tuple[Any, ...]]) -> tuple[Place, Row]:
    row = dict(found._mapping)  # noqa: SLF001  its public name; the underscore keeps it apart from columns
    place = Place(cluster.number, int(row.pop("xact")), row.pop("seq"))
    row["event"] = Event(row["event"])
    row["outcome"] = Outcome(row["outcome"])
    row["datasets"] = tuple(row["datasets"])
    row["policies"] = tuple(row["policies"])
    return place, Row(**row)
