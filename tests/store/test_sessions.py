"""Sessions of browsers, as they are kept: found by a digest, ended once, and gone when nobody needs them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from muniment.core.sessions import Begun, Session, Vouched, Why, kept_of
from muniment.core.subjects import Subject, SubjectState
from muniment.store import sessions
from muniment.store.databases import Database
from muniment.store.subjects import Sightings
from muniment.store.tables import sessions as table
from muniment.store.tables import sign_ins_begun

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDLE, LONGEST = timedelta(hours=1), timedelta(hours=12)
MINUTE = timedelta(minutes=1)
ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}))
SAM = SubjectState(Subject.parse("user:sam"), "corp")


def session(number: int, state: SubjectState = ANN, sid: str | None = None) -> Session:
    return Session(
        id=UUID(int=number),
        state=state,
        vouched=Vouched("corp", state.subject.id, sid),
        since=NOON,
        began=NOON,
        used=NOON,
        until=NOON + LONGEST,
        address="192.0.2.7",
        client="Firefox",
    )


@pytest.fixture
async def known(db: Database) -> Database:
    """A database in which Ann and Sam were seen."""
    for state in (ANN, SAM):
        await Sightings(db).note(state, NOON)
    return db


async def test_a_session_is_read_back_by_the_digest_of_its_secret(known: Database):
    async with known.begin() as tx:
        await sessions.begin(tx, session(1, sid="s"), kept_of("one"))
        assert await sessions.presented(tx, kept_of("one"), NOON, IDLE) == session(1, sid="s")
        assert await sessions.presented(tx, kept_of("other"), NOON, IDLE) is None


async def test_a_session_stands_until_it_is_idle_or_at_its_longest(known: Database):
    async with known.begin() as tx:
        await sessions.begin(tx, session(1), kept_of("one"))
        assert await sessions.presented(tx, kept_of("one"), NOON + IDLE, IDLE) is None
        at = NOON
        while at < NOON + LONGEST - IDLE:
            at += IDLE - MINUTE
            assert await sessions.presented(tx, kept_of("one"), at, IDLE) is not None
        assert await sessions.presented(tx, kept_of("one"), NOON + LONGEST, 2 * LONGEST) is None


async def test_the_use_of_a_session_never_goes_back(known: Database):
    async with known.begin() as tx:
        await sessions.begin(tx, session(1), kept_of("one"))
        await sessions.presented(tx, kept_of("one"), NOON + 5 * MINUTE, IDLE)
        await sessions.presented(tx, kept_of("one"), NOON + 2 * MINUTE, IDLE)
        (found,) = await sessions.standing(tx, ANN.subject, NOON + 6 * MINUTE, IDLE)
    assert found.used == NOON + 5 * MINUTE


async def test_a_session_is_ended_once(known: Database):
    async with known.begin() as tx:
        await sessions.begin(tx, session(1), kept_of("one"))
        assert await sessions.end(tx, UUID(int=1), SAM.subject, Why.SIGNED_OUT, NOON) is None
        assert await sessions.end(tx, UUID(int=1), ANN.subject, Why.SIGNED_OUT, NOON) is not None
        assert await sessions.end(tx, UUID(int=1), ANN.subject, Why.SIGNED_OUT, NOON) is None
        assert await sessions.end_of_secret(tx, kept_of("one"), Why.SIGNED_IN_AGAIN, NOON) is None
        assert await sessions.presented(tx, kept_of("one"), NOON, IDLE) is None
        assert await sessions.standing(tx, ANN.subject, NOON, IDLE) == []


async def test_all_sessions_of_a_subject_end_and_those_of_others_stay(known: Database):
    async with known.begin() as tx:
        for number, state in ((1, ANN), (2, ANN), (3, SAM)):
            await sessions.begin(tx, session(number, state), kept_of(str(number)))
        ended = await sessions.end_sessions_of(tx, ANN.subject, Why.DEPROVISIONED, NOON)
        assert {each.id for each in ended} == {UUID(int=1), UUID(int=2)}
        assert {each.subject_state for each in ended} == {ANN.digest}
        assert [each.id for each in await sessions.standing(tx, SAM.subject, NOON, IDLE)] == [UUID(int=3)]


async def test_a_provider_ends_what_it_names_and_no_session_of_another(known: Database):
    async with known.begin() as tx:
        for number, state, sid in ((1, ANN, "a"), (2, ANN, "b"), (3, SAM, "a")):
            await sessions.begin(tx, session(number, state, sid), kept_of(str(number)))
        elsewhere = replace(session(4, ANN, "a"), vouched=Vouched("other", "ann", "a"))
        await sessions.begin(tx, elsewhere, kept_of("4"))
        assert await sessions.end_vouched(tx, "corp", None, None, NOON) == []
        both = await sessions.end_vouched(tx, "corp", "ann", "a", NOON)
        assert [each.id for each in both] == [UUID(int=1)]
        rest = await sessions.end_vouched(tx, "corp", None, "a", NOON)
        assert [each.id for each in rest] == [UUID(int=3)]
        assert [each.id for each in await sessions.end_vouched(tx, "corp", "ann", None, NOON)] == [UUID(int=2)]


async def test_a_sign_in_arrives_once_in_its_own_browser_and_in_time(tx):
    begun = Begun("corp", "/account", NOON + 10 * MINUTE)
    given = {"state": kept_of("state"), "browser": kept_of("browser")}
    await sessions.expect(tx, begun, **given, at=NOON)
    assert await sessions.arrived(tx, state=given["state"], browser=kept_of("another"), at=NOON) is None
    assert await sessions.arrived(tx, **given, at=NOON + 10 * MINUTE) is None
    assert await sessions.arrived(tx, **given, at=NOON + MINUTE) == begun
    assert await sessions.arrived(tx, **given, at=NOON + MINUTE) is None


async def test_sign_ins_that_never_arrived_are_forgotten(tx):
    for number in range(3):
        begun = Begun("corp", "/account", NOON + 10 * number * MINUTE)
        await sessions.expect(
            tx, begun, state=kept_of(str(number)), browser=kept_of("b"), at=NOON + 15 * number * MINUTE
        )
    assert (await tx.execute(select(func.count()).select_from(sign_ins_begun))).scalar_one() == 1


async def test_sessions_are_forgotten_a_month_after_their_end(known: Database):
    async with known.begin() as tx:
        await sessions.begin(tx, session(1), kept_of("one"))
        later = NOON + LONGEST + sessions.KEPT + MINUTE
        await sessions.begin(tx, replace(session(2), began=later, until=later + LONGEST), kept_of("two"))
        assert list((await tx.execute(select(table.c.id))).scalars()) == [UUID(int=2)]


async def test_a_logout_token_is_new_once(tx):
    until = NOON + 20 * MINUTE
    assert await sessions.see_logout_token(tx, "corp", b"jti", NOON, until)
    assert not await sessions.see_logout_token(tx, "corp", b"jti", NOON, until)
    assert await sessions.see_logout_token(tx, "other", b"jti", NOON, until)
    assert not await sessions.see_logout_token(tx, "corp", b"jti", until - MINUTE, until + MINUTE)
