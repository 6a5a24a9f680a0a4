"""The first start: on a realm at revision 0, one administrator gets everything that governs, and no data.

Who that is, the operator says: by a link that the first start prints, which works once and
which whoever signs in may follow; or, where nobody reads what a start prints, by a setting.
Later neither changes anything: who administers then is what the realm itself says.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from muniment.core.grants import Grant
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import NotFound
from muniment.core.realm import Change
from muniment.core.schema import GOVERNING_ACTIONS
from muniment.flows.house import House
from muniment.store import beginnings, changes, ledger, revisions
from muniment.store.databases import Database, Transaction

BOOTSTRAP = "bootstrap"

#: How long the link of a start can be followed.
LINK_LASTS = timedelta(hours=24)


async def begin_realm(db: Database, occasion: Occasion, administrator: str) -> bool:
    """Make the first grant, to a group's id or a subject's built-in group; whether this was the first start."""
    because = "the first administrator, named in MUNIMENT_BOOTSTRAP_ADMIN at the first start"
    async with db.begin() as tx:
        return await _begun(tx, occasion, administrator, because) is not None


async def offer_beginning(db: Database, at: datetime, secret: str) -> bool:
    """Let whoever knows the secret begin the realm within a day; whether it has not begun yet."""
    async with db.begin() as tx:
        if await revisions.lock(tx) != 0:
            return False
        await beginnings.offer(tx, _digest(secret), at + LINK_LASTS)
        return True


async def beginning_stands(house: House, occasion: Occasion, secret: str) -> bool:
    """Whether there is a link with this secret that can be followed now."""
    async with house.db.begin() as tx:
        return await beginnings.stands(tx, _digest(secret), occasion.at)


async def take_beginning(house: House, occasion: Occasion, secret: str) -> int:
    """Make the asker the first administrator; gives the revision.

    Raises :class:`NotFound` for a secret of no link that can be followed: it never was one,
    it has ended, or the realm has begun.
    """
    because = "the first administrator, who followed the link that the first start printed"
    async with house.db.begin() as tx:
        stands = await beginnings.stands(tx, _digest(secret), occasion.at)
        revision = await _begun(tx, occasion, str(occasion.subject), because) if stands else None
    if revision is None:
        realm = await house.realms.current()
        async with house.refusals_recorded(occasion, realm):
            raise NotFound
    return revision


async def _begun(tx: Transaction, occasion: Occasion, administrator: str, because: str) -> int | None:
    """The first revision with the first grant; None when the realm has begun already."""
    if await revisions.lock(tx) != 0:
        return None
    grant = Grant(id=BOOTSTRAP, to=administrator, actions=frozenset(GOVERNING_ACTIONS), on=ROOT, because=because)
    revision = await revisions.next(tx, occasion, because)
    await changes.append(tx, revision, [(Change(Grant, grant.id, grant), 0)])
    await beginnings.end_all(tx)
    made = row(
        occasion,
        Event.BOOTSTRAPPED,
        Outcome.DONE,
        revision=revision,
        policies=(grant.policy().id,),
        details={"administrator": administrator},
    )
    await ledger.append(tx, [made])
    return revision


def _digest(secret: str) -> bytes:
    """SHA-256 is enough: the secret is random, and as long as the digest."""
    return hashlib.sha256(secret.encode()).digest()
