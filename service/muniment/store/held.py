"""One connection that is held, and one statement on it: for what a request waits for.

It speaks to libpq itself. What libraries put around a statement costs many times what the
statement costs (decision 0042), and here requests share statements, so one connection is
enough. Each execution is a transaction of its own: it is durable once it is answered.

A connection that Postgres has ended is noticed while it is idle, and made anew for the next
execution. One that ends in the middle of an execution leaves open whether that was
committed: nothing here tries it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from muniment.core.problems import DatabaseUnavailable
from muniment.store.databases import Database, cut, readable

_NAME: Final = b"held"
_GIVEN: Final = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK})

#: What a statement answers: the first row, each value as Postgres writes it.
Answer = tuple[bytes | None, ...]


class StatementRefused(Exception):
    """Postgres does not execute the statement with this parameter; ``state`` is its SQLSTATE, the words are its own."""

    def __init__(self, words: str, state: str, constraint: str | None) -> None:
        super().__init__(words)
        self.state = state
        self.constraint = constraint


#: What Postgres says of a prepared statement that the session does not know any more.
_FORGOTTEN: Final = "26000"


class Held:
    """A prepared statement of parameters (``$1``), executed by one caller at a time."""

    def __init__(self, db: Database, statement: str, *, seconds: float = 15) -> None:
        self._db = db
        self._statement = statement.encode()
        self._seconds = seconds
        self._line: _Line | None = None
        db.before_close(self.close)

    async def execute(self, *parameters: bytes) -> Answer:
        """The first row that the statement gives; what it has done is committed then.

        Where a pooler between here and Postgres has made it forget the statement, it is told it again.
        :class:`StatementRefused` when Postgres refuses it, and nothing was done.
        :class:`DatabaseUnavailable` when it cannot be reached, or does not answer in time:
        then it is not known what was done.
        """
        if self._line is None or not self._line.stands:
            self.close()
            self._line = _Line(await self._db.connected(), self._seconds)
        line = self._line
        try:
            if not line.is_prepared:
                await line.prepare(self._statement)
            try:
                return await line.execute(parameters)
            except StatementRefused as refused:
                if refused.state != _FORGOTTEN:
                    raise
            await line.prepare(self._statement)
            return await line.execute(parameters)
        except psycopg.Error as error:
            line.end()
            raise DatabaseUnavailable("PostgreSQL does not answer; try again in a moment.") from error
        except asyncio.CancelledError:
            line.end()  # What is under way on it would be taken for the answer of the next.
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.end()


class _Line:
    """A connection on which the loop listens: for the answer of what is executed, and for its end.

    What is not answered in some seconds ends it. (`asyncio.timeout` would cost a tenth of an execution.)
    """

    def __init__(self, connection: psycopg.AsyncConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._loop = asyncio.get_running_loop()
        self._socket = self._pg.socket
        self._answer: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None
        self._is_writing = False
        self._has_ended = False
        self.is_prepared = False
        self._loop.add_reader(self._socket, self._read)

    @property
    def stands(self) -> bool:
        """Whether a statement may be sent. An idle connection that has something to say is about to end."""
        return not self._has_ended and not readable(self._socket)

    async def prepare(self, statement: bytes) -> None:
        """Have the statement ready."""
        self._pg.send_prepare(_NAME, statement)
        await self._answered()
        self.is_prepared = True

    async def execute(self, parameters: Sequence[bytes]) -> Answer:
        """The first row that the prepared statement gives."""
        self._pg.send_query_prepared(_NAME, parameters)
        result = await self._answered()
        return tuple(result.get_value(0, column) for column in range(result.nfields)) if result.ntuples else ()

    async def _answered(self) -> PGresult:
        """What was sent leaves, and is answered; :class:`StatementRefused` where Postgres refuses it."""
        answer: asyncio.Future[PGresult] = self._loop.create_future()
        self._answer = answer
        waiting = self._loop.call_later(self._seconds, self._give_up)
        try:
            self._write()
            result = await answer
        finally:
            waiting.cancel()
        if result.status not in _GIVEN:
            raise _refused(result)
        return result

    def end(self) -> None:
        """Close the connection from this side."""
        if not self._has_ended:
            self._has_ended = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            cut(self._connection)
            self._pg.finish()

    def _write(self) -> None:
        """Send on, as the socket takes it."""
        try:
            left = self._pg.flush()
        except psycopg.Error as error:
            self._lost(error)
            return
        if left and not self._is_writing:
            self._loop.add_writer(self._socket, self._write)
        elif self._is_writing and not left:
            self._loop.remove_writer(self._socket)
        self._is_writing = bool(left)

    def _read(self) -> None:
        if self._has_ended:
            return
        try:
            self._pg.consume_input()
            while self._answer is not None and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    self._settle()
                elif self._result is None or self._result.status in _GIVEN:
                    self._result = result
            if self._pg.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError("the server has ended the connection")
        except psycopg.Error as error:
            self._lost(error)

    def _settle(self) -> None:
        """The statement is answered in full."""
        answer, result = self._answer, self._result
        self._answer = self._result = None
        if answer is not None and result is not None and not answer.done():
            answer.set_result(result)

    def _give_up(self) -> None:
        self._lost(psycopg.OperationalError("the server has not answered in time"))

    def _lost(self, error: psycopg.Error) -> None:
        answer, self._answer = self._answer, None
        self.end()
        if answer is not None and not answer.done():
            answer.set_exception(error)


def _refused(result: PGresult) -> StatementRefused:
    """What Postgres says, without the details: those repeat what a row holds."""

    def said(field: pq.DiagnosticField) -> str | None:
        words = result.error_field(field)
        return None if words is None else words.decode(errors="replace")

    return StatementRefused(
        said(pq.DiagnosticField.MESSAGE_PRIMARY) or "no message",
        said(pq.DiagnosticField.SQLSTATE) or "",
        said(pq.DiagnosticField.CONSTRAINT_NAME),
    )
