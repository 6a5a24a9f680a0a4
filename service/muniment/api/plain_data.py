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
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as refused:
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
    """Refuse what is too deep or too long, tags, and aliases, which blow a short text up into a long one."""
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
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("tags are not read here; write the value as it is")
        if depth > DEEPEST or seen > MOST_VALUES:
            _refuse_size()


class _PlainYaml(yaml.CSafeLoader):
    """YAML's JSON-like data alone: no keys twice, and plain words as YAML 1.2's core schema reads them (10.3).

    So ``on`` is a word and ``12:30`` a text. What YAML 1.1 reads into them is not only
    surprising: its numbers of base 60 take quadratic time.
    """

    #: What YAML 1.1 takes for more than text is forgotten; :func:`_teach` says what takes its place.
    yaml_implicit_resolvers = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """A mapping with text keys, each once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str) for key in keys):
            raise yaml.YAMLError("a key is not text; put it in quotes")
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("a key stands twice")
        return super().construct_mapping(node, deep)


def _whole(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _fraction(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _merged(_text: str) -> Never:
    raise yaml.YAMLError("merge keys are not read here; write the values out")


#: The words that are no text: their tag, how they look, what they can begin with, and what they mean.
_WORDS: tuple[tuple[str, str, str, Callable[[str], object]], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", _whole),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
        lambda text: _fraction(text.lower()),
    ),
    ("merge", r"<<", "<", _merged),
)


def _teach(tag: str, looks: str, begins: str, meaning: Callable[[str], object]) -> None:
    full = f"tag:yaml.org,2002:{tag}"
    _PlainYaml.add_implicit_resolver(full, re.compile(rf"(?:{looks})\Z"), ["" if c == "\0" else c for c in begins])

    def read(loader: _PlainYaml, node: yaml.ScalarNode) -> object:
        return meaning(loader.construct_scalar(node))

    _PlainYaml.add_constructor(full, read)


for _word in _WORDS:
    _teach(*_word)
