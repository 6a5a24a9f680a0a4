"""What changes would do to people and projects, as a page shows it before anything is saved.

Whoever saves saves what they were shown. :func:`seal` stands for it in the form: for who was shown it, for the very
changes, and for all that they do. Where the same changes would do something else by then (:func:`made_as_seen`), the
page is shown anew.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from muniment.core.bodies import body_of, word_of
from muniment.core.consequences import Effect
from muniment.core.lint import Finding
from muniment.core.occasions import Occasion
from muniment.core.problems import StaleEdit
from muniment.core.runs import Broken, Ending
from muniment.flows.apply_changes import apply_as_tried
from muniment.flows.change_together import Together
from muniment.flows.house import House
from muniment.flows.try_changes import Tried, try_changes
from muniment.web.typed import Reading

#: How far back recorded runs are held against a change.
DAYS: Final = 30

#: How many lines of each kind stand on a page.
_MOST: Final = 50

#: What is better for those whom it is about.
_GOOD: Final = frozenset({"gained", "unmasked", "governing_gained"})


@dataclass(frozen=True)
class Line:
    """What one subject gains or loses of one dataset or domain, and where: nowhere in particular is everywhere."""

    subject: str
    actions: tuple[str, ...]
    resource: str
    on_domain: bool
    where: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """What is gained, or lost: the first lines, of how many subjects, and how many lines are not shown."""

    name: str
    lines: tuple[Line, ...]
    subjects: int
    further: int

    @property
    def good(self) -> bool:
        """Whether those whom it is about have more by it."""
        return self.name in _GOOD


@dataclass(frozen=True)
class Foreseen:
    """Everything that changes would do, as far as whoever makes them may know."""

    sides: tuple[Side, ...]
    broken: Sequence[Broken]
    further_broken: int
    ending: Sequence[Ending]
    further_ending: int
    findings: Sequence[Finding]
    since: datetime
    complete: bool
    known: int
    seal: str

    @property
    def nothing(self) -> bool:
        """Whether nobody gains or loses anything now."""
        return not self.sides


def foreseen(tried: Tried) -> Foreseen:
    """What was tried, for a page."""
    effects = tried.effects
    sides = (
        _side("gained", (each for each in effects.gained if not each.governing)),
        _side("lost", (each for each in effects.lost if not each.governing)),
        _side("masked", effects.masked),
        _side("unmasked", effects.unmasked),
        _side("governing_gained", (each for each in effects.gained if each.governing)),
        _side("governing_lost", (each for each in effects.lost if each.governing)),
    )
    return Foreseen(
        sides=tuple(side for side in sides if side.lines),
        broken=tried.broken[:_MOST],
        further_broken=max(0, len(tried.broken) - _MOST),
        ending=tried.ending[:_MOST],
        further_ending=max(0, len(tried.ending) - _MOST),
        findings=tried.findings,
        since=tried.since,
        complete=tried.complete,
        known=len(tried.seen_at),
        seal=seal(tried),
    )


def seal(tried: Tried) -> str:
    """What stands for these very changes, for all that they do, and for whoever was shown it.

    When somebody was last seen is not part of it, nor is the revision: what else was changed meanwhile matters only
    where these changes do something else by it.
    """
    effects = tried.effects
    said: list[object] = [tried.author, effects.gained, effects.lost, effects.masked, effects.unmasked]
    said.append([(each.subject, each.wanted, each.action, each.dataset) for each in tried.broken])
    said.append([(each.dataset, each.lifecycle, each.wanted, sorted(each.subjects)) for each in tried.ending])
    for edit in tried.edits:
        noun = edit.change.after
        said.append([word_of(edit.change.kind), edit.change.key, edit.after_version, noun and body_of(noun)])
    return hashlib.sha256(repr(said).encode()).hexdigest()


def reason_in(fields: Mapping[str, str]) -> str:
    """Why somebody makes a change, as a form says it; raises :class:`Invalid`."""
    reading = Reading(fields)
    reason = reading.line("reason")
    reading.check()
    return reason


async def look(house: House, occasion: Occasion, together: Together) -> Tried:
    """What the changes would do now."""
    return await try_changes(house, occasion.beside("looked"), together, DAYS)


async def save(house: House, occasion: Occasion, together: Together, sealed: str) -> Tried | None:
    """Make the changes, if they still do what was seen; else nothing is made, and here is what they would do now."""

    async def tried_again(beside: str) -> Tried:
        return await try_changes(house, occasion.beside(beside), together, DAYS)

    async def made(tried: Tried) -> None:
        await apply_as_tried(house, occasion, tried.judged)

    return await made_as_seen(tried_again, made, sealed)


async def made_as_seen(
    try_it: Callable[[str], Awaitable[Tried]], make_it: Callable[[Tried], Awaitable[object]], sealed: str
) -> Tried | None:
    """Make a change, at the revision at which it was tried once more, if it does what was sealed.

    Else nothing is made, and here is what it would do now. ``try_it`` takes what its occasion is called beside the
    change's own; ``make_it`` takes the trial. Raises :class:`StaleEdit` where the very thing was changed meanwhile.
    """
    tried = await try_it("tried")
    if seal(tried) != sealed:
        return tried
    try:
        await make_it(tried)
    except StaleEdit as stale:
        if "revision" not in stale.members:
            raise
        return await try_it("tried again")
    return None


def _side(name: str, effects: Iterable[Effect]) -> Side:
    listed = tuple(effects)
    lines = tuple(_lines(listed))
    return Side(name, lines[:_MOST], len({each.subject for each in listed}), max(0, len(lines) - _MOST))


def _lines(effects: Iterable[Effect]) -> Iterator[Line]:
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
        yield Line(who, tuple(done), on, on_domain, there)
