"""A session ends: by itself, by the provider, by whoever administers; the next request is refused on every worker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from muniment.core.roster import Enrolment
from muniment.core.sessions import Why
from muniment.core.subjects import Subject
from muniment.settings import SessionHours
from muniment.store import roster, sessions
from muniment.store.databases import Database
from tests.providers.oidc_provider import OidcProvider
from tests.web.lying_provider import LOGOUT_EVENT, LyingProvider
from tests.web.visiting import SESSION, Browser, Pages, described, register, rows, running_pages

pytestmark = pytest.mark.anyio

ANN = Subject.parse("user:ann")


async def signed_in(pages: Pages, liar: LyingProvider, **claims: object) -> Browser:
    """Somebody whom the provider vouches for in these words."""
    liar.claims = claims
    browser = pages.browser()
    answer = await browser.get("/sign-in/callback", params=liar.back(await browser.begun()))
    assert answer.status_code == 303, answer.text
    return browser


async def told(browser: Browser, token: str) -> int:
    """What the provider hears when it sends this logout token."""
    answer = await browser.http.post("/back-channel-logout", data={"logout_token": token})
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


# --- by itself ----------------------------------------------------------------------------------


async def test_a_session_that_is_not_used_ends(misled: Pages, liar: LyingProvider):
    ann = await signed_in(misled, liar)
    used = "UPDATE sessions SET used = now() - %s::interval WHERE ended IS NULL"
    rows(misled, used, "59 minutes")
    assert await ann.is_signed_in()
    rows(misled, used, "61 minutes")
    assert not await ann.is_signed_in()


async def test_a_session_ends_after_its_longest_time_however_much_it_is_used(misled: Pages, liar: LyingProvider):
    ann = await signed_in(misled, liar)
    ((hours,),) = rows(misled, "SELECT until - began FROM sessions ORDER BY began DESC LIMIT 1")
    assert hours == timedelta(hours=12)
    rows(misled, "UPDATE sessions SET until = now() - interval '1 second' WHERE ended IS NULL")
    assert not await ann.is_signed_in()


async def test_however_short_sessions_are_one_that_is_used_goes_on(database: str, liar: LyingProvider):
    """The last use is noted often enough for that."""
    hours = SessionHours(idle=40 / 3600, longest=1)
    async with running_pages(database, described(liar.url), session_hours=hours) as pages:
        ann = await signed_in(pages, liar)
        for _ in range(3):
            rows(pages, "UPDATE sessions SET used = used - interval '30 seconds' WHERE ended IS NULL")
            assert await ann.is_signed_in()


async def test_the_last_use_is_noted_once_a_minute(misled: Pages, liar: LyingProvider):
    ann = await signed_in(misled, liar)
    newest = "SELECT used, began FROM sessions ORDER BY began DESC LIMIT 1"
    await ann.get("/account")
    ((used, began),) = rows(misled, newest)
    assert used == began
    rows(misled, "UPDATE sessions SET used = used - interval '2 minutes' WHERE ended IS NULL")
    await ann.get("/account")
    ((used, began),) = rows(misled, newest)
    assert used > began


# --- by whoever administers ---------------------------------------------------------------------


async def test_a_disabled_subject_is_refused_at_the_next_request_and_cannot_sign_in(database: str, liar: LyingProvider):
    async with running_pages(database, described(liar.url)) as pages:
        ann = await signed_in(pages, liar)
        opened = Database.open(database)
        async with opened.begin() as tx:
            await roster.put(tx, Enrolment(ANN, active=False, at=datetime.now(UTC), by="user:root", reason="left"))
        answer = await ann.get("/account")
        assert answer.status_code == 403
        assert "has been ended" in answer.text
        other = pages.browser()
        answer = await other.get("/sign-in/callback", params=liar.back(await other.begun()))
        assert answer.status_code == 403
        assert other.session is None
        await opened.close()


async def test_sign_ins_before_a_moment_are_ended_and_a_new_one_holds(database: str, liar: LyingProvider):
    async with running_pages(database, described(liar.url)) as pages:
        at = datetime.now(UTC) - timedelta(minutes=5)
        ann = await signed_in(pages, liar, auth_time=int(at.timestamp()) - 60)
        opened = Database.open(database)
        async with opened.begin() as tx:
            await roster.put(tx, Enrolment(ANN, tokens_since=at, at=at, by="user:root", reason="stolen"))
        await opened.close()
        answer = await ann.get("/account")
        assert answer.status_code == 403
        assert "/sign-in?anew=yes" in answer.text
        liar.claims = {"auth_time": int(at.timestamp()) + 60}
        back = liar.back(await ann.begun(anew="yes"))
        assert (await ann.get("/sign-in/callback", params=back)).status_code == 303
        assert await ann.is_signed_in()


async def test_a_provider_that_knows_somebody_still_does_not_bring_an_ended_sign_in_back(
    database: str, provider: OidcProvider
):
    """Asked for, the provider says when somebody signed in *there*; else each new ID token would be a new sign-in."""
    async with running_pages(database, described(provider.issuer)) as pages:
        ann = pages.browser()
        with provider.browser("ann") as theirs:
            await ann.get(theirs.redirected(await ann.begun()))
            assert await ann.is_signed_in()
            # Tokens tell whole seconds: what is made from the next one on is newer.
            at = datetime.fromtimestamp(int(time.time()) + 1, UTC)
            await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
            opened = Database.open(database)
            async with opened.begin() as tx:
                await roster.put(tx, Enrolment(ANN, tokens_since=at, at=at, by="user:root", reason="stolen"))
            await opened.close()
            again = pages.browser()
            answer = await again.get(theirs.redirected(await again.begun()))
            assert answer.status_code == 403
            assert "/sign-in?anew=yes" in answer.text


async def test_all_sessions_of_a_subject_are_ended_in_the_transaction_of_another(misled: Pages, liar: LyingProvider):
    ann, again, sam = (
        await signed_in(misled, liar),
        await signed_in(misled, liar),
        await signed_in(misled, liar, sub="sam"),
    )
    opened = Database.open(misled.url)
    async with opened.begin() as tx:
        ended = await sessions.end_sessions_of(tx, ANN, Why.BY_AN_ADMINISTRATOR, datetime.now(UTC))
    await opened.close()
    assert len(ended) >= 2
    assert [await each.is_signed_in() for each in (ann, again, sam)] == [False, False, True]


async def test_an_ended_session_is_refused_on_every_worker(database: str, liar: LyingProvider):
    async with (
        running_pages(database, described(liar.url)) as one,
        running_pages(database, described(liar.url)) as other,
    ):
        here, there = await signed_in(one, liar), other.browser()
        there.http.cookies.set(SESSION, str(here.session), domain="muniment.test")
        assert await there.is_signed_in()
        await here.press("/account/sessions/end-all")
        assert there.session is not None
        assert not await there.is_signed_in()


# --- by the provider ----------------------------------------------------------------------------


async def test_a_logout_token_ends_one_session_by_its_sid(misled: Pages, liar: LyingProvider):
    first, second = await signed_in(misled, liar, sid="s-1"), await signed_in(misled, liar, sid="s-2")
    assert await told(first, liar.logout_token(sid="s-1")) == 200
    assert not await first.is_signed_in()
    assert await second.is_signed_in()
    (told_last,) = rows(
        misled, "SELECT subject, details ->> 'why' FROM ledger WHERE event = 'session.ended' ORDER BY seq DESC LIMIT 1"
    )
    assert told_last == ("user:ann", "ended by its provider")


async def test_a_logout_token_ends_all_sessions_of_its_subject(misled: Pages, liar: LyingProvider):
    first, second = await signed_in(misled, liar, sid="s-1"), await signed_in(misled, liar, sid=None)
    other = await signed_in(misled, liar, sub="sam")
    assert await told(other, liar.logout_token(sub="ann")) == 200
    assert [await each.is_signed_in() for each in (first, second, other)] == [False, False, True]


async def test_a_session_whose_sid_was_never_told_ends_with_any_of_its_subject(misled: Pages, liar: LyingProvider):
    """Which of them is meant, nobody can know: none of them goes on."""
    nameless, named = await signed_in(misled, liar, sid=None), await signed_in(misled, liar, sid="s-2")
    other = await signed_in(misled, liar, sub="sam", sid=None)
    assert await told(other, liar.logout_token(sid="s-1")) == 200
    assert [await each.is_signed_in() for each in (nameless, named, other)] == [False, True, True]


async def test_a_logout_token_counts_once(misled: Pages, liar: LyingProvider):
    first = await signed_in(misled, liar)
    token = liar.logout_token()
    assert await told(first, token) == 200
    second = await signed_in(misled, liar)
    assert await told(second, token) == 400
    assert await second.is_signed_in()


async def test_a_logout_token_for_nobody_who_is_signed_in_is_obeyed_and_leaves_no_row(
    misled: Pages, liar: LyingProvider
):
    before = rows(misled, "SELECT count(*) FROM ledger")
    assert await told(misled.browser(), liar.logout_token(sub="nobody")) == 200
    assert rows(misled, "SELECT count(*) FROM ledger") == before


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"iss": "https://other.example"}, {}),
        ({"aud": "another-client"}, {}),
        ({"nonce": "n"}, {}),
        ({"events": None}, {}),
        ({"events": {}}, {}),
        ({"events": {LOGOUT_EVENT: "yes"}}, {}),
        ({"events": [LOGOUT_EVENT]}, {}),
        ({"sub": None}, {}),
        ({"jti": None}, {}),
        ({"exp": None}, {}),
        ({"exp": 1_000_000_000, "iat": 1_000_000_000 - 60}, {}),
        ({"iat": None}, {}),
        ({"iat": 1_000_000_000}, {}),
        ({"iat": True}, {}),
        ({"typ": "ID"}, {}),
        ({}, {"typ": "at+jwt"}),
        ({}, {"typ": "secevent+jwt"}),
        ({}, {"kid": "another"}),
    ],
    ids=str,
)
async def test_a_logout_token_that_does_not_hold_ends_nothing(misled: Pages, liar: LyingProvider, claims, header):
    ann = await signed_in(misled, liar)
    assert await told(ann, liar.logout_token(header, **claims)) == 400
    assert await ann.is_signed_in()


async def test_what_is_no_logout_token_ends_nothing(misled: Pages, liar: LyingProvider):
    ann = await signed_in(misled, liar)
    head, body, _ = liar.logout_token().split(".")
    for token in ("", "é", "a.b.c", f"{head}.{body}.", f"eyJhbGciOiJub25lIn0.{body}.", liar.id_token(), "a" * 20_000):
        assert await told(ann, token) == 400
    bare = await ann.http.post("/back-channel-logout", json={"logout_token": liar.logout_token()})
    assert bare.status_code == 400
    assert await ann.is_signed_in()


async def test_the_certified_provider_ends_sessions_behind_the_scenes(provider: OidcProvider, database: str):
    with listening() as (address, heard):
        register(
            provider, "pages-that-listen", backchannel_logout_uri=address, backchannel_logout_session_required=True
        )
        client = {"client_id": "pages-that-listen", "client_secret": "a-secret/of:the pages"}
        async with running_pages(database, described(provider.issuer, browser=client)) as pages:
            ann, sam = pages.browser(), pages.browser()
            await ann.signed_in(provider, "ann")
            await sam.signed_in(provider, "sam")
            assert "pages-that-listen" in provider.end_sessions("ann")
            (token,) = heard
            assert await told(sam, token) == 200
            assert not await ann.is_signed_in()
            assert await sam.is_signed_in()
            assert await told(sam, token) == 400


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """An address at which logout tokens arrive, and those that have."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            heard.append(form["logout_token"][0])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/back-channel-logout", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
