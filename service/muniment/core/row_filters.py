"""Row filters: which rows of a dataset a reader gets.

A filter is a structured predicate, never a text that somebody would have to parse: the
``Predicate`` of the Iceberg REST catalog (``rest-catalog-open-api.yaml`` of 2026), with
columns named as ``{"type": "reference", "name": …}``. The older spelling with ``term`` and
``value`` is read too, and kept in the newer one. Compared are a column and literals alone:
no transforms, no functions, no field ids, which a dataset of Kedro does not have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from muniment.core.problems import Fault, InvalidPolicy

#: A predicate: a boolean, or a JSON object with a ``type``.
Predicate = bool | Mapping[str, object]

#: How deep a predicate nests, how many parts it has (values included), and how long a text in it is.
DEEPEST = 20
MOST_PARTS = 1_000
LONGEST_TEXT = 500

_CONNECTIVES = frozenset({"and", "or"})
_UNARY = frozenset({"is-null", "not-null", "is-nan", "not-nan"})
_PREFIX = frozenset({"starts-with", "not-starts-with"})
_COMPARISONS = frozenset({"eq", "not-eq", "lt", "lt-eq", "gt", "gt-eq"}) | _PREFIX
_SETS = frozenset({"in", "not-in"})
_CONSTANTS: Mapping[object, bool] = {"true": True, "false": False}

#: Every operator that a filter may have.
OPERATORS = tuple(sorted({*_CONNECTIVES, "not", *_UNARY, *_COMPARISONS, *_SETS, "true", "false"}))

#: Iceberg's primitive types, as a typed literal names them: a part of a regular expression.
TYPE = (
    r"(?:boolean|int|long|float|double|date|time|string|uuid|binary|timestamp(?:tz)?(?:_ns)?"
    r"|fixed\[[0-9]{1,9}\]|decimal\([0-9]{1,2},[ ]?[0-9]{1,2}\))"
)
_TYPE = re.compile(rf"{TYPE}\Z", re.ASCII)
_LONGEST_INTEGER = 2**63


def read_row_filter(payload: object) -> Predicate:
    """The predicate that an obligation describes, in its one spelling, or :class:`InvalidPolicy`."""
    return _Reading().predicate(payload, "obligation", DEEPEST)


def write_row_filter(predicate: Predicate) -> Mapping[str, object]:
    """A predicate as an obligation, which is an object: a bare boolean is written by its type."""
    if isinstance(predicate, bool):
        return {"type": "true" if predicate else "false"}
    return predicate


def conjunction(predicates: Iterable[Predicate]) -> Predicate:
    """All of these at once: what a reader gets whom several filters concern."""
    joined: Predicate = True
    met: list[Predicate] = []
    for predicate in predicates:
        if predicate is False:
            return False
        if predicate is True or predicate in met:
            continue
        met.append(predicate)
        joined = predicate if joined is True else {"type": "and", "left": joined, "right": predicate}
    return joined


class _Reading:
    """One walk over a predicate that somebody sent."""

    def __init__(self) -> None:
        self._parts = 0

    def predicate(self, node: object, at: str, deeper: int) -> Predicate:
        self._count(at)
        if isinstance(node, bool):
            return node
        if not isinstance(node, Mapping):
            raise _refused(
                at, "A row filter is made of objects with a type, such as {type: eq, term: region, value: EU}."
            )
        if deeper == 0:
            raise _refused(
                at, f"A row filter nests at most {DEEPEST} deep; say it in several policies, which all hold."
            )
        match node.get("type"):
            case "true" | "false" as constant:
                _only(node, at, {"type"})
                return _CONSTANTS[constant]
            case str() as type_ if type_ in _CONNECTIVES:
                _only(node, at, {"type", "left", "right"})
                sides = {side: self.predicate(node.get(side), f"{at}.{side}", deeper - 1) for side in ("left", "right")}
                return {"type": type_, **sides}
            case "not":
                _only(node, at, {"type", "child"})
                return {"type": "not", "child": self.predicate(node.get("child"), f"{at}.child", deeper - 1)}
            case str() as type_ if type_ in _UNARY:
                return {"type": type_, "child": self._column(node, at, "child", set())}
            case str() as type_ if type_ in _COMPARISONS:
                return self._comparison(type_, node, at)
            case str() as type_ if type_ in _SETS:
                child = self._column(node, at, "child", {"values"})
                return {"type": type_, "child": child, "values": self._values(node.get("values"), f"{at}.values")}
            case _:
                raise _refused(f"{at}.type", f"A row filter's type is one of {', '.join(OPERATORS)}.")

    def _comparison(self, type_: str, node: Mapping[str, object], at: str) -> Predicate:
        key = "value" if "term" in node else "right"
        left = self._column(node, at, "left", {key})
        right = self._literal(node.get(key), f"{at}.{key}")
        if type_ in _PREFIX and not isinstance(_bare(right), str):
            raise _refused(f"{at}.{key}", f"{type_} compares with a text.")
        return {"type": type_, "left": left, "right": right}

    def _column(self, node: Mapping[str, object], at: str, key: str, others: set[str]) -> Mapping[str, object]:
        """The column that a predicate is about: under its newer key as a reference, or as a ``term``."""
        key = "term" if "term" in node else key
        _only(node, at, {"type", key, *others})
        self._count(at)
        found = node.get(key)
        name = found if isinstance(found, str) and key == "term" else None
        if isinstance(found, Mapping) and found.keys() == {"type", "name"} and found["type"] == "reference":
            name = found["name"]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_TEXT:
            raise _refused(
                f"{at}.{key}", 'Here stands a column, as {"type": "reference", "name": "region"}; no transform, no id.'
            )
        return {"type": "reference", "name": name}

    def _values(self, values: object, at: str) -> object:
        match values:
            case {"type": "literals", "values": list() | tuple() as listed, "data-type": data_type, **rest} if not rest:
                bare = [_primitive(value, f"{at}.{index}") for index, value in enumerate(self._some(listed, at))]
                return {"type": "literals", "values": bare, "data-type": _type(data_type, at)}
            case list() | tuple():
                return [self._literal(value, f"{at}.{index}") for index, value in enumerate(self._some(values, at))]
            case _:
                raise _refused(at, "Here stands a list of values.")

    def _some(self, values: Sequence[object], at: str) -> Sequence[object]:
        """The values of a set, each of which is a part: at least one."""
        if not values:
            raise _refused(at, "Name at least one value; for no rows at all write {type: false}.")
        self._count(at, len(values))
        return values

    def _literal(self, value: object, at: str) -> object:
        match value:
            case {"type": "literal", "value": inner, "data-type": data_type, **rest} if not rest:
                return {"type": "literal", "value": _primitive(inner, at), "data-type": _type(data_type, at)}
            case {"type": "literal", "value": inner, **rest} if not rest:
                return {"type": "literal", "value": _primitive(inner, at)}
            case _:
                return {"type": "literal", "value": _primitive(value, at)}

    def _count(self, at: str, parts: int = 1) -> None:
        self._parts += parts
        if self._parts > MOST_PARTS:
            raise _refused(
                at, f"A row filter has at most {MOST_PARTS:,} parts; say it in several policies, which all hold."
            )


def _primitive(value: object, at: str) -> object:
    match value:
        case bool():
            return value
        case str() if len(value) <= LONGEST_TEXT:
            return value
        case int() if -_LONGEST_INTEGER <= value < _LONGEST_INTEGER:
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            message = f"A value is a text of at most {LONGEST_TEXT} characters, a number of 64 bits, or a boolean."
            raise _refused(at, message)


def _bare(literal: object) -> object:
    return literal.get("value") if isinstance(literal, Mapping) else literal


def _type(name: object, at: str) -> str:
    if not isinstance(name, str) or not _TYPE.match(name):
        raise _refused(
            f"{at}.data-type", "A data-type is one of Iceberg's primitive types, such as date or decimal(9,2)."
        )
    return name


def _only(node: Mapping[str, object], at: str, fields: set[str]) -> None:
    for field in sorted(str(field) for field in node if field not in fields):
        raise _refused(
            f"{at}.{field}", f"There is no {field!r} here; a predicate of this type has {', '.join(sorted(fields))}."
        )


def _refused(at: str, message: str) -> InvalidPolicy:
    return InvalidPolicy(f"This is not a row filter: {message}", [Fault(at, message)])
