"""A whole service for the tests of the doors: in this process, on a database of its own, with people who call it.

What a person sends goes through every floor, from the bytes of a request to Postgres and back.
An exception that nothing handles comes out of the call, and so fails the test that made it.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from demo.issuer import RunningIssuer
from muniment.app import create_app, prepare
from muniment.core.limits import rates_from
from muniment.identity.issuers import issuers_from
from muniment.settings import Settings

#: Ann the analyst, Sam the steward of sales, Hugo the steward of hr, Audrey the auditor, Root the administrator,
#: Eve who has nothing, and nightly the job.
PEOPLE: Mapping[str, Mapping[str, object]] = {
    "ann": {"groups": ["analysts"], "claims": {"clr": 3}},
    "sam": {"groups": ["stewards"]},
    "hugo": {"groups": ["people-and-culture"]},
    "audrey": {"groups": ["auditors"]},
    "root": {"groups": ["platform"]},
    "eve": {},
    "nightly": {"kind": "service", "groups": ["jobs"], "secret": "a-secret-of-the-tests"},
}

PROBLEM = "application/problem+json"

#: Tests knock at many doors in a second. Limits are proven in `test_limits.py`.
NO_LIMITS: Mapping[str, str] = dict.fromkeys(("sign_ins", "failed_sign_ins", "refused"), "1000000/second")


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the service, with a token or without."""

    http: httpx.AsyncClient
    token: str | None = None

    async def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return await self.http.request(method, path, headers={**headers, **request.pop("headers", {})}, **request)

    async def get(self, path: str, **request: Any) -> httpx.Response:
        return await self.send("GET", path, **request)

    async def put(self, path: str, body: object, after: int) -> httpx.Response:
        """Put a thing after a version of it; 0 makes a new one."""
        return await self.send("PUT", path, json=body, headers=after_version(after))

    async def delete(self, path: str, after: int) -> httpx.Response:
        return await self.send("DELETE", path, headers=after_version(after))

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.send("POST", path, json=body)

    async def make(self, path: str, body: object) -> dict[str, Any]:
        """Put a new thing, which must succeed."""
        answer = await self.put(path, body, after=0)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def read(self, path: str) -> Any:
        """What stands there, which must be readable."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def catalog(self, environment: str = "dev", **asked: str) -> dict[str, Any]:
        """What the caller's catalog holds."""
        query = str(httpx.QueryParams({"environment": environment, **asked}))
        answer = await self.get(f"/v1/catalog?{query}", headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        held: dict[str, Any] = answer.json()
        return held


@dataclass(frozen=True)
class Running:
    """One service and those who call it; ``service.ann`` is Ann, signed in."""

    app: FastAPI
    http: httpx.AsyncClient
    issuer: RunningIssuer
    settings: Settings
    url: str
    _tokens: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Caller:
        if name not in PEOPLE:
            raise AttributeError(name)
        if name not in self._tokens:
            self._tokens[name] = self.issuer.token(name)
        return Caller(self.http, self._tokens[name])

    def somebody(self, subject: str, **claims: object) -> Caller:
        """Somebody known to the issuer, with other claims than usual."""
        return Caller(self.http, self.issuer.token(subject, **claims))

    @property
    def nobody(self) -> Caller:
        """Somebody who is not signed in."""
        return Caller(self.http)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every method and address template of the service, as its own description lists them."""
        paths = self.app.openapi()["paths"]
        return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def after_version(version: int) -> dict[str, str]:
    """The header under which an edit begins: after a version, or with nothing."""
    return {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}


def settings_for(issuer: RunningIssuer, **other: Any) -> Settings:
    """The settings of a service that believes this issuer, and is Root's at first."""
    described = {
        "name": "corp",
        "issuer": issuer.url,
        "audience": "muniment",
        "client_id": "kedro-muniment",
        "default": True,
        "kind": {"services_where": {"kind": "service"}},
        "attributes": {"clearance": {"claim": "clr", "type": "long"}},
    }
    usual = {"issuers": issuers_from([described]), "bootstrap_admin": "user:root", "limits": rates_from(NO_LIMITS)}
    return Settings(**{**usual, **other})


@asynccontextmanager
async def running(issuer: RunningIssuer, url: str, **other: Any) -> AsyncIterator[Running]:
    """A service on the migrated database at this address, until the block ends."""
    settings = settings_for(issuer, **other)
    await prepare(settings, url)
    app = create_app(settings, url)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Running(app, http, issuer, settings, url)


# --- a small company ------------------------------------------------------------------------------------------------

FOREVER = "as long as the team exists"


def csv(path: str, **more: object) -> dict[str, Any]:
    """A definition of a CSV file."""
    return {"type": "pandas.CSVDataset", "filepath": path, **more}


def dataset(path: str, **more: Any) -> dict[str, Any]:
    """A dataset with one definition, for every environment."""
    return {"environments": {"base": csv(path)}, **more}


def grant(to: str, actions: list[str], *, on: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A grant to a subject (``user:ann``) or a group (``group:analysts``)."""
    whom = {"group": to} if to.startswith("group:") else {"subject": to}
    return {"to": whom, "actions": actions, "on": dict(on), "because": FOREVER, **more}


STEWARDING = ["declare", "classify", "grant", "discover"]


async def found_company(service: Running) -> None:
    """Two areas with a steward each; analysts load the orders, the job writes the targets, hr is hr's own."""
    root = service.root
    for name in ("dev", "prod"):
        await root.make(f"/v1/environments/{name}", {"description": f"where {name} happens"})
    for name in ("sales", "hr"):
        place = {"owner": f"group:{name}-owners", "locations": [f"s3://lake/{name}/"]}
        await root.make(f"/v1/domains/{name}", place)
    await root.make("/v1/domains/sales.emea", {"owner": "group:sales-owners"})
    await root.make("/v1/grants/sam-stewards-sales", grant("user:sam", STEWARDING, on={"domain": "sales"}))
    await root.make("/v1/grants/hugo-stewards-hr", grant("user:hugo", STEWARDING, on={"domain": "hr"}))
    await root.make("/v1/grants/audrey-audits", grant("user:audrey", ["audit"], on={"domain": "all"}))
    sam, hugo = service.sam, service.hugo
    await sam.make("/v1/datasets/sales.orders", dataset("s3://lake/sales/orders.csv", description="Every order."))
    await sam.make("/v1/datasets/sales.targets", dataset("s3://lake/sales/targets.csv"))
    await sam.make("/v1/datasets/sales.{region}_orders", dataset("s3://lake/sales/{region}/orders.csv"))
    await sam.make("/v1/datasets/sales.emea.leads", dataset("s3://lake/sales/emea/leads.csv"))
    await hugo.make("/v1/datasets/hr.salaries", dataset("s3://lake/hr/salaries.csv", classification="secret"))
    await root.make(
        "/v1/grants/analysts-load-orders",
        grant("group:analysts", ["load"], on={"dataset": "sales.orders"}),
    )
    await root.make(
        "/v1/grants/nightly-writes-targets",
        grant("service:nightly", ["load", "save"], on={"dataset": "sales.targets"}),
    )


# --- what every refusal must be -------------------------------------------------------------------------------------


#: SCIM has a shape of its own (RFC 7644, 3.12).
SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def media_of_refusals(path: str) -> str:
    """The media type of every refusal at an address."""
    return "application/scim+json" if path.startswith("/scim/") else PROBLEM


def refusal(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The problem in an answer, which must be one of these statuses, and tell nothing of how it came about."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text}"
    assert answer.headers["content-type"] == media_of_refusals(answer.request.url.path)
    assert answer.headers["muniment-request-id"]
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= {"status", "detail"}
    assert int(problem["status"]) == answer.status_code
    assert problem.keys() >= {"type", "title"} or problem["schemas"] == [SCIM_ERROR]
    for trace in ("Traceback", ".py", "sqlalchemy", "psycopg", "0x", "SELECT "):
        assert trace not in answer.text
    return problem


def signed_alike(answer: httpx.Response, *, body: bool) -> list[tuple[str, str]]:
    """What is signed of a lease, but for what varies by nature; with ``body``, the digest of its body too."""
    _, claims, _ = answer.headers.get("muniment-lease", ".e30.").split(".")
    said = json.loads(base64.urlsafe_b64decode(f"{claims}=="))
    varying = {"iat", "exp", "receipt", "revision"} | (set() if body else {"body_sha256"})
    return [(f"signed {name}", str(value)) for name, value in said.items() if name not in varying]


async def revision_of(service: Running) -> int:
    """The revision that the service is at."""
    myself = await service.root.read("/v1/whoami")
    revision: int = myself["revision"]
    return revision


# --- muniment serve, in a process of its own ------------------------------------------------------------------------

MUNIMENT = Path(sys.executable).with_name("muniment")
_START_SECONDS = 120


@dataclass(frozen=True)
class Served:
    """``muniment serve``, running: its address, its process, and where what it says is kept."""

    base: str
    process: subprocess.Popen[bytes]
    said: Path

    def stop(self, by: signal.Signals = signal.SIGTERM, *, seconds: float = 30) -> int:
        """End it by a signal; gives its exit status."""
        self.process.send_signal(by)
        return self.process.wait(seconds)


def environment_for(issuer: RunningIssuer, **settings: object) -> dict[str, str]:
    """The environment of a process that believes this issuer; ``port=8420`` is ``MUNIMENT_PORT``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
    issuers = [{"name": "corp", "issuer": issuer.url, "audience": "muniment", "default": True,
                "kind": {"services_where": {"kind": "service"}}}]  # fmt: skip
    given = {
        "issuers": json.dumps(issuers),
        "bootstrap_admin": "user:root",
        "limits": json.dumps(NO_LIMITS),
        # A process more for each service; those who want one say so.
        "sealing": "false",
        **settings,
    }
    return {**inherited, **{f"MUNIMENT_{name.upper()}": str(value) for name, value in given.items()}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def serving(issuer: RunningIssuer, said: Path, *options: str, **settings: object) -> Iterator[Served]:
    """``muniment serve`` until the block ends; ``said`` is a file for what it says."""
    port = free_port()
    with said.open("wb") as file:
        process = subprocess.Popen(
            [MUNIMENT, "serve", *options], env=environment_for(issuer, port=port, **settings), stderr=file, stdout=file
        )
    with ready(Served(f"http://127.0.0.1:{port}", process, said)) as served:
        yield served


@contextmanager
def ready(served: Served) -> Iterator[Served]:
    """A service that was just started, once it is ready, until the block ends."""
    try:
        _await_readiness(served)
        yield served
    finally:
        if served.process.poll() is None:
            served.stop()


def _await_readiness(served: Served) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            if httpx.get(f"{served.base}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if served.process.poll() is not None or time.monotonic() > deadline:
            served.process.kill()
            raise AssertionError(served.said.read_text())
        time.sleep(0.05)
