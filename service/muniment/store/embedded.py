"""PostgreSQL for a machine that has none: set up, started, watched over and stopped.

One process supervises: the one that holds the lock file beside the data. It alone sets
up, starts and stops; any other process may connect. The server is the supervisor's
direct child, and the kernel asks it to stop when the supervisor dies, however that
happens (Linux). Where a server outlived its supervisor, the next one adopts it; where it
ended unasked (killed, or its disk was full), one that keeps it starts it again.

Nothing listens on the network: connections come over a Unix socket in a private
directory, and only the account that started the server is let in (``peer``). Root's
server runs as ``nobody``, because PostgreSQL refuses root, and still lets in root alone.
On Windows, where none of this exists, it listens on loopback with a generated password;
that way is written and has not been tried.

Layout: ``<data_dir>/postgres.lock`` and ``<data_dir>/postgres/{data,run,access,log,binaries}``.
``postgres`` is a link into ``/var/lib/muniment`` where ``nobody`` may not enter the data
directory itself; no parent directory is ever opened for it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from filelock import FileLock, Timeout
from psycopg import sql
from sqlalchemy import URL

from muniment.core.problems import CannotStart
from muniment.store import postgres_binaries
from muniment.store.postgres_binaries import Binaries, Provider

if sys.platform != "win32":
    import pwd

logger = logging.getLogger(__name__)
_ON_LINUX = sys.platform == "linux"

DATABASE = "muniment"
#: Owns the tables and migrates them; and serves, as the role that may only add and read.
OWNER = "muniment"
SERVICE = "muniment_service"
_SUPERUSER = "postgres"

#: A new segment of the log is filled with zeros and brought to disk before anybody's commit goes on. With initdb's
#: 16 MB everybody waits ten milliseconds and more, under load every second (decision 0059).
_SEGMENT_MEGABYTES = 1
_ROLES = (_SUPERUSER, OWNER, SERVICE)
_PORT = 5432
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
#: What ``sun_path`` holds with its final NUL: 104 bytes on macOS, 108 on Linux.
_LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_ROOTS_SHELF = Path("/var/lib/muniment")
_LOG_KEPT_BYTES = 16 * 1024 * 1024

#: Replaying the write-ahead log after a crash may take minutes; giving up would only begin it anew.
_START_PATIENCE = 600.0
_STOP_PATIENCE = 120.0
#: How long a server must have been there before we adopt or join it: its supervisor may have been killed
#: this instant, with its lock or the kernel's request to stop still on the way.
_SETTLING_PAUSE = 0.3
_STRAGGLER_PATIENCE = 10.0
#: How often it is looked whether the server still lives, and how long to wait between attempts to start it again.
_WATCH_SECONDS = 0.1
_AGAIN_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TICK = 0.005


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a server listens, and what it wants to hear."""

    host: str
    port: int
    password: str | None = field(default=None, repr=False)

    def url(self, role: str, database: str) -> str:
        url = URL.create(
            "postgresql+psycopg",
            username=role,
            password=self.password,
            database=database,
            query={"host": self.host, "port": str(self.port)},
        )
        return url.render_as_string(hide_password=False)

    def connect(self, user: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=user,
            dbname=database,
            password=self.password,
            connect_timeout=10,
            autocommit=True,
        )


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as. ``borrowed``: not who we are, so each child must change into it."""

    name: str
    uid: int
    gid: int
    borrowed: bool


@dataclass(frozen=True, slots=True)
class _Home:
    """The server's directories."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def access(self) -> Path:
        return self.path / "access"

    @property
    def password(self) -> Path:
        return self.access / "password"

    @property
    def log(self) -> Path:
        return self.path / "log" / "postgres.log"


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What ``postmaster.pid`` tells of a server, which may be long gone."""

    pid: int
    data: Path
    port: int
    host: str
    status: str

    def alive(self) -> bool:
        """Whether this very server runs; another process that was given its number does not count."""
        if sys.platform == "win32":
            # A signal 0 would end the process there.
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=2):
                return True
            return False
        with contextlib.suppress(PermissionError):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
        return _serves(self.pid, self.data)


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server. ``owned``: this process supervises it, so :meth:`stop` stops it."""

    _address: _Address
    owned: bool
    _stop: Callable[[], None] = field(repr=False)
    _keep: Callable[[], None] = field(repr=False, default=lambda: None)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database ``muniment``, for the role that serves."""
        return self.database_url(DATABASE)

    @property
    def owner_url(self) -> str:
        """The same, for the role that owns the tables."""
        return self.owner_database_url(DATABASE)

    def database_url(self, database: str) -> str:
        return self._address.url(SERVICE, database)

    def owner_database_url(self, database: str) -> str:
        return self._address.url(OWNER, database)

    def keep(self) -> None:
        """Start the server again whenever it ends unasked, until it is stopped; another process's is its own matter."""
        self._keep()

    def stop(self) -> None:
        """Stop the server cleanly and wait until it is gone; another process's server is left alone."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(data_dir: Path, *, binaries: Provider | None = None, durable: bool = True) -> EmbeddedPostgres:
    """The server of this directory, accepting connections, with its database ``muniment``.

    Sets up what is not there yet, adopts a server without a supervisor, and connects to
    one that has another. ``durable=False`` is for tests: faster, not safe at a power cut, and
    the server does nothing of itself.
    Must be called from the main thread on Linux.
    """
    data_dir = Path(data_dir).resolve()
    try:
        _refuse_strangers(_Home(data_dir / "postgres"), _account())
        _make_data_dir(data_dir)
        return _supervise_or_join(data_dir, binaries, durable=durable)
    except OSError as error:
        raise _cannot_start(str(error), data_dir) from error


def url_if_running(data_dir: Path, role: str = SERVICE) -> str | None:
    """The URL of this directory's server if one accepts connections, whoever supervises it."""
    home = _Home(Path(data_dir).resolve() / "postgres")
    try:
        _refuse_strangers(home, _account())
        running = _running(home)
    except OSError as error:
        raise _cannot_start(str(error), data_dir) from error
    address = _address_if_usable(running, home) if running else None
    return address.url(role, DATABASE) if address else None


