"""Signing in with a browser: whom a provider vouches for, and whether what it says holds.

The flow is OpenID Connect Core 1.0, 3.1, as RFC 9700 wants it: each answer is compared with
the issuer that the flow began at (RFC 9207), the code is of no use without the verifier that
only this browser's cookie gives (RFC 7636), and the ID token must carry this browser's nonce.
Authlib writes what is sent (:mod:`code_flow`); every check of what comes back is here.
No token of the provider is kept. Whatever does not hold is refused with one sentence; the
reason is one of few words, and goes to the log and the counts of refused sign-ins.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Never

import httpx

from muniment.core.problems import SignInRefused, TokenRefused, Unavailable
from muniment.core.sessions import Vouched
from muniment.core.subjects import Kind, SubjectState
from muniment.identity import discovery, tokens
from muniment.identity.claims import subject_state
from muniment.identity.client_keys import signing_key_in
from muniment.identity.code_flow import Flow, Talk
from muniment.identity.discovery import Declined, NotPublished, address_in, patience
from muniment.identity.issuers import BrowserClient, Issuer
from muniment.identity.keys import BETWEEN_FETCHES, FRESH, PATIENCE_SECONDS, IssuerKeys

logger = logging.getLogger(__name__)

#: Where providers send browsers back to.
CALLBACK = "/sign-in/callback"

#: How old a logout token may be; so long it is remembered, and no longer.
LOGOUT_IS_NEWS = timedelta(minutes=10)

_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LONGEST_CODE = 4000
_LONGEST_NAME = 255

#: What a provider means by these, whatever a person has done (RFC 6749, 5.2; RFC 6585, 4).
_OF_US: Final[Mapping[int, str]] = {
    401: "it does not know the client, or not by the secret or key as it is sent (status 401)",
    429: "it is asked too often (status 429)",
}

#: What signature algorithms hash with, for ``at_hash`` (OpenID Connect Core 1.0, 3.1.3.6).
_HASHES = {"256": "sha256", "384": "sha384", "512": "sha512", "DSA": "sha512", "519": "sha512"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider sent a browser back with (RFC 6749, 4.1.2; RFC 9207)."""

    state: str
    code: str | None = None
    error: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom a provider vouches for: the subject as every token of this issuer names it, and since when."""

    state: SubjectState
    vouched: Vouched
    since: datetime


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What a logout token says: a session of the provider's, or a subject of its own, is signed in no longer."""

    id: str
    issuer: str
    subject: str | None
    session: str | None


