"""Exports of the ledger: rows that carry their own proof, and what whoever holds a file can find out with it alone.

A file begins with a *head* (the signed checkpoint that everything in it is proven by, the keys, what was asked), goes
on with a *line* for each row in the order of seals (its position in the tree, all that was sealed of it, and its path
to the root: RFC 6962, 2.1.1), and ends with how many lines there were and a digest over them. So a file that was cut
off by accident is noticed, every row is proven by itself, and an export of everything proves too that nothing between
its first row and its last is missing. Of a row that is no more there (its month was retired), its leaf is told.

An export by filters or by rights leaves rows out by its nature: that it holds all that were asked for is not proven.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

import orjson

from muniment.core.merkle import WIDTH
from muniment.core.moments import write_moment
from muniment.core.seals import Stored, leaf, microseconds, moment, written

#: The version of the shape of these files.
VERSION: Final = 1

#: The cells of a table, in their order: what a line is, where it stands, the row, its path, and what is said beside.
COLUMNS: Final = ("record", "position", *Stored._fields, "path", "note")

_NUMBERS: Final = frozenset({"revision", "seq", "xact"})
_LISTS: Final = frozenset({"datasets", "policies"})
_BYTES: Final = frozenset({"salt", "who_sha256", "details_sha256"})
_MAY_LACK: Final = frozenset(
    {"request_id", "receipt", "environment", "project", "purpose", "run", "decided_sha256", "evaluator"}
)

#: With these a spreadsheet takes a cell for a formula (OWASP, "CSV Injection"); the last marks a cell that is none.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


class Format(StrEnum):
    """How an export is written. The first three carry proof; the last is for other systems."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    OCSF = "ocsf"


class Broken(Exception):
    """What stands in a file is no part of an export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an export is of, and what proves it.

    ``asked`` are the filters, ``reader`` whose rights it was made by. ``complete`` says that there were neither filters
    nor rows that the reader may not see. ``announcements`` are the checkpoints that name the keys, the first one's own
    and those by which one followed on another.
    """

    made_at: str
    asked: Mapping[str, Any]
    reader: str
    complete: bool
    checkpoint: str
    announcements: Sequence[str]
    version: int = VERSION

    @property
    def text(self) -> str:
        """The head as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The head that a text is; raises :class:`Broken`."""
        try:
            head = cls(**_read(text))
            texts = [head.made_at, head.reader, head.checkpoint, *_listed(head.announcements)]
            _hold_types((head.asked, head.complete, head.version, *texts), (dict, bool, int, *[str] * len(texts)))
        except (ValueError, TypeError, RecursionError) as error:
            raise Broken("The head of the file cannot be read.") from error
        if head.version != VERSION:
            raise Broken(f"The file has the shape {head.version}; this release of Muniment reads {VERSION}.")
        return head


@dataclass(frozen=True, slots=True)
class Line:
    """A row at its position, with its path to the root; ``row`` is absent where only its leaf is left of it."""

    position: int
    id: str
    row: Stored | None
    leaf: bytes
    path: Sequence[bytes]

    @classmethod
    def of(cls, position: int, row: Stored, path: Sequence[bytes]) -> Self:
        """The line of a row that is there."""
        return cls(position, row.id, row, leaf(row), path)


@dataclass(frozen=True, slots=True)
class End:
    """How many lines there were, and the digest over them."""

    lines: int
    sha256: str

    @property
    def text(self) -> str:
        """The end as JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The end that a text is; raises :class:`Broken`."""
        try:
            end = cls(**_read(text))
            _hold_types((end.lines, end.sha256), (int, str))
        except (ValueError, TypeError, RecursionError) as error:
            raise Broken("The end of the file cannot be read.") from error
        return end


class Tally:
    """Counts lines and digests them as they pass: the same in every format."""

    def __init__(self, head: Head) -> None:
        """Begin with the head."""
        self._lines = 0
        self._digest = hashlib.sha256(head.text.encode())

    def add(self, line: Line) -> None:
        """Count a line."""
        self._lines += 1
        self._digest.update(line.position.to_bytes(8) + line.leaf + b"".join(line.path))

    @property
    def end(self) -> End:
        """What the file ends with if nothing comes after."""
        return End(self._lines, self._digest.hexdigest())


