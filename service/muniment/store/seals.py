"""Seals of the ledger: rows in the order of commits, their leaves, and the tree over them.

One sealer adds at a time (:func:`take_turn`), in one transaction for each seal: nothing is
ever half there. Rows are read through the bare driver, since a million of them are read
when a ledger is verified.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import ColumnElement, cast, func, insert, literal, select, text, true, tuple_
from sqlalchemy import Row as DatabaseRow
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Place
from muniment.core.merkle import TILE_HEIGHT, WIDTH, Subtree, Tile, Tree, subtrees
from muniment.core.seals import Seal, Stored, moment
from muniment.store.ledger_order import _EARLIEST, Cluster, in_calendar
from muniment.store.tables import TransactionId, ledger_seals, ledger_tiles, ledger_witnesses

#: Held by whoever seals, until its transaction ends. A number of our own, like that of the migrations.
_TURN: Final = 6_864_636_469

#: The largest number of a row.
_LAST_SEQ: Final = 2**63 - 1

#: How many rows are fetched at once where they are taken as they come.
_FETCHED: Final = 64

#: Classes of SQLSTATE that PostgreSQL gives to data that it cannot make sense of, and to files that it cannot read.
_DAMAGED: Final = ("XX", "58")

#: Microseconds from 1970 to 2000, from which Postgres counts.
_TO_2000: Final = 946_684_800_000_000

#: What is read of a row, in the order of :class:`Stored`: nothing that a driver could fail to read, and something of
#: each column that is never empty, if somebody has seen to it that it can be.
_STORED: Final = """
    coalesce(id, '00000000-0000-0000-0000-000000000000')::text, timestamptz_send(coalesce(at, '-infinity')), event,
    outcome, subject, issuer, subject_state, address, client, credential, request_id::text, receipt::text, revision,
    environment, project, purpose, run, datasets, policies, decided_sha256, evaluator, coalesce(details::text, ''),
    coalesce(seq, -1), coalesce(xact::text, '-1'), salt, who_sha256, details_sha256
"""
# Of these pages nothing is anybody's word.
# Ordered by the columns themselves: a bare ``xact`` would be the text that is selected, where 1000 comes before 999.
_BETWEEN: Final = f"""
    SELECT {_STORED}
    FROM ledger
    WHERE (xact, seq) > (%(after_xact)s::xid8, %(after_seq)s) AND (xact, seq) <= (%(xact)s::xid8, %(seq)s)
      AND seq > %(low)s AND seq <= %(high)s AND (%(before)s::xid8 IS NULL OR xact < %(before)s::xid8)
    ORDER BY ledger.xact, ledger.seq, ledger.id
    LIMIT %(limit)s
"""  # noqa: S608
_OF_IDS: Final = f"SELECT {_STORED} FROM ledger WHERE id = ANY(%(ids)s) ORDER BY at, id LIMIT %(limit)s"  # noqa: S608
_PLACED: Final = f"""
    SELECT {_STORED}
    FROM ledger JOIN unnest(%(moments)s::timestamptz[], %(ids)s::uuid[]) AS wanted (moment, row_id)
      ON ledger.at = wanted.moment AND ledger.id = wanted.row_id
    ORDER BY at, id
"""  # noqa: S608
_AT: Final = f"SELECT {_STORED} FROM ledger WHERE at = %(at)s AND id = %(id)s"  # noqa: S608
_OF_EVENTS: Final = f"SELECT {_STORED} FROM ledger WHERE event = ANY(%(events)s) ORDER BY at, id"  # noqa: S608
_DOUBLED: Final = f"""
    SELECT {_STORED} FROM ledger
    WHERE id IN (SELECT id FROM ledger GROUP BY id HAVING count(*) > 1 LIMIT 100) ORDER BY at, id
"""  # noqa: S608

_BENT: Final = f"""
    SELECT {_STORED} FROM ledger
    WHERE pg_catalog.array_lower(datasets, 1) <> 1 OR pg_catalog.array_lower(policies, 1) <> 1
    ORDER BY at, id LIMIT 100
