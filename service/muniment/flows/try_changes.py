"""A steward sees what changes would do before they are made: who gains, who loses, which runs would have failed.

Nothing is changed. Whoever may not make the changes may not try them either: a trial
tells who may do what. And it tells that only of what its author may oversee: of datasets
that they may know of, where they grant, audit or administer. The rest leaves no trace.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from muniment.core.consequences import Consequences, Effect, circumstances, consequences, topmost
from muniment.core.decisions import EVALUATOR
from muniment.core.ledger import Event, Outcome, row
from muniment.core.lint import Finding, Seen, lint
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.problems import Problem, Unavailable
from muniment.core.realm import Realm
from muniment.core.rulebook import all_readable, tellable
from muniment.core.runs import Broken, Ending, broken, ending
from muniment.core.visibility import find_each, known, readable_scopes
from muniment.flows.change_realm import Edit, Judge, Judged, Planner, judge_one, told_of
from muniment.flows.change_together import Together, check_versions, judge_of
from muniment.flows.house import House, aside
from muniment.store import runs, subjects
from muniment.store.runs import Recorded
from muniment.store.subjects import Known

#: What ends within this time ends soon.
_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Tried:
    """What changes would do to the realm at a revision, as far as their author may know: it was told to them alone.

    ``seen_at`` says how old the knowledge of each subject is; ``since`` from when on runs were
    looked at, not all of them if ``complete`` is false; ``findings`` what would be doubtful about a rule, where
    the change is of one. ``judged`` is told to nobody: by it the changes are made just as they were tried.
    """

    author: str
    revision: int
    edits: Sequence[Edit]
    effects: Consequences
    broken: Sequence[Broken]
    ending: Sequence[Ending]
    seen_at: Mapping[str, datetime]
    since: datetime
    complete: bool
    judged: Judged
    findings: Sequence[Finding] = ()


async def try_changes(house: House, occasion: Occasion, together: Together, days: int) -> Tried:
    """What the changes would do now; ``days`` is how far back recorded runs are held against them.

    Written down before the ledger is asked for those runs: reading it is a part of the answer.
    """

    async def judge() -> Judge:
        return await judge_of(house, occasion, together)

    return (await _try(house, occasion, judge, days)).tried


async def try_change(house: House, occasion: Occasion, plan_of: Planner, days: int) -> Tried:
    """The same of one change, and what would be doubtful about the rules that it writes."""

    async def judge() -> Judge:
        return judge_at

    def judge_at(before: Realm) -> Judged:
        judged = judge_one(house.types, before, occasion, plan_of)
        check_versions(before, judged.plan.edits)
        return judged

    found = await _try(house, occasion, judge, days)
    return replace(found.tried, findings=await aside(lambda: _findings(found.tried.judged, occasion, found.seen)))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial, and who was known at it."""

    tried: Tried
    seen: Sequence[Known]


async def _try(house: House, occasion: Occasion, judging: Callable[[], Awaitable[Judge]], days: int) -> _Trial:
    realm = await house.realms.current()
    try:
        judge = await judging()
        judged = await aside(lambda: judge(realm))
        async with house.db.begin() as tx:
            seen = await subjects.newest(tx)
        effects = await aside(lambda: _effects(judged, occasion, seen))
    except Unavailable:
        raise
    except Problem as refused:
        details = told_of(refused)
        await house.ledger.record(
            row(occasion, Event.CHANGE_TRIED, Outcome.DENIED, revision=realm.revision, details=details)
        )
        raise
    await house.ledger.record(
        row(
            occasion,
            Event.CHANGE_TRIED,
            Outcome.ALLOWED,
            revision=realm.revision,
            datasets=judged.plan.datasets,
            policies=judged.plan.policies,
            evaluator=EVALUATOR,
            details={
                **judged.plan.details,
                "days": days,
                "gained": len(effects.gained),
                "lost": len(effects.lost),
            },
        )
    )
    since = occasion.at - timedelta(days=days)
    async with house.db.begin() as tx:
        recorded = await runs.since(tx, since)
    tried = Tried(
        author=str(occasion.subject),
        revision=realm.revision,
        edits=judged.plan.edits,
        effects=effects,
        broken=await aside(lambda: _broken(judged, occasion, recorded)),
        ending=await aside(lambda: _ending(judged, occasion, recorded)),
        seen_at={str(each.state.subject): each.seen_at for each in seen},
        since=since,
        complete=recorded.complete,
        judged=judged,
    )
    return _Trial(tried, seen)


