"""How each refusal travels: RFC 9457 ``application/problem+json``, with the one table of status codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from muniment.core import problems
from muniment.core.problems import Fault, Invalid, Problem

MEDIA_TYPE = "application/problem+json"


class WrongMethod(Problem):
    """The address takes requests of other methods."""

    title = "Wrong method"


class BadRequest(Invalid):
    """The input is wrong, where a standard of others says how that is answered."""

    title = "Bad request"


class Failed(Problem):
    """A fault of ours: the operator's log says what."""

    title = "Failed"


#: Each problem that can reach a caller, and its status (RFC 9110, 15; 428: RFC 6585).
STATUS: Mapping[type[Problem], int] = {
    BadRequest: 400,
    problems.NotSignedIn: 401,
    problems.TokenRefused: 401,
    problems.SignInRefused: 401,
    problems.NotAllowed: 403,
    problems.NotFound: 404,
    WrongMethod: 405,
    problems.TooSlow: 408,
    problems.Conflict: 409,
    problems.CaseFails: 409,
    problems.StaleEdit: 412,
    problems.TooLarge: 413,
    problems.Invalid: 422,
    problems.InvalidDefinition: 422,
    problems.InvalidPolicy: 422,
    problems.UnknownEnvironment: 422,
    problems.VersionNeeded: 428,
    problems.TooMany: 429,
    Failed: 500,
    problems.Unavailable: 503,
    problems.LedgerUnavailable: 503,
    problems.DatabaseUnavailable: 503,
    problems.Busy: 503,
    problems.Unconfirmed: 500,
}

#: Below this address OpenID AuthZEN 1.0 is spoken, which answers 400 where Muniment's own doors say 422.
STANDARD = "/access/v1/"

#: Below this address SCIM 2.0 is spoken, refusals included (RFC 7644, 3.12).
SCIM = "/scim/"
SCIM_MEDIA = "application/scim+json"

#: Seconds after which it is worth trying again when something behind the service is away.
_TRY_AGAIN = 5


def name_of(problem: type[Problem]) -> str:
    """The problem's name in its ``type``: ``StaleEdit`` is ``stale-edit``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", problem.__name__).lower()


def document(problem: Problem) -> dict[str, Any]:
    """The problem as RFC 9457 writes it; ``errors`` names each place of an input that is wrong."""
    written: dict[str, Any] = {
        "type": f"/problems/{name_of(type(problem))}",
        "title": problem.title,
        "status": STATUS[type(problem)],
        "detail": problem.detail,
    }
    if isinstance(problem, Invalid) and problem.faults:
        written["errors"] = [_written(fault) for fault in problem.faults]
    return {**written, **problem.members}


def _written(fault: Fault) -> dict[str, Any]:
    place = {} if fault.line is None else {"line": fault.line, "column": fault.column}
    return {"at": fault.at, "message": fault.message, **place}


def status_of(problem: Problem, address: str) -> int:
    """The status of a problem at an address."""
    return STATUS[type(_as_spoken(problem, address))]


def answer(problem: Problem, address: str = "") -> Response:
    """The problem as a response, as it is said at an address."""
    problem = _as_spoken(problem, address)
    status = STATUS[type(problem)]
    headers = {"Cache-Control": "no-store"}
    match status:
        case 401:
            headers["WWW-Authenticate"] = "Bearer" + (
                ' error="invalid_token"' if isinstance(problem, problems.TokenRefused) else ""
            )
        case 408:
            headers["Connection"] = "close"
        case 503:
            headers["Retry-After"] = str(_TRY_AGAIN)
        case _:
            pass
    if isinstance(problem, problems.TooMany):
        headers["Retry-After"] = str(problem.seconds)
    if address.startswith(SCIM):
        return Response(orjson.dumps(_scim_error(problem, status)), status, headers, SCIM_MEDIA)
    return Response(orjson.dumps(document(problem)), status, headers, MEDIA_TYPE)


def _scim_error(problem: Problem, status: int) -> dict[str, Any]:
    """The problem as SCIM writes it (RFC 7644, 3.12)."""
    faults = problem.faults if isinstance(problem, Invalid) else ()
    named = [f"{fault.at}: {fault.message}" for fault in faults if fault.message not in problem.detail]
    kind = problem.members.get("scimType", "invalidValue" if faults else None)
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        **({} if kind is None else {"scimType": kind}),
        "detail": " ".join([problem.detail, *named]),
    }


def _as_spoken(problem: Problem, address: str) -> Problem:
    if address.startswith((STANDARD, SCIM)) and isinstance(problem, Invalid):
        return BadRequest(problem.detail, problem.faults, **problem.members)
    return problem
