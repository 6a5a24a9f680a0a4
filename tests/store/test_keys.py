"""Keys of Muniment's own: kept by their hashes, ended for good, remembered while the roster stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from muniment.core.keys import Ending, Key, LastUse, Pepper, written
from muniment.core.problems import TokenRefused
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import keys, roster
from muniment.store.databases import Database
from muniment.store.keys import Keys
from muniment.store.subjects import Sightings
from muniment.store.tables import keys as table
from muniment.store.tables import realm_counter

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIGHTLY, WEEKLY = (Subject(Kind.SERVICE, name) for name in ("nightly", "weekly"))
ROOT = Subject(Kind.USER, "root")
PEPPER = Pepper(b"the secret of the tests of the store")
TEXT = written(bytes(range(32)))
ENDING = Ending("user:root", NOON, "it was found in a log")


def key(id_: str = "a", subject: Subject = NIGHTLY, **more: object) -> Key:
    usual = Key(
        id=id_,
        subject=subject,
        bounds=Bounds(Use.RUNS, "prod", "forecast", "planning"),
        at=NOON,
        by=ROOT,
        because="the old scheduler",
        until=NOON + timedelta(days=90),
    )
    return replace(usual, **more)


async def added(tx, *made: Key) -> None:
    for each in made:
        await keys.add(tx, each, PEPPER.hashed(each.id), PEPPER.name)


async def test_a_key_is_read_back_as_it_was_kept(tx):
    await added(tx, key(), key("b", bounds=Bounds(Use.CHANGES)))
    assert await keys.of_id(tx, "a") == key()
    assert await keys.of_hash(tx, PEPPER.hashed("b")) == key("b", bounds=Bounds(Use.CHANGES))
    assert await keys.of_id(tx, "c") is None


async def test_nothing_that_is_kept_is_the_key(tx):
    await keys.add(tx, key(), PEPPER.hashed(TEXT), PEPPER.name)
    (kept,) = (await tx.execute(select(table))).all()
    assert TEXT not in repr(kept)
    assert TEXT.encode() not in bytes(kept.hashed)


async def test_keys_are_listed_newest_first_those_of_one_subject_or_all(tx):
    await added(tx, key("a"), key("b", WEEKLY), key("c"), key("d"))
    assert [each.id for each in await keys.older(tx, limit=3)] == ["d", "c", "b"]
    assert [each.id for each in await keys.older(tx, limit=3, before="b")] == ["a"]
    assert [each.id for each in await keys.older(tx, limit=2, subject=NIGHTLY)] == ["d", "c"]


async def test_a_revoked_key_stays_revoked_as_it_was_first(tx):
    await added(tx, key())
    assert await keys.revoke(tx, "a", ENDING)
    assert not await keys.revoke(tx, "a", Ending("user:sam", NOON + timedelta(hours=1), "again"))
    assert (await keys.of_id(tx, "a")).ending == ENDING


@pytest.mark.parametrize("statement", ["UPDATE keys SET until = now()", "DELETE FROM key_endings", "DELETE FROM keys"])
async def test_neither_a_key_nor_its_end_is_ever_written_over(owner_tx, statement):
    await added(owner_tx, key())
    await keys.revoke(owner_tx, "a", ENDING)
    with pytest.raises(IntegrityError, match="never changed"):
        async with owner_tx.begin_nested():
            await owner_tx.execute(text(statement))


async def test_every_revocation_counts_the_roster_on(tx):
    async def version() -> int:
        return (await tx.execute(select(realm_counter.c.roster))).scalar_one()

    await added(tx, key("a"), key("b"))
    before = await version()
    await keys.revoke(tx, "a", ENDING)
    assert await version() == before + 1
    await keys.revoke_keys_of(tx, NIGHTLY, why="left", by="user:root", at=NOON)
    assert await version() == before + 2


async def test_all_keys_of_a_subject_that_are_in_force_are_revoked_at_once(tx):
    await added(tx, key("a"), key("b"), key("c", WEEKLY), key("d", until=NOON))
    await keys.revoke(tx, "b", ENDING)

    assert await keys.revoke_keys_of(tx, NIGHTLY, why="it is gone", by="user:root", at=NOON) == ["a"]

    assert (await keys.of_id(tx, "a")).ending == Ending("user:root", NOON, "it is gone")
    assert (await keys.of_id(tx, "b")).ending == ENDING
    assert (await keys.of_id(tx, "c")).ending is None
    assert await keys.revoke_keys_of(tx, NIGHTLY, why="it is gone", by="user:root", at=NOON) == []


async def test_only_keys_in_force_are_counted(tx):
    await added(tx, key("a"), key("b"), key("c", WEEKLY), key("d", until=NOON))
    await keys.revoke(tx, "b", ENDING)
    assert await keys.in_force(tx, NIGHTLY, NOON) == 1
    assert await keys.in_force(tx, NIGHTLY, NOON - timedelta(seconds=1)) == 2


async def test_it_shows_how_many_keys_another_secret_made(tx):
    await added(tx, key("a"), key("b"), key("c", until=NOON))
    assert await keys.of_other_peppers(tx, PEPPER.name, NOON) == 0
    assert await keys.of_other_peppers(tx, Pepper(b"another").name, NOON) == 2


async def test_the_last_use_is_the_latest(tx):
    await added(tx, key())
    for minutes, address in ((5, "10.0.0.1"), (0, "10.0.0.2"), (9, "10.0.0.3"), (7, "10.0.0.4")):
        await keys.use(tx, "a", LastUse(NOON + timedelta(minutes=minutes), address))
    assert (await keys.of_id(tx, "a")).used == LastUse(NOON + timedelta(minutes=9), "10.0.0.3")


# --- what a process remembers ---------------------------------------------------------------------------------------


@pytest.fixture
async def held(db: Database) -> Keys:
    """The keys of a process, on a database that holds one."""
    held = Keys(db, PEPPER)
    async with db.begin() as tx:
        await held.keep(tx, key(), TEXT)
    return held


async def test_a_key_signs_in_until_its_end(held: Keys) -> None:
    sign_in = await held.verify(TEXT, NOON, 0)
    assert sign_in == key().sign_in(None)
    last = key().until - timedelta(microseconds=1)
    assert await held.verify(TEXT, last, 0) == sign_in
    with pytest.raises(TokenRefused):
        await held.verify(TEXT, key().until, 0)


async def test_a_revoked_key_is_refused_as_soon_as_the_roster_is_another(db: Database, held: Keys) -> None:
    assert await held.verify(TEXT, NOON, 0)
    async with db.begin() as tx:
        await keys.revoke(tx, "a", ENDING)
        version = await roster.changed(tx)
    with pytest.raises(TokenRefused):
        await held.verify(TEXT, NOON, version)


async def test_what_is_refused_is_not_remembered(db: Database, held: Keys) -> None:
    text_ = written(bytes(32))
    with pytest.raises(TokenRefused):
        await held.verify(text_, NOON, 0)
    async with db.begin() as tx:
        await held.keep(tx, key("b"), text_)
    assert (await held.verify(text_, NOON, 0)).credential == "key:b"


async def test_what_has_no_checksum_never_reaches_the_database(db: Database, held: Keys) -> None:
    await db.close()
    broken = Keys(Database.open("postgresql+psycopg://nobody@127.0.0.1:1/none"), PEPPER)
    with pytest.raises(TokenRefused):
        await broken.verify(TEXT[:-1] + ("0" if TEXT[-1] != "0" else "1"), NOON, 0)


async def test_under_another_secret_a_key_is_none(db: Database, held: Keys) -> None:
    with pytest.raises(TokenRefused):
        await Keys(db, Pepper(b"the secret of another deployment")).verify(TEXT, NOON, 0)


async def test_a_key_made_from_a_sign_in_says_what_that_said(db: Database) -> None:
    said = SubjectState(NIGHTLY, "https://id.example.org", frozenset({"jobs"}), {"clearance": 3})
    await Sightings(db).note(said, NOON)
    held = Keys(db, PEPPER)
    async with db.begin() as tx:
        await held.keep(tx, key(state=said.digest), TEXT)
    assert (await held.verify(TEXT, NOON, 0)).state == said


async def test_a_use_is_written_down_once_in_five_minutes(db: Database, held: Keys) -> None:
    sign_in = await held.verify(TEXT, NOON, 0)
    seen = []
    for minutes, address in ((0, "10.0.0.1"), (4, "10.0.0.2"), (5, "10.0.0.3")):
        await held.note_use(sign_in, address, NOON + timedelta(minutes=minutes))
        async with db.begin() as tx:
            seen.append((await keys.of_id(tx, "a")).used.address)
    assert seen == ["10.0.0.1", "10.0.0.1", "10.0.0.3"]


async def test_a_token_is_no_use_of_a_key(held: Keys, db: Database) -> None:
    await held.note_use(replace(key().sign_in(None), credential="token"), "10.0.0.1", NOON)
    async with db.begin() as tx:
        assert (await keys.of_id(tx, "a")).used is None
