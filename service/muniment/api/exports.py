"""``/v1/ledger/export``: rows of the ledger as a file that carries their proof, sent as it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Protocol

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from muniment.api.asking import Asking, Housed
from muniment.api.ledger import Asked
from muniment.api.versions import stamp
from muniment.core import exports
from muniment.core.exports import Format, Head, Line, Tally
from muniment.core.ocsf import event_line
from muniment.core.problems import Fault, Invalid
from muniment.flows.export_ledger import Export, export_ledger
from muniment.flows.house import aside

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

_MEDIA = {
    Format.JSONL: "application/x-ndjson",
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.OCSF: "application/x-ndjson",
}
_ENDINGS = {Format.JSONL: "jsonl", Format.CSV: "csv", Format.PARQUET: "parquet", Format.OCSF: "ocsf.jsonl"}


class AskedFile(Asked):
    """The filters of the ledger, and how the file is written."""

    format: Format = Format.JSONL


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file. One that was cut off lacks its end.",
            "content": {media: {} for media in sorted(set(_MEDIA.values()))},
        }
    },
)
async def get_export(house: Housed, asking: Asking, asked: Annotated[AskedFile, Query()]) -> StreamingResponse:
    """All rows that the filters leave, of what is sealed now, with the proof of each. Exporting is a row too."""
    written = await aside(_WRITTEN[asked.format])
    export = await export_ledger(house, asking, asked.question, asked.format)
    response = StreamingResponse(_sent(export, written), media_type=_MEDIA[asked.format])
    name = f"muniment-ledger-{export.number}.{_ENDINGS[asked.format]}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Muniment-Receipt"] = str(asking.receipt)
    stamp(response, revision=export.revision)
    return response


class _Written(Protocol):
    """A format: what the file begins with, what lines become, and what it ends with."""

    def begin(self, head: Head) -> bytes: ...

    def lines(self, lines: Sequence[Line]) -> bytes: ...

    def end(self, end: exports.End) -> bytes: ...


async def _sent(export: Export, written: _Written) -> AsyncIterator[bytes]:
    tally = Tally(export.head)
    yield written.begin(export.head)
    async for lines in export.lines:
        if lines:
            yield await aside(partial(_some, written, tally, lines))
    yield await aside(lambda: written.end(tally.end))


def _some(written: _Written, tally: Tally, lines: Sequence[Line]) -> bytes:
    for line in lines:
        tally.add(line)
    return written.lines(lines)


class _JsonLines:
    def begin(self, head: Head) -> bytes:
        return exports.head_line(head)

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(map(exports.json_line, lines))

    def end(self, end: exports.End) -> bytes:
        return exports.end_line(end)


class _Csv:
    def begin(self, head: Head) -> bytes:
        return exports.csv_record(exports.COLUMNS) + exports.csv_record(exports.head_cells(head))

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(exports.csv_record(exports.cells(line)) for line in lines)

    def end(self, end: exports.End) -> bytes:
        return exports.csv_record(exports.end_cells(end))


class _Ocsf:
    """Events for other systems, which read each line by itself and know neither heads nor proofs."""

    def begin(self, head: Head) -> bytes:
        del head
        return b""

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(event_line(line.row) for line in lines if line.row is not None)

    def end(self, end: exports.End) -> bytes:
        del end
        return b""


def _parquet() -> _Written:
    """Parquet, where what writes it is installed: pyarrow is larger than the whole service."""
    try:
        module = import_module("muniment.api.parquet")
    except ModuleNotFoundError as missing:
        message = "This service writes no Parquet: install muniment[parquet] there, or ask for format=jsonl or csv."
        raise Invalid(message, [Fault("format", message)]) from missing
    written: _Written = module.ParquetFile()
    return written


_WRITTEN: dict[Format, Callable[[], _Written]] = {
    Format.JSONL: _JsonLines,
    Format.CSV: _Csv,
    Format.PARQUET: _parquet,
    Format.OCSF: _Ocsf,
}
