"""Whether a ledger is what was sealed.

Each row is held to its leaf, the leaves to the signed root, each seal to the one before it
and to what witnesses keep. Seals come one after the other with the rows that stand in their places, so a ledger of any
length is verified in the memory of a few. What does not fit is remembered and judged in the
end: then it is known whether a row that is missing here stands somewhere else, and whether
somebody who may retire or erase rows has said so, signed and sealed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby, islice, takewhile
from operator import itemgetter
from typing import Final
from uuid import UUID

from muniment.core import seals
from muniment.core.checkpoints import NONE_BEFORE, Check, Checkpoint, Note, Restored, VerifierKey
from muniment.core.merkle import WIDTH, Tile, Tree
from muniment.core.problems import Invalid
from muniment.core.seals import Seal, Stored
from muniment.core.statements import Statement
from muniment.core.verdicts import Agreement, Fault, Kind, Verdict

#: How far a row's moment may lie before the checkpoint that was signed before its commit, or after its own: the clocks
#: of hosts differ, and a transaction takes its time.
TOLERANCE: Final = timedelta(minutes=15)

_TOLERATED: Final = TOLERANCE // timedelta(microseconds=1)

#: How many rows that do not fit are kept in mind; of more the number alone.
_MOST: Final = 10_000
#: How many of them are compared with each other.
_MOST_COMPARED: Final = 24
#: How many faults are told.
_MOST_TOLD: Final = 1000

_ID: Final = itemgetter(Stored._fields.index("id"))
_AT: Final = itemgetter(Stored._fields.index("at"))
_WHO: Final = itemgetter(Stored._fields.index("who_sha256"))
_DETAILS: Final = itemgetter(Stored._fields.index("details_sha256"))

_KINDS: Final = tuple(Kind)

_CUT: Final = "rows at the end were cut off together with their seals, or a backup was restored"

#: What may have been put from one row into another, beside all of it; the salt goes with what it hides, or does not.
_PLACES: Final = tuple(
    (*names, *salt)
    for names in (("id",), ("at",), ("seq", "xact"), ("id", "at"), ("at", "seq", "xact"), ("id", "at", "seq", "xact"))
    for salt in ((), ("salt",))
)


@dataclass(slots=True)
class _Unfit:
    """A sealed row that is not there, or that is there with other contents."""

    seal: int
    position: int
    id: UUID
    leaf: bytes
    there: Stored | None = None


@dataclass(slots=True)
class _Extra:
    """A row that no seal holds, before the leaf at a position."""

    seal: int | None
    position: int
    row: Stored


@dataclass(slots=True)
class _Said:
    """What a row says was retired or erased. It counts if it is signed, and the row ``known``.

    A row is known that is sealed and unchanged, or too new to be sealed.
    """

    row: Stored
    statement: Statement
    known: bool = False


@dataclass(slots=True)
class _Excused:
    """Rows that lack something, and what says so, of which one must count: the first of them, and how many.

    ``proven`` is what was proven before the first.
    """

    kind: Kind
    saying: Sequence[_Said]
    position: int
    id: UUID
    seal: int
    proven: tuple[int, datetime | None]
    rows: int = 0


@dataclass(slots=True)
class _Beside:
    """A witness's checkpoints on the way, beside the seals.

    ``read`` is the number of the last one; ``strays`` counts what is none, or stands out of its order, and ``lacking``
    those that it was told and does not keep, from ``lacks`` on.
    """

    agreement: Agreement
    notes: Iterator[tuple[int, str]]
    next: tuple[int, str] | None = None
    broken: bool = False
    read: int = 0
    strays: int = 0
    lacks: int = 0
    lacking: int = 0

    def read_on(self) -> None:
        """The next checkpoint that can be one: its number is higher than those before, and stands in its text."""
        self.next = None
        for number, text in self.notes:
            if number > self.read and f"\nnumber {number}\n" in text:
                self.read, self.next = number, (number, text)
                return
            self.strays += 1


@dataclass
class Verifier:
    """Verifies a ledger, seal by seal.

    ``check`` tells whether a key made a signature. ``pinned`` are keys that somebody vouches for, ``witnesses`` the
    notes that each keeps, by number and ascending; those named in ``keep_all`` keep every one that they are told, and
    ``told`` says up to which number each was, as the database has it. ``clusters`` says after which ``seq`` the rows of
    each database cluster begin.
    """

    check: Check
    pinned: Sequence[VerifierKey] = ()
    witnesses: Mapping[str, Iterable[tuple[int, str]]] = field(default_factory=dict)
    keep_all: frozenset[str] = frozenset()
    told: Mapping[str, int] = field(default_factory=dict)
    clusters: Mapping[int, int] = field(default_factory=lambda: {1: 0})

    def __post_init__(self) -> None:
        """Begin before the first seal."""
        self._faults: list[Fault] = []
        self._unfit: list[_Unfit] = []
        self._extra: list[_Extra] = []
        self._more = 0
        self._saying: dict[str, _Said] = {}
        self._erasing: dict[str, list[_Said]] = {}
        self._releases: list[Stored] = []
        self._bent: set[str] = set()
        self._excused: dict[tuple[str, ...], _Excused] = {}
        self._present: set[int] = set()
        self._absent: dict[int, tuple[int, UUID, int, tuple[int, datetime | None]]] = {}
        # The chain, as far as it has come.
        self._number = self._size = self._seals = 0
        self._last: Checkpoint | None = None
        self._previous: bytes | None = NONE_BEFORE
        self._keys: list[VerifierKey] = []
        self._ended: dict[VerifierKey, int] = {}
        self._strange = self._stopped = False
        self._tree: Tree | None = Tree()
        self._restorations: list[tuple[int, Restored]] = []
        # Rows, as far as they have come.
        self._floors: deque[tuple[int, int]] = deque()
        self._floor: int | None = None
        self._cluster = 0
        self._retired = self._erased = self._unsealed = self._ahead = 0
        self._oldest: int | None = None
        self._proven: tuple[int, datetime | None] = (0, None)
        self._beside = [_Beside(Agreement(name), iter(notes)) for name, notes in self.witnesses.items()]
        for beside in self._beside:
            beside.read_on()

    @property
    def size(self) -> int:
        """How many rows the seals hold that came."""
        return self._size

    # What comes in --------------------------------------------------------------------------------------------------

    def say(self, row: Stored) -> None:
        """Take note, before the seals come, of a row that says what was retired or erased."""
        statement = Statement.of(row)
        if statement is None:
            return
        self._saying[row.id] = said = _Said(row, statement)
        for id_ in statement.who | statement.told:
            self._erasing.setdefault(id_, []).append(said)

    def released(self, row: Stored) -> None:
        """Take note, before the seals come, of a row that says that a legal hold was released."""
        self._releases.append(row)

    def bent(self, rows: Iterable[Stored]) -> None:
        """Take note, before the seals come, of rows whose lists are numbered as no service numbers them.

        They hold what was sealed, and are not found by whoever asks for the first of a list.
        """
        self._bent |= {row.id for row in rows}

    def seal(self, seal: Seal, rows: Sequence[Stored]) -> list[Tile]:
        """The next seal, and the rows that stand in its places, in their order; gives the tiles that it fills."""
        if self._seals and seal.number <= self._number:
            self._blame_seal(seal, "Another seal has the same number: somebody wrote one of them.")
            return []
        checkpoint = self._follow(seal)
        # What is blamed already is not believed, least of all a size.
        held = len(seal.ids) // seals.ID_WIDTH
        believed = checkpoint if checkpoint is not None and not self._strange else None
        begin = max(believed.size - held, 0) if believed is not None else self._size
        seal = replace(seal, first=begin, size=begin + held)
        if len(rows) == held + begin - self._size:
            # Rows of seals that are missing are not blamed, too.
            rows = rows[-held:] if held else ()
        computed = [seals.leaf(row) for row in rows]
        leaves = self._leaves(seal, checkpoint, computed)
        tiles = self._grow(seal, checkpoint, leaves)
        if b"".join(computed) == leaves:
            told = self._bent | self._saying.keys()
            if any(map(_WHO, rows)) or any(map(_DETAILS, rows)) or not told.isdisjoint(map(_ID, rows)):
                for offset, row in enumerate(rows):
                    self._take(seal, seal.first + offset, row)
        else:
            self._compare(seal, leaves, rows, computed)
        if rows and any(said.statement.before is not None for said in self._saying.values()):
            # Of both the month must be the same: what came at midnight is of neither.
            self._present |= {_month(row.at) for row in rows if _month(row.at) == _month_of_id(row.id)}
        self._date(seal, checkpoint, rows)
        self._hold_beside(seal)
        self._number, self._size = seal.number, believed.size if believed is not None else seal.size
        self._seals += 1
        if not self._faults and not self._unfit and not self._extra:
            self._proven = (seal.size, seal.at)
        return tiles

    def hidden(self, seals: int) -> None:
        """How many seals there are that did not come, since they have no number or stand in no index."""
        if seals > 0:
            words = f"{seals} seals have no number, or are hidden from an index: somebody wrote them."
            self._faults.append(Fault(Kind.SEAL_CHANGED, words, rows=0))

    def tiles(self, changed: Iterable[Tile], missing: int) -> None:
        """Tiles that are kept and not what the leaves make, and how many are not there."""
        count = sum(1 for _ in changed)
        if self._tree is not None and count + missing:
            words = f"{count + missing} hashes kept to prove rows by (ledger_tiles) are not what the rows make."
            self._faults.append(Fault(Kind.SEAL_CHANGED, words, rows=0))

    def unsealed(self, rows: Iterable[Stored], next_xact: int) -> None:
        """Rows behind the last seal; transactions from ``next_xact`` on have not ended."""
        for row in rows:
            self._unsealed += 1
            self._oldest = row.at if self._oldest is None else min(row.at, self._oldest)
            self._know(row)
            if row.xact >= next_xact:
                words = "A row says that a transaction committed it that there has not been yet: somebody wrote it."
                self._blame_row(Kind.INSERTED, words, row, self._size)
                self._ahead += 1
            else:
                self._date_row(row, self._size, None, None)

    def ahead(self, rows: int) -> None:
        """How many rows say that a transaction committed them that there has not been yet, by no index."""
        if rows > self._ahead:
            words = "Rows of transactions that there have not been yet are hidden from an index: somebody wrote them."
            self._faults.append(Fault(Kind.INSERTED, words, self._size, rows=rows - self._ahead))

    def without_place(self, rows: int) -> None:
        """How many rows the ledger holds that stand at no place at all."""
        if rows > 0:
            words = "Rows stand at no place in the order of commits, so no reader is given them: somebody wrote them."
            self._faults.append(Fault(Kind.INSERTED, words, rows=rows))

    def doubled(self, rows: Iterable[Stored]) -> None:
        """Rows whose identifier another row has, too: one was sealed, or came, before."""
        for row in rows:
            words = "Another row has the same identifier: somebody wrote one of them."
            self._blame_row(Kind.INSERTED, words, row, None)

    def lost(self, most: int = 100) -> list[UUID]:
        """Rows that are not at their places, to be looked for elsewhere (:meth:`elsewhere`)."""
        return list(islice((each.id for each in self._unfit if each.there is None), most))

    def elsewhere(self, rows: Iterable[Stored]) -> None:
        """What stands at other places under the identifiers of rows that are not at their own."""
        found = {row.id: row for row in rows}
        for each in self._unfit:
            if each.there is None and str(each.id) in found:
                each.there = found[str(each.id)]
        # They are what was sealed, and it is their seal that is out of its place.
        self._unfit = [each for each in self._unfit if each.there is None or seals.leaf(each.there) != each.leaf]

    def unguarded(self, words: Iterable[str]) -> None:
        """What is to guard the ledger and does not stand."""
        self._faults += [Fault(Kind.UNGUARDED, each, rows=0) for each in words]

    def damaged(self, words: str, seal: Seal | None = None, row: int = 0) -> None:
        """PostgreSQL cannot read what it keeps, of a seal its row of this number; nothing behind it is verified."""
        self._stopped = True
        told = f"PostgreSQL cannot read what it keeps, and nothing behind it was verified: {words}"
        if seal is None:
            self._faults.append(Fault(Kind.UNGUARDED, told, rows=0))
            return
        id_ = UUID(bytes=seal.ids[row * seals.ID_WIDTH :][: seals.ID_WIDTH])
        position, at = self._size + row, seals.moment_of_id(id_)
        self._faults.append(Fault(Kind.CHANGED, told, position, str(id_), at, seal.number))

    def finish(self, next_xact: int | None = None, cluster: int | None = None, now: datetime | None = None) -> Verdict:
        """The verdict, on a database whose next transaction is this one, and whose time it is now."""
        if now is not None and self._oldest is not None and not self._seals:
            self._judge_unsealed(self._oldest, now)
        if not self._stopped:
            self._judge_end(next_xact, cluster)
            self._judge_releases()
        self._judge_said()
        self._judge_rows()
        rows, until = self._proven
        faults = sorted(self._faults, key=_order)
        return Verdict(
            proven_until=until,
            rows=rows,
            seals=self._seals,
            sealed=self._size,
            unsealed=self._unsealed,
            retired=self._retired,
            erased=self._erased,
            keys=tuple(self._keys),
            pinned=bool(self.pinned) or any(each.agreement.checkpoints for each in self._beside),
            witnesses=tuple(each.agreement for each in self._beside),
            restorations=tuple(self._restorations),
            faults=tuple(faults[:_MOST_TOLD]),
            untold=max(len(faults) - _MOST_TOLD, 0) + self._more,
        )

    # The chain ------------------------------------------------------------------------------------------------------

    def _follow(self, seal: Seal) -> Checkpoint | None:
        """The checkpoint of the next seal, held to the one before it, to its key and to the seal."""
        try:
            note = Note.parse(seal.checkpoint)
        except Invalid:
            self._blame_seal(seal, "The signed checkpoint of a seal was changed: it cannot be read any more.")
            self._previous = None
            return None
        checkpoint = note.checkpoint
        self._hold_signature(seal, note)
        self._hold_order(seal, checkpoint)
        if self._previous is not None and checkpoint.previous != self._previous:
            self._blame_seal(
                seal, "A seal does not follow on the one before it: one of them was put in another's place."
            )
        told = (seal.number, seal.at, seal.size, seal.place)
        if told != (checkpoint.number, checkpoint.at, checkpoint.size, checkpoint.through):
            self._blame_seal(seal, "A seal says something else than its signed checkpoint: it was changed.")
        if hashlib.sha256(seal.ids).digest() != checkpoint.ids:
            self._blame_seal(seal, "The identifiers that a seal holds were changed.")
        if self.clusters.get(checkpoint.cluster) != checkpoint.after_seq:
            self._blame_seal(seal, "Where the rows of a database cluster begin (ledger_clusters) was changed.")
        self._previous, self._last = note.sha256, checkpoint
        return checkpoint

    def _hold_order(self, seal: Seal, checkpoint: Checkpoint) -> None:
        lost = checkpoint.restored
        if lost is not None:
            self._restorations.append((seal.number, lost))
        expected = self._number + 1
        if lost is not None and (lost.first_lost, lost.last_lost) == (expected, seal.number - 1):
            expected = seal.number
        if seal.number != expected:
            between = f"{expected}" if seal.number == expected + 1 else f"{expected} to {seal.number - 1}"
            words = f"Seals are missing before this one ({between}), with what they say of the rows from here on."
            self._blame_seal(seal, words)
        elif seal.first != self._size or seal.size < seal.first:
            self._blame_seal(seal, "A seal does not begin with the row after the last one before it: it was changed.")
        if self._last is not None and checkpoint.at < self._last.at:
            self._blame_seal(seal, "A seal says that it was made before the one that it follows on.")

    def _hold_signature(self, seal: Seal, note: Note) -> None:
        """Whether the key that is in force signed it, or one that somebody vouches for; and which key is next."""
        announced = note.checkpoint.key
        active = self._keys[-1:] or ([announced] if announced is not None and not self._number else [])
        # One that another has followed signs nothing any more, whoever vouches for what it signed before.
        signer = note.signer([*active, *(key for key in self.pinned if key not in self._keys)], self.check)
        if signer is None:
            if not self._strange:
                words = (
                    "From this seal on a key signs that another one has followed: it was put out of use."
                    if note.signer(self._keys[:-1], self.check) is not None
                    else "From this seal on another key signs, which no signed checkpoint announces."
                )
                self._faults.append(self._of_seal(Kind.KEY_REPLACED, seal, words))
            self._strange = True
            return
        self._strange = False
        if len(note.signatures) != sum(note.is_signed_by(key, self.check) for key in {signer, announced or signer}):
            self._blame_seal(seal, "Below a seal's checkpoint stands what no key of the ledger signed: it was added.")
        if signer not in self._keys:
            self._follow_on(signer, note.checkpoint)
        if announced is not None and announced != signer:
            if note.is_signed_by(announced, self.check):
                self._follow_on(announced, note.checkpoint)
            else:
                words = "A seal announces a key that did not sign it."
                self._faults.append(self._of_seal(Kind.KEY_REPLACED, seal, words))

    def _follow_on(self, key: VerifierKey, checkpoint: Checkpoint) -> None:
        """From now on this key signs, and the one before it nothing any more."""
        if self._keys:
            self._ended[self._keys[-1]] = seals.microseconds(checkpoint.at) + _TOLERATED
        self._ended.pop(key, None)
        self._keys.append(key)

    def _leaves(self, seal: Seal, checkpoint: Checkpoint | None, computed: Sequence[bytes]) -> bytes:
        """The leaves as they were signed, as far as anybody can know: those of the seal, or those of the rows."""
        if checkpoint is None or hashlib.sha256(seal.leaves).digest() == checkpoint.leaves:
            return seal.leaves
        joined = b"".join(computed)
        if hashlib.sha256(joined).digest() == checkpoint.leaves:
            self._blame_seal(seal, "The leaves that a seal holds were changed; the rows are as they were.")
            return joined
        both = len(joined) == len(seal.leaves)
        same = both and joined == seal.leaves
        words = (
            "Rows of this seal were changed, and the leaves with them: which of the rows, nobody can tell."
            if same
            else "The leaves that a seal holds were changed, so its rows cannot be held to them one by one."
        )
        self._faults.append(self._of_seal(Kind.CHANGED if same else Kind.SEAL_CHANGED, seal, words))
        return seal.leaves

    def _grow(self, seal: Seal, checkpoint: Checkpoint | None, leaves: bytes) -> list[Tile]:
        """Hold the tree to the signed root; once leaves are not known any more, each seal's own hash must do."""
        if self._tree is None or checkpoint is None:
            self._tree = None
            return []
        tiles = self._tree.grow(leaves[begin : begin + WIDTH] for begin in range(0, len(leaves), WIDTH))
        if self._tree.size != checkpoint.size or self._tree.root != checkpoint.root:
            if not self._faults:
                self._blame_seal(seal, "The rows up to here do not have the root that was signed.")
            self._tree = None
        return tiles

    # Rows -----------------------------------------------------------------------------------------------------------

    def _take(self, seal: Seal, position: int, row: Stored) -> None:
        """A row whose leaf is as it was sealed."""
        self._know(row)
        if row.id in self._bent:
            words = "The lists of a row (datasets, policies) are numbered otherwise than they were written."
            self._blame_row(Kind.CHANGED, words, row, position, seal.number)
        if not seals.is_erased(row):
            return
        saying = self._erasing.get(row.id, ())
        if seals.still_there(row):
            words = "Something was written where fields had been erased."
            self._blame_row(Kind.CHANGED, words, row, position, seal.number)
            return
        if saying and seals.can_be_guessed(row):
            words = "The salt of what was erased stands there again, by which anybody finds out what it was."
            self._blame_row(Kind.CHANGED, words, row, position, seal.number)
        self._erased += 1
        if row.who_sha256 is not None:
            self._excuse(
                Kind.ERASED, seal, position, UUID(row.id), [said for said in saying if row.id in said.statement.who]
            )
        if row.details_sha256 is not None:
            self._excuse(
                Kind.ERASED, seal, position, UUID(row.id), [said for said in saying if row.id in said.statement.told]
            )

    def _know(self, row: Stored) -> None:
        """A row that is what was sealed, or too new for it: what it says counts, if it is signed."""
        said = self._saying.get(row.id)
        if said is not None and said.row == row:
            said.known = True

    def _compare(self, seal: Seal, leaves: bytes, rows: Sequence[Stored], computed: Sequence[bytes]) -> None:
        """Find out which rows of a seal are not as they were sealed."""
        at_hand: dict[str, list[tuple[Stored, bytes]]] = {}
        for row, leaf in zip(rows, computed, strict=True):
            at_hand.setdefault(row.id, []).append((row, leaf))
        order: list[Stored] = []
        stands: dict[int, int] = {}
        for position in range(seal.first, seal.size):
            id_ = seal.id_at(position)
            begin = (position - seal.first) * WIDTH
            wanted = leaves[begin : begin + WIDTH]
            candidates = at_hand.get(str(id_), [])
            fitting = next((each for each in candidates if each[1] == wanted), None)
            if fitting is not None:
                candidates.remove(fitting)
                order.append(fitting[0])
                stands[id(fitting[0])] = position
                self._take(seal, position, fitting[0])
            elif candidates:
                there, _ = candidates.pop(0)
                order.append(there)
                stands[id(there)] = position
                self._note_unfit(_Unfit(seal.number, position, id_, wanted, there))
            else:
                self._lack(seal, position, id_, wanted)
        left = {id(row) for candidates in at_hand.values() for row, _ in candidates}
        position = seal.first
        for row in rows:
            if id(row) in left:
                self._note_extra(_Extra(seal.number, position, row))
            else:
                position = stands[id(row)] + 1
        if not left and order != [row for row in rows if id(row) not in left] and not self._unfit:
            self._blame_seal(seal, "The identifiers that a seal holds stand in another order than its rows.")

    def _lack(self, seal: Seal, position: int, id_: UUID, leaf: bytes) -> None:
        """A row is not there: retired, if somebody said so, or not at its place."""
        told = (id_.int >> 80) * 1000
        saying = [
            said for said in self._saying.values() if said.statement.before is not None and told < said.statement.before
        ]
        if saying:
            self._retired += 1
            self._absent.setdefault(_month(told), (position, id_, seal.number, self._proven))
            self._excuse(Kind.RETIRED, seal, position, id_, saying)
        else:
            self._note_unfit(_Unfit(seal.number, position, id_, leaf))

    def _excuse(self, kind: Kind, seal: Seal, position: int, id_: UUID, saying: Sequence[_Said]) -> None:
        """Lay it to what somebody said, which is judged in the end."""
        if not saying:
            words = "Fields of a row were erased, and no row of the ledger says by whom and why."
            self._faults.append(Fault(kind, words, position, str(id_), seals.moment_of_id(id_), seal.number))
            return
        said_by = (kind, *(said.row.id for said in saying))
        if said_by not in self._excused:
            self._excused[said_by] = _Excused(kind, saying, position, id_, seal.number, self._proven)
        self._excused[said_by].rows += 1

    def _date(self, seal: Seal, checkpoint: Checkpoint | None, rows: Sequence[Stored]) -> None:
        """Hold the rows' moments to the checkpoints between which they were committed."""
        if checkpoint is None:
            return
        if checkpoint.cluster != self._cluster:
            # Another database cluster counts its transactions anew, but not the time.
            self._cluster = checkpoint.cluster
            while self._floors:
                self._floor = self._floors.popleft()[1]
        latest = seals.microseconds(checkpoint.at) + _TOLERATED
        if rows:
            highest = rows[-1].xact
            floors = [at for begins, at in takewhile(lambda floor: floor[0] <= highest, self._floors)]
            floor = floors[-1] if floors else self._floor
            if max(map(_AT, rows)) > latest or (floor is not None and min(map(_AT, rows)) < floor):
                for offset, row in enumerate(rows):
                    self._date_row(row, seal.first + offset, seal.number, latest)
            self._raise_floor(highest)
        self._floors.append((checkpoint.next_xact, seals.microseconds(checkpoint.at) - _TOLERATED))

    def _raise_floor(self, xact: int) -> None:
        """Rows of this transaction were committed after every checkpoint that was signed before it ended."""
        while self._floors and self._floors[0][0] <= xact:
            self._floor = self._floors.popleft()[1]

    def _date_row(self, row: Stored, position: int, seal: int | None, latest: int | None) -> None:
        self._raise_floor(row.xact)
        if self._floor is not None and row.at < self._floor:
            words = "A row was written long after the moment that it tells: a later checkpoint was signed without it."
            self._blame_row(Kind.BACKDATED, words, row, position, seal)
        elif latest is not None and row.at > latest:
            words = "A row tells a moment that had not come when it was sealed."
            self._blame_row(Kind.BACKDATED, words, row, position, seal)

    # Witnesses ------------------------------------------------------------------------------------------------------

    def _hold_beside(self, seal: Seal) -> None:
        """Compare a seal with what each witness keeps under its number, and what it keeps that is not here."""
        for beside in self._beside:
            number = 0
            while beside.next is not None and beside.next[0] <= seal.number:
                number, text = beside.next
                beside.read_on()
                if number == seal.number and text == seal.checkpoint:
                    count = beside.agreement.checkpoints + 1
                    beside.agreement = replace(beside.agreement, checkpoints=count, number=number, at=seal.at)
                elif not self._is_told_lost(number) and not beside.broken:
                    self._blame_beside(beside, seal, number, text)
            if number != seal.number and beside.next is not None:
                beside.lacks, beside.lacking = beside.lacks or seal.number, beside.lacking + 1

    def _is_told_lost(self, number: int) -> bool:
        """Whether a signed checkpoint says that this one was lost when the database was restored."""
        return any(lost.first_lost <= number <= lost.last_lost for _, lost in self._restorations)

    def _blame_beside(self, beside: _Beside, seal: Seal, number: int, text: str) -> None:
        name = beside.agreement.name
        if self._is_garbled(text):
            beside.strays += 1
            return
        beside.broken = True
        if number < seal.number:
            words = f"The witness {name} keeps checkpoint {number}, and the seal of that number is not here."
            self._blame_seal(seal, words)
        elif not _same_signer(text, seal.checkpoint):
            words = f"The witness {name} keeps checkpoint {number} signed by another key: the seals were made anew."
            self._faults.append(self._of_seal(Kind.KEY_REPLACED, seal, words))
        elif seal.number == number and self._is_younger(text, seal.checkpoint):
            words = (
                f"The witness {name} keeps another checkpoint {number}: the database was restored from a backup older "
                "than that, or its newest rows and seals were taken away, and it went on from there."
            )
            self._faults.append(self._of_seal(Kind.RESTORED, seal, words))
        else:
            words = f"The witness {name} keeps another checkpoint {number}: the seal was changed."
            self._blame_seal(seal, words)

    def _is_garbled(self, text: str) -> bool:
        """Whether nobody signed what a witness keeps, as far as that can be told: then it is the witness's fault."""
        try:
            note = Note.parse(text)
        except Invalid:
            return True
        named = {each.id for each in note.signatures}
        keys = [key for key in (*self._keys, *self.pinned) if key.id in named]
        return bool(keys) and note.signer(keys, self.check) is None

    @staticmethod
    def _is_younger(kept: str, here: str) -> bool:
        """Whether both were signed, of which the one here after the one that is kept."""
        try:
            return Note.parse(here).checkpoint.at > Note.parse(kept).checkpoint.at
        except Invalid:
            return False

    def _end_beside(self, beside: _Beside, next_xact: int | None, cluster: int | None) -> None:
        """What a witness keeps behind the last seal was here once; what it was told, it has to keep."""
        name, known, more = beside.agreement.name, self.told.get(beside.agreement.name, 0), 0
        first, newest = 0, None
        while beside.next is not None:
            number, text = beside.next
            beside.read_on()
            if self._is_garbled(text):
                beside.strays += 1
            elif not beside.broken:
                first, more, newest = first or number, more + 1, Note.parse(text).checkpoint
        if newest is not None:
            self._blame_end(name, f"{more} more checkpoints, {first} to {newest.number}", newest, next_xact, cluster)
        elif known > self._number and not beside.broken:
            self._blame_told(name)
        words = ""
        if beside.strays:
            words = f"keeps what was never told to it, or not in that order ({beside.strays})"
        elif beside.lacking and name in self.keep_all:
            words = f"lacks checkpoints that it was told ({beside.lacking}, the first {beside.lacks})"
        elif beside.read < known <= self._number:
            words = f"was told checkpoint {known}, and keeps none after {beside.read}"
        if words:
            words = (
                f"The witness {name} {words}: it was changed, or something taken out of it. The ledger is held to the "
                "rest. Where the reason is known, move it away: a sealer that starts tells it all again."
            )
            self._faults.append(Fault(Kind.WITNESS, words, rows=0))

    def _blame_told(self, name: str) -> None:
        words = f"The witness {name} was told checkpoint {self.told[name]}, as the database says, and it is not here"
        self._faults.append(Fault(Kind.TRUNCATED, f"{words}: {_CUT}.", self._size, rows=0))

    def _blame_end(self, name: str, more: str, newest: Checkpoint, next_xact: int | None, cluster: int | None) -> None:
        size = newest.size - self._size
        words = f"The witness {name} keeps {more}, the last of {newest.at.isoformat()} with {size} more rows"
        kind, told = Kind.TRUNCATED, _CUT
        elsewhere = cluster is not None and cluster != newest.cluster
        if elsewhere or (next_xact is not None and next_xact < newest.next_xact):
            kind, told = Kind.RESTORED, "the database was restored from a backup that is older than these"
        self._faults.append(Fault(kind, f"{words}: {told}.", self._size, rows=max(size, 0)))

    # The end --------------------------------------------------------------------------------------------------------

    def _judge_unsealed(self, oldest: int, now: datetime) -> None:
        """Whether rows have been waiting for their first seal longer than any sealer lets them."""
        if oldest < seals.microseconds(now - TOLERANCE):
            words = "Rows are there, and not one seal: the seals were taken away, or nobody ever sealed this ledger."
            self._faults.append(Fault(Kind.TRUNCATED, words, 0, None, seals.moment(oldest), rows=self._unsealed))

    def _judge_end(self, next_xact: int | None, cluster: int | None) -> None:
        """What is known of an end that was come to."""
        for beside in self._beside:
            self._end_beside(beside, next_xact, cluster)
        for name in sorted(self.told.keys() - self.witnesses.keys()):
            if self.told[name] > self._number:
                self._blame_told(name)
        self._judge_keys()

    def _judge_keys(self) -> None:
        """Whether the chain is signed by the keys that somebody vouches for."""
        strange = [key for key in self.pinned if key not in self._keys]
        if self._seals and strange:
            wanted = ", ".join(key.text for key in strange)
            found = ", ".join(key.text for key in self._keys) or "one that is not known"
            words = f"The ledger is not sealed by the key that it is held to ({wanted}), but by {found}."
            self._faults.append(Fault(Kind.KEY_REPLACED, words, 0, rows=0))
            self._proven = (0, None)

    def _judge_said(self) -> None:
        """Whether what was said to be retired or erased was said by a row that was sealed, and signed."""
        for each in self._excused.values():
            signed = [said for said in each.saying if self._is_signed(said)]
            if any(said.known for said in signed):
                continue
            why = "is not what was sealed" if signed else "is not signed by the key that seals the ledger"
            what = "were removed" if each.kind is Kind.RETIRED else "had fields erased"
            words = f"Rows {what}, and the row that says so ({each.saying[0].row.id}) {why}."
            at = seals.moment_of_id(each.id)
            self._faults.append(Fault(each.kind, words, each.position, str(each.id), at, each.seal, each.rows))
            if each.position < self._proven[0]:
                self._proven = each.proven

        befores = [
            said.statement.before
            for said in self._saying.values()
            if said.statement.before is not None and said.known and self._is_signed(said)
        ]
        whole = {_month(before - 1) for before in befores if _month(before - 1) != _month(before)}
        for month in sorted(self._absent.keys() & self._present & whole)[:1]:
            position, id_, seal, proven = self._absent[month]
            words = "Rows of a month are gone that was to be retired, and others of it are there: a month goes whole."
            self._faults.append(Fault(Kind.REMOVED, words, position, str(id_), seals.moment_of_id(id_), seal))
            if position < self._proven[0]:
                self._proven = proven

    def _judge_releases(self) -> None:
        """Whether whoever keeps the ledger released what was held: anybody who may add rows can say so."""
        for row in self._releases if self._keys else ():
            statement = Statement.of(row)
            if row.details_sha256 is None and (statement is None or not self._is_signed(_Said(row, statement))):
                words = "A row says that a legal hold was released, and no key that seals the ledger signed that."
                self._blame_row(Kind.INSERTED, words, row, None)

    def _is_signed(self, said: _Said) -> bool:
        said_by = said.statement
        return any(
            said_by.at <= self._ended.get(key, said_by.at)
            and self.check(key.public, said_by.message, said_by.signature)
            for key in self._keys
        )

    def _judge_rows(self) -> None:
        """What became of the rows that do not fit: changed, put elsewhere, removed, or never sealed."""
        self._rename()
        exchanged = _exchanged(self._unfit, self._extra)
        for each in self._unfit:
            if each.there is None:
                continue
            self._extra = [extra for extra in self._extra if extra.row != each.there]
            if each.position in exchanged:
                words = "A row stands in another's place, or holds what another held: rows were exchanged."
                kind = Kind.REORDERED
            else:
                words = "A row is not what was sealed: something of it was changed."
                kind = Kind.CHANGED
            at = seals.moment(each.there.at)
            self._faults.append(Fault(kind, words, each.position, str(each.id), at, each.seal))
        missing = [each for each in self._unfit if each.there is None]
        for _, run in groupby(enumerate(missing), key=lambda each: each[1].position - each[0]):
            gone = [each for _, each in run]
            first, last = gone[0], gone[-1]
            cut = last.position == self._size - 1
            words = (
                "Rows at the end were cut off: the seals still hold them." if cut else "Rows that were sealed are gone."
            )
            kind, at = Kind.TRUNCATED if cut else Kind.REMOVED, seals.moment_of_id(first.id)
            self._faults.append(Fault(kind, words, first.position, str(first.id), at, first.seal, len(gone)))
        for extra in self._extra:
            words = "A row stands among sealed ones and was not sealed with them: it was written later."
            self._blame_row(Kind.INSERTED, words, extra.row, extra.position, extra.seal)

    def _rename(self) -> None:
        """A row that is missing beside one that no seal holds is the same, if but for the identifier it is."""
        for each in [each for each in self._unfit if each.there is None][:_MOST_COMPARED]:
            for extra in self._extra[:_MOST_COMPARED]:
                if seals.leaf(extra.row._replace(id=str(each.id))) == each.leaf:
                    each.there = extra.row
                    break

    # Noting ---------------------------------------------------------------------------------------------------------

    def _note_unfit(self, unfit: _Unfit) -> None:
        if len(self._unfit) < _MOST:
            self._unfit.append(unfit)
        else:
            self._more += 1

    def _note_extra(self, extra: _Extra) -> None:
        if len(self._extra) < _MOST:
            self._extra.append(extra)
        else:
            self._more += 1

    def _blame_row(self, kind: Kind, words: str, row: Stored, position: int | None, seal: int | None = None) -> None:
        if len(self._faults) < _MOST:
            self._faults.append(Fault(kind, words, position, row.id, seals.moment(row.at), seal))
        else:
            self._more += 1

    def _blame_seal(self, seal: Seal, words: str) -> None:
        self._faults.append(self._of_seal(Kind.SEAL_CHANGED, seal, words))

    def _of_seal(self, kind: Kind, seal: Seal, words: str) -> Fault:
        """A fault that begins with the first row of a seal."""
        held = min(len(seal.ids) // seals.ID_WIDTH, max(seal.size - self._size, 0))
        id_ = seal.id_at(seal.first) if held and seal.first >= 0 else None
        at = seals.moment_of_id(id_) if id_ is not None else None
        return Fault(kind, words, self._size, str(id_) if id_ is not None else None, at, seal.number, held)


def _exchanged(unfit: Sequence[_Unfit], extra: Sequence[_Extra]) -> set[int]:
    """The positions whose rows, or their contents, were put into one another's places."""
    found: set[int] = set()
    compared = [each for each in unfit if each.there is not None][:_MOST_COMPARED]
    others = [*(each.there for each in compared if each.there), *(each.row for each in extra[:_MOST_COMPARED])]
    for each in compared:
        here = each.there
        for other in others:
            if here is None or other is here:
                continue
            for names in _PLACES:
                if seals.leaf(here._replace(**{name: getattr(other, name) for name in names})) == each.leaf:
                    found.add(each.position)
                moved = other._replace(**{name: getattr(here, name) for name in names})
                if seals.leaf(moved) == each.leaf:
                    found.add(each.position)
    return found


def _month(at: int) -> int:
    """The month of a moment, counted; of one that no calendar reaches, none that there is."""
    found = seals.moment(at)
    return -1 if found is None else found.year * 12 + found.month


def _month_of_id(id_: str) -> int:
    return _month((UUID(id_).int >> 80) * 1000)


def _same_signer(one: str, other: str) -> bool:
    try:
        signers = [{(each.name, each.id) for each in Note.parse(text).signatures} for text in (one, other)]
    except Invalid:
        return True
    return bool(signers[0] & signers[1])


def _order(fault: Fault) -> tuple[bool, int, int]:
    """Faults by position, then those of no position."""
    return fault.position is None, fault.position or 0, _KINDS.index(fault.kind)
