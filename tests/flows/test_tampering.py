"""Whatever is done to a sealed ledger, straight in Postgres by whoever owns its tables, is found, and the row named.

One ledger is sealed for all tests. Each tampers with it in a transaction of the owner's, in which it is
verified and which is undone; what takes a commit has a copy of its own.
"""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from hypothesis import settings as hypothesis
from sqlalchemy import text

from muniment.core import seals as core
from muniment.core.checkpoints import Note
from muniment.core.verdicts import Kind
from muniment.flows.seal_ledger import Sealer
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKey, SealKeys
from muniment.store import ledger_guards, ledger_order, ledger_shape, seals
from muniment.store.databases import Database
from muniment.store.witnesses import FileWitness
from tests.ledgers import fill
from tests.owning import owned

pytestmark = pytest.mark.anyio

#: A hundred thousand rows where there is time for it.
ROWS = 100_000 if hypothesis.get_current_profile_name() == "deep" else 1_500
PLACES = 3 if hypothesis.get_current_profile_name() == "deep" else 1


@dataclass(frozen=True)
class Ledger:
    """A sealed ledger: where it is, its key and witness, and its rows and seals in their order."""

    url: str
    keys: SealKeys
    witness: FileWitness
    rows: list
    seals: list

    def at(self, seed, low=0.05, high=0.9):
        """A position somewhere, the same for the same seed."""
        return random.Random(seed).randrange(int(low * len(self.rows)), int(high * len(self.rows)))


class Undone(Exception):
    """Ends a transaction."""


class OneTransaction:
    """A database of which there is one transaction, in which everything is asked."""

    def __init__(self, tx):
        self.tx = tx

    @asynccontextmanager
    async def begin(self):
        yield self.tx


@pytest.fixture(scope="module")
async def sealed(module_database, tmp_path_factory):
    place = tmp_path_factory.mktemp("seals")
    keys, witness = SealKeys(place / "seals.key"), FileWitness(place / "checkpoints.jsonl")
    keys.made()
    db = Database.open(module_database)
    sealer = Sealer(db, keys, [witness])
    cuts = sorted(random.Random(1).sample(range(1, ROWS), 9))
    for first, end in zip([0, *cuts], [*cuts, ROWS], strict=True):
        fill(module_database, first, end - 1)
        await sealer.seal_all()
    await sealer.tell_witnesses()
    async with db.begin() as tx:
        held, clusters = await seals.following(tx, 0, ROWS), await ledger_order.clusters(tx)
        rows = await seals.rows_between(tx, clusters, ledger_order.Place(0, 0, 0), None)
    await db.close()
    assert len(rows) == ROWS
    return Ledger(module_database, keys, witness, rows, held)


async def verified(db, ledger, *, pinned=True, witnesses=True):
    auditing = Auditing([ledger.keys.current.public] if pinned else [], [ledger.witness] if witnesses else [])
    return await verify_ledger(db, auditing)


@asynccontextmanager
async def tampering(ledger):
    """The ledger's database as its owner, without its guards, in a transaction that is undone."""
    db = Database.open(owned(ledger.url), statement_seconds=120, transaction_seconds=300)
    try:
        with suppress(Undone):
            async with db.begin() as tx:
                for table in await guarded(tx):
                    await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
                yield tx
                for table in await guarded(tx):
                    await tx.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
                raise Undone
    finally:
        await db.close()


async def guarded(tx):
    months = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass")
    return ["ledger", "ledger_seals", "ledger_tiles", "ledger_clusters", *(await tx.execute(months)).scalars()]


async def enabled(tx):
    for table in await guarded(tx):
        await tx.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


async def judged(tx, ledger, **how):
    """The verdict, with the guards back in their places: nothing shows but what was done."""
    await enabled(tx)
    verdict = await verified(OneTransaction(tx), ledger, **how)
    for table in await guarded(tx):
        await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    return verdict


def first(verdict):
    assert verdict.faults, "nothing was found"
    return verdict.faults[0]


async def test_an_untouched_ledger_holds(sealed):
    async with tampering(sealed) as tx:
        verdict = await judged(tx, sealed)
    assert verdict.faults == ()
    assert (verdict.rows, verdict.sealed, verdict.unsealed) == (ROWS, ROWS, 0)
    assert verdict.proven_until == sealed.seals[-1].at
    assert verdict.witnesses[0].checkpoints == len(sealed.seals)
    assert verdict.pinned


