"""The service's own role, erasure of a person, and partitions that are made without waiting long.

From here on the role that migrates and the one that serves may be two. The guard lets one
thing pass: the function ``ledger_erase``, which only its owner may call, and of the rows
that it changes only what a salted commitment stands for.
"""

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

#: Statements stop here, as before, and rows too. An erasure marks its own transaction, which has an end.
GUARD = """
    CREATE OR REPLACE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF coalesce(current_setting('muniment.erasing', true), '') = pg_current_xact_id()::text THEN
        IF TG_LEVEL = 'ROW' AND TG_OP = 'UPDATE' AND only_erases(to_jsonb(OLD), to_jsonb(NEW)) THEN
          RETURN NEW;
        END IF;
        IF TG_LEVEL = 'STATEMENT' AND (TG_OP = 'UPDATE' AND TG_TABLE_NAME ~ '^ledger(_[0-9]{4}_[0-9]{2})?$'
          OR TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('subject_states', 'provisioned_states', 'use_reports')) THEN
          RETURN NULL;
        END IF;
      END IF;
      RAISE EXCEPTION '% is refused on %: what stands there is added to, and never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
    END $$;
"""

#: Everything else stays, and what goes leaves its commitment: one that stands there already is not exchanged.
ONLY_ERASES = """
    CREATE FUNCTION only_erases(before jsonb, after jsonb) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
      who text[] := ARRAY['subject', 'subject_state', 'address', 'client', 'credential'];
      told text[] := ARRAY['details'];
    BEGIN
      IF before - who - told - ARRAY['salt', 'who_sha256', 'details_sha256']
        <> after - who - told - ARRAY['salt', 'who_sha256', 'details_sha256'] THEN
        RETURN false;
      END IF;
      IF before ->> 'who_sha256' IS NOT NULL AND before ->> 'who_sha256' IS DISTINCT FROM after ->> 'who_sha256'
        OR before ->> 'details_sha256' IS NOT NULL
          AND before ->> 'details_sha256' IS DISTINCT FROM after ->> 'details_sha256' THEN
        RETURN false;
      END IF;
      RETURN (SELECT bool_and(CASE WHEN after ->> 'who_sha256' IS NULL THEN before -> field = after -> field
          ELSE after ->> field = 'erased' END) FROM unnest(who) AS field)
        AND CASE WHEN after ->> 'details_sha256' IS NULL THEN before -> 'details' = after -> 'details'
          ELSE after -> 'details' = '{"erased": true}' END;
    END $$;
"""

ERASE = """
    CREATE FUNCTION ledger_erase(given jsonb) RETURNS bigint LANGUAGE plpgsql
      SET search_path = {schema}, pg_temp AS $$
    DECLARE
      changed bigint;
    BEGIN
      PERFORM set_config('muniment.erasing', pg_current_xact_id()::text, true);
      UPDATE ledger SET
        -- Both at once: of a row that was erased before, what is gone stays gone.
        subject = CASE WHEN gone.who IS NULL THEN ledger.subject ELSE 'erased' END,
        subject_state = CASE WHEN gone.who IS NULL THEN ledger.subject_state ELSE 'erased' END,
        address = CASE WHEN gone.who IS NULL THEN ledger.address ELSE 'erased' END,
        client = CASE WHEN gone.who IS NULL THEN ledger.client ELSE 'erased' END,
        credential = CASE WHEN gone.who IS NULL THEN ledger.credential ELSE 'erased' END,
        details = CASE WHEN gone.told IS NULL THEN ledger.details ELSE '{"erased": true}' END,
        who_sha256 = coalesce(ledger.who_sha256, decode(gone.who, 'hex')),
        details_sha256 = coalesce(ledger.details_sha256, decode(gone.told, 'hex')),
        salt = CASE WHEN gone.who IS NULL THEN substring(ledger.salt FOR 16) ELSE decode(repeat('00', 16), 'hex') END
          || CASE WHEN gone.told IS NULL THEN substring(ledger.salt FROM 17) ELSE decode(repeat('00', 16), 'hex') END
      FROM jsonb_to_recordset(given) AS gone (id uuid, at timestamptz, who text, told text)
      WHERE ledger.id = gone.id AND ledger.at = gone.at;
      GET DIAGNOSTICS changed = ROW_COUNT;
      PERFORM set_config('muniment.erasing', '', true);
      RETURN changed;
    END $$;
    REVOKE ALL ON FUNCTION ledger_erase(jsonb) FROM PUBLIC;
"""

