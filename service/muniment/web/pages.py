"""How a page leaves: made of a template, with the headers that hold on every one.

Nothing on a page comes from elsewhere, nothing on it runs but the scripts that are served here, nobody
may frame it, and no cache keeps it (OWASP Secure Headers). What a browser tells other sites of where somebody came from
is nothing; what it tells this one is needed to see that a form is ours.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from muniment.core import problems
from muniment.core.codings import IDENTITY, OFFERED, encode, preferred
from muniment.core.problems import Invalid, NotFound, NotSignedIn, Problem, SignInRefused, TokenRefused
from muniment.flows.sign_in import Visit
from muniment.web.places import places
from muniment.web.visiting import form_for, unsent, visit_of
from muniment.web.words import WORDS

logger = logging.getLogger("muniment")

_HERE = Path(__file__).parent
_MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _asset(name: str) -> tuple[str, bytes]:
    """A file of the pages, at an address that changes with it, so that browsers may keep it."""
    file = _HERE / "assets" / name
    raw = file.read_bytes()
    return f"{file.stem}-{hashlib.sha256(raw).hexdigest()[:16]}{file.suffix}", raw


_STYLESHEET, _STYLE = _asset("muniment.css")
_ICON, _IMAGE = _asset("icon.svg")
#: htmx is packed at release and brought by ./dev (service/hatch_build.py); where it is not, pages do without it.
_SCRIPTS: Final = dict(_asset(name) for name in ("htmx.min.js", "muniment.js") if (_HERE / "assets" / name).exists())
_ASSETS: Final[Mapping[str, bytes]] = {_STYLESHEET: _STYLE, _ICON: _IMAGE, **_SCRIPTS}
#: The same as they travel, compressed once. Pages are not: one that shows what was typed beside what its forms carry
#: would tell of the latter by its length (BREACH).
_TRAVELLING: Final[Mapping[tuple[str, str], bytes]] = {
    (name, coding): encode(raw, coding) for name, raw in _ASSETS.items() for coding in (*OFFERED, IDENTITY)
}

#: How htmx behaves: it runs no code out of pages, sets no style, keeps no page where others might read it, and asks
#: nobody else. A form that was refused (422) comes back with what is to be mended.
_HTMX: Final = json.dumps(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,
        "refreshOnHistoryMiss": True,
        "scrollIntoViewOnBoost": False,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "422", "swap": True},
            {"code": "...", "swap": False, "error": True},
        ],
    }
)

#: Where the addresses of pages begin.
_PLACES: Final = frozenset(
    {
        "account",
        "audit",
        "back-channel-logout",
        "datasets",
        "declare",
        "first-administrator",
        "notices",
        "policies",
        "projects",
        "requests",
        "reviews",
        "sign-in",
        "sign-out",
        "signed-out",
    }
)

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ONLY_HTTPS: Final = {"Strict-Transport-Security": "max-age=31536000"}

#: The status of each problem on a page. Nobody is asked for a token here, so there is no 401 (RFC 9110, 15.5.2).
_STATUS: Final[Mapping[type[Problem], int]] = {
    problems.NotSignedIn: 403,
    problems.NotAllowed: 403,
    problems.NotFound: 404,
    problems.TooSlow: 408,
    problems.Conflict: 409,
    problems.CaseFails: 409,
    problems.StaleEdit: 412,
    problems.TooLarge: 413,
    problems.Invalid: 422,
    problems.TooMany: 429,
    problems.Unavailable: 503,
}


class Page(APIRoute):
    """A route whose every answer is a page: what is refused, too, and a fault of ours."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                response = await handle(request)
            except Problem as problem:
                return await _held_up(request, problem)
            except RequestValidationError:
                return refusal(request, Invalid("The address does not say what it should."))
            except Exception:
                logger.exception("A page failed.")
                response = _failed(request)
            return _dressed(request, response)

        return answered


def page_router() -> APIRouter:
    """A router of pages, which the description of the JSON doors leaves out."""
    return APIRouter(route_class=Page, include_in_schema=False, default_response_class=HTMLResponse)


router = page_router()


@router.get("/assets/{name}")
async def get_asset(request: Request, name: str) -> Response:
    """The stylesheet, the icon, and the scripts."""
    if name not in _ASSETS:
        raise problems.NotFound
    coding = preferred(request.headers.get("accept-encoding", ""))
    keep = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    coded = {} if coding == IDENTITY else {"Content-Encoding": coding}
    return Response(_TRAVELLING[name, coding], media_type=_MEDIA[Path(name).suffix], headers={**keep, **coded})


def is_page(path: str) -> bool:
    """Whether browsers look at this address, so that a refusal there is a page too."""
    return path == "/" or path.lstrip("/").partition("/")[0] in _PLACES


async def unrouted(request: Request) -> Response:
    """Where no page is: on to the page whose address was written with a slash behind it, or as with what is hidden."""
    path = f"/{request.url.path.strip('/')}"
    if request.method == "GET" and request.url.path.endswith("/"):
        query = request.url.query
        return _dressed(request, RedirectResponse(f"{path}?{query}" if query else path, 307))
    with suppress(Problem):
        await visit_of(request)
    return refusal(request, NotFound())


