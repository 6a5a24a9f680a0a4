"""Busy work is done in turn, and nobody else waits for it.

Seen to fail with threads as they come, and with one lane for everything.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from muniment.flows.house import Lane, aside
from tests.api.running import Running

pytestmark = pytest.mark.anyio


class Work:
    """Work that goes on until it is let go, and knows how much of it went on at once, and when so much did."""

    def __init__(self, much: int = 1) -> None:
        self.let_go, self.goes_on = threading.Event(), threading.Event()
        self._much = much
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            if self.at_once == self._much:
                self.goes_on.set()
        assert self.let_go.wait(30)
        with self._lock:
            self.at_once -= 1


async def test_catalogs_are_made_one_after_the_other_and_other_work_goes_on_meanwhile() -> None:
    catalogs, others = Work(), Work(much=2)
    made = [asyncio.create_task(aside(catalogs, Lane.CATALOGS)) for _ in range(5)]
    done = [asyncio.create_task(aside(others)) for _ in range(5)]
    for work in (catalogs, others):
        assert await asyncio.to_thread(work.goes_on.wait, 30)
    for work in (catalogs, others):
        work.let_go.set()
    await asyncio.gather(*made, *done)
    assert (catalogs.most, others.most) == (1, 2)


async def test_a_request_is_answered_while_somebodys_first_catalog_is_made(service: Running) -> None:
    held = await service.sam.get("/v1/catalog?environment=dev")
    catalogs = Work()
    made = asyncio.create_task(aside(catalogs, Lane.CATALOGS))
    assert await asyncio.to_thread(catalogs.goes_on.wait, 30)
    waiting = asyncio.create_task(service.ann.get("/v1/catalog?environment=prod"))
    again = await service.sam.get("/v1/catalog?environment=dev", headers={"If-None-Match": held.headers["etag"]})
    seen = await service.sam.get("/v1/datasets/sales.orders")
    assert (again.status_code, seen.status_code) == (304, 200)
    assert not waiting.done()
    catalogs.let_go.set()
    await made
    assert (await waiting).status_code == 200
