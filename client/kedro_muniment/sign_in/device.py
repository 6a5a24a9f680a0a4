"""Sign in on any device: the device authorization grant (RFC 8628).

The provider gives a link and a short code for the person, and a long code for this program, which asks with it again
and again whether the person is done. It asks no more often than the provider says, and less often when it is told to
or when nobody answers (RFC 8628, 3.5).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kedro_muniment.problems import NotSignedIn, Unreachable, plain
from kedro_muniment.sign_in.providers import Answer, Form, Granted, Provider, Refused, safe, secret
from kedro_muniment.sign_in.telling import Invitation, Telling
from kedro_muniment.sign_in.tokens import Token

ENDPOINT: Final = "device_authorization_endpoint"
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
#: Seconds between two questions where the provider does not say, and how many more it means by "slow down".
INTERVAL: Final = 5.0
#: Nobody is asked more often than this, nor less often.
_SHORTEST: Final = 1.0
_LONGEST: Final = 60.0
_LIFE: Final = 600.0
#: A code that holds for longer is typed by somebody else (RFC 8628, 5.4).
_LONGEST_LIFE: Final = 3600.0
_OK: Final = 200
_AGAIN: Final = "Start again: kedro muniment login"


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the provider gave for this sign-in (RFC 8628, 3.2)."""

    code: Token
    user_code: str
    link: str
    seconds: float
    interval: float


def sign_in(
    provider: Provider, service: str, scope: str, telling: Telling, wait: Callable[[float], None] = time.sleep
) -> Granted:
    """Show the link and the code, and wait until the person has signed in, has refused, or took too long."""
    authorization = _authorized(provider, scope)
    telling.invite(
        Invitation(service, authorization.link, authorization.user_code, authorization.seconds, opened=False)
    )
    return _granted(provider, authorization, wait)


def _authorized(provider: Provider, scope: str) -> Authorization:
    from kedro_muniment.sign_in import oauth

    form = Form(scope=scope, resource=provider.described.resource)
    given = _given(oauth.device_authorization(provider.endpoint(ENDPOINT), provider.person, form))
    if isinstance(given, str):
        raise Unreachable(f"The sign-in provider {provider.issuer} cannot be reached ({given}). Try again.")
    if isinstance(given, Refused):
        raise NotSignedIn(
            f"The sign-in provider {provider.issuer} gave no code to sign in with: it answered {given.status}, "
            f"{given.error or 'without a reason'}. Try it with a browser: kedro muniment login --browser"
        )
    safe(given.link, f"the link to sign in that {provider.issuer} gave")
    return given


def _given(answer: Answer) -> Authorization | Refused | str:
    """What the answer holds, or why it holds nothing. It never raises: the answer may hold a code."""
    if isinstance(answer, str):
        return answer
    status, body = answer
    body = body if isinstance(body, dict) else {}
    code = secret(body.get("device_code"))
    user_code, link, complete = (
        body.get(name) for name in ("user_code", "verification_uri", "verification_uri_complete")
    )
    if status != _OK or code is None or not _is_text(user_code) or not _is_text(link):
        return Refused(status, plain(body["error"])[:100] if "error" in body else None, "")
    seconds = min(_number(body.get("expires_in"), _LIFE), _LONGEST_LIFE)
    interval = min(max(_number(body.get("interval"), INTERVAL), _SHORTEST), _LONGEST)
    return Authorization(code, plain(user_code), str(complete if _is_text(complete) else link), seconds, interval)


def _is_text(said: object) -> bool:
    return isinstance(said, str) and said != ""


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else otherwise


def _granted(provider: Provider, authorization: Authorization, wait: Callable[[float], None]) -> Granted:
    form = Form(grant_type=GRANT, resource=provider.described.resource).with_secret("device_code", authorization.code)
    interval, left = authorization.interval, authorization.seconds
    while left > 0:
        wait(interval)
        left -= interval
        outcome = provider.outcome(form, provider.person)
        if isinstance(outcome, Granted):
            return outcome
        interval = _next(provider, outcome, interval)
    raise NotSignedIn(f"Nobody signed in before the code expired. {_AGAIN}")


def _next(provider: Provider, outcome: Refused | str, interval: float) -> float:
    """How long to wait until the next question, or why there is none (RFC 8628, 3.5)."""
    if isinstance(outcome, str):
        return min(interval * 2, _LONGEST)
    match outcome.error:
        case "authorization_pending":
            return interval
        case "slow_down":
            return interval + INTERVAL
        case "access_denied":
            raise NotSignedIn(
                f"The sign-in was refused at {provider.issuer}. If that was a mistake: kedro muniment login"
            )
        case "expired_token":
            raise NotSignedIn(f"Nobody signed in before the code expired. {_AGAIN}")
        case _ if outcome.status >= 500 or outcome.status == 429:  # noqa: PLR2004 - the provider is busy
            return min(interval * 2, _LONGEST)
        case _:
            raise NotSignedIn(
                f"The sign-in provider {provider.issuer} ended the sign-in: it answered {outcome.status}, "
                f"{outcome.error or 'without a reason'}. {_AGAIN}"
            )
