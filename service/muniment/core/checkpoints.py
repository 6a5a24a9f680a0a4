"""Checkpoints: signed statements of how large the sealed ledger is, what its root is, and which one came before.

A checkpoint is a signed note (C2SP ``signed-note``) as transparency logs write them (C2SP
``tlog-checkpoint``): origin, size and root, then lines of our own. Each names the hash of
the note before it, signatures included, so a chain of them can only be taken whole. Whoever
keeps one, keeps proof of every row before it.

Signing and checking of signatures is somebody else's: here are texts alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from muniment.core.ledger import Place
from muniment.core.merkle import WIDTH
from muniment.core.moments import write_moment
from muniment.core.problems import Invalid

#: What the note before the first one hashes to.
NONE_BEFORE: Final = bytes(WIDTH)

#: The algorithm of our keys (C2SP ``signed-note``): Ed25519.
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4

_DASH: Final = "— "
_NUMBER: Final = r"(0|[1-9][0-9]{0,18})"
_BODY: Final = re.compile(
    rf"""(?P<origin>[^\s+]+)\n
    (?P<size>{_NUMBER})\n
    (?P<root>[A-Za-z0-9+/]{{43}}=)\n
    number\ (?P<number>{_NUMBER})\n
    at\ (?P<at>[-0-9T:.]+Z)\n
    ids\ (?P<ids>[0-9a-f]{{64}})\n
    leaves\ (?P<leaves>[0-9a-f]{{64}})\n
    through\ (?P<through>[0-9.]+)\n
    next\ (?P<next_xact>{_NUMBER})\n
    cluster\ (?P<cluster>{_NUMBER})\ after\ (?P<after_seq>{_NUMBER})\n
    previous\ (?P<previous>[0-9a-f]{{64}})\n
    (key\ (?P<key>[^\s+]+\+[0-9a-f]{{8}}\+[A-Za-z0-9+/=]+)\n)?
    (restored\ (?P<restored>\{{.*\}})\n)?""",
    re.VERBOSE,
)

#: Whether the holder of a public key signed a message: (key, message, signature).
Check = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key by which notes are checked; ``text`` is C2SP's form of it, which people keep and compare."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that point from a signature to its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as one word (a "vkey")."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that a word holds; raises :class:`Invalid` when it holds none."""
        name, _, rest = text.strip().partition("+")
        id_, _, encoded = rest.partition("+")
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except ValueError:
            decoded = b""
        key = cls(name, decoded[1:])
        if not name or decoded[:1] != _ED25519 or len(key.public) != _KEY_BYTES or key.id.hex() != id_:
            raise Invalid(
                "This is no key that checks seals. One is written NAME+HASH+KEY, as GET /v1/ledger/keys tells it."
            )
        return key


