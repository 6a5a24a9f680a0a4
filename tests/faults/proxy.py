"""The network between the service and its database: a proxy on this machine that can be cut in several ways."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_AT_ONCE = 1 << 16
#: Closing sends a reset, and nothing that was still to be sent.
_RESETTING = struct.pack("ii", 1, 0)


@dataclass
class Proxy:
    """Carries bytes between whoever connects and a Unix socket, as long as it is told to.

    ``reset`` ends every connection by a reset, and each new one too, until :meth:`heal`. ``still`` holds back all that
    is sent, and hands it over afterwards: a cable that is pulled and put back. ``lose`` loses all that is sent on the
    connections that stand: they never work again, and nobody is told, as behind a firewall that has forgotten them.
    ``slow`` delays each piece by so many seconds.
    """

    upstream: str
    port: int = 0
    _pairs: set[_Pair] = field(default_factory=set)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _resetting: bool = False
    _delay: float = 0.0

    def reset(self) -> None:
        self._resetting = True
        for pair in [*self._pairs]:
            pair.reset()

    def still(self) -> None:
        self._open.clear()

    def lose(self) -> None:
        for pair in self._pairs:
            pair.lost = True

    def slow(self, seconds: float) -> None:
        self._delay = seconds

    def heal(self) -> None:
        """Carry again; connections that were ended or lost stay so."""
        self._resetting, self._delay = False, 0.0
        self._open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what one connection says, both ways, until either end is closed."""
        if self._resetting:
            _reset(writer)
            return
        try:
            there = await asyncio.open_unix_connection(self.upstream)
        except OSError:
            _reset(writer)
            return
        pair = _Pair((writer, there[1]))
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(pair, reader, there[1]))
                both.create_task(self._pump(pair, there[0], writer))
        except* OSError:
            pass
        finally:
            self._pairs.discard(pair)

    async def _pump(self, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_AT_ONCE):
                if pair.lost:
                    continue
                await self._open.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                sink.write(data)
                await sink.drain()
        finally:
            pair.close()


@dataclass(eq=False)
class _Pair:
    """The two ends of one connection."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    lost: bool = False

    def reset(self) -> None:
        for end in self.ends:
            _reset(end)

    def close(self) -> None:
        for end in self.ends:
            end.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETTING)
    writer.transport.abort()


@asynccontextmanager
async def proxy(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy on a port of its own before a Unix socket, until the block ends."""
    made = Proxy(upstream)
    made.heal()
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.reset()
