"""The ledger: rows are added and read, never changed.

No record, no answer: :meth:`Committer.record` returns when its row is durable, and what
it refuses is not served. Rows of many requests travel in one transaction (group commit).

Readers see a row only when no transaction that began before its own can still commit, so
nothing appears later in a place that a reader has already passed in commit order.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.errors import CheckViolation
from sqlalchemy import ARRAY, DateTime, Select, Uuid, any_, cast, func, literal, select, text, tuple_
from sqlalchemy import Row as DatabaseRow
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.decisions import Wanted
from muniment.core.leases import LONGEST
from muniment.core.ledger import Event, Outcome, Question, Row
from muniment.core.problems import DatabaseUnavailable, Fault, Invalid, LedgerUnavailable
from muniment.core.subjects import Kind, Subject
from muniment.core.uses import Given
from muniment.store.databases import Database, write_json
from muniment.store.tables import ledger

logger = logging.getLogger(__name__)

#: The most rows that travel in one transaction.
LARGEST_BATCH: Final = 512

#: Classes of SQLSTATE that blame no row, but connection, transaction, schema, resources, state, operator or disk.
_NOT_OF_ROWS: Final = frozenset({"08", "25", "40", "42", "53", "55", "57", "58"})

_FIELDS: Final = tuple(field.name for field in fields(Row))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: Rows come as one JSON text. The subjects' newest states are set on the way (``store/subjects.py``);
#: one that stands is only read, but for its hour, and rows are locked in the order of names.
_APPEND: Final = text(
    """
    WITH given AS (
      SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (
        id uuid, at timestamptz, event text, outcome text, subject text, issuer text, subject_state text, address text,
        client text, credential text, request_id uuid, receipt uuid, revision bigint, environment text, project text,
        purpose text, run text, datasets text[], policies text[], decided_sha256 text, evaluator text, details jsonb
      )
    ), seen AS (
      SELECT DISTINCT ON (subject) subject, subject_state, at FROM given ORDER BY subject, at DESC
    ), sighting AS (
      INSERT INTO subjects AS known (name, digest, seen_at)
      SELECT seen.subject, seen.subject_state, seen.at
      FROM seen
      JOIN subject_states AS state ON state.digest = seen.subject_state AND state.kind || ':' || state.id = seen.subject
      LEFT JOIN subjects AS stands ON stands.name = seen.subject
      WHERE stands.name IS NULL OR stands.seen_at < seen.at
        AND (stands.digest <> seen.subject_state OR stands.seen_at < seen.at - interval '1 hour')
      ORDER BY seen.subject
      ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, seen_at = excluded.seen_at
      WHERE known.seen_at < excluded.seen_at
    )
    INSERT INTO ledger (
      id, at, event, outcome, subject, issuer, subject_state, address, client, credential, request_id, receipt,
      revision, environment, project, purpose, run, datasets, policies, decided_sha256, evaluator, details
    ) SELECT * FROM given
    """
)


async def append(tx: AsyncConnection, rows: Sequence[Row]) -> None:
    """Add rows that stand or fall with this transaction: those of a change."""
    try:
        await _make_partitions(tx, (row.at for row in rows))
        await _append(tx, [_encoded(row) for row in rows])
    except OperationalError as error:
        if _is_of_rows(error):
            raise _unkeepable() from error
        raise
    except DataError as error:
        raise _unkeepable() from error
    except (IntegrityError, InternalError, ProgrammingError) as error:
        logger.exception("the ledger refused the row of a change")
        raise _unreachable() from error


async def reading(
    tx: AsyncConnection, question: Question, *, limit: int = 100, after: str | None = None
) -> tuple[list[Row], str | None]:
    """A page of the rows that answer a question, newest first, and the cursor of the next page.

    A subject may be given by its bare name. Rows that a transaction still under way might
    precede are left out, the reader's own among them.
    """
    found = list(await tx.execute(_asked(question, limit + 1, after)))
    rows = [_read(row) for row in found[:limit]]
    return rows, _cursor(rows[-1]) if len(found) > limit else None


async def of_id(tx: AsyncConnection, id_: UUID) -> Row | None:
    """The row of an id, which tells the millisecond of the row (RFC 9562, 5.7).

    :class:`LedgerUnavailable` where there is no ledger to look into: nothing could be recorded there either.
    """
    try:
        began = _EPOCH + timedelta(milliseconds=id_.int >> 80)
    except OverflowError:
        return None
    columns = ledger.c
    question = select(*(columns[name] for name in _FIELDS)).where(
        columns.at >= began, columns.at < began + timedelta(milliseconds=1), columns.id == id_
    )
    with needed():
        found = (await tx.execute(question)).one_or_none()
    return _read(found) if found else None


@contextmanager
def needed() -> Iterator[None]:
    """What is asked for in this block needs the ledger: :class:`LedgerUnavailable` where there is none to read."""
    try:
        yield
    except ProgrammingError as error:
        logger.exception("the ledger could not be read")
        raise _unreachable() from error


async def last_settled(tx: AsyncConnection, events: Iterable[Event], since: datetime) -> dict[str, datetime]:
    """When each policy last settled an answer of these kinds, of those that did so since a moment, by id."""
    settled = (
        select(func.unnest(ledger.c.policies).label("policy"), ledger.c.at)
        .where(ledger.c.event.in_(list(events)), ledger.c.at >= since)
        .subquery("settled")
    )
    question = select(settled.c.policy, func.max(settled.c.at).label("at")).group_by(settled.c.policy)
    return {row.policy: row.at for row in await tx.execute(question)}


async def states_of(tx: AsyncConnection, subject: str, since: datetime) -> frozenset[str]:
    """The digests of all states in which a subject has been recorded since a moment."""
    question = select(ledger.c.subject_state).distinct().where(ledger.c.subject == subject, ledger.c.at >= since)
    with needed():
        return frozenset((await tx.execute(question)).scalars())


async def leases_running(
    tx: AsyncConnection, subject: str, at: datetime, limit: int
) -> list[tuple[UUID | None, datetime]]:
    """The receipts of a subject's leases that go on after a moment, and their ends; the last given first."""
    columns = ledger.c
    until = cast(columns.details["until"].astext, DateTime(timezone=True))
    question = (
        select(columns.receipt, until.label("until"))
        .where(columns.event == Event.LEASE_SERVED, columns.subject == subject, columns.at >= at - LONGEST, until > at)
        .order_by(columns.at.desc(), columns.id.desc())
        .limit(limit)
    )
    with needed():
        return [(row.receipt, row.until) for row in await tx.execute(question)]


