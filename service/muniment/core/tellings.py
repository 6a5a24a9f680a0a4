"""What each event of the ledger tells, so that what is often blurred is asked for apart.

*Was told of it* (a catalog, an explanation), *was given the means* (a lease) and *says it loaded it* (a report) are
three things. Who *could* is no row at all: it is a function of a revision (``GET /v1/who``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from muniment.core.ledger import Event


class Telling(StrEnum):
    """What a row tells of its subject."""

    TOLD = "told"
    GIVEN = "given"
    CLAIMED = "claimed"
    REFUSED = "refused"
    CHANGED = "changed"
    READ = "read"


TELLS: Final[Mapping[Event, Telling]] = MappingProxyType(
    {
        Event.CATALOG_SERVED: Telling.TOLD,
        Event.PREFLIGHT_ALLOWED: Telling.TOLD,
        Event.ACCESS_EXPLAINED: Telling.TOLD,
        Event.ACCESS_EVALUATED: Telling.TOLD,
        Event.ACCESS_SEARCHED: Telling.TOLD,
        Event.DATASET_READ: Telling.TOLD,
        Event.PROJECT_STARTED: Telling.TOLD,
        Event.CHANGE_TRIED: Telling.TOLD,
        Event.NOTICE_SENT: Telling.TOLD,
        Event.LEASE_SERVED: Telling.GIVEN,
        Event.USE_REPORTED: Telling.CLAIMED,
        Event.REFUSAL_REPORTED: Telling.CLAIMED,
        Event.ACCESS_DENIED: Telling.REFUSED,
        Event.CHANGE_REFUSED: Telling.REFUSED,
        Event.SIGN_IN_REFUSED: Telling.REFUSED,
        Event.RULES_READ: Telling.READ,
        Event.REQUEST_READ: Telling.READ,
        Event.KEY_READ: Telling.READ,
        Event.PROVISIONING_READ: Telling.READ,
        Event.SUBJECT_READ: Telling.READ,
        Event.LEDGER_READ: Telling.READ,
        Event.LEDGER_EXPORTED: Telling.READ,
        Event.LEDGER_HELD: Telling.CHANGED,
        Event.LEDGER_RELEASED: Telling.CHANGED,
        Event.LEDGER_RETIRED: Telling.CHANGED,
        Event.LEDGER_ERASED: Telling.CHANGED,
        Event.SEAL_KEY_ROTATED: Telling.CHANGED,
        Event.RESTORE_ACCEPTED: Telling.CHANGED,
        Event.SEAL_KEY_ROTATED: Telling.CHANGED,
        Event.RESTORE_ACCEPTED: Telling.CHANGED,
        Event.VIEW_SAVED: Telling.CHANGED,
        Event.VIEW_REMOVED: Telling.CHANGED,
        Event.DECISION_REPLAYED: Telling.READ,
        Event.WEBHOOK_READ: Telling.READ,
        Event.NOTICES_READ: Telling.READ,
        Event.WEBHOOK_READ: Telling.READ,
        Event.WEBHOOK_TESTED: Telling.READ,
        Event.WEBHOOK_CHANGED: Telling.CHANGED,
        Event.WEBHOOK_ENDED: Telling.CHANGED,
        Event.WEBHOOK_STOPPED: Telling.CHANGED,
        Event.WEBHOOK_REPLAYED: Telling.CHANGED,
        Event.WEBHOOK_SECRET_CHANGED: Telling.CHANGED,
        Event.DATASET_DECLARED: Telling.CHANGED,
        Event.DATASET_RETIRED: Telling.CHANGED,
        Event.DOMAIN_CHANGED: Telling.CHANGED,
        Event.ENVIRONMENT_CHANGED: Telling.CHANGED,
        Event.GROUP_CHANGED: Telling.CHANGED,
        Event.POLICY_CHANGED: Telling.CHANGED,
        Event.POLICY_ENDED: Telling.CHANGED,
        Event.GRANT_MADE: Telling.CHANGED,
        Event.GRANT_ENDED: Telling.CHANGED,
        Event.REQUEST_MADE: Telling.CHANGED,
        Event.REQUEST_SECONDED: Telling.CHANGED,
        Event.REQUEST_APPROVED: Telling.CHANGED,
        Event.REQUEST_DENIED: Telling.CHANGED,
        Event.REQUEST_WITHDRAWN: Telling.CHANGED,
        Event.DEPUTY_NAMED: Telling.CHANGED,
        Event.DEPUTY_ENDED: Telling.CHANGED,
        Event.ACCESS_REVIEWED: Telling.CHANGED,
        Event.SUBJECT_HANDED_OVER: Telling.CHANGED,
        Event.KEY_MADE: Telling.CHANGED,
        Event.KEY_REVOKED: Telling.CHANGED,
        Event.USER_PROVISIONED: Telling.CHANGED,
        Event.GROUP_PROVISIONED: Telling.CHANGED,
        Event.SUBJECT_DEPROVISIONED: Telling.CHANGED,
        Event.SESSION_BEGAN: Telling.CHANGED,
        Event.SESSION_ENDED: Telling.CHANGED,
        Event.REALM_APPLIED: Telling.CHANGED,
        Event.BOOTSTRAPPED: Telling.CHANGED,
        Event.GLASS_BROKEN: Telling.CHANGED,
        Event.SUBJECT_ENDED: Telling.CHANGED,
        Event.SUBJECT_ADMITTED: Telling.CHANGED,
        Event.SIGN_INS_ENDED: Telling.CHANGED,
        Event.WEBHOOK_CHANGED: Telling.CHANGED,
        Event.WEBHOOK_ENDED: Telling.CHANGED,
        Event.WEBHOOK_STOPPED: Telling.CHANGED,
        Event.WEBHOOK_TESTED: Telling.CHANGED,
        Event.WEBHOOK_REPLAYED: Telling.CHANGED,
        Event.WEBHOOK_SECRET_CHANGED: Telling.CHANGED,
        Event.NOTICES_CHOSEN: Telling.CHANGED,
        Event.LEDGER_HELD: Telling.CHANGED,
        Event.LEDGER_RELEASED: Telling.CHANGED,
        Event.LEDGER_RETIRED: Telling.CHANGED,
        Event.LEDGER_ERASED: Telling.CHANGED,
    }
)

#: The events whose rows name nothing but what stands in ``datasets`` (and the rules that settled it): who audits all of
#: those datasets' domains reads such a row whole. Rows of the others may name domains, subjects or rules of elsewhere.
NAMES_DATASETS_ALONE: Final[frozenset[Event]] = frozenset(
    {
        Event.CATALOG_SERVED,
        Event.LEASE_SERVED,
        Event.PREFLIGHT_ALLOWED,
        Event.ACCESS_DENIED,
        Event.ACCESS_EXPLAINED,
        Event.DATASET_DECLARED,
        Event.DATASET_RETIRED,
        Event.DATASET_READ,
        Event.PROJECT_STARTED,
        Event.GRANT_MADE,
        Event.GRANT_ENDED,
        Event.REQUEST_MADE,
        Event.REQUEST_SECONDED,
        Event.REQUEST_APPROVED,
        Event.REQUEST_DENIED,
        Event.REQUEST_WITHDRAWN,
        Event.USE_REPORTED,
        Event.REFUSAL_REPORTED,
    }
)


def events_that(telling: Telling) -> tuple[Event, ...]:
    """The events whose rows tell this, in the order of the catalogue."""
    return tuple(event for event in Event if TELLS.get(event) is telling)
