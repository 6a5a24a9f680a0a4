"""The processes that are measured, and what they cost: the service, the bare answer, PostgreSQL.

Each server is a process of its own with its own log. What they used of the processors is
read from the operating system, so it holds whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from muniment.core.occasions import Occasion
from muniment.core.realm import Change
from muniment.store import changes, embedded, migrations, revisions
from muniment.store.databases import Database
from muniment.store.embedded import EmbeddedPostgres
from tests.bench.fixture import ATTRIBUTES, ISSUER, STEWARD, Person

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120
_STOP_SECONDS = 15
_COMMITS = 100


class DidNotStart(Exception):
    """A server does not serve; what it said is in the message."""


@dataclass(frozen=True)
class Server:
    """A running server, its address on this machine, and its process."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What the process has used of the processors, in its own code and in the kernel's."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        """What the process holds of the memory now, in bytes."""
        return int(self.process.memory_info().rss)


@dataclass(frozen=True)
class Postgres:
    """The embedded server of this run; each realm gets a database of its own."""

    server: EmbeddedPostgres
    postmaster: psutil.Process

    def cpu_seconds(self) -> float:
        """What the server has used of the processors: its processes, and those that have ended."""
        total = 0.0
        for process in [self.postmaster, *self.postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                total += used.user + used.system
        ended = self.postmaster.cpu_times()
        return total + float(ended.children_user + ended.children_system)

    def make(self, name: str) -> str:
        """The URL of a new database at this release's schema."""
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = self.server.database_url(name)
        migrations.upgrade(self.server.owner_database_url(name), embedded.SERVICE)
        return url

    def version(self) -> str:
        """PostgreSQL's own words for its release."""
        return str(self._one("postgres", "SHOW server_version"))

    def rows(self, name: str) -> Mapping[str, int]:
        """How many rows of each event the ledger of a database holds."""
        with self._connect(name) as connection:
            return dict(connection.execute("SELECT event, count(*) FROM ledger GROUP BY event").fetchall())

    def commit_milliseconds(self) -> float:
        """How long a durable commit of one small row takes here: the floor under every recorded answer."""
        with self._connect(embedded.DATABASE) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS committed (number int)")
            times = []
            for number in range(_COMMITS):
                began = time.perf_counter()
                connection.execute("INSERT INTO committed VALUES (%s)", (number,))
                times.append(time.perf_counter() - began)
        return median(times) * 1000

    def _one(self, name: str, question: str) -> object:
        with self._connect(name) as connection:
            found = connection.execute(question.encode()).fetchone()
        return found[0] if found else None

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.server.owner_database_url(name).replace("+psycopg", "", 1), autocommit=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL that keeps its promises about durability, in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="muniment-bench-"))
    folder.chmod(0o755)  # As root, the server runs as nobody.
    try:
        before = set(psutil.Process().children())
        with embedded.start(folder, durable=True) as server:
            (postmaster,) = set(psutil.Process().children()) - before
            yield Postgres(server, postmaster)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def fill(url: str, realm: Sequence[Change]) -> None:
    """Write a whole realm as one revision, by the functions that write every change."""
    db = Database.open(url, statement_seconds=_START_SECONDS)
    steward = Occasion(Person(STEWARD, (), 0).state, datetime.now(UTC), uuid4())
    try:
        async with db.begin() as tx:
            revision = await revisions.next(tx, steward, "the benchmark's realm")
            await changes.append(tx, revision, [(change, 0) for change in realm])
    finally:
        await db.close()


@asynccontextmanager
async def service(url: str, issuer: str, program: Sequence[str] | None = None, **further: str) -> AsyncIterator[Server]:
    """`muniment serve` with one worker on a database, until the block ends; ``further`` are settings of its own.

    A ``program`` of Python's may stand in its place.
    """
    described = {
        "name": ISSUER,
        "issuer": issuer,
        "audience": "muniment",
        "default": True,
        "attributes": {name: {"claim": "clr", "type": type_} for name, type_ in ATTRIBUTES.items()},
    }
    port = free_port()
    settings = {
        "MUNIMENT_DATABASE_URL": url,
        "MUNIMENT_PORT": str(port),
        "MUNIMENT_WORKERS": "1",
        "MUNIMENT_ISSUERS": json.dumps([described]),
        **further,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
    served = [str(Path(sys.executable).with_name("muniment")), "serve"]
    command = served if program is None else [sys.executable, *program]
    async with running(command, inherited | settings, port, "/readyz") as server:
        yield server


@asynccontextmanager
async def bare() -> AsyncIterator[Server]:
    """The constant answers, under the service's own uvicorn options."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", str(port)]
    async with running(command, dict(os.environ), port, "/200/2") as server:
        yield server


@asynccontextmanager
async def running(
    command: Sequence[str], environment: Mapping[str, str], port: int, ready: str, home: Path = ROOT
) -> AsyncIterator[Server]:
    """A server's process, from when it answers ``ready`` with 200 until the block ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: ASYNC220  nothing else happens in this loop until it serves
            command, cwd=home, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            if not await _serves(process, port, ready):
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise DidNotStart(f"{' '.join(command)} does not answer {ready} on port {port}. It said:\n{said}")
            yield Server(port, psutil.Process(process.pid))
        finally:
            _stop(process)


async def _serves(process: subprocess.Popen[bytes], port: int, ready: str) -> bool:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if _answers(port, ready):
            return True
        await asyncio.sleep(0.05)
    return False


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