#: What is done to one row, as SQL.
CHANGES = {
    "a word": "UPDATE ledger SET purpose = 'another' WHERE id = :id",
    "who": "UPDATE ledger SET subject = 'user:eve' WHERE id = :id",
    "a number in full": "UPDATE ledger SET details = details || '{\"number\": 1.00000000000000000001}' WHERE id = :id",
    "a microsecond": "UPDATE ledger SET at = at + interval '1 microsecond' WHERE id = :id",
    "one dataset fewer": "UPDATE ledger SET datasets = datasets[2:] WHERE id = :id",
    "nothing for something": "UPDATE ledger SET run = '' WHERE id = :id",
    "the salt": "UPDATE ledger SET salt = salt || 'x' WHERE id = :id",
    "its number": "UPDATE ledger SET seq = seq + 1000000 WHERE id = :id",
    "its transaction, a little": "UPDATE ledger SET xact = (xact::text::bigint - 1)::text::xid8 WHERE id = :id",
    "its transaction, by far": "UPDATE ledger SET xact = (xact::text::bigint + 1000000)::text::xid8 WHERE id = :id",
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_changed_row_is_named(sealed, name):
    for turn in range(PLACES):
        position = sealed.at(name + str(turn))
        async with tampering(sealed) as tx:
            await tx.execute(text(CHANGES[name]), {"id": UUID(sealed.rows[position].id)})
            verdict = await judged(tx, sealed)
        found = first(verdict)
        assert found.kind in {Kind.CHANGED, Kind.REORDERED}
        assert (found.id, found.position) == (sealed.rows[position].id, position)
        assert verdict.rows == max((seal.size for seal in sealed.seals if seal.size <= position), default=0)


async def test_a_row_whose_identifier_was_changed_is_named(sealed):
    position = sealed.at("identifier")
    async with tampering(sealed) as tx:
        renaming = text("UPDATE ledger SET id = :other WHERE id = :id")
        await tx.execute(renaming, {"id": UUID(sealed.rows[position].id), "other": uuid4()})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.id, found.position) == (Kind.CHANGED, sealed.rows[position].id, position)


@pytest.mark.parametrize("count", [1, 40])
async def test_removed_rows_are_named(sealed, count):
    position = sealed.at(f"removed {count}")
    gone = [UUID(row.id) for row in sealed.rows[position : position + count]]
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger WHERE id = ANY(:ids)"), {"ids": gone})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.id, found.position) == (Kind.REMOVED, str(gone[0]), position)


async def test_the_first_row_is_missed_as_any_other(sealed):
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger WHERE id = :id"), {"id": UUID(sealed.rows[0].id)})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.id, found.position) == (Kind.REMOVED, sealed.rows[0].id, 0)


async def test_rows_cut_off_at_the_end_are_told_from_the_seals(sealed):
    gone = [UUID(row.id) for row in sealed.rows[-25:]]
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger WHERE id = ANY(:ids)"), {"ids": gone})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.id, found.rows) == (Kind.TRUNCATED, str(gone[0]), 25)


CONTENTS = [name for name in core.Stored._fields if name not in {"id", "at", "seq", "xact"}]
EXCHANGED = {
    "contents": CONTENTS,
    "identifiers": ["id"],
    "places": ["seq", "xact"],
    "moments": ["at"],
    "all but the identifier": [name for name in core.Stored._fields if name != "id"],
}


@pytest.mark.parametrize("what", EXCHANGED)
@pytest.mark.parametrize("apart", ["near", "far"])
async def test_rows_whose_contents_or_places_were_exchanged_are_named(sealed, what, apart):
    one = sealed.at(what + apart)
    other = one + 3 if apart == "near" else len(sealed.rows) - one // 2 - 1
    ids = [UUID(sealed.rows[position].id) for position in (one, other)]
    columns = ", ".join(EXCHANGED[what])
    async with tampering(sealed) as tx:
        keeping = text("CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM ledger WHERE id = ANY(:ids)")
        await tx.execute(keeping, {"ids": ids})
        spare = uuid4()
        if "id" in EXCHANGED[what]:
            await tx.execute(text("UPDATE ledger SET id = :spare WHERE id = :one"), {"spare": spare, "one": ids[0]})
            await tx.execute(text("UPDATE ledger SET id = :one WHERE id = :other"), {"one": ids[0], "other": ids[1]})
            await tx.execute(text("UPDATE ledger SET id = :other WHERE id = :spare"), {"other": ids[1], "spare": spare})
        else:
            taken = f"(SELECT {columns} FROM kept WHERE id = :other)"
            change = text(f"UPDATE ledger SET ({columns}) = {taken} WHERE id = :one")
            await tx.execute(change, {"one": ids[0], "other": ids[1]})
            await tx.execute(change, {"one": ids[1], "other": ids[0]})
        verdict = await judged(tx, sealed)
    found = first(verdict)
    assert (found.id, found.position) == (sealed.rows[min(one, other)].id, min(one, other))
    assert found.kind is Kind.REORDERED, found


#: A copy of a row, with something else of it.
COPY = """
    INSERT INTO ledger SELECT (json_populate_record(ledger, CAST(:other AS json))).* FROM ledger WHERE id = :id
"""
INSERTED = {
    "between two rows": '{"id": "019ab000-0000-7000-8000-000000000001"}',
    "again at another moment": '{"at": "2026-11-23T00:00:00Z"}',
    "with a number of nobody's": '{"id": "019ab000-0000-7000-8000-000000000001", "seq": -7}',
    "before all": '{"id": "019ab000-0000-7000-8000-000000000001", "xact": "1"}',
    "by a transaction to come": '{"id": "019ab000-0000-7000-8000-000000000001", "xact": "99999999999"}',
    "by the last one there can be": '{"id": "019ab000-0000-7000-8000-000000000001", "xact": "18446744073709551615"}',
}