class Provider:
    """One issuer, whose people sign in with browsers. One for each worker; it belongs to one event loop."""

    def __init__(
        self,
        issuer: Issuer,
        client: BrowserClient,
        http: httpx.AsyncClient,
        names: Collection[str],
        public_url: str,
    ) -> None:
        self.issuer = issuer
        self._client = client
        self._key = signing_key_in(client.client_key) if client.client_key is not None else None
        self._http = http
        self._names = frozenset(names)
        self._public_url = public_url.rstrip("/")
        self._keys = IssuerKeys(issuer, http)
        self._lock = asyncio.Lock()
        self._said: tuple[datetime, Mapping[str, object]] | None = None
        self._failed: tuple[datetime, str] | None = None

    @property
    def name(self) -> str:
        """The issuer's name in the settings."""
        return self.issuer.name

    async def address_to_sign_in(self, flow: Flow, at: datetime, *, anew: bool) -> str:
        """Where the browser is sent; ``anew`` makes the provider ask the person again."""
        talk = self._talk(await self._metadata(at))
        with self._published():
            return talk.address(flow, anew=anew)

    async def address_to_sign_out(self, at: datetime) -> str | None:
        """Where a browser ends its session with the provider too (OpenID Connect RP-Initiated Logout 1.0)."""
        said = await self._metadata(at)
        if "end_session_endpoint" not in said:
            return None
        parameters = {"client_id": self._client.client_id, "post_logout_redirect_uri": f"{self._public_url}/signed-out"}
        with self._published():
            return str(httpx.URL(address_in(said, "end_session_endpoint", self.issuer)).copy_merge_params(parameters))

    async def signed_in(self, flow: Flow, answer: Answer, at: datetime) -> SignedIn:
        """Whom the provider vouches for with its answer; raises :class:`SignInRefused` or :class:`Unavailable`."""
        said = await self._metadata(at)
        self._check_answer(answer, said)
        talk = self._talk(said)
        given = await self._redeemed(talk, str(answer.code), flow.verifier, at)
        token = await self._id_token(given.get("id_token"), flow.nonce, at)
        with _refusing("ID token: auth_time"):
            since = token.since or at
        claims = dict(token.claims)
        if self._client.userinfo:
            claims = {**await self._userinfo(talk, token, str(given["access_token"])), **claims}
        try:
            state = subject_state(claims, self.issuer, self._names)
        except TokenRefused as refused:
            # Told to the person, who has signed in after all: it says what their provider must mend.
            raise SignInRefused("claims", refused.detail.removesuffix(tokens.ADVICE).strip()) from refused
        if state.subject.kind is not Kind.USER:
            refuse("not a person")
        session = claims.get("sid")
        vouched = Vouched(self.name, str(token.claims["sub"]), session if isinstance(session, str) else None)
        return SignedIn(state, vouched, since)

    async def aclose(self) -> None:
        """Let go of keys that are fetched behind the requests."""
        await self._keys.close()

    async def logged_out(self, text: str, at: datetime) -> LoggedOut:
        """Read a logout token (OpenID Connect Back-Channel Logout 1.0, 2.6); raises :class:`SignInRefused`."""
        with _refusing("logout token"):
            token = tokens.read(text, ("jwt", "logout+jwt"))
            await self._check_signed(token, at)
            _check_kind(token.claims, "logout")
        claims, issued = token.claims, token.claims.get("iat")
        events = claims.get("events")
        if not isinstance(events, Mapping) or not isinstance(events.get(_LOGOUT_EVENT), Mapping):
            refuse("logout token: events")
        if "nonce" in claims:
            refuse("logout token: nonce")
        if not isinstance(issued, int | float) or at.timestamp() - issued > LOGOUT_IS_NEWS.total_seconds():
            refuse("logout token: iat")
        id_, subject, session = (_named(claims, name) for name in ("jti", "sub", "sid"))
        if id_ is None or (subject is None and session is None):
            refuse("logout token: claims")
        return LoggedOut(id_, self.name, subject, session)

    def _check_answer(self, answer: Answer, said: Mapping[str, object]) -> None:
        """Whether this issuer answered, and with a code: the issuer first, for errors too (RFC 9207, 2.4)."""
        tells = said.get("authorization_response_iss_parameter_supported") is True
        if answer.issuer != self.issuer.issuer and (tells or answer.issuer is not None):
            refuse("another issuer")
        if answer.error is not None:
            raise SignInRefused("declined", "The provider did not sign you in, so nobody was signed in. Begin again.")
        if not answer.code or len(answer.code) > _LONGEST_CODE:
            refuse("no code")

    def _talk(self, said: Mapping[str, object]) -> Talk:
        return Talk(self.issuer, self._client, self._key, said, self._http, self._public_url + CALLBACK)

    async def _redeemed(self, talk: Talk, code: str, verifier: str, at: datetime) -> Mapping[str, object]:
        """What a code gives; a provider that does not know *us* has not refused the person."""
        async with self._asking("code", _OF_US):
            given = await talk.redeem(code, verifier, at)
        if not given:
            refuse("no access token")
        return given

    async def _id_token(self, text: object, nonce: str, at: datetime) -> tokens.Token:
        """The ID token, once all of OpenID Connect Core 1.0, 3.1.3.7 holds."""
        if not isinstance(text, str) or not text.isascii():
            refuse("no ID token")
        with _refusing("ID token"):
            token = tokens.read(text, ("jwt",))
            await self._check_signed(token, at)
            _check_kind(token.claims, "id")
        claims = token.claims
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            refuse("ID token: nonce")
        if "events" in claims or "iat" not in claims or _named(claims, "sub") is None:
            refuse("ID token: claims")
        return token

    async def _check_signed(self, token: tokens.Token, at: datetime) -> None:
        """Whether this issuer made a token, for this client alone, and for this moment."""
        if token.algorithm not in self.issuer.algorithms:
            refuse("token: algorithm")
        if token.claims.get("iss") != self.issuer.issuer:
            refuse("token: issuer")
        if not _is_for(self._client.client_id, token.claims):
            refuse("token: audience")
        if token.claims.get("azp", self._client.client_id) != self._client.client_id:
            refuse("token: authorized party")
        tokens.check_times(token, self.issuer.leeway_seconds, at)
        _, candidates = await self._keys.suiting(token.algorithm, token.key_id, at)
        if not any(tokens.is_signed_with(token, key) for key in candidates):
            refuse("token: signature")

    async def _userinfo(self, talk: Talk, token: tokens.Token, access_token: str) -> Mapping[str, object]:
        """The claims at the userinfo endpoint, if they are of the same subject (OpenID Connect Core 1.0, 5.3.2)."""
        if not _hashes_to(access_token, token):
            refuse("access token")
        async with self._asking("userinfo"):
            claims = await talk.userinfo()
        if claims.get("sub") != token.claims["sub"]:
            refuse("userinfo: another subject")
        return claims

    async def _metadata(self, at: datetime) -> Mapping[str, object]:
        """The discovery document, at most five minutes old; one that can't be had is not asked for in a hurry."""
        async with self._lock:
            if self._said is not None and abs(at - self._said[0]) < FRESH:
                return self._said[1]
            if self._failed is not None and abs(at - self._failed[0]) < BETWEEN_FETCHES:
                raise self._unavailable(self._failed[1])
            try:
                async with patience(PATIENCE_SECONDS):
                    self._said = (at, await discovery.discovered(self.issuer, self._http))
            except NotPublished as failed:
                self._failed = (at, str(failed))
                raise self._unavailable(str(failed)) from failed
            return self._said[1]

    @asynccontextmanager
    async def _asking(self, what: str, of_us: Mapping[int, str] = MappingProxyType({})) -> AsyncIterator[None]:
        """Ask the provider itself: what it declines is refused, and without its answer nobody is signed in."""
        with self._published():
            try:
                async with patience(PATIENCE_SECONDS):
                    yield
            except Declined as declined:
                if declined.status in of_us:
                    raise NotPublished(of_us[declined.status]) from declined
                logger.info("Issuer %s declined a sign-in (%s): %s.", self.name, what, declined)
                refuse(f"{what}: declined")

    @contextmanager
    def _published(self) -> Iterator[None]:
        """What the provider does not give is said to be so, and is no fault of the person."""
        try:
            yield
        except NotPublished as failed:
            raise self._unavailable(str(failed)) from failed

    def _unavailable(self, why: str) -> Unavailable:
        logger.warning("Nobody can sign in at issuer %s: %s.", self.name, why)
        return Unavailable(
            f"The sign-in provider “{self.name}” can't be asked now, so nobody was signed in. Try again in a minute; "
            "if it lasts, tell whoever runs Muniment."
        )


