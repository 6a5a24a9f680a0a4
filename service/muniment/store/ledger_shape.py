"""Whether the tables of the ledger are those that the migrations made, and everybody who connects reads the same ones.

What a row says is proven by its seal; that it is asked of the right table, and given to whoever asks, is not. A view, a
column of another type or a constraint that is a lie can show one ledger to whoever verifies and another to whoever
reads, without a row being changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Dialect, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.store.tables import ledger, ledger_clusters, ledger_seals, ledger_tiles, ledger_witnesses

_TABLES: Final = {
    table.name: table for table in (ledger, ledger_seals, ledger_tiles, ledger_clusters, ledger_witnesses)
}
#: The ledger is a table of months, the others are tables (``pg_class.relkind``).
_KINDS: Final = {name: "p" if name == ledger.name else "r" for name in _TABLES}

_POSTGRES: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]

_ENCODING: Final = text("SELECT current_setting('server_encoding')")

_FOUND: Final = text(
    """
    SELECT c.oid::integer AS oid, c.relname AS name, c.relkind::text AS kind, NULL AS month
    FROM unnest(CAST(:names AS text[])) AS names (name) JOIN pg_class AS c ON c.oid = to_regclass(names.name)
    UNION ALL
    SELECT c.oid::integer, 'ledger', c.relkind::text, c.relname
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('ledger')
    """
)
_COLUMNS: Final = text(
    """
    SELECT attrelid::integer AS oid, attname AS name, format_type(atttypid, atttypmod) AS type,
      NOT attnotnull AS nullable, atthasdef OR attgenerated <> '' OR attidentity <> '' AS made,
      attcollation <> (SELECT typcollation FROM pg_type WHERE oid = atttypid) AS collated
    FROM pg_attribute WHERE attrelid = ANY(CAST(:oids AS oid[])) AND attnum > 0 AND NOT attisdropped
    ORDER BY attrelid, attnum
    """
)
_WITHOUT_BOUNDS: Final = text(
    """
    SELECT format('%s stands among the months, and PostgreSQL does not know any more which: its bounds are gone.',
      c.relname)
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('ledger') AND c.relpartbound IS NULL ORDER BY c.relname
    """
)
#: Words for each thing that is not as the migrations made it, of the tables, the months, and whatever stands below
#: them. Catalogs are asked, and no row of the ledger.
_STRANGE: Final = text(
    """
    WITH RECURSIVE below AS (
      SELECT c.oid, c.relname, c.relnamespace, 0 AS depth
      FROM unnest(CAST(:names AS text[])) AS names (name) JOIN pg_class AS c ON c.oid = to_regclass(names.name)
      UNION
      SELECT c.oid, c.relname, c.relnamespace, below.depth + 1
      FROM below JOIN pg_inherits AS i ON i.inhparent = below.oid JOIN pg_class AS c ON c.oid = i.inhrelid
    )
    SELECT format('%s stands below %s, where no table of Muniment''s stands: somebody put it there.', b.relname,
      i.inhparent::regclass::text) AS words
    FROM below AS b JOIN pg_inherits AS i ON i.inhrelid = b.oid
    WHERE b.depth > 0 AND i.inhparent <> to_regclass('ledger')
    UNION ALL
    SELECT format('%s says of its rows what may not be so (%s, %s): queries that believe it pass rows over.', b.relname,
      n.conname, pg_get_constraintdef(n.oid))
    FROM below AS b JOIN pg_constraint AS n ON n.conrelid = b.oid WHERE n.contype = 'c'
    UNION ALL
    SELECT format('The index %s of %s is switched off or not whole: rows can be missing from it. REINDEX INDEX %s',
      x.indexrelid::regclass::text, b.relname, x.indexrelid::regclass::text)
    FROM below AS b JOIN pg_index AS x ON x.indrelid = b.oid
    WHERE NOT (x.indisvalid AND x.indisready AND x.indislive)
    UNION ALL
    SELECT format('%s has no primary key any more: it was taken away.', b.relname)
    FROM below AS b WHERE NOT EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = b.oid AND x.indisprimary)
    UNION ALL
    SELECT format('PostgreSQL is told that %s has no %s, so it keeps none of them: somebody wrote that.', b.relname,
      CASE WHEN c.relhastriggers THEN 'indexes' ELSE 'triggers' END)
    FROM below AS b JOIN pg_class AS c ON c.oid = b.oid
    WHERE NOT c.relhastriggers AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = b.oid)
      OR NOT c.relhasindex AND EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = b.oid)
    UNION ALL
    SELECT format('The trigger %s on %s says of itself that it is PostgreSQL''s own, and it is somebody''s.', t.tgname,
      b.relname)
    FROM below AS b JOIN pg_trigger AS t ON t.tgrelid = b.oid WHERE t.tgisinternal AND t.tgconstraint = 0
    UNION ALL
    SELECT format('There is another %s in the schema %s: whoever connects with a search path of that reads and writes '
      'there.', c.relname, n.nspname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = ANY(CAST(:names AS text[]) || 'ledger_seq'::text) AND n.nspname !~ '^pg_(toast_)?temp_'
      AND c.relkind <> 'c' AND c.oid <> coalesce(to_regclass(quote_ident(c.relname)), 0)
    UNION ALL
    SELECT format('Whoever connects runs %s (event trigger %s), which can change what they read.', t.evtfoid::regproc,
      t.evtname)
    FROM pg_event_trigger AS t WHERE t.evtevent = 'login' AND t.evtenabled <> 'D'
    UNION ALL
    SELECT format('The function %s has settings of its own (%s), by which it can do something else than it says.',
      p.proname, array_to_string(p.proconfig, ', '))
    FROM pg_proc AS p
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('ledger'))
      AND p.proname = ANY(CAST(:functions AS text[])) AND p.proconfig IS NOT NULL
    UNION ALL
    SELECT 'ledger_seq does not count up by one from 1 on: new rows can come before others of their transaction.'
    FROM pg_sequence WHERE seqrelid = to_regclass('ledger_seq') AND (seqincrement <> 1 OR seqmin < 1 OR seqcycle)
    ORDER BY words
    """
)
#: Functions that are made without settings of their own; those that are called as their owner fix a search path.
_FUNCTIONS: Final = ("refuse_to_forget", "only_erases", "ledger_domain", "ledger_domains")


async def unreadable(tx: AsyncConnection) -> list[str]:
    """What stands in the way of reading the ledger at all, in words; nothing can be verified then."""
    found = (await tx.execute(_FOUND, {"names": list(_TABLES)})).all()
    there = {each.name: each for each in found if each.month is None}
    words = [f"There is no table {name}." for name in _TABLES if name not in there]
    words += [
        f"{name} is no table any more: something else stands in its place."
        for name, each in there.items()
        if each.kind != _KINDS[name]
    ]
    encoding = (await tx.execute(_ENCODING)).scalar_one()
    if encoding != "UTF8":
        words.append(f"The database says that its texts are {encoding}, and Muniment writes UTF8: they are misread.")
    columns: dict[int, dict[str, str]] = {}
    for each in await tx.execute(_COLUMNS, {"oids": [each.oid for each in found]}):
        columns.setdefault(each.oid, {})[each.name] = each.type
    for each in found:
        words += _misread(each.month or each.name, _TABLES[each.name], columns.get(each.oid, {}))
    return words + list((await tx.execute(_WITHOUT_BOUNDS)).scalars())


def _misread(name: str, table: Table, there: dict[str, str]) -> Iterator[str]:
    for column in table.columns:
        wanted = column.type.compile(dialect=_POSTGRES).lower()
        type_ = there.get(column.name)
        if type_ is None:
            yield f"{name} has no column {column.name}: it was taken away, or has another name."
        elif type_ != wanted:
            yield f"{name}.{column.name} is of the type {type_}, and it was made as {wanted}."


async def faults(tx: AsyncConnection) -> list[str]:
    """What can be read, and is not as the migrations made it, in words."""
    found = {each.oid: each for each in await tx.execute(_FOUND, {"names": list(_TABLES)})}
    words = []
    for each in await tx.execute(_COLUMNS, {"oids": list(found)}):
        table, name = _TABLES[found[each.oid].name], found[each.oid].month or found[each.oid].name
        if each.name not in table.columns:
            words.append(f"{name}.{each.name} is no column of Muniment's: no seal proves what stands there.")
            continue
        column = table.columns[each.name]
        if each.made and column.server_default is None:
            words.append(f"{name}.{each.name} is filled by the database, and not by who writes the row.")
        if each.collated:
            words.append(f"{name}.{each.name} has a collation of its own, by which other texts can be the same.")
        if not each.nullable and column.nullable:
            words.append(f"{name}.{each.name} is said to be never empty, and rows may have none there.")
        if each.nullable and not column.nullable:
            words.append(f"{name}.{each.name} may be empty: its NOT NULL was taken away.")
    values = {"names": list(_TABLES), "functions": list(_FUNCTIONS)}
    return [*words, *(await tx.execute(_STRANGE, values)).scalars()]
