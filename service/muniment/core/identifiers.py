"""Identifiers derived from other identifiers: UUIDs that sort by the same time (RFC 9562, 5.7).

A door makes one identifier for each request; the receipt of its decision and the id of
its ledger row follow from that one, so that nothing below the doors rolls dice.

:func:`texts` makes all three as they are written, for who needs no more: a fifth of the work.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple
from uuid import UUID

_TIME = ~((1 << 80) - 1)
_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62

#: How many random bytes an identifier takes.
DRAWN: Final = 10

#: The first digit of the last 64 bits: two of its bits are the variant.
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Texts(NamedTuple):
    """The identifiers of one request, as they are written."""

    request_id: str
    receipt: str
    row_id: str


def made(milliseconds: int, drawn: bytes) -> UUID:
    """The UUIDv7 of a moment, in milliseconds since 1970, with 74 of these random bits."""
    bits = int.from_bytes(drawn)
    return UUID(int=milliseconds << 80 | _VERSION_7 | bits >> 68 << 64 | _VARIANT | bits & ((1 << 62) - 1))


def texts(milliseconds: int, drawn: bytes) -> Texts:
    """What :func:`made` and then :func:`derived` give, written."""
    time, digits = f"{milliseconds:012x}", drawn.hex()
    head = f"{time[:8]}-{time[8:]}-7"
    tail = f"{_VARIANTS[digits[4]]}{digits[5:]}"
    origin = bytes.fromhex(f"{time}7{digits[:3]}{tail}")
    receipt = hashlib.sha256(origin + b"receipt").hexdigest()
    row = hashlib.sha256(origin + b"row").hexdigest()
    return Texts(
        f"{head}{digits[:3]}-{tail[:4]}-{tail[4:]}",
        f"{head}{receipt[45:48]}-{_VARIANTS[receipt[48]]}{receipt[49:52]}-{receipt[52:]}",
        f"{head}{row[45:48]}-{_VARIANTS[row[48]]}{row[49:52]}-{row[52:]}",
    )


def derived(origin: UUID, name: str) -> UUID:
    """The UUIDv7 with the time of ``origin`` whose other 74 bits are a digest of origin and name."""
    digest = int.from_bytes(hashlib.sha256(origin.bytes + name.encode()).digest())
    high, low = digest >> 64 & 0xFFF, digest & ((1 << 62) - 1)
    return UUID(int=origin.int & _TIME | _VERSION_7 | high << 64 | _VARIANT | low)
