"""Policies: Cedar text, read once, checked hard, and ready to be decided by.

Nothing is permitted unless a policy permits it, and a policy that forbids outweighs
every one that permits. Policies have no order, so any one can be read on its own.

A policy's scope is added to its syntax tree, never to its text: no wording reaches
outside the domain that it was written for. Cedar: https://docs.cedarpolicy.com.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

import cedarpy
from cedarpy import pst

from muniment.core.environments import checked_known
from muniment.core.masks import read_mask, write_mask
from muniment.core.moments import EARLIEST, LATEST, earlier, read_datetime, read_duration
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.positions import Position, faults_at, unreadable_at
from muniment.core.problems import Fault, InvalidPolicy
from muniment.core.row_filters import read_row_filter, write_row_filter
from muniment.core.schema import Action, attributes, parsed

#: The longest Cedar text of one policy, in characters.
LONGEST_TEXT = 32_768

#: How deep brackets may stand in one another, and how many operators one policy may have. Cedar's
#: parser recurses without a limit of its own: deeper texts overflow the stack and end the process.
DEEPEST_TEXT = 50
MOST_OPERATORS = 1_000

_COMPARISONS = frozenset({"eq", "not_eq", "less", "less_eq", "greater", "greater_eq"})
_RESOURCE = pst.Var("resource")
_CONTEXT = pst.Var("context")
_NAME = pst.GetAttr(_RESOURCE, "name")
_NOW = pst.GetAttr(_CONTEXT, "now")
_ENVIRONMENT = pst.GetAttr(_CONTEXT, "environment")
_PURPOSE = pst.GetAttr(_CONTEXT, "purpose")
_PROJECT = pst.GetAttr(_CONTEXT, "project")

#: A purpose, or project, that no policy names.
_ANOTHER = "(another)"


class PolicyKind(StrEnum):
    """What it means that a policy is satisfied: access permitted or forbidden, columns masked, rows left out."""

    ACCESS = "access"
    MASK = "mask"
    ROW_FILTER = "row_filter"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: Cedar text with a scope, and why it is there.

    ``id`` is the policy's own; a grant's policy is called ``grant:<id of the grant>``.
    ``obligation`` is what a mask or a row filter demands (:mod:`muniment.core.obligations`),
    ``cases`` are the examples that the policy carries.
    """

    id: str
    cedar: str
    scope: str = ROOT
    reason: str = ""
    review_by: date | None = None
    version: int = 0
    kind: PolicyKind = PolicyKind.ACCESS
    obligation: Mapping[str, object] | None = None
    cases: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy as the engine uses it: its syntax tree with the scope in it, and what it depends on.

    ``anchor`` is an entity that the principal must be or be in (none: anybody may be
    meant). ``names`` are the datasets that it names. It is never satisfied for a resource
    outside the domain ``within``, where it has one.
    """

    id: str
    effect: pst.Effect
    actions: frozenset[Action]
    tree: pst.Template
    anchor: pst.EntityUid | None
    within: str | None
    names: frozenset[str]
    boundaries: tuple[datetime, ...]
    kind: PolicyKind = PolicyKind.ACCESS
    #: The times of day (UTC, since midnight) at which the policy may change its mind.
    clocks: tuple[timedelta, ...] = ()
    #: Whether it reckons with the time in a way that has no boundaries to be told.
    unsteady: bool = False

    @property
    def permits(self) -> bool:
        """Whether it lets somebody do something: only a permit of kind access does."""
        return self.kind is PolicyKind.ACCESS and self.effect == "permit"


def compiled(policy: Policy) -> Compiled:
    """Read a policy's text; raises :class:`InvalidPolicy` when it is not exactly one static policy.

    The scope is the first of its clauses: what is outside is never looked at, so that a
    forbid which errs (and counts as satisfied) does so inside its scope alone.
    """
    return _compiled(policy.id, policy.cedar, policy.scope, policy.kind)


@lru_cache(maxsize=20_000)
def _compiled(id_: str, cedar: str, scope: str, kind: PolicyKind) -> Compiled:
    tree = one_static(cedar)
    clauses = tree.clauses
    if scope != ROOT:
        inside = pst.EntityLit(pst.EntityUid(pst.EntityType("Domain"), scope))
        clauses = (pst.When(pst.BinaryOp("in", _RESOURCE, inside)), *clauses)
    tree = replace(tree, id=id_, clauses=clauses, annotations=pst.FrozenMap())
    reading = _Reading()
    reading.read(tree)
    return Compiled(
        id=id_,
        effect=tree.effect,
        actions=actions_of(tree),
        tree=tree,
        anchor=_anchor(tree.principal),
        within=_within(tree.resource, scope),
        names=frozenset(reading.names),
        boundaries=tuple(sorted(reading.boundaries)),
        kind=kind,
        clocks=tuple(sorted(reading.clocks)),
        unsteady=reading.unsteady,
    )


def policy_set(policies: Iterable[Compiled]) -> cedarpy.PolicySet:
    """The policies as one set that Cedar evaluates, under their own ids."""
    static = {policy.id: policy.tree for policy in policies}
    return cedarpy.PolicySet.from_pst(pst.PolicySet(templates={}, static_policies=static, template_links=()))


def checked(policy: Policy, *, schema: str, environments: Iterable[str]) -> Policy:
    """The policy with its text in Cedar's own formatting, or :class:`InvalidPolicy` with every fault.

    Beyond Cedar's validation: one id holds exactly one static policy; environments that
    it compares with exist; and whatever it asks for with ``has`` is an
    attribute that somebody or something may have: to Cedar, a misspelt one is just never there.
    The obligation of a mask or a row filter comes back in its one spelling.
    """
    read = compiled(policy)
    obligation = _checked_obligation(policy, read)
    faults = _faults(policy.cedar, schema)
    if faults:
        message = "The policy does not fit the schema, or says what cannot be enforced; each fault is listed."
        places = faults_at(policy.cedar, faults, lambda text: _faults(text, schema))
        placed = sorted(zip(places, faults, strict=True))
        raise InvalidPolicy(message, [_fault(fault, place) for place, fault in placed])
    reading = _Reading()
    reading.read(read.tree)
    checked_known(reading.environments, environments, at="cedar")
    formatted = cedarpy.format_policies(policy.cedar).strip() + "\n"
    _check_size(formatted)
    return replace(policy, cedar=formatted, obligation=obligation)


def _faults(cedar: str, schema: str) -> list[str]:
    """What is wrong with a text: in the words of Cedar's parser, else of its validator and in ours."""
    unreadable = _refused(cedar)
    if unreadable is not None:
        return [unreadable]
    found = cedarpy.validate_policies(cedar, parsed(schema))
    said = [_readable(error.error) for error in found.errors]
    reading = _Reading()
    for tree in cedarpy.policies_to_pst(cedar).static_policies.values():
        reading.read(tree)
    said.extend(reading.refused)
    said.extend(
        f"There is no attribute {attribute} of {variable}."
        for variable, attribute in sorted(reading.attributes)
        if attribute not in attributes(schema)[variable]
    )
    return list(dict.fromkeys(said)) or ([] if found.validation_passed else ["Cedar's validator refuses it."])


