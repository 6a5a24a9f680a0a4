"""``GET /v1/realm``: what the asker may change, as it is put, and what of it is kept in files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import stamp
from muniment.core.bodies import body_of, key_of
from muniment.core.moments import write_moment
from muniment.flows.house import aside
from muniment.flows.read_realm import Gone, Piece, read_realm

router = APIRouter(prefix="/v1/realm", tags=["changes"])

Kind = Literal["environment", "group", "domain", "dataset", "policy", "grant"]


class PieceBody(Body):
    """One thing: ``body`` puts it as it stands; ``base`` holds what the files last said of fields that they keep.

    It holds those alone that were applied at another version than the one that stands. A thing that is kept and that
    somebody ended has no ``body``, and version 0.
    """

    kind: Kind
    id: str
    version: int
    body: dict[str, Any] | None
    at: str = Field(description="Since when it stands so, or is no more.")
    by: str
    kept_in: KeptInBody | None
    base: dict[str, Any]


class PiecesBody(Body):
    """A page of things of one kind; with the first page come those that are kept and gone."""

    revision: int
    items: list[PieceBody]
    gone: list[PieceBody]
    next: str | None


@router.get("")
async def get_realm(
    house: Housed,
    asking: Asking,
    response: Response,
    kind: Annotated[Kind, Query(description="Which things.")],
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> PiecesBody:
    """The things of one kind that the asker may put, as they are put, in the order of their names."""
    pieces = await read_realm(house, asking, kind, limit, after)
    stamp(response, revision=pieces.revision)
    return PiecesBody(
        revision=pieces.revision,
        items=await aside(lambda: [_piece(kind, each) for each in pieces.items]),
        gone=[_gone(kind, each) for each in pieces.gone],
        next=pieces.next,
    )


def _piece(kind: Kind, piece: Piece) -> PieceBody:
    return PieceBody(
        kind=kind,
        id=key_of(piece.noun),
        version=piece.noun.version,
        body=body_of(piece.noun),
        at=write_moment(piece.since.since),
        by=piece.since.by,
        kept_in=kept_in(piece.kept),
        base=dict(piece.base),
    )


def _gone(kind: Kind, gone: Gone) -> PieceBody:
    return PieceBody(
        kind=kind,
        id=gone.kept.key,
        version=0,
        body=None,
        at=write_moment(gone.since.since),
        by=gone.since.by,
        kept_in=kept_in(gone.kept),
        base=dict(gone.base),
    )
