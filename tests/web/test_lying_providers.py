"""A provider that lies, or that is taken over: whatever it sends that does not hold signs nobody in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

import pytest
from joserfc.jwk import OKPKey

from tests.web.lying_provider import LyingProvider
from tests.web.visiting import CLIENT, Pages, described, refused, rows, running_pages

pytestmark = pytest.mark.anyio

NOW = int(time.time())
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"iss": "https://other.example"}, {}),
        ({"iss": None}, {}),
        ({"aud": "another-client"}, {}),
        ({"aud": [CLIENT, "another-client"]}, {}),
        ({"aud": None}, {}),
        ({"azp": "another-client"}, {}),
        ({"nonce": "of another sign-in"}, {}),
        ({"nonce": None}, {}),
        ({"exp": -100 * SECOND}, {}),
        ({"exp": None}, {}),
        ({"iat": HOUR, "exp": 2 * HOUR}, {}),
        ({"iat": None}, {}),
        ({"nbf": HOUR, "exp": 2 * HOUR}, {}),
        ({"auth_time": "yesterday"}, {}),
        ({"sub": None}, {}),
        ({"sub": "a" * 256}, {}),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, {}),
        ({"typ": "Logout"}, {}),
        ({"token_use": "access"}, {}),
        ({"kind": "service"}, {}),
        ({}, {"typ": "at+jwt"}),
        ({}, {"typ": "logout+jwt"}),
        ({}, {"kid": "another"}),
        ({}, {"jku": "https://evil.example/keys"}),
    ],
    ids=str,
)
async def test_an_id_token_that_does_not_hold_signs_nobody_in(misled: Pages, liar: LyingProvider, claims, header):
    liar.claims, liar.header = _from_now_on(claims), header
    ann = misled.browser()
    refused(await ann.get("/sign-in/callback", params=liar.back(await ann.begun())), ann)


def _from_now_on(claims: Mapping[str, object]) -> dict[str, object]:
    """Claims with the moments that are so far from now: every process names its cases alike, whenever it began."""
    return {name: NOW + int(far.total_seconds()) if isinstance(far, timedelta) else far for name, far in claims.items()}


async def test_an_id_token_for_several_is_ours_where_it_was_given_to_us(misled: Pages, liar: LyingProvider):
    """OpenID Connect Core 1.0 (2, ``azp``; 3.1.3.7); so ZITADEL names a project beside the client."""
    ann = misled.browser()
    liar.claims = {"aud": [CLIENT, "a-project"], "azp": CLIENT}
    assert (await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))).status_code == 303
    for lie in ({"azp": "another-client"}, {"aud": ["a-project", "another-client"]}, {"aud": {CLIENT: CLIENT}}):
        liar.claims = {"aud": [CLIENT, "a-project"], "azp": CLIENT, **lie}
        sam = misled.browser()
        refused(await sam.get("/sign-in/callback", params=liar.back(await sam.begun())), sam)


async def test_an_id_token_of_another_key_or_of_none_signs_nobody_in(misled: Pages, liar: LyingProvider):
    ann = misled.browser()
    forger = OKPKey.generate_key(parameters={"kid": "one"})
    back = liar.back(await ann.begun())
    honest = liar.id_token()
    head, body, signature = honest.split(".")
    forged = liar.signed(
        {"iss": liar.url, "sub": "ann", "aud": CLIENT, "exp": NOW + 300, "iat": NOW, "nonce": liar.nonce}, {}, forger
    )
    none = "eyJhbGciOiJub25lIn0." + body + "."
    for token in (
        forged,
        none,
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        None,
        7,
        "é.é.é",
        "a" * 20_000,
    ):
        liar.token_answer = {"access_token": "x", "token_type": "Bearer", "id_token": token}
        refused(await ann.get("/sign-in/callback", params=back), ann)
        back = liar.back(await ann.begun())


async def test_claims_that_stand_at_the_userinfo_endpoint_alone_are_read_there(liar: LyingProvider, database: str):
    client = {"client_id": CLIENT, "userinfo": True}
    async with running_pages(database, described(liar.url, browser=client)) as pages:
        liar.claims, liar.userinfo = {"groups": None}, {"sub": "ann", "groups": ["from-userinfo"]}
        ann = pages.browser()
        assert (await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))).status_code == 303
        assert "from-userinfo" in (await ann.get("/account")).text


@pytest.mark.parametrize(
    ("userinfo", "claims"),
    [({"sub": "root", "groups": ["platform"]}, {}), ({"groups": ["platform"]}, {}), ({"sub": "ann"}, {"at_hash": "x"})],
)
async def test_userinfo_of_another_subject_or_token_signs_nobody_in(
    liar: LyingProvider, database: str, userinfo, claims
):
    client = {"client_id": CLIENT, "userinfo": True}
    async with running_pages(database, described(liar.url, browser=client)) as pages:
        liar.claims, liar.userinfo = claims, userinfo
        ann = pages.browser()
        refused(await ann.get("/sign-in/callback", params=liar.back(await ann.begun())), ann)


async def test_claims_that_cannot_be_read_are_told_to_whoever_signed_in(misled: Pages, liar: LyingProvider):
    liar.claims = {"groups": None, "hasgroups": "true"}
    ann = misled.browser()
    answer = await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))
    assert answer.status_code == 403
    assert "too many groups" in answer.text
    assert "access token" not in answer.text
    assert ann.session is None


async def test_a_provider_that_is_away_signs_nobody_in_and_is_no_fault_of_theirs(misled: Pages, liar: LyingProvider):
    ann = misled.browser()
    back = liar.back(await ann.begun())
    liar.token_status = 500
    answer = await ann.get("/sign-in/callback", params=back)
    assert answer.status_code == 503
    assert "can&#39;t be asked now" in answer.text
    assert ann.session is None


async def test_endpoints_that_leave_https_are_not_asked(database: str, liar: LyingProvider):
    liar.discovery = {"authorization_endpoint": "http://evil.example/authorize"}
    async with running_pages(database, described(liar.url)) as pages:
        answer = await pages.browser().get("/sign-in")
        assert answer.status_code == 503
        assert "location" not in answer.headers


async def test_a_refused_sign_in_is_counted_with_its_address_and_reason(misled: Pages, liar: LyingProvider):
    liar.claims = {"nonce": "of another sign-in"}
    before = await counted(misled, "ID token: nonce")
    ann = misled.browser()
    refused(await ann.get("/sign-in/callback", params=liar.back(await ann.begun())), ann)
    assert await counted(misled, "ID token: nonce") == before + 1


async def counted(pages: Pages, reason: str) -> int:
    """How many sign-ins from the browsers' address were refused for this reason."""
    await pages.app.state.entrance.refusals.flush()
    found = rows(pages, "SELECT sum(count) FROM refused_signins WHERE address = '192.0.2.7' AND reason = %s", reason)
    return int(found[0][0] or 0)


async def test_a_parameter_that_stands_twice_is_refused(misled: Pages, liar: LyingProvider):
    ann = misled.browser()
    back = liar.back(await ann.begun())
    refused(await ann.get("/sign-in/callback", params=[*back.items(), ("code", "another")]), ann)


async def test_what_the_provider_declines_is_refused_without_its_words(misled: Pages, liar: LyingProvider):
    ann = misled.browser()
    back = liar.back(await ann.begun())
    answer = await ann.get(
        "/sign-in/callback",
        params={"state": back["state"], "iss": liar.url, "error": "access_denied", "error_description": "<b>call 555"},
    )
    assert answer.status_code == 403
    assert "555" not in answer.text
    liar.token_status = 400
    back = liar.back(await ann.begun())
    refused(await ann.get("/sign-in/callback", params=back), ann)


async def test_what_a_token_says_is_text_on_a_page(misled: Pages, liar: LyingProvider):
    liar.claims = {"groups": ["<script>alert(1)</script>"]}
    ann = misled.browser("<img src=x onerror=alert(1)>")
    assert (await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))).status_code == 303
    page = (await ann.get("/account")).text
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "<img" not in page
