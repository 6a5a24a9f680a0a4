"""The ledger: what is written stays, whole, and is found again in order."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from muniment.api.identifiers import new_id
from muniment.core.ledger import Event, Outcome, Question, Row
from muniment.core.oversight import Reader
from muniment.core.problems import Invalid, LedgerUnavailable
from muniment.store import ledger
from tests.owning import owned

pytestmark = pytest.mark.anyio

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)

#: A request that was made at nine.
REQUEST = new_id(NINE)


def row(second=0, **fields):
    defaults = {"id": UUID(int=second), "at": NINE + second * SECOND, "subject": "user:ann"}
    return Row(**{"event": Event.LEASE_SERVED, "outcome": Outcome.ALLOWED, **defaults, **fields})


async def write(db, *rows):
    async with db.begin() as tx:
        await ledger.append(tx, rows)


async def found(db, **question):
    async with db.begin() as tx:
        return (await ledger.reading(tx, Question(**question))).rows


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
MOMENTS = st.integers(0, 90 * 86_400 * 1_000_000).map(lambda microseconds: NINE + timedelta(microseconds=microseconds))
ROWS = st.builds(
    Row,
    id=st.just(UUID(int=0)),
    at=MOMENTS,
    event=st.sampled_from(Event),
    outcome=st.sampled_from(Outcome),
    subject=TEXTS,
    issuer=TEXTS,
    subject_state=TEXTS,
    address=TEXTS,
    client=TEXTS,
    request_id=st.none() | st.uuids(),
    receipt=st.none() | st.uuids(),
    revision=st.none() | st.integers(0, 2**63 - 1),
    environment=st.none() | TEXTS,
    project=st.none() | TEXTS,
    purpose=st.none() | TEXTS,
    datasets=st.lists(TEXTS, max_size=3).map(tuple),
    policies=st.lists(TEXTS, max_size=3).map(tuple),
    decided_sha256=st.none() | TEXTS,
    evaluator=st.none() | TEXTS,
    details=st.dictionaries(TEXTS, TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none(), max_size=3),
)


@given(ROWS)
async def test_a_row_is_read_as_it_was_written(db, wanted):
    wanted = replace(wanted, id=uuid4())
    await write(db, wanted)
    rows = await found(db, since=wanted.at, until=wanted.at + timedelta(microseconds=1))
    assert wanted in rows


async def test_rows_come_newest_first(db):
    await write(db, row(2), row(3), row(1))
    assert [each.id.int for each in await found(db)] == [3, 2, 1]


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
async def test_pages_hold_every_row_once_in_the_order_of_the_whole(db, seconds, limit):
    """Rows of the same moment too: their ids order them."""
    receipt = uuid4()
    await write(db, *(row(second, id=uuid4(), receipt=receipt) for second in seconds))
    question = Question(receipt=receipt)
    pages, cursor = [], None
    async with db.begin() as tx:
        whole = (await ledger.reading(tx, question, limit=1000)).rows
        while True:
            page = await ledger.reading(tx, question, limit=limit, after=cursor)
            pages.extend(page.rows)
            if page.following is None:
                break
            cursor = page.following
        back, cursor = list(page.rows), page.previous
        while cursor is not None:
            page = await ledger.reading(tx, question, limit=limit, before=cursor)
            back[:0] = page.rows
            cursor = page.previous
    assert pages == whole
    assert back == whole
    assert len(whole) == len(seconds)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"subject": "user:ann"}, [5, 1]),
        ({"subject": "ann"}, [5, 3, 1]),
        ({"subject": "bob"}, [2]),
        ({"subject": "group:ann"}, []),
        ({"dataset": "sales.orders"}, [2, 1]),
        ({"dataset": "sales"}, []),
        ({"events": (Event.ACCESS_DENIED,)}, [4]),
        ({"events": (Event.ACCESS_DENIED, Event.GRANT_MADE)}, [6, 4]),
        ({"events": ()}, []),
        ({"domain": "sales"}, [6, 2, 1]),
        ({"domain": "sales.emea"}, [6]),
        ({"domain": "sal"}, []),
        ({"outcome": Outcome.DENIED}, [4]),
        ({"outcome": Outcome.DONE}, [6]),
        ({"about": "user:bob"}, [6]),
        ({"environment": "prod"}, [1]),
        ({"project": "churn"}, [2]),
        ({"purpose": "fraud"}, [3]),
        ({"policy": "readers"}, [2, 1]),
        ({"policy": "readers", "dataset": "sales.returns"}, [1]),
        ({"address": "192.0.2.7"}, [5]),
        ({"request_id": REQUEST}, [3]),
        ({"request_id": UUID(int=5)}, []),
        ({"request_id": UUID(int=2**128 - 1)}, []),
        ({"receipt": UUID(int=77)}, [3]),
        ({"since": NINE + 4 * SECOND}, [6, 5, 4]),
        ({"until": NINE + 2 * SECOND}, [1]),
        ({"subject": "ann", "since": NINE + 2 * SECOND, "until": NINE + 5 * SECOND}, [3]),
    ],
)
async def test_each_question_finds_its_rows_and_no_others(db, question, answer):
    await write(
        db,
        row(1, datasets=("sales.orders", "sales.returns"), environment="prod", policies=("readers", "more")),
        row(2, subject="user:bob", datasets=("sales.orders",), project="churn", policies=("readers",)),
        row(3, subject="service:ann", receipt=UUID(int=77), request_id=REQUEST, purpose="fraud"),
        row(4, subject="", event=Event.ACCESS_DENIED, outcome=Outcome.DENIED),
        row(5, address="192.0.2.7"),
        row(
            6,
            subject="user:eve",
            event=Event.GRANT_MADE,
            outcome=Outcome.DONE,
            datasets=("hr.pay", "sales.emea.orders"),
            details={"about": "user:bob"},
        ),
    )
    assert [each.id.int for each in await found(db, **question)] == answer


@pytest.mark.parametrize("cursor", ["", "x", "not a cursor", "A" * 33, "f" + "_" * 31, "é"])
async def test_a_cursor_that_is_none_is_refused(tx, cursor):
    with pytest.raises(Invalid, match="no cursor of the ledger"):
        await ledger.reading(tx, Question(), after=cursor)


#: Who audits ``sales`` and not ``sales.emea``, and is called Sue.
SALES = Reader("user:sue", everything=False, audited=frozenset({"sales", "finance"}))


READABLE = [
    row(1, datasets=("sales.orders",)),
    row(2, datasets=("sales.orders", "hr.pay")),
    row(3, datasets=("sales.emea.orders",)),
    row(4, subject="user:sue", datasets=("hr.pay",)),
    row(5, subject="user:sue"),
    row(6),
    row(7, datasets=("sales.orders",), event=Event.REALM_APPLIED),
    row(8, datasets=("finance.budget", "sales.orders"), event=Event.USE_REPORTED),
]


async def test_who_audits_domains_reads_the_rows_that_name_nothing_else_and_their_own(db):
    await write(db, *READABLE)
    async with db.begin() as tx:
        rows = (await ledger.reading(tx, Question(), reader=SALES)).rows
        of_sales = (await ledger.reading(tx, Question(domain="sales"), reader=SALES)).rows
        own = (await ledger.reading(tx, Question(), reader=replace(SALES, audited=frozenset()))).rows
    assert [each.id.int for each in rows] == [8, 5, 4, 1]
    assert [each.id.int for each in of_sales] == [8, 1]
    assert [each.id.int for each in own] == [5, 4]


NAMES = st.builds(".".join, st.lists(st.sampled_from(["sales", "emea", "hr", "x"]), min_size=1, max_size=3))


@given(
    st.lists(
        st.tuples(st.sampled_from(["user:sue", "user:ann"]), st.sampled_from(Event), st.lists(NAMES, max_size=3)),
        min_size=1,
        max_size=40,
    ),
    st.frozensets(NAMES, max_size=4),
)
async def test_the_database_lets_a_reader_see_what_the_core_does(db, told, audited):
    receipt, reader = uuid4(), replace(SALES, audited=audited)
    rows = [
        row(second, id=uuid4(), receipt=receipt, subject=subject, event=event, datasets=tuple(f"{n}.d" for n in names))
        for second, (subject, event, names) in enumerate(told)
    ]
    await write(db, *rows)
    question, standing = Question(receipt=receipt), 0
    # Rows are shown once no earlier transaction of the whole server is under way: those of its own upkeep, too.
    while standing < len(rows):
        async with db.begin() as tx:
            standing = len((await ledger.reading(tx, question)).rows)
            seen = (await ledger.reading(tx, question, reader=reader)).rows
    assert list(seen) == [each for each in reversed(rows) if reader.may_read(each)]


async def test_a_row_is_not_shown_while_an_earlier_transaction_may_still_commit(db, database):
    async with db.begin() as tx:
        await ledger.ensure_partitions(tx, NINE.date())
    async with db.begin() as slow:
        await ledger.append(slow, [row(1)])
        await write(db, row(2))
        assert await found(db) == []
    assert [each.id.int for each in await found(db)] == [2, 1]


async def test_rows_of_a_change_that_is_undone_are_gone(db):
    async def fails():
        async with db.begin() as tx:
            await ledger.append(tx, [row(1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await found(db) == []


@pytest.mark.parametrize("purpose", ["a\0b", "\ud800"])
async def test_a_row_that_postgres_cannot_keep_is_refused_in_words(db, purpose):
    with pytest.raises(LedgerUnavailable, match="no text, such as NUL"):
        await write(db, row(1, purpose=purpose))


async def test_a_month_without_a_partition_gets_one(db):
    for month in (1, 2, 12):
        await write(db, row(1, at=datetime(2031, month, 28, 23, 59, 59, 999_999, tzinfo=UTC)))
    assert len(await found(db)) == 3


async def test_partitions_end_where_the_months_end_in_utc(db, owner_db):
    last = datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    await write(db, row(1, at=last), row(2, at=last + timedelta(microseconds=1)))
    async with owner_db.begin() as tx:
        in_march = (await tx.execute(text("SELECT count(*) FROM ledger_2026_03"))).scalar_one()
        in_april = (await tx.execute(text("SELECT count(*) FROM ledger_2026_04"))).scalar_one()
    assert (in_march, in_april) == (1, 1)


async def test_each_month_is_vacuumed_gently(db, owner_db):
    """In its usual pace that holds up everybody's commits."""
    await write(db, row(1), row(2, at=datetime(2031, 1, 1, tzinfo=UTC)))
    months = "SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
    async with owner_db.begin() as tx:
        found = await tx.execute(text(f"SELECT reloptions FROM pg_class WHERE oid IN ({months})"))
        paces = list(found.scalars())
    assert paces
    assert all(pace == ["autovacuum_vacuum_cost_delay=20"] for pace in paces)


