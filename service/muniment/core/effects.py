"""What rules do: whether each is ever satisfied for somebody who is known, and ever settles anything.

Every known subject that a rule can mean is tried, in every environment, for every purpose and
project, and at every moment to come that the rule names, until it shows its effect. A rule for which
that takes too long is left unjudged: nothing here is sampled or guessed.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from cedarpy import pst

from muniment.core.decisions import Inquiry, Wanted, boundaries, context_of, scene_of
from muniment.core.moments import ticked
from muniment.core.policies import Compiled, confined_to, occasions_of
from muniment.core.realm import Realm, domain_row, row_of
from muniment.core.rules import Role, Rule
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.shelves import Shelf
from muniment.core.subjects import SubjectState

#: How often all rules together, and one alone, are asked before judging stops; a slow one counts for many.
_MOST_EFFORT = 300_000
_MOST_FOR_ONE = 20_000
_EFFORT_OF_SLOW = 200


@dataclass(slots=True)
class Effect:
    """What one rule was seen to do.

    ``means`` counts the known subjects that it can mean. Of a permit that was satisfied and
    never settled anything, ``beaten_by`` are what took it away again. ``reaches`` says whether
    there is anything that it could be about.
    """

    reaches: bool = True
    means: int = 0
    satisfied: bool = False
    effective: bool = False
    beaten_by: frozenset[str] = frozenset()
    judged: bool = True


def effects(
    realm: Realm, ids: Iterable[str], names: AbstractSet[str], states: Iterable[SubjectState], at: datetime
) -> Mapping[str, Effect]:
    """What each of some rules does to the named datasets, and to domains."""
    trial = _Trial(realm, ids, names, at)
    for state in states:
        trial.of(state)
    return trial.effects


#: A context in which a rule is asked, about data or about governing (without an environment), and when.
_Occasion = tuple[Wanted | None, datetime]


class _Trial:
    """The rules, tried on one subject after the other."""

    def __init__(self, realm: Realm, ids: Iterable[str], names: AbstractSet[str], at: datetime) -> None:
        self._realm = realm
        self._at = at
        self._told = realm.shelf.bits(names)
        self._domains = Shelf({name: domain_row(realm, name) for name in sorted(realm.domain_tree)})
        self._effort = 0
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._made = {id_: self._made_by_pattern(realm.compiled[id_]) for id_ in ids}
        self.effects = {id_: Effect(reaches=self._reaches(realm.compiled[id_])) for id_ in self._made}
        self._occasions = {id_: tuple(self._occasions_of(realm.compiled[id_])) for id_ in self._made}

    def of(self, state: SubjectState) -> None:
        """Try the rules that can mean a subject and have not shown their effect yet."""
        inquiries: dict[_Occasion, Inquiry] = {}
        above = scene_of(self._realm, state, {}).principal.above
        rules = [rule for rule in self._realm.rules_for(above) if rule.id in self.effects]
        for id_ in {rule.id for rule in rules}:
            self.effects[id_].means += 1
        for rule in rules:
            effect = self.effects[rule.id]
            if effect.reaches and effect.judged and not effect.effective:
                self._try(rule, effect, state, inquiries)

    def _try(self, rule: Rule, effect: Effect, state: SubjectState, inquiries: dict[_Occasion, Inquiry]) -> None:
        for occasion in self._occasions[rule.id]:
            wanted, moment = occasion
            if occasion not in inquiries:
                context = {"now": ticked(moment)} if wanted is None else context_of(wanted, moment)
                inquiries[occasion] = Inquiry.of(self._realm, state, context)
            for shelf, among, actions in self._places(rule, on_data=wanted is not None):
                if self._exhausted(rule):
                    effect.judged = False
                    return
                self._note(rule, effect, inquiries[occasion], shelf, among, actions)
                if effect.effective:
                    return
        if rule.policy.unsteady:
            effect.judged = False

    def _exhausted(self, rule: Rule) -> bool:
        effort = _EFFORT_OF_SLOW if rule.slow else 1
        self._effort += effort
        self._spent[rule.id] += effort
        return self._effort > _MOST_EFFORT or self._spent[rule.id] > _MOST_FOR_ONE

    def _note(
        self, rule: Rule, effect: Effect, inquiry: Inquiry, shelf: Shelf, among: int, actions: Iterable[Action]
    ) -> None:
        """Learn from one subject on one occasion: where the rule is satisfied, and whether that settles anything."""
        bits = rule.satisfied(shelf, inquiry.scene, among)[0] & among
        if not bits:
            return
        effect.satisfied = True
        if rule.role is not Role.PERMIT:
            effect.effective = True
            return
        for action in actions:
            against = {
                factor.rule.id: factor.bits
                for factor in inquiry.factors(shelf, _together(action), bits)
                if _takes_away(factor.rule, action)
            }
            left = bits
            for taken in against.values():
                left &= ~taken
            if left:
                effect.effective = True
                return
            effect.beaten_by |= against.keys()

    def _places(self, rule: Rule, *, on_data: bool) -> Iterator[tuple[Shelf, int, Sequence[Action]]]:
        """The resources that the rule may be about, and the actions on them."""
        made = self._made[rule.id]
        shelf, among = (made, made.every) if made is not None else (self._realm.shelf, self._told)
        if on_data:
            if rule.data_actions:
                yield shelf, among, rule.data_actions
            return
        governing = sorted(rule.actions.difference(DATA_ACTIONS))
        if governing:
            yield self._domains, self._domains.every, governing
        on_datasets = [action for action in governing if action is not Action.ADMINISTER]
        if on_datasets and among:
            yield shelf, among, on_datasets

    def _occasions_of(self, read: Compiled) -> Iterator[_Occasion]:
        told = occasions_of(read)
        moments = (self._at, *boundaries([read], self._at))
        confined = confined_to(read)
        if not read.actions.isdisjoint(DATA_ACTIONS):
            for environment in self._realm.environment_names:
                if confined is None or environment in confined:
                    purposes, projects = (None, *told.purposes), (None, *told.projects)
                    for moment, purpose, project in itertools.product(moments, purposes, projects):
                        yield Wanted(environment, project, purpose), moment
        if not read.actions.issubset(DATA_ACTIONS):
            yield from ((None, moment) for moment in moments)

    def _made_by_pattern(self, read: Compiled) -> Shelf | None:
        """A name that a factory pattern makes, where the rule's own head is about one."""
        match read.tree.resource:
            case pst.ScopeEq(pst.EntityUid(type_, name)) if (
                str(type_) == "Dataset" and name not in self._realm.datasets
            ):
                dataset = self._realm.resolve(name)
                return Shelf({} if dataset is None else {name: row_of(dataset)})
            case _:
                return None

    def _reaches(self, read: Compiled) -> bool:
        if not read.actions.issubset(DATA_ACTIONS):
            return True
        made = self._made[read.id]
        if made is not None:
            return bool(made.every)
        if isinstance(read.tree.resource, pst.ScopeEq):
            return bool(self._told & self._realm.shelf.bits(read.names))
        inside = self._told if read.within is None else self._realm.shelf.inside(("Domain", read.within))
        return bool(self._told & inside)


def _together(action: Action) -> Sequence[Action]:
    """The actions whose rules decide about one."""
    return DATA_ACTIONS if action in DATA_ACTIONS else (action,)


def _takes_away(rule: Rule, action: Action) -> bool:
    """Whether a rule that is satisfied takes an action away, whatever permits it."""
    match rule.role:
        case Role.FORBID:
            return action in rule.actions or (action in DATA_ACTIONS and Action.DISCOVER in rule.actions)
        case Role.OBLIGE:
            return action is Action.SAVE
        case Role.PERMIT:
            return False
