"""The first start: on a realm at revision 0, one administrator gets everything that governs, and no data.

Later the setting is ignored: who administers then is what the realm itself says.
"""

from __future__ import annotations

from muniment.core.grants import Grant
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.realm import Change
from muniment.core.schema import GOVERNING_ACTIONS
from muniment.store import changes, ledger, revisions
from muniment.store.databases import Database

BOOTSTRAP = "bootstrap"


async def begin_realm(db: Database, occasion: Occasion, administrator: str) -> bool:
    """Make the first grant, to a group's id or a subject's built-in group; whether this was the first start."""
    grant = Grant(
        id=BOOTSTRAP,
        to=administrator,
        actions=frozenset(GOVERNING_ACTIONS),
        on=ROOT,
        because="the first administrator, named in MUNIMENT_BOOTSTRAP_ADMIN at the first start",
    )
    async with db.begin() as tx:
        if await revisions.lock(tx) != 0:
            return False
        revision = await revisions.next(tx, occasion, grant.because)
        await changes.append(tx, revision, [(Change(Grant, grant.id, grant), 0)])
        made = row(
            occasion,
            Event.BOOTSTRAPPED,
            Outcome.DONE,
            revision=revision,
            policies=(grant.policy().id,),
            details={"administrator": administrator},
        )
        await ledger.append(tx, [made])
    return True
