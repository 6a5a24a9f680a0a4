"""A kept sign-in stays fresh without a word: its access token is renewed shortly before its end (RFC 6749, 6).

A provider may give a new refresh token each time and take the old one, used again, for a theft, which ends the whole
sign-in (RFC 9700, 4.14.2). So however many processes notice the end at once, one of them renews: lock, read again what
is kept, then renew, then keep, then unlock. Only the provider's own word that the sign-in is over forgets it; where the
provider cannot be reached, everything stays as it was.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from typing_extensions import override

from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.sign_in import keeping, providers
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.providers import Granted, Issuer
from kedro_muniment.sign_in.tokens import Token

#: What to do where nothing else helps.
LOG_IN: Final = "Sign in again: kedro muniment login"
#: How long before its end an access token is renewed: as long as one start may take until its last question.
BEFORE: Final = timedelta(seconds=60)
#: How long an access token is taken to last where nobody says, and another can be had.
UNTOLD: Final = timedelta(minutes=5)

logger = logging.getLogger("kedro_muniment")


class SignInEnded(NotSignedIn):
    """A sign-in that nothing renews has come to its end. Nobody ended it."""


class KeptToken(Token):
    """The access token of a kept sign-in; one that the service refuses before its end is renewed once.

    A machine's clock stands still while it sleeps, and a provider may end a token early.
    """

    __slots__ = ("_sign_in", "_tokens")

    def __init__(self, sign_in: SignIn, tokens: Tokens) -> None:
        super().__init__(
            tokens.access.revealed(),
            source=f"the sign-in of {sign_in.since:%Y-%m-%d} by {sign_in.issuer}",
            advice=LOG_IN,
            issuer=sign_in.issuer,
            subject=sign_in.subject,
            ends=tokens.ends,
        )
        self._sign_in = sign_in
        self._tokens = tokens

    @override
    def is_replaced(self) -> bool:
        if self._tokens.refresh is None:
            return False
        renewed = _renewed(self._sign_in, self._tokens, datetime.now(UTC))
        is_another = not self.is_same(renewed.access)
        self._secret, self.ends, self._tokens = renewed.access.revealed(), renewed.ends, renewed
        return is_another


def current(sign_in: SignIn, at: datetime) -> Token | None:
    """The access token of a kept sign-in, renewed if it is near its end; ``None`` where its tokens are gone."""
    tokens = keeping.tokens_of(sign_in)
    if tokens is None:
        return None
    if not _ends_before(tokens, at + BEFORE):
        return token(sign_in, tokens)
    if tokens.refresh is None:
        return _while_it_lasts(sign_in, tokens, at, SignInEnded(f"Your sign-in at {sign_in.url} has ended. {LOG_IN}"))
    try:
        return token(sign_in, _renewed(sign_in, tokens, at))
    except NotSignedIn:
        raise
    except MunimentError as problem:
        return _while_it_lasts(sign_in, tokens, at, problem)


def token(sign_in: SignIn, tokens: Tokens) -> Token:
    """What goes with a request, with where it comes from and for whom it was given."""
    return KeptToken(sign_in, tokens)


def given(granted: Granted, refresh: Token | None) -> Tokens:
    """What a provider gave, to be kept, with what gets the next one."""
    untold = datetime.now(UTC) + UNTOLD if refresh else None
    return Tokens(granted.token, refresh, granted.until or untold)


def issuer_of(sign_in: SignIn) -> Issuer:
    """The issuer of a sign-in as it was at sign-in, without asking the service again."""
    return Issuer(
        name="",
        issuer=sign_in.issuer,
        client_id=sign_in.client_id,
        default=False,
        scopes=sign_in.scopes,
        resource=sign_in.resource,
        audience=None,
    )


def _renewed(sign_in: SignIn, seen: Tokens, at: datetime) -> Tokens:
    with keeping.alone(sign_in):
        now = keeping.tokens_of(sign_in)
        if now is None:
            raise NotSignedIn(f"You have signed out of {sign_in.url}. {LOG_IN}")
        if now.refresh is None or (not now.access.is_same(seen.access) and not _ends_before(now, at)):
            return now  # another process has just renewed it
        return _exchanged(sign_in, now.refresh)


def _exchanged(sign_in: SignIn, refresh: Token) -> Tokens:
    provider = providers.discovered(issuer_of(sign_in))
    form = providers.Form(grant_type="refresh_token", resource=sign_in.resource)
    outcome = provider.outcome(form.with_secret("refresh_token", refresh), provider.person)
    if isinstance(outcome, providers.Granted):
        tokens = given(outcome, outcome.refresh or refresh)
        _keep(sign_in, tokens)
        return tokens
    if isinstance(outcome, providers.Refused) and outcome.error == "invalid_grant":
        keeping.forget(sign_in)
        raise NotSignedIn(f"Your sign-in at {sign_in.url} is over: {sign_in.issuer} renews it no longer. {LOG_IN}")
    said = (
        outcome if isinstance(outcome, str) else f"it answered {outcome.status}, {outcome.error or 'without a reason'}"
    )
    raise Unreachable(
        f"Your sign-in at {sign_in.url} has to be renewed, and {sign_in.issuer} does not do it now ({said}). You stay "
        "signed in: try again. If it lasts: kedro muniment login"
    )


def _keep(sign_in: SignIn, tokens: Tokens) -> None:
    """Keep what was given. Where that fails it is used all the same, and the earlier token, which is spent, is gone."""
    try:
        keeping.keep(sign_in, tokens)
    except MunimentError as problem:
        keeping.forget(sign_in)
        logger.warning("%s Your sign-in at %s lasts for this run. %s", problem.message, sign_in.url, LOG_IN)


def _ends_before(tokens: Tokens, moment: datetime) -> bool:
    return tokens.ends is not None and tokens.ends <= moment


def _while_it_lasts(sign_in: SignIn, tokens: Tokens, at: datetime, problem: MunimentError) -> Token:
    """The token that there is, as long as it is good for anything; after that, the reason why it is not."""
    if _ends_before(tokens, at):
        raise problem
    return token(sign_in, tokens)
