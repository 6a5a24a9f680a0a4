"""No record, no answer: whoever is told that a row is durable finds it there, whatever happens."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from muniment.core.ledger import Event, Outcome, Row
from muniment.core.problems import DatabaseUnavailable, LedgerUnavailable
from muniment.store import embedded, ledger, migrations
from muniment.store.committer import Committer, Stencil
from muniment.store.databases import Database, cut
from muniment.store.held import Held
from muniment.store.present import Now
from tests.owning import libpq

pytestmark = pytest.mark.anyio

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
MIDNIGHT = NINE.replace(hour=0, tzinfo=None)


def row(**fields):
    defaults = {"id": uuid4(), "at": NINE, "event": Event.LEASE_SERVED, "outcome": Outcome.ALLOWED}
    return Row(**{**defaults, **fields})


@pytest.fixture
async def committer(db):
    working = Committer(db)
    await working.start()
    yield working
    await working.stop()


def ids_in(url):
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        return [id_ for (id_,) in connection.execute("SELECT id FROM ledger")]


def transactions_in(url):
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        return Counter(xact for (xact,) in connection.execute("SELECT xact::text FROM ledger"))


async def test_a_recorded_row_is_there_for_everybody(committer, database):
    written = row()
    await committer.record(written)
    assert ids_in(database) == [written.id]


async def test_many_rows_travel_in_few_transactions_of_bounded_size(committer, database):
    rows = [row() for _ in range(1200)]
    await asyncio.gather(*(committer.record(each) for each in rows))
    assert sorted(ids_in(database)) == sorted(each.id for each in rows)
    sizes = transactions_in(database)
    assert len(sizes) < 20
    assert max(sizes.values()) <= 512


async def test_a_bad_row_is_refused_alone(committer, database):
    rows = [row(purpose="a\0b" if number in {7, 63} else "close the month") for number in range(100)]
    outcomes = await asyncio.gather(*(committer.record(each) for each in rows), return_exceptions=True)
    refused = [number for number, outcome in enumerate(outcomes) if outcome is not None]
    assert refused == [7, 63]
    assert all(isinstance(outcomes[number], LedgerUnavailable) for number in refused)
    assert set(ids_in(database)) == {each.id for number, each in enumerate(rows) if number not in refused}


async def test_a_name_that_no_index_can_hold_is_refused_alone(committer, database):
    """Postgres calls this an operational error, as it does a lost connection."""
    rows = [row(datasets=(secrets.token_urlsafe(5000) if number == 7 else "sales.orders",)) for number in range(100)]
    outcomes = await asyncio.gather(*(committer.record(each) for each in rows), return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], LedgerUnavailable)
    assert len(ids_in(database)) == 99


async def test_a_row_of_the_same_id_and_moment_is_refused_and_the_first_stands(committer, database):
    first = row(purpose="first")
    await committer.record(first)
    with pytest.raises(LedgerUnavailable):
        await committer.record(first)
    assert ids_in(database) == [first.id]


async def test_half_a_character_is_refused_before_anybody_waits(committer):
    with pytest.raises(LedgerUnavailable, match="no text"):
        await committer.record(row(purpose="\ud800"))


async def test_the_first_row_of_a_month_makes_its_partition(committer, database):
    rows = [row(at=NINE + timedelta(days=31 * number)) for number in range(5)]
    await asyncio.gather(*(committer.record(each) for each in rows))
    assert len(ids_in(database)) == 5


async def test_callers_who_give_up_do_not_stop_the_others(committer, database):
    recording = [asyncio.create_task(committer.record(row(id=UUID(int=number)))) for number in range(50)]
    await asyncio.sleep(0)
    for number, task in enumerate(recording):
        if number % 2:
            task.cancel()
    outcomes = await asyncio.gather(*recording, return_exceptions=True)
    assert outcomes[::2] == [None] * 25
    assert {UUID(int=number) for number in range(0, 50, 2)} <= set(ids_in(database))
    await committer.record(row())


async def test_a_full_queue_refuses_at_once(db):
    committer = Committer(db, most_waiting=3)
    committer._accepting = True
    waiting = [asyncio.create_task(committer.record(row())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable, match="More records wait"):
        await committer.record(row())
    await committer.start()
    await asyncio.gather(*waiting)
    await committer.stop()


async def test_stopping_writes_what_waits_and_takes_no_more(db, database):
    committer = Committer(db)
    await committer.start()
    recording = [asyncio.create_task(committer.record(row())) for _ in range(700)]
    await asyncio.sleep(0)
    await committer.stop()
    assert await asyncio.gather(*recording) == [None] * 700
    assert len(ids_in(database)) == 700
    with pytest.raises(LedgerUnavailable, match="the service stops"):
        await committer.record(row())


async def test_a_database_that_says_otherwise_does_not_make_commits_less_durable(postgres, database):
    name = database.rpartition("?")[0].rpartition("/")[2]
    with psycopg.connect(libpq(database), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    db = Database.open(database)
    async with db.begin() as tx:
        assert (await tx.exec_driver_sql("SHOW synchronous_commit")).scalar_one() == "on"
    await db.close()


@pytest.fixture
def own_directory():
    path = Path(tempfile.mkdtemp(prefix="muniment-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def test_callers_are_refused_while_postgres_is_away_and_served_when_it_is_back(own_directory, caplog):
    server = embedded.start(own_directory, durable=False)
    migrations.upgrade(server.owner_url, embedded.SERVICE)
    db = Database.open(server.url)
    committer = Committer(db)
    await committer.start()
    kept = [row() for _ in range(5)]
    for each in kept:
        await committer.record(each)

    server.stop()
    outcomes = await asyncio.gather(*(committer.record(row()) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 5
    with pytest.raises(LedgerUnavailable):
        await committer.record(row())

    server = embedded.start(own_directory, durable=False)
    again = row()
    await committer.record(again)
    # However many come while it is away, the log says so once, and how many at the end.
    said = [each.getMessage() for each in caplog.records if each.name == "muniment.store.committer"]
    assert len(said) == 2
    assert said[1] == "the ledger is written again; meanwhile 6 rows were not"
    assert set(ids_in(server.url)) == {each.id for each in [*kept, again]}
    await committer.stop()
    await db.close()
    server.stop()


async def test_a_restart_between_two_requests_is_noticed_by_nobody(own_directory):
    server = embedded.start(own_directory, durable=False)
    migrations.upgrade(server.owner_url, embedded.SERVICE)
    db = Database.open(server.url)
    committer = Committer(db)
    await committer.start()
    await committer.record(row())
    server.stop()
    server = embedded.start(own_directory, durable=False)
    await committer.record(row())
    assert len(ids_in(server.url)) == 2
    await committer.stop()
    await db.close()
    server.stop()


async def test_every_row_that_was_acknowledged_survives_a_crash(own_directory):
    """Postgres is killed under load; what was acknowledged is there after recovery, and the service goes on."""
    server = embedded.start(own_directory)
    migrations.upgrade(server.owner_url, embedded.SERVICE)
    db = Database.open(server.url)
    committer = Committer(db)
    await committer.start()
    acknowledged, crashed = [], False

    async def ask():
        while not crashed:
            each = row()
            with suppress(LedgerUnavailable):
                await committer.record(each)
                acknowledged.append(each.id)

    asking = [asyncio.create_task(ask()) for _ in range(16)]
    await asyncio.sleep(0.5)
    pid = int((own_directory / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    crashed = True
    await asyncio.gather(*asking)
    server.stop()
    server = embedded.start(own_directory)
    assert len(acknowledged) > 50
    assert set(acknowledged) <= set(ids_in(server.url))
    await committer.record(row())
    await committer.stop()
    await db.close()
    server.stop()


async def test_a_postgres_that_does_not_answer_keeps_nobody_waiting(db, database):
    """Its ledger is locked by somebody: as silent as a frozen server."""
    committer = Committer(db, patience=0.5)
    await committer.start()
    with psycopg.connect(libpq(database)) as connection:
        connection.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        begin = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="could not be recorded"):
            await committer.record(row())
        assert time.monotonic() - begin < 8
    await committer.record(row())
    await committer.stop()


# --- rows on a condition --------------------------------------------------------------------------------------------


def stencilled(present, **fields):
    """A row as a stencil writes it, on the condition that these numbers stand."""
    written = row(request_id=uuid4(), receipt=uuid4(), **{"details": {"entries": 1}, **fields})
    ids = (str(written.id), str(written.request_id), str(written.receipt))
    return written, Stencil.of(written, present).filled(written.at.isoformat(), *ids)


async def count(db, column):
    async with db.begin() as tx:
        await tx.execute(text(f"UPDATE realm_counter SET {column} = {column} + 1"))


async def test_a_row_is_written_only_where_the_numbers_that_it_names_stand(committer, db, database):
    """Seen to fail with the condition taken out of the statement."""
    standing, early, late = (stencilled(present) for present in (Now(0, 0), Now(1, 0), Now(0, 1)))
    told = await asyncio.gather(*(committer.submit(NINE, filled) for _, filled in (standing, early, late)))
    assert told == [Now(0, 0)] * 3
    assert ids_in(database) == [standing[0].id]


@pytest.mark.parametrize(("column", "now"), [("revision", Now(1, 0)), ("roster", Now(0, 1))])
async def test_what_was_counted_on_before_a_row_was_handed_in_is_known_to_it(committer, db, database, column, now):
    before, after = stencilled(Now(0, 0)), stencilled(now)
    await count(db, column)
    assert await committer.submit(NINE, before[1]) == now
    assert await committer.submit(NINE, after[1]) == now
    assert ids_in(database) == [after[0].id]


async def test_rows_that_name_no_numbers_travel_with_those_that_do(committer, database):
    plain, other = row(), stencilled(Now(7, 7))
    await asyncio.gather(committer.record(plain), committer.submit(NINE, other[1]))
    assert ids_in(database) == [plain.id]


@given(
    st.builds(
        Row,
        id=st.uuids(),
        at=st.datetimes(MIDNIGHT, MIDNIGHT.replace(year=2200), timezones=st.just(UTC)),
        event=st.sampled_from(Event),
        outcome=st.sampled_from(Outcome),
        request_id=st.uuids(),
        receipt=st.uuids(),
        client=st.text(),
        purpose=st.none() | st.text(),
        revision=st.none() | st.integers(0, 2**40),
        datasets=st.lists(st.text()).map(tuple),
        details=st.dictionaries(st.text(min_size=1), st.text() | st.integers(0, 9), min_size=1),
    )
)
def test_a_stencil_writes_what_a_row_is_written_as(written):
    ids = (str(written.id), str(written.request_id), str(written.receipt))
    of_another = Stencil.of(written, Now(1, 2))
    filled = json.loads(of_another.at(Now(3, 4)).filled(written.at.isoformat(), *ids, '"further":1,'))
    assert (filled.pop("if_revision"), filled.pop("if_roster"), filled["details"].pop("further")) == (3, 4, 1)
    details = {name: value for name, value in written.details.items() if name != "further"}
    written = replace(written, revision=3, details=details)
    assert filled == json.loads(ledger.encoded_row(written))


# --- a connection that is lost --------------------------------------------------------------------------------------


async def test_what_is_not_answered_in_time_ends_its_connection_and_the_next_has_another(db):
    """Seen to fail with the end of waiting left out, and with the connection kept."""
    held = Held(db, "SELECT pg_backend_pid(), pg_sleep(CAST($1 AS float8))", seconds=0.3)
    (first, _), (same, _) = await held.execute(b"0"), await held.execute(b"0")
    assert first == same
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await held.execute(b"5")
    (other, _) = await held.execute(b"0")
    assert other != first
    held.close()


async def test_a_statement_that_the_session_was_made_to_forget_is_told_again(db):
    """Some poolers say ``DISCARD ALL`` between two who share a connection. What it had done stays done once."""
    held = Held(db, "UPDATE realm_counter SET roster = roster + CAST($1 AS int) RETURNING roster")
    (before,) = await held.execute(b"0")
    held._line._pg.exec_(b"DISCARD ALL")
    assert [await held.execute(b"1") for _ in range(2)] == [(b"%d" % (int(before) + more),) for more in (1, 2)]


async def test_what_is_held_is_let_go_when_its_database_is_closed(database, db):
    closing = Database.open(database)
    held = Held(closing, "SELECT pg_backend_pid()")
    (pid,) = await held.execute()
    await closing.close()
    left = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    for _ in range(100):
        async with db.begin() as tx:  # which sees the same connections for as long as it lasts
            there = (await tx.execute(left, {"pid": int(pid)})).scalar_one()
        if not there:
            return
        await asyncio.sleep(0.05)
    pytest.fail("The connection is there five seconds later.")


async def test_a_connection_that_is_lost_in_the_middle_doubles_no_row_and_the_next_is_written(
    committer, database, owner_db
):
    """Whoever waits is refused; what had been sent is not sent again."""
    await committer.record(row())
    lost = row()
    async with owner_db.begin() as tx:
        await tx.execute(text("LOCK TABLE ledger IN EXCLUSIVE MODE"))
        recording = asyncio.create_task(committer.record(lost))
        await _until_blocked(owner_db)
        cut(committer._held._line._connection)
        with pytest.raises(LedgerUnavailable):
            await recording
    again = row()
    await committer.record(again)
    found = ids_in(database)
    assert again.id in found
    assert found.count(lost.id) <= 1


async def _until_blocked(owner_db):
    """Somebody waits for a lock."""
    for _ in range(200):
        async with owner_db.begin() as tx:
            if (await tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one():
                return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits for a lock")


async def test_an_idle_connection_that_the_server_ends_is_made_anew(committer, database, owner_db):
    await committer.record(row())
    async with owner_db.begin() as tx:
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :whose AND pid <> pg_backend_pid()"
        )
        await tx.execute(text(others), {"whose": embedded.SERVICE})
    line = committer._held._line
    while line.stands:  # noqa: ASYNC110  its end arrives by itself
        await asyncio.sleep(0.01)
    await committer.record(row())
    assert len(ids_in(database)) == 2
