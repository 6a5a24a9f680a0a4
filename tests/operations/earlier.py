"""The release of before, run from the history of this checkout: for tests of two releases on one database."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.issuer import RunningIssuer
from tests.api.running import Served, environment_for, free_port, ready

ROOT = Path(__file__).parents[2]
#: The first page of migrations that the release of before did not have.
_FIRST_NEW = "migrations/versions/0006_seals_of_the_ledger.py"
#: Settings of the tests that it does not know.
_UNKNOWN = ("MUNIMENT_SEALING",)
_MUNIMENT = "import sys; from muniment.cli import main; sys.argv[0] = 'muniment'; main()"


def unpack(folder: Path) -> bool:
    """Put the release of before into a folder; false where the history does not reach back to it."""
    commit = _before(_FIRST_NEW)
    if commit is None:
        return False
    archive = folder / "earlier.tar"
    archive.write_bytes(_git("archive", commit, "service", "migrations"))
    with tarfile.open(archive) as held:
        held.extractall(folder, filter="data")
    return True


@contextmanager
def serving_earlier(
    earlier: Path, issuer: RunningIssuer, said: Path, *options: str, **settings: object
) -> Iterator[Served]:
    """``muniment serve`` of the release of before until the block ends."""
    port = free_port()
    environment = environment_for(issuer, port=port, **settings)
    environment = {name: value for name, value in environment.items() if name not in _UNKNOWN}
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _MUNIMENT, "serve", *options],
            cwd=earlier,
            env=environment | {"PYTHONPATH": os.fspath(earlier / "service")},
            stdout=file,
            stderr=file,
        )
    with ready(Served(f"http://127.0.0.1:{port}", process, said)) as served:
        yield served


def _before(page: str) -> str | None:
    """The commit before the one that brought a page; the newest one where none has brought it yet."""
    try:
        if _git("rev-parse", "--is-shallow-repository").strip() == b"true":
            return None
        added = _git("log", "--diff-filter=A", "--format=%H", "--", page).decode().split()
        return _git("rev-parse", f"{added[-1]}^" if added else "HEAD").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
