"""Who presents this bearer token: the one question that the doors ask of this floor.

A token is believed when an issuer that the settings name has signed it with a key that
it publishes now, for this service, for this moment. A token that was verified is
remembered by its hash for at most a minute, never past its own end, and never once its
issuer's keys have been fetched anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from muniment.core.sign_ins import SignIn
from muniment.identity import tokens
from muniment.identity.claims import subject_state
from muniment.identity.issuers import Issuer
from muniment.identity.keys import IssuerKeys, KeySet

REMEMBERED = timedelta(seconds=60)
#: How many verified tokens are remembered; the least recently used goes first.
MOST_REMEMBERED = 2000


@dataclass(frozen=True, slots=True)
class _Verified:
    sign_in: SignIn
    keys: IssuerKeys
    by: KeySet
    since: datetime
    until: datetime

    def holds(self, at: datetime) -> bool:
        return self.since <= at < self.until and self.keys.newest is self.by


class Bearer:
    """Verifies the tokens of several issuers. One for each worker; it belongs to one event loop.

    ``held_names`` are those of issuers that were configured once: ids that they gave are in the record.
    """

    def __init__(
        self, issuers: Sequence[Issuer], http: httpx.AsyncClient, held_names: Collection[str] = frozenset()
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._names = frozenset({*held_names, *(issuer.name for issuer in issuers)})
        self._keys = {issuer.issuer: IssuerKeys(issuer, http) for issuer in issuers}
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, token: str, at: datetime) -> SignIn:
        """The sign-in of the subject who presents the token at that time.

        Raises :class:`TokenRefused`, or :class:`Unavailable` when the issuer's keys
        can't be had. Neither says anything of what stands in the token.
        """
        if not token.isascii() or len(token) > tokens.LONGEST_TOKEN:
            tokens.refuse(f"The token is not ASCII of at most {tokens.LONGEST_TOKEN} characters")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is None or not known.holds(at):
            known = await self._verified(token, at)
            self._remember(digest, known)
        self._remembered.move_to_end(digest)
        return known.sign_in

    async def _verified(self, text: str, at: datetime) -> _Verified:
        token = tokens.read(text)
        issuer = self._issuer(token)
        tokens.check(token, issuer, at)
        keys = self._keys[issuer.issuer]
        key_set, candidates = await keys.suiting(token.algorithm, token.key_id, at)
        if not candidates:
            tokens.refuse("The token is signed with a key that its issuer does not publish, or not for this use")
        if not any(tokens.is_signed_with(token, key) for key in candidates):
            tokens.refuse("The token's signature does not hold")
        state = subject_state(token.claims, issuer, self._names)
        ends = datetime.fromtimestamp(token.ends, UTC)
        sign_in = SignIn(state, since=token.since, until=ends)
        return _Verified(sign_in, keys, key_set, since=at, until=min(ends, at + REMEMBERED))

    def _issuer(self, token: tokens.Token) -> Issuer:
        named = token.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            tokens.refuse("The token comes from an issuer that this service does not know")
        return issuer

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._remembered[digest] = verified
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
