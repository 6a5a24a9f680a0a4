"""Notices to people: what each chose to be told, and what has been sent."""

from alembic import op
from sqlalchemy import text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NOTICES = """
    CREATE TABLE notices (
      id uuid,
      recipient text COLLATE "C" NOT NULL,
      kind text NOT NULL,
      thing text COLLATE "C" NOT NULL,
      at timestamptz NOT NULL,
      about jsonb NOT NULL,
      CONSTRAINT pk_notices PRIMARY KEY (id),
      CONSTRAINT uq_notices_recipient_kind_thing UNIQUE (recipient, kind, thing)
    );
    CREATE INDEX ix_notices_recipient_id ON notices (recipient, id);
    CREATE INDEX ix_notices_at ON notices (at);

    CREATE TABLE notice_sendings (
      notice uuid NOT NULL,
      channel text NOT NULL,
      pace text NOT NULL,
      due timestamptz NOT NULL,
      state text NOT NULL,
      attempts integer NOT NULL DEFAULT 0,
      claimed_until timestamptz,
      ended_at timestamptz,
      why text NOT NULL DEFAULT '',
      CONSTRAINT pk_notice_sendings PRIMARY KEY (notice, channel),
      CONSTRAINT fk_notice_sendings_notice_notices FOREIGN KEY (notice) REFERENCES notices (id) ON DELETE CASCADE,
      CONSTRAINT ck_notice_sendings_state CHECK (state IN ('waiting', 'sent', 'dropped', 'given up'))
    );
    CREATE INDEX ix_notice_sendings_waiting ON notice_sendings (due) WHERE state = 'waiting';

    CREATE TABLE notice_choices (
      subject text COLLATE "C",
      version integer NOT NULL,
      mail jsonb NOT NULL,
      webhook jsonb NOT NULL DEFAULT '{}',
      quiet boolean NOT NULL,
      CONSTRAINT pk_notice_choices PRIMARY KEY (subject)
    );

    CREATE TABLE notice_addresses (
      subject text COLLATE "C",
      mailbox text NOT NULL,
      confirmed_at timestamptz NOT NULL,
      CONSTRAINT pk_notice_addresses PRIMARY KEY (subject)
    );

    CREATE TABLE notice_webhooks (
      subject text COLLATE "C",
      key uuid NOT NULL,
      url text NOT NULL,
      sealed bytea NOT NULL,
      at timestamptz NOT NULL,
      CONSTRAINT pk_notice_webhooks PRIMARY KEY (subject)
    );

    CREATE TABLE notice_desk (
      one boolean DEFAULT true,
      holder uuid,
      held_until timestamptz NOT NULL DEFAULT '-infinity',
      place text,
      swept_at timestamptz NOT NULL DEFAULT '-infinity',
      CONSTRAINT pk_notice_desk PRIMARY KEY (one),
      CONSTRAINT ck_notice_desk_one_row CHECK (one)
    );
    INSERT INTO notice_desk DEFAULT VALUES;
"""


def upgrade() -> None:
    op.execute(text(NOTICES))


def downgrade() -> None:
    op.execute(
        text("DROP TABLE notice_sendings, notices, notice_choices, notice_addresses, notice_webhooks, notice_desk")
    )
