"""What sealing and verifying a ledger cost: one of many rows is written, sealed, verified, changed, verified again.

Processor time is told apart: this process's, and that of PostgreSQL's sessions. The rows are written by SQL, as the
service would have written them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg

from muniment.core.verdicts import Verdict
from muniment.flows.seal_ledger import Sealer
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKeys
from muniment.store.databases import Database
from muniment.store.witnesses import FileWitness
from tests.bench.servers import Postgres
from tests.ledgers import fill
from tests.owning import libpq

ROWS = 1_000_000
QUICK_ROWS = 100_000

#: Rows in one transaction while they are written.
_STEP = 50_000
#: How many places are changed, each to be found, of the smaller ledger.
_PLACES = 12

Tell = Callable[[str], None]


class NotFound(Exception):
    """A row that was changed was not named, or one that was not was."""


@dataclass(frozen=True)
class Measured:
    """Figures of one ledger, in seconds of processor time."""

    rows: int
    sealing: float
    sealing_postgres: float
    verifying: float
    verifying_postgres: float
    verifying_wall: float
    peak_mb: float
    found: int


async def measure(server: Postgres, rows: int, tell: Tell) -> Measured:
    """Write, seal and verify a ledger of so many rows."""
    url = server.make(f"verifying_{rows}")
    with TemporaryDirectory() as folder:
        keys, witness = SealKeys(Path(folder) / "seals.key"), FileWitness(Path(folder) / "checkpoints.jsonl")
        keys.made()
        tell(f"writing {rows:,} rows")
        for first in range(0, rows, _STEP):
            fill(url, first, min(first + _STEP, rows) - 1)
        with psycopg.connect(libpq(url), autocommit=True) as owner:
            owner.execute("VACUUM ANALYZE ledger")
        db = Database.open(url, statement_seconds=3600, transaction_seconds=3600)
        try:
            tell("sealing them")
            sealer = Sealer(db, keys, [witness])
            ours, theirs = time.process_time(), server.cpu_seconds()
            sealed = await sealer.seal_all()
            sealing, sealing_postgres = time.process_time() - ours, server.cpu_seconds() - theirs
            if sealed != rows:
                raise NotFound(f"{sealed:,} rows of {rows:,} were sealed")
            await sealer.tell_witnesses()
            tell("verifying them")
            auditing = Auditing([keys.current.public], [witness])
            begun, ours, theirs = time.monotonic(), time.process_time(), server.cpu_seconds()
            verdict = await verify_ledger(db, auditing)
            wall, verifying = time.monotonic() - begun, time.process_time() - ours
            verifying_postgres = server.cpu_seconds() - theirs
            if not verdict.holds or verdict.rows != rows:
                raise NotFound(f"the untouched ledger does not hold: {verdict.faults[:1]}")
            found = await _find(db, url, auditing, rows, tell)
        finally:
            await db.close()
    return Measured(rows, sealing, sealing_postgres, verifying, verifying_postgres, wall, _peak_mb(), found)


async def _find(db: Database, url: str, auditing: Auditing, rows: int, tell: Tell) -> int:
    """Change a row at one place after the other; how many were named."""
    places = random.Random(7).sample(range(rows), _PLACES if rows <= QUICK_ROWS else 1)
    for position in places:
        tell(f"changing row {position:,}")
        with psycopg.connect(libpq(url)) as owner:
            where = "ORDER BY xact, seq OFFSET %s LIMIT 1"
            (id_,) = owner.execute(f"SELECT id FROM ledger {where}", [position]).fetchone() or (None,)
            _put(owner, id_, "'another'")
        verdict = await verify_ledger(db, auditing)
        _hold(verdict, position, id_)
        with psycopg.connect(libpq(url)) as owner:
            _put(owner, id_, "'close the month'")
    return len(places)


def _put(owner: psycopg.Connection, id_: UUID, purpose: str) -> None:
    months = owner.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass")
    tables = ["ledger", *(month for (month,) in months)]
    for table in tables:
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    owner.execute(f"UPDATE ledger SET purpose = {purpose} WHERE id = %s", [id_])
    for table in tables:
        owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _hold(verdict: Verdict, position: int, id_: UUID) -> None:
    named = [(fault.kind.value, fault.position, fault.id) for fault in verdict.faults]
    if named != [("changed", position, str(id_))]:
        raise NotFound(f"row {position:,} was changed, and {named} was named")


def _peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def text(measured: Measured) -> str:
    """The figures, for people."""
    rate = measured.rows / (measured.sealing + measured.sealing_postgres)
    return "\n".join(
        [
            f"A ledger of {measured.rows:,} rows, in seconds of processor time:",
            f"  sealed    {measured.sealing:6.1f} the sealer, {measured.sealing_postgres:6.1f} PostgreSQL",
            f"            ({rate:,.0f} rows for a second of both)",
            f"  verified  {measured.verifying:6.1f} the verifier, {measured.verifying_postgres:6.1f} PostgreSQL",
            f"            ({measured.verifying_wall:.1f} s by the clock)",
            f"  found     {measured.found} of {measured.found} rows that were changed, each by its place",
            f"  memory    {measured.peak_mb:,.0f} MB at most",
        ]
    )
