"""People sign in and out: which provider, which way, who they are to the service, and where that is kept.

A sign-in counts when the service itself has said whom it takes the bearer for. Only then is it kept, with that name:
a lease that is made for another is refused later.
"""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from kedro_muniment.leases import kept
from kedro_muniment.problems import BadConfig, MunimentError, NotSignedIn, Unreachable, plain
from kedro_muniment.service import Service
from kedro_muniment.sign_in import browser, device, keeping, providers, renewing
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.providers import Asker, Form, Granted, Issuer, Provider
from kedro_muniment.sign_in.telling import Telling, in_kernel
from kedro_muniment.sign_in.tokens import Token

Way = Literal["device", "browser"]

ENDPOINTS: Final[dict[Way, str]] = {"device": device.ENDPOINT, "browser": browser.ENDPOINT}
#: Programs that show pages inside a terminal, where no provider's page works.
_TEXT_BROWSERS: Final = frozenset({"elinks", "links", "lynx", "w3m", "www-browser"})
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class SignedOut:
    """What became of one sign-in: it is no longer kept; what the provider did is told apart."""

    sign_in: SignIn
    revoked: bool
    told: str

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.sign_in.url,
            "issuer": self.sign_in.issuer,
            "subject": self.sign_in.subject,
            "revoked": self.revoked,
            "told": self.told,
        }


def login(
    url: str,
    telling: Telling,
    *,
    way: Way | None = None,
    issuer: str | None = None,
    port: int = 0,
    wait: Callable[[float], None] = time.sleep,
) -> tuple[SignIn, Tokens]:
    """Sign in at the service and keep it; refused in words where the person, the provider or the service says no."""
    url = keeping.normalised(url)
    chosen = _chosen(url, issuer)
    provider = providers.discovered(chosen)
    scope = " ".join(_scopes(provider))
    if _way(provider, way) == "device":
        granted = device.sign_in(provider, url, scope, telling, wait)
    else:
        opening = webbrowser.open if a_browser_fits() else None
        granted = browser.sign_in(provider, url, scope, telling, port=port, open_browser=opening)
    return _kept(url, provider, granted)


def logout(sign_ins: list[SignIn]) -> Iterator[SignedOut]:
    """Revoke each sign-in at its provider (RFC 7009); keep it, and what it was given, no longer, whatever that says."""
    for sign_in in sign_ins:
        with keeping.alone(sign_in):
            tokens = _tokens(sign_in)
            refusal = None if tokens is None else _revoked(sign_in, tokens)
            keeping.forget(sign_in)
        kept.forget(sign_in.url, Token("", issuer=sign_in.issuer, subject=sign_in.subject).bearer())
        yield SignedOut(sign_in, tokens is not None and refusal is None, refusal or "")


def _tokens(sign_in: SignIn) -> Tokens | None:
    try:
        return keeping.tokens_of(sign_in, to_end_it=True)
    except NotSignedIn:
        return None  # a file of somebody else's: it is removed, and nothing in it is used


def _chosen(url: str, name: str | None) -> Issuer:
    """The issuer of that name, else the default one, else the only one that people can sign in with."""
    offered = [each for each in providers.described(url) if each.client_id]
    names = ", ".join(plain(each.name) for each in offered) or "none"
    if name is not None:
        found = [each for each in offered if name in {each.name, each.issuer}]
    else:
        found = [each for each in offered if each.default] or offered
    if len(found) == 1:
        return found[0]
    if not offered:
        raise NotSignedIn(
            f"Muniment at {url} names no provider that people can sign in with from here: none has a `client_id`. "
            "Ask whoever runs it, or set MUNIMENT_TOKEN."
        )
    if name is not None:
        raise NotSignedIn(
            f"Muniment at {url} names no sign-in provider {name!r}. There are: {names}. Choose an --issuer."
        )
    raise NotSignedIn(f"Muniment at {url} names several sign-in providers: {names}. Choose one with --issuer.")


