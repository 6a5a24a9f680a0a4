"""Rows of the ledger are sealed in the order in which they were committed, and witnesses are told.

A seal is one transaction of its own. Nobody who writes rows waits for it, and nobody who
seals waits for a witness that is away: it is told what it missed when it is back. Where a
witness keeps checkpoints that the database does not know, nothing more is sealed: somebody
restored a backup, or cut something off, and a person has to say which.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Final
from uuid import UUID

from muniment.core import seals as core
from muniment.core.checkpoints import NONE_BEFORE, Checkpoint, Note, Restored
from muniment.core.ledger import Event, Outcome, Place, row
from muniment.core.merkle import Tree
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict
from muniment.core.seals import Seal, Stored
from muniment.identity.seal_keys import SealKey, SealKeys, holds
from muniment.store import ledger, ledger_order, seals
from muniment.store.databases import Database, Transaction
from muniment.store.seals import Head, Told
from muniment.store.witnesses import Witness, WitnessAway

logger = logging.getLogger("muniment.sealing")

#: The most rows of one seal.
LARGEST: Final = 4096

#: How many checkpoints a witness is told at once.
_NOTES: Final = 256

#: How long nothing is sealed because a witness has not said what it keeps.
_PATIENCE_SECONDS: Final = 5.0

_NOTHING: Final = Place(0, 0, 0)

_NOT_SIGNED: Final = "The seals are not what was signed: muniment audit verify says where."


class SealingStopped(Conflict):
    """Nothing more is sealed until a person has said what is so."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the next seal goes on from."""

    head: Head | None
    note: Note | None
    tree: Tree
    key: SealKey

    @property
    def number(self) -> int:
        return self.head.number if self.head else 0

    @property
    def place(self) -> Place:
        return self.head.place if self.head else _NOTHING


@dataclass(slots=True)
class _Taken:
    """What a seal keeps of the rows that it is of, taken one by one: a row itself is needed no longer."""

    through: Place
    ids: bytearray = field(default_factory=bytearray)
    leaves: list[bytes] = field(default_factory=list)

    def add(self, place: Place, row: Stored) -> None:
        """Take the next row in the order of commits."""
        self.through = place
        self.ids += UUID(row.id).bytes
        self.leaves.append(core.leaf(row))


