"""Content codings (RFC 9110, 8.4.1): which one a caller prefers, and the encoding itself."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import zstandard

IDENTITY = "identity"

#: Below this many bytes a coding gains nothing.
SMALLEST = 1024

#: What is offered, best first: zstd is three times faster than gzip here, and smaller (RFC 8878).
OFFERED = ("zstd", "gzip")
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 3


def preferred(accept_encoding: str) -> str:
    """The coding to answer in, by the caller's ``Accept-Encoding``; what is not named is not used."""
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip().lower()] = _weight(parameters)
    best = max(OFFERED, key=lambda coding: (weights.get(coding, 0), -OFFERED.index(coding)))
    return best if weights.get(best, 0) > 0 else IDENTITY


def encode(body: bytes, coding: str) -> bytes:
    """The body in a coding. The same body gives the same bytes: no time stands in them."""
    match coding:
        case "gzip":
            return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)
        case "zstd":
            # A copy, which takes as many bytes as it has: what zstandard gives keeps room for the worst case, some 30
            # times as much.
            return bytes(memoryview(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)))
        case _:
            return body


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it travels, and the digest (SHA-256, hex) of what is read of it: that of its text before the coding."""

    encoded: bytes
    sha256: str

    @classmethod
    def of(cls, text: bytes, coding: str) -> Body:
        """A text in a coding."""
        return cls(encode(text, coding), hashlib.sha256(text).hexdigest())


class Bodies:
    """Bodies by their tags, within a number of bytes; the ones not asked for longest go first.

    Bodies are made in threads, and held by the one that serves: nothing here waits or locks.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[str, Body] = OrderedDict()
        self._bytes = 0

    @property
    def bytes_held(self) -> int:
        """How many bytes all bodies take together."""
        return self._bytes

    def get(self, tag: str) -> Body | None:
        """The body with this tag, if it is held."""
        if tag in self._held:
            self._held.move_to_end(tag)
        return self._held.get(tag)

    def put(self, tag: str, body: Body) -> None:
        """Hold a body, unless it alone is more than all may be."""
        if len(body.encoded) > self._most or tag in self._held:
            return
        self._held[tag] = body
        self._bytes += len(body.encoded)
        while self._bytes > self._most:
            _, gone = self._held.popitem(last=False)
            self._bytes -= len(gone.encoded)


class Digests:
    """The digests of bodies by their tags, of as many as are asked for most lately.

    They outlast the bodies: whoever holds a body already is told its digest and nothing else.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[str, str] = OrderedDict()

    def get(self, tag: str) -> str | None:
        """The digest of the body with this tag, if it is held."""
        if tag in self._held:
            self._held.move_to_end(tag)
        return self._held.get(tag)

    def put(self, tag: str, sha256: str) -> None:
        """Hold a digest."""
        self._held[tag] = sha256
        while len(self._held) > self._most:
            self._held.popitem(last=False)
