"""A chain of seals as a verifier sees it, without any database: who may sign what, and what witnesses keep of it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from muniment.core import seals
from muniment.core.checkpoints import NONE_BEFORE, Checkpoint, Note
from muniment.core.ledger import Place
from muniment.core.merkle import Tree
from muniment.core.seals import Seal, Stored
from muniment.core.verdicts import Kind
from muniment.core.verifying import Verifier
from muniment.identity.seal_keys import SealKey, holds
from tests.core.test_seals import ROW

BEGIN = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = SealKey.made("muniment-a"), SealKey.made("muniment-a")
WITNESS = "/mnt/checkpoints.jsonl"


@dataclass
class Chain:
    """Seals of two rows each, an hour apart, and the rows."""

    seals: list[Seal] = field(default_factory=list)
    rows: list[list[Stored]] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    previous: Note | None = None

    @property
    def at(self) -> datetime:
        """When the next seal is made."""
        return BEGIN + timedelta(hours=len(self.seals))

    def row(self, number: int, **other: object) -> Stored:
        at = self.at - timedelta(seconds=5)
        milliseconds = seals.microseconds(at) // 1000
        id_ = str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | number))
        return ROW._replace(id=id_, at=milliseconds * 1000, seq=number, xact=number, **other)

    def seal(self, key: SealKey, *rows: Stored, following: SealKey | None = None) -> None:
        leaves = [seals.leaf(row) for row in rows]
        first, ids = self.tree.size, b"".join(UUID(row.id).bytes for row in rows)
        self.tree.grow(leaves)
        before = self.previous.checkpoint if self.previous else None
        through = Place(1, rows[-1].xact, rows[-1].seq) if rows else before.through if before else Place(0, 0, 0)
        announced = following.public if following else None if before else key.public
        checkpoint = Checkpoint(
            origin=key.public.name,
            size=self.tree.size,
            root=self.tree.root,
            number=len(self.seals) + 1,
            at=self.at,
            ids=hashlib.sha256(ids).digest(),
            leaves=hashlib.sha256(b"".join(leaves)).digest(),
            through=through,
            next_xact=through.xact + 1,
            cluster=1,
            after_seq=0,
            previous=self.previous.sha256 if self.previous else NONE_BEFORE,
            key=announced,
        )
        note = key.note(checkpoint)
        if following is not None:
            note = replace(note, signatures=(*note.signatures, following.signature(checkpoint)))
        self.previous = note
        self.seals.append(
            Seal(
                number=checkpoint.number,
                at=checkpoint.at,
                first=first,
                size=self.tree.size,
                ids=ids,
                leaves=b"".join(leaves),
                checkpoint=note.text,
                place=through,
            )
        )
        self.rows.append([*rows])

    def go_on(self, key: SealKey, times: int = 1) -> None:
        for _ in range(times):
            number = 2 * len(self.seals) + 1
            self.seal(key, self.row(number), self.row(number + 1))

    @property
    def kept(self) -> list[tuple[int, str]]:
        """What a witness keeps that was told everything."""
        return [(seal.number, seal.checkpoint) for seal in self.seals]

    def verdict(self, *, gone=(), kept=None, told=None, keep_all=True, pinned=()):
        """What comes of it where rows are gone; held to a witness that keeps this."""
        verifier = Verifier(
            check=holds,
            pinned=[key.public for key in pinned],
            witnesses={} if kept is None else {WITNESS: kept},
            keep_all=frozenset([WITNESS] if keep_all else []),
            told={} if told is None else {WITNESS: told},
        )
        for rows in self.rows:
            for row in rows:
                verifier.say(row)
        for seal, rows in zip(self.seals, self.rows, strict=True):
            verifier.seal(seal, [row for row in rows if row not in gone])
        return verifier.finish()


@pytest.fixture
def chain() -> Chain:
    made = Chain()
    made.go_on(OLD, 3)
    return made


def test_a_chain_that_nobody_touched_holds_beside_its_witness(chain):
    chain.seal(OLD, following=NEW)
    chain.go_on(NEW, 2)
    verdict = chain.verdict(kept=chain.kept, told=6, pinned=[OLD, NEW])
    assert verdict.holds, verdict.faults
    assert [key.text for key in verdict.keys] == [OLD.public.text, NEW.public.text]
    assert verdict.witnesses[0].checkpoints == 6


@pytest.mark.parametrize("pinned", [[], [OLD], [OLD, NEW]], ids=["nobody", "the old one", "both"])
def test_a_key_that_another_followed_signs_nothing_any_more(chain, pinned):
    """Keys are exchanged because one has leaked, and whoever noted the old one vouches for what it signed before."""
    chain.seal(OLD, following=NEW)
    chain.go_on(NEW)
    chain.go_on(OLD)
    verdict = chain.verdict(pinned=pinned)
    assert (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.KEY_REPLACED, 8)
    assert "put out of use" in verdict.faults[0].words
    assert verdict.rows == 8


def test_a_key_that_somebody_vouches_for_follows_on_one_that_was_lost(chain):
    chain.go_on(NEW, 2)
    assert chain.verdict(pinned=[NEW]).holds
    assert chain.verdict(pinned=[OLD]).faults[0].kind is Kind.KEY_REPLACED


def retiring(chain: Chain, key: SealKey, number: int) -> Stored:
    """A row that says that everything was retired so far."""
    told = {"before": f"{chain.at:%Y-%m-%dT%H:%M:%SZ}", "because": "it is over"}
    signature = key.sign(seals.statement(told))
    details = seals.written({**told, "signature": base64.b64encode(signature).decode()})
    return chain.row(number, event="ledger.retired", details=details)


@pytest.mark.parametrize(("key", "rotated"), [(OLD, "after"), (NEW, "before"), (OLD, "before")])
def test_what_is_missing_is_excused_by_a_key_that_no_other_had_followed(chain, key, rotated):
    if rotated == "before":
        chain.seal(OLD, following=NEW)
    chain.seal(NEW if rotated == "before" else OLD, retiring(chain, key, 99))
    if rotated == "after":
        chain.seal(OLD, following=NEW)
    verdict = chain.verdict(gone=chain.rows[1])
    if (key, rotated) == (OLD, "before"):
        assert (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.RETIRED, 2)
    else:
        assert verdict.holds, verdict.faults
        assert verdict.retired == 2


@pytest.mark.parametrize("salt", ["gone", "put back"])
def test_a_salt_that_was_put_back_to_what_was_erased_is_found(chain, salt):
    """Whoever has it finds out by guessing who it was."""
    told = chain.rows[1][0]
    signed = {"who": [told.id], "details": []}
    signature = base64.b64encode(OLD.sign(seals.statement(signed))).decode()
    chain.seal(OLD, chain.row(99, event="ledger.erased", details=seals.written({**signed, "signature": signature})))
    left = told.salt if salt == "put back" else bytes(16) + told.salt[16:]
    erased = dict.fromkeys(seals.WHO, seals.ERASED) | {"who_sha256": seals.who_commitment(told), "salt": left}
    chain.rows[1][0] = told._replace(**erased)
    verdict = chain.verdict()
    assert verdict.erased == 1
    assert verdict.holds is (salt == "gone")
    assert verdict.holds or (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.CHANGED, 2)


#: What is done to what a witness keeps, and what is said of it.
WITNESSES = {
    "a line that is gone": (lambda kept: [kept[0], *kept[2:]], "lacks checkpoints that it was told (1, the first 2)"),
    "all but the last": (lambda kept: kept[-1:], "lacks checkpoints that it was told (2, the first 1)"),
    "its end": (lambda kept: kept[:1], "was told checkpoint 3, and keeps none after 1"),
    "all of it": (lambda _: [], "was told checkpoint 3, and keeps none after 0"),
    "another order": (lambda kept: [kept[1], kept[0], kept[2]], "what was never told to it, or not in that order (1)"),
    "a line twice": (lambda kept: [*kept, kept[1]], "what was never told to it, or not in that order (1)"),
    "a line of nobody's": (lambda kept: [*kept, (10**18, "nonsense")], "what was never told to it"),
    "a line of nobody's before all": (
        lambda kept: [(10**18, "nonsense"), *kept],
        "what was never told to it, or not in that order (1)",
    ),
    "a line before the first": (lambda kept: [(-5, kept[0][1]), *kept], "what was never told to it"),
    "a checkpoint of nobody's": (
        lambda kept: [*kept, (7, kept[2][1].replace("number 3", "number 7"))],
        "what was never told to it",
    ),
    "a word": (
        lambda kept: [kept[0], (2, kept[1][1].replace("next ", "next 1")), kept[2]],
        "what was never told to it",
    ),
    "a signature": (lambda kept: [kept[0], (2, kept[1][1].replace("— ", "— x")), kept[2]], "what was never told to it"),
}


@pytest.mark.parametrize("what", WITNESSES)
def test_what_was_done_to_a_witness_is_told_of_it_and_of_no_row(chain, what):
    change, words = WITNESSES[what]
    verdict = chain.verdict(kept=change(chain.kept), told=3)
    assert [fault.kind for fault in verdict.faults] == [Kind.WITNESS]
    assert words in verdict.faults[0].words
    assert WITNESS in verdict.faults[0].words
    assert (verdict.rows, verdict.proven_until) == (6, chain.seals[-1].at)


@pytest.mark.parametrize("kept", [slice(1, None), slice(2, None), slice(0, None, 2)])
def test_somebody_who_keeps_some_checkpoints_is_a_witness_of_those(chain, kept):
    assert chain.verdict(kept=chain.kept[kept], keep_all=False).holds


@pytest.mark.parametrize("known", ["to the witness", "to the database"])
def test_seals_that_were_cut_off_are_known(chain, known):
    kept = chain.kept if known == "to the witness" else chain.kept[:2]
    del chain.seals[2:], chain.rows[2:]
    verdict = chain.verdict(kept=kept, told=3)
    assert (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.TRUNCATED, 4)
    assert verdict.rows == 4


def test_a_witness_of_whom_only_the_database_tells_speaks_against_a_cut_end(chain):
    del chain.seals[2:], chain.rows[2:]
    verdict = chain.verdict(told=3)
    assert [(fault.kind, fault.position) for fault in verdict.faults] == [(Kind.TRUNCATED, 4)]
    assert chain.verdict(told=2).holds


def test_another_chain_of_the_same_key_is_a_fork_where_it_begins(chain):
    other = Chain()
    other.go_on(OLD, 1)
    for number in (90, 92):
        other.seal(OLD, other.row(number), other.row(number + 1))
    assert other.seals[2].size == chain.seals[2].size
    verdict = other.verdict(kept=chain.kept, told=3)
    assert (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.SEAL_CHANGED, 2)
    assert verdict.rows == 2
