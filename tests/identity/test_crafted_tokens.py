"""Tokens that were made to be believed wrongly. Each is refused for its own reason, and none is repeated."""

from __future__ import annotations

import json
import traceback
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import serialize_compact

from demo.issuer import RunningIssuer
from muniment.core.problems import TokenRefused
from muniment.identity.bearer import STRANGER
from tests.identity.conftest import refused

pytestmark = pytest.mark.anyio

BIDI, ARABIC_MARK, ZERO_WIDTH, SOFT_HYPHEN = "\u202e", "\u061c", "\u200b", "\u00ad"
ATTACKER = RSAKey.generate_key(2048, parameters={"kid": "attacker"})


def b64(raw: bytes | str) -> str:
    return urlsafe_b64encode(raw.encode() if isinstance(raw, str) else raw).rstrip(b"=").decode()


@dataclass
class Forge:
    """What an attacker has: the published key, an account of their own, and tools."""

    corp: RunningIssuer
    now: datetime
    lab: RunningIssuer | None = None

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(self.now.timestamp())
        usual = {"iss": self.corp.url, "sub": "ann", "aud": "muniment", "exp": now + 600, "iat": now - 5}
        return {name: value for name, value in {**usual, **changes}.items() if value is not ABSENT}

    def signed(self, header: dict[str, object] | None = None, **changes: object) -> str:
        """Really signed by the issuer: only what it says is wrong."""
        return self.corp.sign(header or {}, self.claims(**changes))

    def signed_text(self, payload: str) -> str:
        return self.corp.sign({}, payload)

    def assembled(self, header: dict[str, object] | str, signature: str = "", **changes: object) -> str:
        head = header if isinstance(header, str) else json.dumps(header)
        return f"{b64(head)}.{b64(json.dumps(self.claims(**changes)))}.{signature}"

    def by_attacker(self, **header: object) -> str:
        return serialize_compact({"alg": "RS256", **header}, json.dumps(self.claims()), ATTACKER)

    def jwk(self) -> dict[str, str]:
        return self.corp.http.get(self.corp.url + "/jwks").json()["keys"][0]

    def hmac_with(self, secret: bytes) -> str:
        unsigned = self.assembled({"alg": "HS256", "kid": self.jwk()["kid"]}).rstrip(".")
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(unsigned.encode())
        return f"{unsigned}.{b64(mac.finalize())}"

    def pem(self) -> bytes:
        public = RSAKey.import_key(self.jwk()).public_key
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def tampered(self) -> str:
        header, _, signature = self.signed().split(".")
        return f"{header}.{b64(json.dumps(self.claims(sub='sam')))}.{signature}"

    def respelt(self) -> str:
        """The same signature in another spelling of base64: the unused bits of the last character are set."""
        token = self.signed()
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        other = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
        pad = "=" * (-len(token.split(".")[2]) % 4)
        assert urlsafe_b64decode(other.split(".")[2] + pad) == urlsafe_b64decode(token.split(".")[2] + pad)
        return other

    def in_json(self) -> str:
        header, payload, signature = self.signed().split(".")
        return json.dumps({"protected": header, "payload": payload, "signature": signature})

    def text(self, **changes: object) -> str:
        return json.dumps(self.claims(**changes))


ABSENT = object()
PROFILE = {"typ": "at+jwt"}

