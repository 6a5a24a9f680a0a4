"""What every flow works with: the database, the realm, the ledger, and what has been decided already.

``app`` wires one house for each worker. It holds no state that another worker would have
to know of: what is remembered here is a function of a revision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio.to_thread

from muniment.core.codings import Bodies
from muniment.core.dataset_types import KnownTypes
from muniment.core.decisions import Listing, Memory, Wanted, list_all
from muniment.core.leases import Lengths
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.store.databases import Database
from muniment.store.ledger import Committer
from muniment.store.realms import Realms

#: How many subjects' listings are remembered, and how many catalogs ready to send.
_LISTINGS = 512

#: How many bytes of encoded catalogs are held.
_BODIES = 64 * 1024 * 1024

Answer = TypeVar("Answer")

#: A listing is a function of the revision, of who asks, and of what is asked about.
_Asked = tuple[int, str, Wanted]


@dataclass(frozen=True)
class House:
    """The wired service below its doors."""

    db: Database
    realms: Realms
    ledger: Committer
    types: KnownTypes
    lengths: Lengths = field(default_factory=Lengths)
    listings: Memory[_Asked, Listing] = field(default_factory=lambda: Memory(_LISTINGS))
    prepared: Memory[tuple[int, str, Wanted, bool], object] = field(default_factory=lambda: Memory(_LISTINGS))
    bodies: Bodies = field(default_factory=lambda: Bodies(_BODIES))

    async def listing(self, realm: Realm, occasion: Occasion, wanted: Wanted) -> Listing:
        """What the asker may do to every dataset; decided once for each revision, asker and question."""
        key = (realm.revision, occasion.asker.digest, wanted)
        known = self.listings.get(key, occasion.at)
        if known is None:
            known = await aside(lambda: list_all(realm, occasion.asker, wanted, occasion.at))
            self.listings.put(key, known, known.until)
        return known


async def aside(work: Callable[[], Answer]) -> Answer:
    """Do work that keeps a processor busy in a thread, so that other requests go on."""
    return await anyio.to_thread.run_sync(work)
