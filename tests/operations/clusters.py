"""A PostgreSQL as a company runs one, with its own programs and configuration: for what is done to it by hand."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from muniment.store import embedded, postgres_binaries

#: For a server of some seconds, on a disk that nobody pulls out.
_HASTY = ("fsync = off", "full_page_writes = on", "listen_addresses = ''", "shared_buffers = 16MB")


@dataclass(frozen=True)
class Cluster:
    """A cluster below a folder, and whoever runs commands for it: as root, PostgreSQL's account is ``nobody``."""

    folder: Path
    programs: Path
    account: str | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.pathsep.join([str(self.programs), "/usr/bin", "/bin"]),
            "PGDATA": str(self.data),
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
            "PGTZ": "UTC",
            "LC_ALL": "C",
        }

    def run(self, commands: str) -> str:
        """Run a script as PostgreSQL's account; what it says, all of which must succeed."""
        done = self._run(commands)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _run(self, commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env=self.environment,
            cwd=self.folder,
            user=self.account,
            group=None if self.account is None else _group_of(self.account),
            extra_groups=None if self.account is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def stop(self) -> None:
        """End the server at once, if it runs."""
        self._run("pg_ctl stop --mode immediate --silent")

    def url(self, role: str) -> str:
        return f"postgresql://{role}@/muniment?host={self.folder}"

    def ask(self, question: str) -> object:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            found = connection.execute(question.encode()).fetchone()
        return found[0] if found else None


def _group_of(account: str) -> int:
    return pwd.getpwnam(account).pw_gid


@contextmanager
def cluster(configured: str = "") -> Iterator[Cluster]:
    """A running server with this in its configuration, until the block ends; ``/backup`` is a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="muniment-cluster-"))
    account = embedded._account()
    borrowed = account if account is not None and account.borrowed else None
    binaries = postgres_binaries.find(None)
    folder.chmod(0o755)
    if borrowed and not embedded._may_use(binaries, borrowed):
        binaries = postgres_binaries.copied(binaries, folder / "binaries")
    made = Cluster(folder, binaries.directory, borrowed.name if borrowed else None)
    if borrowed:
        shutil.chown(folder, borrowed.name)
    lines = [*_HASTY, f"unix_socket_directories = '{folder}'", configured.replace("/backup", str(made.backup))]
    try:
        made.run("initdb --auth trust --username postgres --no-sync --no-instructions --encoding UTF8 --locale C")
        made.run('mkdir --parents "$PGHOST/backup/wal"')
        with (made.data / "postgresql.conf").open("a") as file:
            file.write("\n".join([*lines, ""]))
        made.run('pg_ctl start --wait --silent --log "$PGHOST/log"')
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
