"""Reports of use: each is taken once, and the ledger tells which run a row belongs to."""

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: An id is its subject's own: nobody can take one away from another, or learn that another has used it.
REPORTS = """
    CREATE TABLE use_reports (
      subject text COLLATE "C" NOT NULL,
      id uuid NOT NULL,
      at timestamp with time zone NOT NULL,
      CONSTRAINT pk_use_reports PRIMARY KEY (subject, id)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON use_reports
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""
NO_REPORTS = "DROP TABLE use_reports"

#: Postgres writes no row again. It reads them once for the index, which is empty then.
RUNS = """
    ALTER TABLE ledger ADD COLUMN run text;
    CREATE INDEX ix_ledger_run ON ledger (run) WHERE run IS NOT NULL;
"""
NO_RUNS = "ALTER TABLE ledger DROP COLUMN run"


def upgrade() -> None:
    for page in (REPORTS, RUNS):
        op.execute(text(page))


def downgrade() -> None:
    for page in (NO_RUNS, NO_REPORTS):
        op.execute(text(page))