# Who supervises


def _supervise_or_join(data_dir: Path, provider: Provider | None, *, durable: bool) -> EmbeddedPostgres:
    # Not tied to a thread: whoever stops the server releases it.
    lock = FileLock(data_dir / "postgres.lock", thread_local=False)
    home = _Home(data_dir / "postgres")
    usable_since: float | None = None
    for now in _ticks(_START_PATIENCE, every=0.05):
        try:
            lock.acquire(timeout=0)
        except NotImplementedError as error:
            message = f"The file system of {data_dir} has no file locks. Choose a data directory on a local disk."
            raise CannotStart(message) from error
        except Timeout:
            running = _running(home)
            address = _address_if_usable(running, home) if running else None
            if address is None:
                usable_since = None
            elif usable_since is None:
                usable_since = now
            elif now - usable_since >= _SETTLING_PAUSE:
                logger.info("joined the server that another process supervises in %s", data_dir)
                return EmbeddedPostgres(address, owned=False, _stop=_leave_alone)
        else:
            return _supervise(data_dir, lock, provider, durable=durable)
    message = (
        f"Another process holds {lock.lock_file}, and its server has not accepted connections for "
        f"{_START_PATIENCE:.0f} seconds. Stop that process, then start Muniment again."
    )
    raise CannotStart(message)


