"""Reading a policy back: the form that its Cedar text is, whoever wrote it, or as much of one as it is.

A text is a form when everything that it says has a place in one. Where that is not so, what has
no place is left over as it was written, and the policy is what the form and the rest say together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from cedarpy import pst

from muniment.core.conditions import conjuncts
from muniment.core.expressions import quoted
from muniment.core.forms import Comparison, Demand, Form
from muniment.core.moments import read_datetime
from muniment.core.policies import PolicyKind, actions_of, one_static
from muniment.core.problems import Fault, Invalid, InvalidPolicy
from muniment.core.schema import DATA_ACTIONS, Action

_PRINCIPAL, _RESOURCE, _CONTEXT = pst.Var("principal"), pst.Var("resource"), pst.Var("context")
_NAME = pst.GetAttr(_RESOURCE, "name")
_NOW = pst.GetAttr(_CONTEXT, "now")

#: Where a form says which texts an attribute is one of, and whether that attribute may be absent.
_TEXTS: Mapping[pst.Expr, tuple[str, bool]] = {
    pst.GetAttr(_RESOURCE, "classification"): ("classifications", False),
    pst.GetAttr(_RESOURCE, "lifecycle"): ("lifecycles", False),
    pst.GetAttr(_RESOURCE, "layer"): ("layers", True),
    pst.GetAttr(_CONTEXT, "environment"): ("environments", False),
    pst.GetAttr(_CONTEXT, "purpose"): ("purposes", True),
    pst.GetAttr(_CONTEXT, "project"): ("projects", True),
}

#: What a policy can name beside actions.
_PRINCIPALS = frozenset({"User", "Service", "Group"})
_RESOURCES = frozenset({"Domain", "Dataset"})
_TYPES = _PRINCIPALS | _RESOURCES

_TAGS = pst.GetAttr(_RESOURCE, "tags")
_OWNER = pst.GetAttr(_RESOURCE, "owner")
_SENSITIVITY = pst.GetAttr(_RESOURCE, "sensitivity")

#: The attribute that every subject has.
_ALWAYS = "issuer"

_FLIPPED: Mapping[pst.BinaryOpName, pst.BinaryOpName] = {
    "less": "greater",
    "less_eq": "greater_eq",
    "greater": "less",
    "greater_eq": "less_eq",
    "eq": "eq",
}
_LONGEST = 2**63


@dataclass(frozen=True, slots=True)
class Reading:
    """What a policy says: a form, and what has no place in one.

    ``principals`` and ``resources`` are the one type of subject or resource that is meant
    (``User``, ``Domain``, …), ``itself`` is a domain that is meant without what is in it, and
    ``rest`` are conditions that hold as well. ``form`` alone is the policy if there is nothing of these.
    """

    form: Form
    principals: str | None = None
    resources: str | None = None
    itself: str | None = None
    rest: tuple[pst.Clause, ...] = ()

    @property
    def is_form(self) -> bool:
        """Whether the form says it all."""
        if self.rest or self.principals or self.resources == "Domain":
            return False
        anything = self.resources is None or self.form.reads_datasets
        return anything or self.form.actions <= set(DATA_ACTIONS)


def form_of(cedar: str, kind: PolicyKind = PolicyKind.ACCESS) -> Form | None:
    """The form that a policy's text is; nothing when it says what no form can."""
    found = reading(cedar, kind)
    if not found.is_form:
        return None
    try:
        found.form.cedar()
    except Invalid:
        return None
    return found.form


@lru_cache(maxsize=20_000)
def reading(cedar: str, kind: PolicyKind = PolicyKind.ACCESS) -> Reading:
    """What a policy's text says.

    Raises :class:`InvalidPolicy` when it is not exactly one static policy, or names what nothing can be: a form
    would pass over that.
    """
    tree = one_static(cedar)
    for entity in pst.entity_uids(tree):
        if (entity.id not in set(Action)) if str(entity.type) == "Action" else (str(entity.type) not in _TYPES):
            raise _nothing(entity)
    for head, types in ((tree.principal, _PRINCIPALS), (tree.resource, _RESOURCES)):
        match head:
            case pst.ScopeEq(pst.EntityUid() as entity) | pst.ScopeIn(pst.EntityUid() as entity):
                named = entity
            case pst.ScopeIsIn(_, pst.EntityUid() as entity):
                named = entity
            case _:
                continue
        if str(named.type) not in types:
            raise _nothing(named)
    return _Reader(tree, kind).read()


