"""Whether the service holds its pace: many minutes at a part of its capacity, while policies change.

Questions fall due at a steady rate, whether or not anybody is free to ask them, and an answer's time
counts from then. Every answer must be the one that was expected; the worker's memory is looked at
once all that it remembers has filled, and again at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.caller import Question, Timed, ask, load, request
from tests.bench.fixture import ASKED, STEWARD, Size, changes, people
from tests.bench.servers import Postgres, fill, service

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer
    from tests.bench.servers import Server

SIZE = Size(1_000, 100)
#: The part of what the service can do that is asked of it.
SHARE = 0.7
CALLERS = 32
SUBJECTS = 8

_CAPACITY_TURNS = 5
_CAPACITY_SECONDS = 3.0
_SLICE_SECONDS = 15.0
_MOST = 10**9
#: Before this part of the time has passed, what the worker remembers may still be filling.
_FILLED = 0.2

Tell = Callable[[str], None]


@dataclass(slots=True)
class Soaked:
    """What came of it: requests a second, milliseconds, bytes."""

    capacity: float
    rate: float
    seconds: float = 0.0
    requests: int = 0
    policy_changes: int = 0
    p50: float = 0.0
    p99: float = 0.0
    slowest: float = 0.0
    #: p99 of each slice: whether what is slow is slow always, or now and then.
    slices: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    cpu_us: float = 0.0

    @property
    def growth(self) -> float:
        """By what part the worker's memory has grown since what it remembers was filled."""
        filled = self.memory[int(len(self.memory) * _FILLED)]
        return self.memory[-1] / filled - 1


async def measure(machine: Postgres, issuer: RunningIssuer, minutes: float, tell: Tell) -> Soaked:
    """Find what the service can do, then ask a part of it for so many minutes; any wrong answer ends it."""
    url = machine.make("soaking")
    await fill(url, changes(SIZE))
    steward = issuer.token(STEWARD)
    subjects = [person.id for person in people(SUBJECTS)]
    async with service(url, issuer.url) as server:
        questions = [
            await _question(server, issuer.token(each), held=place % 2 == 0) for place, each in enumerate(subjects)
        ]
        rates = []
        for _ in range(_CAPACITY_TURNS):
            timed = await load(server.port, questions, CALLERS, _CAPACITY_SECONDS, _MOST)
            rates.append(len(timed.nanoseconds) / timed.seconds)
        capacity = sorted(rates)[_CAPACITY_TURNS // 2]
        found = Soaked(capacity, capacity * SHARE)
        tell(f"{capacity:,.0f} requests a second at most; {found.rate:,.0f} are asked for {minutes:g} minutes")
        stop = asyncio.Event()
        changing = asyncio.create_task(_change(server, steward, subjects[-1], stop))
        try:
            await _soak(server, questions, found, minutes * 60, tell)
        finally:
            stop.set()
            found.policy_changes = await changing
    return found


def text(found: Soaked) -> str:
    """The result for people."""
    return (
        f"{found.requests:,} requests in {found.seconds:,.0f} s at {found.rate:,.0f} a second "
        f"({SHARE:.0%} of {found.capacity:,.0f}), while a policy changed {found.policy_changes:,} times: no error.\n"
        f"p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms ({found.p99 / found.p50:.1f} ×), slowest {found.slowest:.0f}, "
        f"counted from when each was due.\n"
        f"Slices of {_SLICE_SECONDS:.0f} s: p99 {median(found.slices):.2f} ms in the middle one, "
        f"{max(found.slices):.2f} in the worst. CPU of the worker {found.cpu_us:.0f} µs a request.\n"
        f"Memory of the worker: {found.memory[0] / 2**20:.0f} MB at the beginning, "
        f"{found.memory[-1] / 2**20:.0f} MB at the end; {found.growth:+.1%} since what it remembers was filled."
    )


async def _question(server: Server, token: str, *, held: bool) -> Question:
    """A subject's lease: of those who hold it already, the short answer."""
    path = f"/v1/leases?environment={ASKED.environment}"
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "zstd"}
    answer = (await ask(server.port, request("GET", path, headers))).expect(200)
    if held:
        return Question(request("GET", path, {**headers, "If-None-Match": answer.headers["etag"]}), 304, 0, "304")
    return Question(request("GET", path, headers), 200, None, "200")


async def _soak(server: Server, questions: Sequence[Question], found: Soaked, seconds: float, tell: Tell) -> None:
    """Ask at the rate, slice by slice, and look at the memory after each."""
    all_times = Timed()
    used, end = server.cpu_seconds(), time.monotonic() + seconds
    found.memory.append(server.memory())
    while (left := end - time.monotonic()) > 0:
        timed = await load(server.port, questions, CALLERS, min(left, _SLICE_SECONDS), _MOST, found.rate)
        all_times.add(timed)
        p50, p99, _ = _parts(timed)
        found.slices.append(p99)
        found.memory.append(server.memory())
        tell(
            f"{len(all_times.nanoseconds):,} answered, p50 {p50:.2f}, p99 {p99:.2f} ms, "
            f"{found.memory[-1] / 2**20:.0f} MB, {left:,.0f} s left"
        )
    found.requests, found.seconds = len(all_times.nanoseconds), all_times.seconds
    found.p50, found.p99, found.slowest = _parts(all_times)
    found.cpu_us = (server.cpu_seconds() - used) / found.requests * 1e6


def _parts(timed: Timed) -> tuple[float, float, float]:
    """The middle, p99 and slowest of some times, in milliseconds."""
    times = sorted(timed.nanoseconds)
    p50, p99, slowest = (times[int(len(times) * part)] / 1e6 for part in (0.5, 0.99, 1 - 1e-9))
    return p50, p99, slowest


async def _change(server: Server, steward: str, subject: str, stop: asyncio.Event) -> int:
    """Put a policy about one subject again and again, one a second; gives how often."""
    version = 0
    while not stop.is_set():
        what = f'action == Action::"load", resource in Domain::"{("sales", "finance")[version % 2]}"'
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        body = {"cedar": f'forbid (principal == User::"{subject}", {what});', "reason": "the benchmark says so"}
        put = request("PUT", "/v1/policies/soaking", {"Authorization": f"Bearer {steward}", **condition}, body)
        (await ask(server.port, put)).expect(200 if version else 201)
        version += 1
        try:
            await asyncio.wait_for(stop.wait(), 1)
        except TimeoutError:
            continue
    return version