async def given(tx: AsyncConnection, subject: Subject, receipts: Collection[UUID]) -> dict[UUID, Given]:
    """What a subject was given under these receipts, of those under which it was given anything."""
    columns = ledger.c
    until = cast(columns.details["until"].astext, DateTime(timezone=True))
    question = select(
        columns.receipt, columns.at, until.label("until"), columns.environment, columns.project, columns.purpose
    ).where(
        columns.receipt == any_(literal(list(receipts), ARRAY(Uuid))),
        columns.event.in_([Event.LEASE_SERVED, Event.CATALOG_SERVED]),
        columns.subject == str(subject),
    )
    with needed():
        found = await tx.execute(question)
    return {row.receipt: Given(row.at, row.until, Wanted(row.environment, row.project, row.purpose)) for row in found}


async def ensure_partitions(tx: AsyncConnection, today: date, *, months: int = 3) -> None:
    """Make room for this month and those that follow."""
    ahead = (today.year * 12 + today.month - 1 + following for following in range(months))
    await _make_partitions(tx, (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in ahead))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row on its way, and the caller who waits for it."""

    at: datetime
    encoded: bytes
    durable: asyncio.Future[None]

    def refuse(self, refusal: LedgerUnavailable) -> None:
        if not self.durable.done():
            self.durable.set_exception(refusal)


class Committer:
    """The one writer of rows that stand alone: those of reads.

    ``most_waiting`` bounds its queue; a caller waits at most ``patience`` seconds. The
    row of a caller who was refused or cancelled meanwhile may stand nevertheless.
    """

    def __init__(self, db: Database, *, most_waiting: int = 4096, patience: float = 10) -> None:
        self._db = db
        self._most_waiting = most_waiting
        self._patience = patience
        self._queue: deque[_Waiting] = deque()
        self._rung = asyncio.Event()
        self._accepting = False
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._accepting = True
        self._writer = asyncio.create_task(self._write_on(), name="ledger")

    async def stop(self) -> None:
        """Take no more rows, and write those that wait."""
        self._accepting = False
        self._rung.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=self._patience)
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        while self._queue:
            self._queue.popleft().refuse(_unreachable())

    async def record(self, row: Row) -> None:
        """The row is durable when this returns; :class:`LedgerUnavailable` when it may not be."""
        if not self._accepting:
            raise LedgerUnavailable("The ledger is closed because the service stops; try again in a moment.")
        if len(self._queue) >= self._most_waiting:
            raise LedgerUnavailable("More records wait than the ledger can take; try again in a moment.")
        waiting = _Waiting(row.at, _encoded(row), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rung.set()
        try:
            async with asyncio.timeout(self._patience):
                await waiting.durable
        except TimeoutError as error:
            raise _unreachable() from error

    async def _write_on(self) -> None:
        while self._accepting or self._queue:
            if not self._queue:
                self._rung.clear()
                await self._rung.wait()
                continue
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), LARGEST_BATCH))]
            try:
                await self._settle(batch)
            except Exception:
                # A fault of ours: these callers are refused, and the next batch is tried.
                logger.exception("the ledger could not write %d rows", len(batch))
            finally:
                for waiting in batch:
                    waiting.refuse(_unreachable())

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Write the rows; of rows that Postgres refuses together, each half by itself."""
        try:
            await self._write(batch)
        except DatabaseUnavailable as error:
            logger.warning("the ledger could not write %d rows: %s", len(batch), error.__cause__)
        except _RowsRefused as refused:
            if len(batch) == 1:
                logger.warning("the ledger refused a row: %s", refused)
                batch[0].refuse(_unkeepable())
                return
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])
        else:
            for waiting in batch:
                if not waiting.durable.done():
                    waiting.durable.set_result(None)

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        rows = [waiting.encoded for waiting in batch]
        try:
            async with self._db.begin() as tx:
                await _append_alone(tx, rows)
        except IntegrityError as error:
            if not _lacks_partition(error):
                raise
            async with self._db.begin() as tx:
                await _make_partitions(tx, (waiting.at for waiting in batch))
                await _append_alone(tx, rows)


