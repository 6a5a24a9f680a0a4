"""Who may ask about the access of others: whoever audits, grants or administers there.

An auditor asks about all that is there; who grants or administers asks about what they may
know of. Where somebody oversees is decided on the domain in the asked name and on those above it
alone, existing or not, so that being refused tells nothing of what is there. Below a domain that
one oversees, what is shut to one and what nobody made give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from muniment.core.decisions import decide_governing
from muniment.core.names import ROOT, lineage
from muniment.core.problems import NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import administers


@dataclass(frozen=True, slots=True)
class Oversight:
    """The domains in which a subject may ask about others: about all that is there, or about what it knows of."""

    audited: frozenset[str]
    governed: frozenset[str]

    def covers(self, domain: str) -> bool:
        """Whether the subject may ask about others there at all."""
        return domain in self.audited or domain in self.governed

    def reaches(self, domain: str) -> bool:
        """Whether the subject may ask about others there or above: else it is refused, whatever is there."""
        return any(map(self.covers, lineage(domain)))


def oversight(realm: Realm, asker: SubjectState, at: datetime, domains: Iterable[str]) -> Oversight:
    """Where, among these domains and those above them, a subject may ask about the access of others."""
    asked = sorted({above for domain in domains for above in lineage(domain)})
    held = {action: _held(realm, asker, at, action, asked) for action in (Action.AUDIT, Action.GRANT)}
    administered = asked if administers(realm, asker, at, ROOT) else _held(realm, asker, at, Action.ADMINISTER, asked)
    return Oversight(held[Action.AUDIT], held[Action.GRANT] | frozenset(administered))


def refusal(domain: str) -> NotAllowed:
    """What is said to those who ask about others where they oversee nothing."""
    return NotAllowed(f"You may ask about yourself; about others you need grant or audit in {domain}.")


def _held(realm: Realm, asker: SubjectState, at: datetime, action: Action, domains: list[str]) -> frozenset[str]:
    decisions = decide_governing(realm, asker, action, domains, at)
    return frozenset(domain for domain, decision in zip(domains, decisions, strict=True) if decision.allowed)
