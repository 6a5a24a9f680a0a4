"""The words and signs of a sentence, one after the other, as whoever reads it back takes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final, NoReturn

from muniment.core.problems import Fault, InvalidPolicy
from muniment.core.sentences import OUR_WORDS

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
        |(?P<text>'(?:[^']|'')*')
        |(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{3})?)?)
        |(?P<word>[\w|@{}*-](?:[\w.|@{}*-]*[\w|@{}*-])?)
        |(?P<sign>[,()]|<>|[<>]=?|=)
        |(?P<other>\S)
    )""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|(.))")


class Tokens:
    """One sentence, taken from left to right."""

    def __init__(self, text: str) -> None:
        self.text = lowered(text)
        #: How far it has been read, in characters.
        self.at = 0

    def peek(self, further: int = 0) -> tuple[str, str]:
        """The kind and text of the next token, or of one further on; nothing at the end."""
        at = self.at
        kind = text = ""
        for _ in range(further + 1):
            found = _TOKEN.match(self.text, at)
            if found is None or found.lastgroup is None:
                return "", ""
            kind, text, at = found.lastgroup, found[found.lastgroup], found.end()
        return kind, text

    def next(self) -> tuple[str, str]:
        """Take the next token; raises :class:`InvalidPolicy` at the end, as all that takes something does."""
        found = _TOKEN.match(self.text, self.at)
        if found is None or found.lastgroup is None:
            raise self.lost()
        self.at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def comes(self, *words: str) -> bool:
        """Whether these words, or signs, come next."""
        return all(self.peek(place) in {("word", word), ("sign", word)} for place, word in enumerate(words))

    def take(self, *words: str) -> bool:
        """Go past these words, if they come next."""
        if not self.comes(*words):
            return False
        for _ in words:
            self.next()
        return True

    def need(self, *words: str) -> None:
        """Go past these words."""
        if not self.take(*words):
            raise self.lost(" ".join(words))

    def lost(self, wanted: str = "") -> InvalidPolicy:
        """That the sentence cannot be read from here on."""
        kind, text = self.peek()
        where = f"at “{text}”" if kind else "at its end"
        more = f" Here should stand “{wanted}”." if wanted else ""
        message = f"Muniment cannot read the sentence {where}.{more}"
        return InvalidPolicy(message, [Fault("sentence", message)])

    def is_name(self, further: int = 0) -> bool:
        """Whether a name comes next, or further on."""
        kind, text = self.peek(further)
        return kind == "quoted" or (kind == "word" and text not in OUR_WORDS)

    def name(self) -> str:
        """Take a name."""
        if not self.is_name():
            raise self.lost("a name")
        kind, text = self.next()
        return unescaped(text[1:-1]) if kind == "quoted" else text

    def listed(self, item: Callable[[], str], more: Callable[[int], bool]) -> tuple[list[str], str]:
        """``a``, ``a or b``, ``a, b or c``: what is listed, and the word before the last. ``more`` tells an item."""
        found = [item()]
        while True:
            if self.comes(",") and more(1):
                self.next()
                found.append(item())
            elif (self.comes("and") or self.comes("or")) and more(1):
                _, joint = self.next()
                found.append(item())
                return found, joint
            else:
                return found, ""

    def names(self) -> tuple[list[str], str]:
        """Take names, and the word before the last."""
        return self.listed(self.name, self.is_name)


def refuse(message: str) -> NoReturn:
    """Refuse a sentence; whoever wrote it is told this beside it."""
    raise InvalidPolicy(message, [Fault("sentence", message)])


def lowered(text: str) -> str:
    """A sentence without the capital letter that it begins with."""
    return text[:1].lower() + text[1:]


def tokens_of(text: str) -> Counter[str]:
    """What a sentence is made of, however it is ordered."""
    return Counter(found[0].strip() for found in _TOKEN.finditer(lowered(text)))


def unescaped(text: str) -> str:
    """What stands between quotes, as it is meant (:func:`muniment.core.expressions.quoted`)."""
    return _ESCAPED.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    return chr(min(int(found[1], 16), 0x10FFFF)) if found[1] else str(found[2])
