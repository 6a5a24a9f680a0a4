"""What is sealed of a row of the ledger: its canonical bytes, with who and details behind salted commitments.

A leaf of the tree is the hash of a row's *entry*: canonical JSON of its plain fields and
two commitments, ``who`` and ``details``. What a commitment hides can be erased, and the
commitment then stands in its place: the leaf stays what it was, so an erasure breaks no
proof. Each commitment has its own half of the row's salt; without it nobody can find out
by guessing what stood there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from muniment.core.ledger import Place
from muniment.core.merkle import WIDTH, leaf_hash

#: The bytes of one identifier.
ID_WIDTH: Final = 16

#: The bytes of a row's salt, and how many of them belong to who, before those that belong to the details.
SALT: Final = 32
WHO_SALT: Final = 16

#: What no JSON begins with, and none holds.
_NO_SALT: Final = b"\0"

#: The fields of which who consists.
WHO: Final = ("address", "client", "credential", "subject", "subject_state")

#: What stands in each of them where they were erased, and what stands for erased details.
ERASED: Final = "erased"
ERASED_DETAILS: Final = '{"erased": true}'

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: What comes before a signed statement, so that no signature under one is ever one under something else.
_STATEMENT: Final = b"muniment ledger statement\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Rows that were sealed together, as they are kept: leaves ``first`` to ``size`` of the tree, without the last.

    ``ids`` and ``leaves`` are those of the rows, one after the other; ``checkpoint`` is the text of the signed note.
    ``place`` is the last row's that was sealed, in this seal or before it.
    """

    number: int
    at: datetime
    first: int
    size: int
    ids: bytes
    leaves: bytes
    checkpoint: str
    place: Place

    def id_at(self, index: int) -> UUID:
        """The identifier of the row that is leaf ``index`` of the tree."""
        begin = (index - self.first) * ID_WIDTH
        return UUID(bytes=self.ids[begin : begin + ID_WIDTH])

    def leaf_at(self, index: int) -> bytes:
        """Leaf ``index`` of the tree."""
        begin = (index - self.first) * WIDTH
        return self.leaves[begin : begin + WIDTH]


class Stored(NamedTuple):
    """A row as it is stored, in plain values: moments in microseconds since 1970, identifiers as text.

    ``details`` is the text of the JSON (:func:`written`). ``who_sha256`` and ``details_sha256`` stand for what was
    erased. A tuple, since a million of them are read when a ledger is verified.
    """

    id: str
    at: int
    event: str
    outcome: str
    subject: str
    issuer: str
    subject_state: str
    address: str
    client: str
    credential: str
    request_id: str | None
    receipt: str | None
    revision: int | None
    environment: str | None
    project: str | None
    purpose: str | None
    run: str | None
    datasets: list[str]
    policies: list[str]
    decided_sha256: str | None
    evaluator: str | None
    details: str
    seq: int
    xact: int
    salt: bytes | None
    who_sha256: bytes | None
    details_sha256: bytes | None


def entry(stored: Stored) -> bytes:
    """The canonical bytes of a row: JSON in UTF-8 without spaces, keys in the order of their code points."""
    (
        id_, at, event, outcome, _, issuer, _, _, _, _, request_id, receipt, revision, environment, project,
        purpose, run, datasets, policies, decided_sha256, evaluator, _, seq, xact, _, _, _,
    ) = stored  # fmt: skip
    return orjson.dumps({
        "at": at,
        "datasets": datasets,
        "decided_sha256": decided_sha256,
        "details": details_commitment(stored).hex(),
        "environment": environment,
        "evaluator": evaluator,
        "event": event,
        "id": id_,
        "issuer": issuer,
        "outcome": outcome,
        "policies": policies,
        "project": project,
        "purpose": purpose,
        "receipt": receipt,
        "request_id": request_id,
        "revision": revision,
        "run": run,
        "seq": seq,
        "who": who_commitment(stored).hex(),
        "xact": xact,
    })  # fmt: skip


def leaf(stored: Stored) -> bytes:
    """The leaf that stands for a row in the tree."""
    return leaf_hash(entry(stored))


def who_commitment(stored: Stored) -> bytes:
    """What stands for who: the salt's first half and the fields, hashed; or what stands there after an erasure."""
    if stored.who_sha256 is not None:
        return stored.who_sha256
    who = orjson.dumps({
        "address": stored.address,
        "client": stored.client,
        "credential": stored.credential,
        "subject": stored.subject,
        "subject_state": stored.subject_state,
    })  # fmt: skip
    return hashlib.sha256(_salt(stored)[:WHO_SALT] + who).digest()


def details_commitment(stored: Stored) -> bytes:
    """What stands for the details: the salt's second half and their text, hashed; or what stands there instead."""
    if stored.details_sha256 is not None:
        return stored.details_sha256
    return hashlib.sha256(_salt(stored)[WHO_SALT:] + stored.details.encode()).digest()


def _salt(stored: Stored) -> bytes:
    """A row's salt, and none of a row from before there were any.

    One of another length is none: its end could be the beginning of what it hides, and that would say something else.
    """
    if stored.salt is None:
        return b""
    return stored.salt if len(stored.salt) == SALT else stored.salt.ljust(SALT, _NO_SALT) + _NO_SALT


def is_erased(stored: Stored) -> bool:
    """Whether a commitment stands in the place of what it hides."""
    return stored.who_sha256 is not None or stored.details_sha256 is not None


def still_there(stored: Stored) -> bool:
    """Whether something stands beside the commitment that is said to stand in its place, which proves nothing of it."""
    left = stored.who_sha256 is not None and any(getattr(stored, name) != ERASED for name in WHO)
    return left or (stored.details_sha256 is not None and stored.details != ERASED_DETAILS)


def can_be_guessed(stored: Stored) -> bool:
    """Whether the salt of what was erased stands there: whoever has it finds out by guessing what stood there."""
    salt = stored.salt or b""
    left = stored.who_sha256 is not None and any(salt[:WHO_SALT])
    return left or (stored.details_sha256 is not None and any(salt[WHO_SALT:]))


def written(value: object) -> str:
    """JSON text as PostgreSQL writes ``jsonb``, which is what is hashed of details.

    Keys by length and then by bytes, a space after each comma and colon, numbers in full, nothing escaped that need
    not be. Read back and written again, every value has the same text.
    """
    match value:
        case Mapping():
            keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
            return "{" + ", ".join(f"{_quoted(key)}: {written(value[key])}" for key in keys) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(written, value)) + "]"
        case float():
            return _number(value)
        case Decimal():
            return f"{value:f}"
        case _:
            return _quoted(value)


def microseconds(at: datetime) -> int:
    """A moment as it is sealed: microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime | None:
    """The moment of so many microseconds since 1970; None where no calendar reaches."""
    try:
        return _EPOCH + at * _MICROSECOND
    except OverflowError:
        return None


def moment_of_id(id_: UUID) -> datetime | None:
    """The millisecond that a UUIDv7 tells (RFC 9562, 5.7)."""
    return moment((id_.int >> 80) * 1000)


def statement(details: Mapping[str, object]) -> bytes:
    """What is signed of the details of a row that says what was retired or erased: all but the signature itself."""
    return _STATEMENT + written({name: value for name, value in details.items() if name != "signature"}).encode()


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A float as the shortest digits that give it back, without an exponent; Postgres knows no negative zero."""
    text = f"{Decimal(repr(value)):f}"
    return text.removeprefix("-") if not value else text
