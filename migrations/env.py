"""How Alembic runs the migrations: one process at a time, and never waiting long for a table's lock.

The URL comes from ``muniment.store.migrations``, or with the ``alembic`` command from ``-x url=…``.
"""

import re
import time
from collections.abc import Collection, Mapping
from typing import Final

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.util import CommandError
from psycopg.sql import Literal
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.pool import NullPool

from muniment.store.databases import parsed_url
from muniment.store.tables import metadata

#: Held while migrations run; the session's end releases it. A number of our own, "muniment" in a few digits.
_LOCK: Final = 6_864_636_468

#: How often to ask whether another process still migrates, and how long to wait for anything else.
_TURNS: Final = 9000
_PAUSE: Final = 0.2
_TABLE: Final = "5s"


def migrate() -> None:
    engine = create_engine(_url(), poolclass=NullPool, connect_args={"application_name": "muniment migrations"})
    with engine.connect() as connection:
        _take_turn(connection)
        connection.execute(text(f"SET lock_timeout = '{_TABLE}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            transaction_per_migration=True,
            include_name=_is_compared,
            on_version_apply=_say_since,
        )
        with context.begin_transaction():
            context.run_migrations()


def _say_since(
    ctx: MigrationContext,
    step: MigrationInfo,  # noqa: ARG001  Alembic names its arguments
    heads: Collection[str],
    run_args: Mapping[str, object],  # noqa: ARG001
) -> None:
    """Say in the database which page took something away last, in the transaction of the page that is run."""
    pages = context.script.iterate_revisions(tuple(heads), "base")
    since = [page.revision for page in pages if getattr(page.module, "contracts", False) or page.down_revision is None]
    said = Literal(since[0] if since else None).as_string(None)
    ctx.impl.execute(text(f"COMMENT ON TABLE alembic_version IS {said}"))


def _take_turn(connection: Connection) -> None:
    """Wait for whoever migrates now, asking again and again.

    A statement that waited would hold a snapshot, and an index that is built while rows are written waits for those.
    """
    for _ in range(_TURNS):
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        if taken:
            return
        time.sleep(_PAUSE)
    raise CommandError("Another process has been migrating the database for half an hour. See what it waits for.")


def _url() -> URL:
    given = context.config.attributes.get("url")
    if given is None:
        given = parsed_url(context.get_x_argument(as_dictionary=True).get("url", ""))
    return given


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    """The ledger's partitions come with time, and are no page's."""
    return not (kind == "table" and re.fullmatch(r"ledger_\d{4}_\d{2}", name or ""))


if context.is_offline_mode():
    raise CommandError("The migrations read the database as they go: run them online, with -x url=…")
migrate()
