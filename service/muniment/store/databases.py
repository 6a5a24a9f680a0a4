"""The connection to Postgres, and the one place where transactions end.

A transaction is the block of ``async with db.begin() as tx``: it is committed where the
block ends, and undone when anything is raised in it. Every connection says
``synchronous_commit = on`` itself, whatever the server or its roles were set to.

Postgres may go away and come back. A pooled connection that the server has closed is
noticed before it is lent, without asking the server (an idle connection has nothing to
say, so one that can be read from has ended); only what was under way fails. And it may
stand still, and then ends no statement itself: a transaction that takes too long has its
connection cut. (Psycopg cannot be made to give up otherwise: of what is cancelled it
awaits the end, and that is the server's word.)
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import psycopg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from muniment.core.problems import CannotStart, DatabaseUnavailable

#: What a block of :meth:`Database.begin` holds; above the store nobody looks inside.
Transaction = AsyncConnection

_CONNECT_SECONDS = 5
_POOL_SECONDS = 5

#: What libpq does about a network that swallows packets; a Unix socket ignores it.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class Database:
    """A pool of connections; :meth:`begin` lends one for a transaction."""

    def __init__(self, engine: AsyncEngine, transaction_seconds: float) -> None:
        self._engine = engine
        self._transaction_seconds = transaction_seconds

    @classmethod
    def open(
        cls, url: str, *, connections: int = 10, statement_seconds: float = 10, transaction_seconds: float = 15
    ) -> Database:
        """Ready to connect; nothing is sent before the first transaction."""
        address = parsed_url(url)
        engine = create_async_engine(
            address,
            pool_size=connections,
            max_overflow=connections,
            pool_timeout=_POOL_SECONDS,
            pool_use_lifo=True,
            json_serializer=write_json,
            json_deserializer=orjson.loads,
            use_native_hstore=False,
            # What a row holds is nobody's business but its reader's: never in a message or a log.
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "application_name": "muniment",
                "options": _options(address, statement_seconds),
                **_KEEPALIVE,
            },
        )
        event.listen(engine.sync_engine, "checkout", _refuse_ended)
        return cls(engine, transaction_seconds)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction; committed when the block ends, undone when it raises.

        :class:`DatabaseUnavailable` when Postgres cannot be reached, does not answer in
        time or has no connection left; it tells whether the commit had begun.
        """
        committing, cutting = False, None
        try:
            async with self._engine.begin() as tx:
                connection = (await tx.get_raw_connection()).driver_connection
                cutting = asyncio.get_running_loop().call_later(self._transaction_seconds, _cut, connection)
                yield tx
                committing = True
        except (OperationalError, InterfaceError, PoolExhausted) as error:
            raise _unavailable(committing=committing) from error
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise _unavailable(committing=committing) from error
        finally:
            if cutting is not None:
                cutting.cancel()

    async def close(self) -> None:
        await self._engine.dispose()


def parsed_url(url: str) -> URL:
    """The URL of a Postgres as SQLAlchemy reads it, with the driver that everything here uses."""
    scheme, colon, rest = url.partition("://")
    if colon and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        try:
            return make_url(f"postgresql+psycopg://{rest}")
        except (ArgumentError, ValueError):
            pass  # Its words would repeat the URL, and with it a password.
    raise CannotStart("MUNIMENT_DATABASE_URL is not the URL of a Postgres. Write postgresql://user@host:5432/database.")


def write_json(value: object) -> bytes:
    """JSON text of a value; mappings of every kind are objects."""
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _options(address: URL, statement_seconds: float) -> str:
    """Settings of each session, after those that the URL brings."""
    brought = address.query.get("options", "")
    ours = {
        "synchronous_commit": "on",
        "statement_timeout": f"{int(statement_seconds * 1000)}",
        "idle_in_transaction_session_timeout": "60000",
        "timezone": "UTC",
    }
    given = brought if isinstance(brought, str) else " ".join(brought)
    return " ".join([given, *(f"-c {name}={value}" for name, value in ours.items())]).strip()


def _refuse_ended(connection: Any, _record: Any, _proxy: Any) -> None:
    """Make the pool connect anew when the server has ended an idle connection."""
    if _readable(connection.driver_connection.pgconn.socket):
        raise DisconnectionError("The server has ended the connection.")


def _cut(connection: Any) -> None:
    """End a connection from this side, so that whoever waits for the server's word waits no longer."""
    with (
        suppress(OSError, psycopg.Error),
        socket.fromfd(connection.pgconn.socket, socket.AF_UNIX, socket.SOCK_STREAM) as same,
    ):
        same.shutdown(socket.SHUT_RDWR)


def _readable(descriptor: int) -> bool:
    if sys.platform == "win32":
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _unavailable(*, committing: bool) -> DatabaseUnavailable:
    if committing:
        return DatabaseUnavailable(
            "PostgreSQL did not answer whether it kept the change. Look whether it stands before you send it again."
        )
    return DatabaseUnavailable("PostgreSQL does not answer. Nothing was changed; try again in a moment.")
