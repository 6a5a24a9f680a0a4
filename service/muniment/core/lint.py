"""What is doubtful about the rules: those without effect, twice there, soon at their end, or easily misread.

A finding is advice: nothing is refused for it. Whether a rule has an effect is found by deciding
(:mod:`muniment.core.effects`). Whoever reads a finding could have read the rule, and is told
nothing of datasets that they may not know of.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cedarpy import pst

from muniment.core.conditions import conjuncts
from muniment.core.effects import effects
from muniment.core.grants import Grant
from muniment.core.groups import is_builtin, write_group
from muniment.core.policies import Compiled, Policy
from muniment.core.realm import Realm
from muniment.core.rulebook import Written
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState

#: How many other rules a finding names.
_MOST_NAMED = 5


class Doubt(StrEnum):
    """The closed list of what is doubtful about a rule."""

    BEATEN = "beaten"
    ENDED = "ended"
    ENDS_SOON = "ends-soon"
    LETS_THROUGH = "lets-through"
    NOBODY = "meets-nobody"
    NOTHING = "meets-nothing"
    SAME = "same"
    SLOW = "slow"
    UNKNOWN_GROUP = "unknown-group"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt about one rule, which is named as decisions name it; ``related`` are other rules that it is about."""

    rule: str
    scope: str
    doubt: Doubt
    message: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known beside the rules: subjects, when rules came to stand, and which settled a checked run.

    ``used`` was looked at from ``since`` on.
    """

    states: Sequence[SubjectState]
    made: Mapping[str, datetime]
    used: Mapping[str, datetime]
    since: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """The findings, in the order of rules and doubts, and which rules were not judged by their effect."""

    findings: tuple[Finding, ...]
    unjudged: tuple[str, ...]


def lint(
    realm: Realm,
    at: datetime,
    rules: Mapping[str, Written],
    names: AbstractSet[str],
    seen: Seen,
    soon: datetime,
    only: AbstractSet[str] | None = None,
) -> Report:
    """What is doubtful about these rules, as far as it shows in the named datasets; ``soon`` is what soon means.

    ``only`` are those of them that are looked at; the others are what they are held against.
    """
    return _Linter(realm, at, rules, names, seen, soon, only).report()


class _Linter:
    """One look at the rules that somebody reads."""

    def __init__(
        self,
        realm: Realm,
        at: datetime,
        rules: Mapping[str, Written],
        names: AbstractSet[str],
        seen: Seen,
        soon: datetime,
        only: AbstractSet[str] | None,
    ) -> None:
        self._realm = realm
        self._at = at
        self._rules = rules
        self._only = rules if only is None else {id_: rule for id_, rule in rules.items() if id_ in only}
        self._seen = seen
        self._soon = soon
        self._groups = _groups_known(realm, seen.states)
        self._effects = effects(realm, self._only, names, seen.states, at)

    def report(self) -> Report:
        same = _same(self._realm, self._rules, self._only)
        findings = [
            Finding(id_, rule.scope, doubt, message, related)
            for id_, rule in sorted(self._only.items())
            for doubt, message, related in (*self._of(id_, rule), *same.get(id_, ()))
        ]
        findings.sort(key=lambda finding: (finding.rule, finding.doubt))
        return Report(tuple(findings), tuple(sorted(id_ for id_, e in self._effects.items() if not e.judged)))

    def _of(self, id_: str, rule: Written) -> Iterator[_Doubtful]:
        read = self._realm.compiled[id_]
        yield from self._by_its_words(read)
        end = rule.until if isinstance(rule, Grant) else None
        if end is not None and end <= self._at:
            yield Doubt.ENDED, f"It ended on {end:%Y-%m-%d %H:%M} UTC; end it here too.", ()
            return
        yield from self._by_its_end(read, end)
        doubtful = list(self._by_its_effect(read))
        yield from doubtful
        if not doubtful:
            yield from self._by_its_use(read)

    def _by_its_words(self, read: Compiled) -> Iterator[_Doubtful]:
        if read.effect == "forbid":
            for attribute in sorted(_asked_of_the_principal(read.tree)):
                message = (
                    f"It forbids when principal has {attribute}, and so lets those without {attribute} through; "
                    f"write what is demanded of them after unless."
                )
                yield Doubt.LETS_THROUGH, message, ()
        if any(rule.slow for rule in self._realm.rules[read.id]):
            yield Doubt.SLOW, "It uses operators that are asked of Cedar itself, for each dataset left over.", ()
        for group in sorted(_groups_named(read.tree) - self._groups):
            message = f"No known subject is in {write_group(group)}, and it is no local group."
            yield Doubt.UNKNOWN_GROUP, message, ()

    def _by_its_end(self, read: Compiled, end: datetime | None) -> Iterator[_Doubtful]:
        if end is not None:
            if end <= self._soon:
                yield Doubt.ENDS_SOON, f"It ends on {end:%Y-%m-%d %H:%M} UTC.", ()
            return
        moment = min((moment for moment in read.boundaries if self._at < moment <= self._soon), default=None)
        if moment is not None:
            yield Doubt.ENDS_SOON, f"It may say something else from {moment:%Y-%m-%d %H:%M} UTC on.", ()

    def _by_its_effect(self, read: Compiled) -> Iterator[_Doubtful]:
        effect = self._effects[read.id]
        if not effect.means:
            known = len(self._seen.states)
            yield Doubt.NOBODY, f"Nobody is meant: it speaks to none of the {known} known subjects.", ()
        elif not effect.reaches:
            yield Doubt.NOTHING, "No dataset that you may know of lies in its reach.", ()
        elif effect.effective or not effect.judged:
            return
        elif effect.satisfied:
            related = tuple(sorted(effect.beaten_by & self._rules.keys()))
            beaten_by = ", ".join(related[:_MOST_NAMED]) or "rules that you may not read"
            yield Doubt.BEATEN, f"Whatever it permits is forbidden by {beaten_by}.", related[:_MOST_NAMED]
        else:
            yield Doubt.NOTHING, f"It is satisfied for none of the {effect.means} known subjects that it can mean.", ()

    def _by_its_use(self, read: Compiled) -> Iterator[_Doubtful]:
        uses = read.permits and not read.actions.isdisjoint({Action.LOAD, Action.SAVE})
        stood = self._seen.made.get(read.id, self._at) < self._seen.since
        if uses and stood and read.id not in self._seen.used:
            message = f"No run that was checked beforehand rested on it since {self._seen.since:%Y-%m-%d}."
            yield Doubt.UNUSED, message, ()


#: A doubt, in words, and other rules that it is about.
_Doubtful = tuple[Doubt, str, tuple[str, ...]]


def _groups_known(realm: Realm, states: Iterable[SubjectState]) -> frozenset[str]:
    named = {parent for group in realm.groups.values() for parent in group.parents}
    return frozenset({*realm.groups, *named, *(group for state in states for group in state.groups)})


def _groups_named(tree: pst.Template) -> frozenset[str]:
    named = (entity.id for entity in pst.entity_uids(tree) if str(entity.type) == "Group")
    return frozenset(group for group in named if not is_builtin(group))


def _asked_of_the_principal(tree: pst.Template) -> frozenset[str]:
    """The attributes that a subject must have for the policy to be satisfied."""
    clauses = (clause for clause in tree.clauses if isinstance(clause, pst.When))
    asked = (expression for clause in clauses for expression in conjuncts(clause.expr))
    return frozenset(
        ".".join(expression.attrs)
        for expression in asked
        if isinstance(expression, pst.HasAttr) and expression.base == pst.Var("principal")
    )


def _same(
    realm: Realm, rules: Mapping[str, Written], only: Mapping[str, Written]
) -> Mapping[str, Collection[_Doubtful]]:
    """Those of ``only`` that say the very same as another of the rules."""
    heads = {_head(realm.compiled[id_]) for id_ in only}
    alike: defaultdict[object, list[str]] = defaultdict(list)
    for id_, rule in sorted(rules.items()):
        read = realm.compiled[id_]
        head = _head(read)
        if head in heads:
            demanded = json.dumps(rule.obligation, sort_keys=True) if isinstance(rule, Policy) else "null"
            alike[head, replace(read.tree, id="", action=pst.ScopeAny()), demanded].append(id_)
    found: dict[str, Collection[_Doubtful]] = {}
    for ids in alike.values():
        for id_ in (id_ for id_ in ids if id_ in only) if len(ids) > 1 else ():
            others = tuple(other for other in ids if other != id_)[:_MOST_NAMED]
            found[id_] = [(Doubt.SAME, f"It says the very same as {', '.join(others)}.", others)]
    return found


def _head(read: Compiled) -> tuple[object, ...]:
    """What rules have in common that say the same, and few others have; a tree takes longer to compare."""
    return read.actions, read.kind, read.effect, read.anchor, read.within, read.names, read.boundaries
