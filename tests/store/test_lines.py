"""Lines of versions: what stands, what stood, and who may follow."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from muniment.core.datasets import Column, Dataset, Lifecycle
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid, StaleEdit
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import datasets, domains, environments, grants, groups, policies, revisions
from muniment.store.changes import LINES
from muniment.store.databases import write_json
from muniment.store.lines import Edit, Standing

pytestmark = pytest.mark.anyio

SAM = Occasion(SubjectState(Subject(Kind.USER, "sam"), "corp"), datetime(2026, 3, 2, tzinfo=UTC), uuid4())
ORDERS = Dataset("sales.orders", owner="sales", description="Every order.")


async def put(tx, value, after=0, *, reason="Said so."):
    revision = await revisions.next(tx, SAM, reason)
    return await datasets.LINE.append(tx, [Edit("sales.orders", after, value)], revision)


async def test_what_was_put_stands_with_its_version(tx):
    assert await put(tx, ORDERS) == [1]
    stands = await datasets.LINE.current(tx, "sales.orders")
    assert stands == Dataset("sales.orders", owner="sales", description="Every order.", version=1)


async def test_nothing_stands_where_nothing_was_put(tx):
    assert await datasets.LINE.current(tx, "sales.orders") is None
    assert await datasets.LINE.version(tx, "sales.orders") == 0


async def test_history_tells_each_version_newest_first_with_who_and_why(tx):
    await put(tx, ORDERS, reason="To begin with.")
    await put(tx, None, after=1, reason="Nobody used it.")
    newest, first = await datasets.LINE.history(tx, "sales.orders")
    assert (newest.version, newest.value, newest.reason, newest.subject) == (2, None, "Nobody used it.", "user:sam")
    assert (first.version, first.value.description, first.reason) == (1, "Every order.", "To begin with.")
    assert newest.revision == first.revision + 1
    assert newest.at >= first.at


async def test_history_comes_in_pages(tx):
    for version in range(5):
        await put(tx, ORDERS, after=version)
    page = await datasets.LINE.history(tx, "sales.orders", limit=2)
    rest = await datasets.LINE.history(tx, "sales.orders", limit=10, after=page[-1].version)
    assert [version.version for version in [*page, *rest]] == [5, 4, 3, 2, 1]


async def test_what_stands_is_told_with_since_when_and_by_whom(tx):
    assert await datasets.LINE.standing(tx) == {}
    await put(tx, ORDERS)
    await put(tx, replace(ORDERS, description="All orders."), after=1)
    newest, _ = await datasets.LINE.history(tx, "sales.orders")
    assert await datasets.LINE.standing(tx) == {"sales.orders": Standing(newest.at, "user:sam")}
    await put(tx, None, after=2)
    assert await datasets.LINE.standing(tx) == {}


async def test_an_ended_line_may_begin_again_and_its_numbers_go_on(tx):
    await put(tx, ORDERS)
    await put(tx, None, after=1)
    assert await datasets.LINE.current(tx, "sales.orders") is None
    assert await put(tx, ORDERS, after=0) == [3]


async def test_a_line_at_a_revision_is_what_stood_then(tx):
    before = await revisions.newest(tx)
    await put(tx, ORDERS)
    await put(tx, None, after=1)
    assert await datasets.LINE.at(tx, before) == {}
    assert list(await datasets.LINE.at(tx, before + 1)) == ["sales.orders"]
    assert await datasets.LINE.at(tx, before + 2) == {}


@pytest.mark.parametrize(
    ("history", "value", "after", "words"),
    [
        ([ORDERS], ORDERS, 0, "There is such a dataset already. It is at version 1"),
        ([ORDERS, ORDERS], ORDERS, 1, "Someone changed this dataset after version 1. It is at version 2 now"),
        ([ORDERS, None], ORDERS, 1, "Someone ended this dataset at version 2"),
        ([ORDERS, None], ORDERS, 2, "Someone ended this dataset at version 2"),
        ([ORDERS, None], None, 0, "There is no such dataset now"),
        ([], ORDERS, 1, "There is no such dataset now"),
        ([], None, 0, "There is no such dataset now"),
        ([ORDERS], ORDERS, 7, "Someone changed this dataset after version 7. It is at version 1 now"),
    ],
)
async def test_an_edit_of_another_version_is_stale_and_told_which_one_stands(tx, history, value, after, words):
    for version, each in enumerate(history):
        await put(tx, each, version)
    with pytest.raises(StaleEdit) as refusal:
        await put(tx, value, after)
    assert refusal.value.detail == f"{words}: reload it and try again."
    assert refusal.value.members == {"version": len(history)}


async def test_two_stewards_cannot_overwrite_each_other(db):
    async def edit(after):
        async with db.begin() as tx:
            await put(tx, ORDERS, after)

    outcomes = await asyncio.gather(*(edit(0) for _ in range(8)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StaleEdit) for outcome in outcomes) == 7


async def test_an_edit_that_did_not_wait_for_the_counter_is_stale_too(db):
    """Whoever forgets to lock the counter collides on the line's key instead."""

    async def sneak(after):
        async with db.begin() as tx:
            await datasets.LINE.append(tx, [Edit("sales.orders", after, ORDERS)], 0)

    async with db.begin() as tx:
        await datasets.LINE.append(tx, [Edit("sales.orders", 0, ORDERS)], 0)
        late = asyncio.create_task(sneak(0))
        await asyncio.sleep(0.2)
    with pytest.raises(StaleEdit, match="It is at version 1"):
        await late


