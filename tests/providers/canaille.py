"""Canaille, a provider of another make: written in Python on Authlib, run for tests in an environment of its own.

    with canaille.running() as provider:
        token = provider.sign_in("ann")

It differs from ``oidc-provider`` where clients and services are easily too narrow: it has no
device flow, knows no resource indicators, makes access tokens that look like ID tokens (no
``jti``, no ``client_id``, ``typ: JWT``, signed with RS512) with its clients' ids as audience,
gives opaque tokens to clients that ask for themselves, and describes them in fractions of
seconds. Its discovery document lists the algorithm ``none``. It takes a redirect address only
if it is registered to the letter, its port too.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.providers.browsing import Browser, Form, loopback_client
from tests.providers.code_flow import signed_in_by_code
from tests.providers.installing import HERE, installed, lack, run
from tests.providers.talking import Talk, talking

_LOCK = HERE / "canaille.lock"
_SERVER = HERE / "canaille_server.py"

#: Muniment itself: the audience of the others' tokens, and who may introspect them.
SERVICE = "muniment"
SERVICE_SECRET = "the-secret-of-the-service-there"
#: The plugin, which keeps no secret.
PEOPLE = "kedro-muniment"
REDIRECT = "http://127.0.0.1:53682/callback"
#: The pages of a service at this address.
PAGES, PAGES_AT = "muniment-pages", "https://muniment.test"
PAGES_SECRET = "a-secret/of:the pages"
#: A job with a secret.
JOB = "hourly"
JOB_SECRET = "the-secret-of-the-job-there"
#: Another service of the same provider.
OTHER = "payroll"

SCOPES = "openid profile groups"

ACCOUNTS: Mapping[str, Mapping[str, object]] = {
    "ann": {"password": "the-password-of-ann", "groups": ["analysts"]},
    "zoe": {"password": "the-password-of-zoe", "groups": ["visitors", "analysts"]},
}

_PUBLIC: Mapping[str, object] = {
    "token_endpoint_auth_method": "none",
    "application_type": "native",
    "redirect_uris": [REDIRECT],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": SCOPES.split(),
}

CLIENTS: Sequence[Mapping[str, object]] = (
    {"client_id": SERVICE, "client_secret": SERVICE_SECRET, "audience": [SERVICE]},
    {"client_id": PEOPLE, "audience": [SERVICE], **_PUBLIC},
    {"client_id": OTHER, "audience": [OTHER], **_PUBLIC},
    {
        "client_id": PAGES,
        "client_secret": PAGES_SECRET,
        "token_endpoint_auth_method": "client_secret_post",
        "redirect_uris": [f"{PAGES_AT}/sign-in/callback"],
        "post_logout_redirect_uris": [f"{PAGES_AT}/signed-out"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": SCOPES.split(),
        "audience": [PAGES],
    },
    {
        "client_id": JOB,
        "client_secret": JOB_SECRET,
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["client_credentials"],
        "audience": [SERVICE],
    },
)


@dataclass(frozen=True)
class Canaille:
    """One Canaille that runs."""

    http: httpx.Client
    _talk: Talk

    @property
    def issuer(self) -> str:
        """The issuer's exact URL."""
        return self._talk.issuer

    def sign_in(self, account: str, client: str = PEOPLE) -> dict[str, Any]:
        """Sign somebody in by authorization code with PKCE (RFC 7636), as a client would; the token response."""
        return signed_in_by_code(
            self.http,
            self.issuer,
            lambda address: self.sign_in_browser(address, account),
            client_id=client,
            redirect_uri=REDIRECT,
            scope=SCOPES,
        )

    def sign_in_browser(self, authorization_url: str, account: str) -> str:
        """Sign in where a client sent somebody; the address (code, state, ``iss``) to which the provider sends back."""
        password = str(ACCOUNTS[account]["password"])

        def fill(form: Form) -> Mapping[str, str] | None:
            if "password" in form.fields:
                return {"password": password}
            return {"login": account} if "login" in form.fields else None

        browser = Browser(self.issuer, fill)
        try:
            return browser.redirected(authorization_url)
        finally:
            browser.close()

    def job_token(self) -> str:
        """The job's access token, by client credentials (RFC 6749, section 4.4): an opaque one."""
        token: str = self.token(auth=(JOB, JOB_SECRET), grant_type="client_credentials")["access_token"]
        return token

    def token(self, auth: tuple[str, str] | None = None, **form: str) -> dict[str, Any]:
        """What the token endpoint answers, which must be a token."""
        answer = self.http.post(f"{self.issuer}/oauth/token", data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)
        assert answer.status_code == 200, answer.text
        given: dict[str, Any] = answer.json()
        return given

    # --- what an administrator does ---------------------------------------------------------------------------------

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key; the earlier ones stay published unless they are withdrawn."""
        self._talk.tell("rotate", withdraw=withdraw)

    def end_tokens(self, account: str) -> None:
        """Revoke every token of somebody."""
        self._talk.tell("end_tokens", account=account)

    def asked(self, path: str) -> int:
        """How often somebody asked for a path: ``/oauth/jwks.json``, ``/oauth/token``, ``/oauth/introspect``."""
        counts: dict[str, int] = self._talk.tell("asked")
        return counts.get(path, 0)


@contextmanager
def running() -> Iterator[Canaille]:
    """Run Canaille until the block ends."""
    python = installed("canaille", [_LOCK], _install) / _python_in(".")
    described = {"accounts": ACCOUNTS, "clients": CLIENTS}
    with talking([python, "-I", _SERVER], described) as talk, loopback_client() as http:
        yield Canaille(http, talk)


def _install(folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    found = uv if uv.exists() else shutil.which("uv")
    if found is None:
        lack("there is no uv to install Canaille with; ./dev brings it")
    run([found, "venv", "--quiet", "--relocatable", "--python", sys.executable, "environment"], cwd=folder)
    into = ["--python", str(folder / _python_in("."))]
    run([found, "pip", "install", "--quiet", "--require-hashes", *into, "--requirement", _LOCK], cwd=folder)


def _python_in(folder: str) -> Path:
    return Path(folder, "environment", "Scripts" if sys.platform == "win32" else "bin", "python")
