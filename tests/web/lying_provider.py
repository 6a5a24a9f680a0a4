"""A provider that gives whatever a test tells it to: ID tokens and logout tokens that no honest one would make."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry, serialize_compact

from tests.web.visiting import CLIENT

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class LyingProvider:
    """What the provider says next.

    ``claims`` and ``header`` replace those of an honest ID token; None leaves one out.
    """

    url: str
    key: OKPKey
    discovery: dict[str, object] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    header: dict[str, object] = field(default_factory=dict)
    token_answer: dict[str, object] | None = None
    token_status: int = 200
    userinfo: dict[str, object] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    nonce: str = ""

    def honest(self) -> None:
        """Forget every lie."""
        self.discovery, self.claims, self.header, self.userinfo, self.asked = {}, {}, {}, {}, []
        self.token_answer, self.token_status = None, 200

    def sent(self, address: str) -> dict[str, str]:
        """What a browser was sent here with; its nonce will stand in the next ID token."""
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        self.nonce = parameters["nonce"]
        return parameters

    def back(self, address: str, **more: str) -> dict[str, str]:
        """What an honest provider would send a browser back with, but for these."""
        return {"state": self.sent(address)["state"], "code": "a-code", "iss": self.url, **more}

    def id_token(self) -> str:
        now = int(time.time())
        honest = {
            "iss": self.url,
            "sub": "ann",
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": self.nonce,
            "sid": "session-1",
            "groups": ["analysts"],
        }
        return self.signed({**honest, **self.claims}, self.header)

    def logout_token(self, header: Mapping[str, object] | None = None, **claims: object) -> str:
        now = int(time.time())
        honest = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 120,
            "jti": uuid.uuid4().hex,
            "sub": "ann",
            "events": {LOGOUT_EVENT: {}},
        }
        return self.signed({**honest, **claims}, {"typ": "logout+jwt", **(header or {})})

    def signed(self, claims: Mapping[str, object], header: Mapping[str, object], key: OKPKey | None = None) -> str:
        given = {"alg": "Ed25519", "kid": self.key.kid, **header}
        head = {name: value for name, value in given.items() if value is not None}
        present = {name: value for name, value in claims.items() if value is not None}
        registry = JWSRegistry(algorithms=["Ed25519"])
        return serialize_compact(head, json.dumps(present), key or self.key, registry=registry)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        match path:
            case "/.well-known/openid-configuration":
                honest = {
                    "issuer": self.url,
                    "jwks_uri": f"{self.url}/jwks",
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "userinfo_endpoint": f"{self.url}/userinfo",
                    "authorization_response_iss_parameter_supported": True,
                }
                return 200, {**honest, **self.discovery}
            case "/jwks":
                return 200, {"keys": [self.key.as_dict(private=False)]}
            case "/token":
                given = {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.id_token()}
                return self.token_status, given if self.token_answer is None else self.token_answer
            case "/userinfo":
                return 200, self.userinfo
            case _:
                return 404, {}


@contextmanager
def lying_provider() -> Iterator[LyingProvider]:
    """Such a provider, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = provider.answer(self.path)
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            sent = {name: values[0] for name, values in parse_qs(form).items()}
            provider.asked.append({**sent, "authorization": self.headers.get("Authorization", "")})
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = LyingProvider(f"http://127.0.0.1:{server.server_port}", OKPKey.generate_key(parameters={"kid": "one"}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
