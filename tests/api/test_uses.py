"""Reports of use at the door: written down once each, as claims, and found beside what was given.

Seen to fail: with `on_conflict_do_nothing` taken from the insertion, with its ids kept for all subjects together, with
the append moved to a transaction of its own, and with the subject not looked at where a receipt is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import Caller, Running, refusal, running

pytestmark = pytest.mark.anyio


def use(dataset: str = "sales.orders", *, ago: timedelta = timedelta(), **more: object) -> dict[str, Any]:
    at = (datetime.now(UTC) - ago).isoformat()
    return {"id": str(uuid4()), "dataset": dataset, "action": "load", "at": at, **more}


async def report(by: Caller, *events: dict[str, Any]) -> dict[str, Any]:
    """What the service says to a report, which it must take."""
    answer = await by.post("/v1/use", {"events": list(events)})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def found(service: Running, **asked: str) -> list[dict[str, Any]]:
    """The rows that the auditor finds."""
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    rows: list[dict[str, Any]] = (await service.audrey.read(f"/v1/ledger?limit=1000&{query}"))["items"]
    return rows


async def leased(by: Caller, environment: str = "dev", **asked: str) -> str:
    """The receipt of a lease."""
    query = "".join(f"&{name}={value}" for name, value in asked.items())
    answer = await by.get(f"/v1/leases?environment={environment}{query}")
    assert answer.status_code == 200, answer.text
    receipt: str = answer.headers["muniment-receipt"]
    return receipt


@pytest.fixture(scope="module")
async def workers(issuer: RunningIssuer, module_company: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two workers on one database."""
    async with running(issuer, module_company) as first, running(issuer, module_company) as second:
        yield first, second


@pytest.fixture
def service(workers: tuple[Running, Running]) -> Running:
    return workers[0]


async def test_a_use_is_a_row_that_says_who_claims_what(service: Running) -> None:
    told = use(
        name="orders", run="r-told", session="s", pipeline="p", node="n", version="v", environment="dev", project="q"
    )
    assert await report(service.ann, told) == {"recorded": 1, "repeated": 0}
    (row,) = await found(service, run="r-told")
    assert (row["event"], row["outcome"], row["subject"]) == ("use.reported", "done", "user:ann")
    assert (row["datasets"], row["environment"], row["project"]) == (["sales.orders"], "dev", "q")
    details = {key: told[key] for key in ("name", "session", "pipeline", "node", "version", "action")}
    said_at = row["details"].pop("said_at")
    assert row["details"] == {"use": told["id"], "doubts": [], "receipt_known": False, **details}
    assert datetime.fromisoformat(said_at) == datetime.fromisoformat(told["at"])
    assert row["decided_sha256"] is None


async def test_a_use_that_the_client_refused_is_told_as_that(service: Running) -> None:
    await report(service.ann, use(run="r-refused", outcome="refused", action="save"))
    (row,) = await found(service, run="r-refused")
    assert (row["event"], row["outcome"], row["details"]["action"]) == ("refusal.reported", "denied", "save")


async def test_lease_preflight_and_uses_of_one_run_are_found_together(service: Running) -> None:
    receipt = await leased(service.ann, project="forecast", purpose="planning")
    asked = {"environment": "dev", "load": ["sales.orders"], "run": "r-whole"}
    assert (await service.ann.post("/v1/preflight", asked)).status_code == 200
    uses = [use(receipt=receipt, run="r-whole"), use(receipt=receipt, run="r-whole", action="save")]
    await report(service.ann, *uses)

    assert Counter(row["event"] for row in await found(service, receipt=receipt)) == {
        "lease.served": 1,
        "use.reported": 2,
    }
    rows = await found(service, run="r-whole")
    assert Counter(row["event"] for row in rows) == {"preflight.allowed": 1, "use.reported": 2}
    claimed = [row for row in rows if row["event"] == "use.reported"]
    assert {row["details"]["receipt_known"] for row in claimed} == {True}
    assert {(row["environment"], row["project"], row["purpose"]) for row in claimed} == {
        ("dev", "forecast", "planning")
    }
    assert len(await found(service, run="r-whole", dataset="sales.orders", event="use.reported")) == 2
    assert await found(service, run="r-whol") == []