SIGNATURE = {
    "alg none": (lambda f: f.assembled({"alg": "none"}), "empty, or is not base64url|private key"),
    "alg none, some signature": (lambda f: f.assembled({"alg": "none"}, "AAAA"), "private key"),
    "alg None": (lambda f: f.assembled({"alg": "None"}, "AAAA"), "private key"),
    "alg nOnE": (lambda f: f.assembled({"alg": "nOnE"}, "AAAA"), "private key"),
    "alg none, real signature": (lambda f: f.assembled({"alg": "none"}, f.signed().split(".")[2]), "private key"),
    "alg empty": (lambda f: f.assembled({"alg": ""}, "AAAA"), "private key"),
    "alg missing": (lambda f: f.assembled({"typ": "JWT"}, "AAAA"), "private key"),
    "alg a list": (lambda f: f.assembled({"alg": ["RS256"]}, "AAAA"), "private key"),
    "alg twice": (lambda f: f.assembled('{"alg":"none","alg":"RS256"}', "AAAA"), "each name stands once"),
    "alg twice, once in disguise": (
        lambda f: f.assembled('{"alg":"RS256","\\u0061lg":"none"}', "AAAA"),
        "each name stands once",
    ),
    "HS384": (lambda f: f.assembled({"alg": "HS384"}, "AAAA"), "private key"),
    "alg of encryption": (lambda f: f.assembled({"alg": "RSA-OAEP"}, "AAAA"), "private key"),
    "alg dir": (lambda f: f.assembled({"alg": "dir"}, "AAAA"), "private key"),
    "alg RS1": (lambda f: f.assembled({"alg": "RS1"}, "AAAA"), "private key"),
    "alg with a space": (lambda f: f.assembled({"alg": "RS256 "}, "AAAA"), "private key"),
    "alg in small letters": (lambda f: f.assembled({"alg": "rs256"}, "AAAA"), "private key"),
    "HS256 with the public key as PEM": (lambda f: f.hmac_with(f.pem()), "private key"),
    "HS256 with the modulus": (lambda f: f.hmac_with(f.jwk()["n"].encode()), "private key"),
    "HS256 with an empty secret": (lambda f: f.hmac_with(b"\0"), "private key"),
    "HS256 with a secret of their own": (
        lambda f: serialize_compact({"alg": "HS256"}, f.text(), OctKey.import_key("a" * 32)),
        "private key",
    ),
    "an algorithm that is not allowed": (lambda f: f.assembled({"alg": "RS512"}, "AAAA"), "algorithm"),
    "a key used for another padding": (
        lambda f: f.assembled({"alg": "PS256", "kid": f.jwk()["kid"]}, f.signed().split(".")[2]),
        "does not publish",
    ),
    "a key of another type": (lambda f: f.assembled({"alg": "ES256", "kid": f.jwk()["kid"]}, "AAAA"), "not publish"),
    "another's key under a published id": (lambda f: f.by_attacker(kid=f.jwk()["kid"]), "signature does not hold"),
    "another's key, no id": (lambda f: f.by_attacker(), "signature does not hold"),
    "another's key under its own id": (lambda f: f.by_attacker(kid="attacker"), "does not publish"),
    "jwk in the header": (
        lambda f: f.assembled({"alg": "RS256", "jwk": ATTACKER.as_dict(private=False)}, "AAAA"),
        "jwk",
    ),
    "jku in the header": (lambda f: f.by_attacker(jku="https://attacker.example/jwks"), "jku"),
    "x5u in the header": (lambda f: f.by_attacker(x5u="https://attacker.example/chain"), "x5u"),
    "x5c in the header": (lambda f: f.by_attacker(x5c=["MIIB"]), "x5c"),
    "crit, empty": (lambda f: f.assembled({"alg": "RS256", "crit": []}, "AAAA"), "crit"),
    "b64 true": (lambda f: f.assembled({"alg": "RS256", "b64": True}, "AAAA"), "b64"),
    "an encrypted key": (lambda f: f.assembled({"alg": "RS256", "enc": "A256GCM"}, "AAAA"), "enc"),
    "crit": (lambda f: f.assembled({"alg": "RS256", "crit": ["exp"], "exp": 1}, "AAAA"), "crit"),
    "b64 false": (lambda f: f.assembled({"alg": "RS256", "b64": False}, "AAAA"), "b64"),
    "compressed": (lambda f: f.assembled({"alg": "RS256", "zip": "DEF"}, "AAAA"), "zip"),
    "a token in a token": (lambda f: f.signed({"cty": "JWT"}), "cty"),
    "kid that is a path": (lambda f: f.by_attacker(kid="../../../../../../dev/null"), "does not publish"),
    "kid that is SQL": (lambda f: f.by_attacker(kid="' UNION SELECT 'key"), "does not publish"),
    "kid that is a number": (lambda f: f.assembled({"alg": "RS256", "kid": 7}, "AAAA"), "key id"),
    "kid that is empty": (lambda f: f.assembled({"alg": "RS256", "kid": ""}, "AAAA"), "key id"),
    "kid that is long": (lambda f: f.assembled({"alg": "RS256", "kid": "k" * 501}, "AAAA"), "key id"),
    "other claims under a real signature": (lambda f: f.tampered(), "signature does not hold"),
    "no signature": (lambda f: f.signed().rpartition(".")[0] + ".", "empty"),
    "half a signature": (lambda f: f.signed()[:-100], "signature does not hold|base64url"),
    "a signature spelt otherwise": (lambda f: f.respelt(), "base64url"),
}

