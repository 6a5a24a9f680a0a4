"""Rows of the ledger as events of the Open Cybersecurity Schema Framework, for security tools that read those.

Each event of the catalogue has one class of OCSF 1.3.0 and one activity of it: what was asked of the service is *API
Activity*, who signed in is *Authentication*, what was made or ended is *Entity Management*, and what a client says it
loaded or saved is *Datastore Activity*. What OCSF has no word for stands whole in ``unmapped``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import orjson

from muniment.core.ledger import Event, Outcome
from muniment.core.seals import Stored

#: The version of the schema whose classes these are.
VERSION: Final = "1.3.0"

_IAM: Final = (3, "Identity & Access Management")
_APPLICATION: Final = (6, "Application Activity")
_SUCCESS: Final = (1, "Success")
_FAILURE: Final = (2, "Failure")


class Class(IntEnum):
    """The classes of events that are used, by their ``class_uid``."""

    AUTHENTICATION = 3002
    ENTITY = 3004
    API = 6003
    DATASTORE = 6005


_NAMES: Final = {
    Class.AUTHENTICATION: "Authentication",
    Class.ENTITY: "Entity Management",
    Class.API: "API Activity",
    Class.DATASTORE: "Datastore Activity",
}

#: The activities of each class that are used, as the specification numbers them.
ACTIVITIES: Final[Mapping[Class, Mapping[int, str]]] = MappingProxyType(
    {
        Class.AUTHENTICATION: {1: "Logon", 2: "Logoff"},
        Class.ENTITY: {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
        Class.API: {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
        Class.DATASTORE: {1: "Read", 5: "Write"},
    }
)


class Severity(IntEnum):
    """How grave it is, as ``severity_id`` says it."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4


@dataclass(frozen=True, slots=True)
class Mapped:
    """What an event of the ledger is in OCSF; ``entity`` is the kind of thing that was made or ended."""

    of: Class
    activity: int
    entity: str = ""
    severity: Severity = Severity.INFORMATIONAL


def _asked(severity: Severity = Severity.INFORMATIONAL) -> Mapped:
    return Mapped(Class.API, 2, severity=severity)


def _made(entity: str) -> Mapped:
    return Mapped(Class.ENTITY, 1, entity)


def _changed(entity: str, severity: Severity = Severity.INFORMATIONAL) -> Mapped:
    return Mapped(Class.ENTITY, 3, entity, severity)


def _ended(entity: str, severity: Severity = Severity.INFORMATIONAL) -> Mapped:
    return Mapped(Class.ENTITY, 4, entity, severity)


