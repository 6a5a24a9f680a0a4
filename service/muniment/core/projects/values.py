"""What ``${…}`` in a Kedro project's conf stands for, as far as that can be known without running it.

The grammar is OmegaConf's: references (``${_root}``, ``${a.b}``, ``${.sibling}``, ``${a[0]}``), nested
ones, and resolvers with arguments. References are followed; ``${globals:…}`` is looked up; what only a run
knows (``${runtime_params:…}``) stays an open place in the text. A resolver of the project's own is code: it is
never run, and what uses it cannot be read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: How long one text may get, and how many places in one layer may be looked at: references can double a text each time.
LONGEST_TEXT = 65_536
MOST_STEPS = 200_000
DEEPEST = 60


class Unread(Exception):
    """A value that cannot be known here; ``why`` is a :class:`Why`, the message says it for this one."""

    def __init__(self, why: Why, message: str, reference: str | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.message = message
        #: What is written between the braces of a reference that leads to nothing.
        self.reference = reference


class Why(StrEnum):
    """Why a value cannot be known without running the project."""

    RESOLVER = "resolver"
    REFERENCE = "reference"
    VARIABLE = "variable"
    PARAMETER = "parameter"
    LITERAL = "literal"


class _Nothing:
    """No default."""


NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class Open:
    """A place that is filled in later: by a run's parameter, or by a variable of the service."""

    resolver: str
    name: str
    default: object = NOTHING

    def __str__(self) -> str:
        if self.default is NOTHING:
            return f"${{{self.resolver}:{self.name}}}"
        return f"${{{self.resolver}:{self.name}, {written_default(self.default)}}}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text with open places in it."""

    parts: tuple[str | Open, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


#: A resolver that is known here: from its arguments to a value.
Known = Callable[[Sequence[object]], object]


@dataclass(slots=True)
class Reading:
    """One layer of a conf (what the files of one environment hold together), and what its resolvers stand for."""

    tree: Mapping[object, object]
    resolvers: Mapping[str, Known]
    _steps: int = 0
    _open: set[tuple[object, ...]] = field(default_factory=set)

    def value(self, *path: object) -> object:
        """What stands at a place, with everything in it read; raises :class:`Unread`."""
        found: object = self.tree
        for key in path:
            found = found[key]  # type: ignore[index]
        return self._read(found, path)

    def _read(self, value: object, path: tuple[object, ...]) -> object:
        self._steps += 1
        if self._steps > MOST_STEPS or len(path) > DEEPEST or len(self._open) > DEEPEST:
            raise Unread(Why.REFERENCE, "its references go too deep or too far")
        if isinstance(value, Mapping):
            return {key: self._read(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._read(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._read_text(value, path)
        if isinstance(value, str) and _ESCAPED_MISSING.fullmatch(value):
            return value[1:]
        return value

    def _read_text(self, text: str, path: tuple[object, ...]) -> object:
        if path in self._open:
            raise Unread(Why.REFERENCE, "its references go in a circle")
        self._open.add(path)
        try:
            return self._joined(parse(text), path)
        finally:
            self._open.discard(path)

    def _joined(self, parts: Sequence[Part], path: tuple[object, ...]) -> object:
        if len(parts) == 1 and not isinstance(parts[0], str):
            return self._followed(parts[0], path)
        read: list[str | Open] = []
        for part in parts:
            if isinstance(part, str):
                if "${" in part:
                    raise Unread(Why.LITERAL, "a text in it holds a literal ${, which is filled in whatever it is")
                read.append(part)
            else:
                read.extend(_inside_text(self._followed(part, path)))
        return _compact(read)

    def _followed(self, part: Reference | Call, path: tuple[object, ...]) -> object:
        if isinstance(part, Call):
            return self._called(part, path)
        keys = [key for each in part.keys for key in self._keys(each, path)]
        written = ".".join(key for key in part.keys if isinstance(key, str)) if keys == [*part.keys] else None
        return self._at(part.dots, keys, path, written)

    def _keys(self, key: str | Reference | Call, path: tuple[object, ...]) -> list[str]:
        if isinstance(key, str):
            return [key]
        value = self._followed(key, path)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Unread(Why.REFERENCE, "a reference in it is named by something that only a run knows, or by no name")
        return str(value).split(".")

    def _at(self, dots: int, keys: Sequence[str], path: tuple[object, ...], written: str | None) -> object:
        if dots > len(path):
            raise Unread(Why.REFERENCE, "a reference in it leads above the top")
        place: tuple[object, ...] = path[: len(path) - dots] if dots else ()
        found = self._held(place)
        for key in keys:
            step = self._step(found, key, place)
            if step is None:
                raise _leads_to_nothing(dots, written)
            found, key_found = step
            place = (*place, key_found)
        if found == "???":
            raise Unread(Why.REFERENCE, "a reference in it leads to a value that is missing (???)")
        return self._read(found, place)

    def _held(self, place: tuple[object, ...]) -> object:
        found: object = self.tree
        for key in place:
            found = found[key]  # type: ignore[index]
        return found

    def _step(self, found: object, key: str, place: tuple[object, ...]) -> tuple[object, object] | None:
        """What a key leads to, and the key as it stands there; none if it leads to nothing."""
        if isinstance(found, str) and "${" in found:
            found = self._read(found, place)
        if isinstance(found, Mapping):
            if key in found:
                return found[key], key
        elif isinstance(found, list) and re.fullmatch(r"-?\d+", key) and -len(found) <= int(key) < len(found):
            return found[int(key)], int(key)
        return None

    def _called(self, call: Call, path: tuple[object, ...]) -> object:
        name = ".".join(key for each in call.name for key in self._keys(each, path))
        known = self.resolvers.get(name)
        if known is None:
            message = f"it uses the resolver {name!r}, which is the project's own code and is never run here"
            raise Unread(Why.RESOLVER, message)
        return known([self._argument(argument, path) for argument in call.arguments])

    def _argument(self, argument: Argument, path: tuple[object, ...]) -> object:
        if isinstance(argument, Listed):
            return [self._argument(item, path) for item in argument.items]
        if isinstance(argument, Mapped):
            return {self._argument(key, path): self._argument(item, path) for key, item in argument.pairs}
        if argument.plain is not NOTHING:
            return argument.plain
        return self._joined(argument.parts, path)


def _leads_to_nothing(dots: int, written: str | None) -> Unread:
    """Names the reference where it is written out: one that is made of values could show what nobody may see."""
    if written is None or dots:
        return Unread(Why.REFERENCE, "a reference in it leads to nothing")
    return Unread(Why.REFERENCE, f"nothing in its catalog is what ${{{written}}} refers to", written)


def runtime_parameter(arguments: Sequence[object]) -> object:
    """``${runtime_params:name, default}``: what a run is given, or its default."""
    name, default = _name_and_default("runtime_params", arguments, Why.PARAMETER)
    if isinstance(default, Text | list | dict):
        raise Unread(Why.PARAMETER, f"the default of its runtime parameter {name} is no plain value")
    return Text((Open("runtime_params", name, default),))


def variables(values: Callable[[str], object], kept: Callable[[str], bool]) -> Known:
    """``${globals:name, default}``: the value of a variable, or an open place for one that the service keeps.

    ``values`` gives :data:`NOTHING` for a variable that does not exist.
    """

    def variable(arguments: Sequence[object]) -> object:
        name, default = _name_and_default("globals", arguments, Why.VARIABLE)
        if name.startswith("_"):
            raise Unread(Why.VARIABLE, f"Kedro gives no globals that begin with _, such as {name}")
        value = values(name)
        if value is NOTHING:
            if default is NOTHING:
                raise Unread(Why.VARIABLE, f"no globals.yml gives {name}, and it has no default")
            return default
        return Text((Open("globals", name),)) if kept(name) else value

    return variable


def _name_and_default(resolver: str, arguments: Sequence[object], why: Why) -> tuple[str, object]:
    if len(arguments) not in (1, 2) or not isinstance(arguments[0], str) or not arguments[0]:
        raise Unread(why, f"it uses {resolver} with something other than a name and a default")
    return arguments[0], arguments[1] if len(arguments) > 1 else NOTHING


def _inside_text(value: object) -> Iterator[str | Open]:
    """A value as it stands within a text: as Python writes it, which is what OmegaConf does."""
    if isinstance(value, Text):
        yield from value.parts
    elif isinstance(value, Mapping | list):
        raise Unread(Why.REFERENCE, "a list or mapping is written into a text in it")
    else:
        yield str(value)


def _compact(parts: Sequence[str | Open]) -> object:
    joined: list[str | Open] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    if sum(len(part) for part in joined if isinstance(part, str)) > LONGEST_TEXT:
        raise Unread(Why.REFERENCE, "a text in it grows too long")
    if all(isinstance(part, str) for part in joined):
        return "".join(map(str, joined))
    return Text(("", *joined)) if len(joined) == 1 else Text(tuple(joined))


# --- defaults -----------------------------------------------------------------------------------

_BARE = re.compile(r"[A-Za-z0-9_/.%*@?|+-](?:[A-Za-z0-9_/.%*@?|: +-]*[A-Za-z0-9_/.%*@?|+-])?")


def written_default(value: object) -> str:
    """A default as both Kedro and Muniment read it back; raises :class:`Unread` where no such text exists."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _BARE.fullmatch(text) and _typed(text) == text and not _numeric(text):
        return text
    quote = "'" if "'" not in text else '"'
    if quote in text or re.search(r"[${}\\]", text):
        raise Unread(Why.PARAMETER, "the default of a runtime parameter in it holds characters that cannot be kept")
    return f"{quote}{text}{quote}"


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- the grammar --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """``${a.b}``; ``dots`` counts those before the first key."""

    dots: int
    keys: tuple[str | Reference | Call, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``${name: argument, argument}``."""

    name: tuple[str | Reference | Call, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain or quoted argument; ``plain`` unless something in it is still to be followed."""

    parts: tuple[Part, ...] = ()
    plain: object = NOTHING


@dataclass(frozen=True, slots=True)
class Listed:
    """``[a, b]``."""

    items: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """``{a: b}``."""

    pairs: tuple[tuple[Argument, Argument], ...]


Part = str | Reference | Call
Argument = Scalar | Listed | Mapped

_OPENING = re.compile(r"(\\*)\$\{")
_KEY = re.compile(r"""[^\\{}()\[\]:. \t'"$]+|\$(?!\{)""")
_SPACE = re.compile(r"[ \t]*")
_DOTS = re.compile(r"\.*")
_BARE_CHARACTER = re.compile(r"[A-Za-z0-9_/\-+.%*@?|: \t]|\$(?!\{)")
_ESCAPED_MISSING = re.compile(r"\\+\?\?\?")
_ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")
_NULL = re.compile(r"null", re.IGNORECASE)
_BOOLEAN = re.compile(r"true|false", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_WHOLE = r"(?:0|[1-9](?:_?[0-9])*)"
_POINT = rf"(?:{_WHOLE}?\.[0-9](?:_?[0-9])*|{_WHOLE}\.)"
_FLOAT = re.compile(rf"[+-]?(?:(?:{_WHOLE}|{_POINT})[eE][+-]?[0-9](?:_?[0-9])*|{_POINT}|inf|nan)", re.IGNORECASE)


def parse(text: str) -> tuple[Part, ...]:
    """A text as literal parts and what is to be followed; raises :class:`Unread` for what OmegaConf refuses."""
    return _Grammar(text).text(end=None)


class _Grammar:
    """OmegaConf's grammar, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def text(self, end: str | None) -> tuple[Part, ...]:
        """Literal text with interpolations, up to a closing quote or the end."""
        parts: list[Part] = []
        while self._at < len(self._text):
            here = self._text[self._at]
            if end is not None and here == end:
                break
            opening = _OPENING.match(self._text, self._at)
            if opening:
                self._opened(opening, parts)
            elif end is not None and self._text.startswith(f"\\{end}", self._at):
                _append(parts, end)
                self._at += 2
            else:
                _append(parts, here)
                self._at += 1
        return tuple(parts)

    def _opened(self, opening: re.Match[str], parts: list[Part]) -> None:
        """Backslashes before ``${`` stand for half as many; an odd one makes it literal."""
        slashes = len(opening[1])
        _append(parts, "\\" * (slashes // 2))
        self._at = opening.end()
        if slashes % 2:
            _append(parts, "${")
        else:
            parts.append(self.interpolation())

    def interpolation(self) -> Reference | Call:
        """What stands after ``${``, its closing brace included."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _malformed()
        self._skip()
        dots = len(self._take(_DOTS))
        keys = self._path()
        self._skip()
        here = self._next()
        if here == ":" and not dots and keys:
            call = Call(tuple(keys), self._sequence("}"))
            self._expect("}")
            self._depth -= 1
            return call
        if here != "}" or not keys:
            raise _malformed()
        self._depth -= 1
        return Reference(dots, tuple(keys))

    def _path(self) -> list[str | Reference | Call]:
        keys: list[str | Reference | Call] = []
        while True:
            if self._text.startswith("[", self._at):
                self._at += 1
                keys.append(self._key())
                self._expect("]")
            elif not keys:
                keys.append(self._key())
            elif self._text.startswith(".", self._at):
                self._at += 1
                keys.append(self._key())
            else:
                return keys

    def _key(self) -> str | Reference | Call:
        if self._text.startswith("${", self._at):
            self._at += 2
            return self.interpolation()
        key = "".join(iter(lambda: self._take(_KEY), ""))
        if not key:
            raise _malformed()
        return key

    def _sequence(self, end: str) -> tuple[Argument, ...]:
        """Arguments up to the closing bracket, which stays; nothing between commas is an empty text."""
        self._skip()
        if self._text.startswith(end, self._at):
            return ()
        arguments: list[Argument] = []
        while True:
            self._skip()
            if self._text.startswith((",", end), self._at):
                arguments.append(Scalar(plain=""))
            else:
                arguments.append(self._argument())
            self._skip()
            if not self._text.startswith(",", self._at):
                return tuple(arguments)
            self._at += 1

    def _argument(self) -> Argument:
        here = self._text[self._at : self._at + 1]
        if here and here in "'\"":
            return self._quoted(here)
        if here == "[":
            self._at += 1
            items = self._sequence("]")
            self._expect("]")
            return Listed(items)
        if here == "{":
            return self._mapping()
        return self._scalar(key=False)

    def _quoted(self, quote: str) -> Scalar:
        self._at += 1
        parts = self.text(end=quote)
        self._expect(quote)
        if all(isinstance(part, str) for part in parts):
            return Scalar(plain="".join(map(str, parts)))
        return Scalar(parts)

    def _mapping(self) -> Mapped:
        self._at += 1
        pairs: list[tuple[Argument, Argument]] = []
        self._skip()
        while not self._text.startswith("}", self._at):
            self._skip()
            key = self._scalar(key=True)
            self._expect(":")
            self._skip()
            pairs.append((key, self._argument()))
            self._skip()
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
        self._expect("}")
        return Mapped(tuple(pairs))

    def _scalar(self, *, key: bool) -> Scalar:
        parts: list[Part] = []
        plain = True
        while self._at < len(self._text):
            escaped = _ESCAPED.match(self._text, self._at)
            if self._text.startswith("${", self._at):
                self._at += 2
                parts.append(self.interpolation())
                plain = False
            elif escaped:
                _append(parts, escaped[1])
                self._at = escaped.end()
                plain = False
            elif self._text[self._at] == "\\" or (
                _BARE_CHARACTER.match(self._text, self._at) and not (key and self._text[self._at] == ":")
            ):
                _append(parts, self._text[self._at])
                self._at += 1
            else:
                break
        return _scalar_of(parts, plain=plain)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        self._take(_SPACE)

    def _next(self) -> str:
        here = self._text[self._at : self._at + 1]
        self._at += 1
        return here

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise _malformed()


def _scalar_of(parts: list[Part], *, plain: bool) -> Scalar:
    """A bare argument without the spaces around it, as the value that it is."""
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip(" \t")
        parts = parts if parts[-1] else parts[:-1]
    if not parts:
        raise _malformed()
    if plain:
        return Scalar(plain=_typed(str(parts[0])))
    if all(isinstance(part, str) for part in parts):
        return Scalar(plain="".join(map(str, parts)))
    return Scalar(tuple(parts))


def _typed(text: str) -> object:
    """A bare word as OmegaConf takes it: nothing, true or false, a number, or a text."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _append(parts: list[Part], text: str) -> None:
    if parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _malformed() -> Unread:
    return Unread(Why.REFERENCE, "a ${…} in it is not well formed")
