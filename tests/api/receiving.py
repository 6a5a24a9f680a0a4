"""A receiver of webhooks on this machine: it keeps what it was sent, and answers as the test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

#: What is answered: a status, and headers beside.
Answered = tuple[int, Mapping[str, str]]
TAKEN: Answered = (204, {})


@dataclass(frozen=True)
class Message:
    """One request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


@dataclass
class Receiver:
    """What came, in the order in which it came; ``answer`` says what each is answered with."""

    port: int = 0
    answer: Callable[[Message], Awaitable[Answered]] | None = None
    came: list[Message] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)
    _open: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def until(self, enough: Callable[[list[Message]], bool], *, seconds: float = 60) -> None:
        """Wait until enough has come."""
        async with asyncio.timeout(seconds), self._more:
            await self._more.wait_for(lambda: bool(self.came) and enough(self.came))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.close()
            self._open.discard(task)

    async def close(self) -> None:
        """End all connections."""
        for task in (tasks := list(self._open)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = (await reader.readline()).decode()
        if not first:
            return False
        headers = {}
        while (line := (await reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers["content-length"]))
        message = Message(first.split()[1], headers, body)
        async with self._more:
            self.came.append(message)
            self._more.notify_all()
        status, more = TAKEN if self.answer is None else await self.answer(message)
        said = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        length = "" if status == 204 else "Content-Length: 0\r\n"
        writer.write(f"HTTP/1.1 {status} As it is\r\n{said}{length}\r\n".encode())
        await writer.drain()
        return True


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
