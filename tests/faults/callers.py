"""Those who ask all the time, and those who change the rules meanwhile; everything that they see is told.

Each asks on a connection that is kept alive, and opens another one when that breaks. Nobody gives up: what fails is
told, and asked again a little later.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
import zstandard

from tests.faults.history import Asked, Changed, Received, Recorder
from tests.faults.realm import ENVIRONMENTS, Steward

#: No answer takes longer, whatever fails; a caller who has waited so long has lost it.
PATIENCE_SECONDS = 40
_PAUSE_SECONDS = 0.05
_MOST_HEAD = 1 << 20
_PATHS = {"lease.served": "/v1/leases", "catalog.served": "/v1/catalog"}
_PLURALS = {"policy": "policies", "grant": "grants"}
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, its headers by their small names, and its text."""

    status: int
    headers: Mapping[str, str]
    text: bytes

    @property
    def problem(self) -> str:
        """The type of the problem that it is, if it is one."""
        if self.headers.get("content-type") != _PROBLEM:
            return ""
        return str(orjson.loads(self.text).get("type", ""))


class Lost(Exception):
    """There was no answer, and why."""


@dataclass
class Line:
    """One connection that is kept alive, and made anew when it has broken."""

    port: int
    headers: Mapping[str, str]
    _ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, more: Mapping[str, str], body: object = None) -> Answer:
        """One answer; :class:`Lost` where there is none."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._ends is None:
                    self._ends = await asyncio.open_connection("127.0.0.1", self.port, limit=_MOST_HEAD)
                return await self._exchanged(*self._ends, method, path, more, body)
        except TimeoutError:
            self.close()
            raise Lost("timeout") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(type(error).__name__) from None

    async def _exchanged(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        more: Mapping[str, str],
        body: object,
    ) -> Answer:
        sent = b"" if body is None else orjson.dumps(body)
        lines = {"Host": "127.0.0.1", **self.headers, **more}
        if body is not None:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(sent))}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{head}\r\n".encode() + sent)
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        status = int(first.split(" ", 2)[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        length = 0 if status in {204, 304} else int(headers.get("content-length", "0"))
        text = await reader.readexactly(length)
        if headers.get("content-encoding") == "zstd":
            text = zstandard.ZstdDecompressor().decompressobj().decompress(text)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, text)

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


@dataclass
class Caller:
    """Somebody who asks for their leases and catalogs, with the tags that they hold or without."""

    who: str
    line: Line
    recorder: Recorder
    random: Random
    pause: float = 0.0
    answered: int = 0
    _tags: dict[tuple[str, str], str] = field(default_factory=dict)

    async def ask_until(self, over: Callable[[], bool]) -> None:
        while not over():
            asked = await self.ask()
            self.answered += asked.answered
            await asyncio.sleep(self.pause if asked.answered else _PAUSE_SECONDS)
        self.line.close()

    async def ask(self) -> Asked:
        """Ask once, and tell of it."""
        event, environment = self.random.choice([*_PATHS]), self.random.choice(ENVIRONMENTS)
        more = {"Accept": "application/json", "Accept-Encoding": self.random.choice(("identity", "identity", "zstd"))}
        held = self._tags.get((event, environment))
        if held is not None and self.random.random() < 0.7:
            more["If-None-Match"] = held
        began = time.monotonic_ns()
        try:
            answer = await self.line.ask("GET", f"{_PATHS[event]}?environment={environment}", more)
        except Lost as lost:
            told = Asked(self.who, event, environment, began, time.monotonic_ns(), 0, lost=str(lost))
        else:
            told = self._received(event, environment, began, answer)
        self.recorder.tell(told)
        return told

    def _received(self, event: str, environment: str, began: int, answer: Answer) -> Asked:
        ended = time.monotonic_ns()
        if answer.status not in {200, 304}:
            return Asked(self.who, event, environment, began, ended, answer.status, problem=answer.problem)
        headers = answer.headers
        tag = headers.get("etag", "")
        self._tags[event, environment] = tag
        body = ""
        if answer.status == 200:
            body = hashlib.sha256(answer.text).hexdigest()
            if not self.recorder.knows(body):
                self.recorder.tell(Received(body, _given(event, answer.text)))
        return Asked(
            headers.get("muniment-subject", ""),
            event,
            environment,
            began,
            ended,
            answer.status,
            receipt=headers.get("muniment-receipt", ""),
            revision=int(headers.get("muniment-revision", "-1")),
            tag=tag,
            body=body,
        )


def _given(event: str, text: bytes) -> dict[str, tuple[str, ...]]:
    """What a body gives; a lease says what may be done, and must say it of what its catalog holds."""
    held = orjson.loads(text)
    if event == "catalog.served":
        return dict.fromkeys(held, ())
    return {name: tuple(held["actions"].get(name, ("nothing",))) for name in {*held["catalog"], *held["actions"]}}


@dataclass
class Changer:
    """Who changes the rules at a steady pace, and looks what stands after each change without an answer."""

    line: Line
    recorder: Recorder
    steward: Steward
    every: float
    made: int = 0
    _versions: dict[str, int] = field(default_factory=dict)

    async def change_until(self, over: Callable[[], bool]) -> None:
        due = time.monotonic()
        while not over():
            changed = await self.change(*self.steward.next())
            self.made += changed is not None and changed.acknowledged
            due = max(due + self.every, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        self.line.close()

    async def change(self, kind: str, key: str, body: dict[str, Any] | None) -> Changed | None:
        """Make one change, and tell of it; nothing where it would end what is not there."""
        path = f"/v1/{_PLURALS[kind]}/{key}"
        if key not in self._versions and not await self._learn(path, key):
            return None
        version = self._versions[key]
        if body is None and not version:
            return None
        more = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        began = time.monotonic_ns()
        del self._versions[key]
        try:
            answer = await self.line.ask("DELETE" if body is None else "PUT", path, more, body)
        except Lost as lost:
            told = Changed(kind, key, body, began, time.monotonic_ns(), 0, lost=str(lost))
        else:
            told = self._answered(kind, key, body, began, answer)
            if told.acknowledged:
                self._versions[key] = 0 if body is None else int(answer.headers["etag"].strip('"'))
        if told.status != 412:  # Somebody else's change, or one of ours that stands although its answer was lost.
            self.recorder.tell(told)
        return told

    def _answered(self, kind: str, key: str, body: dict[str, Any] | None, began: int, answer: Answer) -> Changed:
        said = orjson.loads(answer.text).get("revision", -1) if answer.text and answer.status < 300 else -1
        revision = int(answer.headers.get("muniment-revision", said))
        return Changed(kind, key, body, began, time.monotonic_ns(), answer.status, "", answer.problem, revision)

    async def _learn(self, path: str, key: str) -> bool:
        """Which version stands, as far as somebody answers."""
        try:
            answer = await self.line.ask("GET", path, {"Accept": "application/json"})
        except Lost:
            return False
        if answer.status not in {200, 404}:
            return False
        self._versions[key] = int(answer.headers["etag"].strip('"')) if answer.status == 200 else 0
        return True
