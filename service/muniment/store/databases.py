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

And it may come back as another database: a backup was restored in its place, or a standby
took over. What a process remembers is of the one that it knew, whatever the numbers say. So
each new connection is held to the first one, and where it leads elsewhere every transaction
is refused (:attr:`Database.replaced`), until somebody opens the database anew.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import psycopg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from muniment.core.problems import CannotStart, DatabaseUnavailable

#: What a block of :meth:`Database.begin` holds; above the store nobody looks inside.
Transaction = AsyncConnection

_CONNECT_SECONDS = 5
_POOL_SECONDS = 5

#: Which database this is: a restore begins a timeline (PostgreSQL 18, 25.3.6). A standby has no answer.
_IDENTITY = """
    SELECT system_identifier::text, (SELECT oid::text FROM pg_database WHERE datname = current_database()),
      substr(pg_walfile_name(position), 1, 8)
    FROM pg_control_system(), (SELECT pg_current_wal_lsn() AS position WHERE NOT pg_is_in_recovery()) AS log
"""
#: How far it has come, in what is durable once it is seen: after a crash the log itself may end earlier than it did.
_REACHED = "SELECT revision, at::text FROM revisions ORDER BY revision DESC LIMIT 1"
_STANDS = "SELECT at::text FROM revisions WHERE revision = %s"

#: What libpq does about a network that swallows packets; a Unix socket ignores it.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class Database:
    """A pool of connections; :meth:`begin` lends one for a transaction."""

    def __init__(
        self, engine: AsyncEngine, transaction_seconds: float, options: Mapping[str, Any], most: int = 1
    ) -> None:
        self._engine = engine
        self._transaction_seconds = transaction_seconds
        self._options = options
        self._most = most
        self._known: tuple[Any, ...] | None = None
        self._reached: tuple[int, str] | None = None
        self._before_close: list[Callable[[], None]] = []
        #: Set once the database is another than it was when it was opened.
        self.replaced = asyncio.Event()

    @classmethod
    def open(
        cls, url: str, *, connections: int = 10, statement_seconds: float = 10, transaction_seconds: float = 15
    ) -> Database:
        """Ready to connect; nothing is sent before the first transaction."""
        address = parsed_url(url)
        options: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "muniment",
            "options": _options(address, statement_seconds),
            **_KEEPALIVE,
        }
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
            connect_args=options,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_ended)
        opened = cls(engine, transaction_seconds, options, 2 * connections)
        event.listen(engine.sync_engine, "connect", opened._hold_pooled)
        return opened

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
                cutting = asyncio.get_running_loop().call_later(self._transaction_seconds, cut, connection)
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

    @property
    def lent(self) -> int:
        """How many connections are lent now."""
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @property
    def most_lent(self) -> int:
        """How many connections can be lent at once."""
        return self._most

    async def connected(self) -> psycopg.AsyncConnection:
        """A connection beside the pool, for whoever holds it long; each of its statements is a transaction.

        :class:`DatabaseUnavailable` when Postgres cannot be reached.
        """
        _, address = self._engine.dialect.create_connect_args(self._engine.url)
        try:
            connection = await psycopg.AsyncConnection.connect(**{**address, **self._options, "autocommit": True})
            try:
                self._hold(await (await connection.execute(_IDENTITY)).fetchone())
                if (reached := self._reached) is not None:
                    self._hold_reached(reached, await (await connection.execute(_STANDS, reached[:1])).fetchone())
            except BaseException:
                await connection.close()
                raise
        except psycopg.OperationalError as error:
            raise _unavailable(committing=False) from error
        return connection

    async def look(self) -> None:
        """Take note of how far the database has come, so that it is noticed when it goes back; ask now and then."""
        async with self.begin() as tx:
            self._reached = tuple((await tx.exec_driver_sql(_REACHED)).one())

    def before_close(self, let_go: Callable[[], None]) -> None:
        """Have those who hold a connection beside the pool let it go when this is closed."""
        self._before_close.append(let_go)

    async def close(self) -> None:
        for let_go in self._before_close:
            let_go()
        await self._engine.dispose()

    def _hold_pooled(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(_IDENTITY)
        self._hold(cursor.fetchone())
        if (reached := self._reached) is not None:
            cursor.execute(_STANDS, reached[:1])
            self._hold_reached(reached, cursor.fetchone())
        cursor.close()
        connection.rollback()

    def _hold(self, found: tuple[Any, ...] | None) -> None:
        """Refuse a connection that leads to another database than the first one."""
        if found is None:
            raise DatabaseUnavailable("PostgreSQL only reads, as a standby does; try again in a moment.")
        self._refuse_unless(self._known in {None, found})
        self._known = found

    def _hold_reached(self, reached: tuple[int, str], found: tuple[Any, ...] | None) -> None:
        """Refuse a connection to an earlier state of it.

        ``reached`` is what the server was asked for: by its answer, :meth:`look` may know of more.
        """
        self._refuse_unless(found == reached[1:])

    def _refuse_unless(self, same: bool) -> None:  # noqa: FBT001  what it says is the condition
        if not same:
            self.replaced.set()
        if self.replaced.is_set():
            raise DatabaseUnavailable("The database was replaced by another; try again in a moment.")


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
        "client_encoding": "UTF8",
        "statement_timeout": f"{int(statement_seconds * 1000)}",
        "idle_in_transaction_session_timeout": "60000",
        "timezone": "UTC",
        # What PostgreSQL writes, and how it reads what it is asked, is the same wherever a database was set otherwise.
        "datestyle": "ISO",
        "quote_all_identifiers": "off",
        "standard_conforming_strings": "on",
    }
    given = brought if isinstance(brought, str) else " ".join(brought)
    return " ".join([given, *(f"-c {name}={value}" for name, value in ours.items())]).strip()


def _refuse_ended(connection: Any, _record: Any, _proxy: Any) -> None:
    """Make the pool connect anew when the server has ended an idle connection."""
    if readable(connection.driver_connection.pgconn.socket):
        raise DisconnectionError("The server has ended the connection.")


def cut(connection: Any) -> None:
    """End a connection from this side, so that whoever waits for the server's word waits no longer."""
    with (
        suppress(OSError, psycopg.Error),
        socket.fromfd(connection.pgconn.socket, socket.AF_UNIX, socket.SOCK_STREAM) as same,
    ):
        same.shutdown(socket.SHUT_RDWR)


def readable(descriptor: int) -> bool:
    """Whether a socket has something to say; of an idle connection, that it has ended."""
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
