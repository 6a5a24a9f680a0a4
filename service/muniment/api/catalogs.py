"""``/v1/catalog`` and ``/v1/leases``: the catalog that is the asker's, for people and for the client.

What the client runs on is signed; the keys that tell a signature from a forgery are at ``/v1/leases/keys``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Header, Query, Request, Response

from muniment.api.asking import Asking, Housed
from muniment.api.past import About, At, read_point
from muniment.api.short_way import Repeats
from muniment.api.versions import HEADERS
from muniment.core.catalog import Page
from muniment.core.codings import IDENTITY, preferred
from muniment.core.decisions import Wanted
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.subjects import Subject
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.fetch_catalog import Asked, Fetched, Media, fetch_catalog
from muniment.flows.house import House

router = APIRouter(tags=["catalog"])

#: The most entries of a page.
LONGEST_PAGE = 1_000

Environment = Annotated[str, Query(max_length=100, description="The environment that is asked for.")]
Project = Annotated[str | None, Query(max_length=200, description="The project that will use it.")]
Purpose = Annotated[str | None, Query(max_length=200, description="What it will be used for.")]
Names = Annotated[
    str | None,
    Query(max_length=100_000, description="Only these names, comma-separated; those of factory patterns are resolved."),
]
Limit = Annotated[
    int | None, Query(ge=1, le=LONGEST_PAGE, description="A page of so many entries, in the order of their names.")
]
After = Annotated[
    str | None, Query(max_length=LONGEST_ASKED, description="The name after which the page begins, as `Link` says.")
]
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller holds it already."}}

#: The header in which the signed statement of a lease travels.
LEASE = "Muniment-Lease"

#: Where the keys are that tell whether a lease was signed here.
KEYS = "/v1/leases/keys"

#: How a set of keys is called (RFC 7517, 8.5.2), and for how many seconds it may be kept: each is shown a month ahead.
_KEY_SET = "application/jwk-set+json"
_KEY_SET_SECONDS = 300
_SIGNED: dict[str, Any] = {
    "headers": {LEASE: {"description": "The signed statement (a compact JWS).", "schema": {"type": "string"}}}
}


@router.get(
    "/v1/catalog",
    responses={
        200: {
            "description": "A mapping from dataset name to definition, as in catalog.yml.",
            "headers": {"Link": {"description": "The next page (RFC 8288).", "schema": {"type": "string"}}},
            "content": {
                "application/yaml": {"schema": {"type": "object", "additionalProperties": {"type": "object"}}},
                "application/json": {"schema": {"type": "object", "additionalProperties": {"type": "object"}}},
            },
        },
        **_NOT_MODIFIED,
    },
    response_class=Response,
)
async def get_catalog(
    request: Request,
    house: Housed,
    asking: Asking,
    environment: Environment,
    project: Project = None,
    purpose: Purpose = None,
    names: Names = None,
    at: At = None,
    subject: About = None,
    limit: Limit = None,
    after: After = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Exactly what the asker may load or save in an environment, and nothing else.

    With `at=` as it was then; with `subject=` what another may use, where the asker audits. With `limit=` a page of
    it: the header `Link` leads to the next one.
    """
    media = Media.JSON if _prefers_json(request.headers.get("accept", "")) else Media.YAML
    asked = Asked(
        Wanted(environment, project, purpose),
        media,
        known=_tags(if_none_match),
        names=_names(names),
        about=None if subject is None else Subject.parse(subject),
        point=read_point(at),
        page=None if limit is None and after is None else Page(limit or LONGEST_PAGE, after or ""),
    )
    return await _given(house, asking, request, asked)


