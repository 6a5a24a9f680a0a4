"""Who may do what to which dataset, and which policies settled it.

This is the one evaluator: list, serve, check, explain, foresee and delegate all decide here.
With P and F the satisfied permits and forbids of each action, the answers are

* ``discover = (P_discover or P_load or P_save) and not F_discover``
* ``load = P_load and not F_load and not F_discover``
* ``save = P_save and not F_save and not F_discover``, and no obligation

Errors fail closed, unlike in plain Cedar (which skips a forbid that errs): a forbid
that errs counts as satisfied, a permit that errs does not, an obligation that errs applies.
P and F are bitmaps over all datasets (:mod:`muniment.core.rules`): the work grows with the
policies that concern the subject, and a dataset costs one bit of each.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Generic, NoReturn, TypeVar

import cedarpy
from cedarpy import pst

from muniment.core.conditions import Principal, Scene
from muniment.core.datasets import Dataset
from muniment.core.moments import TICK, ticked, write_datetime
from muniment.core.policies import Compiled
from muniment.core.realm import Realm, domain_row, entity, row_of, uid
from muniment.core.rules import KINDS, Role, Rule
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.shelves import Row, Shelf, Value
from muniment.core.subjects import SubjectState

#: Which evaluator decided, for the ledger: the shape of the rules above, and the release of Cedar behind it.
EVALUATOR = "compiled-1/cedarpy-4.12.2"

#: For how long a lease gives what a policy gives that reckons with the time in a way that has no boundaries.
UNSTEADY = timedelta(minutes=5)

#: Before every moment that a policy may name.
_EARLIEST = datetime.min.replace(tzinfo=UTC)

Key = TypeVar("Key")
Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and the policies that settled it.

    ``because`` holds the permits of an allowed decision and the forbids of a denied
    one; it is empty when nothing permits. ``beaten`` are the permits that a forbid beat.
    ``obligations`` are the masks and row filters under which an allowed load may happen.
    A decision has no truth value: ask for :attr:`allowed`.
    """

    allowed: bool
    because: tuple[str, ...] = ()
    beaten: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()

    def __bool__(self) -> NoReturn:
        detail = "A decision is not a truth value; ask for decision.allowed."
        raise TypeError(detail)


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions for all data actions on one dataset.

    ``obligations`` are the masks and row filters that apply to the subject there; ``erring``
    those of them that apply because they err.
    """

    discover: Decision
    load: Decision
    save: Decision
    obligations: tuple[str, ...] = ()
    erring: tuple[str, ...] = ()

    def __getitem__(self, action: Action) -> Decision:
        return {Action.DISCOVER: self.discover, Action.LOAD: self.load, Action.SAVE: self.save}[action]

    @property
    def actions(self) -> tuple[Action, ...]:
        """What a catalog would let the subject do: load, save, both or neither; nothing under an obligation."""
        if self.obligations:
            return ()
        return tuple(action for action in (Action.LOAD, Action.SAVE) if self[action].allowed)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about: an environment, and for which project and purpose."""

    environment: str
    project: str | None = None
    purpose: str | None = None


