"""Where a row stands in the order of commits is for the database to say: roles that add rows may not name it.

A role that may ``INSERT`` into a table may name each column, also one that a default fills. So whoever has been given
that right on the ledger has it from here on only for the columns that releases write, and have always written. Nothing
that a release of before does needs more.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

#: Each role's right is taken and given again in one transaction, so that nobody who writes is ever without it.
GIVEN = """
    DO $$
    DECLARE
      role text;
      columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'ledger'::regclass AND attnum > 0 AND NOT attisdropped
          AND attname NOT IN ('seq', 'xact', 'salt', 'who_sha256', 'details_sha256'));
    BEGIN
      FOR role IN
        SELECT coalesce(quote_ident(rolname), 'PUBLIC')
        FROM pg_class AS c, aclexplode(c.relacl) AS given LEFT JOIN pg_roles AS r ON r.oid = given.grantee
        WHERE c.oid = 'ledger'::regclass AND given.privilege_type = 'INSERT' AND given.grantee <> c.relowner
      LOOP
        EXECUTE format('REVOKE INSERT ON ledger FROM %s', role);
        EXECUTE format('GRANT INSERT (%s) ON ledger TO %s', columns, role);
      END LOOP;
    END $$;
"""

GIVEN_BEFORE = """
    DO $$
    DECLARE
      role text;
    BEGIN
      FOR role IN
        SELECT DISTINCT coalesce(quote_ident(rolname), 'PUBLIC')
        FROM pg_attribute AS a, aclexplode(a.attacl) AS given LEFT JOIN pg_roles AS r ON r.oid = given.grantee
        WHERE a.attrelid = 'ledger'::regclass AND given.privilege_type = 'INSERT'
      LOOP
        EXECUTE format('GRANT INSERT ON ledger TO %s', role);
      END LOOP;
    END $$;
"""


def upgrade() -> None:
    _run(GIVEN)


def downgrade() -> None:
    _run(GIVEN_BEFORE)


def _run(page: str) -> None:
    """Several statements, as they stand: neither a colon nor a per cent sign in them is a parameter's."""
    op.get_bind().exec_driver_sql(page.replace("%", "%%"))