def _nothing(entity: pst.EntityUid) -> InvalidPolicy:
    message = f"There is no {entity.type}::{quoted(entity.id)} that could be meant here."
    return InvalidPolicy(message, [Fault("cedar", message)])


@dataclass(frozen=True, slots=True)
class _Told:
    """One comparison of something with literals, in the words of forms."""

    about: pst.Expr
    comparison: Comparison
    value: Any


class _Reader:
    """One walk over a policy, which gives each condition its place in a form, or leaves it over."""

    def __init__(self, tree: pst.Template, kind: PolicyKind) -> None:
        self._tree = tree
        self._restricts = tree.effect == "forbid" or kind is not PolicyKind.ACCESS
        self._found: dict[str, Any] = {"actions": actions_of(tree), "effect": tree.effect, "kind": kind}
        self._demands: dict[tuple[str, Comparison], Demand] = {}
        #: What was asked to be there, and whether something that has its place in the form rests on it.
        self._guards: dict[pst.Expr, bool] = {}
        self._principals: str | None = None
        self._resources: str | None = None
        self._itself: str | None = None

    def read(self) -> Reading:
        self._principal()
        self._resource()
        left = [clause for each in self._tree.clauses for clause in self._clause(each)]
        rest = tuple(each for each in left if isinstance(each, pst.Unless) or not self._guards.get(each.expr, False))
        if self._demands:
            self._found["attributes"] = tuple(self._demands.values())
        if isinstance(self._tree.action, pst.ScopeAny) and self._resources == "Dataset":
            self._found["actions"] -= {Action.ADMINISTER}  # which is never done to a dataset
        return Reading(Form(**self._found), self._principals, self._resources, self._itself, rest)

    def _once(self, name: str, value: object) -> bool:
        """Give a field of the form its value, unless it has one or there is none to give."""
        if name in self._found or value in ((), frozenset()):
            return False
        self._found[name] = value
        return True

    # --- the head ---------------------------------------------------------------------------------

    def _principal(self) -> None:
        match self._tree.principal:
            case pst.ScopeEq(pst.EntityUid() as entity) | pst.ScopeIn(pst.EntityUid() as entity):
                self._found["principals"] = (_principal_id(entity),)
            case pst.ScopeIs(type_):
                self._principals = str(type_)
            case pst.ScopeIsIn(type_, pst.EntityUid() as entity):
                self._principals = str(type_)
                self._found["principals"] = (_principal_id(entity),)
            case _:
                pass

    def _resource(self) -> None:
        head = self._tree.resource
        match head:
            case pst.ScopeEq(pst.EntityUid(type_, id_)) if str(type_) == "Domain":
                self._itself, self._resources = id_, "Domain"
            case pst.ScopeEq(pst.EntityUid(_, id_)):
                self._found["names"], self._resources = (id_,), "Dataset"
            case pst.ScopeIn(pst.EntityUid(type_, id_)) | pst.ScopeIsIn(_, pst.EntityUid(type_, id_)):
                self._found["domains" if str(type_) == "Domain" else "names"] = (id_,)
            case _:
                pass
        if isinstance(head, pst.ScopeIs | pst.ScopeIsIn):
            self._resources = str(head.entity_type)

    # --- the conditions ---------------------------------------------------------------------------

    def _clause(self, clause: pst.Clause) -> Iterator[pst.Clause]:
        """What of a clause has no place in the form."""
        if isinstance(clause, pst.When):
            for part in conjuncts(clause.expr):
                if not self._condition(part):
                    yield pst.When(part)
        else:
            for part in _alternatives(clause.expr):
                if not self._exception(part):
                    yield pst.Unless(part)

    def _condition(self, part: pst.Expr) -> bool:
        """Give a condition its place; whether it has one."""
        match part:
            case pst.HasAttr(_, (_,)):
                self._guards.setdefault(part, False)
                return False  # it is left over unless something comes to rest on it
            case pst.UnaryOp("not", denied) if (told := _told(denied)) and told.about == _TAGS:
                return _is_any(told) and self._more("tags_none", told.value)
            case pst.UnaryOp("not", denied) if groups := _principals(denied):
                return self._except(groups)
            case _:
                pass
        if groups := _principals(part):
            return self._once("principals", groups)
        if (told := _told(part)) is not None:
            return self._place(told)
        return self._named(part) or self._owned(part) or self._timed(part) or self._unless_it_lacks(part)

    def _place(self, told: _Told) -> bool:
        match told:
            case _Told(pst.GetAttr(base, attribute)) if base == _PRINCIPAL:
                return self._demand(told, attribute)
            case _Told(about, Comparison.ONE_OF, texts) if about in _TEXTS:
                name, optional = _TEXTS[about]
                guarded = not optional or self._guard(about)
                return guarded and self._once(name, texts) and self._rests_on(about)
            case _Told(about, Comparison.ONE_OF, texts) if about == _NAME:
                return self._once("names", tuple(texts))
            case _Told(about, Comparison.ALL_OF, tags) if about == _TAGS:
                return self._more("tags_all", tags)
            case _Told(about, Comparison.ANY_OF, tags) if about == _TAGS:
                return self._once("tags_any", tags)
            case _Told(about, Comparison.AT_LEAST | Comparison.AT_MOST, number) if about == _SENSITIVITY:
                return self._once(f"sensitivity_{told.comparison}", number)
            case _:
                return False

    def _demand(self, told: _Told, attribute: str) -> bool:
        if attribute != _ALWAYS and (self._restricts or not self._guard(told.about)):
            return False
        return self._demanded(Demand(attribute, told.comparison, told.value)) and self._rests_on(told.about)

    def _demanded(self, demand: Demand) -> bool:
        return self._demands.setdefault((demand.attribute, demand.comparison), demand) == demand

    def _unless_it_lacks(self, part: pst.Expr) -> bool:
        """A restriction means those who lack what it asks for."""
        found = _lacking(part)
        return self._restricts and found is not None and self._demanded(found)

    def _guard(self, about: pst.Expr) -> bool:
        return _has(about) in self._guards

    def _rests_on(self, about: pst.Expr) -> bool:
        if self._guard(about):
            self._guards[_has(about)] = True
        return True

    def _more(self, name: str, texts: frozenset[str]) -> bool:
        self._found[name] = self._found.get(name, frozenset()) | texts
        return True

    def _named(self, part: pst.Expr) -> bool:
        """Where the resource is, or what it is called."""
        domains = [_entities(_RESOURCE, each, {"Domain"}) for each in _alternatives(part)]
        if all(domains):
            return self._once("domains", tuple(id_ for ids in domains for id_ in ids))
        names = [_names(each) for each in _alternatives(part)]
        return all(names) and self._once("names", tuple(name for each in names for name in each))

    def _owned(self, part: pst.Expr) -> bool:
        match part:
            case pst.BinaryOp("contains", pst.Set(elements), about) if about == _OWNER:
                owners = [_group(element) for element in elements]
            case pst.BinaryOp("eq", about, owner) | pst.BinaryOp("eq", owner, about) if about == _OWNER:
                owners = [_group(owner)]
            case _:
                return False
        return None not in owners and self._once("owners", tuple(owner for owner in owners if owner))

    def _timed(self, part: pst.Expr) -> bool:
        match _literal_last(part):
            case pst.BinaryOp(op, about, pst.UnaryOp("datetime", pst.StringLit(text))) if about == _NOW:
                moment = read_datetime(text)
            case _:
                return False
        name = {"greater_eq": "valid_from", "less": "valid_to"}.get(op)
        return name is not None and moment is not None and self._once(name, moment)

    # --- who is left out --------------------------------------------------------------------------

    def _exception(self, part: pst.Expr) -> bool:
        if groups := _principals(part):
            return self._except(groups)
        demands = _exceptional(part, closed=not self._restricts)
        return self._once("except_attributes", demands)

    def _except(self, groups: tuple[str, ...]) -> bool:
        self._found["except_groups"] = (*self._found.get("except_groups", ()), *groups)
        return True


