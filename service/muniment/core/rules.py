"""Rules: policies in the order in which they are cheapest to decide by.

Of a permit only where it is true matters, so its parts are asked in any order: first those
that have one answer for all resources, then the bitmap of all that read the resource alone,
then the joins, then what only Cedar can tell, of the resources left over. A forbid (and an
obligation) that errs counts as satisfied, so its parts are asked as Cedar would, unless none
of them can err.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cedarpy import pst

from muniment.core.conditions import UNASKED, Part, Scene, about_action, conjuncts, names_action, part
from muniment.core.policies import Compiled, PolicyKind
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.shelves import Marks, Shelf, Uid

_PRINCIPAL = pst.Var("principal")
_RESOURCE = pst.Var("resource")


class Role(Enum):
    """What it means that a rule is satisfied."""

    PERMIT = "permit"
    FORBID = "forbid"
    OBLIGE = "oblige"


#: What rules about data can be satisfied for.
KINDS = tuple(
    (role, actions)
    for role in Role
    for number in range(len(DATA_ACTIONS) + 1)
    for actions in itertools.combinations(DATA_ACTIONS, number)
)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One policy, ready to be decided by. A policy that reads the action is a rule for each of its actions.

    ``parts`` are all that must hold, as Cedar looks at them; ``checks``, ``fold``, ``joins``
    and ``slow`` are the same parts by what they read, without the one that the anchors promise:
    a rule is only asked about subjects that are, or are in, one of its anchors.
    """

    id: str
    role: Role
    actions: frozenset[Action]
    policy: Compiled
    parts: tuple[Part, ...]
    checks: tuple[Part, ...]
    fold: tuple[Part, ...]
    joins: tuple[Part, ...]
    slow: tuple[Part, ...]
    #: What the principal must be or be in (one of them) for the rule to be satisfied; nothing: anybody may be meant.
    anchors: frozenset[Uid] | None
    #: Those of the actions that are done to data.
    data_actions: tuple[Action, ...]
    #: A number for what it is satisfied for: rules of one number may be taken together (:data:`KINDS`).
    kind: int
    #: Whether it may change its mind as time passes.
    timed: bool
    #: Whether an error of one part may matter, so that the order of the parts does.
    ordered: bool

    def satisfied(self, shelf: Shelf, scene: Scene, among: int | None = None) -> Marks:
        """Where the rule is satisfied, and where it is so only because it errs (never, for a permit).

        ``among`` are the resources asked about; nothing where all are.
        """
        bits = self.reach(shelf)
        if among is not None:
            bits &= among
        if self.ordered:
            return self._in_order(shelf, scene, bits) if bits else (0, 0)
        if not bits or not self._speaks_to(scene):
            return 0, 0
        for each in self.joins:
            bits &= each.marks(shelf, scene)[0]
            if not bits:
                return 0, 0
        for each in self.slow:
            bits &= each.marks_among(shelf, scene, bits)[0]
            if not bits:
                return 0, 0
        return bits, 0

    def _speaks_to(self, scene: Scene) -> bool:
        """Whether all holds that reads no resource."""
        for check in self.checks:
            answer = scene.known.get(check)
            if answer is None:
                answer = scene.known[check] = bool(check.holds(scene))
            if not answer:
                return False
        return True

    def reach(self, shelf: Shelf) -> int:
        """Where the rule may be satisfied at all, whoever asks; found once for each shelf."""
        known = shelf.reaches.get(self)
        if known is None:
            known = shelf.reaches[self] = self.reach_on(shelf)
        return known

    def prepare(self, shelf: Shelf) -> None:
        """Work out on a shelf whatever does not depend on who asks."""
        self.reach(shelf)
        for each in self.parts:
            each.prepare(shelf, alone=self.ordered)

    def reach_on(self, shelf: Shelf) -> int:
        """The same, found anew."""
        bits = shelf.every
        for each in self.fold:
            if not bits:
                break
            true, erred = each.found(shelf, UNASKED)
            bits &= true | erred if self.ordered else true
        return bits

    def _in_order(self, shelf: Shelf, scene: Scene, among: int) -> Marks:
        alive, erred = among, 0
        for each in self.parts:
            if not alive:
                break
            true, errs = self._marks(each, shelf, scene, alive)
            erred |= alive & errs
            alive &= true
        return alive | erred, erred

    @staticmethod
    def _marks(each: Part, shelf: Shelf, scene: Scene, among: int) -> Marks:
        if each.reads.resources:
            return each.marks_among(shelf, scene, among)
        answer = each.holds(scene)
        return (0, shelf.every) if answer is None else (shelf.every if answer else 0, 0)


