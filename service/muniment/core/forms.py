"""The form: a rule for stewards who do not write Cedar.

A form *is* a Cedar policy. The text that is rendered here is what is validated, kept, shown
and enforced, and a text of this shape is read back as the form (:mod:`muniment.core.readings`).
AND across fields, OR inside one.

An attribute is something that a subject may lack. Whoever lacks one that a rule asks for never
gains by it: a permit does not mean them, while a forbid, a mask or a row filter does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, NoReturn

from muniment.core.expressions import quoted
from muniment.core.groups import is_builtin
from muniment.core.moments import ticked, write_datetime
from muniment.core.names import is_dataset, is_domain
from muniment.core.policies import PolicyKind
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import Subject

_ATTRIBUTE = re.compile(r"[a-z][a-zA-Z0-9_]*\Z", re.ASCII)


class Comparison(StrEnum):
    """What may be asked of an attribute."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    ONE_OF = "one_of"
    ANY_OF = "any_of"
    ALL_OF = "all_of"
    IS = "is"


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of one attribute: of a number, a text (``one_of``), a set (``any_of``, ``all_of``), a boolean."""

    attribute: str
    comparison: Comparison
    value: int | bool | frozenset[str]

    @property
    def _place(self) -> tuple[str, Comparison]:
        return self.attribute, self.comparison

    def cedar(self, *, without: bool) -> str:
        """The demand as a condition; ``without`` says what is answered for a subject that lacks the attribute."""
        has = f"principal has {self.attribute}"
        return f"(if {has} then {self._tested()} else true)" if without else f"{has} && {self._tested()}"

    def _tested(self) -> str:
        attribute = f"principal.{self.attribute}"
        match self.comparison, self.value:
            case Comparison.AT_LEAST, int(number):
                return f"{attribute} >= {number}"
            case Comparison.AT_MOST, int(number):
                return f"{attribute} <= {number}"
            case Comparison.IS, bool(so):
                return attribute if so else f"!{attribute}"
            case Comparison.ONE_OF, frozenset(texts):
                return f"{_set(texts)}.contains({attribute})"
            case Comparison.ANY_OF, frozenset(texts):
                return f"{attribute}.containsAny({_set(texts)})"
            case Comparison.ALL_OF, frozenset(texts):
                return f"{attribute}.containsAll({_set(texts)})"
            case _:
                message = f"{self.comparison} cannot be asked with {self.value!r}."
                raise Invalid(message, [Fault("attributes", message)])


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a policy. ``principals`` and ``except_groups`` are ids of groups, ``user:…`` or ``service:…``.

    ``names`` are names of datasets; a ``*`` in one stands for any characters. Without principals
    everybody is meant, without resources every dataset of the policy's scope. Whoever meets all of
    ``except_attributes`` is excepted too. Two forms that list the same in another order are equal.
    """

    actions: frozenset[Action]
    effect: Literal["permit", "forbid"] = "permit"
    principals: tuple[str, ...] = ()
    except_groups: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tags_all: frozenset[str] = frozenset()
    tags_any: frozenset[str] = frozenset()
    tags_none: frozenset[str] = frozenset()
    classifications: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    kind: PolicyKind = PolicyKind.ACCESS
    attributes: tuple[Demand, ...] = ()
    except_attributes: tuple[Demand, ...] = ()
    owners: tuple[str, ...] = ()
    layers: frozenset[str] = frozenset()
    lifecycles: frozenset[str] = frozenset()
    sensitivity_at_least: int | None = None
    sensitivity_at_most: int | None = None
    projects: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for field in ("principals", "except_groups", "domains", "names", "owners"):
            object.__setattr__(self, field, tuple(sorted(set(getattr(self, field)))))
        for field in ("attributes", "except_attributes"):
            object.__setattr__(self, field, tuple(sorted(getattr(self, field), key=lambda demand: demand._place)))  # noqa: SLF001
        for field in ("valid_from", "valid_to"):
            moment = getattr(self, field)
            object.__setattr__(self, field, moment and ticked(moment))

    @property
    def restricts(self) -> bool:
        """Whether the rule takes something away, so that in doubt it means somebody."""
        return self.effect == "forbid" or self.kind is not PolicyKind.ACCESS

    @property
    def reads_datasets(self) -> bool:
        """Whether the rule looks at more of a resource than where it is, so that a domain cannot be meant."""
        sensitivity = self.sensitivity_at_least is not None or self.sensitivity_at_most is not None
        tags = self.tags_all or self.tags_any or self.tags_none
        return bool(self.names or tags or self.classifications or self.layers or self.lifecycles or sensitivity)

    def cedar(self) -> str:
        """The form as one Cedar policy."""
        self._check()
        head = f"{self.effect} ({self._principal()}, {self._action()}, {self._resource()})"
        conditions = [*self._who(), *self._where(), *self._what(), *self._circumstances()]
        when = f"\nwhen {{ {' && '.join(conditions)} }}" if conditions else ""
        unless = "".join(f"\nunless {{ {exception} }}" for exception in self._exceptions())
        return f"{head}{when}{unless};"

    def _check(self) -> None:
        if not self.actions:
            _refuse("actions", "A rule names at least one action.")
        governing = self.actions.difference(DATA_ACTIONS)
        if governing and (self.environments or self.purposes or self.projects):
            listed = ", ".join(sorted(governing))
            message = f"{listed} happen in no environment, for no purpose and in no project; make two rules."
            _refuse("actions", message)
        if Action.ADMINISTER in self.actions and self.reads_datasets:
            _refuse("actions", "administer is done to domains, never to a dataset.")
        for field, demands in (("attributes", self.attributes), ("except_attributes", self.except_attributes)):
            for demand in demands:
                if not _ATTRIBUTE.match(demand.attribute):
                    _refuse(field, "An attribute is named by letters, digits and _, as MUNIMENT_ISSUERS maps it.")

    def _principal(self) -> str:
        if len(self.principals) != 1:
            return "principal"
        (only,) = self.principals
        return f"principal {'==' if is_builtin(only) else 'in'} {_principal(only)}"

    def _action(self) -> str:
        return f"action in [{', '.join(f'Action::{quoted(action)}' for action in sorted(self.actions))}]"

    def _resource(self) -> str:
        """The rule's head says as much of where the resource is as a head can; the rest is a condition."""
        if len(self.domains) == 1:
            place = f"in {_domain(self.domains[0])}"
            return f"resource is Dataset {place}" if self.reads_datasets else f"resource {place}"
        if len(self.names) == 1 and not self.domains and "*" not in self.names[0]:
            return f"resource == {_dataset(self.names[0])}"
        return "resource is Dataset" if self.reads_datasets else "resource"

    def _who(self) -> Iterable[str]:
        if len(self.principals) > 1:
            yield _one_of(self.principals)
        for demand in self.attributes:
            yield demand.cedar(without=self.restricts)

    def _where(self) -> Iterable[str]:
        exact = [name for name in self.names if "*" not in name]
        patterns = [name for name in self.names if "*" in name]
        if len(self.domains) > 1:
            yield _in("resource", map(_domain, self.domains))
        if patterns or len(exact) > 1 or (exact and self.domains):
            likes = [f"resource.name like {quoted(pattern)}" for pattern in patterns]
            yield _any([*([_in("resource", map(_dataset, exact))] if exact else []), *likes])

    def _what(self) -> Iterable[str]:
        if self.tags_all:
            yield f"resource.tags.containsAll({_set(self.tags_all)})"
        if self.tags_any:
            yield f"resource.tags.containsAny({_set(self.tags_any)})"
        if self.tags_none:
            yield f"!resource.tags.containsAny({_set(self.tags_none)})"
        if self.classifications:
            yield f"{_set(self.classifications)}.contains(resource.classification)"
        if self.sensitivity_at_least is not None:
            yield f"resource.sensitivity >= {self.sensitivity_at_least}"
        if self.sensitivity_at_most is not None:
            yield f"resource.sensitivity <= {self.sensitivity_at_most}"
        if self.owners:
            yield f"[{', '.join(map(_group, self.owners))}].contains(resource.owner)"
        if self.layers:
            yield f"resource has layer && {_set(self.layers)}.contains(resource.layer)"
        if self.lifecycles:
            yield f"{_set(self.lifecycles)}.contains(resource.lifecycle)"

    def _circumstances(self) -> Iterable[str]:
        if self.environments:
            yield f"{_set(self.environments)}.contains(context.environment)"
        if self.purposes:
            yield f"context has purpose && {_set(self.purposes)}.contains(context.purpose)"
        if self.projects:
            yield f"context has project && {_set(self.projects)}.contains(context.project)"
        if self.valid_from:
            yield f'context.now >= datetime("{write_datetime(self.valid_from)}")'
        if self.valid_to:
            yield f'context.now < datetime("{write_datetime(self.valid_to)}")'

    def _exceptions(self) -> Iterable[str]:
        """Who is left out. In doubt a restriction leaves nobody out, and a permit does."""
        if self.except_groups:
            yield _one_of(self.except_groups)
        if self.except_attributes:
            yield " && ".join(demand.cedar(without=not self.restricts) for demand in self.except_attributes)