def _exceptional(part: pst.Expr, *, closed: bool) -> tuple[Demand, ...]:
    """The demands by which somebody is excepted; ``closed`` ones except those who lack the attribute too."""
    found: dict[tuple[str, Comparison], Demand] = {}
    guards: dict[pst.Expr, bool] = {}
    for each in conjuncts(part):
        demand = _lacking(each) if closed else None
        told = _told(each)
        if isinstance(each, pst.HasAttr) and not closed:
            guards[each] = False
            continue
        if told is not None and isinstance(told.about, pst.GetAttr) and told.about.base == _PRINCIPAL:
            has = _has(told.about)
            if (not closed and has in guards) or told.about.attr == _ALWAYS:
                guards[has] = True
                demand = Demand(told.about.attr, told.comparison, told.value)
        if demand is None or found.setdefault((demand.attribute, demand.comparison), demand) != demand:
            return ()
    return tuple(found.values()) if all(guards.values()) else ()


def _lacking(part: pst.Expr) -> Demand | None:
    """A demand that those who lack the attribute meet."""
    match part:
        case pst.IfThenElse(pst.HasAttr(base, (name,)), asked, pst.BoolLit(value=True)) if base == _PRINCIPAL:
            told = _told(asked)
            if told is not None and told.about == pst.GetAttr(_PRINCIPAL, name):
                return Demand(name, told.comparison, told.value)
    return None


