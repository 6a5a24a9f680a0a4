"""What a bearer token says, and whether it may say so here: everything but whose it is.

Muniment reads signed JSON Web Tokens in their compact form; about any other token it
can only ask the issuer. No refusal repeats any part of a token. The library is asked one
thing only: whether a key made a signature. All that libraries disagree about (base64,
duplicate names, ``crit``, ``typ``) is decided here.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Never

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from muniment.core.problems import TokenRefused
from muniment.identity.documents import Unreadable, object_from
from muniment.identity.issuers import ALGORITHMS, Issuer

#: The longest token that is read, in characters.
LONGEST_TOKEN = 16 * 1024

#: What to do with whatever is wrong with a token.
AGAIN = ". Sign in again, and send the access token that your sign-in provider gives you."

PublicKey = RSAKey | ECKey | OKPKey

_SIGNED_PARTS = 3
_ENCRYPTED_PARTS = 5
_LONGEST_KEY_ID = 500
#: The last second of the year 9999: no claim speaks of a later time.
_END_OF_TIME = 253_402_300_799

#: Header members that change how a token is to be read, or that bring a key along.
_REFUSED_MEMBERS = ("crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c")
#: The end of every refusal of a token.
ADVICE = "Sign in again, and send the access token that your sign-in provider gives you."
#: What an access token may say of itself that it is (``typ``).
ACCESS_TOKEN_TYPES = ("jwt", "at+jwt")
#: Claims by which providers say what a token is for, and what an access token has there.
_ACCESS_MARKS: Mapping[str, Collection[str]] = {"typ": {"bearer"}, "token_use": {"access", "access_token"}}
#: Claims of ID tokens and of messages about a subject; no access token has them.
_NOT_IN_ACCESS_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash", "events")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a subject: by a token itself, or by its issuer who was asked about one."""

    claims: Mapping[str, object]

    @property
    def ends(self) -> float:
        """The time in ``exp``, in seconds since 1970."""
        ends = _moment(self.claims, "exp")
        if ends is None:
            refuse("The token has no end")
        return ends

    @property
    def since(self) -> datetime | None:
        """When the subject signed in (OpenID Connect Core 2, ``auth_time``), else when the token was issued.

        Providers that do not know when their subject signed in are known to write 0.
        """
        since = _moment(self.claims, "auth_time") or _moment(self.claims, "iat")
        return None if since is None else datetime.fromtimestamp(since, UTC)


@dataclass(frozen=True, slots=True)
class Token(Statement):
    """A token that was taken apart. Nothing in it is known to be true yet."""

    algorithm: str
    key_id: str | None
    follows_profile: bool
    signed: bytes
    signature: bytes


def refuse(what: str) -> Never:
    """Refuse a token in words that say nothing of what stands in it."""
    message = f"{what}. {ADVICE}"
    raise TokenRefused(message)


def check_readable(text: str) -> None:
    """Refuse what is not worth looking at."""
    if not text.isascii() or len(text) > LONGEST_TOKEN:
        refuse(f"The token is not ASCII of at most {LONGEST_TOKEN} characters")


def is_signed(text: str) -> bool:
    """Whether the text has the parts of a JSON Web Token, signed or encrypted: its issuer need not be asked."""
    return text.count(".") + 1 in {_SIGNED_PARTS, _ENCRYPTED_PARTS}


def read(text: str, types: Collection[str] = ACCESS_TOKEN_TYPES) -> Token:
    """Take a token apart; raises :class:`TokenRefused` if it is no signed compact JSON Web Token of these types."""
    check_readable(text)
    parts = text.split(".")
    if len(parts) == _ENCRYPTED_PARTS:
        refuse("The token is encrypted, and Muniment reads signed tokens only")
    if len(parts) != _SIGNED_PARTS:
        refuse("The token is not a signed JSON Web Token in compact form")
    header, claims = _object_in(parts[0]), _object_in(parts[1])
    return Token(
        algorithm=_algorithm(header),
        key_id=_key_id(header),
        follows_profile=_type_of(header, types) == "at+jwt",
        claims=claims,
        signed=f"{parts[0]}.{parts[1]}".encode(),
        signature=_bytes_in(parts[2]),
    )


def check_algorithm(token: Token, issuer: Issuer) -> None:
    """Refuse an algorithm that this issuer may not sign with."""
    if token.algorithm not in issuer.algorithms:
        refuse("The token is signed with an algorithm that Muniment does not accept from this issuer")


def check(token: Token, issuer: Issuer, at: datetime) -> None:
    """Refuse what this issuer may not say, or not here, or not now. The signature is not looked at."""
    for holds in CHECKS.values():
        holds(token, issuer, at)


def issuer_of(token: Token, issuers: Mapping[str, Issuer]) -> Issuer:
    """The issuer that the token names; ``issuers`` are known by their exact URLs (RFC 9207, 2.4)."""
    named = token.claims.get("iss")
    issuer = issuers.get(named) if isinstance(named, str) else None
    if issuer is None:
        refuse("The token comes from an issuer that this service does not know")
    return issuer


def check_signature(token: Token, candidates: Sequence[PublicKey]) -> None:
    """Refuse a token that none of the keys has signed, which suit it by their ids and types."""
    if not candidates:
        refuse("The token is signed with a key that its issuer does not publish, or not for this use")
    if not any(is_signed_with(token, key) for key in candidates):
        refuse("The token's signature does not hold")


