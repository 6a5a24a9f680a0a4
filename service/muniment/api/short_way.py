"""The short way: a catalog or a lease that was given before is given again, without all that leads to it.

The ordinary way asks who comes, what is so now, what they may do, and writes the answer. Here
all of it is remembered of an answer that was given, by what arrived: the address, whoever
sent it, and the headers that have a say. An answer is given again while each step of the
ordinary way would come to the same end: the credential is still believed and still need not
wait, no moment has come at which anything is decided otherwise, and the realm and the roster
are at the numbers that they were at. The statement that records the answer looks at those
(``store/committer.py``): where they have moved on, nothing was recorded. An answer in which
what has changed has no part (``core/footing.py``) is carried along then, and recorded at the
numbers of the moment. Any other request takes the ordinary way, as does whatever is new, odd, or refused.

What is remembered is a function of those numbers, and bounded in bytes. No credential is in
it, but for its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muniment.api.asking import Admitted
from muniment.api.identifiers import new_texts
from muniment.api.limits import Gate
from muniment.api.problems import answer
from muniment.api.watching import Requests
from muniment.core.identifiers import Texts
from muniment.core.problems import Problem
from muniment.core.realm import Realm
from muniment.core.tracing import Step
from muniment.flows.fetch_catalog import Again, Fetched
from muniment.flows.house import House
from muniment.store.present import Now

#: The addresses that have a short way.
PATHS: Final = frozenset({"/v1/catalog", "/v1/leases"})

#: How many bytes all that is remembered may take.
MOST_BYTES: Final = 32 * 1024 * 1024

#: What the objects of one take beside its texts, and each group of whoever asked for it: measured with `tracemalloc`.
_OBJECTS: Final = 1536
_GROUP: Final = 128

#: How long somebody waits for what another request brings, before they take the ordinary way themselves.
_PATIENCE_SECONDS: Final = 1.0

#: How often an answer is recorded at the numbers of the moment before it is left to the ordinary way.
_TURNS: Final = 3

#: The longest request that is remembered: its query and the headers that have a say.
LONGEST_KEY: Final = 16 * 1024

#: The headers that have a say in an answer, in their order.
_HEADERS: Final = {
    b"authorization": 0,
    b"accept": 1,
    b"accept-encoding": 2,
    b"if-none-match": 3,
    b"user-agent": 4,
}
#: Headers of requests that are read on the ordinary way: those with a body.
_ODD: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})

_RECEIPT: Final = b"muniment-receipt"
_REVISION: Final = b"muniment-revision"
_REQUEST_ID: Final = b"muniment-request-id"
_LEASE: Final = b"muniment-lease"


class Key(NamedTuple):
    """What arrived, by which an answer is found again; of the credential, its digest."""

    credential: bytes
    path: str
    query: bytes
    address: str
    accept: bytes | None
    coding: bytes | None
    known: bytes | None
    client: bytes | None

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return sum(map(len, filter(None, self)))


_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An answer, and who may be given it again.

    Of its headers those that stay: before the receipt, between that and a lease, and behind the lease.
    """

    path: str
    again: Again
    admitted: Admitted
    subject: str
    credential: bytes
    has_body: bool
    status: int
    before: _Headers
    between: _Headers
    behind: _Headers
    size: int

    def carried(self, realm: Realm, roster: int) -> _Remembered | None:
        """The same answer at another revision, if it is the same there."""
        again = self.again.carried(realm, roster)
        if again is None:
            return None
        told = (_REVISION, str(realm.revision).encode())
        headers = (self.before, self.between, self.behind)
        before, between, behind = ([told if each[0] == _REVISION else each for each in some] for some in headers)
        return replace(self, again=again, before=before, between=between, behind=behind)

    def headers(self, ids: Texts, lease: bytes | None) -> _Headers:
        """The headers of an answer, in the order in which they first were."""
        request_id, receipt, _ = ids
        signed = () if lease is None else ((_LEASE, lease),)
        return [
            *self.before,
            (_RECEIPT, receipt.encode()),
            *self.between,
            *signed,
            *self.behind,
            (_REQUEST_ID, request_id.encode()),
        ]


