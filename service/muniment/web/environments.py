"""``/declare/environments``: the closed list of environments, and what their variables stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote

from fastapi import Request, Response

from muniment.core.catalog import dumped
from muniment.core.environments import Environment
from muniment.core.names import checked_environment
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.flows.browse_realm import list_environments
from muniment.flows.change_together import Put, Together
from muniment.flows.edit_environment import draft_environment
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import errors_beside, plain
from muniment.web.pages import go, page_router, show
from muniment.web.typed import Reading
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words import WORDS

router = page_router()

_FIELDS: Final = ("version", "description", "variables")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_LONGEST_VALUE: Final = 500
_LONGEST_TEXT: Final = 10_000
_HERE: Final = "/declare/environments"


@router.get("/declare/environments")
async def get_environments(request: Request, house: Housed, visiting: Visiting, name: str = "") -> Response:
    """The environments; or on to the form of the one that is named."""
    errors: dict[str, str] = {}
    try:
        if name.strip():
            return go(f"{_HERE}/{quote(checked_environment(name.strip()))}")
    except Invalid as refused:
        errors = {"name": refused.detail}
    shelf = await list_environments(house, visiting.occasion)
    return show(
        "declare/environments.html",
        status=422 if errors else 200,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        environments=[each for _, each in sorted(shelf.things.items())],
        said=name,
        errors=errors,
    )


@router.get("/declare/environments/{name}")
async def get_environment(
    request: Request, house: Housed, visiting: Visiting, name: str, done: Literal["yes"] | None = None
) -> Response:
    """The form of an environment, as it stands or new."""
    standing = await draft_environment(house, visiting.occasion, name)
    return _form(request, visiting, name, _fields(standing or Environment(name)), done=done is not None)


@router.post("/declare/environments/{name}")
async def post_environment(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What a change would do; or the form again, as it was sent."""
    fields = await form_of(request)
    if fields.get("do") == "back":
        await draft_environment(house, visiting.occasion, name)
        return _form(request, visiting, name, fields)
    try:
        tried = await look(house, visiting.occasion, _together(name, fields))
    except Problem as refused:
        return _refused(request, visiting, name, fields, refused)
    return await _review(request, house, visiting, name, fields, tried)


@router.post("/declare/environments/{name}/save")
async def post_save(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What was seen, saved: if it still does what was seen."""
    fields = await form_of(request)
    try:
        tried = await save(house, visiting.occasion, _together(name, fields), fields.get("seal", ""))
    except Problem as refused:
        return _refused(request, visiting, name, fields, refused)
    if tried is not None:
        return await _review(request, house, visiting, name, fields, tried, moved=True)
    return go(f"{_HERE}/{quote(name)}", done="yes")


def variables_in(reading: Reading) -> Mapping[str, str]:
    """What variables stand for, as the form says it in YAML; every value a text on one line."""
    found = reading.plain_data("variables")
    words = WORDS["environment"]
    for name, value in found.items():
        if not _VARIABLE.fullmatch(name):
            reading.wrong("variables", str(words["wrong_name"]).format(name=name[:40]))
        elif not isinstance(value, str) or "\n" in value or len(value) > _LONGEST_VALUE:
            reading.wrong("variables", str(words["wrong_value"]).format(name=name))
    return {name: str(value) for name, value in found.items()}


def written(variables: Mapping[str, str]) -> str:
    """Variables as the form holds them."""
    return dumped(variables) if variables else ""


def _environment(name: str, fields: Mapping[str, str]) -> Environment:
    reading = Reading(fields)
    proposed = Environment(checked_environment(name), reading.text("description", _LONGEST_TEXT), variables_in(reading))
    reading.check()
    return proposed


def _together(name: str, fields: Mapping[str, str]) -> Together:
    version = Reading(fields).number("version") or 0
    reason = reason_in(fields)
    return Together((Put(_environment(name, fields), version),), reason)


def _fields(environment: Environment) -> dict[str, str]:
    return {
        "version": str(environment.version),
        "description": environment.description,
        "variables": written(environment.variables),
    }


async def _review(
    request: Request,
    house: House,
    visiting: Visit,
    name: str,
    fields: Mapping[str, str],
    tried: Tried,
    *,
    moved: bool = False,
) -> Response:
    standing = await draft_environment(house, visiting.occasion.beside("review"), name)
    before = _text(standing) if standing is not None else ""
    after = _text(_environment(name, fields))
    return show(
        "declare/review.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=name,
        place=f"{_HERE}/{quote(name)}",
        new=standing is None,
        fields={each: fields.get(each, "") for each in _FIELDS},
        diff=diffs.lines(before, after),
        after=after,
        same=standing is not None and before == after,
        foreseen=foreseen(tried),
        moved=moved,
    )


def _text(environment: Environment) -> str:
    held = {"description": environment.description, "variables": dict(environment.variables)}
    return dumped({environment.name: held})


def _refused(request: Request, visiting: Visit, name: str, fields: Mapping[str, str], refused: Problem) -> Response:
    if isinstance(refused, NotFound | Unavailable):
        raise refused
    errors = errors_beside(refused, _FIELDS) if isinstance(refused, Invalid) else {"": plain(refused.detail)}
    status = 403 if isinstance(refused, NotAllowed) else 412 if isinstance(refused, StaleEdit) else 422
    return _form(request, visiting, name, fields, errors=errors, status=status)


def _form(
    request: Request,
    visiting: Visit,
    name: str,
    fields: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
    done: bool = False,
) -> Response:
    return show(
        "declare/environment.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        name=name,
        place=f"{_HERE}/{quote(name)}",
        fields={each: fields.get(each, "") for each in _FIELDS},
        errors=dict(errors or {}),
        done=done,
    )
