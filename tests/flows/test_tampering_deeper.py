"""What only a superuser can write into PostgreSQL's own catalogs is found too, and whatever stands there is judged."""

# ruff: noqa: F811 - fixtures of another module's
from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import make_url, text

from muniment.core import seals as core
from muniment.core.checkpoints import Note, Restored
from muniment.core.problems import DatabaseUnavailable
from muniment.core.verdicts import Kind
from muniment.store import seals
from muniment.store.databases import Database
from tests.flows.test_tampering import (
    COPY,
    OneTransaction,
    Savepoints,
    as_superuser,
    first,
    guarded,
    judged,
    sealed,  # noqa: F401
    tampering,
    verified,
)
from tests.owning import libpq

pytestmark = pytest.mark.anyio


async def unguarded(tx):
    for table in await guarded(tx):
        await tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))


def not_null(table, column, stands):
    return (
        f"UPDATE pg_attribute SET attnotnull = {stands} WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
    )


#: What stands where no client could have put it, and nothing else tells of it.
NOTHING = {
    "a tile of no level": ("ledger_tiles", "level", "UPDATE ledger_tiles SET level = NULL"),
    "a tile of no index": ("ledger_tiles", "index", "UPDATE ledger_tiles SET index = NULL"),
    "a cluster of no number": ("ledger_clusters", "cluster", "UPDATE ledger_clusters SET cluster = NULL"),
    "witnesses of no name": (
        "ledger_witnesses",
        "name",
        "INSERT INTO ledger_witnesses VALUES (NULL, 900, now()), ('other', 900, now())",
    ),
    "a seal of no number": (
        "ledger_seals",
        "number",
        (
            "INSERT INTO ledger_seals SELECT NULL, at, first, size, '', '', checkpoint, cluster, xact, seq "
            "FROM ledger_seals WHERE number = 1"
        ),
    ),
}

#: The same of the newest seal, which is asked for by itself.
NEWEST = "ledger_seals SET {} = NULL WHERE number = (SELECT max(number) FROM ledger_seals)"
NOTHING |= {
    f"the newest seal's {column}": ("ledger_seals", column, f"UPDATE {NEWEST.format(column)}")
    for column in ("size", "checkpoint", "cluster", "xact", "seq", "at")
}


@pytest.mark.parametrize("what", NOTHING)
async def test_nothing_where_something_has_to_be_comes_to_a_verdict(sealed, what):
    table, column, done = NOTHING[what]
    async with as_superuser(sealed) as tx:
        await unguarded(tx)
        await tx.exec_driver_sql(not_null(table, column, "false"))
        await tx.exec_driver_sql(f"COMMENT ON TABLE {table} IS 'anew'")
        await tx.exec_driver_sql(done)
        await tx.exec_driver_sql(not_null(table, column, "true"))
        await tx.exec_driver_sql(f"COMMENT ON TABLE {table} IS 'again'")
        verdict = await judged(tx, sealed)
    assert verdict.faults, "nothing was found"


async def test_a_seal_that_no_index_knows_is_found(sealed):
    """Whoever asks for the keys would be told its key, and be led past it by the index when they verify."""
    async with as_superuser(sealed) as tx:
        await unguarded(tx)
        switch = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'pk_ledger_seals'::regclass"
        await tx.exec_driver_sql(switch.format("false"))
        await tx.exec_driver_sql("COMMENT ON TABLE ledger_seals IS 'anew'")
        await tx.exec_driver_sql(
            "INSERT INTO ledger_seals SELECT 5000, at, first, size, '', '', checkpoint, cluster, xact, seq "
            "FROM ledger_seals WHERE number = 1"
        )
        await tx.exec_driver_sql(switch.format("true"))
        await tx.exec_driver_sql("COMMENT ON TABLE ledger_seals IS 'again'")
        await tx.exec_driver_sql("SET LOCAL enable_seqscan = off")
        verdict = await judged(tx, sealed)
    assert first(verdict).kind is Kind.SEAL_CHANGED


