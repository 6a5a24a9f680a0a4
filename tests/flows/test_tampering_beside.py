"""Tampering beside the rows is found too: with seals, with guards, and with functions that stand in the way."""

# ruff: noqa: F811 - fixtures of another module's
from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from muniment.core import seals as core
from muniment.core.checkpoints import Note, Signature
from muniment.core.verdicts import Kind
from muniment.store import seals
from tests.flows.test_tampering import (
    COPY,
    OneTransaction,
    as_superuser,
    first,
    guarded,
    judged,
    sealed,  # noqa: F401
    tampering,
    verified,
)

pytestmark = pytest.mark.anyio

LOWEST = -(2**63)


async def test_a_seal_before_every_number_is_found(sealed):
    before = "INSERT INTO ledger_seals SELECT :number, at, 0, 0, '', '', checkpoint, cluster, xact, seq"
    async with tampering(sealed) as tx:
        await tx.execute(text(f"{before} FROM ledger_seals WHERE number = 1"), {"number": LOWEST})
        assert (await seals.announcements(tx))[0]
        assert first(await judged(tx, sealed)).kind is Kind.SEAL_CHANGED


async def test_a_tile_before_every_level_is_found(sealed):
    async with tampering(sealed) as tx:
        await tx.execute(text("INSERT INTO ledger_tiles VALUES (-2147483648, -5, sha256('x'))"))
        assert first(await judged(tx, sealed)).kind is Kind.SEAL_CHANGED


#: Each leaves the guards other than they were made, and is not told.
UNGUARDED = {
    "the rows' guard gone": "DROP TRIGGER refuse_to_forget_rows ON ledger",
    "a guard of another schema": (
        "CREATE SCHEMA evil; CREATE FUNCTION evil.only_erases(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS "
        "'SELECT true'; {copied}; DROP TRIGGER refuse_to_forget_rows ON ledger; "
        "CREATE TRIGGER refuse_to_forget_rows BEFORE UPDATE OR DELETE ON ledger "
        "FOR EACH ROW EXECUTE FUNCTION evil.refuse_to_forget()"
    ),
    "words that became a comment": "{commented}",
    "erasing for everybody": "ALTER FUNCTION ledger_erase SECURITY DEFINER; "
    "GRANT EXECUTE ON FUNCTION ledger_erase TO PUBLIC",
    "erasing, by another path": "ALTER FUNCTION ledger_erase SET search_path = evil, public",
    "months, by another path": "ALTER FUNCTION ledger_partition SET search_path = evil, public",
    "numbers again": "ALTER SEQUENCE ledger_seq RESTART WITH 1",
    "a cluster that never was": "INSERT INTO ledger_clusters SELECT 2, 'another', last_value, now() FROM ledger_seq",
    "a witness told of nothing": "CREATE RULE away AS ON UPDATE TO ledger_witnesses DO INSTEAD NOTHING",
    "a witness bent": "CREATE TRIGGER bend BEFORE UPDATE ON ledger_witnesses FOR EACH ROW "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a witness hidden": "ALTER TABLE ledger_witnesses ENABLE ROW LEVEL SECURITY",
    "no key": "ALTER TABLE ledger DROP CONSTRAINT pk_ledger",
    "nothing where something may not be": "UPDATE pg_attribute SET attnotnull = true "
    "WHERE attrelid = 'ledger'::regclass AND attname = 'run'",
    "another array_lower": "CREATE FUNCTION public.array_lower(text[], integer) RETURNS integer LANGUAGE sql "
    "AS 'SELECT 1'",
    "another convert_to": "CREATE FUNCTION public.convert_to(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE "
    "AS 'SELECT pg_catalog.convert_to($1, ''UTF8'')'",
}


