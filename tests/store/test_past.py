"""Earlier realms and earlier states of subjects: what stood at a revision, and what was known at a moment."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from muniment.core.ledger import Event, Outcome, Row
from muniment.core.problems import Busy, Invalid
from muniment.core.realm import Realm
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import changes, ledger, realms, revisions, subjects
from muniment.store.present import Present
from muniment.store.realms import Realms
from muniment.store.subjects import Known, Sightings
from tests.store.test_realms import REVISIONS, SCHEMA, change, dataset, edits_that_fit

pytestmark = pytest.mark.anyio

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Subject(Kind.USER, "ann")
BOB = Subject(Kind.USER, "bob")
AS_ANALYST = SubjectState(ANN, "corp", frozenset({"analysts"}), {"clearance": 3})
AS_LEAD = SubjectState(ANN, "corp", frozenset({"analysts", "leads"}), {"clearance": 4})


@pytest.fixture
def present(db):
    """One connection for many realms: what asks what is so now holds it until its database is closed."""
    return Present(db)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(REVISIONS, min_size=1, max_size=5), st.lists(st.integers(0, 6), max_size=8))
async def test_an_earlier_realm_is_the_one_that_stood_whatever_it_is_made_of(db, present, drawn, ages):
    """In any order of asking, so that one is made of an earlier and of a later one; and read whole."""
    for wanted in drawn:
        await change(db, *edits_that_fit(await Realms(db, SCHEMA, present).current(), wanted))
    asking = Realms(db, SCHEMA, present)
    async with db.begin() as tx:
        newest = await revisions.newest(tx)
    for revision in (max(0, newest - age) for age in ages):
        found = await asking.at(revision)
        async with db.begin() as tx:
            assert found == await asking.load(tx, revision)


async def many_revisions(db, count):
    for number in range(count):
        await change(db, (dataset(f"sales.orders_{number}"), 0))


async def test_a_realm_far_away_is_read_whole(db, monkeypatch):
    await many_revisions(db, 6)
    monkeypatch.setattr(realms, "_MANY_CHANGES", 3)
    asking = Realms(db, SCHEMA)
    await asking.current()
    for revision in (0, 5, 1, 6, 2):
        async with db.begin() as tx:
            assert await asking.at(revision) == await asking.load(tx, revision)


async def test_what_an_earlier_realm_needs_is_what_changed_since(db):
    await many_revisions(db, 4)
    await change(db, (dataset("sales.orders_0", "changed"), 1))
    async with db.begin() as tx:
        assert await changes.apart(tx, 5, 3) == 2
        assert await changes.apart(tx, 0, 5) == 4
        back = await changes.leading(tx, 5, 3)
    assert [(each.key, each.after and each.after.description) for each in back] == [
        ("sales.orders_0", ""),
        ("sales.orders_3", None),
    ]


async def test_only_a_few_earlier_realms_are_held(db):
    await many_revisions(db, realms._MOST_PAST + 4)
    asking = Realms(db, SCHEMA)
    first = await asking.at(0)
    assert await asking.at(0) is first
    for revision in range(1, realms._MOST_PAST + 4):
        await asking.at(revision)
    assert len(asking._past._held) == realms._MOST_PAST
    assert await asking.at(0) is not first


async def test_those_who_ask_for_the_same_earlier_realm_share_the_work(db):
    await many_revisions(db, 3)
    asking = Realms(db, SCHEMA)
    await asking.current()
    first, *others = await asyncio.gather(*(asking.at(1) for _ in range(20)))
    assert all(other is first for other in others)


async def test_too_many_earlier_realms_at_once_are_refused_and_later_given(db, owner_db):
    await many_revisions(db, 5)
    asking = Realms(db, SCHEMA)
    await asking.current()
    async with owner_db.begin() as tx:
        # Those who would read the lines wait.
        await tx.execute(text("LOCK TABLE change_log IN ACCESS EXCLUSIVE MODE"))
        waiting = [asyncio.create_task(asking.at(revision)) for revision in range(realms._MOST_BUILT)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="try again"):
            await asking.at(4)
        # Whoever wants one that is on its way waits with the others, and the present is there for all.
        waiting.append(asyncio.create_task(asking.at(0)))
        assert (await asking.current()).revision == 5
    assert [realm.revision for realm in await asyncio.gather(*waiting)] == [*range(realms._MOST_BUILT), 0]
    assert (await asking.at(4)).revision == 4


async def test_a_revision_that_could_not_be_built_can_be_asked_for_again(db):
    await many_revisions(db, 2)
    asking = Realms(db, SCHEMA)
    with pytest.raises(Invalid, match="There is no revision 3; the newest is 2"):
        await asking.at(3)
    await many_revisions_more(db)
    assert (await asking.at(3)).revision == 3


async def many_revisions_more(db):
    await change(db, (dataset("sales.more"), 0))
    await change(db, (dataset("sales.and_more"), 0))


async def test_a_realm_that_is_held_asks_only_which_revision_is_current(db):
    await many_revisions(db, 3)
    asking = Realms(db, SCHEMA)
    await asking.at(1)
    asked = []
    event.listen(db._engine.sync_engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert isinstance(await asking.at(1), Realm)
    # The one question that every request asks goes another way (``store/present.py``).
    assert asked == []


async def test_a_revision_ended_when_the_next_was_made(db):
    await many_revisions(db, 2)
    async with db.begin() as tx:
        assert await revisions.ended(tx, 1) == (await revisions.made(tx, 2)).at
        assert await revisions.ended(tx, 2) is None


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


async def known_at(db, moment, subject=ANN):
    async with db.begin() as tx:
        return await subjects.state_at(tx, subject, moment)


async def test_nothing_was_known_before_a_subject_was_first_seen(db):
    await Sightings(db).note(AS_ANALYST, MONDAY)
    assert await known_at(db, MONDAY - HOUR) is None
    assert await known_at(db, MONDAY, BOB) is None
    assert await known_at(db, MONDAY) == Known(AS_ANALYST, MONDAY)


async def test_a_subject_that_went_back_to_an_earlier_state_was_in_each_at_its_time(db):
    sightings = Sightings(db)
    for hour, state in enumerate((AS_ANALYST, AS_LEAD, AS_ANALYST)):
        await sightings.note(state, MONDAY + hour * HOUR)
        await decide(db, state, MONDAY + hour * HOUR)
    for hour, state in enumerate((AS_ANALYST, AS_LEAD, AS_ANALYST, AS_ANALYST)):
        assert (await known_at(db, MONDAY + hour * HOUR)).state == state
        assert (await known_at(db, MONDAY + hour * HOUR + HOUR / 2)).state == state


async def test_a_state_that_was_only_stored_counts_from_then(db):
    """A token that said something new, and nothing decided."""
    sightings = Sightings(db)
    await sightings.note(AS_ANALYST, MONDAY)
    await decide(db, AS_ANALYST, MONDAY)
    await sightings.note(AS_LEAD, MONDAY + HOUR)
    assert await known_at(db, MONDAY + HOUR / 2) == Known(AS_ANALYST, MONDAY)
    assert await known_at(db, MONDAY + 2 * HOUR) == Known(AS_LEAD, MONDAY + HOUR)


async def test_a_row_with_the_state_of_another_tells_nothing_of_a_subject(db):
    await Sightings(db).note(AS_ANALYST, MONDAY)
    other = SubjectState(BOB, "corp", frozenset({"owners"}))
    await Sightings(db).note(other, MONDAY)
    forged = row(AS_ANALYST, MONDAY + HOUR)
    async with db.begin() as tx:
        await ledger.append(tx, [Row(**{**{n: getattr(forged, n) for n in Row.__slots__}, "subject": str(BOB)})])
    found = await known_at(db, MONDAY + 2 * HOUR, BOB)
    assert found is None or found.state == other


async def test_everybody_known_at_a_moment_is_listed_by_name_in_the_state_of_then(db):
    sightings = Sightings(db)
    zoe = SubjectState(Subject(Kind.SERVICE, "zoe"), "corp")
    await sightings.note(zoe, MONDAY)
    await sightings.note(AS_ANALYST, MONDAY)
    await sightings.note(SubjectState(BOB, "corp"), MONDAY + HOUR)
    await sightings.note(AS_LEAD, MONDAY + HOUR)
    async with db.begin() as tx:
        assert [known.state for known in await subjects.newest_at(tx, MONDAY)] == [zoe, AS_ANALYST]
        later = await subjects.newest_at(tx, MONDAY + HOUR)
    assert [known.state.subject.id for known in later] == ["zoe", "ann", "bob"]
    assert later[1].state == AS_LEAD


async def test_a_state_is_found_by_its_address(db):
    await Sightings(db).note(AS_LEAD, MONDAY)
    async with db.begin() as tx:
        assert await subjects.of_digest(tx, AS_LEAD.digest) == AS_LEAD
        assert await subjects.of_digest(tx, AS_ANALYST.digest) is None


async def test_a_row_is_found_by_its_id(db):
    id_ = UUID(int=(int(MONDAY.timestamp() * 1000) << 80) | 7)
    written = Row(id=id_, at=MONDAY, event=Event.LEDGER_READ, outcome=Outcome.ALLOWED)
    async with db.begin() as tx:
        await ledger.append(tx, [written])
    async with db.begin() as tx:
        assert await ledger.of_id(tx, id_) == written
        for nobodys in (UUID(int=0), UUID(int=id_.int + 1), UUID(int=2**128 - 1)):
            assert await ledger.of_id(tx, nobodys) is None
