"""The signature of leases: a month's key, the same wherever the secret is, and shown before and after it signs."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry, deserialize_compact

from muniment.identity.signing import Signer
from muniment.settings import LeaseHours

SECRET = b"s" * 64
ISSUER = "https://muniment.example.org"
AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
CLAIMS = {"iss": ISSUER, "sub": "user:ann", "project": None, "purpose": "Ünïcödé", "revision": 7}


@pytest.fixture(autouse=True)
def _older_name_of_the_algorithm() -> Iterator[None]:
    """RFC 9864 calls it Ed25519; what verifies everywhere is EdDSA (RFC 8037)."""
    with catch_warnings():
        simplefilter("ignore")
        yield


def verified(token: str, key_set: Any) -> Any:
    """What joserfc, which shares nothing with what signs, reads of a signature that holds."""
    keys = KeySet.import_key_set(key_set)
    return deserialize_compact(token, keys, registry=JWSRegistry(algorithms=["EdDSA"]))


def test_a_library_of_others_verifies_what_is_signed() -> None:
    signer = Signer(SECRET, ISSUER)
    read = verified(signer.signed(CLAIMS, AT), signer.key_set(AT))
    assert json.loads(read.payload) == CLAIMS
    assert read.headers()["typ"] == "muniment-lease+jwt"
    assert read.headers()["alg"] == "EdDSA"


def test_keys_are_named_by_their_thumbprints_and_show_no_private_half() -> None:
    for key in Signer(SECRET, ISSUER).key_set(AT)["keys"]:  # type: ignore[attr-defined]
        assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}
        assert OKPKey.import_key({name: key[name] for name in ("kty", "crv", "x")}).thumbprint() == key["kid"]


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    signer = Signer(SECRET, ISSUER)
    token, keys = signer.signed(CLAIMS, AT), signer.key_set(AT)
    head, claims, signature = token.split(".")
    for place in (3, len(head) + 5, len(head) + len(claims) + 8):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises((BadSignatureError, InvalidKeyIdError, JoseError, ValueError)):
            verified(f"{token[:place]}{other}{token[place + 1 :]}", keys)
    assert len(signature) == 86


def test_two_hosts_with_one_secret_sign_alike_and_one_with_another_does_not() -> None:
    one, same, other = Signer(SECRET, ISSUER), Signer(SECRET, ISSUER), Signer(b"t" * 64, ISSUER)
    assert one.signed(CLAIMS, AT) == same.signed(CLAIMS, AT)
    assert one.key_set(AT) == same.key_set(AT)
    with pytest.raises((JoseError, ValueError)):
        verified(other.signed(CLAIMS, AT), one.key_set(AT))


def test_what_is_signed_is_to_the_byte_what_another_library_signs_with_the_same_key() -> None:
    """A message and a key have one signature (RFC 8032, 5.1.6), whoever makes it; releases before made this one."""
    seed = HKDF(SHA256(), 32, salt=None, info=b"muniment lease 2026-11").derive(SECRET)
    said, _, signature = Signer(SECRET, ISSUER).signed(CLAIMS, AT).rpartition(".")
    made = Ed25519PrivateKey.from_private_bytes(seed).sign(said.encode())
    assert urlsafe_b64encode(made).rstrip(b"=") == signature.encode()


def test_each_month_has_a_key_that_is_shown_the_month_before_and_the_month_after() -> None:
    """Seen to fail with a set of the present key alone."""
    signer = Signer(SECRET, ISSUER)
    kids = set()
    for month in range(1, 13):
        first = datetime(2027, month, 1, tzinfo=UTC)
        last = first + timedelta(days=27, hours=23)
        token = signer.signed(CLAIMS, first)
        assert token == signer.signed(CLAIMS, last)
        for seen in (first - timedelta(days=20), last + timedelta(days=31)):
            kids.add(verified(token, signer.key_set(seen)).headers()["kid"])
    assert len(kids) == 12
    old = signer.signed(CLAIMS, datetime(2026, 12, 31, tzinfo=UTC))
    assert verified(old, signer.key_set(datetime(2027, 1, 31, 23, tzinfo=UTC)))
    with pytest.raises((JoseError, ValueError)):
        verified(old, signer.key_set(datetime(2027, 2, 1, tzinfo=UTC)))


def test_the_longest_lease_ends_while_its_key_is_shown() -> None:
    """Of the field's own bound, so that no later setting outlives a key unnoticed."""
    hours = [metadata.le for metadata in LeaseHours.model_fields["services"].metadata if hasattr(metadata, "le")]
    assert timedelta(hours=hours[0]) < timedelta(days=28)


def test_nothing_shows_the_secret() -> None:
    signer = Signer(b"the-secret-of-these-tests-is-long-enough", ISSUER)
    signer.signed(CLAIMS, AT)
    assert "the-secret" not in repr(signer) + repr(vars(signer)["_keys"])
