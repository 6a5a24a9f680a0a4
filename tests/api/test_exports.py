"""Rows of the ledger taken out as files: each with its proof, for those who may read it, and written down before."""

import csv
import io
import json
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muniment.api.identifiers import new_id
from muniment.core.export_proofs import prove
from muniment.core.exports import Format
from muniment.core.ledger import Event, Question
from muniment.core.occasions import Occasion
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.flows.export_ledger import export_ledger
from muniment.flows.seal_ledger import Sealer
from muniment.identity.seal_keys import SealKeys, holds
from muniment.steward.export_files import read
from tests.api.running import grant, refusal
from tests.tampering import tamper

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def keys(service, tmp_path_factory):
    """The keys by which the ledger of the module's service is sealed; Sam audits sales, and things have happened."""
    made = SealKeys(tmp_path_factory.mktemp("keys") / "seals.key")
    made.made()
    await service.root.make("/v1/grants/sam-audits-sales", grant("user:sam", ["audit"], on={"domain": "sales"}))
    for _ in range(3):
        await service.ann.catalog()
    asked = {"environment": "dev", "load": ["sales.orders"], "save": []}
    assert (await service.ann.post("/v1/preflight", asked)).status_code == 200
    both = {"environment": "dev", "load": ["hr.salaries", "sales.orders"], "save": []}
    assert (await service.ann.post("/v1/preflight", both)).status_code == 200
    await seal(service, made)
    return made


async def seal(service, keys):
    return await Sealer(service.app.state.house.db, keys).seal_all()


async def exported(caller, path, query=""):
    """The file that a caller is given, written to disk."""
    answer = await caller.get(f"/v1/ledger/export{query}")
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def proven(path, keys):
    return prove(read(path), holds, [keys.current.public])


async def rows(caller, query=""):
    return (await caller.read(f"/v1/ledger?limit=1000&{query}"))["items"]


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_an_export_of_everything_is_proven_whole_by_the_file_and_a_pinned_key_alone(
    service, keys, tmp_path, format_
):
    path = await exported(service.audrey, tmp_path / "file", f"?format={format_}")
    found = proven(path, keys)
    assert (found.faults, found.whole, found.pinned) == ([], True, True)
    assert found.rows == found.checkpoint.size > 20


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_an_export_by_filters_has_their_rows_and_proves_each(service, keys, tmp_path, format_):
    path = await exported(service.audrey, tmp_path / "file", f"?format={format_}&dataset=sales.orders&subject=user:ann")
    found = proven(path, keys)
    assert (found.faults, found.rows, found.whole) == ([], 2, False)


#: What is done to the columns of a Parquet file, each of which a reader could show in its place.
COLUMNS = {
    "one more": lambda table: table.append_column("told", pa.array(["evil"] * len(table))),
    "one twice": lambda table: table.append_column("purpose", pa.array(["evil"] * len(table))),
    "one fewer": lambda table: table.drop_columns(["purpose"]),
    "places that are text": lambda table: table.set_column(0, "position", pa.array(["1"] * len(table))),
    "places before the first": lambda table: table.set_column(0, "position", pa.array([-1] * len(table))),
    "no places": lambda table: table.set_column(0, "position", pa.nulls(len(table), pa.int64())),
    "paths of numbers": lambda table: table.set_column(
        len(table.column_names) - 2, "path", pa.array([[1]] * len(table))
    ),
    "rows in another order": lambda table: table.take([1, 0, *range(2, len(table))]),
    "rows twice": lambda table: pa.concat_tables([table, table]),
}


async def test_a_parquet_file_of_other_columns_or_rows_is_none_and_nobody_sees_a_stack(
    service, keys, tmp_path, subtests
):
    path = await exported(service.audrey, tmp_path / "file", "?format=parquet")
    about = {k: v for k, v in pq.ParquetFile(path).metadata.metadata.items() if k.startswith(b"muniment.")}
    table, other = pq.read_table(path), tmp_path / "other"
    pq.write_table(table.replace_schema_metadata(about), other)
    assert proven(other, keys).faults == []
    for name, change in COLUMNS.items():
        with subtests.test(name):
            pq.write_table(change(table).replace_schema_metadata(about), other)
            assert not proven(other, keys).holds


