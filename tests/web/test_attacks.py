"""What RFC 9700 warns of, tried: each is refused, nobody is signed in by it, and the page tells an attacker nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from muniment.core.limits import rates_from
from muniment.core.roster import Enrolment
from muniment.core.subjects import Subject
from muniment.store import roster
from muniment.store.databases import Database
from muniment.web.pages import is_page
from tests.providers.oidc_provider import OidcProvider
from tests.web.letting_in import served_pages
from tests.web.visiting import BEGUN, PUBLIC, SESSION, Pages, described, refused, rows, running_pages

pytestmark = pytest.mark.anyio

# --- the way there and back ---------------------------------------------------------------------


async def test_an_answer_counts_once(pages: Pages, provider: OidcProvider):
    ann, thief = pages.browser(), pages.browser()
    address = await ann.begun()
    begun = str(ann.http.cookies.get(BEGUN))
    back = provider.sign_in_browser(address, "ann")
    assert (await ann.get(back)).status_code == 303
    thief.http.cookies.set(BEGUN, begun, domain="muniment.test")
    refused(await thief.get(back), thief)


async def test_the_answer_to_a_sign_in_of_another_browser_is_refused(pages: Pages, provider: OidcProvider):
    attacker, victim = pages.browser(), pages.browser()
    back = provider.sign_in_browser(await attacker.begun(), "eve")
    await victim.begun()
    refused(await victim.get(back), victim)
    bare = pages.browser()
    answer = await bare.get(back)
    assert answer.status_code == 403
    assert bare.session is None
    assert (await attacker.get(back)).status_code == 303, "what another browser tries does not use the answer up"


async def test_a_state_that_was_never_given_is_refused(pages: Pages):
    ann = pages.browser()
    await ann.begun()
    for state in ("", "x" * 43, "é"):
        refused(await ann.get("/sign-in/callback", params={"state": state, "code": "a-code"}), ann)


async def test_a_sign_in_that_took_too_long_is_refused(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    back = provider.sign_in_browser(await ann.begun(), "ann")
    rows(pages, "UPDATE sign_ins_begun SET until = now() - interval '1 second'")
    refused(await ann.get(back), ann)


async def test_a_code_of_another_sign_in_is_of_no_use(pages: Pages, provider: OidcProvider):
    """Code injection: the verifier of this browser is not the one that the stolen code was given for."""
    eve, attacker = pages.browser(), pages.browser()
    stolen = parse_qs(urlsplit(provider.sign_in_browser(await eve.begun(), "eve")).query)["code"][0]
    own = parse_qs(urlsplit(provider.sign_in_browser(await attacker.begun(), "sam")).query)
    sent = {"state": own["state"][0], "iss": own["iss"][0], "code": stolen}
    refused(await attacker.get("/sign-in/callback", params=sent), attacker)


@pytest.mark.parametrize("issuer", ["https://attacker.example", None], ids=["another", "none, though it tells always"])
async def test_mix_up_an_answer_of_another_issuer_is_refused(pages: Pages, provider: OidcProvider, issuer: str | None):
    ann = pages.browser()
    sent = parse_qs(urlsplit(provider.sign_in_browser(await ann.begun(), "ann")).query)
    answer = {"state": sent["state"][0], "code": sent["code"][0], **({"iss": issuer} if issuer else {})}
    refused(await ann.get("/sign-in/callback", params=answer), ann)


async def test_a_code_goes_only_to_the_provider_that_the_sign_in_began_at(liar, provider: OidcProvider, database: str):
    liar.discovery = {"authorization_response_iss_parameter_supported": False}
    evil = described(liar.url, name="evil", default=False)
    async with running_pages(database, described(provider.issuer), evil) as pages:
        ann = pages.browser()
        sent = parse_qs(urlsplit(provider.sign_in_browser(await ann.begun(at="corp"), "ann")).query)
        theirs = liar.sent(await ann.begun(at="evil"))
        # The attacker's provider sends the browser on with the honest one's code under its own state.
        answer = {"state": theirs["state"], "code": sent["code"][0], "iss": sent["iss"][0]}
        refused(await ann.get("/sign-in/callback", params=answer), ann)
        assert not liar.asked


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)", "evil",
     "/\t/evil.example", "/account\r\nX: y", "", "/\u2028", "///evil.example", "/" + "a" * 1000],
)  # fmt: skip
async def test_no_redirect_leaves_the_service(pages: Pages, to: str):
    answer = await pages.browser().get("/sign-in", params={"to": to})
    assert answer.status_code == 422
    assert "location" not in answer.headers


async def test_a_provider_that_changes_its_key_meanwhile_is_believed_by_the_new_one(
    pages: Pages, provider: OidcProvider
):
    await pages.browser().signed_in(provider, "sam")
    ann = pages.browser()
    back = provider.sign_in_browser(await ann.begun(), "ann")
    provider.rotate(withdraw=True)
    assert (await ann.get(back)).status_code == 303


async def test_what_is_kept_of_sign_ins_and_sessions_goes_by_itself(pages: Pages, provider: OidcProvider):
    """Whoever begins many sign-ins fills ten minutes of them, as fast as one may."""
    ann = pages.browser()
    for _ in range(3):
        await pages.browser().begun()
    rows(pages, "UPDATE sign_ins_begun SET until = now() - interval '1 second'")
    await ann.signed_in(provider, "ann")
    assert rows(pages, "SELECT count(*) FROM sign_ins_begun") == [(0,)]
    rows(pages, "UPDATE sessions SET began = began - interval '31 days', until = until - interval '31 days'")
    await ann.signed_in(provider, "ann")
    assert rows(pages, "SELECT count(*) FROM sessions") == [(1,)]


async def test_a_subject_that_is_shut_out_leaves_nothing_of_what_its_provider_says(
    provider: OidcProvider, database: str
):
    async with running_pages(database, described(provider.issuer)) as pages:
        ann = pages.browser()
        back = provider.sign_in_browser(await ann.begun(), "ann")
        opened = Database.open(database)
        async with opened.begin() as tx:
            shut_out = Enrolment(
                Subject.parse("user:ann"), active=False, at=datetime.now(UTC), by="user:root", reason="left"
            )
            await roster.put(tx, shut_out)
        await opened.close()
        answer = await ann.get(back)
        assert (answer.status_code, ann.session) == (403, None)
        for table, name in (("sessions", "subject"), ("subjects", "name"), ("ledger", "subject")):
            assert rows(pages, f"SELECT count(*) FROM {table} WHERE {name} = 'user:ann'") == [(0,)]


# --- cookies and forms --------------------------------------------------------------------------


async def test_cookies_are_for_this_host_alone_and_for_no_script(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    begun = (await ann.get("/sign-in")).headers["set-cookie"]
    answer = await ann.signed_in(provider, "ann")
    (session,) = answer.headers.get_list("set-cookie")
    assert begun.startswith(f"{BEGUN}=")
    assert "max-age=600" in begun.lower()
    assert session.startswith(f"{SESSION}=")
    for cookie in (begun, session):
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
        assert not any(attribute.startswith("domain") for attribute in attributes)


async def test_a_session_has_a_secret_of_its_own_whatever_the_browser_brings(pages: Pages, provider: OidcProvider):
    fixed = "A" * 43
    victim, attacker = pages.browser(), pages.browser()
    for browser in (victim, attacker):
        browser.http.cookies.set(SESSION, fixed, domain="muniment.test")
    await victim.signed_in(provider, "ann")
    assert victim.session not in {None, fixed}
    assert not await attacker.is_signed_in()


async def test_signing_in_again_ends_the_session_before(pages: Pages, provider: OidcProvider):
    ann, thief = pages.browser(), pages.browser()
    await ann.signed_in(provider, "ann")
    thief.http.cookies.set(SESSION, str(ann.session), domain="muniment.test")
    assert await thief.is_signed_in()
    back = provider.sign_in_browser(await ann.begun(anew="yes"), "sam")
    await ann.get(back)
    assert "user:sam" in (await ann.get("/account")).text
    assert not await thief.is_signed_in()


async def test_a_cookie_that_is_there_twice_is_believed_in_neither_form(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    secret = str(ann.session)
    bare = pages.browser()
    once = await bare.get("/account", headers={"Cookie": f"{SESSION}={secret}"})
    twice = await bare.get("/account", headers={"Cookie": f"{SESSION}={secret}; {SESSION}={'A' * 43}"})
    assert (once.status_code, twice.status_code) == (200, 303)


async def test_the_cookie_opens_no_json_door(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    assert (await ann.get("/v1/whoami")).status_code == 401
    bearer = {"Authorization": f"Bearer {ann.session}"}
    assert (await ann.get("/v1/whoami", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://muniment.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/sign-out", "/account/sessions/end-all"])
async def test_a_form_that_another_site_sends_changes_nothing(pages: Pages, provider: OidcProvider, path, headers):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    answer = await ann.post(path, {"form": await ann.form()}, **headers)
    assert answer.status_code == 403
    assert await ann.is_signed_in()


async def test_a_form_without_the_token_of_its_session_changes_nothing(pages: Pages, provider: OidcProvider):
    ann, eve = pages.browser(), pages.browser()
    await ann.signed_in(provider, "ann")
    await eve.signed_in(provider, "eve")
    own = await ann.form()
    for form in ("", "A" * 43, await eve.form(), own[:-1], own + "A", str(ann.session), "é"):
        assert (await ann.post("/sign-out", {"form": form})).status_code == 403
    assert (await ann.post("/sign-out", {"other": "x"})).status_code == 403
    assert await ann.is_signed_in()
    assert own != str(ann.session)


async def test_a_form_in_another_shape_changes_nothing(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    await ann.signed_in(provider, "ann")
    form = await ann.form()
    headers = {"Origin": PUBLIC}
    assert (await ann.http.post("/sign-out", json={"form": form}, headers=headers)).status_code == 422
    assert (await ann.http.post("/sign-out", files={"form": (None, form)}, headers=headers)).status_code == 422
    huge = await ann.post("/sign-out", {"form": form, "more": "a" * 40_000})
    assert huge.status_code == 413
    assert await ann.is_signed_in()


async def test_every_answer_carries_the_headers_that_guard_it(pages: Pages, provider: OidcProvider):
    ann = pages.browser()
    answers = [
        await ann.get(path) for path in ("/sign-in", "/account", "/sign-in/callback", "/signed-out", "/sign-in?to=x")
    ]
    answers.append(await ann.signed_in(provider, "ann"))
    answers.append(await ann.get("/account"))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["strict-transport-security"]


async def test_who_has_to_wait_and_who_is_lost_are_told_on_a_page(provider: OidcProvider, database: str):
    limits = rates_from({"sign_ins": "1/hour", "refused": "1000/second", "failed_sign_ins": "1000/second"})
    async with running_pages(database, described(provider.issuer), limits=limits) as pages:
        ann = pages.browser()
        await ann.begun()
        answers = {429: await ann.get("/sign-in"), 404: await ann.get("/account/nothing")}
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert int(answers[429].headers["retry-after"]) > 60


async def test_every_page_that_is_served_is_known_as_one(pages: Pages):
    """Else its refusals would be JSON, and a form sent to it would want a token."""
    served = {route.path for route in served_pages(pages.app)} - {"/assets/{name}"}
    assert {"/", "/account", "/sign-in", "/datasets"} <= served
    assert all(is_page(path) for path in served)
    assert not is_page("/v1/whoami")
