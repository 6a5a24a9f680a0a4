"""Past what can be answered in time a request is turned away at once, and whoever was let in is answered.

Seen to fail with the gate's look at what is at work taken out: all waited for Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from demo.issuer import RunningIssuer
from muniment.identity.bearer import Bearer
from tests.api.running import Caller, Running, refusal, running
from tests.owning import libpq

pytestmark = pytest.mark.anyio

MOST = 6
LEASE = "/v1/leases?environment=dev"


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    async with running(issuer, module_company, most_at_once=MOST) as started:
        yield started


@contextmanager
def slow_postgres(service: Running) -> Iterator[None]:
    """Whoever writes to the ledger waits, as long as the block lasts."""
    with psycopg.connect(libpq(service.url)) as connection:
        connection.execute("LOCK TABLE ledger IN EXCLUSIVE MODE")
        yield


async def at_work(service: Running) -> int:
    """How many requests wait for Postgres, once that does not change any more."""
    found = -1
    while found != service.app.state.gate.at_work:
        found = service.app.state.gate.at_work
        await asyncio.sleep(0.1)
    return found


WAYS = {
    "short": [LEASE],
    "ordinary": ["/v1/datasets", "/v1/whoami", "/v1/explain?action=load&dataset=sales.orders&environment=dev"],
}


@pytest.mark.parametrize("way", WAYS)
async def test_one_more_is_turned_away_at_once_and_the_others_are_answered(
    service: Running, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = WAYS[way]
    for path in paths:
        for _ in range(2):
            assert (await service.ann.get(path)).status_code == 200
    with slow_postgres(service):
        asking = [asyncio.create_task(service.ann.get(paths[turn % len(paths)])) for turn in range(MOST)]
        assert await at_work(service) == MOST

        async def never(*_: object) -> None:
            raise AssertionError("a token was looked at")

        with monkeypatch.context() as patched:
            patched.setattr(Bearer, "verify", never)
            patched.setattr(Bearer, "still_holds", never)
            for caller in (service.ann, service.nobody, Caller(service.http, "forged")):
                for asked in (caller.get(LEASE), caller.get("/v1/datasets"), caller.post("/v1/try", {"changes": []})):
                    async with asyncio.timeout(2):
                        turned = await asked
                    assert refusal(turned, 503)["type"] == "/problems/busy"
                    assert int(turned.headers["retry-after"]) >= 1
        assert (await service.nobody.get("/healthz")).status_code == 200
        assert not any(each.done() for each in asking)
    answers: list[httpx.Response] = await asyncio.gather(*asking)
    assert [answer.status_code for answer in answers] == [200] * MOST
    assert service.app.state.gate.at_work == 0
    assert (await service.ann.get(LEASE)).status_code == 200


async def test_a_page_says_so_too(service: Running) -> None:
    with slow_postgres(service):
        asking = [asyncio.create_task(service.ann.get(LEASE)) for _ in range(MOST)]
        await at_work(service)
        page = await service.nobody.get("/sign-in", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (503, "text/html")
    await asyncio.gather(*asking)


async def test_requests_that_fail_or_are_given_up_are_at_work_no_more(service: Running) -> None:
    for path in ("/v1/nothing", "/v1/leases", "/v1/datasets/hr.salaries", "/v1/catalog?environment=nowhere"):
        await service.eve.get(path)
        await service.nobody.get(path)
    with slow_postgres(service):
        asking = [asyncio.create_task(service.ann.get(LEASE)) for _ in range(MOST)]
        await at_work(service)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert await at_work(service) == 0
