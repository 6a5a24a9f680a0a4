"""``/v1/ledger/export``: rows of the ledger as a file that carries their proof, sent as it is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from muniment.api.asking import Asking, Housed
from muniment.api.ledger import Asked
from muniment.api.versions import stamp
from muniment.core.exports import Format
from muniment.flows.export_ledger import export_ledger
from muniment.post.export_files import MEDIA

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


class AskedFile(Asked):
    """The filters of the ledger, and how the file is written."""

    format: Format = Format.JSONL


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file. One that was cut off lacks its end.",
            "content": {media: {} for media in sorted(set(MEDIA.values()))},
        }
    },
)
async def get_export(house: Housed, asking: Asking, asked: Annotated[AskedFile, Query()]) -> StreamingResponse:
    """All rows that the filters leave, of what is sealed now, with the proof of each. Exporting is a row too."""
    export = await export_ledger(house, asking, asked.question, asked.format)
    response = StreamingResponse(export.parts, media_type=export.media)
    response.headers["Content-Disposition"] = f'attachment; filename="{export.name}"'
    response.headers["Muniment-Receipt"] = str(asking.receipt)
    stamp(response, revision=export.revision)
    return response