#: What stands beside the ledger about a person, and is guarded as it is: gone whole.
FORGET = """
    CREATE FUNCTION forget_person(person text, digests text[]) RETURNS void LANGUAGE plpgsql
      SET search_path = {schema}, pg_temp AS $$
    BEGIN
      PERFORM set_config('muniment.erasing', pg_current_xact_id()::text, true);
      DELETE FROM use_reports WHERE subject = person;
      DELETE FROM provisioned_states WHERE name = person;
      DELETE FROM subject_states WHERE digest = ANY (digests);
      PERFORM set_config('muniment.erasing', '', true);
    END $$;
    REVOKE ALL ON FUNCTION forget_person(text, text[]) FROM PUBLIC;
"""

#: Rows of this table are locked, for which the service's role has to have the right to change them.
ISSUERS = """
    CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON issuers
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
"""

#: As it was, and: nobody waits long behind it. ATTACH asks for SHARE UPDATE EXCLUSIVE on the ledger, which lets rows
#: in and waits for whatever else maintains the table; whoever calls tries again. The CHECK says what the partition
#: holds, so that nothing has to be read to believe it.
PARTITION = """
    CREATE OR REPLACE FUNCTION ledger_partition(month date) RETURNS void LANGUAGE plpgsql
      SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = 0 AS $$
    DECLARE
      first date := date_trunc('month', month)::date;
      name text := 'ledger_' || to_char(first, 'YYYY_MM');
      begins timestamptz := first::timestamp AT TIME ZONE 'UTC';
      ends timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    BEGIN
      IF to_regclass(name) IS NOT NULL THEN
        RETURN;
      END IF;
      PERFORM pg_advisory_xact_lock(hashtext('ledger_partition'));
      -- The catalog itself: to_regclass remembers its no for the length of the transaction.
      IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'ledger'::regclass AND inhrelid::regclass::text = name) THEN
        RETURN;
      END IF;
      -- Until the function's end.
      PERFORM set_config('lock_timeout', '3s', true);
      EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS)', name);
      EXECUTE format('ALTER TABLE %I ADD CONSTRAINT month CHECK (at >= %L AND at < %L)', name, begins, ends);
      EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT month', name);
      EXECUTE format('CREATE TRIGGER refuse_to_forget BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget()', name);
    END $$;
    REVOKE ALL ON FUNCTION ledger_partition(date) FROM PUBLIC;
"""

GUARD_BEFORE = """
    CREATE OR REPLACE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is refused on %: what stands there is added to, and never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
    END $$;
"""

PARTITION_BEFORE = """
    CREATE OR REPLACE FUNCTION ledger_partition(month date) RETURNS void LANGUAGE plpgsql
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
    GRANT EXECUTE ON FUNCTION ledger_partition(date) TO PUBLIC;
"""


def upgrade() -> None:
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    for page in (ONLY_ERASES, GUARD, ISSUERS, ERASE, FORGET, PARTITION):
        _run(page.replace("{schema}", schema))


def downgrade() -> None:
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    _run("DROP TRIGGER refuse_to_forget ON issuers")
    _run("DROP FUNCTION forget_person(text, text[])")
    _run("DROP FUNCTION ledger_erase(jsonb)")
    for page in (GUARD_BEFORE, PARTITION_BEFORE):
        _run(page.replace("{schema}", schema))
    _run("DROP FUNCTION only_erases(jsonb, jsonb)")


def _run(page: str) -> None:
    """Several statements, as they stand: neither a colon nor a per cent sign in them is a parameter's."""
    op.get_bind().exec_driver_sql(page.replace("%", "%%"))