async def test_what_was_told_before_is_not_written_down_again(service: Running) -> None:
    first, second, third = (use(run="r-again") for _ in range(3))
    assert await report(service.ann, first, second) == {"recorded": 2, "repeated": 0}
    assert await report(service.ann, second, third, first) == {"recorded": 1, "repeated": 2}
    assert len(await found(service, run="r-again")) == 3


async def test_of_two_with_one_id_the_first_counts(service: Running) -> None:
    told = use(run="r-twice")
    assert await report(service.ann, told, {**told, "dataset": "sales.targets"}) == {"recorded": 1, "repeated": 1}
    (row,) = await found(service, run="r-twice")
    assert row["datasets"] == ["sales.orders"]


async def test_an_id_is_its_subjects_own(service: Running) -> None:
    told = use(run="r-own")
    for caller in (service.ann, service.eve, service.nightly):
        assert await report(caller, told) == {"recorded": 1, "repeated": 0}
    rows = await found(service, run="r-own")
    assert {row["subject"] for row in rows} == {"user:ann", "user:eve", "service:nightly"}


async def test_reports_sent_at_once_to_two_workers_are_written_down_once_each(
    workers: tuple[Running, Running],
) -> None:
    told = [use(run="r-at-once") for _ in range(40)]
    parts = [told[start : start + 25] for start in (0, 15, 5, 10)]
    asked = [
        report(worker.ann, *(part if turn % 2 else part[::-1]))
        for turn in range(2)
        for part in parts
        for worker in workers
    ]
    answers = await asyncio.gather(*asked)
    assert sum(answer["recorded"] for answer in answers) == 40
    rows = await found(workers[0], run="r-at-once")
    assert Counter(row["details"]["use"] for row in rows) == {each["id"]: 1 for each in told}


async def test_the_receipt_of_another_is_not_known_and_takes_nothing_from_them(service: Running) -> None:
    receipt = await leased(service.ann)
    await report(service.eve, use(receipt=receipt, run="r-stolen"))
    await report(service.eve, use(receipt="not a receipt", run="r-stolen"))
    rows = await found(service, run="r-stolen")
    assert {row["details"]["receipt_known"] for row in rows} == {False}
    assert {row["receipt"] for row in rows} == {None}
    assert {row["details"]["receipt"] for row in rows} == {receipt, "not a receipt"}
    assert [row["event"] for row in await found(service, receipt=receipt)] == ["lease.served"]


async def test_a_time_that_cannot_be_is_marked_and_taken(service: Running) -> None:
    receipt = await leased(service.ann)
    day = timedelta(days=1)
    cases = {
        "r-now": (use(receipt=receipt), []),
        "r-future": (use(ago=-day / 24), ["in_the_future"]),
        "r-old": (use(ago=40 * day), ["long_ago"]),
        "r-before": (use(ago=day, receipt=receipt), ["before_the_lease"]),
        "r-after": (use(ago=-3 * day, receipt=receipt), ["in_the_future", "after_the_lease"]),
    }
    await report(service.ann, *({**told, "run": run} for run, (told, _) in cases.items()))
    for run, (_, doubts) in cases.items():
        (row,) = await found(service, run=run)
        assert row["details"]["doubts"] == doubts, run


async def test_every_name_is_answered_alike(service: Running) -> None:
    answers = [
        await service.eve.post("/v1/use", {"events": [use(name)]})
        for name in ("sales.orders", "hr.salaries", "hr.nothing", "nowhere.at_all", "no name")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"recorded":1,"repeated":0}')}


async def test_an_environment_that_is_none_refuses_the_report_as_a_whole(service: Running) -> None:
    told = use(run="r-nowhere")
    for name in ("qa", "base"):
        answer = await service.ann.post("/v1/use", {"events": [told, use(environment=name)]})
        assert "ones are" in refusal(answer, 422)["detail"] or name == "base"
    assert await found(service, run="r-nowhere") == []
    assert await report(service.ann, told) == {"recorded": 1, "repeated": 0}


