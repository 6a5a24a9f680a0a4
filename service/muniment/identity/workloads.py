"""Which workloads of an issuer are which services: CI pipelines, pods, machines that hold no secret.

An issuer of workloads speaks for everybody who uses it: any repository of the world gets
a token from GitHub for any audience. So nothing is believed of one but what a rule names.
A rule maps a token to the id of a service when all of its conditions hold. A claim that
is absent holds no condition, a value holds exactly or by a pattern over all of it, and
text, number and boolean are never taken for each other. A token that fits no rule, or
two that give it different ids, is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

from muniment.identity.documents import value_at
from muniment.identity.fields import Fields, refuse

#: What a claim can be compared with.
Scalar = str | int | bool

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: What a claim may put into an id, and what stands between two that it takes from claims.
_FILLING = r"[A-Za-z0-9_][A-Za-z0-9._/-]*"
_SEPARATES = re.compile(r"[^A-Za-z0-9._/\-]")
_MOST_RULES = 1000

GITHUB = "https://token.actions.githubusercontent.com"
#: Issuers whose tokens anybody can have.
_FOR_EVERYBODY = (GITHUB, "https://gitlab.com", "https://accounts.google.com")
#: Claims of GitHub that keep their value when a name changes hands.
_LASTING_AT_GITHUB = ("repository_id", "repository_owner_id")


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of these values, in their own type."""

    values: tuple[Scalar, ...]

    def holds(self, value: object) -> bool:
        return any(type(value) is type(one) and value == one for one in self.values)


@dataclass(frozen=True, slots=True)
class Glob:
    """A text in which each ``*`` stands for one character or more that are not ``/``."""

    pattern: str

    def holds(self, value: object) -> bool:
        expression = "[^/]+".join(map(re.escape, self.pattern.split("*")))
        return isinstance(value, str) and re.fullmatch(expression, value) is not None


Condition = OneOf | Glob


@dataclass(frozen=True, slots=True)
class Workload:
    """A rule: tokens for which all conditions hold speak for the service of that id.

    The id may take ``{claim}`` from the token: text or a number, of characters that can't
    be mistaken for what stands around them.
    """

    name: str
    where: Mapping[str, Condition]

    def speaks_for(self, claims: Mapping[str, object]) -> bool:
        """Whether all conditions hold."""
        return not self.unmet(claims)

    def unmet(self, claims: Mapping[str, object]) -> tuple[str, ...]:
        """The claims whose conditions do not hold."""
        return tuple(path for path, condition in self.where.items() if not condition.holds(value_at(claims, path)))

    def id_in(self, claims: Mapping[str, object]) -> str | None:
        """The service's id, or None where a claim can't stand in one."""
        fillings = {path: _filling(value_at(claims, path)) for path in _PLACEHOLDER.findall(self.name)}
        if None in fillings.values():
            return None
        return _PLACEHOLDER.sub(lambda place: cast("str", fillings[place[1]]), self.name)


def service_id(workloads: Sequence[Workload], claims: Mapping[str, object]) -> str | None:
    """The one id that the rules give the token with these claims, else None."""
    ids = {rule.id_in(claims) for rule in workloads if rule.speaks_for(claims)}
    return ids.pop() if len(ids) == 1 else None


def workloads_from(fields: Fields) -> tuple[Workload, ...]:
    """The rules under ``workloads``; raises :class:`CannotStart`."""
    given = fields.take("workloads", [])
    if not isinstance(given, list) or len(given) > _MOST_RULES:
        fields.refuse("workloads", f"must be a list of at most {_MOST_RULES} rules")
    rules = tuple(_rule(f"{fields.where}, workload {number}", each) for number, each in enumerate(given, start=1))
    for one, other in combinations({rule.name for rule in rules}, 2):
        if _may_meet(one, other):
            first, second = sorted((one, other))
            refuse(f"in {fields.where}, the workloads “{first}” and “{second}” could give two workloads one id")
    return rules


def doubts_about(issuer: str, workloads: Sequence[Workload]) -> list[str]:
    """What a rule most likely does not mean."""
    if not workloads:
        open_to_all = "anybody can have a token of it. Say which workloads are let in, under “workloads”."
        return [open_to_all] if issuer in _FOR_EVERYBODY else []
    if issuer != GITHUB:
        return []
    return [
        f"the workload “{rule.name}” is known by names alone, and a name can change hands. "
        f"Add a condition on {' or '.join(_LASTING_AT_GITHUB)}."
        for rule in workloads
        if not any(isinstance(rule.where.get(name), OneOf) for name in _LASTING_AT_GITHUB)
    ]


def _rule(where: str, given: object) -> Workload:
    fields = Fields(where, given)
    name = fields.text("as")
    conditions = fields.mapping("where")
    if not conditions:
        fields.refuse("where", "must name at least one claim")
    _check_name(fields, name)
    rule = Workload(name, {path: _condition(fields, path, value) for path, value in conditions.items()})
    fields.end()
    return rule


def _check_name(fields: Fields, name: str) -> None:
    between = _PLACEHOLDER.split(name)
    literals, paths = between[::2], between[1::2]
    if any("{" in text or "}" in text for text in literals) or "" in paths:
        fields.refuse("as", "has a brace that is not one of {claim}")
    if not all(_SEPARATES.search(text) for text in literals[1:-1]):
        fields.refuse("as", "needs a character such as : between two {claim}, so that their values can't run together")


def _condition(fields: Fields, path: str, given: object) -> Condition:
    match given:
        case str() | int():
            return OneOf((given,))
        case [_, *_] if all(isinstance(each, str | int) for each in given):
            return OneOf(tuple(cast("list[Scalar]", given)))
        case {"glob": str(pattern), **others} if not others:
            if "*" not in pattern or pattern == "*" or re.search(r"\*\*|[?\[\]]", pattern):
                fields.refuse("where", f"has a glob for “{path}” that is not text around single *, without ?, [ and ]")
            return Glob(pattern)
        case _:
            return fields.refuse("where", f'must give for “{path}” a value, a list of values, or {{"glob": "…*"}}')


def _filling(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if re.fullmatch(_FILLING, text) else None


def _may_meet(one: str, other: str) -> bool:
    """Whether two ids with places for claims could come out the same; in doubt, they could."""
    if "{" not in one and "{" not in other:
        return False
    for template, id_ in ((one, other), (other, one)):
        if "{" not in id_:
            expression = _FILLING.join(map(re.escape, _PLACEHOLDER.split(template)[::2]))
            return re.fullmatch(expression, id_) is not None
    first, second = (_PLACEHOLDER.split(name)[0] for name in (one, other))
    return first.startswith(second) or second.startswith(first)
