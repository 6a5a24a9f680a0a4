"""Rows are sealed in the order of their commits, once and whole, whoever seals and whatever happens meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from muniment.core.checkpoints import Note, VerifierKey
from muniment.core.ledger import Event, Outcome, Place, Row
from muniment.core.occasions import Occasion
from muniment.core.seals import leaf
from muniment.core.subjects import ITSELF
from muniment.core.verdicts import Kind
from muniment.flows.seal_ledger import Sealer, SealingStopped, seal_once
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKey, SealKeys, holds
from muniment.store import ledger, ledger_order, seals
from muniment.store.witnesses import FileWitness
from tests.ledgers import fill
from tests.owning import libpq
from tests.tampering import tamper, unguarded

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys(tmp_path):
    made = SealKeys(tmp_path / "seals.key")
    made.made()
    return made


@pytest.fixture
def witness(tmp_path):
    return FileWitness(tmp_path / "witness" / "checkpoints.jsonl")


def row(**fields):
    defaults = {"id": uuid4(), "at": datetime.now(UTC), "event": Event.LEASE_SERVED, "outcome": Outcome.ALLOWED}
    return Row(**{**defaults, **fields})


async def write(db, *rows):
    async with db.begin() as tx:
        await ledger.append(tx, rows)


async def proven(db, keys, *witnesses):
    return await verify_ledger(db, Auditing([keys.current.public], witnesses))


def occasion():
    return Occasion(ITSELF, datetime.now(UTC), uuid4())


async def notes(db):
    async with db.begin() as tx:
        return [Note.parse(text) for _, text in await seals.notes(tx, 0, 1000)]


async def test_what_is_written_is_sealed_and_proven(db, keys, witness):
    await write(db, row(), row(purpose="größer → Ω"), row(details={"a": [1, 0.5, "x", None], "ä": {}}))
    assert await seal_once(db, keys, [witness]) == 3
    verdict = await proven(db, keys, witness)
    assert verdict.holds, verdict.faults
    assert (verdict.rows, verdict.seals, verdict.unsealed) == (3, 1, 0)
    await write(db, row())
    verdict = await proven(db, keys, witness)
    assert (verdict.rows, verdict.unsealed) == (3, 1)


async def test_an_empty_ledger_holds_and_proves_nothing(db, keys, witness):
    verdict = await verify_ledger(db, Auditing([], [witness]))
    assert verdict.holds
    assert (verdict.rows, verdict.proven_until) == (0, None)


async def test_nothing_is_sealed_twice_and_an_idle_ledger_gets_no_seals(db, keys):
    await write(db, row())
    assert [await seal_once(db, keys) for _ in range(3)] == [1, 0, 0]


async def test_a_writer_that_is_slow_holds_back_what_came_after_it_and_is_sealed_with_it(db, keys):
    await write(db, row())
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slowly():
        async with db.begin() as tx:
            await ledger.append(tx, [row()])
            began.set()
            await go_on.wait()

    slow = asyncio.create_task(slowly())
    await began.wait()
    await write(db, row())
    assert await seal_once(db, keys) == 1
    go_on.set()
    await slow
    assert await seal_once(db, keys) == 2
    assert (await proven(db, keys)).holds


async def test_many_rows_are_sealed_in_parts_and_the_tree_goes_on_after_a_restart(db, database, keys):
    fill(database, 1, 5000)
    sealer = Sealer(db, keys)
    assert (await sealer.seal()).size == 4096
    assert await Sealer(db, keys).seal_all() == 904
    fill(database, 5001, 5300)
    assert await Sealer(db, keys).seal_all() == 300
    verdict = await proven(db, keys)
    assert verdict.holds, verdict.faults
    assert verdict.rows == 5300


async def test_however_long_rows_are_few_of_them_are_held_at_once(db, database, keys):
    """Seen to fail with all rows of a seal fetched at once: 600 of these take some 20 MB."""
    fill(database, 1, 600)
    wide = "SELECT array_agg('sales.orders.table_' || n) FROM generate_series(1, 300) AS n"
    tamper(database, f"UPDATE ledger SET datasets = ({wide})")
    sealer = Sealer(db, keys)
    tracemalloc.start()
    try:
        sealed = await sealer.seal()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sealed.size == 600
    assert most < 6_000_000
    assert (await proven(db, keys)).rows == 600


async def test_a_row_that_is_no_text_is_sealed_in_its_place_and_those_behind_it_once_each(db, database, keys):
    """It lies in the second part that is fetched, and from there on rows are read in another way."""
    fill(database, 1, 200)
    with psycopg.connect(libpq(database).replace("//muniment@", "//postgres@"), autocommit=True) as superuser:
        superuser.execute("CREATE CAST (bytea AS text) WITHOUT FUNCTION")
        superuser.execute("SET session_replication_role = replica")
        last = "(SELECT seq FROM ledger ORDER BY seq OFFSET 99 LIMIT 1)"
        superuser.execute(f"UPDATE ledger SET purpose = '\\xff41'::bytea::text WHERE seq = {last}")
        superuser.execute("DROP CAST (bytea AS text)")
    sealed = await Sealer(db, keys).seal()
    async with db.begin() as tx:
        rows = await seals.rows_between(tx, await ledger_order.clusters(tx), Place(0, 0, 0), None)
    assert "\0" in rows[99].purpose
    assert sealed.leaves == b"".join(map(leaf, rows))
    assert [sealed.id_at(index) for index in range(200)] == [UUID(each.id) for each in rows]


async def test_two_sealers_at_once_seal_each_row_once(db, database, keys, witness):
    sealers = [Sealer(db, keys, [witness]) for _ in range(3)]
    for step in range(4):
        fill(database, step * 50, step * 50 + 49)
        await asyncio.gather(*(sealer.seal_all() for sealer in sealers))
    await asyncio.gather(*(sealer.seal_all() for sealer in sealers))
    await asyncio.gather(*(sealer.tell_witnesses() for sealer in sealers))
    verdict = await proven(db, keys, witness)
    assert verdict.holds, verdict.faults
    assert verdict.rows == 200


async def test_a_sealer_that_is_killed_anywhere_leaves_nothing_half(database, db, keys, witness):
    """It is killed twice on its way; each time the next one goes on from what stands."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from muniment.flows import seal_ledger\nfrom muniment.identity.seal_keys import SealKeys\n"
        "from muniment.store.databases import Database\nfrom muniment.store.witnesses import FileWitness\n"
        "seal_ledger.LARGEST = 5\n"
        "async def main():\n"
        "    sealer = seal_ledger.Sealer(Database.open(sys.argv[1]), SealKeys(Path(sys.argv[2])),"
        " [FileWitness(Path(sys.argv[3]))])\n"
        "    print('began', flush=True)\n"
        "    while True:\n"
        "        await sealer.seal()\n"
        "        await sealer.tell_witnesses()\n"
        "asyncio.run(main())\n"
    )
    fill(database, 0, 599)
    for pause in (0.01, 0.05):
        command = (sys.executable, "-c", program, database, str(keys.path), str(witness.path))
        sealing = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert await sealing.stdout.readline() == b"began\n"
        await asyncio.sleep(pause)
        os.kill(sealing.pid, signal.SIGKILL)
        await sealing.wait()
    await seal_once(db, keys, [witness])
    verdict = await proven(db, keys, witness)
    assert verdict.holds, verdict.faults
    assert verdict.rows == 600
    assert verdict.witnesses[0].checkpoints == verdict.seals


