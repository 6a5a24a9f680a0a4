"""Who may do this, what may they do, and to what: a decision, asked from its other sides.

Each answer is the evaluator's own, cut to what can really be done: nobody loads or saves
what is not served or what carries an obligation for them, and a draft is known to its
stewards alone. Nothing here asks whether the reader may know of a dataset: a flow does that
first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from muniment.core.datasets import Dataset
from muniment.core.decisions import (
    Answers,
    Decision,
    Inquiry,
    Wanted,
    context_of,
    decide_each,
    decide_governing,
    list_all,
    scene_of,
)
from muniment.core.explanations import in_force
from muniment.core.names import ROOT, lineage
from muniment.core.realm import Realm, row_of
from muniment.core.rules import Role
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.shelves import Shelf
from muniment.core.subjects import SubjectState
from muniment.core.visibility import withheld

#: What is governed about a dataset: all that is governed but administering, which is done to domains.
GOVERNED_OF_DATASETS = tuple(action for action in GOVERNING_ACTIONS if action is not Action.ADMINISTER)


@dataclass(frozen=True, slots=True)
class Use:
    """Discovering, loading or saving a dataset in an environment."""

    action: Action
    dataset: Dataset
    wanted: Wanted

    @property
    def domain(self) -> str:
        """Where it is done."""
        return self.dataset.domain


@dataclass(frozen=True, slots=True)
class Governing:
    """A governing action on a dataset, or on a domain by its name."""

    action: Action
    on: Dataset | str

    @property
    def dataset(self) -> Dataset | None:
        """The dataset, where it is done to one."""
        return None if isinstance(self.on, str) else self.on

    @property
    def domain(self) -> str:
        """Where it is done."""
        return self.on if isinstance(self.on, str) else self.on.domain


Deed = Use | Governing


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a deed can really be done, and what the policies say of it; ``erring`` are obligations that err."""

    allowed: bool
    decision: Decision
    erring: tuple[str, ...] = ()


def judge_each(realm: Realm, about: SubjectState, at: datetime, deeds: Sequence[Deed]) -> tuple[Judged, ...]:
    """Judge what one subject would do, each in its place; the evaluator is asked once for all that is alike."""
    used = _used(realm, about, at, [deed for deed in deeds if isinstance(deed, Use)])
    governed = _governed(realm, about, at, [deed for deed in deeds if isinstance(deed, Governing)])
    return tuple(next(used) if isinstance(deed, Use) else next(governed) for deed in deeds)


def who_may(
    realm: Realm, known: Iterable[SubjectState], at: datetime, deed: Deed
) -> Iterator[tuple[SubjectState, Decision]]:
    """Those of the subjects who may do it, in their order, with what settled it.

    Most are told apart by few rules: those that can reach what it is about. Whoever these let
    do it is then judged as everywhere.
    """
    found = _who_uses(realm, known, at, deed) if isinstance(deed, Use) else _who_is_meant(realm, known, deed)
    for about in found:
        (judged,) = judge_each(realm, about, at, [deed])
        if judged.allowed:
            yield about, judged.decision


def permitted(realm: Realm, about: SubjectState, action: Action, decision: Decision) -> str:
    """What an allowed decision says to a person."""
    reasons = {id_: policy.reason for id_ in decision.because if (policy := realm.policy(id_))}
    named = ", ".join(f"{id_} ({reasons[id_]})" if reasons.get(id_) else id_ for id_ in decision.because)
    return f"{about.subject} may {action} it: permitted by {named}"


def datasets_used(realm: Realm, about: SubjectState, at: datetime, wanted: Wanted, action: Action) -> tuple[str, ...]:
    """The names of the datasets that a subject may discover, load or save in an environment, sorted."""
    listing = list_all(realm, about, wanted, at)
    if action is Action.DISCOVER:
        names = listing.names(action)
    else:
        names = tuple(sorted(name for name, actions in listing.usable() if action in actions))
    return tuple(name for name in names if not withheld(realm, about, at, realm.datasets[name], wanted, action))


def _used(realm: Realm, about: SubjectState, at: datetime, uses: Sequence[Use]) -> Iterator[Judged]:
    asked: defaultdict[Wanted, dict[str, Dataset]] = defaultdict(dict)
    for use in uses:
        asked[use.wanted][use.dataset.name] = use.dataset
    decided = {
        (wanted, name): each
        for wanted, datasets in asked.items()
        for name, each in zip(datasets, decide_each(realm, about, wanted, at, list(datasets.values())), strict=True)
    }
    for use in uses:
        found = decided[use.wanted, use.dataset.name]
        decision = in_force(found, use.action)
        allowed = decision.allowed and not withheld(realm, about, at, use.dataset, use.wanted, use.action)
        yield Judged(allowed, decision, found.erring)


def _governed(realm: Realm, about: SubjectState, at: datetime, deeds: Sequence[Governing]) -> Iterator[Judged]:
    asked: defaultdict[Action, list[Dataset | str]] = defaultdict(list)
    for deed in deeds:
        asked[deed.action].append(deed.on)
    answers = {
        action: iter(_decided_governing(realm, about, at, action, resources)) for action, resources in asked.items()
    }
    for deed in deeds:
        decision = next(answers[deed.action])
        yield Judged(decision.allowed, decision)


def _decided_governing(
    realm: Realm, about: SubjectState, at: datetime, action: Action, resources: Sequence[Dataset | str]
) -> tuple[Decision, ...]:
    """The decisions on each; who administers all administers every domain (``visibility.administers``)."""
    decisions = decide_governing(realm, about, action, resources, at)
    if action is Action.ADMINISTER:
        (everywhere,) = decide_governing(realm, about, action, [ROOT], at)
        if everywhere.allowed:
            return (everywhere,) * len(decisions)
    return decisions


def _who_uses(realm: Realm, known: Iterable[SubjectState], at: datetime, use: Use) -> Iterator[SubjectState]:
    """Those whom the rules that can reach a dataset let use it."""
    shelf = Shelf({use.dataset.name: row_of(use.dataset)})
    rules = [
        rule
        for each in realm.rules.values()
        for rule in each
        if rule.data_actions and (rule.ordered or rule.reach(shelf))
    ]
    context = context_of(use.wanted, at)
    for about in known:
        scene = scene_of(realm, about, context)
        above = scene.principal.above
        mine = [rule for rule in rules if rule.anchors is None or not rule.anchors.isdisjoint(above)]
        if any(rule.role is Role.PERMIT for rule in mine):
            answers = Answers.of(Inquiry(scene, mine), shelf)
            bound = 0 if use.action is Action.DISCOVER else answers.obliged
            if answers.of_action(use.action) & ~bound:
                yield about


def _who_is_meant(realm: Realm, known: Iterable[SubjectState], deed: Governing) -> Iterator[SubjectState]:
    """Those whom some permit of the action in that domain, or above it, can concern."""
    above = frozenset({None, *lineage(deed.domain)})
    meant = [
        rule.anchors
        for each in realm.rules.values()
        for rule in each
        if rule.role is Role.PERMIT and deed.action in rule.actions and rule.policy.within in above
    ]
    for about in known:
        own = {(about.subject.kind.entity_type, about.subject.id)}
        entities = own | {("Group", group) for group in realm.all_groups_of(about)}
        if any(anchors is None or not anchors.isdisjoint(entities) for anchors in meant):
            yield about
