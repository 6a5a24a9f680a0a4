"""Webhooks: who receives which rows of the ledger, what was sent, and what could not be."""

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

#: Secrets are sealed by the service. A place in the ledger is written as the service writes it.
PAGE = """
    CREATE TABLE webhooks (
      key uuid NOT NULL,
      subject text COLLATE "C" NOT NULL,
      id text COLLATE "C" NOT NULL,
      version integer NOT NULL,
      url text NOT NULL,
      description text NOT NULL,
      events text[] NOT NULL,
      datasets text[] NOT NULL,
      domains text[] NOT NULL,
      active boolean NOT NULL,
      stopped text,
      by text NOT NULL,
      at timestamp with time zone NOT NULL,
      changed_at timestamp with time zone NOT NULL,
      secret bytea NOT NULL,
      secret_version integer NOT NULL,
      former_secret bytea,
      former_until timestamp with time zone,
      CONSTRAINT pk_webhooks PRIMARY KEY (key),
      CONSTRAINT uq_webhooks_subject_id UNIQUE (subject, id),
      CONSTRAINT ck_webhooks_former CHECK ((former_secret IS NULL) = (former_until IS NULL))
    );

    CREATE TABLE webhook_progress (
      webhook uuid NOT NULL,
      place text NOT NULL,
      due timestamp with time zone NOT NULL,
      dead_in_a_row integer NOT NULL DEFAULT 0,
      holder uuid,
      held_until timestamp with time zone NOT NULL DEFAULT '-infinity',
      CONSTRAINT pk_webhook_progress PRIMARY KEY (webhook),
      CONSTRAINT fk_webhook_progress_webhook_webhooks FOREIGN KEY (webhook) REFERENCES webhooks (key) ON DELETE CASCADE
    ) WITH (fillfactor = 50);

    CREATE TABLE webhook_deliveries (
      webhook uuid NOT NULL,
      ledger_row uuid NOT NULL,
      position bigint GENERATED ALWAYS AS IDENTITY,
      at timestamp with time zone NOT NULL,
      event text NOT NULL,
      place text NOT NULL,
      state text NOT NULL,
      tries integer NOT NULL,
      status integer,
      why text,
      first_at timestamp with time zone NOT NULL,
      last_at timestamp with time zone NOT NULL,
      CONSTRAINT pk_webhook_deliveries PRIMARY KEY (webhook, ledger_row),
      CONSTRAINT fk_webhook_deliveries_webhook_webhooks FOREIGN KEY (webhook) REFERENCES webhooks (key)
        ON DELETE CASCADE,
      CONSTRAINT ck_webhook_deliveries_state CHECK (state IN ('waiting', 'delivered', 'dead', 'withheld'))
    );
    CREATE INDEX ix_webhook_deliveries_webhook_position ON webhook_deliveries (webhook, position);
    CREATE INDEX ix_webhook_deliveries_waiting ON webhook_deliveries (webhook, position) WHERE state = 'waiting';
    CREATE INDEX ix_webhook_deliveries_last_at ON webhook_deliveries (last_at);
"""


def upgrade() -> None:
    op.execute(text(PAGE))


def downgrade() -> None:
    op.execute(text("DROP TABLE webhook_deliveries, webhook_progress, webhooks"))
