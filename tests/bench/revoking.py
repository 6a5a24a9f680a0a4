"""What a revocation costs, and whether it holds: two workers on one database, changed at one and asked at the other.

While some callers ask the second worker as fast as they can, access is taken away at the first
and given back, many times. A request that began after the taking was acknowledged, and ended before
the giving began, must be refused (or must not hold the dataset, where a membership was taken);
each that was not would be a broken promise, and is counted.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import orjson

from tests.bench.caller import Answer, WrongAnswer, ask, request
from tests.bench.fixture import STEWARD, Size, changes, people
from tests.bench.servers import Postgres, fill, service

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer
    from tests.bench.servers import Server

SIZE = Size(1_000, 100)
CALLERS = 4
#: Nobody is locked out of a benchmark for being refused.
_UNLIMITED = {"MUNIMENT_LIMITS": '{"failed_sign_ins": "1000000/second", "refused": "1000000/second"}'}
_LATER = timedelta(hours=1)
_AHEAD = timedelta(seconds=10)
_GROUP = "revoked-in-the-benchmark"

Tell = Callable[[str], None]


@dataclass(slots=True)
class Revoked:
    """One kind of revocation: how often, what it took, and what came of the requests meanwhile; times in ms."""

    kind: str
    times: int
    acknowledged: list[float] = field(default_factory=list)
    asked_before: list[float] = field(default_factory=list)
    asked_after: list[float] = field(default_factory=list)
    first_after: list[float] = field(default_factory=list)
    broken: int = 0
    wrongly_refused: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request of a caller, by the clock of this process."""

    began: float
    ended: float
    held: bool


class _Taking(ABC):
    """One way of taking access away from a caller, and of giving it back; ``sent`` is what the caller asks."""

    kind: str
    sent: bytes

    def __init__(self, here: Server, steward: str) -> None:
        self._here = here
        self._steward = {"Authorization": f"Bearer {steward}"}

    @abstractmethod
    async def prepare(self) -> None:
        """Make what has to stand before access can be taken away."""

    @abstractmethod
    async def take(self) -> None: ...

    @abstractmethod
    async def give(self) -> None: ...

    @abstractmethod
    def held(self, answer: Answer) -> bool:
        """Whether the caller had access."""

    async def _tell(self, method: str, path: str, body: object, status: int, **headers: str) -> Any:
        sent = request(method, path, {**self._steward, **headers}, body)
        answer = (await ask(self._here.port, sent)).expect(status)
        return orjson.loads(answer.text) if answer.body else None


class _Subject(_Taking):
    kind = "subject's access"

    def __init__(self, here: Server, steward: str, subject: str, sign_in: Callable[[], str]) -> None:
        super().__init__(here, steward)
        self._subject = subject
        self._sign_in = sign_in

    async def prepare(self) -> None:
        self.sent = request("GET", "/v1/whoami", {"Authorization": f"Bearer {self._sign_in()}"})

    async def take(self) -> None:
        await self._tell("POST", f"/v1/subjects/{self._subject}/end", {"reason": "a benchmark"}, 200)

    async def give(self) -> None:
        await self._tell("POST", f"/v1/subjects/{self._subject}/admit", {"reason": "a benchmark"}, 200)
        await self.prepare()

    def held(self, answer: Answer) -> bool:
        return _signed_in(answer)


class _Key(_Taking):
    kind = "key"

    async def prepare(self) -> None:
        await self.give()

    async def take(self) -> None:
        await self._tell("DELETE", f"/v1/keys/{self._id}", None, 204)

    async def give(self) -> None:
        until = (datetime.now(UTC) + _LATER).isoformat()
        wish = {"service": "service:nightly", "use": "changes", "until": until, "because": "a benchmark"}
        made = await self._tell("POST", "/v1/keys", wish, 201)
        self._id = made["id"]
        self.sent = request("GET", "/v1/whoami", {"Authorization": f"Bearer {made['key']}"})

    def held(self, answer: Answer) -> bool:
        return _signed_in(answer)


class _Membership(_Taking):
    kind = "provisioned membership"

    def __init__(self, here: Server, steward: str, subject: str, token: str) -> None:
        super().__init__(here, steward)
        self._subject = subject
        self.sent = request("GET", "/v1/whoami", {"Authorization": f"Bearer {token}"})

    async def prepare(self) -> None:
        user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": self._subject}
        self._user = (await self._provision("POST", "Users", user, 201))["id"]
        group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": _GROUP}
        self._group = (await self._provision("POST", "Groups", group, 201))["id"]
        await self.give()

    async def take(self) -> None:
        await self._patch({"op": "remove", "path": f'members[value eq "{self._user}"]'})

    async def give(self) -> None:
        await self._patch({"op": "add", "path": "members", "value": [{"value": self._user}]})

    def held(self, answer: Answer) -> bool:
        return _GROUP.encode() in answer.expect(200).text

    async def _patch(self, operation: object) -> None:
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
        await self._provision("PATCH", f"Groups/{self._group}", body, 200)

    async def _provision(self, method: str, path: str, body: object, status: int) -> Any:
        sent = request(method, f"/scim/v2/{path}", self._steward, body)
        answer = await ask(self._here.port, sent)
        return orjson.loads(answer.expect(204 if answer.status == 204 else status).text or b"null")


