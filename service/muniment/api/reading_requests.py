"""What reaches the routes: requests of a bounded size, well-formed, in readable characters, with an id.

A body is read whole, and only so long, then its sender is looked at, and only then is it
parsed: nobody unknown has work done for them. The time of a request is the time when all
of it was there, so no right outlives its end by being slow.

YAML bodies (``application/yaml``, RFC 9512) become the JSON that they mean, so that a
steward can send a file as it is. A caller who leaves before the end of a body has asked
nothing: what arrived of it is let go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

import anyio.to_thread
import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muniment.api.asking import Doorkeeper
from muniment.api.identifiers import new_id
from muniment.api.limits import Gate
from muniment.api.plain_data import UNREADABLE, from_json, from_yaml
from muniment.api.problems import STANDARD, answer
from muniment.core.problems import Fault, Invalid, NotFound, Problem, TooLarge, TooSlow
from muniment.core.visibility import LONGEST_ASKED

#: The largest body that is read, in bytes.
LARGEST_BODY = 1024 * 1024

#: For how many seconds a body is waited for, from its first byte to its last.
LONGEST_SECONDS = 15.0

#: The largest form of a page, in bytes; a logout token is the longest thing in one.
LARGEST_FORM = 32 * 1024

#: The largest form in which a whole text is written, and where such forms are: the catalog of a project, a dataset with
#: all its columns (in its fields, as YAML, and as it was before), a policy.
LARGEST_LONG_FORM = 512 * 1024
_LONG_FORMS = re.compile(r"/(?:declare|policies)(?:/|\Z)")

#: The largest that is parsed while other requests wait.
_SMALL = 4 * 1024

#: Where nobody has to be signed in to send a small body: whoever holds a key may revoke it.
_FROM_ANYBODY = frozenset({"/v1/keys/revoke"})

_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_REQUEST_ID = "Muniment-Request-Id"
_THEIR_REQUEST_ID = "X-Request-ID"


class _Left(Exception):
    """The caller left before the request was whole."""


class ReadRequests:
    """ASGI middleware: gives each request its id and time, and lets nothing unreadable through.

    ``is_page`` knows the addresses that browsers look at. Those read their forms themselves,
    for they know by a cookie who sent one; ``on_page`` is what they say to a refusal.
    """

    def __init__(
        self, app: ASGIApp, is_page: Callable[[str], bool], on_page: Callable[[Request, Problem], Response]
    ) -> None:
        self.app = app
        self._is_page = is_page
        self._on_page = on_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _begin(scope)
        gate: Gate = scope["app"].state.gate
        named = _named(scope, gate.watching(scope, send))
        if scope["method"] == "HEAD":
            # Answered as GET is, without the body (RFC 9110, 9.3.2).
            scope["method"], named = "GET", _without_body(named)
            scope["state"]["bodiless"] = True
        try:
            gate.enter(scope)
        except Problem as refused:
            await self._answer(refused, scope)(scope, receive, named)
            return
        gate.at_work += 1
        try:
            await self._let_in(scope, receive, named)
        finally:
            gate.at_work -= 1

    async def _let_in(self, scope: Scope, receive: Receive, named: Send) -> None:
        try:
            _check_address(scope)
            replayed = await _body(scope, receive, of_page=self._is_page(scope["path"]))
            _begin(scope)
        except Problem as refused:
            await self._answer(refused, scope)(scope, receive, named)
        except _Left:
            return
        else:
            await self.app(scope, replayed, named)

    def _answer(self, refused: Problem, scope: Scope) -> Response:
        path: str = scope["path"]
        return self._on_page(Request(scope), refused) if self._is_page(path) else answer(refused, path)


def name_answer(headers: MutableHeaders, scope: Scope) -> None:
    """Put the request's id on an answer, and the one that the caller gave it, where a standard says so."""
    request_id: UUID = scope["state"]["request_id"]
    headers[_REQUEST_ID] = str(request_id)
    theirs = Headers(scope=scope).get(_THEIR_REQUEST_ID)
    if theirs is not None and scope["path"].startswith(STANDARD):
        headers[_THEIR_REQUEST_ID] = theirs


def _begin(scope: Scope) -> None:
    """Give the request its time and its id; what was given before is forgotten."""
    at = datetime.now(UTC)
    state = scope.setdefault("state", {})
    state.update(at=at, request_id=new_id(at))
    state.setdefault("bodiless", False)


def _named(scope: Scope, send: Send) -> Send:
    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            name_answer(MutableHeaders(scope=message), scope)
        await send(message)

    return named


def _without_body(send: Send) -> Send:
    async def without_body(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return without_body


def _check_address(scope: Scope) -> None:
    address = scope.get("raw_path", b"") + b"?" + scope.get("query_string", b"")
    try:
        readable = unquote_to_bytes(address).decode()
    except UnicodeDecodeError:
        readable = "\x00"
    if UNREADABLE.search(readable):
        message = "The address holds characters that cannot be read as text."
        raise Invalid(message, [Fault("address", message)])
    if any(len(segment) > LONGEST_ASKED for segment in scope["path"].split("/")):
        # Nothing has such a name: that needs no looking up, and no index could keep it.
        raise NotFound


async def _body(scope: Scope, receive: Receive, *, of_page: bool) -> Receive:
    """The whole body, bounded and well-formed, ready to be read again as JSON."""
    headers = Headers(scope=scope)
    _check_length(headers.get("content-length", "0"))
    body = await _in_time(receive)
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    scope["state"]["media"] = media
    if body and of_page:
        most = LARGEST_LONG_FORM if _LONG_FORMS.match(scope["path"]) else LARGEST_FORM
        if len(body) > most:
            raise _too_large(most)
    elif body:
        _begin(scope)
        if scope["path"] not in _FROM_ANYBODY:
            await _know_sender(scope)
        elif len(body) > _SMALL:
            raise _too_large(_SMALL)
        body = await _as_json(body, media)
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if name not in {b"content-type", b"content-length"}
        ] + [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return _replay(body, receive)


def _check_length(declared: str) -> None:
    if not (declared.isascii() and declared.isdigit()):
        message = "Content-Length is not a number of bytes."
        raise Invalid(message, [Fault("Content-Length", message)])
    if len(declared) > len(str(LARGEST_BODY)) or int(declared) > LARGEST_BODY:
        raise _too_large()


def _too_large(most: int = LARGEST_BODY) -> TooLarge:
    return TooLarge(f"A request's body has at most {most:,} bytes.")


async def _in_time(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await _all(receive)
    except TimeoutError as late:
        raise TooSlow(f"The request's body was not whole after {LONGEST_SECONDS:g} seconds. Send it again.") from late


async def _know_sender(scope: Scope) -> None:
    """Refuse the body of somebody who is not signed in; what is found out of a token is remembered."""
    app: Starlette = scope["app"]
    doorkeeper: Doorkeeper = app.state.doorkeeper
    await doorkeeper.admitted(Request(scope))


async def _all(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(parts)


async def _as_json(body: bytes, media: str) -> bytes:
    read = from_yaml if media in _YAML else from_json

    def written() -> bytes:
        return orjson.dumps(read(body))

    return written() if len(body) <= _SMALL else await anyio.to_thread.run_sync(written)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
