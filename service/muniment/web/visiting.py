"""Who is in front of a browser: cookies, and whether a form is one of ours.

Both cookies are ``__Host-`` ones (RFC 6265bis, 4.1.3.2): only this very host can have set them, over
HTTPS or on this machine, and they go to no other host. They say nothing: what they are for is
looked up. A cookie that is there twice is believed in neither form.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response

from muniment.core.problems import Invalid, NotAllowed, NotSignedIn
from muniment.core.sessions import SECRET_BYTES, TIME_TO_SIGN_IN, form_token, is_form_token, is_secret
from muniment.flows.find_way import governs
from muniment.flows.house import House, aside
from muniment.flows.sign_in import Entrance, Knock, Visit, visit

#: The session, and the sign-in that is under way.
SESSION: Final = "__Host-muniment"
BEGUN: Final = "__Host-muniment-begun"

_LONGEST_CLIENT = 200
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 500
#: The largest form, in bytes, that is shown again to somebody who is not signed in, or read while others wait.
_SMALL = 32 * 1024


def new_secret() -> str:
    """256 random bits, in base64url."""
    return secrets.token_urlsafe(SECRET_BYTES)


def secret_in(request: Request, name: str) -> str | None:
    """The secret in the cookie of this name, if there is one, and only one."""
    pairs = (each.strip().partition("=") for line in request.headers.getlist("cookie") for each in line.split(";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 and is_secret(found[0]) else None


def keep_session(response: Response, secret: str) -> None:
    """Let the browser keep a session until it is closed; its end is the service's to say.

    What it keeps of sign-ins under way stays until its end: another tab may be on its way back.
    """
    _set(response, SESSION, secret)


def keep_begun(response: Response, secret: str) -> None:
    """Let the browser keep the secret of a sign-in for as long as that may take."""
    _set(response, BEGUN, secret, max_age=int(TIME_TO_SIGN_IN.total_seconds()))


def drop_session(response: Response) -> None:
    """Let the browser forget its session."""
    _set(response, SESSION, "", max_age=0)


def _set(response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="lax")


def knock_of(request: Request) -> Knock:
    """The request, as the flows know it."""
    return Knock(
        at=request.state.at,
        request_id=request.state.request_id,
        address=request.client.host if request.client else "",
        client=request.headers.get("user-agent", "")[:_LONGEST_CLIENT],
    )


def entrance_of(request: Request) -> Entrance:
    """What browsers are let in with, as this worker wired it at its start."""
    entrance: Entrance = request.app.state.entrance
    return entrance


def house_of(request: Request) -> House:
    """The house in which the flows work, as this worker wired it at its start."""
    house: House = request.app.state.house
    return house


async def _housed(request: Request) -> House:
    """The same for routes: whatever is not ``async``, FastAPI sends to a thread, and the request waits for both."""
    return house_of(request)


async def visitor_of(request: Request) -> Visit | None:
    """Who is signed in, if anybody is."""
    secret = secret_in(request, SESSION)
    if secret is None:
        return None
    found = await visit(entrance_of(request), knock_of(request), secret)
    # The gate that let this request in (``api/limits.py``) learns whose it is.
    if found is None:
        request.state.visit.lapsed()
    else:
        request.state.visit.of(found.occasion.subject)
    return found


async def visit_of(request: Request) -> Visit:
    """Who is signed in; raises :class:`NotSignedIn`, by which a page sends somebody to sign in."""
    found = await visitor_of(request)
    if found is None:
        raise NotSignedIn("You are not signed in, or no longer. Nothing was changed. Sign in, then do it again.")
    visiting = replace(found, governs=await governs(house_of(request), found.occasion))
    # A refusal shows it too, and how to go on from there.
    request.state.visiting = visiting
    return visiting


async def posted_by(request: Request, visiting: Annotated[Visit, Depends(visit_of)]) -> Visit:
    """Who sent a form of ours; raises :class:`NotAllowed` for one that comes from anywhere else."""
    check_origin(request)
    fields = await form_of(request)
    if not is_form_token(fields.get("form", ""), str(secret_in(request, SESSION))):
        # From a page that was made for an earlier session of this browser, if it says that it is ours.
        request.state.signed_in_anew = _says_ours(request)
        raise _forged()
    return visiting


async def unsent(request: Request) -> Sequence[tuple[str, str]]:
    """What stands in a form that was not taken, so that it need not be typed again: its fields and their values.

    Only of a form that the browser says comes from a page of ours. What it was to be known by is left out: nobody
    sends it again but whoever presses a button on a page that is made for the session of now.
    """
    if request.method != "POST" or not _says_ours(request) or len(await request.body()) > _SMALL:
        return ()
    try:
        return [(name, value) for name, value in await _fields_of(request) if name != "form"]
    except Invalid:
        return ()


def form_for(request: Request) -> str:
    """What the forms of a page carry, so that they are known again."""
    return form_token(str(secret_in(request, SESSION)))


def check_origin(request: Request) -> None:
    """Refuse what another site made the browser send (Fetch, 3.1; Fetch Metadata Request Headers)."""
    site = request.headers.get("sec-fetch-site")
    if site not in {None, "same-origin"} or not ("origin" not in request.headers or _says_ours(request)):
        raise _forged()


def _says_ours(request: Request) -> bool:
    """Whether the browser says that a page of ours made it send this (RFC 6454, 7): another site cannot make it."""
    ours = urlsplit(request.app.state.public_url)
    return request.headers.getlist("origin") == [f"{ours.scheme}://{ours.netloc}"]


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form; raises :class:`Invalid` for a body that is none."""
    return dict(await _fields_of(request))


async def all_of(request: Request, name: str) -> tuple[str, ...]:
    """Everything that a form says for one name: the boxes of a group that are ticked."""
    return tuple(value for field, value in await _fields_of(request) if field == name)


async def _fields_of(request: Request) -> Sequence[tuple[str, str]]:
    """The fields of a form in their order; read once, and a long form while others go on."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Invalid("This address takes forms.")
    known: Sequence[tuple[str, str]] | None = getattr(request.state, "form_fields", None)
    if known is not None:
        return known
    body = await request.body()

    def read() -> list[tuple[str, str]]:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)

    try:
        found = read() if len(body) <= _SMALL else await aside(read)
    except ValueError:
        raise Invalid("The form cannot be read.") from None
    request.state.form_fields = found
    return found


def _forged() -> NotAllowed:
    return NotAllowed("This form did not come from a page of Muniment, so nothing was changed. Load the page again.")


#: What a page takes to know who looks at it, or who sent a form; and what it calls its flow with.
Visiting = Annotated[Visit, Depends(visit_of)]
Posting = Annotated[Visit, Depends(posted_by)]
Entering = Annotated[Entrance, Depends(entrance_of)]
Housed = Annotated[House, Depends(_housed)]
