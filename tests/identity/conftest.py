"""Real issuers for the tests of the identity floor: processes of their own, and sites that misbehave."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry, serialize_compact

from demo.issuer import RunningIssuer, running_issuer
from muniment.core.problems import TokenRefused
from muniment.identity.bearer import STRANGER, Bearer
from muniment.identity.issuers import ALGORITHMS, Issuer, issuers_from

PEOPLE = {
    "ann": {"groups": ["analysts"], "claims": {"clr": 3, "teams": ["emea"], "mail": "ann@corp.example", "staff": True}},
    "sam": {"groups": ["stewards"]},
    "nightly": {"kind": "service", "groups": ["jobs"], "secret": "a-secret-of-the-demonstration"},
}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def corp() -> Iterator[RunningIssuer]:
    """The default issuer. Its keys stay as they are: tests that change keys run one of their own."""
    with running_issuer(PEOPLE) as issuer:
        yield issuer


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningIssuer]:
    """A second issuer, for services, with keys on another curve."""
    with running_issuer(PEOPLE, algorithm="Ed25519") as issuer:
        yield issuer


@pytest.fixture
def issuers(corp: RunningIssuer, lab: RunningIssuer) -> tuple[Issuer, ...]:
    attributes = {
        "clearance": {"claim": "clr", "type": "long"},
        "teams": {"claim": "teams", "type": "set"},
        "mail": {"claim": "mail", "type": "string"},
        "staff": {"claim": "staff", "type": "boolean"},
    }
    return issuers_from(
        [
            {
                "name": "corp",
                "issuer": corp.url,
                "audience": "muniment",
                "default": True,
                "attributes": attributes,
                "algorithms": [name for name in ALGORITHMS if name != "RS512"],
            },
            {"name": "lab", "issuer": lab.url, "audience": "muniment", "kind": "services"},
        ]
    )


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        yield client


@pytest.fixture
async def bearer(issuers: tuple[Issuer, ...], http: httpx.AsyncClient) -> Bearer:
    return Bearer(issuers, http)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """A stranger is refused, in the words for all strangers; the reason is known inside alone."""
    with pytest.raises(TokenRefused) as refusal:
        yield
    assert refusal.value.detail == STRANGER
    assert re.search(reason, str(refusal.value.__cause__)), refusal.value.__cause__


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    waits: threading.Event | None = None
    reached: threading.Event = field(default_factory=threading.Event)


@dataclass
class Site:
    """A website that says what a test tells it to, counts what it is asked, and signs with one Ed25519 key."""

    url: str
    key: OKPKey
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    #: Headers (names in small letters) and forms that were posted, by their addresses.
    received: dict[str, list[tuple[dict[str, str], str]]] = field(default_factory=dict)

    def publish(self, **changes: object) -> None:
        """Behave like an issuer, but for these members of the discovery document."""
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **changes}
        self.answers["/.well-known/openid-configuration"] = Answer(body=json.dumps(discovery).encode())
        self.answers["/jwks"] = Answer(body=json.dumps({"keys": [self.key.as_dict(private=False)]}).encode())

    def token(self, at: datetime, **header: object) -> str:
        claims = {"iss": self.url, "sub": "ann", "aud": "muniment", "exp": int(at.timestamp()) + 90_000}
        registry = JWSRegistry(algorithms=["Ed25519"])
        given = {"alg": "Ed25519", "kid": self.key.kid, **header}
        head = {name: value for name, value in given.items() if value is not None}
        return serialize_compact(head, json.dumps(claims), self.key, registry=registry)

    def hold(self, path: str) -> tuple[Answer, threading.Event]:
        """Answer there only once the event is set; the answer says when it was reached."""
        answer = self.answers[path]
        answer.waits = threading.Event()
        answer.reached.clear()
        return answer, answer.waits

    def bearer(self, http: httpx.AsyncClient) -> Bearer:
        return Bearer([Issuer(name="site", issuer=self.url, audience="muniment", default=True)], http)


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as one:
        yield one


@pytest.fixture
def other() -> Iterator[Site]:
    with running_site() as one:
        yield one


@contextmanager
def running_site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked[self.path] += 1
            answer = served.answers.get(self.path, Answer(status=404))
            answer.reached.set()
            if answer.waits is not None:
                answer.waits.wait(timeout=10)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True  # the reader has had enough

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.received.setdefault(self.path, []).append((headers, form))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}", OKPKey.generate_key(parameters={"kid": "one"}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
