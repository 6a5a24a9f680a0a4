"""What is so now: the realm's revision and the roster's version, asked of Postgres once for all who wait.

A change that was acknowledged before a request began is honoured by that request, so every
request asks. Requests share a question, and one joins only a question whose statement has
not been sent yet; an answer that was under way when it came may be older than the request.
Nothing here has a time to live. Whatever is asked of the service asks this, so it has a
connection of its own, and no transaction around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Final, NamedTuple

from muniment.core.problems import DatabaseUnavailable
from muniment.store.databases import Database
from muniment.store.held import Held, StatementRefused

_PATIENCE_SECONDS: Final = 10
_NUMBERS: Final = "SELECT revision, roster FROM realm_counter"


class Now(NamedTuple):
    """The numbers that everything which is remembered is a function of: a tuple, for each answer compares two."""

    revision: int
    roster: int


class Present:
    """Answers what is so now, for one process: it holds a connection until the database is closed."""

    def __init__(self, db: Database) -> None:
        self._held = Held(db, _NUMBERS, seconds=_PATIENCE_SECONDS)
        self._waiting: list[asyncio.Future[Now]] = []
        self._asking: asyncio.Task[None] | None = None

    async def now(self) -> Now:
        """The numbers as they are, with every change that was acknowledged before this call began."""
        answer: asyncio.Future[Now] = asyncio.get_running_loop().create_future()
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
            asked, self._waiting = self._waiting, []
            try:
                now = await self._read()
            except Exception as error:  # noqa: BLE001  whatever it is, it is the answer of those who wait
                asked, self._waiting = [*asked, *self._waiting], []
                for answer in _open(asked):
                    answer.set_exception(copy(error))
            else:
                for answer in _open(asked):
                    answer.set_result(now)
            finally:
                for answer in _open(asked):
                    answer.cancel()

    async def _read(self) -> Now:
        try:
            revision, roster = (int(number or 0) for number in await self._held.execute())
        except StatementRefused as refused:
            message = f"PostgreSQL does not say what is so now ({refused.state}); try again in a moment."
            raise DatabaseUnavailable(message) from refused
        return Now(revision, roster)


def _open(answers: Iterable[asyncio.Future[Now]]) -> Iterator[asyncio.Future[Now]]:
    """The answers that somebody still waits for."""
    return (answer for answer in answers if not answer.done())
