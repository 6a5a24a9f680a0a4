"""What changes would do to people and projects, as a page shows it before anything is saved.

Whoever saves saves what they were shown. :func:`seal` stands for it in the form; if the same changes would do
something else by then (:func:`save`), the page is shown anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from muniment.core.bodies import body_of, word_of
from muniment.core.consequences import Effect
from muniment.core.occasions import Occasion
from muniment.core.problems import StaleEdit
from muniment.core.runs import Broken, Ending
from muniment.flows.apply_changes import apply_changes
from muniment.flows.change_together import Together
from muniment.flows.house import House
from muniment.flows.try_changes import Tried, try_changes
from muniment.web.typed import Reading

#: How far back recorded runs are held against a change.
DAYS: Final = 30

#: How many lines of each kind stand on a page.
_MOST: Final = 50


@dataclass(frozen=True)
class Line:
    """One subject, one dataset or domain, and what becomes of it: each action with where it is done."""

    subject: str
    resource: str
    on_domain: bool
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """What is gained, or lost: the first lines, of how many subjects, and how many lines are not shown."""

    name: str
    lines: tuple[Line, ...]
    subjects: int
    further: int


@dataclass(frozen=True)
class Foreseen:
    """Everything that changes would do, as far as whoever makes them may know."""

    sides: tuple[Side, ...]
    broken: Sequence[Broken]
    further_broken: int
    ending: Sequence[Ending]
    further_ending: int
    since: datetime
    complete: bool
    known: int
    seen_at: datetime | None
    revision: int
    seal: str

    @property
    def nothing(self) -> bool:
        """Whether nobody gains or loses anything, and no run is concerned."""
        return not (self.sides or self.broken or self.ending)


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
        since=tried.since,
        complete=tried.complete,
        known=len(tried.seen_at),
        seen_at=min(tried.seen_at.values(), default=None),
        revision=tried.revision,
        seal=seal(tried),
    )


def seal(tried: Tried) -> str:
    """What stands for these very changes and all that they do; when somebody was last seen is not part of it."""
    effects = tried.effects
    said: list[object] = [effects.gained, effects.lost, effects.masked, effects.unmasked]
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
    tried = await try_changes(house, occasion.beside("tried"), together, DAYS)
    if seal(tried) != sealed:
        return tried
    try:
        await apply_changes(house, occasion, together, tried.revision)
    except StaleEdit as stale:
        if "revision" not in stale.members:
            raise
        return await try_changes(house, occasion.beside("tried again"), together, DAYS)
    return None


def _side(name: str, effects: Iterable[Effect]) -> Side:
    by_place: dict[tuple[str, str, bool], list[Effect]] = {}
    for effect in effects:
        by_place.setdefault((effect.subject, effect.resource, effect.on_domain), []).append(effect)
    lines = [Line(*place, _actions(found)) for place, found in sorted(by_place.items())]
    subjects = {subject for subject, _, _ in by_place}
    return Side(name, tuple(lines[:_MOST]), len(subjects), max(0, len(lines) - _MOST))


def _actions(effects: Iterable[Effect]) -> tuple[tuple[str, str], ...]:
    """Each action, and the environments, purposes and projects in which it is done; nowhere of governing ones."""
    found: dict[str, list[str]] = {}
    for effect in effects:
        where = [effect.environment, effect.purpose, effect.project]
        found.setdefault(effect.action.value, []).append(" · ".join(filter(None, where)))
    return tuple((action, ", ".join(filter(None, dict.fromkeys(where)))) for action, where in found.items())
