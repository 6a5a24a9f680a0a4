"""What one sign-in says to its provider: where the browser is sent, and what its code gives. By Authlib.

Authlib writes what is sent: the address with the code challenge (RFC 7636), the code with the proof of
who asks (RFC 6749, 2.3; RFC 7523, 2.2), the access token. Of what is answered it hears only what is
heard of every issuer: one short JSON object, with status 200. Nothing in an answer is believed here.
"""

from __future__ import annotations

import json
import re
import warnings
from base64 import b64encode
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc.errors import SecurityWarning

from muniment.identity import discovery
from muniment.identity.client_keys import SigningKey
from muniment.identity.discovery import address_in
from muniment.identity.issuers import BrowserClient, Issuer

with warnings.catch_warnings():
    # It would have httpx2, and takes httpx without it: the one that the whole house uses.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

#: How long the statement holds by which a client with a key says who it is: it is sent at once.
_STATEMENT_LASTS: Final = timedelta(minutes=1)

#: After so many seconds the provider asks the person again. Only a provider that is told so must say when it last did
#: (``auth_time``), and without that whoever it still knows comes back as if they had just signed in.
_MAX_AGE: Final = 7 * 24 * 3600

_BASIC, _POST, _NONE, _KEY = "client_secret_basic", "client_secret_post", "none", "private_key_jwt"

#: What a bearer token is written with (RFC 6750, 2.1).
_BEARER: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, slots=True)
class Flow:
    """What one sign-in is recognised by. ``verifier`` is told to the provider alone, and at its end only."""

    state: str
    nonce: str
    verifier: str


class Talk:
    """One sign-in's talk with its provider. Authlib's client keeps the token that it is given: none outlives a talk."""

    def __init__(
        self,
        issuer: Issuer,
        client: BrowserClient,
        key: SigningKey | None,
        said: Mapping[str, object],
        http: httpx.AsyncClient,
        redirect_uri: str,
    ) -> None:
        self._issuer = issuer
        self._key = key
        self._said = said
        self._speaker = AsyncOAuth2Client(
            client_id=client.client_id,
            client_secret=client.client_secret,
            token_endpoint_auth_method=_method(client, said),
            scope=" ".join(client.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            headers=discovery.PLAIN_JSON,
            transport=_Hearing(http),
            trust_env=False,
        )
        self._speaker.register_client_auth_method((_BASIC, _encoded_basic))

    def address(self, flow: Flow, *, anew: bool) -> str:
        """Where the browser is sent (OpenID Connect Core 1.0, 3.1.2.1); ``anew`` makes the provider ask again."""
        endpoint = address_in(self._said, "authorization_endpoint", self._issuer)
        more = {"prompt": "login"} if anew else {}
        address, _ = self._speaker.create_authorization_url(
            endpoint, state=flow.state, code_verifier=flow.verifier, nonce=flow.nonce, max_age=_MAX_AGE, **more
        )
        return str(address)

    async def redeem(self, code: str, verifier: str, at: datetime) -> Mapping[str, object]:
        """What the token endpoint gives for a code (RFC 6749, 4.1.3); nothing, if no bearer token is among it."""
        endpoint = address_in(self._said, "token_endpoint", self._issuer)
        if self._key is not None:
            self._speaker.client_secret = self._key.key  # where Authlib looks for what signs
            self._speaker.register_client_auth_method((_KEY, self._statement(self._key, at)))
        try:
            given: Mapping[str, object] = await self._speaker.fetch_token(
                endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
            )
        except (OAuthError, ValueError, TypeError, OverflowError):
            given = {}  # an error after all, or what is no token: Authlib's words may repeat it
        return given if _is_bearer(given) else {}

    async def userinfo(self) -> Mapping[str, object]:
        """The claims at the userinfo endpoint, for the token that was given (OpenID Connect Core 1.0, 5.3)."""
        endpoint = address_in(self._said, "userinfo_endpoint", self._issuer)
        # The token is named: of one whose end is near, Authlib would ask for another first.
        answer = await self._speaker.get(endpoint, auth=self._speaker.token_auth)
        claims: Mapping[str, object] = answer.json()
        return claims

    def _statement(self, signing: SigningKey, at: datetime) -> Callable[..., object]:
        """Who asks, signed for this issuer and this minute; made for each talk, for Authlib keeps its ``jti``."""
        claims = {"iat": int(at.timestamp()), "exp": int((at + _STATEMENT_LASTS).timestamp())}
        named = {"kid": signing.key.kid} if signing.key.kid else {}
        algorithm = signing.algorithm_for(self._said.get("token_endpoint_auth_signing_alg_values_supported"))
        statement = PrivateKeyJWT(self._issuer.issuer, claims=claims, headers=named, alg=algorithm)

        def stated(*request: object) -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA (RFC 9864)
                return statement(*request)

        return stated


class _Hearing(httpx.AsyncBaseTransport):
    """Sends with the house's own client, and hears what is heard of every issuer (:mod:`discovery`)."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        heard = await discovery.heard(self._http, request)
        # Written anew: Authlib reads what was read here, and nothing else.
        return httpx.Response(httpx.codes.OK, content=json.dumps(heard).encode())


def _method(client: BrowserClient, said: Mapping[str, object]) -> str:
    """How the client proves itself: as the settings say, else by Basic unless the provider lists others alone."""
    if client.client_key is not None:
        return _KEY
    if client.client_secret is None:
        return _NONE
    if client.auth is not None:
        return _BASIC if client.auth == "basic" else _POST
    listed = said.get("token_endpoint_auth_methods_supported", [_BASIC])
    return _BASIC if isinstance(listed, list) and _BASIC in listed else _POST


def _encoded_basic(
    client: Any, _method: str, uri: str, headers: MutableMapping[str, str], body: bytes
) -> tuple[str, MutableMapping[str, str], bytes]:
    """Basic with each half written as in a form first (RFC 6749, 2.3.1), as Authlib's own is not."""
    halves = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {b64encode(halves.encode()).decode()}"
    return uri, headers, body


def _is_bearer(given: Mapping[str, object]) -> bool:
    """Whether it can be sent as one. RFC 6749 (5.1) wants the type named, and not every provider does."""
    token = given.get("access_token")
    return (
        isinstance(token, str)
        and _BEARER.fullmatch(token) is not None
        and str(given.get("token_type", "Bearer")).lower() == "bearer"
    )
