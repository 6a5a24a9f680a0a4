"""Where the demonstration keeps everything: one folder that is its own, used by one demonstration at a time.

``demo.json`` in it marks the folder and remembers what must stay the same from start to start: when
the first one was, and the issuer's port, because the service believes an issuer's name only with the
address that it had at first.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from demo.telling import DemonstrationFailed

HOST = "127.0.0.1"
USUAL_PORT = 8420
_MARK = "demo.json"
_UNFINISHED = "demo.json.unfinished"
_LOCK = "demo.lock"


@dataclass
class Place:
    """The folder, and what is remembered in it."""

    folder: Path
    first_start: datetime
    issuer_port: int
    service_port: int | None = None
    #: What was entered, by its address: a digest of its text, and the version that it got.
    entered: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Processes that a demonstration started here: each one's id and moment of creation.
    started: list[tuple[int, float]] = field(default_factory=list)
    is_new: bool = False

    @property
    def lake(self) -> Path:
        """Where the company's data lies."""
        return self.folder / "lake"

    @property
    def logs(self) -> Path:
        """What the servers and the runs said."""
        return self.folder / "logs"

    @property
    def runs(self) -> Path:
        """A copy of the project for each person who runs it."""
        return self.folder / "runs"

    def remember(self) -> None:
        """Write down what must be known at the next start, whole or not at all."""
        kept = {
            "first_start": self.first_start.isoformat(),
            "issuer_port": self.issuer_port,
            "service_port": self.service_port,
            "entered": self.entered,
            "started": self.started,
        }
        unfinished = self.folder / _UNFINISHED
        unfinished.write_text(json.dumps(kept, indent=1))
        unfinished.replace(self.folder / _MARK)


@contextmanager
def taken(folder: Path, *, fresh: bool) -> Iterator[Place]:
    """The folder, for this demonstration alone; ``fresh`` empties it first."""
    _refuse_what_is_not_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / _LOCK).acquire(timeout=0)
    except Timeout:
        raise DemonstrationFailed(
            f"Another demonstration runs in {folder}. End that one, or choose another folder with --data-dir."
        ) from None
    with held:
        if fresh:
            _empty(folder)
        place = _remembered(folder)
        place.remember()
        place.logs.mkdir(exist_ok=True)
        yield place


def port_for_service(place: Place, wanted: int | None) -> int:
    """The port that was asked for, else the last one, the usual one, or any that is free."""
    if wanted is not None:
        if not is_free(wanted):
            raise DemonstrationFailed(f"Port {wanted} is taken. Choose another with --port, or leave --port out.")
        return wanted
    return next((port for port in (place.service_port, USUAL_PORT) if port and is_free(port)), None) or _any_free_port()


def require_issuer_port(place: Place) -> None:
    """Refuse to go on when somebody else listens where the issuer has to be."""
    if not is_free(place.issuer_port):
        raise DemonstrationFailed(
            f"Port {place.issuer_port} is taken, and this demonstration's issuer has to be there: Muniment knows it by "
            "that address since its first start. End what uses the port, or begin anew: ./dev demo --fresh"
        )


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of this machine."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def _lasting_port() -> int:
    """A free port outside the ranges from which systems give ports away by themselves."""
    candidates = random.sample(range(20_000, 30_000), 50)
    return next(filter(is_free, candidates), None) or _any_free_port()


def _any_free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


def _refuse_what_is_not_ours(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DemonstrationFailed(f"{folder} is not a folder. Choose another with --data-dir.")
    found = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if found - {_LOCK, _UNFINISHED} and _MARK not in found:
        raise DemonstrationFailed(f"{folder} holds something that no demonstration made. Choose another --data-dir.")


def _empty(folder: Path) -> None:
    """Remove what a demonstration made, and the database that may lie elsewhere for it."""
    database = folder / "postgres"
    _refuse_running_database(folder)
    if database.is_symlink():
        shutil.rmtree(database.resolve(), ignore_errors=True)
    for made in folder.iterdir():
        if made.is_dir() and not made.is_symlink():
            shutil.rmtree(made)
        elif made.name not in {_LOCK, _MARK}:
            made.unlink()
    remove_if_there(folder / _MARK)  # last: until then the folder is known to be ours


def _refuse_running_database(folder: Path) -> None:
    lock = folder / "postgres.lock"
    if not lock.exists():
        return
    try:
        FileLock(lock).acquire(timeout=0).lock.release()
    except Timeout:
        raise DemonstrationFailed(f"The database in {folder} is running. End the service that uses it first.") from None


def _remembered(folder: Path) -> Place:
    try:
        kept = json.loads((folder / _MARK).read_text())
        kept["first_start"] = datetime.fromisoformat(kept["first_start"])
        kept["started"] = [(int(pid), float(at)) for pid, at in kept["started"]]
        return Place(folder, **kept)
    except FileNotFoundError:
        return Place(folder, datetime.now(UTC), _lasting_port(), is_new=True)
    except (KeyError, TypeError, ValueError):
        raise DemonstrationFailed(f"{folder / _MARK} cannot be read. Begin anew: ./dev demo --fresh") from None


def remove_if_there(file: Path) -> None:
    """Remove a file that may not be there."""
    with suppress(FileNotFoundError):
        file.unlink()
