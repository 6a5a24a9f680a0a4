"""Conditions: what a policy asks, compiled from Cedar's syntax tree.

A policy is satisfied where all its *parts* hold: its head, its scope and every conjunct of
its clauses. A part that reads only the subject and the context has one answer for all
resources. One that reads only the resource is a bitmap that stands until a resource changes.
One that reads both is a *join*. What lies outside the compiled subset (arithmetic,
extension types but for moments, attributes of attributes, records) is asked of Cedar itself,
once for each set of resources that the part cannot tell apart.

Answers are pairs of bitmaps: where the part is true, and where it errs (it is false on the
rest). Short circuits are Cedar's: what stands to the right of a false conjunct is not looked
at and cannot err. Cedar: https://docs.cedarpolicy.com/policies/syntax-operators.html.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, cast

from cedarpy import pst

from muniment.core.moments import read_datetime
from muniment.core.names import alike
from muniment.core.shelves import MISSING, Find, Marks, Row, Shelf, Uid, Value, held_as

#: The attributes that every dataset has, so that to read one cannot err on a dataset.
_ALWAYS = frozenset({"name", "owner", "tags", "classification", "sensitivity", "lifecycle"})


class ErredError(Exception):
    """The condition has no value here: an attribute is missing, or a type does not fit."""


class _OutsideError(Exception):
    """The expression lies outside the compiled subset."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: ``above`` are the subject itself and all groups it is in, directly or through others."""

    uid: Uid
    above: frozenset[Uid]
    attributes: Mapping[str, Value]


class Cedar(Protocol):
    """Cedar itself, asked about one expression and several resources: true, false, or nothing where it errs.

    ``standing`` is all that it knows beside subject and resource, compared by identity.
    """

    @property
    def standing(self) -> Hashable: ...

    def lasting(self) -> Cedar:
        """The same in a form that may be held for long."""

    def holds(self, expression: pst.Expr, rows: Sequence[Row]) -> Sequence[bool | None]:
        """One answer for each resource, in their order."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a condition may read but the resource: who asks, in which context, how groups stand in one another.

    ``groups`` gives what a group is in; it is compared by identity, so that equal scenes of
    one realm share their answers.
    """

    principal: Principal
    context: Mapping[str, Value]
    groups: GroupTree
    cedar: Cedar
    #: The answers so far of parts that read no resource.
    known: dict[Part, bool] = field(default_factory=dict, compare=False)


class GroupTree:
    """Which groups a group is in, itself included; of one that nobody declared, itself alone."""

    def __init__(self, above: Callable[[str], AbstractSet[str]]) -> None:
        self._above = above
        self._known: dict[str, frozenset[Uid]] = {}

    def above(self, group: str) -> frozenset[Uid]:
        """The group and all that it is in."""
        found = self._known.get(group)
        if found is None:
            found = self._known[group] = frozenset(("Group", name) for name in self._above(group))
        return found


#: An expression's value for one subject, context and resource; raises :class:`ErredError`.
_Scalar = Callable[[Scene, Row | None], Value]

#: An expression's truth for one subject and context on every resource of a shelf.
_OnShelf = Callable[[Shelf, Scene], Marks]