@pytest.mark.parametrize("lost", ["x", None, [1], 1.5, True])
async def test_a_checkpoint_that_says_nonsense_of_a_restore_comes_to_a_verdict(sealed, lost):
    seal = sealed.seals[4]
    note = Note.parse(seal.checkpoint)
    said = Restored(lost, lost, lost, "", "x")
    told = replace(note, checkpoint=replace(note.checkpoint, restored=said)).text
    async with tampering(sealed) as tx:
        another = text("UPDATE ledger_seals SET checkpoint = :note WHERE number = :number")
        await tx.execute(another, {"note": told, "number": seal.number})
        verdict = await judged(tx, sealed)
    assert first(verdict).position == seal.first


async def test_a_newest_checkpoint_that_is_no_text_comes_to_a_verdict(sealed):
    async with as_superuser(sealed) as tx:
        await unguarded(tx)
        await tx.exec_driver_sql("CREATE CAST (bytea AS text) WITHOUT FUNCTION")
        no_text = "UPDATE ledger_seals SET checkpoint = '\\xff'::bytea::text WHERE number = "
        await tx.exec_driver_sql(f"{no_text}(SELECT max(number) FROM ledger_seals)")
        await tx.exec_driver_sql("DROP CAST (bytea AS text)")
        verdict = await judged(tx, sealed)
    assert first(verdict).position == sealed.seals[-1].first


NUMBERS = {
    "a size": lambda said: replace(said, size=9_999_999_999_999_999_999),
    "no size": lambda said: replace(said, size=0),
    "a place": lambda said: replace(said, through=replace(said.through, xact=10**19 - 1, seq=10**19 - 1)),
    "a cluster": lambda said: replace(said, through=replace(said.through, cluster=2**31 - 1), cluster=10**19 - 1),
    "a moment": lambda said: replace(said, at=said.at.replace(year=9999, month=12, day=31, hour=23, minute=59)),
    "long ago": lambda said: replace(said, at=said.at.replace(year=1, month=1, day=1, hour=0, minute=0)),
    "a number": lambda said: replace(said, number=10**19 - 1),
}


@pytest.mark.parametrize("which", [2, -1])
@pytest.mark.parametrize("what", NUMBERS)
async def test_a_checkpoint_of_any_numbers_comes_to_a_verdict(sealed, what, which):
    seal = sealed.seals[which]
    note = Note.parse(seal.checkpoint)
    told = replace(note, checkpoint=NUMBERS[what](note.checkpoint)).text
    async with tampering(sealed) as tx:
        another = text("UPDATE ledger_seals SET checkpoint = :note WHERE number = :number")
        await tx.execute(another, {"note": told, "number": seal.number})
        verdict = await judged(tx, sealed)
    assert first(verdict).position == seal.first


#: Each lets somebody read, or do, something else than what is verified.
BENT = {
    "how text is sent": (
        "CREATE FUNCTION as_it_was(text) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS "
        "$x$ BEGIN RETURN convert_to(CASE $1 WHEN 'evil' THEN 'close' ELSE $1 END, 'UTF8'); END $x$; "
        "UPDATE ledger SET environment = 'prod', project = 'evil' WHERE seq = {seq}; "
        "UPDATE pg_type SET typsend = 'as_it_was(text)'::regprocedure WHERE oid = 'text'::regtype"
    ),
    "a cast with a number of PostgreSQL's": (
        "CREATE FUNCTION as_it_was(jsonb) RETURNS text LANGUAGE sql AS $x$SELECT $1 #>> '{{}}'$x$; "
        "CREATE CAST (jsonb AS text) WITH FUNCTION as_it_was(jsonb); "
        "UPDATE pg_cast SET oid = 9100 WHERE castfunc = 'as_it_was(jsonb)'::regprocedure"
    ),
    "a function with a number of PostgreSQL's": (
        "CREATE FUNCTION public.convert_to(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE "
        "AS 'SELECT pg_catalog.convert_to($1, ''UTF8'')'; "
        "UPDATE pg_proc SET oid = 9101 WHERE oid = 'public.convert_to(text, text)'::regprocedure"
    ),
    "what is the same": (
        "CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS "
        "$x$ BEGIN RETURN $1 OPERATOR(pg_catalog.=) $2; END $x$; "
        "UPDATE pg_operator SET oprcode = 'same(text, text)'::regprocedure WHERE oid = '=(uuid, uuid)'::regoperator"
    ),
    "what erases": (
        "CREATE FUNCTION anything(before jsonb, after jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true; "
        "UPDATE pg_proc AS p SET prolang = e.prolang, prosqlbody = e.prosqlbody FROM pg_proc AS e "
        "WHERE p.oid = 'only_erases(jsonb, jsonb)'::regprocedure AND e.oid = 'anything(jsonb, jsonb)'::regprocedure"
    ),
    "letters that are the same": (
        # Not every build has those of ICU, by which other texts are the same.
        'ALTER TABLE ledger ALTER subject TYPE text COLLATE "C"'
    ),
}

