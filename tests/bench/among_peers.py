"""The same listing from Muniment and from services that one could take instead, in turn on this machine.

Of so many entries the asker may see half, everywhere; access control is on everywhere; nobody else
records what was given. Each peer is installed from the package index into a folder of its own,
which goes with the benchmark, and is asked as its own clients ask: a list in as many pages as it
makes of it. No answer is encoded: the peers don't, so ours isn't either.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import BASE, Environment
from muniment.core.grants import Grant
from muniment.core.names import ROOT
from muniment.core.realm import Change
from muniment.core.schema import GOVERNING_ACTIONS, Action
from tests.bench.caller import Question, Timed, WrongAnswer, ask, load, request
from tests.bench.fixture import STEWARD
from tests.bench.servers import DidNotStart, Postgres, Server, fill, free_port, running, service

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer

ENTRIES = 1_000
CALLERS = (1, 32)
TURNS = 5
#: Who asks, of which group.
ANN: Mapping[str, object] = {"groups": ["analysts"], "claims": {"preferred_username": "ann"}}

_HERE = Path(__file__).parent / "peers"
_SECONDS = 2.0
_MOST = 20_000
#: As many entries as Tiled lists in one answer.
_TILED_PAGE = 300
_TOKEN = "the-benchmark-s-own"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Listed:
    """What one service did for one listing: milliseconds, listings a second, bytes; memory is in bytes.

    ``names`` is how many entries a listing gave.
    """

    service: str
    callers: int
    names: int
    bytes: int
    p50: float
    per_second: float
    cpu_ms: float
    memory: int


async def measure(machine: Postgres, issuer: RunningIssuer, entries: int, tell: Tell) -> list[Listed]:
    """Every service in turn; the medians of some turns each."""
    found: list[Listed] = []
    with tempfile.TemporaryDirectory(prefix="muniment-peers-") as folder:
        for one in (_Muniment(machine, issuer), _Feast(issuer), _Tiled(), _Datasette()):
            tell(f"{one.name}: installing and filling")
            home = Path(folder, one.name.partition(" ")[0].lower())
            await asyncio.to_thread(home.mkdir)
            await one.prepare(home, entries)
            tell(f"{one.name}: asking")
            async with one.served(home, entries) as server:
                found += [await _listed(one, server, callers, entries) for callers in CALLERS]
    return found


def text(found: Sequence[Listed]) -> str:
    """A table for people."""
    head = (
        f"{'':<26}{'callers':>8}{'entries':>9}{'bytes':>10}{'p50 ms':>10}{'a second':>10}{'CPU ms':>9}"
        f"{'MB':>7}{'ours is':>12}"
    )
    ours = {each.callers: each for each in found if each.service == _Muniment.name}
    lines = [
        f"{each.service:<26}{each.callers:>8}{each.names:>9,}{each.bytes:>10,}{each.p50:>10.2f}"
        f"{each.per_second:>10,.1f}{each.cpu_ms:>9.2f}{each.memory / 2**20:>7.0f}"
        f"{ours[each.callers].per_second / each.per_second:>10,.0f} ×"
        for each in found
    ]
    return "\n".join(
        [
            "The same listing from Muniment and its peers: half of all entries, with access control.",
            "Muniment's answers are in its ledger before they are given; nobody else records anything.",
            head,
            *lines,
        ]
    )


class _Service(ABC):
    """Something that lists."""

    name: str

    @abstractmethod
    async def prepare(self, home: Path, entries: int) -> None:
        """Install it and give it the entries."""

    @abstractmethod
    def served(self, home: Path, entries: int) -> AbstractAsyncContextManager[Server]:
        """Run it."""

    @abstractmethod
    def pages(self, entries: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        """The addresses and headers that give the whole listing."""

    @abstractmethod
    def names(self, answer: Any) -> set[str]:
        """The names in one answer."""


class _Muniment(_Service):
    name = "Muniment"

    def __init__(self, machine: Postgres, issuer: RunningIssuer) -> None:
        self._machine = machine
        self._issuer = issuer
        self._url = ""

    async def prepare(self, home: Path, entries: int) -> None:
        self._url = self._machine.make("among_peers")
        await fill(self._url, _realm(entries))

    def served(self, home: Path, entries: int) -> AbstractAsyncContextManager[Server]:
        return service(self._url, self._issuer.url)

    def pages(self, entries: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        token = {"Authorization": f"Bearer {self._issuer.token('ann')}", "Accept": "application/json"}
        return [("/v1/catalog?environment=prod", token)]

    def names(self, answer: Any) -> set[str]:
        return set(answer)


class _Feast(_Service):
    name = "Feast 0.67 registry (REST)"
    packages = ("feast[grpcio]==0.67.0", "cryptography")
    #: Put in place of what it asks for: its registry's server passes on an argument that later ones refuse.
    instead = ("fastapi<0.120",)

    def __init__(self, issuer: RunningIssuer) -> None:
        self._issuer = issuer

    async def prepare(self, home: Path, entries: int) -> None:
        await _install(home, self.packages)
        await _install(home, self.instead)
        self._describe(home)
        await _run([home / "bin" / "python", _HERE / "feast_registry.py", str(entries)], home)

    @asynccontextmanager
    async def served(self, home: Path, entries: int) -> AsyncIterator[Server]:
        port = free_port()
        command = [str(home / "bin" / "feast"), "serve_registry", "--rest-api", "--no-grpc", "--host", "127.0.0.1"]
        with self._discovery() as discovery:
            self._describe(home, discovery)
            started = running([*command, "--rest-port", str(port)], _environment(), port, "/openapi.json", home)
            async with started as server:
                yield server

    def pages(self, entries: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        token = {"Authorization": f"Bearer {self._issuer.token('ann')}"}
        return [("/api/v1/data_sources?project=bench", token)]

    def names(self, answer: Any) -> set[str]:
        return {source["name"] for source in answer["dataSources"]}

    @contextmanager
    def _discovery(self) -> Iterator[str]:
        """The issuer's description with the one address that Feast wants in it, and that nobody asks."""
        described = httpx.get(f"{self._issuer.url}/.well-known/openid-configuration", trust_env=False).json()
        body = json.dumps({**described, "authorization_endpoint": described["token_endpoint"]}).encode()

        class Describing(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Describing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/openid-configuration"
        finally:
            server.shutdown()
            server.server_close()

    def _describe(self, home: Path, discovery: str | None = None) -> None:
        described: dict[str, object] = {
            "project": "bench",
            "provider": "local",
            "registry": {"registry_type": "file", "path": "registry.db", "cache_ttl_seconds": 3600},
            "offline_store": {"type": "file"},
            "online_store": {"type": "sqlite", "path": "online.db"},
            "entity_key_serialization_version": 3,
        }
        if discovery is not None:
            described["auth"] = {"type": "oidc", "client_id": "feast", "auth_discovery_url": discovery}
        # JSON is YAML.
        (home / "feature_store.yaml").write_text(json.dumps(described), encoding="utf-8")


class _Tiled(_Service):
    name = "Tiled 0.2"
    packages = ("tiled[server]==0.2.20",)

    async def prepare(self, home: Path, entries: int) -> None:
        await _install(home, self.packages)
        described = {
            "authentication": {"single_user_api_key": _TOKEN.replace("-", "")},
            "access_control": {"access_policy": "tiled_tree:Halves", "args": {}},
            "trees": [{"path": "/", "tree": "tiled_tree:tree"}],
        }
        (home / "config.yml").write_text(json.dumps(described), encoding="utf-8")

    def served(self, home: Path, entries: int) -> AbstractAsyncContextManager[Server]:
        port = free_port()
        command = [str(home / "bin" / "tiled"), "serve", "config", str(home / "config.yml"), "--port", str(port)]
        return running(command, _environment(ENTRIES=str(entries), PYTHONPATH=str(_HERE)), port, "/api/v1/")

    def pages(self, entries: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        token = {"Authorization": f"Apikey {_TOKEN.replace('-', '')}"}
        offsets = range(0, entries // 2, _TILED_PAGE)
        return [(f"/api/v1/search/?page[offset]={offset}&page[limit]={_TILED_PAGE}", token) for offset in offsets]

    def names(self, answer: Any) -> set[str]:
        return {entry["id"] for entry in answer["data"]}


class _Datasette(_Service):
    name = "Datasette 0.65"
    packages = ("datasette==0.65.5",)

    async def prepare(self, home: Path, entries: int) -> None:
        await _install(home, self.packages)
        with sqlite3.connect(home / "catalog.db") as database:
            database.execute("CREATE TABLE entries (name text PRIMARY KEY, domain text, type text, filepath text)")
            database.execute("CREATE VIEW mine AS SELECT name, type, filepath FROM entries WHERE domain = 'sales'")
            rows = ((_name(place), _domain(place), "pandas.ParquetDataset", _path(place)) for place in range(entries))
            database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        tables = {"entries": {"allow": False}, "mine": {"allow": {"id": "ann"}}}
        described = {"databases": {"catalog": {"allow": {"id": "ann"}, "allow_sql": False, "tables": tables}}}
        (home / "metadata.json").write_text(json.dumps(described), encoding="utf-8")

    def served(self, home: Path, entries: int) -> AbstractAsyncContextManager[Server]:
        port = free_port()
        command = [
            *(str(home / "bin" / "datasette"), "serve", str(home / "catalog.db"), "--port", str(port)),
            *("--metadata", str(home / "metadata.json"), "--plugins-dir", str(_HERE / "datasette_plugins")),
            *("--setting", "max_returned_rows", str(entries)),
        ]
        return running(command, _environment(TOKEN=_TOKEN), port, "/-/versions.json")

    def pages(self, entries: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        return [("/catalog/mine.json?_size=max&_shape=array", {"Authorization": f"Bearer {_TOKEN}"})]

    def names(self, answer: Any) -> set[str]:
        return {row["name"] for row in answer}


async def _listed(one: _Service, server: Server, callers: int, entries: int) -> Listed:
    """The medians of some turns; a listing is all its pages."""
    questions, names, size = await _questions(one, server, entries)
    pages = len(questions)
    turns: list[tuple[float, float, float]] = []
    for _ in range(TURNS):
        used = server.cpu_seconds()
        timed = await load(server.port, questions, callers, _SECONDS, _MOST)
        turns.append((*_figures(timed, pages), (server.cpu_seconds() - used) * 1000 * pages / len(timed.nanoseconds)))
    p50, per_second, cpu = (median(figures) for figures in zip(*turns, strict=True))
    return Listed(one.name, callers, names, size, p50, per_second, cpu, server.memory())


def _figures(timed: Timed, pages: int) -> tuple[float, float]:
    """The median listing in milliseconds, and listings a second."""
    return median(timed.nanoseconds) / 1e6 * pages, len(timed.nanoseconds) / timed.seconds / pages


async def _questions(one: _Service, server: Server, entries: int) -> tuple[list[Question], int, int]:
    """The requests that make one listing, which must hold exactly the asker's half; its names, and its bytes."""
    found: set[str] = set()
    questions = []
    for path, headers in one.pages(entries):
        sent = request("GET", path, headers)
        answer = (await ask(server.port, sent)).expect(200)
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise WrongAnswer(f"{one.name} encodes its answers; then it is not the same that is compared.")
        found |= one.names(json.loads(answer.body))
        questions.append(Question(sent, 200, len(answer.body), one.name))
    if len(found) != entries // 2 or not all("sales" in name for name in found):
        raise WrongAnswer(f"{one.name} listed {len(found)} entries; {entries // 2} of sales are the asker's.")
    return questions, len(found), sum(question.length for question in questions)


def _realm(entries: int) -> list[Change]:
    """Two domains with half of the entries each; analysts may load what is of sales."""
    nouns: list[Domain | Environment | Dataset | Grant] = [
        Environment("prod"),
        *(Domain(name, f"{name}-stewards", locations=(f"s3://lake/{name}/",)) for name in ("people", "sales")),
        *map(_dataset, range(entries)),
        Grant("analysts", "analysts", frozenset({Action.LOAD}), "sales", because="analysts read what was sold"),
        Grant("steward", f"user:{STEWARD}", frozenset(GOVERNING_ACTIONS), ROOT, because="administers the benchmark"),
    ]
    return [Change(type(noun), noun.id if isinstance(noun, Grant) else noun.name, noun) for noun in nouns]


def _dataset(place: int) -> Dataset:
    definition = {"type": "pandas.ParquetDataset", "filepath": f"s3://lake/{_domain(place)}/orders_{place:05}.parquet"}
    return Dataset(
        name=f"{_domain(place)}.orders_{place:05}",
        owner=f"{_domain(place)}-stewards",
        description=f"Orders of part {place}",
        environments={BASE: definition},
    )


def _domain(place: int) -> str:
    return ("people", "sales")[place % 2]


def _name(place: int) -> str:
    return f"{_domain(place)}_orders_{place:05}"


def _path(place: int) -> str:
    return f"s3://lake/orders_{place:05}.parquet"


def _environment(**further: str) -> dict[str, str]:
    """The environment of a peer: nothing of ours, and nothing told to its makers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MUNIMENT_", "PYTHON"))}
    return inherited | {"FEAST_USAGE": "False", "DO_NOT_TRACK": "1"} | further


async def _install(home: Path, packages: Sequence[str]) -> None:
    """A new environment in this folder, with these packages."""
    uv = Path(sys.executable).with_name("uv")
    await _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)], home)
    await _run([uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *packages], home)


async def _run(command: Sequence[str | Path], home: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=home, env=_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise DidNotStart(f"{' '.join(map(str, command))} failed. It said:\n{said.decode(errors='replace')[-2000:]}")
