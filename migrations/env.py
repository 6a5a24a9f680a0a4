"""How Alembic runs the migrations: one process at a time, and never waiting long for a table's lock.

The URL comes from ``muniment.store.migrations``, or with the ``alembic`` command from ``-x url=…``.
"""

import re
from typing import Final

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from muniment.store.databases import parsed_url
from muniment.store.tables import metadata

#: Held while migrations run; the session's end releases it. A number of our own, "muniment" in a few digits.
_LOCK: Final = 6_864_636_468

#: How long to wait for another process that migrates, and for anything else.
_TURN: Final = "30min"
_TABLE: Final = "5s"


def migrate() -> None:
    engine = create_engine(_url(), poolclass=NullPool, connect_args={"application_name": "muniment migrations"})
    with engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = '{_TURN}'"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text(f"SET lock_timeout = '{_TABLE}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            transaction_per_migration=True,
            include_name=_is_compared,
        )
        with context.begin_transaction():
            context.run_migrations()


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
