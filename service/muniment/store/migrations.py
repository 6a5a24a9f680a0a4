"""Where the database's schema stands, and how it comes to where this release needs it.

Migrations are numbered pages in ``migrations/``: beside this package where it was
installed from a wheel, else at the top of the checkout.

A page that takes something away says ``contracts = True``. The database says which the last of
these was (in the comment of ``alembic_version``), so a release from before the newest pages knows
whether it may go on, and start, on them: it may where it knows that page.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

import muniment
from muniment.core.problems import CannotStart, SchemaTooNew, SchemaTooOld
from muniment.store import roles
from muniment.store.databases import Database, parsed_url

if TYPE_CHECKING:
    from alembic.config import Config

_STANDS: Final = text("SELECT version_num FROM alembic_version")
_EXISTS: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_SINCE: Final = text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")


class State(StrEnum):
    """A database's schema beside the one that this release needs; one that is ahead has all of it, and more."""

    CURRENT = "current"
    AHEAD = "ahead"
    OLDER = "older"
    NEWER = "newer"
    EMPTY = "empty"

    @property
    def serves(self) -> bool:
        """Whether this release can work on it."""
        return self in {State.CURRENT, State.AHEAD}


class _Stands(NamedTuple):
    """The newest page that a database has, and the last one that took something away, as the database says it."""

    page: str | None
    since: str | None


def upgrade(url: str, service: str | None = None) -> None:
    """Bring the database to this release's schema; of several processes one does it, the others wait for it.

    ``url`` is its owner's. The role that serves, where it is named and is another one, gets what it needs and no more.
    """
    from alembic import command  # noqa: PLC0415 - many MB that no worker needs

    config = configured(url)
    engine = create_engine(config.attributes["url"], poolclass=NullPool)
    try:
        with engine.connect() as connection:
            exists = connection.scalar(_EXISTS)
            stands = _Stands(connection.scalar(_STANDS), connection.scalar(_SINCE)) if exists else None
        if _state(stands) is State.AHEAD:
            return
        _refuse_newer(stands)
        command.upgrade(config, "head")
        if service is not None:
            with engine.begin() as connection:
                roles.give(connection, service)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        message = (
            f"The database could not be upgraded: {_first_line(error)}. It is upgraded by the role that owns its "
            "tables: set MUNIMENT_DATABASE_OWNER_URL to its address, then run: muniment database upgrade"
        )
        raise CannotStart(message) from error
    except OperationalError as error:
        message = (
            f"The database could not be upgraded: {_first_line(error)}. See that it runs and that nothing holds locks "
            "on its tables, then run: muniment database upgrade"
        )
        raise CannotStart(message) from error


async def state(db: Database) -> State:
    """Where the database's schema stands beside this release's."""
    return _state(await _stands(db))


async def require_current(db: Database) -> None:
    """Refuse to work on a schema that is not this release's, nor made so that this release goes on working."""
    stands = await _stands(db)
    _refuse_newer(stands)
    if not _state(stands).serves:
        before = f"is at migration {stands.page}" if stands else "is empty"
        message = f"The database {before}, and this release needs {_head()}. Run: muniment database upgrade"
        raise SchemaTooOld(message)


def configured(url: str) -> Config:
    """Alembic's configuration for the database at a URL."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    # Alembic reads % as the beginning of a placeholder.
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.attributes["url"] = parsed_url(url)
    return config


def _folder() -> Path:
    package = Path(muniment.__file__).parent
    for folder in (package / "migrations", package.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise CannotStart("Muniment was installed without its migrations. Install it again: pip install muniment")


@cache
def _pages() -> tuple[str, ...]:
    """The numbers of this release's migrations in their order: each is the beginning of its file's name."""
    return tuple(sorted(page.name.partition("_")[0] for page in (_folder() / "versions").glob("[0-9]*_*.py")))


def _head() -> str:
    return _pages()[-1]


def _state(stands: _Stands | None) -> State:
    if stands is None or stands.page is None:
        return State.EMPTY
    if stands.page == _head():
        return State.CURRENT
    if stands.page in _pages():
        return State.OLDER
    return State.AHEAD if stands.since in _pages() else State.NEWER


def _refuse_newer(stands: _Stands | None) -> None:
    if stands is not None and _state(stands) is State.NEWER:
        message = (
            f"A newer release has upgraded the database to migration {stands.page}, and has taken away what this one "
            f"needs, which knows those up to {_head()}. Install that release again, or restore the backup from before "
            "its upgrade."
        )
        raise SchemaTooNew(message)


async def _stands(db: Database) -> _Stands | None:
    async with db.begin() as tx:
        if not (await tx.execute(_EXISTS)).scalar_one():
            return None
        page: str | None = (await tx.execute(_STANDS)).scalar_one_or_none()
        return _Stands(page, (await tx.execute(_SINCE)).scalar_one_or_none())


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0].rstrip(".")
