"""Recorded runs come out of the ledger as what was asked for and granted, equal ones together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from muniment.core.decisions import Wanted
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.runs import projects_of
from muniment.core.subjects import Subject, SubjectState
from muniment.store import ledger, runs
from muniment.store.databases import Database
from muniment.store.runs import Recorded, Used
from muniment.store.subjects import Sightings

pytestmark = pytest.mark.anyio

ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}))
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PREFLIGHT = {"load": ["sales.orders", "sales.people"], "save": ["sales.daily"], "refused": []}


def row(minute: int = 0, **fields: object) -> Row:
    told = {
        "id": uuid4(),
        "at": NINE + minute * MINUTE,
        "event": Event.PREFLIGHT_ALLOWED,
        "outcome": Outcome.ALLOWED,
        "subject": str(ANN.subject),
        "subject_state": ANN.digest,
        "environment": "prod",
        "details": PREFLIGHT,
    }
    return Row(**{**told, **fields})


async def recorded(db: Database, *rows: Row, most: int = 100) -> Recorded:
    await Sightings(db).note(ANN, NINE)
    async with db.begin() as tx:
        await ledger.append(tx, rows)
    async with db.begin() as tx:
        return await runs.since(tx, NINE, most=most)


async def test_equal_runs_are_one_with_the_last_time_and_their_number(db: Database) -> None:
    found = await recorded(db, row(1), row(3), row(2), row(4, project="revenue", purpose="audit"))
    other, run = sorted(found.runs, key=lambda run: run.times)
    assert (run.state, run.wanted) == (ANN, Wanted("prod"))
    assert (run.load, run.save, run.used) == ({"sales.orders", "sales.people"}, {"sales.daily"}, frozenset())
    assert (run.at, run.times) == (NINE + 3 * MINUTE, 3)
    assert other.wanted == Wanted("prod", "revenue", "audit")
    assert found.complete


async def test_what_was_refused_is_no_part_of_a_run(db: Database) -> None:
    refused = {**PREFLIGHT, "refused": ["load sales.people", "save sales.daily"]}
    found = await recorded(db, row(event=Event.ACCESS_DENIED, outcome=Outcome.DENIED, details=refused))
    assert [run.names for run in found.runs] == [{"sales.orders"}]


async def test_a_lease_of_names_tells_which_are_used_and_one_of_everything_tells_nothing(db: Database) -> None:
    named = row(event=Event.LEASE_SERVED, datasets=("sales.orders",), details={})
    whole = row(event=Event.LEASE_SERVED, details={})
    found = await recorded(db, named, whole)
    assert [run.used for run in found.runs] == [{"sales.orders"}]


async def test_what_is_no_run_or_was_before_is_left_out(db: Database) -> None:
    probe = row(event=Event.ACCESS_DENIED, outcome=Outcome.DENIED, details={"problem": "Not found"})
    found = await recorded(db, probe, row(-1))
    assert found.runs == []


async def test_more_runs_than_are_read_are_told_of(db: Database) -> None:
    found = await recorded(db, row(1), row(2, project="newest"), most=1)
    assert [run.wanted.project for run in found.runs] == ["newest"]
    assert not found.complete


async def used(db: Database, *rows: Row, most: int = 100) -> Used:
    await Sightings(db).note(ANN, NINE)
    async with db.begin() as tx:
        await ledger.append(tx, rows)
    async with db.begin() as tx:
        return await runs.using(tx, "sales.orders", NINE, most=most)


async def test_who_used_a_dataset_is_told_by_project_with_the_last_of_each_kind(db: Database) -> None:
    """A refusal is no use, nor is a lease by which the name was not given, nor what a client says of no known lease."""
    named = {"project": "revenue", "datasets": ("sales.orders", "sales.people")}
    leased = {**named, "event": Event.LEASE_SERVED, "details": {"withheld": ["sales.people"]}}
    found = await used(
        db,
        row(1, **leased),
        row(2, **leased, subject="user:bob"),
        row(3, **{**leased, "details": {"withheld": ["sales.orders"]}}),
        row(4, **named),
        row(5, **named, event=Event.ACCESS_DENIED, outcome=Outcome.DENIED),
        row(6, **named, event=Event.USE_REPORTED, outcome=Outcome.DONE),
        row(7, event=Event.DATASET_READ, datasets=("sales.orders",)),
    )
    (project,) = projects_of(found.uses, "sales.orders")
    (there,) = project.environments
    assert (project.project, there.environment) == ("revenue", "prod")
    assert there.subjects == {"user:ann", "user:bob"}
    assert (there.leased, there.checked, there.used) == (NINE + 2 * MINUTE, NINE + 4 * MINUTE, None)
    assert found.complete


async def test_of_too_many_rows_the_newest_tell_who_used_a_dataset_and_that_is_said(db: Database) -> None:
    rows = [row(minute, project=f"p{minute}", datasets=("sales.orders",)) for minute in range(4)]
    found = await used(db, *rows, most=2)
    assert {each.project for each in found.uses} == {"p3", "p2"}
    assert not found.complete
