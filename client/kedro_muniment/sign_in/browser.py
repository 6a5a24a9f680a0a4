"""Sign in with the browser of this machine: the authorization code grant with PKCE on a loopback address.

RFC 8252 (native apps), RFC 7636 (PKCE, always S256), RFC 9207 (the answer names its issuer). The provider sends the
browser back to a server that listens on 127.0.0.1 for this one sign-in, on a port that the system chooses. An answer
counts only with the `state` of this sign-in, so that nobody can put somebody else's sign-in in its place, and only from
the issuer that was asked, so that no other provider can (RFC 9700, 4.4: mix-up).
"""

from __future__ import annotations

import hmac
import queue
import secrets
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from kedro_muniment.problems import NotSignedIn, plain
from kedro_muniment.sign_in.providers import Form, Granted, Provider
from kedro_muniment.sign_in.telling import Invitation, Telling
from kedro_muniment.sign_in.tokens import Token

ENDPOINT: Final = "authorization_endpoint"
#: What a provider knows of this client, with any port (RFC 8252, 7.3).
PATH: Final = "/callback"
WAIT_SECONDS: Final = 300.0
#: A browser opens connections that it may never use.
_IDLE_SECONDS: Final = 10.0
_ISS_SUPPORTED: Final = "authorization_response_iss_parameter_supported"
_PAGE: Final = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Muniment</title>
<p>{told}</p><p>You can close this page.</p></html>
"""
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser brought back (RFC 6749, 4.1.2)."""

    code: Token
    error: str | None
    issuer: str | None
    told: str = ""


def sign_in(
    provider: Provider,
    service: str,
    scope: str,
    telling: Telling,
    *,
    port: int = 0,
    open_browser: Callable[[str], bool] | None = webbrowser.open,
    seconds: float = WAIT_SECONDS,
) -> Granted:
    """Open the browser, wait until it comes back, and exchange the code that it brings."""
    state, verifier = Token(secrets.token_urlsafe(32)), Token(secrets.token_urlsafe(64))
    with _listening(port, state) as (redirect_uri, answers):
        link = _link(provider, scope, redirect_uri, state, verifier)
        opened = open_browser is not None and open_browser(link)
        telling.invite(Invitation(service, link, None, seconds, opened=opened))
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            answer = None
    if answer is None:
        raise NotSignedIn("Nobody signed in before the time was over. Start again: kedro muniment login")
    _check(provider, answer)
    form = Form(grant_type="authorization_code", redirect_uri=redirect_uri, resource=provider.described.resource)
    return provider.grant(form.with_secret("code", answer.code).with_secret("code_verifier", verifier), provider.person)


def _link(provider: Provider, scope: str, redirect_uri: str, state: Token, verifier: Token) -> str:
    """Where the provider asks the person (RFC 6749, 4.1.1; RFC 8707, 2.1)."""
    from kedro_muniment.sign_in import oauth

    # Without it a provider gives no refresh token for a scope that asks for one (OpenID Connect Core, 11).
    prompt = "consent" if "offline_access" in scope.split() else None
    # Optional here (OpenID Connect Core, 3.1.2.1), and some providers refuse whoever leaves it out. The ID token that
    # would bring it back is not used.
    nonce = secrets.token_urlsafe(16) if "openid" in scope.split() else None
    form = Form(
        redirect_uri=redirect_uri, scope=scope, resource=provider.described.resource, prompt=prompt, nonce=nonce
    )
    return oauth.authorization_link(provider.endpoint(ENDPOINT), provider.person, state, verifier, form)


def _check(provider: Provider, answer: Answer) -> None:
    """Refuse what another issuer answered, or an answer that is a no."""
    expected = provider.metadata.get(_ISS_SUPPORTED) is True
    if answer.issuer != provider.issuer and (expected or answer.issuer is not None):
        raise NotSignedIn(
            f"The answer of the browser is not from {provider.issuer}, which was asked (it says: "
            f"{plain(answer.issuer or 'nothing')[:200]}). Nothing was sent anywhere. If it happens again, tell whoever "
            "runs Muniment."
        )
    if answer.error == "access_denied":
        raise NotSignedIn(f"The sign-in was refused at {provider.issuer}. If that was a mistake: kedro muniment login")
    if answer.error is not None or not answer.code:
        told = f" ({plain(answer.told)[:200]})" if answer.told else ""
        raise NotSignedIn(
            f"The sign-in provider {provider.issuer} did not sign you in: {plain(answer.error or 'no reason')[:200]}"
            f"{told}. Ask whoever runs Muniment, or try: kedro muniment login --device"
        )


@contextmanager
def _listening(port: int, state: Token) -> Iterator[tuple[str, queue.SimpleQueue[Answer]]]:
    """A server on 127.0.0.1 for the one answer to this sign-in: its address, and where the answer arrives."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(state, answers))
    except OSError as error:
        raise NotSignedIn(
            f"Nothing can listen on 127.0.0.1:{port} for the browser ({error.strerror}). Choose another --port, or "
            "try: kedro muniment login --device"
        ) from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PATH}", answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Token, answers: queue.SimpleQueue[Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Takes the answer to this sign-in; to whatever else comes by it says nothing."""

        timeout = _IDLE_SECONDS
        server_version = "kedro-muniment"
        sys_version = ""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            said = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
            if parts.path != PATH:
                self._page(404, "There is nothing here.")
            elif not hmac.compare_digest(said.get("state", "").encode(), state.revealed().encode()):
                self._page(400, "This is not the answer to the sign-in that waits here.")
            else:
                told = (
                    "was not completed. The terminal says more." if "error" in said else "goes on where you began it."
                )
                self._page(200, f"The sign-in {told}")
                answers.put(
                    Answer(
                        Token(said.get("code", "")),
                        said.get("error"),
                        said.get("iss"),
                        said.get("error_description", ""),
                    )
                )

        def _page(self, status: int, told: str) -> None:
            page = _PAGE.format(told=told).encode()
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Length": str(len(page))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Nothing is logged: the address holds the code."""

    return Handler
