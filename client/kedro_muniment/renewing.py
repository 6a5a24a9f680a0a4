"""A kept sign-in stays fresh without a word: its access token is renewed shortly before its end (RFC 6749, 6).

A provider may give a new refresh token each time and take the old one, used again, for a theft, which ends the whole
sign-in (RFC 9700, 4.14.2). So however many processes notice the end at once, one of them renews: lock, read again what
is kept, then renew, then keep, then unlock. Only the provider's own word that the sign-in is over forgets it; where the
provider cannot be reached, everything stays as it was.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from kedro_muniment import keeping, providers
from kedro_muniment.keeping import SignIn, Tokens
from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.providers import Issuer
from kedro_muniment.signing_in import LOG_IN, Token

#: How long before its end an access token is renewed: as long as one start may take until its last question.
BEFORE: Final = timedelta(seconds=60)

logger = logging.getLogger("kedro_muniment")


def current(sign_in: SignIn, at: datetime) -> Token | None:
    """The access token of a kept sign-in, renewed if it is near its end; ``None`` where its tokens are gone."""
    tokens = keeping.tokens_of(sign_in)
    if tokens is None:
        return None
    if not _ends_before(tokens, at + BEFORE):
        return token(sign_in, tokens)
    if tokens.refresh is None:
        return _while_it_lasts(sign_in, tokens, at, NotSignedIn(f"Your sign-in at {sign_in.url} has ended. {LOG_IN}"))
    try:
        return _renewed(sign_in, tokens, at)
    except NotSignedIn:
        raise
    except MunimentError as problem:
        return _while_it_lasts(sign_in, tokens, at, problem)


def token(sign_in: SignIn, tokens: Tokens) -> Token:
    """What goes with a request, with where it comes from and for whom it was given."""
    return Token(
        tokens.access.revealed(),
        source=f"the sign-in of {sign_in.since:%Y-%m-%d} by {sign_in.issuer}",
        advice=LOG_IN,
        issuer=sign_in.issuer,
        subject=sign_in.subject,
        ends=tokens.ends,
    )


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


def _renewed(sign_in: SignIn, seen: Tokens, at: datetime) -> Token:
    with keeping.alone(sign_in):
        now = keeping.tokens_of(sign_in)
        if now is None:
            raise NotSignedIn(f"You have signed out of {sign_in.url}. {LOG_IN}")
        if now.refresh is None or (not now.access.is_same(seen.access) and not _ends_before(now, at)):
            return token(sign_in, now)  # another process has just renewed it
        return _exchanged(sign_in, now.refresh)


def _exchanged(sign_in: SignIn, refresh: Token) -> Token:
    provider = providers.discovered(issuer_of(sign_in))
    form = providers.Form(grant_type="refresh_token", client_id=sign_in.client_id, resource=sign_in.resource)
    outcome = provider.outcome(form.with_secret("refresh_token", refresh))
    if isinstance(outcome, providers.Granted):
        tokens = Tokens(outcome.token, outcome.refresh or refresh, outcome.until)
        _keep(sign_in, tokens)
        return token(sign_in, tokens)
    if isinstance(outcome, providers.Refused) and outcome.error == "invalid_grant":
        keeping.forget(sign_in)
        raise NotSignedIn(f"Your sign-in at {sign_in.url} is over: {sign_in.issuer} renews it no longer. {LOG_IN}")
    said = (
        outcome if isinstance(outcome, str) else f"it answered {outcome.status}, {outcome.error or 'without a reason'}"
    )
    raise Unreachable(
        f"Your sign-in at {sign_in.url} has to be renewed, and {sign_in.issuer} does not do it now ({said}). You stay "
        "signed in: try again."
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
