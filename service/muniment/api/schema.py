"""``/v1/schema``: the Cedar schema that policies are validated against."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from muniment.api.asking import Asking

router = APIRouter(tags=["policies"])


@router.get(
    "/v1/schema",
    response_class=Response,
    responses={200: {"description": "Cedar schema text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_schema(request: Request, _asking: Asking) -> Response:
    """What policies can speak of, in this deployment: entities, actions and the attributes of subjects."""
    return Response(request.app.state.schema, media_type="text/plain")
