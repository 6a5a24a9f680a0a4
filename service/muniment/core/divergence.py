"""Where a change divides two realms: for whom, and about which datasets, they decide differently.

Two realms can only differ where a changed rule reaches, or about a dataset that changed. So
all other rules are looked at there alone; and subjects whom none of those rules can tell
apart are decided on once, together. The cost grows with what the change touches and with the
kinds of subjects, not with subjects × datasets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain

from cedarpy import pst

from muniment.core.conditions import Scene
from muniment.core.datasets import Dataset
from muniment.core.decisions import NO_ANSWERS, Answers, Inquiry, Wanted, context_of, satisfied, scene_of
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group, ancestors, is_builtin
from muniment.core.policies import Policy
from muniment.core.realm import Change, Noun, Realm
from muniment.core.rules import KINDS, Rule
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.shelves import MISSING, Uid, Value
from muniment.core.subjects import SubjectState


@dataclass(frozen=True, slots=True)
class Divergence:
    """Subjects who are decided on alike, a circumstance, and the datasets on which the realms differ for them there.

    ``obliged`` are those that come under an obligation or out of it; what an obligation
    demands is not compared.
    """

    subjects: tuple[SubjectState, ...]
    wanted: Wanted
    gained: Mapping[Action, frozenset[str]]
    lost: Mapping[Action, frozenset[str]]
    obliged: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """All the datasets on which the realms differ for these subjects."""
        return frozenset().union(*self.gained.values(), *self.lost.values(), self.obliged)


def divergences(
    before: Realm, after: Realm, states: Iterable[SubjectState], wanted: Sequence[Wanted], at: datetime
) -> Iterator[Divergence]:
    """Where the second realm, which a change made of the first, decides otherwise on data for these subjects."""
    comparison = Comparison(before, after)
    for alike in comparison.kinds(states):
        for each in wanted:
            found = comparison.compared(alike, each, at)
            if found is not None:
                yield found


class Comparison:
    """Two realms, the second made of the first, and what may divide them.

    ``also`` are datasets of which something else changed than what policies read: subjects
    whom a rule about those can concern are among the :meth:`kinds` too.
    """

    def __init__(self, before: Realm, after: Realm, also: frozenset[str] = frozenset()) -> None:
        self._also = also
        self._before = before
        self._after = after = _made_of(before, after)
        #: Whether even unchanged rules may decide otherwise: groups lie in one another otherwise, or Cedar knows
        #: other domains.
        self._everywhere = before.group_tree is not after.group_tree or (
            before.standing is not after.standing and any(rule.slow for rules in after.rules.values() for rule in rules)
        )

    @cached_property
    def _changed(self) -> frozenset[str]:
        """The datasets of which policies read something else, on one side only among them."""
        old, new = self._before.datasets, self._after.datasets
        if old is new:
            return frozenset()
        names = {name for name in old.keys() | new.keys() if old.get(name) is not new.get(name)}
        return frozenset(
            name for name in names if name not in old or name not in new or old[name].access != new[name].access
        )

    @cached_property
    def _touched(self) -> tuple[tuple[_Rules, _Rules], ...]:
        """The rules about data that changed, as they were and as they are."""
        old, new = self._before.rules, self._after.rules
        if old is new:
            return ()
        ids = sorted(id_ for id_ in old.keys() | new.keys() if old.get(id_) is not new.get(id_))
        pairs = ((_about_data(old.get(id_, ())), _about_data(new.get(id_, ()))) for id_ in ids)
        return tuple((was, became) for was, became in pairs if was or became)

    @cached_property
    def _among(self) -> int:
        """Where unchanged datasets may be decided on otherwise."""
        if self._everywhere:
            return self._unchanged
        bits = 0
        for old, new in self._touched:
            for rules, realm in ((old, self._before), (new, self._after)):
                for rule in rules:
                    bits |= rule.reach(realm.shelf)
        return bits & self._unchanged

    @cached_property
    def _unchanged(self) -> int:
        gone = self._before.shelf.bits(self._changed) | self._after.shelf.bits(self._changed)
        return self._before.shelf.every & ~gone

    @cached_property
    def _lasting(self) -> tuple[Rule, ...]:
        """The rules about data that are the same on both sides."""
        old, new = self._before.rules, self._after.rules
        same = (rules for id_, rules in old.items() if new.get(id_) is rules)
        return tuple(rule for rules in same for rule in rules if rule.data_actions)

    @cached_property
    def _beside(self) -> _Posted:
        """Those of the lasting rules that decide together with the touched ones."""
        shelf = self._before.shelf
        return _Posted(rule for rule in self._lasting if rule.reach(shelf) & self._among)

    @cached_property
    def _looked_at(self) -> frozenset[str]:
        return self._changed | self._also

    @cached_property
    def _around(self) -> tuple[_Posted, _Posted]:
        """The rules of each realm that reach a changed dataset as it is there."""
        old, new = (
            _Posted(
                rule
                for rules in (realm.rules.values() if self._looked_at else ())
                for rule in rules
                if rule.data_actions and rule.reach(realm.shelf) & realm.shelf.bits(self._looked_at)
            )
            for realm in (self._before, self._after)
        )
        return old, new

    @cached_property
    def _new(self) -> Sequence[Rule]:
        """The rules by which anything may be decided otherwise."""
        touched = (rule for pair in self._touched for rules in pair for rule in rules)
        return list(dict.fromkeys([*touched, *self._around[0], *self._around[1]]))

    @cached_property
    def _rules(self) -> Sequence[Rule]:
        """All rules by which subjects can be told apart."""
        return list(dict.fromkeys([*(self._lasting if self._everywhere else self._beside), *self._new]))

    def kinds(self, states: Iterable[SubjectState]) -> Iterator[tuple[SubjectState, ...]]:
        """The subjects whom the change may concern, those together whom nothing that decides can tell apart."""
        concerned: list[SubjectState] = []
        for state in states:
            if self._moved(state):
                yield (state,)
            else:
                concerned.append(state)
        if not self._everywhere:
            concerned = list(self._meant(concerned))
        kinds: defaultdict[Hashable, list[SubjectState]] = defaultdict(list)
        if concerned:
            tellings = [_Telling(realm, self._rules, self._owners) for realm in self._sides]
            for state in concerned:
                kinds[tuple(telling.key(state) for telling in tellings)].append(state)
        yield from map(tuple, kinds.values())

    @cached_property
    def _owners(self) -> frozenset[Uid]:
        """The owners of all that may be decided otherwise, on either side."""
        owners: frozenset[Uid] = frozenset()
        for realm in (self._before, self._after):
            shelf = realm.shelf
            among = shelf.every if self._everywhere else self._among | shelf.bits(self._looked_at)
            owners |= shelf.entities("owner", among)
        return owners

    @cached_property
    def _sides(self) -> tuple[Realm, ...]:
        """The realms in which subjects may be in other groups; one where both say the same."""
        return (self._before,) if self._before.groups is self._after.groups else (self._before, self._after)

    def _meant(self, states: Sequence[SubjectState]) -> Iterable[SubjectState]:
        """Those of the subjects whom a rule can concern by which anything may be decided otherwise."""
        anchors = _anchors_of(self._new)
        if anchors is None or not anchors:
            return () if anchors is not None else states
        return filter(_Among(self._before, anchors).above, states)

    def _moved(self, state: SubjectState) -> bool:
        if self._before.groups is self._after.groups:
            return False
        return self._before.groups_of(state) != self._after.groups_of(state)

    def compared(self, alike: Sequence[SubjectState], wanted: Wanted, at: datetime) -> Divergence | None:
        """What the realms decide otherwise for subjects of a kind, if anything."""
        one = alike[0]
        context = context_of(wanted, at)
        if self._everywhere or self._moved(one):
            then, now = (self._whole(realm, one, context) for realm in (self._before, self._after))
        else:
            then, now = self._partly(scene_of(self._before, one, context))
        gained, lost, obliged = self._named(then, now)
        self._add(gained, lost, obliged, one, context)
        if not (any(gained.values()) or any(lost.values()) or obliged):
            return None
        frozen = [{action: frozenset(found) for action, found in each.items() if found} for each in (gained, lost)]
        return Divergence(tuple(alike), wanted, frozen[0], frozen[1], frozenset(obliged))

    def _whole(self, realm: Realm, one: SubjectState, context: Mapping[str, Value]) -> Answers:
        """What one realm answers about all unchanged datasets."""
        return Answers.of(Inquiry.of(realm, one, context), realm.shelf, self._unchanged)

    def _partly(self, scene: Scene) -> tuple[Answers, Answers]:
        """What both realms answer where a touched rule makes a difference: the others are asked once."""
        old, new = self._before.shelf, self._after.shelf
        above = scene.principal.above
        was = [list(_concerning(pair[0], above)) for pair in self._touched]
        became = [list(_concerning(pair[1], above)) for pair in self._touched]
        among = 0
        for rules, others in zip(was, became, strict=True):
            bits = satisfied(rules, old, scene, self._among), satisfied(others, new, scene, self._among)
            for number in range(len(KINDS)):
                among |= bits[0][number] ^ bits[1][number]
        if not among:
            return NO_ANSWERS, NO_ANSWERS
        common = satisfied(self._beside.concerning(above), old, scene, among)
        then = satisfied(chain.from_iterable(was), old, scene, among)
        now = satisfied(chain.from_iterable(became), new, scene, among)
        return Answers.composed(_both(common, then), among), Answers.composed(_both(common, now), among)

    def _named(self, then: Answers, now: Answers) -> tuple[_Names, _Names, set[str]]:
        names = self._before.shelf.names
        pairs = {action: (then.of_action(action), now.of_action(action)) for action in DATA_ACTIONS}
        gained = {action: set(names(new & ~old)) for action, (old, new) in pairs.items()}
        lost = {action: set(names(old & ~new)) for action, (old, new) in pairs.items()}
        return gained, lost, set(names((then.obliged ^ now.obliged) & then.load & now.load))

    def _add(
        self,
        gained: _Names,
        lost: _Names,
        obliged: set[str],
        one: SubjectState,
        context: Mapping[str, Value],
    ) -> None:
        """Decide about the datasets that changed, in both realms."""
        if not self._changed:
            return
        found = []
        for realm, around in zip((self._before, self._after), self._around, strict=True):
            scene, shelf = scene_of(realm, one, context), realm.shelf
            rules = tuple(around.concerning(scene.principal.above))
            answers = Answers.of(Inquiry(scene, rules), shelf, shelf.bits(self._changed))
            allowed = {action: set(shelf.names(answers.of_action(action))) for action in DATA_ACTIONS}
            found.append((allowed, set(shelf.names(answers.obliged))))
        (then, old), (now, new) = found
        for action in DATA_ACTIONS:
            gained[action] |= now[action] - then[action]
            lost[action] |= then[action] - now[action]
        obliged |= (old ^ new) & then[Action.LOAD] & now[Action.LOAD]


_Names = dict[Action, set[str]]
_Rules = tuple[Rule, ...]


def _about_data(rules: Iterable[Rule]) -> _Rules:
    return tuple(rule for rule in rules if rule.data_actions)


def _made_of(before: Realm, after: Realm) -> Realm:
    """The second realm with what stayed in the places that it has in the first."""
    if before.shelf.akin(after.shelf):
        return after
    shelves: Sequence[tuple[type[Noun], Mapping[str, Noun], Mapping[str, Noun]]] = (
        (Dataset, before.datasets, after.datasets),
        (Domain, before.domains, after.domains),
        (Environment, before.environments, after.environments),
        (Group, before.groups, after.groups),
        (Policy, before.policies, after.policies),
        (Grant, before.grants, after.grants),
    )
    changes = (
        Change(kind, key, new.get(key))
        for kind, old, new in shelves
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )
    return before.after(after.revision, changes)


def _concerning(rules: Iterable[Rule], above: frozenset[Uid]) -> Iterator[Rule]:
    return (rule for rule in rules if rule.anchors is None or not above.isdisjoint(rule.anchors))


def _both(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a | b for a, b in zip(one, other, strict=True)]


class _Posted:
    """Some rules, by whom they can concern."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_anchor: defaultdict[Uid | None, list[Rule]] = defaultdict(list)
        for rule in self._rules:
            for anchor in (None,) if rule.anchors is None else rule.anchors:
                self._by_anchor[anchor].append(rule)
        self._anchors = frozenset(anchor for anchor in self._by_anchor if anchor is not None)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def concerning(self, above: frozenset[Uid]) -> Iterable[Rule]:
        """The rules that may concern who is, and is in, these entities; each once."""
        found = dict.fromkeys(self._by_anchor.get(None, ()))
        for anchor in above & self._anchors:
            found |= dict.fromkeys(self._by_anchor[anchor])
        return found


