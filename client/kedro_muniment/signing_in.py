"""Who asks: where the token comes from that goes with every request.

From ``MUNIMENT_TOKEN``, else from the credential of a job that the environment names (``jobs.py``), else from what
``kedro muniment login`` kept for this service (``keeping.py``), renewed when it is near its end. Nothing here decides
by what a token says: the service verifies it. The client reads the subject in it only to keep one person's cached
lease apart from another's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from kedro_muniment.problems import NotSignedIn
from kedro_muniment.tokens import Token


def token(url: str) -> Token:
    """The token to ask the service at this address with; refused where there is none."""
    from kedro_muniment import jobs

    found = jobs.found(url) or _kept(url)
    if not found:
        raise NotSignedIn(
            f"You are not signed in to Muniment at {url}. Sign in: kedro muniment login. (A job sets MUNIMENT_TOKEN, "
            "or names another credential.)"
        )
    if not found.is_sendable():
        raise NotSignedIn(f"{found.source} holds something that is not a token. Set it again, without the word Bearer.")
    return found


def _kept(url: str) -> Token | None:
    """The newest sign-in that is kept for the service; it is renewed when it is near its end."""
    from kedro_muniment import keeping, renewing

    found = keeping.known(url)
    return renewing.current(found[0], datetime.now(UTC)) if found else None
