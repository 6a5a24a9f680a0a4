"""Secrets that the service must be able to read again, as they stand in the database: sealed, each in its own place.

AES-256 in GCM (NIST SP 800-38D) under a key that is made of the service's own secret. What is sealed is bound to the
table, the row, the field and the version that it is for: exchanged for another one, or set back to an earlier one, it
does not open. Whoever has the database alone reads nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: The format of what is sealed: its first byte.
_FORMAT: Final = b"\x01"
_KEY_BYTES: Final = 32
#: A salt makes each envelope's key another one, so that no nonce is ever used twice under one key.
_SALT_BYTES: Final = 16
_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a sealed secret stands: it opens nowhere else."""

    table: str
    key: str
    field: str
    version: int


class NotOpened(Exception):
    """What is sealed does not open here: it was sealed under another secret, for another slot, or it was changed."""


class Envelopes:
    """Seals and opens under one secret of the service."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sealed(self, plain: bytes, slot: Slot) -> bytes:
        """The secret as it may stand in the database."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return _FORMAT + salt + self._cipher(salt).encrypt(_NONCE, plain, _bound(slot))

    def opened(self, sealed: bytes, slot: Slot) -> bytes:
        """The secret again; raises :class:`NotOpened`."""
        salt, rest = sealed[1 : 1 + _SALT_BYTES], sealed[1 + _SALT_BYTES :]
        if not sealed.startswith(_FORMAT):
            raise NotOpened
        try:
            return self._cipher(salt).decrypt(_NONCE, rest, _bound(slot))
        except InvalidTag:
            raise NotOpened from None

    def _cipher(self, salt: bytes) -> AESGCM:
        """The key of one envelope (HKDF with SHA-256; RFC 5869)."""
        return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt=salt, info=b"muniment envelope").derive(self._secret))


def _bound(slot: Slot) -> bytes:
    return orjson.dumps([slot.table, slot.key, slot.field, slot.version])
