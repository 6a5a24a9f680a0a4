"""Grants and the simple form: rules for stewards who do not write Cedar.

Both *are* Cedar policies, made from a template. The text that is rendered here is what
is validated, kept, shown and enforced. AND across fields, OR inside one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, NoReturn

from muniment.core.groups import is_builtin
from muniment.core.names import domain_of, is_dataset, is_domain
from muniment.core.policies import Policy, write_datetime
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import Subject


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may do what to what, until when, and why.

    ``to`` is a group's id, or a subject written as its built-in group (``user:ann``).
    ``on`` is a domain or a dataset. A grant without ``until`` says in ``because`` why it
    does not end.
    """

    id: str
    to: str
    actions: frozenset[Action]
    on: str
    environments: frozenset[str] = frozenset()
    until: datetime | None = None
    because: str = ""
    version: int = 0
    #: What ``on`` names: the names of domains and datasets share a grammar.
    kind: Literal["dataset", "domain"] = "domain"

    @property
    def scope(self) -> str:
        """The domain in which this grant acts."""
        return domain_of(self.on) if self.on_dataset else self.on

    @property
    def on_dataset(self) -> bool:
        """Whether one dataset is meant."""
        return self.kind == "dataset"

    def policy(self) -> Policy:
        """The Cedar policy that this grant is."""
        return _policy(self)


@lru_cache(maxsize=20_000)
def _policy(grant: Grant) -> Policy:
    form = Form(
        principals=(grant.to,),
        actions=grant.actions,
        names=(grant.on,) if grant.on_dataset else (),
        domains=() if grant.on_dataset else (grant.on,),
        environments=grant.environments,
        valid_to=grant.until,
    )
    return Policy(f"grant:{grant.id}", form.cedar(), scope=grant.scope, reason=grant.because, version=grant.version)


@dataclass(frozen=True, slots=True)
class Form:
    """The simple form of a policy. ``principals`` and ``except_groups`` are ids of groups, ``user:…`` or ``service:…``.

    ``names`` are names of datasets; a ``*`` in one stands for any characters. Without principals
    everybody is meant, without domains and names every dataset of the policy's scope.
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

    def cedar(self) -> str:
        """The form as one Cedar policy."""
        self._check()
        head = f"{self.effect} ({self._principal()}, {self._action()}, {self._resource()})"
        conditions = [*self._who(), *self._where(), *self._what(), *self._circumstances()]
        when = f"\nwhen {{ {' && '.join(conditions)} }}" if conditions else ""
        unless = f"\nunless {{ {_one_of(self.except_groups)} }}" if self.except_groups else ""
        return f"{head}{when}{unless};"

    def _check(self) -> None:
        if not self.actions:
            _refuse("actions", "A rule names at least one action.")
        governing = self.actions.difference(DATA_ACTIONS)
        if governing and (self.environments or self.purposes):
            _refuse("actions", f"{_listed(governing)} happen in no environment and for no purpose; make two rules.")
        if Action.ADMINISTER in self.actions and self._reads_datasets:
            _refuse("actions", "administer is done to domains, never to a dataset.")

    @property
    def _reads_datasets(self) -> bool:
        """Whether the rule looks at more of a resource than where it is, so that a domain cannot be meant."""
        return bool(self.names or self.tags_all or self.tags_any or self.tags_none or self.classifications)

    def _principal(self) -> str:
        if len(self.principals) != 1:
            return "principal"
        (only,) = self.principals
        return f"principal {'==' if is_builtin(only) else 'in'} {_principal(only)}"

    def _action(self) -> str:
        return f"action in [{', '.join(f'Action::{_quoted(action)}' for action in sorted(self.actions))}]"

    def _resource(self) -> str:
        """The rule's head says as much of where the resource is as a head can; the rest is a condition."""
        if len(self.domains) == 1:
            place = f"in {_domain(self.domains[0])}"
            return f"resource is Dataset {place}" if self._reads_datasets else f"resource {place}"
        if len(self.names) == 1 and not self.domains and "*" not in self.names[0]:
            return f"resource == {_dataset(self.names[0])}"
        return "resource is Dataset" if self._reads_datasets else "resource"

    def _who(self) -> Iterable[str]:
        if len(self.principals) > 1:
            yield _one_of(self.principals)

    def _where(self) -> Iterable[str]:
        exact = [name for name in self.names if "*" not in name]
        patterns = [name for name in self.names if "*" in name]
        if len(self.domains) > 1:
            yield _in("resource", map(_domain, self.domains))
        if patterns or len(exact) > 1 or (exact and self.domains):
            likes = [f"resource.name like {_quoted(pattern)}" for pattern in patterns]
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

    def _circumstances(self) -> Iterable[str]:
        if self.environments:
            yield f"{_set(self.environments)}.contains(context.environment)"
        if self.purposes:
            yield f"context has purpose && {_set(self.purposes)}.contains(context.purpose)"
        if self.valid_from:
            yield f'context.now >= datetime("{write_datetime(self.valid_from)}")'
        if self.valid_to:
            yield f'context.now < datetime("{write_datetime(self.valid_to)}")'


def _principal(group: str) -> str:
    if is_builtin(group):
        subject = Subject.parse(group)
        return f"{subject.kind.entity_type}::{_quoted(subject.id)}"
    return f"Group::{_quoted(group)}"


def _one_of(groups: Iterable[str]) -> str:
    """The principal is one of the subjects or in one of the groups; a set in Cedar holds one type of entity."""
    entities = [_principal(group) for group in groups]
    kinds = sorted({text.partition("::")[0] for text in entities})
    return _any(_in("principal", (text for text in entities if text.startswith(f"{kind}::"))) for kind in kinds)


def _domain(name: str) -> str:
    if not is_domain(name):
        _refuse("domains", "A domain is named by segments of a-z, 0-9 and _, joined by dots.")
    return f"Domain::{_quoted(name)}"


def _dataset(name: str) -> str:
    if not is_dataset(name):
        _refuse("names", "A dataset is named <domain>.<leaf>; a * stands for any characters.")
    return f"Dataset::{_quoted(name)}"


def _in(variable: str, entities: Iterable[str]) -> str:
    """One of several, in one operator however many: long chains of ``||`` nest too deep for Cedar."""
    return f"{variable} in [{', '.join(entities)}]"


def _any(alternatives: Iterable[str]) -> str:
    listed = list(alternatives)
    return listed[0] if len(listed) == 1 else f"({' || '.join(listed)})"


def _set(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, sorted(texts)))}]"


def _listed(actions: Iterable[Action]) -> str:
    return ", ".join(sorted(actions))


def _quoted(text: str) -> str:
    """A Cedar string literal. A ``*`` is itself, but in a pattern of ``like``, where it stands for any characters."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"


def _refuse(at: str, message: str) -> NoReturn:
    raise Invalid(message, [Fault(at, message)])
