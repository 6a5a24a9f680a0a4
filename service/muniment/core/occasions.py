"""Who asks, when, and in which request: the first line of every decision and event.

Each door builds one occasion. Below the doors nothing reads a clock or a "current
user": the time and the asker are here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from muniment.core.identifiers import derived
from muniment.core.sign_ins import Bounds
from muniment.core.subjects import Subject, SubjectState


@dataclass(frozen=True, slots=True)
class Occasion:
    """One request: the asker as known at this moment, the moment, and where it came from.

    ``at`` is timezone-aware UTC. ``request_id`` is a UUIDv7 and travels in
    ``Muniment-Request-Id``; ``client`` is what the caller says it runs. ``credential`` is what
    the asker signed in with, ``bounds`` what that is bound to, ``since`` its beginning, where
    anybody knows it, and ``until`` its end.
    ``revision`` is the realm's when the asker was let in, and ``roster`` the version of the
    roster, with every change that was acknowledged before the request began.
    """

    asker: SubjectState
    at: datetime
    request_id: UUID
    address: str = ""
    client: str = ""
    credential: str = ""
    bounds: Bounds | None = None
    since: datetime | None = None
    until: datetime | None = None
    revision: int | None = None
    roster: int | None = None
    #: Which of several answers of one request this is; the first has no name.
    part: str = ""

    @property
    def subject(self) -> Subject:
        """The subject that asks."""
        return self.asker.subject

    @property
    def receipt(self) -> UUID:
        """The identifier of what is decided on this occasion, carried by the answer and the ledger."""
        return derived(self.request_id, f"receipt{self.part}")

    @property
    def row_id(self) -> UUID:
        """The identifier of the ledger row of this occasion."""
        return derived(self.request_id, f"row{self.part}")

    def beside(self, part: str) -> Occasion:
        """The occasion of a further answer to the same request, which has a row and a receipt of its own."""
        return replace(self, part=part)