#: Operators of somebody's own that PostgreSQL takes for its own where these ask for those.
BENT |= {
    f"another {name}": (
        f"CREATE FUNCTION same({left}, {right}) RETURNS boolean LANGUAGE sql AS 'SELECT true'; "
        f"CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = same)"
    )
    for name, left, right in (
        ("=", "text", "varchar"),
        ("=", "varchar", "varchar"),
        ("@>", "text[]", "text[]"),
        (">", "bigint", "numeric"),
        ("||", "text", "jsonb"),
        ("->>", "jsonb", "varchar"),
    )
}


@pytest.mark.parametrize("what", BENT)
async def test_what_makes_postgres_read_otherwise_is_told(sealed, what):
    row = sealed.rows[700]
    async with as_superuser(sealed) as tx:
        await unguarded(tx)
        for each in BENT[what].split("; ") if "BEGIN" not in BENT[what] else _statements(BENT[what]):
            await tx.exec_driver_sql(each.format(seq=row.seq))
        verdict = await judged(tx, sealed)
    assert verdict.faults, "nothing was found"


def _statements(page):
    made, rest = page.split("$x$; ", 1)
    return [f"{made}$x$", *rest.split("; ")]


#: How a database may have been set, and nothing is wrong.
SETTINGS = {
    "days as Germans write them": "datestyle = 'German'",
    "names in quotes": "quote_all_identifiers = on",
    "strings as they once were": "standard_conforming_strings = off",
    "bytes as they once were": "bytea_output = 'escape'",
    "another zone": "timezone = 'Asia/Kathmandu'",
    "nulls that are equal": "transform_null_equals = on",
    "no sequential scans": "enable_seqscan = off",
}


