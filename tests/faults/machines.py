"""What is hurt: a PostgreSQL, the network before it, and a service of several workers; and the ways to hurt them.

Only what was started here is ever touched: each process is found below those that this page has started.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from demo.issuer import RunningIssuer
from muniment.store import embedded, migrations
from muniment.store.embedded import EmbeddedPostgres
from tests.api.running import MUNIMENT, Served, environment_for, serving
from tests.faults.proxy import Proxy, proxy

#: How large the disk is that can be filled: more than a cluster and its write-ahead log need in a run.
_DISK_BYTES = 1 << 30
_FILLED_AT_ONCE = 1 << 24


@dataclass
class Machines:
    """All that runs."""

    postgres: EmbeddedPostgres
    place: Path
    network: Proxy
    served: Served
    disk: Path | None
    environment: Mapping[str, str]

    def verified(self) -> str:
        """What `muniment audit verify` has against the ledger, if anything."""
        done = subprocess.run(
            [MUNIMENT, "audit", "verify"], env=self.environment, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or f"exit code {done.returncode}"

    @property
    def url(self) -> str:
        """The database without the network before it: for those who look afterwards."""
        return self.postgres.owner_url

    @property
    def port(self) -> int:
        """Where the service listens."""
        return int(self.served.base.rpartition(":")[2])

    def postmaster(self) -> psutil.Process | None:
        """PostgreSQL's first process, if one runs now."""
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return psutil.Process(int(next(self.place.rglob("postmaster.pid")).read_text().split()[0]))
        return None

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        return [process for process in self._below() if "spawn_main" in " ".join(_words(process))]

    def sealers(self) -> list[psutil.Process]:
        """The process that seals the ledger, if there is one."""
        return [process for process in self._below() if "muniment.sealing" in _words(process)]

    def _below(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [*psutil.Process(self.served.process.pid).children(recursive=True)]
        return []


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return [*process.cmdline()]
    return []


@dataclass(frozen=True)
class Kind:
    """A kind of fault: ``make`` hurts and gives back the cure, if it needs one; ``lasts`` is how long it is left so."""

    name: str
    make: Callable[[Machines], Callable[[], None] | None]
    lasts: float = 0.0


def _kill_worker(machines: Machines) -> None:
    _kill(machines.workers()[:1])


def _kill_sealer(machines: Machines) -> None:
    _kill(machines.sealers())


def _kill_postgres(machines: Machines) -> None:
    first = machines.postmaster()
    _kill([first] if first else [])


def _kill_backend(machines: Machines) -> None:
    first = machines.postmaster()
    sessions = [] if first is None else [each for each in first.children() if "muniment muniment" in _title(each)]
    _kill(sessions[:1])


def _restart_postgres(machines: Machines) -> None:
    first = machines.postmaster()
    if first is not None:
        first.send_signal(signal.SIGINT)


def _reset_and_kill_worker(machines: Machines) -> Callable[[], None]:
    """The worker that takes its place finds no database when it starts."""
    heal = _reset(machines)
    _kill_worker(machines)
    return heal


def _fill_disk(machines: Machines) -> Callable[[], None]:
    assert machines.disk is not None
    ballast = machines.disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(_FILLED_AT_ONCE)):
            pass
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(1)):
            pass
    return ballast.unlink


def _reset(machines: Machines) -> Callable[[], None]:
    machines.network.reset()
    return machines.network.heal


def _still(machines: Machines) -> Callable[[], None]:
    machines.network.still()
    return machines.network.heal


def _slow(machines: Machines) -> Callable[[], None]:
    machines.network.slow(0.05)
    return machines.network.heal


def _lose(machines: Machines) -> Callable[[], None]:
    machines.network.lose()
    return machines.network.heal


#: What the small version does: it hurts each machine once.
QUICK = (
    Kind("the network is reset, and a worker killed", _reset_and_kill_worker, 4.0),
    Kind("PostgreSQL is killed", _kill_postgres),
)
SEALING = (Kind("the sealer is killed", _kill_sealer),)
FULL_DISK = (Kind("the disk is full", _fill_disk, 5.0),)
FURTHER = (
    Kind("a worker is killed", _kill_worker),
    Kind("a session of PostgreSQL is killed", _kill_backend),
    Kind("the network is reset", _reset, 0.5),
    Kind("PostgreSQL is restarted", _restart_postgres),
    Kind("the network stands still", _still, 3.0),
    Kind("the network is slow", _slow, 3.0),
    Kind("the network stands still for long", _still, 20.0),
    Kind("the network loses what stands", _lose),
)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _title(process: psutil.Process) -> str:
    return " ".join(_words(process))


@contextmanager
def place() -> Iterator[Path]:
    """A folder that ``nobody`` may enter, too: as root, PostgreSQL runs as nobody."""
    path = Path(tempfile.mkdtemp(prefix="muniment-faults-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of its own that can be filled without hurting anybody; None where this account may mount none."""
    mount = shutil.which("mount")
    path = folder / "disk"
    path.mkdir()
    made = mount is not None and _done([mount, "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=755", "tmpfs", path])
    try:
        yield path if made else None
    finally:
        if made:
            _done(["umount", "--lazy", path])


def _done(command: list[str | Path]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@asynccontextmanager
async def machines(
    issuer: RunningIssuer, folder: Path, postgres: EmbeddedPostgres, disk: Path | None, settings: Mapping[str, object]
) -> AsyncIterator[Machines]:
    """A service behind a network before a PostgreSQL that runs already, until the block ends."""
    address = make_url(postgres.url)
    socket = f"{address.query['host']}/.s.PGSQL.{address.query['port']}"
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(proxy(socket))
        served = serving(
            issuer,
            folder / "service.log",
            workers=2,
            data_dir=folder / "service",
            database_url=f"postgresql://{address.username}@127.0.0.1:{network.port}/{address.database}",
            sealing="true",
            **settings,
        )
        # The network is in this loop, and the service speaks through it as it starts and as it ends.
        running = await asyncio.to_thread(served.__enter__)
        stack.push_async_callback(asyncio.to_thread, served.__exit__, None, None, None)
        # However this ends, the service can reach its database while it stops.
        stack.callback(network.heal)
        environment = environment_for(issuer, data_dir=folder / "service", database_url=postgres.url)
        yield Machines(postgres, folder, network, running, disk, environment)


@contextmanager
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that keeps its promises about durability, and is started again when it ends unasked."""
    with embedded.start(folder, durable=True) as server:
        server.keep()
        migrations.upgrade(server.owner_url, embedded.SERVICE)
        yield server