def _refused(cedar: str) -> str | None:
    """What Cedar's parser says of a text that it cannot read."""
    try:
        cedarpy.policies_to_pst(cedar)
    except ValueError as refused:
        return _readable(str(refused))
    return None


def _fault(message: str, place: Position) -> Fault:
    return Fault("cedar", message, place.line, place.column)


def _checked_obligation(policy: Policy, read: Compiled) -> Mapping[str, object] | None:
    """What a mask or a row filter demands; a policy about access demands nothing."""
    if policy.kind is PolicyKind.ACCESS:
        if policy.obligation is not None:
            message = "Only a mask or a row filter has an obligation; say kind, or leave the obligation out."
            raise InvalidPolicy(message, [Fault("obligation", message)])
        return None
    if read.effect != "permit" or read.actions != {Action.LOAD}:
        message = (
            f'A {policy.kind} is one permit of exactly action == Action::"load": it says on whose reading of what '
            "the obligation lies."
        )
        raise InvalidPolicy(message, [Fault("cedar", message)])
    if policy.obligation is None:
        message = f"A {policy.kind} says in obligation what it demands of a reader."
        raise InvalidPolicy(message, [Fault("obligation", message)])
    if policy.kind is PolicyKind.MASK:
        return write_mask(read_mask(policy.obligation))
    predicate = read_row_filter(policy.obligation)
    if predicate is True:
        message = "This filter leaves every row, so it is none; end the policy instead."
        raise InvalidPolicy(message, [Fault("obligation", message)])
    return write_row_filter(predicate)


def actions_of(tree: pst.Template) -> frozenset[Action]:
    """The actions that a policy speaks about."""
    match tree.action:
        case pst.ActionEq(entity):
            named: Iterable[pst.EntityUid] = (entity,)
        case pst.ActionIn(entities):
            named = entities
        case _:
            return frozenset(Action)
    return frozenset(Action(entity.id) for entity in named if entity.id in set(Action))