async def test_a_checkpoint_is_a_signed_note_that_names_the_one_before_it(db, keys):
    for _ in range(3):
        await write(db, row())
        await seal_once(db, keys)
    first, second, third = await notes(db)
    assert [each.checkpoint.number for each in (first, second, third)] == [1, 2, 3]
    assert second.checkpoint.previous == first.sha256
    assert third.checkpoint.previous == second.sha256
    assert all(each.is_signed_by(keys.current.public, holds) for each in (first, second, third))
    assert not third.is_signed_by(SealKey.made(keys.current.public.name).public, holds)
    assert third.text.split("\n")[:2] == [keys.current.public.name, "3"]
    assert VerifierKey.parse(keys.current.public.text) == keys.current.public


async def test_a_key_that_follows_is_announced_by_the_one_before_and_seals_from_then_on(db, keys, witness):
    await write(db, row())
    await seal_once(db, keys, [witness])
    old = keys.current.public
    sealer = Sealer(db, keys, [witness])
    told = await sealer.rotate(occasion(), "a year is over", "ops")
    new = keys.current.public
    assert told == new.text != old.text
    await write(db, row())
    await seal_once(db, keys, [witness])
    announcing = (await notes(db))[1]
    assert announcing.checkpoint.key == new
    assert announcing.is_signed_by(old, holds)
    assert announcing.is_signed_by(new, holds)
    for pinned in ([old], [new], [old, new]):
        verdict = await verify_ledger(db, Auditing(pinned, [witness]))
        assert verdict.holds, verdict.faults
        assert list(verdict.keys) == [old, new]
    async with db.begin() as tx:
        rows = [each for _, each in await ledger_order.following(tx, None, 10)]
    assert [each.event for each in rows] == [Event.LEASE_SERVED, Event.SEAL_KEY_ROTATED, Event.LEASE_SERVED]


