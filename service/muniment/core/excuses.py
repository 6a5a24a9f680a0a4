"""What lacks in an export of everything: rows that were retired, fields that were erased; and who said that they may.

Months are retired whole and the oldest first, so no row that is there was sealed before one that is gone, but for what
came in the same minutes. That holds a row to its place: its identifier, of which a leaf alone tells nothing, is
anybody's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from muniment.core.exports import Line
from muniment.core.seals import Stored, microseconds, moment_of_id
from muniment.core.statements import EVENTS, Statement
from muniment.core.verdicts import Fault, Kind
from muniment.core.verifying import TOLERANCE

_TOLERATED: Final = microseconds(datetime(1970, 1, 1, tzinfo=UTC) + TOLERANCE)
_MONTHS: Final = 12
_MEANWHILE: Final = "if that was done while the file was made, a new export has that row"
#: The end of a month that no calendar reaches.
_NEVER: Final = 1 << 80


@dataclass(slots=True)
class _Gone:
    """Rows of which something is gone: the first of them, and how many."""

    position: int
    id: str
    rows: int = 0


class Excuses:
    """Takes note of what lacks, line by line, and tells in the end what nobody who may has said."""

    def __init__(self) -> None:
        """Nothing lacks yet."""
        self._absent: dict[int, _Gone] = {}
        #: Where rows are absent one after the other: the first of them, and how many.
        self._runs: list[_Gone] = []
        self._out_of_turn: _Gone | None = None
        self._who: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._said: list[Statement] = []
        self._latest = 0

    def absent(self, line: Line) -> None:
        """A row of which there is the leaf alone."""
        end = _end_of_month(line.id)
        gone = self._absent.setdefault(end, _Gone(line.position, line.id))
        gone.rows += 1
        if self._runs and self._runs[-1].position + self._runs[-1].rows == line.position:
            self._runs[-1].rows += 1
        else:
            self._runs.append(_Gone(line.position, line.id, 1))
        if self._latest > end + _TOLERATED and self._out_of_turn is None:
            self._out_of_turn = _Gone(line.position, line.id, 1)

    def there(self, line: Line, row: Stored) -> None:
        """A row that is there: what was erased of it, or what it says of others."""
        self._latest = max(self._latest, row.at)
        if row.who_sha256 is not None:
            self._who[row.id] = line.position
        if row.details_sha256 is not None:
            self._told[row.id] = line.position
        if row.event in EVENTS and (said := Statement.of(row)) is not None:
            self._said.append(said)

    def lacking(self, is_signed: Callable[[Statement], bool]) -> Iterator[Fault]:
        """What no signed word excuses."""
        signed = [each for each in self._said if is_signed(each)]
        before = max((each.before for each in signed if each.before is not None), default=0)
        gone = [each for end, each in self._absent.items() if end > before]
        if self._out_of_turn is not None:
            gone.append(self._out_of_turn)
        if not gone and (surplus := self._surplus(signed)) is not None:
            gone.append(surplus)
        if gone:
            first = min(gone, key=lambda each: each.position)
            words = f"of this row there is the leaf alone, and no signed row says that it was retired; {_MEANWHILE}"
            yield Fault(Kind.RETIRED, words, first.position, first.id, rows=first.rows)
        who = self._who.keys() - frozenset[str]().union(*(each.who for each in signed))
        told = self._told.keys() - frozenset[str]().union(*(each.told for each in signed))
        taken = sorted({(self._who[id_], id_) for id_ in who} | {(self._told[id_], id_) for id_ in told})
        if taken:
            position, id_ = taken[0]
            words = f"something was erased of this row, and no signed row says so; {_MEANWHILE}"
            yield Fault(Kind.ERASED, words, position, id_, rows=len(taken))

    def _surplus(self, signed: Sequence[Statement]) -> _Gone | None:
        """The first row that is absent beyond as many as were said to be retired; each month is counted once."""
        counts: dict[int, int] = {}
        for each in signed:
            if each.before is not None:
                if each.count is None:
                    return None
                counts[each.before] = max(each.count, counts.get(each.before, 0))
        left = sum(counts.values())
        for run in self._runs:
            if left < run.rows:
                return _Gone(run.position + left, run.id if not left else "", run.rows - left)
            left -= run.rows
        return None


def _end_of_month(id_: str) -> int:
    """The end of the month that an identifier tells, in microseconds since 1970."""
    try:
        told = moment_of_id(UUID(id_))
        months = 0 if told is None else told.year * _MONTHS + told.month
        ends = datetime(months // _MONTHS, months % _MONTHS + 1, 1, tzinfo=UTC)
    except ValueError:
        return _NEVER
    return microseconds(ends)
