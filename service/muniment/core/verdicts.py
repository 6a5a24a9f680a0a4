"""What verifying a ledger comes to: what is proven, up to which moment, and each thing that speaks against more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from muniment.core.checkpoints import Restored, VerifierKey


class Kind(StrEnum):
    """What can be wrong with a ledger; of what begins at the same row, the first of these is told first."""

    KEY_REPLACED = "key-replaced"
    SEAL_CHANGED = "seal-changed"
    RESTORED = "restored"
    CHANGED = "changed"
    REORDERED = "reordered"
    REMOVED = "removed"
    TRUNCATED = "truncated"
    INSERTED = "inserted"
    BACKDATED = "backdated"
    ERASED = "erased-without-record"
    RETIRED = "retired-without-record"
    WITNESS = "witness-changed"
    UNGUARDED = "unguarded"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed: where it begins, with which row, of how many, and what it means.

    ``position`` counts rows from 0 in the order in which they were sealed; ``at`` is the moment of the row.
    """

    kind: Kind
    words: str
    position: int | None = None
    id: str | None = None
    at: datetime | None = None
    seal: int | None = None
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a witness has kept the same checkpoints: how many, and the newest of them."""

    name: str
    checkpoints: int = 0
    number: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is proven: ``rows`` rows, all that were recorded up to ``proven_until``; and what speaks against more.

    ``sealed`` rows stand in ``seals`` seals; of them ``retired`` are gone and ``erased`` lack fields, as was recorded.
    ``unsealed`` are too new to be sealed. ``pinned`` says that somebody vouches for the keys. ``untold`` faults are
    more than are listed.
    """

    proven_until: datetime | None
    rows: int
    seals: int
    sealed: int
    unsealed: int
    retired: int
    erased: int
    keys: Sequence[VerifierKey]
    pinned: bool
    witnesses: Sequence[Agreement]
    restorations: Sequence[tuple[int, Restored]]
    faults: Sequence[Fault]
    untold: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.faults