EVENTS: Final[Mapping[Event, Mapped]] = MappingProxyType(
    {
        Event.CATALOG_SERVED: _asked(),
        Event.LEASE_SERVED: _asked(),
        Event.PREFLIGHT_ALLOWED: _asked(),
        Event.ACCESS_DENIED: _asked(Severity.LOW),
        Event.ACCESS_EXPLAINED: _asked(),
        Event.ACCESS_EVALUATED: _asked(),
        Event.ACCESS_SEARCHED: _asked(),
        Event.DATASET_READ: _asked(),
        Event.PROJECT_STARTED: _asked(),
        Event.RULES_READ: _asked(),
        Event.REQUEST_READ: _asked(),
        Event.KEY_READ: _asked(),
        Event.PROVISIONING_READ: _asked(),
        Event.SUBJECT_READ: _asked(),
        Event.LEDGER_READ: _asked(),
        Event.LEDGER_EXPORTED: _asked(Severity.LOW),
        Event.DECISION_REPLAYED: _asked(),
        Event.CHANGE_TRIED: _asked(),
        Event.CHANGE_REFUSED: Mapped(Class.API, 3, severity=Severity.LOW),
        Event.REFUSAL_REPORTED: _asked(Severity.LOW),
        Event.USE_REPORTED: Mapped(Class.DATASTORE, 1),
        Event.SESSION_BEGAN: Mapped(Class.AUTHENTICATION, 1),
        Event.SESSION_ENDED: Mapped(Class.AUTHENTICATION, 2),
        Event.SIGN_IN_REFUSED: Mapped(Class.AUTHENTICATION, 1, severity=Severity.MEDIUM),
        Event.SIGN_INS_ENDED: Mapped(Class.AUTHENTICATION, 2, severity=Severity.MEDIUM),
        Event.DATASET_DECLARED: _changed("dataset"),
        Event.DATASET_RETIRED: _ended("dataset"),
        Event.DOMAIN_CHANGED: _changed("domain"),
        Event.ENVIRONMENT_CHANGED: _changed("environment"),
        Event.GROUP_CHANGED: _changed("group"),
        Event.POLICY_CHANGED: _changed("policy"),
        Event.POLICY_ENDED: _ended("policy"),
        Event.GRANT_MADE: _made("grant"),
        Event.GRANT_ENDED: _ended("grant"),
        Event.REQUEST_MADE: _made("request"),
        Event.REQUEST_SECONDED: _changed("request"),
        Event.REQUEST_APPROVED: _changed("request"),
        Event.REQUEST_DENIED: _changed("request"),
        Event.REQUEST_WITHDRAWN: _ended("request"),
        Event.DEPUTY_NAMED: _changed("subject", Severity.LOW),
        Event.DEPUTY_ENDED: _changed("subject"),
        Event.ACCESS_REVIEWED: _changed("policy"),
        Event.SUBJECT_HANDED_OVER: _changed("subject", Severity.LOW),
        Event.KEY_MADE: _made("key"),
        Event.KEY_REVOKED: _ended("key"),
        Event.USER_PROVISIONED: _changed("subject"),
        Event.GROUP_PROVISIONED: _changed("group"),
        Event.SUBJECT_DEPROVISIONED: _ended("subject"),
        Event.VIEW_SAVED: _changed("view"),
        Event.VIEW_REMOVED: _ended("view"),
        Event.REALM_APPLIED: _changed("realm"),
        Event.BOOTSTRAPPED: _made("realm"),
        Event.GLASS_BROKEN: Mapped(Class.ENTITY, 1, "grant", Severity.HIGH),
        Event.SUBJECT_ENDED: _ended("subject", Severity.LOW),
        Event.SUBJECT_ADMITTED: _changed("subject"),
        Event.WEBHOOK_CHANGED: _changed("webhook", Severity.LOW),
        Event.WEBHOOK_ENDED: _ended("webhook"),
        Event.WEBHOOK_STOPPED: _changed("webhook", Severity.LOW),
        Event.WEBHOOK_READ: _asked(),
        Event.WEBHOOK_TESTED: _asked(),
        Event.WEBHOOK_REPLAYED: _asked(),
        Event.WEBHOOK_SECRET_CHANGED: _changed("webhook"),
        Event.NOTICE_SENT: _made("notice"),
        Event.NOTICES_READ: _asked(),
        Event.NOTICES_CHOSEN: _changed("notices"),
        Event.LEDGER_HELD: _changed("ledger"),
        Event.LEDGER_RELEASED: _changed("ledger", Severity.LOW),
        Event.LEDGER_RETIRED: _ended("ledger", Severity.MEDIUM),
        Event.LEDGER_ERASED: _ended("ledger", Severity.MEDIUM),
        Event.SEAL_KEY_ROTATED: _changed("ledger", Severity.MEDIUM),
        Event.RESTORE_ACCEPTED: _changed("ledger", Severity.HIGH),
        Event.SEAL_KEY_ROTATED: _changed("ledger"),
        Event.RESTORE_ACCEPTED: _changed("ledger"),
    }
)


def event_line(row: Stored) -> bytes:
    """A row as a line of JSON that holds one event."""
    return orjson.dumps(event_of(row), option=orjson.OPT_APPEND_NEWLINE)


