"""The small issuer's sign-in by a code (RFC 8628): a page with a button for each person, and no password anywhere.

Whoever opens the page can be anyone, as everywhere at this issuer. What it shows is the way: a command shows a link and
a code, a person opens the link in a browser, compares the code and says who they are, and the command goes on.
"""

# Authlib has no types: to mypy, each of its classes that is built upon here is Any.
# mypy: allow-subclassing-any

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc8628 import DeviceCredentialDict as Credential
from starlette.requests import Request
from starlette.responses import HTMLResponse

GRANT: str = DEVICE_CODE_GRANT_TYPE
_CODES_LIVE_SECONDS = 600
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in</title>
<body style="font-family: sans-serif; max-width: 30em; margin: 4em auto">{body}</body></html>"""


class Command(ClientMixin):
    """The program that people sign in with: a public client, known by its name alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_client_id(self) -> str:
        return self.name

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == "none"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT

    def check_redirect_uri(self, _redirect_uri: str) -> bool:
        """Nowhere: no browser is sent back to a command."""
        return False

    def get_allowed_scope(self, _scope: str | None) -> str:
        """No scope at all, as for everybody here."""
        return ""


class Codes:
    """The codes that were given, and who has answered for each."""

    def __init__(self, people: Mapping[str, Any]) -> None:
        self.people = people
        self.given: dict[str, Credential] = {}
        self.answered: dict[str, str] = {}

    def is_open(self, user_code: str) -> bool:
        """Whether somebody waits for an answer to this code."""
        waiting = [each for each in self.given.values() if each.get_user_code() == user_code]
        return any(not each.is_expired() for each in waiting) and user_code not in self.answered

    async def page(self, request: Request) -> HTMLResponse:
        """Who are you? A button for each person; what is pressed is who signs in."""
        said = parse_qs((await request.body()).decode(errors="replace"))
        code = (said.get("user_code") or [request.query_params.get("user_code", "")])[0]
        if not self.is_open(code):
            return HTMLResponse(_PAGE.format(body="<p>Nobody waits for this code. Start again."), status_code=400)
        person = (said.get("subject") or [""])[0]
        if request.method == "POST" and person in self.people:
            self.answered[code] = person
            body = f"<p>Signed in as <b>{html.escape(person)}</b>. Go back to your terminal."
            return HTMLResponse(_PAGE.format(body=body))
        buttons = " ".join(
            f'<button name="subject" value="{each}">{each}</button>' for each in map(html.escape, self.people)
        )
        hidden = f'<input type="hidden" name="user_code" value="{html.escape(code, quote=True)}">'
        body = f'<p>Does your terminal show <code>{html.escape(code)}</code>? Then who are you?<form method="post">'
        return HTMLResponse(_PAGE.format(body=f"{body}{hidden}{buttons}</form>"))


class CodeEndpoint(DeviceAuthorizationEndpoint):
    """Where a command asks for a code."""

    CLIENT_AUTH_METHODS = ("none",)
    EXPIRES_IN = _CODES_LIVE_SECONDS
    INTERVAL = 1

    def get_verification_uri(self) -> str:
        return f"{self.server.url}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: Mapping[str, Any]) -> None:
        expires = time.time() + _CODES_LIVE_SECONDS
        self.server.codes.given[data["device_code"]] = Credential(
            client_id=client_id, scope=scope, expires_at=expires, **data
        )


class CodeGrant(DeviceCodeGrant):
    """The token for whoever has answered for a code."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

    def query_device_credential(self, device_code: str) -> Credential | None:
        return self.server.codes.given.get(device_code)

    def query_user_grant(self, user_code: str) -> tuple[Any, bool] | None:
        person = self.server.codes.answered.get(user_code)
        return None if person is None else (self.server.people[person], True)

    def should_slow_down(self, _credential: Credential) -> bool:
        return False
