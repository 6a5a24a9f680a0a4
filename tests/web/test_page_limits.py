"""Sign-in pages at the gate: beginning, failing and coming without a session are slowed down by address."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

import httpx
import pytest

from muniment.api import limits
from muniment.core.limits import rates_from
from muniment.web import visiting
from tests.api.running import NO_LIMITS
from tests.web.lying_provider import LyingProvider
from tests.web.visiting import SESSION, Browser, Pages, described, running_pages

pytestmark = pytest.mark.anyio

MadeDatabase = Callable[[], AbstractContextManager[str]]


@asynccontextmanager
async def limited(liar: LyingProvider, made: MadeDatabase, **rates: str) -> AsyncIterator[Pages]:
    with made() as url:
        async with running_pages(url, described(liar.url), limits=rates_from({**NO_LIMITS, **rates})) as started:
            yield started


def waits(answer: httpx.Response) -> None:
    """A page that says how long."""
    assert answer.status_code == 429, answer.text
    seconds = int(answer.headers["retry-after"])
    assert f"Try again in {seconds} second" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


async def signed_in(pages: Pages, liar: LyingProvider) -> Browser:
    browser = pages.browser()
    answer = await browser.get("/sign-in/callback", params=liar.back(await browser.begun()))
    assert answer.status_code == 303, answer.text
    return browser


async def test_sign_ins_are_begun_only_so_often(liar: LyingProvider, made_database: MadeDatabase):
    """Each is written down. Seen to fail with the gate's count taken out."""
    async with limited(liar, made_database, sign_ins="2/hour") as pages:
        for _ in range(2):
            await pages.browser().begun()
        waits(await pages.browser().get("/sign-in"))
        assert (await pages.browser().get("/account")).status_code == 303


async def test_a_sign_in_that_comes_to_nothing_is_a_failed_one(liar: LyingProvider, made_database: MadeDatabase):
    async with limited(liar, made_database, failed_sign_ins="2/hour") as pages:
        for _ in range(2):
            refused = await pages.browser().get("/sign-in/callback", params={"state": "s", "code": "c"})
            assert 400 <= refused.status_code < 429, refused.text
        waits(await pages.browser().get("/sign-in/callback", params={"state": "s", "code": "c"}))
        waits(await pages.browser().post("/back-channel-logout", {"logout_token": "x"}))


async def test_whoever_tries_sessions_is_slowed_down_and_who_has_one_is_not(
    liar: LyingProvider, made_database: MadeDatabase
):
    """Seen to fail with `lapsed` taken from the visit."""
    async with limited(liar, made_database, refused="2/hour") as pages:
        ann = await signed_in(pages, liar)
        assert await ann.is_signed_in()
        for turn in range(3):
            guess = pages.browser()
            guess.http.cookies.set(SESSION, secrets.token_urlsafe(32))
            answer = await guess.get("/account")
            assert answer.status_code == (303 if turn < 2 else 429)
        assert await ann.is_signed_in()


def test_the_gate_and_the_pages_mean_one_cookie():
    assert limits._SESSION == visiting.SESSION
