"""Faults while many ask and a steward changes the rules: the small version; `./dev faults` is the whole.

Nothing here holds a figure against a clock, but that all of it heals within half a minute.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from demo.issuer import RunningIssuer, running_issuer
from muniment.store.embedded import EmbeddedPostgres
from tests.faults import faults
from tests.faults.callers import Caller, Line
from tests.faults.history import Recorder, read
from tests.faults.machines import QUICK, SEALING, Machines, machines, place, postgres
from tests.faults.realm import ASKING, PEOPLE, plain

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with place() as path:
        yield path


@pytest.fixture(scope="module")
def own_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    with postgres(folder) as server:
        yield server


@pytest.fixture(scope="module")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture(scope="module")
async def started(issuer: RunningIssuer, folder: Path, own_postgres: EmbeddedPostgres) -> AsyncIterator[Machines]:
    async with machines(issuer, folder, own_postgres, None, {}) as running:
        yield running


async def test_whatever_is_killed_or_cut_every_answer_has_its_row_and_keeps_to_the_rules(
    issuer: RunningIssuer, folder: Path, started: Machines
) -> None:
    plan = faults.Plan((*QUICK, *SEALING), requests=50, between=0.2, pause=0.3, changes=5)
    told = await faults.run(plan, started, issuer, folder / "history.jsonl", lambda _: None)

    assert told.violations == []
    assert len(told.history.faults) >= len(plan.kinds)
    assert sum(answer.answered for answer in told.history.asked) >= plan.requests
    assert sum(change.acknowledged for change in told.history.changed) >= 3


async def test_a_service_that_is_asked_to_stop_answers_what_it_has_begun_and_ends(
    issuer: RunningIssuer, folder: Path, started: Machines
) -> None:
    """What it has begun is what it has recorded: no row is of an answer that nobody received."""
    before = rows(started)
    with Recorder(folder / "last.jsonl") as recorder:
        stopped = asyncio.Event()
        callers = [
            Caller(who, Line(started.port, authorized(issuer, who)), recorder, Random(number))
            for number, who in enumerate([*ASKING] * 3)
        ]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.ask_until(stopped.is_set))
            while sum(caller.answered for caller in callers) < 100:  # noqa: ASYNC110  every caller would set the event
                await asyncio.sleep(0.01)
            began = time.monotonic()
            status = await asyncio.to_thread(started.served.stop, signal.SIGTERM, seconds=60)
            stopped.set()

    asked = read(folder / "last.jsonl").asked
    answered = [answer for answer in asked if answer.answered]
    assert status == 0
    assert time.monotonic() - began < 30
    assert rows(started) - before == {answer.receipt for answer in answered}
    assert {answer.status for answer in asked if not answer.answered} <= {0}


def rows(started: Machines) -> set[str]:
    with psycopg.connect(plain(started.url)) as connection:
        question = "SELECT receipt FROM ledger WHERE event IN ('lease.served', 'catalog.served')"
        return {str(receipt) for (receipt,) in connection.execute(question)}


def authorized(issuer: RunningIssuer, who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token(who.partition(':')[2])}"}
