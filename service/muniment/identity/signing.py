"""The keys under which leases are signed: made from the service's own secret, a new one each month.

Every worker and host that has the secret has the same keys, and nothing has to be kept,
copied or rotated by hand. The key set shows the key of the month before, under which leases
may still run, the present one, and the next, so that a clock or a set that is a little old
does no harm (decision 0030).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

from muniment.core.leases import TYPE

#: What signs (RFC 8037, 3.1), and of which curve its keys are.
_ALGORITHM: Final = "EdDSA"
_CURVE: Final = "Ed25519"
_SEED_BYTES: Final = 32


def _written(octets: bytes) -> bytes:
    """Base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(octets).rstrip(b"=")


@dataclass(frozen=True, slots=True)
class _Key:
    """The key of one month, with the part of what it signs that is always the same."""

    public: Mapping[str, str]
    head: bytes
    private: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes, month: str) -> Self:
        """The key that a secret makes for a month (HKDF with SHA-256; RFC 5869)."""
        seed = HKDF(SHA256(), _SEED_BYTES, salt=None, info=f"muniment lease {month}".encode()).derive(secret)
        public, private = crypto_sign_seed_keypair(seed)
        needed = {"crv": _CURVE, "kty": "OKP", "x": _written(public).decode()}
        thumbprint = hashlib.sha256(orjson.dumps(needed, option=orjson.OPT_SORT_KEYS)).digest()  # RFC 7638
        name = _written(thumbprint).decode()
        head = {"alg": _ALGORITHM, "kid": name, "typ": TYPE}
        return cls(
            public={**needed, "kid": name, "use": "sig", "alg": _ALGORITHM},
            head=_written(orjson.dumps(head)) + b".",
            private=private,
        )


class Signer:
    """Signs leases in the name of one service; ``issuer`` is the address by which clients know it."""

    def __init__(self, secret: bytes, issuer: str) -> None:
        self.issuer = issuer
        self._secret = secret
        self._keys: dict[str, _Key] = {}
        #: The month in which was signed last, and its key.
        self._last: tuple[tuple[int, int], _Key] | None = None

    def signed(self, claims: Mapping[str, Any], at: datetime) -> str:
        """The claims, signed with the key of that moment: a JWS in its compact form (RFC 7515, 3.1)."""
        return self.sealed(orjson.dumps(claims), at).decode()

    def sealed(self, claims: bytes, at: datetime) -> bytes:
        """The same for claims that are written as JSON already.

        libsodium signs, in three quarters of the time that OpenSSL takes for the same bytes (decision 0051).
        """
        month = (at.year, at.month)
        if self._last is None or self._last[0] != month:
            self._last = month, self._key(_month(at))
        key = self._last[1]
        said = key.head + _written(claims)
        return said + b"." + _written(crypto_sign(said, key.private)[:crypto_sign_BYTES])

    def key_set(self, at: datetime) -> Mapping[str, object]:
        """What tells the service's signatures from others (RFC 7517, 5): the last key, the present and the next."""
        return {"keys": [dict(self._key(_month(at, later=later)).public) for later in (-1, 0, 1)]}

    def _key(self, month: str) -> _Key:
        """A key is made once for each month: a service that runs for years keeps some dozens."""
        key = self._keys.get(month)
        if key is None:
            key = self._keys[month] = _Key.of(self._secret, month)
        return key


def _month(at: datetime, *, later: int = 0) -> str:
    """The month of a moment (UTC), or one that many months later."""
    number = at.year * 12 + at.month - 1 + later
    return f"{number // 12:04}-{number % 12 + 1:02}"