"""  # noqa: S608

#: What is read of a seal: something of each column, and never what was signed, where somebody made it unreadable.
_MOMENT: Final = in_calendar(ledger_seals.c.at).label("at")
_READABLE: Final[dict[str, ColumnElement[Any]]] = {
    "at": _MOMENT,
    # Its bytes: PostgreSQL can be brought to keep some that are no text.
    "checkpoint": func.coalesce(func.textsend(ledger_seals.c.checkpoint), literal(b"")).label("checkpoint"),
    "ids": func.coalesce(ledger_seals.c.ids, literal(b"")).label("ids"),
    "leaves": func.coalesce(ledger_seals.c.leaves, literal(b"")).label("leaves"),
    "xact": func.coalesce(ledger_seals.c.xact, cast(literal("0"), TransactionId)).label("xact"),
    **{name: func.coalesce(ledger_seals.c[name], 0).label(name) for name in ("first", "size", "cluster", "seq")},
}
_SEAL: Final = tuple(_READABLE.get(column.name, column) for column in ledger_seals.c)

#: The last transaction that there can be.
_LAST_XACT: Final = str(2**64 - 1)

_SNAPSHOT: Final = text(
    """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS settled,
      pg_snapshot_xmax(pg_current_snapshot())::text AS next_xact, clock_timestamp() AS at
    """
)

#: Behind the place stand the rows of its cluster that come later, and those of later clusters.
_COUNT: Final = text(
    """
    SELECT count(*) FILTER (WHERE (
        seq > :low AND seq <= :high AND (xact, seq) > (CAST(CAST(:xact AS text) AS xid8), :seq) OR seq > :high
      ) IS NOT TRUE)
    FROM ledger
    """
)

#: Of at most 256 leaves, so at most as many seals that hold any.
_LEAVES: Final = text(
    """
    SELECT substring(leaves
      FROM ((greatest(first, :begin) - first) * 32 + 1)::integer
      FOR ((least(size, :end) - greatest(first, :begin)) * 32)::integer) AS part
    FROM (
      SELECT first, size, leaves FROM ledger_seals WHERE size > :begin AND size > first ORDER BY size LIMIT 256
    ) AS found
    WHERE first < :end
    ORDER BY first
    """
)
_TOLD: Final = text(
    """
    INSERT INTO ledger_witnesses AS told (name, number, at, fault) VALUES (:name, :number, :at, :fault)
    ON CONFLICT (name) DO UPDATE SET number = excluded.number, at = excluded.at, fault = excluded.fault
    """
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the database is in its transactions: all before ``settled`` have ended, none from ``next_xact`` on has."""

    settled: int
    next_xact: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal: its number, the size of the tree, its note, and the last place that was ever sealed."""

    number: int
    size: int
    checkpoint: str
    place: Place


@dataclass(frozen=True, slots=True)
class Told:
    """How far a witness was told, when that was last tried, and what kept it from more."""

    name: str
    number: int
    at: datetime
    fault: str | None


class Unreadable(Exception):
    """PostgreSQL cannot read what it keeps, or answer what is asked of it, and says this of it."""


@contextmanager
def reading() -> Iterator[None]:
    """Whatever is read in this block is there: :class:`Unreadable` where a page, or a whole file, is damaged.

    So where something stands in the place of what is asked for. A server that is away says nothing of what it keeps.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        said = error.orig if isinstance(error, DBAPIError) else error
        damaged = (getattr(said, "sqlstate", None) or "").startswith(_DAMAGED)
        if not damaged and isinstance(said, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise
        raise Unreadable(str(said).partition("\n")[0]) from error


async def take_turn(tx: AsyncConnection) -> bool:
    """Whether it is ours to seal, until this transaction ends; false while somebody else does."""
    taken: bool = (await tx.execute(text("SELECT pg_try_advisory_xact_lock(:turn)"), {"turn": _TURN})).scalar_one()
    return taken


async def snapshot(tx: AsyncConnection) -> Snapshot:
    """Where the database is now."""
    found = (await tx.execute(_SNAPSHOT)).one()
    return Snapshot(int(found.settled), int(found.next_xact), found.at.astimezone(UTC))


async def head(tx: AsyncConnection) -> Head | None:
    """The newest seal, by what the next one goes on from."""
    number = ledger_seals.c.number
    read = (_READABLE[name] for name in ("size", "checkpoint", "cluster", "xact", "seq"))
    question = select(number, *read).where(number.isnot(None)).order_by(number.desc()).limit(1)
    found = (await tx.execute(question)).one_or_none()
    if found is None:
        return None
    place = Place(found.cluster, int(found.xact), found.seq)
    return Head(found.number, found.size, _note(found.checkpoint), place)


async def of_number(tx: AsyncConnection, number: int) -> Seal | None:
    """The seal of a number."""
    found = (await tx.execute(select(*_SEAL).where(ledger_seals.c.number == number))).one_or_none()
    return _seal(found) if found else None


async def following(tx: AsyncConnection, number: int | None, rows: int, most: int = 4096) -> list[Seal]:
    """The seals after a number, or all, in their order: as many as hold about so many rows, and one at least."""
    columns = ledger_seals.c
    # One of no number is passed over, and counted (:func:`count_seals`).
    behind = columns.number > number if number is not None else columns.number.isnot(None)
    sizes = await tx.execute(
        select(columns.number, _READABLE["first"], _READABLE["size"]).where(behind).order_by(columns.number).limit(most)
    )
    last, held = None, 0
    for each in sizes:
        held += max(each.size - each.first, 0)
        if last is not None and held > rows:
            break
        last = each.number
    if last is None:
        return []
    question = select(*_SEAL).where(behind, columns.number <= last).order_by(columns.number)
    return [_seal(found) for found in await tx.execute(question)]


async def notes(tx: AsyncConnection, after: int, limit: int) -> list[tuple[int, str]]:
    """The numbers and notes of the checkpoints after a number, in their order."""
    columns = ledger_seals.c
    question = (
        select(columns.number, columns.checkpoint).where(columns.number > after).order_by(columns.number).limit(limit)
    )
    return [(found.number, found.checkpoint) for found in await tx.execute(question)]


async def outlines(tx: AsyncConnection, after: int, limit: int) -> list[tuple[int, datetime, int, int, str]]:
    """Number, moment, first, size and note of the seals after a number, in their order."""
    columns = ledger_seals.c
    question = (
        select(columns.number, _MOMENT, columns.first, columns.size, columns.checkpoint)
        .where(columns.number > after)
        .order_by(columns.number)
        .limit(limit)
    )
    return [(number, at.astimezone(UTC), *rest) for number, at, *rest in await tx.execute(question)]


async def announcements(tx: AsyncConnection) -> list[str]:
    """The notes that announce a key, the first one first."""
    announcing = text(r"strpos(checkpoint, E'\nkey ') > 0")
    question = select(ledger_seals.c.checkpoint).where(announcing).order_by(ledger_seals.c.number)
    return list((await tx.execute(question)).scalars())


async def oldest_unsealed(tx: AsyncConnection, clusters: Sequence[Cluster]) -> datetime | None:
    """The moment of the first row that is not sealed, whether because nobody seals or because a transaction stays open.

    Until that one ends, rows that came after it can neither be sealed nor read.
    """
    stands = await head(tx)
    place = stands.place if stands else Place(0, 0, 0)
    rows = await rows_between(tx, clusters, place, None, limit=1)
    return moment(rows[0].at) if rows else None


async def holding(tx: AsyncConnection, place: Place) -> Seal | None:
    """The seal that a row at a place belongs to; None where it is not sealed yet."""
    columns = ledger_seals.c
    here = tuple_(literal(place.cluster), cast(literal(str(place.xact)), TransactionId), literal(place.seq))
    question = (
        select(*_SEAL)
        .where(tuple_(columns.cluster, columns.xact, columns.seq) >= here)
        .order_by(columns.cluster, columns.xact, columns.seq, columns.number)
        .limit(1)
    )
    found = (await tx.execute(question)).one_or_none()
    return _seal(found) if found else None


async def of_size(tx: AsyncConnection, size: int) -> Seal | None:
    """The first seal of a tree of this size."""
    question = select(*_SEAL).where(ledger_seals.c.size == size).order_by(ledger_seals.c.number).limit(1)
    found = (await tx.execute(question)).one_or_none()
    return _seal(found) if found else None


async def append(tx: AsyncConnection, seal: Seal, tiles: Sequence[Tile]) -> None:
    """Add a seal, and the tiles that it filled."""
    place = {"cluster": seal.place.cluster, "xact": str(seal.place.xact), "seq": seal.place.seq}
    row = {name: getattr(seal, name) for name in ("number", "at", "first", "size", "ids", "leaves", "checkpoint")}
    await tx.execute(insert(ledger_seals), [row | place])
    if tiles:
        full = [{"level": tile.level, "index": tile.index, "hash": tile.root} for tile in tiles]
        await tx.execute(insert(ledger_tiles), full)


async def rows_between(
    tx: AsyncConnection,
    clusters: Iterable[Cluster],
    after: Place,
    until: Place | None,
    *,
    limit: int | None = None,
) -> list[Stored]:
    """The rows behind a place, up to another and with it, in the order of commits."""
    found: list[Stored] = []
    for cluster in clusters:
        left = None if limit is None else limit - len(found)
        if left == 0:
            break
        if _is_asked(cluster, after, until):
            found += await _stored(tx, _BETWEEN, _between(cluster, after, until, left, None))
    return found


async def rows_settled(
    tx: AsyncConnection, clusters: Iterable[Cluster], after: Place, settled: int, limit: int
) -> AsyncGenerator[tuple[Place, Stored]]:
    """The rows behind a place in the order of commits, as they come: a row may be long, and few are here at once.

    Rows of transactions from ``settled`` on are left out, in the present cluster: others could come before them. It is
    to be closed before the transaction ends.
    """
    left = limit
    for cluster in clusters:
        if left and _is_asked(cluster, after, None):
            async with aclosing(_streamed(tx, cluster, after, settled, left)) as rows:
                async for placed in rows:
                    left -= 1
                    yield placed


def _is_asked(cluster: Cluster, after: Place, until: Place | None) -> bool:
    return cluster.number >= after.cluster and (until is None or cluster.number <= until.cluster)


def _between(
    cluster: Cluster, after: Place, until: Place | None, limit: int | None, settled: int | None
) -> dict[str, object]:
    """What is asked of one cluster."""
    begin = after if cluster.number == after.cluster else Place(cluster.number, 0, 0)
    end = until if until is not None and cluster.number == until.cluster else None
    return {
        "after_xact": str(begin.xact),
        "after_seq": begin.seq,
        "xact": _LAST_XACT if end is None else str(end.xact),
        "seq": _LAST_SEQ if end is None else end.seq,
        "low": cluster.after_seq or -_LAST_SEQ,
        "high": _LAST_SEQ if cluster.until is None else cluster.until,
        "before": None if settled is None or cluster.until is not None else str(settled),
        "limit": limit,
    }


async def _streamed(
    tx: AsyncConnection, cluster: Cluster, after: Place, settled: int, limit: int
) -> AsyncGenerator[tuple[Place, Stored]]:
    """The rows of one cluster, fetched some at a time; from one that is no text on, as :func:`_stored` reads such."""
    driver: Any = (await tx.get_raw_connection()).driver_connection
    place, left, loaders = after, limit, list[type[Loader]]()
    while True:
        try:
            async with driver.cursor("muniment_rows", binary=True) as cursor:
                for loader in loaders:
                    cursor.adapters.register_loader("text", loader)
                await cursor.execute(_BETWEEN, _between(cluster, place, None, left, settled))
                while fetched := await cursor.fetchmany(_FETCHED):
                    for found in fetched:
                        row = _row(found)
                        place, left = Place(cluster.number, row.xact, row.seq), left - 1
                        yield place, row
        except UnicodeDecodeError:
            if loaders:
                raise
            loaders = [_NoText]
        else:
            return


async def rows_of_ids(tx: AsyncConnection, ids: Sequence[UUID], limit: int) -> list[Stored]:
    """All rows with these identifiers, wherever they stand; every month is looked through."""
    return await _stored(tx, _OF_IDS, {"ids": list(ids), "limit": limit})


async def rows_of_events(tx: AsyncConnection, events: Iterable[str]) -> list[Stored]:
    """All rows of some kinds, in the order of their moments."""
    return await _stored(tx, _OF_EVENTS, {"events": list(events)})


async def rows_of_one_id(tx: AsyncConnection) -> list[Stored]:
    """Rows that share their identifiers with others, in the order of their moments; the whole ledger is looked through.

    It takes as long as it takes.
    """
    await _take_time(tx)
    return await _stored(tx, _DOUBLED, {})


async def rows_of_bent_lists(tx: AsyncConnection) -> list[Stored]:
    """Rows whose lists do not begin at 1: they hold what others hold, and are found by nobody who asks for the first.

    The whole ledger is looked through. It takes as long as it takes.
    """
    await _take_time(tx)
    return await _stored(tx, _BENT, {})


async def count_up_to(tx: AsyncConnection, clusters: Sequence[Cluster], place: Place) -> int:
    """How many rows do not stand behind a place, counted row by row and by no index. It takes as long as it takes."""
    await _take_time(tx)
    await _without_indexes(tx)
    here = next((each for each in clusters if each.number == place.cluster), None)
    values = {"xact": str(place.xact), "seq": place.seq, "low": 0, "high": 0}
    if here is not None:
        values |= {"low": here.after_seq or -_LAST_SEQ, "high": _LAST_SEQ if here.until is None else here.until}
    count: int = (await tx.execute(_COUNT, values)).scalar_one()
    return count


async def count_seals(tx: AsyncConnection) -> int:
    """How many seals there are, also of no number, counted by no index."""
    # What is asked after this may use them.
    async with tx.begin_nested() as alone:
        await _without_indexes(tx)
        count: int = (await tx.execute(select(func.count()).select_from(ledger_seals))).scalar_one()
        await alone.rollback()
    return count


async def count_ahead(tx: AsyncConnection, cluster: Cluster) -> int:
    """How many rows name a transaction that there has not been yet, counted by no index. It takes its time."""
    await _take_time(tx)
    await _without_indexes(tx)
    ahead = text("SELECT count(*) FROM ledger WHERE xact >= pg_snapshot_xmax(pg_current_snapshot()) AND seq > :low")
    count: int = (await tx.execute(ahead, {"low": cluster.after_seq or -_LAST_SEQ})).scalar_one()
    return count


async def _without_indexes(tx: AsyncConnection) -> None:
    await tx.execute(text("SET LOCAL enable_seqscan = on"))
    for way in ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"):
        await tx.execute(text(f"SET LOCAL {way} = off"))


async def tiles_after(tx: AsyncConnection, after: tuple[int, int] | None, limit: int) -> list[Tile]:
    """The tiles that are kept, behind one or all, by level and index; of one that is none, no bytes."""
    columns = ledger_tiles.c
    behind = tuple_(columns.level, columns.index) > tuple_(*map(literal, after)) if after is not None else true()
    question = (
        select(
            func.coalesce(columns.level, -1),
            func.coalesce(columns.index, -1),
            func.coalesce(columns.hash, literal(b"")),
        )
        .where(behind)
        .order_by(columns.level, columns.index)
        .limit(limit)
    )
    return [Tile(height, number, bytes(root)) for height, number, root in await tx.execute(question)]


async def _take_time(tx: AsyncConnection) -> None:
    await tx.execute(text("SET LOCAL statement_timeout = 0"))


async def row_at(tx: AsyncConnection, at: datetime, id_: UUID) -> Stored | None:
    """The row of a moment and an identifier."""
    found = await _stored(tx, _AT, {"at": at, "id": id_})
    return found[0] if found else None


async def rows_placed(tx: AsyncConnection, places: Sequence[tuple[datetime, UUID]]) -> list[Stored]:
    """The rows of moments and identifiers, the oldest first."""
    values = {"moments": [at for at, _ in places], "ids": [id_ for _, id_ in places]}
    return await _stored(tx, _PLACED, values)


async def tree(tx: AsyncConnection, size: int) -> Tree:
    """The tree of the first leaves, by its right edge."""
    wanted = subtrees((0, size))
    held = await roots(tx, wanted)
    return Tree(size, [held[each] for each in wanted])


async def roots(tx: AsyncConnection, wanted: Iterable[Subtree]) -> Mapping[Subtree, bytes]:
    """The roots of full subtrees, from the leaves and from the tiles that are kept."""
    found: dict[Subtree, bytes] = {}
    for subtree in set(wanted):
        height, index = subtree
        level, within = divmod(height, TILE_HEIGHT)
        begin, end = index << within, index + 1 << within
        hashes = await (_tiles(tx, level, begin, end) if level else _leaves(tx, begin, end))
        # Where some are gone, it is another tree's root, and so no proof.
        part = Tree()
        part.grow(hashes)
        found[subtree] = part.root
    return found


async def tell(tx: AsyncConnection, told: Told) -> None:
    """Note how far a witness has been told."""
    await tx.execute(_TOLD, {"name": told.name, "number": told.number, "at": told.at, "fault": told.fault})


async def witnesses(tx: AsyncConnection) -> list[Told]:
    """How far each witness has been told, by name."""
    columns = ledger_witnesses.c
    question = select(
        func.coalesce(columns.name, "").label("name"),
        func.coalesce(columns.number, 0).label("number"),
        func.coalesce(in_calendar(columns.at), _EARLIEST).label("at"),
        columns.fault,
    )
    found = await tx.execute(question.order_by(columns.name))
    return [Told(each.name, each.number, each.at, each.fault) for each in found]


async def _tiles(tx: AsyncConnection, level: int, begin: int, end: int) -> list[bytes]:
    columns = ledger_tiles.c
    question = (
        select(columns.hash)
        .where(columns.level == level, columns.index >= begin, columns.index < end)
        .order_by(columns.index)
    )
    return [bytes(each) for each in (await tx.execute(question)).scalars()]


async def _leaves(tx: AsyncConnection, begin: int, end: int) -> list[bytes]:
    found = await tx.execute(_LEAVES, {"begin": begin, "end": end})
    joined = b"".join(bytes(part) for part in found.scalars())
    return [joined[begin : begin + WIDTH] for begin in range(0, len(joined), WIDTH)]


async def _stored(tx: AsyncConnection, question: str, values: Mapping[str, object]) -> list[Stored]:
    driver: Any = (await tx.get_raw_connection()).driver_connection
    try:
        async with driver.cursor(binary=True) as cursor:
            await cursor.execute(question, values)
            return [_row(found) for found in await cursor.fetchall()]
    except UnicodeDecodeError:
        async with driver.cursor(binary=True) as cursor:
            cursor.adapters.register_loader("text", _NoText)
            await cursor.execute(question, values)
            return [_row(found) for found in await cursor.fetchall()]


class _NoText(Loader):
    """Reads what a column of text holds although it is none, as something that no text in PostgreSQL can be."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            return "\0" + bytes(data).decode(errors="backslashreplace")


def _row(found: tuple[Any, ...]) -> Stored:
    # The moment and the transaction alone are not read as they are stored.
    at = int.from_bytes(found[1], signed=True) + _TO_2000
    return Stored._make((found[0], at, *found[2:23], int(found[23]), *found[24:]))


def _note(checkpoint: bytes) -> str:
    return bytes(checkpoint).decode(errors="replace")


def _seal(found: DatabaseRow[Any]) -> Seal:
    return Seal(
        number=found.number,
        at=found.at.astimezone(UTC),
        first=found.first,
        size=found.size,
        ids=bytes(found.ids),
        leaves=bytes(found.leaves),
        checkpoint=_note(found.checkpoint),
        place=Place(found.cluster, int(found.xact), found.seq),
    )
