"""Those whom a job's sign-in speaks to and who cannot run here: small real servers that are as strict as the real ones.

A provider that gives tokens for client credentials and exchanges them (RFC 6749, 4.4; RFC 8693), of which a test can
say what it publishes and answers; and the address at which a GitHub runner gives a job its identity token.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

Kind = TypeVar("Kind", bound="ThirdParty")


@dataclass(frozen=True)
class Sent:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class ThirdParty:
    """A server that records what it is asked, and answers what a test says: path to (status, headers, JSON)."""

    url: str
    answers: dict[str, tuple[int, dict[str, str], Any]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    def to(self, path: str) -> list[Sent]:
        return [each for each in self.sent if each.path == path]

    def decided(self, sent: Sent) -> tuple[int, dict[str, str], Any]:
        return self.answers.get(sent.path, (404, {}, {"error": "not_found"}))


class Provider(ThirdParty):
    """A provider with a discovery document and a token endpoint, which are all that it says and does."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.publish()
        self.give()

    def publish(self, **changes: Any) -> None:
        metadata = {"issuer": self.url, "token_endpoint": f"{self.url}/token", **changes}
        self.answers["/.well-known/openid-configuration"] = (200, {}, {k: v for k, v in metadata.items() if v})

    def give(self, status: int = 200, **changes: Any) -> None:
        given = {"access_token": jwt(iss=self.url, sub="nightly"), "token_type": "Bearer", "expires_in": 600, **changes}
        self.answers["/token"] = (status, {}, {k: v for k, v in given.items() if v is not None})

    def refuse(self, status: int, error: str, description: str) -> None:
        self.answers["/token"] = (status, {}, {"error": error, "error_description": description})


class Runner(ThirdParty):
    """A GitHub runner's token service: its own bearer, an audience, and the answer that GitHub's toolkit reads."""

    BEARER = "the-token-of-the-runner"
    ADDRESS = "/token/1/idtoken/2?api-version=2.0"

    def decided(self, sent: Sent) -> tuple[int, dict[str, str], Any]:
        if sent.path in self.answers:
            return self.answers[sent.path]
        if sent.headers.get("authorization") != f"Bearer {self.BEARER}":
            return 401, {}, {"message": "Unauthorized"}
        if sent.path != "/token/1/idtoken/2" or sent.query.keys() - {"audience"} != {"api-version"}:
            return 404, {}, {"message": "Not found"}
        issued = self.signed(sent.query["audience"])
        return 200, {}, {"count": len(issued), "value": issued}

    @staticmethod
    def signed(audience: str) -> str:
        """The job's token; a test that shows it to somebody who looks at it puts one in this place that is signed."""
        return jwt(iss="https://token.actions.githubusercontent.com", aud=audience, exp=4102444800)


def jwt(**claims: Any) -> str:
    """A JWT in shape; its last part is the secret that must appear nowhere."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "never-to-be-seen-signature"])


@contextmanager
def running(kind: type[Kind]) -> Iterator[Kind]:
    """Serve on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = parse_qs(body, strict_parsing=True, keep_blank_values=True)
            assert all(len(values) == 1 for values in given.values()), "RFC 6749, 3.2: once at most"
            self._answer({name: values[0] for name, values in given.items()})

        def _answer(self, form: dict[str, str]) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            sent = Sent(parts.path, query, {name.lower(): value for name, value in self.headers.items()}, form)
            party.sent.append(sent)
            status, headers, body = party.decided(sent)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    party = kind(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield party
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