class Sealer:
    """Seals one ledger with one key, and tells its witnesses."""

    def __init__(self, db: Database, keys: SealKeys, witnesses: Sequence[Witness] = ()) -> None:
        """Nothing is asked yet."""
        self._db = db
        self._keys = keys
        self.witnesses = witnesses
        self._tree: tuple[str, Tree] | None = None
        self._made: Note | None = None
        self._told: dict[str, Told] = {}
        self._kept: dict[str, Note | None] = {}

    @property
    def over(self) -> bool:
        """Whether the database is another than it was: nothing can be done any more, and another sealer goes on."""
        return self._db.replaced.is_set()

    async def seal(self) -> Seal | None:
        """Seal what can be sealed now, at most :data:`LARGEST` rows; None where there is nothing, or others seal."""
        async with self._db.begin() as tx:
            if not await seals.take_turn(tx):
                return None
            standing = await self._standing(tx)
            where = await seals.snapshot(tx)
            clusters = await ledger_order.clusters(tx)
            taken = _Taken(standing.place)
            settled = seals.rows_settled(tx, clusters, standing.place, where.settled, LARGEST)
            async with aclosing(settled) as rows:
                async for place, each in rows:
                    taken.add(place, each)
            seal = await self._append(tx, standing, taken) if taken.leaves else None
        if seal is not None:
            # Committed: from now on this process is a witness, too.
            self._made = Note.parse(seal.checkpoint)
        return seal

    async def seal_all(self) -> int:
        """Seal everything that can be sealed now, and not what is written meanwhile; gives how many rows."""
        count = 0
        while (seal := await self.seal()) is not None:
            count += seal.size - seal.first
            if seal.size - seal.first < LARGEST:
                break
        return count

    async def rotate(self, occasion: Occasion, because: str, account: str) -> str:
        """Let a new key follow: a seal of no rows that both sign, and that announces it; gives the new key.

        The row that tells of it is sealed next.
        """
        async with self._db.begin() as tx:
            if not await seals.take_turn(tx):
                raise SealingStopped("Somebody is sealing just now; try again in a moment.")
            standing = await self._standing(tx)
            if standing.head is None:
                raise SealingStopped("Nothing is sealed yet, so no key has to follow on another.")
            following = self._keys.prepare_next()
            await self._append(tx, standing, _Taken(standing.place), following=following)
            told = {"key": following.public.text, "before": standing.key.public.text}
            await _record(tx, occasion, Event.SEAL_KEY_ROTATED, {**told, "because": because, "account": account})
        return self._keys.follow().public.text

    async def accept_restore(self, occasion: Occasion, because: str, account: str) -> Restored:
        """Go on from an older state of the database: a signed checkpoint says which ones are lost, and why."""
        try:
            lost = [note for witness in self.witnesses if (note := await witness.newest()) is not None]
        except WitnessAway as away:
            raise SealingStopped(
                f"What was lost only all witnesses together tell, and one is away: {away}. Bring it back, or take it "
                "out of MUNIMENT_WITNESSES."
            ) from away
        newest = max(lost, key=lambda note: note.checkpoint.number, default=None)
        async with self._db.begin() as tx:
            if not await seals.take_turn(tx):
                raise SealingStopped("Somebody is sealing just now; try again in a moment.")
            standing = await self._standing(tx)
            if newest is None or newest.checkpoint.number <= standing.number:
                raise SealingStopped("No witness keeps a checkpoint that is not in the database: nothing was lost.")
            told = Restored(
                first_lost=standing.number + 1,
                last_lost=newest.checkpoint.number,
                size=newest.checkpoint.size,
                note_sha256=newest.sha256.hex(),
                because=because,
            )
            await self._append(tx, standing, _Taken(standing.place), restored=told)
            await _record(tx, occasion, Event.RESTORE_ACCEPTED, {**asdict(told), "account": account})
        return told

    async def hold_to_witnesses(self) -> None:
        """Refuse to go on where a witness keeps a checkpoint that is not in the database, or another one.

        One that is away, or does not answer soon, is held to what it said last, and again when it is told.
        """
        for witness in self.witnesses:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    self._kept[witness.name] = await witness.newest()
            except WitnessAway as away:
                logger.warning("The witness %s cannot be asked: %s", witness.name, away)
            except TimeoutError:
                logger.warning("The witness %s cannot be asked: it does not answer", witness.name)
            kept = self._kept.get(witness.name)
            if kept is None:
                continue
            async with self._db.begin() as tx:
                await _hold_to(tx, f"The witness {witness.name}", kept)

    async def tell_witnesses(self) -> Sequence[Told]:
        """Tell each witness what it has not been told; gives how far each is, and what kept it from more."""
        return [await self.tell(witness) for witness in self.witnesses]

    async def tell(self, witness: Witness) -> Told:
        """Tell one witness what it has not been told. One that was away is held against the database first."""
        before = self._told.get(witness.name)
        number, fault = before.number if before else 0, None
        try:
            if before is None or before.fault is not None:
                kept = self._kept[witness.name] = await witness.newest()
                number = kept.checkpoint.number if kept is not None else 0
                if kept is not None:
                    async with self._db.begin() as tx:
                        await _hold_to(tx, f"The witness {witness.name}", kept)
            while notes := await self._notes(number):
                await witness.tell(notes if witness.wants_all else notes[-1:])
                number = notes[-1][0]
        except WitnessAway as away:
            fault = str(away)
        async with self._db.begin() as tx:
            told = Told(witness.name, number, (await seals.snapshot(tx)).at, fault)
            if before is None or (told.number, told.fault) != (before.number, before.fault):
                await seals.tell(tx, told)
        if fault is not None and (before is None or before.fault is None):
            logger.warning("The witness %s cannot be told: %s. It is tried again.", witness.name, fault)
        self._told[witness.name] = told
        return told

    async def _notes(self, after: int) -> list[tuple[int, str]]:
        async with self._db.begin() as tx:
            return await seals.notes(tx, after, _NOTES)

    async def _standing(self, tx: Transaction) -> _Standing:
        """What stands: held to the key that is in force, and the tree to the root that was signed."""
        head = await seals.head(tx)
        if self._made is not None and (head is None or head.checkpoint != self._made.text):
            await _hold_to(tx, "This sealer, until it is started again,", self._made)
        if head is None:
            return _Standing(None, None, Tree(), self._keys.current)
        note = Note.parse(head.checkpoint)
        announced = note.checkpoint.key
        key = self._keys.follow_if_announced(announced) if announced is not None else self._keys.current
        if not note.is_signed_by(key.public, holds):
            raise SealingStopped(
                f"The last seal was not made with the key in {self._keys.path}, but with another one. Put that back: "
                "MUNIMENT_SEAL_KEY_FILE names the file."
            )
        signed = note.checkpoint
        # What is passed over between the signed place and the next row would be proven by nothing.
        if (head.number, head.size, head.place) != (signed.number, signed.size, signed.through):
            raise SealingStopped(_NOT_SIGNED)
        if self._tree is None or self._tree[0] != head.checkpoint:
            tree = await seals.tree(tx, head.size)
            if (tree.size, tree.root) != (signed.size, signed.root):
                raise SealingStopped(_NOT_SIGNED)
            self._tree = head.checkpoint, tree
        return _Standing(head, note, self._tree[1], key)

    async def _append(
        self,
        tx: Transaction,
        standing: _Standing,
        taken: _Taken,
        following: SealKey | None = None,
        restored: Restored | None = None,
    ) -> Seal:
        where = await seals.snapshot(tx)
        cluster = (await ledger_order.clusters(tx))[-1]
        before, key = standing.note, standing.key
        leaves, ids = b"".join(taken.leaves), bytes(taken.ids)
        tree = standing.tree.copy()
        tiles = tree.grow(taken.leaves)
        announced = following.public if following else key.public if before is None else None
        checkpoint = Checkpoint(
            origin=before.checkpoint.origin if before else key.public.name,
            size=tree.size,
            root=tree.root,
            number=restored.last_lost + 1 if restored else standing.number + 1,
            at=max(where.at, before.checkpoint.at) if before else where.at,
            ids=hashlib.sha256(ids).digest(),
            leaves=hashlib.sha256(leaves).digest(),
            through=taken.through,
            next_xact=where.next_xact,
            cluster=cluster.number,
            after_seq=cluster.after_seq,
            previous=before.sha256 if before else NONE_BEFORE,
            key=announced,
            restored=restored,
        )
        note = key.note(checkpoint)
        if following is not None:
            note = replace(note, signatures=(*note.signatures, following.signature(checkpoint)))
        seal = Seal(
            number=checkpoint.number,
            at=checkpoint.at,
            first=standing.tree.size,
            size=tree.size,
            ids=ids,
            leaves=leaves,
            checkpoint=note.text,
            place=checkpoint.through,
        )
        await seals.append(tx, seal, tiles)
        # Kept for the next one, which goes on from it if this one is committed.
        self._tree = note.text, tree
        return seal


