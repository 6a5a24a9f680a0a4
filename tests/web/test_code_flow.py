"""What a sign-in says to its provider, by Authlib, and what is heard of the answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc.jwk import ECKey, OKPKey

from tests.providers.oidc_provider import OidcProvider
from tests.web.lying_provider import LyingProvider
from tests.web.visiting import CLIENT, PUBLIC, SECRET, Pages, described, refused, register, running_pages

pytestmark = pytest.mark.anyio

KEY = ECKey.generate_key("P-256", parameters={"kid": "pages-1", "use": "sig"})


async def test_the_browser_is_sent_with_each_parameter_once(misled: Pages, liar: LyingProvider):
    liar.discovery = {"authorization_endpoint": f"{liar.url}/authorize?tenant=a%20b&theme="}
    async with running_pages(misled.url, described(liar.url)) as pages:
        address = urlsplit(await pages.browser().begun(anew="yes"))
    sent = parse_qsl(address.query, keep_blank_values=True)
    assert max(Counter(name for name, _ in sent).values()) == 1
    assert dict(sent).keys() == {
        "tenant", "theme", "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "max_age", "prompt",
    }  # fmt: skip
    assert dict(sent)["tenant"] == "a b"


@pytest.mark.parametrize("listed", [None, ["client_secret_basic", "client_secret_post"]])
async def test_the_secret_goes_as_basic_with_each_half_encoded_and_the_client_is_named_once(
    misled: Pages, liar: LyingProvider, listed: list[str] | None
):
    """RFC 6749, 2.3.1. Certified providers refuse a client that stands in the form, too."""
    liar.discovery = {} if listed is None else {"token_endpoint_auth_methods_supported": listed}
    ann = misled.browser()
    await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))
    (asked,) = liar.asked
    scheme, _, halves = asked.pop("authorization").partition(" ")
    assert scheme == "Basic"
    assert b64decode(halves) == b"muniment-pages:a-secret%2Fof%3Athe+pages"
    verifier = asked.pop("code_verifier")
    assert len(verifier) == 43
    assert asked == {
        "grant_type": "authorization_code",
        "code": "a-code",
        "redirect_uri": f"{PUBLIC}/sign-in/callback",
    }


async def test_the_secret_goes_in_the_form_where_the_provider_takes_it_there_alone(liar: LyingProvider, database: str):
    liar.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with running_pages(database, described(liar.url)) as pages:
        ann = pages.browser()
        await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))
    (asked,) = liar.asked
    assert (asked["client_id"], asked["client_secret"], asked["authorization"]) == (CLIENT, SECRET, "")


async def test_a_code_arrives_as_it_was_given(misled: Pages, liar: LyingProvider):
    ann, code = misled.browser(), "a+b/c=d&é %41~"
    await ann.get("/sign-in/callback", params=liar.back(await ann.begun(), code=code))
    assert liar.asked[0]["code"] == code


async def test_a_client_with_a_key_of_its_own_shares_no_secret(provider: OidcProvider, database: str, tmp_path):
    register(
        provider,
        "pages-with-a-key",
        client_secret=None,
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg="ES256",
        jwks={"keys": [KEY.as_dict(private=False)]},
    )
    file = tmp_path / "key.json"
    file.write_text(json.dumps(KEY.as_dict(private=True)))
    client = {"client_id": "pages-with-a-key", "client_key_file": str(file)}
    async with running_pages(database, described(provider.issuer, browser=client)) as pages:
        for account in ("ann", "sam"):
            ann = pages.browser()
            await ann.signed_in(provider, account)
            assert f"user:{account}" in (await ann.get("/account")).text
        assert str(KEY.as_dict(private=True)["d"]) not in repr(pages.settings)


async def test_who_a_client_with_a_key_is_is_said_to_this_issuer_for_a_minute(
    liar: LyingProvider, database: str, tmp_path
):
    """RFC 7523, 3: made out to the issuer, so that no other provider can use it, and never twice the same."""
    key = OKPKey.generate_key(parameters={"kid": "pages-2"})
    file = tmp_path / "key.pem"
    file.write_bytes(key.as_pem(private=True))
    client = {"client_id": CLIENT, "client_key_file": str(file)}
    async with running_pages(database, described(liar.url, browser=client)) as pages:
        for _ in range(2):
            ann = pages.browser()
            await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))
    said = [json.loads(b64decode(asked["client_assertion"].split(".")[1] + "==")) for asked in liar.asked]
    assert [(each["iss"], each["sub"], each["aud"]) for each in said] == [(CLIENT, CLIENT, liar.url)] * 2
    assert all(each["exp"] - each["iat"] == 60 for each in said)
    assert said[0]["jti"] != said[1]["jti"]
    assert all("client_secret" not in asked and not asked["authorization"] for asked in liar.asked)


@pytest.mark.parametrize(
    "given",
    [
        {"access_token": None},
        {"access_token": 7},
        {"access_token": ""},
        {"access_token": "é"},
        {"access_token": "a\r\nX-Other: b"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"error": "invalid_grant"},
        {"error": {"a": 1}, "error_description": ["b"]},
        {"expires_in": "soon"},
        {"expires_in": [1]},
        {"expires_at": {}},
    ],
    ids=str,
)
async def test_an_answer_without_a_bearer_token_signs_nobody_in(misled: Pages, liar: LyingProvider, given):
    ann = misled.browser()
    back = liar.back(await ann.begun())
    liar.token_answer = {"access_token": "x", "token_type": "Bearer", "id_token": liar.id_token(), **given}
    refused(await ann.get("/sign-in/callback", params=back), ann)


async def test_a_refusal_without_a_word_is_no_token(misled: Pages, liar: LyingProvider):
    """Authlib takes a JSON answer of status 400 for a token when it has no “error”."""
    ann = misled.browser()
    liar.token_status = 400
    refused(await ann.get("/sign-in/callback", params=liar.back(await ann.begun())), ann)


@pytest.mark.parametrize("status", [401, 429, 302, 500])
async def test_a_provider_that_does_not_know_the_pages_has_refused_no_person(
    misled: Pages, liar: LyingProvider, status: int
):
    ann = misled.browser()
    liar.token_status = status
    answer = await ann.get("/sign-in/callback", params=liar.back(await ann.begun()))
    assert answer.status_code == 503
    assert ann.session is None


async def test_the_tokens_of_those_who_sign_in_at_once_are_kept_apart(provider: OidcProvider, database: str):
    """Authlib's client keeps the token that it was given last."""
    register(provider, "pages-that-ask", token_endpoint_auth_method="none", client_secret=None)
    client = {"client_id": "pages-that-ask", "userinfo": True}
    groups = {"ann": "analysts", "sam": "stewards", "root": "platform"}
    async with running_pages(database, described(provider.issuer, browser=client)) as pages:
        browsers = {account: pages.browser() for account in groups}
        backs = {account: provider.sign_in_browser(await each.begun(), account) for account, each in browsers.items()}
        answers = await asyncio.gather(*(each.get(backs[account]) for account, each in browsers.items()))
        assert [answer.status_code for answer in answers] == [303] * 3
        for account, each in browsers.items():
            assert groups[account] in (await each.get("/account")).text


async def test_a_token_whose_end_is_near_is_used_for_the_claims(liar: LyingProvider, database: str):
    """Authlib would have it renewed first, or refuse."""
    client = {"client_id": CLIENT, "userinfo": True}
    async with running_pages(database, described(liar.url, browser=client)) as pages:
        ann = pages.browser()
        back = liar.back(await ann.begun())
        liar.userinfo = {"sub": "ann", "groups": ["brief"]}
        liar.token_answer = {
            "access_token": "x", "token_type": "bearer", "expires_in": 5, "refresh_token": "r",
            "id_token": liar.id_token(),
        }  # fmt: skip
        assert (await ann.get("/sign-in/callback", params=back)).status_code == 303
        assert len(liar.asked) == 1


def test_the_service_starts_without_a_warning_of_authlibs():
    code = "import warnings; warnings.simplefilter('error'); import muniment.app"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