SHAPE = {
    "nothing": (lambda _: "", "compact form"),
    "a word": (lambda _: "letmein", "compact form"),
    "two parts": (lambda f: f.signed().rpartition(".")[0], "compact form"),
    "four parts": (lambda f: f.signed() + ".AAAA", "compact form"),
    "encrypted": (lambda _: ".".join([b64('{"alg":"RSA-OAEP","enc":"A256GCM"}'), "AA", "AA", "AA", "AA"]), "encrypted"),
    "in JSON": (lambda f: f.in_json(), "compact form"),
    "padded": (lambda f: f.signed() + "==", "base64url"),
    "a line break at the end": (lambda f: f.signed() + "\n", "base64url"),
    "a space inside": (lambda f: f.signed().replace(".", ". ", 1), "base64url"),
    "not ASCII": (lambda f: f.signed() + "é", "ASCII"),
    "a lone surrogate": (lambda f: f.signed() + "\ud800", "ASCII"),
    "longer than is read": (lambda f: f.signed(filler="x" * 17_000), "characters"),
    "sub twice": (lambda f: f.signed_text(f.text()[:-1] + ',"sub":"sam"}'), "each name stands once"),
    "a name twice, deep inside": (lambda f: f.signed_text(f.text()[:-1] + ',"a":[{"b":1,"b":2}]}'), "each name"),
    "claims in a list": (lambda f: f.signed_text(f"[{f.text()}]"), "JSON object"),
    "claims that are no JSON": (lambda f: f.signed_text("sub=ann"), "JSON object"),
    "two objects": (lambda f: f.signed_text(f.text() * 2), "JSON object"),
    "a byte order mark": (lambda f: f.signed_text("\ufeff" + f.text()), "JSON object"),
    "NaN": (lambda f: f.signed_text(f.text()[:-1] + ',"nbf":NaN}'), "JSON object"),
    "a number of 5,000 digits": (lambda f: f.signed_text(f.text()[:-1] + f',"nbf":{"1" * 5000}}}'), "JSON object"),
    "nested 5,000 deep": (lambda f: f.signed_text(f.text()[:-1] + ',"a":' + "[" * 5000 + "]" * 5000 + "}"), "JSON"),
    "UTF-16": (lambda _: f"{b64('{}'.encode('utf-16'))}.AAAA.AAAA", "JSON object"),
}