def _supervise(data_dir: Path, lock: FileLock, provider: Provider | None, *, durable: bool) -> EmbeddedPostgres:
    """Start or adopt, and hold the lock until the server is stopped."""
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        if _ON_LINUX and threading.current_thread() is not threading.main_thread():
            message = (
                "The embedded PostgreSQL was to be started from a thread, and would stop when that thread ends. "
                "Start it from the main thread, before anything else."
            )
            raise CannotStart(message)
        account = _account()
        home = _settle(data_dir, account)
        host = _socket_directory(data_dir, home, account)
        supervised = _Supervised(home, host, account, provider, durable)
        adopted = _adopt(home)
        if adopted is None:
            supervised.server = supervised.launch()
            undo.callback(supervised.stop)
        address = _ready_address(home)
        _prepare_database(address)
        if adopted is not None:
            # Only now: a server that does not let us in is someone else's, and is left running.
            supervised.server = adopted
            undo.callback(supervised.stop)
        stop = _once_here(undo.pop_all().close)
        return EmbeddedPostgres(address, owned=True, _stop=stop, _keep=supervised.keep)


@dataclass
class _Supervised:
    """The server as its supervisor holds it: a child of ours, or one that was adopted."""

    home: _Home
    host: str
    account: _Account | None
    provider: Provider | None
    durable: bool
    server: subprocess.Popen[bytes] | _Postmaster | None = None
    _leaving: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        _forget_recycled(self.home, self.host, self.account)
        return _launch(
            self.home, self.host, self.account, self.provider, durable=self.durable, unless=self._leaving.is_set
        )

    def keep(self) -> None:
        """Watch it from a thread, which lives as long as the server may: the kernel stops a child with its thread."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="postgres", daemon=True)
            self._keeper.start()

    def stop(self) -> None:
        self._leaving.set()
        if self._keeper is not None:
            self._keeper.join()
        if isinstance(self.server, _Postmaster):
            _stop_adopted(self.server, self.home, self.provider)
        elif self.server is not None:
            _stop_child(self.server, self.home, self.provider)

    def _keep(self) -> None:
        while not self._leaving.wait(_WATCH_SECONDS):
            if not self._lives():
                logger.error("the server ended unasked, and is started again; see %s", self.home.log)
                self._start_again()

    def _lives(self) -> bool:
        if isinstance(self.server, _Postmaster):
            return self.server.alive()
        return self.server is not None and self.server.poll() is None

    def _start_again(self) -> None:
        for pause in chain(_AGAIN_SECONDS, repeat(_AGAIN_SECONDS[-1])):
            if self._leaving.is_set():
                return
            try:
                self.server = self.launch()
            except (CannotStart, OSError) as error:
                logger.error("%s It is tried again.", error)  # noqa: TRY400  the words say it; there is no fault of ours
                self._leaving.wait(pause)
            else:
                logger.warning("the server runs again")
                return


def _once_here(stop: Callable[[], None]) -> Callable[[], None]:
    """Stop once, from the process that started, at its end at the latest."""
    here, turn, done = os.getpid(), threading.RLock(), threading.Event()

    def stop_once() -> None:
        with turn:
            if os.getpid() == here and not done.is_set():
                done.set()
                atexit.unregister(stop_once)
                stop()

    atexit.register(stop_once)
    return stop_once


def _leave_alone() -> None:
    """Another process supervises."""


# Adopting and launching


def _adopt(home: _Home) -> _Postmaster | None:
    """Find a server that lives without a supervisor; one that is going away is waited for instead."""
    steady_since: float | None = None
    for now in _ticks(_START_PATIENCE):
        running = _running(home)
        if running is None:
            return None
        if running.status != "ready":
            steady_since = None
        elif steady_since is None:
            steady_since = now
        elif now - steady_since >= _SETTLING_PAUSE:
            logger.warning("adopted the server with pid %d, which had no supervisor", running.pid)
            return running
    message = f"A server in {home.data} neither becomes ready nor stops. Stop it, then start Muniment again."
    raise CannotStart(message)


def _stop_adopted(running: _Postmaster, home: _Home, provider: Provider | None) -> None:
    if not running.alive():
        return
    _ask_to_stop(running.pid, home, provider)
    for _ in _ticks(_STOP_PATIENCE):
        if not running.alive():
            return
    logger.error("the adopted server with pid %d has not stopped in %d seconds", running.pid, _STOP_PATIENCE)


def _launch(
    home: _Home,
    host: str,
    account: _Account | None,
    provider: Provider | None,
    *,
    durable: bool,
    unless: Callable[[], bool],
) -> subprocess.Popen[bytes]:
    """Set up what is missing and start; given up when ``unless`` becomes so."""
    binaries = postgres_binaries.find(provider)
    if account and account.borrowed and not _may_use(binaries, account):
        binaries = postgres_binaries.copied(binaries, home.path / "binaries")
    major = _supported_major(binaries)
    _set_up(home, binaries, major, account, durable=durable)
    _check_same_release(home, binaries, major)
    _write_access(home)
    arguments = [os.fspath(binaries.program("postgres")), "-D", os.fspath(home.data)]
    arguments += _settings(home, host, durable=durable)
    end = time.monotonic() + _STRAGGLER_PATIENCE
    while True:
        begin = home.log.stat().st_size
        server = _spawn(arguments, home, account, on_our_death=signal.SIGINT)
        if _became_ready(server, home, provider, unless):
            return server
        said = _tail(home.log, begin)
        # The sessions of a server that was killed may still be on their way out.
        if "pre-existing shared memory block" not in said or time.monotonic() > end:
            raise _cannot_start(said, home.log)
        time.sleep(0.2)


def _became_ready(
    server: subprocess.Popen[bytes], home: _Home, provider: Provider | None, unless: Callable[[], bool]
) -> bool:
    """Wait for as long as the server lives; false when it ended instead, or is not wanted any more."""
    try:
        for _ in _ticks(_START_PATIENCE):
            if server.poll() is not None:
                return False
            if unless():
                _stop_child(server, home, provider)
                return False
            told = _told(home.data)
            if told is not None and told.pid == server.pid and told.status == "ready":
                return True
    except BaseException:
        _stop_child(server, home, provider)
        raise
    _stop_child(server, home, provider)
    message = f"PostgreSQL was not ready in {_START_PATIENCE:.0f} seconds. See {home.log}, then start Muniment again."
    raise CannotStart(message)


def _stop_child(server: subprocess.Popen[bytes], home: _Home, provider: Provider | None) -> None:
    if server.poll() is not None:
        return
    _ask_to_stop(server.pid, home, provider)
    try:
        server.wait(_STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        logger.exception("the server did not stop in time; it is ended, and will recover at its next start")
        server.send_signal(getattr(signal, "SIGQUIT", signal.SIGTERM))
        server.wait()


def _ask_to_stop(pid: int, home: _Home, provider: Provider | None) -> None:
    """Ask for a fast, clean stop: sessions end, everything is on disk."""
    if sys.platform == "win32":
        control = [
            str(postgres_binaries.find(provider).program("pg_ctl")),
            "stop",
            "-m",
            "fast",
            "-W",
            "-D",
            str(home.data),
        ]
        subprocess.run(control, check=False, capture_output=True)  # noqa: S603  our own words
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def _spawn(
    arguments: list[str], home: _Home, account: _Account | None, *, on_our_death: int
) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C is for us, and the server goes last.

    The environment is fixed, so that nobody's PG… variables reach the server.
    """
    borrowed = account if account and account.borrowed else None
    with home.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own words
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.path,
            env=None if sys.platform == "win32" else {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            start_new_session=True,
            user=borrowed.uid if borrowed else None,
            group=borrowed.gid if borrowed else None,
            extra_groups=[] if borrowed else None,
            # Runs after the change of account, which would have cleared the request.
            preexec_fn=_bound_to_us(on_our_death),  # noqa: PLW1509  makes system calls, each looked up before the fork
        )