def event_of(row: Stored) -> dict[str, Any]:
    """The event that a row of the ledger is."""
    details: dict[str, Any] = orjson.loads(row.details)
    event = Event(row.event)
    mapped = EVENTS[event]
    activity = 5 if mapped.of is Class.DATASTORE and details.get("action") == "save" else mapped.activity
    category, category_name = _IAM if mapped.of < Class.API else _APPLICATION
    status_id, status = _FAILURE if row.outcome == Outcome.DENIED else _SUCCESS
    return {
        "activity_id": activity,
        "activity_name": ACTIVITIES[mapped.of][activity],
        "category_uid": category,
        "category_name": category_name,
        "class_uid": int(mapped.of),
        "class_name": _NAMES[mapped.of],
        "type_uid": mapped.of * 100 + activity,
        "type_name": f"{_NAMES[mapped.of]}: {ACTIVITIES[mapped.of][activity]}",
        "severity_id": int(mapped.severity),
        "severity": mapped.severity.name.capitalize(),
        "status_id": status_id,
        "status": status,
        "time": row.at // 1000,
        "message": row.event,
        "actor": {"user": _user(row.subject, row.issuer)},
        "src_endpoint": _endpoint(row.address),
        "metadata": {
            "version": VERSION,
            "product": {"name": "Muniment", "vendor_name": "Muniment"},
            "log_name": "ledger",
            "event_code": row.event,
            "uid": row.id,
            "correlation_uid": row.receipt or row.request_id or row.id,
        },
        **_of_class(mapped, row, details),
        "unmapped": {
            name: value
            for name, value in {
                "outcome": row.outcome,
                "subject_state": row.subject_state,
                "client": row.client,
                "credential": row.credential,
                "revision": row.revision,
                "environment": row.environment,
                "project": row.project,
                "purpose": row.purpose,
                "run": row.run,
                "policies": row.policies,
                "decided_sha256": row.decided_sha256,
                "evaluator": row.evaluator,
                "details": details,
            }.items()
            if value
        },
    }


def _of_class(mapped: Mapped, row: Stored, details: Mapping[str, Any]) -> dict[str, Any]:
    """What a class asks for beside what all have."""
    match mapped.of:
        case Class.AUTHENTICATION:
            about = details.get("about")
            user = _user(about, "") if isinstance(about, str) else _user(row.subject, row.issuer)
            return {"user": user, "service": {"name": "muniment"}, "is_remote": True}
        case Class.ENTITY:
            return {"entity": {"type": mapped.entity, "name": _entity(mapped, row, details)}}
        case Class.DATASTORE:
            return {"table": {"name": ", ".join(row.datasets) or "unknown"}, "type_id": 3, "type": "Table"}
        case _:
            resources = [{"type": "dataset", "name": name} for name in row.datasets]
            operation = {"operation": row.event, "request": {"uid": row.request_id or row.id}}
            return {"api": operation, **({"resources": resources} if resources else {})}


def _entity(mapped: Mapped, row: Stored, details: Mapping[str, Any]) -> str:
    """What was made or ended, by the first name that the row has for it."""
    told = [details.get(each) for each in ("about", "request", "key", "group")]
    of_rules = mapped.entity in {"policy", "grant"}
    names = [*(row.policies if of_rules else row.datasets), *(each for each in told if isinstance(each, str))]
    versions = details.get("versions")
    if isinstance(versions, dict):
        names.extend(versions)
    return next(iter(names), None) or mapped.entity


def _user(subject: str, issuer: str) -> dict[str, Any]:
    """A subject; of a request in which nobody was signed in, nobody."""
    if not subject:
        return {"name": "unknown", "type_id": 0, "type": "Unknown"}
    kind, _, id_ = subject.partition(":")
    type_id, type_ = (3, "System") if kind == "service" else (1, "User")
    told = {"uid": subject, "name": id_ or subject, "type_id": type_id, "type": type_}
    return {**told, "domain": issuer} if issuer else told


def _endpoint(address: str) -> dict[str, str]:
    """Where a request came from; counted addresses are of a whole network, or of many."""
    try:
        return {"ip": str(ipaddress.ip_address(address))}
    except ValueError:
        return {"name": address or "muniment"}