@dataclass(frozen=True)
class Listing:
    """What one subject may do to every dataset, as bitmaps, and from when until when that holds.

    ``until`` is the first moment at which some policy concerned may change its mind: from
    then on this listing must not be used. ``since`` is the last such moment before it.
    ``asked`` are the datasets that it is about.
    """

    revision: int
    since: datetime | None
    until: datetime | None
    asked: int = field(repr=False)
    discover: int = field(repr=False)
    load: int = field(repr=False)
    save: int = field(repr=False)
    obliged: int = field(repr=False)
    _shelf: Shelf = field(repr=False)
    _inquiry: Inquiry = field(repr=False)

    def holds(self, at: datetime) -> bool:
        """Whether this is what would be decided at a moment."""
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)

    def names(self, action: Action) -> tuple[str, ...]:
        """The datasets to which the action may be done, in the order of their names."""
        return tuple(sorted(self._shelf.names(self._bits(action))))

    def usable(self) -> Iterator[tuple[str, tuple[Action, ...]]]:
        """The datasets that a catalog may hold, with what may be done to each; in no order."""
        for actions, names in self.usable_alike():
            for name in names:
                yield name, actions

    def usable_alike(self) -> Iterator[tuple[tuple[Action, ...], Iterator[str]]]:
        """The same, all together to which the same may be done."""
        load, save = self.load & ~self.obliged, self.save
        yield (Action.LOAD,), self._shelf.names(load & ~save)
        yield (Action.SAVE,), self._shelf.names(save & ~load)
        yield (Action.LOAD, Action.SAVE), self._shelf.names(load & save)

    def obliged_names(self) -> tuple[str, ...]:
        """The datasets that come under an obligation, in the order of their names."""
        return tuple(sorted(self._shelf.names(self.obliged)))

    @property
    def weight(self) -> int:
        """About how many thousand bytes the listing takes."""
        return 1 + (5 * self.asked.bit_length() >> 13)

    @cached_property
    def decided(self) -> Mapping[str, Decided]:
        """The decisions with their reasons, each found when it is looked at."""
        return _Decisions(self._shelf, self.asked, self._inquiry)

    def _bits(self, action: Action) -> int:
        return {Action.DISCOVER: self.discover, Action.LOAD: self.load, Action.SAVE: self.save}[action]


def list_all(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, only: Iterable[str] | None = None
) -> Listing:
    """Decide discover, load and save for every dataset of the realm, or for those named."""
    inquiry = Inquiry.of(realm, asker, context_of(wanted, at))
    shelf = realm.shelf if only is None else _some(realm, only)
    answers = Answers.of(inquiry, shelf)
    since, until = _holding([rule.policy for rule in inquiry.rules if rule.timed], at)
    return Listing(
        revision=realm.revision,
        since=since,
        until=until,
        asked=shelf.every,
        discover=answers.discover,
        load=answers.load,
        save=answers.save,
        obliged=answers.obliged,
        _shelf=shelf,
        _inquiry=inquiry,
    )


def decide(realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, dataset: Dataset) -> Decided:
    """Decide discover, load and save for one dataset, declared in the realm or resolved from a pattern."""
    return decide_each(realm, asker, wanted, at, [dataset])[0]


def decide_each(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, datasets: Sequence[Dataset]
) -> tuple[Decided, ...]:
    """The same for several datasets of different names, in their order."""
    inquiry = Inquiry.of(realm, asker, context_of(wanted, at))
    standing = [dataset.name for dataset in datasets if realm.datasets.get(dataset.name) is dataset]
    declared = _Decisions(realm.shelf, realm.shelf.bits(standing), inquiry)
    named = set(standing)
    others = Shelf({dataset.name: row_of(dataset) for dataset in datasets if dataset.name not in named})
    made = _Decisions(others, others.every, inquiry)
    return tuple(declared[each.name] if each.name in named else made[each.name] for each in datasets)


def decide_governing(
    realm: Realm, asker: SubjectState, action: Action, resources: Sequence[str | Dataset], at: datetime
) -> tuple[Decision, ...]:
    """Decide a governing action on domains (by name) or datasets, one decision for each.

    A domain that is not there is decided on as it might be made, so that an answer does
    not tell whether it is.
    """
    inquiry = Inquiry.of(realm, asker, {"now": ticked(at)})
    datasets = Shelf({each.name: row_of(each) for each in resources if isinstance(each, Dataset)})
    domains = Shelf({each: domain_row(realm, each) for each in resources if isinstance(each, str)})
    on_datasets, on_domains = inquiry.factors(datasets, (action,)), inquiry.factors(domains, (action,))
    return tuple(
        _governed(on_domains, domains.at(("Domain", each)))
        if isinstance(each, str)
        else _governed(on_datasets, datasets.at(("Dataset", each.name)))
        for each in resources
    )


