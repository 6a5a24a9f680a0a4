"""Whoever keeps the ledger retires months that are over: their rows go, and the proof of the others holds.

A month goes only when all of it is sealed and proven, and nothing in it is held. That it
goes is signed and sealed first; then it is taken out without anybody waiting, and dropped.
Its seals stay for ever. Interrupted anywhere, the next attempt goes on from there. Where
its rows are to be kept elsewhere, they are written and proven there before anything is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from muniment.core.holds import Hold
from muniment.core.identifiers import at_moment, derived
from muniment.core.ledger import Event, Outcome, Place, Row, row
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict
from muniment.identity.seal_keys import SealKeys
from muniment.store import holds, ledger, ledger_order, partitions, seals
from muniment.store.databases import Database, Transaction
from muniment.store.partitions import Maintenance, Month, Stands

#: Gives until when all rows are sealed and proven; refuses where something is wrong with them.
Proof = Callable[[], Awaitable[datetime | None]]

#: Seals what is not sealed yet, or waits until somebody has.
Sealing = Callable[[], Awaitable[None]]

#: How often it is looked whether something is sealed, and after how many seconds again.
_ATTEMPTS = 30
_PAUSE = 1.0


class Archive(Protocol):
    """Keeps the rows of months that go."""

    async def write(self, month: Month, rows: int) -> str:
        """Keep a month of so many rows, all of them and proven; gives the SHA-256 of what is kept, in hex."""

    async def require(self, month: Month, rows: int) -> None:
        """Refuse where a month of so many rows, which is out of the ledger already, is not kept whole."""


@dataclass(frozen=True, slots=True)
class Retiring:
    """What is to be retired: the months before a moment; ``account`` is whose at the machine it was."""

    before: datetime
    account: str
    because: str


@dataclass(frozen=True, slots=True)
class Retired:
    """A month, how many rows it held, and the holds that keep it, if any."""

    month: Month
    rows: int
    held_by: Sequence[Hold] = ()


async def due(db: Database, before: datetime) -> Sequence[Retired]:
    """The months that lie before a moment, the oldest first, up to the first one that is held."""
    found: list[Retired] = []
    async with db.begin() as tx:
        in_force = await holds.in_force(tx)
        for month in await partitions.months(tx):
            if month.end > before:
                break
            touching = (
                await holds.touching(tx, in_force, month.begin, month.end) if month.stands is Stands.WHOLE else ()
            )
            found.append(Retired(month, await partitions.count(tx, month), touching))
            if touching:
                break
    return found


async def retire_months(
    db: Database,
    maintenance: Maintenance,
    keys: SealKeys,
    occasion: Occasion,
    retiring: Retiring,
    *,
    proof: Proof,
    sealing: Sealing,
    archive: Archive | None = None,
) -> AsyncIterator[Retired]:
    """Retire months, the oldest first; gives each that is gone. With an archive, each is kept there before it goes."""
    months = await due(db, retiring.before)
    whole = [each for each in months if each.month.stands is Stands.WHOLE]
    if whole:
        await sealing()
    proven = await proof() if whole else None
    for each in months:
        month = each.month
        if each.held_by:
            hold = each.held_by[0]
            raise Conflict(
                f"{month.name} stays, and what came after it: a hold ({hold.id}: {hold.because}) is on {hold.words}."
            )
        if month.stands is Stands.WHOLE:
            if proven is None or proven < month.end:
                raise Conflict(f"{month.name} stays: not all of it is sealed and proven. See: muniment audit verify")
            kept = await archive.write(month, each.rows) if archive is not None else None
            told = await _record(db, keys, occasion, retiring, each, kept)
            await _await_seal(db, told, sealing)
        elif archive is not None:
            await archive.require(month, each.rows)
        await maintenance.remove(month)
        yield each


async def _record(
    db: Database, keys: SealKeys, occasion: Occasion, retiring: Retiring, each: Retired, kept: str | None
) -> Row:
    """Say, signed, that the rows before the end of a month are retired, and by which digest they are kept."""
    told = {
        "before": write_moment(each.month.end),
        "month": each.month.name,
        "count": each.rows,
        "because": retiring.because,
        "account": retiring.account,
        **({} if kept is None else {"file_sha256": kept}),
    }
    made = row(occasion, Event.LEDGER_RETIRED, Outcome.DONE, details=keys.signed(told))
    async with db.begin() as tx:
        # Proving and keeping what goes takes its time: the row tells when it was said, not when the work began.
        at = (await seals.snapshot(tx)).at
        made = replace(made, id=derived(at_moment(occasion.request_id, at), f"retired {each.month.name}"), at=at)
        await ledger.append(tx, [made])
    return made


async def _await_seal(db: Database, told: Row, sealing: Sealing) -> None:
    """Until what was said is sealed, by us or by the service's sealer: only then may the rows be missing."""
    for _ in range(_ATTEMPTS):
        await sealing()
        async with db.begin() as tx:
            if await _is_sealed(tx, told):
                return
        await asyncio.sleep(_PAUSE)
    raise Conflict("What is to be retired was said, and is not sealed yet. See that the sealer works, then try again.")


async def _is_sealed(tx: Transaction, told: Row) -> bool:
    stored = await seals.row_at(tx, told.at, told.id)
    if stored is None:
        return False
    here = (await ledger_order.clusters(tx))[-1]
    return await seals.holding(tx, Place(here.number, stored.xact, stored.seq)) is not None
