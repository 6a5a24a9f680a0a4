"""Deputies: somebody who decides on requests in an approver's place, until a day, with no more right than the approver.

A deputy is no rule and holds no right: what has come to the approver has come to the deputy too, for as
long as the approver may decide on it (:func:`muniment.core.requests.standings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject, SubjectState

#: For how long a deputy may be named.
LONGEST: Final = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Deputyship:
    """Who decides in whose place, from when until when, and why."""

    principal: Subject
    deputy: Subject
    at: datetime
    until: datetime
    because: str = ""

    def stands(self, at: datetime) -> bool:
        """Whether the deputy decides at a moment."""
        return self.at <= at < self.until


def checked(realm: Realm, asker: SubjectState, named: Deputyship) -> Deputyship:
    """The deputyship, if its principal may name that deputy; else :class:`Invalid` or :class:`NotAllowed`.

    Whether the deputy was ever here is not looked at: it would tell who is.
    """
    if not _may_approve_something(realm, asker):
        raise NotAllowed("You decide on no requests, so nobody can do it in your place. It takes approve in a domain.")
    faults = []
    if named.deputy == named.principal:
        faults.append(Fault("deputy", "Name somebody else: you decide on requests yourself."))
    if named.deputy.kind is not Kind.USER:
        faults.append(Fault("deputy", "A deputy is a person: user:… and not service:…"))
    if not named.at < named.until <= named.at + LONGEST:
        faults.append(Fault("until", f"Name a time to come, at most {LONGEST.days} days ahead."))
    if faults:
        raise Invalid(faults[0].message, faults)
    return named


def _may_approve_something(realm: Realm, asker: SubjectState) -> bool:
    """Whether some rule could let the subject approve anything: what exactly is decided with each request."""
    return any(policy.effect == "permit" and Action.APPROVE in policy.actions for policy in realm.concerning(asker))
