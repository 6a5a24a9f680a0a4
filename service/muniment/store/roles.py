"""Two roles of the database: one owns the tables and migrates them, the other serves and may only add and read.

What guards the ledger are triggers, and whoever owns a table may switch its triggers off.
So the service works as a role that owns nothing: it may ``INSERT`` and ``SELECT``, and
change or remove rows only where a table's own page says that they move
(:mod:`muniment.store.tables`). Of the ledger's rows it may not name the columns that the
database fills: with an old transaction's number a row would stand among those that were
sealed before it. The rights that a role has are compared with these, and what differs is
told with the SQL that mends it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from muniment.core.problems import CannotStart
from muniment.store.databases import Transaction, parsed_url
from muniment.store.tables import metadata

logger = logging.getLogger("muniment")

#: The one function that the service calls and that does what its role may not do.
_CALLED: Final = "ledger_partition(date)"

#: All that a role may be allowed on a table (PostgreSQL 18, 5.8); what an older server does not know is left out.
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
_SINCE: Final = {"MAINTAIN": 170_000}

#: What a role that serves has no use for, and why it is too much.
_ATTRIBUTES: Final = {
    "rolcreaterole": ("CREATEROLE", "may make roles and give them rights"),
    "rolcreatedb": ("CREATEDB", "may make databases"),
    "rolreplication": ("REPLICATION", "may read everything that is written"),
    "rolbypassrls": ("BYPASSRLS", "passes by row security"),
}

_ROLE: Final = text("SELECT * FROM pg_roles WHERE rolname = :role")
_OWNED: Final = text(
    """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S', 'v') AND relowner = (
      SELECT oid FROM pg_roles WHERE rolname = :role)
    UNION ALL
    SELECT proname FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND proowner = (SELECT oid FROM pg_roles WHERE rolname = :role)
    UNION ALL
    SELECT 'the database' FROM pg_database
    WHERE datname = current_database() AND datdba = (SELECT oid FROM pg_roles WHERE rolname = :role)
    """
)
_OWNER: Final = text("SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('ledger')")
#: Roles that one may become, or whose rights one has, and which may do more than add and read.
_MEMBERSHIPS: Final = text(
    """
    SELECT above.rolname FROM pg_roles AS above
    WHERE above.rolname <> :role AND pg_has_role(CAST(:role AS name), above.oid, 'MEMBER') AND (
      above.rolsuper OR above.rolcreaterole
      OR above.rolname IN ('pg_write_all_data', 'pg_maintain', 'pg_write_server_files', 'pg_execute_server_program',
                           'pg_read_server_files', 'pg_database_owner')
      OR above.oid IN (SELECT relowner FROM pg_class WHERE relnamespace = current_schema()::regnamespace))
    ORDER BY above.rolname
    """
)
_HELD: Final = text(
    """
    SELECT tables.name, rights.word
    FROM unnest(CAST(:tables AS text[])) AS tables (name), unnest(CAST(:rights AS text[])) AS rights (word)
    WHERE to_regclass(tables.name) IS NOT NULL AND (
      has_table_privilege(CAST(:role AS name), to_regclass(tables.name), rights.word)
      OR rights.word IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
        AND has_any_column_privilege(CAST(:role AS name), to_regclass(tables.name), rights.word))
    """
)
_TOLD: Final = text(
    """
    SELECT attname AS name, has_column_privilege(CAST(:role AS name), attrelid, attnum, 'INSERT') AS may
    FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
    """
)
_STANDING: Final = text(
    """
    SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
      AND (relname = ANY (:known) OR relname ~ '^ledger_[0-9]{4}_[0-9]{2}$') ORDER BY relname
    """
)
_FUNCTIONS: Final = text(
    """
    SELECT proc.oid::regprocedure::text AS name,
      has_function_privilege(CAST(:role AS name), proc.oid, 'EXECUTE') AS may
    FROM pg_proc AS proc
    WHERE pronamespace = current_schema()::regnamespace
      AND proname IN ('ledger_partition', 'ledger_erase', 'forget_person')
    """
)
_SEQUENCE: Final = text(
    """
    SELECT has_sequence_privilege(CAST(:role AS name), 'ledger_seq', 'USAGE') AS takes,
      has_sequence_privilege(CAST(:role AS name), 'ledger_seq', 'UPDATE') AS sets
    WHERE to_regclass('ledger_seq') IS NOT NULL
    """
)
_SCHEMA: Final = text(
    """
    SELECT quote_ident(current_schema()) AS schema, quote_ident(current_database()) AS database,
      has_schema_privilege(CAST(:role AS name), current_schema(), 'CREATE') AS makes,
      has_schema_privilege(CAST(:role AS name), current_schema(), 'USAGE') AS uses,
      has_database_privilege(CAST(:role AS name), current_database(), 'CREATE') AS makes_schemas
    """
)
_QUOTED: Final = text("SELECT quote_ident(:role)")
_VERSION: Final = text("SELECT current_setting('server_version_num')::integer")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something about the service's role that is not as it should be: what is so, and the SQL that mends it.

    ``too_much``: the role may do what it should not; else it lacks what it needs. ``by_owner``: the tables' owner
    may mend it; else it takes who looks after the server.
    """

    words: str
    mending: tuple[str, ...]
    too_much: bool
    by_owner: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """Who owns the ledger, who serves, and what that role may do to each table."""

    owner: str
    service: str
    rights: dict[str, tuple[str, ...]]
    differences: tuple[Difference, ...]

    @property
    def too_much(self) -> tuple[Difference, ...]:
        """What the role may do and should not."""
        return tuple(each for each in self.differences if each.too_much)

    @property
    def lacking(self) -> tuple[Difference, ...]:
        """What the role needs and may not do."""
        return tuple(each for each in self.differences if not each.too_much)


