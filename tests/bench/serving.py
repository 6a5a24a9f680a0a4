"""The hot path: what an answer costs that is audited before it is given, beside others of the same bytes in one run.

Beside a bare ASGI constant under the same server; beside the service without its ledger; and beside the route that one
would write first (``straightforward.py``). All ask for the same catalog of a thousand entries. They take turns of a
part of a second, five each, and every figure is the median of its turns; a ratio is the median of the ratios of
neighbouring turns, so what the machine's other guests do meanwhile is in both. Every answer is checked as it is timed,
and afterwards the ledger must hold one row for each.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import orjson
import psycopg
from psycopg import sql

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.domains import Domain
from muniment.core.environments import BASE, Environment
from muniment.core.grants import Grant
from muniment.core.realm import Change
from muniment.core.schema import Action
from tests.bench import fixture
from tests.bench.caller import Question, WrongAnswer, ask, load, request
from tests.bench.fixture import ASKED, Size, people
from tests.bench.servers import Postgres, Server, bare, fill, free_port, running, service
from tests.owning import libpq

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer

ENTRIES = 1_000
CALLERS = (1, 32)
SUBJECTS = 8
ROUNDS = 5

#: Where a new subject's first fetch and the memory are looked at.
LARGEST = Size(10_000, 1_000)

_MOST = 10**9
_CATALOG, _LEASE = (f"/v1/{noun}?environment={ASKED.environment}" for noun in ("catalog", "leases"))

#: What is asked, by name: where, and whether the caller holds the answer already.
KINDS: Mapping[str, tuple[str, bool]] = {
    "catalog 304": (_CATALOG, True),
    "catalog 200": (_CATALOG, False),
    "lease 304": (_LEASE, True),
    "lease 200": (_LEASE, False),
}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each turn is, in seconds, and how many subjects fetch for the first time."""

    turn: float
    first: int


FULL = Plan(turn=2.0, first=12)
QUICK = Plan(turn=0.5, first=5)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: answers, requests a second, the median time in milliseconds, processor time in µs a request."""

    answers: int
    rate: float
    p50: float
    cpu: float
    postgres: float


@dataclass(slots=True)
class Compared:
    """One question by some callers: the turns of each who answered it, by their names."""

    kind: str
    callers: int
    bytes: int
    turns: dict[str, list[Turn]] = field(default_factory=dict)

    def middle(self, who: str, what: str) -> float:
        """The median of a figure."""
        return float(median(getattr(turn, what) for turn in self.turns[who]))

    def ratio(self, what: str, one: str, other: str) -> float:
        """The median of the ratios of neighbouring turns."""
        both = zip(self.turns[one], self.turns[other], strict=True)
        return float(median(getattr(a, what) / getattr(b, what) for a, b in both))


@dataclass(slots=True)
class Served:
    """All that was measured. Times are in milliseconds, memory in bytes."""

    commit_ms: float
    compared: list[Compared] = field(default_factory=list)
    #: Requests a second by 32 callers of one worker and of two, in neighbouring turns.
    workers: list[tuple[float, float]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    first_cpu: list[float] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)


async def measure(machine: Postgres, issuer: RunningIssuer, plan: Plan, tell: Tell) -> Served:
    """Measure everything."""
    found = Served(machine.commit_milliseconds())
    url = machine.make("bench_serving")
    await fill(url, _realm())
    tokens = [issuer.token(person.id) for person in people(SUBJECTS)]
    tell(f"{ENTRIES:,} entries: starting the service, the same without its ledger, the bare answer, and a route")
    async with _all(machine, url, issuer, tokens[0]) as servers:
        for kind in KINDS:
            for callers in CALLERS:
                tell(f"{kind}, {callers} {'caller' if callers == 1 else 'callers'}")
                found.compared.append(await _compared(machine, servers, tokens, kind, callers, plan))
        found.memory[f"{ENTRIES:,} entries"] = servers["ours"].memory()
    _check_recorded(url, found)
    tell("one worker, and two")
    found.workers = await _workers(url, issuer, tokens, plan)
    tell(f"{LARGEST}: first fetches")
    await _largest(machine, issuer, plan, found)
    return found


def _realm() -> list[Change]:
    """A thousand datasets that everybody may load, each with two layers of definitions, as catalogs have them."""
    nouns: list[Environment | Domain | Dataset | Grant] = [
        Environment("dev"),
        Environment("prod"),
        Domain("shop", owner="everyone", locations=("s3://lake/shop/",)),
        *(_dataset(number) for number in range(ENTRIES)),
        Grant("everyone", "everyone", frozenset({Action.LOAD, Action.SAVE}), "shop", because="the benchmark says so"),
    ]
    return [Change(type(noun), noun.id if isinstance(noun, Grant) else noun.name, noun) for noun in nouns]


def _dataset(number: int) -> Dataset:
    name = f"{fixture.SUBJECTS[number % len(fixture.SUBJECTS)]}_{number:04}"
    definition = {
        "type": "pandas.CSVDataset",
        "filepath": f"s3://lake/shop/{name}.csv",
        "load_args": {"sep": ";", "decimal": ",", "na_values": ["#NA", "NULL"]},
        "save_args": {"index": False},
    }
    lifecycle = Lifecycle.ACTIVE
    return Dataset(f"shop.{name}", owner="everyone", lifecycle=lifecycle, environments={BASE: definition})


@asynccontextmanager
async def _all(machine: Postgres, url: str, issuer: RunningIssuer, token: str) -> AsyncIterator[dict[str, Server]]:
    """Everybody who answers, by name."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(service(url, issuer.url))
        program = ["-m", "tests.bench.unrecorded"]
        unrecorded = await stack.enter_async_context(service(url, issuer.url, program))
        constant = await stack.enter_async_context(bare())
        catalog = await _asked(ours, _CATALOG, token, {"Accept": "application/json"})
        with psycopg.connect(libpq(url), autocommit=True) as connection:
            connection.execute(_TABLE)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "catalog.json").write_bytes(catalog)
        program = ["-m", "tests.bench.straightforward"]
        straightforward = await stack.enter_async_context(_program(program, libpq(url), folder / "catalog.json"))
        yield {"bare": constant, "unrecorded": unrecorded, "ours": ours, "straightforward": straightforward}


