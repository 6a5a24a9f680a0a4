"""The small issuer's sign-in for browsers: a page with a button for each person, and no password anywhere.

Authorization code with PKCE (RFC 6749, 4.1; RFC 7636) and an ID token (OpenID Connect Core 1.0, 3.1), by Authlib.
Whoever opens the page can be anyone, as everywhere at this issuer; what it gives goes to this machine alone.
"""

# Authlib has no types: to mypy, each of its classes that is built upon here is Any.
# mypy: allow-subclassing-any

from __future__ import annotations

import html
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import ClientMixin, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge

if TYPE_CHECKING:
    from demo.issuer import Person

#: The client that Muniment's own pages are: a public one, known by its name alone.
PAGES: Final = "muniment-pages"
GRANT: Final[str] = AuthorizationCodeGrant.GRANT_TYPE

_CALLBACK = "/sign-in/callback"
_CODES_LIVE_SECONDS = 60
_ID_TOKENS_LIVE_SECONDS = 300
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Who are you?</title><style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 34rem; margin: 3rem auto; padding: 0 1rem }}
form {{ display: grid; gap: .5rem }}
button {{ font: inherit; text-align: left; padding: .5rem .75rem; cursor: pointer }}
</style><body>{body}</body></html>"""


class Pages(ClientMixin):
    """Muniment's pages, wherever on this machine they are: a demonstration finds its port at its start."""

    def get_client_id(self) -> str:
        return PAGES

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == "none"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Loopback alone, whatever the port (RFC 8252, 7.3)."""
        given = urlsplit(redirect_uri)
        return (given.scheme, given.path) == ("http", _CALLBACK) and given.hostname in {"127.0.0.1", "localhost"}

    def get_default_redirect_uri(self) -> None:
        """None: it must be named."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """Whatever is asked for: no scope gives anything here."""
        return scope or ""


@dataclass(frozen=True)
class Signed:
    """A code that was given: to whom it belongs, and what its request said."""

    code: str
    person: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str
    at: float

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    @property
    def is_over(self) -> bool:
        """Whether it was not redeemed in time."""
        return time.time() > self.at + _CODES_LIVE_SECONDS


class PagesGrant(AuthorizationCodeGrant):
    """The tokens for whoever has said on the page who they are."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

    def save_authorization_code(self, code: str, request: Any) -> None:
        asked: Mapping[str, str] = request.payload.data
        self.server.signed[code] = Signed(
            code=code,
            person=request.user.id,
            redirect_uri=asked["redirect_uri"],
            scope=asked.get("scope", ""),
            nonce=asked.get("nonce"),
            code_challenge=asked["code_challenge"],
            code_challenge_method=asked["code_challenge_method"],
            at=time.time(),
        )

    def query_authorization_code(self, code: str, _client: ClientMixin) -> Signed | None:
        found: Signed | None = self.server.signed.get(code)
        return None if found is None or found.is_over else found

    def delete_authorization_code(self, authorization_code: Signed) -> None:
        """A code is good once."""
        del self.server.signed[authorization_code.code]

    def authenticate_user(self, authorization_code: Signed) -> Person:
        person: Person = self.server.people[authorization_code.person]
        return person


class Proof(CodeChallenge):
    """What keeps a code from whoever only saw it come back. Authlib's own lets a request without one pass."""

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        asked = grant.request.payload.data
        if not asked.get("code_challenge") or asked.get("code_challenge_method") != "S256":
            raise InvalidRequestError("This issuer wants a code_challenge, by S256.")
        super().validate_code_challenge(grant, redirect_uri)


class IdToken:
    """Who signed in, when and for which request, in words that the pages check."""

    def __call__(self, grant: Any) -> None:
        grant.register_hook("after_create_token_response", self.add)

    def add(self, grant: Any, response: tuple[int, dict[str, object], object]) -> None:
        """Lay the ID token beside the access token."""
        server, signed = grant.server, grant.request.authorization_code
        person: Person = grant.request.user
        now = int(time.time())
        claims = {
            "iss": server.url,
            "sub": person.id,
            "aud": PAGES,
            "iat": now,
            "exp": now + _ID_TOKENS_LIVE_SECONDS,
            "auth_time": int(signed.at),
            **({"nonce": signed.nonce} if signed.nonce else {}),
            **person.said(),
        }
        response[1]["id_token"] = server.keys.sign({"typ": "JWT"}, json.dumps(claims))


def page(people: Mapping[str, Person], asked: Mapping[str, str]) -> str:
    """Who are you? A button for each person; what was asked for goes along with it."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in asked.items()
        if name != "subject"
    )
    buttons = "".join(
        f'<button name="subject" value="{html.escape(person.id)}"><b>{html.escape(_named(person))}</b>'
        f"<br>{html.escape(str(person.claims.get('job', '')))}</button>"
        for person in people.values()
    )
    words = "<h1>Who are you?</h1><p>This issuer believes whoever asks: it is for the demonstration alone."
    return _PAGE.format(body=f'{words}<form method="post">{hidden}{buttons}</form>')


def refusal(words: str) -> str:
    """Why nobody can sign in by this address."""
    return _PAGE.format(body=f"<h1>Nobody was signed in</h1><p>{html.escape(words)}</p>")


def _named(person: Person) -> str:
    return str(person.claims.get("name", person.id))
