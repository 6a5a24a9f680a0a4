"""Versions at the doors: entity tags, and the conditions under which an edit may begin (RFC 9110, 13)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header, Response

from muniment.core.problems import Fault, Invalid, VersionNeeded

_TAG = re.compile(r'"([1-9][0-9]{0,8})"\Z')

#: What no answer may be kept for, and what it depends on besides its address.
HEADERS = {
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Accept, Accept-Encoding",
}


async def after_version(
    if_match: Annotated[str | None, Header(description='The version that the edit begins from, as `"7"`.')] = None,
    if_none_match: Annotated[str | None, Header(description="`*` to make a new one.")] = None,
) -> int:
    """The version that an edit begins from: that of ``If-Match``, or 0 with ``If-None-Match: *``."""
    return _after(if_match, if_none_match)


def _after(if_match: str | None, if_none_match: str | None = None) -> int:
    if if_match is None and if_none_match is None:
        raise VersionNeeded(
            'Say which version you change: If-Match: "<version>" as its ETag says, or If-None-Match: * for a new one.'
        )
    if if_match is not None and if_none_match is not None:
        message = "If-Match and If-None-Match exclude each other."
        raise Invalid(message, [Fault("If-Match", message)])
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            message = "To make a new one, send If-None-Match: *."
            raise Invalid(message, [Fault("If-None-Match", message)])
        return 0
    found = _TAG.match((if_match or "").strip())
    if found is None:
        message = 'If-Match holds one version, as the ETag says it: "7".'
        raise Invalid(message, [Fault("If-Match", message)])
    return int(found[1])


AfterVersion = Annotated[int, Depends(after_version)]


async def if_match(
    if_match: Annotated[
        str | None, Header(description='The version that is decided on, as `"7"`; may be left out.')
    ] = None,
) -> int | None:
    """The version in ``If-Match``, where one may be given."""
    return _after(if_match) if if_match is not None else None


IfMatch = Annotated[int | None, Depends(if_match)]


def stamp(response: Response, *, revision: int, version: int | None = None) -> None:
    """Put the version and the revision of an answer on it."""
    response.headers.update(HEADERS)
    if version is not None:
        response.headers["ETag"] = f'"{version}"'
    response.headers["Muniment-Revision"] = str(revision)