async def test_no_report_is_too_long_to_be_read_and_none_longer_is_taken(service: Running) -> None:
    events = [use(run="r-many", node="n" * 190, pipeline="p" * 190, receipt=str(uuid4())) for _ in range(1000)]
    assert await report(service.ann, *events) == {"recorded": 1000, "repeated": 0}
    assert len(await found(service, run="r-many")) == 1000
    refusal(await service.ann.post("/v1/use", {"events": [*events, use()]}), 422)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "seven"},
        {"at": "yesterday"},
        {"at": "2026-01-01T00:00:00"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"action": "discover"},
        {"outcome": "perhaps"},
        {"run": "a\nb"},
        {"run": "r" * 300},
        {"dataset": ""},
        {"dataset": None},
        {"secret": "x"},
    ],
    ids=str,
)
async def test_what_is_no_use_is_refused_by_its_place(service: Running, wrong: dict[str, Any]) -> None:
    answer = await service.ann.post("/v1/use", {"events": [use(), {**use(), **wrong}]})
    (place, *_) = refusal(answer, 422)["errors"]
    assert place["at"].startswith(f"body.events.1.{next(iter(wrong))}") or place["at"].startswith("events.1")


async def test_with_a_key_for_runs_uses_are_reported_as_what_it_is_bound_to(service: Running) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    bounds = {"environment": "dev", "project": "forecast", "purpose": "planning"}
    wish = {"service": "service:nightly", "use": "runs", "until": until, "because": "a test", **bounds}
    made = await service.root.post("/v1/keys", wish)
    assert made.status_code == 201, made.text
    job = Caller(service.http, made.json()["key"])
    await report(job, use(run="r-key"))
    (row,) = await found(service, run="r-key")
    assert (row["environment"], row["project"], row["credential"]) == ("dev", "forecast", f"key:{made.json()['id']}")
    refusal(await job.post("/v1/use", {"events": [use(environment="prod")]}), 403)


async def test_whoever_used_something_reads_what_they_told(service: Running) -> None:
    await report(service.eve, use("hr.salaries", run="r-mine"))
    rows = (await service.eve.read("/v1/ledger?subject=user:eve&run=r-mine"))["items"]
    assert [row["datasets"] for row in rows] == [["hr.salaries"]]
    refusal(await service.eve.get("/v1/ledger?run=r-mine"), 403)


async def test_use_and_lineage_are_everybodys_for_stewards_and_ones_own_for_others(service: Running) -> None:
    receipts = {"nightly": await leased(service.nightly), "sam": await leased(service.sam)}
    node = {"environment": "dev", "run": "r-beside", "node": "plan", "project": "targets"}
    forged = {**node, "dataset": "sales.emea.leads", "action": "load"}
    await report(
        service.nightly,
        use("sales.targets", action="save", receipt=receipts["nightly"], **node),
        use("sales.orders", receipt=receipts["nightly"], **node),
        use("hr.salaries", receipt=receipts["nightly"], **node),
        use(**forged),
    )
    await report(service.sam, use("sales.targets", receipt=receipts["sam"], run="r-sam", environment="dev"))

    told = await service.sam.read("/v1/datasets/sales.targets/lineage")
    (orders,) = told["items"]
    assert (orders["dataset"], orders["side"], told["of_all"]) == ("sales.orders", "upstream", True)
    (passage,) = orders["passages"]
    assert (passage["project"], passage["node"], passage["runs"], passage["subjects"]) == ("targets", "plan", 1, 1)
    back = (await service.sam.read("/v1/datasets/sales.orders/lineage"))["items"]
    assert ("sales.targets", "downstream") in {(each["dataset"], each["side"]) for each in back}

    everybodys = await service.sam.read("/v1/datasets/sales.targets/use?days=1")
    assert [(day["loads"], day["saves"], day["subjects"]) for day in everybodys["items"]] == [(1, 1, 2)]
    own = await service.nightly.read("/v1/datasets/sales.targets/use?days=1")
    assert ([(day["loads"], day["saves"]) for day in own["items"]], own["of_all"]) == ([(0, 1)], False)
    refusal(await service.ann.get("/v1/datasets/hr.salaries/use"), 404)
    refusal(await service.ann.get("/v1/datasets/hr.salaries/lineage"), 404)