@pytest.mark.parametrize("where", INSERTED)
async def test_a_row_written_among_sealed_ones_is_named(sealed, where):
    position = sealed.at(where)
    async with tampering(sealed) as tx:
        at = {"id": UUID(sealed.rows[position].id), "other": INSERTED[where]}
        if "moment" in where:
            await tx.execute(text("SELECT ledger_partition('2026-11-23')"))
        await tx.execute(text(COPY), at)
        verdict = await judged(tx, sealed)
    found = [fault for fault in verdict.faults if fault.kind is Kind.INSERTED]
    assert found
    assert found[0].id == json.loads(INSERTED[where]).get("id", sealed.rows[position].id)


async def test_a_row_without_a_place_is_counted(sealed):
    async with tampering(sealed) as tx:
        await tx.execute(text("ALTER TABLE ledger ALTER COLUMN xact DROP NOT NULL"))
        other = '{"id": "019ab000-0000-7000-8000-000000000001", "xact": null}'
        await tx.execute(text(COPY), {"id": UUID(sealed.rows[50].id), "other": other})
        verdict = await judged(tx, sealed)
    assert {fault.kind for fault in verdict.faults} == {Kind.INSERTED, Kind.UNGUARDED}


SEALS = {
    "a leaf": "UPDATE ledger_seals SET leaves = set_byte(leaves, 40, get_byte(leaves, 40) # 1) WHERE number = :number",
    "all leaves": "UPDATE ledger_seals SET leaves = '' WHERE number = :number",
    "an identifier": "UPDATE ledger_seals SET ids = set_byte(ids, 20, get_byte(ids, 20) # 1) WHERE number = :number",
    "identifiers exchanged": "UPDATE ledger_seals SET ids = substring(ids FROM 17 FOR 16) || substring(ids FOR 16) "
    "|| substring(ids FROM 33) WHERE number = :number",
    "its moment": "UPDATE ledger_seals SET at = at - interval '1 day' WHERE number = :number",
    "its size": "UPDATE ledger_seals SET size = size + 4000000000000000000 WHERE number = :number",
    "where it begins": "UPDATE ledger_seals SET first = -5 WHERE number = :number",
    "its place": "UPDATE ledger_seals SET seq = seq - 2, xact = '1' WHERE number = :number",
    "its place, far on": "UPDATE ledger_seals SET xact = '18446744073709551615' WHERE number = :number",
    "what was signed": "UPDATE ledger_seals SET checkpoint = replace(checkpoint, 'next ', 'next 1') "
    "WHERE number = :number",
    "the signature": "UPDATE ledger_seals SET checkpoint = replace(checkpoint, '— ', '— x') WHERE number = :number",
    "all of the note": "UPDATE ledger_seals SET checkpoint = 'nothing' WHERE number = :number",
    "it is gone": "DELETE FROM ledger_seals WHERE number = :number",
    "it has another number": "UPDATE ledger_seals SET number = number + 1000 WHERE number = :number",
}


@pytest.mark.parametrize("what", SEALS)
async def test_a_changed_seal_is_named_by_its_first_row(sealed, what):
    seal = random.Random(what).choice(sealed.seals[2:-2])
    async with tampering(sealed) as tx:
        await tx.execute(text(SEALS[what]), {"number": seal.number})
        verdict = await judged(tx, sealed)
    found = first(verdict)
    assert found.kind in {Kind.SEAL_CHANGED, Kind.KEY_REPLACED}
    assert found.position == seal.first
    assert verdict.rows == seal.first


async def test_seals_that_stand_in_each_others_places_are_named(sealed):
    one, other = sealed.seals[3], sealed.seals[6]
    async with tampering(sealed) as tx:
        for number, to in ((one.number, 999), (other.number, one.number), (999, other.number)):
            renumbering = text("UPDATE ledger_seals SET number = :to WHERE number = :number")
            await tx.execute(renumbering, {"number": number, "to": to})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.position) == (Kind.SEAL_CHANGED, one.first)


async def test_a_row_that_was_changed_with_its_leaf_is_found_by_the_signed_root(sealed):
    position = sealed.at("with its leaf")
    seal = next(each for each in sealed.seals if each.first <= position < each.size)
    changed = sealed.rows[position]._replace(purpose="another")
    begin = (position - seal.first) * 32
    leaves = seal.leaves[:begin] + core.leaf(changed) + seal.leaves[begin + 32 :]
    async with tampering(sealed) as tx:
        await tx.execute(text("UPDATE ledger SET purpose = 'another' WHERE id = :id"), {"id": UUID(changed.id)})
        another = text("UPDATE ledger_seals SET leaves = :leaves WHERE number = :number")
        await tx.execute(another, {"leaves": leaves, "number": seal.number})
        found = first(await judged(tx, sealed))
    assert (found.kind, found.position, found.rows) == (Kind.CHANGED, seal.first, seal.size - seal.first)


