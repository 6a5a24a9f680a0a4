"""What every flow works with: the database, the realm, the ledger, and what has been decided already.

``app`` wires one house for each worker. It holds no state that another worker would have
to know of: what is remembered here is a function of a revision.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Final, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from muniment.core.codings import Bodies, Digests
from muniment.core.dataset_types import KnownTypes
from muniment.core.decisions import Listing, Memory, Wanted, list_all
from muniment.core.keys import confined
from muniment.core.leases import Lengths
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed, NotFound, Problem, Unconfirmed
from muniment.core.realm import Realm
from muniment.core.requests import ESCALATES_AFTER
from muniment.core.tracing import UNTRACED, Step, Tracing
from muniment.identity.envelopes import Envelopes
from muniment.identity.notices import Links
from muniment.identity.signing import Signer
from muniment.post.mail import MailServer
from muniment.post.webhooks import Messenger
from muniment.store.committer import Committer
from muniment.store.databases import Database
from muniment.store.keys import Keys
from muniment.store.ledger_tail import Tail
from muniment.store.present import Present
from muniment.store.realms import Realms
from muniment.store.starters import Starters

#: About how many thousand bytes all remembered listings may take together.
_LISTED = 32 * 1024

#: How many entries all the catalogs that are ready to send may hold together.
_DECIDED = 1_000_000

#: How many bytes of encoded catalogs are held.
_BODIES = 64 * 1024 * 1024

#: How many things the pages know of people at once.
_ACQUAINTED = 16_384

#: How many digests of them are held, for those who hold the body: about 300 bytes each.
_DIGESTS = 16_384

Answer = TypeVar("Answer")

#: At one revision a listing is a function of who asks and of what is asked about.
_Asked = tuple[str, Wanted]


@dataclass(frozen=True)
class House:
    """The wired service below its doors."""

    db: Database
    keys: Keys
    realms: Realms
    ledger: Committer
    types: KnownTypes
    signer: Signer
    links: Links
    present: Present
    tail: Tail
    envelopes: Envelopes
    messenger: Messenger
    lengths: Lengths = field(default_factory=Lengths)
    #: Which server takes mails to people; without one none are sent.
    mail: MailServer | None = None
    #: How far away the end of a new key may be.
    longest_key: timedelta = timedelta(days=90)
    #: How long a request waits before it comes to the approvers of the domain above.
    escalates_after: timedelta = ESCALATES_AFTER
    #: What projects can be started with.
    starters: Starters = field(default_factory=Starters)
    #: The group whose members may break the glass.
    breakers: str | None = None
    tracing: Tracing = UNTRACED
    listings: Memory[_Asked, Listing] = field(default_factory=lambda: Memory(_LISTED))
    #: What the pages know of somebody, by what it is and by the digest of who they are.
    acquainted: Memory[tuple[str, str], object] = field(default_factory=lambda: Memory(_ACQUAINTED))
    prepared: Memory[tuple[str, Wanted, bool], object] = field(default_factory=lambda: Memory(_DECIDED))
    bodies: Bodies = field(default_factory=lambda: Bodies(_BODIES))
    digests: Digests = field(default_factory=lambda: Digests(_DIGESTS))
    _deciding: dict[tuple[int, str, Wanted], asyncio.Task[Listing]] = field(default_factory=dict)

    async def listing(self, realm: Realm, occasion: Occasion, wanted: Wanted) -> Listing:
        """What the asker may do to every dataset; decided once for each revision, asker and question."""
        key = (occasion.asker.digest, wanted)
        while (known := self.listings.get(realm.revision, key, occasion.at)) is None:
            deciding = self._deciding.get((realm.revision, *key))
            if deciding is None:
                deciding = asyncio.create_task(self._decide(realm, occasion, wanted))
                self._deciding[realm.revision, *key] = deciding
            # Those who wait share the work; one who leaves does not end it for the others.
            known = await asyncio.shield(deciding)
            if known.holds(occasion.at):
                break
        return known

    async def _decide(self, realm: Realm, occasion: Occasion, wanted: Wanted) -> Listing:
        key = (occasion.asker.digest, wanted)
        try:
            with self.tracing.step(Step.DECIDE):
                listing = await aside(lambda: list_all(realm, occasion.asker, wanted, occasion.at), Lane.CATALOGS)
            self.listings.put(realm.revision, key, listing, listing.until, listing.weight, since=listing.since)
            return listing
        finally:
            del self._deciding[realm.revision, *key]

    async def confined(self, occasion: Occasion, wanted: Wanted) -> Wanted:
        """The question as what the asker signed in with is bound to ask it; a refusal is written down."""
        try:
            return confined(occasion.bounds, wanted)
        except NotAllowed as refused:
            await self.record_denial(occasion, refused)
            raise

    async def record_denial(self, occasion: Occasion, refused: Problem) -> None:
        """Write down that the asker was refused, whatever the realm says."""
        await self.ledger.record(row(occasion, Event.ACCESS_DENIED, Outcome.DENIED, details={"problem": refused.title}))

    async def record_reading(
        self, occasion: Occasion, realm: Realm, dataset: str, environment: str | None = None, **details: object
    ) -> None:
        """Write down that the asker was told of a dataset; ``details`` say what, where it is not the dataset itself."""
        await self.ledger.record(
            row(
                occasion,
                Event.DATASET_READ,
                Outcome.ALLOWED,
                revision=realm.revision,
                environment=environment,
                datasets=(dataset,),
                details=details,
            )
        )

    @asynccontextmanager
    async def refusals_recorded(self, occasion: Occasion, realm: Realm, *datasets: str) -> AsyncIterator[None]:
        """Write down that the asker was refused, or asked for what nothing has, before the refusal leaves."""
        try:
            yield
        except (NotAllowed, NotFound, Unconfirmed) as refused:
            await self.ledger.record(
                row(
                    occasion,
                    Event.ACCESS_DENIED,
                    Outcome.DENIED,
                    revision=realm.revision,
                    datasets=datasets,
                    details={"problem": refused.title},
                )
            )
            raise


class Lane(IntEnum):
    """Kinds of busy work that do not wait for one another, each with how much of it goes on at once.

    Threads share one interpreter: more of them end no sooner, and each of them stands for
    some milliseconds between the requests and their turn (decision 0047).
    """

    CATALOGS = 1
    OTHER = 2


#: The lanes of an event loop.
_lanes: Final[RunVar[dict[Lane, CapacityLimiter]]] = RunVar("lanes")


async def aside(work: Callable[[], Answer], lane: Lane = Lane.OTHER) -> Answer:
    """Do work that keeps a processor busy in a thread, in its turn, so that other requests go on."""
    lanes = _lanes.get({})
    if lane not in lanes:
        lanes[lane] = CapacityLimiter(lane.value)
        _lanes.set(lanes)
    return await anyio.to_thread.run_sync(work, limiter=lanes[lane])