def _unreachable() -> LedgerUnavailable:
    return LedgerUnavailable("What you asked could not be recorded, so it is not answered; try again in a moment.")


def _unkeepable() -> LedgerUnavailable:
    return LedgerUnavailable(
        "What you asked could not be recorded, so it is not answered: it holds a character that is no text, such as "
        "NUL, or more than can be found again. Leave it out and try again."
    )


def _lacks_partition(error: DBAPIError) -> bool:
    """Whether a month has no partition; the ledger has no named check that could fail instead."""
    return isinstance(error.orig, CheckViolation) and error.orig.diag.constraint_name is None


class _RowsRefused(Exception):
    """Postgres refuses what the rows hold; the message is its own."""


def _is_of_rows(error: DBAPIError) -> bool:
    """Whether other rows might have been taken: nothing is wrong with the connection, the server or the schema.

    The class of the SQLSTATE says it. (Of an entry that no index can hold, the driver says what it says of a lost
    connection: ``OperationalError``.)
    """
    state = getattr(error.orig, "sqlstate", None)
    return not error.connection_invalidated and isinstance(state, str) and state[:2] not in _NOT_OF_ROWS


def _encoded(row: Row) -> bytes:
    try:
        return write_json({name: getattr(row, name) for name in _FIELDS})
    except TypeError as error:
        raise _unkeepable() from error


async def _append_alone(tx: AsyncConnection, encoded: Sequence[bytes]) -> None:
    """Add rows that are all that their transaction holds."""
    try:
        await _append(tx, encoded)
    except DBAPIError as error:
        if _lacks_partition(error) or not _is_of_rows(error):
            raise
        raise _RowsRefused(error.orig) from error


async def _append(tx: AsyncConnection, encoded: Sequence[bytes]) -> None:
    await tx.execute(_APPEND, {"rows": (b"[" + b",".join(encoded) + b"]").decode()})


async def _make_partitions(tx: AsyncConnection, moments: Iterable[datetime]) -> None:
    for month in sorted({moment.astimezone(UTC).date().replace(day=1) for moment in moments}):
        await tx.execute(select(func.ledger_partition(month)))


def _asked(question: Question, limit: int, after: str | None) -> Select[Any]:
    columns = ledger.c
    asked = (
        select(*(columns[name] for name in _FIELDS))
        .where(columns.xact < text("pg_snapshot_xmin(pg_current_snapshot())"))
        .order_by(columns.at.desc(), columns.id.desc())
        .limit(limit)
    )
    if question.subject is not None:
        asked = asked.where(columns.subject.in_(_subjects_named(question.subject)))
    if question.dataset is not None:
        asked = asked.where(columns.datasets.contains([question.dataset]))
    if question.event is not None:
        asked = asked.where(columns.event == question.event)
    if question.receipt is not None:
        asked = asked.where(columns.receipt == question.receipt)
    if question.run is not None:
        asked = asked.where(columns.run == question.run)
    if question.since is not None:
        asked = asked.where(columns.at >= question.since)
    if question.until is not None:
        asked = asked.where(columns.at < question.until)
    if after is not None:
        asked = asked.where(tuple_(columns.at, columns.id) < tuple_(*_place(after)))
    return asked


def _subjects_named(name: str) -> list[str]:
    if name.partition(":")[0] in set(Kind):
        return [name]
    return [f"{kind}:{name}" for kind in Kind]


def _read(found: DatabaseRow[Any]) -> Row:
    row = dict(found._mapping)  # noqa: SLF001  its public name; the underscore keeps it apart from columns
    row["event"] = Event(row["event"])
    row["outcome"] = Outcome(row["outcome"])
    row["datasets"] = tuple(row["datasets"])
    row["policies"] = tuple(row["policies"])
    return Row(**row)


def _cursor(row: Row) -> str:
    """Where a row stands, as a word of the URL."""
    place = ((row.at - _EPOCH) // _MICROSECOND).to_bytes(8, signed=True) + row.id.bytes
    return base64.urlsafe_b64encode(place).decode()


def _place(cursor: str) -> tuple[datetime, UUID]:
    try:
        place = base64.b64decode(cursor, altchars=b"-_", validate=True)
        at, id_ = place[:8], place[8:]
        return _EPOCH + int.from_bytes(at, signed=True) * _MICROSECOND, UUID(bytes=id_)
    except (ValueError, OverflowError) as error:
        message = "This is no cursor of the ledger; begin again without one."
        raise Invalid(message, [Fault("after", message)]) from error
