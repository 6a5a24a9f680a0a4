"""What is measured of one realm, and how: each figure beside the bare answer of the same bytes, in turn.

The machine's other guests come and go, so ours and the bare answer take turns of a
fraction of a second, and what is compared was measured within the same seconds. Every
answer is checked before it is timed (who gets which names) and while it is timed (status
and length); afterwards the ledger must hold one row for each answer that was given.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]

from demo.issuer import RunningIssuer
from muniment.core.ledger import Event
from muniment.store.databases import Database
from muniment.store.realms import Realms
from tests.bench.caller import Answer, Question, Timed, WrongAnswer, ask, load, request
from tests.bench.fixture import ASKED, SCHEMA, STEWARD, Person, Shape, Size, changes, people, shape_of
from tests.bench.servers import Postgres, Server, fill, service

CALLERS = (1, 8, 32)
#: How many subjects ask in turn for what they have asked for before.
REPEATING = 8
PREFLIGHT_NAMES = 20

_LARGEST_SLICE = 20_000
_PROBE = "bench-probe"

Tell = Callable[[str], None]


class Kind(StrEnum):
    """The questions that are asked again and again."""

    LEASE_ZSTD = "lease 200 zstd"
    LEASE_GZIP = "lease 200 gzip"
    LEASE_IDENTITY = "lease 200 identity"
    LEASE_304 = "lease 304"
    CATALOG_ZSTD = "catalog 200 zstd"
    CATALOG_304 = "catalog 304"
    PREFLIGHT = "preflight of 20"

    @property
    def event(self) -> Event:
        """What the ledger calls an answer to it."""
        if self is Kind.PREFLIGHT:
            return Event.PREFLIGHT_ALLOWED
        return Event.CATALOG_SERVED if self in {Kind.CATALOG_ZSTD, Kind.CATALOG_304} else Event.LEASE_SERVED

    @property
    def path(self) -> str:
        """Where it is asked."""
        if self is Kind.PREFLIGHT:
            return "/v1/preflight"
        noun = "catalog" if self.event is Event.CATALOG_SERVED else "leases"
        return f"/v1/{noun}?environment={ASKED.environment}"

    @property
    def coding(self) -> str:
        """The content coding that is asked for: that of the representation a 304 speaks of, too."""
        return {Kind.LEASE_GZIP: "gzip", Kind.LEASE_IDENTITY: "identity"}.get(self, "zstd")

    @property
    def conditional(self) -> bool:
        """Whether the caller holds the answer already."""
        return self in {Kind.LEASE_304, Kind.CATALOG_304}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: the realms, the kinds of question, and for how long."""

    sizes: tuple[Size, ...]
    kinds: tuple[Kind, ...]
    subjects: int
    rounds: int
    slice_seconds: float
    policy_changes: int


