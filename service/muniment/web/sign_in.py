"""``/sign-in`` and ``/sign-out``: to the provider and back, out again, and what providers say behind the scenes."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from muniment.core.problems import Problem, SignInRefused, TokenRefused, Unavailable
from muniment.core.sessions import local_path
from muniment.flows.sign_in import (
    Entrance,
    Visit,
    address_to_sign_out,
    begin_sign_in,
    finish_sign_in,
    obey_logout,
    sign_out,
)
from muniment.identity.browser import Answer
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import (
    BEGUN,
    SESSION,
    Entering,
    Posting,
    drop_session,
    form_of,
    keep_begun,
    keep_session,
    knock_of,
    new_secret,
    secret_in,
    visitor_of,
)

router = page_router()

_HOME = "/"


@router.get("/sign-in")
async def get_sign_in(
    request: Request, entrance: Entering, to: str = _HOME, at: str | None = None, anew: Literal["yes"] | None = None
) -> Response:
    """On to the provider; to a page to choose one where there are several; or straight on for who is signed in."""
    wanted = local_path(to)
    if anew is None and await _is_signed_in(request):
        return go(wanted)
    if at is None and len(entrance.providers.names) != 1:
        return _choice(entrance, wanted, anew)
    browser = secret_in(request, BEGUN) or new_secret()
    address = await begin_sign_in(
        entrance,
        knock_of(request),
        at or entrance.providers.names[0],
        wanted,
        browser=browser,
        state=new_secret(),
        anew=anew is not None,
    )
    response = go(address)
    keep_begun(response, browser)
    return response


@router.get("/sign-in/callback")
async def get_callback(
    request: Request,
    entrance: Entering,
    state: str = "",
    code: str | None = None,
    error: str | None = None,
    iss: str | None = None,
) -> Response:
    """Back from the provider: a session of its own begins, under a secret that nobody has seen before."""
    browser, secret = secret_in(request, BEGUN), new_secret()
    if browser is None:
        raise SignInRefused(
            "another browser",
            "This sign-in was begun in another browser, at another address of this service, or too long ago. "
            "Begin again.",
        )
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise SignInRefused("parameter twice")
    wanted = await finish_sign_in(
        entrance,
        knock_of(request),
        Answer(state=state, code=code, error=error, issuer=iss),
        browser=browser,
        secret=secret,
        former=secret_in(request, SESSION),
    )
    response = go(wanted)
    keep_session(response, secret)
    return response


@router.post("/sign-out")
async def post_sign_out(entrance: Entering, visiting: Posting) -> Response:
    """Signed out here; the page that follows says how to sign out at the provider."""
    await sign_out(entrance, visiting)
    return signed_out(visiting)


def signed_out(visiting: Visit) -> Response:
    """On to the page for whoever is signed out; the browser forgets its session."""
    response = go("/signed-out", at=visiting.session.vouched.issuer)
    drop_session(response)
    return response


@router.get("/signed-out")
async def get_signed_out(request: Request, entrance: Entering, at: str | None = None) -> Response:
    """Nobody is signed in here now; providers send browsers back to this page, too."""
    if await _is_signed_in(request):
        return go(_HOME)
    address = await address_to_sign_out(entrance, at, knock_of(request)) if at is not None else None
    return show("signed_out.html", address=address)


@router.post("/back-channel-logout")
async def post_logout(request: Request, entrance: Entering) -> Response:
    """A provider ends sessions (OpenID Connect Back-Channel Logout 1.0, 2.5 and 2.8)."""
    try:
        token = (await form_of(request)).get("logout_token", "")
        await obey_logout(entrance, knock_of(request), token)
    except SignInRefused as refused:
        address = request.client.host if request.client else ""
        entrance.refusals.note(address, refused.reason, request.state.at)
        return _logout_refused(400)
    except Problem as problem:
        return _logout_refused(400 if not isinstance(problem, Unavailable) else 503)
    return Response(status_code=200)


def _logout_refused(status: int) -> Response:
    return Response(orjson.dumps({"error": "invalid_request"}), status, media_type="application/json")


async def _is_signed_in(request: Request) -> bool:
    try:
        return await visitor_of(request) is not None
    except TokenRefused:
        return False  # the session is of no more use: another one may be


def _choice(entrance: Entrance, to: str, anew: str | None) -> Response:
    more = {"anew": anew} if anew else {}
    choices = [(name, f"/sign-in?{urlencode({'at': name, 'to': to, **more})}") for name in entrance.providers.names]
    return show("choose.html", choices=choices)
