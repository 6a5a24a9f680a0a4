"""Promise 2: a change that was acknowledged before a request began is honoured by that request, at every worker.

Seen to fail with `Realms.current` giving the realm that is held without asking for the newest revision, and (of a token
that says something new) with the listings remembered by subject instead of by what is known of the subject.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import FOREVER, Caller, Running, dataset, grant, running

pytestmark = pytest.mark.anyio

LOAD_TARGETS = grant("user:ann", ["load"], on={"dataset": "sales.targets"})


@pytest.fixture(scope="module")
async def workers(issuer: RunningIssuer, module_company: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two workers on one database: each change is made at the first, and asked for at the second."""
    async with running(issuer, module_company) as first, running(issuer, module_company) as second:
        yield first, second


async def names(caller: Caller, path: str = "/v1/leases?environment=dev") -> set[str]:
    """What a lease gives, by name."""
    return set((await caller.read(path))["catalog"])


async def test_a_grant_is_honoured_by_the_next_request_and_so_is_its_end(workers: tuple[Running, Running]) -> None:
    here, there = workers
    for _ in range(5):
        assert "sales.targets" not in await names(there.ann)
        version = (await here.root.put("/v1/grants/ann-targets", LOAD_TARGETS, after=0)).json()["version"]
        assert "sales.targets" in await names(there.ann)
        assert (await here.root.delete("/v1/grants/ann-targets", after=version)).status_code == 204
        assert "sales.targets" not in await names(there.ann)


async def test_a_policy_is_honoured_by_the_next_request_and_so_is_its_end(workers: tuple[Running, Running]) -> None:
    here, there = workers
    forbid = {"cedar": 'forbid (principal, action == Action::"load", resource == Dataset::"sales.orders");'}
    for _ in range(5):
        assert "sales.orders" in await names(there.ann)
        version = (await here.root.put("/v1/policies/closed", forbid, after=0)).json()["version"]
        assert "sales.orders" not in await names(there.ann)
        assert (await here.root.delete("/v1/policies/closed", after=version)).status_code == 204
        assert "sales.orders" in await names(there.ann)


async def test_a_group_is_honoured_by_the_next_request(workers: tuple[Running, Running]) -> None:
    here, there = workers
    await here.root.make(
        "/v1/grants/planners-targets", grant("group:planners", ["load"], on={"dataset": "sales.targets"})
    )
    version = 0
    for member in (True, False, True, False):
        members = {"members": ["user:eve"] if member else []}
        version = (await here.root.put("/v1/groups/planners", members, after=version)).json()["version"]
        assert ("sales.targets" in await names(there.eve)) is member


async def test_a_dataset_is_honoured_by_the_next_request(workers: tuple[Running, Running]) -> None:
    here, there = workers
    version = 1
    for path in ("s3://lake/sales/a.csv", "s3://lake/sales/b.csv"):
        changed = await here.sam.put("/v1/datasets/sales.orders", dataset(path), after=version)
        version = changed.json()["version"]
        assert (await there.ann.catalog())["sales.orders"]["filepath"] == path
    retired = await here.sam.delete("/v1/datasets/sales.orders", after=version)
    assert "sales.orders" not in await there.ann.catalog()
    path = "s3://lake/sales/orders.csv"
    await here.sam.put("/v1/datasets/sales.orders", dataset(path), after=retired.json()["version"])
    assert "sales.orders" in await there.ann.catalog()


async def test_variables_of_an_environment_are_honoured_by_the_next_request(workers: tuple[Running, Running]) -> None:
    here, there = workers
    await here.root.put("/v1/environments/dev", {"variables": {"day": "monday"}}, after=1)
    body = dataset("s3://lake/sales/${globals:day,sunday}.csv")
    await here.sam.make("/v1/datasets/sales.daily", body)
    await here.root.make("/v1/grants/ann-daily", grant("user:ann", ["load"], on={"dataset": "sales.daily"}))
    assert (await there.ann.catalog())["sales.daily"]["filepath"] == "s3://lake/sales/monday.csv"

    await here.root.put("/v1/environments/dev", {"variables": {"day": "tuesday"}}, after=2)

    assert (await there.ann.catalog())["sales.daily"]["filepath"] == "s3://lake/sales/tuesday.csv"


async def test_what_a_new_token_says_is_honoured_at_once(workers: tuple[Running, Running]) -> None:
    _, there = workers
    for _ in range(3):
        assert "sales.orders" in await names(there.ann)
        assert "sales.orders" not in await names(there.somebody("ann", groups=[]))


async def test_a_right_to_govern_ends_with_the_next_request(workers: tuple[Running, Running]) -> None:
    here, there = workers
    to_eve = grant("user:eve", ["declare"], on={"domain": "sales.emea"})
    await here.root.make("/v1/grants/eve-declares", to_eve)
    assert (await there.eve.get("/v1/datasets/sales.emea.leads")).status_code == 200

    await here.root.delete("/v1/grants/eve-declares", after=1)

    assert (await there.eve.get("/v1/datasets/sales.emea.leads")).status_code == 404
    body = dataset("s3://lake/sales/emea/leads.csv")
    assert (await there.eve.put("/v1/datasets/sales.emea.leads", body, after=1)).status_code == 404


async def test_an_acknowledged_change_is_honoured_in_the_thick_of_other_requests(
    workers: tuple[Running, Running],
) -> None:
    """Many ask at both workers while one changes; whoever asks after the acknowledgement has the change."""
    here, there = workers
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            await names(there.nightly)

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        version = 0
        for turn in range(12):
            body = {**LOAD_TARGETS, "actions": ["load", "save"] if turn % 2 else ["load"], "because": FOREVER}
            version = (await here.root.put("/v1/grants/ann-turns", body, after=version)).json()["version"]
            lease = await there.ann.read("/v1/leases?environment=dev&names=sales.targets")
            assert lease["actions"]["sales.targets"] == body["actions"]
    finally:
        done.set()
        await asyncio.gather(*asking)


async def test_a_permission_ends_at_its_time_though_nothing_is_changed(workers: tuple[Running, Running]) -> None:
    here, there = workers
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    ending = {**grant("user:eve", ["load"], on={"dataset": "sales.targets"}), "until": until.isoformat()}
    await here.root.make("/v1/grants/eve-for-a-second", ending)
    assert "sales.targets" in await names(there.eve)

    await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.05)

    assert "sales.targets" not in await names(there.eve)
