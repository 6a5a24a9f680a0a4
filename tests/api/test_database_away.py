"""Postgres goes away, in the middle of a request too: a problem each time, nothing half-written, and then it goes on.

Seen to fail with a `Database.begin` that does not bound how long it waits: of a server that stands still nobody had
an answer.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from demo.issuer import RunningIssuer
from muniment.store import embedded, migrations
from muniment.store.embedded import EmbeddedPostgres
from tests.api.running import Running, dataset, found_company, refusal, revision_of, running

pytestmark = pytest.mark.anyio

#: No answer takes longer, whatever Postgres does.
PATIENCE = 25

READING = ("/v1/leases?environment=dev", "/v1/catalog?environment=dev", "/v1/datasets/sales.orders", "/v1/whoami")


@dataclass
class Postgres:
    """A Postgres of the test's own, which may be stopped, killed, stilled and started again."""

    place: Path
    server: EmbeddedPostgres

    @property
    def processes(self) -> list[psutil.Process]:
        first = psutil.Process(int(next(self.place.rglob("postmaster.pid")).read_text().split()[0]))
        return [first, *first.children(recursive=True)]

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        self.server.stop()

    def start(self) -> None:
        self.server = embedded.start(self.place, durable=False)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Every process of it stands still, as on a machine that has lost its disk."""
        stilled = self.processes
        for process in stilled:
            process.suspend()
        try:
            yield
        finally:
            for process in stilled:
                process.resume()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    place = Path(tempfile.mkdtemp(prefix="muniment-tests-"))
    place.chmod(0o755)
    postgres = Postgres(place, embedded.start(place, durable=False))
    migrations.upgrade(postgres.server.owner_url, embedded.SERVICE)
    try:
        yield postgres
    finally:
        postgres.server.stop()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, own_postgres: Postgres) -> Iterator[Running]:
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(running(issuer, own_postgres.server.url))
        await found_company(started)
        yield started


async def timed(asking: Awaitable[httpx.Response]) -> httpx.Response:
    began = time.monotonic()
    answer = await asking
    assert time.monotonic() - began < PATIENCE
    return answer


async def assert_heals(service: Running, revision: int) -> None:
    """The service answers again, at once, at the revision that it had."""
    assert await revision_of(service) == revision
    for path in READING:
        assert (await service.ann.get(path)).status_code == 200, path
    assert list(await service.ann.catalog()) == ["sales.orders"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_postgres_that_is_stopped_in_the_middle_of_a_change_leaves_nothing_half_written(
    service: Running, own_postgres: Postgres, end: str
) -> None:
    before = await revision_of(service)
    other = psycopg.connect(own_postgres.server.url.replace("+psycopg", ""))
    other.execute("SELECT * FROM realm_counter FOR UPDATE")
    body = dataset("s3://lake/sales/half.csv")
    changing = asyncio.create_task(timed(service.sam.put("/v1/datasets/sales.half", body, after=0)))
    await asyncio.sleep(0.3)
    assert not changing.done()
    getattr(own_postgres, end)()
    refusal(await changing, 503)
    other.close()

    for path in READING:
        problem = refusal(await timed(service.ann.get(path)), 503)
        assert problem["type"] in {"/problems/database-unavailable", "/problems/ledger-unavailable"}
    for _ in range(2):
        refusal(await timed(service.sam.put("/v1/datasets/sales.half", body, after=0)), 503)
    ready = await timed(service.nobody.get("/readyz"))
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert (await service.nobody.get("/healthz")).status_code == 200
    assert (await service.nobody.get("/.well-known/muniment")).status_code == 200

    own_postgres.start()

    await assert_heals(service, before)
    refusal(await service.sam.get("/v1/datasets/sales.half"), 404)


async def test_a_postgres_that_stands_still_is_waited_for_in_vain_but_not_for_ever(
    service: Running, own_postgres: Postgres
) -> None:
    before = await revision_of(service)
    body = dataset("s3://lake/sales/still.csv")
    somebody_new = service.somebody("ann", sub="new-here")
    asking: list[Callable[[], Awaitable[httpx.Response]]] = [
        *(lambda path=path: service.ann.get(path) for path in READING),
        lambda: service.sam.put("/v1/datasets/sales.still", body, after=0),
        lambda: service.sam.delete("/v1/datasets/sales.orders", after=7),
        lambda: somebody_new.get("/v1/whoami"),
        lambda: service.ann.post("/v1/preflight", {"environment": "dev"}),
        lambda: service.nobody.get("/readyz"),
    ]
    with own_postgres.still():
        answers = await asyncio.gather(*(timed(ask()) for ask in asking))
        assert (await service.nobody.get("/healthz")).status_code == 200

    for answer in answers[:-1]:
        refusal(answer, 503)
    assert answers[-1].status_code == 503
    await assert_heals(service, before)
    refusal(await service.sam.get("/v1/datasets/sales.still"), 404)


async def test_many_who_ask_while_postgres_is_away_are_all_refused_and_none_is_given_anything(
    service: Running, own_postgres: Postgres
) -> None:
    own_postgres.stop()
    answers = await asyncio.gather(*(timed(service.ann.get(READING[turn % 4])) for turn in range(40)))
    own_postgres.start()

    for answer in answers:
        refusal(answer, 503)
        assert answer.headers["retry-after"]
    assert (await service.ann.get("/v1/whoami")).status_code == 200