# --- comparisons ------------------------------------------------------------------------------------


def _told(part: pst.Expr) -> _Told | None:
    """A comparison of an attribute with literals, however it is spelt."""
    alternatives = list(_alternatives(part))
    if len(alternatives) > 1:
        return _one_of_several([_told(each) for each in alternatives])
    match _literal_last(part):
        case pst.GetAttr():
            return _Told(part, Comparison.IS, value=True)
        case pst.UnaryOp("not", pst.GetAttr() as about):
            return _Told(about, Comparison.IS, value=False)
        case pst.BinaryOp("contains", pst.Set() as texts, pst.GetAttr() as about):
            return _with_texts(about, Comparison.ONE_OF, texts)
        case pst.BinaryOp(op, pst.GetAttr() as about, literal):
            return _compared(op, about, literal)
        case _:
            return None


def _compared(op: str, about: pst.Expr, literal: pst.Expr) -> _Told | None:
    match op, literal:
        case "eq", pst.BoolLit(so):
            return _Told(about, Comparison.IS, so)
        case "eq", pst.StringLit(text):
            return _Told(about, Comparison.ONE_OF, frozenset({text}))
        case "contains", pst.StringLit(text):
            return _Told(about, Comparison.ALL_OF, frozenset({text}))
        case "contains_any", pst.Set():
            return _with_texts(about, Comparison.ANY_OF, literal)
        case "contains_all", pst.Set():
            return _with_texts(about, Comparison.ALL_OF, literal)
        case "greater_eq" | "greater", pst.LongLit(number) if number + (op == "greater") < _LONGEST:
            return _Told(about, Comparison.AT_LEAST, number + (op == "greater"))
        case "less_eq" | "less", pst.LongLit(number) if number - (op == "less") >= -_LONGEST:
            return _Told(about, Comparison.AT_MOST, number - (op == "less"))
        case _:
            return None


def _with_texts(about: pst.Expr, comparison: Comparison, literal: pst.Set) -> _Told | None:
    texts = [element.value for element in literal.elements if isinstance(element, pst.StringLit)]
    return _Told(about, comparison, frozenset(texts)) if texts and len(texts) == len(literal.elements) else None


