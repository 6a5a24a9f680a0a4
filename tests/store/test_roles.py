"""The service's own role: it adds and reads, and changes only what moves; everything else Postgres refuses it."""

import psycopg
import pytest
from alembic import command
from psycopg.errors import InsufficientPrivilege, RestrictViolation
from sqlalchemy import create_engine, text

from muniment.core.problems import CannotStart
from muniment.store import embedded, migrations, roles
from muniment.store.tables import metadata
from tests.owning import libpq, owned

#: What somebody could try on any table, besides reading and adding.
FORBIDDEN = {
    "UPDATE": "UPDATE {} SET {} = {}",
    "DELETE": "DELETE FROM {}",
    "TRUNCATE": "TRUNCATE {} CASCADE",
    "ALTER": "ALTER TABLE {} DISABLE TRIGGER ALL",
    "DROP": "DROP TABLE {} CASCADE",
    "TRIGGER": "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget()",
    "RULE": "CREATE RULE mine AS ON INSERT TO {} DO INSTEAD NOTHING",
    "LOCK": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
}
ELSEWHERE = (
    "CREATE TABLE mine (words text)",
    "CREATE OR REPLACE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "DROP FUNCTION refuse_to_forget() CASCADE",
    "SELECT ledger_erase('[]')",
    "SELECT forget_person('user:ann', '{}')",
    "SELECT setval('ledger_seq', 1)",
    "INSERT INTO ledger_clusters VALUES (9, 'mine', 1000000, now())",
    "SET session_replication_role = replica",
    "SET ROLE muniment",
    "SET ROLE postgres",
    "CREATE ROLE mine",
    "ALTER ROLE muniment_service CREATEDB",
    "CREATE SCHEMA mine",
    "ALTER TABLE ledger DETACH PARTITION ledger_2026_03",
    "COPY ledger TO PROGRAM 'cat'",
)


@pytest.fixture(scope="module")
def serving(module_database):
    """A connection as the service, on a ledger with a month in it."""
    with psycopg.connect(module_database.replace("+psycopg", "", 1)) as connection:
        connection.execute("SELECT ledger_partition('2026-03-01')")
        connection.commit()
        yield connection


def refused(connection, statement):
    try:
        with pytest.raises(InsufficientPrivilege):
            connection.execute(statement)
    finally:
        connection.rollback()


def test_the_whole_suite_works_as_a_role_that_may_do_what_the_service_needs_and_nothing_else(module_database):
    stands = roles.standing_at(owned(module_database), embedded.SERVICE)
    assert stands.owner == embedded.OWNER
    assert stands.differences == ()
    assert stands.rights["ledger"] == stands.rights["ledger_seals"] == ("SELECT", "INSERT")
    assert stands.rights["realm_counter"] == ("SELECT", "INSERT", "UPDATE")


@pytest.mark.parametrize("table", [*sorted(metadata.tables), "alembic_version", "ledger_2026_03"])
def test_whatever_is_forbidden_on_a_table_is_refused_to_the_service(serving, table):
    moves = metadata.tables[table].info.get("moves", ()) if table in metadata.tables else ()
    column = list(metadata.tables[table].c)[-1].name if table in metadata.tables else "id"
    column = "version_num" if table == "alembic_version" else column
    for word, statement in FORBIDDEN.items():
        # Whoever may change rows may lock them out, and nothing more.
        if word not in moves and not (word == "LOCK" and moves):
            refused(serving, statement.format(table, column, column))


@pytest.mark.parametrize("statement", ELSEWHERE)
def test_the_service_reaches_nothing_beside_the_tables(serving, statement):
    refused(serving, statement)


#: What the database says of a row, or an erasure does: where it stands, and what hides or replaces fields of it.
NOT_TOLD = {
    "seq": "1",
    "xact": "'3'",
    "salt": "'\\x00'",
    "who_sha256": "'\\x00'",
    "details_sha256": "'\\x00'",
}
_ROW = """
    INSERT INTO {}
      (id, at, event, outcome, subject, issuer, subject_state, address, client, datasets, policies, details {})
      VALUES (gen_random_uuid(), '2026-03-02', 'lease.served', 'allowed', 'user:eve', '', '', '', '', '{{}}', '{{}}',
        '{{}}' {})
"""


@pytest.mark.parametrize("column", NOT_TOLD)
def test_where_a_row_stands_in_the_order_is_not_for_the_service_to_say(serving, column):
    """A row of an old transaction would stand among those that are sealed, one of a coming one would never be."""
    serving.execute(_ROW.format("ledger", "", ""))
    serving.rollback()
    refused(serving, _ROW.format("ledger", f", {column}", f", {NOT_TOLD[column]}"))
    refused(serving, f"COPY ledger (id, at, {column}) FROM STDIN")


def test_the_service_writes_into_no_month_past_the_ledger(serving):
    refused(serving, _ROW.format("ledger_2026_03", "", ""))
    refused(serving, _ROW.format("ledger_2026_03", ", xact", ", '3'"))


def test_an_issuer_that_the_service_may_lock_is_changed_by_nobody(serving):
    serving.execute("SELECT * FROM issuers FOR UPDATE")
    serving.rollback()
    with pytest.raises(RestrictViolation):
        serving.execute("UPDATE issuers SET issuer = 'https://elsewhere.example.org'")
    serving.rollback()


