"""``/account``: My things. Who I am to Muniment, and where I am signed in."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from muniment.flows.sign_in import end_my_session, end_my_sessions, my_sessions
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Entering, Posting, Visiting, drop_session, form_for

router = page_router()


@router.get("/account")
async def get_account(request: Request, entrance: Entering, visiting: Visiting, ended: str | None = None) -> Response:
    """Who is signed in, as Muniment knows them, and every browser that is."""
    asker = visiting.occasion.asker
    return show(
        "account.html",
        here="account",
        visiting=visiting,
        form=form_for(request),
        asker=asker,
        attributes=[
            (name, ", ".join(sorted(value)) if isinstance(value, frozenset) else value)
            for name, value in sorted(asker.attributes.items())
        ],
        sessions=await my_sessions(entrance, visiting),
        ended=ended is not None,
    )


@router.post("/account/sessions/end-all")
async def post_end_all(entrance: Entering, visiting: Posting) -> Response:
    """Signed out of every browser, this one too."""
    await end_my_sessions(entrance, visiting)
    response = go("/signed-out", at=visiting.session.vouched.issuer)
    drop_session(response)
    return response


@router.post("/account/sessions/{id}/end")
async def post_end(entrance: Entering, visiting: Posting, id: UUID) -> Response:  # noqa: A002 - the address names it
    """One session less; of one's own, this is signing out."""
    await end_my_session(entrance, visiting, id)
    if id == visiting.session.id:
        response = go("/signed-out", at=visiting.session.vouched.issuer)
        drop_session(response)
        return response
    return go("/account", ended="one")
