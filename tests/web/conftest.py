"""One real provider and one service with pages for each module of tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.databases import MadeDatabase
from tests.providers import oidc_provider
from tests.providers.oidc_provider import OidcProvider
from tests.web.lying_provider import LyingProvider, lying_provider
from tests.web.visiting import Pages, described, register, running_pages


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """The certified provider, of which the pages are a client."""
    with oidc_provider.running() as started:
        register(started)
        yield started


@pytest.fixture(scope="module")
async def pages(provider: OidcProvider, module_database: str) -> AsyncIterator[Pages]:
    """A service whose people sign in at the certified provider."""
    async with running_pages(module_database, described(provider.issuer)) as started:
        yield started


@pytest.fixture(scope="module")
def _liar() -> Iterator[LyingProvider]:
    with lying_provider() as started:
        yield started


@pytest.fixture
def liar(_liar: LyingProvider) -> LyingProvider:
    """A provider that gives whatever a test tells it to, really signed; honest until then."""
    _liar.honest()
    return _liar


@pytest.fixture(scope="module")
async def misled(_liar: LyingProvider, made_database: MadeDatabase) -> AsyncIterator[Pages]:
    """A service whose people sign in at the provider that lies."""
    with made_database() as url:
        async with running_pages(url, described(_liar.url)) as started:
            yield started