@pytest.mark.parametrize("rows", ["with their rows", "without them"])
async def test_newest_seals_that_were_cut_off_are_known_from_a_witness(sealed, rows):
    left = sealed.seals[-3]
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger_seals WHERE number > :number"), {"number": left.number})
        if rows == "with their rows":
            gone = [UUID(row.id) for row in sealed.rows[left.size :]]
            await tx.execute(text("DELETE FROM ledger WHERE id = ANY(:ids)"), {"ids": gone})
        verdict = await judged(tx, sealed)
        alone = await judged(tx, sealed, witnesses=False)
    found = first(verdict)
    assert (found.kind, found.position, found.rows) == (Kind.TRUNCATED, left.size, ROWS - left.size)
    assert verdict.rows == left.size
    assert alone.unsealed == (0 if rows == "with their rows" else ROWS - left.size)


def signed_anew(ledger, key, begin):
    """All seals from one on, as they would be if another key had made them."""
    notes, previous = [], None
    for seal in ledger.seals:
        note = Note.parse(seal.checkpoint)
        if seal.number >= begin:
            said = note.checkpoint
            said = replace(said, previous=previous) if previous else said
            note = key.note(replace(said, key=key.public, origin=key.public.name) if seal.number == 1 else said)
        notes.append((seal.number, note.text))
        previous = note.sha256
    return notes


@pytest.mark.parametrize("begin", [1, 5])
@pytest.mark.parametrize("held_to", ["the key", "the witness", "neither"])
async def test_a_chain_that_another_key_signed_anew_is_named(sealed, begin, held_to):
    key = SealKey.made(sealed.keys.current.public.name)
    async with tampering(sealed) as tx:
        for number, note in signed_anew(sealed, key, begin):
            anew = text("UPDATE ledger_seals SET checkpoint = :note WHERE number = :number")
            await tx.execute(anew, {"note": note, "number": number})
        verdict = await judged(tx, sealed, pinned=held_to == "the key", witnesses=held_to == "the witness")
    if held_to == "neither" and begin == 1:
        assert verdict.holds
        assert not verdict.pinned
    else:
        position = sealed.seals[begin - 1].first
        assert (first(verdict).kind, first(verdict).position) == (Kind.KEY_REPLACED, position)
        assert verdict.rows == position


@pytest.mark.parametrize(
    "done",
    [
        "UPDATE ledger_tiles SET hash = sha256(hash) WHERE index = 2",
        "DELETE FROM ledger_tiles WHERE index = 2",
        "INSERT INTO ledger_tiles VALUES (-1, 0, sha256('x'))",
    ],
    ids=["changed", "gone", "put there"],
)
async def test_hashes_from_which_proofs_are_made_are_held_to_the_rows(sealed, done):
    async with tampering(sealed) as tx:
        await tx.execute(text(done))
        found = first(await judged(tx, sealed))
    assert found.kind is Kind.SEAL_CHANGED
    assert "ledger_tiles" in found.words


async def test_where_a_clusters_rows_begin_is_signed(sealed):
    async with tampering(sealed) as tx:
        await tx.execute(text("UPDATE ledger_clusters SET after_seq = 500"))
        assert first(await judged(tx, sealed)).kind is Kind.SEAL_CHANGED


async def test_clusters_that_nobody_notes_any_more_are_missed(sealed):
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger_clusters"))
        found = first(await judged(tx, sealed))
    assert (found.kind, found.position) == (Kind.SEAL_CHANGED, 0)
    assert "ledger_clusters" in found.words


@pytest.mark.parametrize("table", ["ledger", "ledger_seals", "ledger_clusters"])
async def test_a_table_that_is_gone_is_told(sealed, table):
    async with tampering(sealed) as tx:
        await tx.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere"))
        verdict = await verified(OneTransaction(tx), sealed)
        await tx.execute(text(f"ALTER TABLE elsewhere RENAME TO {table}"))
    assert f"There is no table {table}." in {fault.words for fault in verdict.faults}
    assert verdict.proven_until is None


@pytest.mark.parametrize("number", [0, -5])
async def test_a_seal_before_the_first_is_found(sealed, number):
    """It could announce a key of somebody's own to those who ask for the keys."""
    before = "INSERT INTO ledger_seals SELECT :number, at, 0, 0, '', '', checkpoint, cluster, xact, seq"
    async with tampering(sealed) as tx:
        await tx.execute(text(f"{before} FROM ledger_seals WHERE number = 1"), {"number": number})
        assert first(await judged(tx, sealed)).kind is Kind.SEAL_CHANGED