def _principal(group: str) -> str:
    if is_builtin(group):
        subject = Subject.parse(group)
        return f"{subject.kind.entity_type}::{quoted(subject.id)}"
    return _group(group)


def _group(id_: str) -> str:
    return f"Group::{quoted(id_)}"


def _one_of(groups: Iterable[str]) -> str:
    """The principal is one of the subjects or in one of the groups; a set in Cedar holds one type of entity."""
    entities = [_principal(group) for group in groups]
    kinds = sorted({text.partition("::")[0] for text in entities})
    return _any(_in("principal", (text for text in entities if text.startswith(f"{kind}::"))) for kind in kinds)


def _domain(name: str) -> str:
    if not is_domain(name):
        _refuse("domains", "A domain is named by segments of a-z, 0-9 and _, joined by dots.")
    return f"Domain::{quoted(name)}"


def _dataset(name: str) -> str:
    if not is_dataset(name):
        _refuse("names", "A dataset is named <domain>.<leaf>; a * stands for any characters.")
    return f"Dataset::{quoted(name)}"


def _in(variable: str, entities: Iterable[str]) -> str:
    """One of several, in one operator however many: long chains of ``||`` nest too deep for Cedar."""
    return f"{variable} in [{', '.join(entities)}]"


def _any(alternatives: Iterable[str]) -> str:
    listed = list(alternatives)
    return listed[0] if len(listed) == 1 else f"({' || '.join(listed)})"


def _set(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, sorted(texts)))}]"


def _refuse(at: str, message: str) -> NoReturn:
    raise Invalid(message, [Fault(at, message)])