# --- as lines of JSON -------------------------------------------------------------------------------------------------


def head_line(head: Head) -> bytes:
    """The first line of a file of JSON lines."""
    return b'{"head":' + head.text.encode() + b"}\n"


def json_line(line: Line) -> bytes:
    """A row as a line of JSON."""
    told: dict[str, object] = {"position": line.position}
    if line.row is None:
        told["absent"] = {"id": line.id, "leaf": line.leaf.hex()}
    else:
        told["row"] = _plain(line.row)
    told["path"] = [_b64(each) for each in line.path]
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def end_line(end: End) -> bytes:
    """The last line."""
    return b'{"end":' + end.text.encode() + b"}\n"


def of_json_lines(lines: Iterable[bytes]) -> Iterator[Head | Line | End]:
    """What stands in the lines of a file; raises :class:`Broken` at one that is no part of an export."""
    for number, text in enumerate(lines, start=1):
        try:
            yield _of_json_line(_read(text))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Broken(f"Line {number} is no part of an export; the file was cut off there, or changed.") from error


def _of_json_line(told: dict[str, Any]) -> Head | Line | End:
    names = {*told}
    if names == {"head"}:
        return Head.parse(json.dumps(told["head"]))
    if names == {"end"}:
        return End.parse(json.dumps(told["end"]))
    if names == {"position", "absent", "path"} and {*told["absent"]} == {"id", "leaf"}:
        absent = told["absent"]
        return Line(_position(told["position"]), str(absent["id"]), None, _of_hex(absent["leaf"]), _path(told["path"]))
    if names == {"position", "row", "path"}:
        return Line.of(_position(told["position"]), _of_plain(told["row"]), _path(told["path"]))
    # Nothing proves what stands beside a row.
    raise ValueError(names)


def _plain(row: Stored) -> dict[str, object]:
    told: dict[str, object] = row._asdict()
    told["at"] = at_text(row.at)
    told["details"] = orjson.Fragment(row.details.encode())
    for name in _BYTES:
        value: bytes | None = getattr(row, name)
        told[name] = None if value is None else value.hex()
    return told


def _of_plain(told: Mapping[str, Any]) -> Stored:
    values = {**told, "at": of_at_text(told["at"]), "details": written(told["details"])}
    for name in _BYTES:
        values[name] = None if told[name] is None else _of_hex(told[name])
    return Stored(**values)


# --- as a table of texts ----------------------------------------------------------------------------------------------


def head_cells(head: Head) -> list[str | None]:
    """The first record of a table, below the names of its columns."""
    return _said("head", head.text)


def cells(line: Line) -> list[str | None]:
    """A row as a record of a table."""
    path = " ".join(map(_b64, line.path))
    if line.row is None:
        told = _said("absent", orjson.dumps({"id": line.id, "leaf": line.leaf.hex()}).decode())
        told[1], told[-2] = str(line.position), path
        return told
    row = line.row._asdict()
    return ["row", str(line.position), *(_cell(name, row[name]) for name in Stored._fields), path, None]


def end_cells(end: End) -> list[str | None]:
    """The last record."""
    return _said("end", end.text)


def csv_record(told: Sequence[str | None]) -> bytes:
    """A record as a line of CSV (RFC 4180) that no spreadsheet takes for a formula."""
    return (",".join(map(_quoted, told)) + "\r\n").encode()


def of_cells(records: Iterable[Sequence[str]]) -> Iterator[Head | Line | End]:
    """What stands in the records of a table, the names of its columns first; raises :class:`Broken`."""
    read = iter(records)
    if tuple(next(read, ())) != COLUMNS:
        raise Broken("The file does not begin with the columns of an export.")
    for number, quoted in enumerate(read, start=2):
        try:
            yield _of_record(quoted)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Broken(f"Record {number} is no part of an export; the file was cut off there, or changed.") from error


def _of_record(quoted: Sequence[str]) -> Head | Line | End:
    # An empty cell is nothing; an empty text is a mark alone.
    told = [each.removeprefix("'") if each else None for each in quoted]
    found = _of_cells(dict(zip(COLUMNS, told, strict=True)))
    # Each thing is written in one way alone: what is read as the same, and looks otherwise, was changed.
    if [_marked(each) for each in _cells_of(found)] != list(quoted):
        raise ValueError(quoted)
    return found


