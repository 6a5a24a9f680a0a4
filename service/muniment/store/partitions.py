"""The ledger's months: each is a table of its own, which goes whole.

A month is taken away while rows go on being written: it is detached without a lock that
writers would wait for (``DETACH … CONCURRENTLY``), and then is a table beside the ledger,
which is dropped. Each step may be interrupted; the next attempt goes on where it stood.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Place
from muniment.core.problems import CannotStart, DatabaseUnavailable
from muniment.store.ledger_order import Cluster

#: How long a step waits for others before it is tried again, how often, and after how long.
_LOCK_TIMEOUT: Final = "3s"
_ATTEMPTS: Final = 20
_PAUSE: Final = 1.0

_MONTHS: Final = text(
    """
    SELECT relname AS name, inhparent IS NOT NULL AS attached, coalesce(inhdetachpending, false) AS detaching
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid AND inhparent = 'ledger'::regclass
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname ~ '^ledger_[0-9]{4}_[0-9]{2}$'
    ORDER BY relname
    """
)


class Stands(StrEnum):
    """How far a month is on its way out of the ledger."""

    WHOLE = "whole"
    LEAVING = "leaving"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the ledger, by its table."""

    table: str
    stands: Stands

    @property
    def begin(self) -> datetime:
        """Its first moment."""
        _, year, month = self.table.split("_")
        return datetime(int(year), int(month), 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment of the next."""
        return datetime(self.begin.year + self.begin.month // 12, self.begin.month % 12 + 1, 1, tzinfo=UTC)

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.begin:%Y-%m}"


async def months(tx: AsyncConnection) -> Sequence[Month]:
    """The months that have a table, the oldest first."""
    found = await tx.execute(_MONTHS)
    return [
        Month(row.name, Stands.BESIDE if not row.attached else Stands.LEAVING if row.detaching else Stands.WHOLE)
        for row in found
    ]


async def count(tx: AsyncConnection, month: Month) -> int:
    """How many rows a month holds."""
    # The name is of the pattern that found it.
    question = text(f"SELECT count(*) FROM {month.table}")  # noqa: S608
    return int((await tx.execute(question)).scalar_one())


async def ends(tx: AsyncConnection, month: Month, clusters: Sequence[Cluster]) -> tuple[Place, Place] | None:
    """The places of a month's first row and of its last in the order of commits; None where it holds none."""
    found: list[Place] = []
    for cluster in clusters:
        values = {"low": cluster.after_seq, "high": cluster.until}
        for way in ("", " DESC"):
            # The name is of the pattern that found it. Ordered by the column, not by the text that is read of it.
            question = text(
                f"SELECT stands.xact::text AS number, seq FROM {month.table} AS stands "  # noqa: S608
                "WHERE (:low = 0 OR seq > :low) AND (CAST(:high AS bigint) IS NULL OR seq <= :high) "
                f"ORDER BY stands.xact{way}, seq{way} LIMIT 1"
            )
            placed = await tx.execute(question, values)
            found += [Place(cluster.number, int(each.number), each.seq) for each in placed]
    return (found[0], found[-1]) if found else None


class Maintenance:
    """What cannot be done in a transaction, done as the owner of the tables."""

    def __init__(self, url: str) -> None:
        """On the database at an address."""
        self._address = re.sub(r"^postgresql\+psycopg:", "postgresql:", url)

    async def remove(self, month: Month) -> None:
        """Take a month out of the ledger and drop it, wherever an attempt before has left it."""
        async with self._connection() as connection:
            await _patiently(connection, lambda: self._detached(connection, month.table))
            drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(month.table))
            await _patiently(connection, lambda: connection.execute(drop))

    async def vacuum(self, tables: Sequence[str]) -> None:
        """Let nothing stand on the pages of tables that no row holds any more."""
        async with self._connection() as connection:
            for table in tables:
                await connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))

    async def _detached(self, connection: psycopg.AsyncConnection[Any], table: str) -> None:
        stands = await connection.execute(
            "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)", [table]
        )
        found = await stands.fetchone()
        if found is None:
            return
        how = sql.SQL("FINALIZE" if found[0] else "CONCURRENTLY")
        detach = sql.SQL("ALTER TABLE ledger DETACH PARTITION {} {}").format(sql.Identifier(table), how)
        await connection.execute(detach)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._address, autocommit=True, connect_timeout=10, application_name="muniment maintenance"
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable("PostgreSQL does not answer. Nothing was changed; try again.") from error
        async with connection:
            yield connection


async def _patiently(connection: psycopg.AsyncConnection[Any], step: Any) -> None:
    """Take a step that waits for others, for a short time at once, so that nobody waits long behind it."""
    await connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
    for attempt in range(_ATTEMPTS):
        try:
            await step()
            return
        except LockNotAvailable as error:
            if attempt == _ATTEMPTS - 1:
                raise CannotStart(
                    "Transactions on the ledger have been open for so long that the month could not be taken out. End "
                    "them, or try again when there are none; the next attempt goes on from here."
                ) from error
            await asyncio.sleep(_PAUSE)