async def test_rows_without_any_seal_prove_nothing_once_they_are_no_longer_new(sealed):
    """Whoever took all seals away, and had no witness to fear, would else be told that the ledger holds."""
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger_seals"))
        await tx.execute(text("DELETE FROM ledger_tiles"))
        await tx.execute(text("DELETE FROM ledger_witnesses"))
        fresh = await judged(tx, sealed, witnesses=False)
        await tx.execute(
            text("UPDATE ledger SET at = at - interval '20 minutes' WHERE id = :id"), {"id": UUID(sealed.rows[7].id)}
        )
        await tx.execute(text("DELETE FROM ledger WHERE id <> :id"), {"id": UUID(sealed.rows[7].id)})
        verdict = await judged(tx, sealed, witnesses=False)
    assert fresh.holds
    assert (first(verdict).kind, first(verdict).rows) == (Kind.TRUNCATED, 1)


ERASING = """
    UPDATE ledger SET subject = 'erased', subject_state = 'erased', address = 'erased', client = 'erased',
      credential = 'erased', who_sha256 = :who WHERE id = :id
"""


async def test_fields_that_nobody_said_were_erased_are_named(sealed):
    position = sealed.at("erased")
    row = sealed.rows[position]
    async with tampering(sealed) as tx:
        await tx.execute(text(ERASING), {"id": UUID(row.id), "who": core.who_commitment(row)})
        verdict = await judged(tx, sealed)
    assert (first(verdict).kind, first(verdict).id, first(verdict).position) == (Kind.ERASED, row.id, position)


async def test_what_is_written_where_fields_were_erased_is_named(sealed):
    """The commitment is right; what stands beside it is anybody's."""
    position = sealed.at("written there")
    row = sealed.rows[position]
    async with tampering(sealed) as tx:
        await tx.execute(
            text("UPDATE ledger SET subject = 'user:eve', who_sha256 = :who WHERE id = :id"),
            {"id": UUID(row.id), "who": core.who_commitment(row)},
        )
        verdict = await judged(tx, sealed)
    assert (first(verdict).kind, first(verdict).id, first(verdict).position) == (Kind.CHANGED, row.id, position)


@pytest.mark.parametrize("signature", ["bm9ib2R5", None])
async def test_a_retirement_that_nobody_signed_excuses_nothing(sealed, signature):
    position = sealed.at("retired")
    said = {"before": "2030-01-01T00:00:00Z", "signature": signature}
    async with tampering(sealed) as tx:
        await tx.execute(text("DELETE FROM ledger WHERE id = :id"), {"id": UUID(sealed.rows[position].id)})
        other = text("UPDATE ledger SET event = 'ledger.retired', details = CAST(:said AS jsonb) WHERE id = :id")
        await tx.execute(other, {"said": core.written(said), "id": UUID(sealed.rows[-1].id)})
        verdict = await judged(tx, sealed)
    assert first(verdict).position == position
    assert first(verdict).kind is (Kind.RETIRED if signature else Kind.REMOVED)
    assert verdict.rows <= position


async def test_a_month_that_was_detached_is_missed(sealed):
    async with tampering(sealed) as tx:
        asked = text("SELECT tableoid::regclass::text FROM ledger ORDER BY xact, seq LIMIT 1")
        month = (await tx.execute(asked)).scalar_one()
        await tx.execute(text(f"ALTER TABLE ledger DETACH PARTITION {month}"))
        found = first(await judged(tx, sealed))
    assert found.kind in {Kind.REMOVED, Kind.TRUNCATED}
    assert (found.id, found.position) == (sealed.rows[0].id, 0)


GUARDS = {
    "switched off": "ALTER TABLE ledger DISABLE TRIGGER refuse_to_forget",
    "taken away": "DROP TRIGGER refuse_to_forget ON ledger_seals",
    "emptied": "CREATE OR REPLACE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RETURN NULL; END'",
    "sometimes": "CREATE OR REPLACE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE ON ledger_tiles "
    "FOR EACH STATEMENT WHEN (pg_trigger_depth() > 5) EXECUTE FUNCTION refuse_to_forget()",
    "no salt": "ALTER TABLE ledger ALTER COLUMN salt DROP DEFAULT",
    "a salt that is known": "ALTER TABLE ledger ALTER COLUMN salt SET DEFAULT '\\x00'",
    "transactions that are not": "ALTER TABLE ledger ALTER COLUMN xact SET DEFAULT '7'",
    "rows hidden": "ALTER TABLE ledger ENABLE ROW LEVEL SECURITY",
    "another way to erase": "CREATE OR REPLACE FUNCTION only_erases(before jsonb, after jsonb) RETURNS boolean "
    "LANGUAGE sql AS 'SELECT true'",
    "another way to erase, beside": "CREATE FUNCTION ledger_erase(given text) RETURNS bigint LANGUAGE sql "
    "AS 'SELECT 1'",
    "gone with a crash": "ALTER TABLE ledger_tiles SET UNLOGGED",
    "a rule": "CREATE RULE away AS ON INSERT TO ledger_clusters DO INSTEAD NOTHING",
    "another trigger": "CREATE TRIGGER bend AFTER INSERT ON ledger_seals FOR EACH STATEMENT "
    "EXECUTE FUNCTION refuse_nobody()",
}


