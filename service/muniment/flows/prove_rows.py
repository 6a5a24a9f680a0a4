"""Somebody asks for proof: that a row of theirs is sealed, that the ledger only grew, what was sealed when.

Whoever may read a row may have its proof; of every other there is none. Checkpoints and keys
are everybody's: they name nobody, and are worth the more the more people keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muniment.core import seals as core
from muniment.core.checkpoints import Note, VerifierKey
from muniment.core.ledger import Event, Outcome, Place, Row, row
from muniment.core.merkle import (
    Span,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    proves_inclusion,
    root_of,
    subtrees,
)
from muniment.core.occasions import Occasion
from muniment.core.oversight import reader_of
from muniment.core.problems import Conflict, Fault, Invalid, NotFound
from muniment.core.seals import Stored
from muniment.flows.house import House, aside
from muniment.identity.seal_keys import holds
from muniment.store import ledger, ledger_order, seals
from muniment.store.databases import Transaction
from muniment.store.seals import Told


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal as it is told of, and the revision of the realm."""

    number: int
    at: datetime
    first: int
    size: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Announced:
    """A key that seals, or sealed, since a checkpoint."""

    key: VerifierKey
    number: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That a row is leaf ``index`` of the tree of a checkpoint: its canonical bytes, its salt, and the path."""

    id: UUID
    index: int
    seal: int
    entry: bytes
    salt: bytes | None
    path: Sequence[bytes]
    checkpoint: Note
    revision: int

    @property
    def holds(self) -> bool:
        """Whether the path leads from the row to the root that the checkpoint says."""
        signed = self.checkpoint.checkpoint
        return proves_inclusion(leaf_hash(self.entry), self.index, signed.size, signed.root, self.path)


@dataclass(frozen=True, slots=True)
class Checked:
    """A proof, whether it holds, and which of the ledger's keys signed the checkpoint, if one did."""

    proof: Inclusion
    holds: bool
    signed_by: VerifierKey | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the ledger is sealed: by which checkpoint, of when, and how many rows that holds.

    ``waiting_since`` is when the first row came that is not sealed yet; ``witnesses`` keep checkpoints elsewhere, each
    up to some number.
    """

    number: int
    at: datetime
    size: int
    waiting_since: datetime | None
    witnesses: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the tree of one size grew from that of another."""

    path: Sequence[bytes]
    revision: int


async def newest_checkpoint(house: House) -> str:
    """The newest signed checkpoint, for everybody."""
    async with house.db.begin() as tx:
        with ledger.needed():
            head = await seals.head(tx)
    if head is None:
        raise NotFound
    return head.checkpoint


async def seal_keys(house: House) -> Sequence[Announced]:
    """The keys of the ledger, for everybody; the last one seals now."""
    async with house.db.begin() as tx:
        with ledger.needed():
            notes = [Note.parse(text).checkpoint for text in await seals.announcements(tx)]
    return [Announced(each.key, each.number, each.at) for each in notes if each.key is not None]


async def how_far(house: House) -> Standing | None:
    """How far the ledger is sealed now; nothing where nothing is. It names nobody, and is for everybody."""
    async with house.db.begin() as tx:
        with ledger.needed():
            head = await seals.head(tx)
            witnesses = await seals.witnesses(tx)
            waiting = await seals.oldest_unsealed(tx, await ledger_order.clusters(tx))
    if head is None:
        return None
    return Standing(head.number, Note.parse(head.checkpoint).checkpoint.at, head.size, waiting, witnesses)


async def list_seals(house: House, occasion: Occasion, limit: int, after: int) -> tuple[Sequence[Sealed], int]:
    """Seals after a number, in their order."""
    realm = await house.realms.current()
    await _record(house, occasion, realm.revision, {"seals": after})
    async with house.db.begin() as tx:
        with ledger.needed():
            found = await seals.outlines(tx, after, limit)
    return [Sealed(*each) for each in found], realm.revision


async def prove_inclusion(house: House, occasion: Occasion, id_: UUID | None, receipt: UUID | None) -> Inclusion:
    """Proof that a row is sealed; :class:`NotFound` where there is none that the asker may read."""
    if (id_ is None) == (receipt is None):
        message = "Name one row, by id or by receipt."
        raise Invalid(message, [Fault("id", message)])
    realm = await house.realms.current()
    await _record(house, occasion, realm.revision, {"proof": str(id_ or receipt)})
    reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
    async with house.db.begin() as tx:
        found = await _rows(tx, id_, receipt)
    readable = next((each for each in found if reader.may_read(each)), None)
    if readable is None:
        raise NotFound
    async with house.db.begin() as tx:
        stored = await seals.row_at(tx, readable.at, readable.id)
        head = await seals.head(tx)
        if stored is None or head is None:
            raise _not_yet()
        number, index = await _index(tx, stored)
        path = await _path(tx, inclusion_spans(index, head.size))
    entry, note = core.entry(stored), Note.parse(head.checkpoint)
    return Inclusion(readable.id, index, number, entry, stored.salt, path, note, realm.revision)


async def check_row(house: House, occasion: Occasion, id_: UUID) -> Checked:
    """A row's proof, checked here and now as whoever is handed it would; :class:`Conflict` before it is sealed."""
    proof = await prove_inclusion(house, occasion, id_, None)
    keys = [each.key for each in await seal_keys(house)]
    return Checked(proof, holds=proof.holds, signed_by=proof.checkpoint.signer(keys, holds))


async def prove_consistency(house: House, occasion: Occasion, first: int, second: int) -> Consistency:
    """Proof that the ledger of ``second`` rows is the one of ``first``, grown."""
    realm = await house.realms.current()
    await _record(house, occasion, realm.revision, {"first": first, "second": second})
    async with house.db.begin() as tx:
        with ledger.needed():
            head = await seals.head(tx)
        size = head.size if head is not None else 0
        if not 0 < first <= second <= size:
            message = f"Name two sizes, the smaller first, of which none is more than {size}."
            raise Invalid(message, [Fault("first", message)])
        path = await _path(tx, consistency_spans(first, second))
    return Consistency(path, realm.revision)


async def _rows(tx: Transaction, id_: UUID | None, receipt: UUID | None) -> Sequence[Row]:
    if id_ is not None:
        found = await ledger.of_id(tx, id_)
        return [found] if found is not None else []
    assert receipt is not None  # noqa: S101  one of them is given
    return await ledger.of_receipt(tx, receipt)


async def _index(tx: Transaction, stored: Stored) -> tuple[int, int]:
    """The seal that holds a row, and the row's index in the tree."""
    cluster = next((each for each in await ledger_order.clusters(tx) if each.holds(stored.seq)), None)
    seal = await seals.holding(tx, Place(cluster.number, stored.xact, stored.seq)) if cluster is not None else None
    id_ = UUID(stored.id)
    index = next((each for each in range(seal.first, seal.size) if seal.id_at(each) == id_), None) if seal else None
    if seal is None or index is None:
        raise _not_yet()
    return seal.number, index


async def _path(tx: Transaction, spans: Sequence[Span]) -> Sequence[bytes]:
    roots = await seals.roots(tx, {subtree for span in spans for subtree in subtrees(span)})
    return [root_of(span, roots) for span in spans]


async def _record(house: House, occasion: Occasion, revision: int, details: dict[str, object]) -> None:
    await house.ledger.record(row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=revision, details=details))


def _not_yet() -> Conflict:
    return Conflict("The row is not sealed yet. Rows are sealed within seconds; ask again.")
