"""Where the database's schema stands, and how it comes to where this release needs it.

Migrations are numbered pages in ``migrations/``: beside this package where it was
installed from a wheel, else at the top of the checkout.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

import muniment
from muniment.core.problems import CannotStart, SchemaTooNew, SchemaTooOld
from muniment.store.databases import Database, parsed_url

_STANDS: Final = text("SELECT version_num FROM alembic_version")
_EXISTS: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")


class State(StrEnum):
    """A database's schema beside the one that this release needs."""

    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"
    EMPTY = "empty"


def upgrade(url: str) -> None:
    """Bring the database to this release's schema; of several processes one does it, the others wait for it."""
    config = configured(url)
    engine = create_engine(config.attributes["url"], poolclass=NullPool)
    try:
        with engine.connect() as connection:
            stands = connection.scalar(_STANDS) if connection.scalar(_EXISTS) else None
        _refuse_newer(stands)
        command.upgrade(config, "head")
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
    """Refuse to work on a schema that is not this release's."""
    stands = await _stands(db)
    _refuse_newer(stands)
    if _state(stands) is not State.CURRENT:
        before = f"is at migration {stands}" if stands else "is empty"
        message = f"The database {before}, and this release needs {_head()}. Run: muniment database upgrade"
        raise SchemaTooOld(message)


def configured(url: str) -> Config:
    """Alembic's configuration for the database at a URL."""
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
def _scripts() -> ScriptDirectory:
    """This release's migrations: read once, for they change with the release alone."""
    return ScriptDirectory(str(_folder()))


def _head() -> str:
    (head,) = _scripts().get_heads()
    return head


def _state(stands: str | None) -> State:
    if stands is None:
        return State.EMPTY
    if stands == _head():
        return State.CURRENT
    known = {script.revision for script in _scripts().walk_revisions()}
    return State.OLDER if stands in known else State.NEWER


def _refuse_newer(stands: str | None) -> None:
    if _state(stands) is State.NEWER:
        message = (
            f"A newer release has upgraded the database to migration {stands}; this one knows those up to {_head()}. "
            "Install that release again, or restore the backup from before its upgrade."
        )
        raise SchemaTooNew(message)


async def _stands(db: Database) -> str | None:
    async with db.begin() as tx:
        if not (await tx.execute(_EXISTS)).scalar_one():
            return None
        found: str | None = (await tx.execute(_STANDS)).scalar_one_or_none()
        return found


def _first_line(error: OperationalError) -> str:
    return str(error.orig).strip().partition("\n")[0].rstrip(".")