_TABLE = sql.SQL(
    "CREATE TABLE straightforward (id uuid PRIMARY KEY, at timestamp, subject text, environment text, entries int)"
)


@asynccontextmanager
async def _program(program: Sequence[str], url: str, catalog: Path) -> AsyncIterator[Server]:
    port = free_port()
    address = "postgresql+psycopg" + url.removeprefix("postgresql")
    command = [sys.executable, *program, str(port), address, str(catalog)]
    async with running(command, dict(os.environ), port, "/readyz") as server:
        yield server


async def _compared(
    machine: Postgres, servers: Mapping[str, Server], tokens: Sequence[str], kind: str, callers: int, plan: Plan
) -> Compared:
    path, conditional = KINDS[kind]
    ours = [await _question(servers["ours"], path, token, conditional=conditional) for token in tokens]
    asked = {"ours": ours, "unrecorded": ours, "bare": [_bare(question) for question in ours]}
    for token in tokens:
        await _question(servers["unrecorded"], path, token, conditional=conditional)
    found = Compared(kind, callers, ours[0].length or 0, {name: [] for name in asked})
    if kind == "catalog 200":
        plain = request("GET", _CATALOG, {"Authorization": f"Bearer {tokens[0]}"})
        length = len((await ask(servers["straightforward"].port, plain)).expect(200).body)
        asked["straightforward"] = [Question(plain, 200, length, "the route that one writes first")]
        found.turns["straightforward"] = []
    for _ in range(ROUNDS):
        for name, questions in asked.items():
            found.turns[name].append(await _turn(machine, servers[name], questions, callers, plan.turn))
    return found


async def _turn(machine: Postgres, server: Server, questions: Sequence[Question], callers: int, seconds: float) -> Turn:
    used, postgres = server.cpu_seconds(), machine.cpu_seconds()
    timed = await load(server.port, questions, callers, seconds, _MOST)
    count = len(timed.nanoseconds)
    return Turn(
        answers=count,
        rate=count / timed.seconds,
        p50=median(timed.nanoseconds) / 1e6,
        cpu=(server.cpu_seconds() - used) / count * 1e6,
        postgres=(machine.cpu_seconds() - postgres) / count * 1e6,
    )


async def _asked(server: Server, path: str, token: str, headers: Mapping[str, str]) -> bytes:
    every = {"Authorization": f"Bearer {token}", **headers}
    return (await ask(server.port, request("GET", path, every))).expect(200).text


async def _question(server: Server, path: str, token: str, *, conditional: bool) -> Question:
    """What will be timed; asked in full before, so that its answer is known to be right."""
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "zstd"}
    given = (await ask(server.port, request("GET", path, headers))).expect(200)
    if path == _LEASE and len(orjson.loads(given.text)["catalog"]) != ENTRIES:
        raise WrongAnswer(f"A lease does not hold the {ENTRIES:,} entries.")
    if not conditional:
        return Question(request("GET", path, headers), 200, len(given.body), path)
    sent = request("GET", path, {**headers, "If-None-Match": given.headers["etag"]})
    (await ask(server.port, sent)).expect(304)
    return Question(sent, 304, 0, path)


def _bare(question: Question) -> Question:
    """The bare answer of the same status and bytes, asked for with the same headers."""
    path = f"/{question.status}/{question.length}" if question.length else f"/{question.status}"
    _, _, rest = question.request.partition(b" HTTP/1.1")
    sent = b"GET " + path.encode() + b" HTTP/1.1" + rest
    return Question(sent, question.status, question.length, "the bare answer")