def _one_of_several(told: list[_Told | None]) -> _Told | None:
    """Alternatives about the same, as one: that a text is one of several, or a set has one of several."""
    first, *others = told
    if first is None:
        return None
    joins: Callable[[_Told], bool] = _is_any if _is_any(first) else lambda each: each.comparison is Comparison.ONE_OF
    every = [first, *(each for each in others if each is not None)]
    if len(every) != len(told) or not all(joins(each) and each.about == first.about for each in every):
        return None
    comparison = Comparison.ANY_OF if _is_any(first) else Comparison.ONE_OF
    return _Told(first.about, comparison, frozenset(text for each in every for text in each.value))


def _is_any(told: _Told) -> bool:
    """Whether it asks a set for one of some texts."""
    return told.comparison is Comparison.ANY_OF or (told.comparison is Comparison.ALL_OF and len(told.value) == 1)


def _literal_last(part: pst.Expr) -> pst.Expr:
    """A comparison with what is compared on its left, where only the order of the sides is another."""
    match part:
        case pst.BinaryOp(op, left, right) if op in _FLIPPED and not _reads(left) and _reads(right):
            return replace(part, op=_FLIPPED[op], left=right, right=left)
        case _:
            return part


def _reads(part: pst.Expr) -> bool:
    return isinstance(part, pst.GetAttr | pst.Var)


def _has(about: pst.Expr) -> pst.Expr:
    return pst.HasAttr(about.base, (about.attr,)) if isinstance(about, pst.GetAttr) else about


def _alternatives(part: pst.Expr) -> Iterator[pst.Expr]:
    match part:
        case pst.BinaryOp("or", left, right):
            yield from _alternatives(left)
            yield from _alternatives(right)
        case _:
            yield part


# --- entities ---------------------------------------------------------------------------------------


def _principals(part: pst.Expr) -> tuple[str, ...]:
    """The groups and subjects of which the principal must be one, or in one; none if that is not what is asked."""
    found = [_entities(_PRINCIPAL, each, {"Group", "User", "Service"}) for each in _alternatives(part)]
    return tuple(id_ for ids in found for id_ in ids) if all(found) else ()


def _names(part: pst.Expr) -> tuple[str, ...]:
    """The names, or patterns of names, of which a dataset has one."""
    match part:
        case pst.Like(about, pattern) if about == _NAME and pst.Char("*") not in pattern:
            return ("".join(element.value if isinstance(element, pst.Char) else "*" for element in pattern),)
        case _:
            told = _told(part)
    if told is not None and told.about == _NAME and told.comparison is Comparison.ONE_OF:
        return tuple(told.value)
    return _entities(_RESOURCE, part, {"Dataset"})


def _entities(about: pst.Var, part: pst.Expr, types: Iterable[str]) -> tuple[str, ...]:
    """The ids of the entities of which something must be one, or in one."""
    match part:
        case pst.BinaryOp("in", left, pst.Set(elements)) if left == about:
            named: Iterable[pst.Expr] = elements
        case pst.BinaryOp("in", left, pst.EntityLit() as entity) if left == about:
            named = (entity,)
        case pst.BinaryOp("eq", left, pst.EntityLit() as entity) if left == about and not _holds_others(entity):
            named = (entity,)
        case pst.BinaryOp("eq", pst.EntityLit() as entity, right) if right == about and not _holds_others(entity):
            named = (entity,)
        case _:
            return ()
    entities = [each.value for each in named if isinstance(each, pst.EntityLit) and str(each.value.type) in types]
    if len(entities) != len(tuple(named)) or any("*" in each.id for each in entities if str(each.type) == "Dataset"):
        return ()
    return tuple(_principal_id(each) if about == _PRINCIPAL else each.id for each in entities)


def _holds_others(entity: pst.EntityLit) -> bool:
    """Whether to be in it is more than to be it."""
    return str(entity.value.type) in {"Group", "Domain"}


def _principal_id(entity: pst.EntityUid) -> str:
    kind = str(entity.type)
    return entity.id if kind == "Group" else f"{kind.lower()}:{entity.id}"


def _group(part: pst.Expr) -> str | None:
    return part.value.id if isinstance(part, pst.EntityLit) and str(part.value.type) == "Group" else None
