"""Promise 3 on the pages: what begins a session, ends one, or makes an administrator is not done without its record.

Seen to fail with the row of a session's beginning written in a transaction of its own, after the session.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from muniment.app import prepare
from tests.api.test_no_record_no_answer import WAYS, no_ledger
from tests.web.lying_provider import LyingProvider
from tests.web.visiting import SESSION, Browser, Pages, described, rows, running_pages

pytestmark = pytest.mark.anyio


async def arrived(browser: Browser, liar: LyingProvider) -> httpx.Response:
    """The answer to whoever comes back from the provider."""
    return await browser.get("/sign-in/callback", params=liar.back(await browser.begun()))


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_is_signed_in_or_out_without_a_record(misled: Pages, liar: LyingProvider, way: str):
    ann, ben = misled.browser(), misled.browser()
    assert (await arrived(ann, liar)).status_code == 303
    form = await ann.form()
    begun = rows(misled, "SELECT count(*) FROM sessions")
    (mine,) = re.findall(r'action="(/account/sessions/[0-9a-f-]{36}/end)"', (await ann.get("/account")).text)

    with no_ledger(misled, way):
        answer = await arrived(ben, liar)
        assert answer.status_code == 503
        assert SESSION not in answer.headers.get("set-cookie", "")
        for path in ("/sign-out", "/account/sessions/end-all", mine):
            answer = await ann.post(path, {"form": form})
            assert answer.status_code == 503, path
            assert SESSION not in answer.headers.get("set-cookie", "")
        token = liar.logout_token()
        assert (await ann.http.post("/back-channel-logout", data={"logout_token": token})).status_code == 503

    assert rows(misled, "SELECT count(*) FROM sessions") == begun
    assert await ann.is_signed_in()
    # A provider tries again with what was not obeyed.
    assert (await ann.http.post("/back-channel-logout", data={"logout_token": token})).status_code == 200
    assert not await ann.is_signed_in()


async def test_nobody_becomes_the_first_administrator_without_a_record(database: str, liar: LyingProvider):
    async with running_pages(database, described(liar.url), bootstrap_admin=None) as pages:
        link = await prepare(pages.settings, pages.url)
        assert link is not None
        ann = pages.browser()
        assert (await arrived(ann, liar)).status_code == 303
        fields = {"form": await ann.form(), "link": parse_qs(urlsplit(link).query)["link"][0]}
        for way in WAYS:
            with no_ledger(pages, way):
                assert (await ann.post("/first-administrator", fields)).status_code == 503
        assert (await ann.post("/first-administrator", fields)).status_code == 303
