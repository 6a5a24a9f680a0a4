"""Failed sign-ins are numbers; nobody fills the disk from outside, and the ledger is told of each once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from muniment.core.addresses import ELSEWHERE
from muniment.core.ledger import Event, Outcome, Question
from muniment.store import ledger, refusals
from muniment.store.databases import Database
from muniment.store.refusals import KEPT, MOST_A_MINUTE, Refusals, RefusedSignins, tell

pytestmark = pytest.mark.anyio

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LATER = NINE + timedelta(hours=1)


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


# --- told to the ledger -----------------------------------------------------------------------------------------------


async def told(db):
    """Each row of the ledger about refused sign-ins: its moment, address and counts, in the order of time."""
    async with db.begin() as tx:
        page = await ledger.reading(tx, Question(events=(Event.SIGN_IN_REFUSED,)), limit=1000)
    found = [(row.at, row.address, row.details["reasons"]) for row in page.rows]
    return sorted(found, key=lambda row: (row[0], row[1], sorted(row[2].items())))


async def tell_all(db, before=LATER):
    """Tell minute after minute, each in its own transaction; gives how many rows that made."""
    made, last = 0, 1
    while last:
        async with db.begin() as tx:
            last = await tell(tx, before)
        made += last
    return made


async def knock(db, *knocks):
    knocking = Refusals(db)
    for address, reason, at in knocks:
        knocking.note(address, reason, at)
    await knocking.flush()


async def test_a_finished_minute_is_a_row_for_each_address_that_claims_nobody(db):
    """What all workers counted, together."""
    for _ in range(2):
        await knock(
            db,
            ("192.0.2.7", "expired", NINE),
            ("192.0.2.7", "unknown", NINE + SECOND),
            ("192.0.2.8", "expired", NINE),
            ("192.0.2.7", "expired", NINE + MINUTE),
        )
    assert await tell_all(db) == 3
    assert await told(db) == [
        (NINE, "192.0.2.7", {"expired": 2, "unknown": 2}),
        (NINE, "192.0.2.8", {"expired": 2}),
        (NINE + MINUTE, "192.0.2.7", {"expired": 2}),
    ]
    async with db.begin() as tx:
        row = (await ledger.reading(tx, Question(events=(Event.SIGN_IN_REFUSED,)))).rows[0]
        assert await ledger.of_id(tx, row.id) == row
    assert (row.outcome, row.subject, row.issuer, row.credential, row.client) == (Outcome.DENIED, "", "", "", "")
    assert row.details == {"refused": 2, "reasons": {"expired": 2}, "seconds": 60}


async def test_a_minute_that_is_not_finished_is_not_told_yet(db):
    await knock(db, ("192.0.2.7", "expired", NINE), ("192.0.2.7", "expired", NINE + MINUTE))
    assert await tell_all(db, before=NINE + MINUTE) == 1
    assert await tell_all(db, before=NINE + 2 * MINUTE) == 1
    assert await tell_all(db) == 0


async def test_what_is_counted_late_is_told_later_and_nothing_twice(db):
    await knock(db, ("192.0.2.7", "expired", NINE), ("192.0.2.8", "expired", NINE))
    await tell_all(db)
    await knock(db, ("192.0.2.7", "expired", NINE), ("192.0.2.7", "expired", NINE))
    await tell_all(db)
    assert await told(db) == [
        (NINE, "192.0.2.7", {"expired": 1}),
        (NINE, "192.0.2.7", {"expired": 2}),
        (NINE, "192.0.2.8", {"expired": 1}),
    ]


async def test_workers_that_tell_at_once_tell_each_minute_once(db):
    """Seen to fail with the lock taken out."""
    for minute in range(10):
        await knock(db, *[(f"192.0.2.{number}", "expired", NINE + minute * MINUTE) for number in range(5)])
    await asyncio.gather(*[tell_all(db) for _ in range(4)])
    assert len(await told(db)) == 50


async def test_what_was_not_told_is_told_after_the_next_start(db):
    await knock(db, ("192.0.2.7", "expired", NINE))

    async def tell_and_die():
        async with db.begin() as tx:
            assert await tell(tx, LATER) == 1
            raise RuntimeError("the worker dies")

    with pytest.raises(RuntimeError, match="the worker dies"):
        await tell_and_die()
    assert await told(db) == []

    started = Refusals(db, seconds=3600)
    await started._tell_finished()
    assert await told(db) == [(NINE, "192.0.2.7", {"expired": 1})]


async def test_a_minute_makes_a_bounded_number_of_rows_whatever_the_number_of_workers(db):
    for worker in range(3):
        await knock(db, *[(f"10.{worker}.0.{number}", "expired", NINE) for number in range(MOST_A_MINUTE)])
    await knock(db, *[("192.0.2.7", "expired", NINE)] * 5)
    assert await tell_all(db) == MOST_A_MINUTE + 1
    reasons = {address: counts for _, address, counts in await told(db)}
    assert reasons["192.0.2.7"] == {"expired": 5}
    assert reasons[ELSEWHERE] == {"expired": 3 * MOST_A_MINUTE + 5 - 5 - (MOST_A_MINUTE - 1)}

    for number in range(MOST_A_MINUTE + 1):
        await knock(db, (f"10.9.0.{number}", "expired", NINE))
    assert await tell_all(db) == MOST_A_MINUTE + 1