def rules_of(policy: Compiled) -> tuple[Rule, ...]:
    """A policy as rules: one, or one for each action where its words read the action."""
    conditions = list(_conditions(policy.tree))
    if not any(map(names_action, conditions)):
        return (_rule(policy, policy.actions, conditions),)
    return tuple(
        _rule(policy, frozenset({action}), [about_action(condition, action) for condition in conditions])
        for action in sorted(policy.actions)
    )


def _rule(policy: Compiled, actions: frozenset[Action], conditions: Iterable[pst.Expr]) -> Rule:
    on_domains = not actions <= set(DATA_ACTIONS)
    parts = tuple(part(condition, on_domains=on_domains) for condition in conditions)
    role = _role(policy)
    data = tuple(action for action in DATA_ACTIONS if action in actions)
    slow = tuple(each for each in parts if each.slow)
    quick = [each for each in parts if not each.slow]
    ordered = role is not Role.PERMIT and not all(each.certain for each in parts)
    anchors, posted = _anchored(parts, ordered=ordered)
    alone = [each for each in quick if each.reads.resources_alone]
    return Rule(
        id=policy.id,
        role=role,
        actions=actions,
        policy=policy,
        parts=parts,
        checks=tuple(each for each in quick if not each.reads.resources and each is not posted),
        fold=_sure(parts, alone) if ordered else tuple(alone),
        joins=tuple(each for each in quick if each.reads.resources and each not in alone),
        slow=slow,
        anchors=anchors,
        data_actions=data,
        kind=KINDS.index((role, data)),
        timed=bool(policy.boundaries or policy.clocks or policy.unsteady),
        ordered=ordered,
    )


def _sure(parts: Iterable[Part], alone: Sequence[Part]) -> tuple[Part, ...]:
    """Those of the parts outside of which nothing can be satisfied where errors matter: none before them may err."""
    found = []
    for each in parts:
        if each in alone:
            found.append(each)
        if not each.certain:
            break
    return tuple(found)


def _anchored(parts: Iterable[Part], *, ordered: bool) -> tuple[frozenset[Uid] | None, Part | None]:
    """Who must be meant, by the first part that says so; and that part, where it says no more than that.

    Where errors matter, no part before it may err: else the rule may be satisfied for others.
    """
    for each in parts:
        found = _who(each.expression)
        if found is not None:
            return found, each if isinstance(each.expression, pst.BinaryOp) and each.expression.op == "in" else None
        if ordered and not each.certain:
            return None, None
    return None, None


def _who(expression: pst.Expr) -> frozenset[Uid] | None:
    match expression:
        case pst.BinaryOp("in", left, pst.Set(elements)) if left == _PRINCIPAL:
            entities = [element for element in elements if isinstance(element, pst.EntityLit)]
            return frozenset(map(_uid, entities)) if len(entities) == len(elements) else None
        case pst.BinaryOp("eq" | "in", left, pst.EntityLit() as entity) if left == _PRINCIPAL:
            return frozenset({_uid(entity)})
        case pst.Is(base, _, pst.EntityLit() as entity) if base == _PRINCIPAL:
            return frozenset({_uid(entity)})
        case _:
            return None


def _uid(entity: pst.EntityLit) -> Uid:
    return str(entity.value.type), entity.value.id


def _role(policy: Compiled) -> Role:
    if policy.kind is not PolicyKind.ACCESS:
        return Role.OBLIGE
    return Role.PERMIT if policy.effect == "permit" else Role.FORBID


def _conditions(tree: pst.Template) -> Iterator[pst.Expr]:
    """All that must hold for a policy to be satisfied but the action, in the order in which Cedar looks."""
    yield from _head(_PRINCIPAL, tree.principal)
    yield from _head(_RESOURCE, tree.resource)
    for clause in tree.clauses:
        expression = clause.expr if isinstance(clause, pst.When) else pst.UnaryOp("not", clause.expr)
        yield from conjuncts(expression)


def _head(variable: pst.Var, constraint: object) -> Iterator[pst.Expr]:
    match constraint:
        case pst.ScopeEq(pst.EntityUid() as entity):
            yield pst.BinaryOp("eq", variable, pst.EntityLit(entity))
        case pst.ScopeIn(pst.EntityUid() as entity):
            yield pst.BinaryOp("in", variable, pst.EntityLit(entity))
        case pst.ScopeIs(type_):
            yield pst.Is(variable, type_, None)
        case pst.ScopeIsIn(type_, pst.EntityUid() as entity):
            yield pst.Is(variable, type_, pst.EntityLit(entity))
