"""The end of the ledger as one process sees it, for all in it who follow the ledger as it grows.

Writers tell nobody of a row: that would cost every request. So one task looks for new rows,
a few times a second, for as long as anybody follows, and keeps the last of them; whoever is
behind those reads pages of their own. Rows come in the order of commits
(:mod:`muniment.store.ledger_order`).
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import select

from muniment.core.ledger import Place, Row
from muniment.core.problems import Problem
from muniment.store import ledger_order
from muniment.store.databases import Database, Transaction
from muniment.store.present import Now
from muniment.store.tables import realm_counter

logger = logging.getLogger(__name__)

#: Where a ledger begins: before the first row of the first database cluster.
BEGINNING: Final = Place(0, 0, 0)

_PAGE: Final = 256
#: So many of the last rows are kept, and at times twice as many.
_MOST_KEPT: Final = 512
_AFTER_A_FAULT_SECONDS: Final = 1.0


class Tail:
    """Looks for new rows every ``seconds`` while somebody follows."""

    def __init__(self, db: Database, *, seconds: float = 0.25) -> None:
        self._db = db
        self._seconds = seconds
        self._followers = 0
        self._looking: asyncio.Task[None] | None = None
        self._kept: list[tuple[Place, Row]] = []
        self._before: Place | None = None
        self._last: Place | None = None
        self._now: Now | None = None
        self._news = asyncio.Event()

    @property
    def followers(self) -> int:
        """How many follow now."""
        return self._followers

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Somebody follows until the block ends."""
        self._followers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="tail of the ledger")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                await self._stop()

    async def end(self) -> Place:
        """The place behind which all that is written from now on will stand."""
        async with self._db.begin() as tx:
            return await ledger_order.last(tx) or BEGINNING

    async def after(self, place: Place, limit: int) -> list[tuple[Place, Row]]:
        """The rows behind a place, as many as asked for: of the last ones, what this process has seen of them."""
        if self._before is not None and self._before <= place:
            first = bisect_right(self._kept, place, key=lambda each: each[0])
            return self._kept[first : first + limit]
        async with self._db.begin() as tx:
            return await ledger_order.following(tx, place, limit)

    async def news(self, place: Place, known: Now | None, seconds: float) -> None:
        """Wait until a row stands behind a place, or it is another revision or roster; at most some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._last is not None and self._last > place) and self._now in {None, known}:
                    await self._news.wait()

    async def _stop(self) -> None:
        looking, self._looking = self._looking, None
        self._kept.clear()
        self._before = self._last = self._now = None
        if looking is not None:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look_on(self) -> None:
        reachable = True
        while True:
            try:
                found = await self._look()
                reachable = True
            except Problem as problem:
                found = 0
                if reachable:
                    logger.warning("the ledger could not be followed: %s", problem.detail)
                reachable = False
                await asyncio.sleep(_AFTER_A_FAULT_SECONDS)
            except Exception:
                # A fault of ours: those who follow wait, and the next look may find more.
                found = 0
                logger.exception("the ledger could not be followed")
                await asyncio.sleep(_AFTER_A_FAULT_SECONDS)
            if found < _PAGE:
                await asyncio.sleep(self._seconds)

    async def _look(self) -> int:
        """See what is new; gives how many rows that are."""
        async with self._db.begin() as tx:
            if self._before is None:
                self._before = self._last = await ledger_order.last(tx) or BEGINNING
            rows = await ledger_order.following(tx, self._last, _PAGE)
            now = await _present(tx)
        self._keep(rows)
        if rows or now != self._now:
            self._now = now
            news, self._news = self._news, asyncio.Event()
            news.set()
        return len(rows)

    def _keep(self, rows: list[tuple[Place, Row]]) -> None:
        if not rows:
            return
        self._kept += rows
        self._last = rows[-1][0]
        if len(self._kept) > 2 * _MOST_KEPT:
            surplus = len(self._kept) - _MOST_KEPT
            self._before = self._kept[surplus - 1][0]
            del self._kept[:surplus]


async def _present(tx: Transaction) -> Now:
    found = (await tx.execute(select(realm_counter.c.revision, realm_counter.c.roster))).one()
    return Now(found.revision, found.roster)
