"""What is kept in files in git: which fields of which things, by which source, each as of which version."""

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEPT = """
    CREATE TABLE kept_in_files (
      turn bigint GENERATED ALWAYS AS IDENTITY,
      kind text NOT NULL,
      key text COLLATE "C" NOT NULL,
      source text NOT NULL,
      fields jsonb,
      revision bigint NOT NULL,
      CONSTRAINT pk_kept_in_files PRIMARY KEY (turn),
      CONSTRAINT fk_kept_in_files_revision_revisions FOREIGN KEY (revision) REFERENCES revisions (revision)
    );
    CREATE INDEX ix_kept_in_files_kind_key_turn ON kept_in_files (kind, key, turn);
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON kept_in_files
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""


def upgrade() -> None:
    op.execute(text(KEPT))


def downgrade() -> None:
    op.execute(text("DROP TABLE kept_in_files"))
