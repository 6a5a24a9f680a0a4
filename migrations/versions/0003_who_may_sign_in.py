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
      provider text,
      CONSTRAINT pk_enrolments PRIMARY KEY (subject, version)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON enrolments
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();

    CREATE TABLE sign_ins_ended (
      at timestamp with time zone NOT NULL,
      by text NOT NULL,
      reason text NOT NULL,
      CONSTRAINT pk_sign_ins_ended PRIMARY KEY (at)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON sign_ins_ended
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""

NO_ROSTER = """
    DROP TABLE sign_ins_ended;
    DROP TABLE enrolments;
    ALTER TABLE realm_counter DROP COLUMN roster;
"""

BEGINNINGS = """
    CREATE TABLE beginnings (
      secret_sha256 bytea NOT NULL,
      ends_at timestamp with time zone NOT NULL,
      CONSTRAINT pk_beginnings PRIMARY KEY (secret_sha256)
    );
"""

NO_BEGINNINGS = "DROP TABLE beginnings"

#: A constant default: Postgres writes no row again.
CREDENTIALS = "ALTER TABLE ledger ADD COLUMN credential text NOT NULL DEFAULT ''"
NO_CREDENTIALS = "ALTER TABLE ledger DROP COLUMN credential"

#: Of each secret only its SHA-256 is kept. Rows of the last two tables live for minutes.
SESSIONS = """
    CREATE TABLE sessions (
      id uuid NOT NULL,
      secret bytea NOT NULL,
      subject text COLLATE "C" NOT NULL,
      subject_state text NOT NULL,
      issuer text NOT NULL,
      issuer_subject text NOT NULL,
      issuer_session text,
      since timestamp with time zone NOT NULL,
      began timestamp with time zone NOT NULL,
      used timestamp with time zone NOT NULL,
      until timestamp with time zone NOT NULL,
      ended timestamp with time zone,
      why text,
      address text NOT NULL,
      client text NOT NULL,
      CONSTRAINT pk_sessions PRIMARY KEY (id),
      CONSTRAINT uq_sessions_secret UNIQUE (secret),
      CONSTRAINT fk_sessions_subject_state_subject_states FOREIGN KEY (subject_state)
        REFERENCES subject_states (digest),
      CONSTRAINT ck_sessions_ended CHECK ((ended IS NULL) = (why IS NULL))
    );
    CREATE INDEX ix_sessions_subject_until ON sessions (subject, until);
    CREATE INDEX ix_sessions_issuer_issuer_subject_until ON sessions (issuer, issuer_subject, until);
    CREATE INDEX ix_sessions_until ON sessions (until);

    CREATE TABLE sign_ins_begun (
      state bytea NOT NULL,
      browser bytea NOT NULL,
      issuer text NOT NULL,
      path text NOT NULL,
      until timestamp with time zone NOT NULL,
      CONSTRAINT pk_sign_ins_begun PRIMARY KEY (state)
    );
    CREATE INDEX ix_sign_ins_begun_until ON sign_ins_begun (until);

    CREATE TABLE logout_tokens_seen (
      issuer text NOT NULL,
      token bytea NOT NULL,
      until timestamp with time zone NOT NULL,
      CONSTRAINT pk_logout_tokens_seen PRIMARY KEY (issuer, token)
    );
    CREATE INDEX ix_logout_tokens_seen_until ON logout_tokens_seen (until);
"""
NO_SESSIONS = """
    DROP TABLE logout_tokens_seen;
    DROP TABLE sign_ins_begun;
    DROP TABLE sessions;
"""

#: ``key_uses`` alone moves: when each key was last used.
KEYS = """
    CREATE TABLE keys (
      id text COLLATE "C" NOT NULL,
      hashed bytea NOT NULL,
      pepper text NOT NULL,
      subject text COLLATE "C" NOT NULL,
      state text,
      use text NOT NULL,
      environment text,
      project text,
      purpose text,
      directory text,
      at timestamp with time zone NOT NULL,
      by text NOT NULL,
      because text NOT NULL,
      until timestamp with time zone NOT NULL,
      CONSTRAINT pk_keys PRIMARY KEY (id),
      CONSTRAINT uq_keys_hashed UNIQUE (hashed),
      CONSTRAINT fk_keys_state_subject_states FOREIGN KEY (state) REFERENCES subject_states (digest)
    );
    CREATE INDEX ix_keys_subject_id ON keys (subject, id);
    CREATE TABLE key_endings (
      key text COLLATE "C" NOT NULL,
      at timestamp with time zone NOT NULL,
      by text NOT NULL,
      because text NOT NULL,
      CONSTRAINT pk_key_endings PRIMARY KEY (key),
      CONSTRAINT fk_key_endings_key_keys FOREIGN KEY (key) REFERENCES keys (id)
    );
    CREATE TABLE key_uses (
      key text COLLATE "C" NOT NULL,
      at timestamp with time zone NOT NULL,
      address text NOT NULL,
      CONSTRAINT pk_key_uses PRIMARY KEY (key),
      CONSTRAINT fk_key_uses_key_keys FOREIGN KEY (key) REFERENCES keys (id)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON keys
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON key_endings
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""
NO_KEYS = "DROP TABLE key_uses, key_endings, keys"

#: People and groups as identity providers tell of them. What is kept of a person goes when the person does;
#: the names of groups that were ever provisioned stay, and what provisioning made of subjects' states.
PROVISIONING = """
    CREATE TABLE provisioned_users (
      id uuid NOT NULL,
      issuer text NOT NULL,
      subject text COLLATE "C" NOT NULL,
      user_name text NOT NULL,
      folded_name text NOT NULL,
      external_id text,
      display_name text,
      active boolean,
      version integer NOT NULL,
      made_at timestamp with time zone NOT NULL,
      changed_at timestamp with time zone NOT NULL,
      CONSTRAINT pk_provisioned_users PRIMARY KEY (id),
      CONSTRAINT uq_provisioned_users_subject UNIQUE (subject),
      CONSTRAINT uq_provisioned_users_issuer_folded_name UNIQUE (issuer, folded_name)
    );
    CREATE INDEX ix_provisioned_users_issuer_external_id ON provisioned_users (issuer, external_id);

    CREATE TABLE provisioned_groups (
      id uuid NOT NULL,
      issuer text NOT NULL,
      name text COLLATE "C" NOT NULL,
      display_name text NOT NULL,
      external_id text,
      version integer NOT NULL,
      made_at timestamp with time zone NOT NULL,
      changed_at timestamp with time zone NOT NULL,
      CONSTRAINT pk_provisioned_groups PRIMARY KEY (id),
      CONSTRAINT uq_provisioned_groups_name UNIQUE (name)
    );
    CREATE INDEX ix_provisioned_groups_issuer_external_id ON provisioned_groups (issuer, external_id);

    CREATE TABLE provisioned_members (
      group_id uuid NOT NULL,
      user_id uuid NOT NULL,
      CONSTRAINT pk_provisioned_members PRIMARY KEY (group_id, user_id),
      CONSTRAINT fk_provisioned_members_group_id_provisioned_groups
        FOREIGN KEY (group_id) REFERENCES provisioned_groups (id) ON DELETE CASCADE,
      CONSTRAINT fk_provisioned_members_user_id_provisioned_users
        FOREIGN KEY (user_id) REFERENCES provisioned_users (id) ON DELETE CASCADE
    );
    CREATE INDEX ix_provisioned_members_user_id ON provisioned_members (user_id);

    CREATE TABLE provisioned_names (
      name text COLLATE "C" NOT NULL,
      since timestamp with time zone NOT NULL,
      CONSTRAINT pk_provisioned_names PRIMARY KEY (name)
    );

    CREATE TABLE provisioned_states (
      name text COLLATE "C" NOT NULL,
      at timestamp with time zone NOT NULL,
      digest text NOT NULL,
      CONSTRAINT pk_provisioned_states PRIMARY KEY (name, at),
      CONSTRAINT fk_provisioned_states_digest_subject_states FOREIGN KEY (digest) REFERENCES subject_states (digest)
    );
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON provisioned_states
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""
NO_PROVISIONING = """
    DROP TABLE provisioned_states, provisioned_names, provisioned_members, provisioned_groups, provisioned_users;
"""

#: How much of each count is in the ledger; what was counted before this release is told at its first start.
REFUSALS = """
    ALTER TABLE refused_signins ADD COLUMN told bigint NOT NULL DEFAULT 0;
    CREATE INDEX ix_refused_signins_untold ON refused_signins (minute) WHERE told < count;
"""
NO_REFUSALS = "ALTER TABLE refused_signins DROP COLUMN told"

UP = (ROSTER, BEGINNINGS, CREDENTIALS, SESSIONS, KEYS, PROVISIONING, REFUSALS)
DOWN = (NO_REFUSALS, NO_PROVISIONING, NO_KEYS, NO_SESSIONS, NO_CREDENTIALS, NO_BEGINNINGS, NO_ROSTER)


def upgrade() -> None:
    for page in UP:
        op.execute(text(page))


def downgrade() -> None:
    for page in DOWN:
        op.execute(text(page))