def _bound_to_us(number: int) -> Callable[[], None] | None:
    """What a forked child does so that the kernel sends it this signal when we die."""
    if not _ON_LINUX:
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    arguments = (ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(number))
    parent, getppid, leave = os.getpid(), os.getppid, os._exit

    def bind() -> None:
        # If we died before the call, no signal would ever come.
        if prctl(*arguments) != 0 or getppid() != parent:
            leave(70)

    return bind


# Setting up


def _set_up(home: _Home, binaries: Binaries, major: int, account: _Account | None, *, durable: bool) -> None:
    """Make the cluster beside its place and move it there whole; remove what was interrupted."""
    for interrupted in home.path.glob("setting-up-*"):
        # Its processes may still be on their way out; what they leave goes next time.
        shutil.rmtree(interrupted, ignore_errors=True)
    if home.data.exists():
        return
    fresh = Path(tempfile.mkdtemp(prefix="setting-up-", dir=home.path))
    _give(fresh, account)
    begin = home.log.stat().st_size
    began = time.monotonic()
    arguments = [os.fspath(binaries.program("initdb")), "-D", os.fspath(fresh), "-U", _SUPERUSER, "--encoding=UTF8"]
    arguments += [f"--wal-segsize={_SEGMENT_MEGABYTES}"]
    arguments += ["--locale=C", "--no-instructions", *([] if durable else ["--no-sync"])]
    if major >= 17:  # noqa: PLR2004  the release that brought the builtin provider
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    arguments += (
        ["-A", "scram-sha-256", f"--pwfile={_make_password(home)}"] if sys.platform == "win32" else ["-A", "peer"]
    )
    initdb = _spawn(arguments, home, account, on_our_death=_SIGKILL)
    try:
        failed = initdb.wait() != 0
        if not failed:
            fresh.rename(home.data)
    except BaseException:
        initdb.kill()
        initdb.wait()
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if failed:
        raise _cannot_start(_tail(home.log, begin), home.log)
    if durable:
        _sync(home.path)
    logger.info("set up a new database cluster in %s in %.2f s", home.data, time.monotonic() - began)