async def test_who_audits_a_domain_is_given_the_rows_that_name_nothing_else_and_their_own(service, keys, tmp_path):
    path = await exported(service.sam, tmp_path / "file")
    assert proven(path, keys).faults == []
    told = [each["row"] for each in map(json.loads, path.read_text().splitlines()) if "row" in each]
    assert any(row["subject"] == "user:ann" for row in told)
    of_others = [row for row in told if row["subject"] != "user:sam"]
    assert all(name.startswith("sales.") for row in of_others for name in row["datasets"])
    assert all(row["datasets"] for row in of_others)
    assert "hr.salaries" not in path.read_text()
    assert not proven(path, keys).whole


async def test_everybody_takes_out_their_own_rows_and_nobody_those_of_others(service, keys, tmp_path):
    path = await exported(service.ann, tmp_path / "file", "?subject=user:ann")
    assert proven(path, keys).rows >= 5
    refusal(await service.ann.get("/v1/ledger/export"), 403)
    refusal(await service.eve.get("/v1/ledger/export?subject=user:ann"), 403)


async def test_that_rows_were_taken_out_is_a_row_before_the_first_of_them_leaves(service, keys, tmp_path):
    await exported(service.audrey, tmp_path / "file", "?format=csv&domain=sales&kind=given")
    (row, *_) = await rows(service.audrey, "event=ledger.exported&subject=user:audrey")
    assert row["details"] == {
        "format": "csv",
        "checkpoint": row["details"]["checkpoint"],
        "domain": "sales",
        "events": ["lease.served"],
    }


async def test_a_row_that_was_changed_in_the_database_fails_in_the_export(service, keys, tmp_path):
    await seal(service, keys)
    (row, *_) = await rows(service.audrey, "event=preflight.allowed&subject=user:ann")
    tamper(service.url, f"UPDATE ledger SET purpose = 'none' WHERE id = '{row['id']}'")
    found = proven(await exported(service.audrey, tmp_path / "file"), keys)
    tamper(service.url, f"UPDATE ledger SET purpose = NULL WHERE id = '{row['id']}'")
    assert [(fault.kind, fault.id) for fault in found.faults] == [("changed", row["id"])]
    assert proven(await exported(service.audrey, tmp_path / "file"), keys).holds


async def test_a_row_that_is_gone_from_the_database_is_missed_in_the_export_by_its_leaf(service, keys, tmp_path):
    (row, *_) = await rows(service.audrey, "event=catalog.served&subject=user:ann")
    tamper(service.url, "CREATE TABLE kept AS SELECT * FROM ledger", f"DELETE FROM ledger WHERE id = '{row['id']}'")
    for format_ in ("jsonl", "csv", "parquet"):
        found = proven(await exported(service.audrey, tmp_path / "file", f"?format={format_}"), keys)
        told = [(fault.kind, fault.id) for fault in found.faults]
        assert (told, found.absent) == ([("retired-without-record", row["id"])], 1)
    restored = "INSERT INTO ledger SELECT * FROM kept WHERE id NOT IN (SELECT id FROM ledger)"
    tamper(service.url, restored, "DROP TABLE kept")


async def test_a_table_opens_where_tables_are_opened(service, keys, tmp_path):
    hostile = service.somebody("eve", sub="mallory")
    refused = await hostile.send("GET", "/v1/ledger", headers={"User-Agent": "=HYPERLINK(1)"})
    refusal(refused, 403)
    await seal(service, keys)
    path = await exported(service.audrey, tmp_path / "file", "?format=csv&subject=user:mallory")
    header, head, row, end = csv.reader(io.StringIO(path.read_text(), newline=""))
    told = dict(zip(header, row, strict=True))
    assert told["client"] == "'=HYPERLINK(1)"
    assert (head[0], told["record"], end[0]) == ("head", "row", "end")
    assert proven(path, keys).holds