def _anchors_of(rules: Iterable[Rule]) -> frozenset[Uid] | None:
    """Whom the rules can concern; nothing where anybody may be meant."""
    found: set[Uid] = set()
    for rule in rules:
        if rule.anchors is None:
            return None
        found |= rule.anchors
    return frozenset(found)


class _Among:
    """Which of some entities a subject is or is in."""

    def __init__(self, realm: Realm, entities: frozenset[Uid]) -> None:
        self._memberships = realm.memberships
        self._entities = entities
        groups = {id_ for type_, id_ in entities if type_ == "Group"}
        #: A group that the token names is heard where no local group has its name.
        self._heard = {id_: ("Group", id_) for id_ in groups if id_ not in realm.groups and not is_builtin(id_)}
        self._local = {
            name: frozenset(("Group", above) for above in ancestors(frozenset({name}), realm.groups) & groups)
            for name in realm.groups
        }

    def above(self, state: SubjectState) -> frozenset[Uid]:
        """Those of the entities."""
        subject = str(state.subject)
        found = {self._heard[group] for group in state.groups & self._heard.keys()}
        for group in self._memberships.get(subject, ()):
            found |= self._local[group]
        own = ((state.subject.kind.entity_type, state.subject.id), ("Group", subject))
        return frozenset(found.union(uid for uid in own if uid in self._entities))


class _Telling:
    """What some rules can tell subjects apart by."""

    def __init__(self, realm: Realm, rules: Iterable[Rule], owners: frozenset[Uid]) -> None:
        named: set[Uid] = set()
        attributes: set[str] = set()
        #: Cedar may find out more about a subject than its words tell.
        self._one_by_one = False
        for rule in rules:
            named |= rule.anchors or frozenset()
            for part in rule.parts:
                attributes |= part.reads.principal
                named |= {(str(uid.type), uid.id) for uid in pst.entity_uids(part.expression)}
                if "principal" in part.reads.whole and part.reads.resources:
                    named |= owners
                self._one_by_one |= part.slow and "principal" in part.reads.whole
        self._attributes = sorted(attributes)
        self._among = _Among(realm, frozenset(named))

    def key(self, state: SubjectState) -> Hashable:
        """The same for subjects whom the rules cannot tell apart; for states that are held while it is used."""
        if self._one_by_one:
            return id(state)
        values = tuple(self._value(state, name) for name in self._attributes)
        return state.subject.kind, self._among.above(state), values

    @staticmethod
    def _value(state: SubjectState, name: str) -> Hashable:
        value = state.issuer if name == "issuer" else state.attributes.get(name, MISSING)
        return type(value), value