def refusal(request: Request, problem: Problem) -> Response:
    """A refusal as a page, with the headers of every page."""
    return _dressed(request, _refused(request, problem))


def show(template: str, *, status: int = 200, visiting: Visit | None = None, **values: object) -> HTMLResponse:
    """A page made of a template, for whoever is signed in.

    Every page knows ``here`` (the place of the head that it belongs to), ``form`` (what its forms carry) and ``errors``
    (what is to be mended in a form that was refused, by the names of its fields).
    """
    known: dict[str, object] = {
        "stylesheet": f"/assets/{_STYLESHEET}",
        "scripts": [f"/assets/{name}" for name in _SCRIPTS],
        "htmx": _HTMX,
        "icon": f"/assets/{_ICON}",
        "visiting": visiting,
        "places": places(visiting.governs) if visiting is not None else (),
        "here": "",
        "form": "",
        "errors": {},
    }
    text = _TEMPLATES.get_template(template).render({**known, **values})
    return HTMLResponse(text, status)


def go(path: str, **query: str) -> RedirectResponse:
    """On to another page, which is asked for with GET whatever came here (RFC 9110, 15.4.4)."""
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)


def status_of(problem: Problem) -> int:
    """The status of a refusal on a page: of a form, too, that comes back to be mended."""
    return next(status for kind, status in _STATUS.items() if isinstance(problem, kind))


def browser_name(client: str) -> str:
    """What somebody would call the browser that a ``User-Agent`` describes."""
    program = next((name for name, mark in _PROGRAMS if mark in client), "")
    system = next((name for name, mark in _SYSTEMS if mark in client), "")
    return " on ".join(filter(None, (program, system))) or client[:40] or "Unknown browser"


#: The more particular before those whose mark it carries too.
_PROGRAMS: Final = (
    ("Edge", "Edg/"),
    ("Opera", "OPR/"),
    ("Firefox", "Firefox/"),
    ("Chrome", "Chrome/"),
    ("Safari", "Safari/"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("macOS", "Mac OS X"),
    ("Linux", "Linux"),
)

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["browser"] = browser_name
# Before the parts are read: they say some of the words, and are there in every template.
_TEMPLATES.globals["words"] = WORDS
_TEMPLATES.globals["parts"] = _TEMPLATES.get_template("parts.html").module


async def _held_up(request: Request, problem: Problem) -> Response:
    """A refusal; what somebody typed and could not send, since their session has ended, stands on it to be sent."""
    begun_before = type(problem) is NotSignedIn or getattr(request.state, "signed_in_anew", False)
    if not begun_before or request.headers.get("hx-request") == "true":
        return refusal(request, problem)
    fields = await unsent(request)
    if not fields:
        return refusal(request, problem)
    visiting: Visit | None = getattr(request.state, "visiting", None)
    page = show(
        "unsent.html",
        status=status_of(problem),
        visiting=visiting,
        form=form_for(request) if visiting is not None else "",
        path=_address(request),
        fields=fields,
    )
    return _dressed(request, page)


def _refused(request: Request, problem: Problem) -> Response:
    """What a refusal says, and how to go on: whoever is not signed in is sent to where they can be."""
    if isinstance(problem, NotSignedIn):
        _count(request, problem)
        if request.headers.get("hx-request") == "true":
            # A part of a page was asked for: all of it is loaded again, which leads to where one signs in. Not where
            # somebody is filling in a form: they are told once they send it, and lose nothing that they typed.
            return Response(status_code=403, headers={"HX-Refresh": "true"} if request.method == "GET" else {})
        if type(problem) is NotSignedIn and request.method == "GET":
            return go("/sign-in", to=_address(request))
    status = status_of(problem)
    response = _telling(request, status, problem.title, problem.detail, signs_in=isinstance(problem, NotSignedIn))
    if status in {429, 503}:
        response.headers["Retry-After"] = str(getattr(problem, "seconds", 5))
    return response


def _failed(request: Request) -> Response:
    detail = "Something in Muniment failed; the operator's log says what. Nothing was changed."
    return _telling(request, 500, "Failed", detail, signs_in=False)


def _telling(request: Request, status: int, title: str, detail: str, *, signs_in: bool) -> Response:
    known = {"title": title, "detail": detail, "request_id": request.state.request_id}
    sign_in = f"{request.app.state.public_url}/sign-in" if signs_in else None
    visiting: Visit | None = getattr(request.state, "visiting", None)
    form = form_for(request) if visiting is not None else ""
    lost = status == HTTPStatus.NOT_FOUND and visiting is not None
    return show("refused.html", status=status, visiting=visiting, form=form, sign_in=sign_in, lost=lost, **known)


def _count(request: Request, refused: NotSignedIn) -> None:
    """Count who was refused with something in hand; coming with nothing is how everybody begins."""
    if isinstance(refused, SignInRefused | TokenRefused):
        reason = refused.reason if isinstance(refused, SignInRefused) else type(refused).__name__
        address = request.client.host if request.client else ""
        request.app.state.entrance.refusals.note(address, reason, request.state.at)


def _address(request: Request) -> str:
    """Where somebody wanted to go."""
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{request.url.path}?{query}" if query else request.url.path


def _dressed(request: Request, response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app.state.public_url.startswith("https://"):
        response.headers.update(_ONLY_HTTPS)
    return response
