"""Sends a message to an address that somebody else chose, and reaches no address that it must not.

A name is resolved once for each connection, and it is the addresses found then that are looked
at and connected to: a name that is answered differently a moment later changes nothing (DNS
rebinding). Redirects are not followed, no proxy stands between, nothing of an answer is kept
but its status and when the receiver wants to be called again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httpx

from muniment.core.addresses import Network, may_be_called
from muniment.core.webhooks import Url

#: How long a receiver has for all of it, and how much of its answer is read so that the connection can be used again.
SECONDS: Final = 15.0
_MOST_READ: Final = 16 * 1024

_KEPT_SECONDS: Final = 30.0
_MOST_ADDRESSES: Final = 4

#: Finds the addresses of a host.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a message: the status that its receiver answered, or ``why`` there is none."""

    status: int | None = None
    retry_after: str | None = None
    why: str | None = None


class NotCallable(Exception):
    """The host is none that may be called, or no host at all."""


class Messenger:
    """Sends messages; ``listed`` are the networks beside the public internet that may be called, plainly too."""

    def __init__(
        self,
        listed: Iterable[Network] = (),
        *,
        seconds: float = SECONDS,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listed = tuple(listed)
        self._seconds = seconds
        self._resolve = resolve or _resolved
        self._tls = tls
        self._pools: dict[bool, httpcore.AsyncConnectionPool] = {}

    @property
    def calls_plainly(self) -> bool:
        """Whether there is anybody who is called without TLS."""
        return bool(self._listed)

    async def send(self, url: Url, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message and say what came of it. Nothing that a receiver does raises anything."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._sent(url, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(why=f"no answer in {self._seconds:g} seconds")
        except NotCallable as refused:
            return Answer(why=str(refused))
        except ssl.SSLError:
            return Answer(why="no TLS that can be trusted")
        except httpcore.NetworkError as failed:
            return Answer(why=_words(failed))
        except (httpcore.ProtocolError, OSError, ValueError):
            return Answer(why="the connection broke, or the answer was no HTTP")

    async def aclose(self) -> None:
        """Close what connections stand."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _sent(self, url: Url, headers: Mapping[str, str], body: bytes) -> Answer:
        address = httpcore.URL(
            scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
        )
        given = [(b"Host", url.authority.encode()), (b"User-Agent", b"muniment"), (b"Accept", b"*/*")]
        given += [(name.encode(), value.encode()) for name, value in headers.items()]
        given.append((b"Content-Length", str(len(body)).encode()))
        async with self._pool(plain=url.plain).stream("POST", address, headers=given, content=body) as response:
            asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
            read = 0
            async for part in response.aiter_stream():
                read += len(part)
                if read > _MOST_READ:
                    break
            return Answer(response.status, asked.decode("latin-1") if asked is not None else None)

    def _pool(self, *, plain: bool) -> httpcore.AsyncConnectionPool:
        """Connections are kept apart by how they are made: what may be called with TLS may not be without."""
        if plain not in self._pools:
            self._pools[plain] = httpcore.AsyncConnectionPool(
                ssl_context=None if plain else (self._tls or httpx.create_ssl_context()),
                max_connections=None,
                max_keepalive_connections=256,
                keepalive_expiry=_KEPT_SECONDS,
                network_backend=_Guarded(self._listed, self._resolve, plain=plain),
            )
        return self._pools[plain]


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be called, and to no other."""

    def __init__(self, listed: Sequence[Network], resolve: Resolve, *, plain: bool) -> None:
        self._listed = listed
        self._resolve = resolve
        self._plain = plain
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to an address of the host that was looked at; the certificate is asked for by the name."""
        failed: httpcore.ConnectError | None = None
        for address in (await self._allowed(host, port))[:_MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failed = error
        raise failed or NotCallable

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Never: a socket in the file system is on this machine."""
        raise NotCallable("sockets in the file system are not called")

    async def sleep(self, seconds: float) -> None:
        """Wait, as the pool asks."""
        await asyncio.sleep(seconds)

    async def _allowed(self, host: str, port: int) -> list[str]:
        found = await self._resolve(host, port)
        if not found:
            raise NotCallable("no address is known for the host")
        allowed = [each for each in found if may_be_called(each, self._listed, plainly=self._plain)]
        if not allowed:
            raise NotCallable("the host is none that this service may call (MUNIMENT_WEBHOOK_NETWORKS)")
        return allowed


async def _resolved(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine's resolver knows of a host."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _words(failed: httpcore.NetworkError) -> str:
    """What was wrong with a connection; a certificate is what people can mend."""
    cause = failed.__context__ or failed.__cause__
    return "no TLS that can be trusted" if isinstance(cause, ssl.SSLError) else "no connection"
