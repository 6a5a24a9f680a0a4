"""What the keeper of a ledger says, signed, of rows that lack something: which were retired, what of them was erased.

Only such a word excuses what is missing, in the database as in an exported file.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import orjson

from muniment.core.ledger import Event
from muniment.core.seals import Stored, microseconds, statement

#: The events whose rows may hold one.
EVENTS: Final = (Event.LEDGER_RETIRED, Event.LEDGER_ERASED)


@dataclass(frozen=True, slots=True)
class Statement:
    """Before which moment rows were retired, of which rows who was erased, and of which the details.

    ``count`` is how many rows the month held that went, where that was said.
    ``at`` is when it was said, in microseconds since 1970: a key that another one has followed says nothing any more.
    """

    at: int
    before: int | None
    count: int | None
    who: frozenset[str]
    told: frozenset[str]
    message: bytes
    signature: bytes

    @classmethod
    def of(cls, row: Stored) -> Self | None:
        """The statement that a row holds; nothing where it holds none."""
        try:
            details = orjson.loads(row.details)
            return cls(
                at=row.at,
                before=microseconds(datetime.fromisoformat(details["before"])) if "before" in details else None,
                count=int(details["count"]) if "count" in details else None,
                who=frozenset(map(str, details.get("who", ()))),
                told=frozenset(map(str, details.get("details", ()))),
                message=statement(details),
                signature=base64.b64decode(details["signature"], validate=True),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None