@router.get(
    "/v1/leases",
    responses={
        200: {
            **_SIGNED,
            "description": "The catalog, what may be done to each dataset, and what ends before the lease does.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["catalog", "actions", "patterns", "obligations", "ends", "notices"],
                        "properties": {
                            "catalog": {"type": "object", "additionalProperties": {"type": "object"}},
                            "actions": {
                                "type": "object",
                                "additionalProperties": {
                                    "type": "array",
                                    "items": {"type": "string", "enum": ["load", "save"]},
                                },
                            },
                            "patterns": {
                                "type": "object",
                                "additionalProperties": {
                                    "type": "array",
                                    "items": {"type": "string", "enum": ["load", "save"]},
                                },
                            },
                            "obligations": {"type": "object"},
                            "ends": {
                                "type": "object",
                                "additionalProperties": {"type": "string", "format": "date-time"},
                            },
                            "notices": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    }
                }
            },
        },
        304: {**_SIGNED, **_NOT_MODIFIED[304]},
    },
    response_class=Response,
)
async def get_lease(
    request: Request,
    house: Housed,
    asking: Asking,
    environment: Environment,
    project: Project = None,
    purpose: Purpose = None,
    names: Names = None,
    at: Annotated[str | None, Query(include_in_schema=False)] = None,
    subject: Annotated[str | None, Query(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """What the client runs on: the same catalog, with actions and ends, and signed."""
    _refuse_elsewhere(at=at, subject=subject)
    wanted = Wanted(environment, project, purpose)
    asked = Asked(wanted, Media.LEASE, known=_tags(if_none_match), names=_names(names))
    return await _given(house, asking, request, asked)


@router.get(
    KEYS,
    responses={
        200: {
            "description": "A JSON Web Key Set (RFC 7517).",
            "content": {
                _KEY_SET: {
                    "schema": {
                        "type": "object",
                        "required": ["keys"],
                        "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
                    }
                }
            },
        }
    },
    response_class=Response,
)
async def get_lease_keys(request: Request, house: Housed) -> Response:
    """The keys under which leases are signed: the last, the present and the next. Anybody may read them."""
    at: datetime = request.state.at
    headers = {"Cache-Control": f"public, max-age={_KEY_SET_SECONDS}"}
    return Response(orjson.dumps(house.signer.key_set(at)), headers=headers, media_type=_KEY_SET)


async def _given(house: House, occasion: Occasion, request: Request, asked: Asked) -> Response:
    coding = preferred(request.headers.get("accept-encoding", ""))
    chosen = replace(asked, coding=coding)
    fetched = await fetch_catalog(house, occasion, chosen)
    response = _response(occasion, chosen, fetched)
    if fetched.following is not None:
        following = {**request.query_params, "after": fetched.following}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(following)}>; rel="next"'
    repeats: Repeats = request.app.state.repeats
    repeats.remember(request, fetched, response)
    return response


def _response(occasion: Occasion, asked: Asked, fetched: Fetched) -> Response:
    headers = {
        **HEADERS,
        "ETag": fetched.tag,
        "Muniment-Revision": str(fetched.revision),
        "Muniment-Receipt": str(fetched.receipt),
        "Muniment-Subject": str(occasion.subject).encode("unicode_escape").decode("ascii"),
    }
    if fetched.lease is not None:
        headers[LEASE] = fetched.lease
    if fetched.body is None:
        return Response(status_code=304, headers=headers)
    if asked.coding != IDENTITY:
        headers["Content-Encoding"] = asked.coding
    media = Media.YAML.value if asked.media is Media.YAML else Media.JSON.value
    return Response(fetched.body, headers=headers, media_type=media)


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = {name.strip() for name in text.split(",") if name.strip()}
    if any(len(name) > LONGEST_ASKED for name in names):
        message = f"A name has at most {LONGEST_ASKED} characters."
        raise Invalid(message, [Fault("names", message)])
    return tuple(sorted(names))


def _refuse_elsewhere(**given: str | None) -> None:
    """A lease is the means to run: nobody has one for another time, or for somebody else."""
    faults = [
        Fault(name, "There is no such parameter; take it away.") for name, value in given.items() if value is not None
    ]
    if faults:
        message = "A lease is your own, and for now. To see what was, or what others may use, ask /v1/catalog."
        raise Invalid(message, faults)


def _tags(if_none_match: str | None) -> frozenset[str]:
    """The tags a caller holds; a weak one compares as its strong one does (RFC 9110, 13.1.2)."""
    given = (if_none_match or "").split(",")
    return frozenset(tag.strip().removeprefix("W/") for tag in given if tag.strip())


def _prefers_json(accept: str) -> bool:
    """Whether ``Accept`` asks for JSON more than for YAML, which is the default (RFC 9110, 12.5.1)."""
    wished = _wish(accept, Media.JSON.value)
    return wished > max(_wish(accept, Media.YAML.value), (0.0, 0, 0))


def _wish(accept: str, media: str) -> tuple[float, int, int]:
    """How much a medium is asked for: its weight, how exactly it is named, and how early."""
    patterns = (media, "application/*", "*/*")
    found: list[tuple[int, int, float]] = []
    for place, part in enumerate(accept.split(",")):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        if name in patterns:
            found.append((-patterns.index(name), -place, _weight(parameters)))
    exactly, early, weight = max(found, default=(-len(patterns), 0, 0.0))
    return weight, exactly, early


def _weight(parameters: list[str]) -> float:
    given = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
    return float(given) if _WEIGHT.fullmatch(given) else 0.0
