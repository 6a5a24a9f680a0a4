"""The limit of this machine: an ASGI application that answers with constants, served as the service is.

``/200/4096`` answers with 4,096 bytes, ``/304`` with none. It ends when its standard input
closes, so it never outlives whoever started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_made: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}


async def app(scope: Mapping[str, Any], _receive: Receive, send: Send) -> None:
    """Send the two messages that were made for this address when it was first asked for."""
    path = scope["path"]
    start, body = _made.get(path) or _made.setdefault(path, _messages(path))
    await send(start)
    await send(body)


def _messages(path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    status, _, length = path.strip("/").partition("/")
    body = bytes(int(length or 0))
    headers = [(b"etag", b'"constant"')]
    if status != "304":
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": int(status), "headers": headers}
    return start, {"type": "http.response.body", "body": body}


def end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    # The options of `muniment serve`.
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
        lifespan="off",
    )
