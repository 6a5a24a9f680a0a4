"""What pages say of rules, policies and grants alike: where each stands, and what a change of one would do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from muniment.core.consequences import Effect
from muniment.core.lint import Finding
from muniment.core.problems import CaseFails, Invalid, NotAllowed, NotFound, Problem, StaleEdit
from muniment.core.problems import Conflict as Contradiction
from muniment.core.runs import Broken
from muniment.flows.try_changes import Tried

#: How many lines of one kind a page shows.
MOST_SHOWN: Final = 30

#: Addresses of pages that an id would take.
_TAKEN: Final = frozenset({"new", "read", "grants", "groups", "names"})

#: What of a refusal is told on the form that was refused; anything else is a page of its own.
REFUSALS: Final = (Invalid, NotAllowed, NotFound, StaleEdit, CaseFails, Contradiction)


@dataclass(frozen=True, slots=True)
class Change:
    """What one subject gains or loses on one thing, and where."""

    who: str
    actions: tuple[str, ...]
    on: str
    on_domain: bool
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What a change gives, or takes: of how many people what is gained, and the first of it."""

    name: str
    subjects: int
    changes: tuple[Change, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a change would do, as far as its author may know; ``seal`` says which draft was shown, and when."""

    seal: str
    sides: tuple[Side, ...]
    broken: tuple[Broken, ...]
    more_broken: int
    projects: int
    complete: bool
    since: datetime
    known: int
    findings: tuple[Finding, ...]

    @property
    def nothing(self) -> bool:
        """Whether nobody gains or loses anything now."""
        return not self.sides


@dataclass(frozen=True, slots=True)
class Failing:
    """A case that the change contradicts, in words."""

    policy: str
    case: str
    says: str
    found: str


def path_of(id_: str) -> str:
    """Where a rule stands, by the id that decisions name."""
    kind, colon, name = id_.partition(":")
    if colon:
        return f"/policies/grants/{f'{kind}:' if name in _TAKEN else ''}{quote(name)}"
    return f"/policies/{'policy:' if id_ in _TAKEN else ''}{quote(id_)}"


def with_query(path: str, **query: str | None) -> str:
    """An address with what of a query says something."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path


def weighed(tried: Tried, findings: Sequence[Finding], seal: str) -> Weighed:
    """A trial as a page shows it."""
    effects = tried.effects
    sides = (("gained", effects.gained), ("lost", effects.lost), ("masked", effects.masked), ("free", effects.unmasked))
    return Weighed(
        seal=seal,
        sides=tuple(_side(name, each) for name, each in sides if each),
        broken=tuple(tried.broken[:MOST_SHOWN]),
        more_broken=max(0, len(tried.broken) - MOST_SHOWN),
        projects=len({each.wanted.project for each in tried.broken}),
        complete=tried.complete,
        since=tried.since,
        known=len(tried.seen_at),
        findings=tuple(findings),
    )


def failing_of(refused: Problem) -> tuple[Failing, ...]:
    """The cases that a refusal names."""
    listed = refused.members.get("cases") if isinstance(refused, CaseFails) else None
    return tuple(_failing(each) for each in listed) if isinstance(listed, list) else ()


def _failing(told: Mapping[str, object]) -> Failing:
    return Failing(*(str(told.get(name, "")) for name in ("policy", "case", "says", "found")))


def _side(name: str, effects: Sequence[Effect]) -> Side:
    changes = tuple(_changes(effects))
    return Side(name, len({each.subject for each in effects}), changes[:MOST_SHOWN], max(0, len(changes) - MOST_SHOWN))


def _changes(effects: Iterable[Effect]) -> Iterator[Change]:
    """Effects by whom and what they are about; what holds in several places is told once."""
    where: defaultdict[tuple[str, str, bool, str], set[str]] = defaultdict(set)
    for effect in effects:
        places = where[effect.subject, effect.resource, effect.on_domain, effect.action.value]
        said = [part for part in (effect.environment, effect.purpose, effect.project) if part]
        places.update([" · ".join(said)] if said else [])
    actions: defaultdict[tuple[str, str, bool, tuple[str, ...]], list[str]] = defaultdict(list)
    for (who, on, on_domain, action), places in sorted(where.items()):
        actions[who, on, on_domain, tuple(sorted(places))].append(action)
    for (who, on, on_domain, there), done in actions.items():
        yield Change(who, tuple(done), on, on_domain, there)
