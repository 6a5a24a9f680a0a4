"""The ledger: rows are added and read, never changed.

No record, no answer: :meth:`Committer.record` returns when its row is durable, and what
it refuses is not served. Rows of many requests travel in one transaction (group commit).

Readers see a row only when no transaction that began before its own can still commit, so
nothing appears later in a place that a reader has already passed in commit order.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    DateTime,
    Select,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy import Row as DatabaseRow
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.decisions import Wanted
from muniment.core.leases import LONGEST
from muniment.core.ledger import Event, Outcome, Question, Row
from muniment.core.oversight import Reader
from muniment.core.problems import Fault, Invalid, LedgerUnavailable
from muniment.core.subjects import Subject
from muniment.core.uses import Given
from muniment.store.databases import write_json
from muniment.store.ledger_questions import conditions, readable
from muniment.store.tables import ledger

logger = logging.getLogger(__name__)

#: Classes of SQLSTATE that blame no row, but connection, transaction, schema, resources, state, operator or disk.
_NOT_OF_ROWS: Final = frozenset({"08", "25", "40", "42", "53", "55", "57", "58"})

FIELDS: Final = tuple(field.name for field in fields(Row))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: A row's columns as JSON brings them, in the order in which they are written.
_COLUMNS: Final = {
    "id": "uuid",
    "at": "timestamptz",
    **dict.fromkeys(("event", "outcome", "subject", "issuer", "subject_state", "address", "client"), "text"),
    "credential": "text",
    "request_id": "uuid",
    "receipt": "uuid",
    "revision": "bigint",
    **dict.fromkeys(("environment", "project", "purpose", "run"), "text"),
    "datasets": "text[]",
    "policies": "text[]",
    **dict.fromkeys(("decided_sha256", "evaluator"), "text"),
    "details": "jsonb",
}


def _given(parameter: str, **further: str) -> str:
    """The rows that come as one JSON text."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in {**_COLUMNS, **further}.items())
    return f"SELECT * FROM jsonb_to_recordset(CAST({parameter} AS jsonb)) AS given ({columns})"  # noqa: S608 - our own


#: The subjects' newest states are set on the way (``store/subjects.py``); one that stands is only read, but for its
#: hour, and rows are locked in the order of names.
_SIGHTED: Final = """
    seen AS (
      SELECT DISTINCT ON (subject) subject, subject_state, at FROM written ORDER BY subject, at DESC
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
    )"""
_NAMES: Final = ", ".join(_COLUMNS)
_INSERT: Final = f"INSERT INTO ledger ({_NAMES}) SELECT {_NAMES} FROM written"  # noqa: S608 - our own names

_APPEND: Final = text(f"WITH written AS ({_given('CAST(:rows AS text)')}), {_SIGHTED} {_INSERT}")

#: Adds the rows that stand alone (``store/committer.py``), and gives the realm's revision and the roster's version as
#: they are in the same moment. A row that names such numbers is written only if they are those.
RECORD: Final = f"""
    WITH now AS (
      SELECT revision, roster FROM realm_counter
    ), given AS (
      {_given("$1", if_revision="bigint", if_roster="bigint")}
    ), written AS (
      SELECT given.* FROM given, now
      WHERE if_revision IS NULL OR (if_revision = now.revision AND if_roster = now.roster)
    ), {_SIGHTED}, added AS (
      {_INSERT}
    )
    SELECT revision, roster FROM now
    """  # noqa: S608 - our own names


async def append(tx: AsyncConnection, rows: Sequence[Row]) -> None:
    """Add rows that stand or fall with this transaction: those of a change."""
    try:
        await make_partitions(tx, (row.at for row in rows))
        await _append(tx, [encoded_row(row) for row in rows])
    except OperationalError as error:
        if _is_of_rows(error):
            raise unkeepable() from error
        raise
    except DataError as error:
        raise unkeepable() from error
    except (IntegrityError, InternalError, ProgrammingError) as error:
        logger.exception("the ledger refused the row of a change")
        raise _unreachable() from error


@dataclass(frozen=True, slots=True)
class Read:
    """A page of the ledger, the newest row first, and the cursors of the pages beside it.

    ``following`` is of the older rows, ``previous`` of the newer ones; nothing where none are.
    """

    rows: Sequence[Row]
    following: str | None
    previous: str | None


async def reading(
    tx: AsyncConnection,
    question: Question,
    *,
    limit: int = 100,
    after: str | None = None,
    before: str | None = None,
    reader: Reader | None = None,
) -> Read:
    """A page of the rows that answer a question and that a reader may see, after a cursor or before one.

    A subject may be given by its bare name. Rows that a transaction still under way might
    precede are left out, the reader's own among them.
    """
    backwards = before is not None
    found = list(await tx.execute(_asked(question, reader, limit + 1, after, before)))
    more, rows = len(found) > limit, [_read(row) for row in found[:limit]]
    if backwards:
        rows.reverse()
    if not rows:
        return Read(rows, None, None)
    older, newer = (True, more) if backwards else (more, after is not None)
    return Read(rows, _cursor(rows[-1]) if older else None, _cursor(rows[0]) if newer else None)