@dataclass(frozen=True, slots=True)
class Occasions:
    """The texts and moments at which a policy may change its mind: where to look for what it gives.

    Where a policy looks at the purpose (or project) at all, one that it does not name is
    among them. ``names`` are names of datasets, declared or not, that it would tell apart.
    ``texts`` are its other literals: tags, classifications, layers. An ``elusive`` policy may
    change its mind elsewhere too: no list of texts and moments tells its occasions.
    """

    boundaries: tuple[datetime, ...]
    purposes: tuple[str, ...]
    projects: tuple[str, ...]
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    elusive: bool = False


def occasions_of(policy: Compiled) -> Occasions:
    """What a policy compares the context, and the resource, with."""
    return _occasions_of(policy.tree)


@lru_cache(maxsize=20_000)
def _occasions_of(tree: pst.Template) -> Occasions:
    reading = _Reading()
    reading.read(tree)
    return Occasions(
        boundaries=tuple(sorted(reading.boundaries)),
        purposes=tuple(sorted(reading.purposes)),
        projects=tuple(sorted(reading.projects)),
        names=tuple(sorted(reading.names | reading.samples)),
        texts=tuple(sorted(reading.texts)),
        elusive=reading.elusive,
    )


def is_elusive(expression: pst.Expr) -> bool:
    """Whether no list of texts and moments tells on which occasions an expression turns."""
    reading = _Reading()
    reading.expression(expression)
    return reading.elusive


def confined_to(policy: Compiled) -> frozenset[str] | None:
    """The environments outside of which a policy is never satisfied; none if it says nothing of that kind."""
    found: frozenset[str] | None = None
    for condition in _conditions(policy.tree):
        named = _environments_named(condition)
        if named is not None:
            found = named if found is None else found & named
        elif not policy.permits and not _only_places(condition):
            break  # It may err, and what narrows is satisfied when it errs, in every environment.
    return found


def _conditions(tree: pst.Template) -> Iterator[pst.Expr | None]:
    """What must hold for a policy to be satisfied, in the order in which Cedar looks; nothing for an ``unless``."""
    for clause in tree.clauses:
        if isinstance(clause, pst.When):
            yield from _conjuncts(clause.expr)
        else:
            yield None


def _conjuncts(expression: pst.Expr) -> Iterator[pst.Expr]:
    match expression:
        case pst.BinaryOp("and", left, right):
            yield from _conjuncts(left)
            yield from _conjuncts(right)
        case _:
            yield expression


def _environments_named(expression: pst.Expr | None) -> frozenset[str] | None:
    match expression:
        case pst.BinaryOp("eq", left, pst.StringLit(text)) if left == _ENVIRONMENT:
            return frozenset({text})
        case pst.BinaryOp("eq", pst.StringLit(text), right) if right == _ENVIRONMENT:
            return frozenset({text})
        case pst.BinaryOp("contains", pst.Set(elements), right) if right == _ENVIRONMENT:
            texts = [element.value for element in elements if isinstance(element, pst.StringLit)]
            return frozenset(texts) if len(texts) == len(elements) else None
        case _:
            return None


def _only_places(expression: pst.Expr | None) -> bool:
    """Whether a condition only asks where the resource is, which cannot err."""
    match expression:
        case pst.BinaryOp("in", left, pst.EntityLit()):
            return left == _RESOURCE
        case _:
            return False


_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*', re.DOTALL)
_OPERATOR = re.compile(r"[.(\[{!+\-*]|&&|\|\||\b(?:if|in|has|like|is)\b")


def _check_size(cedar: str) -> None:
    """Refuse a text that Cedar's parser could not read without overflowing the stack."""
    if len(cedar) > LONGEST_TEXT:
        message = f"A policy has at most {LONGEST_TEXT:,} characters; say it in several."
        raise InvalidPolicy(message, [Fault("cedar", message)])
    code = _STRING_OR_COMMENT.sub('""', cedar)
    depth = deepest = 0
    for bracket in re.findall(r"[(\[{)\]}]", code):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST_TEXT or len(_OPERATOR.findall(code)) > MOST_OPERATORS:
        message = f"A policy nests at most {DEEPEST_TEXT} brackets and has at most {MOST_OPERATORS:,} operators."
        raise InvalidPolicy(message, [Fault("cedar", message)])