async def test_room_is_made_ahead_across_the_years_end(db):
    async with db.begin() as tx:
        await ledger.ensure_partitions(tx, date(2026, 11, 30), months=3)
        await ledger.ensure_partitions(tx, date(2026, 11, 30), months=3)
    assert await partitions(db) == ["ledger_2026_11", "ledger_2026_12", "ledger_2027_01"]


async def test_workers_may_make_the_same_partition_at_once(db):
    await asyncio.gather(*(write(db, row(number)) for number in range(6)))
    assert await partitions(db) == ["ledger_2026_03"]
    assert len(await found(db)) == 6


@pytest.mark.parametrize("table", ["ledger", "ledger_2026_03", "ledger_2026_04"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET purpose = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
async def test_no_row_can_be_changed_through_the_ledger_or_any_partition(db, owner_db, table, statement):
    await write(db, row(1), row(1, at=NINE + timedelta(days=31)))
    with pytest.raises(Exception, match=f"is refused on {table}: what stands there is added to, and never changed"):
        async with owner_db.begin() as tx:
            await tx.execute(text(statement.format(table)))
    assert len(await found(db)) == 2


async def test_rows_are_guarded_one_by_one_when_the_guard_of_statements_is_off(db, owner_db):
    await write(db, row(1))

    async def forget(table):
        async with owner_db.begin() as tx:
            for guarded in ("ledger", "ledger_2026_03"):
                await tx.execute(text(f"ALTER TABLE ONLY {guarded} DISABLE TRIGGER refuse_to_forget"))
            await tx.execute(text(f"DELETE FROM {table}"))

    for table in ("ledger", "ledger_2026_03"):
        with pytest.raises(Exception, match="never changed"):
            await forget(table)


async def partitions(db):
    async with db.begin() as tx:
        question = text("SELECT relid::text FROM pg_partition_tree('ledger') WHERE level = 1 ORDER BY 1")
        return list((await tx.execute(question)).scalars())


#: A year of rows in which every filter has something rare to look for.
_YEAR = """
    INSERT INTO ledger (id, at, event, outcome, subject, issuer, subject_state, address, client, request_id, receipt,
      environment, project, purpose, run, datasets, policies, details)
    SELECT gen_random_uuid(), timestamptz '2026-01-01Z' + number * interval '3 hours', 'lease.served', 'allowed',
      'user:u' || number % 50, '', '', '192.0.2.' || number % 90, '', gen_random_uuid(), gen_random_uuid(),
      'prod', 'p' || number % 60, 'q' || number % 60, 'r' || number, ARRAY['d' || number % 70 || '.set'],
      ARRAY['policy' || number % 80], '{}'
    FROM generate_series(0, 2900) AS number
"""

#: What each filter is looked up by.
_LOOKED_UP = {
    "subject": ({"subject": "user:u7"}, "subject"),
    "about": ({"about": "user:bob"}, "details ->> 'about'"),
    "dataset": ({"dataset": "d7.set"}, "datasets"),
    "domain": ({"domain": "d7"}, "ledger_domains(datasets)"),
    "events": ({"events": (Event.GLASS_BROKEN,)}, "event"),
    "environment": ({"environment": "nowhere"}, "environment"),
    "project": ({"project": "p7"}, "project"),
    "purpose": ({"purpose": "q7"}, "purpose"),
    "policy": ({"policy": "policy7"}, "policies"),
    "address": ({"address": "192.0.2.7"}, "address"),
    "request_id": ({"request_id": REQUEST}, "at"),
    "receipt": ({"receipt": UUID(int=77)}, "receipt"),
    "run": ({"run": "r7"}, "run"),
    "since": ({"since": NINE, "until": NINE + SECOND}, "at"),
}


async def test_no_filter_looks_through_the_whole_ledger(db, database):
    with psycopg.connect(owned(database).replace("+psycopg", ""), autocommit=True) as owner:
        for month in range(1, 13):
            owner.execute("SELECT ledger_partition(%s::date)", (f"2026-{month:02}-01",))
        owner.execute(_YEAR)
        owner.execute("ANALYZE ledger")
    missed = {}
    async with db.begin() as tx:
        await tx.execute(text("SET LOCAL enable_seqscan = off"))
        for name, (asked, looked_up) in _LOOKED_UP.items():
            question = ledger._asked(Question(**asked), None, 101, None, None)
            written = question.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
            plan = [line for (line,) in await tx.execute(text(f"EXPLAIN {written}".replace(":", "\\:")))]
            if not any("Index Cond" in line and looked_up in line for line in plan):
                missed[name] = plan
    assert missed == {}


async def test_what_was_denied_has_an_index_of_its_own(db):
    async with db.begin() as tx:
        found = await tx.execute(text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_ledger_denied'"))
    assert "WHERE (outcome = 'denied'::text)" in found.scalar_one()
