"""Seals of the ledger: batches of rows in the order in which they were committed, and salts for what may be erased.

No row is written again: columns begin empty, and what a default gives holds for the rows to come. The index in the
order of commits is built one month after the other, while rows go on being written; a page that was interrupted may
be run again from its beginning.
"""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: ``salt`` is given by a default, so that a release of before writes salted rows too.
COLUMNS = """
    ALTER TABLE ledger
      ADD COLUMN IF NOT EXISTS salt bytea,
      ADD COLUMN IF NOT EXISTS who_sha256 bytea,
      ADD COLUMN IF NOT EXISTS details_sha256 bytea;
    ALTER TABLE ledger ALTER COLUMN salt SET DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
"""

#: Hashes do not become smaller by compressing them.
SEALS = r"""
    CREATE TABLE IF NOT EXISTS ledger_seals (
      number bigint NOT NULL,
      at timestamptz NOT NULL,
      first bigint NOT NULL,
      size bigint NOT NULL,
      ids bytea NOT NULL,
      leaves bytea NOT NULL,
      checkpoint text NOT NULL,
      cluster integer NOT NULL,
      xact xid8 NOT NULL,
      seq bigint NOT NULL,
      CONSTRAINT pk_ledger_seals PRIMARY KEY (number)
    );
    ALTER TABLE ledger_seals ALTER COLUMN ids SET STORAGE EXTERNAL, ALTER COLUMN leaves SET STORAGE EXTERNAL;
    CREATE INDEX IF NOT EXISTS ix_ledger_seals_size ON ledger_seals (size);
    CREATE INDEX IF NOT EXISTS ix_ledger_seals_keys ON ledger_seals (number)
      WHERE strpos(checkpoint, E'\nkey ') > 0;
    CREATE INDEX IF NOT EXISTS ix_ledger_seals_cluster_xact_seq ON ledger_seals (cluster, xact, seq);

    CREATE TABLE IF NOT EXISTS ledger_tiles (
      level integer NOT NULL,
      index bigint NOT NULL,
      hash bytea NOT NULL,
      CONSTRAINT pk_ledger_tiles PRIMARY KEY (level, index)
    );

    CREATE TABLE IF NOT EXISTS ledger_clusters (
      cluster integer NOT NULL,
      system text NOT NULL,
      after_seq bigint NOT NULL,
      at timestamptz NOT NULL,
      CONSTRAINT pk_ledger_clusters PRIMARY KEY (cluster)
    );

    CREATE TABLE IF NOT EXISTS ledger_witnesses (
      name text NOT NULL,
      number bigint NOT NULL,
      at timestamptz NOT NULL,
      fault text,
      CONSTRAINT pk_ledger_witnesses PRIMARY KEY (name)
    );
"""

GUARDS = """
    CREATE OR REPLACE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""

#: Runs as its owner, so that the service's role needs no right to lock. The lock waits for those who are writing: no
#: row of before comes later. ``last_value`` is what a dump restores of a sequence. Rows that are there before anything
#: was noted, and from a future of this cluster, came from another one.
CLUSTER = """
    CREATE OR REPLACE FUNCTION ledger_cluster() RETURNS integer LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    DECLARE
      present text := (SELECT system_identifier FROM pg_control_system());
      newest ledger_clusters;
    BEGIN
      SELECT * INTO newest FROM ledger_clusters ORDER BY cluster DESC LIMIT 1;
      IF newest.system = present THEN
        RETURN newest.cluster;
      END IF;
      LOCK TABLE ledger_clusters IN EXCLUSIVE MODE;
      LOCK TABLE ledger IN SHARE MODE;
      SELECT * INTO newest FROM ledger_clusters ORDER BY cluster DESC LIMIT 1;
      IF newest.system = present THEN
        RETURN newest.cluster;
      END IF;
      IF newest.cluster IS NULL THEN
        newest.cluster := 0;
        IF EXISTS (SELECT FROM ledger WHERE xact >= pg_snapshot_xmax(pg_current_snapshot())) THEN
          INSERT INTO ledger_clusters VALUES (1, '', 0, clock_timestamp());
          newest.cluster := 1;
        END IF;
      END IF;
      INSERT INTO ledger_clusters
        SELECT newest.cluster + 1, present, CASE WHEN newest.cluster > 0 AND is_called THEN last_value ELSE 0 END,
          clock_timestamp()
        FROM ledger_seq;
      RETURN newest.cluster + 1;
    END $$;
