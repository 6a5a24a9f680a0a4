"""Wires what whoever keeps the ledger works with, beside the service or without it: as the owner of its tables.

Months are retired, people erased, rows held. All of it is signed with the key that seals, so
nothing begins unless this is the key, and the ledger what witnesses know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from muniment.api.identifiers import new_id
from muniment.archiving import Archive
from muniment.core.exports import Format
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict
from muniment.core.subjects import ITSELF
from muniment.flows.seal_ledger import make_ready, seal_once
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKeys
from muniment.sealing import witnesses_of
from muniment.settings import Settings
from muniment.store import migrations, roles
from muniment.store.databases import Database
from muniment.store.partitions import Maintenance

#: A search through the whole ledger takes its time.
_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Keeping:
    """What one works with who keeps a ledger."""

    db: Database
    keys: SealKeys
    maintenance: Maintenance
    occasion: Occasion
    auditing: Auditing

    async def seal(self) -> None:
        """Seal what is not sealed yet, unless the service's sealer just does; refuses another key than the ledger's."""
        await seal_once(self.db, self.keys, self.auditing.witnesses)

    def archive(self, folder: Path, format_: Format, account: str) -> Archive:
        """A folder in which months are kept that go."""
        return Archive(self.db, self.keys, self.occasion, folder, format_, account)

    async def proven_until(self) -> datetime | None:
        """Until when the ledger is proven; refuses one that something speaks against."""
        verdict = await verify_ledger(self.db, self.auditing)
        if not verdict.holds:
            raise Conflict(f"{verdict.faults[0].words} Nothing is retired. See: muniment audit verify")
        return verdict.proven_until


@asynccontextmanager
async def keeping(settings: Settings, owner_url: str, client: str) -> AsyncIterator[Keeping]:
    """Keep the ledger of a database."""
    at, keys = datetime.now(UTC), SealKeys(settings.seal_key_path)
    db = Database.open(owner_url, connections=2, statement_seconds=_SECONDS, transaction_seconds=_SECONDS)
    try:
        await migrations.require_current(db)
        async with db.begin() as tx:
            await roles.require_owner(tx)
        await make_ready(db, keys)
        auditing = Auditing([keys.current.public], witnesses_of(settings))
        yield Keeping(db, keys, Maintenance(owner_url), Occasion(ITSELF, at, new_id(at), client=client), auditing)
    finally:
        await db.close()