#: What an administrator of a server may have given, and what is said of it.
GIVEN = {
    "GRANT UPDATE ON ledger TO muniment_service": "has UPDATE on ledger",
    "GRANT UPDATE (details) ON ledger TO muniment_service": "has UPDATE on ledger",
    "GRANT DELETE ON ledger_seals TO PUBLIC": "has DELETE on ledger_seals",
    "GRANT ALL ON ledger_2026_03 TO muniment_service": "on ledger_2026_03",
    "GRANT EXECUTE ON FUNCTION ledger_erase(jsonb) TO muniment_service": "may call ledger_erase(jsonb)",
    "GRANT UPDATE ON SEQUENCE ledger_seq TO muniment_service": "may set the number",
    "GRANT INSERT ON ledger TO muniment_service": "write seq, xact, salt, who_sha256, details_sha256 of ledger",
    "GRANT INSERT (xact) ON ledger TO PUBLIC": "may write xact of ledger itself",
    "REVOKE INSERT ON ledger FROM muniment_service": "lacks INSERT on ledger",
    "REVOKE INSERT (details, run) ON ledger FROM muniment_service": "lacks INSERT (details, run) on ledger",
    "REVOKE EXECUTE ON FUNCTION ledger_partition(date) FROM muniment_service": "may not make room",
}


@pytest.mark.parametrize("given", GIVEN)
def test_what_differs_is_told_and_the_next_upgrade_mends_it(module_database, serving, given):
    """Seen to fail with the mending left out."""
    with psycopg.connect(libpq(module_database), autocommit=True) as owner:
        owner.execute(given)
    (difference,) = roles.standing_at(owned(module_database), embedded.SERVICE).differences
    assert GIVEN[given] in difference.words
    migrations.upgrade(owned(module_database), embedded.SERVICE)
    assert roles.standing_at(owned(module_database), embedded.SERVICE).differences == ()


def test_a_service_that_owns_the_ledger_is_told_how_to_become_two(module_database):
    (difference,) = roles.standing_at(owned(module_database), embedded.OWNER).differences
    assert difference.words == "The service's role muniment owns the ledger, and can switch off what guards it."
    assert difference.mending[0].startswith("CREATE ROLE muniment_service LOGIN")


def test_a_superuser_and_a_role_that_is_not_there_are_told(module_database):
    (difference,) = roles.standing_at(owned(module_database), "postgres").differences
    assert "is a superuser" in difference.words
    with pytest.raises(CannotStart, match=r"does not exist.*CREATE ROLE nobody_here LOGIN"):
        migrations.upgrade(owned(module_database), "nobody_here")


def test_a_member_of_the_owners_role_is_too_much(postgres, module_database):
    superuser = libpq(module_database).replace("//muniment@", "//postgres@")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE ROLE muniment_other LOGIN CREATEROLE")
        connection.execute("GRANT muniment TO muniment_other")
    try:
        words = [each.words for each in roles.standing_at(owned(module_database), "muniment_other").too_much]
        assert any("is a member of muniment, and so may do what that may" in each for each in words)
        assert any("may make roles" in each for each in words)
    finally:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("DROP ROLE muniment_other")


def test_an_upgrade_as_the_service_says_whose_it_is(empty_database):
    with pytest.raises(CannotStart, match="MUNIMENT_DATABASE_OWNER_URL"):
        migrations.upgrade(empty_database.replace("//muniment@", "//muniment_service@"))


def test_whoever_might_name_each_column_before_names_none_of_the_databases_own_since(empty_database):
    """Also where the upgrade is not told who serves; and back."""
    config = migrations.configured(empty_database)
    command.upgrade(config, "0011")
    asked = "SELECT has_column_privilege('muniment_service', 'ledger', name, 'INSERT') FROM unnest(%s::text[]) AS name"
    with psycopg.connect(libpq(empty_database), autocommit=True) as owner:
        for given, command_, may in (
            ("GRANT INSERT ON ledger TO muniment_service, PUBLIC", command.upgrade, False),
            ("SELECT 1", command.downgrade, True),
        ):
            owner.execute(given)
            command_(config, "0012" if command_ is command.upgrade else "0011")
            found = [held for (held,) in owner.execute(asked, [["details", "run", *NOT_TOLD]])]
            assert found == [True, True, *[may] * len(NOT_TOLD)]


def test_months_that_are_there_are_vacuumed_gently_since_and_new_ones_with_them(empty_database):
    config = migrations.configured(empty_database)
    command.upgrade(config, "0012")
    asked = "SELECT reloptions FROM pg_class WHERE relname IN ('ledger_2031_01', 'ledger_2031_02') ORDER BY relname"
    gently = ["autovacuum_vacuum_cost_delay=20"]
    with psycopg.connect(libpq(empty_database), autocommit=True) as owner:
        owner.execute("SELECT ledger_partition('2031-01-01')")
        command.upgrade(config, "0013")
        owner.execute("SELECT ledger_partition('2031-02-01')")
        assert owner.execute(asked).fetchall() == [(gently,), (gently,)]
        command.downgrade(config, "0012")
        assert owner.execute(asked).fetchall() == [(None,), (None,)]


def test_a_directory_that_an_earlier_release_set_up_gets_the_second_role(postgres):
    """As it was: one role that owned everything; the start's upgrade gives the other its rights."""
    name, maintenance = "from_before", libpq(postgres.owner_database_url("postgres"))
    with psycopg.connect(maintenance, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")
    try:
        migrations.upgrade(postgres.owner_database_url(name))
        engine = create_engine(postgres.database_url(name))
        with engine.connect() as connection, pytest.raises(Exception, match="permission denied"):
            connection.execute(text("SELECT count(*) FROM ledger"))
        migrations.upgrade(postgres.owner_database_url(name), roles.role_of(postgres.database_url(name)))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM ledger")) == 0
        engine.dispose()
    finally:
        with psycopg.connect(maintenance, autocommit=True) as owner:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
