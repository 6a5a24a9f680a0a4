"""One service for each module of tests, with a small company in it; and a fresh one where a test changes much."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from demo.issuer import RunningIssuer, running_issuer
from tests.api.running import PEOPLE, Running, found_company, running


@pytest.fixture(scope="session")
def issuer() -> Iterator[RunningIssuer]:
    """The issuer of the tests of the doors. Its keys stay as they are."""
    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    """A service with a small company in it, shared by the tests of a module: each makes what it changes."""
    async with running(issuer, module_database) as started:
        await found_company(started)
        yield started


@pytest.fixture
async def fresh(issuer: RunningIssuer, database: str) -> AsyncIterator[Running]:
    """A service of the test's own, on a realm in which only Root has a right."""
    async with running(issuer, database) as started:
        yield started


@pytest.fixture
async def company(fresh: Running) -> Running:
    """A service of the test's own, with a small company in it."""
    await found_company(fresh)
    return fresh
