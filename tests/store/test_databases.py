"""Transactions end in one place, and Postgres may come and go."""

import asyncio

import psycopg
import pytest
from sqlalchemy import text

from muniment.core.problems import CannotStart, DatabaseUnavailable
from muniment.store import databases
from muniment.store.databases import Database, parsed_url

pytestmark = pytest.mark.anyio


async def scalar(db, statement):
    async with db.begin() as tx:
        return (await tx.execute(text(statement))).scalar_one()


async def test_what_a_block_did_is_committed_where_it_ends(db):
    async with db.begin() as tx:
        await tx.execute(text("INSERT INTO issuers VALUES ('corp', 'https://login.example.com')"))
        assert await scalar(db, "SELECT count(*) FROM issuers") == 0
    assert await scalar(db, "SELECT count(*) FROM issuers") == 1


async def test_what_a_block_did_is_undone_when_it_raises(db):
    async def fails():
        async with db.begin() as tx:
            await tx.execute(text("INSERT INTO issuers VALUES ('corp', 'https://login.example.com')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await scalar(db, "SELECT count(*) FROM issuers") == 0


async def test_what_a_block_did_is_undone_when_its_caller_gives_up(db):
    async def slowly():
        async with db.begin() as tx:
            await tx.execute(text("INSERT INTO issuers VALUES ('corp', 'https://login.example.com')"))
            await tx.execute(text("SELECT pg_sleep(10)"))

    task = asyncio.create_task(slowly())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await scalar(db, "SELECT count(*) FROM issuers") == 0


async def test_connections_that_the_server_ended_are_replaced_unnoticed(db, database):
    await asyncio.gather(*(scalar(db, "SELECT pg_sleep(0.05)::text") for _ in range(5)))
    end_sessions(database)
    assert await asyncio.gather(*(scalar(db, "SELECT 1") for _ in range(5))) == [1] * 5


async def test_a_transaction_whose_connection_ends_is_refused_and_the_next_one_served(db, database):
    async def interrupted():
        async with db.begin() as tx:
            await tx.execute(text("SELECT 1"))
            end_sessions(database)
            await tx.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable, match="Nothing was changed"):
        await interrupted()
    assert await scalar(db, "SELECT 1") == 1


async def test_a_commit_that_nobody_answered_is_not_called_undone(db, database):
    async def interrupted():
        async with db.begin() as tx:
            await tx.execute(text("SELECT 1"))
            end_sessions(database)

    with pytest.raises(DatabaseUnavailable, match="Look whether it stands"):
        await interrupted()


async def test_a_postgres_that_is_not_there_is_unavailable():
    db = Database.open("postgresql://muniment@127.0.0.1:1/muniment")
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await scalar(db, "SELECT 1")
    await db.close()


async def test_a_statement_that_takes_too_long_is_ended(database):
    db = Database.open(database, statement_seconds=0.2)
    with pytest.raises(DatabaseUnavailable):
        await scalar(db, "SELECT pg_sleep(5)")
    assert await scalar(db, "SELECT 1") == 1
    await db.close()


async def test_whole_numbers_in_json_stay_whole(db):
    found = await scalar(db, """SELECT '{"whole": 1, "real": 1.0, "large": 9007199254740993}'::jsonb""")
    assert {name: (type(value), value) for name, value in found.items()} == {
        "whole": (int, 1),
        "real": (float, 1.0),
        "large": (int, 9007199254740993),
    }


@pytest.mark.parametrize(
    "url", ["postgres://ann@db/muniment", "postgresql://ann@db/muniment", "postgresql+psycopg://ann@db/muniment"]
)
def test_the_usual_spellings_of_a_url_are_understood(url):
    assert parsed_url(url).render_as_string() == "postgresql+psycopg://ann@db/muniment"


@pytest.mark.parametrize(
    "url", ["", "sqlite:///x.db", "mysql://ann:hunter2@db/x", "postgresql://ann:hunter2@db:port/x"]
)
def test_another_url_is_refused_without_repeating_it(url):
    with pytest.raises(CannotStart, match=r"Write postgresql://user@host:5432/database.$") as refusal:
        parsed_url(url)
    assert "hunter2" not in str(refusal.value)


def test_settings_that_the_url_brings_are_kept(postgres):
    url = postgres.url + "&options=-c%20work_mem%3D7MB"

    async def ask():
        db = Database.open(url)
        try:
            return await scalar(db, "SHOW work_mem"), await scalar(db, "SHOW synchronous_commit")
        finally:
            await db.close()

    assert asyncio.run(ask()) == ("7MB", "on")


@pytest.mark.parametrize("way", ["pooled", "held"])
async def test_a_connection_that_was_made_while_the_database_went_on_is_no_other_database(
    db, owner_db, database, way, monkeypatch
):
    """A worker looked how far the database was while a new connection was still asked for the state before."""
    waits = "SELECT at::text FROM revisions, pg_advisory_xact_lock_shared(7) WHERE revision = %s"
    monkeypatch.setattr(databases, "_STANDS", waits)
    await db.look()
    async with owner_db.begin() as held:
        await held.execute(text("SELECT pg_advisory_xact_lock(7)"))
        async with db.begin():
            connecting = asyncio.create_task(scalar(db, "SELECT 1") if way == "pooled" else connected(db))
            await until_one_waits(database)
        async with owner_db.begin() as other:
            await other.execute(text("INSERT INTO revisions VALUES (1, clock_timestamp(), 'user:ann', '', NULL, '')"))
        await db.look()
    assert await connecting == 1
    assert not db.replaced.is_set()


async def connected(db):
    connection = await db.connected()
    await connection.close()
    return 1


async def until_one_waits(database):
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with await psycopg.AsyncConnection.connect(database.replace("+psycopg", "", 1), autocommit=True) as looking:
        async with asyncio.timeout(30):
            while (await (await looking.execute(waiting)).fetchone()) == (0,):  # noqa: ASYNC110  it is the server's state
                await asyncio.sleep(0.01)


def end_sessions(database):
    """What a restart, a failover or an administrator does to every connection."""
    with psycopg.connect(database.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute("SELECT pg_sleep(0.1)")