def _supported_major(binaries: Binaries) -> int:
    major = binaries.major()
    if major < postgres_binaries.OLDEST_MAJOR:
        message = (
            f"{binaries.directory} holds PostgreSQL {major}, and Muniment needs {postgres_binaries.OLDEST_MAJOR} or "
            "later. Set MUNIMENT_POSTGRES_BINARIES to the `bin` directory of a later release, or unset it."
        )
        raise CannotStart(message)
    return major


def _check_same_release(home: _Home, binaries: Binaries, major: int) -> None:
    has = (home.data / "PG_VERSION").read_text().strip()
    if has != str(major):
        message = (
            f"The data in {home.data} is PostgreSQL {has}'s, and the programs in {binaries.directory} are PostgreSQL "
            f"{major}'s. Set MUNIMENT_POSTGRES_BINARIES to the `bin` directory of PostgreSQL {has}; or dump the "
            "database with those, start Muniment on an empty data directory, and restore the dump there."
        )
        raise CannotStart(message)


def _settings(home: _Home, host: str, *, durable: bool) -> Iterator[str]:
    """On the command line, so that no file in the data directory can say otherwise."""
    safe = "on" if durable else "off"
    chosen = {
        "cluster_name": "muniment",
        "hba_file": home.access / "pg_hba.conf",
        "ident_file": home.access / "pg_ident.conf",
        "max_connections": 100,
        "fsync": safe,
        "synchronous_commit": safe,
        "full_page_writes": safe,
        # Under load a checkpoint each few seconds, which brings little to disk: commits wait behind it (decision 0062).
        "max_wal_size": "64MB",
        # Of itself it opens transactions, and what began after one of them is read only when that one has ended.
        "autovacuum": safe,
        "logging_collector": "off",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    if sys.platform == "win32":
        chosen |= {"listen_addresses": host, "port": _free_port(host)}
    else:
        chosen |= {"listen_addresses": "", "port": _PORT, "unix_socket_directories": _as_list_item(host)}
        chosen |= {"unix_socket_permissions": "0700"}
    for name, value in chosen.items():
        yield "-c"
        yield f"{name}={value}"


def _write_access(home: _Home) -> None:
    """Let in the account that we are, and nobody else: not even the one that the server runs as.

    Written anew at each start, and outside the data directory: root must not write
    where ``nobody`` could have put a link.
    """
    if sys.platform == "win32":
        rules, names = f"host all {','.join(_ROLES)} 127.0.0.1/32 scram-sha-256\n", ""
    else:
        us = _name_of(os.geteuid()).replace('"', '""')
        rules = f"local all {','.join(_ROLES)} peer map=muniment\n"
        names = "".join(f'muniment "{us}" {role}\n' for role in _ROLES)
    for name, text in (("pg_hba.conf", rules), ("pg_ident.conf", names)):
        (home.access / name).write_text(text)
        (home.access / name).chmod(0o644)


def _prepare_database(address: _Address) -> None:
    """Make the roles and the database that are not there yet.

    The owner may make databases, and is no superuser: what works here works on a company's PostgreSQL. Data that an
    earlier release set up has no role that serves; its rights come with the next upgrade, which a start makes.
    """
    try:
        with address.connect(_SUPERUSER, "postgres") as connection:
            for role, more in ((OWNER, "CREATEDB"), (SERVICE, "NOCREATEDB")):
                if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                    make = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
                    password = sql.Literal(address.password)
                    connection.execute(make.format(sql.Identifier(role), sql.SQL(more), password))
            # So that the owner may end what the service does, as for dropping a database; it gains nothing else.
            also = sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVICE), sql.Identifier(OWNER))
            connection.execute(also)
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                make = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(make.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
    except psycopg.Error as error:
        raise _cannot_start(str(error), address.host) from error


# Accounts and places


def _refuse_strangers(home: _Home, account: _Account | None) -> None:
    """Refuse data that another user's server made, before anything there is touched: it lets in only that user."""
    if account is None or not home.data.exists():
        return
    owner = home.data.stat().st_uid
    if owner != account.uid:
        message = (
            f"The data in {home.data} belongs to {_name_of(owner)}, and your server would run as {account.name}. "
            "Start Muniment as the user who set the data up, or choose another data directory."
        )
        raise CannotStart(message)


def _account() -> _Account | None:
    if sys.platform == "win32":
        return None
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam("nobody") if uid == 0 else pwd.getpwuid(uid)
    except KeyError as error:
        missing = "no account `nobody`, as which root's server would run" if uid == 0 else f"no entry for user id {uid}"
        message = (
            f"The password database has {missing}, and PostgreSQL needs one. Run Muniment as a user who has one, "
            f"or add one: `useradd --uid {uid or 65534} {'muniment' if uid else 'nobody'}`."
        )
        raise CannotStart(message) from error
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid, borrowed=uid == 0)