@pytest.mark.parametrize("what", SETTINGS)
async def test_how_a_database_is_set_raises_no_alarm(sealed, what):
    name = make_url(sealed.url).database
    with psycopg.connect(libpq(sealed.url).replace("//muniment@", "//postgres@"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET {SETTINGS[what]}')
        db = Database.open(sealed.url)
        try:
            verdict = await verified(db, sealed)
        finally:
            await db.close()
            connection.execute(f'ALTER DATABASE "{name}" RESET ALL')
    assert verdict.faults == ()


@pytest.mark.parametrize("extension", ["pg_trgm", "btree_gist", "intarray", "citext"])
async def test_what_extensions_bring_beside_the_ledger_raises_no_alarm(sealed, extension):
    async with as_superuser(sealed) as tx:
        there = text("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = :name)")
        if not (await tx.execute(there, {"name": extension})).scalar_one():
            pytest.skip(f"this PostgreSQL has no {extension}")
        await tx.exec_driver_sql(f"CREATE EXTENSION {extension}")
        verdict = await verified(OneTransaction(tx), sealed)
    assert verdict.faults == ()


async def test_a_server_that_goes_away_while_rows_are_read_is_said_in_words(sealed, monkeypatch):
    rows = seals.rows_between

    async def ended(tx, *args, **kwargs):
        pid = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        with psycopg.connect(libpq(sealed.url).replace("//muniment@", "//postgres@"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return await rows(tx, *args, **kwargs)

    monkeypatch.setattr(seals, "rows_between", ended)
    db = Database.open(sealed.url)
    try:
        with pytest.raises(DatabaseUnavailable):
            await verified(db, sealed)
    finally:
        await db.close()


#: What PostgreSQL cannot answer then, and the ledger is not to be believed.
UNANSWERED = {
    "a table in a sequence's place": "ALTER SEQUENCE ledger_seq RENAME TO s; CREATE TABLE ledger_seq (at bigint)",
    "no way to compare": "UPDATE pg_operator SET oprcode = 0 WHERE oid = '>=(xid8, xid8)'::regoperator",
    "no way to say what rows there are": (
        "UPDATE pg_proc SET proname = 'pg_snapshot_xmin_' WHERE proname = 'pg_snapshot_xmin'"
    ),
    "no one to ask for the cluster": "ALTER FUNCTION pg_control_system RENAME TO pg_control",
    "a number of nothing": "ALTER FUNCTION pg_catalog.textsend RENAME TO textsent",
    "a moment of nothing": "ALTER FUNCTION pg_catalog.timestamptz_send RENAME TO timestamptz_sent",
    "triggers of no function": "UPDATE pg_trigger SET tgfoid = 4000000000 WHERE tgrelid = 'ledger_seals'::regclass",
    "a default that is none": (
        "UPDATE pg_attrdef SET adbin = (SELECT ev_action FROM pg_rewrite LIMIT 1) WHERE adrelid = 'ledger'::regclass"
    ),
}


@pytest.mark.parametrize("what", UNANSWERED)
async def test_what_postgres_cannot_answer_comes_to_a_verdict(sealed, what):
    async with as_superuser(sealed) as tx:
        for each in UNANSWERED[what].split("; "):
            await tx.exec_driver_sql(each)
        verdict = await verified(Savepoints(tx), sealed)
    assert verdict.faults, "nothing was found"


async def test_a_release_that_no_key_signed_is_found_though_it_was_sealed_or_waits_for_it(sealed):
    """Whoever may add rows could else lift a hold that whoever keeps the ledger has put on it."""
    row = sealed.rows[-1]
    async with tampering(sealed) as tx:
        seq = (await tx.execute(text("SELECT nextval('ledger_seq')"))).scalar_one()
        told = {"hold": row.id, "because": "x", "account": "root", "signature": "bm9ib2R5"}
        other = {"id": "019ab000-0000-7000-8000-000000000001", "event": "ledger.released", "details": told, "seq": seq}
        await tx.execute(text(COPY), {"id": UUID(row.id), "other": json.dumps(other)})
        verdict = await judged(tx, sealed)
        signed = {**other, "details": sealed.keys.signed({"hold": row.id, "because": "x", "account": "root"})}
        await tx.execute(text("DELETE FROM ledger WHERE id = :id"), {"id": UUID(other["id"])})
        await tx.execute(text(COPY), {"id": UUID(row.id), "other": json.dumps(signed)})
        fine = await judged(tx, sealed)
    assert fine.faults == ()
    assert (first(verdict).kind, first(verdict).id) == (Kind.INSERTED, other["id"])


async def test_no_part_of_the_details_passes_for_salt(sealed):
    """Who could write into the details could else have planted what they say once their beginning is salt."""
    stored = sealed.rows[700]._replace(details='{"k{": 1, "a": {"x{": 2}}')
    before = core.leaf(stored)
    for cut in range(1, len(stored.details)):
        moved = stored._replace(salt=stored.salt + stored.details[:cut].encode(), details=stored.details[cut:])
        assert core.leaf(moved) != before
    assert core.leaf(stored._replace(salt=None)) != core.leaf(stored._replace(salt=b""))
