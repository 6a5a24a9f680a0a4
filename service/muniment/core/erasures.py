"""A person is erased from the ledger (GDPR, article 17), and its proof holds.

Of a row whose subject the person was, everything that says who asked goes; of the details of
every other row that names them, the name. What goes leaves its salted commitment
(:mod:`muniment.core.seals`), so each seal stays what it was. What was erased is told by signed
rows of the ledger, by the identifiers of the rows and without the person. Details go whole,
since nothing could prove a part of them; a copy without the name stands in a row of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from muniment.core import statements
from muniment.core.seals import ERASED, Stored, details_commitment, who_commitment

#: How many rows one record of an erasure tells of.
MOST_IN_ONE: Final = 1000

#: What a name may go on with: of those who are called alike in part, only the one is erased.
_GOES_ON: Final = r"[\w.@|+-]"

#: Words of a person that would be everybody's.
_SHORTEST: Final = 3


@dataclass(frozen=True, slots=True)
class Names:
    """All that names a person: the subject, the bare id, what a provider calls them, and digests of what they were."""

    subject: str
    words: frozenset[str]
    pattern: re.Pattern[str]

    def in_text(self, text: str) -> bool:
        """Whether a text names the person."""
        return self.pattern.search(text) is not None

    def without(self, value: object) -> object:
        """The same JSON value, with :data:`ERASED` wherever it named the person."""
        match value:
            case str():
                return self.pattern.sub(ERASED, value)
            case Mapping():
                return {str(self.without(key)): self.without(each) for key, each in value.items()}
            case list() | tuple():
                return [self.without(each) for each in value]
            case _:
                return value


def names_of(subject: str, further: Collection[str]) -> Names:
    """The names of a subject, with further ones that are theirs alone; longer ones go before those they begin with."""
    _, _, bare = subject.partition(":")
    words = frozenset({subject, bare, *(word for word in further if len(word) >= _SHORTEST)})
    ordered = sorted(words, key=lambda word: (-len(word), word))
    pattern = rf"(?<!{_GOES_ON})(?:{'|'.join(map(re.escape, ordered))})(?!{_GOES_ON}*\w)"
    return Names(subject, words, re.compile(pattern))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What goes of one row: who, or the name in its details, or both; each with the commitment that stays."""

    row: Stored
    who: bytes | None
    told: bytes | None
    details: object | None


def erasure_of(row: Stored, details: object, names: Names) -> Erasure | None:
    """What goes of a row, whose details are these; nothing where it does not name the person, or not any more."""
    who = who_commitment(row) if row.who_sha256 is None and row.subject == names.subject else None
    # By their signature others may be missing; they name nobody but the account that signed.
    left = names.without(details) if row.event not in statements.EVENTS or "signature" not in row.details else details
    told = details_commitment(row) if row.details_sha256 is None and left != details else None
    return Erasure(row, who, told, left if told else None) if who or told else None


def record(erasures: Sequence[Erasure]) -> Mapping[str, object]:
    """What the signed row says of several rows: of which of them who is gone, and of which the details."""
    return {
        "who": [each.row.id for each in erasures if each.who is not None],
        "details": [each.row.id for each in erasures if each.told is not None],
    }


def copies(erasures: Sequence[Erasure]) -> Mapping[str, object]:
    """What the details say without the person, by the identifiers of rows: a row of its own, sealed as every other.

    It may name others, and so may be erased in its turn; the signed row must not be.
    """
    return {each.row.id: each.details for each in erasures if each.told is not None}
