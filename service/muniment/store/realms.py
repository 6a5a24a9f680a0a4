"""The realm as it is now, held in memory and brought forward by what changed.

A change that was acknowledged before a request began is honoured by that request: every
request learns the current revision from Postgres. Requests share these questions, and
one joins only a question whose statement has not been sent yet; an answer that was under
way when it came may be older than the request. Nothing here has a time to live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.problems import DatabaseUnavailable, Fault, Invalid
from muniment.core.realm import Realm
from muniment.store import changes, datasets, domains, environments, grants, groups, policies, revisions
from muniment.store.databases import Database

_PATIENCE_SECONDS: Final = 10


class Realms:
    """The held realm of one process. ``schema_text`` is the deployment's Cedar schema."""

    def __init__(self, db: Database, schema_text: str) -> None:
        self._db = db
        self._schema = schema_text
        self._newest = _Newest(db)
        self._held: Realm | None = None
        self._patching = asyncio.Lock()

    async def current(self) -> Realm:
        """The realm with every change that was acknowledged before this call began."""
        revision = await self._newest.revision()
        if self._held is not None and self._held.revision == revision:
            return self._held
        async with self._patching:
            if self._held is None or self._held.revision != revision:
                async with self._db.begin() as tx:
                    self._held = await self._brought(tx, await revisions.newest(tx))
            return self._held

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
            return await self.load(tx, revision)
        if held.revision == revision:
            return held
        return held.after(revision, await changes.between(tx, held.revision, revision))


class _Newest:
    """The current revision, asked for once for all who wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[asyncio.Future[int]] = []
        self._asking: asyncio.Task[None] | None = None

    async def revision(self) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_until_all_know())
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await answer
        except TimeoutError as error:
            message = f"PostgreSQL has not answered in {_PATIENCE_SECONDS} seconds; try again in a moment."
            raise DatabaseUnavailable(message) from error

    async def _ask_until_all_know(self) -> None:
        """Ask for those who wait when the statement leaves; whoever comes later gets the next one."""
        while self._waiting:
            asked: list[asyncio.Future[int]] = []
            try:
                async with self._db.begin() as tx:
                    asked, self._waiting = self._waiting, []
                    revision = await revisions.newest(tx)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the answer of those who wait
                asked, self._waiting = [*asked, *self._waiting], []
                for answer in _open(asked):
                    answer.set_exception(copy(error))
            else:
                for answer in _open(asked):
                    answer.set_result(revision)
            finally:
                for answer in _open(asked):
                    answer.cancel()


def _open(answers: Iterable[asyncio.Future[int]]) -> Iterator[asyncio.Future[int]]:
    """The answers that somebody still waits for."""
    return (answer for answer in answers if not answer.done())
