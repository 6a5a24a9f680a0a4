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
from muniment.core.ledger import Row
from muniment.core.names import ROOT, Pattern, domain_of, lineage
from muniment.core.problems import NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.tellings import NAMES_DATASETS_ALONE
from muniment.core.visibility import administers, find


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


def oversees_use(realm: Realm, asker: SubjectState, at: datetime, domain: str) -> bool:
    """Whether the subject is told how others use the datasets of a domain: who declares or audits there is."""
    return any(
        decide_governing(realm, asker, action, [domain], at)[0].allowed for action in (Action.DECLARE, Action.AUDIT)
    )


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody is told of a dataset's use: of everybody's, or of their own alone.

    ``made`` is an expression that the names match which a factory pattern makes, where the dataset is one.
    """

    of_all: bool
    made: str | None


def use_told(realm: Realm, asker: SubjectState, at: datetime, name: str) -> Use:
    """Of whose use of a dataset the subject is told; :class:`NotFound` where it may not know of the dataset."""
    dataset = find(realm, asker, at, name)
    if dataset is None:
        raise NotFound
    of_all = oversees_use(realm, asker, at, domain_of(name))
    return Use(of_all, Pattern(name).expression if dataset.is_pattern else None)


def refusal(domain: str) -> NotAllowed:
    """What is said to those who ask about others where they oversee nothing."""
    return NotAllowed(f"You may ask about yourself; about others you need grant or audit in {domain}.")


@dataclass(frozen=True, slots=True)
class Reader:
    """Which rows of the ledger a subject may read: ``audited`` are the domains in which it audits, one by one."""

    subject: str
    everything: bool
    audited: frozenset[str]

    @property
    def audits(self) -> bool:
        """Whether the subject may read rows about others at all."""
        return self.everything or bool(self.audited)

    def may_read(self, row: Row) -> bool:
        """Whether a row is the reader's own, or tells of nothing but what they audit."""
        if self.everything or row.subject == self.subject:
            return True
        named = row.event in NAMES_DATASETS_ALONE and row.datasets
        return bool(named) and all(domain_of(name) in self.audited for name in row.datasets)


def reader_of(realm: Realm, asker: SubjectState, at: datetime) -> Reader:
    """What a subject may read of the ledger; decided once, for many rows."""
    domains = sorted({ROOT, *realm.domains})
    held = _held(realm, asker, at, Action.AUDIT, domains)
    return Reader(str(asker.subject), everything=ROOT in held, audited=held - {ROOT})


def may_read_row(realm: Realm, asker: SubjectState, at: datetime, row: Row) -> bool:
    """Whether a subject may read a row of the ledger (:class:`Reader`; who asks about many rows asks for that)."""
    return reader_of(realm, asker, at).may_read(row)


def _held(realm: Realm, asker: SubjectState, at: datetime, action: Action, domains: list[str]) -> frozenset[str]:
    decisions = decide_governing(realm, asker, action, domains, at)
    return frozenset(domain for domain, decision in zip(domains, decisions, strict=True) if decision.allowed)
