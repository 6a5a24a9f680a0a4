"""``/notices``: what one was told, and where the links in mails lead.

Those links are followed by whoever reads the mail, signed in or not, and by programs that look at mails before anybody
reads them. So to look at one changes nothing: a button does, or a mail program's own (RFC 8058, 3.2), and both send a
POST that needs no cookie. There is nothing to forge: the token in the address is what lets one do it.
"""

from __future__ import annotations

from fastapi import Request, Response

from muniment.core.occasions import Occasion
from muniment.core.subjects import ITSELF
from muniment.flows.choose_notices import confirm_address, read_confirm, read_unsubscribe, unsubscribe
from muniment.flows.house import House
from muniment.flows.read_notices import read_notices
from muniment.web.pages import page_router, show
from muniment.web.visiting import Visiting, form_for, knock_of

router = page_router()

#: How many notices stand on the page.
_MOST = 50


@router.get("/notices")
async def get_notices(request: Request, visiting: Visiting) -> Response:
    """What whoever is signed in was told, in the words of now."""
    found, _, _ = await read_notices(_house(request), visiting.occasion, _MOST, None)
    return show("notices.html", here="notices", visiting=visiting, form=form_for(request), notices=found)


@router.get("/notices/unsubscribe")
async def get_unsubscribe(request: Request, token: str = "") -> Response:
    """Ask whether mails of these kinds shall end."""
    kinds = sorted(read_unsubscribe(_house(request), token))
    return show("mail_link.html", what="unsubscribe", done=False, kinds=kinds, mailbox="")


@router.post("/notices/unsubscribe")
async def post_unsubscribe(request: Request, token: str = "") -> Response:
    """No more mails of these kinds."""
    kinds = sorted(await unsubscribe(_house(request), _occasion(request), token))
    return show("mail_link.html", what="unsubscribe", done=True, kinds=kinds, mailbox="")


@router.get("/notices/address")
async def get_address(request: Request, token: str = "") -> Response:
    """Ask whether mails shall come to this address."""
    mailbox = read_confirm(_house(request), token, request.state.at)
    return show("mail_link.html", what="address", done=False, kinds=[], mailbox=mailbox)


@router.post("/notices/address")
async def post_address(request: Request, token: str = "") -> Response:
    """Mails come to this address from now on."""
    mailbox = read_confirm(_house(request), token, request.state.at)
    await confirm_address(_house(request), _occasion(request), token)
    return show("mail_link.html", what="address", done=True, kinds=[], mailbox=mailbox)


def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


def _occasion(request: Request) -> Occasion:
    """Nobody is signed in: what is done then, the service does itself."""
    knock = knock_of(request)
    return Occasion(ITSELF, knock.at, knock.request_id, knock.address, knock.client)