@pytest.mark.parametrize("what", GUARDS)
async def test_a_guard_that_does_not_stand_is_told(sealed, what):
    async with tampering(sealed) as tx:
        await enabled(tx)
        nobody = "CREATE FUNCTION refuse_nobody() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        await tx.execute(text(nobody))
        await tx.execute(text(GUARDS[what]))
        verdict = await verified(OneTransaction(tx), sealed)
    assert {fault.kind for fault in verdict.faults} == {Kind.UNGUARDED}
    assert verdict.rows == ROWS


#: Moments that PostgreSQL knows and no calendar, and clusters that never were.
BEYOND = {
    "a seal's": ("UPDATE ledger_seals SET at = 'infinity' WHERE number = 4", Kind.SEAL_CHANGED),
    "a seal's, long ago": ("UPDATE ledger_seals SET at = '4000-01-01 BC' WHERE number = 4", Kind.SEAL_CHANGED),
    "a row's": ("UPDATE ledger SET at = 'infinity' WHERE seq = 700", Kind.CHANGED),
    "a row's, long ago": ("UPDATE ledger SET at = '0044-03-15 BC' WHERE seq = 700", Kind.CHANGED),
    "clusters that are none": ("INSERT INTO ledger_clusters VALUES (0, 'a', -100, 'infinity')", Kind.UNGUARDED),
    "a cluster to come": ("INSERT INTO ledger_clusters VALUES (2, 'a', 7000000, now())", Kind.UNGUARDED),
}


@pytest.mark.parametrize("what", BEYOND)
async def test_what_lies_beyond_every_calendar_and_cluster_is_found_as_well(sealed, what):
    done, kind = BEYOND[what]
    async with tampering(sealed) as tx:
        await tx.execute(text("CREATE TABLE elsewhere PARTITION OF ledger DEFAULT"))
        await tx.execute(text(done))
        verdict = await judged(tx, sealed)
    assert first(verdict).kind is kind


#: What is done to the tables themselves, after which the ledger cannot be read as what it was, and what is said of it.
UNREADABLE = {
    "a view": ("ALTER TABLE ledger RENAME TO l; CREATE VIEW ledger AS SELECT * FROM l", "ledger is no table any more"),
    "a plain table": (
        "ALTER TABLE ledger RENAME TO l; CREATE TABLE ledger (LIKE l INCLUDING ALL)",
        "ledger is no table",
    ),
    "seals that are a view": (
        "ALTER TABLE ledger_seals RENAME TO s; CREATE VIEW ledger_seals AS SELECT * FROM s",
        "ledger_seals is no table any more",
    ),
    "a table of one session": (
        "CREATE TEMP TABLE ledger AS SELECT * FROM public.ledger",
        "ledger is no table any more",
    ),
    "a column that is gone": ("ALTER TABLE ledger RENAME COLUMN run TO ran", "ledger has no column run"),
    "JSON as it was written": (
        "ALTER TABLE ledger ALTER details TYPE json USING details::text::json",
        "ledger.details is of the type json, and it was made as jsonb",
    ),
    "numbers without end": ("ALTER TABLE ledger ALTER revision TYPE numeric", "ledger.revision is of the type numeric"),
    "a seal's number": ("ALTER TABLE ledger_seals ALTER number TYPE numeric", "ledger_seals.number is of the type"),
    "bounds": ("UPDATE pg_class SET relpartbound = NULL WHERE oid = {month}::regclass", "its bounds are gone"),
    "a witness's table": ("ALTER TABLE ledger_witnesses RENAME TO w", "There is no table ledger_witnesses"),
}
#: What is done to them after which it can still be read, and not by everybody as the same.
STRANGE = {
    "another column": ("ALTER TABLE ledger ADD COLUMN told text", "ledger.told is no column of Muniment's"),
    "a value of its own": ("ALTER TABLE ledger ALTER subject SET DEFAULT 'x'", "ledger.subject is filled by the"),
    "a value that is computed": (
        "ALTER TABLE ledger DROP COLUMN run; ALTER TABLE ledger ADD COLUMN run text GENERATED ALWAYS AS ('x') STORED",
        "ledger.run is filled by the database",
    ),
    "nothing where something is": (
        "ALTER TABLE ledger_seals ALTER checkpoint DROP NOT NULL",
        "ledger_seals.checkpoint may be empty",
    ),
    "a lie that hides rows": (
        (
            "ALTER TABLE {table} ADD CONSTRAINT c CHECK (subject <> 'user:person7') NOT VALID; "
            "UPDATE pg_constraint SET convalidated = true WHERE conname = 'c'"
        ),
        "queries that believe it pass rows over",
    ),
    "an index without new rows": (
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'ix_ledger_subject_at_id'::regclass",
        "ix_ledger_subject_at_id of ledger is switched off",
    ),
    "triggers that do not fire": ("UPDATE pg_class SET relhastriggers = false WHERE relname = {month}", "no triggers"),
    "indexes that nobody keeps": ("UPDATE pg_class SET relhasindex = false WHERE relname = {month}", "no indexes"),
    "a trigger that hides": (
        (
            "CREATE TRIGGER bend BEFORE INSERT ON ledger_seals FOR EACH ROW EXECUTE FUNCTION refuse_to_forget(); "
            "UPDATE pg_trigger SET tgisinternal = true WHERE tgname = 'bend'"
        ),
        "The trigger bend on ledger_seals says of itself",
    ),
    "a table below": ("CREATE TABLE s () INHERITS (ledger_seals)", "s stands below ledger_seals"),
    "a month of parts": (
        (
            "CREATE TABLE parts PARTITION OF ledger FOR VALUES FROM ('2040-01-01Z') TO ('2040-02-01Z') "
            "PARTITION BY HASH (at, id); CREATE TABLE part PARTITION OF parts FOR VALUES WITH (modulus 1, remainder 0)"
        ),
        "part stands below parts",
    ),
    "another ledger": (
        "CREATE SCHEMA evil; CREATE TABLE evil.ledger AS SELECT * FROM ledger",
        "There is another ledger in the schema evil",
    ),
    "what runs when somebody connects": (
        (
            "CREATE FUNCTION bend() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
            "CREATE EVENT TRIGGER bend ON login EXECUTE FUNCTION bend()"
        ),
        "Whoever connects runs bend",
    ),
    "a function's path": ("ALTER FUNCTION only_erases SET search_path = evil, pg_catalog", "only_erases has settings"),
    "numbers that go down": ("ALTER SEQUENCE ledger_seq INCREMENT -1", "ledger_seq does not count up by one"),
}


