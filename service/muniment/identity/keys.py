"""The keys that an issuer publishes now: discovered, kept for a while, fetched again when one is unknown.

What is believed of an issuer comes only from addresses that the settings name, or that
its own discovery document gives. A key set is fetched anew after five minutes, so a
withdrawn key dies then; a token with an unknown key asks for a fetch at once, but never
within ten seconds of the last one, so strangers can't make us knock on an issuer's
door. An issuer that does not answer is believed for a day by the keys it last gave.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from muniment.core.problems import Unavailable
from muniment.identity.documents import Unreadable, object_from
from muniment.identity.issuers import Issuer, safe_address
from muniment.identity.tokens import PublicKey

FRESH = timedelta(minutes=5)
BELIEVED = timedelta(hours=24)
BETWEEN_FETCHES = timedelta(seconds=10)
#: How long one fetch (discovery and key set together) may take.
PATIENCE_SECONDS = 5.0
#: The longest document that is read from an issuer, in bytes.
LONGEST_DOCUMENT = 256 * 1024

_MOST_KEYS = 100
_SHORTEST_RSA_BITS = 2048
_KEY_TYPES: Mapping[str, type[PublicKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Only these are imported: the public half of a key, and what it is for.
_PUBLIC_MEMBERS = frozenset({"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class NotPublished(Exception):
    """The issuer does not give its keys; the words say why, for whoever runs the service."""


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The signing keys that an issuer published at one moment."""

    keys: tuple[PublicKey, ...]
    fetched_at: datetime

    def suiting(self, algorithm: str, key_id: str | None) -> tuple[PublicKey, ...]:
        """The keys that may have made such a signature; without a key id, the only one that could."""
        suiting = [key for key in self.keys if _suits(key, algorithm)]
        if key_id is None:
            return tuple(suiting) if len(suiting) == 1 else ()
        return tuple(key for key in suiting if key.kid == key_id)


class IssuerKeys:
    """One issuer's keys over time. Many may ask at once; one fetches, the others wait for it."""

    def __init__(self, issuer: Issuer, http: httpx.AsyncClient) -> None:
        self._issuer = issuer
        self._http = http
        self._lock = asyncio.Lock()
        self._tried_at: datetime | None = None
        self._failure: str | None = None
        self.newest: KeySet | None = None

    async def suiting(self, algorithm: str, key_id: str | None, at: datetime) -> tuple[KeySet, tuple[PublicKey, ...]]:
        """The key set in force, and its keys that suit; raises :class:`Unavailable` if there is none to believe."""
        known = await self._in_force(at)
        if keys := known.suiting(algorithm, key_id):
            return known, keys
        newer = await self._fetched(at, known)
        if newer is not known:
            return newer, newer.suiting(algorithm, key_id)
        if self._failure is not None:
            raise self._unavailable()  # the key may be new: the token can be neither believed nor refused
        return known, ()

    async def _in_force(self, at: datetime) -> KeySet:
        known = self.newest
        if known is not None and _within(FRESH, known.fetched_at, at):
            return known
        if known is not None and self._lock.locked() and _within(BELIEVED, known.fetched_at, at):
            return known  # somebody is fetching: no need for everyone to wait for an issuer that may not answer
        return await self._fetched(at, known)

    async def _fetched(self, at: datetime, known: KeySet | None) -> KeySet:
        """A newer set than the known one if the issuer gives it now, else the known one while it is believed."""
        async with self._lock:
            if self.newest is known and not (self._tried_at and _within(BETWEEN_FETCHES, self._tried_at, at)):
                try:
                    self.newest, self._failure = await fetch(self._issuer, self._http, at), None
                except NotPublished as error:
                    self._failure = str(error)
                self._tried_at = at
            if self.newest is None or not _within(BELIEVED, self.newest.fetched_at, at):
                raise self._unavailable()
            return self.newest

    def _unavailable(self) -> Unavailable:
        return Unavailable(
            f"The keys of issuer “{self._issuer.name}” can't be had: {self._failure}. "
            "So nobody's token can be checked. Try again in a minute; if it lasts, tell whoever runs Muniment."
        )


async def fetch(issuer: Issuer, http: httpx.AsyncClient, at: datetime) -> KeySet:
    """Discover the issuer's key set and read it; raises :class:`NotPublished`."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            discovered = await _document(http, f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
            return key_set_from(await _document(http, _key_set_address(issuer, discovered)), at)
    except TimeoutError:
        message = f"it did not answer within {PATIENCE_SECONDS:.0f} seconds"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"it could not be reached ({type(error).__name__})"
    raise NotPublished(message)


def key_set_from(document: Mapping[str, object], at: datetime) -> KeySet:
    """The usable keys of a JWK set. Keys of other kinds and purposes are passed over, as RFC 7517 asks."""
    given = document.get("keys")
    if not isinstance(given, list) or len(given) > _MOST_KEYS:
        message = f"its key set is not a list of at most {_MOST_KEYS} keys"
        raise NotPublished(message)
    keys = (_key_from(each) for each in given)
    return KeySet(tuple(key for key in keys if key is not None), at)


def _key_set_address(issuer: Issuer, discovered: Mapping[str, object]) -> str:
    if discovered.get("issuer") != issuer.issuer:
        message = "its discovery document names another issuer than the settings do"
        raise NotPublished(message)
    address = discovered.get("jwks_uri")
    if not isinstance(address, str) or not safe_address(address, plain_on_loopback=issuer.issuer.startswith("http://")):
        message = "its discovery document gives no safe address of a key set"
        raise NotPublished(message)
    return address


async def _document(http: httpx.AsyncClient, url: str) -> Mapping[str, object]:
    """One JSON object, read as it is sent: no redirects, no compression, no more than the limit."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
        if response.status_code != httpx.codes.OK:
            message = f"it answered with status {response.status_code}"
            raise NotPublished(message)
        raw = bytearray()
        async for chunk in response.aiter_raw():
            raw += chunk
            if len(raw) > LONGEST_DOCUMENT:
                message = f"its answer is longer than {LONGEST_DOCUMENT} bytes"
                raise NotPublished(message)
    try:
        return object_from(bytes(raw))
    except Unreadable as error:
        message = f"its answer is {error}"
    raise NotPublished(message)


def _key_from(given: object) -> PublicKey | None:
    if not isinstance(given, dict) or _PRIVATE_MEMBERS & given.keys():
        return None  # a private key that was published is everybody's key
    type_ = _KEY_TYPES.get(str(given.get("kty")))
    if type_ is None or (type_ is OKPKey and given.get("crv") != "Ed25519"):
        return None
    public = {name: value for name, value in given.items() if name in _PUBLIC_MEMBERS}
    try:
        if type_ is RSAKey and _bits(str(public["n"])) < _SHORTEST_RSA_BITS:
            return None
        key = type_.import_key(cast("dict[str, str | list[str]]", public))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if _verifies(key) else None


def _bits(number: str) -> int:
    return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()


def _verifies(key: PublicKey) -> bool:
    operations: str | Sequence[str] | None = key.get("key_ops")
    return key.get("use", "sig") == "sig" and (operations is None or "verify" in operations)


def _suits(key: PublicKey, algorithm: str) -> bool:
    """Whether type, curve and ``alg`` of the key agree with the algorithm."""
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True


def _within(span: timedelta, one: datetime, other: datetime) -> bool:
    """Whether two moments are closer than the span, whichever is first: clocks are set back, requests overtake."""
    return abs(other - one) < span
