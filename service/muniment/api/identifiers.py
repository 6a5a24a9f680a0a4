"""The identifier of each request: a UUID that sorts by time (RFC 9562, 5.7)."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def new_id(at: datetime) -> UUID:
    """A UUIDv7 of this moment, to the millisecond, with 74 random bits."""
    milliseconds = int(at.timestamp() * 1000) & ((1 << 48) - 1)
    return UUID(int=milliseconds << 80 | _VERSION_7 | secrets.randbits(12) << 64 | _VARIANT | secrets.randbits(62))