def _cells_of(told: Head | Line | End) -> list[str | None]:
    match told:
        case Head():
            return head_cells(told)
        case End():
            return end_cells(told)
        case Line():
            return cells(told)


def _said(record: str, note: str) -> list[str | None]:
    return [record, *[None] * (len(COLUMNS) - 2), note]


def _of_cells(told: Mapping[str, str | None]) -> Head | Line | End:
    path = [_of_b64(each) for each in (told["path"] or "").split()]
    note, position = told["note"] or "", told["position"] or ""
    match told["record"]:
        case "head":
            return Head.parse(note)
        case "end":
            return End.parse(note)
        case "absent":
            absent = _read(note)
            return Line(_position(int(position)), str(absent["id"]), None, _of_hex(absent["leaf"]), path)
        case "row":
            values: dict[str, Any] = {name: _of_cell(name, told[name]) for name in Stored._fields}
            return Line.of(_position(int(position)), Stored(**values), path)
        case _:
            raise ValueError(told["record"])


def _cell(name: str, value: Any) -> str | None:
    match value:
        case bytes():
            return value.hex()
        case list():
            return orjson.dumps(value).decode()
        case int():
            return at_text(value) if name == "at" else str(value)
        case "":
            # Only where there might be none is an empty text told from none.
            return "" if name in _MAY_LACK else None
        case _:
            text: str | None = value
            return text


def _of_cell(name: str, text: str | None) -> Any:
    if text is None:
        return None if name in _MAY_LACK | _BYTES | _NUMBERS else ""
    if name == "at":
        return of_at_text(text)
    if name in _NUMBERS:
        return int(text)
    if name in _LISTS:
        return json.loads(text)
    return bytes.fromhex(text) if name in _BYTES else text


def _quoted(text: str | None) -> str:
    safe = _marked(text)
    return '"' + safe.replace('"', '""') + '"' if any(each in safe for each in ',"\r\n') else safe


def _marked(text: str | None) -> str:
    """A text with a mark before it where a spreadsheet would take it for a formula, or for nothing."""
    if text is None:
        return ""
    return f"'{text}" if not text or text.startswith(_FORMULA) else text


# --- what both have in common -----------------------------------------------------------------------------------------


def at_text(at: int) -> str:
    """A moment to the microsecond (RFC 3339); the bare number where no calendar reaches."""
    found = moment(at)
    return str(at) if found is None else write_moment(found)


def of_at_text(text: str) -> int:
    """The microseconds since 1970 that such a text says."""
    at = int(text) if text.removeprefix("-").isdecimal() else microseconds(datetime.fromisoformat(text))
    if at_text(at) != text:
        raise ValueError(text)
    return at


def _position(told: Any) -> int:
    if type(told) is not int or not 0 <= told < 1 << 63:
        raise ValueError(told)
    return told


def _read(text: str | bytes) -> dict[str, Any]:
    """The object that a text of JSON is, with each of its names once: programs differ in which of two they take."""
    told = json.loads(text, object_pairs_hook=_once, parse_float=Decimal, parse_constant=_refuse)
    if type(told) is not dict:
        raise ValueError(text)
    return told


def _refuse(constant: str) -> None:
    """NaN and the infinities are no JSON, and would be written again as nothing."""
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError(pairs)
    return told


def _hold_types(values: Sequence[object], types: Sequence[type]) -> None:
    if [type(each) for each in values] != list(types):
        raise ValueError(values)


def _listed(told: object) -> list[Any]:
    if type(told) is not list:
        raise ValueError(told)
    return told


def _of_hex(text: str) -> bytes:
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError(text)
    return found


def _b64(hashed: bytes) -> str:
    return base64.b64encode(hashed).decode()


def _of_b64(text: str) -> bytes:
    found = base64.b64decode(text, validate=True)
    if len(found) != WIDTH or _b64(found) != text:
        raise ValueError(text)
    return found


def _path(told: Any) -> list[bytes]:
    return [_of_b64(each) for each in _listed(told)]