def _make_data_dir(data_dir: Path) -> None:
    if not data_dir.exists():
        data_dir.mkdir(parents=True)
        data_dir.chmod(0o755 if _are_root() else 0o700)


def _settle(data_dir: Path, account: _Account | None) -> _Home:
    """The server's directories, where its account may enter."""
    home = _Home(data_dir / "postgres")
    borrowed = account if account and account.borrowed else None
    if home.path.is_symlink() and not home.path.exists():
        message = (
            f"The data is not where {home.path} points: {home.path.readlink()} is gone. Bring it back; or remove the "
            "link, to begin with an empty database."
        )
        raise CannotStart(message)
    if borrowed and not home.path.exists() and not _may_enter(data_dir, borrowed):
        elsewhere = _place_elsewhere(data_dir.name)
        home.path.symlink_to(elsewhere)
        logger.warning("%s may not enter %s: the data is in %s instead", borrowed.name, data_dir, elsewhere)
    home = _Home(home.path.resolve())
    for directory in (home.path, home.access, home.log.parent):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755 if borrowed else 0o700)
    if borrowed and not _may_enter(home.path, borrowed):
        message = (
            f"Root's PostgreSQL runs as `{borrowed.name}`, which may not enter {home.path}. Move the data directory "
            f"to where it may, such as {_ROOTS_SHELF}, or run Muniment as another user than root."
        )
        raise CannotStart(message)
    if home.log.exists() and home.log.stat().st_size > _LOG_KEPT_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    home.log.touch(mode=0o600)
    return home


