"""The small issuer behaves like an issuer where it matters, and ends with whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.jwk import KeySet
from joserfc.jwt import decode

from demo.browsers import GRANT as BROWSER_GRANT
from demo.devices import GRANT as DEVICE_GRANT
from demo.issuer import DEMO_GRANT, RunningIssuer

SECRET = "a-secret-of-the-demonstration"
ROOT = Path(__file__).parents[2]


def test_a_service_gets_a_token_of_rfc_9068_by_its_secret(corp, lab):
    for issuer, algorithm in ((corp, "RS256"), (lab, "Ed25519")):
        keys = KeySet.import_key_set(issuer.http.get(issuer.url + "/jwks").json())
        token = decode(issuer.service_token("nightly", SECRET), keys, algorithms=[algorithm])
        assert token.header == {"alg": algorithm, "kid": keys.keys[0].kid, "typ": "at+jwt"}
        moments = [token.claims.pop(name) for name in ("exp", "iat")]
        assert moments[0] - moments[1] == 3600
        assert token.claims.pop("jti")
        assert token.claims == {
            "iss": issuer.url, "sub": "nightly", "aud": "muniment", "client_id": "nightly",
            "kind": "service", "groups": ["jobs"],
        }  # fmt: skip


def test_a_person_signs_in_by_a_code_and_says_on_a_page_who_they_are(corp):
    given = corp.http.post(corp.url + "/device_authorization", data={"client_id": "kedro-muniment"}).json()
    form = {"grant_type": DEVICE_GRANT, "device_code": given["device_code"], "client_id": "kedro-muniment"}
    assert corp.http.post(corp.url + "/token", data=form).json()["error"] == "authorization_pending"
    page = corp.http.get(given["verification_uri_complete"])
    assert given["user_code"] in page.text
    assert 'value="ann"' in page.text
    assert 'value="nightly"' not in page.text, "a service is no person"
    code = {"user_code": given["user_code"]}
    assert corp.http.post(corp.url + "/device", data={**code, "subject": "nobody"}).status_code == 200
    assert corp.http.post(corp.url + "/token", data=form).json()["error"] == "authorization_pending"
    assert "Signed in as" in corp.http.post(corp.url + "/device", data={**code, "subject": "ann"}).text
    keys = KeySet.import_key_set(corp.http.get(corp.url + "/jwks").json())
    token = decode(corp.http.post(corp.url + "/token", data=form).json()["access_token"], keys, algorithms=["RS256"])
    assert (token.claims["sub"], token.claims["client_id"]) == ("ann", "kedro-muniment")
    again = corp.http.post(corp.url + "/device", data={**code, "subject": "ann"})
    assert again.status_code == 400, "a code is used once"


PAGES = {"client_id": "muniment-pages", "redirect_uri": "http://localhost:8000/sign-in/callback"}
VERIFIER = "v" * 43
ASKED = {
    **PAGES, "response_type": "code", "scope": "openid profile", "state": "s", "nonce": "n",
    "code_challenge": create_s256_code_challenge(VERIFIER), "code_challenge_method": "S256",
}  # fmt: skip


def code_for(issuer: RunningIssuer, person: str) -> str:
    """The code with which the browser of somebody who pressed their button is sent back."""
    back = urlsplit(issuer.http.post(issuer.url + "/authorize", data={**ASKED, "subject": person}).headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == PAGES["redirect_uri"]
    given = parse_qs(back.query)
    assert given["state"] == ["s"]
    return given["code"][0]


def test_a_browser_is_shown_who_one_may_be_and_sent_back_with_a_code_for_an_id_token(corp, lab):
    for issuer, algorithm in ((corp, "RS256"), (lab, "Ed25519")):
        page = issuer.http.get(issuer.url + "/authorize", params=ASKED).text
        assert 'value="ann"' in page
        assert 'value="nightly"' not in page, "a service is no person"
        form = {**PAGES, "grant_type": BROWSER_GRANT, "code": code_for(issuer, "ann"), "code_verifier": VERIFIER}
        given = issuer.http.post(issuer.url + "/token", data=form).json()
        keys = KeySet.import_key_set(issuer.http.get(issuer.url + "/jwks").json())
        claims = decode(given["id_token"], keys, algorithms=[algorithm]).claims
        assert (claims["sub"], claims["aud"], claims["nonce"]) == ("ann", "muniment-pages", "n")
        assert claims["auth_time"] <= claims["iat"] < claims["exp"]
        again = issuer.http.post(issuer.url + "/token", data=form)
        assert again.json()["error"] == "invalid_grant", "a code is good once"


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": "http://attacker.example/sign-in/callback"},
        {"redirect_uri": "http://localhost:8000/elsewhere"},
        {"client_id": "kedro-muniment"},
        {"client_id": "nobody"},
        {"response_type": "token"},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
    ],
    ids=str,
)
def test_a_browser_with_another_request_is_sent_nowhere(corp, changed):
    for answer in (
        corp.http.get(corp.url + "/authorize", params={**ASKED, **changed}),
        corp.http.post(corp.url + "/authorize", data={**ASKED, **changed, "subject": "ann"}),
    ):
        assert answer.status_code == 400
        assert "Nobody was signed in" in answer.text


@pytest.mark.parametrize(
    "changed",
    [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": "http://localhost:1/sign-in/callback"}],
)
def test_a_code_is_of_no_use_to_whoever_only_saw_it(corp, changed):
    form = {**PAGES, "grant_type": BROWSER_GRANT, "code": code_for(corp, "ann"), "code_verifier": VERIFIER}
    assert corp.http.post(corp.url + "/token", data={**form, **changed}).status_code == 400


@pytest.mark.parametrize(
    ("changed", "error"), [({"client_id": "nightly"}, "invalid_client"), ({"device_code": "x"}, "invalid_request")]
)
def test_a_code_is_of_the_command_that_asked_for_it(corp, changed, error):
    given = corp.http.post(corp.url + "/device_authorization", data={"client_id": "kedro-muniment"}).json()
    form = {"grant_type": DEVICE_GRANT, "device_code": given["device_code"], "client_id": "kedro-muniment"}
    assert corp.http.post(corp.url + "/token", data={**form, **changed}).json()["error"] == error


def test_a_service_with_another_secret_gets_none(corp):
    with pytest.raises(OAuthError, match="invalid_client"):
        corp.service_token("nightly", "wrong")


def test_the_secret_may_come_in_the_header_or_in_the_form(corp):
    form = {"grant_type": "client_credentials"}
    by_header = corp.http.post(corp.url + "/token", data=form, auth=("nightly", SECRET))
    by_form = corp.http.post(corp.url + "/token", data={**form, "client_id": "nightly", "client_secret": SECRET})
    for answer in (by_header, by_form):
        assert answer.json()["token_type"] == "Bearer"
        assert answer.json()["expires_in"] == 3600
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "nightly", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "ann", "client_secret": "x"}, 400, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "ann", "client_secret": ""}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nightly"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": ""}, 401, "invalid_client"),
        ({"grant_type": "password", "username": "ann"}, 400, "unsupported_grant_type"),
        ({"grant_type": DEMO_GRANT, "subject": "nobody"}, 400, "invalid_request"),
        ({"grant_type": DEMO_GRANT, "subject": 'Zoë "Z"'}, 400, "invalid_request"),
        ({"grant_type": DEMO_GRANT}, 400, "invalid_request"),
        ({"grant_type": DEMO_GRANT, "subject": "ann", "claims": "[]"}, 400, "invalid_request"),
        ({}, 400, "unsupported_grant_type"),
    ],
    ids=str,
)
def test_other_token_requests_are_refused_as_oauth_says(corp, form, status, error):
    answer = corp.http.post(corp.url + "/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize("given", ["Basic /w==", "Basic ?", "Basic bmlnaHRseQ==", "Bearer x"])
def test_a_header_without_credentials_is_refused_as_oauth_says(corp, given):
    form = {"grant_type": "client_credentials"}
    answer = corp.http.post(corp.url + "/token", data=form, headers={"Authorization": given})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_its_metadata_are_valid_and_the_same_at_both_addresses(corp, lab):
    for issuer in (corp, lab):
        names = ("openid-configuration", "oauth-authorization-server")
        one, other = (issuer.http.get(f"{issuer.url}/.well-known/{name}").json() for name in names)
        assert one == other
        assert one["issuer"] == issuer.url
        OpenIDProviderMetadata(one).validate()
        AuthorizationServerMetadata(one).validate()


def test_only_public_halves_of_keys_are_published(corp, lab):
    for issuer in (corp, lab):
        (key,) = issuer.http.get(issuer.url + "/jwks").json()["keys"]
        assert "d" not in key
        assert key["use"] == "sig"


def test_it_listens_on_this_machine_alone(corp):
    listening = [each for each in psutil.Process(corp.process.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


PARENT = """
import time
from demo.issuer import running_issuer
with running_issuer({"ann": {}}) as issuer:
    print(issuer.process.pid, issuer.url, flush=True)
    time.sleep(60)
"""


def test_it_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    with parent:
        pid, url = parent.stdout.readline().decode().split()
        issuer = psutil.Process(int(pid))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while issuer.is_running() and issuer.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
