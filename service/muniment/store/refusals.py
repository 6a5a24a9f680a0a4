"""Failed sign-ins, counted by minute, address and reason.

Whoever is not signed in may knock as often as they like: what they cause is a number,
kept in memory and written every few seconds. One process writes at most
:data:`MOST_A_MINUTE` rows for a minute, and none is kept longer than :data:`KEPT`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.problems import DatabaseUnavailable
from muniment.store.databases import Database
from muniment.store.tables import refused_signins

logger = logging.getLogger(__name__)

#: How many addresses and reasons of one minute are told apart; the rest is counted together.
MOST_A_MINUTE: Final = 64
KEPT: Final = timedelta(days=90)

#: The address of those that are counted together.
ELSEWHERE: Final = "elsewhere"

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
    """Counts in memory, and a task that writes them every ``seconds``."""

    def __init__(self, db: Database, *, seconds: float = 5) -> None:
        self._db = db
        self._seconds = seconds
        self._counts: dict[datetime, Counter[tuple[str, str]]] = {}
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._write_on(), name="refusals")

    async def stop(self) -> None:
        """Write what is counted."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self.flush()

    def note(self, address: str, reason: str, at: datetime) -> None:
        """Count one failed sign-in; ``reason`` is one of few, never what the caller sent."""
        counts = self._of_minute(at.astimezone(UTC).replace(second=0, microsecond=0))
        key = (_network(address), reason)
        if key not in counts and len(counts) >= MOST_A_MINUTE:
            key = (ELSEWHERE, "")
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


async def latest(tx: AsyncConnection, *, since: datetime, limit: int = 100) -> list[RefusedSignins]:
    """The counts from a moment on, newest first."""
    columns = refused_signins.c
    question = (
        select(refused_signins)
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


def _network(address: str) -> str:
    """Who an address belongs to: everybody on IPv6 has a whole /64."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return ELSEWHERE
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    return str(known.ipv4_mapped or ipaddress.IPv6Network((int(known), 64), strict=False))