def _governed(factors: Sequence[_Factor], bit: int) -> Decision:
    permits = _ids(factor for factor in factors if factor.rule.role is Role.PERMIT and factor.bits & bit)
    return _settled(permits, _ids(f for f in factors if f.rule.role is Role.FORBID and f.bits & bit))


@dataclass(frozen=True, slots=True)
class Near:
    """A permit that does not hold, though it speaks of the dataset, and those of its conditions that fail."""

    policy: str
    failing: tuple[pst.Expr, ...]


def near(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, action: Action, dataset: Dataset
) -> tuple[Near, ...]:
    """The permits that would let the subject, were it not for what they ask of subject or circumstances.

    Those that lack least come first. To know of a dataset, a permit to load or to save is enough.
    """
    giving = set(DATA_ACTIONS) if action is Action.DISCOVER else {action}
    scene = scene_of(realm, asker, context_of(wanted, at))
    shelf = Shelf({dataset.name: row_of(dataset)})
    declared = realm.shelf.at(("Dataset", dataset.name)) if realm.datasets.get(dataset.name) is dataset else 0
    found = []
    for rules in realm.rules.values():
        for rule in rules:
            if rule.role is not Role.PERMIT or rule.actions.isdisjoint(giving):
                continue
            if declared and not rule.reach(realm.shelf) & declared:
                continue
            if declared or rule.reach(shelf):
                failing = _failing(rule, shelf, scene)
                if failing:
                    found.append(Near(rule.id, failing))
    return tuple(sorted(found, key=lambda each: (len(each.failing), each.policy)))


def _failing(rule: Rule, shelf: Shelf, scene: Scene) -> tuple[pst.Expr, ...]:
    failing = []
    for part in rule.parts:
        holds = part.marks(shelf, scene)[0] if part.reads.resources else part.holds(scene)
        if not holds:
            failing.append(part.expression)
    return tuple(failing)


def holding(realm: Realm, asker: SubjectState, at: datetime) -> tuple[datetime | None, datetime | None]:
    """From when until when, around a moment, nothing is decided otherwise for a subject, whatever is asked."""
    rules = realm.rules_for(scene_of(realm, asker, {}).principal.above)
    return _holding([rule.policy for rule in rules if rule.timed], at)


def _holding(timed: Sequence[Compiled], at: datetime) -> tuple[datetime | None, datetime | None]:
    """From when until when the policies do not change their minds, around a moment."""
    if not timed:
        return None, None
    if any(policy.unsteady for policy in timed):
        return ticked(at), ticked(at) + TICK
    around = boundaries(timed, _EARLIEST if not any(p.clocks for p in timed) else at - timedelta(days=1), at + TICK)
    since = max((moment for moment in around if moment <= at), default=None)
    return since, min(boundaries(timed, at), default=None)


def boundaries(policies: Iterable[Compiled], after: datetime, before: datetime | None = None) -> tuple[datetime, ...]:
    """The moments at which policies may change their minds: each literal, and the tick after it.

    A time of day comes again every day; without an end, those of the next day are given.
    """
    literals: set[datetime] = set()
    clocks: set[timedelta] = set()
    for policy in policies:
        literals.update(policy.boundaries)
        clocks.update(policy.clocks)
    if clocks:
        day = ticked(after).replace(hour=0, minute=0, second=0, microsecond=0)
        last = before if before is not None else after + timedelta(days=1)
        for number in range((last - day).days + 1):
            literals.update(day + timedelta(days=number) + clock for clock in clocks)
    found = {moment for literal in literals for moment in (literal, literal + TICK)}
    return tuple(sorted(moment for moment in found if moment > after and (before is None or moment < before)))


@dataclass(frozen=True)
class Inquiry:
    """One subject in one context, and the rules that concern it."""

    scene: Scene
    rules: Sequence[Rule]

    @classmethod
    def of(cls, realm: Realm, asker: SubjectState, context: Mapping[str, Value]) -> Inquiry:
        """Whatever is asked about, all rules that may concern the subject are asked."""
        scene = scene_of(realm, asker, context)
        return cls(scene, realm.rules_for(scene.principal.above))

    def factors(self, shelf: Shelf, actions: Sequence[Action], among: int | None = None) -> list[_Factor]:
        """The rules about these actions that are satisfied somewhere, and where."""
        found = []
        for rule in self.rules:
            if not rule.actions.isdisjoint(actions):
                bits, erred = rule.satisfied(shelf, self.scene, among)
                if bits:
                    found.append(_Factor(rule, bits, erred))
        return found