def _way(provider: Provider, wished: Way | None) -> Way:
    """The way that was wished for; else the browser where one fits, else any device, of what the provider offers."""
    offered = {way for way, endpoint in ENDPOINTS.items() if provider.metadata.get(endpoint)}
    if wished is not None:
        if wished not in offered:
            other = "".join(f" Try: kedro muniment login --{way}" for way in sorted(offered))
            raise NotSignedIn(f"The sign-in provider {provider.issuer} does not offer sign-in by {wished}.{other}")
        return wished
    if not offered:
        raise NotSignedIn(
            f"The sign-in provider {provider.issuer} offers no way to sign in from here, neither by device nor by "
            "browser. Ask whoever runs Muniment, or set MUNIMENT_TOKEN."
        )
    return "browser" if offered == {"browser"} or ("browser" in offered and a_browser_fits()) else "device"


def a_browser_fits() -> bool:
    """Whether a person is at this very machine, with a browser that shows a provider's page."""
    remote = any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
    screen = sys.platform in {"win32", "darwin"} or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return not remote and bool(screen) and not in_kernel() and sys.stderr.isatty() and _a_browser_is_known()


def _a_browser_is_known() -> bool:
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    return getattr(found, "name", "") not in _TEXT_BROWSERS


def _scopes(provider: Provider) -> tuple[str, ...]:
    """Those that the service wants; else what a provider needs for a sign-in that lasts."""
    if provider.described.scopes:
        return provider.described.scopes
    # A provider may refuse a scope that it does not know; of one that lists none, only this one is sure.
    supported = provider.listed("scopes_supported") or ("openid",)
    return tuple(scope for scope in ("openid", "offline_access") if scope in supported)


def _kept(url: str, provider: Provider, granted: Granted) -> tuple[SignIn, Tokens]:
    """Keep what was given, for whom the service takes its bearer for; else give it back."""
    described = provider.described
    tokens = renewing.given(granted, granted.refresh)
    draft = SignIn(
        url=url,
        issuer=described.issuer,
        client_id=described.client_id or "",
        subject="",
        scopes=_scopes(provider),
        resource=described.resource,
        since=datetime.now(UTC),
    )
    try:
        sign_in = replace(draft, subject=_subject(draft, granted))
    except MunimentError:
        _revoked(draft, tokens)
        raise
    with keeping.alone(sign_in):
        return keeping.keep(sign_in, tokens), tokens


def _subject(draft: SignIn, granted: Granted) -> str:
    """Whom the service takes the bearer for."""
    advice = (
        f"Nothing was kept. Ask whoever runs Muniment: it does not accept what {draft.issuer} gives to "
        f"{draft.client_id}, and `muniment doctor identity` tells them why."
    )
    answer = Service(draft.url, Token(granted.token.revealed(), advice=advice)).whoami()
    subject = answer.get("subject")
    if not isinstance(subject, str) or not subject:
        raise NotSignedIn(f"Muniment at {draft.url} did not say who you are to it. {advice}")
    return subject


def _revoked(sign_in: SignIn, tokens: Tokens) -> str | None:
    """Revoke what a sign-in holds, the refresh token first; or say why the provider's side of it may live on."""
    try:
        provider = providers.discovered(renewing.issuer_of(sign_in))
        endpoint = provider.endpoint("revocation_endpoint")
    except Unreachable as problem:
        return problem.message
    except MunimentError:
        return f"{sign_in.issuer} offers no way to revoke a sign-in"
    held = (("refresh_token", tokens.refresh), ("access_token", tokens.access))
    outcomes = {hint: _revoke(endpoint, provider.person, hint, token) for hint, token in held if token}
    lasting = outcomes.get("refresh_token", outcomes["access_token"])
    return None if lasting is None else f"{sign_in.issuer} did not revoke it ({lasting})"


def _revoke(endpoint: str, person: Asker, hint: str, token: Token) -> str | None:
    from kedro_muniment.sign_in import oauth

    answer = oauth.revocation(endpoint, person, Form(token_type_hint=hint).with_secret("token", token))
    if isinstance(answer, str):
        return answer
    return None if answer[0] == _OK else f"it answered {answer[0]}"


def address(url: str | None) -> str:
    """The service's address as it was given, checked like the one in ``muniment.yml``."""
    from kedro_muniment import config

    try:
        return keeping.normalised(config.KEYS["url"](url)["url"])
    except ValueError as error:
        raise BadConfig(f"--url must be {error}.") from None
