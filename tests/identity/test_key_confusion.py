"""Signatures and keys that pass themselves off as those of other issuers, algorithms, curves (RFC 8725)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from muniment.identity.bearer import Bearer
from muniment.identity.issuers import Issuer
from muniment.identity.keys import key_set_from
from tests.identity.conftest import Answer, refused

pytestmark = pytest.mark.anyio

#: The order of P-256 (FIPS 186-4, D.1.2.3).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EVERY_ALGORITHM = JWSRegistry(algorithms=["RS256", "RS384", "PS256", "ES256", "ES384", "Ed25519", "EdDSA", "HS256"])


def b64(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def publish(site, *keys):
    site.publish()
    site.answers["/jwks"] = Answer(body=json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode())


def claims(site, now, **changes):
    return json.dumps({"iss": site.url, "sub": "ann", "aud": "muniment", "exp": int(now.timestamp()) + 600, **changes})


def signed(site, now, key, algorithm, **header):
    head = {"alg": algorithm, "kid": key.kid, **header}
    return serialize_compact(head, claims(site, now), key, registry=EVERY_ALGORITHM)


def with_signature(site, now, algorithm, key_id, signature):
    head = b64(json.dumps({"alg": algorithm, "kid": key_id}).encode())
    return f"{head}.{b64(claims(site, now).encode())}.{b64(signature)}"


async def test_a_key_id_that_two_issuers_use_is_two_keys(site, other, http, now):
    mine = OKPKey.generate_key(parameters={"kid": "one"})
    theirs = OKPKey.generate_key(parameters={"kid": "one"})
    publish(site, mine)
    publish(other, theirs)
    issuers = [
        Issuer(name="site", issuer=site.url, audience="muniment", default=True),
        Issuer(name="other", issuer=other.url, audience="muniment"),
    ]
    bearer = Bearer(issuers, http)
    assert (await bearer.verify(signed(site, now, mine, "Ed25519"), now)).state.subject.id == "ann"
    assert (await bearer.verify(signed(other, now, theirs, "Ed25519"), now)).state.subject.id == "other|ann"
    with refused("signature does not hold"):
        await bearer.verify(signed(site, now, theirs, "Ed25519"), now)
    with refused("signature does not hold"):
        await bearer.verify(signed(other, now, mine, "Ed25519"), now)


async def test_the_only_key_of_another_issuer_is_not_tried_for_a_token_without_a_key_id(site, other, http, now):
    theirs = OKPKey.generate_key(parameters={"kid": "two"})
    publish(site, RSAKey.generate_key(2048, parameters={"kid": "one"}))
    publish(other, theirs)
    issuers = [
        Issuer(name="site", issuer=site.url, audience="muniment", default=True),
        Issuer(name="other", issuer=other.url, audience="muniment"),
    ]
    token = serialize_compact({"alg": "Ed25519"}, claims(site, now), theirs, registry=EVERY_ALGORITHM)
    with refused("does not publish"):
        await Bearer(issuers, http).verify(token, now)


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64),
        bytes(63) + b"\1",
        bytes(31) + b"\1" + bytes(32),
        ORDER.to_bytes(32, "big") * 2,
        ORDER.to_bytes(32, "big") + bytes(32),
        (ORDER + 1).to_bytes(32, "big") * 2,
        b"\xff" * 64,
        bytes(96),
        bytes(132),
        b"\0",
        encode_dss_signature(1, 1),
        encode_dss_signature(0, 0),
    ],
    ids=[
        "zeros", "r zero", "s zero", "order", "order and zero", "order plus one", "ones", "of P-384", "of P-521",
        "a byte", "DER", "DER zeros",
    ],
)  # fmt: skip
async def test_an_elliptic_signature_of_nothing_is_none(site, http, now, signature):
    """CVE-2022-21449: zeros held for every message and key."""
    key = ECKey.generate_key("P-256", parameters={"kid": "ec"})
    publish(site, key)
    bearer = site.bearer(http)
    assert (await bearer.verify(signed(site, now, key, "ES256"), now)).state.subject.id == "ann"
    with refused("signature does not hold"):
        await bearer.verify(with_signature(site, now, "ES256", "ec", signature), now)


async def test_a_signature_in_the_form_of_certificates_is_none(site, http, now):
    """One signature has one form here: r and s at their full length (RFC 7518, 3.4)."""
    key = ECKey.generate_key("P-256", parameters={"kid": "ec"})
    publish(site, key)
    token = signed(site, now, key, "ES256")
    raw = JWSRegistry.algorithms["ES256"].sign(token.rpartition(".")[0].encode(), key)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    bearer = site.bearer(http)
    assert (await bearer.verify(f"{token.rpartition('.')[0]}.{b64(raw)}", now)).state.subject.id == "ann"
    with refused("signature does not hold"):
        await bearer.verify(f"{token.rpartition('.')[0]}.{b64(der)}", now)


async def test_an_rsa_signature_holds_in_its_own_padding_alone(site, http, now):
    key = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
    publish(site, key)
    bearer = site.bearer(http)
    for one, another in (("RS256", "PS256"), ("PS256", "RS256")):
        token = signed(site, now, key, one)
        assert (await bearer.verify(token, now)).state.subject.id == "ann"
        signature = JWSRegistry.algorithms[one].sign(with_signature(site, now, another, "rsa", b"x")[:-3].encode(), key)
        with refused("signature does not hold"):
            await bearer.verify(with_signature(site, now, another, "rsa", signature), now)


async def test_a_key_is_used_for_the_algorithm_that_it_is_published_for_alone(site, http, now):
    key = RSAKey.generate_key(2048, parameters={"kid": "rsa", "alg": "PS256"})
    publish(site, key)
    bearer = site.bearer(http)
    assert (await bearer.verify(signed(site, now, key, "PS256"), now)).state.subject.id == "ann"
    unbound = RSAKey.import_key({**key.as_dict(private=True), "alg": "RS256"})
    with refused("does not publish"):
        await bearer.verify(signed(site, now, unbound, "RS256"), now)


async def test_a_curve_is_used_with_its_own_algorithm_alone(site, http, now):
    key = ECKey.generate_key("P-384", parameters={"kid": "ec"})
    publish(site, key)
    with refused("does not publish"):
        await site.bearer(http).verify(with_signature(site, now, "ES256", "ec", bytes(range(64))), now)


async def test_a_secret_that_is_published_signs_nothing(site, http, now):
    """A key set with a symmetric key makes everybody an issuer."""
    shared = OctKey.import_key("a" * 32, parameters={"kid": "oct"})
    site.publish()
    site.answers["/jwks"] = Answer(body=json.dumps({"keys": [shared.as_dict(private=True)]}).encode())
    with refused("private key of an issuer"):
        await site.bearer(http).verify(signed(site, now, shared, "HS256"), now)


async def test_a_token_without_a_key_id_is_refused_where_several_keys_could_have_signed_it(site, http, now):
    one, two = (OKPKey.generate_key(parameters={"kid": name}) for name in ("one", "two"))
    publish(site, one, two)
    token = serialize_compact({"alg": "Ed25519"}, claims(site, now), one, registry=EVERY_ALGORITHM)
    with refused("does not publish"):
        await site.bearer(http).verify(token, now)


async def test_keys_that_share_an_id_are_each_tried(site, http, now):
    one, two = (OKPKey.generate_key(parameters={"kid": "same"}) for _ in range(2))
    publish(site, one, two)
    bearer = site.bearer(http)
    for key in (one, two):
        assert (await bearer.verify(signed(site, now, key, "Ed25519"), now)).state.subject.id == "ann"
    with refused("signature does not hold"):
        await bearer.verify(signed(site, now, OKPKey.generate_key(parameters={"kid": "same"}), "Ed25519"), now)


def test_keys_that_are_weak_or_no_keys_at_all_are_passed_over(now):
    rsa = RSAKey.generate_key(2048, parameters={"kid": "rsa"}).as_dict(private=False)
    curve = ECKey.generate_key("P-256", parameters={"kid": "ec"}).as_dict(private=False)
    odd = [
        {**rsa, "n": b64(b"\xff" * 128)},
        {**rsa, "e": "AQ"},
        {**rsa, "e": "Ag"},
        {**rsa, "e": ""},
        {**rsa, "n": b64(bytes(256))},
        {**rsa, "n": b64(b"\xff" * 2049)},
        {**rsa, "n": 7},
        {**curve, "x": curve["y"], "y": curve["x"]},
        {**curve, "x": b64(bytes(32)), "y": b64(bytes(32))},
        {**curve, "crv": "P-384"},
        {**curve, "crv": "secp256k1"},
        {"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57)), "kid": "okp"},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31)), "kid": "okp"},
    ]
    assert [each for each in odd if key_set_from({"keys": [each]}, now).keys] == []
    assert len(key_set_from({"keys": [*odd, rsa, curve]}, now).keys) == 2