NAMED = {
    "iss missing": (lambda f: f.signed(iss=ABSENT), "does not know"),
    "iss of another": (lambda f: f.signed(iss="https://attacker.example"), "does not know"),
    "iss with a slash": (lambda f: f.signed(iss=f.corp.url + "/"), "does not know"),
    "iss in capitals": (lambda f: f.signed(iss=f.corp.url.upper()), "does not know"),
    "iss with a port that goes without saying": (lambda f: f.signed(iss="https://corp.example:443"), "does not know"),
    "iss in a list": (lambda f: f.signed(iss=[f.corp.url]), "does not know"),
    "iss null": (lambda f: f.signed(iss=None), "does not know"),
    "iss of the second issuer": (lambda f: f.signed(iss=f.lab.url), "algorithm|does not publish"),
    "typ of a logout message": (lambda f: f.signed({"typ": "logout+jwt"}), "other than an access token"),
    "typ of a security event": (lambda f: f.signed({"typ": "secevent+jwt"}), "other than an access token"),
    "typ of an answer about a token": (
        lambda f: f.signed({"typ": "token-introspection+jwt"}),
        "other than an access token",
    ),
    "typ of a proof of possession": (lambda f: f.signed({"typ": "dpop+jwt"}), "other than an access token"),
    "typ of a client's proof": (lambda f: f.signed({"typ": "client-authentication+jwt"}), "other than an access token"),
    "typ a number": (lambda f: f.signed({"typ": 1}), "other than an access token"),
    "typ null": (lambda f: f.signed({"typ": None}), "other than an access token"),
    "typ empty": (lambda f: f.signed({"typ": ""}), "other than an access token"),
}

CLAIMS = {
    "aud missing": (lambda f: f.signed(aud=ABSENT), "audience"),
    "aud of another": (lambda f: f.signed(aud="payroll"), "audience"),
    "aud that begins like ours": (lambda f: f.signed(aud="muniment-test"), "audience"),
    "aud in other case": (lambda f: f.signed(aud="Muniment"), "audience"),
    "aud a list without us": (lambda f: f.signed(aud=["payroll", "muniment2"]), "audience"),
    "aud an empty list": (lambda f: f.signed(aud=[]), "audience"),
    "aud with a number": (lambda f: f.signed(aud=["muniment", 1]), "audience"),
    "aud an object": (lambda f: f.signed(aud={"muniment": True}), "audience"),
    "exp missing": (lambda f: f.signed(exp=ABSENT), "no end"),
    "exp null": (lambda f: f.signed(exp=None), "not a time"),
    "exp past": (lambda f: f.signed(exp=int(f.now.timestamp()) - 31, iat=ABSENT), "expired"),
    "exp a text": (lambda f: f.signed(exp="99999999999"), "not a time"),
    "exp true": (lambda f: f.signed(exp=True), "not a time"),
    "exp without end": (lambda f: f.signed_text(f.text(exp=ABSENT)[:-1] + ',"exp":1e400}'), "not a time"),
    "exp after all time": (lambda f: f.signed(exp=10**15), "not a time"),
    "exp as large as can be": (
        lambda f: f.signed_text(f.text(exp=ABSENT)[:-1] + ',"exp":1e308}'),
        "not a time",
    ),
    "auth_time in the future": (lambda f: f.signed(auth_time=int(f.now.timestamp()) + 32), "in the future"),
    "auth_time a text": (lambda f: f.signed(auth_time="0"), "not a time"),
    "exp negative": (lambda f: f.signed(exp=-1), "not a time"),
    "nbf in the future": (lambda f: f.signed(nbf=int(f.now.timestamp()) + 32), "does not hold yet"),
    "nbf a text": (lambda f: f.signed(nbf="0"), "not a time"),
    "nbf after exp": (lambda f: f.signed(nbf=f.now.timestamp() + 20, exp=f.now.timestamp() + 1), "before it begins"),
    "iat in the future": (lambda f: f.signed(iat=int(f.now.timestamp()) + 32), "issued in the future"),
    "iat a list": (lambda f: f.signed(iat=[1]), "not a time"),
    "sub missing": (lambda f: f.signed(sub=ABSENT), "whom it speaks of"),
    "sub a number": (lambda f: f.signed(sub=7), "whom it speaks of"),
    "sub a list": (lambda f: f.signed(sub=["ann"]), "whom it speaks of"),
    "sub empty": (lambda f: f.signed(sub=""), "whom it speaks of"),
    "sub blank": (lambda f: f.signed(sub="  "), "id of the subject"),
    "sub with a space before": (lambda f: f.signed(sub=" ann"), "id of the subject"),
    "sub with a line break": (lambda f: f.signed(sub="ann\nadmin"), "id of the subject"),
    "sub turned around": (lambda f: f.signed(sub=f"nna{BIDI}"), "id of the subject"),
    "sub with an Arabic mark": (lambda f: f.signed(sub=f"a{ARABIC_MARK}nn"), "id of the subject"),
    "sub with an invisible space": (lambda f: f.signed(sub=f"an{ZERO_WIDTH}n"), "id of the subject"),
    "sub with a soft hyphen": (lambda f: f.signed(sub=f"an{SOFT_HYPHEN}n"), "id of the subject"),
    "sub with a null": (lambda f: f.signed(sub="ann\0"), "id of the subject"),
    "sub half a character": (
        lambda f: f.signed_text(f.text(sub="half").replace("half", "\\ud800")),
        "id of the subject",
    ),
    "sub too long": (lambda f: f.signed(sub="a" * 201), "id of the subject"),
    "sub like another issuer's": (lambda f: f.signed(sub="lab|nightly"), "another issuer"),
    "sub like the issuer's own name": (lambda f: f.signed(sub="corp|ann"), "another issuer"),
}

