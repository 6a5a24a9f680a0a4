"""``/account``: My things. Who I am to Muniment, where I am signed in, and what I gave jobs to sign in with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Request, Response

from muniment.core.ledger import Event, Question
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.review_ledger import review_ledger
from muniment.flows.see_access import NEAR, Use, see_access
from muniment.flows.sign_in import end_my_session, end_my_sessions, my_keys, my_sessions
from muniment.web.pages import go, page_router, show
from muniment.web.sign_in import signed_out
from muniment.web.visiting import Entering, Housed, Posting, Visiting, form_for

router = page_router()

#: How many datasets, or rows of the ledger, stand on a page.
_MOST: Final = 50

#: What is told as use: what somebody was given of data or refused, and what their runs say.
_USE: Final = (
    Event.CATALOG_SERVED,
    Event.LEASE_SERVED,
    Event.PREFLIGHT_ALLOWED,
    Event.ACCESS_DENIED,
    Event.USE_REPORTED,
    Event.REFUSAL_REPORTED,
)


@dataclass(frozen=True)
class Mine:
    """A use as the page shows it: how near its end is, and where one asks for it again."""

    use: Use
    near: bool
    again: str

    @classmethod
    def of(cls, use: Use, at: datetime) -> Mine:
        """A use, looked at now."""
        return cls(use, use.ends is not None and use.ends - at <= NEAR, ask_again(use))


def _at(path: str, **query: str | None) -> str | None:
    """The address of another page of a list; none where there is none."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else None


def ask_again(use: Use) -> str:
    """Where somebody asks for what they may do once more, before it ends."""
    actions = [("action", action.value) for action in sorted(use.actions)]
    return f"/requests/new?{urlencode([('dataset', use.dataset), *actions, ('environment', use.environment)])}"


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


@router.get("/account/access")
async def get_access(
    request: Request,
    house: Housed,
    visiting: Visiting,
    after: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
) -> Response:
    """Which data whoever is signed in may use, and until when."""
    mine = await see_access(house, visiting.occasion, _MOST, after)
    return show(
        "account/access.html",
        here="account",
        visiting=visiting,
        form=form_for(request),
        uses=[Mine.of(use, visiting.occasion.at) for use in mine.uses],
        total=mine.total,
        later=_at("/account/access", after=mine.following),
        earlier="/account/access" if after else None,
    )


@router.get("/account/use")
async def get_use(
    request: Request,
    house: Housed,
    visiting: Visiting,
    after: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """What the ledger holds about whoever is signed in, and their data."""
    question = Question(subject=str(visiting.occasion.subject), events=_USE)
    page = (await review_ledger(house, visiting.occasion, question, _MOST, after, before)).page
    return show(
        "account/use.html",
        here="account",
        visiting=visiting,
        form=form_for(request),
        rows=page.rows,
        later=_at("/account/use", after=page.following),
        earlier=_at("/account/use", before=page.previous),
    )


@router.post("/account/sessions/end-all")
async def post_end_all(entrance: Entering, visiting: Posting) -> Response:
    """Signed out of every browser, this one too."""
    await end_my_sessions(entrance, visiting)
    return signed_out(visiting)


@router.post("/account/sessions/{id}/end")
async def post_end(entrance: Entering, visiting: Posting, id: UUID) -> Response:  # noqa: A002 - the address names it
    """One session less; of one's own, this is signing out."""
    await end_my_session(entrance, visiting, id)
    if id == visiting.session.id:
        return signed_out(visiting)
    return go("/account", done="ended")
