"""The formats in which rows of the ledger leave as a file: each says how it begins, goes on and ends.

Three of them carry proof (:mod:`muniment.core.exports`). Events of OCSF are for other systems, which read each line by
itself and know neither heads nor proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final, Protocol

from muniment.core import exports
from muniment.core.exports import End, Format, Head, Line, Tally
from muniment.core.ocsf import event_line
from muniment.core.problems import Fault, Invalid

MEDIA: Final[Mapping[Format, str]] = MappingProxyType(
    {
        Format.JSONL: "application/x-ndjson",
        Format.CSV: "text/csv; charset=utf-8",
        Format.PARQUET: "application/vnd.apache.parquet",
        Format.OCSF: "application/x-ndjson",
    }
)
_ENDINGS: Final = {Format.JSONL: "jsonl", Format.CSV: "csv", Format.PARQUET: "parquet", Format.OCSF: "ocsf.jsonl"}


class Written(Protocol):
    """A format: what the file begins with, what lines become, and what it ends with."""

    def begin(self, head: Head) -> bytes:
        """The file's first bytes."""

    def lines(self, lines: Sequence[Line]) -> bytes:
        """Some rows."""

    def end(self, end: End) -> bytes:
        """The file's last bytes."""


def written(format_: Format) -> Written:
    """A file of this format, of which nothing is written yet; :class:`Invalid` where the service cannot write it."""
    return _WRITTEN[format_]()


def ending(format_: Format) -> str:
    """What the names of such files end with."""
    return _ENDINGS[format_]


def file_name(format_: Format, number: int) -> str:
    """What a file is called that is proven by the checkpoint of a number."""
    return f"muniment-ledger-{number}.{ending(format_)}"


class Sending:
    """One file on its way out: the parts of it, each made of some lines."""

    def __init__(self, head: Head, file: Written) -> None:
        """Nothing is sent yet."""
        self._head = head
        self._file = file
        self._tally = Tally(head)

    def begin(self) -> bytes:
        """The first part."""
        return self._file.begin(self._head)

    def some(self, lines: Sequence[Line]) -> bytes:
        """The part that these lines become."""
        for line in lines:
            self._tally.add(line)
        return self._file.lines(lines)

    def end(self) -> bytes:
        """The last part, which tells how many lines there were."""
        return self._file.end(self._tally.end)


class _JsonLines:
    def begin(self, head: Head) -> bytes:
        return exports.head_line(head)

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(map(exports.json_line, lines))

    def end(self, end: End) -> bytes:
        return exports.end_line(end)


class _Csv:
    def begin(self, head: Head) -> bytes:
        return exports.csv_record(exports.COLUMNS) + exports.csv_record(exports.head_cells(head))

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(exports.csv_record(exports.cells(line)) for line in lines)

    def end(self, end: End) -> bytes:
        return exports.csv_record(exports.end_cells(end))


class _Ocsf:
    def begin(self, head: Head) -> bytes:
        del head
        return b""

    def lines(self, lines: Sequence[Line]) -> bytes:
        return b"".join(event_line(line.row) for line in lines if line.row is not None)

    def end(self, end: End) -> bytes:
        del end
        return b""


def _parquet() -> Written:
    """Parquet, where what writes it is installed: pyarrow is larger than the whole service."""
    try:
        module = import_module("muniment.post.parquet")
    except ModuleNotFoundError as missing:
        message = "This service writes no Parquet: install muniment[parquet] there, or ask for format=jsonl or csv."
        raise Invalid(message, [Fault("format", message)]) from missing
    file: Written = module.ParquetFile()
    return file


_WRITTEN: Final[Mapping[Format, Callable[[], Written]]] = MappingProxyType(
    {Format.JSONL: _JsonLines, Format.CSV: _Csv, Format.PARQUET: _parquet, Format.OCSF: _Ocsf}
)
