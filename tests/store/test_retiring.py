"""Months of the ledger are retired whole, with writers going on; what is left proves that nothing else is missing."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from muniment.api.identifiers import new_id
from muniment.archiving import Archive
from muniment.core import retention
from muniment.core.export_proofs import Proven, prove
from muniment.core.exports import Format, Line
from muniment.core.holds import Hold
from muniment.core.ledger import Event, Outcome, Question, Row
from muniment.core.occasions import Occasion
from muniment.core.problems import CannotStart, Conflict, Invalid
from muniment.core.seals import WHO, Stored, details_commitment, moment, who_commitment
from muniment.core.subjects import ITSELF
from muniment.core.verdicts import Kind, Verdict
from muniment.flows.erase_person import Request, erase_person
from muniment.flows.hold_rows import hold_rows
from muniment.flows.retire_months import Retired, Retiring, due, retire_months
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKeys
from muniment.identity.seal_keys import holds as keys_hold
from muniment.keeping import Keeping
from muniment.steward.export_files import read
from muniment.store import holds, ledger, partitions, seals
from muniment.store.databases import Database
from muniment.store.partitions import Maintenance, Stands
from tests.owning import libpq, owned
from tests.tampering import tamper

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
OLDEST, OLDER, OLD = (retention.kept_since(NOW, months) for months in (10, 9, 8))
NEXT = retention.kept_since(NOW, 7)


@pytest.fixture(scope="module", autouse=True)
def _now() -> None:
    """They may run long after they were read, and rows that are written late are told of."""
    globals()["NOW"] = datetime.now(UTC)


def row(at: datetime, **fields: object) -> Row:
    plain = Row(id=new_id(at), at=at, event=Event.LEASE_SERVED, outcome=Outcome.ALLOWED, subject="user:eve")
    return replace(plain, **fields)


@pytest.fixture
async def kept(database: str, db: Database, tmp_path: Path) -> AsyncIterator[Keeping]:
    """Whoever keeps a ledger of three months that are over, and sealed."""
    opened, keys = Database.open(owned(database)), SealKeys(tmp_path / "seals.key")
    keys.made()
    async with db.begin() as tx:
        rows = [row(month + timedelta(days=day)) for month in (OLDEST, OLDER, OLD) for day in (1, 2)]
        named = {"details": {"about": "user:ann", "subjects": ["user:ann", "user:eve"]}}
        await ledger.append(
            tx, [*rows, row(OLD, subject="user:ann", **named), row(OLD, event=Event.SUBJECT_READ, **named)]
        )
    yield Keeping(opened, keys, Maintenance(owned(database)), Occasion(ITSELF, NOW, new_id(NOW)), Auditing())
    await opened.close()


async def retired(kept: Keeping, before: datetime, archive: Archive | None = None) -> list[Retired]:
    again = replace(kept, occasion=replace(kept.occasion, request_id=new_id(NOW)))
    return [
        each
        async for each in retire_months(
            again.db,
            again.maintenance,
            again.keys,
            again.occasion,
            Retiring(before, "root", "their time is over"),
            proof=again.proven_until,
            sealing=again.seal,
            archive=archive and replace(archive, occasion=again.occasion),
        )
    ]


async def verdict(kept: Keeping) -> Verdict:
    return await verify_ledger(kept.db, Auditing())


async def months(kept: Keeping) -> list[str]:
    async with kept.db.begin() as tx:
        return [month.table for month in await partitions.months(tx)]


def kinds(found: Verdict) -> set[Kind]:
    return {fault.kind for fault in found.faults}


async def test_the_oldest_months_go_and_what_is_left_is_proven(kept: Keeping) -> None:
    gone = await retired(kept, OLD)
    assert [(each.month.begin, each.rows) for each in gone] == [(OLDEST, 2), (OLDER, 2)]
    await kept.seal()
    found = await verdict(kept)
    assert found.faults == ()
    assert (found.retired, found.sealed) == (4, 8 + 2)
    assert f"ledger_{OLDER:%Y_%m}" not in await months(kept)
    assert await retired(kept, OLD) == []


async def test_rows_that_nobody_retired_are_missed_after_a_retirement(kept: Keeping, database: str) -> None:
    await retired(kept, OLDER)
    tamper(database, f"DELETE FROM ledger WHERE at < '{OLD.isoformat()}'")
    assert kinds(await verdict(kept)) == {Kind.REMOVED}


async def test_a_month_that_was_dropped_without_a_word_is_missed(kept: Keeping, database: str) -> None:
    await kept.seal()
    with psycopg.connect(libpq(database), autocommit=True) as owner:
        owner.execute(f"DROP TABLE ledger_{OLDEST:%Y_%m}")
    assert Kind.REMOVED in kinds(await verdict(kept))


async def test_a_retirement_that_another_key_signed_excuses_nothing(kept: Keeping, tmp_path: Path) -> None:
    """Whoever owns the database and not the key can say what they like."""
    await kept.seal()
    strange = SealKeys(tmp_path / "other.key")
    strange.made()
    told = {"before": OLDER.isoformat(), "month": "x", "count": 2, "because": "x", "account": "x"}
    async with kept.db.begin() as tx:
        await ledger.append(tx, [row(NOW, event=Event.LEDGER_RETIRED, details=strange.signed(told))])
    await kept.seal()
    async with kept.db.begin() as tx:
        (first, *_) = await partitions.months(tx)
    await kept.maintenance.remove(first)
    assert kinds(await verdict(kept)) == {Kind.RETIRED}


async def test_a_month_that_does_not_verify_stays(kept: Keeping, database: str) -> None:
    await kept.seal()
    tamper(database, f"UPDATE ledger SET purpose = 'x' WHERE at >= '{OLD.isoformat()}' AND subject = 'user:ann'")
    with pytest.raises(Conflict, match="Nothing is retired"):
        await retired(kept, OLD)
    assert f"ledger_{OLDEST:%Y_%m}" in await months(kept)


@pytest.mark.parametrize(
    ("held", "goes"),
    [
        ({}, []),
        ({"subject": "user:ann"}, [OLDEST, OLDER]),
        ({"subject": "user:nobody"}, [OLDEST, OLDER, OLD]),
        ({"since": OLDER, "until": OLD}, [OLDEST]),
        ({"dataset": "sales.orders"}, [OLDEST, OLDER, OLD]),
    ],
    ids=["everything", "Ann", "nobody", "a month", "a dataset"],
)
async def test_what_is_held_stays_and_what_came_after_it(kept: Keeping, held: dict[str, object], goes: object) -> None:
    """Seen to fail with the look at holds left out."""
    await hold_rows(kept.db, kept.keys, kept.occasion, Hold(kept.occasion.row_id, NOW, "a law suit", "root", **held))
    found = await due(kept.db, NEXT)
    assert [each.month.begin for each in found if not each.held_by] == goes
    if len(found) > len(goes):
        with pytest.raises(Conflict, match="a law suit"):
            await retired(kept, NEXT)
    assert len(await months(kept)) >= 4 - len(goes)


async def test_the_month_in_which_a_hold_was_made_stays_as_long_as_the_hold(kept: Keeping) -> None:
    made = Hold(uuid4(), OLDER, "a law suit", "root", until=OLDEST)
    async with kept.db.begin() as tx:
        await ledger.append(tx, [row(OLDER, id=made.id, event=Event.LEDGER_HELD, details=made.told)])
        assert await holds.in_force(tx) == [made]
    assert [bool(each.held_by) for each in await due(kept.db, NEXT)] == [False, True]


@pytest.mark.parametrize("step", ["said", "leaving", "beside"])
async def test_an_attempt_goes_on_where_one_before_was_interrupted(kept: Keeping, database: str, step: str) -> None:
    table = f"ledger_{OLDEST:%Y_%m}"
    removing = kept.maintenance.remove
    kept.maintenance.remove = _interrupted  # type: ignore[method-assign]
    with pytest.raises(_Interrupted):
        await retired(kept, OLDER)
    kept.maintenance.remove = removing  # type: ignore[method-assign]
    with psycopg.connect(libpq(database), autocommit=True) as owner:
        if step == "leaving":
            _interrupt_detaching(owner, database, table)
        if step == "beside":
            owner.execute(f"ALTER TABLE ledger DETACH PARTITION {table}")
    async with kept.db.begin() as tx:
        (first, *_) = await partitions.months(tx)
    assert first.stands is {"said": Stands.WHOLE, "leaving": Stands.LEAVING, "beside": Stands.BESIDE}[step]
    assert [each.month.begin for each in await retired(kept, OLDER)] == [OLDEST]
    assert (await verdict(kept)).faults == ()


@pytest.fixture
def archive(kept: Keeping, tmp_path: Path) -> Archive:
    """A folder that is not there yet."""
    return kept.archive(tmp_path / "kept", Format.JSONL, "root")


def proven(kept: Keeping, path: Path) -> Proven:
    """What whoever has the file and the key finds out without the ledger."""
    return prove(read(path), keys_hold, [kept.keys.current.public])


def _details(of: Stored) -> dict[str, str]:
    details: dict[str, str] = json.loads(of.details)
    return details


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
async def test_a_month_is_kept_as_a_file_that_proves_its_rows_before_it_goes(
    kept: Keeping, tmp_path: Path, format_: str
) -> None:
    """Rows of the other months stand in the same seal, and in no file but their own."""
    archive = kept.archive(tmp_path / "kept", Format(format_), "root")
    gone = await retired(kept, NEXT, archive)
    assert [each.rows for each in gone] == [2, 2, 4]
    for each in gone:
        path = archive.path(each.month)
        found = proven(kept, path)
        assert (found.faults, found.rows, found.absent) == ([], each.rows, 0)
        assert path.stat().st_mode & 0o777 == 0o600
        lines = [line for line in read(path) if isinstance(line, Line)]
        assert all(each.month.begin <= moment(line.row.at) < each.month.end for line in lines if line.row)
    assert len(list(archive.folder.iterdir())) == len(gone)
    async with kept.db.begin() as tx:
        told = await seals.rows_of_events(tx, [Event.LEDGER_RETIRED])
        taken = await seals.rows_of_events(tx, [Event.LEDGER_EXPORTED])
    digests = [hashlib.sha256(archive.path(each.month).read_bytes()).hexdigest() for each in gone]
    assert {each["month"]: each["file_sha256"] for each in map(_details, told)} == {
        each.month.name: digest for each, digest in zip(gone, digests, strict=True)
    }
    assert {each["since"] for each in map(_details, taken)} == {str(each.month.begin) for each in gone}
    await kept.seal()
    assert (await verdict(kept)).faults == ()


async def test_a_file_that_lacks_a_row_of_the_month_gets_no_name_and_the_month_stays(
    kept: Keeping, archive: Archive, database: str
) -> None:
    """Seen to fail with the count left out, and with the proof."""
    await kept.seal()
    async with kept.db.begin() as tx:
        (oldest, older, *_) = await partitions.months(tx)
    with pytest.raises(Conflict, match="has 2 rows, and the month 3"):
        await archive.write(oldest, 3)
    tamper(database, f"UPDATE ledger SET purpose = 'x' WHERE at >= '{OLDER.isoformat()}' AND at < '{OLD.isoformat()}'")
    with pytest.raises(Conflict, match="not what was sealed"):
        await archive.write(older, 2)
    assert list(archive.folder.iterdir()) == []


async def test_rows_that_are_not_sealed_are_not_taken_for_the_whole_month(kept: Keeping, archive: Archive) -> None:
    await kept.seal()
    async with kept.db.begin() as tx:
        await ledger.append(tx, [row(OLDEST + timedelta(days=3))])
        (oldest, *_) = await partitions.months(tx)
    with pytest.raises(Conflict, match="not all of it is sealed"):
        await archive.write(oldest, 2)
    assert list(archive.folder.iterdir()) == []


async def test_what_an_attempt_left_half_written_is_taken_away_and_what_is_whole_is_written_anew(
    kept: Keeping, archive: Archive
) -> None:
    """Rows may have been erased since then: what was kept of them before does not stay."""
    await kept.seal()
    async with kept.db.begin() as tx:
        month = (await partitions.months(tx))[2]
    await archive.write(month, 4)
    left = archive.folder / f".{archive.path(month).name}.00aa11bb"
    left.write_text("half")
    await erase_person(kept.db, kept.maintenance, kept.keys, kept.occasion, Request("user:ann", "request 1", "root"))
    await retired(kept, NEXT, archive)
    assert proven(kept, archive.path(month)).erased == 2
    assert b"user:ann" not in archive.path(month).read_bytes()
    assert not left.exists()


async def test_a_file_of_somebody_elses_is_not_written_over_and_the_month_stays(
    kept: Keeping, archive: Archive
) -> None:
    archive.folder.mkdir()
    async with kept.db.begin() as tx:
        (oldest, older, *_) = await partitions.months(tx)
    archive.path(oldest).write_text("letters\n")
    with pytest.raises(Conflict, match="nothing is written over it"):
        await retired(kept, OLDER, archive)
    assert archive.path(oldest).read_text() == "letters\n"
    await archive.write(older, 2)
    archive.path(older).replace(archive.path(oldest))
    with pytest.raises(Conflict, match="nothing is written over it"):
        await retired(kept, OLDER, archive)
    assert oldest.table in await months(kept)


async def test_a_folder_that_cannot_be_written_lets_no_month_go(kept: Keeping, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"stays: .* cannot be written"):
        await retired(kept, OLDER, kept.archive(tmp_path / "file", Format.JSONL, "root"))
    assert f"ledger_{OLDEST:%Y_%m}" in await months(kept)


async def test_a_month_that_stands_beside_the_ledger_goes_only_if_it_was_kept(
    kept: Keeping, archive: Archive, database: str
) -> None:
    """Seen to fail with the look left out."""
    await kept.seal()
    async with kept.db.begin() as tx:
        (oldest, older, *_) = await partitions.months(tx)
    await archive.write(oldest, 2)
    removing, kept.maintenance.remove = kept.maintenance.remove, _interrupted  # type: ignore[method-assign]
    with pytest.raises(_Interrupted):
        await retired(kept, OLDER, archive)
    kept.maintenance.remove = removing  # type: ignore[method-assign]
    with psycopg.connect(libpq(database), autocommit=True) as owner:
        for month in (oldest, older):
            owner.execute(f"ALTER TABLE ledger DETACH PARTITION {month.table}")
    with pytest.raises(Conflict, match=r"There is no .* the same without --to"):
        await retired(kept, OLD, archive)
    assert [oldest.table in await months(kept), older.table in await months(kept)] == [False, True]
    assert proven(kept, archive.path(oldest)).rows == 2


class _Interrupted(Exception):
    """Ends an attempt."""


async def _interrupted(_: object) -> None:
    raise _Interrupted


def _interrupt_detaching(owner: psycopg.Connection[object], database: str, table: str) -> None:
    """Somebody reads the month, so the detaching waits in its second transaction, and is given up there."""
    with psycopg.connect(libpq(database)) as reader:
        reader.execute(f"SELECT count(*) FROM {table}, ledger")
        owner.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute(f"ALTER TABLE ledger DETACH PARTITION {table} CONCURRENTLY")


async def test_writers_do_not_wait_while_months_come_and_go(kept: Keeping, db: Database) -> None:
    """Rows are written all the time, some of them in transactions that stay open for a while."""
    writing, slowest = True, 0.0

    async def write() -> int:
        nonlocal slowest
        count = 0
        while writing:
            began = asyncio.get_running_loop().time()
            async with db.begin() as tx:
                await ledger.append(tx, [row(NOW)])
                await asyncio.sleep(0.02)
            slowest = max(slowest, asyncio.get_running_loop().time() - began)
            count += 1
        return count

    async with db.begin() as tx:
        await ledger.ensure_partitions(tx, NOW.date())
    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        async with db.begin() as tx:
            await ledger.ensure_partitions(tx, (NOW + timedelta(days=100)).date(), months=6)
        assert len(await retired(kept, OLD)) == 2
    finally:
        writing = False
        counts = await asyncio.gather(*writers)
    assert all(count > 3 for count in counts)
    await kept.seal()
    assert (await verdict(kept)).faults == ()


async def test_a_person_is_erased_and_the_proof_holds(kept: Keeping) -> None:
    await kept.seal()
    done = await erase_person(
        kept.db, kept.maintenance, kept.keys, kept.occasion, Request("user:ann", "request 123", "root")
    )
    assert (done.who, done.details) == (1, 2)
    await kept.seal()
    found = await verdict(kept)
    assert found.faults == ()
    assert found.erased == 2


#: What somebody could do who owns the database, and not the key.
BLANK = ", ".join(f"{name} = 'erased'" for name in WHO)
FORGERIES = {
    "no record": (
        f"UPDATE ledger SET who_sha256 = '\\x{{who}}', {BLANK} WHERE id = '{{id}}'",
        Kind.ERASED,
    ),
    "another half": (
        "UPDATE ledger SET details_sha256 = '\\x{told}', details = '{{\"erased\": true}}' WHERE id = '{id}'",
        Kind.ERASED,
    ),
    "no commitment of it": (
        "UPDATE ledger SET who_sha256 = '\\x00', subject = 'erased' WHERE id = '{id}'",
        Kind.CHANGED,
    ),
    "something else in its place": (
        "UPDATE ledger SET who_sha256 = '\\x{who}', subject = 'user:bob' WHERE id = '{id}'",
        Kind.CHANGED,
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_an_erasure_that_nobody_signed_is_found(kept: Keeping, database: str, forgery: str) -> None:
    """Also of the half of a row whose other half was erased as it should be."""
    await kept.seal()
    async with kept.db.begin() as tx:
        page = await ledger.reading(tx, Question(subject="user:eve"))
        (stored,) = await seals.rows_of_ids(tx, [page.rows[-1].id], 1)
    await erase_person(kept.db, kept.maintenance, kept.keys, kept.occasion, Request("user:ann", "request 1", "root"))
    await kept.seal()
    statement, kind = FORGERIES[forgery]
    values = {"who": who_commitment(stored).hex(), "told": details_commitment(stored).hex(), "id": UUID(stored.id)}
    tamper(database, statement.format(**values))
    (fault,) = (await verdict(kept)).faults
    assert (fault.kind, fault.id) == (kind, stored.id)


def test_months_are_kept_as_long_as_the_setting_says() -> None:
    at = datetime(2033, 3, 15, tzinfo=UTC)
    assert retention.kept_since(at, 84) == datetime(2026, 3, 1, tzinfo=UTC)
    assert retention.checked(datetime(2026, 3, 1, tzinfo=UTC), at, 84)
    with pytest.raises(Invalid, match="keeps rows for 84 months"):
        retention.checked(datetime(2026, 4, 1, tzinfo=UTC), at, 84)
    with pytest.raises(Invalid, match="leases of that time"):
        retention.checked(datetime(2033, 4, 1, tzinfo=UTC), at, None)
    for text in ("2026", "2026-13", "2026-01-01"):
        with pytest.raises(Invalid, match="as 2026-01"):
            retention.month_of(text)
