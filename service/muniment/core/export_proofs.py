"""What an export proves, found out offline: from the file alone, and a key that was kept elsewhere.

Each row is held against the root of the signed checkpoint in the head (RFC 9162, 2.1.3.2), in the order of positions.
Where the export is of everything, its positions leave nothing out, and what was retired or erased must be said so by
a row of the same file that the keeper of the ledger signed. A row that the checkpoint does not prove was changed, or
put there; which one, the next row tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from muniment.core.checkpoints import Check, Checkpoint, Note, VerifierKey
from muniment.core.excuses import Excuses
from muniment.core.export_questions import Answers, answering
from muniment.core.exports import Broken, End, Head, Line, Tally
from muniment.core.merkle import proves_inclusion
from muniment.core.problems import Invalid
from muniment.core.seals import can_be_guessed, is_erased, microseconds, still_there
from muniment.core.statements import Statement
from muniment.core.verdicts import Fault, Kind
from muniment.core.verifying import TOLERANCE

_MICROSECOND: Final = timedelta(microseconds=1)

#: The most faults that are told of one file; the first is the one that matters.
MOST_FAULTS: Final = 100


@dataclass(slots=True)
class Proven:
    """What came of it. ``pinned`` says whether the key was kept elsewhere, and not taken from the file itself.

    ``absent`` counts the rows of which the file has the leaf alone, ``erased`` those from which personal fields or
    details were taken. An export of everything tells whether that was in order; of others, only the ledger can.
    """

    head: Head | None = None
    checkpoint: Checkpoint | None = None
    key: VerifierKey | None = None
    pinned: bool = False
    rows: int = 0
    absent: int = 0
    erased: int = 0
    first: int | None = None
    last: int | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    @property
    def whole(self) -> bool:
        """Whether it is proven that the file has every row that was ever sealed, up to its checkpoint."""
        return self.holds and self.head is not None and self.head.complete


def prove(told: Iterable[Head | Line | End], check: Check, pinned: Sequence[VerifierKey] = ()) -> Proven:
    """Hold a file against its checkpoint, and that against keys that somebody vouches for, else the first it names."""
    return _Proving(check, pinned).of(told)


class _Proving:
    def __init__(self, check: Check, pinned: Sequence[VerifierKey]) -> None:
        self._check = check
        self._pinned = pinned
        self._proven = Proven(pinned=bool(pinned))
        self._tally: Tally | None = None
        self._end: End | None = None
        self._trusted: list[VerifierKey] = []
        self._ended: dict[VerifierKey, int] = {}
        self._excuses = Excuses()
        self._answers: Answers = answering({})
        #: The position that is to come, and a line that the checkpoint did not prove.
        self._next = 0
        self._doubted: Line | None = None

    def of(self, told: Iterable[Head | Line | End]) -> Proven:
        try:
            for each in told:
                if not self._take(each):
                    return self._proven
        except Broken as broken:
            self._settle_doubt(None)
            self._fault(Kind.TRUNCATED, self._next if self._tally else None, None, str(broken))
        else:
            self._settle_doubt(None)
            self._finish()
        return self._proven

    def _take(self, each: Head | Line | End) -> bool:
        """Take what comes next; false where nothing after it could be proven."""
        if self._end is not None:
            raise Broken("Something stands behind the end of the file.")
        match each:
            case Head():
                if self._tally is not None:
                    raise Broken("The file has a second head.")
                self._tally = Tally(each)
                return self._begin(each)
            case Line():
                if self._tally is None:
                    raise Broken("The file does not begin with a head.")
                self._tally.add(each)
                self._line(each)
            case End():
                self._end = each
        return True

    def _begin(self, head: Head) -> bool:
        proven = self._proven
        proven.head = head
        self._answers = answering(head.asked)
        try:
            note = Note.parse(head.checkpoint)
            announced = [(each, each.checkpoint.key) for each in map(Note.parse, head.announcements)]
        except Invalid as invalid:
            self._fault(Kind.SEAL_CHANGED, None, None, invalid.detail)
            return False
        trusted = list(self._pinned) or [named for _, named in announced if named is not None][:1]
        if not trusted:
            self._fault(Kind.KEY_REPLACED, None, None, "the file names no key; say by which it is to be held")
            return False
        for announcement, named in announced:
            signer = announcement.signer(trusted, self._check)
            if named is None or signer is None:
                continue
            trusted.append(named)
            self._ended.pop(named, None)
            if named != signer and announcement.checkpoint.number <= note.checkpoint.number:
                # Another followed on it, so that what it signs from now on counts for nothing.
                self._ended[signer] = microseconds(announcement.checkpoint.at) + TOLERANCE // _MICROSECOND
        self._trusted = trusted
        signing = [key for key in trusted[::-1] if key not in self._ended]
        proven.checkpoint, proven.key = note.checkpoint, note.signer(signing, self._check)
        if proven.key is not None:
            return True
        named_by = {(each.name, each.id) for each in note.signatures}
        if any((key.name, key.id) in named_by for key in signing):
            self._fault(Kind.SEAL_CHANGED, None, None, "the checkpoint is not what its key signed")
        else:
            self._fault(
                Kind.KEY_REPLACED, None, None, f"the checkpoint is signed by another key than {signing[0].text}"
            )
        return False

    def _line(self, line: Line) -> None:
        proven = self._proven
        if not self._is_sealed(line):
            self._settle_doubt(line)
            self._doubted = line
            return
        self._settle_doubt(line)
        self._follow(line)
        self._next = max(self._next, line.position + 1)
        complete = proven.head is not None and proven.head.complete
        if line.row is None:
            proven.absent += 1
            if not complete:
                self._fault(Kind.REMOVED, line.position, line.id, "of this row there is the leaf alone")
            else:
                self._excuses.absent(line)
            return
        proven.rows += 1
        if complete:
            self._excuses.there(line, line.row)
        proven.erased += is_erased(line.row)
        if not self._answers(line.row):
            words = (
                "it is not of what the file says was asked for: the file has the head of another one, or the row has"
            )
            self._fault(Kind.INSERTED, line.position, line.id, words)
        if still_there(line.row):
            words = "something stands beside the commitment that is said to stand in its place"
            self._fault(Kind.CHANGED, line.position, line.id, words)
        elif can_be_guessed(line.row):
            words = "the salt of what was erased stands there, by which anybody finds out what it was"
            self._fault(Kind.CHANGED, line.position, line.id, words)

    def _is_sealed(self, line: Line) -> bool:
        sealed = self._proven.checkpoint
        return sealed is not None and proves_inclusion(line.leaf, line.position, sealed.size, sealed.root, line.path)

    def _follow(self, line: Line) -> None:
        """Look whether a line stands where it should: behind those before it, and where all are there right behind."""
        proven = self._proven
        complete = proven.head is not None and proven.head.complete
        if line.position < self._next:
            self._fault(Kind.REORDERED, line.position, line.id, "it stands behind a row that was sealed after it")
            return
        if complete and line.position > self._next:
            gone = line.position - self._next
            words = f"{gone} row{'s' if gone > 1 else ''} that stood here {'are' if gone > 1 else 'is'} missing"
            self._fault(Kind.REMOVED, self._next, None, words)
        proven.first = line.position if proven.first is None else proven.first
        proven.last = line.position

    def _settle_doubt(self, following: Line | None) -> None:
        """Say what was wrong with a line that is not proven, now that it is known what comes behind it."""
        doubted, self._doubted = self._doubted, None
        if doubted is None:
            return
        takes_its_place = (
            following is not None and following.position <= doubted.position and self._is_sealed(following)
        )
        if takes_its_place or doubted.position < self._next:
            self._fault(Kind.INSERTED, doubted.position, doubted.id, "no such row was sealed")
            return
        self._fault(Kind.CHANGED, doubted.position, doubted.id, "it is not what was sealed at this position")
        self._next = max(self._next, doubted.position + 1)

    def _finish(self) -> None:
        proven, end = self._proven, self._end
        if self._tally is None:
            self._fault(Kind.TRUNCATED, None, None, "The file holds no export.")
            return
        if end is None:
            self._fault(Kind.TRUNCATED, self._next, None, "the file has no end: what came after this is missing")
            return
        sealed, head = proven.checkpoint, proven.head
        for fault in self._excuses.lacking(self._is_signed):
            self._fault(fault.kind, fault.position, fault.id, fault.words, fault.rows)
        if head is not None and head.complete and sealed is not None and self._next < sealed.size:
            words = f"the rows from here to {sealed.size - 1} are missing"
            self._fault(Kind.TRUNCATED, self._next, None, words)
        elif not proven.faults and end != self._tally.end:
            words = f"the file says that it has {end.lines} lines, and what stands there does not give its digest"
            self._fault(Kind.TRUNCATED, None, None, words)

    def _is_signed(self, said: Statement) -> bool:
        return any(
            said.at <= self._ended.get(key, said.at) and self._check(key.public, said.message, said.signature)
            for key in self._trusted
        )

    def _fault(self, kind: Kind, position: int | None, id_: str | None, words: str, rows: int = 1) -> None:
        if len(self._proven.faults) < MOST_FAULTS:
            self._proven.faults.append(Fault(kind, words, position, id_, rows=rows))
