"""The one writer of rows that stand alone: those of reads. Rows of many requests travel in one transaction.

No record, no answer: whoever waits for a row is told when it is durable, and what is refused
is not served. The statement that adds rows tells what is so now, too. So what was decided at
a revision of the realm and a version of the roster can be recorded on the condition that
they still stand (:meth:`Committer.submit`), and nobody asks for them beforehand.

A connection that is lost in the middle of a commit leaves open whether its rows stand. Those
who wait for them are refused, and nothing is tried again: a row may stand without an answer,
never twice, and no answer is given without its row.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from time import perf_counter
from typing import Final

from muniment.core.ledger import Row
from muniment.core.measures import SIZES, Spread
from muniment.core.problems import DatabaseUnavailable, LedgerUnavailable
from muniment.core.tracing import UNTRACED, Step, Tracing
from muniment.store import ledger
from muniment.store.databases import Database
from muniment.store.held import Held, StatementRefused
from muniment.store.present import Now

logger = logging.getLogger(__name__)

#: The most rows that travel in one transaction.
LARGEST_BATCH: Final = 512

#: A row of the ledger has no named check that could fail instead.
_CHECK_VIOLATION: Final = "23514"


#: The caller who waits for a row, told of what is so now once it is settled; its moment, its text, and since when it
#: waits. One is made for each request, and a tuple costs the least.
_Waiting = tuple[asyncio.Future[Now], datetime, str, float]


def _refuse(durable: asyncio.Future[Now], refusal: LedgerUnavailable) -> None:
    if not durable.done():
        durable.set_exception(refusal)


@dataclass(frozen=True, slots=True)
class Stencil:
    """A row that will be written often: all of it but its ids, its time and what its details say of that.

    It is of a decision at the revision of some moment, and written where the numbers of that moment still stand.
    """

    _numbers: str
    _fixed: str
    _details: str

    @classmethod
    def of(cls, row: Row, present: Now) -> Stencil:
        """A row, whatever its ids, time and revision are."""
        fixed = {name: getattr(row, name) for name in ledger.FIELDS if name not in _FILLED}
        return cls(_numbers(present), ledger.encoded(fixed)[1:-1], ledger.encoded(row.details)[1:])

    def at(self, present: Now) -> Stencil:
        """The same row, of the same decision at another revision."""
        return replace(self, _numbers=_numbers(present))

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self._fixed) + len(self._details)

    def filled(self, at: str, id_: str, request_id: str, receipt: str, further: str = "") -> str:
        """The row of one request; ``further`` are members of its details, each with a comma behind it."""
        return (
            f'{{"id":"{id_}","at":"{at}","request_id":"{request_id}","receipt":"{receipt}",{self._numbers},'
            f'{self._fixed},"details":{{{further}{self._details}}}'
        )


_FILLED: Final = frozenset({"id", "at", "request_id", "receipt", "revision", "details"})


def _numbers(present: Now) -> str:
    return f'"revision":{present.revision},"if_revision":{present.revision},"if_roster":{present.roster}'


class Committer:
    """Writes the rows of one process.

    ``most_waiting`` bounds its queue; a caller waits about ``patience`` seconds at most. The
    row of a caller who was refused or cancelled meanwhile may stand nevertheless.
    """

    def __init__(
        self, db: Database, *, most_waiting: int = 4096, patience: float = 10, tracing: Tracing = UNTRACED
    ) -> None:
        self._db = db
        self._held = Held(db, ledger.RECORD)
        self._most_waiting = most_waiting
        self._patience = patience
        self._tracing = tracing
        self._queue: deque[_Waiting] = deque()
        self._travelling: Sequence[_Waiting] = ()
        self._rung = asyncio.Event()
        self._accepting = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        #: How many rows could not be written since the database went away.
        self._unwritten = 0
        #: What has been counted: rows that were refused, how many travelled together, and seconds that commits took.
        self.refused = 0
        self.batches = Spread(SIZES)
        self.commits = Spread()

    @property
    def waiting(self) -> int:
        """How many rows wait for a commit."""
        return len(self._queue)

    async def start(self) -> None:
        """Write from now on."""
        self._accepting = True
        self._tasks = (
            asyncio.create_task(self._write_on(), name="ledger"),
            asyncio.create_task(self._lose_patience(), name="ledger's patience"),
        )

    async def stop(self) -> None:
        """Take no more rows, and write those that wait."""
        self._accepting = False
        self._rung.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=self._patience)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        while self._queue:
            _refuse(self._queue.popleft()[0], _unreachable())
        self._held.close()

    async def record(self, row: Row) -> None:
        """The row is durable when this returns; :class:`LedgerUnavailable` when it may not be."""
        with self._tracing.step(Step.RECORD):
            await self.submit(row.at, ledger.encoded_row(row))

    def submit(self, at: datetime, text: str) -> asyncio.Future[Now]:
        """Hand in a row of this moment that a stencil has made; what is awaited tells what is so now.

        Where that is what the stencil is for, the row is durable, and else it was not written.
        :class:`LedgerUnavailable` when it may not be durable.
        """
        if not self._accepting:
            raise LedgerUnavailable("The ledger is closed because the service stops; try again in a moment.")
        if len(self._queue) >= self._most_waiting:
            raise LedgerUnavailable("More records wait than the ledger can take; try again in a moment.")
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[Now] = loop.create_future()
        self._queue.append((durable, at, text, loop.time()))
        if not self._rung.is_set():
            self._rung.set()
        return durable

    async def _write_on(self) -> None:
        queue = self._queue
        while self._accepting or queue:
            if not queue:
                self._rung.clear()
                await self._rung.wait()
                continue
            batch = self._travelling = [queue.popleft() for _ in range(min(len(queue), LARGEST_BATCH))]
            try:
                await self._settle(batch)
            except Exception:
                # A fault of ours: these callers are refused, and the next batch is tried.
                logger.exception("the ledger could not write %d rows", len(batch))
            finally:
                for durable, _, _, _ in batch:
                    if not durable.done():
                        self.refused += 1
                        _refuse(durable, _unreachable())

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Write the rows; of rows that Postgres refuses together, each half by itself."""
        try:
            now = await self._write(batch)
        except DatabaseUnavailable as error:
            # Once, and how many in the end: callers may come back again and again meanwhile.
            if not self._unwritten:
                logger.warning("the ledger could not write %d rows: %s", len(batch), error.__cause__)
            self._unwritten += len(batch)
        except StatementRefused as refused:
            if not ledger.blames_rows(refused.state):
                logger.warning("the ledger could not write %d rows: %s", len(batch), refused)
            elif len(batch) == 1:
                logger.warning("the ledger refused a row: %s", refused)
                self.refused += 1
                _refuse(batch[0][0], ledger.unkeepable())
            else:
                half = len(batch) // 2
                await self._settle(batch[:half])
                await self._settle(batch[half:])
        else:
            if self._unwritten:
                logger.warning("the ledger is written again; meanwhile %d rows were not", self._unwritten)
                self._unwritten = 0
            for durable, _, _, _ in batch:
                if not durable.done():
                    durable.set_result(now)

    async def _write(self, batch: Sequence[_Waiting]) -> Now:
        rows, began = f"[{','.join([text for _, _, text, _ in batch])}]".encode(), perf_counter()
        try:
            answer = await self._held.execute(rows)
        except StatementRefused as refused:
            if refused.state != _CHECK_VIOLATION or refused.constraint is not None:
                raise
            # A month has no partition yet.
            async with self._db.begin() as tx:
                await ledger.make_partitions(tx, (at for _, at, _, _ in batch))
            answer = await self._held.execute(rows)
        self.commits.add(perf_counter() - began)
        self.batches.add(len(batch))
        revision, roster = (int(number or 0) for number in answer)
        return Now(revision, roster)

    async def _lose_patience(self) -> None:
        """Refuse those who have waited too long; what is under way goes on."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._patience / 4))
            begun = loop.time() - self._patience
            for durable in self._overdue(begun):
                _refuse(durable, _unreachable())

    def _overdue(self, begun: float) -> Iterator[asyncio.Future[Now]]:
        """Those who have waited since before a moment; they wait in the order in which they came."""
        for durable, _, _, since in chain(self._travelling, self._queue):
            if since > begun:
                return
            yield durable


def _unreachable() -> LedgerUnavailable:
    return LedgerUnavailable("What you asked could not be recorded, so it is not answered; try again in a moment.")
