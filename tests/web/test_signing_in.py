"""Somebody signs in with a browser at the certified provider, and the service knows them as it knows their tokens."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from muniment.web.pages import browser_name
from tests.providers import canaille
from tests.providers.oidc_provider import OidcProvider
from tests.web.visiting import (
    BEGUN,
    CLIENT,
    FIREFOX,
    PUBLIC,
    SECRET,
    SESSION,
    Pages,
    described,
    register,
    rows,
    running_pages,
)

pytestmark = pytest.mark.anyio


async def test_somebody_signs_in_and_comes_back_to_where_they_wanted(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    first = await ann.get("/account?done=ended")
    assert first.status_code == 303
    assert first.headers["location"] == "/sign-in?to=%2Faccount%3Fdone%3Dended"
    answer = await ann.signed_in(provider, "ann", to="/account?done=ended")
    assert answer.headers["location"] == "/account?done=ended"
    page = await ann.get("/account")
    assert page.status_code == 200
    for told in ("user:ann", "analysts", "clearance = 3", "Firefox on Linux", "192.0.2.7"):
        assert told in page.text


async def test_the_subject_is_the_one_that_an_access_token_gives(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    by_token = await ann.get("/v1/whoami", headers={"Authorization": f"Bearer {provider.token_for('ann')}"})
    assert by_token.json()["subject"] == "user:ann"
    states = rows(pages, "SELECT DISTINCT subject_state FROM sessions WHERE subject = 'user:ann' AND ended IS NULL")
    newest = rows(pages, "SELECT digest FROM subjects WHERE name = 'user:ann'")
    assert states == newest


async def test_the_flow_is_code_with_pkce_state_and_nonce(pages: Pages):
    sent = parse_qs(urlsplit(await pages.browser().begun()).query)
    assert sent["response_type"] == ["code"]
    assert sent["client_id"] == [CLIENT]
    assert sent["redirect_uri"] == [f"{PUBLIC}/sign-in/callback"]
    assert sent["code_challenge_method"] == ["S256"]
    assert sent["max_age"] == [str(7 * 24 * 3600)]
    assert all(len(sent[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))


async def test_signed_in_already_one_goes_straight_on(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    answer = await ann.get("/sign-in", params={"to": "/account"})
    assert answer.headers["location"] == "/account"
    anew = await ann.get("/sign-in", params={"to": "/account", "anew": "yes"})
    assert "prompt=login" in anew.headers["location"]


async def test_nothing_of_a_secret_is_kept(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    address = await ann.begun()
    begun = str(ann.http.cookies.get(BEGUN))
    kept = str(rows(pages, "SELECT * FROM sign_ins_begun"))
    sent = parse_qs(urlsplit(address).query)
    assert all(secret not in kept for secret in (begun, sent["state"][0], sent["nonce"][0]))
    await ann.get(provider.sign_in_browser(address, "ann"))
    assert str(ann.session) not in str(rows(pages, "SELECT * FROM sessions"))
    assert str(ann.session) not in str(rows(pages, "SELECT * FROM ledger"))


async def test_the_beginning_and_the_end_of_a_session_are_in_the_ledger(pages: Pages, provider: OidcProvider):
    sam = pages.browser()
    await sam.signed_in(provider, "sam")
    await sam.press("/sign-out")
    ((began, credential),) = rows(
        pages,
        "SELECT details ->> 'session', credential FROM ledger WHERE event = 'session.began' AND subject = 'user:sam'",
    )
    assert credential == f"session:{began}"
    ended = rows(pages, "SELECT details FROM ledger WHERE event = 'session.ended' AND subject = 'user:sam'")
    assert ended == [({"why": "signed out", "sessions": [began]},)]


async def test_signed_out_one_is_signed_out_here_and_told_how_to_sign_out_there(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    secret = str(ann.session)
    answer = await ann.press("/sign-out")
    assert answer.headers["location"] == "/signed-out?at=corp"
    assert ann.session is None
    page = await ann.get("/signed-out?at=corp")
    assert f"{provider.issuer}/session/end?client_id={CLIENT}&amp;post_logout_redirect_uri=" in page.text
    ann.http.cookies.set(SESSION, secret, domain="muniment.test")
    assert not await ann.is_signed_in()


async def test_the_provider_ends_its_own_session_and_sends_back(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    with provider.browser("ann") as theirs:
        await ann.get(theirs.redirected(await ann.begun()))
        await ann.press("/sign-out")
        page = await ann.get("/signed-out?at=corp")
        address = page.text.partition('<a class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
        assert theirs.redirected(address) == f"{PUBLIC}/signed-out"
    assert "You are signed out" in (await ann.get("/signed-out")).text


async def test_one_session_is_ended_and_the_others_stay(pages: Pages, provider: OidcProvider):
    here, there = pages.browser(), pages.browser("Mozilla/5.0 (iPhone) AppleWebKit Version/17 Safari/604")
    await here.signed_in(provider, "eve")
    await there.signed_in(provider, "eve")
    page = await here.get("/account")
    assert "Safari on iPhone" in page.text
    ((id_,),) = rows(pages, "SELECT id FROM sessions WHERE client LIKE '%%iPhone%%' AND ended IS NULL")
    answer = await here.press(f"/account/sessions/{id_}/end")
    assert answer.headers["location"] == "/account?done=ended"
    assert await here.is_signed_in()
    assert not await there.is_signed_in()
    again = await here.press(f"/account/sessions/{id_}/end")
    assert again.status_code == 404


async def test_nobody_ends_the_session_of_another(pages: Pages, provider: OidcProvider):
    ann, eve = pages.browser(), pages.browser()
    await ann.signed_in(provider, "ann")
    await eve.signed_in(provider, "eve")
    ids = rows(pages, "SELECT id FROM sessions WHERE subject = 'user:ann' AND ended IS NULL")
    answers = [await eve.press(f"/account/sessions/{id_}/end") for (id_,) in ids]
    assert {answer.status_code for answer in answers} == {404}
    assert await ann.is_signed_in()


async def test_all_of_ones_sessions_end_at_once(pages: Pages, provider: OidcProvider):
    here, there, other = pages.browser(), pages.browser(), pages.browser()
    await here.signed_in(provider, "ann")
    await there.signed_in(provider, "ann")
    await other.signed_in(provider, "sam")
    await here.press("/account/sessions/end-all")
    assert not await here.is_signed_in()
    assert not await there.is_signed_in()
    assert await other.is_signed_in()


async def test_a_public_client_with_claims_at_the_userinfo_endpoint_signs_in(provider: OidcProvider, database: str):
    register(provider, "public-pages", token_endpoint_auth_method="none", client_secret=None)
    client = {"client_id": "public-pages", "userinfo": True, "scopes": ["openid", "profile"]}
    async with running_pages(database, described(provider.issuer, browser=client)) as pages:
        ann = pages.browser()
        await ann.signed_in(provider, "ann")
        assert "analysts" in (await ann.get("/account")).text


async def test_where_there_are_several_providers_one_chooses(provider: OidcProvider, database: str):
    other = described("https://login.example", name="other", default=False)
    async with running_pages(database, described(provider.issuer), other) as pages:
        ann = pages.browser()
        page = await ann.get("/sign-in", params={"to": "/account?x=1"})
        assert page.status_code == 200
        assert 'href="/sign-in?at=corp&amp;to=%2Faccount%3Fx%3D1"' in page.text
        assert 'href="/sign-in?at=other' in page.text
        back = provider.sign_in_browser(await ann.begun(at="corp"), "ann")
        assert (await ann.get(back)).headers["location"] == "/account"
        assert (await ann.get("/sign-in?at=nobody&anew=yes")).status_code == 403


async def test_where_there_is_no_provider_a_page_says_so(provider: OidcProvider, database: str):
    async with running_pages(database, described(provider.issuer, browser=None)) as pages:
        page = await pages.browser().get("/sign-in")
        assert page.status_code == 200
        assert "Nobody can sign in with a browser here yet" in page.text


async def test_the_secret_of_the_client_is_shown_nowhere(pages: Pages):
    assert SECRET not in repr(pages.settings)
    assert SECRET not in str(pages.settings.issuers)


async def test_a_page_brings_its_own_style_and_icon_and_nothing_from_elsewhere(pages: Pages):
    ann = pages.browser()
    page = (await ann.get("/signed-out")).text
    asked = re.findall(r'<(?:link|script|img)[^>]* (?:href|src)="([^"]+)"', page)
    kinds = set()
    for address in asked:
        answer = await ann.get(address)
        assert answer.status_code == 200
        kinds.add(answer.headers["content-type"].partition(";")[0])
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert kinds == {"text/css", "text/javascript", "image/svg+xml"}
    assert (await ann.get("/assets/other.css")).status_code == 404


async def test_a_browser_is_named_as_somebody_would_name_it():
    chrome = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
    assert browser_name(FIREFOX) == "Firefox on Linux"
    assert browser_name(chrome) == "Chrome on Windows"
    assert browser_name(f"{chrome} Edg/140.0") == "Edge on Windows"
    assert browser_name("curl/8") == "curl/8"
    assert browser_name("") == "Unknown browser"


async def test_who_is_in_a_provisioned_group_begins_a_session_as_provisioning_says(
    provider: OidcProvider, database: str
):
    """The state that counts is another than the provider tells, and was never stored before."""
    async with running_pages(database, described(provider.issuer)) as pages:
        rows(pages, "INSERT INTO provisioned_names (name, since) VALUES ('analysts', now())")
        ann = pages.browser()
        await ann.signed_in(provider, "ann")
        unknown = "SELECT subject_state FROM ledger WHERE subject = 'user:ann' EXCEPT SELECT digest FROM subject_states"
        assert rows(pages, unknown) == []
        assert "analysts" not in (await ann.get("/account")).text
        newest = "SELECT groups FROM subjects JOIN subject_states USING (digest) WHERE name = 'user:ann'"
        assert rows(pages, newest) == [([],)]
        back = provider.sign_in_browser(await ann.begun(anew="yes"), "ann")
        assert (await ann.get(back)).status_code == 303
        assert rows(pages, newest) == [([],)]


async def test_two_tabs_that_sign_in_at_once_are_both_let_in(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    backs = [provider.sign_in_browser(await ann.begun(), "ann") for _ in range(2)]
    assert [(await ann.get(back)).status_code for back in backs] == [303, 303]
    assert await ann.is_signed_in()
    standing = rows(pages, "SELECT why FROM sessions WHERE subject = 'user:ann' ORDER BY began DESC LIMIT 2")
    assert standing == [(None,), ("signed in again",)]


async def test_somebody_sees_the_keys_in_force_that_they_made_and_how_to_sign_in_elsewhere(
    pages: Pages, provider: OidcProvider
):
    sam = pages.browser()
    await sam.signed_in(provider, "sam")
    page = (await sam.get("/account")).text
    assert f"kedro muniment login --url {PUBLIC}" in page
    assert "Keys that I made" not in page
    shown = "SELECT count(*) FROM ledger WHERE event = 'key.read' AND subject = 'user:sam'"
    assert rows(pages, shown) == [(0,)]
    for id_, maker, hours in (("k-1", "user:sam", 1), ("k-2", "user:ann", 1), ("k-3", "user:sam", -1)):
        rows(
            pages,
            "INSERT INTO keys (id, hashed, pepper, subject, use, environment, at, by, because, until) VALUES "
            "(%s, %s, 'p', 'service:nightly', 'runs', 'prod', now(), %s, %s, now() + %s * interval '1 hour')",
            id_,
            id_.encode(),
            maker,
            f"because of {id_}",
            hours,
        )
    page = (await sam.get("/account")).text
    assert "runs · prod" in page
    assert ["because of k-1" in page, "because of k-2" in page, "because of k-3" in page] == [True, False, False]
    assert rows(pages, shown) == [(1,)]


async def test_a_provider_of_another_make_signs_somebody_in(database: str):
    """Canaille: RS512, ``none`` among its algorithms, and Basic read without the encoding that RFC 6749 wants."""
    with canaille.running() as other:
        secret, scopes = canaille.PAGES_SECRET, canaille.SCOPES.split()
        client = {"client_id": canaille.PAGES, "client_secret": secret, "auth": "post", "scopes": scopes}
        async with running_pages(database, described(other.issuer, browser=client)) as pages:
            zoe = pages.browser()
            back = other.sign_in_browser(await zoe.begun(), "zoe")
            answer = await zoe.get(back)
            assert answer.status_code == 303, answer.text
            page = (await zoe.get("/account")).text
            assert "user:zoe" in page
            assert "visitors" in page
