"""Months that go are kept as files: exports with the proof of each row, whole and proven, or not there at all.

A file is written beside its name, flushed to the disk, and read back: each row must be proven by the ledger's key, and
there must be as many as the month holds. Only then it gets its name. What an attempt that was interrupted has left is
taken away by the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muniment.core.checkpoints import Note, VerifierKey
from muniment.core.export_proofs import prove
from muniment.core.exports import Format
from muniment.core.occasions import Occasion
from muniment.core.problems import CannotStart, Conflict
from muniment.flows.export_ledger import export_month, of_month
from muniment.identity.seal_keys import SealKeys, holds
from muniment.post.export_files import ending
from muniment.steward.export_files import read
from muniment.steward.refusals import Refused
from muniment.store import exports
from muniment.store.databases import Database
from muniment.store.partitions import Month


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder into which months are written before they go, each a file of its own that this user alone reads."""

    db: Database
    keys: SealKeys
    occasion: Occasion
    folder: Path
    format: Format
    account: str

    def path(self, month: Month) -> Path:
        """Where a month is kept."""
        return self.folder / f"muniment-ledger-{month.name}.{ending(self.format)}"

    async def write(self, month: Month, rows: int) -> str:
        """Write a month of so many rows, or write it anew; gives the SHA-256 of the file, in hex.

        Raises :class:`Conflict` where something else stands in its place, or the file is not all of the month.
        """
        path = self.path(month)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for left in self.folder.glob(f".{path.name}.*"):
                left.unlink()
            if path.exists() and await self._fault(path, month, None) is not None:
                raise Conflict(
                    f"{path} is there, and is not what this ledger has of {month.name}: nothing is written over it. "
                    "Move it elsewhere, or name another folder."
                )
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                await _written(fresh, export_month(self.db, self.occasion, month, self.format, self.account))
                fault = await self._fault(fresh, month, rows)
                if fault is not None:
                    raise Conflict(f"{month.name} stays: what was written of it is not all of it. {fault}")
                digest = await asyncio.to_thread(_digest, fresh)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
            await asyncio.to_thread(_flush_folder, self.folder)
        except OSError as failed:
            raise CannotStart(f"{month.name} stays: {path} cannot be written: {failed.strerror}.") from failed
        return digest

    async def require(self, month: Month, rows: int) -> None:
        """Refuse where a month of so many rows, which is out of the ledger already, is not kept whole in the folder."""
        path = self.path(month)
        fault = await self._fault(path, month, rows) if path.exists() else f"There is no {path}."
        if fault is not None:
            raise Conflict(
                f"{month.name} was taken out of the ledger by an attempt before, and is not kept there: {fault} Its "
                f"rows still stand in the table {month.table}. To let them go as they are: the same without --to."
            )

    async def _fault(self, path: Path, month: Month, rows: int | None) -> str | None:
        """What keeps a file from being this month's, of this ledger and with so many rows, in words; None: nothing."""
        async with self.db.begin() as tx:
            announced = [Note.parse(note).checkpoint.key for note in await exports.announcements(tx)]
        pinned = [self.keys.current.public, *(key for key in announced if key is not None)]
        return await asyncio.to_thread(_fault_of, path, pinned, of_month(month).told, rows)


def _fault_of(path: Path, pinned: Sequence[VerifierKey], asked: object, rows: int | None) -> str | None:
    try:
        proven = prove(read(path), holds, pinned)
    except Refused as refused:
        return refused.message
    if not proven.holds:
        return f"{path.name}: {proven.faults[0].words}."
    if proven.head is None or proven.head.asked != asked:
        return f"{path.name} is of something else."
    if proven.absent or rows not in {None, proven.rows}:
        return f"{path.name} has {proven.rows:,} rows, and the month {rows:,}."
    return None


async def _written(path: Path, parts: AsyncIterator[bytes]) -> None:
    """Write parts to a new file that this user alone reads, down to the disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        async for part in parts:
            await asyncio.to_thread(out.write, part)
        out.flush()
        await asyncio.to_thread(os.fsync, out.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    """The new name must be on the disk, too, before the rows go. Some file systems cannot say so of a folder."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(opened)
    finally:
        os.close(opened)
