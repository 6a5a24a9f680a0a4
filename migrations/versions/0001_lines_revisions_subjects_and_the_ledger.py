"""Lines of versions, their revisions, what is known of subjects, and the ledger.

Revision 0, the empty realm, is made here. What may only grow is guarded by triggers; the
ledger's partitions come from ``ledger_partition(month)``, which guards each of them too.
"""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LINES = ("datasets", "domains", "environments", "groups", "policies", "grants")
GUARDED = (*LINES, "change_log", "revisions", "subject_states", "ledger")

REVISIONS = """
    CREATE TABLE revisions (
      revision bigint NOT NULL,
      at timestamptz NOT NULL,
      subject text NOT NULL,
      subject_state text NOT NULL,
      request_id uuid,
      reason text NOT NULL,
      CONSTRAINT pk_revisions PRIMARY KEY (revision)
    );
    CREATE INDEX ix_revisions_at_revision ON revisions (at, revision);
    INSERT INTO revisions VALUES (0, clock_timestamp(), '', '', NULL, 'The empty realm.');

    CREATE TABLE realm_counter (
      one boolean NOT NULL DEFAULT true,
      revision bigint NOT NULL,
      CONSTRAINT pk_realm_counter PRIMARY KEY (one),
      CONSTRAINT ck_realm_counter_one_row CHECK (one)
    ) WITH (fillfactor = 10);
    INSERT INTO realm_counter (revision) VALUES (0);
"""

LINE = """
    CREATE TABLE {name} (
      key text COLLATE "C" NOT NULL,
      version integer NOT NULL,
      revision bigint NOT NULL,
      body json,
      CONSTRAINT pk_{name} PRIMARY KEY (key, version),
      CONSTRAINT uq_{name}_key_revision UNIQUE (key, revision),
      CONSTRAINT fk_{name}_revision_revisions FOREIGN KEY (revision) REFERENCES revisions (revision)
    );
"""

CHANGE_LOG = """
    CREATE TABLE change_log (
      revision bigint NOT NULL,
      position integer NOT NULL,
      kind text NOT NULL,
      key text COLLATE "C" NOT NULL,
      version integer NOT NULL,
      operation text NOT NULL,
      CONSTRAINT pk_change_log PRIMARY KEY (revision, position),
      CONSTRAINT fk_change_log_revision_revisions FOREIGN KEY (revision) REFERENCES revisions (revision),
      CONSTRAINT ck_change_log_operation CHECK (operation IN ('put', 'end'))
    );
"""

SUBJECTS = """
    CREATE TABLE subject_states (
      digest text NOT NULL,
      issuer text NOT NULL,
      kind text NOT NULL,
      id text NOT NULL,
      groups text[] NOT NULL,
      attributes jsonb NOT NULL,
      first_seen timestamptz NOT NULL,
      CONSTRAINT pk_subject_states PRIMARY KEY (digest)
    );
    CREATE INDEX ix_subject_states_groups ON subject_states USING gin (groups);

    CREATE TABLE subjects (
      name text COLLATE "C" NOT NULL,
      digest text NOT NULL,
      seen_at timestamptz NOT NULL,
      CONSTRAINT pk_subjects PRIMARY KEY (name),
      CONSTRAINT fk_subjects_digest_subject_states FOREIGN KEY (digest) REFERENCES subject_states (digest)
    );

    CREATE TABLE issuers (
      name text NOT NULL,
      issuer text NOT NULL,
      CONSTRAINT pk_issuers PRIMARY KEY (name)
    );

    CREATE TABLE refused_signins (
      minute timestamptz NOT NULL,
      address text NOT NULL,
      reason text NOT NULL,
      count bigint NOT NULL,
      CONSTRAINT pk_refused_signins PRIMARY KEY (minute, address, reason)
    );
"""

LEDGER = """
    CREATE SEQUENCE ledger_seq;

    CREATE TABLE ledger (
      id uuid NOT NULL,
      at timestamptz NOT NULL,
      event text NOT NULL,
      outcome text NOT NULL,
      subject text NOT NULL,
      issuer text NOT NULL,
      subject_state text NOT NULL,
      address text NOT NULL,
      client text NOT NULL,
      request_id uuid,
      receipt uuid,
      revision bigint,
      environment text,
      project text,
      purpose text,
      datasets text[] NOT NULL,
      policies text[] NOT NULL,
      decided_sha256 text,
      evaluator text,
      details jsonb NOT NULL,
      seq bigint NOT NULL DEFAULT nextval('ledger_seq'),
      xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
      CONSTRAINT pk_ledger PRIMARY KEY (at, id)
    ) PARTITION BY RANGE (at);
    ALTER SEQUENCE ledger_seq OWNED BY ledger.seq;

    CREATE INDEX ix_ledger_subject_at_id ON ledger (subject, at, id);
    CREATE INDEX ix_ledger_event_at_id ON ledger (event, at, id);
    CREATE INDEX ix_ledger_receipt ON ledger (receipt) WHERE receipt IS NOT NULL;
    CREATE INDEX ix_ledger_datasets ON ledger USING gin (datasets);
"""

GUARD = """
    CREATE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is refused on %: what stands there is added to, and never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
    END $$;
"""

GUARDS = """
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""

#: A trigger for each row is copied to every partition; one for each statement is not.
GUARD_ROWS = """
    CREATE TRIGGER refuse_to_forget_rows BEFORE UPDATE OR DELETE ON ledger
      FOR EACH ROW EXECUTE FUNCTION refuse_to_forget();
"""

#: Runs as its owner, so that the service's role needs no right to make tables. The table is made first and
#: attached then, which lets rows into other months meanwhile. ``{schema}`` is fixed: nobody's search path decides.
PARTITION = """
    CREATE FUNCTION ledger_partition(month date) RETURNS void LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    DECLARE
      first date := date_trunc('month', month)::date;
      name text := 'ledger_' || to_char(first, 'YYYY_MM');
    BEGIN
      IF to_regclass(name) IS NOT NULL THEN
        RETURN;
      END IF;
      PERFORM pg_advisory_xact_lock(hashtext('ledger_partition'));
      -- The catalog itself: to_regclass remembers its no for the length of the transaction.
      IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'ledger'::regclass AND inhrelid::regclass::text = name) THEN
        RETURN;
      END IF;
      EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS)', name);
      EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
        first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
      EXECUTE format('CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget()', name);
    END $$;
"""


def upgrade() -> None:
    _run(REVISIONS)
    for name in LINES:
        _run(LINE.format(name=name))
    for page in (CHANGE_LOG, SUBJECTS, LEDGER, GUARD):
        _run(page)
    for name in GUARDED:
        _run(GUARDS.format(name=name))
    _run(GUARD_ROWS)
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    _run(PARTITION.format(schema=schema))


def downgrade() -> None:
    _run("DROP FUNCTION ledger_partition(date)")
    for name in ("refused_signins", "issuers", "ledger", "subjects", "subject_states", "change_log", *LINES):
        _run(f"DROP TABLE {name}")
    _run("DROP TABLE realm_counter, revisions")
    _run("DROP FUNCTION refuse_to_forget()")


def _run(page: str) -> None:
    """Several statements, as they stand: neither a colon nor a per cent sign in them is a parameter's."""
    op.get_bind().exec_driver_sql(page.replace("%", "%%"))
