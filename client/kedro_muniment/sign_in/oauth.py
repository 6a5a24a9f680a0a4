"""OAuth in Authlib's words: the one module that knows Authlib.

Authlib writes what a client asks: the address to sign in at with its PKCE challenge (RFC 7636), the forms of every
grant (RFC 6749, 8628, 8693) and of a revocation (RFC 7009), and what proves the client (RFC 6749, 2.3; RFC 7523, 2.2).
How that travels, and what an answer is taken for, is the matter of ``providers.py``.

Three things are not Authlib's. HTTP Basic, because it sends id and secret without the encoding of RFC 6749, 2.3.1.
Reading an answer, because it takes one of status 400 without ``error`` for a token, and fails on words that are not
ASCII and on a life that is no number. And its client for httpx, because that reads an answer of any length, and asks
for httpx2.

It is imported when a provider is asked, not before: most runs have a token that still holds.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode
from warnings import catch_warnings, simplefilter

from authlib.oauth2.client import OAuth2Client

# The kinds of key that `PrivateKeyJWT` takes.
from authlib.oauth2.rfc7523.auth import ECKey, OKPKey, PrivateKeyJWT, RSAKey

from kedro_muniment.sign_in.providers import Answer, Asker, Form, Statement, asked
from kedro_muniment.sign_in.tokens import Token

if TYPE_CHECKING:
    import httpx

#: One of Authlib's ways for a client to prove itself: what it makes of method, address, headers and form.
Method = Callable[[Any, str, str, dict[str, str], str], tuple[str, dict[str, str], str]]

_FORM: Final = "application/x-www-form-urlencoded"


class _Session:
    """Where Authlib sends its requests: each goes the way of all that is asked of providers."""

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> Answer:
        """The answer. What Authlib says of ``headers`` is said of every form here."""
        del headers

        def written(request: httpx.Request) -> httpx.Request:
            _, proving, form = auth.prepare("POST", url, {}, urlencode(data))
            return _write(request, proving, form)

        return asked("POST", url, written)


class _Client(OAuth2Client):  # type: ignore[misc]
    """Authlib's client, whose answers are read by who asked."""

    def parse_response_token(self, resp: Answer) -> Answer:
        return resp


def authorization_link(endpoint: str, asker: Asker, state: Token, verifier: Token, form: Form) -> str:
    """Where the provider asks the person (RFC 6749, 4.1.1), with what only this program can answer (RFC 7636, 4.3)."""
    client = _Client(None, client_id=asker.id, code_challenge_method="S256")
    said = {"state": state.revealed(), "code_verifier": verifier.revealed(), **form.revealed()}
    link, _ = client.create_authorization_url(endpoint, **said)
    return str(link)


def token(endpoint: str, asker: Asker, form: Form) -> Answer:
    """What a token endpoint answers to this form (RFC 6749, 3.2)."""
    return _alone(lambda: _client(asker).fetch_token(endpoint, **_named(asker), **form.revealed()))


def device_authorization(endpoint: str, asker: Asker, form: Form) -> Answer:
    """What the device authorization endpoint answers (RFC 8628, 3.1), for which Authlib has no function."""

    def post() -> Answer:
        auth = _client(asker).client_auth(asker.method)
        return _Session().post(endpoint, data=form.revealed(), headers={}, auth=auth)

    return _alone(post)


def revocation(endpoint: str, asker: Asker, form: Form) -> Answer:
    """What a revocation endpoint answers (RFC 7009, 2.1)."""
    return _alone(lambda: _client(asker).revoke_token(endpoint, **form.revealed()))


def _alone(ask: Callable[[], Answer]) -> Answer:
    """The answer, or why there is none. Nothing that is raised gets out: the frames of Authlib hold what is sent."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told by its name
        return f"{type(error).__name__}, as it was to be asked"
    except KeyboardInterrupt:
        pass
    raise KeyboardInterrupt  # with a traceback of its own


def private_key(text: Token) -> RSAKey | ECKey | OKPKey | None:
    """The key in a PEM or a JWK, or ``None``. Parsers' errors hold what they read, and go no further."""
    is_jwk = text.revealed().startswith("{")
    for kind in (RSAKey, ECKey, OKPKey):
        with suppress(Exception), catch_warnings():
            simplefilter("ignore")  # of short RSA keys, which are refused
            if is_jwk and json.loads(text.revealed())["kty"] != kind.key_type:
                continue
            return kind.import_key(json.loads(text.revealed()) if is_jwk else text.revealed())
    return None


def _client(asker: Asker) -> _Client:
    client = _Client(
        _Session(),
        client_id=asker.id,
        client_secret=asker.secret.revealed() if asker.secret else asker.statement and asker.statement.key,
        token_endpoint_auth_method=asker.method,
        revocation_endpoint_auth_method=asker.method,
    )
    client.register_client_auth_method(("client_secret_basic", _basic))
    if asker.statement is not None:
        client.register_client_auth_method(("private_key_jwt", _signed(asker.statement)))
    if asker.id is None:
        client.register_client_auth_method(("none", _nobody))
    return client


def _named(asker: Asker) -> dict[str, str]:
    """The client's id where Authlib's way of proving it leaves it out of the form (RFC 7521, 4.2)."""
    return {"client_id": asker.id} if asker.id and asker.method == "private_key_jwt" else {}


def _basic(auth: Any, method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
    """Id and secret each form-encoded first, as RFC 6749, 2.3.1 has it."""
    del method
    pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return uri, headers, body


def _nobody(auth: Any, method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
    """No client at all: what is exchanged says enough (RFC 8693, 2.1)."""
    del auth, method
    return uri, headers, body


def _signed(statement: Statement) -> Method:
    """Who the client is, signed for one provider and one minute (RFC 7523, 3).

    Made anew for each request: Authlib writes the statement's id into the claims that it is given, once.
    """
    now = int(datetime.now(UTC).timestamp())
    claims = {"iat": now, "exp": now + int(statement.life.total_seconds())}
    named = {"kid": statement.key.kid} if statement.key.kid else {}
    proof = PrivateKeyJWT(statement.audience, claims, named, statement.algorithm)

    def signed(auth: Any, method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
        with catch_warnings():
            simplefilter("ignore")  # of the name EdDSA (RFC 9864), which most providers know alone
            uri, headers, body = proof(auth, method, uri, headers, body)
        return uri, headers, body

    return signed


def _write(request: httpx.Request, headers: Mapping[str, str], form: str) -> httpx.Request:
    import httpx

    body = form.encode()
    request.stream = httpx.ByteStream(body)
    request.headers.update({**headers, "Content-Type": _FORM, "Content-Length": str(len(body))})
    return request
