"""What every test may ask for: a real Postgres, migrated databases, and Hypothesis' profiles.

One server runs for the session. A database is cloned from a migrated template where
connections matter; a test of one connection takes ``tx``, which is undone.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.store import embedded, migrations
from muniment.store.databases import Database
from muniment.store.embedded import EmbeddedPostgres
from tests.databases import MadeDatabase, Template
from tests.owning import owned

#: A database outlives the examples of a test; the tests that use one under Hypothesis are written for that.
_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=_CHECKS)
settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=_CHECKS, derandomize=True)
settings.register_profile("deep", max_examples=3000, deadline=None, suppress_health_check=_CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

#: What tests of the doors begin with.
pytest_plugins = ["tests.founding"]

_TEMPLATE = "muniment_template"
_numbers = count(1)


#: What Linux keeps in memory, and how much room there must be: a container is often given 64 MiB.
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30


def pytest_configure() -> None:
    """Where there is room, what tests write is kept in memory, unless ``TMPDIR`` says where.

    A database is made there in a twelfth of the time that a disk takes, and what a test starts finds its files there.
    """
    if "TMPDIR" not in os.environ and _is_roomy(_MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def _is_roomy(path: Path) -> bool:
    """Whether much can be written here, and programs that are put here can be run."""
    if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
        return False
    there = os.statvfs(path)
    return not there.f_flag & os.ST_NOEXEC and there.f_bavail * there.f_frsize >= _ROOM


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a service of the tests makes for itself is left in the user's own data directory."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """A test leaves logging as it was: else nothing that is said is heard by the tests after it."""
    yield
    assert not any("handle" in vars(handler) for handler in logging.root.handlers)
    assert logging.root.manager.disable == logging.NOTSET
    ours = [each for name, each in logging.root.manager.loggerDict.items() if name.split(".")[0] == "muniment"]
    silenced = [each for each in ours if isinstance(each, logging.Logger) and (each.disabled or not each.propagate)]
    assert not silenced


@contextmanager
def _open_directory() -> Iterator[Path]:
    """A directory that ``nobody`` may enter, too: as root, the server runs as nobody."""
    path = Path(tempfile.mkdtemp(prefix="muniment-tests-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The session's server. It is not to be stopped by a test."""
    with _open_directory() as path, embedded.start(path, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def _template(postgres: EmbeddedPostgres) -> str:
    _in_maintenance(postgres, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    migrations.upgrade(postgres.owner_database_url(_TEMPLATE), embedded.SERVICE)
    return _TEMPLATE


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL, its owner's, of a database of its own that nobody has migrated."""
    with _made(postgres, "template1") as url:
        yield owned(url)


@pytest.fixture
def database(postgres: EmbeddedPostgres, _template: str) -> Iterator[str]:
    """The URL, the service's, of a migrated database of its own."""
    with _made(postgres, _template) as url:
        yield url


@pytest.fixture(scope="session")
def made_database(postgres: EmbeddedPostgres, _template: str) -> MadeDatabase:
    """Makes the URL of a further migrated database, which is there as long as its block."""
    return lambda: _made(postgres, _template)


@pytest.fixture(scope="session")
def made_template(postgres: EmbeddedPostgres, _template: str) -> Callable[[str], Template]:
    """Makes a migrated database of this name to be filled once, for the many tests that begin with what is in it."""

    def make(name: str) -> Template:
        _create(postgres, name, _template)
        return Template(postgres.database_url(name), lambda: _made(postgres, name))

    return make


@pytest.fixture(scope="module")
def module_database(made_database: MadeDatabase) -> Iterator[str]:
    """The URL of a migrated database that the tests of a module share."""
    with made_database() as url:
        yield url


@pytest.fixture
async def db(database: str) -> AsyncIterator[Database]:
    """A migrated database of its own, open."""
    opened = Database.open(database)
    yield opened
    await opened.close()


@pytest.fixture
async def owner_db(database: str) -> AsyncIterator[Database]:
    """The same database as ``db``, as the role that owns its tables: for what the service's role may not even try."""
    opened = Database.open(owned(database))
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def _shared_database(postgres: EmbeddedPostgres, _template: str) -> Iterator[str]:
    with _made(postgres, _template) as url:
        yield url


@pytest.fixture
async def tx(_shared_database: str) -> AsyncIterator[AsyncConnection]:
    """A transaction on an empty realm that is undone after the test."""
    async with _undone(_shared_database) as connection:
        yield connection


@pytest.fixture
async def owner_tx(_shared_database: str) -> AsyncIterator[AsyncConnection]:
    """The same as the role that owns the tables."""
    async with _undone(owned(_shared_database)) as connection:
        yield connection


@asynccontextmanager
async def _undone(url: str) -> AsyncIterator[AsyncConnection]:
    opened = Database.open(url)
    try:
        with suppress(_Undone):
            async with opened.begin() as connection:
                yield connection
                raise _Undone
    finally:
        await opened.close()


class _Undone(Exception):
    """Ends a transaction without committing it."""


@contextmanager
def _made(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _create(postgres, name, template)
    yield postgres.database_url(name)
    _in_maintenance(postgres, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _create(postgres: EmbeddedPostgres, name: str, template: str) -> None:
    make = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _in_maintenance(postgres, make)


def _in_maintenance(postgres: EmbeddedPostgres, statement: sql.Composed) -> None:
    url = postgres.owner_database_url("postgres").replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
