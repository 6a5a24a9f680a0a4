"""Failed sign-ins, counted by minute, address and reason, and told to the ledger.

Whoever is not signed in may knock as often as they like: what they cause is a number,
kept in memory and written every few seconds. One process writes at most
:data:`MOST_A_MINUTE` addresses for a minute, and no count is kept longer than :data:`KEPT`.

Some time after a minute has ended, what all processes counted of it becomes rows of the
ledger, one for each address. How much of a count is told stands beside it and moves in
the same transaction, so each failure is told once, whoever tells it and whenever.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row as DatabaseRow
from sqlalchemy import delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.addresses import ELSEWHERE, owner_of
from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.problems import DatabaseUnavailable, Problem
from muniment.store import ledger
from muniment.store.databases import Database
from muniment.store.tables import refused_signins

logger = logging.getLogger(__name__)

#: How many addresses and reasons of one minute are told apart; the rest is counted together, as from elsewhere.
MOST_A_MINUTE: Final = 64
KEPT: Final = timedelta(days=90)

#: How often finished minutes are told to the ledger.
_TELL_SECONDS: Final = 60.0

#: A minute is finished when another one has passed: every process that lives has written its counts by then.
_FINISHED: Final = text("SELECT date_trunc('minute', now()) - interval '1 minute'")

#: How many minutes are held while Postgres is away; older ones are let go.
_MOST_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class RefusedSignins:
    """How often sign-in from an address failed for one reason in one minute."""

    minute: datetime
    address: str
    reason: str
    count: int


class Refusals:
    """Counts in memory; a task that writes them every ``seconds``, and one that tells what is finished."""

    def __init__(self, db: Database, *, seconds: float = 5) -> None:
        self._db = db
        self._seconds = seconds
        self._counts: dict[datetime, Counter[tuple[str, str]]] = {}
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        self._tasks = (
            asyncio.create_task(self._write_on(), name="refusals"),
            asyncio.create_task(self._tell_on(), name="refusals told"),
        )

    async def stop(self) -> None:
        """Write what is counted; what is not told yet is told after the next start."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.flush()

    def note(self, address: str, reason: str, at: datetime) -> None:
        """Count one failed sign-in; ``reason`` is one of few, never what the caller sent."""
        counts = self._of_minute(at.astimezone(UTC).replace(second=0, microsecond=0))
        key = (owner_of(address), reason)
        if key not in counts and len(counts) >= MOST_A_MINUTE:
            key = (ELSEWHERE, reason)
        counts[key] += 1

    async def flush(self) -> None:
        """Write what is counted; kept for the next time when Postgres is away."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            async with self._db.begin() as tx:
                await _add(tx, counts)
        except DatabaseUnavailable as error:
            logger.warning("refused sign-ins could not be written: %s", error.__cause__)
            for minute, counted in counts.items():
                self._of_minute(minute).update(counted)

    def _of_minute(self, minute: datetime) -> Counter[tuple[str, str]]:
        if minute not in self._counts and len(self._counts) >= _MOST_MINUTES:
            del self._counts[min(self._counts)]
        return self._counts.setdefault(minute, Counter())

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def _tell_on(self) -> None:
        while True:
            try:
                await self._tell_finished()
            except Problem as problem:
                logger.warning("refused sign-ins could not be told to the ledger: %s", problem.detail)
            await asyncio.sleep(_TELL_SECONDS)

    async def _tell_finished(self) -> None:
        """A transaction for each minute, so that none is long whatever waits."""
        told = 1
        while told:
            async with self._db.begin() as tx:
                before: datetime = (await tx.execute(_FINISHED)).scalar_one()
                told = await tell(tx, before)


async def tell(tx: AsyncConnection, before: datetime) -> int:
    """Tell the ledger of the oldest minute before a moment of which something is untold; gives how many rows that made.

    Two who tell at once follow each other, and the second finds nothing left.
    """
    columns = refused_signins.c
    untold = columns.told < columns["count"]
    oldest = select(func.min(columns.minute)).where(untold, columns.minute < before).scalar_subquery()
    claimed = (
        select(refused_signins)
        .where(untold, columns.minute == oldest)
        .order_by(columns.address, columns.reason)
        .with_for_update()
    )
    counted = list(await tx.execute(claimed))
    if not counted:
        return 0
    rows = list(_rows_of(counted))
    await ledger.append(tx, rows)
    told = tuple_(columns.address, columns.reason).in_([(row.address, row.reason) for row in counted])
    await tx.execute(
        update(refused_signins).where(columns.minute == counted[0].minute, told).values(told=columns["count"])
    )
    return len(rows)


async def latest(tx: AsyncConnection, *, since: datetime, limit: int = 100) -> list[RefusedSignins]:
    """The counts from a moment on, newest first."""
    columns = refused_signins.c
    question = (
        select(columns.minute, columns.address, columns.reason, columns["count"])
        .where(columns.minute >= since)
        .order_by(columns.minute.desc(), columns.address, columns.reason)
        .limit(limit)
    )
    return [RefusedSignins(*row) for row in await tx.execute(question)]


async def _add(tx: AsyncConnection, counts: Mapping[datetime, Counter[tuple[str, str]]]) -> None:
    added = insert(refused_signins)
    await tx.execute(
        added.on_conflict_do_update(
            constraint=refused_signins.primary_key,
            set_={"count": refused_signins.c.count + added.excluded.count},
        ),
        [
            {"minute": minute, "address": address, "reason": reason, "count": count}
            for minute in sorted(counts)
            for (address, reason), count in sorted(counts[minute].items())
        ],
    )
    await tx.execute(delete(refused_signins).where(refused_signins.c.minute < max(counts) - KEPT))


def _rows_of(counted: Sequence[DatabaseRow[Any]]) -> Iterator[Row]:
    """The ledger's rows of one minute: of each address, or of all those beyond the most together."""
    addresses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in counted:
        addresses[row.address][row.reason] += row.count - row.told
    _gather_beyond_the_most(addresses)
    minute: datetime = counted[0].minute
    # Told again, a minute has counted further somewhere.
    stand = ";".join(f"{row.address} {row.reason} {row.count}" for row in counted)
    for address, reasons in sorted(addresses.items()):
        yield Row(
            id=derived(_beginning(minute), f"{address} of {stand}"),
            at=minute,
            event=Event.SIGN_IN_REFUSED,
            outcome=Outcome.DENIED,
            address=address,
            details={"refused": reasons.total(), "reasons": dict(sorted(reasons.items())), "seconds": 60},
        )


def _gather_beyond_the_most(addresses: defaultdict[str, Counter[str]]) -> None:
    loudest = sorted(addresses, key=lambda address: (-addresses[address].total(), address))
    for address in loudest[MOST_A_MINUTE:]:
        if address != ELSEWHERE:
            addresses[ELSEWHERE].update(addresses.pop(address))


def _beginning(minute: datetime) -> UUID:
    """The first identifier of a minute (RFC 9562, 5.7), from which those of its rows are derived."""
    return UUID(int=int(minute.timestamp() * 1000) << 80)
