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

#: Tables that only grow, beside the months of the ledger.
_GUARDED: Final = ("ledger", "ledger_seals", "ledger_tiles", "ledger_clusters")
#: One that changes, and by nobody's rule or trigger.
_TOLD: Final = "ledger_witnesses"

_TABLES: Final = text(
    """
    SELECT c.oid::integer AS oid, c.relname AS name, c.relrowsecurity AS hidden,
      c.relpersistence <> 'p' AS fleeting,
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
      p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('ledger'))
        AND p.proconfig IS NULL AND NOT p.prosecdef AND l.lanname = 'plpgsql' AS own,
      encode(sha256(convert_to(regexp_replace(
        regexp_replace(p.prosrc, '\s*\n\s*', E'\n', 'g'), '[ \t\r\f]+', ' ', 'g'), 'UTF8')), 'hex') AS body
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_language AS l ON l.oid = p.prolang
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
#: Asked of the whole, without a moment, so that no month is left out for what it should hold; as far as a calendar
#: reaches.
_SPANS: Final = text(
    """
    SELECT tableoid::integer AS oid, least(greatest(min(at), '0001-01-02Z'), '9999-12-30Z') AS earliest,
      least(greatest(max(at), '0001-01-02Z'), '9999-12-30Z') AS latest
    FROM ledger GROUP BY tableoid
    """
)
#: They are numbered from 1 on, and each begins after rows that were there.
_CLUSTERS: Final = text(
    """
    SELECT 'Database clusters are noted that the ledger never lived in (ledger_clusters): somebody wrote them.'
    FROM (
      SELECT cluster <> row_number() OVER w OR after_seq < lag(after_seq, 1, 0::bigint) OVER w
        OR after_seq > coalesce(pg_sequence_last_value(to_regclass('ledger_seq')), 0)
        OR system = lag(system) OVER w
        -- A dump that was restored lies elsewhere until it is served there; what has lived here lives here now.
        OR lead(cluster) OVER w IS NULL AND system <> here AND here IN (SELECT system FROM ledger_clusters) AS strange
      FROM ledger_clusters, (SELECT system_identifier::text AS here FROM pg_control_system()) AS control
      WINDOW w AS (ORDER BY cluster)
    ) AS noted
    WHERE strange LIMIT 1
    """
)
#: The whole ledger is looked through, as for much else. A number is drawn before its row is there.
_NUMBERS: Final = text(
    """
    SELECT 'ledger_seq gives numbers again that rows have: somebody set it back.'
    WHERE (SELECT max(seq) FROM ledger WHERE seq < 4611686018427387904)
      > coalesce(pg_sequence_last_value(to_regclass('ledger_seq')), 0)
    """
)
#: Functions and operators of PostgreSQL's own types by which its own are passed over, since they fit what is asked
#: better: not those of just the same types, where its own come first. Asked with nobody's but its own in the way.
_BETTER: Final = text(
    """
    SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p
    WHERE (p.oid >= 16384::oid OR p.pronamespace <> 'pg_catalog'::regnamespace)
      AND p.pronamespace::regnamespace::text = ANY(CAST(:schemas AS text[]))
      AND NOT (p.proargtypes::oid[] && ARRAY(SELECT oid FROM pg_type WHERE oid >= 16384::oid))
      AND EXISTS (SELECT FROM pg_catalog.pg_proc AS own WHERE own.oid < 16384::oid AND own.proname = p.proname
        AND own.pronamespace = 'pg_catalog'::regnamespace)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS own
        WHERE own.oid < 16384::oid AND own.pronamespace = 'pg_catalog'::regnamespace AND own.proname = p.proname
          AND own.proargtypes::oid[] = p.proargtypes::oid[])
    UNION ALL
    SELECT o.oid::regoperator::text FROM pg_catalog.pg_operator AS o
    WHERE (o.oid >= 16384::oid OR o.oprnamespace <> 'pg_catalog'::regnamespace)
      AND o.oprnamespace::regnamespace::text = ANY(CAST(:schemas AS text[]))
      AND o.oprleft < 16384::oid AND o.oprright < 16384::oid
      -- Others are those of extensions (pg_trgm, btree_gist), which take what no operator of its own does.
      AND EXISTS (SELECT FROM pg_catalog.pg_operator AS own
        WHERE own.oid < 16384::oid AND own.oprnamespace = 'pg_catalog'::regnamespace AND own.oprname = o.oprname
          AND (SELECT bool_and(of_own = mine OR accepts.typtype = 'p' AND (takes.typcategory <> 'A'
              OR mine = 'text[]'::regtype) OR EXISTS (SELECT FROM pg_catalog.pg_cast
                WHERE castcontext = 'i' AND (castsource, casttarget) IN ((mine, of_own), (of_own, mine))))
            FROM (VALUES (own.oprleft, o.oprleft), (own.oprright, o.oprright)) AS operands (of_own, mine)
              LEFT JOIN pg_catalog.pg_type AS accepts ON accepts.oid = of_own
              LEFT JOIN pg_catalog.pg_type AS takes ON takes.oid = mine))
    ORDER BY 1
    """
)
#: What is PostgreSQL's own and does not do what PostgreSQL does, since somebody wrote that into its catalogs. Its own
#: functions are numbered below those of everybody else, lie in its own schema, and are of three languages.
_BENT: Final = text(
    """
    WITH strange AS (
      SELECT p.oid FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
      WHERE p.oid >= 16384::oid OR p.pronamespace <> 'pg_catalog'::regnamespace
        OR l.lanname NOT IN ('internal', 'c', 'sql')
    )
    SELECT format('The type %s', t.oid::regtype) AS name
    FROM pg_type AS t WHERE t.oid < 16384::oid
      AND EXISTS (SELECT FROM strange WHERE oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend))
    UNION ALL
    SELECT format('The operator %s', o.oid::regoperator)
    FROM pg_operator AS o JOIN strange ON strange.oid = o.oprcode WHERE o.oid < 16384::oid
    UNION ALL
    SELECT format('The order of %s', a.amproclefttype::regtype)
    FROM pg_amproc AS a JOIN strange ON strange.oid = a.amproc WHERE a.amprocfamily < 16384::oid
    UNION ALL
    SELECT format('The cast from %s to %s', c.castsource::regtype, c.casttarget::regtype)
    FROM pg_cast AS c JOIN strange ON strange.oid = c.castfunc WHERE c.oid < 16384::oid
    ORDER BY name
    """
)
_PATH: Final = text("SELECT set_config('search_path', :path, true)")
_PATH_NOW: Final = text("SELECT current_setting('search_path') AS path, current_schemas(true)::text[] AS schemas")
_FUNCTIONS: Final = text(
    r"""
    SELECT p.proname AS name, p.prosecdef AS as_owner, p.proconfig AS settings,
      -- In another language its words may be told, and others followed.
      EXISTS (SELECT FROM pg_language WHERE oid = p.prolang AND lanname = 'plpgsql') AS as_told,
      EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS given
        WHERE given.grantee = 0::oid) AS everybodys,
      quote_ident(p.pronamespace::regnamespace::text) AS schema,
      encode(sha256(convert_to(regexp_replace(
        regexp_replace(p.prosrc, '\s*\n\s*', E'\n', 'g'), '[ \t\r\f]+', ' ', 'g'), 'UTF8')), 'hex') AS body
    FROM pg_proc AS p
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('ledger'))
      AND p.proname = ANY(CAST(:names AS text[]))
    ORDER BY p.proname
    """
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
_REFUSES: Final = frozenset({"fccfbfaea5a205348b3af1bddd6011775fcf148f55c439571cc8d0f33f49f8bf"})
#: The functions on which it stands what is let through and where rows are put and looked for, in the same way.
_FUNCTIONS_WANTED: Final = {
    "forget_person": "9ba5a6bddac6762e13000ebacc198a742bcd29b8b3a251011450fbe3cc36fed9",
    "ledger_cluster": "f72328e0bc0e0131598133ee1bc121d7cf47315a65e248113d11c98891502194",
    "ledger_domains": "9fe8017ec487988817e1ac0b838f731c94b31ff54b76c73556db24b4e0dfab25",
    "ledger_erase": "b5a91bf4fa4a0ab21ba7017c0ead9f2d56ad156797830e91fc8c89e02cab8c8d",
    "ledger_partition": "c270dc2f5bef3fdf85d5d497441652e07a9453e5cd33d3f70f8d3f9a7d399c4e",
    "only_erases": "ce3c8aac2fe7b58e35baab7cf22188145299013cdc52e53957974c3e4a22cedc",
}
#: Those that are called as their owner, those that fix a search path, and those that nobody else may call.
_AS_OWNER: Final = frozenset({"ledger_cluster", "ledger_partition"})
_PATHS: Final = frozenset({*_AS_OWNER, "forget_person", "ledger_erase"})
_OWNERS_ALONE: Final = frozenset({"forget_person", "ledger_erase"})
#: What could give other values to whoever reads rows in order to verify them than to everybody else: casts between
#: types of PostgreSQL's own that are not PostgreSQL's own, and functions that stand before its own.
_READING: Final = text(
    """
    SELECT format('Somebody made a cast from %s to %s, by which rows can be read as other than they are.',
      castsource::regtype, casttarget::regtype) AS words
    FROM pg_cast WHERE oid >= 16384 AND castsource < 16384 AND casttarget < 16384
    UNION ALL
    SELECT format('The search path (%s) names pg_catalog, so other functions can stand before PostgreSQL''s own.',
      current_setting('search_path'))
    WHERE current_setting('search_path') LIKE '%pg_catalog%'
    UNION ALL
    SELECT format('The server has session_replication_role=%s, under which no trigger guards anything.', setting)
    FROM pg_settings WHERE name = 'session_replication_role' AND setting <> 'origin'
    ORDER BY words
    """
)
_EACH_ROW: Final = 1
_BEFORE: Final = 2
_DELETE, _UPDATE, _TRUNCATE = 8, 16, 32


async def faults(tx: AsyncConnection) -> list[str]:
    """Each guard that does not stand, in words."""
    tables = {each.oid: each for each in await tx.execute(_TABLES, {"names": [*_GUARDED, _TOLD]})}
    oids = {"oids": list(tables)}
    triggers = list(await tx.execute(_TRIGGERS, oids))
    found = []
    for oid, table in tables.items():
        found += _of_triggers(table, [each for each in triggers if each.oid == oid])
        if table.hidden:
            found.append(
                f"Row security hides rows of {table.name}: ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY"
            )
        if table.fleeting:
            found.append(f"{table.name} is emptied by a crash: ALTER TABLE {table.name} SET LOGGED")
    for each in await tx.execute(_RULES, oids):
        found.append(f"The rule {each.name} on {tables[each.oid].name} can turn rows away: it is none of Muniment's.")
    found += await _of_defaults(tx, [oid for oid, table in tables.items() if table.month or table.name == "ledger"])
    async for words in _of_functions(tx):
        found.append(words)
    found += (await tx.execute(_READING)).scalars()
    found += (await tx.execute(_CLUSTERS)).scalars()
    found += (await tx.execute(_NUMBERS)).scalars()
    now = (await tx.execute(_PATH_NOW)).one()
    await tx.execute(_PATH, {"path": "pg_catalog"})
    found += [
        f"{name} can be taken for PostgreSQL's own: what is read can be other than what is there."
        for name in (await tx.execute(_BETTER, {"schemas": now.schemas})).scalars()
    ]
    found += [
        f"{name} is not as PostgreSQL made it: what is read can be other than what is there."
        for name in (await tx.execute(_BENT)).scalars()
    ]
    await tx.execute(_PATH, {"path": now.path})
    for each in await tx.execute(_ROLES):
        found.append(f"{each.name} connects with {each.setting}, under which no trigger guards anything.")
    async for words in _of_months(tx, [table for table in tables.values() if table.month]):
        found.append(words)
    return found


def _of_triggers(table: DatabaseRow[*tuple[Any, ...]], triggers: list[DatabaseRow[*tuple[Any, ...]]]) -> list[str]:
    """What guards a table: one trigger for each statement, and on the ledger one for each row."""
    found, guarding, guarding_rows = [], 0, 0
    for each in triggers:
        if each.function != "refuse_to_forget":
            found.append(f"The trigger {each.name} on {table.name} is none of Muniment's, and can bend rows.")
        elif each.enabled not in "OA":
            found.append(f"The guard {each.name} on {table.name} is switched off.")
        elif each.body not in _REFUSES or not each.own or each.sometimes or not each.type & _BEFORE:
            found.append(f"The guard {each.name} on {table.name} refuses nothing any more: it was changed.")
        elif each.type & _EACH_ROW:
            guarding_rows |= each.type
        else:
            guarding |= each.type
    wanted = _DELETE | _UPDATE | _TRUNCATE if table.name in _GUARDED or table.month else 0
    # Whoever says that they erase is let pass by the one, and held by the other to what an erasure may change.
    wanted_rows = _DELETE | _UPDATE if table.name == "ledger" or table.month else 0
    if (guarding & wanted != wanted or guarding_rows & wanted_rows != wanted_rows) and not found:
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


async def _of_functions(tx: AsyncConnection) -> AsyncIterator[str]:
    """Functions that do something else than the migrations said."""
    there = list(await tx.execute(_FUNCTIONS, {"names": list(_FUNCTIONS_WANTED)}))
    for name in sorted(_FUNCTIONS_WANTED.keys() - {each.name for each in there}):
        yield f"There is no function {name}."
    for each in there:
        if each.body != _FUNCTIONS_WANTED[each.name] or not each.as_told:
            yield f"The function {each.name} does something else than Muniment's own: it was changed."
        elif each.as_owner != (each.name in _AS_OWNER):
            yield f"The function {each.name} does what it does by another's rights than it should."
        elif each.name in _PATHS and (each.settings or [""])[0] != f"search_path={each.schema}, pg_temp":
            yield f"The function {each.name} looks for its tables elsewhere: its search path was changed."
        elif each.name in _OWNERS_ALONE and each.everybodys:
            yield f"The function {each.name} may be called by everybody, and it erases: somebody gave that right."


async def _of_months(tx: AsyncConnection, months: list[DatabaseRow[*tuple[Any, ...]]]) -> AsyncIterator[str]:
    """Rows that stand in a month that is not theirs: whoever reads by time never sees them."""
    spans = {each.oid: each for each in await tx.execute(_SPANS)}
    for month in months:
        bounds = _bounds(month.bound or "")
        if bounds is None or month.name != f"ledger_{bounds[0]:%Y_%m}":
            yield f"{month.name} holds other rows than those of a month: its bounds were changed."
            continue
        begin, end = bounds
        span = spans.get(month.oid)
        if span is not None and not begin <= span.earliest <= span.latest < end:
            yield f"Rows stand in {month.name} that are not of that month: who reads by time does not see them."


def _bounds(written: str) -> tuple[datetime, datetime] | None:
    """The first moment of a month and of the next, as PostgreSQL writes bounds; None for those of anything else."""
    try:
        begin, end = (datetime.fromisoformat(part).astimezone(UTC) for part in written.split("'")[1::2])
        month = datetime(begin.year, begin.month, 1, tzinfo=UTC)
        following = datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (begin, end) if (begin, end) == (month, following) else None
