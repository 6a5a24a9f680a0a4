"""Saved views of the ledger: questions that somebody asks again, by their names."""

from alembic import op
from sqlalchemy import text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

VIEWS = """
    CREATE TABLE ledger_views (
      owner text COLLATE "C" NOT NULL,
      name text COLLATE "C" NOT NULL,
      question jsonb NOT NULL,
      days integer,
      shared boolean NOT NULL,
      at timestamptz NOT NULL,
      CONSTRAINT pk_ledger_views PRIMARY KEY (owner, name)
    );
    CREATE INDEX ix_ledger_views_shared ON ledger_views (name) WHERE shared;
"""


def upgrade() -> None:
    op.execute(text(VIEWS))


def downgrade() -> None:
    op.execute(text("DROP TABLE ledger_views"))
