"""The realm as it is now, held in memory and brought forward by what changed.

A change that was acknowledged before a request began is honoured by that request: every
request learns the current revision from Postgres (``store/present.py``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import anyio.to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.catalog import render_ahead
from muniment.core.measures import Spread
from muniment.core.problems import Busy, Fault, Invalid
from muniment.core.realm import Realm
from muniment.store import changes, datasets, domains, environments, grants, groups, policies, revisions
from muniment.store.databases import Database
from muniment.store.present import Present

#: How many earlier realms are held, and how many are built at once.
_MOST_PAST: Final = 8
_MOST_BUILT: Final = 2

#: From how many changes on a realm is read whole, and not made of another.
_MANY_CHANGES: Final = 200


class Realms:
    """The held realm of one process. ``schema_text`` is the deployment's Cedar schema.

    Where catalogs will be served, what they hold is rendered ``ahead``, as the realm is read.
    """

    def __init__(self, db: Database, schema_text: str, present: Present | None = None, *, ahead: bool = False) -> None:
        self._ahead = ahead
        self._db = db
        self._schema = schema_text
        self._present = present or Present(db)
        self._held: Realm | None = None
        self._patching = asyncio.Lock()
        self._past = _Past(self._build)
        #: Seconds that it took to bring the realm forward.
        self.patches = Spread()

    @property
    def revision(self) -> int:
        """The revision of the realm that is held; -1: none is."""
        return -1 if self._held is None else self._held.revision

    async def current(self, known: int | None = None) -> Realm:
        """The realm with every change that was acknowledged before this call began.

        A revision that is ``known`` to be current for whoever calls need not be asked for again.
        """
        revision = known if known is not None else (await self._present.now()).revision
        if self._held is not None and self._held.revision == revision:
            return self._held
        async with self._patching:
            if self._held is None or self._held.revision != revision:
                began = perf_counter()
                async with self._db.begin() as tx:
                    self._held = await self._brought(tx, await revisions.newest(tx))
                self.patches.add(perf_counter() - began)
            return self._held

    async def at(self, revision: int) -> Realm:
        """The realm at any revision.

        :class:`Invalid` for one that has not been made, :class:`Busy` while too many
        others are being built.
        """
        current = await self.current()
        return current if revision == current.revision else await self._past.at(revision)

    async def within(self, tx: AsyncConnection) -> Realm:
        """The realm on which a change is made: no other change comes between until ``tx`` ends.

        It is this transaction's own, and holds what the transaction itself has appended.
        """
        return await self._brought(tx, await revisions.lock(tx))

    async def load(self, tx: AsyncConnection, revision: int | None = None) -> Realm:
        """The realm at a revision (none: the current one), built from the lines.

        :class:`Invalid` for a revision that has not been made.
        """
        newest = await revisions.newest(tx)
        wanted = newest if revision is None else revision
        if not 0 <= wanted <= newest:
            message = f"There is no revision {wanted}; the newest is {newest}."
            raise Invalid(message, [Fault("at", message)])
        return Realm(
            revision=wanted,
            schema=self._schema,
            datasets=await datasets.LINE.at(tx, wanted),
            domains=await domains.LINE.at(tx, wanted),
            environments=await environments.LINE.at(tx, wanted),
            groups=await groups.LINE.at(tx, wanted),
            policies=await policies.LINE.at(tx, wanted),
            grants=await grants.LINE.at(tx, wanted),
        )

    async def _brought(self, tx: AsyncConnection, revision: int) -> Realm:
        """The held realm brought to a revision; a database that went back (a restore) is read anew."""
        held = self._held
        if held is None or held.revision > revision:
            self._past.forget()
            # Nobody's request waits for what all requests need, nor is another one held up by it.
            read = await self.load(tx, revision)
            return await asyncio.to_thread(lambda: _ahead(read.ready()) if self._ahead else read.ready())
        if held.revision == revision:
            return held
        return held.after(revision, await changes.between(tx, held.revision, revision))

    async def _build(self, revision: int) -> Realm:
        """A realm made of the nearest that is held, or read whole where that is far away."""
        nearest = min(self._past.beside(self._held), key=lambda realm: abs(realm.revision - revision), default=None)
        async with self._db.begin() as tx:
            await revisions.made(tx, revision)
            if nearest is not None and await changes.apart(tx, nearest.revision, revision) <= _MANY_CHANGES:
                changed = await changes.leading(tx, nearest.revision, revision)
                return await anyio.to_thread.run_sync(lambda: nearest.after(revision, changed).ready())
            read = await self.load(tx, revision)
        return await anyio.to_thread.run_sync(read.ready)


def _ahead(realm: Realm) -> Realm:
    """A realm with what leases hold and pages look in: made once, and brought forward from then on."""
    _ = realm.directory
    return render_ahead(realm)


class _Past:
    """The earlier realms that were asked for last, and those that are on their way."""

    def __init__(self, build: Callable[[int], Awaitable[Realm]]) -> None:
        self._build = build
        self._held: OrderedDict[int, Realm] = OrderedDict()
        self._building: dict[int, asyncio.Task[Realm]] = {}

    async def at(self, revision: int) -> Realm:
        """The realm at a revision; those who want the same one share the work."""
        if revision in self._held:
            self._held.move_to_end(revision)
            return self._held[revision]
        if revision not in self._building:
            if len(self._building) >= _MOST_BUILT:
                raise Busy("Other states of the past are being looked up already; try again in a moment.")
            self._building[revision] = asyncio.create_task(self._built(revision))
        return await asyncio.shield(self._building[revision])

    def beside(self, current: Realm | None) -> list[Realm]:
        """All realms of which another can be made."""
        return [*self._held.values(), *([current] if current is not None else [])]

    def forget(self) -> None:
        """Hold none any more: the database is another than it was."""
        self._held.clear()

    async def _built(self, revision: int) -> Realm:
        try:
            realm = await self._build(revision)
        finally:
            del self._building[revision]
        self._held[revision] = realm
        if len(self._held) > _MOST_PAST:
            self._held.popitem(last=False)
        return realm