class Repeats:
    """The answers of one process that can be given again; the ones not asked for longest go first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held: OrderedDict[Key, _Remembered] = OrderedDict()
        self._bytes = 0
        #: How many answers were given again, and how many were carried along to another revision.
        self.given = 0
        self.carried = 0

    @property
    def bytes_held(self) -> int:
        """About how many bytes they take together."""
        return self._bytes

    def get(self, key: Key) -> _Remembered | None:
        """The answer to what arrived so, if it is remembered."""
        return self._held.get(key)

    def used(self, key: Key) -> None:
        """It was given again; meanwhile it may have been forgotten."""
        self.given += 1
        if key in self._held:
            self._held.move_to_end(key)

    def carry(self, key: Key, remembered: _Remembered, realm: Realm, roster: int) -> _Remembered | None:
        """The answer as it is in another realm, and is from now on. None, and forgotten, where it may differ."""
        carried = remembered.carried(realm, roster)
        if self._held.get(key) is remembered:  # and not what another request has brought since
            if carried is None:
                self.forget(key)
            else:
                self._held[key] = carried
                self.carried += 1
        return carried

    def forget(self, key: Key) -> None:
        """It would be decided otherwise by now."""
        gone = self._held.pop(key, None)
        if gone is not None:
            self._bytes -= gone.size

    def forget_all(self) -> None:
        """They were given of another database."""
        self._held.clear()
        self._bytes = 0

    def remember(self, request: Request, fetched: Fetched, response: Response) -> None:
        """Remember what a request was answered, if it can be given again."""
        key, again = key_of(request.scope), fetched.again
        if again is None or key is None or key.size > LONGEST_KEY:
            return
        admitted: Admitted = request.state.admitted
        headers = response.raw_headers
        before, rest = _parted(headers, _RECEIPT)
        between, behind = _parted(rest, _LEASE)
        state = admitted.sign_in.state
        texts = again.size + key.size + sum(len(name) + len(value) for name, value in headers)
        size = texts + _OBJECTS + _GROUP * len(state.groups)
        self._put(
            key,
            _Remembered(
                path=request.scope["path"],
                again=again,
                admitted=admitted,
                subject=str(state.subject),
                credential=key.credential,
                has_body=fetched.body is not None,
                status=response.status_code,
                before=before,
                between=between,
                behind=behind,
                size=size,
            ),
        )

    def _put(self, key: Key, remembered: _Remembered) -> None:
        self.forget(key)
        self._held[key] = remembered
        self._bytes += remembered.size
        while self._bytes > self._most:
            _, gone = self._held.popitem(last=False)
            self._bytes -= gone.size


def _parted(headers: _Headers, name: bytes) -> tuple[_Headers, _Headers]:
    """The headers before one and behind it; all are before one that is not there."""
    place = next((number for number, (each, _) in enumerate(headers) if each == name), len(headers))
    return headers[:place], headers[place + 1 :]


def key_of(scope: Scope) -> Key | None:
    """What a request is known by; None of one that has to take the ordinary way."""
    client = scope["client"]
    said: list[bytes | None] = [None] * len(_HEADERS)
    for name, value in scope["headers"]:
        place = _HEADERS.get(name)
        if place is not None:
            if said[place] is not None:
                return None
            said[place] = value
        elif name in _ODD:
            return None
    credential, accept, coding, known, client_name = said
    if credential is None or not credential.isascii():
        return None
    digest = hashlib.sha256(credential).digest()
    return Key(
        digest, scope["path"], scope["query_string"], client[0] if client else "", accept, coding, known, client_name
    )


class ShortWay:
    """ASGI application around another one. What it cannot answer at once goes on to that: the ordinary way.

    ``counted`` is told of what is answered here, where nobody around it counts.
    """

    def __init__(self, repeats: Repeats, counted: Requests | None = None) -> None:
        self._app: ASGIApp | None = None
        self._repeats = repeats
        self._counted = counted
        self._house: House | None = None
        self._gate: Gate | None = None
        #: Answers that have moved on and are asked for anew.
        self._renewals: dict[Key, asyncio.Event] = {}

    def around(self, app: ASGIApp) -> ShortWay:
        """This, before an application that knows the ordinary way."""
        self._app = app
        return self

    def open(self, house: House, gate: Gate) -> None:
        """From now on answers can be given again, those of this house."""
        self._repeats.forget_all()
        self._house, self._gate = house, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the answer again, or have it given.

        Of many who ask the same when it has moved on, one takes the ordinary way, and the others wait for what that
        brings: else each change would send all of them there.
        """
        assert self._app is not None  # noqa: S101 - it is made around one
        house, gate, key = self._house, self._gate, self._key(scope)
        if house is None or gate is None or key is None:
            await self._app(scope, receive, send)
            return
        remembered = self._repeats.get(key)
        if remembered is not None and await self._again(remembered, key, house, gate, scope, send):
            return
        renewal = self._renewals.get(key)
        if renewal is not None:
            remembered = await self._renewed(renewal, key, gate)
            if remembered is None or not await self._again(remembered, key, house, gate, scope, send):
                await self._app(scope, receive, send)
        elif remembered is not None:
            renewal = self._renewals[key] = asyncio.Event()
            try:
                await self._app(scope, receive, send)
            finally:
                del self._renewals[key]
                renewal.set()
        else:
            await self._app(scope, receive, send)

    @staticmethod
    def _key(scope: Scope) -> Key | None:
        """What a request is known by, if it may have a short way."""
        if scope["type"] == "http" and scope["path"] in PATHS and scope["method"] == "GET":
            return key_of(scope)
        return None

    async def _renewed(self, renewal: asyncio.Event, key: Key, gate: Gate) -> _Remembered | None:
        """What the ordinary way of another one brings; whoever waits is at work, too."""
        gate.at_work += 1
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await renewal.wait()
        except TimeoutError:
            return None
        finally:
            gate.at_work -= 1
        return self._repeats.get(key)

    async def _again(
        self, remembered: _Remembered, key: Key, house: House, gate: Gate, scope: Scope, send: Send
    ) -> bool:
        """Record and send the answer once more; whether that could be done."""
        at, again, body = datetime.now(UTC), remembered.again, b""
        if not (
            again.holds(at)
            and remembered.admitted.still_holds(at)
            and gate.passes(remembered.credential, remembered.subject, at)
        ):
            return False
        if remembered.has_body:
            held = house.bodies.get(again.tag)
            if held is None:
                return False
            body = held.encoded
        began, ids = perf_counter(), new_texts(at)
        request_id, receipt, _ = ids
        gate.at_work += 1
        try:
            now = again.present
            if house.realms.revision > now.revision:  # It would not be recorded as it is.
                now = Now(house.realms.revision, now.roster)
            for _ in range(_TURNS):
                if now != again.present:
                    carried = await self._carried(remembered, key, house, now)
                    if carried is None or not carried.again.holds(at):
                        return False
                    remembered, again = carried, carried.again
                durable = again.record(house.ledger, at, ids)
                lease = again.signed(house.signer, at, receipt)  # while it is being written down
                with house.tracing.step(Step.RECORD):
                    now = await durable
                if now == again.present:
                    break
            else:
                return False
            self._repeats.used(key)
            self._count(remembered.path, remembered.status, began)
            headers = remembered.headers(ids, lease)
            await send({"type": "http.response.start", "status": remembered.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except Problem as problem:
            refused = answer(problem, remembered.path)
            refused.headers["Muniment-Request-Id"] = request_id
            self._count(remembered.path, refused.status_code, began)
            await refused(scope, _nothing_more, send)
        finally:
            gate.at_work -= 1
        return True

    async def _carried(self, remembered: _Remembered, key: Key, house: House, now: Now) -> _Remembered | None:
        """An answer that was not recorded, at the numbers of the moment; None where another one may be due."""
        realm = await house.realms.current(now.revision)
        newer = self._repeats.get(key)
        if newer is not None and newer.again.present == Now(realm.revision, now.roster):
            return newer if newer.again.tag == remembered.again.tag else None  # whose body was looked for
        return self._repeats.carry(key, remembered, realm, now.roster)

    def _count(self, path: str, status: int, began: float) -> None:
        if self._counted is not None:
            self._counted.ended(path, "GET", status, perf_counter() - began)


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
