"""What guards the ledger in Postgres, and whether it stands: triggers, defaults, and the months where they belong.

A guard that is missing has changed no row by itself. It is told of because whoever took it
away could change rows, and because a default, a rule or a trigger of somebody's own can
bend rows on their way in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Row as DatabaseRow
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.store.tables import ledger

#: Tables that only grow, beside the months of the ledger.
_GUARDED: Final = ("ledger", "ledger_seals", "ledger_tiles", "ledger_clusters")

_TABLES: Final = text(
    """
    SELECT c.oid::integer AS oid, c.relname AS name, c.relkind::text AS kind, c.relrowsecurity AS hidden,
      i.inhparent IS NOT NULL AS month, pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND i.inhparent = to_regclass('ledger')
    WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS names (name))
      OR i.inhparent IS NOT NULL
    ORDER BY c.relname
    """
)
#: Bits of ``tgtype`` (PostgreSQL, ``pg_trigger.h``): 1 each row, 2 before, 8 delete, 16 update, 32 truncate.
_TRIGGERS: Final = text(
    r"""
    SELECT t.tgrelid::integer AS oid, t.tgname AS name, t.tgtype::integer AS type, t.tgenabled::text AS enabled,
      t.tgqual IS NOT NULL OR t.tgattr::text <> '' AS sometimes, p.proname AS function,
      encode(sha256(convert_to(regexp_replace(p.prosrc, '\s+', ' ', 'g'), 'UTF8')), 'hex') AS body
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = ANY(CAST(:oids AS oid[])) AND NOT t.tgisinternal
    """
)
_RULES: Final = text(
    "SELECT ev_class::integer AS oid, rulename AS name FROM pg_rewrite WHERE ev_class = ANY(CAST(:oids AS oid[]))"
)
_DEFAULTS: Final = text(
    """
    SELECT a.attrelid::integer AS oid, a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS default,
      a.attgenerated <> '' OR a.attidentity <> '' AS made
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY(CAST(:oids AS oid[])) AND a.attname IN ('salt', 'seq', 'xact')
    """
)
_NULLABLE: Final = text(
    """
    SELECT a.attrelid::integer AS oid, a.attname AS name FROM pg_attribute AS a
    WHERE a.attrelid = ANY(CAST(:oids AS oid[])) AND a.attname = ANY(CAST(:names AS text[])) AND NOT a.attnotnull
    """
)
#: Asked of the whole, without a moment, so that no month is left out for what it should hold.
_SPANS: Final = text(
    "SELECT tableoid::integer AS oid, min(at) AS earliest, max(at) AS latest FROM ledger GROUP BY tableoid"
)
_ROLES: Final = text(
    """
    SELECT coalesce(d.datname, r.rolname, 'all') AS name, setting
    FROM pg_db_role_setting AS s
    LEFT JOIN pg_database AS d ON d.oid = s.setdatabase LEFT JOIN pg_roles AS r ON r.oid = s.setrole,
      unnest(s.setconfig) AS setting
    WHERE (s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
      AND setting LIKE 'session_replication_role=%' AND setting NOT LIKE '%=origin'
    """
)
_DEFAULTS_WANTED: Final = {
    "salt": "(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))",
    "seq": "nextval('ledger_seq'::regclass)",
    "xact": "pg_current_xact_id()",
}
#: What ``refuse_to_forget`` does, by the SHA-256 of its words, spaces told as one: as the migrations made it.
_REFUSES: Final = frozenset({"dc9daa128231e76c1830da6b307265ced9da07d8c4547c4216d98435c78011a8"})
_EACH_ROW: Final = 1
_BEFORE: Final = 2
_DELETE, _UPDATE, _TRUNCATE = 8, 16, 32


async def faults(tx: AsyncConnection) -> list[str]:
    """Each guard that does not stand, in words."""
    tables = {each.oid: each for each in await tx.execute(_TABLES, {"names": list(_GUARDED)})}
    oids = {"oids": list(tables)}
    triggers = list(await tx.execute(_TRIGGERS, oids))
    found = [f"There is no table {name}." for name in _GUARDED if name not in {each.name for each in tables.values()}]
    for oid, table in tables.items():
        found += _of_triggers(table, [each for each in triggers if each.oid == oid])
        if table.hidden:
            found.append(
                f"Row security hides rows of {table.name}: ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY"
            )
        if table.kind not in "rp":
            found.append(f"{table.name} is no table any more: something else stands in its place.")
    for each in await tx.execute(_RULES, oids):
        found.append(f"The rule {each.name} on {tables[each.oid].name} can turn rows away: it is none of Muniment's.")
    found += await _of_defaults(tx, [oid for oid, table in tables.items() if table.month or table.name == "ledger"])
    nullable = {
        "oids": [oid for oid, table in tables.items() if table.month or table.name == "ledger"],
        "names": [column.name for column in ledger.c if not column.nullable],
    }
    for each in await tx.execute(_NULLABLE, nullable):
        found.append(f"{tables[each.oid].name}.{each.name} may be empty: its NOT NULL was taken away.")
    for each in await tx.execute(_ROLES):
        found.append(f"{each.name} connects with {each.setting}, under which no trigger guards anything.")
    async for words in _of_months(tx, [table for table in tables.values() if table.month]):
        found.append(words)
    return found


def _of_triggers(table: DatabaseRow[*tuple[Any, ...]], triggers: list[DatabaseRow[*tuple[Any, ...]]]) -> list[str]:
    """What guards a table: one trigger for each statement, and on the ledger one for each row."""
    found, guarding = [], 0
    for each in triggers:
        if each.function != "refuse_to_forget":
            found.append(f"The trigger {each.name} on {table.name} is none of Muniment's, and can bend rows.")
        elif each.enabled not in "OA":
            found.append(f"The guard {each.name} on {table.name} is switched off.")
        elif each.body not in _REFUSES or each.sometimes or not each.type & _BEFORE:
            found.append(f"The guard {each.name} on {table.name} refuses nothing any more: it was changed.")
        elif not each.type & _EACH_ROW:
            guarding |= each.type
    wanted = _DELETE | _UPDATE | _TRUNCATE
    if guarding & wanted != wanted and not found:
        found.append(f"No guard refuses to change or remove what stands in {table.name}.")
    return found


async def _of_defaults(tx: AsyncConnection, oids: list[int]) -> list[str]:
    found = []
    for each in await tx.execute(_DEFAULTS, {"oids": oids}):
        written = (each.default or "nothing").replace("public.", "")
        if written != _DEFAULTS_WANTED[each.name] or each.made:
            name = (await tx.execute(text("SELECT CAST(:oid AS oid)::regclass::text"), {"oid": each.oid})).scalar_one()
            found.append(f"New rows of {name} get another {each.name} than they should: its default is {written}.")
    return found


async def _of_months(tx: AsyncConnection, months: list[DatabaseRow[*tuple[Any, ...]]]) -> AsyncIterator[str]:
    """Rows that stand in a month that is not theirs: whoever reads by time never sees them."""
    spans = {each.oid: each for each in await tx.execute(_SPANS)}
    for month in months:
        bounds = [datetime.fromisoformat(part).astimezone(UTC) for part in (month.bound or "").split("'")[1::2]]
        if len(bounds) != len(("from", "to")):
            yield f"{month.name} holds other rows than those of a month: its bounds were changed."
            continue
        span = spans.get(month.oid)
        if span is not None and not bounds[0] <= span.earliest <= span.latest < bounds[1]:
            yield f"Rows stand in {month.name} that are not of that month: who reads by time does not see them."