def _place_elsewhere(name: str) -> Path:
    if not _ROOTS_SHELF.exists():
        _ROOTS_SHELF.mkdir(parents=True)
        _ROOTS_SHELF.chmod(0o755)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_ROOTS_SHELF))


def _socket_directory(data_dir: Path, home: _Home, account: _Account | None) -> str:
    """A directory for the socket that is ours alone, at a path that a socket's address can hold."""
    if account is None:
        return "127.0.0.1"
    directory = home.path / "run"
    if not _fits_a_socket(directory):
        name = f"muniment-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
        directory = Path(tempfile.gettempdir()) / name
        if not _fits_a_socket(directory) or not _may_enter(directory.parent, account):
            directory = Path("/tmp") / name  # noqa: S108  checked below: ours, private, and no link
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        _give(directory, account)
    found = directory.lstat()
    if found.st_uid != account.uid or not directory.is_dir() or directory.is_symlink():
        message = (
            f"{directory} is to hold the server's socket, and belongs to {_name_of(found.st_uid)} instead of "
            f"{account.name}. Remove it, then start Muniment again."
        )
        raise CannotStart(message)
    directory.chmod(0o700)
    return os.fspath(directory)


def _fits_a_socket(directory: Path) -> bool:
    """Short enough, and without the comma at which libpq would split it."""
    return len(os.fsencode(directory / _SOCKET_NAME)) < _LONGEST_SOCKET_PATH and "," not in str(directory)


def _may_enter(path: Path, account: _Account) -> bool:
    """Whether the account may pass through every directory down to this one."""
    return all(_allows(step, account, 0o1) for step in (path, *path.parents))


def _may_use(binaries: Binaries, account: _Account) -> bool:
    return _may_enter(binaries.directory, account) and all(
        _allows(binaries.program(name), account, 0o5) for name in ("postgres", "initdb")
    )


def _allows(path: Path, account: _Account, wanted: int) -> bool:
    found = path.stat()
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 0
    return (found.st_mode >> shift) & wanted == wanted


def _give(directory: Path, account: _Account | None) -> None:
    if account and account.borrowed:
        os.chown(directory, account.uid, account.gid)


def _are_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _name_of(uid: int) -> str:
    if sys.platform != "win32":
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
    return f"user id {uid}"


# What runs


def _told(data: Path) -> _Postmaster | None:
    """What ``postmaster.pid`` says; it is written line by line, the status last."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    lines += [""] * (8 - len(lines))
    pid, port = lines[0].strip(), lines[3].strip()
    if not pid.lstrip("-").isdigit() or not int(pid):
        return None
    return _Postmaster(
        pid=abs(int(pid)),
        data=data,
        port=int(port) if port.isdigit() else _PORT,
        host=lines[4].strip() or lines[5].strip(),
        status=lines[7].strip() or "starting",
    )


def _running(home: _Home) -> _Postmaster | None:
    told = _told(home.data)
    return told if told and told.alive() else None


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is this directory's server, which works there; else whether it is a PostgreSQL at all."""
    if not _ON_LINUX:
        return _is_postgres(pid)
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except FileNotFoundError:
        return False
    except PermissionError:
        # A container's root may not look into the processes of others; their names are for everybody.
        return _is_postgres(pid)