@dataclass(frozen=True, slots=True)
class _Factor:
    """A rule that is satisfied, where it is, and where it is so because it errs."""

    rule: Rule
    bits: int
    erred: int


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers for all resources of a shelf, as bitmaps."""

    discover: int
    load: int
    save: int
    obliged: int

    def of_action(self, action: Action) -> int:
        """Where the action may be done."""
        return {Action.DISCOVER: self.discover, Action.LOAD: self.load, Action.SAVE: self.save}[action]

    @classmethod
    def of(cls, inquiry: Inquiry, shelf: Shelf, among: int | None = None) -> Answers:
        """Decide all data actions at once, without asking which rule it was. ``among``: nothing for all resources."""
        return cls.composed(satisfied(inquiry.rules, shelf, inquiry.scene, among), shelf.every)

    @classmethod
    def composed(cls, found: Sequence[int], among: int) -> Answers:
        """The answers that follow from where rules are satisfied, by their kinds."""
        permits, forbids = dict.fromkeys(DATA_ACTIONS, 0), dict.fromkeys(DATA_ACTIONS, 0)
        obliged = 0
        for (role, actions), bits in zip(KINDS, found, strict=True):
            if role is Role.OBLIGE:
                obliged |= bits
            else:
                onto = permits if role is Role.PERMIT else forbids
                for action in actions:
                    onto[action] |= bits
        known = among & ~forbids[Action.DISCOVER]
        load, save = permits[Action.LOAD], permits[Action.SAVE]
        return cls(
            discover=(permits[Action.DISCOVER] | load | save) & known,
            load=load & ~forbids[Action.LOAD] & known,
            save=save & ~forbids[Action.SAVE] & known & ~obliged,
            obliged=obliged,
        )


#: Where nothing is asked.
NO_ANSWERS = Answers(0, 0, 0, 0)


def satisfied(rules: Iterable[Rule], shelf: Shelf, scene: Scene, among: int | None = None) -> list[int]:
    """Where rules about data are satisfied, by their kinds (:data:`KINDS`)."""
    found = [0] * len(KINDS)
    for rule in rules:
        if rule.data_actions:
            bits = rule.satisfied(shelf, scene, among)[0]
            if bits:
                found[rule.kind] |= bits
    return found


class _Decisions(Mapping[str, Decided]):
    """Decisions with their reasons, each composed when it is looked at."""

    def __init__(self, shelf: Shelf, asked: int, inquiry: Inquiry) -> None:
        self._shelf = shelf
        self._asked = asked
        self._inquiry = inquiry
        self._known: dict[object, Decided] = {}

    @cached_property
    def _factors(self) -> Sequence[_Factor]:
        among = None if self._asked == self._shelf.every else self._asked
        return self._inquiry.factors(self._shelf, DATA_ACTIONS, among)

    def __getitem__(self, name: str) -> Decided:
        bit = self._shelf.at(("Dataset", name)) & self._asked
        if not bit:
            raise KeyError(name)
        hit = tuple(factor for factor in self._factors if factor.bits & bit)
        erring = tuple(factor.rule.id for factor in hit if factor.erred & bit)
        key = (tuple(map(id, hit)), erring)
        if key not in self._known:
            self._known[key] = _composed(hit, erring)
        return self._known[key]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._shelf.at(("Dataset", name)) & self._asked)

    def __iter__(self) -> Iterator[str]:
        return self._shelf.names(self._asked)

    def __len__(self) -> int:
        return self._asked.bit_count()


def _composed(hit: Sequence[_Factor], erring: Sequence[str]) -> Decided:
    def ids(role: Role, *actions: Action) -> tuple[str, ...]:
        return _ids(f for f in hit if f.rule.role is role and not f.rule.actions.isdisjoint(actions))

    obligations = ids(Role.OBLIGE, *DATA_ACTIONS)
    hidden = ids(Role.FORBID, Action.DISCOVER)
    load = _settled(ids(Role.PERMIT, Action.LOAD), _union(ids(Role.FORBID, Action.LOAD), hidden), obligations)
    return Decided(
        discover=_settled(ids(Role.PERMIT, *DATA_ACTIONS), hidden),
        load=load,
        save=_settled(ids(Role.PERMIT, Action.SAVE), _union(ids(Role.FORBID, Action.SAVE), hidden, obligations)),
        obligations=obligations,
        erring=tuple(id_ for id_ in obligations if id_ in erring),
    )


def _ids(factors: Iterable[_Factor]) -> tuple[str, ...]:
    return tuple(sorted({factor.rule.id for factor in factors}))


def _settled(permits: tuple[str, ...], forbids: tuple[str, ...], obligations: tuple[str, ...] = ()) -> Decision:
    if forbids:
        return Decision(allowed=False, because=forbids, beaten=permits)
    return Decision(allowed=bool(permits), because=permits, obligations=obligations if permits else ())


def _union(*ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*ids)))


def _some(realm: Realm, names: Iterable[str]) -> Shelf:
    """A shelf of those of the datasets that are declared."""
    return Shelf({name: realm.shelf.row(name) for name in names if name in realm.datasets})


def scene_of(realm: Realm, asker: SubjectState, context: Mapping[str, Value]) -> Scene:
    """A subject in a context, as conditions read them."""
    own = (asker.subject.kind.entity_type, asker.subject.id)
    above = frozenset({own, *(("Group", group) for group in realm.all_groups_of(asker))})
    principal = Principal(own, above, {"issuer": asker.issuer, **asker.attributes})
    return Scene(principal, context, realm.group_tree, _Cedar(realm, asker, context))


def context_of(wanted: Wanted, at: datetime) -> dict[str, Value]:
    """The context of a question about data, as conditions read it."""
    context: dict[str, Value] = {"environment": wanted.environment, "now": ticked(at)}
    if wanted.project is not None:
        context["project"] = wanted.project
    if wanted.purpose is not None:
        context["purpose"] = wanted.purpose
    return context


class _Cedar:
    """Cedar, asked about what lies outside the compiled subset, for one subject in one context."""

    def __init__(self, realm: Realm, asker: SubjectState, context: Mapping[str, Value]) -> None:
        self._realm = realm
        self._asker = asker
        self._context = context

    @property
    def standing(self) -> Hashable:
        """What Cedar knows beside subject and resource: the groups and domains."""
        return self._realm.standing

    def holds(self, expression: pst.Expr, rows: Sequence[Row]) -> Sequence[bool | None]:
        """Whether the expression is true of each resource; nothing where it errs."""
        return self._told.holds(expression, rows)

    def lasting(self) -> _Told:
        """The same without the realm."""
        return self._told

    @cached_property
    def _told(self) -> _Told:
        realm, asker = self._realm, self._asker
        return _Told(
            standing=realm.standing,
            domains=realm.domain_tree,
            entities=realm.base_entities.with_added_json_str(json.dumps([subject_entity(realm, asker)])),
            question={
                "principal": uid(asker.subject.kind.entity_type, asker.subject.id),
                "action": uid("Action", Action.LOAD),
                "context": json.dumps({name: json_of(value) for name, value in self._context.items()}),
            },
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """All that Cedar is told beside an expression and the resources."""

    standing: Hashable
    domains: frozenset[str]
    entities: cedarpy.Entities
    question: Mapping[str, object]

    def lasting(self) -> _Told:
        """The same: it holds no realm."""
        return self

    def holds(self, expression: pst.Expr, rows: Sequence[Row]) -> Sequence[bool | None]:
        """Whether the expression is true of each resource; nothing where it errs."""
        if not rows:
            return []
        named = [row.uid if row.uid[0] else ("Dataset", f"kind {number}") for number, row in enumerate(rows)]
        described = [entity_of(own, row) for own, row in zip(named, rows, strict=True)]
        added = [
            each for each, own in zip(described, named, strict=True) if own[0] != "Domain" or own[1] not in self.domains
        ]
        entities = self.entities.with_added_json_str(json.dumps(added))
        questions = [{**self.question, "resource": uid(*own)} for own in named]
        answers = cedarpy.is_authorized_batch(questions, _asking_only(expression), entities)
        return [None if answer.diagnostics.errors else bool(answer.diagnostics.reasons) for answer in answers]


@lru_cache(maxsize=4_096)
def _asking_only(expression: pst.Expr) -> cedarpy.PolicySet:
    """One permit with one condition.

    What is denied is written as ``unless``: to write ``not`` before it might nest it deeper than
    can be read, where the policy itself says ``unless`` of something as deep as that.
    """
    clause = pst.Unless(expression.arg) if isinstance(expression, pst.UnaryOp) and expression.op == "not" else None
    clauses = (clause or pst.When(expression),)
    anything = pst.ScopeAny()
    template = pst.Template("part", "permit", anything, anything, anything, clauses, pst.FrozenMap())
    return cedarpy.PolicySet.from_pst(
        pst.PolicySet(templates={}, static_policies={"part": template}, template_links=())
    )


def entity_of(own: tuple[str, str], row: Row) -> dict[str, object]:
    """A resource as Cedar's JSON writes it, under a name of its own."""
    return entity(*own, {name: json_of(value) for name, value in row.attributes.items()}, row.above)


