"""The private key by which Muniment proves to a provider who it is, so that no secret is shared (RFC 7523, 2.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from warnings import catch_warnings, simplefilter

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

PrivateKey = RSAKey | ECKey | OKPKey

#: The algorithms of each kind of key, the usual one first.
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA", "Ed25519"),
}
_KINDS: Final[tuple[type[PrivateKey], ...]] = (RSAKey, ECKey, OKPKey)
#: NIST SP 800-131A.
_SHORTEST_RSA: Final = 2048


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A key that signs, and what it may sign with, the usual first."""

    key: PrivateKey = field(repr=False)
    algorithms: tuple[str, ...]

    def algorithm_for(self, listed: object) -> str:
        """The first that the provider lists too; the usual one where it lists none that would do."""
        offered = listed if isinstance(listed, list) else []
        return next((name for name in self.algorithms if name in offered), self.algorithms[0])


def signing_key_in(text: str) -> SigningKey | None:
    """The private key in a PEM without a password, or in a JWK; None if there is none that should sign."""
    key = _parsed(text)
    if key is None or not key.is_private:
        return None
    if isinstance(key, RSAKey) and key.raw_value.key_size < _SHORTEST_RSA:
        return None
    if key.get("use", "sig") != "sig" or "sign" not in (key.get("key_ops") or "sign"):
        return None
    suiting = _ALGORITHMS.get("RSA" if isinstance(key, RSAKey) else str(key.get("crv")), ())
    meant = tuple(name for name in suiting if key.alg in {None, name})
    return SigningKey(key, meant) if meant else None


def _parsed(text: str) -> PrivateKey | None:
    """Parsers' errors hold what they read, and go no further."""
    is_jwk = text.lstrip().startswith("{")
    for kind in _KINDS:
        with (
            suppress(JoseError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm),
            catch_warnings(),
        ):
            simplefilter("ignore", SecurityWarning)  # of short RSA keys, which are refused
            if not is_jwk:
                return kind.import_key(text)
            if json.loads(text)["kty"] == kind.key_type:
                return kind.import_key(json.loads(text))
    return None