def _findings(judged: Judged, occasion: Occasion, seen: Sequence[Known]) -> tuple[Finding, ...]:
    """What would be doubtful about the rules that the change writes, among those that its author reads."""
    after, at = judged.after, occasion.at
    if after.compiled.keys().isdisjoint(judged.plan.policies):
        return ()
    rules = all_readable(after, occasion.asker, at)
    written = frozenset(judged.plan.policies) & rules.keys()
    if not written:
        return ()
    states = Seen([each.state for each in seen], {}, {}, at)
    return lint(after, at, rules, tellable(after, occasion.asker, at), states, at + _SOON, written).findings


def _effects(judged: Judged, occasion: Occasion, seen: Sequence[Known]) -> Consequences:
    """What of the consequences the author may be told."""
    before, after = judged.before, judged.after
    states = [each.state for each in seen]
    judged.check_administrator_left(states, occasion)
    found = consequences(before, after, states, circumstances(before, after), occasion.at)
    eyes = _Eyes(judged, occasion, set(_names(found)))
    return Consequences(*(topmost(filter(eyes.see, effects)) for effects in _sides(found)))


def _broken(judged: Judged, occasion: Occasion, recorded: Recorded) -> Sequence[Broken]:
    """The recorded runs that would have failed, as far as the author may be told of their datasets."""
    found = broken(judged.before, judged.after, recorded.runs, occasion.at)
    eyes = _Eyes(judged, occasion, {each.dataset for each in found})
    return [each for each in found if eyes.see_dataset(each.dataset)]


def _ending(judged: Judged, occasion: Occasion, recorded: Recorded) -> Sequence[Ending]:
    """The projects that use what would be deprecated or retired, as far as the author may be told who uses that."""
    found = ending(judged.before, judged.after, recorded.runs, occasion.at)
    eyes = _Eyes(judged, occasion, {each.dataset for each in found})
    return [each for each in found if eyes.see_dataset(each.dataset)]


def _names(found: Consequences) -> Iterable[str]:
    return (effect.resource for effects in _sides(found) for effect in effects if not effect.on_domain)


def _sides(found: Consequences) -> tuple[Sequence[Effect], ...]:
    return found.gained, found.lost, found.masked, found.unmasked


class _Eyes:
    """Of which domains and datasets the author may be told who may do what.

    What stood before is judged as it stood, so that no trial opens what the change would
    open; what the author declares in the same change is theirs to know.
    """

    def __init__(self, judged: Judged, occasion: Occasion, names: AbstractSet[str]) -> None:
        before, after = judged.before, judged.after
        asker, at = occasion.asker, occasion.at
        standing = names & before.datasets.keys()
        declared = names & {edit.change.key for edit in judged.plan.edits} - standing
        self._known = {
            *known(before, asker, at, before.environment_names, standing),
            *_found(before, occasion, names - standing),
            *_found(after, occasion, declared),
        }
        domains = before.domain_tree | after.domain_tree | {domain_of(name) for name in names}
        self._readable = readable_scopes(before, asker, at, domains)

    def see(self, effect: Effect) -> bool:
        """Whether the author may be told of an effect."""
        return effect.scope in self._readable and (effect.on_domain or effect.resource in self._known)

    def see_dataset(self, name: str) -> bool:
        """Whether the author may be told who uses a dataset."""
        return name in self._known and domain_of(name) in self._readable


def _found(realm: Realm, occasion: Occasion, names: AbstractSet[str]) -> Iterable[str]:
    found = find_each(realm, occasion.asker, occasion.at, sorted(names)) if names else {}
    return (name for name, dataset in found.items() if dataset is not None)
