"""Tokens that say nothing themselves: their issuer is asked about each (RFC 7662).

A token is sent to an issuer that the settings name, as the client that they name, and to
nobody else. Answers are held to what a signed token is held to, and to more: a refresh
token is known to the issuer too, so the answer must call the token a bearer token, unless
the settings say that the issuer speaks of access tokens alone.

Whoever sends words of their own makes us ask, so issuers are asked only so often.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote_plus

import httpx

from muniment.core.keys import PREFIX
from muniment.core.problems import Busy, Unavailable
from muniment.identity import tokens
from muniment.identity.discovery import NotPublished, address_in, answer_to, discovered, patience
from muniment.identity.issuers import Introspection, Issuer
from muniment.identity.tokens import Statement, refuse

#: How long one answer may take, finding out where to ask included.
PATIENCE_SECONDS = 5.0
#: How often one issuer is asked: so many at once, and on average so many a second.
MOST_AT_ONCE = 20
MOST_SAVED, A_SECOND = 100, 50
#: For how long an issuer's discovery document says where to ask.
FOUND = timedelta(hours=1)

#: What a bearer token is written with (RFC 6750, 2.1).
_BEARER = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class Asker:
    """Asks one issuer about tokens. One for each worker; it belongs to one event loop."""

    def __init__(self, issuer: Issuer, introspection: Introspection, http: httpx.AsyncClient) -> None:
        self.issuer = issuer
        self.remembers = timedelta(seconds=introspection.remembered_seconds)
        self._introspection = introspection
        self._http = http
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._allowance = Allowance(MOST_SAVED, A_SECOND)
        self._found: tuple[str, datetime] | None = None

    def may_know(self, token: str) -> bool:
        """Whether the token can be one of this issuer's that says nothing itself."""
        ours = token.startswith(PREFIX) or tokens.is_signed(token)
        return not ours and token.startswith(self._introspection.prefix) and _BEARER.fullmatch(token) is not None

    async def ask(self, token: str, at: datetime) -> Statement | None:
        """What the issuer says of a token that it holds good, else None; raises :class:`Unavailable`."""
        if not self._allowance.take(at):
            raise Busy("Too many tokens have to be asked about at once. Try again in a few seconds.")
        try:
            async with patience(PATIENCE_SECONDS), self._places:
                answer = await self._answer(token, at)
        except NotPublished as error:
            failure = str(error)
        else:
            return _active(answer, self.issuer)
        raise Unavailable(
            f"Issuer “{self.issuer.name}” can't be asked about the token: {failure}. "
            "Try again in a minute; if it lasts, tell whoever runs Muniment."
        )

    def check(self, said: Statement, at: datetime) -> None:
        """Refuse what is no access token for this service at this time."""
        _check_kind(said, unsaid_will_do=self._introspection.access_tokens_only)
        _check_audience(said, self.issuer, self._introspection.clients)
        tokens.check_times(said, self.issuer.leeway_seconds, at)
        tokens.check_purpose(said)
        tokens.check_subject(said)

    async def _answer(self, token: str, at: datetime) -> Mapping[str, object]:
        form = {"token": token, "token_type_hint": "access_token"}
        known = self._introspection
        auth = None
        if known.auth == "basic":  # RFC 6749, 2.3.1: each half is encoded as a form is
            auth = httpx.BasicAuth(quote_plus(known.client_id), quote_plus(known.client_secret))
        else:
            form |= {"client_id": known.client_id, "client_secret": known.client_secret}
        return await answer_to(self._http, await self._endpoint(at), form, auth)

    async def _endpoint(self, at: datetime) -> str:
        if self._introspection.endpoint is not None:
            return self._introspection.endpoint
        if self._found is None or abs(at - self._found[1]) >= FOUND:
            said = await discovered(self.issuer, self._http)
            self._found = address_in(said, "introspection_endpoint", self.issuer), at
        return self._found[0]


class Allowance:
    """So many at once, and so many a second on average: what is not used is saved up, to a limit."""

    def __init__(self, most: int, a_second: int) -> None:
        self._most = most
        self._a_second = a_second
        self._saved = float(most)
        self._at: datetime | None = None

    def take(self, at: datetime) -> bool:
        """Whether one more may be had at that time; requests may come out of order."""
        if self._at is None or at > self._at:
            passed = (at - self._at).total_seconds() if self._at else 0.0
            self._saved, self._at = min(self._most, self._saved + passed * self._a_second), at
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


def _active(answer: Mapping[str, object], issuer: Issuer) -> Statement | None:
    """What is said of a token that is active, and this issuer's own (RFC 7662, 2.2)."""
    if answer.get("active") is not True or answer.get("iss", issuer.issuer) != issuer.issuer:
        return None
    return Statement(_with_subject(answer))


def _with_subject(answer: Mapping[str, object]) -> Mapping[str, object]:
    """The answer; where it names nobody, its client is the subject: RFC 7662 (2.2) leaves the rest to each issuer.

    So providers answer for tokens of client credentials. One that names somebody by ``username`` alone speaks of a
    person, who must not be taken for the client.
    """
    if "client_id" not in answer or any(name in answer for name in ("sub", "username")):
        return answer
    return {**answer, "sub": answer["client_id"]}


def _check_kind(said: Statement, *, unsaid_will_do: bool) -> None:
    named = [said.claims[name] for name in ("token_type", "typ") if name in said.claims]
    if not (named or unsaid_will_do) or any(str(name).lower() != "bearer" for name in named):
        refuse("The issuer does not say of the token that it is a bearer token")


def _check_audience(said: Statement, issuer: Issuer, clients: frozenset[str]) -> None:
    if "aud" in said.claims:
        tokens.check_audience(said, issuer)
    elif not any(said.claims.get("client_id") == client for client in clients):
        refuse("The issuer does not say for which service the token was made")
