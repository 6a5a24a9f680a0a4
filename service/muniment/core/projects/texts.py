"""The YAML of a Kedro project's conf, read as Kedro reads it.

Kedro reads conf with OmegaConf's loader: YAML 1.1 without dates, with ``1e3`` as a number, and
with an error for a key that stands twice. Nothing here runs a resolver or makes an object: what
comes out is plain data. A text whose aliases would grow beyond bounds is refused before it grows.

What is said of a text that cannot be read names a line and never quotes it: it may hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from muniment.core.problems import Fault, Invalid

#: The most bytes of one file, and the most values it may hold once its aliases are written out.
MOST_BYTES = 4 * 1024 * 1024
MOST_VALUES = 200_000
#: How deep its values may be nested: libyaml's composer calls itself for each level, and has no bound of its own.
DEEPEST = 500

_TWICE = "a key stands twice in it"
_CIRCLE = "an alias in it stands inside its own anchor"
_MANY = "it holds too many values"
_TEXT = "tag:yaml.org,2002:str"
_TEMPLATE = re.compile(r"\{\{|\{%")
_TOP_KEY = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^\s"'#&*!|>%@`,\[\]-][^:#]*?))\s*:(?:\s|$)""")


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader with OmegaConf's two changes: more numbers, and no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
        |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


class _PlainLoader(_Loader):
    """The same where ``on``, ``yes`` and ``no`` are words, as in YAML 1.2: for files that are not Kedro's."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)


def parse(text: str, *, of_kedro: bool = True) -> dict[object, object]:
    """The mapping that a conf file holds; raises :class:`Invalid` with the line where it cannot be read."""
    if len(text) > MOST_BYTES:
        raise _refusal("is bigger than is read here")
    kind = _Loader if of_kedro else _PlainLoader
    loader = kind(text)
    try:
        _refuse_depth(text, kind)
        node = loader.get_single_node()
        if node is None:
            return {}
        _refuse_doubles_and_growth(node)
        document = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _refusal(_said(error, text), _line(error)) from None
    except (RecursionError, ValueError, LookupError, AttributeError):
        # PyYAML falls over the last two where a tag (`!!int`, `!!bool`, `!!timestamp`) says what a text is not.
        raise _refusal("cannot be read: it is nested too deep, or holds a value that is none") from None
    finally:
        loader.dispose()
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _refusal("does not hold names with definitions under them")
    return document


def names_in(text: str) -> Iterator[tuple[str, int]]:
    """The keys that seem to stand at the top of a text that is not YAML, with their lines."""
    for number, line in enumerate(text.splitlines(), start=1):
        found = _TOP_KEY.match(line)
        if found:
            yield next(key for key in found.groups() if key is not None), number


def _refuse_depth(text: str, kind: type[_Loader]) -> None:
    """Refuse what would overflow the stack as it is composed: that ends the process, and no handler sees it.

    Nothing begins a level without one of these but an indentation, and those grow too long before they are too many.
    """
    if sum(map(text.count, "[{-?")) <= DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=kind):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError


def _refuse_doubles_and_growth(root: yaml.Node) -> None:
    """Refuse a key that stands twice in a mapping, aliases in a circle, and aliases that grow without bounds."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise yaml.constructor.ConstructorError(
                None, None, "an alias stands inside its own anchor", node.start_mark
            )
        open_nodes.add(id(node))
        total = 1 + sum(size(child) for child in _children(node))
        open_nodes.discard(id(node))
        if total > MOST_VALUES:
            raise _wrong(_MANY, node)
        sizes[id(node)] = total
        return total

    size(root)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag == _TEXT and key.value in seen:
                raise _wrong(_TWICE, key)
            seen.update([key.value] if key.tag == _TEXT else ())
            yield key
            yield value


def _said(error: yaml.YAMLError, text: str) -> str:
    if _TEMPLATE.search(text):
        return "is a template and no YAML yet: its {{ … }} must be filled in first"
    problem = getattr(error, "problem", None)
    return f"cannot be read: {problem}" if problem in {_TWICE, _CIRCLE, _MANY} else "is not YAML"


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _line(error: yaml.YAMLError) -> int | None:
    mark = getattr(error, "problem_mark", None)
    return None if mark is None else mark.line + 1


def _refusal(message: str, line: int | None = None) -> Invalid:
    where = "" if line is None else f" (line {line})"
    return Invalid(f"The file {message}{where}.", [Fault("", message, line)])
