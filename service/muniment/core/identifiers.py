"""Identifiers derived from other identifiers: UUIDs that sort by the same time (RFC 9562, 5.7).

A door makes one identifier for each request; the receipt of its decision and the id of
its ledger row follow from that one, so that nothing below the doors rolls dice.

:func:`texts` writes three of a door's own, for an answer that is given again: nothing is derived
there, so all three are rolled, which is a tenth of the work.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final
from uuid import UUID

_TIME = ~((1 << 80) - 1)
_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62

#: How many random bytes an identifier takes, and three of them.
DRAWN: Final = 10
DRAWN_FOR_THREE: Final = 3 * DRAWN

#: The first digit of the last 64 bits: two of its bits are the variant.
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


#: The identifiers of a request, of what it is given and of its ledger row, as they are written.
Texts = tuple[str, str, str]


def made(milliseconds: int, drawn: bytes) -> UUID:
    """The UUIDv7 of a moment, in milliseconds since 1970, with 74 of these random bits."""
    bits = int.from_bytes(drawn)
    return UUID(int=milliseconds << 80 | _VERSION_7 | bits >> 68 << 64 | _VARIANT | bits & ((1 << 62) - 1))


def texts(milliseconds: int, drawn: bytes) -> Texts:
    """What :func:`made` makes of each ten of these random bytes, written."""
    time, digits = f"{milliseconds:012x}", drawn.hex()
    head = f"{time[:8]}-{time[8:]}-7"
    return (
        f"{head}{digits[:3]}-{_VARIANTS[digits[4]]}{digits[5:8]}-{digits[8:20]}",
        f"{head}{digits[20:23]}-{_VARIANTS[digits[24]]}{digits[25:28]}-{digits[28:40]}",
        f"{head}{digits[40:43]}-{_VARIANTS[digits[44]]}{digits[45:48]}-{digits[48:]}",
    )


def at_moment(origin: UUID, at: datetime) -> UUID:
    """The same identifier with another time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | origin.int & ~_TIME)


def derived(origin: UUID, name: str) -> UUID:
    """The UUIDv7 with the time of ``origin`` whose other 74 bits are a digest of origin and name."""
    digest = int.from_bytes(hashlib.sha256(origin.bytes + name.encode()).digest())
    high, low = digest >> 64 & 0xFFF, digest & ((1 << 62) - 1)
    return UUID(int=origin.int & _TIME | _VERSION_7 | high << 64 | _VARIANT | low)