def _check_recorded(url: str, found: Served) -> None:
    """Every answer of ours has its row; those that were asked for before the clock began have theirs, too."""
    given = sum(turn.answers for each in found.compared for turn in each.turns["ours"])
    given += 1 + sum(SUBJECTS * (2 if KINDS[each.kind][1] else 1) for each in found.compared)
    with psycopg.connect(libpq(url)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM ledger WHERE decided_sha256 IS NOT NULL").fetchone() or (0,)
    if rows != given:
        raise WrongAnswer(f"{given} answers were given, and the ledger holds {rows} rows.")


async def _workers(url: str, issuer: RunningIssuer, tokens: Sequence[str], plan: Plan) -> list[tuple[float, float]]:
    """Requests a second of one worker and of two, the same on the same database."""
    found = []
    async with service(url, issuer.url) as one, service(url, issuer.url, MUNIMENT_WORKERS="2") as two:
        questions: list[Question] = []
        for server in (one, two) * 8:  # every worker has to have been asked
            questions = [await _question(server, _CATALOG, token, conditional=True) for token in tokens]
        for _ in range(ROUNDS):
            rates = [(await load(each.port, questions, 32, plan.turn, _MOST)) for each in (one, two)]
            found.append((len(rates[0].nanoseconds) / rates[0].seconds, len(rates[1].nanoseconds) / rates[1].seconds))
    return found


async def _largest(machine: Postgres, issuer: RunningIssuer, plan: Plan, found: Served) -> None:
    """New subjects' first leases, and what the worker holds of the memory then."""
    url = machine.make("bench_serving_largest")
    await fill(url, fixture.changes(LARGEST))
    async with service(url, issuer.url) as server:
        for number, person in enumerate(people(plan.first + 1)):
            token = issuer.token(person.id)
            headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "zstd"}
            used = server.cpu_seconds()
            answer = (await ask(server.port, request("GET", _LEASE, headers))).expect(200)
            if number:  # the first one renders what all share
                found.first.append(answer.seconds * 1000)
                found.first_cpu.append((server.cpu_seconds() - used) * 1000)
        found.memory[str(LARGEST)] = server.memory()


def text(found: Served) -> str:
    """The whole report."""
    return "\n".join(_lines(found))


def _lines(found: Served) -> Iterator[str]:
    yield f"\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; a durable commit of one row takes {found.commit_ms:.2f} ms here"
    yield f"a catalog of {ENTRIES:,} entries, zstd; medians of {ROUNDS} turns, ratios of neighbouring turns\n"
    yield (
        f"{'':<13}{'callers':>8}{'bytes':>8}  │{'bare':>7}{'no ledger':>11}{'ours':>7}{'PG':>7} CPU µs  │"
        f"{'ours/bare':>10}{'no ledger/bare':>16}  │{'ours a second':>14}{'p50 ms':>8}"
    )
    for each in found.compared:
        yield (
            f"{each.kind:<13}{each.callers:>8}{each.bytes:>8,}  │{each.middle('bare', 'cpu'):>7.0f}"
            f"{each.middle('unrecorded', 'cpu'):>11.0f}{each.middle('ours', 'cpu'):>7.0f}"
            f"{each.middle('ours', 'postgres'):>7.0f}{'':>7}  │{each.ratio('cpu', 'ours', 'bare'):>10.2f}"
            f"{each.ratio('cpu', 'unrecorded', 'bare'):>16.2f}  │{each.middle('ours', 'rate'):>14,.0f}"
            f"{each.middle('ours', 'p50'):>8.2f}"
        )
    yield ""
    for each in found.compared:
        if "straightforward" in each.turns:
            yield (
                f"the route that one writes first, {each.callers} callers: "
                f"{each.middle('straightforward', 'rate'):.1f} a second, "
                f"{each.middle('straightforward', 'cpu') / 1000:.0f} ms of CPU each; "
                f"ours answers {each.ratio('rate', 'ours', 'straightforward'):,.0f} times as many"
            )
    one, two = (median(pair[place] for pair in found.workers) for place in (0, 1))
    times = median(b / a for a, b in found.workers)
    yield (
        "two workers on this machine's cores, with PostgreSQL and the asking: "
        f"{one:,.0f} → {two:,.0f} a second ({times:.2f})"
    )
    yield (
        f"first lease of a new subject, {LARGEST}: median {median(found.first):.0f} ms, worst {max(found.first):.0f} "
        f"(CPU {median(found.first_cpu):.0f} ms)"
    )
    yield "memory of a worker: " + ", ".join(f"{held / 2**20:.0f} MB at {what}" for what, held in found.memory.items())