@dataclass(frozen=True, slots=True)
class Restored:
    """That the database was restored from an older backup: which checkpoints it knows no more, and why that is so.

    ``size`` is of the tree of the last one that is lost, ``note_sha256`` the hash of its note.
    """

    first_lost: int
    last_lost: int
    size: int
    note_sha256: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed of a seal, and so of everything before it.

    ``ids`` is the SHA-256 of the sealed rows' identifiers, which are what is left of a row that was retired, and
    ``leaves`` that of their leaves, so that each seal can be held to it even where one before it was changed.
    ``through`` is the place of the last row that was ever sealed; transactions from ``next_xact`` on had not
    ended when this was signed. ``cluster`` is the database cluster, whose rows' ``seq`` lie after
    ``after_seq``. ``key`` is, in the first checkpoint, the one that signs; later it is one that follows, and signs
    this one too. ``restored`` says what a restore from a backup lost.
    """

    origin: str
    size: int
    root: bytes
    number: int
    at: datetime
    ids: bytes
    leaves: bytes
    through: Place
    next_xact: int
    cluster: int
    after_seq: int
    previous: bytes
    key: VerifierKey | None = None
    restored: Restored | None = None

    @property
    def text(self) -> str:
        """What is signed."""
        lines = [
            self.origin,
            str(self.size),
            base64.b64encode(self.root).decode(),
            f"number {self.number}",
            f"at {write_moment(self.at)}",
            f"ids {self.ids.hex()}",
            f"leaves {self.leaves.hex()}",
            f"through {self.through.text}",
            f"next {self.next_xact}",
            f"cluster {self.cluster} after {self.after_seq}",
            f"previous {self.previous.hex()}",
        ]
        if self.key is not None:
            lines.append(f"key {self.key.text}")
        if self.restored is not None:
            lost = self.restored
            told = {
                "because": lost.because,
                "first_lost": lost.first_lost,
                "last_lost": lost.last_lost,
                "note_sha256": lost.note_sha256,
                "size": lost.size,
            }
            lines.append(f"restored {json.dumps(told)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint that a text says; raises :class:`Invalid` for any other text."""
        found = _BODY.fullmatch(text)
        if found is None:
            raise Invalid(_NO_CHECKPOINT)
        try:
            parsed = cls(
                origin=found["origin"],
                size=int(found["size"]),
                root=base64.b64decode(found["root"]),
                number=int(found["number"]),
                at=datetime.fromisoformat(found["at"]),
                ids=bytes.fromhex(found["ids"]),
                leaves=bytes.fromhex(found["leaves"]),
                through=Place.parse(found["through"]),
                next_xact=int(found["next_xact"]),
                cluster=int(found["cluster"]),
                after_seq=int(found["after_seq"]),
                previous=bytes.fromhex(found["previous"]),
                key=VerifierKey.parse(found["key"]) if found["key"] else None,
                restored=_restored(found["restored"]) if found["restored"] else None,
            )
        except (ValueError, TypeError, RecursionError, Invalid) as error:
            raise Invalid(_NO_CHECKPOINT) from error
        # Each has one text alone, so that none says something beside what was read of it.
        if parsed.text != text:
            raise Invalid(_NO_CHECKPOINT)
        return parsed


@dataclass(frozen=True, slots=True)
class Signature:
    """A line of signature: the key's name and id, and the signature itself."""

    name: str
    id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line of a note."""
        return f"{_DASH}{self.name} {base64.b64encode(self.id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A signed checkpoint."""

    checkpoint: Checkpoint
    signatures: Sequence[Signature]

    @property
    def text(self) -> str:
        """The note as it is published."""
        return self.checkpoint.text + "\n" + "".join(each.line for each in self.signatures)

    @property
    def sha256(self) -> bytes:
        """What the next checkpoint says of this one."""
        return hashlib.sha256(self.text.encode()).digest()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The note that a text is; raises :class:`Invalid` for any other text."""
        body, _, signed = text.partition("\n\n")
        note = cls(Checkpoint.parse(body + "\n"), tuple(_signatures(signed)))
        if note.text != text or not note.signatures:
            raise Invalid(_NO_CHECKPOINT)
        return note

    def is_signed_by(self, key: VerifierKey, check: Check) -> bool:
        """Whether a key signed it."""
        message = self.checkpoint.text.encode()
        return any(
            check(key.public, message, each.signature)
            for each in self.signatures
            if each.name == key.name and each.id == key.id
        )

    def signer(self, keys: Iterable[VerifierKey], check: Check) -> VerifierKey | None:
        """The first of these keys that signed it."""
        return next((key for key in keys if self.is_signed_by(key, check)), None)


_NO_CHECKPOINT: Final = "This is no signed checkpoint of a ledger."


def _restored(text: str) -> Restored:
    """What was lost, in numbers and texts: nobody may have signed it, and it is compared with numbers."""
    told = Restored(**json.loads(text))
    numbers, texts = (told.first_lost, told.last_lost, told.size), (told.note_sha256, told.because)
    if {*map(type, numbers)} != {int} or {*map(type, texts)} != {str}:
        raise ValueError(text)
    return told


def _signatures(lines: str) -> Iterable[Signature]:
    for line in lines.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise Invalid(_NO_CHECKPOINT) from error
        yield Signature(name, decoded[:_ID_BYTES], decoded[_ID_BYTES:])
