"""A sealer that goes on for years: witnesses that do not answer, and a database that is replaced under it."""

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from muniment import sealing
from muniment.core.ledger import Event, Outcome, Row
from muniment.flows import seal_ledger
from muniment.flows.seal_ledger import Sealer, SealingStopped
from muniment.identity.seal_keys import SealKeys
from muniment.settings import Settings, WitnessBucket, WitnessFile
from muniment.store import ledger, seals
from muniment.store.databases import Database
from muniment.store.witnesses import FileWitness
from tests.tampering import tamper

pytestmark = pytest.mark.anyio


async def write(url):
    db = Database.open(url)
    try:
        async with db.begin() as tx:
            at = (await seals.snapshot(tx)).at
            await ledger.append(tx, [Row(id=uuid4(), at=at, event=Event.LEASE_SERVED, outcome=Outcome.ALLOWED)])
    finally:
        await db.close()


async def until(found):
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110  another task makes it so
            await asyncio.sleep(0.02)


@asynccontextmanager
async def sealing_on(settings, url):
    task = asyncio.create_task(sealing.seal_on(settings, url))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def silent():
    """The address of something that takes every connection and never says a word."""
    closing = asyncio.Event()

    async def wait(_reader, writer):
        await closing.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    closing.set()
    server.close()


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(sealing, "_SECONDS", 0.05)
    monkeypatch.setattr(sealing, "_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(seal_ledger, "_PATIENCE_SECONDS", 0.2)


@pytest.mark.usefixtures("soon")
async def test_nobody_waits_for_a_witness_that_takes_connections_and_says_nothing(
    database, tmp_path, silent, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "audit")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the tests")
    file = FileWitness(tmp_path / "checkpoints.jsonl")
    bucket = WitnessBucket(kind="s3", bucket="audit", endpoint=silent, region="us-east-1")
    settings = Settings(data_dir=tmp_path, witnesses=(bucket, WitnessFile(kind="file", path=file.path)))
    async with sealing_on(settings, database):
        for number in (1, 2):
            await write(database)
            await until(lambda number=number: [each for each, _ in file.notes()] == [*range(1, number + 1)])


async def test_a_witness_that_was_away_and_keeps_more_than_the_database_stops_the_sealing(db, database, tmp_path):
    keys, witness = SealKeys(tmp_path / "seals.key"), FileWitness(tmp_path / "checkpoints.jsonl")
    keys.made()
    for _ in range(2):
        await write(database)
        before = Sealer(db, keys, [witness])
        await before.seal_all()
        await before.tell_witnesses()
    tamper(database, "DELETE FROM ledger_seals WHERE number > 1")
    kept = witness.path.rename(tmp_path / "elsewhere")
    sealer = Sealer(db, keys, [witness])
    witness.path.mkdir()
    await sealer.hold_to_witnesses()
    assert (await sealer.tell_witnesses())[0].fault
    witness.path.rmdir()
    kept.rename(witness.path)
    with pytest.raises(SealingStopped, match="keeps checkpoint 2"):
        await sealer.tell_witnesses()


async def test_what_was_lost_is_not_accepted_while_a_witness_is_away(db, database, tmp_path):
    keys, witness = SealKeys(tmp_path / "seals.key"), FileWitness(tmp_path / "checkpoints.jsonl")
    witness.path.mkdir()
    with pytest.raises(SealingStopped, match="is away"):
        await Sealer(db, keys, [witness]).accept_restore(None, "the disk failed", "root")


async def test_a_witness_whose_last_line_is_no_checkpoint_is_named_and_holds_up_no_sealing(db, database, tmp_path):
    keys, witness = SealKeys(tmp_path / "seals.key"), FileWitness(tmp_path / "checkpoints.jsonl")
    keys.made()
    witness.path.write_text('{"number": 1, "note": "nonsense"}\n')
    await write(database)
    sealer = Sealer(db, keys, [witness])
    await sealer.hold_to_witnesses()
    assert await sealer.seal_all() == 1
    (told,) = await sealer.tell_witnesses()
    assert told.fault == f"{witness.path}: its last line is no checkpoint"


@pytest.mark.usefixtures("soon")
async def test_a_database_that_was_replaced_is_opened_anew_and_held_to_the_witnesses(
    postgres, made_database, tmp_path, caplog
):
    caplog.set_level(logging.WARNING)
    witness = FileWitness(tmp_path / "checkpoints.jsonl")
    with made_database() as url, made_database() as other:
        name, further = (sql.Identifier(make_url(each).database) for each in (url, other))
        async with sealing_on(Settings(data_dir=tmp_path), url):
            await write(url)
            await until(lambda: [number for number, _ in witness.notes()] == [1])
            maintenance = postgres.owner_database_url("postgres").replace("+psycopg", "", 1)
            with psycopg.connect(maintenance, autocommit=True) as owner:
                owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
                owner.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(further, name))
                owner.execute(sql.SQL("CREATE DATABASE {}").format(further))
            await until(lambda: "keeps checkpoint 1" in caplog.text)
            witness.path.unlink()
            await write(url)
            await until(lambda: [number for number, _ in witness.notes()] == [1])
