"""Months of the ledger are vacuumed gently: what the service answers waits for the same disk.

Rows are only ever added, so PostgreSQL vacuums a month because of its size alone, and goes through all that was added
since. With checksums each of those pages goes to its log as a whole. In its usual pace, 40 MB a second, that held
everybody's commits up; a tenth of it is felt by nobody (decision 0062).
"""

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: As it was, and the new month is vacuumed gently. In milliseconds.
PARTITION = """
    CREATE OR REPLACE FUNCTION ledger_partition(month date) RETURNS void LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = 0 AS $$
    DECLARE
      first date := date_trunc('month', month)::date;
      name text := 'ledger_' || to_char(first, 'YYYY_MM');
      begins timestamptz := first::timestamp AT TIME ZONE 'UTC';
      ends timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    BEGIN
      IF to_regclass(name) IS NOT NULL THEN
        RETURN;
      END IF;
      PERFORM pg_advisory_xact_lock(hashtext('ledger_partition'));
      -- The catalog itself: to_regclass remembers its no for the length of the transaction.
      IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'ledger'::regclass AND inhrelid::regclass::text = name) THEN
        RETURN;
      END IF;
      -- Until the function's end.
      PERFORM set_config('lock_timeout', '3s', true);
      EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS) WITH (autovacuum_vacuum_cost_delay = 20)', name);
      EXECUTE format('ALTER TABLE %I ADD CONSTRAINT month CHECK (at >= %L AND at < %L)', name, begins, ends);
      EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT month', name);
      EXECUTE format('CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget()', name);
    END $$;
"""

PARTITION_BEFORE = """
    CREATE OR REPLACE FUNCTION ledger_partition(month date) RETURNS void LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = 0 AS $$
    DECLARE
      first date := date_trunc('month', month)::date;
      name text := 'ledger_' || to_char(first, 'YYYY_MM');
      begins timestamptz := first::timestamp AT TIME ZONE 'UTC';
      ends timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    BEGIN
      IF to_regclass(name) IS NOT NULL THEN
        RETURN;
      END IF;
      PERFORM pg_advisory_xact_lock(hashtext('ledger_partition'));
      -- The catalog itself: to_regclass remembers its no for the length of the transaction.
      IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'ledger'::regclass AND inhrelid::regclass::text = name) THEN
        RETURN;
      END IF;
      -- Until the function's end.
      PERFORM set_config('lock_timeout', '3s', true);
      EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS)', name);
      EXECUTE format('ALTER TABLE %I ADD CONSTRAINT month CHECK (at >= %L AND at < %L)', name, begins, ends);
      EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT month', name);
      EXECUTE format('CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget()', name);
    END $$;
"""

#: Of the months that are there. It waits for nobody who reads or writes, and vacuuming gives way to it.
MONTHS = """
    DO $$
    DECLARE
      month regclass;
    BEGIN
      FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ledger'::regclass LOOP
        EXECUTE format('ALTER TABLE %s {how}', month);
      END LOOP;
    END $$;
"""


def upgrade() -> None:
    _run(PARTITION)
    _run(MONTHS.replace("{how}", "SET (autovacuum_vacuum_cost_delay = 20)"))


def downgrade() -> None:
    _run(MONTHS.replace("{how}", "RESET (autovacuum_vacuum_cost_delay)"))
    _run(PARTITION_BEFORE)


def _run(page: str) -> None:
    """Several statements, as they stand: neither a colon nor a per cent sign in them is a parameter's."""
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    op.get_bind().exec_driver_sql(page.replace("{schema}", schema).replace("%", "%%"))
