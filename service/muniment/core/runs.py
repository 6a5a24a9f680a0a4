"""What was run, as the ledger knows it, and what of it a change would break.

A run says before its first node what it will load and save, and a project asks for the
catalog of the names that it uses. Both are recorded, so a change can be held against
them: by the same evaluator, for the same subject as it was known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from muniment.core.consequences import NOTHING, Difference, Use, uses
from muniment.core.decisions import Wanted
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState


@dataclass(frozen=True, slots=True)
class Run:
    """Equal runs of one subject, in one environment, for one project and purpose.

    ``load`` and ``save`` are what was asked for and granted. Of ``used`` it is not known
    what was done with it. ``at`` is when this was last seen, ``times`` how often.
    """

    state: SubjectState
    wanted: Wanted
    load: frozenset[str]
    save: frozenset[str]
    used: frozenset[str]
    at: datetime
    times: int

    @property
    def names(self) -> frozenset[str]:
        """Everything that it needs."""
        return self.load | self.save | self.used


@dataclass(frozen=True, slots=True)
class Broken:
    """What recorded runs of a subject needed and would no longer get: ``at`` is the last one, ``times`` how many."""

    subject: str
    wanted: Wanted
    action: Action
    dataset: str
    at: datetime
    times: int


def broken(before: Realm, after: Realm, runs: Iterable[Run], at: datetime) -> tuple[Broken, ...]:
    """What the change takes from recorded runs, the latest first.

    Both realms are asked as of ``at``: what had ended already is not the change's doing.
    """
    difference = Difference(before, after)
    found: dict[tuple[str, Wanted, Action, str], Broken] = {}
    for run in runs:
        names = difference.told_apart(run.state, run.names)
        then, now = (uses(realm, run.state, run.wanted, at, names) for realm in (before, after))
        for name in names:
            for action in _taken(run, name, then.get(name, NOTHING), now.get(name, NOTHING)):
                taken = Broken(str(run.state.subject), run.wanted, action, name, run.at, run.times)
                key = (taken.subject, taken.wanted, action, name)
                found[key] = _merged(found[key], taken) if key in found else taken
    return tuple(sorted(found.values(), key=_order))


def _taken(run: Run, name: str, was: Use, became: Use) -> Sequence[Action]:
    lost = was.actions - became.actions
    taken = {action for action, names in ((Action.LOAD, run.load), (Action.SAVE, run.save)) if name in names} & lost
    usable = {Action.LOAD, Action.SAVE}
    if name in run.used and usable.isdisjoint(became.actions):
        taken |= usable & lost
    return sorted(taken)


def _merged(one: Broken, other: Broken) -> Broken:
    """One run is recorded when its catalog is asked for and again when it begins, so it is not counted twice."""
    return replace(one, at=max(one.at, other.at), times=max(one.times, other.times))


def _order(broken_: Broken) -> tuple[float, str, str, str]:
    return (-broken_.at.timestamp(), broken_.dataset, broken_.subject, broken_.action)
