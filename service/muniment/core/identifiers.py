"""Identifiers derived from other identifiers: UUIDs that sort by the same time (RFC 9562, 5.7).

A door makes one identifier for each request; the receipt of its decision and the id of
its ledger row follow from that one, so that nothing below the doors rolls dice.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

_TIME = ~((1 << 80) - 1)
_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def derived(origin: UUID, name: str) -> UUID:
    """The UUIDv7 with the time of ``origin`` whose other 74 bits are a digest of origin and name."""
    digest = int.from_bytes(hashlib.sha256(origin.bytes + name.encode()).digest())
    high, low = digest >> 64 & 0xFFF, digest & ((1 << 62) - 1)
    return UUID(int=origin.int & _TIME | _VERSION_7 | high << 64 | _VARIANT | low)
