"""Who presents this bearer token: the one question that the doors ask of this floor.

A token is believed when an issuer that the settings name has signed it with a key that
it publishes now, for this service, for this moment; or, where the token says nothing
itself, when its issuer says so who is asked. What was verified is remembered by the
token's hash: a signed token until its end, and never once its issuer's keys have been
fetched anew; an issuer's answer for seconds, since only asking again learns that it has
been revoked.

Until a token has proven that an issuer made it, whoever presents it is a stranger, and
all strangers are told the same. Only then do the words say what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx

from muniment.core.problems import TokenRefused, Unavailable
from muniment.core.sign_ins import SignIn
from muniment.identity import tokens
from muniment.identity.claims import subject_state
from muniment.identity.introspection import Asker
from muniment.identity.issuers import Issuer
from muniment.identity.keys import IssuerKeys, KeySet

#: How many verified tokens are remembered; the least recently used goes first.
MOST_REMEMBERED = 2000
#: How many tokens are remembered that no issuer knew, and for how long.
MOST_UNKNOWN = 10_000
UNKNOWN = timedelta(seconds=5)

#: What whoever presents a token is told that no issuer is known to have made.
STRANGER = (
    "The token does not hold. Sign in again, and send the access token that your sign-in provider gives you. "
    "If that does not help, whoever runs Muniment can see what is wrong: muniment doctor identity --token -"
)


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Verified:
    """What was found out of a token; where it was signed, as long as the keys are those that were published then."""

    sign_in: SignIn
    since: datetime
    until: datetime
    keys: IssuerKeys | None = None
    by: KeySet | None = None

    async def holds(self, at: datetime) -> bool:
        if not self.since <= at < self.until:
            return False
        return self.keys is None or await self.keys.in_force(at) is self.by


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
        self._askers = [Asker(issuer, issuer.introspection, http) for issuer in issuers if issuer.introspection]
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()
        self._unknown: OrderedDict[bytes, datetime] = OrderedDict()
        #: How many tokens were verified, and how many had been.
        self.verified = 0
        self.remembered = 0

    async def verify(self, token: str, at: datetime) -> SignIn:
        """The sign-in of the subject who presents the token at that time.

        Raises :class:`TokenRefused`, or :class:`Unavailable` when its issuer can't be
        heard. Neither says anything of what stands in the token.
        """
        with _as_to_a_stranger():
            tokens.check_readable(token)
        digest = digest_of(token)
        known = self._remembered.get(digest)
        if known is not None and await known.holds(at):
            self.remembered += 1
        else:
            known = await (self._signed(token, at) if tokens.is_signed(token) else self._asked(token, digest, at))
            self.verified += 1
        _keep(self._remembered, digest, known, MOST_REMEMBERED)
        return known.sign_in

    def still_holds(self, digest: bytes, sign_in: SignIn, at: datetime) -> bool:
        """Whether verifying the token of this digest (SHA-256) would give this sign-in, and ask nobody."""
        known = self._remembered.get(digest)
        if known is None or known.sign_in is not sign_in or not known.since <= at < known.until:
            return False
        if known.keys is not None and not (known.by and known.keys.plainly_in_force(known.by, at)):
            return False
        self._remembered.move_to_end(digest)
        self.remembered += 1
        return True

    async def aclose(self) -> None:
        """Let go of what goes on behind the requests."""
        for keys in self._keys.values():
            await keys.close()

    async def _signed(self, text: str, at: datetime) -> _Verified:
        with _as_to_a_stranger():
            token, issuer, by = await self._proven(text, at)
        tokens.check(token, issuer, at)
        sign_in = self._sign_in(token, issuer)
        return _Verified(sign_in, since=at, until=sign_in.until, keys=self._keys[issuer.issuer], by=by)

    async def _proven(self, text: str, at: datetime) -> tuple[tokens.Token, Issuer, KeySet]:
        """The token, once it is sure that this issuer has signed it with a key of this set."""
        token = tokens.read(text)
        issuer = tokens.issuer_of(token, self._issuers)
        tokens.check_algorithm(token, issuer)
        key_set, candidates = await self._keys[issuer.issuer].suiting(token.algorithm, token.key_id, at)
        tokens.check_signature(token, candidates)
        return token, issuer, key_set

    async def _asked(self, text: str, digest: bytes, at: datetime) -> _Verified:
        with _as_to_a_stranger():
            asker, said = await self._known(text, digest, at)
        asker.check(said, at)
        sign_in = self._sign_in(said, asker.issuer)
        return _Verified(sign_in, since=at, until=min(sign_in.until, at + asker.remembers))

    async def _known(self, text: str, digest: bytes, at: datetime) -> tuple[Asker, tokens.Statement]:
        """What the issuers say of a token that says nothing, each asked in its turn until one knows it."""
        askers = [asker for asker in self._askers if asker.may_know(text)]
        if not askers:
            tokens.read(text)  # says what it is not
        if self._is_unknown(digest, at):
            tokens.refuse("No issuer has known the token")
        why: Unavailable | TokenRefused | None = None
        for asker in askers:
            try:
                said = await asker.ask(text, at)
            except Unavailable as unavailable:
                why = unavailable
                continue
            if said is not None:
                return asker, said
        if why is None:
            _keep(self._unknown, digest, at, MOST_UNKNOWN)
            why = TokenRefused("No issuer knows the token.")
        raise why

    def _is_unknown(self, digest: bytes, at: datetime) -> bool:
        since = self._unknown.get(digest)
        return since is not None and since <= at < since + UNKNOWN

    def _sign_in(self, said: tokens.Statement, issuer: Issuer) -> SignIn:
        state = subject_state(said.claims, issuer, self._names)
        return SignIn(state, since=said.since, until=datetime.fromtimestamp(said.ends, UTC))


def digest_of(token: str) -> bytes:
    """What a token is remembered by."""
    return hashlib.sha256(token.encode()).digest()


@contextmanager
def _as_to_a_stranger() -> Iterator[None]:
    """Refuse in the words for all; the reason is the cause of the refusal, and stays in the house."""
    try:
        yield
    except TokenRefused as refused:
        raise TokenRefused(STRANGER) from refused


def _keep(remembered: OrderedDict[bytes, _T], digest: bytes, what: _T, most: int) -> None:
    remembered[digest] = what
    remembered.move_to_end(digest)
    if len(remembered) > most:
        remembered.popitem(last=False)