async def test_events_for_security_tools_stand_one_to_a_line(service, keys):
    answer = await service.audrey.get("/v1/ledger/export?format=ocsf&event=preflight.allowed")
    (event,) = map(orjson.loads, answer.content.splitlines())
    assert (event["class_uid"], event["type_uid"], event["status_id"]) == (6003, 600302, 1)
    assert event["actor"]["user"]["uid"] == "user:ann"
    assert event["resources"] == [{"type": "dataset", "name": "sales.orders"}]


async def test_an_export_of_many_seals_is_whole(service, keys, tmp_path):
    for _ in range(5):
        await service.ann.catalog()
        await seal(service, keys)
    path = await exported(service.audrey, tmp_path / "file")
    found = proven(path, keys)
    assert found.whole
    assert found.checkpoint.number >= 6


async def test_a_slow_reader_holds_no_transaction_open(service, keys):
    house, at = service.app.state.house, datetime.now(UTC)
    audrey = Occasion(SubjectState(Subject(Kind.USER, "audrey"), "corp"), at, new_id(at))
    export = await export_ledger(house, audrey, Question(), Format.JSONL)
    async for part in export.parts:
        assert part
        assert house.db.lent == 0


async def test_before_anything_is_sealed_it_says_so(fresh):
    await fresh.root.make("/v1/grants/audrey-audits", grant("user:audrey", ["audit"], on={"domain": "all"}))
    said = refusal(await fresh.audrey.get("/v1/ledger/export"), 409)
    assert "sealed yet" in said["detail"]


async def test_a_format_that_nobody_knows_is_refused(service):
    refusal(await service.audrey.get("/v1/ledger/export?format=xml"), 422)


async def test_a_filter_that_nobody_knows_is_refused_and_not_passed_over(service):
    refusal(await service.audrey.get("/v1/ledger?subjct=user:ann"), 422)
    refusal(await service.audrey.get("/v1/ledger/export?subjct=user:ann"), 422)


async def test_what_was_told_given_and_claimed_are_asked_for_apart(service, keys):
    told = {row["event"] for row in await rows(service.audrey, "kind=told")}
    assert {"catalog.served", "preflight.allowed"} <= told
    assert not told & {"lease.served", "use.reported", "grant.made", "ledger.read"}
    assert {row["event"] for row in await rows(service.audrey, "kind=refused&subject=user:ann")} == {
        Event.ACCESS_DENIED
    }
    assert await rows(service.audrey, "kind=given&event=catalog.served") == []


async def test_pages_of_the_ledger_lead_both_ways(service, keys):
    first = await service.audrey.read("/v1/ledger?subject=user:root&kind=changed&limit=3")
    second = await service.audrey.read(f"/v1/ledger?subject=user:root&kind=changed&limit=3&after={first['next']}")
    back = await service.audrey.read(f"/v1/ledger?subject=user:root&kind=changed&limit=3&before={second['previous']}")
    assert first["previous"] is None
    assert back["items"] == first["items"]
    assert not {row["id"] for row in first["items"]} & {row["id"] for row in second["items"]}
    refusal(await service.audrey.get(f"/v1/ledger?after={first['next']}&before={first['next']}"), 422)


async def test_who_audits_a_domain_reads_its_part_of_the_ledger(service, keys):
    told = await rows(service.sam)
    of_others = [row for row in told if row["subject"] != "user:sam"]
    assert {row["subject"] for row in of_others} >= {"user:ann"}
    assert all(name.startswith("sales.") for row in of_others for name in row["datasets"])
    assert await rows(service.sam, "dataset=hr.salaries") == []