async def test_a_key_that_was_announced_when_everything_stopped_is_found_again(db, keys, monkeypatch):
    await write(db, row())
    await seal_once(db, keys)

    def stopped(_: SealKeys) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SealKeys, "follow", stopped)
    with pytest.raises(KeyboardInterrupt):
        await Sealer(db, keys).rotate(occasion(), "a year is over", "ops")
    monkeypatch.undo()
    assert keys.next_path.exists()
    assert await seal_once(db, SealKeys(keys.path)) == 1
    assert not keys.next_path.exists()
    assert (await proven(db, keys)).holds


async def test_another_key_seals_nothing(db, keys, tmp_path):
    await write(db, row())
    await seal_once(db, keys)
    other = SealKeys(tmp_path / "other.key")
    other.made()
    await write(db, row())
    with pytest.raises(SealingStopped, match="not made with the key"):
        await seal_once(db, other)
    assert len(await notes(db)) == 1


async def test_seals_that_were_changed_are_not_gone_on_from(db, database, keys):
    await write(db, row())
    await seal_once(db, keys)
    tamper(database, "UPDATE ledger_seals SET leaves = set_byte(leaves, 3, get_byte(leaves, 3) # 1)")
    await write(db, row())
    with pytest.raises(SealingStopped, match="not what was signed"):
        await seal_once(db, keys)


@pytest.mark.parametrize("left", [0, 1])
async def test_a_sealer_does_not_make_seals_anew_that_were_taken_away_while_it_works(db, database, keys, left):
    """Else its own signature would stand under whatever was made of the rows meanwhile; it needs no witness to see."""
    sealer = Sealer(db, keys)
    for _ in range(2):
        await write(db, row())
        await sealer.seal_all()
    tamper(database, f"DELETE FROM ledger_seals WHERE number > {left}", "UPDATE ledger SET purpose = 'another'")
    with pytest.raises(SealingStopped, match="checkpoint 2"):
        await sealer.seal_all()
    assert len(await notes(db)) == left


async def test_a_seal_that_was_moved_ahead_lets_no_row_be_passed_over(db, database, keys):
    """Nothing would prove those rows, and who took them away afterwards would leave no trace."""
    await write(db, row())
    await seal_once(db, keys)
    tamper(database, "UPDATE ledger_seals SET xact = (xact::text::bigint + 1000)::text::xid8")
    await write(db, row())
    with pytest.raises(SealingStopped, match="not what was signed"):
        await seal_once(db, keys)


async def test_a_sealer_goes_on_from_what_another_one_sealed(db, keys):
    sealers = [Sealer(db, keys), Sealer(db, keys)]
    for turn in range(4):
        await write(db, row())
        assert await sealers[turn % 2].seal_all() == 1


