"""Every table on one page.

Datasets, domains, environments, groups, policies and grants are *lines of versions*: a
row is one version at a key, valid from its revision until the next version's; without a
body the line ends there. Requests for access are lines too, outside of the realm. These
tables, the revisions, the change log, the states of subjects and the ledger only grow:
Postgres refuses ``UPDATE``, ``DELETE`` and ``TRUNCATE`` on them by trigger (``migrations/``).

What the service's own role may do is to add and to read; a table whose rows move says so
itself, in its ``info``, and a table of people says which column names the person.

The migrations make the tables; a test holds that they and this page agree.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class TransactionId(UserDefinedType[str]):
    """Postgres' ``xid8``: the number of a transaction, never used twice."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names.setdefault("xid8", TransactionId)

#: A moment, always with its zone.
_MOMENT: Final = DateTime(timezone=True)
#: Names sort by their bytes wherever the database was set up.
_NAME: Final = Text(collation="C")


def _kept(
    *, moves: tuple[str, ...] = (), person: str | None = None, other: str | None = None, grows: bool = True
) -> dict[str, Any]:
    """How a table is kept, where that is not by adding and reading alone.

    ``moves`` is what the service's role may do beside, and ``grows`` whether it may add rows itself
    (:mod:`muniment.store.roles`); ``person`` is the column that says whom a row is about, with whom it is erased
    (:mod:`muniment.store.erasures`), and ``other`` one that names somebody else with whom it goes too.
    """
    return {"moves": moves, "person": person, "other": other, "grows": grows}


#: Of a column that the database fills, or an erasure: the service's role may not name it in a row that it adds.
_NOT_TOLD: Final = {"told": False}

revisions = Table(
    "revisions",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _MOMENT, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_state", Text, nullable=False),
    Column("request_id", Uuid),
    Column("reason", Text, nullable=False),
    Index(None, "at", "revision"),
)

#: One row, whose lock orders all changes. ``roster`` counts what was taken away from sign-ins.
realm_counter = Table(
    "realm_counter",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False),
    Column("roster", BigInteger, server_default=text("0"), nullable=False),
    CheckConstraint("one", name="one_row"),
    info=_kept(moves=("UPDATE",)),
)


def _line(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("key", _NAME, nullable=False),
        Column("version", Integer, nullable=False),
        Column("revision", BigInteger, ForeignKey("revisions.revision"), nullable=False),
        Column("body", JSON(none_as_null=True)),
        PrimaryKeyConstraint("key", "version"),
        UniqueConstraint("key", "revision"),
    )


datasets = _line("datasets")
domains = _line("domains")
environments = _line("environments")
groups = _line("groups")
policies = _line("policies")
grants = _line("grants")

