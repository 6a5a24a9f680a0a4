"""Deputies: who decides on requests in an approver's place, and until when."""

from alembic import op
from sqlalchemy import text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

#: One row for each approver who has named somebody; the ledger tells of those who were named before.
PAGE = """
    CREATE TABLE deputies (
      principal text COLLATE "C",
      deputy text COLLATE "C" NOT NULL,
      at timestamptz NOT NULL,
      until timestamptz NOT NULL,
      because text NOT NULL,
      CONSTRAINT pk_deputies PRIMARY KEY (principal)
    );
    CREATE INDEX ix_deputies_deputy ON deputies (deputy);
"""


def upgrade() -> None:
    op.execute(text(PAGE))


def downgrade() -> None:
    op.execute(text("DROP TABLE deputies"))
