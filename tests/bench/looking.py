"""What a page costs: in the service's processes and on the way, in the largest realm, for an analyst and for a steward.

Each page is asked for often enough to say what one in twenty exceeds, and once before: what is ready for a revision is
made by whoever asks first, and told beside the others. Processor time is the service's own and that of all its threads,
so it holds whatever else the machine does. ``first load`` is the page with all that it names, as it travels.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import httpx

from muniment.core.sessions import Session, Vouched, kept_of
from muniment.core.subjects import SubjectState
from muniment.store import sessions
from muniment.store.databases import Database
from muniment.web.visiting import SESSION
from tests.bench import fixture
from tests.bench.caller import WrongAnswer
from tests.bench.fixture import STEWARD, Person, Size, people
from tests.bench.servers import Postgres, Server, fill, service

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.issuer import RunningIssuer

SIZE: Final = Size(10_000, 1_000)
TIMES: Final = 40
QUICK_TIMES: Final = 10

#: What everybody looks at; ``{dataset}`` is one that the analyst may use.
_EVERYBODYS: Final = (
    "/",
    "/account",
    "/account/access",
    "/account/use",
    "/notices",
    "/datasets",
    "/datasets?search=orders",
    "/datasets?search=sales+emea+or",
    "/datasets?domain=sales",
    "/datasets/{dataset}",
    "/datasets/{dataset}/history",
    "/datasets/{dataset}/lineage",
    "/datasets/{dataset}/use",
    "/requests",
    "/requests/new?dataset={dataset}&action=save&environment=prod",
    "/projects/new",
)
#: What a steward looks at besides.
_STEWARDS: Final = (
    "/datasets/{dataset}/access",
    "/policies",
    "/policies?search=restricted",
    "/policies/permit-0001",
    "/policies/permit-0001/edit",
    "/reviews",
    "/declare",
    "/declare/{dataset}",
    "/audit",
    "/audit/find?search=customer+emails",
    "/audit/charts",
)


@dataclass(frozen=True, slots=True)
class Looked:
    """One page, asked for by one person: milliseconds, and bytes."""

    who: str
    path: str
    first: float
    p50: float
    p95: float
    cpu: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Looks:
    """All that was measured."""

    pages: Sequence[Looked]
    first_load: int


async def measure(machine: Postgres, issuer: RunningIssuer, times: int, tell: Callable[[str], None]) -> Looks:
    """Ask for every page."""
    url = machine.make("bench_pages")
    tell(f"{SIZE}: filling, starting the service")
    await fill(url, fixture.changes(SIZE))
    analyst, steward = people(1)[0], Person(STEWARD, (), 0)
    secrets = await _sessions(url, analyst.state, steward.state)
    async with service(url, issuer.url) as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=60) as http:
            listed = _asked(http, secrets[analyst.id], "/account/access").text
            name = re.findall(r'href="/datasets/([^"?/]+)"', listed)[0]
            asked = [(who, path) for who in (analyst.id, steward.id) for path in _EVERYBODYS]
            asked += [(steward.id, path) for path in _STEWARDS]
            found = []
            for who, path in asked:
                tell(f"{who} {path}")
                found.append(_looked(server, http, secrets[who], who, path.replace("{dataset}", name), times))
            return Looks(found, _first_load(http, secrets[steward.id]))


async def _sessions(url: str, *states: SubjectState) -> Mapping[str, str]:
    """A session for each, put where sessions are kept: the secrets that their browsers hold."""
    db, now = Database.open(url), datetime.now(UTC)
    secrets = {state.subject.id: sha256(state.subject.id.encode()).hexdigest()[:43] for state in states}
    try:
        async with db.begin() as tx:
            for state in states:
                vouched = Vouched(state.issuer, state.subject.id)
                session = Session(uuid4(), state, vouched, now, now, now, now + timedelta(hours=12))
                await sessions.begin(tx, session, kept_of(secrets[state.subject.id]))
    finally:
        await db.close()
    return secrets


def _asked(http: httpx.Client, secret: str, path: str) -> httpx.Response:
    answer = http.get(path, headers={"Cookie": f"{SESSION}={secret}"})
    if answer.status_code != HTTPStatus.OK:
        raise WrongAnswer(f"{path} answers {answer.status_code}: {answer.text[:500]}")
    return answer


def _looked(server: Server, http: httpx.Client, secret: str, who: str, path: str, times: int) -> Looked:
    began = time.perf_counter()
    size = len(_asked(http, secret, path).content)
    first = time.perf_counter() - began
    used, taken = server.cpu_seconds(), []
    for _ in range(times):
        began = time.perf_counter()
        _asked(http, secret, path)
        taken.append(time.perf_counter() - began)
    cpu = (server.cpu_seconds() - used) / times
    return Looked(who, path, first * 1e3, median(taken) * 1e3, quantiles(taken, n=20)[-1] * 1e3, cpu * 1e3, size)


def _first_load(http: httpx.Client, secret: str) -> int:
    page = _asked(http, secret, "/datasets").text
    total = len(page.encode())
    for each in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page):
        with http.stream("GET", each, headers={"Accept-Encoding": "gzip"}) as answer:
            total += sum(map(len, answer.iter_raw()))
    return total


def text(looks: Looks) -> str:
    """What was measured, for people."""
    lines = [f"{SIZE}; milliseconds", "", "who       first    p50    p95    cpu   bytes  page"]
    lines += [
        f"{each.who:<9}{each.first:6.0f} {each.p50:6.1f} {each.p95:6.1f} {each.cpu:6.1f} {each.bytes:7,}  {each.path}"
        for each in looks.pages
    ]
    slow = [each for each in looks.pages if each.cpu > 50]
    lines += ["", f"first load: {looks.first_load:,} bytes; pages above 50 ms of processor time: {len(slow)}"]
    return "\n".join(lines)
