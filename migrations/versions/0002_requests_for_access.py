"""Requests for access: lines of versions beside the realm's, which only grow as those do."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REQUESTS = """
    CREATE TABLE requests (
      key text COLLATE "C" NOT NULL,
      version integer NOT NULL,
      revision bigint NOT NULL,
      requester text COLLATE "C" NOT NULL,
      body json NOT NULL,
      CONSTRAINT pk_requests PRIMARY KEY (key, version),
      CONSTRAINT fk_requests_revision_revisions FOREIGN KEY (revision) REFERENCES revisions (revision)
    );
    CREATE INDEX ix_requests_requester_key_version ON requests (requester, key, version);
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON requests
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""


def upgrade() -> None:
    op.execute(text(REQUESTS))


def downgrade() -> None:
    op.execute(text("DROP TABLE requests"))
