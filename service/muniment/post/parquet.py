"""Exports as Parquet files, written group by group: what was sent is forgotten.

Head and end stand in the file's own metadata. Needs pyarrow, which comes with ``muniment[parquet]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muniment.core.exports import End, Head, Line
from muniment.core.merkle import WIDTH
from muniment.core.seals import Stored

_TYPES = {
    "at": pa.timestamp("us", tz="UTC"),
    "revision": pa.int64(),
    "seq": pa.int64(),
    "xact": pa.uint64(),
    **dict.fromkeys(("datasets", "policies"), pa.list_(pa.string())),
    **dict.fromkeys(("salt", "who_sha256", "details_sha256"), pa.binary()),
}
_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        *((name, _TYPES.get(name, pa.string())) for name in Stored._fields),
        ("path", pa.list_(pa.binary(WIDTH))),
        ("leaf", pa.binary(WIDTH)),
    ]
)


class ParquetFile:
    """One file on its way out."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._sent = _Sent()
        self._schema = _SCHEMA
        self._writer: Any = None

    def begin(self, head: Head) -> bytes:
        """The file's first bytes."""
        self._schema = _SCHEMA.with_metadata({"muniment.head": head.text})
        self._writer = pq.ParquetWriter(self._sent, self._schema, compression="zstd")
        return self._sent.take()

    def lines(self, lines: Sequence[Line]) -> bytes:
        """A group of rows."""
        columns = [pa.array(values, type=field.type) for field, values in zip(_SCHEMA, _columns(lines), strict=True)]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        return self._sent.take()

    def end(self, end: End) -> bytes:
        """The footer, without which nobody can read the file."""
        self._writer.add_key_value_metadata({"muniment.end": end.text})
        self._writer.close()
        return self._sent.take()


class _Sent:
    """What a writer writes to; what was taken from it is gone."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _columns(lines: Sequence[Line]) -> Sequence[Sequence[Any]]:
    """The columns of some lines; of one whose row is absent there is its id and its leaf alone."""
    rows = [_absent(line) if line.row is None else line.row for line in lines]
    return [
        [line.position for line in lines],
        *zip(*rows, strict=True),
        [list(line.path) for line in lines],
        [line.leaf if line.row is None else None for line in lines],
    ]


def _absent(line: Line) -> tuple[str | None, ...]:
    return (line.id, *[None] * (len(Stored._fields) - 1))
