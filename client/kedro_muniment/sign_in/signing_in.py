"""Who asks: where the token comes from that goes with every request.

From ``MUNIMENT_TOKEN``, else from the credential of a job that the environment names (``jobs.py``), else from what
``kedro muniment login`` kept for this service (``keeping.py``), renewed when it is near its end. Nothing here decides
by what a token says: the service verifies it. The client reads the subject in it only to keep one person's cached
lease apart from another's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.sign_in.tokens import Awaited, Token


def token(url: str) -> Token:
    """The token to ask the service at this address with; refused where there is none."""
    from kedro_muniment.sign_in import jobs

    found = jobs.found(url) or _kept(url)
    if not found:
        raise NotSignedIn(
            f"You are not signed in to Muniment at {url}. Sign in: kedro muniment login. (A job sets MUNIMENT_TOKEN, "
            "or names another credential.)"
        )
    if not found.is_sendable():
        raise NotSignedIn(f"{found.source} holds something that is not a token. Set it again, without the word Bearer.")
    return found


def asker(url: str) -> Token:
    """The same for a start, which may go on from its kept lease: where no token can be had *now*, who it would be for.

    That is so where the provider is away, and where a sign-in that nothing renews has ended: then the service is asked
    as nobody, and its answer shows that it is there and wants a sign-in. Who has signed out, or was signed out by the
    provider, is refused here as everywhere.
    """
    from kedro_muniment.sign_in import jobs, renewing

    try:
        return token(url)
    except (Unreachable, renewing.SignInEnded) as problem:
        found = jobs.awaited(url, problem) if jobs.is_named() else _awaited(url, problem)
        if found is None:
            raise
        return found


def _awaited(url: str, problem: MunimentError) -> Token | None:
    from kedro_muniment.sign_in import keeping

    found = keeping.known(url)
    if not found:
        return None
    source = f"the sign-in of {found[0].since:%Y-%m-%d} by {found[0].issuer}"
    return Awaited(problem, source=source, issuer=found[0].issuer, subject=found[0].subject)


def _kept(url: str) -> Token | None:
    """The newest sign-in that is kept for the service; it is renewed when it is near its end."""
    from kedro_muniment.sign_in import keeping, renewing

    found = keeping.known(url)
    return renewing.current(found[0], datetime.now(UTC)) if found else None
