"""Files of exported rows, read from disk line by line, whatever they were written as."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from muniment.core.exports import Broken, End, Head, Line, of_cells, of_json_lines
from muniment.core.seals import Stored, microseconds
from muniment.steward.refusals import Refused

_PARQUET: Final = b"PAR1"
_CSV: Final = b"record,"
_OCSF: Final = b'{"activity_id":'

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
            for batch in file.iter_batches(batch_size=1024):
                yield from _lines(batch)
            if b"muniment.end" in said:
                yield End.parse(said[b"muniment.end"].decode())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Broken("The file cannot be read as Parquet; it was cut off, or changed.") from error


def _lines(batch: Any) -> Iterable[Line]:
    columns = {name: batch.column(name).to_pylist() for name in ("position", *Stored._fields, "path", "leaf")}
    for index in range(batch.num_rows):
        values = {name: column[index] for name, column in columns.items()}
        try:
            yield _line(values)
        except (TypeError, ValueError, AttributeError) as error:
            raise Broken(f"Row {values['position']} of the file is no part of an export; it was changed.") from error


def _line(values: dict[str, Any]) -> Line:
    position, path, leaf = values["position"], values["path"], values["leaf"]
    if leaf is not None:
        return Line(position, values["id"], None, leaf, path)
    told = {name: values[name] for name in Stored._fields}
    told["at"] = microseconds(told["at"])
    return Line.of(position, Stored(**told), path)