def is_signed_with(token: Token, key: PublicKey) -> bool:
    """Whether this key, which suits the token's algorithm, made its signature."""
    try:
        return JWSRegistry.algorithms[token.algorithm].verify(token.signed, token.signature, key)
    except (JoseError, ValueError):
        return False


def _object_in(part: str) -> Mapping[str, object]:
    try:
        return object_from(_bytes_in(part))
    except Unreadable as error:
        what = f"A part of the token is {error}"
    refuse(what)


def _bytes_in(part: str) -> bytes:
    """Base64url without padding, in the one spelling that an encoder gives."""
    try:
        raw = urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4))
    except ValueError:
        raw = b""
    if not raw or urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        refuse("A part of the token is empty, or is not base64url")
    return raw


def _algorithm(header: Mapping[str, object]) -> str:
    for name in _REFUSED_MEMBERS:
        if name in header:
            refuse(f"The token's header has “{name}”, which Muniment does not accept")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        refuse("The token is not signed with a private key of an issuer")
    return algorithm


def _key_id(header: Mapping[str, object]) -> str | None:
    if "kid" not in header:
        return None
    key_id = header["kid"]
    if not isinstance(key_id, str) or not 0 < len(key_id) <= _LONGEST_KEY_ID:
        refuse("The token's key id is not a text of readable length")
    return key_id


def _type_of(header: Mapping[str, object], types: Collection[str]) -> str:
    """What the token says of itself that it is (RFC 8725, 3.11); without a word, any JSON Web Token."""
    type_ = header.get("typ", "JWT")
    short = type_.lower().removeprefix("application/") if isinstance(type_, str) else ""
    if short not in types:
        refuse("The token says of itself that it is something other than an access token")
    return short


def check_audience(token: Statement, issuer: Issuer) -> None:
    """Refuse what was not made for this service (RFC 9068, 4)."""
    given = token.claims.get("aud")
    audiences = given if isinstance(given, list) else [given]
    if not all(isinstance(audience, str) for audience in audiences) or issuer.audience not in audiences:
        refuse(f"The token was not made for this service, whose audience is “{issuer.audience}”")


def check_times(token: Statement, leeway: int, at: datetime) -> None:
    """Refuse a token that does not hold at that time; clocks may differ by the leeway, in seconds."""
    now, ends = at.timestamp(), token.ends
    begins, issued = _moment(token.claims, "nbf"), _moment(token.claims, "iat")
    signed_in = _moment(token.claims, "auth_time")
    if now >= ends + leeway:
        refuse("The token has expired")
    if begins is not None and now < begins - leeway:
        refuse("The token does not hold yet (or a clock is wrong)")
    if issued is not None and now < issued - leeway:
        refuse("The token was issued in the future (or a clock is wrong)")
    if signed_in is not None and now < signed_in - leeway:
        refuse("The token's subject signs in in the future (or a clock is wrong)")
    if any(moment is not None and moment > ends for moment in (begins, issued)):
        refuse("The token ends before it begins")


def check_purpose(token: Statement) -> None:
    """Refuse what is bound to a key, or what providers mark as something else (Keycloak, Cognito, Hydra)."""
    for name, access in _ACCESS_MARKS.items():
        if name in token.claims and str(token.claims[name]).lower() not in access:
            refuse("The token says of itself that it is something other than an access token")
    if "cnf" in token.claims:
        refuse("The token is bound to a key of its holder (DPoP or mutual TLS), and Muniment can't check that")


def check_subject(token: Statement) -> None:
    """Refuse what speaks of nobody."""
    if not _filled(token.claims, "sub"):
        refuse("The token does not say whom it speaks of")


def _check_kind(token: Token) -> None:
    """Refuse ID tokens and messages; one that says of itself that it follows RFC 9068 must do so (2.2)."""
    if token.follows_profile:
        _check_profile(token.claims)
    elif any(name in token.claims for name in _NOT_IN_ACCESS_TOKENS):
        refuse("The token is an ID token, or a message about a session, and not an access token")


def _check_profile(claims: Mapping[str, object]) -> None:
    for name in ("client_id", "jti"):
        if not _filled(claims, name):
            refuse(f"The token says that it follows RFC 9068, and has no “{name}”")
    if "iat" not in claims:
        refuse("The token says that it follows RFC 9068, and has no “iat”")


def _filled(claims: Mapping[str, object], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and bool(value)


def _moment(claims: Mapping[str, object], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _END_OF_TIME:
        refuse(f"The token's “{name}” is not a time")
    return value


#: What is asked of a token once its signature holds, in this order; each raises :class:`TokenRefused`.
CHECKS: Mapping[str, Callable[[Token, Issuer, datetime], None]] = {
    "audience": lambda token, issuer, _at: check_audience(token, issuer),
    "times": lambda token, issuer, at: check_times(token, issuer.leeway_seconds, at),
    "purpose": lambda token, _issuer, _at: check_purpose(token),
    "subject": lambda token, _issuer, _at: check_subject(token),
    "profile": lambda token, _issuer, _at: _check_kind(token),
}