class Providers:
    """The issuers at which people sign in with browsers, by name, in the order of the settings."""

    def __init__(
        self, issuers: Iterable[Issuer], http: httpx.AsyncClient, held_names: Collection[str], public_url: str
    ) -> None:
        known = tuple(issuers)
        names = {*held_names, *(issuer.name for issuer in known)}
        self._by_name = {
            issuer.name: Provider(issuer, issuer.browser, http, names, public_url)
            for issuer in known
            if issuer.browser is not None
        }

    async def aclose(self) -> None:
        """Let go of what goes on behind the requests."""
        for provider in self._by_name.values():
            await provider.aclose()

    @property
    def names(self) -> tuple[str, ...]:
        """What somebody may choose from."""
        return tuple(self._by_name)

    def named(self, name: str) -> Provider:
        """The provider of a name; raises :class:`SignInRefused` if nobody signs in there."""
        if name not in self._by_name:
            raise SignInRefused("no such provider", "Nobody signs in there. Begin again, and choose from those shown.")
        return self._by_name[name]

    async def logged_out(self, text: str, at: datetime) -> LoggedOut:
        """Read a logout token of one of the providers; raises :class:`SignInRefused`."""
        if not text.isascii():
            refuse("logout token")
        with _refusing("logout token"):
            said = tokens.read(text, ("jwt", "logout+jwt")).claims.get("iss")
        found = [each for each in self._by_name.values() if each.issuer.issuer == said]
        if not found:
            refuse("logout token: issuer")
        return await found[0].logged_out(text, at)


def refuse(reason: str) -> Never:
    """Refuse a sign-in in one sentence for all reasons."""
    raise SignInRefused(reason)


@contextmanager
def _refusing(reason: str) -> Iterator[None]:
    """What is refused of a token here is refused of the sign-in; its words are for the log alone."""
    try:
        yield
    except TokenRefused as refused:
        logger.info("A token of a sign-in is refused: %s", refused.detail)
        raise SignInRefused(reason) from None


def _check_kind(claims: Mapping[str, object], kind: str) -> None:
    """What providers write of a token's purpose into its claims (Keycloak ``typ``, Cognito ``token_use``)."""
    if any(str(claims[name]).lower() != kind for name in ("typ", "token_use") if name in claims):
        refuse("token: kind")


def _is_for(client: str, claims: Mapping[str, object]) -> bool:
    """Whether a token is this client's: made for it alone, or for others too and given to it.

    OpenID Connect Core 1.0: 2, ``azp``; 3.1.3.7. The code by which it came was of no use to anybody else.
    """
    audience = claims.get("aud")
    if audience in (client, [client]):
        return True
    return isinstance(audience, list) and client in audience and claims.get("azp") == client


def _named(claims: Mapping[str, object], name: str) -> str | None:
    """A claim that is a name: a text of readable length."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None


def _hashes_to(access_token: str, token: tokens.Token) -> bool:
    """Whether the access token is the one that came with the ID token, where that says so (``at_hash``)."""
    expected = token.claims.get("at_hash")
    if expected is None:
        return True
    digest = hashlib.new(_HASHES[token.algorithm[-3:]], access_token.encode()).digest()
    return expected == urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