@pytest.mark.parametrize("what", UNGUARDED)
async def test_a_guard_that_does_not_stand_is_told_too(sealed, what):
    async with as_superuser(sealed) as tx:
        body = (await tx.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'refuse_to_forget'"))).scalar_one()
        copied = (
            "CREATE FUNCTION evil.refuse_to_forget() RETURNS trigger LANGUAGE plpgsql "
            f"SET search_path = evil, pg_catalog AS $x${body}$x$"
        )
        erase = (await tx.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'ledger_erase'"))).scalar_one()
        begin = erase.index("-- Both at once")
        end = erase.index("salt = CASE")
        # Of the words none is another: a line's end has become a space, and a space a line's end.
        swallowed = erase[:begin] + " ".join(erase[begin:end].split()) + "\n" + erase[end:]
        commented = (
            f"CREATE OR REPLACE FUNCTION ledger_erase(given jsonb) RETURNS bigint LANGUAGE plpgsql "
            f"SET search_path = public, pg_temp AS $x${swallowed}$x$"
        )
        if "cluster's" in what:
            await tx.exec_driver_sql("ALTER TABLE ledger_clusters DISABLE TRIGGER USER")
        done = UNGUARDED[what]
        parts = [done] if done.startswith("{commented") else done.split("; ")
        for part in parts:
            page = commented if part == "{commented}" else copied if part == "{copied}" else part
            await tx.exec_driver_sql(page.replace("%", "%%") if "%" in page else page)
        if "cluster's" in what:
            await tx.exec_driver_sql("ALTER TABLE ledger_clusters ENABLE TRIGGER USER")
        verdict = await verified(OneTransaction(tx), sealed)
    assert verdict.faults, "nothing was found"


ARRAY_LOWERS = {
    "another": "CREATE FUNCTION public.array_lower(text[], integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
}


@pytest.mark.parametrize("whose", ARRAY_LOWERS)
async def test_a_bent_list_is_found_whatever_functions_there_are(sealed, whose):
    row = sealed.rows[700]
    bend = "UPDATE ledger SET datasets = ('[0:1]={{' || array_to_string(datasets, ',') || '}}')::text[] WHERE seq = {}"
    async with as_superuser(sealed) as tx:
        for table in await guarded(tx):
            await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await tx.exec_driver_sql(bend.format(row.seq))
        await tx.exec_driver_sql(ARRAY_LOWERS[whose])
        verdict = await judged(tx, sealed)
    assert (first(verdict).kind, first(verdict).id) == (Kind.CHANGED, row.id)


async def test_a_guards_function_that_was_emptied_is_told_whatever_functions_there_are(sealed):
    async with as_superuser(sealed) as tx:
        bodies = await tx.execute(
            text("SELECT DISTINCT md5(prosrc), prosrc FROM pg_proc WHERE proname = 'refuse_to_forget'")
        )
        body = bodies.one()[1]
        flat = " ".join(body.split())
        lead, tail = (" " if body[0].isspace() else ""), (" " if body[-1].isspace() else "")
        made = (
            "CREATE FUNCTION public.convert_to(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE AS "
            "$x$SELECT pg_catalog.convert_to(CASE WHEN $1 LIKE '%%/* nothing */%%' THEN "
            f"$y${lead}{flat}{tail}$y$ ELSE $1 END, 'UTF8'::name)$x$"
        )
        await tx.exec_driver_sql(
            made.replace("TG_OP, TG_TABLE", "TG_OP, TG_TABLE").replace("'% is", "'%% is").replace("on %:", "on %%:")
        )
        await tx.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN NEW; /* nothing */ END'"
        )
        verdict = await verified(OneTransaction(tx), sealed)
    assert verdict.faults, "nothing was found"


@pytest.mark.parametrize("witnesses", [True, False])
async def test_a_signature_put_below_the_newest_checkpoint_is_found(sealed, witnesses):
    newest = sealed.seals[-1]
    note = Note.parse(newest.checkpoint)
    more = Note(note.checkpoint, (*note.signatures, Signature("somebody", b"abcd", bytes(64)))).text
    async with tampering(sealed) as tx:
        another = text("UPDATE ledger_seals SET checkpoint = :note WHERE number = :number")
        await tx.execute(another, {"note": more, "number": newest.number})
        verdict = await judged(tx, sealed, witnesses=witnesses)
    assert first(verdict).kind is Kind.SEAL_CHANGED


@pytest.mark.parametrize("emptied", ["subject = ''", "details = '{}'"])
async def test_what_stands_where_fields_were_erased_is_what_an_erasure_leaves(sealed, emptied):
    position = sealed.at("emptied")
    row = sealed.rows[position]
    async with tampering(sealed) as tx:
        # An erasure that is told of and signed; what it left is emptied then.
        signed = sealed.keys.signed({"who": [row.id], "details": [row.id], "because": "x", "account": "y"})
        seq = (await tx.execute(text("SELECT nextval('ledger_seq')"))).scalar_one()
        xact = (await tx.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()
        other = {"id": str(uuid4()), "event": "ledger.erased", "details": signed, "xact": xact, "seq": seq}
        await tx.execute(text(COPY), {"id": UUID(sealed.rows[-1].id), "other": json.dumps(other)})
        gone = [{"id": row.id, "at": str(core.moment(row.at)), "who": core.who_commitment(row).hex()}]
        gone[0]["told"] = core.details_commitment(row).hex()
        await tx.execute(text("SELECT ledger_erase(CAST(:gone AS jsonb))"), {"gone": json.dumps(gone)})
        erased = await judged(tx, sealed)
        await tx.execute(text(f"UPDATE ledger SET {emptied} WHERE id = :id"), {"id": UUID(row.id)})
        verdict = await judged(tx, sealed)

    def without(found):
        # Of this transaction itself, which has not ended, and nothing else.
        return [each for each in found.faults if each.id != other["id"]]

    assert (erased.erased, without(erased)) == (1, [])
    assert [(each.kind, each.id) for each in without(verdict)] == [(Kind.CHANGED, row.id)]


async def test_an_inserted_row_behind_missing_ones_is_named_at_its_place(sealed):
    seal = max(sealed.seals, key=lambda each: each.size - each.first)
    gone = [UUID(row.id) for row in sealed.rows[seal.first : seal.first + 20]]
    behind = seal.first + 60
    async with tampering(sealed) as tx:
        await tx.execute(
            text(COPY), {"id": UUID(sealed.rows[behind].id), "other": '{"id": "ffffffff-0000-7000-8000-000000000001"}'}
        )
        await tx.execute(text("DELETE FROM ledger WHERE id = ANY(:ids)"), {"ids": gone})
        verdict = await judged(tx, sealed)
    found = [each for each in verdict.faults if each.kind is Kind.INSERTED]
    assert [each.position for each in found] == [behind + 1]


CRASHES = {
    "a tile of nothing": "ALTER TABLE ledger_tiles ALTER hash DROP NOT NULL; UPDATE ledger_tiles SET hash = NULL",
    "a cluster of nothing": (
        "ALTER TABLE ledger_clusters ALTER after_seq DROP NOT NULL; UPDATE ledger_clusters SET after_seq = NULL"
    ),
    "a cluster at no time": "ALTER TABLE ledger_clusters ALTER at DROP NOT NULL; UPDATE ledger_clusters SET at = NULL",
    "a witness told nothing": (
        "ALTER TABLE ledger_witnesses ALTER number DROP NOT NULL; UPDATE ledger_witnesses SET number = NULL"
    ),
    "identifiers cut": "UPDATE ledger_seals SET ids = substring(ids FOR 7) WHERE number = 4",
    "leaves cut": "UPDATE ledger_seals SET leaves = substring(leaves FOR 7) WHERE number = 4",
}


@pytest.mark.parametrize("what", CRASHES)
async def test_whatever_stands_there_comes_to_a_verdict(sealed, what):
    async with as_superuser(sealed) as tx:
        for table in await guarded(tx):
            await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for each in CRASHES[what].split("; "):
            await tx.exec_driver_sql(each)
        verdict = await judged(tx, sealed)
    assert verdict.faults, "nothing was found"


async def test_a_row_that_no_seal_will_ever_reach_is_found_without_an_index(sealed):
    """Told under a receipt to whoever asks, and never sealed: its transaction is far ahead."""
    async with as_superuser(sealed) as tx:
        for table in await guarded(tx):
            await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        asked = text("SELECT tableoid::regclass::text FROM ledger ORDER BY xact, seq LIMIT 1")
        month = (await tx.execute(asked)).scalar_one()
        switch = (
            "UPDATE pg_index SET indisready = {ready} WHERE indrelid = '{month}'::regclass "
            "AND pg_get_indexdef(indexrelid) LIKE '%%(xact, seq)%%'"
        )
        await tx.exec_driver_sql(switch.format(ready="false", month=month))
        await tx.exec_driver_sql(f"COMMENT ON TABLE {month} IS 'anew'")
        other = '{"id": "019ab000-0000-7000-8000-000000000001", "xact": "99999999999"}'
        await tx.execute(text(COPY), {"id": UUID(sealed.rows[50].id), "other": other})
        await tx.exec_driver_sql(switch.format(ready="true", month=month))
        await tx.exec_driver_sql(f"COMMENT ON TABLE {month} IS 'again'")
        await tx.exec_driver_sql("ANALYZE ledger")
        await tx.exec_driver_sql("SET LOCAL enable_seqscan = off")
        verdict = await judged(tx, sealed)
    assert [each.kind for each in verdict.faults] == [Kind.INSERTED]