async def test_one_revision_changes_a_key_once(tx):
    edit = Edit("sales.orders", 0, ORDERS)
    with pytest.raises(Invalid, match="names the same dataset twice"):
        await datasets.LINE.append(tx, [edit, edit], await revisions.next(tx, SAM, ""))


@pytest.mark.parametrize("unkeepable", ["\ud800", 2**64])
async def test_what_json_cannot_say_is_refused_in_words(tx, unkeepable):
    definition = {"type": "pandas.CSVDataset", "load_args": {"sep": unkeepable}}
    with pytest.raises(Invalid, match="half a character, or a number beyond 64 bits"):
        await put(tx, Dataset("sales.orders", owner="sales", environments={"base": definition}))


async def test_a_definition_keeps_the_order_in_which_it_was_written(tx):
    definition = {"type": "pandas.CSVDataset", "save_args": {}, "filepath": "s3://lake/sales/", "load_args": {}}
    await put(tx, Dataset("sales.orders", owner="sales", environments={"base": definition}))
    stands = await datasets.LINE.current(tx, "sales.orders")
    assert list(stands.environments["base"]) == list(definition)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.word)
async def test_history_cannot_be_changed(owner_db, line):
    for statement in (f"UPDATE {line.table.name} SET version = 2", f"DELETE FROM {line.table.name}"):
        with pytest.raises(Exception, match="is added to, and never changed"):
            async with owner_db.begin() as tx:
                await tx.execute(text(statement))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXT_SETS = st.frozensets(TEXTS, max_size=3)
VARIABLES = st.dictionaries(TEXTS, TEXTS, max_size=3)
WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | WHOLE
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
DEFINITIONS = st.dictionaries(TEXTS, JSON, max_size=3)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
SUBJECTS = st.builds(Subject, st.sampled_from(Kind), st.from_regex(r"[a-z]{1,5}\|?[A-Z0-9]{1,5}", fullmatch=True))

COLUMNS = st.builds(Column, TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=2).map(tuple))
NOUNS = {
    Dataset: st.builds(
        Dataset,
        name=st.just("sales.orders"),
        owner=TEXTS,
        description=TEXTS,
        tags=TEXT_SETS,
        classification=TEXTS,
        sensitivity=st.integers(0, 100),
        layer=st.none() | TEXTS,
        columns=st.lists(COLUMNS, max_size=2).map(tuple),
        lifecycle=st.sampled_from(Lifecycle),
        successor=st.none() | TEXTS,
        environments=st.dictionaries(TEXTS, DEFINITIONS, max_size=2),
        version=st.just(1),
    ),
    Domain: st.builds(
        Domain,
        name=st.just("sales"),
        owner=TEXTS,
        description=TEXTS,
        variables=VARIABLES,
        locations=st.lists(TEXTS, max_size=3).map(tuple),
        version=st.just(1),
    ),
    Environment: st.builds(Environment, st.just("prod"), TEXTS, VARIABLES, st.just(1)),
    Group: st.builds(Group, st.just("analysts"), st.frozensets(SUBJECTS, max_size=3), TEXT_SETS, TEXTS, st.just(1)),
    Policy: st.builds(
        Policy,
        id=st.just("readers"),
        cedar=TEXTS,
        scope=TEXTS,
        reason=TEXTS,
        review_by=st.none() | st.dates(date(2000, 1, 1)),
        kind=st.sampled_from(PolicyKind),
        obligation=st.none() | DEFINITIONS,
        cases=st.lists(DEFINITIONS, max_size=2).map(tuple),
        version=st.just(1),
    ),
    Grant: st.builds(
        Grant,
        id=st.just("ann"),
        to=TEXTS,
        actions=st.frozensets(st.sampled_from(Action)),
        on=TEXTS,
        environments=TEXT_SETS,
        until=st.none() | st.datetimes(timezones=ZONES),
        because=TEXTS,
        review_by=st.none() | st.dates(date(2000, 1, 1)),
        purposes=TEXT_SETS,
        kind=st.sampled_from(["dataset", "domain"]),
        version=st.just(1),
    ),
}
KEYS = {
    datasets.LINE: "sales.orders",
    domains.LINE: "sales",
    environments.LINE: "prod",
    groups.LINE: "analysts",
    policies.LINE: "readers",
    grants.LINE: "ann",
}


NOUNS_IN_LINES = st.one_of([st.tuples(st.just(line), NOUNS[line.kind]) for line in LINES])


@given(NOUNS_IN_LINES)
def test_a_noun_survives_its_json(kept):
    line, noun = kept
    assert line.read(KEYS[line], 1, orjson.loads(write_json(line.write(noun)))) == noun


@pytest.mark.parametrize("line", [policies.LINE, grants.LINE], ids=lambda line: line.word)
@given(st.data())
def test_what_was_kept_before_a_field_was_there_reads_as_without_it(line, data):
    noun = data.draw(NOUNS[line.kind])
    since = {"kind": PolicyKind.ACCESS, "obligation": None, "cases": ()} if line is policies.LINE else {}
    since |= {"review_by": None, "purposes": frozenset()} if line is grants.LINE else {}
    body = {field: value for field, value in orjson.loads(write_json(line.write(noun))).items() if field not in since}
    assert line.read(KEYS[line], 1, body) == replace(noun, **since)


@given(NOUNS_IN_LINES)
async def test_a_noun_survives_postgres(tx, kept):
    line, noun = kept
    standing = await line.version(tx, KEYS[line])
    (version,) = await line.append(tx, [Edit(KEYS[line], standing, noun)], await revisions.next(tx, SAM, ""))
    assert await line.current(tx, KEYS[line]) == replace(noun, version=version)
