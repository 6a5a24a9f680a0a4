"""``/declare/environments``: the closed list of environments, and what their variables stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from fastapi import Request, Response

from muniment.core.environments import Environment
from muniment.core.names import checked_environment
from muniment.core.occasions import Occasion
from muniment.flows.browse_realm import list_environments
from muniment.flows.edit_environment import draft_environment
from muniment.flows.house import House
from muniment.web.pages import go, page_router
from muniment.web.plain_forms import (
    LONGEST_TEXT,
    Blank,
    Drafted,
    Listed,
    PlainForm,
    list_page,
    looked_at,
    saved,
    thing_page,
    variables_in,
    written,
)
from muniment.web.typed import Reading
from muniment.web.visiting import Housed, Posting, Visiting

router = page_router()


@router.get("/declare/environments")
async def get_environments(request: Request, house: Housed, visiting: Visiting, name: str = "") -> Response:
    """The environments; or on to the form of the one that is named."""
    place, wrong = _FORM.named(name)
    if place:
        return go(place)
    shelf = await list_environments(house, visiting.occasion)
    listed = [Listed(each.name, "", each.description) for _, each in sorted(shelf.things.items())]
    return list_page(request, visiting, _FORM, listed, name, wrong)


@router.get("/declare/environments/{name}")
async def get_environment(
    request: Request, house: Housed, visiting: Visiting, name: str, done: Literal["yes"] | None = None
) -> Response:
    """The form of an environment, as it stands or new."""
    return await thing_page(request, house, visiting, _FORM, name, done=done is not None)


@router.post("/declare/environments/{name}")
async def post_environment(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What a change would do; or the form again, as it was sent."""
    return await looked_at(request, house, visiting, _FORM, name)


@router.post("/declare/environments/{name}/save")
async def post_save(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What was seen, saved: if it still does what was seen."""
    return await saved(request, house, visiting, _FORM, name)


async def _drafted(house: House, occasion: Occasion, name: str) -> Drafted[Environment]:
    return Drafted(await draft_environment(house, occasion, name))


def _environment(name: str, reading: Reading) -> Environment:
    return Environment(name, reading.text("description", LONGEST_TEXT), variables_in(reading))


def _fields(environment: Environment) -> Mapping[str, str]:
    return {"description": environment.description, "variables": written(environment.variables)}


_FORM: Final = PlainForm(
    word="environment",
    blanks=(Blank("description", rows=2), Blank("variables", rows=5, code=True)),
    longest_name=40,
    checked=checked_environment,
    draft=_drafted,
    read=_environment,
    write=_fields,
)
