"""Where in a policy's text a fault stands, as a line and a column.

Cedar says what is wrong, and through its binding for Python not where. So it is asked again, with
less or other text: what cannot be read goes wrong at the first token that no text could follow,
and what does not fit the schema stands in the smallest condition without which it is not said.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: How many characters Cedar is asked about again for one text; what is not found by then is told by its names alone.
_MOST_ASKED = 100_000

_TOKEN = re.compile(
    r"""(?P<gap>\s+|//[^\n]*)
    |"(?:[^"\\]|\\.)*"
    |[_a-zA-Z][_a-zA-Z0-9]*
    |[0-9]+
    |::|&&|\|\||[=!<>]=
    |.""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_ONLY_BRACKETS = 2

#: How a message names what it is about.
_NAMED = re.compile(r"`([^`]+)`|attribute (\w+)")

#: What Cedar says when a text goes on in a way that no policy does.
_CANNOT_FOLLOW = ("unexpected token", "invalid token")
_ENDS_TOO_SOON = "unexpected end of input"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text; lines and columns (in characters) count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text, and where it begins and ends."""

    text: str
    start: int
    end: int


#: What is wrong with a text, in Cedar's words or ours.
Faults = Callable[[str], Sequence[str]]


def position_of(cedar: str, offset: int) -> Position:
    """The line and column of a character."""
    before = cedar[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def unreadable_at(cedar: str, said: str, refused: Callable[[str], str | None]) -> Position:
    """Where Cedar's parser gave up, saying so. ``refused`` is what it says of another text."""
    tokens = list(_tokens(cedar))
    if said.startswith(_CANNOT_FOLLOW):

        def goes_wrong(count: int) -> bool:
            return (refused(cedar[: tokens[count - 1].end]) or "").startswith(_CANNOT_FOLLOW)

        place = min(bisect_left(range(1, len(tokens) + 1), 1, key=goes_wrong), len(tokens) - 1)
        # At the end of a text the parser may look at one more token before it gives up.
        named = [before for before in range(place + 1) if f"`{tokens[before].text}`" in said]
        return position_of(cedar, tokens[named[-1] if named else place].start)
    if said.startswith(_ENDS_TOO_SOON) and tokens:
        return position_of(cedar, tokens[-1].end)
    return faults_at(cedar, [said], lambda text: [again for again in [refused(text)] if again])[0]


def faults_at(cedar: str, said: Iterable[str], faults: Faults) -> list[Position]:
    """Where each of the faults of a text stands. ``faults`` are those of another text."""
    search = _Search(cedar, faults)
    return [position_of(cedar, search.offset(message)) for message in said]


class _Search:
    """The search for the places of one text's faults."""

    def __init__(self, cedar: str, faults: Faults) -> None:
        self._cedar = cedar
        self._faults = faults
        self._tokens = list(_tokens(cedar))
        self._without: dict[Part, Sequence[str]] = {}

    def offset(self, message: str) -> int:
        """Where the text begins that the message is about."""
        inside: Sequence[Token] = self._tokens
        parts = _clauses(self._tokens)
        while (needed := self._needed(parts, message)) is not None:
            inside = needed.tokens
            parts = _parts(inside)
        return _named_in(inside, message) if inside else 0

    def _needed(self, parts: Iterable[Part], message: str) -> Part | None:
        """The first part without which the fault is not there."""
        return next((part for part in parts if message not in self._faults_without(part, message)), None)

    def _faults_without(self, part: Part, message: str) -> Sequence[str]:
        if part not in self._without:
            if (len(self._without) + 1) * len(self._cedar) > _MOST_ASKED:
                return [message]
            start, end = part.tokens[0].start, part.tokens[-1].end
            self._without[part] = self._faults(f"{self._cedar[:start]}{part.neutral}{self._cedar[end:]}")
        return self._without[part]


@dataclass(frozen=True, slots=True)
class Part:
    """Some tokens of an expression, and what stands for them so that the rest is still looked at."""

    tokens: tuple[Token, ...]
    neutral: str


def _tokens(cedar: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(cedar):
        if found["gap"] is None:
            yield Token(found[0], found.start(), found.end())


def _clauses(tokens: Sequence[Token]) -> Iterator[Part]:
    """What stands between the braces of each ``when`` and ``unless``."""
    for keyword, body in pairwise(_grouped(tokens)):
        if keyword[0].text in {"when", "unless"} and body[0].text == "{" and len(body) > _ONLY_BRACKETS:
            yield Part(tuple(body[1:-1]), "true" if keyword[0].text == "when" else "false")


def _parts(tokens: Sequence[Token]) -> Iterator[Part]:
    """The conditions of which a condition is made, if it is made of several."""
    groups = list(_grouped(tokens))
    while len(groups) == 1 and groups[0][0].text == "(" and len(groups[0]) > _ONLY_BRACKETS:
        groups = list(_grouped(groups[0][1:-1]))
    if len(groups) > 1 and groups[0][0].text == "!":
        yield from _parts([token for group in groups[1:] for token in group])
    elif groups[0][0].text != "if":
        for sign, neutral in (("||", "false"), ("&&", "true")):
            sides = list(_split(groups, sign))
            if len(sides) > 1:
                yield from (Part(side, neutral) for side in sides if side)
                return


def _split(groups: Iterable[Sequence[Token]], sign: str) -> Iterator[tuple[Token, ...]]:
    side: list[Token] = []
    for group in groups:
        if group[0].text == sign:
            yield tuple(side)
            side = []
        else:
            side.extend(group)
    yield tuple(side)


def _grouped(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The tokens one by one, but what stands in brackets together with them."""
    at = 0
    while at < len(tokens):
        end = _closing(tokens, at) + 1
        yield tokens[at:end]
        at = end


def _closing(tokens: Sequence[Token], at: int) -> int:
    """Where the bracket is closed that a token opens; the token itself, if it opens none."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place].text in _OPENING) - (tokens[place].text in _CLOSING)
        if depth <= 0:
            return place
    return len(tokens) - 1


def _named_in(tokens: Sequence[Token], message: str) -> int:
    """Where the first of the things stands that a message names; where the tokens begin, if none of them does."""
    texts = [token.text for token in tokens]
    for found in _NAMED.finditer(message):
        named = [token.text for token in _tokens(found[1] or found[2])]
        for at in range(len(texts) - len(named) + 1):
            if texts[at : at + len(named)] == named:
                return tokens[at].start
    return tokens[0].start
