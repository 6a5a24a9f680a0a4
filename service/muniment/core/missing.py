"""What, alone, would have made an answer yes: a group, another environment, a purpose, an earlier time.

It is read from the permits that come nearest, and then tried: what is told of here has been
decided as if it were so, so that no forbid and no other rule is in the way. A permit whose
conditions cannot be put into such words is passed over, and so is one for a single person.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cedarpy import pst

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Wanted, decide, near
from muniment.core.groups import is_builtin
from muniment.core.moments import TICK, read_datetime
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState

#: How many cases one permit makes at most, how many are tried, and how many are told.
_MOST_OF_ONE = 8
_MOST_TRIED = 20
_MOST_TOLD = 3

#: A purpose, or a project, where any would do.
_ANY = "any"

_PRINCIPAL, _RESOURCE, _CONTEXT = pst.Var("principal"), pst.Var("resource"), pst.Var("context")
_OWNER = pst.GetAttr(_RESOURCE, "owner")
_SENSITIVITY = pst.GetAttr(_RESOURCE, "sensitivity")
_NOW = pst.GetAttr(_CONTEXT, "now")


@dataclass(frozen=True, slots=True)
class _Case:
    """What would have to be so, beside what is.

    ``circumstances`` are the environment, purpose and project. A permission that ``ended``
    was there until then; nobody can wait for it, so it is told of where it is all that lacks.
    """

    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, int | str | bool] = field(default_factory=dict)
    circumstances: Mapping[str, str] = field(default_factory=dict)
    ended: datetime | None = None
    begins: datetime | None = None

    def joined(self, other: _Case) -> _Case | None:
        """Both at once; nothing where they contradict each other."""
        here, there = self.circumstances, other.circumstances
        if any(len({here[name], there[name]} - {_ANY}) > 1 for name in here.keys() & there.keys()):
            return None
        said = {name: text for name, text in there.items() if text != _ANY}
        return _Case(
            groups=self.groups | other.groups,
            attributes={**self.attributes, **other.attributes},
            circumstances={**there, **here, **said},
            ended=min(filter(None, (self.ended, other.ended)), default=None),
            begins=max(filter(None, (self.begins, other.begins)), default=None),
        )

    @property
    def elsewhere(self) -> str | None:
        """The environment, where that alone would have to be another one."""
        environment = self.circumstances.get("environment")
        return environment if environment and self == _Case(circumstances={"environment": environment}) else None


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether this subject may do this, to this, then and there."""

    realm: Realm
    asker: SubjectState
    wanted: Wanted
    at: datetime
    dataset: Dataset

    def as_if(self, case: _Case) -> _Question:
        wanted = replace(self.wanted, **case.circumstances)
        at = case.begins or (case.ended - TICK if case.ended else self.at)
        asker = replace(self.asker, attributes={**self.asker.attributes, **case.attributes})
        return replace(self, realm=_in_groups(self.realm, asker, case.groups), asker=asker, wanted=wanted, at=at)

    def decided(self) -> Decided:
        return decide(self.realm, self.asker, self.wanted, self.at, self.dataset)


def missing(
    realm: Realm,
    asker: SubjectState,
    wanted: Wanted,
    at: datetime,
    action: Action,
    dataset: Dataset,
    *,
    allows: Callable[[Decided], bool],
) -> tuple[str, ...]:
    """What would have let the subject, in words; ``allows`` says whether a decision would do."""
    question = _Question(realm, asker, wanted, at, dataset)
    permits = near(realm, asker, wanted, at, action, dataset)
    cases = _unlike(case for permit in permits for case in _cases(permit.failing, dataset, at))
    tried = itertools.islice((case for case in cases if _can_be(realm, case)), _MOST_TRIED)
    told = itertools.islice((case for case in tried if allows(question.as_if(case).decided())), _MOST_TOLD)
    return tuple(_sentences(question, list(told)))


def _unlike(cases: Iterable[_Case]) -> Iterator[_Case]:
    met: list[_Case] = []
    for case in cases:
        if case not in met:
            met.append(case)
            yield case


def _can_be(realm: Realm, case: _Case) -> bool:
    """Whether a case can be at all: an environment that there is, and groups that one may join."""
    environment = case.circumstances.get("environment")
    return environment in {None, *realm.environment_names} and not any(map(is_builtin, case.groups))


def _in_groups(realm: Realm, asker: SubjectState, groups: frozenset[str]) -> Realm:
    """The realm in which the subject is in some more groups; all else is shared."""
    if not groups:
        return realm
    supposed = realm.after(realm.revision, ())
    subject = str(asker.subject)
    joined = realm.memberships.get(subject, frozenset()) | groups
    supposed.__dict__["memberships"] = {**realm.memberships, subject: joined}
    return supposed


# --- reading what fails ---------------------------------------------------------------------------------------------