#: Months that are none, by their bounds.
MONTHS = ["'2040-01-01Z') TO ('2041-01-01Z'", "'0200-01-01 BC') TO ('0100-01-01 BC'", "'9999-12-01Z') TO ('infinity'"]


@pytest.mark.parametrize("bounds", MONTHS)
async def test_a_month_of_other_bounds_is_told(sealed, bounds):
    async with as_superuser(sealed) as tx:
        await tx.exec_driver_sql(f"CREATE TABLE ledger_2040_01 PARTITION OF ledger FOR VALUES FROM ({bounds})")
        told = await ledger_guards.faults(tx)
    assert any("ledger_2040_01 holds other rows than those of a month" in each for each in told)


@asynccontextmanager
async def as_superuser(ledger):
    """The ledger's database as whoever may do everything, in a transaction that is undone."""
    db = Database.open(owned(ledger.url).replace("//muniment@", "//postgres@"), statement_seconds=120)
    try:
        with suppress(Undone):
            async with db.begin() as tx:
                yield tx
                raise Undone
    finally:
        await db.close()


@pytest.mark.parametrize("found", ["unreadable", "strange"])
async def test_tables_that_are_not_as_they_were_made_are_told(sealed, found, subtests):
    """Each of these shows somebody another ledger than it proves, or would do so soon, and changes no row."""
    ask, cases = (ledger_shape.unreadable, UNREADABLE) if found == "unreadable" else (ledger_shape.faults, STRANGE)
    async with as_superuser(sealed) as tx:
        table = text("SELECT tableoid::regclass::text FROM ledger ORDER BY xact, seq LIMIT 1")
        month = (await tx.execute(table)).scalar_one()
        assert [*await ledger_shape.unreadable(tx), *await ledger_shape.faults(tx)] == []
        for name, (done, words) in cases.items():
            with subtests.test(name):
                savepoint = await tx.begin_nested()
                for each in done.split("; "):
                    await tx.exec_driver_sql(each.format(table=month, month=f"'{month}'"))
                told = await ask(tx)
                await savepoint.rollback()
                assert any(words in each for each in told), told


@pytest.mark.parametrize("what", ["another column", "a view"])
async def test_whatever_the_tables_are_the_verdict_says_it_and_nobody_sees_a_stack(sealed, what):
    done, words = (UNREADABLE | STRANGE)[what]
    async with as_superuser(sealed) as tx:
        for each in done.split("; "):
            await tx.exec_driver_sql(each)
        verdict = await verified(OneTransaction(tx), sealed)
    assert {fault.kind for fault in verdict.faults} == {Kind.UNGUARDED}
    assert words in verdict.faults[0].words
    assert verdict.rows == (ROWS if what in STRANGE else 0)


