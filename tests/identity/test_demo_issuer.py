"""The small issuer behaves like an issuer where it matters, and ends with whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from demo.issuer import DEMO_GRANT

SECRET = "a-secret-of-the-demonstration"
ROOT = Path(__file__).parents[2]


def test_a_service_gets_a_token_by_its_secret(corp):
    form = {"grant_type": "client_credentials"}
    by_header = corp.http.post(corp.url + "/token", data=form, auth=("nightly", SECRET))
    by_form = corp.http.post(corp.url + "/token", data={**form, "client_id": "nightly", "client_secret": SECRET})
    for answer in (by_header, by_form):
        assert answer.json()["token_type"] == "Bearer"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "nightly", "client_secret": "wrong"}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "ann", "client_secret": ""}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": ""}, "invalid_client"),
        ({"grant_type": "password", "username": "ann"}, "unsupported_grant_type"),
        ({"grant_type": DEMO_GRANT, "subject": "nobody"}, "invalid_request"),
        ({"grant_type": DEMO_GRANT, "subject": "ann", "claims": "[]"}, "invalid_request"),
        ({}, "unsupported_grant_type"),
    ],
    ids=str,
)
def test_other_token_requests_are_refused_as_oauth_says(corp, form, error):
    answer = corp.http.post(corp.url + "/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


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