async def measure(machine: Postgres, issuer: RunningIssuer, times: int, tell: Tell) -> list[Revoked]:
    """Take away each kind of access so many times, with callers asking all the while."""
    url = machine.make("bench_revoking")
    tell("filling the database")
    await fill(url, changes(SIZE))
    anna, bert = people(2)

    def sign_in() -> str:
        # Tokens tell whole seconds. This one is of a later one than the end before, and within the leeway.
        return issuer.token(anna.id, auth_time=int((datetime.now(UTC) + _AHEAD).timestamp()))

    tell("starting two workers on one database")
    async with service(url, issuer.url, **_UNLIMITED) as here, service(url, issuer.url, **_UNLIMITED) as there:
        root = issuer.token(STEWARD)
        ways: list[_Taking] = [
            _Subject(here, root, f"user:{anna.id}", sign_in),
            _Key(here, root),
            _Membership(here, root, bert.id, issuer.token(bert.id)),
        ]
        return [await _measured(way, there, times, tell) for way in ways]


async def _measured(way: _Taking, there: Server, times: int, tell: Tell) -> Revoked:
    tell(f"taking away a {way.kind} {times} times")
    await way.prepare()
    found = Revoked(way.kind, times)
    for _ in range(times):
        await _once(way, there, found)
    return found


async def _once(way: _Taking, there: Server, found: Revoked) -> None:
    asked: list[_Asked] = []
    stop = asyncio.Event()
    callers = [asyncio.create_task(_ask_on(way, there, asked, stop)) for _ in range(CALLERS)]
    try:
        await _until(asked, 3 * CALLERS, callers)
        began = time.perf_counter()
        await way.take()
        taken = time.perf_counter()
        await _until(asked, len(asked) + 4 * CALLERS, callers)
        giving = time.perf_counter()
    finally:
        stop.set()
        await asyncio.gather(*callers)
    await way.give()
    _count(found, asked, began, taken, giving)


async def _until(asked: Sequence[_Asked], count: int, callers: Sequence[asyncio.Task[None]]) -> None:
    """Until so many requests were answered; a caller's fault ends it."""
    while len(asked) < count:
        for caller in callers:
            if caller.done():
                caller.result()
        await asyncio.sleep(0.0005)


async def _ask_on(way: _Taking, there: Server, asked: list[_Asked], stop: asyncio.Event) -> None:
    while not stop.is_set():
        began = time.perf_counter()
        answer = await ask(there.port, way.sent)
        asked.append(_Asked(began, time.perf_counter(), way.held(answer)))


def _count(found: Revoked, asked: Sequence[_Asked], began: float, taken: float, giving: float) -> None:
    before = [each for each in asked if each.ended <= began]
    after = sorted((each for each in asked if each.began >= taken and each.ended <= giving), key=lambda e: e.began)
    found.acknowledged.append((taken - began) * 1000)
    found.asked_before.extend((each.ended - each.began) * 1000 for each in before)
    found.asked_after.extend((each.ended - each.began) * 1000 for each in after)
    found.first_after.append((after[0].ended - after[0].began) * 1000)
    found.broken += sum(each.held for each in after)
    found.wrongly_refused += sum(not each.held for each in before)


def _signed_in(answer: Answer) -> bool:
    if answer.status not in {200, 401}:
        raise WrongAnswer(f"{answer.status} came: {answer.text[:300].decode(errors='replace')}")
    return answer.status == 200


def text(measured: Sequence[Revoked]) -> str:
    """What was measured, in columns that say what they are."""
    lines = [
        (
            f"{'':<24}{'times':>7}{'acknowledged':>14}{'asked after':>13}{'honoured not':>14}"
            f"{'ms before':>11}{'ms first after':>16}{'ms after':>10}"
        )
    ]
    lines += [
        f"{each.kind:<24}{each.times:>7}{median(each.acknowledged):>11.1f} ms{len(each.asked_after):>13}"
        f"{each.broken:>14}{median(each.asked_before):>11.1f}{median(each.first_after):>16.1f}"
        f"{median(each.asked_after):>10.1f}"
        for each in measured
    ]
    lines.append(
        f"Two workers, {CALLERS} callers at the second, which does not hear of what is taken away at the first but by "
        "asking the database.\n“asked after”: requests that began after the acknowledgement. “honoured not”: those "
        "of them that still had access."
    )
    return "\n".join(lines)
