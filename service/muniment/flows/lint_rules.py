"""A steward looks for what is doubtful about the rules that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from muniment.core.ledger import Event, Outcome, row
from muniment.core.lint import Doubt, Finding, Seen, lint
from muniment.core.names import lineage
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.rulebook import all_readable, tellable
from muniment.core.sentences import sentence
from muniment.flows.house import House, aside
from muniment.store import grants, ledger, policies, subjects

#: What shows that somebody used a rule: a run that was checked before it began.
_USES = (Event.PREFLIGHT_ALLOWED,)

#: How the ids of grants begin, as decisions name them.
_GRANT = "grant:"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look at: the rules of a scope and below, doubts of one kind; what soon and long mean, in days."""

    scope: str | None = None
    doubt: Doubt | None = None
    soon_days: int = 30
    unused_days: int = 90
    #: The rules that are looked at, by the ids that decisions name; none means all of them.
    rules: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Linted:
    """The findings of a page, what their rules say, where the next page begins, and what was looked at."""

    findings: tuple[Finding, ...]
    says: Mapping[str, str]
    next: str | None
    rules: int
    datasets: int
    subjects: int
    unjudged: tuple[str, ...]
    seen: Seen
    revision: int


async def lint_rules(house: House, occasion: Occasion, asked: Asked, limit: int, after: str) -> Linted:
    """What is doubtful about the rules that the asker reads, in the order of rules and doubts."""
    realm = await house.realms.current()
    details = {"read": "lint", "scope": asked.scope or ""}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    seen = await _seen(house, occasion, asked)
    return await aside(lambda: _linted(realm, occasion, asked, seen, limit, after))


async def _seen(house: House, occasion: Occasion, asked: Asked) -> Seen:
    since = occasion.at - timedelta(days=asked.unused_days)
    async with house.db.begin() as tx:
        known = await subjects.newest(tx)
        used = await ledger.last_settled(tx, _USES, since)
        made = {id_: standing.since for id_, standing in (await policies.LINE.standing(tx, asked.rules)).items()}
        given = None if asked.rules is None else {id_.removeprefix(_GRANT) for id_ in asked.rules}
        made |= {f"{_GRANT}{id_}": standing.since for id_, standing in (await grants.LINE.standing(tx, given)).items()}
    return Seen([each.state for each in known], made, used, since)


def _linted(realm: Realm, occasion: Occasion, asked: Asked, seen: Seen, limit: int, after: str) -> Linted:
    readable = all_readable(realm, occasion.asker, occasion.at)
    rules = {id_: r for id_, r in readable.items() if asked.scope is None or asked.scope in lineage(r.scope)}
    names = tellable(realm, occasion.asker, occasion.at) if rules else frozenset()
    soon = occasion.at + timedelta(days=asked.soon_days)
    report = lint(realm, occasion.at, rules, names, seen, soon, asked.rules)
    meant = [found for found in report.findings if asked.doubt in {None, found.doubt}]
    following = [(place, found) for place, found in _placed(meant) if place > after]
    page = following[:limit]
    return Linted(
        findings=tuple(found for _, found in page),
        says={found.rule: sentence(rules[found.rule]) for _, found in page},
        next=page[-1][0] if len(following) > limit else None,
        rules=len(rules),
        datasets=len(names),
        subjects=len(seen.states),
        unjudged=report.unjudged,
        seen=seen,
        revision=realm.revision,
    )


def _placed(findings: Iterable[Finding]) -> Iterator[tuple[str, Finding]]:
    """Each finding with its place in the list: its rule, its doubt, and which it is of several of the kind."""
    counted: Counter[tuple[str, Doubt]] = Counter()
    for found in findings:
        kind = (found.rule, found.doubt)
        counted[kind] += 1
        yield f"{found.rule} {found.doubt} {counted[kind]:06}", found