def one_static(cedar: str) -> pst.Template:
    """The syntax tree of a text; raises :class:`InvalidPolicy` when it is not exactly one static policy."""
    _check_size(cedar)
    try:
        tree = cedarpy.policies_to_pst(cedar)
    except ValueError as refused:
        said = _readable(str(refused))
        place = unreadable_at(cedar, said, _refused)
        message = f"Cedar cannot read the policy, in line {place.line}, column {place.column}: {said}"
        raise InvalidPolicy(message, [_fault(said, place)]) from refused
    if tree.templates or len(tree.static_policies) != 1:
        message = "One policy holds exactly one permit or forbid, without ?principal or ?resource."
        raise InvalidPolicy(message, [Fault("cedar", message)])
    (only,) = tree.static_policies.values()
    return only


def _anchor(principal: object) -> pst.EntityUid | None:
    match principal:
        case pst.ScopeEq(pst.EntityUid() as entity) | pst.ScopeIn(pst.EntityUid() as entity):
            return entity
        case pst.ScopeIsIn(_, pst.EntityUid() as entity):
            return entity
        case _:
            return None


def _within(resource: object, scope: str) -> str | None:
    """The domain that a resource must be in: the narrower of the policy's scope and its own words."""
    match resource:
        case pst.ScopeIn(pst.EntityUid(pst.EntityType("Domain", ()), id_)):
            named = id_
        case pst.ScopeIsIn(_, pst.EntityUid(pst.EntityType("Domain", ()), id_)):
            named = id_
        case pst.ScopeEq(pst.EntityUid(pst.EntityType("Dataset", ()), id_)):
            named = domain_of(id_)
        case _:
            named = ROOT
    inner = named if scope in lineage(named) else scope
    return None if inner == ROOT else inner


def _readable(text: str) -> str:
    """Cedar's words without its numbering of policies, which means nothing to the writer."""
    return re.sub(r"(for policy `policy\d+`,? ?|policy\d+)", "", text).strip()[:600]


