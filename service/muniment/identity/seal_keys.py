"""The key under which the ledger is sealed: a file outside of the database, and what tells its signatures.

Whoever can write to the database can make a ledger that holds together; without this key
nobody can make one that was signed. The first start makes it in the data directory; several
hosts are given one file, which the settings name. A new key is announced by a checkpoint
that the old one signs too.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from muniment.core.checkpoints import Checkpoint, Note, Signature, VerifierKey
from muniment.core.problems import CannotStart
from muniment.core.seals import statement

#: The name of the file in the data directory; beside it stands the next key while one follows on the other.
NAME: Final = "seals.key"
NEXT: Final = ".next"

#: How a private key begins, in the form of Go's ``sumdb/note``: one line that holds name, id and key.
_PREFIX: Final = "PRIVATE+KEY+"
_ED25519: Final = b"\x01"
_SEED_BYTES: Final = 32


class SealKey:
    """A key that seals."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        """A key by its name and its private half."""
        self._private = private
        self.public = VerifierKey(name, private.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        """The key by what everybody may know of it."""
        return f"SealKey({self.public.text!r})"

    @classmethod
    def made(cls, name: str | None = None) -> Self:
        """A new key; one that follows on another has its name, which is the ledger's."""
        return cls(name or f"muniment-{secrets.token_hex(8)}", Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key in a text; raises ``ValueError`` where there is none."""
        if not text.startswith(_PREFIX):
            raise ValueError
        name, id_, encoded = text.strip().removeprefix(_PREFIX).split("+", 2)
        decoded = base64.b64decode(encoded, validate=True)
        if not name or decoded[:1] != _ED25519 or len(decoded) != 1 + _SEED_BYTES:
            raise ValueError
        key = cls(name, Ed25519PrivateKey.from_private_bytes(decoded[1:]))
        if key.public.id.hex() != id_:
            raise ValueError
        return key

    @classmethod
    def read(cls, path: Path) -> Self:
        """The key in a file; raises :class:`CannotStart` where there is none."""
        try:
            return cls.parse(path.read_text(encoding="ascii"))
        except OSError as failed:
            raise CannotStart(
                f"The key that seals the ledger, {path}, cannot be read ({failed.strerror}). Put it back there, or "
                "name the file that holds it: MUNIMENT_SEAL_KEY_FILE."
            ) from None
        except ValueError:
            raise CannotStart(
                f"{path} holds no key that seals a ledger. Put back the one that was made there; the first start of a "
                "ledger makes one where no file is."
            ) from None

    def write(self, path: Path) -> None:
        """Keep it in a new file that only this user reads, durably; ``FileExistsError`` where there is one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            seed = base64.b64encode(_ED25519 + self._private.private_bytes_raw()).decode()
            file.write(f"{_PREFIX}{self.public.name}+{self.public.id.hex()}+{seed}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # Linked and not renamed: a key that another process has just made stands.
            os.link(fresh, path)
        finally:
            fresh.unlink()
        sync(path.parent)

    def sign(self, message: bytes) -> bytes:
        """The signature of a message."""
        return self._private.sign(message)

    def signature(self, checkpoint: Checkpoint) -> Signature:
        """The line by which this key signs a checkpoint."""
        return Signature(self.public.name, self.public.id, self.sign(checkpoint.text.encode()))

    def note(self, checkpoint: Checkpoint) -> Note:
        """A checkpoint, signed by this key alone."""
        return Note(checkpoint, (self.signature(checkpoint),))


class SealKeys:
    """The key that seals now, read again whenever its file was changed."""

    def __init__(self, path: Path) -> None:
        """The key in a file."""
        self.path = path
        self._read: tuple[tuple[int, int, int], SealKey] | None = None

    @property
    def next_path(self) -> Path:
        """Where the next key stands while one follows on the other."""
        return self.path.with_name(self.path.name + NEXT)

    @property
    def current(self) -> SealKey:
        """The key; raises :class:`CannotStart` where there is none."""
        with suppress(OSError):
            about = self.path.stat()
            seen = (about.st_ino, about.st_mtime_ns, about.st_size)
            if self._read is None or self._read[0] != seen:
                self._read = seen, SealKey.read(self.path)
            return self._read[1]
        return SealKey.read(self.path)

    def made(self) -> SealKey:
        """The key; a new one where no file is."""
        if not self.path.exists():
            try:
                with suppress(FileExistsError):
                    SealKey.made().write(self.path)
            except OSError as failed:
                raise CannotStart(
                    f"No key that seals the ledger can be kept in {self.path} ({failed.strerror}). Let the service "
                    "write there, or name a file that it may read: MUNIMENT_SEAL_KEY_FILE."
                ) from failed
        return self.current

    def prepare_next(self) -> SealKey:
        """The key that is to follow: made, or what an attempt before has made."""
        with suppress(FileExistsError):
            SealKey.made(self.current.public.name).write(self.next_path)
        return SealKey.read(self.next_path)

    def follow(self) -> SealKey:
        """Put the next key in the place of the present one."""
        self.next_path.replace(self.path)
        sync(self.path.parent)
        return self.current

    def follow_if_announced(self, announced: VerifierKey) -> SealKey:
        """The key that was announced: the present one, or the next, where a stop came between announcing and moving."""
        if self.current.public != announced and self.next_path.exists():
            waiting = SealKey.read(self.next_path)
            if waiting.public == announced:
                return self.follow()
        return self.current

    def sign(self, message: bytes) -> str:
        """The signature of a message by the present key, in base64."""
        return base64.b64encode(self.current.sign(message)).decode()

    def signed(self, details: Mapping[str, object]) -> dict[str, object]:
        """The details of a row that says what was retired or erased, with the signature that makes it count."""
        return {**details, "signature": self.sign(statement(details))}


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a public key signed a message (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sync(directory: Path) -> None:
    """Make it durable that a file stands in a directory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
