"""Whoever keeps the ledger puts a legal hold on rows, and releases it; auditors read which holds there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from muniment.core.holds import Hold, checked, reason_checked
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, NotAllowed
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
from muniment.flows.house import House, aside
from muniment.identity.seal_keys import SealKeys
from muniment.store import holds, ledger
from muniment.store.databases import Database


async def hold_rows(db: Database, keys: SealKeys, occasion: Occasion, wanted: Hold) -> Hold:
    """Put a hold on rows; it stands until somebody releases it."""
    made = checked(wanted)
    told = replace(row(occasion, Event.LEDGER_HELD, Outcome.DONE, details=keys.signed(made.told)), id=made.id)
    async with db.begin() as tx:
        await ledger.append(tx, [told])
    return made


async def release_rows(db: Database, keys: SealKeys, occasion: Occasion, id_: UUID, because: str, account: str) -> Hold:
    """Release a hold; raises :class:`Conflict` where there is none."""
    reason_checked(because)
    async with db.begin() as tx:
        found = next((hold for hold in await holds.in_force(tx) if hold.id == id_), None)
        if found is None:
            raise Conflict(f"There is no hold {id_}, or it was released already. See: muniment audit holds")
        details = keys.signed({"hold": str(id_), "because": because, "account": account})
        await ledger.append(tx, [row(occasion, Event.LEDGER_RELEASED, Outcome.DONE, details=details)])
    return found


async def list_holds(db: Database, occasion: Occasion, account: str) -> Sequence[Hold]:
    """The holds in force, for whoever has the database; that they were read is written down."""
    told = row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, details={"holds": True, "account": account})
    async with db.begin() as tx:
        await ledger.append(tx, [told])
        return await holds.in_force(tx)


async def read_holds(house: House, occasion: Occasion) -> tuple[Sequence[Hold], int]:
    """The holds in force, for whoever audits everything; that they were read is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        if not await aside(lambda: may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, ROOT)):
            raise NotAllowed("Which rows are held is told to those who hold audit on all.")
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details={"holds": True})
    )
    async with house.db.begin() as tx:
        return await holds.in_force(tx), realm.revision