#: What only a superuser can write into a row or a seal, and the row that is named.
WRITTEN = {
    "lists that begin elsewhere": (
        "UPDATE ledger SET datasets = ('[0:1]={{' || array_to_string(datasets, ',') || '}}')::text[] WHERE seq = {seq}",
        "seq",
    ),
    "bytes that are no text": (
        (
            "CREATE CAST (bytea AS text) WITHOUT FUNCTION; "
            "UPDATE ledger SET purpose = '\\xff41'::bytea::text WHERE seq = {seq}; DROP CAST (bytea AS text)"
        ),
        "seq",
    ),
    "no details at all": (
        "ALTER TABLE ledger ALTER details DROP NOT NULL; UPDATE ledger SET details = NULL WHERE seq = {seq}",
        "seq",
    ),
    "no identifier": (
        (
            "ALTER TABLE ledger DROP CONSTRAINT pk_ledger; ALTER TABLE ledger ALTER id DROP NOT NULL; "
            "UPDATE ledger SET id = NULL WHERE seq = {seq}"
        ),
        "seq",
    ),
    "no checkpoint": (
        (
            "ALTER TABLE ledger_seals ALTER checkpoint DROP NOT NULL; "
            "UPDATE ledger_seals SET checkpoint = NULL WHERE number = {number}"
        ),
        "first",
    ),
    "a checkpoint that is no text": (
        (
            "CREATE CAST (bytea AS text) WITHOUT FUNCTION; "
            "UPDATE ledger_seals SET checkpoint = '\\xff'::bytea::text WHERE number = {number}; "
            "DROP CAST (bytea AS text)"
        ),
        "first",
    ),
    "no leaves and no size": (
        (
            "ALTER TABLE ledger_seals ALTER leaves DROP NOT NULL; ALTER TABLE ledger_seals ALTER size DROP NOT NULL; "
            "UPDATE ledger_seals SET leaves = NULL, size = NULL WHERE number = {number}"
        ),
        "first",
    ),
    "the same seal twice": (
        (
            "ALTER TABLE ledger_seals DROP CONSTRAINT pk_ledger_seals; "
            "INSERT INTO ledger_seals SELECT * FROM ledger_seals WHERE number = {number}"
        ),
        "size",
    ),
}


async def test_what_no_client_could_write_is_found_where_it_stands(sealed, subtests):
    seal = sealed.seals[4]
    place = {"seq": seal.first + 3, "first": seal.first, "size": seal.size}
    async with as_superuser(sealed) as tx:
        for table in await guarded(tx):
            await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for name, (done, where) in WRITTEN.items():
            with subtests.test(name):
                savepoint = await tx.begin_nested()
                for each in done.split("; "):
                    await tx.exec_driver_sql(each.format(seq=sealed.rows[place["seq"]].seq, number=seal.number))
                verdict = await verified(OneTransaction(tx), sealed)
                await savepoint.rollback()
                assert first(verdict).kind in {Kind.CHANGED, Kind.SEAL_CHANGED}
                assert first(verdict).position == place[where]
                assert verdict.rows <= place[where]


class Savepoints(OneTransaction):
    """The same, of which a part may fail and the rest goes on."""

    @asynccontextmanager
    async def begin(self):
        async with self.tx.begin_nested():
            yield self.tx


#: Files of the data directory that are taken away, and at which row that shows.
FILES = {
    "a month's": ("oid = '{month}'::regclass", 0),
    "a month's long values'": ("oid = (SELECT reltoastrelid FROM pg_class WHERE oid = '{month}'::regclass)", 699),
}


@pytest.mark.parametrize("whose", FILES)
async def test_what_postgres_cannot_read_any_more_is_named_and_nobody_sees_a_stack(sealed, whose):
    which, position = FILES[whose]
    long = "UPDATE ledger SET details = jsonb_build_object('x', (SELECT string_agg(md5(n::text), '') "
    async with as_superuser(sealed) as tx:
        month = (await tx.execute(text("SELECT tableoid::regclass::text FROM ledger LIMIT 1"))).scalar_one()
        await tx.execute(text("SET LOCAL session_replication_role = replica"))
        of_row = {"id": UUID(sealed.rows[699].id)}
        await tx.execute(text(f"{long} FROM generate_series(1, 4000) AS n)) WHERE id = :id"), of_row)
        await tx.execute(text("SET LOCAL session_replication_role = origin"))
        taken = f"UPDATE pg_class SET relfilenode = 4000000000 WHERE {which.format(month=month)}"
        await tx.execute(text(taken))
        verdict = await verified(Savepoints(tx), sealed)
    found = first(verdict)
    assert (found.kind, found.position, found.id) == (Kind.CHANGED, position, sealed.rows[position].id)
    assert "could not open file" in found.words
    assert verdict.rows == max((seal.size for seal in sealed.seals if seal.size <= position), default=0)


#: What a superuser can do to those who read.
READING = {
    "a cast of details": "CREATE CAST (jsonb AS text) WITH FUNCTION public.as_it_was(jsonb)",
    "functions before PostgreSQL's": "SET LOCAL search_path = public, pg_catalog",
    "no triggers": "SET LOCAL session_replication_role = replica",
}


@pytest.mark.parametrize("what", READING)
async def test_what_would_show_a_verifier_other_rows_than_everybody_is_told(sealed, what):
    """With the cast a row's details could be changed, and would be verified as they had been."""
    made = "CREATE FUNCTION public.as_it_was(jsonb) RETURNS text LANGUAGE sql AS $$SELECT $1 #>> '{}'$$"
    async with as_superuser(sealed) as tx:
        await tx.execute(text(made))
        await tx.execute(text(READING[what]))
        verdict = await verified(OneTransaction(tx), sealed)
    assert {fault.kind for fault in verdict.faults} == {Kind.UNGUARDED}
    assert verdict.rows == ROWS