# --- witnesses ------------------------------------------------------------------------------------------------------


async def test_a_witness_that_was_away_is_told_what_it_missed(db, keys, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.write_text("in the way")
    witness = FileWitness(folder / "checkpoints.jsonl")
    sealer = Sealer(db, keys, [witness])
    for _ in range(3):
        await write(db, row())
        await sealer.seal_all()
        (told,) = await sealer.tell_witnesses()
        assert "exists" in told.fault
    async with db.begin() as tx:
        assert [(each.number, each.fault is None) for each in await seals.witnesses(tx)] == [(0, False)]
    folder.unlink()
    (told,) = await sealer.tell_witnesses()
    assert (told.number, told.fault) == (3, None)
    assert [number for number, _ in witness.notes()] == [1, 2, 3]
    assert (await proven(db, keys, witness)).holds


async def test_a_line_that_was_torn_is_passed_over_and_told_again(db, keys, witness):
    await write(db, row())
    await seal_once(db, keys, [witness])
    with witness.path.open("ab") as file:
        file.write(b'{"number": 2, "no')
    await write(db, row())
    await seal_once(db, keys, [witness])
    assert [number for number, _ in witness.notes()] == [1, 2]
    assert (await proven(db, keys, witness)).holds


@pytest.fixture
async def restored(db, database, keys, witness):
    """A database as it was two checkpoints before the last, which its witness knows."""
    for _ in range(3):
        await write(db, row())
        await seal_once(db, keys, [witness])
    tamper(
        database,
        "DELETE FROM ledger WHERE xact::text::bigint > (SELECT xact::text::bigint FROM ledger_seals WHERE number = 1)",
        "DELETE FROM ledger_seals WHERE number > 1",
    )
    return db


async def test_a_database_that_a_witness_knows_more_of_is_not_sealed(restored, keys, witness):
    await write(restored, row())
    with pytest.raises(SealingStopped, match="accept-restore --because"):
        await seal_once(restored, keys, [witness])
    verdict = await proven(restored, keys, witness)
    assert [(fault.kind, fault.position, fault.rows) for fault in verdict.faults] == [(Kind.TRUNCATED, 1, 2)]
    assert "2 to 3" in verdict.faults[0].words


async def test_one_that_was_sealed_all_the_same_is_told_from_its_witness(restored, keys, witness):
    """By a sealer that was told of no witness."""
    await write(restored, row())
    await seal_once(restored, keys)
    with pytest.raises(SealingStopped):
        await seal_once(restored, keys, [witness])
    verdict = await proven(restored, keys, witness)
    assert (verdict.faults[0].kind, verdict.faults[0].position) == (Kind.RESTORED, 1)
    assert verdict.rows == 1


async def test_a_restore_that_is_accepted_is_said_for_ever(restored, keys, witness):
    await write(restored, row())
    sealer = Sealer(restored, keys, [witness])
    lost = await sealer.accept_restore(occasion(), "the disk broke\non Sunday", "ops")
    assert (lost.first_lost, lost.last_lost, lost.size) == (2, 3, 3)
    assert await seal_once(restored, keys, [witness]) == 2
    verdict = await proven(restored, keys, witness)
    assert verdict.holds, verdict.faults
    assert [(number, told.because) for number, told in verdict.restorations] == [(4, "the disk broke\non Sunday")]
    with pytest.raises(SealingStopped, match="nothing was lost"):
        await sealer.accept_restore(occasion(), "again", "ops")


# --- rows that came otherwise than they say ---------------------------------------------------------------------------


async def test_a_row_that_is_written_now_and_tells_of_long_ago_is_named(db, database, keys, monkeypatch):
    """It is sealed as every other, and the checkpoints before it say that it was not there."""
    await write(db, row())
    await seal_once(db, keys)
    forged = row(at=datetime.now(UTC) - timedelta(hours=2))
    await write(db, row(), forged, row())
    verdict = await proven(db, keys)
    assert [(fault.kind, fault.id) for fault in verdict.faults] == [(Kind.BACKDATED, str(forged.id))]
    await seal_once(db, keys)
    verdict = await proven(db, keys)
    assert [(fault.kind, fault.id, fault.position) for fault in verdict.faults] == [(Kind.BACKDATED, str(forged.id), 2)]


async def test_a_database_cluster_that_never_was_lets_no_row_tell_of_long_ago(db, database, keys):
    """Its transactions count anew, time does not."""
    await write(db, row())
    await seal_once(db, keys)
    system = "SELECT system_identifier::text FROM pg_control_system()"
    tamper(
        database,
        "UPDATE ledger_clusters SET system = 'elsewhere'",
        f"INSERT INTO ledger_clusters SELECT 2, ({system}), (SELECT max(seq) FROM ledger), now()",
    )
    old = row(at=datetime.now(UTC) - timedelta(hours=3))
    await write(db, old)
    await seal_once(db, keys)
    found = (await proven(db, keys)).faults
    assert [(fault.kind, fault.id) for fault in found] == [(Kind.BACKDATED, str(old.id))]


async def test_rows_of_before_the_first_seal_may_be_as_old_as_they_are(db, keys):
    await write(db, *(row(at=datetime.now(UTC) - timedelta(days=days)) for days in range(40, 0, -10)))
    await seal_once(db, keys)
    await write(db, row())
    await seal_once(db, keys)
    assert (await proven(db, keys)).holds


async def test_a_row_that_tells_of_tomorrow_is_named(db, keys):
    forged = row(at=datetime.now(UTC) + timedelta(days=1))
    await write(db, forged)
    await seal_once(db, keys)
    assert [(fault.kind, fault.id) for fault in (await proven(db, keys)).faults] == [(Kind.BACKDATED, str(forged.id))]


async def test_a_copy_of_a_row_that_was_sealed_later_is_named(db, database, keys):
    once = row()
    await write(db, once)
    await seal_once(db, keys)
    await write(db, replace(once, at=once.at + timedelta(seconds=1)))
    await seal_once(db, keys)
    verdict = await proven(db, keys)
    assert {(fault.kind, fault.id) for fault in verdict.faults} == {(Kind.INSERTED, str(once.id))}


async def test_after_a_restore_from_a_dump_the_rows_of_before_are_sealed_first_and_all_is_proven(db, database, keys):
    """The dump was taken when not all was sealed; the new cluster counts its transactions from far below."""
    later = "UPDATE ledger SET xact = (xact::text::bigint + 1000000000)::text::xid8"
    await write(db, row())
    tamper(database, later)
    # As if that cluster had sealed it, which had come so far.
    tamper(database, "UPDATE ledger_clusters SET system = 'elsewhere'")
    await write(db, row(project="not sealed when it was dumped"))
    tamper(database, f"{later} WHERE project IS NOT NULL")
    async with db.begin() as tx:
        assert await ledger_order.note_cluster(tx) == 2
    await write(db, row(project="after"))
    assert await seal_once(db, keys) == 3
    await write(db, row())
    assert await seal_once(db, keys) == 1
    verdict = await proven(db, keys)
    assert verdict.holds, verdict.faults
    assert verdict.rows == 4
    assert (await notes(db))[0].checkpoint.cluster == 2


# --- what may go ------------------------------------------------------------------------------------------------------


async def test_rows_that_a_signed_and_sealed_row_retired_may_be_gone(db, database, keys):
    old = [row(id=UUID(int=(0x0100 << 112) + (7 << 76) + (2 << 62) + n)) for n in range(3)]
    await write(db, *old, row())
    await seal_once(db, keys)
    said = keys.signed({"before": "2020-01-01T00:00:00Z", "because": "ten years are over"})
    await write(db, row(event=Event.LEDGER_RETIRED, details=said))
    await seal_once(db, keys)
    with unguarded(database) as owner:
        owner.execute("DELETE FROM ledger WHERE id = ANY(%s)", [[each.id for each in old]])
    verdict = await proven(db, keys)
    assert verdict.holds, verdict.faults
    assert (verdict.retired, verdict.rows) == (3, 5)
