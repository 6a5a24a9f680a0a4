"""What a body says: JSON, or the JSON that a YAML text means; bounded, and in readable characters.

Nothing of YAML but its plain data is understood: no tags, no anchors, no merge keys, no
key twice. How deep and how long a text is shows before anything is built from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Never

import orjson
import yaml

from muniment.core.problems import Fault, Invalid

#: The deepest nesting, and the most values, of a body.
DEEPEST = 32
MOST_VALUES = 100_000

#: Control characters, halves of characters, and those that change the direction of writing.
UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

_WHOLE_NUMBERS = range(-(2**63), 2**64)


def from_json(body: bytes) -> object:
    """The value of a JSON text (RFC 8259)."""
    try:
        return _checked(orjson.loads(body))
    except orjson.JSONDecodeError as refused:
        _refuse(f"The body is not JSON: {refused}", refused)


def from_yaml(body: bytes) -> object:
    """The value of a YAML text of plain data."""
    try:
        _check_shape(body)
        return _checked(yaml.load(body, _PlainYaml))  # noqa: S506 - a loader of plain data, below
    except (yaml.YAMLError, ValueError, RecursionError) as refused:
        _refuse(f"The body is not plain YAML: {' '.join(str(refused).split())[:300]}", refused)


def _refuse(message: str, why: Exception | None = None) -> Never:
    raise Invalid(message, [Fault("body", message)]) from why


def _refuse_size() -> Never:
    _refuse(f"The body is nested deeper than {DEEPEST} levels, or holds more than {MOST_VALUES:,} values.")


def _checked(value: object) -> object:
    """The value, when all of it is of a readable size, depth and wording."""
    seen = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_VALUES:
            _refuse_size()
        match inner:
            case dict():
                waiting.extend((part, depth + 1) for pair in inner.items() for part in pair)
            case list():
                waiting.extend((part, depth + 1) for part in inner)
            case str() if UNREADABLE.search(inner):
                _refuse("The body holds control characters, or ones that change the direction of writing.")
            case float() if not math.isfinite(inner):
                _refuse("The body holds a number that JSON has no word for.")
            case int() | float() if inner == int(inner) and int(inner) not in _WHOLE_NUMBERS:
                _refuse("The body holds a whole number beyond 64 bits; write it as text.")
            case _:
                pass
    return value


def _check_shape(body: bytes) -> None:
    """Refuse what is too deep or too long, and aliases, which blow a short text up into a long one."""
    depth = seen = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        match event:
            case yaml.AliasEvent():
                raise yaml.YAMLError("anchors and aliases are not read here; write the value out")
            case yaml.CollectionStartEvent():
                depth += 1
                seen += 1
            case yaml.CollectionEndEvent():
                depth -= 1
            case yaml.ScalarEvent():
                seen += 1
            case _:
                pass
        if depth > DEEPEST or seen > MOST_VALUES:
            _refuse_size()


class _PlainYaml(yaml.CSafeLoader):
    """YAML's JSON-like data alone: no tags, no keys twice, dates as the text that they are."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """A mapping with text keys, each once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str) for key in keys):
            raise yaml.YAMLError("a key is not text; put it in quotes")
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("a key stands twice")
        return super().construct_mapping(node, deep)


def _text(loader: _PlainYaml, node: yaml.Node) -> object:
    return loader.construct_scalar(node)  # type: ignore[arg-type]


def _refused(_loader: _PlainYaml, node: yaml.Node) -> object:
    raise yaml.YAMLError(f"{node.tag} is not plain data")


_constructors: dict[str | None, Callable[[Any, Any], object]] = {
    "tag:yaml.org,2002:timestamp": _text,
    "tag:yaml.org,2002:binary": _refused,
    "tag:yaml.org,2002:set": _refused,
    "tag:yaml.org,2002:omap": _refused,
    "tag:yaml.org,2002:pairs": _refused,
    "tag:yaml.org,2002:merge": _refused,
}
for _tag, _constructor in _constructors.items():
    _PlainYaml.add_constructor(_tag, _constructor)
