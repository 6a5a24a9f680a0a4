"""The keys that an issuer publishes now: discovered, kept for a while, fetched again when one is unknown.

A key set is fetched anew once it is five minutes old, so a withdrawn key dies then. While
requests come, that is done behind them in the minute before; only a request after a
silence waits for it. A token with an unknown key asks for a fetch at once, but never
within ten seconds of one that was in vain: so a key may change at any time, and strangers
can't make us knock on an issuer's door. An issuer that does not answer is believed for a
day by the keys it last gave.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from muniment.core.problems import Unavailable
from muniment.identity.discovery import NotPublished, address_in, discovered, document, patience
from muniment.identity.issuers import Issuer
from muniment.identity.tokens import PublicKey

FRESH = timedelta(minutes=5)
#: From this age on a newer key set is fetched behind the requests.
AGEING = timedelta(minutes=4)
BELIEVED = timedelta(hours=24)
#: How long after a fetch that failed nobody is made to wait for another.
SPARED = timedelta(minutes=1)
#: How long after a fetch that failed, or did not bring the key it was made for, there is no other.
BETWEEN_FETCHES = timedelta(seconds=10)
#: How long one fetch (discovery and key set together) may take.
PATIENCE_SECONDS = 5.0

_MOST_KEYS = 100
#: Shorter ones can be broken, and longer ones take their time (NIST SP 800-131A; RFC 8725, 3.5).
_RSA_BITS = range(2048, 8192 + 1)
_KEY_TYPES: Mapping[str, type[PublicKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Only these are imported: the public half of a key, and what it is for.
_PUBLIC_MEMBERS = frozenset({"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


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
        self._in_vain_at: datetime | None = None
        self._failure: str | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.newest: KeySet | None = None

    async def suiting(self, algorithm: str, key_id: str | None, at: datetime) -> tuple[KeySet, tuple[PublicKey, ...]]:
        """The key set in force, and its keys that suit; raises :class:`Unavailable` if there is none to believe."""
        known = await self.in_force(at)
        if keys := known.suiting(algorithm, key_id):
            return known, keys
        newer = await self._fetched(at, known)
        if newer is not known:
            keys = newer.suiting(algorithm, key_id)
            if not keys:
                self._in_vain_at = at
            return newer, keys
        if self._failure is not None:
            raise self._unavailable()  # the key may be new: the token can be neither believed nor refused
        return known, ()

    async def in_force(self, at: datetime) -> KeySet:
        """The key set that is believed at that time; raises :class:`Unavailable` if there is none."""
        known = self.newest
        if known is None or not _within(BELIEVED, known.fetched_at, at):
            return await self._fetched(at, known)
        if _within(AGEING, known.fetched_at, at):
            return known
        if not _within(FRESH, known.fetched_at, at) and not self._spared(at):
            return await self._fetched(at, known)
        self._renew(at, known)
        return known

    def plainly_in_force(self, known: KeySet, at: datetime) -> bool:
        """Whether this is the key set that is believed at that time, and is not old enough to be fetched again."""
        return self.newest is known and -AGEING < at - known.fetched_at < AGEING

    async def close(self) -> None:
        """Let go of a fetch that goes on behind the requests."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _spared(self, at: datetime) -> bool:
        """Whether nobody need wait, for the issuer has just not answered."""
        return self._failure is not None and self._in_vain_at is not None and _within(SPARED, self._in_vain_at, at)

    def _renew(self, at: datetime, known: KeySet) -> None:
        """Fetch behind the requests, one at a time."""
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renewed(at, known), name=f"keys of {self._issuer.name}")

    async def _renewed(self, at: datetime, known: KeySet) -> None:
        with suppress(Unavailable):  # it is kept as the failure, and told to whoever needs another key
            await self._fetched(at, known)

    async def _fetched(self, at: datetime, known: KeySet | None) -> KeySet:
        """A newer set than the known one if the issuer gives it now, else the known one while it is believed."""
        async with self._lock:
            if self.newest is known and not (self._in_vain_at and _within(BETWEEN_FETCHES, self._in_vain_at, at)):
                try:
                    self.newest, self._failure = await fetch(self._issuer, self._http, at), None
                except NotPublished as error:
                    self._failure, self._in_vain_at = str(error), at
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
    async with patience(PATIENCE_SECONDS):
        address = address_in(await discovered(issuer, http), "jwks_uri", issuer)
        return key_set_from(await document(http, address), at)


def key_set_from(published: Mapping[str, object], at: datetime) -> KeySet:
    """The usable keys of a JWK set. Keys of other kinds and purposes are passed over, as RFC 7517 asks."""
    given = published.get("keys")
    if not isinstance(given, list) or len(given) > _MOST_KEYS:
        message = f"its key set is not a list of at most {_MOST_KEYS} keys"
        raise NotPublished(message)
    keys = (_key_from(each) for each in given)
    return KeySet(tuple(key for key in keys if key is not None), at)


def _key_from(given: object) -> PublicKey | None:
    if not isinstance(given, dict) or _PRIVATE_MEMBERS & given.keys():
        return None  # a private key that was published is everybody's key
    type_ = _KEY_TYPES.get(str(given.get("kty")))
    if type_ is None or (type_ is OKPKey and given.get("crv") != "Ed25519"):
        return None
    public = {name: value for name, value in given.items() if name in _PUBLIC_MEMBERS}
    try:
        if type_ is RSAKey and _bits(str(public["n"])) not in _RSA_BITS:
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
