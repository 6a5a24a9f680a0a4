"""The ledger's rows: what was decided, given, changed and read, in one shape.

One row for each decided answer and each change. No secret, token or row of data is ever
in one. Three things that are often blurred are told apart: *was told of it* (a catalog),
*was given the means* (a lease), *says it loaded it* (a report of use).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Final, Self, TypedDict, Unpack
from uuid import UUID

from muniment.core.occasions import Occasion
from muniment.core.problems import Invalid

#: A number of a place: nineteen digits are more than Postgres counts to.
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
#: The largest ordinal of a cluster that a database keeps.
_LAST_CLUSTER: Final = 2**31 - 1


class Event(StrEnum):
    """The closed catalogue of what the ledger can tell."""

    CATALOG_SERVED = "catalog.served"
    LEASE_SERVED = "lease.served"
    PREFLIGHT_ALLOWED = "preflight.allowed"
    ACCESS_DENIED = "access.denied"
    ACCESS_EXPLAINED = "access.explained"
    ACCESS_EVALUATED = "access.evaluated"
    ACCESS_SEARCHED = "access.searched"
    DATASET_DECLARED = "dataset.declared"
    DATASET_RETIRED = "dataset.retired"
    DATASET_READ = "dataset.read"
    RULES_READ = "rules.read"
    DOMAIN_CHANGED = "domain.changed"
    ENVIRONMENT_CHANGED = "environment.changed"
    GROUP_CHANGED = "group.changed"
    POLICY_CHANGED = "policy.changed"
    POLICY_ENDED = "policy.ended"
    GRANT_MADE = "grant.made"
    GRANT_ENDED = "grant.ended"
    REQUEST_MADE = "request.made"
    REQUEST_SECONDED = "request.seconded"
    REQUEST_APPROVED = "request.approved"
    REQUEST_DENIED = "request.denied"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_READ = "request.read"
    DEPUTY_NAMED = "deputy.named"
    DEPUTY_ENDED = "deputy.ended"
    PROJECT_STARTED = "project.started"
    ACCESS_REVIEWED = "access.reviewed"
    SUBJECT_HANDED_OVER = "subject.handed_over"
    KEY_MADE = "key.made"
    KEY_REVOKED = "key.revoked"
    KEY_READ = "key.read"
    USER_PROVISIONED = "user.provisioned"
    GROUP_PROVISIONED = "group.provisioned"
    SUBJECT_DEPROVISIONED = "subject.deprovisioned"
    PROVISIONING_READ = "provisioning.read"
    SESSION_BEGAN = "session.began"
    SESSION_ENDED = "session.ended"
    CHANGE_REFUSED = "change.refused"
    CHANGE_TRIED = "change.tried"
    REALM_APPLIED = "realm.applied"
    BOOTSTRAPPED = "realm.bootstrapped"
    GLASS_BROKEN = "glass.broken"
    SUBJECT_READ = "subject.read"
    SUBJECT_ENDED = "subject.access_ended"
    SUBJECT_ADMITTED = "subject.admitted"
    SIGN_INS_ENDED = "subject.sign_ins_ended"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_ENDED = "webhook.ended"
    WEBHOOK_STOPPED = "webhook.stopped"
    WEBHOOK_SECRET_CHANGED = "webhook.secret_changed"  # noqa: S105 - the name of an event
    WEBHOOK_REPLAYED = "webhook.replayed"
    WEBHOOK_TESTED = "webhook.tested"
    WEBHOOK_READ = "webhook.read"
    LEDGER_READ = "ledger.read"
    LEDGER_EXPORTED = "ledger.exported"
    LEDGER_HELD = "ledger.held"
    LEDGER_RELEASED = "ledger.released"
    LEDGER_RETIRED = "ledger.retired"
    LEDGER_ERASED = "ledger.erased"
    VIEW_SAVED = "view.saved"
    VIEW_REMOVED = "view.removed"
    SEAL_KEY_ROTATED = "ledger.key_rotated"
    RESTORE_ACCEPTED = "ledger.restore_accepted"
    NOTICE_SENT = "notice.sent"
    NOTICES_READ = "notices.read"
    NOTICES_CHOSEN = "notices.chosen"
    DECISION_REPLAYED = "decision.replayed"
    USE_REPORTED = "use.reported"
    REFUSAL_REPORTED = "refusal.reported"
    SIGN_IN_REFUSED = "signin.refused"


class Outcome(StrEnum):
    """How it ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. ``id`` is a UUIDv7; ``receipt`` names the decision to everybody concerned.

    ``run`` is the run of a pipeline that a row belongs to, as the client names it.
    ``subject_state`` is the digest of what was known of the subject, ``credential`` what it asked with
    (:class:`muniment.core.sign_ins.SignIn`). ``decided_sha256`` is
    over the canonical decided content (:func:`muniment.core.catalog.digest`), so the
    decision can be computed again and compared. ``details`` are the event's own, JSON.
    """

    id: UUID
    at: datetime
    event: Event
    outcome: Outcome
    subject: str = ""
    issuer: str = ""
    subject_state: str = ""
    address: str = ""
    client: str = ""
    credential: str = ""
    request_id: UUID | None = None
    receipt: UUID | None = None
    revision: int | None = None
    environment: str | None = None
    project: str | None = None
    purpose: str | None = None
    run: str | None = None
    datasets: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    decided_sha256: str | None = None
    evaluator: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


class Rest(TypedDict, total=False):
    """What a row tells beside its occasion; the fields of :class:`Row`."""

    revision: int | None
    environment: str | None
    project: str | None
    purpose: str | None
    run: str | None
    datasets: tuple[str, ...]
    policies: tuple[str, ...]
    decided_sha256: str | None
    evaluator: str | None
    details: Mapping[str, object]


def row(occasion: Occasion, event: Event, outcome: Outcome, **rest: Unpack[Rest]) -> Row:
    """A row that begins with its occasion; ``rest`` are the row's other fields."""
    return Row(
        id=occasion.row_id,
        at=occasion.at,
        event=event,
        outcome=outcome,
        subject=str(occasion.subject),
        issuer=occasion.asker.issuer,
        subject_state=occasion.asker.digest,
        address=occasion.address,
        client=occasion.client,
        credential=occasion.credential,
        request_id=occasion.request_id,
        receipt=occasion.receipt,
        **rest,
    )


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands in the order in which rows were committed, in which they are sealed and sent out.

    ``cluster`` is an ordinal of the database cluster whose transactions ``xact`` counts: where a ledger was dumped and
    restored into another one, they begin again. ``text`` is for whoever comes back to a place, and opaque to them.
    """

    cluster: int
    xact: int
    seq: int

    @property
    def text(self) -> str:
        """The place as a word."""
        return f"{self.cluster}.{self.xact}.{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that a word names; raises :class:`Invalid` when it is none."""
        parts = text.split(".")
        if len(parts) != len(fields(cls)) or not all(map(_NUMBER.fullmatch, parts)) or int(parts[0]) > _LAST_CLUSTER:
            raise Invalid("This is no place in the ledger; begin again without one.")
        return cls(*map(int, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an auditor asks of the ledger; every field narrows, none given means all."""

    #: ``about`` is the subject that a row of somebody else's doing is about.
    subject: str | None = None
    about: str | None = None
    dataset: str | None = None
    #: Rows that name a dataset of the domain, or of one below it.
    domain: str | None = None
    events: tuple[Event, ...] | None = None
    outcome: Outcome | None = None
    environment: str | None = None
    project: str | None = None
    purpose: str | None = None
    #: Rows that this policy settled, or that made or changed it.
    policy: str | None = None
    address: str | None = None
    request_id: UUID | None = None
    receipt: UUID | None = None
    run: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def told(self) -> dict[str, str | list[str]]:
        """What was asked, for the row that says that it was."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: [event.value for event in value] if isinstance(value, tuple) else str(value)
            for name, value in asked.items()
            if value is not None
        }
