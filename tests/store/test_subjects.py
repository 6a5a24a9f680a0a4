"""States of subjects: kept once each, and the newest is the one that was seen last."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from muniment.core.ledger import Event, Outcome, Row
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import ledger, subjects
from muniment.store.subjects import Known, Sightings

pytestmark = pytest.mark.anyio

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ANN = Subject(Kind.USER, "ann")
AS_ANALYST = SubjectState(ANN, "corp", frozenset({"analysts"}), {"clearance": 3})
AS_LEAD = SubjectState(ANN, "corp", frozenset({"analysts", "leads"}), {"clearance": 4})


async def newest_of_ann(db):
    async with db.begin() as tx:
        return await subjects.newest_of(tx, ANN)


async def test_a_subject_that_was_never_seen_is_not_known(db):
    assert await newest_of_ann(db) is None


async def test_a_noted_state_is_the_subjects_newest(db):
    await Sightings(db).note(AS_ANALYST, MONDAY)
    assert await newest_of_ann(db) == Known(AS_ANALYST, MONDAY)


async def test_the_hot_path_asks_postgres_nothing(db):
    sightings = Sightings(db)
    await sightings.note(AS_ANALYST, MONDAY)
    asked = []
    event.listen(db._engine.sync_engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    await sightings.note(AS_ANALYST, MONDAY + MINUTE)
    assert asked == []


async def test_memory_of_what_was_stored_is_bounded(db):
    sightings = Sightings(db, remembered=3)
    for number in range(10):
        await sightings.note(SubjectState(Subject(Kind.USER, f"ann{number}"), "corp"), MONDAY)
    assert len(sightings._stored) == 3


async def test_several_workers_may_note_the_same_subject_at_once(db):
    await asyncio.gather(*(Sightings(db).note(AS_ANALYST, MONDAY) for _ in range(10)))
    async with db.begin() as tx:
        assert await subjects.count(tx) == 1


async def test_a_token_verified_earlier_does_not_displace_a_newer_state(db):
    await Sightings(db).note(AS_LEAD, MONDAY)
    await Sightings(db).note(AS_ANALYST, MONDAY - MINUTE)
    assert (await newest_of_ann(db)).state == AS_LEAD


async def test_a_subject_that_changes_and_changes_back_at_other_workers_ends_where_it_was_seen_last(db):
    """Neither worker's memory could know: the second change back is a state that the first worker has long stored."""
    here, elsewhere = Sightings(db), Sightings(db)
    await here.note(AS_ANALYST, MONDAY)
    await elsewhere.note(AS_LEAD, MONDAY + MINUTE)
    await here.note(AS_ANALYST, MONDAY + 2 * MINUTE)
    await decide(db, AS_ANALYST, MONDAY + 2 * MINUTE)
    assert await newest_of_ann(db) == Known(AS_ANALYST, MONDAY + 2 * MINUTE)


async def test_of_several_decisions_in_one_batch_the_last_counts(db):
    await Sightings(db).note(AS_LEAD, MONDAY)
    await Sightings(db).note(AS_ANALYST, MONDAY + MINUTE)
    async with db.begin() as tx:
        moments = [(AS_LEAD, 2), (AS_ANALYST, 4), (AS_LEAD, 3)]
        await ledger.append(tx, [row(state, MONDAY + minutes * MINUTE) for state, minutes in moments])
    assert (await newest_of_ann(db)).state == AS_ANALYST


async def test_a_known_state_is_dated_again_each_hour_and_not_at_each_decision(db):
    await Sightings(db).note(AS_ANALYST, MONDAY)
    await decide(db, AS_ANALYST, MONDAY + 59 * MINUTE)
    assert (await newest_of_ann(db)).seen_at == MONDAY
    await decide(db, AS_ANALYST, MONDAY + 61 * MINUTE)
    assert (await newest_of_ann(db)).seen_at == MONDAY + 61 * MINUTE


async def test_a_row_whose_state_nobody_noted_makes_nobody_known(db):
    await decide(db, AS_ANALYST, MONDAY)
    assert await newest_of_ann(db) is None


async def test_everybody_known_is_listed_by_name(db):
    for id_ in ("zoe", "ann", "bob"):
        await Sightings(db).note(SubjectState(Subject(Kind.USER, id_), "corp"), MONDAY)
    async with db.begin() as tx:
        assert [known.state.subject.id for known in await subjects.newest(tx)] == ["ann", "bob", "zoe"]
        assert await subjects.count(tx) == 3


async def test_a_groups_name_that_a_token_ever_brought_is_the_providers(db):
    await Sightings(db).note(AS_LEAD, MONDAY)
    await Sightings(db).note(AS_ANALYST, MONDAY + MINUTE)
    async with db.begin() as tx:
        assert await subjects.provider_groups(tx, ["leads", "auditors", "analysts"]) == {"leads", "analysts"}
        assert await subjects.provider_groups(tx, []) == frozenset()


async def test_states_cannot_be_changed(db, owner_db):
    await Sightings(db).note(AS_LEAD, MONDAY)
    for statement in (
        "UPDATE subject_states SET issuer = 'x'",
        "DELETE FROM subject_states",
        "TRUNCATE subject_states CASCADE",
    ):
        with pytest.raises(Exception, match="never changed"):
            async with owner_db.begin() as tx:
                await tx.execute(text(statement))


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
ATTRIBUTES = st.dictionaries(
    TEXTS, st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.frozensets(TEXTS, max_size=3), max_size=3
)
STATES = st.builds(
    SubjectState,
    subject=st.builds(Subject, st.sampled_from(Kind), TEXTS),
    issuer=TEXTS,
    groups=st.frozensets(TEXTS, max_size=3),
    attributes=ATTRIBUTES,
)


@given(STATES)
async def test_a_state_is_read_as_it_was_noted(db, state):
    async with db.begin() as tx:
        await subjects._store(tx, state, state.digest, MONDAY)
        found = await tx.execute(
            text("SELECT *, first_seen AS seen_at, true AS active FROM subject_states WHERE digest = :digest"),
            {"digest": state.digest},
        )
        known = subjects._known(found.one())
    assert (known.state, known.state.digest) == (state, state.digest)


def row(state, at):
    return Row(
        id=uuid4(),
        at=at,
        event=Event.LEASE_SERVED,
        outcome=Outcome.ALLOWED,
        subject=str(state.subject),
        subject_state=state.digest,
    )


async def decide(db, state, at):
    async with db.begin() as tx:
        await ledger.append(tx, [row(state, at)])
