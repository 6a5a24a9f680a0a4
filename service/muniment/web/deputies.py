"""``/requests/deputy``: who decides on requests in one's place, and in whose place one does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

from fastapi import Request, Response

from muniment.core.deputies import LONGEST
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem
from muniment.core.subjects import Subject
from muniment.flows.name_deputy import end_deputy, name_deputy, read_deputies
from muniment.flows.sign_in import Visit
from muniment.web.pages import go, page_router, show, status_of
from muniment.web.typed import Reading, errors_of
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words import WORDS

router = page_router()

_FIELDS: Final = ("deputy", "until", "because")
_LONGEST_TYPED: Final = 1_000


@router.get("/requests/deputy")
async def get_deputy(
    request: Request, house: Housed, visiting: Visiting, done: Literal["named", "ended"] | None = None
) -> Response:
    """Who decides in whose place, and the form to name somebody."""
    return await _page(request, house, visiting, dict.fromkeys(_FIELDS, ""), done=done)


@router.post("/requests/deputy")
async def post_deputy(request: Request, house: Housed, visiting: Posting) -> Response:
    """Let somebody decide in one's place."""
    fields = await form_of(request)
    typed = {name: fields.get(name, "")[:_LONGEST_TYPED] for name in _FIELDS}
    reading = Reading(typed)
    try:
        because, until = reading.line("because"), reading.moment("until")
        deputy = _subject(reading)
        if until is None and not reading.faults:
            reading.wrong("until", str(WORDS["deputies"]["until_missing"]))
        reading.check()
        if deputy is not None and until is not None:
            await name_deputy(house, visiting.occasion, deputy, until, because)
    except (Invalid, NotAllowed) as refused:
        return await _page(request, house, visiting, typed, refused=refused)
    return go("/requests/deputy", done="named")


@router.post("/requests/deputy/end")
async def post_end(house: Housed, visiting: Posting) -> Response:
    """Decide alone again; where nobody decides in one's place, that is so already."""
    try:
        await end_deputy(house, visiting.occasion)
    except NotFound:
        return go("/requests/deputy")
    return go("/requests/deputy", done="ended")


def _subject(reading: Reading) -> Subject | None:
    """Who was named; a bare name is that of a person."""
    text = reading.line("deputy")
    try:
        return Subject.parse(text if ":" in text else f"user:{text}")
    except Invalid as refused:
        reading.wrong("deputy", refused.detail)
        return None


async def _page(
    request: Request,
    house: Housed,
    visiting: Visit,
    typed: Mapping[str, str],
    *,
    done: str | None = None,
    refused: Problem | None = None,
) -> Response:
    occasion = visiting.occasion.beside(" shown") if refused is not None else visiting.occasion
    faults = refused.faults if isinstance(refused, Invalid) else ()
    errors = errors_of(faults, _FIELDS) or ({"": refused.detail} if refused is not None else {})
    return show(
        "requests/deputy.html",
        here="requests",
        visiting=visiting,
        form=form_for(request),
        status=200 if refused is None else status_of(refused),
        found=await read_deputies(house, occasion),
        typed=typed,
        first_day=f"{occasion.at + timedelta(days=1):%Y-%m-%d}",
        last_day=f"{occasion.at + LONGEST:%Y-%m-%d}",
        done=done,
        errors=errors,
    )
