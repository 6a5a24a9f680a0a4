"""Which signatures are believed: those of a lease, by Ed25519 and a key that was shown. joserfc signs here."""

from __future__ import annotations

import json

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey
from joserfc.util import urlsafe_b64encode

from kedro_muniment.leases import signatures
from kedro_muniment.leases.signatures import UnknownKey, Unproved

KEY = OKPKey.generate_key(parameters={"kid": "mine"})
KEYS = {"mine": KEY.as_dict(private=False)["x"]}
HEADER = {"alg": "EdDSA", "kid": "mine", "typ": "muniment-lease+jwt"}
CLAIMS = {"sub": "user:ann", "names": "Ænne"}
PAYLOAD = json.dumps(CLAIMS)


def signed(header=HEADER, payload=PAYLOAD, key=KEY, algorithm=None):
    registry = jws.JWSRegistry(algorithms=[algorithm or "EdDSA"], strict_check_header=False)
    return jws.serialize_compact({"alg": algorithm or "EdDSA", **header}, payload, key, registry=registry)


def part(value):
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_what_the_key_signed_is_believed():
    assert signatures.proved(signed(), KEYS) == CLAIMS


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": "at+jwt"},
        {"alg": "EdDSA", "kid": "mine"},
        {**HEADER, "crit": ["b64"], "b64": True},
        {**HEADER, "alg": "Ed25519"},
    ],
)
def test_another_kind_of_statement_is_not(header):
    """However rightly the same key signed it (RFC 8725, 3.11 and 3.12)."""
    payload = part(CLAIMS)
    signing = f"{part(header)}.{payload}"
    signature = urlsafe_b64encode(KEY.private_key.sign(signing.encode())).decode()
    with pytest.raises(Unproved, match="in a way that is not a lease's"):
        signatures.proved(f"{signing}.{signature}", KEYS)


def test_no_signature_and_no_other_algorithm_is():
    """RFC 8725, 2.1: `none`; and the public key as a shared secret."""
    none = f"{part({**HEADER, 'alg': 'none'})}.{part(CLAIMS)}."
    shared = signed({**HEADER, "alg": "HS256"}, key=OctKey.import_key(KEYS["mine"]), algorithm="HS256")
    for text in (none, shared, f"{part(HEADER)}.{part(CLAIMS)}."):
        with pytest.raises(Unproved):
            signatures.proved(text, KEYS)


def test_no_changed_character_is():
    text = signed()
    for place, character in enumerate(text[: text.rindex(".")]):
        with pytest.raises(Unproved):
            signatures.proved(f"{text[:place]}{'A' if character != 'A' else 'B'}{text[place + 1 :]}", KEYS)


@pytest.mark.parametrize("kid", [None, 7, "", "other", ["mine"]])
def test_a_key_that_is_not_shown_is_unknown(kid):
    header = {name: value for name, value in {**HEADER, "kid": kid}.items() if value is not None}
    with pytest.raises(UnknownKey):
        signatures.proved(f"{part(header)}.{part(CLAIMS)}.{part('')}", KEYS)


@pytest.mark.parametrize(
    "text",
    [
        *["", ".", "..", "...", "a.b.c", "\u00e4.\u00e4.\u00e4", "W10.W10.", "[" * 9],
        *[f"{part(HEADER)}.*.*", f"{part(HEADER)}..", f"{part([1])}.{part(CLAIMS)}.x"],
        *[f"{part(HEADER)}.{part(CLAIMS)}.{'=' * 4}", f"{part(HEADER)}.{part(CLAIMS)}.ab"],
    ],
)
def test_what_is_no_statement_is_told_as_that(text):
    with pytest.raises(Unproved):
        signatures.proved(text, KEYS)


@pytest.mark.parametrize("payload", ["[]", "7", "not json", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")])
def test_a_signed_payload_that_is_no_object_is_told_as_that(payload):
    with pytest.raises(Unproved, match="cannot be read"):
        signatures.proved(signed(payload=payload), KEYS)


def test_only_keys_that_can_have_signed_are_taken_from_a_set():
    mine = {**KEY.as_dict(private=False), "kid": "mine"}
    listed = [
        mine,
        {**mine, "kid": "encrypting", "use": "enc"},
        {**mine, "kid": 7},
        {**mine, "kid": "another curve", "crv": "X25519"},
        {**mine, "kid": "no point", "x": None},
        {**ECKey.generate_key().as_dict(private=False), "kid": "another kind"},
        "text",
        None,
    ]
    assert signatures.keys_of({"keys": listed}) == KEYS
    for document in (None, [], {}, {"keys": None}, {"keys": {"mine": mine}}, "text"):
        assert signatures.keys_of(document) == {}


@pytest.mark.parametrize(
    "point", ["", "AA", "not base64!", KEYS["mine"] + "AAAA"], ids=["none", "short", "text", "long"]
)
def test_a_key_that_is_none_proves_nothing(point):
    with pytest.raises(Unproved):
        signatures.proved(signed(), {"mine": point})
