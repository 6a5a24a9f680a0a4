"""Asks over HTTP/1.1 and times the answers, cheaply enough that the asking is not what is measured.

A caller is one connection that is kept alive and has one question on its way at a time.
Every answer is checked while it is timed: another status or another length than the one
expected ends the run, because the time of a wrong answer is no result.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import zstandard

#: No answer of the service takes this long; one that does is a fault, not a figure.
PATIENCE_SECONDS = 120

#: The largest answer that comes in chunks, in bytes.
_LARGEST = 2**26
_HEAD_ENDS = b"\r\n\r\n"
_LENGTH = b"content-length:"
_CHUNKED = b"transfer-encoding: chunked"
#: What ends a body in chunks (RFC 9112, 7.1). No JSON text holds it.
_CHUNKS_END = b"\r\n0\r\n\r\n"


class WrongAnswer(Exception):
    """An answer is not the one that was to be timed."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, ready to be sent, and the answer that it must get; of a body that changes, no length is known."""

    request: bytes
    status: int
    length: int | None
    name: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer in full, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @cached_property
    def text(self) -> bytes:
        """The body without its coding."""
        match self.headers.get("content-encoding"):
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj().decompress(self.body)
            case "gzip":
                return gzip.decompress(self.body)
            case _:
                return self.body

    def expect(self, status: int) -> Answer:
        """This answer, if it has the status; else :class:`WrongAnswer` with what it says."""
        if self.status != status:
            raise WrongAnswer(f"{self.status} came instead of {status}: {self.text[:500].decode(errors='replace')}")
        return self


@dataclass(slots=True)
class Timed:
    """What some callers measured together: each answer's time, and the time of all."""

    nanoseconds: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Timed) -> None:
        """Count another measurement in."""
        self.nanoseconds.extend(other.nanoseconds)
        self.seconds += other.seconds


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None) -> bytes:
    """A request as it goes over the wire."""
    text = b"" if body is None else json.dumps(body).encode()
    lines = {"Host": "127.0.0.1", "User-Agent": "muniment-bench", **(headers or {})}
    if text:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(text))}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{head}\r\n".encode() + text


async def ask(port: int, question: bytes) -> Answer:
    """Ask once, on a connection that stands before the clock starts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LARGEST)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            began = time.perf_counter()
            writer.write(question)
            head = await reader.readuntil(_HEAD_ENDS)
            status, headers = _read_head(head)
            if "transfer-encoding" in headers:
                body = _without_chunks(await reader.readuntil(_CHUNKS_END))
            else:
                body = await reader.readexactly(0 if status == 304 else int(headers.get("content-length", 0)))
            return Answer(status, headers, body, time.perf_counter() - began)
    finally:
        writer.close()


async def load(
    port: int, questions: Sequence[Question], callers: int, seconds: float, most: int, rate: float | None = None
) -> Timed:
    """Let callers ask in turn until the time is over or ``most`` was asked, and every question is answered.

    With a ``rate`` so many questions fall due each second, whether or not a caller is free: an answer's time counts
    from when its question was due, so that nobody's waiting is left out.
    """
    loop = asyncio.get_running_loop()
    course = _Course(questions, most, None if rate is None else int(1e9 / rate))
    made = [await loop.create_connection(lambda: _Caller(course), "127.0.0.1", port) for _ in range(callers)]
    connections = [connection for _, connection in made]
    gc.disable()
    try:
        began = time.perf_counter()
        course.begin(seconds)
        for connection in connections:
            connection.next()
        async with asyncio.timeout(seconds + PATIENCE_SECONDS):
            await asyncio.gather(*(connection.done for connection in connections))
        took = time.perf_counter() - began
        if not course.nanoseconds:
            raise WrongAnswer(f"Nobody was answered in {seconds} s.")
    finally:
        gc.enable()
        for connection in connections:
            connection.close()
    return Timed(course.nanoseconds, took)


class _Course:
    """The questions that are asked in turn, by all callers together, and the times of the answers."""

    def __init__(self, questions: Sequence[Question], most: int, pause: int | None) -> None:
        self._questions = questions
        self._left = most
        self._turn = 0
        self._pause = pause
        self._began = self._end = 0
        self.nanoseconds: list[int] = []

    def begin(self, seconds: float) -> None:
        self._began = time.perf_counter_ns()
        self._end = self._began + int(seconds * 1e9)

    def next(self) -> tuple[Question, int] | None:
        """The next question, and when it is due."""
        now = time.perf_counter_ns()
        due = now if self._pause is None else self._began + self._turn * self._pause
        if self._left == 0 or max(now, due) >= self._end:
            return None
        self._left -= 1
        self._turn += 1
        return self._questions[self._turn % len(self._questions)], due


class _Caller(asyncio.Protocol):
    """One connection: sends the next question as soon as the one before is answered."""

    def __init__(self, course: _Course) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._course = course
        self._transport: asyncio.WriteTransport
        self._asked: Question | None = None
        self._began = 0
        self._head = b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def next(self) -> None:
        following = self._course.next()
        if following is None:
            self._asked = None
            self.done.set_result(None)
            return
        self._asked, self._began = following
        self._head, self._left = b"", -1
        early = self._began - time.perf_counter_ns()
        if early > 0:
            asyncio.get_running_loop().call_later(early / 1e9, self._transport.write, self._asked.request)
        else:
            self._transport.write(self._asked.request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(_HEAD_ENDS)
            if end < 0:
                return
            if _CHUNKED in self._head[:end].lower():
                self._chunks_received(end)
                return
            self._left = self._body_length(self._head[:end]) - (len(self._head) - end - len(_HEAD_ENDS))
        else:
            self._left -= len(data)
        if self._left == 0 and not self.done.done():
            self._course.nanoseconds.append(time.perf_counter_ns() - self._began)
            self.next()

    def _chunks_received(self, head_end: int) -> None:
        """What has come of an answer in chunks: the whole of it is looked at, for there is no length before."""
        if self._head.endswith(_CHUNKS_END):
            body = _without_chunks(self._head[head_end + len(_HEAD_ENDS) :])
            self._check(int(self._head[9:12]), len(body))
            if not self.done.done():
                self._course.nanoseconds.append(time.perf_counter_ns() - self._began)
                self.next()

    def _body_length(self, head: bytes) -> int:
        """The length of the body that follows; what is not expected ends this caller."""
        status, length = int(head[9:12]), 0
        if status not in {204, 304}:
            _, _, rest = head.lower().partition(_LENGTH)
            length = int(rest.partition(b"\r\n")[0] or 0)
        self._check(status, length)
        return length

    def _check(self, status: int, length: int) -> None:
        asked = self._asked
        if asked is None or status != asked.status or asked.length not in {None, length}:
            expected = "no answer" if asked is None else f"{asked.status} with {asked.length} bytes for {asked.name}"
            self._fail(WrongAnswer(f"{status} with {length} bytes came instead of {expected}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(WrongAnswer(f"The connection ended before the answer came ({exc or 'closed'})"))

    def close(self) -> None:
        if not self.done.done():
            self.done.cancel()
        self._transport.close()

    def _fail(self, error: WrongAnswer) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _without_chunks(framed: bytes) -> bytes:
    """A body that came in chunks (RFC 9112, 7.1)."""
    parts = []
    while framed:
        size, _, rest = framed.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        parts.append(rest[:length])
        framed = rest[length + 2 :] if length else b""
    return b"".join(parts)


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in headers}