#: Every realm, every question.
FULL = Plan(
    sizes=tuple(Size(datasets, policies) for datasets in (1_000, 10_000) for policies in (100, 1_000)),
    kinds=tuple(Kind),
    subjects=17,
    rounds=3,
    slice_seconds=0.25,
    policy_changes=12,
)
#: The ends of the scale, the questions that matter most.
QUICK = Plan(
    sizes=(Size(1_000, 100), Size(10_000, 1_000)),
    kinds=(Kind.LEASE_ZSTD, Kind.LEASE_304, Kind.PREFLIGHT),
    subjects=REPEATING + 1,
    rounds=2,
    slice_seconds=0.2,
    policy_changes=8,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did for one kind of question: times in milliseconds, processor time in µs a request."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    postgres_cpu: float
    #: What part of one processor the asking itself used: near 1, it was the asking that was measured.
    asking: float
    #: The slowest and the fastest turn, in requests a second: what the machine's other guests did.
    turns: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Repeated:
    """One kind of question by some callers: ours, and a bare answer of the same bytes."""

    kind: str
    callers: int
    bytes: int
    ours: Figures | None
    bare: Figures


@dataclass(frozen=True, slots=True)
class First:
    """A subject's first lease: nothing of it was decided, rendered or encoded for this subject before."""

    subject: str
    milliseconds: float
    #: The worker's processor time, in milliseconds: what of it was work, and not waiting for a processor.
    cpu: float
    policies: int
    entries: int


@dataclass(frozen=True, slots=True)
class PolicyChanges:
    """A policy was put: the times of some such changes, in milliseconds."""

    acknowledged: list[float]
    whole_lease: list[float]
    one_name: list[float]
    realm_unchanged: list[float]
    realm_patched: list[float]


@dataclass(slots=True)
class Measured:
    """All that was measured of one realm. Memory is in bytes."""

    size: Size
    shape: Shape
    cold: First
    first: list[First]
    repeated: list[Repeated] = field(default_factory=list)
    changed: PolicyChanges | None = None
    memory: dict[str, int] = field(default_factory=dict)
    ledger_rows: int = 0

    @property
    def worst(self) -> First:
        """The subject who waited longest for the first lease."""
        return max(self.first, key=lambda first: first.milliseconds)

    @property
    def median_first(self) -> float:
        """The median first lease, in milliseconds."""
        return median(first.milliseconds for first in self.first)


async def measure(
    size: Size, plan: Plan, machine: Postgres, bare: Server, issuer: RunningIssuer, tell: Tell
) -> Measured:
    """Make a realm of this size, serve it, and measure everything; the records are counted in the end."""
    name = f"bench_{size.datasets}_{size.policies}"
    tell(f"{size}: filling the database")
    url = machine.make(name)
    await fill(url, changes(size))
    who = people(plan.subjects)
    shape = await _shape(url, size, who)
    tokens = {id_: issuer.token(id_) for id_ in [STEWARD, *(person.id for person in who)]}
    tell(f"{size}: starting the service")
    async with service(url, issuer.url) as server:
        run = _Run(plan, machine, bare, server, tokens, shape, tell)
        measured = await run.all(size, who, url)
    measured.ledger_rows = _check_recorded(run.asked, machine.rows(name))
    return measured


async def _shape(url: str, size: Size, who: Sequence[Person]) -> Shape:
    """The shape of the realm as the store gives it back."""
    db = Database.open(url)
    try:
        return shape_of(await Realms(db, SCHEMA).current(), size, who, datetime.now(UTC))
    finally:
        await db.close()


def _check_recorded(asked: Counter[str], rows: Mapping[str, int]) -> int:
    """No record, no answer: as many rows as answers, event by event."""
    if dict(asked) != dict(rows):
        given = {str(event): count for event, count in asked.items()}
        raise WrongAnswer(f"The ledger does not hold what was answered: {given} were given, {dict(rows)} stand.")
    return sum(rows.values())


class _Run:
    """The measuring of one running service; it counts every answer that the ledger must know of."""

    def __init__(
        self,
        plan: Plan,
        machine: Postgres,
        bare: Server,
        server: Server,
        tokens: Mapping[str, str],
        shape: Shape,
        tell: Tell,
    ) -> None:
        self.asked: Counter[str] = Counter()
        self._plan = plan
        self._machine = machine
        self._bare = bare
        self._server = server
        self._tokens = tokens
        self._shape = shape
        self._tell = tell
        self._asking = psutil.Process()

    async def all(self, size: Size, who: Sequence[Person], url: str) -> Measured:
        memory = {"started": self._server.memory()}
        self._tell(f"{size}: first leases of {len(who)} subjects")
        cold, *first = [await self._first(person.id) for person in who]
        measured = Measured(size, self._shape, cold, first, memory=memory)
        memory["first leases"] = self._server.memory()
        for number, kind in enumerate([None, *self._plan.kinds]):
            self._tell(f"{size}: {kind or 'bare constant'} ({number} of {len(self._plan.kinds)})")
            measured.repeated += await self._repeated(kind, [person.id for person in who[:REPEATING]])
        memory["repeated"] = self._server.memory()
        self._tell(f"{size}: {self._plan.policy_changes} policy changes")
        measured.changed = await self._policy_changes(who[0].id, url)
        memory["policy changes"] = self._server.memory()
        return measured

    # First

    async def _first(self, subject: str) -> First:
        used = self._server.cpu_seconds()
        answer = await self._ask(subject, Kind.LEASE_ZSTD)
        used = self._server.cpu_seconds() - used
        self._check_names(subject, orjson.loads(answer.text)["catalog"])
        return First(
            subject,
            answer.seconds * 1000,
            used * 1000,
            self._shape.policies_of[subject],
            len(self._shape.names_of[subject]),
        )

    # Repeated

    async def _repeated(self, kind: Kind | None, subjects: Sequence[str]) -> list[Repeated]:
        ours = [] if kind is None else [await self._question(kind, subject) for subject in subjects]
        bare = [_bare_like(question) for question in ours] or [_bare(request("GET", "/200/2"), 200, 2)]
        found = []
        for callers in CALLERS:
            of_bare, of_ours = _Turns(), _Turns()
            for _ in range(self._plan.rounds):
                await self._turn(of_bare, self._bare, bare, callers)
                if ours:
                    await self._turn(of_ours, self._server, ours, callers)
            if kind is not None:
                self.asked[kind.event] += len(of_ours.timed.nanoseconds)
            found.append(
                Repeated(
                    kind or "bare constant",
                    callers,
                    round(median(question.length for question in bare)),
                    of_ours.figures() if ours else None,
                    of_bare.figures(),
                )
            )
        return found

    async def _turn(self, turns: _Turns, server: Server, questions: Sequence[Question], callers: int) -> None:
        used = (server.cpu_seconds(), self._machine.cpu_seconds(), sum(self._asking.cpu_times()[:2]))
        timed = await load(server.port, questions, callers, self._plan.slice_seconds, _LARGEST_SLICE)
        now = (server.cpu_seconds(), self._machine.cpu_seconds(), sum(self._asking.cpu_times()[:2]))
        turns.add(timed, *(after - before for after, before in zip(now, used, strict=True)))

    async def _question(self, kind: Kind, subject: str) -> Question:
        """The question as it will be timed; asked once in full, so that its answer is known to be right."""
        headers: dict[str, str] = {}
        body = None
        if kind is Kind.PREFLIGHT:
            lease = orjson.loads((await self._ask(subject, Kind.LEASE_ZSTD)).text)
            loaded = [name for name, actions in lease["actions"].items() if "load" in actions]
            body = {
                "environment": ASKED.environment,
                "load": loaded[:: len(loaded) // PREFLIGHT_NAMES][:PREFLIGHT_NAMES],
            }
        answer = await self._ask(subject, kind, body=body)
        self._check(kind, subject, answer)
        if kind.conditional:
            headers["If-None-Match"] = answer.headers["etag"]
        sent = self._request(subject, kind, headers, body)
        return Question(sent, 304 if kind.conditional else 200, 0 if kind.conditional else len(answer.body), kind)

    def _check(self, kind: Kind, subject: str, answer: Answer) -> None:
        if answer.headers.get("content-encoding", "identity") != kind.coding and kind is not Kind.PREFLIGHT:
            raise WrongAnswer(f"{kind} came as {answer.headers.get('content-encoding', 'identity')}.")
        if kind is Kind.PREFLIGHT:
            verdicts = orjson.loads(answer.text)["verdicts"]
            if sum(verdict["allowed"] for verdict in verdicts) != PREFLIGHT_NAMES:
                raise WrongAnswer(f"Of {PREFLIGHT_NAMES} names that the lease holds, preflight refuses some.")
        elif kind.event is Event.LEASE_SERVED:
            self._check_names(subject, orjson.loads(answer.text)["catalog"])
        else:
            lines = answer.text.decode().splitlines()
            self._check_names(subject, {line.rstrip(":") for line in lines if not line.startswith(" ")})

    def _check_names(self, subject: str, given: Mapping[str, Any] | set[str]) -> None:
        """Exactly yours: the names are those that deciding here, on the same realm, gives."""
        if set(given) != self._shape.names_of[subject]:
            raise WrongAnswer(f"{subject} got {len(given)} entries; {len(self._shape.names_of[subject])} are theirs.")

    # A policy changes

    async def _policy_changes(self, subject: str, url: str) -> PolicyChanges:
        """Hide one of two datasets from a subject, in turn; the very next answer must be by the new rule."""
        found = PolicyChanges([], [], [], [], [])
        hidden = sorted(self._shape.names_of[subject])[:2]
        db = Database.open(url)
        try:
            realms = Realms(db, SCHEMA)
            await _derived(realms)
            for number in range(self._plan.policy_changes):
                found.realm_unchanged.append(await _derived(realms))
                gone, here = hidden[number % 2], hidden[1 - number % 2]
                found.acknowledged.append(await self._put(subject, gone, number))
                times, names = (found.whole_lease, None) if number // 2 % 2 else (found.one_name, hidden)
                answer = await self._ask(subject, Kind.LEASE_ZSTD, names=names)
                catalog = orjson.loads(answer.text)["catalog"]
                if gone in catalog or here not in catalog:
                    raise WrongAnswer("An acknowledged policy change was not honoured by the next request.")
                times.append(answer.seconds * 1000)
                found.realm_patched.append(await _derived(realms))
        finally:
            await db.close()
        return found

    async def _put(self, subject: str, hidden: str, version: int) -> float:
        what = f'action in [Action::"load", Action::"save"], resource == Dataset::"{hidden}"'
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        put = request(
            "PUT",
            f"/v1/policies/{_PROBE}",
            {"Authorization": f"Bearer {self._tokens[STEWARD]}", **condition},
            {"cedar": f'forbid (principal == User::"{subject}", {what});', "reason": "the benchmark says so"},
        )
        answer = (await ask(self._server.port, put)).expect(200 if version else 201)
        self.asked[Event.POLICY_CHANGED] += 1
        return answer.seconds * 1000

    # Asking

    async def _ask(self, subject: str, kind: Kind, body: object = None, names: Sequence[str] | None = None) -> Answer:
        only = f"&names={','.join(names)}" if names else ""
        answer = await ask(self._server.port, self._request(subject, kind, {}, body, only))
        self.asked[kind.event] += 1
        return answer.expect(200)

    def _request(self, subject: str, kind: Kind, headers: Mapping[str, str], body: object, only: str = "") -> bytes:
        method = "GET" if body is None else "POST"
        every = {"Authorization": f"Bearer {self._tokens[subject]}", "Accept-Encoding": kind.coding, **headers}
        return request(method, kind.path + only, every, body)


class _Turns:
    """Several turns of one server, added up."""

    def __init__(self) -> None:
        self.timed = Timed()
        self._used = [0.0, 0.0, 0.0]
        self._rates: list[float] = []

    def add(self, timed: Timed, *used: float) -> None:
        self.timed.add(timed)
        self._used = [sum(both) for both in zip(self._used, used, strict=True)]
        self._rates.append(len(timed.nanoseconds) / timed.seconds)

    def figures(self) -> Figures:
        times = sorted(self.timed.nanoseconds)
        cpu, postgres, asking = self._used
        return Figures(
            requests=len(times),
            per_second=len(times) / self.timed.seconds,
            p50=_rank(times, 0.50) / 1e6,
            p99=_rank(times, 0.99) / 1e6,
            cpu=cpu / len(times) * 1e6,
            postgres_cpu=postgres / len(times) * 1e6,
            asking=asking / self.timed.seconds,
            turns=(min(self._rates), max(self._rates)),
        )


def _rank(times: Sequence[int], part: float) -> int:
    """The nearest-rank percentile of sorted times."""
    return times[max(0, math.ceil(part * len(times)) - 1)]


def _bare_like(question: Question) -> Question:
    """The bare answer of the same status and bytes, asked for with the same headers and body."""
    method, _, rest = question.request.partition(b" ")
    _, _, rest = rest.partition(b" ")
    path = f"/{question.status}/{question.length}" if question.length else f"/{question.status}"
    return _bare(method + b" " + path.encode() + b" " + rest, question.status, question.length)


def _bare(sent: bytes, status: int, length: int) -> Question:
    return Question(sent, status, length, "the bare answer")


async def _derived(realms: Realms) -> float:
    """How long the realm takes to be there at the revision that is current now, ready to be decided on."""
    began = time.perf_counter()
    realm = await realms.current()
    realm.ready()
    return (time.perf_counter() - began) * 1000
