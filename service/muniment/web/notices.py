"""``/notices``: what one was told, how one wants to be told, and where the links in mails lead.

Those links are followed by whoever reads the mail, signed in or not, and by programs that look at mails before anybody
reads them. So to look at one changes nothing: a button does, or a mail program's own (RFC 8058, 3.2), and both send a
POST that needs no cookie. There is nothing to forge: the token in the address is what lets one do it.
"""

from __future__ import annotations

from typing import Final, Literal

from fastapi import Request, Response

from muniment.core.notices import CHOSEN, Pace
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Invalid, StaleEdit, TooMany
from muniment.core.subjects import ITSELF
from muniment.flows.choose_notices import (
    ask_for_address,
    choose_notices,
    confirm_address,
    read_confirm,
    read_preferences,
    read_unsubscribe,
    remove_address,
    unsubscribe,
)
from muniment.flows.house import House
from muniment.flows.read_notices import read_notices
from muniment.flows.sign_in import Visit
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of, house_of, knock_of

router = page_router()

#: How many notices stand on the page.
_MOST: Final = 50

_LONGEST_NUMBER: Final = 9


@router.get("/notices")
async def get_notices(request: Request, visiting: Visiting) -> Response:
    """What whoever is signed in was told, in the words of now."""
    found, _, _ = await read_notices(house_of(request), visiting.occasion, _MOST, None)
    return show("notices.html", here="notices", visiting=visiting, form=form_for(request), notices=found)


@router.get("/notices/choose")
async def get_choose(
    request: Request, house: Housed, visiting: Visiting, done: Literal["chosen", "asked", "removed"] | None = None
) -> Response:
    """How whoever is signed in is told, and where their mails go."""
    return await _choosing(request, house, visiting, done=done)


@router.post("/notices/choose")
async def post_choose(request: Request, house: Housed, visiting: Posting) -> Response:
    """From now on they are told so."""
    typed = await form_of(request)
    version = typed.get("version", "")
    mail = {kind: Pace(typed[kind]) for kind in CHOSEN if typed.get(kind, "") in set(Pace)}
    quiet = typed.get("quiet") == "yes"
    try:
        seen = int(version) if version.isdecimal() and len(version) <= _LONGEST_NUMBER else -1
        await choose_notices(house, visiting.occasion, mail, {}, seen, quiet=quiet)
    except StaleEdit as refused:
        return await _choosing(request, house, visiting, errors={"": refused.detail})
    return go("/notices/choose", done="chosen")


@router.post("/notices/choose/address")
async def post_own_address(request: Request, house: Housed, visiting: Posting) -> Response:
    """A mail with a link goes to this address; once it was followed, all mails do."""
    mailbox = (await form_of(request)).get("address", "").strip()
    try:
        await ask_for_address(house, visiting.occasion, mailbox)
    except (Conflict, Invalid, TooMany) as refused:
        return await _choosing(request, house, visiting, errors={"address": refused.detail}, mailbox=mailbox)
    return go("/notices/choose", done="asked")


@router.post("/notices/choose/address/remove")
async def post_remove_address(house: Housed, visiting: Posting) -> Response:
    """The address that they gave is forgotten."""
    await remove_address(house, visiting.occasion)
    return go("/notices/choose", done="removed")


async def _choosing(
    request: Request,
    house: House,
    visiting: Visit,
    *,
    errors: dict[str, str] | None = None,
    mailbox: str = "",
    done: str | None = None,
) -> Response:
    preferences = await read_preferences(house, visiting.occasion.beside("preferences"))
    return show(
        "notices_choose.html",
        status=422 if errors else 200,
        here="notices",
        visiting=visiting,
        form=form_for(request),
        errors=errors or {},
        preferences=preferences,
        kinds=CHOSEN,
        paces=tuple(Pace),
        mailbox=mailbox,
        done=done,
    )


@router.get("/notices/unsubscribe")
async def get_unsubscribe(request: Request, token: str = "") -> Response:
    """Ask whether mails of these kinds shall end."""
    kinds = sorted(read_unsubscribe(house_of(request), token))
    return show("mail_link.html", what="unsubscribe", done=False, kinds=kinds, mailbox="")


@router.post("/notices/unsubscribe")
async def post_unsubscribe(request: Request, token: str = "") -> Response:
    """No more mails of these kinds."""
    kinds = sorted(await unsubscribe(house_of(request), _occasion(request), token))
    return show("mail_link.html", what="unsubscribe", done=True, kinds=kinds, mailbox="")


@router.get("/notices/address")
async def get_address(request: Request, token: str = "") -> Response:
    """Ask whether mails shall come to this address."""
    mailbox = read_confirm(house_of(request), token, request.state.at)
    return show("mail_link.html", what="address", done=False, kinds=[], mailbox=mailbox)


@router.post("/notices/address")
async def post_address(request: Request, token: str = "") -> Response:
    """Mails come to this address from now on."""
    mailbox = read_confirm(house_of(request), token, request.state.at)
    await confirm_address(house_of(request), _occasion(request), token)
    return show("mail_link.html", what="address", done=True, kinds=[], mailbox=mailbox)


def _occasion(request: Request) -> Occasion:
    """Nobody is signed in: what is done then, the service does itself."""
    knock = knock_of(request)
    return Occasion(ITSELF, knock.at, knock.request_id, knock.address, knock.client)
