"""Failed sign-ins are numbers; nobody fills the disk from outside."""

from datetime import UTC, datetime, timedelta

import pytest

from muniment.store import refusals
from muniment.store.databases import Database
from muniment.store.refusals import ELSEWHERE, KEPT, MOST_A_MINUTE, Refusals, RefusedSignins

pytestmark = pytest.mark.anyio

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def counted(db, since=NINE - timedelta(days=1)):
    async with db.begin() as tx:
        return await refusals.latest(tx, since=since, limit=1000)


async def test_failures_of_one_minute_and_address_are_one_row(db):
    knocking = Refusals(db)
    for second in range(50):
        knocking.note("192.0.2.7", "expired", NINE + second * SECOND)
    await knocking.flush()
    assert await counted(db) == [RefusedSignins(NINE, "192.0.2.7", "expired", 50)]


async def test_counts_of_several_flushes_and_workers_add_up(db):
    for _ in range(3):
        knocking = Refusals(db)
        knocking.note("192.0.2.7", "expired", NINE)
        await knocking.flush()
        await knocking.flush()
    assert [row.count for row in await counted(db)] == [3]


async def test_a_worker_writes_a_bounded_number_of_rows_for_a_minute(db):
    knocking = Refusals(db)
    for number in range(5000):
        knocking.note(f"10.0.{number // 256}.{number % 256}", "expired", NINE)
    await knocking.flush()
    rows = await counted(db)
    assert len(rows) == MOST_A_MINUTE + 1
    assert sum(row.count for row in rows) == 5000
    assert {row.address: row.count for row in rows}[ELSEWHERE] == 5000 - MOST_A_MINUTE


async def test_memory_is_bounded_while_postgres_is_away():
    knocking = Refusals(Database.open("postgresql://muniment@127.0.0.1:1/muniment"))
    for minute in range(500):
        knocking.note("192.0.2.7", "expired", NINE + minute * 60 * SECOND)
        if minute % 100 == 0:
            await knocking.flush()
    await knocking.flush()
    assert max(knocking._counts) == NINE + 499 * 60 * SECOND
    assert len(knocking._counts) == 60


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("not an address", ELSEWHERE),
    ],
)
async def test_an_address_is_told_by_who_owns_it(db, address, told):
    knocking = Refusals(db)
    knocking.note(address, "expired", NINE)
    await knocking.flush()
    assert [row.address for row in await counted(db)] == [told]


async def test_old_counts_are_let_go(db):
    knocking = Refusals(db)
    for at in (NINE - KEPT - timedelta(minutes=1), NINE - KEPT, NINE):
        knocking.note("192.0.2.7", "expired", at)
    await knocking.flush()
    assert [row.minute for row in await counted(db, since=NINE - 2 * KEPT)] == [NINE, NINE - KEPT]


async def test_a_running_count_is_written_by_itself_and_at_the_end(db):
    knocking = Refusals(db, seconds=3600)
    await knocking.start()
    knocking.note("192.0.2.7", "expired", NINE)
    await knocking.stop()
    assert [row.count for row in await counted(db)] == [1]
