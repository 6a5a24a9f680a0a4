"""What is seen of each request from outside: it is counted, and what is said in its course is known as its own.

Requests are told apart by the template of their route, never by their path: a path holds
names, and anybody can make up as many as they like.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muniment.api import logs
from muniment.api.metrics import Numbers, spreading
from muniment.core.measures import Spread

logger = logging.getLogger("muniment.access")

#: What has no route, and what has no method that a route could have.
NO_ROUTE: Final = "none"
OTHER_METHOD: Final = "OTHER"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: What can be answered before a route is looked for.
_ANSWERED_EARLY: Final = frozenset({"/v1/leases", "/v1/catalog"})

#: The caller left before there was an answer; nobody is told this status (nginx's number for it).
_LEFT: Final = 499
_FAILED: Final = 500


class _Ended:
    """How many requests ended alike, and how long all of their route and method took."""

    __slots__ = ("count", "spread")

    def __init__(self, spread: Spread) -> None:
        self.count = 0
        self.spread = spread


class Requests:
    """What has been counted of the requests of one process."""

    def __init__(self) -> None:
        self._spread: dict[tuple[str, str], Spread] = {}
        self._ended: dict[tuple[str, str, int], _Ended] = {}

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        ended = self._ended.get((route, method, status))
        if ended is None:
            ended = self._ended[route, method, status] = _Ended(self._spread.setdefault((route, method), Spread()))
        ended.count += 1
        ended.spread.add(seconds)

    def numbers(self) -> Numbers:
        """All of it."""
        ended = self._ended.items()
        return {
            **{("muniment_http_requests_total", (*key[:2], str(key[2]))): float(each.count) for key, each in ended},
            **{
                ("muniment_http_request_duration_seconds", key): spreading(spread)
                for key, spread in self._spread.items()
            },
        }


class WatchRequests:
    """ASGI middleware: counts each request, and tells of it in the log where that is ``told``."""

    def __init__(self, app: ASGIApp, requests: Requests, *, told: bool = False) -> None:
        self.app = app
        self._requests = requests
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        status, seconds = 0, 0.0
        # It stays: what fails is told of further out. The next request has a context of its own.
        logs.of_request.set(scope.setdefault("state", {}))

        async def watched(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], perf_counter() - began
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = status or _FAILED
            raise
        finally:
            self._ended(scope, status or _LEFT, seconds or perf_counter() - began)

    def _ended(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = method_of(scope), route_of(scope)
        self._requests.ended(route, method, status, seconds)
        if self._told:
            told = {"route": route, "method": method, "status": status, "seconds": round(seconds, 6)}
            logger.info("answered", extra=told)


def method_of(scope: Scope) -> str:
    """The method of a request, of those that a route could have."""
    method: str = scope["method"]
    return method if method in _METHODS else OTHER_METHOD


def route_of(scope: Scope) -> str:
    """The template of the route that answered, or would have."""
    path: str = scope["path"]
    return path if path in _ANSWERED_EARLY else getattr(scope.get("route"), "path", None) or NO_ROUTE
