"""``/v1/ledger/views``: questions to the ledger that are asked again, by their names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.ledger import Asked
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.core.views import LONGEST_DAYS, View
from muniment.flows.keep_views import list_views, remove_view, save_view

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


class ViewBody(Body):
    """A saved view: its question, of which events as they were meant, and whose it is."""

    name: str
    owner: str
    question: dict[str, Any]
    days: int | None
    shared: bool
    at: str


class ViewsBody(Body):
    """One's own views, then those that others share."""

    items: list[ViewBody]


class SavedBody(Body):
    """A question as `GET /v1/ledger` takes it; with ``days`` about so many days before it is asked."""

    question: Asked
    days: Annotated[int | None, Field(ge=1, le=LONGEST_DAYS)] = None
    shared: bool = False


@router.get("/views")
async def get_views(house: Housed, asking: Asking, response: Response) -> ViewsBody:
    """Your views, and those that others share with you: with those who audit everything."""
    found = await list_views(house, asking)
    stamp(response, revision=found.revision)
    return ViewsBody(items=[_body(each) for each in (*found.own, *found.shared)])


@router.put("/views/{name}")
async def put_view(house: Housed, asking: Asking, response: Response, name: str, body: SavedBody) -> ViewBody:
    """Keep a question by a name, in the place of your view of that name."""
    view, revision = await save_view(house, asking, name, body.question.question, body.days, shared=body.shared)
    stamp(response, revision=revision)
    return _body(view)


@router.delete("/views/{name}", status_code=204)
async def delete_view(house: Housed, asking: Asking, response: Response, name: str) -> None:
    """Remove a view of yours."""
    stamp(response, revision=await remove_view(house, asking, name))


def _body(view: View) -> ViewBody:
    return ViewBody(
        name=view.name,
        owner=view.owner,
        question=dict(view.question.told),
        days=view.days,
        shared=view.shared,
        at=write_moment(view.at),
    )
