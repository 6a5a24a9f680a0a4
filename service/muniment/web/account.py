"""``/account``: My things. Who I am to Muniment, where I am signed in, and what I gave jobs to sign in with."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import Request, Response

from muniment.flows.sign_in import end_my_session, end_my_sessions, my_keys, my_sessions
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Entering, Posting, Visiting, drop_session, form_for

router = page_router()


@router.get("/account")
async def get_account(
    request: Request, entrance: Entering, visiting: Visiting, done: Literal["ended", "begun"] | None = None
) -> Response:
    """Who is signed in, as Muniment knows them; every browser that is; every key that they made."""
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
        # This browser's own first: it is the one that is known by its mark.
        sessions=sorted(await my_sessions(entrance, visiting), key=lambda session: session.id != visiting.session.id),
        keys=await my_keys(entrance, visiting),
        address=request.app.state.public_url,
        done=done,
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
    return go("/account", done="ended")