"""

#: Every domain that datasets lie in, once each: what the ledger is asked by. Names repeat their domain, so each is
#: looked at only where it is another than the one before.
DOMAINS = """
    CREATE OR REPLACE FUNCTION ledger_domain(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
      RETURN left(name, -strpos(reverse(name), '.'));

    CREATE OR REPLACE FUNCTION ledger_domains(datasets text[]) RETURNS text[]
      LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
      name text;
      domain text;
      before text := '';
      found text[] := '{}';
    BEGIN
      FOREACH name IN ARRAY datasets LOOP
        domain := left(name, -strpos(reverse(name), '.'));
        CONTINUE WHEN domain = before;
        before := domain;
        WHILE domain <> '' AND NOT domain = ANY (found) LOOP
          found := found || domain;
          domain := left(domain, -strpos(reverse(domain), '.'));
        END LOOP;
      END LOOP;
      RETURN found;
    END $$;
"""

#: One for the whole, which the months' own are attached to; those of months to come are made with them.
INDEXES = {
    "ix_ledger_xact_seq": "(xact, seq)",
    "ix_ledger_address_at_id": "(address, at, id)",
    "ix_ledger_environment_at_id": "(environment, at, id) WHERE environment IS NOT NULL",
    "ix_ledger_project_at_id": "(project, at, id) WHERE project IS NOT NULL",
    "ix_ledger_purpose_at_id": "(purpose, at, id) WHERE purpose IS NOT NULL",
    "ix_ledger_denied": "(at, id) WHERE outcome = 'denied'",
    "ix_ledger_about": "((details ->> 'about'), at, id) WHERE (details ->> 'about') IS NOT NULL",
    "ix_ledger_policies": "USING gin (policies) WHERE cardinality(policies) > 0",
    "ix_ledger_domains": "USING gin (ledger_domains(datasets)) WHERE cardinality(datasets) > 0",
}
MONTHS = text(
    """
    SELECT quote_ident(c.relname) AS month, quote_ident(c.relname || substr(:index, 10) || '_idx') AS name
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger'::regclass AND NOT EXISTS (
      SELECT FROM pg_index AS x JOIN pg_inherits AS h ON h.inhrelid = x.indexrelid
      WHERE x.indrelid = c.oid AND h.inhparent = CAST(:index AS regclass)
    )
    ORDER BY c.relname
    """
)


def upgrade() -> None:
    _run(COLUMNS)
    _run(SEALS)
    for name in ("ledger_seals", "ledger_tiles", "ledger_clusters"):
        _run(GUARDS.format(name=name))
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    _run(CLUSTER.format(schema=schema))
    _run("SELECT ledger_cluster()")
    _run(DOMAINS)
    for index, of in INDEXES.items():
        _run(f"CREATE INDEX IF NOT EXISTS {index} ON ONLY ledger {of}")
        months = list(op.get_bind().execute(MONTHS, {"index": index}))
        if months:
            with op.get_context().autocommit_block():
                for month, name in months:
                    _run(f"DROP INDEX IF EXISTS {name}")
                    _run(f"CREATE INDEX CONCURRENTLY {name} ON {month} {of}")
                    _run(f"ALTER INDEX {index} ATTACH PARTITION {name}")


def downgrade() -> None:
    _run("DROP FUNCTION ledger_cluster()")
    _run("DROP TABLE ledger_seals, ledger_tiles, ledger_clusters, ledger_witnesses")
    for index in INDEXES:
        _run(f"DROP INDEX {index}")
    _run("DROP FUNCTION ledger_domains(text[]), ledger_domain(text)")
    _run("ALTER TABLE ledger DROP COLUMN salt, DROP COLUMN who_sha256, DROP COLUMN details_sha256")


def _run(page: str) -> None:
    """Several statements, as they stand: neither a colon nor a per cent sign in them is a parameter's."""
    op.get_bind().exec_driver_sql(page.replace("%", "%%"))
