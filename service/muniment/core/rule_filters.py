"""Finding rules in the rulebook: by what they say, where, about whom, what they do, and when they end.

A rule is found by its sentence and its id, so that what is looked for is what is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cedarpy import pst

from muniment.core.conditions import Part
from muniment.core.decisions import scene_of
from muniment.core.grants import Grant
from muniment.core.groups import write_group
from muniment.core.names import lineage
from muniment.core.policies import PolicyKind
from muniment.core.readings import reading
from muniment.core.realm import Realm
from muniment.core.rulebook import Written, id_of
from muniment.core.rules import Role, Rule
from muniment.core.sentences import sentence
from muniment.core.subjects import SubjectState

#: How near the end of a rule is that ends soon.
SOON: Final = timedelta(days=30)


class Deed(StrEnum):
    """What a rule does: let somebody do something, keep them from it, mask columns, or leave rows out."""

    PERMIT = "permit"
    FORBID = "forbid"
    MASK = "mask"
    ROW_FILTER = "row_filter"


class Sort(StrEnum):
    """The two ways in which a rule is kept."""

    POLICY = "policy"
    GRANT = "grant"


@dataclass(frozen=True, slots=True)
class Line:
    """A rule in a list: what it says, by what it is found, and when it ends, if it says so."""

    id: str
    rule: Written
    says: str
    deed: Deed
    ends: datetime | None

    @property
    def sort(self) -> Sort:
        """How it is kept."""
        return Sort.GRANT if isinstance(self.rule, Grant) else Sort.POLICY


@dataclass(frozen=True, slots=True)
class Looked:
    """What to look for; every field narrows. ``domain`` means those below it too, ``who`` a group or a subject."""

    text: str = ""
    domain: str | None = None
    who: str | None = None
    deed: Deed | None = None
    sort: Sort | None = None
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Facets:
    """How many rules each further choice would leave: of one kind of choice, with all others as they are."""

    domains: tuple[tuple[str, int], ...]
    deeds: tuple[tuple[Deed, int], ...]
    sorts: tuple[tuple[Sort, int], ...]
    soon: int


def line_of(rule: Written) -> Line:
    """A rule as it stands in a list."""
    policy = rule.policy() if isinstance(rule, Grant) else rule
    read = reading(policy.cedar, policy.kind).form
    deed = Deed(policy.kind.value) if policy.kind is not PolicyKind.ACCESS else Deed(read.effect)
    return Line(id_of(rule), rule, sentence(rule), deed, read.valid_to)


def found(lines: Iterable[Line], looked: Looked, concerning: frozenset[str], at: datetime) -> tuple[Line, ...]:
    """The rules that are looked for, in the order of their ids; ``concerning`` are the ids of those about ``who``."""
    tests = _tests(looked, concerning, at)
    matching = (line for line in lines if all(test(line) for test in tests))
    return tuple(sorted(matching, key=lambda line: line.id))


def facets(lines: Iterable[Line], looked: Looked, concerning: frozenset[str], at: datetime) -> Facets:
    """How the rules that are looked for divide."""
    listed = tuple(lines)
    by_domain = found(listed, replace(looked, domain=None), concerning, at)
    by_deed = found(listed, replace(looked, deed=None), concerning, at)
    by_sort = found(listed, replace(looked, sort=None), concerning, at)
    domains = Counter(above for line in by_domain for above in lineage(line.rule.scope))
    deeds = Counter(line.deed for line in by_deed)
    sorts = Counter(line.sort for line in by_sort)
    return Facets(
        domains=tuple(sorted(domains.items())),
        deeds=tuple((deed, deeds[deed]) for deed in Deed if deeds[deed]),
        sorts=tuple((sort, sorts[sort]) for sort in Sort if sorts[sort]),
        soon=len(found(listed, replace(looked, soon=True), concerning, at)),
    )


def about(realm: Realm, rules: Mapping[str, Written], who: str, known: SubjectState | None) -> frozenset[str]:
    """Which of the rules are about a group or a subject: they name it, or mean it as it is known."""
    named = {id_ for id_ in rules if who in _named(realm.compiled[id_].tree)}
    meant = {rule.id for rule in realm.concerning(known) if rule.anchor is not None} if known is not None else set()
    return frozenset(named | (meant & rules.keys()))


def means(realm: Realm, id_: str, states: Iterable[SubjectState]) -> list[SubjectState]:
    """Those of the subjects whom a rule means: by who they are, whatever it says of datasets and circumstances."""
    rules = realm.rules.get(id_, ())
    asked = [(rule, [part for part in rule.checks if _is_about_people(part)]) for rule in rules]
    return [state for state in states if any(_may_mean(realm, rule, parts, state) for rule, parts in asked)]


def _is_about_people(part: Part) -> bool:
    return not part.slow and not part.reads.context and "context" not in part.reads.whole


def _may_mean(realm: Realm, rule: Rule, parts: Iterable[Part], state: SubjectState) -> bool:
    scene = scene_of(realm, state, {})
    if rule.anchors is not None and rule.anchors.isdisjoint(scene.principal.above):
        return False
    restricts = rule.role is not Role.PERMIT  # What takes something away is satisfied where it errs.
    answers = [part.holds(scene) for part in parts]
    return all(answer or (answer is None and restricts) for answer in answers)


def _tests(looked: Looked, concerning: frozenset[str], at: datetime) -> list[Callable[[Line], bool]]:
    tests: list[Callable[[Line], bool]] = []
    words = looked.text.casefold().split()
    if words:
        tests.append(lambda line: _says(line, words))
    if looked.domain is not None:
        tests.append(lambda line: looked.domain in lineage(line.rule.scope))
    if looked.who is not None:
        tests.append(lambda line: line.id in concerning)
    if looked.deed is not None:
        tests.append(lambda line: line.deed is looked.deed)
    if looked.sort is not None:
        tests.append(lambda line: line.sort is looked.sort)
    if looked.soon:
        tests.append(lambda line: line.ends is not None and at < line.ends <= at + SOON)
    return tests


def _says(line: Line, words: Iterable[str]) -> bool:
    text = f"{line.says}\n{line.id}".casefold()
    return all(word in text for word in words)


@lru_cache(maxsize=20_000)
def _named(tree: pst.Template) -> frozenset[str]:
    """The groups and subjects that a rule names, as JSON writes them."""
    return frozenset(
        write_group(entity.id) if str(entity.type) == "Group" else f"{str(entity.type).lower()}:{entity.id}"
        for entity in pst.entity_uids(tree)
        if str(entity.type) in {"Group", "User", "Service"}
    )