@dataclass(frozen=True, slots=True)
class Reads:
    """What an expression reads. ``whole`` names the variables it reads as entities, not through an attribute."""

    principal: frozenset[str] = frozenset()
    resource: frozenset[str] = frozenset()
    context: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    climbs: bool = False

    @property
    def resources(self) -> bool:
        """Whether the resource is read at all."""
        return bool(self.resource) or "resource" in self.whole

    @property
    def resources_alone(self) -> bool:
        """Whether nothing but the resource is read, so that the answer stands until a resource changes."""
        return self.resources and not self.subjects and not self.climbs

    @property
    def subjects(self) -> bool:
        """Whether the subject or the context is read at all."""
        return bool(self.principal or self.context) or bool(self.whole & {"principal", "context"})


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One conjunct of a policy. Parts are made once for each expression (:func:`part`) and compared by identity."""

    expression: pst.Expr
    reads: Reads
    #: Whether the part can never err on a dataset.
    certain: bool
    #: Whether Cedar has to be asked.
    slow: bool
    _scalar: _Scalar | None
    _marks: _OnShelf | None

    def holds(self, scene: Scene) -> bool | None:
        """The answer of a part that reads no resource; nothing where it errs."""
        if self._scalar is None:
            return scene.cedar.holds(self.expression, [_NOWHERE])[0]
        try:
            return _truth(self._scalar(scene, None))
        except ErredError:
            return None

    def marks(self, shelf: Shelf, scene: Scene) -> Marks:
        """Where the part is true and where it errs; what was found before is given again."""
        if "now" in self.reads.context:
            return self.found(shelf, scene)  # In a moment the answer is of no use any more.
        key = self._key(scene)
        known = shelf.held(self, key)
        if known is None:
            known = self.found(shelf, scene)
            shelf.hold(self, key, known, self._find(scene))
        return known

    def _find(self, scene: Scene) -> Find | None:
        """How the answer is found on another shelf: without the realm of the scene, which what is held outlives.

        Of many subjects, Cedar is not asked again before they ask.
        """
        if self.slow and self.reads.subjects:
            return None
        lasting = replace(scene, cedar=scene.cedar.lasting() if self.slow else UNASKED.cedar, known={})
        return lambda fewer: self.found(fewer, lasting)

    def marks_among(self, shelf: Shelf, scene: Scene, among: int) -> Marks:
        """The same for some of the resources: of a slow part, Cedar is asked no more than it must be."""
        if not self.slow or ("now" not in self.reads.context and shelf.few_kinds(self._told_apart_by())):
            return self.marks(shelf, scene)
        return self._asked(shelf, scene, among)

    def prepare(self, shelf: Shelf, *, alone: bool) -> None:
        """Make ready the index that the part looks into, and (``alone``) the marks of one that reads nobody."""
        if not self.reads.resources:
            return
        shelf.few_kinds(self._told_apart_by())
        if alone and self.reads.resources_alone and not self.slow:
            self.marks(shelf, UNASKED)

    def found(self, shelf: Shelf, scene: Scene) -> Marks:
        """The marks found anew, and not held."""
        return self._asked(shelf, scene, shelf.every) if self._marks is None else self._marks(shelf, scene)

    def _asked(self, shelf: Shelf, scene: Scene, among: int) -> Marks:
        """One question to Cedar for each kind of resource."""
        kinds = [(row, bits & among) for row, bits in shelf.kinds(self._told_apart_by(), among)]
        true = erred = 0
        for (_, bits), answer in zip(kinds, scene.cedar.holds(self.expression, [row for row, _ in kinds]), strict=True):
            if answer is None:
                erred |= bits
            elif answer:
                true |= bits
        return true, erred

    def _told_apart_by(self) -> tuple[str, ...] | None:
        return None if "resource" in self.reads.whole else tuple(sorted(self.reads.resource))

    def _key(self, scene: Scene) -> Hashable:
        """All that the answer depends on beside the shelf; nothing for a part that reads the resource alone."""
        reads = self.reads
        key: list[Hashable] = []
        if reads.subjects:
            read = scene.principal
            key.extend(held_as(read.attributes.get(name, MISSING)) for name in sorted(reads.principal))
            key.extend(scene.context.get(name, MISSING) for name in sorted(reads.context))
            if "principal" in reads.whole:
                key.extend((read.uid, read.above))
        if reads.climbs:
            key.append(scene.groups)
        if self.slow:
            key.append(scene.cedar.standing)
        return tuple(key) or None


#: A resource that a part which reads none is asked about.
_NOWHERE = Row(("Dataset", ""), (), {})


@lru_cache(maxsize=50_000)
def part(expression: pst.Expr, *, on_domains: bool) -> Part:
    """The part that an expression is; ``on_domains`` where the resource may be a domain, which has an owner alone."""
    reads = _reads(expression)
    scalar = marks = None
    try:
        scalar = _scalar(expression)
        marks = _marks(expression) if reads.resources else None
    except _OutsideError:
        scalar = None
    return Part(
        expression=expression,
        reads=reads,
        certain=scalar is not None and _certain(expression, on_domains=on_domains),
        slow=scalar is None,
        _scalar=scalar,
        _marks=marks,
    )


def conjuncts(expression: pst.Expr) -> Iterator[pst.Expr]:
    """What must all hold for an expression to hold, in the order in which Cedar looks."""
    match expression:
        case pst.BinaryOp("and", left, right):
            yield from conjuncts(left)
            yield from conjuncts(right)
        case pst.UnaryOp("not", pst.BinaryOp("or", left, right)):
            yield from conjuncts(pst.UnaryOp("not", left))
            yield from conjuncts(pst.UnaryOp("not", right))
        case _:
            yield expression


def about_action(expression: pst.Expr, action: str) -> pst.Expr:
    """The expression with the action that is asked about written in."""
    known = pst.EntityLit(pst.EntityUid(pst.EntityType("Action"), action))
    return cast("pst.Expr", _with(expression, pst.Var("action"), known))


def names_action(expression: object) -> bool:
    """Whether an expression reads the action."""
    return expression == pst.Var("action") or any(map(names_action, _children(expression)))


def _with(node: object, old: pst.Expr, new: pst.Expr) -> object:
    if node == old:
        return new
    if isinstance(node, tuple):
        return tuple(_with(child, old, new) for child in node)
    if isinstance(node, Mapping):
        return pst.FrozenMap({key: _with(child, old, new) for key, child in node.items()})
    if is_dataclass(node) and not isinstance(node, type):
        changed = {each.name: _with(getattr(node, each.name), old, new) for each in fields(node)}
        return replace(node, **changed)
    return node


def _children(node: object) -> Iterator[object]:
    if isinstance(node, tuple):
        yield from node
    elif isinstance(node, Mapping):
        yield from node.values()
    elif is_dataclass(node):
        for each in fields(node):
            child = getattr(node, each.name)
            if is_dataclass(child) or isinstance(child, tuple | Mapping):
                yield child


def _reads(expression: object) -> Reads:
    principal: set[str] = set()
    resource: set[str] = set()
    context: set[str] = set()
    whole: set[str] = set()
    of = {"principal": principal, "resource": resource, "context": context}
    climbs = False
    waiting: list[object] = [expression]
    while waiting:
        node = waiting.pop()
        match node:
            case pst.GetAttr(pst.Var(name), attribute) if name in of:
                of[name].add(attribute)
            case pst.HasAttr(pst.Var(name), attributes) if name in of:
                of[name].add(attributes[0])
            case pst.Var(name):
                whole.add(name)
            case pst.BinaryOp("in", base) | pst.Is(base) if not isinstance(base, pst.Var):
                climbs = True
                waiting.extend(_children(node))
            case _:
                waiting.extend(_children(node))
    return Reads(frozenset(principal), frozenset(resource), frozenset(context), frozenset(whole), climbs)


# One resource at a time: the value of an expression.


def _scalar(expression: pst.Expr) -> _Scalar:  # noqa: C901 - one line for each operator of Cedar
    match expression:
        case pst.BoolLit(value) | pst.LongLit(value) | pst.StringLit(value):
            return _constant(value)
        case pst.EntityLit(uid):
            return _constant((str(uid.type), uid.id))
        case pst.UnaryOp("datetime", pst.StringLit(text)):
            return _constant(_moment(text))
        case pst.Set(elements):
            return _set(elements)
        case pst.Var(name):
            return _variable(name)
        case pst.GetAttr(pst.Var(name), attribute):
            return _attribute(name, attribute)
        case pst.HasAttr(pst.Var(name), (attribute,)):
            return _has(name, attribute)
        case pst.UnaryOp("not", argument):
            return _not(_scalar(argument))
        case pst.UnaryOp("is_empty", argument):
            return _is_empty(_scalar(argument))
        case pst.BinaryOp("and", left, right):
            return _and(_scalar(left), _scalar(right))
        case pst.BinaryOp("or", left, right):
            return _or(_scalar(left), _scalar(right))
        case pst.IfThenElse(condition, then, otherwise):
            return _if(_scalar(condition), _scalar(then), _scalar(otherwise))
        case pst.BinaryOp("eq", left, right):
            return _compared(_scalar(left), _scalar(right), same)
        case pst.BinaryOp("not_eq", left, right):
            return _compared(_scalar(left), _scalar(right), _different)
        case pst.BinaryOp(name, left, right) if name in _ORDERS:
            return _compared(_scalar(left), _scalar(right), _ORDERS[name])
        case pst.BinaryOp(name, left, right) if name in _ON_SETS:
            return _compared(_scalar(left), _scalar(right), _ON_SETS[name])
        case pst.BinaryOp("in", left, right) if _is_placed(left):
            return _in(_scalar(left), _scalar(right))
        case pst.Is(base, type_, inside) if inside is None or _is_placed(base):
            return _is(_scalar(base), str(type_), None if inside is None else _scalar(inside))
        case pst.Like(base, pattern):
            return _like(_scalar(base), literals(pattern))
        case _:
            raise _OutsideError


def _constant(value: Value) -> _Scalar:
    return lambda _scene, _row: value


def _moment(text: str) -> datetime:
    moment = read_datetime(text)
    if moment is None:
        raise _OutsideError
    return moment


def _set(elements: Sequence[pst.Expr]) -> _Scalar:
    values = [_scalar(element) for element in elements]
    if all(isinstance(element, _LITERALS) for element in elements):
        return _constant(frozenset(held_as(value(UNASKED, None)) for value in values))
    return lambda scene, row: frozenset(held_as(value(scene, row)) for value in values)


_LITERALS = (pst.BoolLit, pst.LongLit, pst.StringLit, pst.EntityLit)


def _variable(name: str) -> _Scalar:
    if name == "principal":
        return lambda scene, _row: scene.principal.uid
    if name == "resource":
        return lambda _scene, row: _there(row).uid
    raise _OutsideError


def _attribute(variable: str, name: str) -> _Scalar:
    found = _looked_up(variable, name)

    def value(scene: Scene, row: Row | None) -> Value:
        value = found(scene, row)
        if value is MISSING:
            raise ErredError
        return value

    return value


def _has(variable: str, name: str) -> _Scalar:
    found = _looked_up(variable, name)
    return lambda scene, row: found(scene, row) is not MISSING


def _looked_up(variable: str, name: str) -> _Scalar:
    if variable == "principal":
        return lambda scene, _row: scene.principal.attributes.get(name, MISSING)
    if variable == "context":
        return lambda scene, _row: scene.context.get(name, MISSING)
    if variable == "resource":
        return lambda _scene, row: _there(row).attributes.get(name, MISSING)
    raise _OutsideError


def _there(row: Row | None) -> Row:
    if row is None:
        message = "a condition on resources was asked without one"
        raise AssertionError(message)
    return row


def _not(argument: _Scalar) -> _Scalar:
    return lambda scene, row: not _truth(argument(scene, row))


def _and(left: _Scalar, right: _Scalar) -> _Scalar:
    return lambda scene, row: _truth(left(scene, row)) and _truth(right(scene, row))


def _or(left: _Scalar, right: _Scalar) -> _Scalar:
    return lambda scene, row: _truth(left(scene, row)) or _truth(right(scene, row))


def _if(condition: _Scalar, then: _Scalar, otherwise: _Scalar) -> _Scalar:
    return lambda scene, row: then(scene, row) if _truth(condition(scene, row)) else otherwise(scene, row)


def _is_empty(argument: _Scalar) -> _Scalar:
    return lambda scene, row: not _elements(argument(scene, row))


def _compared(left: _Scalar, right: _Scalar, compare: Callable[[Value, Value], bool]) -> _Scalar:
    return lambda scene, row: compare(left(scene, row), right(scene, row))


def _in(left: _Scalar, right: _Scalar) -> _Scalar:
    return lambda scene, row: not _above(left(scene, row), scene, row).isdisjoint(_entities(right(scene, row)))


def _is(base: _Scalar, type_: str, inside: _Scalar | None) -> _Scalar:
    if inside is None:
        return lambda scene, row: _entity(base(scene, row))[0] == type_
    within = _in(base, inside)
    return lambda scene, row: _entity(base(scene, row))[0] == type_ and _truth(within(scene, row))


def _like(base: _Scalar, pattern: tuple[str, ...]) -> _Scalar:
    return lambda scene, row: alike(pattern, _text(base(scene, row)))


def literals(pattern: Iterable[pst.PatternElem]) -> tuple[str, ...]:
    """The literals of a ``like``, in their order: between any two there was a ``*``."""
    found = [""]
    for element in pattern:
        if isinstance(element, pst.Char):
            found[-1] += element.value
        else:
            found.append("")
    return tuple(found)


def same(left: Value, right: Value) -> bool:
    """Cedar's ``==``: values of different types are never equal."""
    return type(left) is type(right) and left == right


