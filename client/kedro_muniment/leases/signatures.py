"""Whether a key of the service signed a statement: compact JWS (RFC 7515, 7.1) with Ed25519 (RFC 8037), and no other.

A verifier that reads in a statement how it is to be verified can be talked into anything (RFC 8725, 3.1). So the
algorithm and the kind of statement are fixed here, extensions (``crit``) are refused, and a key is looked for by its id
among those that the service itself showed.

It stands on ``cryptography``, which Authlib asks for. joserfc, which Authlib asks for too, would do the same and cost
every start 60 ms of importing (decision 0031); the tests sign with it.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, Final

#: What is believed of a statement's header (RFC 8037, 3.1; RFC 8725, 3.11).
ALGORITHM: Final = "EdDSA"
TYPE: Final = "muniment-lease+jwt"
#: What a key must be (RFC 8037, 2).
_KIND: Final = {"kty": "OKP", "crv": "Ed25519"}
_KEY_BYTES: Final = 32
#: How many keys are read of a set: it shows the last, the present and the next.
_MOST_KEYS: Final = 50

#: Public keys by their ids, as the set writes them (``x``).
Keys = Mapping[str, str]


class Unproved(Exception):
    """Nothing proves that the service said this; the message is the end of a sentence about it."""


class UnknownKey(Unproved):
    """It names a key that is not among those that are known here."""


def keys_of(document: Any) -> Keys:
    """The keys of a set (RFC 7517, 5) that can have signed a lease; what else stands there is passed over."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    found = {}
    for each in listed[:_MOST_KEYS] if isinstance(listed, list) else []:
        if not isinstance(each, dict) or any(each.get(name) != value for name, value in _KIND.items()):
            continue
        name, point = each.get("kid"), each.get("x")
        if isinstance(name, str) and isinstance(point, str) and each.get("use", "sig") == "sig":
            found[name] = point
    return found


def proved(text: str, keys: Keys) -> Mapping[str, Any]:
    """The claims of a statement that one of these keys signed.

    Raises :class:`Unproved`, or :class:`UnknownKey` where another key may prove it.
    """
    parts = text.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        raise Unproved("it is no signed statement")
    header = _object(parts[0])
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or "crit" in header:
        raise Unproved("it is signed in a way that is not a lease's")
    name = header.get("kid")
    if not isinstance(name, str) or name not in keys:
        raise UnknownKey("the key that it names is none of the service's")
    _verify(keys[name], _octets(parts[2]), f"{parts[0]}.{parts[1]}".encode())
    return _object(parts[1])


def _verify(key: str, signature: bytes, signed: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    point = _octets(key)
    if len(point) != _KEY_BYTES:
        raise Unproved("its key is no Ed25519 key")
    try:
        Ed25519PublicKey.from_public_bytes(point).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise Unproved("its signature does not hold") from None


def _object(part: str) -> Mapping[str, Any]:
    try:
        held = json.loads(_octets(part))
    except (ValueError, RecursionError):
        raise Unproved("it cannot be read") from None
    if not isinstance(held, dict):
        raise Unproved("it cannot be read")
    return held


def _octets(part: str) -> bytes:
    """Base64url without padding (RFC 7515, 2)."""
    try:
        if "=" not in part and "+" not in part and "/" not in part:
            return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        pass
    raise Unproved("it cannot be read")
