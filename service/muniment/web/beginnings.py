"""``/first-administrator``: where the link of the first start leads."""

from __future__ import annotations

from fastapi import Request, Response

from muniment.core.problems import NotFound
from muniment.flows.begin_realm import beginning_stands, take_beginning
from muniment.flows.house import House
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Posting, Visiting, form_for, form_of

router = page_router()


@router.get("/first-administrator")
async def get_first_administrator(request: Request, visiting: Visiting, link: str = "") -> Response:
    """Ask who is signed in whether they will administer; the link is taken by the answer alone."""
    house: House = request.app.state.house
    if not await beginning_stands(house, visiting.occasion, link):
        return _gone(request, visiting)
    return show("first_administrator.html", visiting=visiting, form=form_for(request), link=link)


@router.post("/first-administrator")
async def post_first_administrator(request: Request, visiting: Posting) -> Response:
    """Who is signed in administers from now on."""
    house: House = request.app.state.house
    try:
        await take_beginning(house, visiting.occasion, (await form_of(request)).get("link", ""))
    except NotFound:
        return _gone(request, visiting)
    return go("/account", done="begun")


def _gone(request: Request, visiting: Visiting) -> Response:
    """One answer for a link that was taken, has ended, or never was."""
    return show("first_administrator.html", status=404, visiting=visiting, form=form_for(request), link=None)
