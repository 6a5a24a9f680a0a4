"""One town, one browser, and everybody signed in once, for all that is looked at."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext

from muniment import app
from tests.browser.chromium import WIDE, Window, Windows, running_chromium
from tests.browser.town import PEOPLE, Town, running_town
from tests.providers import oidc_provider
from tests.providers.oidc_provider import OidcProvider

#: Where pictures are left, for whoever wants to see what is there.
PICTURES = Path(__file__).parents[2] / "build" / "pages"


@pytest.fixture(autouse=True, scope="module")
def _told_by_hand() -> Iterator[None]:
    """Nobody is told anything by itself: pages are the same each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "_TELL_SECONDS", 100_000)
        patched.setattr(app, "_REREAD_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider.running(PEOPLE) as started:
        yield started


@pytest.fixture(scope="module")
async def town(
    provider: OidcProvider,
    made_database: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Town]:
    with made_database() as url:
        async with running_town(provider, url, tmp_path_factory.mktemp("starters")) as started:
            yield started


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def signed_in(town: Town, chromium: Browser) -> AsyncIterator[dict[str, BrowserContext]]:
    """A browser for each person of whom pages are, in which they have signed in."""
    contexts = {}
    for name in ("ann", "sam", "audrey", "root"):
        context = contexts[name] = await chromium.new_context(viewport=WIDE, color_scheme="light")
        window = await Window.of(context, town.base)
        await window.page.goto(f"{town.base}/sign-in")
        await window.page.fill("input[name=account]", name)
        await window.page.click("button")
        await window.page.wait_for_url(f"{town.base}/**", timeout=10_000)
        if not window.page.url.startswith(f"{town.base}/"):
            raise AssertionError(window.page.url)
        await window.page.close()
    yield contexts
    for context in contexts.values():
        await context.close()


@pytest.fixture(scope="module")
async def plain(chromium: Browser, signed_in: dict[str, BrowserContext]) -> AsyncIterator[dict[str, BrowserContext]]:
    """The same people with scripts switched off."""
    contexts = {
        name: await chromium.new_context(
            java_script_enabled=False, storage_state=await context.storage_state(), viewport=WIDE
        )
        for name, context in signed_in.items()
    }
    yield contexts
    for context in contexts.values():
        await context.close()


@pytest.fixture(scope="module")
def windows(town: Town, signed_in: dict[str, BrowserContext]) -> Windows:
    """The windows in which pages are looked at."""
    return Windows(signed_in, town.base)


@pytest.fixture(scope="module")
def plain_windows(town: Town, plain: dict[str, BrowserContext]) -> Windows:
    """The same without scripts."""
    return Windows(plain, town.base)


@pytest.fixture
def pictures() -> Path:
    """The folder of the pictures; CI keeps what is under ``build``."""
    folder = Path(os.environ.get("MUNIMENT_TEST_PICTURES") or PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
