"""One service for each module of tests, with a small company in it; and a fresh one where a test changes much."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from rich.logging import RichHandler

from demo.issuer import RunningIssuer
from muniment import app
from tests.api.running import Running, running
from tests.databases import MadeDatabase


@pytest.fixture(autouse=True, scope="module")
def _logged_plainly() -> Iterator[None]:
    """Kedro, which other tests import, draws each logged exception frame by frame: that takes a service's seconds."""
    root = logging.getLogger()
    drawing = [handler for handler in root.handlers if isinstance(handler, RichHandler)]
    for handler in drawing:
        root.removeHandler(handler)
    yield
    for handler in drawing:
        root.addHandler(handler)


@pytest.fixture(autouse=True, scope="session")
def _rounds_by_hand() -> Iterator[None]:
    """Nobody is told anything by itself here: tests of notices go their own rounds, at moments of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "_TELL_SECONDS", 100_000)
        yield


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """A service with a small company in it, shared by the tests of a module: each makes what it changes."""
    async with running(issuer, module_company) as started:
        yield started


@pytest.fixture
async def fresh(issuer: RunningIssuer, database: str) -> AsyncIterator[Running]:
    """A service of the test's own, on a realm in which only Root has a right."""
    async with running(issuer, database) as started:
        yield started


@pytest.fixture
def company_database(made_company: MadeDatabase) -> Iterator[str]:
    """The URL of a database of the test's own with a small company in it."""
    with made_company() as url:
        yield url


@pytest.fixture
async def company(issuer: RunningIssuer, company_database: str) -> AsyncIterator[Running]:
    """A service of the test's own, with a small company in it."""
    async with running(issuer, company_database) as started:
        yield started