PURPOSE = {
    "an ID token with a nonce": (lambda f: f.signed(nonce="n-0S6_WzA2Mj"), "ID token"),
    "an ID token with a token's hash": (lambda f: f.signed(at_hash="77QmUPtjPfzWtF2AnpK9RQ"), "ID token"),
    "an ID token with a code's hash": (lambda f: f.signed(c_hash="LDktKdoQak3Pk0cnXxCltA"), "ID token"),
    "a logout message": (lambda f: f.signed(events={}), "message about a session"),
    "an ID token of Keycloak": (lambda f: f.signed(typ="ID"), "other than an access token"),
    "a refresh token of Keycloak": (lambda f: f.signed(typ="Refresh"), "other than an access token"),
    "an ID token of Cognito": (lambda f: f.signed(token_use="id"), "other than an access token"),
    "bound to a holder's key": (
        lambda f: f.signed(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        "bound",
    ),
    "RFC 9068 without jti": (lambda f: f.signed(PROFILE, client_id="kedro"), "jti"),
    "RFC 9068 without client_id": (lambda f: f.signed(PROFILE, jti="1"), "client_id"),
    "RFC 9068 with a number for client_id": (lambda f: f.signed(PROFILE, jti="1", client_id=7), "client_id"),
    "RFC 9068 without iat": (lambda f: f.signed(PROFILE, jti="1", client_id="kedro", iat=ABSENT), "iat"),
}

MAPPING = {
    "groups a number": (lambda f: f.signed(groups=7), "list of texts"),
    "groups an object": (lambda f: f.signed(groups={"admins": True}), "list of texts"),
    "groups with a null": (lambda f: f.signed(groups=["analysts", None]), "list of texts"),
    "groups with a blank one": (lambda f: f.signed(groups=["analysts", ""]), "id of a group"),
    "groups turned around": (lambda f: f.signed(groups=[f"snimda{BIDI}"]), "id of a group"),
    "a group like another issuer's": (lambda f: f.signed(groups=["lab|jobs"]), "another issuer"),
    "a group like a person's own": (lambda f: f.signed(groups=["user:sam"]), "begins with user:"),
    "a group like a service's own": (lambda f: f.signed(groups=["service:nightly"]), "begins with user:"),
    "too many groups": (lambda f: f.signed(groups=[f"g{n}" for n in range(1001)]), "more than 1000"),
    "groups kept elsewhere": (lambda f: f.signed(_claim_names={"groups": "src1"}), "too many groups"),
    "groups kept elsewhere, as a claim": (lambda f: f.signed(**{"groups:src1": "https://graph.example"}), "too many"),
    "groups left out": (lambda f: f.signed(hasgroups=True), "too many groups"),
    "a long that is a text": (lambda f: f.signed(clr="3"), "clearance"),
    "a long that is true": (lambda f: f.signed(clr=True), "clearance"),
    "a long that is a fraction": (lambda f: f.signed(clr=3.5), "clearance"),
    "a long that is too long": (lambda f: f.signed(clr=2**63), "clearance"),
    "a boolean that is a text": (lambda f: f.signed(staff="true"), "staff"),
    "a text that is a number": (lambda f: f.signed(mail=3), "mail"),
    "a text that can't be seen": (lambda f: f.signed(mail=f"a{BIDI}b"), "mail"),
    "a text without end": (lambda f: f.signed(mail="a" * 1001), "mail"),
    "a set with a number": (lambda f: f.signed(teams=["emea", 1]), "teams"),
}

#: What a stranger presents: nothing proves that an issuer has made it.
STRANGE = {**SIGNATURE, **SHAPE, **NAMED}
#: What an issuer has really signed, and what is still no access token for us, now, or speaks of nobody we can name.
SIGNED = {**CLAIMS, **PURPOSE, **MAPPING}
CRAFTED = {**STRANGE, **SIGNED}


@pytest.mark.parametrize("name", STRANGE)
async def test_every_stranger_is_told_the_same(bearer, corp, lab, now, name):
    forge, reason = STRANGE[name]
    with refused(reason):
        await bearer.verify(forge(Forge(corp, now, lab)), now)
    assert not bearer._remembered


@pytest.mark.parametrize("name", SIGNED)
async def test_whoever_has_a_token_that_an_issuer_signed_is_told_what_is_wrong_with_it(bearer, corp, lab, now, name):
    forge, reason = SIGNED[name]
    with pytest.raises(TokenRefused, match=reason):
        await bearer.verify(forge(Forge(corp, now, lab)), now)
    assert not bearer._remembered


@pytest.mark.parametrize("name", CRAFTED)
async def test_no_part_of_a_crafted_token_is_repeated(bearer, corp, lab, now, name):
    token = CRAFTED[name][0](Forge(corp, now, lab))
    with pytest.raises(TokenRefused) as refusal:
        await bearer.verify(token, now)
    said = "".join(traceback.format_exception(refusal.value)) + repr(refusal.value.members) + repr(refusal.value)
    assert not [part for part in token.split(".") if len(part) > 7 and part in said]


@pytest.mark.parametrize("name", SIGNED)
async def test_a_crafted_token_says_nothing_of_its_faults_until_its_signature_holds(bearer, corp, lab, now, name):
    """With another's signature under the same words, the words are not looked at."""
    head, said, _ = SIGNED[name][0](Forge(corp, now, lab)).split(".")
    with pytest.raises(TokenRefused) as refusal:
        await bearer.verify(f"{head}.{said}.{b64(bytes(256))}", now)
    assert refusal.value.detail == STRANGER


def test_no_two_tables_share_a_name():
    tables = [SIGNATURE, SHAPE, NAMED, CLAIMS, PURPOSE, MAPPING]
    assert len(CRAFTED) == sum(len(table) for table in tables) > 33


async def test_the_forge_makes_tokens_that_hold_but_for_what_is_wrong(bearer, corp, now):
    forge = Forge(corp, now)
    assert (await bearer.verify(forge.signed(), now)).state.subject.id == "ann"
    assert (await bearer.verify(forge.signed_text(forge.text()), now)).state.subject.id == "ann"
    assert (await bearer.verify(forge.signed(PROFILE, jti="1", client_id="kedro"), now)).state.subject.id == "ann"
