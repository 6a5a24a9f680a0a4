"""``/``: where everybody begins. What waits for them, what of theirs ends, what they asked for; and the search."""

from __future__ import annotations

from typing import Final

from fastapi import Request, Response

from muniment.core.requests import State
from muniment.flows.request_access import Wish, list_requests
from muniment.flows.review_access import count_due
from muniment.flows.see_access import see_endings
from muniment.web.account import ask_again
from muniment.web.pages import page_router, show
from muniment.web.visiting import Housed, Visiting, form_for

router = page_router()

#: How many things of a kind stand on the page.
_MOST: Final = 5


@router.get("/")
async def get_home(request: Request, house: Housed, visiting: Visiting) -> Response:
    """What waits for whoever is signed in, and the way to everything else."""
    occasion = visiting.occasion
    due, further, _ = await list_requests(house, occasion, Wish(State.PENDING, mine=False), _MOST, None)
    asked, _, _ = await list_requests(house, occasion.beside("asked"), Wish(State.PENDING, mine=True), _MOST, None)
    ending = await see_endings(house, occasion.beside("endings"))
    return show(
        "home.html",
        here="home",
        visiting=visiting,
        form=form_for(request),
        to_decide=[told.request for told in due],
        further=further is not None,
        asked=[told.request for told in asked],
        reviews=await count_due(house, occasion.beside("reviews")),
        ending=[(use, ask_again(use)) for use in ending.uses[:_MOST]],
        more_ending=len(ending.uses) > _MOST,
        stranger=not ending.knows and not visiting.governs,
    )
