"""Changes made behind the service's back, straight in Postgres, by a role that can take the guards away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.owning import owned

#: What the guards stand on, beside the partitions.
GUARDED = ("ledger", "ledger_seals", "ledger_tiles", "ledger_clusters")


@contextmanager
def unguarded(url: str) -> Iterator[psycopg.Connection[Any]]:
    """The database without its guards, as its owner; they stand again, and what was done is so, when the block ends."""
    with psycopg.connect(owned(url).replace("+psycopg", "", 1)) as connection:
        months = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
        )
        tables = [*GUARDED, *(month for (month,) in months)]
        for table in tables:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield connection
        for table in tables:
            if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
                connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def tamper(url: str, *statements: str) -> None:
    """Execute statements on the database without its guards, which stand again afterwards."""
    with unguarded(url) as connection:
        for statement in statements:
            connection.execute(statement)
