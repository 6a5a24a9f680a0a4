"""Files of exported rows, read from disk line by line, whatever they were written as."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from muniment.core.exports import Broken, End, Head, Line, of_cells, of_json_lines
from muniment.core.merkle import WIDTH
from muniment.core.seals import Stored, microseconds
from muniment.steward.refusals import Refused

_PARQUET: Final = b"PAR1"
_CSV: Final = b"record,"
_OCSF: Final = b'{"activity_id":'

_FIELDS: Final = Stored._fields
#: The columns of a Parquet file, in their order.
_COLUMNS: Final = ("position", *_FIELDS, "path", "leaf")

_TYPES: Final = frozenset({type(None), int, str, bytes, list})
_UTC: Final = timedelta(0)

#: The longest cell of a table that is read.
_LONGEST: Final = 1 << 30


def read(path: Path) -> Iterator[Head | Line | End]:
    """What stands in a file; raises :class:`Broken` where it is no export."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(_OCSF))
            if begins.startswith(_PARQUET):
                yield from _parquet(path)
            elif begins.startswith(_CSV):
                yield from _csv(path)
            elif begins.startswith(_OCSF):
                raise Refused(f"{path} holds events of OCSF, which carry no proof. Export as jsonl, csv or parquet.")
            else:
                file.seek(0)
                yield from of_json_lines(file)
    except OSError as failed:
        raise Refused(f"{path} cannot be read: {failed.strerror}.") from None


def _csv(path: Path) -> Iterator[Head | Line | End]:
    csv.field_size_limit(_LONGEST)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from of_cells(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Broken("The file cannot be read as a table from here on; it was cut off there, or changed.") from error


def _parquet(path: Path) -> Iterator[Head | Line | End]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise Refused("Reading Parquet needs pyarrow: install muniment[parquet].") from None
    try:
        with pq.ParquetFile(path) as file:
            said = file.metadata.metadata or {}
            yield Head.parse(said.get(b"muniment.head", b"").decode())
            if tuple(file.schema_arrow.names) != _COLUMNS:
                raise Broken("The file has other columns than an export; it was changed.")
            rows = 0
            for batch in file.iter_batches(batch_size=1024):
                yield from _lines(batch)
                rows += len(batch)
            if file.metadata.num_rows != rows:
                raise Broken("The file says that it has another number of rows than it has; it was changed.")
            if b"muniment.end" in said:
                yield End.parse(said[b"muniment.end"].decode())
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Broken("The file cannot be read as Parquet; it was cut off, or changed.") from error


def _lines(batch: Any) -> Iterable[Line]:
    for values in batch.to_pylist():
        try:
            yield _line(values)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Broken(f"Row {values['position']!r} of the file is no part of an export; it was changed.") from error


def _line(values: dict[str, Any]) -> Line:
    position, path, leaf = values["position"], values["path"], values["leaf"]
    if type(position) is not int or position < 0 or {*map(type, path), *map(len, path)} - {bytes, WIDTH}:
        raise ValueError(position)
    if leaf is not None:
        # Nothing proves what stands beside a leaf.
        if type(leaf) is not bytes or any(values[name] is not None for name in _FIELDS if name != "id"):
            raise ValueError(position)
        return Line(position, str(values["id"]), None, leaf, path)
    told = {name: values[name] for name in _FIELDS}
    at = told.pop("at")
    # What is shown otherwise than it was written was changed, though it be read as the same.
    if type(at) is not datetime or at.utcoffset() != _UTC or {*map(type, told.values())} - _TYPES:
        raise ValueError(position)
    told["at"] = microseconds(at)
    return Line.of(position, Stored(**told), path)
