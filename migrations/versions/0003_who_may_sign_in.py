"""Who may sign in: the roster, and the credential by which each row of the ledger came about."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROSTER = """
    ALTER TABLE realm_counter ADD COLUMN roster bigint NOT NULL DEFAULT 0;

    CREATE TABLE enrolments (
      subject text COLLATE "C" NOT NULL,
      version integer NOT NULL,
      at timestamp with time zone NOT NULL,
      active boolean NOT NULL,
      tokens_since timestamp with time zone,
      by text NOT NULL,
      reason text NOT NULL,
      CONSTRAINT pk_enrolments PRIMARY KEY (subject, version)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON enrolments
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""

NO_ROSTER = """
    DROP TABLE enrolments;
    ALTER TABLE realm_counter DROP COLUMN roster;
"""

#: A constant default: Postgres writes no row again.
CREDENTIALS = "ALTER TABLE ledger ADD COLUMN credential text NOT NULL DEFAULT ''"
NO_CREDENTIALS = "ALTER TABLE ledger DROP COLUMN credential"

UP = (ROSTER, CREDENTIALS)
DOWN = (NO_CREDENTIALS, NO_ROSTER)


def upgrade() -> None:
    for page in UP:
        op.execute(text(page))


def downgrade() -> None:
    for page in DOWN:
        op.execute(text(page))
