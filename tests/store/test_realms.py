"""The realm in memory is the one in Postgres, at every revision, for every request."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import DatabaseUnavailable, Invalid, StaleEdit
from muniment.core.realm import Change
from muniment.core.schema import Action, schema_text
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import changes, revisions
from muniment.store.databases import Database
from muniment.store.held import Held
from muniment.store.present import Present
from muniment.store.realms import Realms

pytestmark = pytest.mark.anyio

SCHEMA = schema_text({})
SAM = Occasion(SubjectState(Subject(Kind.USER, "sam"), "corp"), datetime(2026, 3, 2, tzinfo=UTC), uuid4())


def dataset(name, description=""):
    return Change(Dataset, name, Dataset(name, owner="sales", description=description))


async def change(db, *edits):
    async with db.begin() as tx:
        revision = await revisions.next(tx, SAM, "Said so.")
        return revision, await changes.append(tx, revision, edits)


async def test_a_new_database_holds_the_empty_realm_of_revision_0(db):
    realm = await Realms(db, SCHEMA).current()
    assert (realm.revision, realm.schema, realm.datasets) == (0, SCHEMA, {})


async def test_a_change_gives_its_nouns_back_with_their_versions(db):
    revision, nouns = await change(
        db, (dataset("sales.orders"), 0), (Change(Domain, "sales", Domain("sales", owner="sales")), 0)
    )
    assert revision == 1
    assert nouns == [
        Dataset("sales.orders", owner="sales", version=1),
        Domain("sales", owner="sales", version=1),
    ]
    _, nouns = await change(db, (Change(Dataset, "sales.orders", None), 1))
    assert nouns == [None]


async def test_a_change_of_which_one_part_is_stale_leaves_nothing_behind(db):
    await change(db, (dataset("sales.orders"), 0))
    with pytest.raises(StaleEdit):
        await change(db, (dataset("sales.returns"), 0), (dataset("sales.orders"), 0))
    realm = await Realms(db, SCHEMA).current()
    assert (realm.revision, list(realm.datasets)) == (1, ["sales.orders"])


async def test_an_unchanged_realm_is_the_same_object(db):
    realms = Realms(db, SCHEMA)
    await change(db, (dataset("sales.orders"), 0))
    assert await realms.current() is await realms.current()


NAMES = st.sampled_from(["one", "two", "three"])
WORDS = st.text("ab", max_size=2)
RULES = st.sampled_from(["permit (principal, action, resource);", "forbid (principal, action, resource);"])
PEOPLE = st.sampled_from(["user:ann", "analysts"])
PUTS = {
    Dataset: st.builds(Dataset, NAMES.map("sales.{}".format), WORDS, WORDS),
    Domain: st.builds(Domain, NAMES, WORDS, WORDS),
    Environment: st.builds(Environment, NAMES, WORDS),
    Group: st.builds(Group, NAMES, st.frozensets(st.builds(Subject, st.sampled_from(Kind), NAMES))),
    Policy: st.builds(Policy, NAMES, RULES),
    Grant: st.builds(Grant, NAMES, PEOPLE, st.frozensets(st.sampled_from(Action), min_size=1), NAMES),
}


def key_of(noun):
    return getattr(noun, "id", None) or noun.name


def changes_of(kind):
    return st.tuples(PUTS[kind], st.booleans()).map(
        lambda drawn: Change(kind, key_of(drawn[0]), drawn[0] if drawn[1] else None)
    )


CHANGES = st.one_of([changes_of(kind) for kind in PUTS])
REVISIONS = st.lists(CHANGES, min_size=1, max_size=4, unique_by=lambda change: (change.kind, change.key))


@pytest.fixture
def present(db):
    """One connection for many realms: what asks what is so now holds it until its database is closed."""
    return Present(db)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(REVISIONS, max_size=4))
async def test_a_realm_brought_forward_is_the_one_built_afresh(db, present, drawn):
    watching = Realms(db, SCHEMA, present)
    await watching.current()
    passed = []
    for wanted in drawn:
        realm = await Realms(db, SCHEMA, present).current()
        await change(db, *edits_that_fit(realm, wanted))
        passed.append(await watching.current())
    async with db.begin() as tx:
        for realm in passed:
            assert realm == await watching.load(tx, realm.revision)
        assert await watching.current() == await Realms(db, SCHEMA, present).load(tx)


def edits_that_fit(realm, wanted):
    shelves = {
        Dataset: realm.datasets,
        Domain: realm.domains,
        Environment: realm.environments,
        Group: realm.groups,
        Policy: realm.policies,
        Grant: realm.grants,
    }
    for each in wanted:
        stands = shelves[each.kind].get(each.key)
        if stands is not None or each.after is not None:
            yield each, stands.version if stands else 0


async def test_a_realm_that_has_not_been_made_is_refused(db):
    async with db.begin() as tx:
        with pytest.raises(Invalid, match="There is no revision 7; the newest is 0"):
            await Realms(db, SCHEMA).load(tx, 7)


async def test_a_change_acknowledged_before_a_request_began_is_honoured_by_it(db, database):
    """One writer elsewhere, and readers that begin all the time: none answers with less than was acknowledged."""
    elsewhere = Database.open(database)
    realms = Realms(db, SCHEMA)
    acknowledged = 0
    done = False

    async def write():
        nonlocal acknowledged, done
        for number in range(40):
            acknowledged, _ = await change(elsewhere, (dataset(f"sales.number{number}"), 0))
            await asyncio.sleep(0.002)
        done = True

    async def read():
        asked = 0
        while not done:
            promised = acknowledged
            realm = await realms.current()
            assert realm.revision >= promised
            assert len(realm.datasets) == realm.revision
            asked += 1
        return asked

    _, *counts = await asyncio.gather(write(), *(read() for _ in range(8)))
    assert sum(counts) > 40
    await elsewhere.close()


@pytest.fixture
def asked(monkeypatch):
    """The connections that were asked what is so now; ``asked.as_it_leaves`` is called as a question leaves."""

    class Asked(list):
        as_it_leaves = staticmethod(lambda: None)

    questions, send = Asked(), Held.execute

    async def execute(held, *parameters):
        questions.append(held)
        questions.as_it_leaves()
        return await send(held, *parameters)

    monkeypatch.setattr(Held, "execute", execute)
    return questions


async def test_requests_that_wait_together_share_one_question(db, asked):
    realms = Realms(db, SCHEMA)
    await realms.current()
    asked.clear()
    await asyncio.gather(*(realms.current() for _ in range(200)))
    assert len(asked) == 1


async def test_a_request_that_comes_while_a_question_is_under_way_waits_for_the_next(db, asked):
    realms = Realms(db, SCHEMA)
    await realms.current()
    asked.clear()
    later = []

    def more_come():
        if len(asked) == 1:
            later.extend(asyncio.ensure_future(realms.current()) for _ in range(20))

    asked.as_it_leaves = more_come
    await realms.current()
    await asyncio.gather(*later)
    assert (len(asked), len(later)) == (2, 20)


async def test_a_request_that_is_given_up_does_not_disturb_the_others(db):
    realms = Realms(db, SCHEMA)
    await change(db, (dataset("sales.orders"), 0))
    asking = [asyncio.create_task(realms.current()) for _ in range(6)]
    await asyncio.sleep(0)
    for each in asking[::2]:
        each.cancel()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert all(outcome.revision == 1 for outcome in outcomes[1::2])
    assert (await realms.current()).revision == 1


async def test_a_change_is_made_on_the_realm_that_no_other_change_can_move(db, database):
    elsewhere = Database.open(database)
    realms = Realms(db, SCHEMA)
    await realms.current()
    await change(elsewhere, (dataset("sales.orders"), 0))
    async with db.begin() as tx:
        realm = await realms.within(tx)
        assert list(realm.datasets) == ["sales.orders"]
        late = asyncio.create_task(change(elsewhere, (dataset("sales.returns"), 0)))
        await asyncio.sleep(0.1)
        assert not late.done()
        assert await revisions.next(tx, SAM, "Mine first.") == realm.revision + 1
        await changes.append(tx, realm.revision + 1, [(dataset("sales.orders", "Mine."), 1)])
        assert (await realms.within(tx)).datasets["sales.orders"].description == "Mine."
    assert (await late)[0] == realm.revision + 2
    await elsewhere.close()


async def test_what_a_transaction_saw_of_itself_is_forgotten_when_it_is_undone(db):
    realms = Realms(db, SCHEMA)

    async def fails():
        async with db.begin() as tx:
            revision = await revisions.next(tx, SAM, "")
            await changes.append(tx, revision, [(dataset("sales.orders"), 0)])
            assert (await realms.within(tx)).revision == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await realms.current() == replace(await realms.current(), revision=0, datasets={})


async def test_a_database_that_went_back_is_read_anew(db):
    realms = Realms(db, SCHEMA)
    await change(db, (dataset("sales.orders"), 0))
    await realms.current()
    async with db.begin() as tx:
        await tx.execute(text("UPDATE realm_counter SET revision = 0"))
    assert (await realms.current()).datasets == {}


async def test_waiting_requests_are_refused_when_postgres_is_away():
    realms = Realms(Database.open("postgresql://muniment@127.0.0.1:1/muniment"), SCHEMA)
    outcomes = await asyncio.gather(*(realms.current() for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 5


async def test_where_catalogs_are_served_nobody_who_searches_waits_for_the_directory(db):
    """It is made as the realm is read, and every later realm carries it on."""
    await change(db, (dataset("sales.orders"), 0))
    realms = Realms(db, SCHEMA, ahead=True)
    assert "directory" in vars(await realms.current())
    await change(db, (dataset("sales.returns", "What came back."), 0))
    later = await realms.current()
    assert later.revision == 2
    assert [*vars(later)["directory"].texts] == ["sales.orders", "sales.returns"]