async def _hold_to(tx: Transaction, whoever: str, kept: Note) -> None:
    """Refuse to go on where somebody keeps a checkpoint that is not in the database, or another one."""
    number = kept.checkpoint.number
    here = await seals.notes(tx, number - 1, 1)
    if here and here[0][0] != number and _is_told_lost(kept, here[0][1]):
        return
    if not here or here[0][0] != number:
        raise SealingStopped(
            f"{whoever} keeps checkpoint {number} of {kept.checkpoint.at.isoformat()}, which is not in the database: "
            "it was restored from an older backup, or its end was cut off. Find out which (muniment audit verify). "
            "To go on from here, and say so for ever: muniment audit accept-restore --because …"
        )
    if here[0][1] != kept.text:
        raise SealingStopped(
            f"{whoever} keeps another checkpoint {number} than the database: seals were changed. "
            "Find out which: muniment audit verify"
        )


def _is_told_lost(kept: Note, following: str) -> bool:
    """Whether the checkpoint that follows says that this one was lost when a backup was restored."""
    lost = Note.parse(following).checkpoint.restored
    if lost is None or not lost.first_lost <= kept.checkpoint.number <= lost.last_lost:
        return False
    return kept.checkpoint.number < lost.last_lost or kept.sha256.hex() == lost.note_sha256


async def _record(tx: Transaction, occasion: Occasion, event: Event, details: Mapping[str, object]) -> None:
    await ledger.append(tx, [row(occasion, event, Outcome.DONE, details=details)])


async def make_ready(db: Database, keys: SealKeys | None) -> None:
    """At each start: note which database cluster this is; of a ledger that was never sealed, make the key."""
    async with db.begin() as tx:
        await ledger_order.note_cluster(tx)
        sealed = await seals.head(tx) is not None
    if keys is None or sealed:
        return
    new = not keys.path.exists()
    public = keys.made().public.text
    if new:
        logger.info(
            "The key that seals the ledger was made: %s. Keep a copy. Note its public half: %s", keys.path, public
        )


async def seal_once(db: Database, keys: SealKeys, witnesses: Sequence[Witness] = ()) -> int:
    """Seal everything that can be sealed now, and tell the witnesses; gives how many rows were sealed."""
    sealer = Sealer(db, keys, witnesses)
    await sealer.hold_to_witnesses()
    count = await sealer.seal_all()
    await sealer.tell_witnesses()
    return count