async def of_id(tx: AsyncConnection, id_: UUID) -> Row | None:
    """The row of an id, which tells the millisecond of the row (RFC 9562, 5.7).

    :class:`LedgerUnavailable` where there is no ledger to look into: nothing could be recorded there either.
    """
    try:
        began = _EPOCH + timedelta(milliseconds=id_.int >> 80)
    except OverflowError:
        return None
    columns = ledger.c
    question = select(*(columns[name] for name in FIELDS)).where(
        columns.at >= began, columns.at < began + timedelta(milliseconds=1), columns.id == id_
    )
    with needed():
        found = (await tx.execute(question)).one_or_none()
    return _read(found) if found else None


async def of_receipt(tx: AsyncConnection, receipt: UUID) -> list[Row]:
    """The rows under a receipt, the oldest first."""
    columns = ledger.c
    question = select(*(columns[name] for name in FIELDS)).where(columns.receipt == receipt)
    with needed():
        found = await tx.execute(question.order_by(columns.at, columns.id).limit(1000))
    return [_read(row) for row in found]


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


#: Written once: each change asks it.
_STATES: Final = (
    select(ledger.c.subject_state)
    .distinct()
    .where(ledger.c.subject == bindparam("of"), ledger.c.at >= bindparam("since"))
)


async def states_of(tx: AsyncConnection, subject: str, since: datetime) -> frozenset[str]:
    """The digests of all states in which a subject has been recorded since a moment."""
    with needed():
        return frozenset((await tx.execute(_STATES, {"of": subject, "since": since})).scalars())


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
    await make_partitions(tx, (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in ahead))


def _unreachable() -> LedgerUnavailable:
    return LedgerUnavailable("What you asked could not be recorded, so it is not answered; try again in a moment.")


def unkeepable() -> LedgerUnavailable:
    """What is said of a row that holds what Postgres does not keep."""
    return LedgerUnavailable(
        "What you asked could not be recorded, so it is not answered: it holds a character that is no text, such as "
        "NUL, or more than can be found again. Leave it out and try again."
    )


def blames_rows(state: str) -> bool:
    """Whether other rows might have been taken, by the class of an SQLSTATE: connection, server and schema are well."""
    return bool(state) and state[:2] not in _NOT_OF_ROWS


def _is_of_rows(error: DBAPIError) -> bool:
    """Whether the rows are at fault.

    (Of an entry that no index can hold, the driver says what it says of a lost connection: ``OperationalError``.)
    """
    state = getattr(error.orig, "sqlstate", None)
    return not error.connection_invalidated and isinstance(state, str) and blames_rows(state)


def encoded(value: object) -> str:
    """JSON as the statements take it; :class:`LedgerUnavailable` for what is no text."""
    try:
        return write_json(value).decode()
    except TypeError as error:
        raise unkeepable() from error


def encoded_row(row: Row) -> str:
    """A row as the statements take it."""
    return encoded({name: getattr(row, name) for name in FIELDS})


async def _append(tx: AsyncConnection, rows: Sequence[str]) -> None:
    await tx.execute(_APPEND, {"rows": f"[{','.join(rows)}]"})


_PARTITION: Final = select(func.ledger_partition(bindparam("month", type_=Date)))


async def make_partitions(tx: AsyncConnection, moments: Iterable[datetime]) -> None:
    """Make room for the months of these moments."""
    for month in sorted({moment.astimezone(UTC).date().replace(day=1) for moment in moments}):
        await tx.execute(_PARTITION, {"month": month})


def _asked(question: Question, reader: Reader | None, limit: int, after: str | None, before: str | None) -> Select[Any]:
    """The rows of a page: of what a reader may see by several rights, the first by each, and the first of those."""
    place = tuple_(ledger.c.at, ledger.c.id)
    where = [ledger.c.xact < text("pg_snapshot_xmin(pg_current_snapshot())"), *conditions(question)]
    if after is not None:
        where.append(place < tuple_(*_place(after, "after")))
    if before is not None:
        where.append(place > tuple_(*_place(before, "before")))
    columns = [ledger.c[name] for name in FIELDS]
    pages = [
        select(*columns).where(*where, right).order_by(*_order(ledger.c, backwards=before is not None)).limit(limit)
        for right in readable(reader)
    ]
    if len(pages) == 1:
        return pages[0]
    found = union_all(*(page.subquery().select() for page in pages)).subquery()
    return select(found).order_by(*_order(found.c, backwards=before is not None)).limit(limit)


def _order(columns: Any, *, backwards: bool) -> Sequence[ColumnElement[Any]]:
    return (columns.at, columns.id) if backwards else (columns.at.desc(), columns.id.desc())


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


def _place(cursor: str, given: str) -> tuple[datetime, UUID]:
    try:
        place = base64.b64decode(cursor, altchars=b"-_", validate=True)
        at, id_ = place[:8], place[8:]
        return _EPOCH + int.from_bytes(at, signed=True) * _MICROSECOND, UUID(bytes=id_)
    except (ValueError, OverflowError) as error:
        message = "This is no cursor of the ledger; begin again without one."
        raise Invalid(message, [Fault(given, message)]) from error
