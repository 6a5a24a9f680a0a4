"""What was run, as the ledger knows it, and what of it a change would break.

A run says before its first node what it will load and save, and a project asks for the
catalog of the names that it uses. Both are recorded, so a change can be held against
them: by the same evaluator, for the same subject as it was known then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from muniment.core.consequences import NOTHING, Difference, Use, uses
from muniment.core.datasets import Lifecycle
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedIn:
    """That a project uses a dataset in an environment, as the ledger knows it, and by how many subjects.

    ``leased`` is when it was last given the dataset by its name, ``checked`` when a run last asked and might begin,
    ``used`` when a client last said that it was loaded or saved, under a lease that its subject was given.
    """

    dataset: str
    project: str | None
    environment: str | None
    subjects: frozenset[str]
    leased: datetime | None = None
    checked: datetime | None = None
    used: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsingProject:
    """A project that uses a dataset, or what a factory pattern makes: under which names, by whom, and where."""

    project: str | None
    datasets: tuple[str, ...]
    subjects: frozenset[str]
    environments: tuple[UsedIn, ...]


def projects_of(found: Iterable[UsedIn], dataset: str) -> tuple[UsingProject, ...]:
    """What is used by project, in the order of their names, and of each by environment; no project comes first."""
    by_project: defaultdict[str, list[UsedIn]] = defaultdict(list)
    for use in found:
        by_project[use.project or ""].append(use)
    return tuple(
        UsingProject(
            project or None,
            tuple(sorted({each.dataset for each in within})),
            frozenset[str]().union(*(each.subjects for each in within)),
            _by_environment(within, dataset),
        )
        for project, within in sorted(by_project.items())
    )


def _by_environment(found: Iterable[UsedIn], dataset: str) -> tuple[UsedIn, ...]:
    together: dict[str, UsedIn] = {}
    for use in found:
        environment = use.environment or ""
        merged = _together(together[environment], use) if environment in together else use
        together[environment] = replace(merged, dataset=dataset)
    return tuple(together[environment] for environment in sorted(together))


def _together(one: UsedIn, other: UsedIn) -> UsedIn:
    return replace(
        one,
        subjects=one.subjects | other.subjects,
        leased=_later(one.leased, other.leased),
        checked=_later(one.checked, other.checked),
        used=_later(one.used, other.used),
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


@dataclass(frozen=True, slots=True)
class Ending:
    """A project whose runs use a dataset that a change deprecates or retires; ``at`` is the last of them."""

    dataset: str
    lifecycle: Lifecycle
    wanted: Wanted
    subjects: frozenset[str]
    at: datetime


def ending(before: Realm, after: Realm, runs: Sequence[Run], at: datetime) -> tuple[Ending, ...]:
    """Which recorded runs use what the change deprecates or retires, the latest first."""
    changed = {
        name: dataset.lifecycle
        for name, dataset in after.datasets.items()
        if dataset.lifecycle in _ENDING and name in before.datasets and before.datasets[name].served
        if before.datasets[name].lifecycle is not dataset.lifecycle
    }
    found: dict[tuple[str, Wanted], Ending] = {}
    for run in runs if changed else ():
        names = frozenset(name for name in run.names if before.source_of(name) in changed)
        given = uses(before, run.state, run.wanted, at, names) if names else {}
        for name in names:
            if _USING & given.get(name, NOTHING).actions:
                lifecycle = changed[before.source_of(name) or name]
                subject = frozenset({str(run.state.subject)})
                stands = found.get((name, run.wanted), Ending(name, lifecycle, run.wanted, subject, run.at))
                later = replace(stands, subjects=stands.subjects | subject, at=max(stands.at, run.at))
                found[name, run.wanted] = later
    return tuple(sorted(found.values(), key=lambda each: (-each.at.timestamp(), each.dataset, repr(each.wanted))))


#: What ends a dataset, at once or in good time; and the uses of which that is told.
_ENDING = frozenset({Lifecycle.DEPRECATED, Lifecycle.RETIRED})
_USING = frozenset({Action.LOAD, Action.SAVE})


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