class _Reading:
    """What one walk over a policy's syntax tree finds out."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.boundaries: set[datetime] = set()
        self.clocks: set[timedelta] = set()
        self.unsteady = False
        self.elusive = False
        self.environments: set[str] = set()
        self.purposes: set[str] = set()
        self.projects: set[str] = set()
        self.samples: set[str] = set()
        self.texts: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.refused: list[str] = []
        self._noted: dict[pst.Expr, set[str]] = {
            _NAME: self.names,
            _ENVIRONMENT: self.environments,
            _PURPOSE: self.purposes,
            _PROJECT: self.projects,
        }

    def read(self, tree: pst.Template) -> None:
        """Read a whole policy: its scope and each of its clauses."""
        self._entities(tree.principal)
        self._entities(tree.resource)
        for clause in tree.clauses:
            self.expression(clause.expr)

    def expression(self, expression: pst.Expr) -> None:
        """Read one expression."""
        self._expression(expression)

    def _entities(self, node: object) -> None:
        if isinstance(node, pst.EntityUid):
            if str(node.type) == "Dataset":
                self.names.add(node.id)
        else:
            for child in _children(node):
                self._entities(child)

    def _expression(self, node: object) -> None:
        match node:
            case pst.BinaryOp(op, left, right):
                self._binary(node, op, left, right)
            case pst.Like(base, pattern):
                self._like(base, pattern)
            case pst.GetAttr(base) | pst.HasAttr(base):
                self._attribute(node, base)
            case pst.Var(name):
                self._whole(name)
            case pst.EntityUid():
                self._entities(node)
            case pst.StringLit(text):
                self.texts.add(text)
            case _:
                self._each(node)

    def _each(self, node: object) -> None:
        for child in _children(node):
            self._expression(child)

    def _binary(self, node: pst.BinaryOp, op: str, left: pst.Expr, right: pst.Expr) -> None:
        if op in _COMPARISONS and self._time(left, right):
            return
        if op in {"eq", "not_eq", "in"} and _RESOURCE in (left, right):
            self._place(left, right)
        elif not self._literals(op, left, right):
            if op == "in":
                self._refuse_known(left)
            self._each(node)

    def _literals(self, op: str, left: pst.Expr, right: pst.Expr) -> bool:
        """Note what the name or the context is compared with, if that is what is compared, and with literals alone."""
        if op == "contains":
            return isinstance(left, pst.Set) and self._texts(right, left.elements)
        return op in {"eq", "not_eq"} and (self._texts(left, [right]) or self._texts(right, [left]))

    def _texts(self, attribute: pst.Expr, others: Iterable[pst.Expr]) -> bool:
        """Note the literals that the name or the context is compared with; whether all were literals."""
        noted = self._noted.get(attribute)
        texts = [other.value if isinstance(other, pst.StringLit) else None for other in others]
        if noted is None or None in texts:
            return False
        noted.update(text for text in texts if text is not None)
        self._note_another(attribute)
        return True

    def _place(self, left: pst.Expr, right: pst.Expr) -> None:
        """The resource itself, compared: with entities that may be named."""
        self._expression(right if left == _RESOURCE else left)

    def _attribute(self, node: pst.Expr, base: pst.Expr) -> None:
        if node == _NOW:
            self.unsteady = self.elusive = True
        elif isinstance(base, pst.Var):
            self._note_attribute(base, node)
            self._note_another(node)
            self.elusive |= node in (_PURPOSE, _PROJECT)
        else:
            self._refuse_known(base)
            self._expression(base)

    def _note_attribute(self, base: pst.Var, node: pst.Expr) -> None:
        match node:
            case pst.HasAttr(_, (name, *_)) | pst.GetAttr(_, str(name)) if base.name in {
                "principal",
                "resource",
                "context",
            }:
                self.attributes.add((base.name, name))

    def _note_another(self, node: pst.Expr) -> None:
        """Whatever looks at the purpose or project at all may do so for one that nobody names."""
        match node:
            case pst.GetAttr(base, "purpose" | "project") if base == _CONTEXT:
                self._noted[node].add(_ANOTHER)
            case pst.HasAttr(base, ("purpose" | "project" as name, *_)) if base == _CONTEXT:
                self._noted[pst.GetAttr(_CONTEXT, name)].add(_ANOTHER)

    def _refuse_known(self, node: pst.Expr) -> None:
        """Refuse what would look into a subject or dataset that is not the one asked about."""
        known = {str(entity.type) for entity in pst.entity_uids(node)}
        if known & {"Dataset", "User", "Service"}:
            self.refused.append("A policy can only look into principal and resource, never into another one by name.")

    def _whole(self, name: str) -> None:
        if name == "context":
            self.refused.append("context can only be used through its attributes, such as context.environment.")

    def _time(self, left: pst.Expr, right: pst.Expr) -> bool:
        """Note when a comparison with the time of asking turns, if that is what it is and can be told."""
        return self._turns(left, right) or self._turns(right, left)

    def _turns(self, clock: pst.Expr, other: pst.Expr) -> bool:
        match clock, other:
            case pst.GetAttr(), pst.UnaryOp("datetime", pst.StringLit(text)) if clock == _NOW:
                self._boundary(text, timedelta())
            case pst.BinaryOp("offset", base, pst.UnaryOp("duration", pst.StringLit(by))), pst.UnaryOp(
                "datetime", pst.StringLit(text)
            ) if base == _NOW and (offset := read_duration(by)) is not None:
                self._boundary(text, offset)
            case pst.UnaryOp("to_time", base), pst.UnaryOp("duration", pst.StringLit(text)) if base == _NOW:
                time = read_duration(text)
                self.clocks.add(timedelta())
                if time is not None and timedelta() <= time < timedelta(days=1):
                    self.clocks.add(time)
            case pst.UnaryOp("to_date", base), pst.UnaryOp("datetime", pst.StringLit()) if base == _NOW:
                self.clocks.add(timedelta())
                self.elusive = True  # The day itself is no moment that is told.
            case _:
                return False
        return True

    def _boundary(self, text: str, offset: timedelta) -> None:
        moment = read_datetime(text)
        turn = None if moment is None else earlier(moment, offset)
        if turn is None:
            self.refused.append(f"A moment lies between {EARLIEST:%Y} and {LATEST:%Y}.")
        else:
            self.boundaries.add(turn)

    def _like(self, base: pst.Expr, pattern: tuple[pst.PatternElem, ...]) -> None:
        if base == _NAME:
            self.samples.add("".join(element.value if isinstance(element, pst.Char) else "x" for element in pattern))
        elif base in (_PURPOSE, _PROJECT):
            self._noted[base].add("".join(element.value for element in pattern if isinstance(element, pst.Char)))
            self._note_another(base)
            self.elusive = True
        else:
            self._expression(base)


def _children(node: object) -> Iterator[object]:
    if isinstance(node, tuple | list):
        yield from node
    elif isinstance(node, Mapping):
        yield from node.values()
    elif is_dataclass(node):
        for field in fields(node):
            yield getattr(node, field.name)