def _is_postgres(pid: int) -> bool:
    """Whether a living process has PostgreSQL's name; one that only waits to be collected is dead."""
    ask = ["/bin/ps", "-o", "state=,comm=", "-p", str(pid)]
    try:
        if _ON_LINUX:
            _, _, told = Path(f"/proc/{pid}/stat").read_text().partition(" (")
            name, _, rest = told.rpartition(") ")
            state = rest[:1]
        else:
            told = subprocess.run(ask, capture_output=True, text=True, check=False).stdout  # noqa: S603  our own words
            state, _, name = told.strip().partition(" ")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return name.strip().endswith("postgres") and state[:1] not in {"Z", "X"}


def _forget_recycled(home: _Home, host: str, account: _Account | None) -> None:
    """Undo the locks of a dead server whose number another process was given: PostgreSQL would not start.

    ``postmaster.pid`` is not removed: by it PostgreSQL finds sessions that still hold the
    data. It gets our number instead, since PostgreSQL knows that its parent is no server.
    """
    told = _told(home.data)
    if told is None or account is None:
        return
    for left in (f"{_SOCKET_NAME}.lock", _SOCKET_NAME):
        (Path(host) / left).unlink(missing_ok=True)
    rest = (home.data / "postmaster.pid").read_text().partition("\n")[2]
    handle, fresh = tempfile.mkstemp(dir=home.path)
    with os.fdopen(handle, "w") as file:
        file.write(f"{os.getpid()}\n{rest}")
    _give(Path(fresh), account)
    # Written beside and moved, so that root follows no link that `nobody` made.
    Path(fresh).replace(home.data / "postmaster.pid")


def _ready_address(home: _Home) -> _Address:
    told = _told(home.data)
    if told is None:
        raise _cannot_start(_tail(home.log, 0), home.log)
    return _address(told, home)


def _address(told: _Postmaster, home: _Home) -> _Address:
    password = home.password.read_text() if sys.platform == "win32" else None
    return _Address(told.host, told.port, password)


def _address_if_usable(told: _Postmaster, home: _Home) -> _Address | None:
    if told.status != "ready":
        return None
    address = _address(told, home)
    with contextlib.suppress(psycopg.OperationalError):
        address.connect(SERVICE, DATABASE).close()
        return address
    return None


# Words and small things


def _cannot_start(said: str, where: Path | str) -> CannotStart:
    """PostgreSQL's or the system's own words, and what to do about them."""
    lines = said.strip().splitlines() or ["it said nothing"]
    telling = [line[line.index(sign) :] for line in lines for sign in ("FATAL:", "PANIC:", "error:") if sign in line]
    words = (telling or lines)[-1].strip()
    advice = next((advice for sign, advice in _ADVICE if sign in said), "Look there, then start Muniment again.")
    return CannotStart(f"The embedded PostgreSQL does not start: {words} (see {where}). {advice}")


_ADVICE = (
    ("No space left on device", "Free some space on that disk, then start Muniment again."),
    ("Read-only file system", "Choose a data directory on a disk that can be written."),
    ("Permission denied", "Start Muniment as the user who owns that directory, or choose another data directory."),
    ("Address already in use", "Stop the server that uses that socket, then start Muniment again."),
    ("authentication failed", "Stop that server, which Muniment did not start, then start Muniment again."),
    ("could not create shared memory", "Give this machine or container more shared memory, then start Muniment again."),
)


def _tail(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 8192))
        return file.read().decode(errors="replace")


def _ticks(patience: float, every: float = _TICK) -> Iterator[float]:
    """The time, again and again, until patience ends."""
    end = time.monotonic() + patience
    while (now := time.monotonic()) < end:
        yield now
        time.sleep(every)


def _sync(directory: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    if sys.platform != "win32":
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _as_list_item(path: str) -> str:
    """Quoted, for a setting that takes a list: a comma or a space in a path separates nothing."""
    return '"' + path.replace('"', '""') + '"'


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _make_password(home: _Home) -> Path:
    home.password.touch(mode=0o600)
    home.password.write_text(secrets.token_urlsafe(32))
    return home.password
