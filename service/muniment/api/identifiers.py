"""The identifier of each request: a UUID that sorts by time (RFC 9562, 5.7)."""

from __future__ import annotations

import os
from datetime import datetime
from uuid import UUID

from muniment.core.identifiers import DRAWN, DRAWN_FOR_THREE, Texts, made, texts


def new_id(at: datetime) -> UUID:
    """A UUIDv7 of this moment, to the millisecond, with 74 random bits."""
    return made(_milliseconds(at), os.urandom(DRAWN))


def new_texts(at: datetime) -> Texts:
    """New identifiers of this moment: of a request, of what it is given, and of its row in the ledger."""
    return texts(_milliseconds(at), os.urandom(DRAWN_FOR_THREE))


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000) & ((1 << 48) - 1)
