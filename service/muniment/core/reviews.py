"""Access reviews: which rules somebody must look at again, by when, and what they decided.

A rule carries the day by which it is looked at again. Whoever owns its scope looks: is it still
needed? Then it is kept until another day, or ended; either with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from muniment.core.grants import Grant
from muniment.core.names import lineage
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.rulebook import Written, id_of

#: The most rules that are decided about in one sitting.
MOST_DECISIONS = 500


@dataclass(frozen=True, slots=True)
class Due:
    """A rule that is to be looked at, by the group that owns its scope."""

    rule: Written
    review_by: date
    owner: str
    overdue: bool

    @property
    def id(self) -> str:
        """The id by which decisions name the rule."""
        return id_of(self.rule)


@dataclass(frozen=True, slots=True)
class Keep:
    """The rule is still needed; it is looked at again by ``review_by``."""

    review_by: date
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The rule is not needed any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reviewer decided about one rule, as it stood at the version that they saw."""

    kind: Literal["policy", "grant"]
    id: str
    version: int
    decision: Keep | End

    @property
    def told(self) -> Mapping[str, str]:
        """The verdict as the ledger tells it."""
        match self.decision:
            case Keep(review_by, reason):
                return {"kind": self.kind, "id": self.id, "keep_until": review_by.isoformat(), "reason": reason}
            case End(reason):
                return {"kind": self.kind, "id": self.id, "end": "now", "reason": reason}


def due(realm: Realm, rules: Iterable[Written], *, by: date, today: date, scope: str | None = None) -> tuple[Due, ...]:
    """Those of the rules that are to be looked at by a day, in a scope and below; the most urgent first."""
    found = [
        Due(rule, rule.review_by, realm.owner_of(rule.scope), overdue=rule.review_by < today)
        for rule in rules
        if rule.review_by is not None and rule.review_by <= by and (scope is None or scope in lineage(rule.scope))
    ]
    return tuple(sorted(found, key=lambda each: (each.review_by, each.id)))


def check_sitting(verdicts: Sequence[Verdict], today: date) -> None:
    """Refuse a sitting that decides about nothing, about too much, twice about one rule, or until a day gone by."""
    if not 0 < len(verdicts) <= MOST_DECISIONS:
        message = f"A review decides about at least one rule, and at most {MOST_DECISIONS}."
        raise Invalid(message, [Fault("decisions", message)])
    faults = []
    seen: set[tuple[str, str]] = set()
    for number, verdict in enumerate(verdicts):
        if (verdict.kind, verdict.id) in seen:
            faults.append(Fault(f"decisions.{number}.id", "This rule is decided about twice; once is enough."))
        seen.add((verdict.kind, verdict.id))
        if isinstance(verdict.decision, Keep) and verdict.decision.review_by <= today:
            message = "A rule that is kept is looked at again on a day to come."
            faults.append(Fault(f"decisions.{number}.keep.review_by", message))
    if faults:
        raise Invalid(faults[0].message, faults)


def reason_of(rule: Written) -> str:
    """Why a rule is there, in the words of whoever wrote it."""
    return rule.because if isinstance(rule, Grant) else rule.reason