#: Requests for access: lines that no decision about data depends on. ``revision`` is the realm's when the version
#: was written, or the one that an approval made; ``requester`` is the same in all versions of a line.
requests = Table(
    "requests",
    metadata,
    Column("key", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", BigInteger, ForeignKey("revisions.revision"), nullable=False),
    Column("requester", _NAME, nullable=False),
    Column("body", JSON, nullable=False),
    PrimaryKeyConstraint("key", "version"),
    Index(None, "requester", "key", "version"),
)

#: Who decides on requests in an approver's place. Whom the ledger tells of as a deputy is erased with either of them.
deputies = Table(
    "deputies",
    metadata,
    Column("principal", _NAME, primary_key=True),
    Column("deputy", _NAME, index=True, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("until", _MOMENT, nullable=False),
    Column("because", Text, nullable=False),
    info=_kept(moves=("UPDATE", "DELETE"), person="principal", other="deputy"),
)

#: What each revision changed, in order: pointers into the lines.
change_log = Table(
    "change_log",
    metadata,
    Column("revision", BigInteger, ForeignKey("revisions.revision"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("operation", Text, nullable=False),
    PrimaryKeyConstraint("revision", "position"),
    CheckConstraint("operation IN ('put', 'end')", name="operation"),
)

#: Which fields of a thing are kept in files, and by which source: whenever one applied its files, one row for each
#: thing, of which the newest stands. ``fields`` says of each as of which version it is what the files said; nothing
#: stands there where the source has let go.
kept_in_files = Table(
    "kept_in_files",
    metadata,
    Column("turn", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", _NAME, nullable=False),
    Column("source", Text, nullable=False),
    Column("fields", JSONB(none_as_null=True)),
    Column("revision", BigInteger, ForeignKey("revisions.revision"), nullable=False),
    Index(None, "kind", "key", "turn"),
)

subject_states = Table(
    "subject_states",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("groups", ARRAY(Text), nullable=False),
    Column("attributes", JSONB, nullable=False),
    Column("first_seen", _MOMENT, nullable=False),
    Index(None, "groups", postgresql_using="gin"),
)

#: The newest state of each subject: a finger into the states, the one thing here that moves.
subjects = Table(
    "subjects",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("digest", Text, ForeignKey("subject_states.digest"), nullable=False),
    Column("seen_at", _MOMENT, nullable=False),
    info=_kept(moves=("UPDATE",), person="name"),
)

#: Who may sign in: versions by subject, of which the last one stands.
enrolments = Table(
    "enrolments",
    metadata,
    Column("subject", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("tokens_since", _MOMENT),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("provider", Text),
    PrimaryKeyConstraint("subject", "version"),
)

#: Sessions of browsers: of the secret in the cookie only its SHA-256 is kept. A session is ended once.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("secret", LargeBinary, nullable=False, unique=True),
    Column("subject", _NAME, nullable=False),
    Column("subject_state", Text, ForeignKey("subject_states.digest"), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("issuer_subject", Text, nullable=False),
    Column("issuer_session", Text),
    Column("since", _MOMENT, nullable=False),
    Column("began", _MOMENT, nullable=False),
    Column("used", _MOMENT, nullable=False),
    Column("until", _MOMENT, nullable=False),
    Column("ended", _MOMENT),
    Column("why", Text),
    Column("address", Text, nullable=False),
    Column("client", Text, nullable=False),
    CheckConstraint("(ended IS NULL) = (why IS NULL)", name="ended"),
    Index(None, "subject", "until"),
    Index(None, "issuer", "issuer_subject", "until"),
    Index(None, "until"),
    info=_kept(moves=("UPDATE", "DELETE"), person="subject"),
)

#: Sign-ins on their way through a provider, for some minutes; each is used once.
sign_ins_begun = Table(
    "sign_ins_begun",
    metadata,
    Column("state", LargeBinary, primary_key=True),
    Column("browser", LargeBinary, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("until", _MOMENT, nullable=False),
    Index(None, "until"),
    info=_kept(moves=("DELETE",)),
)

#: Logout tokens that were obeyed, as long as one could be sent again.
logout_tokens_seen = Table(
    "logout_tokens_seen",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("until", _MOMENT, nullable=False),
    PrimaryKeyConstraint("issuer", "token"),
    Index(None, "until"),
    info=_kept(moves=("DELETE",)),
)

#: Keys of Muniment's own, as their hashes under the secret that ``pepper`` names.
keys = Table(
    "keys",
    metadata,
    Column("id", _NAME, primary_key=True),
    Column("hashed", LargeBinary, nullable=False),
    Column("pepper", Text, nullable=False),
    Column("subject", _NAME, nullable=False),
    Column("state", Text, ForeignKey("subject_states.digest")),
    Column("use", Text, nullable=False),
    Column("environment", Text),
    Column("project", Text),
    Column("purpose", Text),
    Column("directory", Text),
    Column("at", _MOMENT, nullable=False),
    Column("by", Text, nullable=False),
    Column("because", Text, nullable=False),
    Column("until", _MOMENT, nullable=False),
    UniqueConstraint("hashed"),
    Index(None, "subject", "id"),
)

#: The keys that were revoked.
key_endings = Table(
    "key_endings",
    metadata,
    Column("key", _NAME, ForeignKey("keys.id"), primary_key=True),
    Column("at", _MOMENT, nullable=False),
    Column("by", Text, nullable=False),
    Column("because", Text, nullable=False),
)

#: When each key was last used; like the newest states, a finger that moves.
key_uses = Table(
    "key_uses",
    metadata,
    Column("key", _NAME, ForeignKey("keys.id"), primary_key=True),
    Column("at", _MOMENT, nullable=False),
    Column("address", Text, nullable=False),
    info=_kept(moves=("UPDATE",)),
)

#: People and groups as identity providers tell of them (SCIM): what stands now. ``folded_name`` is the user's name as
#: names are compared; ``subject`` and a group's ``name`` are what policies know them by.
provisioned_users = Table(
    "provisioned_users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", _NAME, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("folded_name", Text, nullable=False),
    Column("external_id", Text),
    Column("display_name", Text),
    Column("active", Boolean),
    Column("version", Integer, nullable=False),
    Column("made_at", _MOMENT, nullable=False),
    Column("changed_at", _MOMENT, nullable=False),
    UniqueConstraint("subject"),
    UniqueConstraint("issuer", "folded_name"),
    Index(None, "issuer", "external_id"),
    info=_kept(moves=("UPDATE", "DELETE"), person="subject"),
)
provisioned_groups = Table(
    "provisioned_groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("external_id", Text),
    Column("version", Integer, nullable=False),
    Column("made_at", _MOMENT, nullable=False),
    Column("changed_at", _MOMENT, nullable=False),
    UniqueConstraint("name"),
    Index(None, "issuer", "external_id"),
    info=_kept(moves=("UPDATE", "DELETE")),
)
provisioned_members = Table(
    "provisioned_members",
    metadata,
    Column("group_id", Uuid, ForeignKey("provisioned_groups.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, ForeignKey("provisioned_users.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("group_id", "user_id"),
    Index(None, "user_id"),
    info=_kept(moves=("DELETE",)),
)

#: The names of all groups that were ever provisioned: no credential fills them any more.
provisioned_names = Table(
    "provisioned_names",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("since", _MOMENT, nullable=False),
)

#: When everybody's sign-ins were ended.
sign_ins_ended = Table(
    "sign_ins_ended",
    metadata,
    Column("at", _MOMENT, primary_key=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

#: The links by which somebody can become the first administrator: none is left once the realm has begun.
beginnings = Table(
    "beginnings",
    metadata,
    Column("secret_sha256", LargeBinary, primary_key=True),
    Column("ends_at", _MOMENT, nullable=False),
    info=_kept(moves=("DELETE",)),
)

#: When provisioning made a state the newest of its subject: what a subject's own requests do not tell of the past.
provisioned_states = Table(
    "provisioned_states",
    metadata,
    Column("name", _NAME, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("digest", Text, ForeignKey("subject_states.digest"), nullable=False),
    PrimaryKeyConstraint("name", "at"),
    info=_kept(person="name"),
)

#: Whose name an issuer has, from its first use on. Rows are locked and never changed: a lock needs the right to change.
issuers = Table(
    "issuers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    info=_kept(moves=("UPDATE",)),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("event", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject_state", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("request_id", Uuid),
    Column("receipt", Uuid),
    Column("revision", BigInteger),
    Column("environment", Text),
    Column("project", Text),
    Column("purpose", Text),
    Column("datasets", ARRAY(Text), nullable=False),
    Column("policies", ARRAY(Text), nullable=False),
    Column("decided_sha256", Text),
    Column("evaluator", Text),
    Column("details", JSONB, nullable=False),
    Column("credential", Text, server_default=text("''"), nullable=False),
    Column("run", Text),
    # A sequence and not GENERATED AS IDENTITY, which PostgreSQL 16 refuses on a partitioned table.
    Column("seq", BigInteger, server_default=text("nextval('ledger_seq')"), nullable=False, info=_NOT_TOLD),
    Column("xact", TransactionId, server_default=text("pg_current_xact_id()"), nullable=False, info=_NOT_TOLD),
    # Half of it hides who, half of it the details, in what is sealed; rows from before have none.
    Column(
        "salt",
        LargeBinary,
        server_default=text("uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"),
        info=_NOT_TOLD,
    ),
    # Stand for what was erased.
    Column("who_sha256", LargeBinary, info=_NOT_TOLD),
    Column("details_sha256", LargeBinary, info=_NOT_TOLD),
    PrimaryKeyConstraint("at", "id"),
    Index(None, "subject", "at", "id"),
    Index(None, "event", "at", "id"),
    Index(None, "receipt", postgresql_where=text("receipt IS NOT NULL")),
    Index(None, "run", postgresql_where=text("run IS NOT NULL")),
    Index(None, "datasets", postgresql_using="gin"),
    Index(None, "address", "at", "id"),
    Index(None, "environment", "at", "id", postgresql_where=text("environment IS NOT NULL")),
    Index(None, "project", "at", "id", postgresql_where=text("project IS NOT NULL")),
    Index(None, "purpose", "at", "id", postgresql_where=text("purpose IS NOT NULL")),
    Index("ix_ledger_denied", "at", "id", postgresql_where=text("outcome = 'denied'")),
    Index(
        "ix_ledger_about",
        text("(details ->> 'about')"),
        "at",
        "id",
        postgresql_where=text("(details ->> 'about') IS NOT NULL"),
    ),
    Index("ix_ledger_policies", "policies", postgresql_using="gin", postgresql_where=text("cardinality(policies) > 0")),
    Index(
        "ix_ledger_domains",
        text("ledger_domains(datasets)"),
        postgresql_using="gin",
        postgresql_where=text("cardinality(datasets) > 0"),
    ),
    Index(None, "xact", "seq"),
    postgresql_partition_by="RANGE (at)",
)

#: Seals: rows of the ledger in the order in which they were committed, as leaves ``first`` to ``size`` of one tree,
#: with the signed checkpoint of the tree as it is then. ``cluster``, ``xact`` and ``seq`` are the last row's place.
ledger_seals = Table(
    "ledger_seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _MOMENT, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("cluster", Integer, nullable=False),
    Column("xact", TransactionId, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "size"),
    Index(None, "cluster", "xact", "seq"),
    Index("ix_ledger_seals_keys", "number", postgresql_where=text(r"strpos(checkpoint, E'\nkey ') > 0")),
)

#: The root of each full tile of the tree: of 256 leaves at level 1, of 256 tiles of the level below at each other.
ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "index"),
)

#: The database clusters that the ledger has lived in: rows after ``after_seq`` count transactions in this one. The
#: function ``ledger_cluster`` alone adds to it: whoever could, would say from when on rows may be as old as they like.
ledger_clusters = Table(
    "ledger_clusters",
    metadata,
    Column("cluster", Integer, primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("after_seq", BigInteger, nullable=False),
    Column("at", _MOMENT, nullable=False),
    info=_kept(grows=False),
)

#: How far each witness has been told, and what keeps it from more; a finger that moves.
ledger_witnesses = Table(
    "ledger_witnesses",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("fault", Text),
    info=_kept(moves=("UPDATE",)),
)

#: The reports of use that were taken, by their subject's own ids: each becomes one row of the ledger.
use_reports = Table(
    "use_reports",
    metadata,
    Column("subject", _NAME, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("at", _MOMENT, nullable=False),
    PrimaryKeyConstraint("subject", "id"),
    info=_kept(person="subject"),
)

#: Failed sign-ins, counted: nobody fills the disk from outside. ``told`` is how much of a count is in the ledger.
refused_signins = Table(
    "refused_signins",
    metadata,
    Column("minute", _MOMENT, nullable=False),
    Column("address", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("told", BigInteger, server_default=text("0"), nullable=False),
    PrimaryKeyConstraint("minute", "address", "reason"),
    Index("ix_refused_signins_untold", "minute", postgresql_where=text("told < count")),
    info=_kept(moves=("UPDATE", "DELETE")),
)

#: What people are told of, each once of a thing. Unlike the record it is forgotten after a while.
notices = Table(
    "notices",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recipient", _NAME, nullable=False),
    Column("kind", Text, nullable=False),
    Column("thing", _NAME, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("about", JSONB, nullable=False),
    UniqueConstraint("recipient", "kind", "thing"),
    Index(None, "recipient", "id"),
    Index(None, "at"),
    info=_kept(moves=("DELETE",), person="recipient"),
)

#: How each notice goes out: it waits until it is due, and whoever sends it claims it first.
notice_sendings = Table(
    "notice_sendings",
    metadata,
    Column("notice", Uuid, ForeignKey("notices.id", ondelete="CASCADE"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("pace", Text, nullable=False),
    Column("due", _MOMENT, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, server_default=text("0"), nullable=False),
    Column("claimed_until", _MOMENT),
    Column("ended_at", _MOMENT),
    Column("why", Text, server_default=text("''"), nullable=False),
    PrimaryKeyConstraint("notice", "channel"),
    CheckConstraint("state IN ('waiting', 'sent', 'dropped', 'given up')", name="state"),
    Index("ix_notice_sendings_waiting", "due", postgresql_where=text("state = 'waiting'")),
    info=_kept(moves=("UPDATE",)),
)

#: How each subject wants to be told, of those who have chosen.
notice_choices = Table(
    "notice_choices",
    metadata,
    Column("subject", _NAME, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("mail", JSONB, nullable=False),
    Column("webhook", JSONB, server_default=text("'{}'"), nullable=False),
    Column("quiet", Boolean, nullable=False),
    info=_kept(moves=("UPDATE",), person="subject"),
)

#: Where mails go that their subjects have confirmed.
notice_addresses = Table(
    "notice_addresses",
    metadata,
    Column("subject", _NAME, primary_key=True),
    Column("mailbox", Text, nullable=False),
    Column("confirmed_at", _MOMENT, nullable=False),
    info=_kept(moves=("UPDATE", "DELETE"), person="subject"),
)

#: Where notices go that a program of their subject's takes, with the secret by which it knows them, sealed.
notice_webhooks = Table(
    "notice_webhooks",
    metadata,
    Column("subject", _NAME, primary_key=True),
    Column("key", Uuid, nullable=False),
    Column("url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("at", _MOMENT, nullable=False),
    info=_kept(moves=("UPDATE", "DELETE"), person="subject"),
)

#: One row: which process writes notices now, how far it has read the ledger, and when it looked at the calendar.
notice_desk = Table(
    "notice_desk",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("holder", Uuid),
    Column("held_until", _MOMENT, server_default=text("'-infinity'"), nullable=False),
    Column("place", Text),
    Column("swept_at", _MOMENT, server_default=text("'-infinity'"), nullable=False),
    CheckConstraint("one", name="one_row"),
    info=_kept(moves=("UPDATE",)),
)

#: Questions to the ledger that somebody asks again, by their names.
ledger_views = Table(
    "ledger_views",
    metadata,
    Column("owner", _NAME, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("question", JSONB, nullable=False),
    Column("days", Integer),
    Column("shared", Boolean, nullable=False),
    Column("at", _MOMENT, nullable=False),
    PrimaryKeyConstraint("owner", "name"),
    Index("ix_ledger_views_shared", "name", postgresql_where=text("shared")),
    info=_kept(moves=("UPDATE", "DELETE"), person="owner"),
)

#: Where rows of the ledger are sent, which ones and in whose name. Its secrets are sealed
#: (:mod:`muniment.identity.envelopes`).
webhooks = Table(
    "webhooks",
    metadata,
    Column("key", Uuid, primary_key=True),
    Column("subject", _NAME, nullable=False),
    Column("id", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("datasets", ARRAY(Text), nullable=False),
    Column("domains", ARRAY(Text), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("stopped", Text),
    Column("by", Text, nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("changed_at", _MOMENT, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("secret_version", Integer, nullable=False),
    Column("former_secret", LargeBinary),
    Column("former_until", _MOMENT),
    UniqueConstraint("subject", "id"),
    CheckConstraint("(former_secret IS NULL) = (former_until IS NULL)", name="former"),
    info=_kept(moves=("UPDATE", "DELETE"), person="subject"),
)

#: How far each webhook has come, when it is its turn again, and which process sends for it now.
webhook_progress = Table(
    "webhook_progress",
    metadata,
    Column("webhook", Uuid, ForeignKey("webhooks.key", ondelete="CASCADE"), primary_key=True),
    Column("place", Text, nullable=False),
    Column("due", _MOMENT, nullable=False),
    Column("dead_in_a_row", Integer, server_default=text("0"), nullable=False),
    Column("holder", Uuid),
    Column("held_until", _MOMENT, server_default=text("'-infinity'"), nullable=False),
    info=_kept(moves=("UPDATE",)),
)

#: What became of each row that was to be sent, in the order in which it first was; forgotten after a while.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook", Uuid, ForeignKey("webhooks.key", ondelete="CASCADE"), nullable=False),
    Column("ledger_row", Uuid, nullable=False),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("at", _MOMENT, nullable=False),
    Column("event", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("status", Integer),
    Column("why", Text),
    Column("first_at", _MOMENT, nullable=False),
    Column("last_at", _MOMENT, nullable=False),
    PrimaryKeyConstraint("webhook", "ledger_row"),
    CheckConstraint("state IN ('waiting', 'delivered', 'dead', 'withheld')", name="state"),
    Index(None, "webhook", "position"),
    Index("ix_webhook_deliveries_waiting", "webhook", "position", postgresql_where=text("state = 'waiting'")),
    Index(None, "last_at"),
    info=_kept(moves=("UPDATE", "DELETE")),
)