def wanted() -> dict[str, frozenset[str]]:
    """What the service's role may do to each table."""
    rights = {
        name: frozenset(
            {"SELECT", *(("INSERT",) if table.info.get("grows", True) else ()), *table.info.get("moves", ())}
        )
        for name, table in metadata.tables.items()
    }
    return {**rights, "alembic_version": frozenset({"SELECT"})}


def not_told() -> dict[str, frozenset[str]]:
    """The columns that the service's role may not name in a row that it adds, by table."""
    columns = {
        name: frozenset(column.name for column in table.columns if not column.info.get("told", True))
        for name, table in metadata.tables.items()
    }
    return {name: own for name, own in columns.items() if own}


def role_of(url: str) -> str:
    """The role that connects with this address: the one that it names, else whom the server takes us for."""
    address = parsed_url(url)
    if address.username:
        return address.username
    engine = create_engine(address, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return str(connection.scalar(text("SELECT current_user")))
    except OperationalError as error:
        raise _unreachable("MUNIMENT_DATABASE_URL") from error


def standing_at(url: str, service: str) -> Standing:
    """How the role stands in the database at an address."""
    engine = create_engine(parsed_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return standing(connection, service)
    except OperationalError as error:
        raise _unreachable("The database") from error


def give(connection: Connection, service: str) -> None:
    """Give the service's role what it should have, and take what it should not, as far as the tables' owner can."""
    if connection.scalar(text("SELECT current_user")) == service:
        return
    if connection.execute(_ROLE, {"role": service}).one_or_none() is None:
        raise CannotStart(
            f"MUNIMENT_DATABASE_URL is to serve as the role {service}, which does not exist. Whoever looks after the "
            f"server makes it: CREATE ROLE {_quoted(connection, service)} LOGIN PASSWORD '…'; then upgrade again."
        )
    for difference in standing(connection, service).differences:
        if difference.by_owner:
            for statement in difference.mending:
                connection.execute(text(statement))


async def require_owner(tx: Transaction) -> None:
    """Refuse to keep the ledger as another role than the one that owns it (or may do as that one, as a superuser)."""
    asked = "SELECT current_user, pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'ledger'::regclass"
    role, owns = (await tx.execute(text(asked))).one()
    if not owns:
        raise CannotStart(
            f"Whoever keeps the ledger works as the role that owns its tables, and {role} does not: set "
            "MUNIMENT_DATABASE_OWNER_URL to that role's address, then try again."
        )


async def surplus(tx: Transaction) -> tuple[str, ...]:
    """What the role that serves may do too much, in words; refuses one that lacks what it needs."""
    service = str((await tx.execute(text("SELECT current_user"))).scalar_one())
    stands = await tx.run_sync(lambda session: standing(session, service))
    if stands.lacking:
        raise CannotStart(
            f"{stands.lacking[0].words} Run with the owner's address in MUNIMENT_DATABASE_OWNER_URL: "
            "muniment database upgrade"
        )
    return tuple(each.words for each in stands.too_much)


def standing(connection: Connection, service: str) -> Standing:
    """How the role stands beside what it should be."""
    owner = str(connection.scalar(_OWNER) or "")
    role = connection.execute(_ROLE, {"role": service}).mappings().one_or_none()
    if role is None:
        quoted = _quoted(connection, service)
        missing = Difference(
            f"There is no role {service}.",
            (f"CREATE ROLE {quoted} LOGIN PASSWORD '…'",),
            too_much=False,
            by_owner=False,
        )
        return Standing(owner, service, {}, (missing,))
    rights = _rights(connection, service)
    return Standing(owner, service, rights, tuple(_differences(connection, service, owner, dict(role), rights)))


def _differences(
    connection: Connection, service: str, owner: str, role: dict[str, object], rights: dict[str, tuple[str, ...]]
) -> Iterator[Difference]:
    quoted = _quoted(connection, service)
    apart = (
        "CREATE ROLE muniment_service LOGIN PASSWORD '…'",
        "-- MUNIMENT_DATABASE_OWNER_URL: the address of before; MUNIMENT_DATABASE_URL: the same, as muniment_service",
        "-- then run: muniment database upgrade",
    )
    if role["rolsuper"]:
        words = f"The service's role {service} is a superuser, and can change every record without a trace."
        yield Difference(words, apart, too_much=True, by_owner=False)
        return
    owned = list(connection.scalars(_OWNED, {"role": service}))
    if owned:
        what = "the ledger" if owner == service else ", ".join(owned)
        words = f"The service's role {service} owns {what}, and can switch off what guards it."
        yield Difference(words, apart, too_much=True, by_owner=False)
        return
    above = list(connection.scalars(_MEMBERSHIPS, {"role": service}))
    for name in above:
        words = f"The service's role {service} is a member of {name}, and so may do what that may."
        mending = (f"REVOKE {_quoted(connection, name)} FROM {quoted}",)
        yield Difference(words, mending, too_much=True, by_owner=False)
    for attribute, (word, what) in _ATTRIBUTES.items():
        if role[attribute]:
            words = f"The service's role {service} {what}."
            yield Difference(words, (f"ALTER ROLE {quoted} NO{word}",), too_much=True, by_owner=False)
    yield from _of_schema(connection, service, quoted)
    yield from _of_tables(service, quoted, rights)
    yield from _of_columns(connection, service, quoted)
    yield from _of_functions(connection, service, quoted)


def _of_schema(connection: Connection, service: str, quoted: str) -> Iterator[Difference]:
    found = connection.execute(_SCHEMA, {"role": service}).one()
    if not found.uses:
        words = f"The service's role {service} may not look into the schema {found.schema}."
        yield Difference(words, (f"GRANT USAGE ON SCHEMA {found.schema} TO {quoted}",), too_much=False)
    if found.makes:
        words = f"The service's role {service} may make tables in the schema {found.schema}."
        mending = (f"REVOKE CREATE ON SCHEMA {found.schema} FROM PUBLIC, {quoted}",)
        yield Difference(words, mending, too_much=True, by_owner=False)
    if found.makes_schemas:
        words = f"The service's role {service} may make schemas in the database {found.database}."
        mending = (f"REVOKE CREATE ON DATABASE {found.database} FROM PUBLIC, {quoted}",)
        yield Difference(words, mending, too_much=True, by_owner=False)


def _of_tables(service: str, quoted: str, rights: dict[str, tuple[str, ...]]) -> Iterator[Difference]:
    should, by_column = wanted(), not_told().keys()
    for name, held in rights.items():
        beside = {"INSERT"} if name in by_column else set()
        lacks = [right for right in _RIGHTS if right in should.get(name, frozenset()) - beside and right not in held]
        surplus = [right for right in held if right not in should.get(name, ())]
        if lacks:
            words = f"The service's role {service} lacks {', '.join(lacks)} on {name}."
            yield Difference(words, (f"GRANT {', '.join(lacks)} ON {name} TO {quoted}",), too_much=False)
        if surplus:
            words = f"The service's role {service} has {', '.join(surplus)} on {name}."
            mending = f"REVOKE {', '.join(surplus)} ON {name} FROM PUBLIC, {quoted}"
            yield Difference(words, (mending,), too_much=True)


def _of_columns(connection: Connection, service: str, quoted: str) -> Iterator[Difference]:
    """Where rows are added whose columns are not all for the service to say. Columns of later releases are theirs."""
    for name, own in not_told().items():
        known = metadata.tables[name].columns
        columns = [each for each in connection.execute(_TOLD, {"role": service, "table": name}) if each.name in known]
        told = [each for each in columns if each.name not in own]
        lacks = [each.name for each in told if not each.may]
        surplus = [each.name for each in columns if each.name in own and each.may]
        given = f"GRANT INSERT ({', '.join(each.name for each in told)}) ON {name} TO {quoted}"
        if surplus:
            words = f"The service's role {service} may write {', '.join(surplus)} of {name} itself."
            # What was given for the whole table takes each column's with it when it is taken.
            mending = (f"REVOKE INSERT ON {name} FROM PUBLIC, {quoted}", given)
            yield Difference(words, mending, too_much=True)
        elif lacks:
            what = "INSERT" if len(lacks) == len(told) else f"INSERT ({', '.join(lacks)})"
            yield Difference(f"The service's role {service} lacks {what} on {name}.", (given,), too_much=False)


def _of_functions(connection: Connection, service: str, quoted: str) -> Iterator[Difference]:
    for name, may in connection.execute(_FUNCTIONS, {"role": service}):
        if name == _CALLED and not may:
            words = f"The service's role {service} may not make room in the ledger."
            yield Difference(words, (f"GRANT EXECUTE ON FUNCTION {name} TO {quoted}",), too_much=False)
        if name != _CALLED and may:
            words = f"The service's role {service} may call {name}."
            yield Difference(words, (f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC, {quoted}",), too_much=True)
    counting = connection.execute(_SEQUENCE, {"role": service}).one_or_none()
    if counting is not None and not counting.takes:
        words = f"The service's role {service} may not count the ledger's rows."
        yield Difference(words, (f"GRANT USAGE ON SEQUENCE ledger_seq TO {quoted}",), too_much=False)
    if counting is not None and counting.sets:
        words = f"The service's role {service} may set the number at which the ledger's rows stand."
        yield Difference(words, (f"REVOKE UPDATE ON SEQUENCE ledger_seq FROM PUBLIC, {quoted}",), too_much=True)


def _rights(connection: Connection, service: str) -> dict[str, tuple[str, ...]]:
    """What the role may do to each table that stands, in the order of the tables' names."""
    version = connection.scalar(_VERSION) or 0
    known = [right for right in _RIGHTS if _SINCE.get(right, 0) <= version]
    tables = list(connection.scalars(_STANDING, {"known": list(wanted())}))
    held: dict[str, set[str]] = {name: set() for name in tables}
    for name, right in connection.execute(_HELD, {"tables": tables, "rights": known, "role": service}):
        held[name].add(right)
    return {name: tuple(right for right in known if right in held[name]) for name in tables}


def _quoted(connection: Connection, role: str) -> str:
    return str(connection.scalar(_QUOTED, {"role": role}))


def _unreachable(what: str) -> CannotStart:
    return CannotStart(f"{what} does not answer. See that it runs and lets this machine in, then try again.")
