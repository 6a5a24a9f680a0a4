"""A ledger that nobody touched is said to be whole, whatever goes on beside.

And of a month whose retirement was told of and did not come to pass, no row goes unnoticed.
"""

# ruff: noqa: F811 - fixtures of another module's
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import make_url

from muniment.api.identifiers import new_id
from muniment.core.problems import CannotStart
from muniment.flows import verify_ledger as flow
from muniment.flows.erase_person import Request, erase_person
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.store import seals
from muniment.store.databases import Database
from tests.ledgers import fill
from tests.owning import libpq
from tests.store.test_retiring import OLD, OLDER, OLDEST, kept, retired, verdict  # noqa: F401 - a fixture
from tests.tampering import tamper

pytestmark = pytest.mark.anyio

ANN = Request("user:ann", "request 123", "root")


async def test_tiles_that_are_filled_while_a_ledger_is_verified_are_no_fault(kept, database, monkeypatch):
    fill(database, 0, 299)
    await kept.seal()
    hold = flow._hold_tiles

    async def meanwhile(*args):
        fill(database, 300, 899)
        await kept.seal()
        await hold(*args)

    monkeypatch.setattr(flow, "_hold_tiles", meanwhile)
    assert (await verdict(kept)).faults == ()


async def test_a_person_who_is_erased_while_a_ledger_is_verified_is_no_fault(kept, monkeypatch):
    await kept.seal()
    rows = seals.rows_of_bent_lists

    async def meanwhile(tx):
        monkeypatch.setattr(seals, "rows_of_bent_lists", rows)
        done = await erase_person(kept.db, kept.maintenance, kept.keys, kept.occasion, ANN)
        assert done.who
        return await rows(tx)

    monkeypatch.setattr(seals, "rows_of_bent_lists", meanwhile)
    assert (await verdict(kept)).faults == ()


async def test_a_month_that_is_retired_while_a_ledger_is_verified_is_no_fault(kept, monkeypatch):
    await kept.seal()
    pieces = flow._pieces

    async def meanwhile(*args):
        monkeypatch.setattr(flow, "_pieces", pieces)
        assert await retired(kept, OLDER)
        async for each in pieces(*args):
            yield each

    monkeypatch.setattr(flow, "_pieces", meanwhile)
    assert (await verdict(kept)).faults == ()


@pytest.mark.parametrize("what", ["erase", "retire"])
async def test_what_takes_twenty_minutes_before_it_is_told_is_not_told_late(kept, what):
    """The occasion begins with the command; to prove and archive a long ledger takes its time."""
    await kept.seal()
    before = datetime.now(UTC) - timedelta(minutes=20)
    begun = replace(kept, occasion=replace(kept.occasion, at=before, request_id=new_id(before)))
    if what == "erase":
        await erase_person(begun.db, begun.maintenance, begun.keys, begun.occasion, ANN)
    else:
        assert await retired(begun, OLD)
    await kept.seal()
    assert (await verify_ledger(kept.db, Auditing())).faults == ()


async def test_single_rows_of_a_month_that_was_to_go_and_stayed_are_missed(kept, database, monkeypatch):
    async def busy(_self, _month):
        raise CannotStart(
            "Transactions on the ledger have been open for so long that the month could not be taken out."
        )

    with monkeypatch.context() as patched:
        patched.setattr(type(kept.maintenance), "remove", busy)
        with pytest.raises(CannotStart):
            await retired(kept, OLDER)
    await kept.seal()
    assert (await verdict(kept)).faults == ()
    tamper(database, f"DELETE FROM ledger WHERE at < '{OLDEST + timedelta(days=1, hours=12)}'")
    found = await verdict(kept)
    assert found.faults, (found.retired, found.rows)


@pytest.mark.parametrize("setting", ["client_encoding = 'LATIN1'", "client_encoding = 'SQL_ASCII'"])
async def test_what_a_database_says_of_letters_keeps_nobody_from_a_verdict(kept, database, setting):
    await kept.seal()
    name = make_url(database).database
    with psycopg.connect(libpq(database).replace("//muniment@", "//postgres@"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
    db = Database.open(database)
    try:
        assert (await verify_ledger(db, Auditing())).faults == ()
    finally:
        await db.close()


async def test_a_witness_that_was_told_at_no_time_keeps_nobody_from_a_verdict(kept, database):
    await kept.seal()
    tamper(database, "INSERT INTO ledger_witnesses VALUES ('x', 1, 'infinity')")
    assert await verdict(kept)
