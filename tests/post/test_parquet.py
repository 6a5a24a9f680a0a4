"""A Parquet file of which anything was changed comes to a verdict, and shows nothing otherwise than it was sealed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from muniment.core.export_proofs import prove
from muniment.identity.seal_keys import holds
from muniment.post.parquet import ParquetFile
from muniment.steward.export_files import read
from tests.core.test_exports import KEY, NINE, export_of, of_moment, stored

ROWS = [
    stored(
        number,
        id=of_moment(NINE, number),
        subject=f"user:u{number:02}",
        project=None if number % 3 else "close",
        revision=None if number % 2 else number,
        datasets=["sales.orders"],
        policies=["policy_7"] if number % 2 else [],
        salt=None if number == 5 else bytes([number] * 32),
    )
    for number in range(30)
]


@pytest.fixture
def file(tmp_path):
    written, path = ParquetFile(), tmp_path / "export.parquet"
    head, *lines, end = export_of(ROWS)
    parts = [written.begin(head), written.lines(lines[:20]), written.lines(lines[20:]), written.end(end)]
    path.write_bytes(b"".join(parts))
    return path


def proven(path):
    return prove(read(path), holds, [KEY.public])


def test_a_file_that_nobody_changed_is_proven_whole(file):
    assert proven(file).faults == []
    assert proven(file).whole


def in_column(name, change):
    def changed(table):
        at = table.column_names.index(name)
        return table.set_column(at, name, change(table.column(name)))

    return changed


#: What is read as the same, and shown otherwise.
SHOWN = {
    "moments finer than they were": in_column(
        "at",
        lambda each: pa.array([at.value + 7 for at in each.cast(pa.timestamp("ns", "UTC"))], pa.timestamp("ns", "UTC")),
    ),
    "moments of another zone": in_column("at", lambda each: each.cast(pa.timestamp("us", "Asia/Kathmandu"))),
    "numbers that are none": in_column("revision", lambda each: pc.fill_null(each.cast(pa.float64()), float("nan"))),
    "numbers with a fraction": in_column("revision", lambda each: each.cast(pa.float64())),
    "numbers as text": in_column("revision", lambda each: each.cast(pa.string())),
    "words as bytes": in_column("subject", lambda each: each.cast(pa.binary())),
}


@pytest.mark.parametrize("what", SHOWN)
def test_columns_of_another_type_are_found(file, what):
    about = {k: v for k, v in pq.ParquetFile(file).metadata.metadata.items() if k.startswith(b"muniment.")}
    table = SHOWN[what](pq.read_table(file))
    pq.write_table(table.replace_schema_metadata(about), file)
    assert not proven(file).holds


def test_a_file_of_which_a_byte_was_changed_comes_to_a_verdict(file):
    whole = file.read_bytes()
    for at in range(97):
        data = bytearray(whole)
        data[len(data) * at // 97] ^= 1 << at % 8
        file.write_bytes(data)
        assert proven(file) is not None


def test_a_moment_of_no_calendar_comes_to_a_verdict(file):
    about = {k: v for k, v in pq.ParquetFile(file).metadata.metadata.items() if k.startswith(b"muniment.")}
    table = pq.read_table(file)
    column = table.column_names.index("at")
    far = pa.array([2**62] * len(table), pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(column, "at", far).replace_schema_metadata(about), file)
    assert not proven(file).holds
