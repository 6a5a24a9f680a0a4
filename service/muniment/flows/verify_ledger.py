"""An auditor verifies the ledger as it stands in the database: every row, every seal, and what witnesses keep.

Seals and rows are read in pieces, so a ledger of any length is verified in the memory of a
few thousand rows, and nobody who writes waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from muniment.core import statements
from muniment.core.checkpoints import Note, VerifierKey
from muniment.core.ledger import Event, Place
from muniment.core.merkle import Tile
from muniment.core.problems import Invalid
from muniment.core.seals import ID_WIDTH, Seal, Stored
from muniment.core.verdicts import Verdict
from muniment.core.verifying import Verifier
from muniment.identity.seal_keys import holds
from muniment.store import ledger_guards, ledger_order, ledger_shape, seals
from muniment.store.databases import Database, Transaction
from muniment.store.ledger_order import Cluster
from muniment.store.seals import Unreadable
from muniment.store.witnesses import Witness

#: How many rows are read at once.
_PIECE: Final = 8192
#: How many rows stand at the places of so many at most; more of them are somebody's, and told of as without a place.
_MOST: Final = 16 * _PIECE
#: How far a sort of PostgreSQL's reads ahead, at most.
_AHEAD: Final = 64
#: How often it is begun anew because something was said meanwhile.
_ATTEMPTS: Final = 3
#: How many tiles are compared at once.
_TILES: Final = 4096

_BEGINNING: Final = Place(0, 0, 0)

#: Where nobody says in which clusters the ledger lived, it is read as that of one.
_ONE: Final = Cluster(1, 0, None, datetime.min.replace(tzinfo=UTC))

#: Told after each piece: how many rows have been verified, of how many.
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Auditing:
    """What a ledger is held to: keys that somebody vouches for, and witnesses."""

    pinned: Sequence[VerifierKey] = ()
    witnesses: Sequence[Witness] = ()


async def verify_ledger(db: Database, auditing: Auditing, tell: Tell = lambda _rows, _all: None) -> Verdict:
    """What is proven of the ledger, up to which moment, and what speaks against more.

    Where rows were retired or erased meanwhile, what lacks was said after it was asked: then it is verified anew.
    """
    for left in reversed(range(_ATTEMPTS)):
        said = await _said(db)
        verdict = await _verified(db, auditing, tell)
        if verdict.holds or not left or await _said(db) == said:
            return verdict
    raise AssertionError


async def _said(db: Database) -> frozenset[str]:
    try:
        async with _reading(db) as tx:
            if await ledger_shape.unreadable(tx):
                return frozenset()
            return frozenset(row.id for row in await seals.rows_of_events(tx, statements.EVENTS))
    except Unreadable:
        return frozenset()


async def _verified(db: Database, auditing: Auditing, tell: Tell) -> Verdict:
    try:
        async with _reading(db) as tx:
            unreadable = await ledger_shape.unreadable(tx)
            noted = [] if unreadable else await ledger_order.clusters(tx)
            told = [] if unreadable else await seals.witnesses(tx)
            head = None if unreadable else await seals.head(tx)
    except Unreadable as damaged:
        verifier = Verifier(check=holds, pinned=auditing.pinned)
        verifier.damaged(str(damaged))
        return verifier.finish()
    if unreadable:
        verifier = Verifier(check=holds, pinned=auditing.pinned)
        verifier.unguarded(unreadable)
        return verifier.finish()
    verifier = Verifier(
        check=holds,
        pinned=auditing.pinned,
        witnesses={each.name: each.notes() for each in auditing.witnesses},
        keep_all=frozenset(each.name for each in auditing.witnesses if each.wants_all),
        told={each.name: each.number for each in told},
        clusters={each.number: each.after_seq for each in noted},
    )
    clusters = noted or [_ONE]
    try:
        place, there = await _hold_seals(db, verifier, clusters, lambda rows: tell(rows, head.size if head else 0))
        return await _finish(db, verifier, clusters, place, there)
    except _Damaged as damaged:
        verifier.damaged(str(damaged), damaged.seal, damaged.row)
    except Unreadable as damaged:
        verifier.damaged(str(damaged))
    return verifier.finish()


class _Damaged(Exception):
    """A row of a seal cannot be read, counted from its first."""

    def __init__(self, seal: Seal, row: int, words: str) -> None:
        super().__init__(words)
        self.seal = seal
        self.row = row


@asynccontextmanager
async def _reading(db: Database) -> AsyncIterator[Transaction]:
    async with db.begin() as tx:
        with seals.reading():
            yield tx


async def _hold_seals(
    db: Database, verifier: Verifier, clusters: Sequence[Cluster], tell: Callable[[int], None]
) -> tuple[Place, int]:
    """Every seal and its rows; gives the place of the last, and how many rows there were."""
    # What cannot be read here stands where the seals come by it.
    with suppress(Unreadable):
        async with _reading(db) as tx:
            for row in await seals.rows_of_events(tx, statements.EVENTS):
                verifier.say(row)
            for row in await seals.rows_of_events(tx, [Event.LEDGER_RELEASED]):
                verifier.released(row)
            verifier.bent(await seals.rows_of_bent_lists(tx))
    tiles: list[Tile] = []
    place, there, came = _BEGINNING, 0, 0
    async with _reading(db) as tx:
        # Before they come: what is sealed meanwhile comes beside.
        counted = await seals.count_seals(tx)
    async for held, rows in _pieces(db, clusters):
        begin, came = 0, came + len(held)
        for seal in held:
            end = _end_of(rows, begin, _through(seal), clusters)
            tiles += verifier.seal(seal, rows[begin:end])
            begin, place = end, max(place, _through(seal))
        there += len(rows)
        tell(there)
    verifier.hidden(counted - came)
    await _hold_tiles(db, verifier, tiles)
    return place, there


async def _pieces(db: Database, clusters: Sequence[Cluster]) -> AsyncIterator[tuple[list[Seal], list[Stored]]]:
    """Seals in their order, some at a time, with the rows that stand in their places."""
    number: int | None = None
    place = _BEGINNING
    while True:
        async with _reading(db) as tx:
            held = await seals.following(tx, number, _PIECE)
        if not held:
            return
        # A place that was written over must not let rows be passed over, nor read again.
        until = max(place, *map(_through, held))
        try:
            rows = await _rows(db, clusters, place, until, _MOST)
        except Unreadable:
            # One by one, as far as that goes.
            for seal in held:
                yield [seal], await _rows_of(db, clusters, place, seal)
                place = max(place, _through(seal))
        else:
            yield held, rows
        number, place = held[-1].number, until


async def _rows(db: Database, clusters: Sequence[Cluster], after: Place, until: Place, most: int) -> list[Stored]:
    async with _reading(db) as tx:
        return await seals.rows_between(tx, clusters, after, until, limit=most)


async def _rows_of(db: Database, clusters: Sequence[Cluster], after: Place, seal: Seal) -> list[Stored]:
    """The rows of a seal; :class:`_Damaged` names the first that cannot be read."""
    until = max(after, _through(seal))
    try:
        return await _rows(db, clusters, after, until, _MOST)
    except Unreadable as unreadable:
        words = str(unreadable)
    readable, beyond = 0, max(len(seal.ids) // ID_WIDTH, 1)
    while beyond - readable > 1:
        middle = (readable + beyond) // 2
        try:
            await _rows(db, clusters, after, until, middle)
            readable = middle
        except Unreadable:
            beyond = middle
    # A sort reads ahead, and fails before the row is due: those that can be read by themselves are not the one.
    for row in range(readable, min(readable + _AHEAD, len(seal.ids) // ID_WIDTH)):
        try:
            async with _reading(db) as tx:
                await seals.rows_of_ids(tx, [seal.id_at(seal.first + row)], 1)
        except Unreadable:
            raise _Damaged(seal, row, words) from None
    raise _Damaged(seal, readable, words)


def _through(seal: Seal) -> Place:
    """The place of the last row of a seal: the signed one, as long as it can be read."""
    try:
        return Note.parse(seal.checkpoint).checkpoint.through
    except Invalid:
        return seal.place


def _end_of(rows: Sequence[Stored], begin: int, place: Place, clusters: Sequence[Cluster]) -> int:
    """Behind the last of the rows that stand at a place or before it."""
    low, high = begin, len(rows)
    while low < high:
        middle = (low + high) // 2
        if _place_of(rows[middle], clusters) <= place:
            low = middle + 1
        else:
            high = middle
    return low


def _place_of(row: Stored, clusters: Sequence[Cluster]) -> Place:
    number = next((each.number for each in clusters if each.holds(row.seq)), clusters[0].number)
    return Place(number, row.xact, row.seq)


async def _hold_tiles(db: Database, verifier: Verifier, tiles: Sequence[Tile]) -> None:
    """Compare the tiles that are kept with those that the leaves make."""
    made = {(tile.level, tile.index): tile.root for tile in tiles}
    after: tuple[int, int] | None = None
    while True:
        async with _reading(db) as tx:
            kept = await seals.tiles_after(tx, after, _TILES)
            head = await seals.head(tx)
        # What was sealed meanwhile filled tiles of its own.
        newest = head.size if head is not None else 0
        strange = (tile for tile in kept if made.pop((tile.level, tile.index), None) != tile.root)
        verifier.tiles((tile for tile in strange if not verifier.size < tile.end <= newest), missing=0)
        if len(kept) < _TILES:
            verifier.tiles((), missing=len(made))
            return
        after = kept[-1].level, kept[-1].index


async def _finish(db: Database, verifier: Verifier, clusters: Sequence[Cluster], place: Place, there: int) -> Verdict:
    """What is looked for in the whole ledger, once the seals are through."""
    lost = verifier.lost()
    async with _reading(db) as tx:
        counted = await seals.count_up_to(tx, clusters, place)
        doubled = await seals.rows_of_one_id(tx)
        if lost:
            verifier.elsewhere(await seals.rows_of_ids(tx, lost, 2 * len(lost)))
        verifier.unguarded(await ledger_shape.faults(tx))
        verifier.unguarded(await ledger_guards.faults(tx))
    verifier.without_place(counted - there)
    verifier.doubled(doubled)
    behind = place
    while True:
        async with _reading(db) as tx:
            rows = await seals.rows_between(tx, clusters, behind, None, limit=_PIECE)
            where = await seals.snapshot(tx)
        verifier.unsealed(rows, where.next_xact)
        if len(rows) < _PIECE:
            async with _reading(db) as tx:
                verifier.ahead(await seals.count_ahead(tx, clusters[-1]))
            return verifier.finish(where.next_xact, clusters[-1].number, where.at)
        behind = _place_of(rows[-1], clusters)
