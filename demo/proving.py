"""What the record is worth: whoever owns the database rewrites a row, and the proof names it.

The change is made in PostgreSQL itself, by the role that owns the tables, which takes the guards away for it. It is
undone again, so that a later start can show the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from demo.place import Place
from demo.processes import surroundings
from demo.telling import DemonstrationFailed, must, quoted, step
from muniment.store import embedded

_PATIENCE_SECONDS = 60.0
_NEWEST_REFUSAL: LiteralString = (
    "SELECT id FROM ledger WHERE subject = 'user:cara' AND event = 'access.denied' ORDER BY at DESC LIMIT 1"
)
_REWRITE: LiteralString = "UPDATE ledger SET outcome = %s WHERE id = %s"


def show_proof(place: Place) -> None:
    """A refusal is made an allowance behind everybody's back: the ledger no longer holds, and says where."""
    with step("all that happened is sealed") as doing:
        proven = _all_sealed(place)
        doing.found = f"{proven['rows']} rows in {proven['seals']} signed seals, proven up to {_time(proven)}"
    with _owner(place) as connection:
        (row,) = connection.execute(_NEWEST_REFUSAL).fetchone() or (None,)
        must(row is not None, "The ledger should hold that Cara was refused.")
        try:
            with step("its owner rewrites a row") as doing:
                _rewrite(connection, row, "allowed")
                doing.found = "Cara's refusal: outcome denied is allowed now"
            with step("muniment audit verify") as doing:
                faults = _verified(place)["faults"]
                must([fault["id"] for fault in faults] == [str(row)], f"Exactly that row should be named: {faults}")
                doing.found = f"{faults[0]['kind']}: row {row}"
        finally:
            _rewrite(connection, row, "denied")
    with step("the row is as it was") as doing:
        must(_verified(place)["holds"], "The ledger should hold again.")
        doing.found = "the ledger holds"
    quoted(str(faults[0]["words"]))


def _all_sealed(place: Place) -> Any:
    """What is proven, once there is no row that no seal holds."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        found = _verified(place)
        must(found["holds"], f"The ledger should hold: {found['faults']}")
        if not found["unsealed"]:
            return found
        time.sleep(0.5)
    raise DemonstrationFailed(f"The ledger was not sealed in {_PATIENCE_SECONDS:.0f} seconds. See {place.logs}.")


def _verified(place: Place) -> Any:
    command = [str(Path(sys.executable).with_name("muniment")), "audit", "verify", "--json"]
    env = surroundings(MUNIMENT_DATA_DIR=str(place.folder))
    done = subprocess.run(command, env=env, cwd=place.folder, capture_output=True, text=True, check=False)
    must(done.returncode in {0, 1}, f"The ledger could not be verified: {done.stderr.strip()}")
    return json.loads(done.stdout)


@contextmanager
def _owner(place: Place) -> Iterator[psycopg.Connection[Any]]:
    url = embedded.url_if_running(place.folder, embedded.OWNER)
    if url is None:
        raise DemonstrationFailed("The embedded PostgreSQL does not run.")
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        yield connection


def _rewrite(connection: psycopg.Connection[Any], row: object, outcome: str) -> None:
    """Change one row, with the guards off for as long as that takes."""
    months = connection.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass")
    tables = [sql.Identifier(name) for name in ("ledger", *(month for (month,) in months))]
    with connection.transaction():
        for table in tables:
            connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table))
        connection.execute(_REWRITE, (outcome, row))
        for table in tables:
            connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(table))


def _time(proven: Any) -> str:
    return str(proven["proven_until"])[11:19]