def _cases(failing: Iterable[pst.Expr], dataset: Dataset, at: datetime) -> Iterator[_Case]:
    """The cases in which all of these conditions would hold, as far as they can be read; none if one cannot be."""
    alternatives = [_read(condition, dataset, at) for condition in failing]
    for chosen in itertools.islice(itertools.product(*alternatives), _MOST_OF_ONE):
        found: _Case | None = _Case()
        for case in chosen:
            found = found and found.joined(case)
        if found and not (found.ended and found != _Case(ended=found.ended)):
            yield found


def _read(condition: pst.Expr, dataset: Dataset, at: datetime) -> tuple[_Case, ...]:
    """What would make one condition hold, one case for each way."""
    match condition:
        case pst.BinaryOp("in", left, right) if left == _PRINCIPAL:
            return tuple(_Case(groups=frozenset({group})) for group in _groups(right, dataset))
        case pst.Is(base, _, pst.EntityLit() as inside) if base == _PRINCIPAL:
            return tuple(_Case(groups=frozenset({group})) for group in _groups(inside, dataset))
        case pst.HasAttr(base, ("purpose" | "project" as name,)) if base == _CONTEXT:
            return (_said(name, _ANY),)
        case pst.HasAttr(base, (_,)) if base == _PRINCIPAL:
            return (_Case(),)  # What is asked of the attribute stands beside it.
        case pst.BinaryOp("contains", pst.Set(elements), pst.GetAttr(base, name)) if _is_circumstance(base, name):
            return tuple(_said(name, each.value) for each in elements if isinstance(each, pst.StringLit))
        case pst.BinaryOp("eq", pst.GetAttr(base, name), pst.StringLit(text)) if _is_circumstance(base, name):
            return (_said(name, text),)
        case pst.BinaryOp(op, left, pst.UnaryOp("datetime", pst.StringLit(text))) if left == _NOW:
            return _at_another_time(op, read_datetime(text), at)
        case pst.BinaryOp(op, pst.GetAttr(base, name), right) if base == _PRINCIPAL:
            return _with_attribute(op, name, right, dataset)
        case _:
            return ()


def _is_circumstance(base: pst.Expr, name: str) -> bool:
    return base == _CONTEXT and name in {"environment", "purpose", "project"}


def _groups(place: pst.Expr, dataset: Dataset) -> Iterator[str]:
    match place:
        case pst.EntityLit(entity) if str(entity.type) == "Group":
            yield entity.id
        case pst.Set(elements):
            for element in elements:
                yield from _groups(element, dataset)
        case _ if place == _OWNER:
            yield dataset.owner


def _said(name: str, text: str) -> _Case:
    return _Case(circumstances={name: text})


def _at_another_time(op: str, moment: datetime | None, at: datetime) -> tuple[_Case, ...]:
    match op:
        case "less" | "less_eq" if moment and moment <= at:
            return (_Case(ended=moment),)
        case "greater" | "greater_eq" if moment and moment >= at:
            return (_Case(begins=moment + TICK if op == "greater" else moment),)
        case _:
            return ()


def _with_attribute(op: str, name: str, right: pst.Expr, dataset: Dataset) -> tuple[_Case, ...]:
    match right:
        case pst.LongLit(value) | pst.StringLit(value) | pst.BoolLit(value):
            least = value
        case _ if right == _SENSITIVITY:
            least = dataset.sensitivity
        case _:
            return ()
    if op not in {"eq", "greater_eq", "greater"}:
        return ()
    return (_Case(attributes={name: least + 1 if op == "greater" and isinstance(least, int) else least}),)


# --- telling it -----------------------------------------------------------------------------------------------------


def _sentences(question: _Question, cases: Sequence[_Case]) -> Iterator[str]:
    """Each case in words; other environments, where that is all, in one sentence."""
    elsewhere = sorted(case.elsewhere for case in cases if case.elsewhere)
    if elsewhere:
        yield f"permitted in {' and '.join(elsewhere)}, not in {question.wanted.environment}"
    for case in cases:
        if case.ended:
            yield f"the permission ended at {case.ended:%Y-%m-%d %H:%M} UTC"
        elif case.begins and case == _Case(begins=case.begins):
            yield f"the permission begins at {case.begins:%Y-%m-%d %H:%M} UTC"
        elif not case.elsewhere:
            yield f"{_who(question, case)} may{_then(case)}"


def _who(question: _Question, case: _Case) -> str:
    members = " and ".join(f"group:{group}" for group in sorted(case.groups))
    attributes = " and ".join(f"{name} {value}" for name, value in sorted(case.attributes.items()))
    whom = f"members of {members}" if members else str(question.asker.subject)
    return f"{whom} with {attributes}" if attributes else whom


def _then(case: _Case) -> str:
    words = {"environment": "in {}", "purpose": "for the purpose {}", "project": "in the project {}"}
    anyhow = {"purpose": "for any purpose", "project": "in any project"}
    told = [
        anyhow[name] if text == _ANY and name in anyhow else words[name].format(text)
        for name, text in sorted(case.circumstances.items())
    ]
    if case.begins:
        told.append(f"from {case.begins:%Y-%m-%d %H:%M} UTC on")
    return "".join(f" {each}" for each in told)