def json_of(value: Value) -> object:
    """A value as Cedar's JSON writes it."""
    match value:
        case tuple():
            return {"__entity": uid(*value)}
        case frozenset():
            return [json_of(element) for element in value]
        case datetime():
            return {"__extn": {"fn": "datetime", "arg": write_datetime(value)}}
        case _:
            return value


def subject_entity(realm: Realm, asker: SubjectState) -> dict[str, object]:
    """A subject as Cedar's JSON writes it, with all its groups."""
    attributes: dict[str, object] = {"issuer": asker.issuer}
    for name, value in asker.attributes.items():
        attributes[name] = sorted(value) if isinstance(value, frozenset) else value
    groups = [("Group", group) for group in sorted(realm.groups_of(asker))]
    return entity(asker.subject.kind.entity_type, asker.subject.id, attributes, groups)


class Memory(Generic[Key, Held]):
    """What was decided at the newest revision, each usable until its own moment.

    ``most`` bounds the sum of what the values weigh; the ones not asked for longest go
    first. A newer revision forgets everything: nobody asks for an older one again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._revision = -1
        self._weight = 0
        self._held: OrderedDict[Key, tuple[Held, datetime | None, datetime | None, int]] = OrderedDict()
        #: How many values were put here, and how often one was found.
        self.put_in = 0
        self.found = 0

    def get(self, revision: int, key: Key, at: datetime) -> Held | None:
        """The value, if it is held for this revision and for that moment."""
        held = self._held.get(key) if revision == self._revision else None
        if held is None:
            return None
        value, since, until, _ = held
        if (since is not None and at < since) or (until is not None and at >= until):
            return None
        self._held.move_to_end(key)
        self.found += 1
        return value

    def put(
        self,
        revision: int,
        key: Key,
        value: Held,
        until: datetime | None,
        weight: int = 1,
        *,
        since: datetime | None = None,
    ) -> None:
        """Hold a value between two moments, or for as long as there is room; not one of an older revision."""
        self.put_in += 1
        if revision < self._revision or weight > self._most:
            return
        if revision > self._revision:
            self._held.clear()
            self._revision, self._weight = revision, 0
        self._weight += weight - (self._held.pop(key)[3] if key in self._held else 0)
        self._held[key] = (value, since, until, weight)
        while self._weight > self._most:
            self._weight -= self._held.popitem(last=False)[1][3]