def _different(left: Value, right: Value) -> bool:
    return not same(left, right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def ordered(left: Value, right: Value) -> bool:
        if type(left) is not type(right) or not isinstance(left, int | datetime) or isinstance(left, bool):
            raise ErredError
        return compare(left, right)

    return ordered


_ORDERS = {
    "less": _ordered(operator.lt),
    "less_eq": _ordered(operator.le),
    "greater": _ordered(operator.gt),
    "greater_eq": _ordered(operator.ge),
}


def _contains(whole: Value, element: Value) -> bool:
    return held_as(element) in _elements(whole)


def _contains_all(whole: Value, elements: Value) -> bool:
    return _elements(whole) >= _elements(elements)


def _contains_any(whole: Value, elements: Value) -> bool:
    return not _elements(whole).isdisjoint(_elements(elements))


_ON_SETS = {"contains": _contains, "contains_all": _contains_all, "contains_any": _contains_any}


def _truth(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise ErredError


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    raise ErredError


def _elements(value: Value) -> frozenset[Value]:
    if isinstance(value, frozenset):
        return value
    raise ErredError


def _entity(value: Value) -> Uid:
    if isinstance(value, tuple):
        return value
    raise ErredError


def _entities(value: Value) -> frozenset[Uid]:
    """The right side of ``in``: an entity, or a set of entities alone."""
    if isinstance(value, frozenset):
        return frozenset(map(_entity, value))
    return frozenset({_entity(value)})


def _above(value: Value, scene: Scene, row: Row | None) -> frozenset[Uid]:
    """An entity and all that it is in."""
    uid = _entity(value)
    if uid == scene.principal.uid:
        return scene.principal.above
    if row is not None and uid == row.uid:
        return frozenset({uid, *row.above})
    return scene.groups.above(uid[1])


def _is_placed(expression: pst.Expr) -> bool:
    """Whether it is known what the entity is in: the subject, the resource, or a group."""
    match expression:
        case pst.Var("principal" | "resource"):
            return True
        case pst.EntityLit(uid):
            return str(uid.type) == "Group"
        case _:
            return expression == _OWNER


# All resources at once: where an expression is true, and where it errs.


def _marks(expression: pst.Expr) -> _OnShelf:
    """The bitmaps of a boolean expression; the operators that join truths are joined as bitmaps."""
    if not _reads(expression).resources:
        return _everywhere(_scalar(expression))
    match expression:
        case pst.BinaryOp("and", left, right):
            return _marks_and(_marks(left), _marks(right))
        case pst.BinaryOp("or", left, right):
            return _marks_or(_marks(left), _marks(right))
        case pst.UnaryOp("not", argument):
            return _marks_not(_marks(argument))
        case pst.IfThenElse(condition, then, otherwise):
            return _marks_if(_marks(condition), _marks(then), _marks(otherwise))
        case _:
            return _looked_for(expression) or _by_kind(expression)


def _everywhere(value: _Scalar) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        try:
            return (shelf.every, 0) if _truth(value(scene, None)) else (0, 0)
        except ErredError:
            return 0, shelf.every

    return marks


def _marks_and(left: _OnShelf, right: _OnShelf) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        true, erred = left(shelf, scene)
        if not true:
            return true, erred
        too, errs = right(shelf, scene)
        return true & too, erred | (true & errs)

    return marks


def _marks_or(left: _OnShelf, right: _OnShelf) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        true, erred = left(shelf, scene)
        rest = shelf.every & ~(true | erred)
        if not rest:
            return true, erred
        too, errs = right(shelf, scene)
        return true | (rest & too), erred | (rest & errs)

    return marks


def _marks_not(argument: _OnShelf) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        true, erred = argument(shelf, scene)
        return shelf.every & ~(true | erred), erred

    return marks


def _marks_if(condition: _OnShelf, then: _OnShelf, otherwise: _OnShelf) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        true, erred = condition(shelf, scene)
        false = shelf.every & ~(true | erred)
        yes, yes_erred = then(shelf, scene) if true else (0, 0)
        no, no_erred = otherwise(shelf, scene) if false else (0, 0)
        return (true & yes) | (false & no), erred | (true & yes_erred) | (false & no_erred)

    return marks


def _by_kind(expression: pst.Expr) -> _OnShelf:
    """Ask once for each kind of resource that the expression can tell apart."""
    value, reads = _scalar(expression), _reads(expression)
    attributes = None if "resource" in reads.whole else tuple(sorted(reads.resource))

    def marks(shelf: Shelf, scene: Scene) -> Marks:
        true = erred = 0
        for row, bits in shelf.kinds(attributes, shelf.every):
            try:
                if _truth(value(scene, row)):
                    true |= bits
            except ErredError:
                erred |= bits
        return true, erred

    return marks


_RESOURCE = pst.Var("resource")
_TAGS = pst.GetAttr(_RESOURCE, "tags")
_NAME = pst.GetAttr(_RESOURCE, "name")
_OWNER = pst.GetAttr(_RESOURCE, "owner")


def _looked_for(expression: pst.Expr) -> _OnShelf | None:  # noqa: C901 - one line for each index
    """What an index answers at once; nothing for an expression that none does."""
    match expression:
        case pst.BinaryOp("in", left, right) if left == _RESOURCE and _free(right):
            return _inside(_scalar(right))
        case pst.BinaryOp("in", pst.Var("principal"), right) if right == _OWNER:
            return _owned
        case pst.BinaryOp("eq", left, right) if left == _RESOURCE and _free(right):
            return _itself(_scalar(right))
        case pst.BinaryOp("eq", pst.GetAttr(base, attribute), right) if base == _RESOURCE and _free(right):
            return _valued(attribute, _scalar(right))
        case pst.BinaryOp("eq", left, pst.GetAttr(base, attribute)) if base == _RESOURCE and _free(left):
            return _valued(attribute, _scalar(left))
        case pst.BinaryOp("contains", left, pst.GetAttr(base, attribute)) if base == _RESOURCE and _free(left):
            return _among(attribute, _scalar(left))
        case pst.BinaryOp("contains", left, right) if left == _TAGS and _free(right):
            return _tagged(lambda value: frozenset({value}), _scalar(right), every=True)
        case pst.BinaryOp("contains_all", left, right) if left == _TAGS and _free(right):
            return _tagged(_elements, _scalar(right), every=True)
        case pst.BinaryOp("contains_any", left, right) if left == _TAGS and _free(right):
            return _tagged(_elements, _scalar(right), every=False)
        case pst.Is(base, type_, None) if base == _RESOURCE:
            return _typed(str(type_))
        case pst.Is(base, type_, inside) if base == _RESOURCE and inside is not None and _free(inside):
            return _marks_and(_typed(str(type_)), _inside(_scalar(inside)))
        case pst.Like(base, pattern) if base == _NAME:
            return _named(literals(pattern))
        case _:
            return None


def _free(expression: pst.Expr) -> bool:
    return not _reads(expression).resources


def _given(shelf: Shelf, find: Callable[[], Marks]) -> Marks:
    """What is found, unless the expression that it is looked for by errs: then it errs everywhere."""
    try:
        return find()
    except ErredError:
        return 0, shelf.every


def _inside(places: _Scalar) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        return _given(shelf, lambda: (_union(map(shelf.inside, _entities(places(scene, None)))), 0))

    return marks


def _owned(shelf: Shelf, scene: Scene) -> Marks:
    return _union(shelf.valued("owner", uid) for uid in scene.principal.above), shelf.lacking("owner")


def _itself(value: _Scalar) -> _OnShelf:
    return lambda shelf, scene: _given(shelf, lambda: (shelf.at(value(scene, None)), 0))


def _valued(attribute: str, value: _Scalar) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        return _given(shelf, lambda: (shelf.valued(attribute, value(scene, None)), shelf.lacking(attribute)))

    return marks


def _among(attribute: str, values: _Scalar) -> _OnShelf:
    def marks(shelf: Shelf, scene: Scene) -> Marks:
        return _given(
            shelf,
            lambda: (
                _union(shelf.valued(attribute, value) for value in _elements(values(scene, None))),
                shelf.lacking(attribute),
            ),
        )

    return marks


def _tagged(read: Callable[[Value], frozenset[Value]], tags: _Scalar, *, every: bool) -> _OnShelf:
    def found(shelf: Shelf, scene: Scene) -> Marks:
        wanted = read(tags(scene, None))
        lacking = shelf.lacking("tags")
        if not every:
            return _union(map(shelf.tagged, wanted)), lacking
        bits = shelf.every & ~lacking
        for tag in wanted:
            bits &= shelf.tagged(tag)
        return bits, lacking

    return lambda shelf, scene: _given(shelf, lambda: found(shelf, scene))


def _typed(type_: str) -> _OnShelf:
    return lambda shelf, _scene: (shelf.typed(type_), 0)


def _named(pattern: tuple[str, ...]) -> _OnShelf:
    return lambda shelf, _scene: (shelf.matching(pattern), shelf.lacking("name"))


def _union(bitmaps: Iterable[int]) -> int:
    found = 0
    for bits in bitmaps:
        found |= bits
    return found


# What can never err.


def _certain(expression: pst.Expr, *, on_domains: bool) -> bool:  # noqa: C901 - one line for each operator
    """Whether an expression has a truth on every dataset (and domain), whoever asks; when in doubt, not."""
    match expression:
        case pst.BoolLit():
            return True
        case pst.UnaryOp("not", argument):
            return _certain(argument, on_domains=on_domains)
        case pst.BinaryOp("and" | "or", left, right):
            return _certain(left, on_domains=on_domains) and _certain(right, on_domains=on_domains)
        case pst.BinaryOp("eq" | "not_eq", left, right):
            return _plain(left, on_domains=on_domains) and _plain(right, on_domains=on_domains)
        case pst.BinaryOp("in", pst.Var(), right):
            return right == _OWNER or _all_entities(right)
        case pst.BinaryOp("contains", pst.Set() as left, right):
            return _plain(left, on_domains=on_domains) and _plain(right, on_domains=on_domains)
        case pst.BinaryOp("contains", left, pst.StringLit()):
            return left == _TAGS and not on_domains
        case pst.BinaryOp("contains" | "contains_all" | "contains_any", left, pst.Set() as right):
            return left == _TAGS and not on_domains and _plain(right, on_domains=on_domains)
        case pst.Is(pst.Var(), _, inside):
            return inside is None or _all_entities(inside)
        case pst.HasAttr(pst.Var()):
            return True
        case pst.Like(base):
            return base == _NAME and not on_domains
        case pst.BinaryOp(name, left, right) if name in _ORDERS:
            return _orders_moments(left, right)
        case _:
            return False


def _plain(expression: pst.Expr, *, on_domains: bool) -> bool:
    match expression:
        case pst.BoolLit() | pst.LongLit() | pst.StringLit() | pst.EntityLit() | pst.Var():
            return True
        case pst.GetAttr(pst.Var("resource"), name):
            return name == "owner" or (name in _ALWAYS and not on_domains)
        case pst.GetAttr(pst.Var("context"), name):
            return name in {"environment", "now"} and not on_domains
        case pst.GetAttr(pst.Var("principal"), name):
            return name == "issuer"
        case pst.Set(elements):
            return all(_plain(element, on_domains=on_domains) for element in elements)
        case _:
            return _is_moment(expression)


def _all_entities(expression: pst.Expr) -> bool:
    match expression:
        case pst.EntityLit():
            return True
        case pst.Set(elements):
            return all(isinstance(element, pst.EntityLit) for element in elements)
        case _:
            return False


def _is_moment(expression: pst.Expr) -> bool:
    match expression:
        case pst.UnaryOp("datetime", pst.StringLit(text)):
            return read_datetime(text) is not None
        case _:
            return expression == pst.GetAttr(pst.Var("context"), "now")


def _orders_moments(left: pst.Expr, right: pst.Expr) -> bool:
    return _is_moment(left) and _is_moment(right)


class _NobodyAsked:
    standing = None

    def lasting(self) -> Cedar:
        return self

    def holds(self, expression: pst.Expr, rows: Sequence[Row]) -> Sequence[bool | None]:
        raise NotImplementedError(expression, rows)


#: A scene in which nobody asks: for expressions that read neither subject nor context.
UNASKED = Scene(Principal(("", ""), frozenset(), {}), {}, GroupTree(lambda _: frozenset()), _NobodyAsked())
