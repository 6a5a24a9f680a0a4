"""Reading a sentence back: the Cedar text that it says.

The grammar is that of :mod:`muniment.core.sentences`, and no more: what is read is said again, and only a sentence
that comes back with the very same words is taken. So nothing that somebody wrote is passed over, and nothing is
guessed; whoever wrote it otherwise is told how Muniment would say what it understood.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from muniment.core.forms import Comparison, Demand, Form
from muniment.core.policies import Policy
from muniment.core.problems import Fault, Invalid, InvalidPolicy
from muniment.core.schema import Action
from muniment.core.sentences import MONTHS, OUR_WORDS, VERBS, sentence

#: The longest sentence that is read, in characters.
LONGEST: Final = 10_000

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
        |(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{3})?)?)
        |(?P<word>[\w|@{}*-](?:[\w.|@{}*-]*[\w|@{}*-])?)
        |(?P<sign>[,()])
        |(?P<other>\S)
    )""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|(.))")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}\Z")
_DAY: Final = re.compile(r"[0-9]{1,2}\Z")
_YEAR: Final = re.compile(r"[0-9]{4}\Z")

#: Where a condition in Cedar ends: before what else narrows the rule.
_AFTER_CEDAR: Final = (", except ", ", unless ")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def policy_said(text: str, scope: str) -> str:
    """The Cedar text of a policy about access that a sentence says; :class:`InvalidPolicy` where it cannot be read."""
    said = text.strip().removesuffix(".")
    if not said or len(said) > LONGEST:
        _refuse("Write one sentence, such as: Members of analysts may load every dataset of sales, in prod.")
    parser = _Parser(said)
    try:
        cedar = parser.policy()
        again = sentence(Policy("", cedar, scope=scope))
    except InvalidPolicy as refused:
        if any(fault.at == "sentence" for fault in refused.faults):
            raise
        _refuse(refused.detail)
    except Invalid as refused:
        _refuse(refused.detail)
    if _words(said) != _words(again.removesuffix(".")):
        _refuse(f"Muniment would say what it understood so: {again} If that is what you mean, write it so.")
    return cedar


def _words(text: str) -> Counter[str]:
    """The words of a sentence, however they are ordered; its first begins with a capital letter."""
    return Counter(found[0].strip() for found in _TOKEN.finditer(text[:1].lower() + text[1:]))


def _refuse(message: str) -> NoReturn:
    raise InvalidPolicy(message, [Fault("sentence", message)])


class _Parser:
    """One sentence, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text[:1].lower() + text[1:]
        self._at = 0
        self._found: dict[str, Any] = {}
        self._clauses: list[str] = []

    def policy(self) -> str:
        self._who()
        self._does()
        self._what()
        while self._take(","):
            self._narrowed()
        if self._peek()[1]:
            raise self._lost()
        if self._everything:
            every = frozenset(Action)
            self._found["actions"] = every - {Action.ADMINISTER} if self._of_datasets else every
        form = Form(**self._found)
        cedar = form.cedar()
        return "\n".join([cedar.removesuffix(";"), *self._clauses]) + ";"

    # --- tokens -----------------------------------------------------------------------------------

    def _peek(self, further: int = 0) -> tuple[str, str]:
        """The kind and text of the next token, or of one further on; nothing at the end."""
        at = self._at
        kind = text = ""
        for _ in range(further + 1):
            found = _TOKEN.match(self._text, at)
            if found is None or found.lastgroup is None:
                return "", ""
            kind, text, at = found.lastgroup, found[found.lastgroup], found.end()
        return kind, text

    def _next(self) -> tuple[str, str]:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            raise self._lost()
        self._at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _is(self, *words: str) -> bool:
        """Whether these words, or signs, come next."""
        return all(self._peek(place) in {("word", word), ("sign", word)} for place, word in enumerate(words))

    def _take(self, *words: str) -> bool:
        """Go past these words, if they come next."""
        if not self._is(*words):
            return False
        for _ in words:
            self._next()
        return True

    def _need(self, *words: str) -> None:
        if not self._take(*words):
            raise self._lost(" ".join(words))

    def _lost(self, wanted: str = "") -> InvalidPolicy:
        kind, text = self._peek()
        where = f"at “{text}”" if kind else "at its end"
        more = f" Here should stand “{wanted}”." if wanted else ""
        message = f"Muniment cannot read the sentence {where}.{more}"
        return InvalidPolicy(message, [Fault("sentence", message)])

    def _is_name(self, further: int = 0) -> bool:
        kind, text = self._peek(further)
        return kind == "quoted" or (kind == "word" and text not in OUR_WORDS)

    def _name(self) -> str:
        if not self._is_name():
            raise self._lost("a name")
        kind, text = self._next()
        return _ESCAPED.sub(_unescaped, text[1:-1]) if kind == "quoted" else text

    def _listed(self, item: Callable[[], str], more: Callable[[int], bool]) -> tuple[list[str], str]:
        """``a``, ``a or b``, ``a, b or c``: what is listed, and the word before the last. ``more`` tells an item."""
        found = [item()]
        while True:
            if self._is(",") and more(1):
                self._next()
                found.append(item())
            elif (self._is("and") or self._is("or")) and more(1):
                _, joint = self._next()
                found.append(item())
                return found, joint
            else:
                return found, ""

    def _names(self) -> tuple[list[str], str]:
        return self._listed(self._name, self._is_name)

    def _put(self, field: str, value: object) -> None:
        if field in self._found:
            raise self._lost()
        self._found[field] = value

    # --- who --------------------------------------------------------------------------------------

    def _who(self) -> None:
        if self._take("nobody"):
            self._put("effect", "forbid")
        elif not self._take("everybody"):
            self._put("principals", self._people())

    def _people(self) -> tuple[str, ...]:
        if not self._is_person(0):
            raise self._lost("members of")
        found, _ = self._listed(self._person, lambda further: self._is_person(further) or self._is_name(further))
        return tuple(found)

    def _is_person(self, further: int) -> bool:
        return self._peek(further) in {("word", "members"), ("word", "the")}

    def _person(self) -> str:
        if self._take("members", "of") or self._is_name():
            return self._name()
        return self._subject()

    def _subject(self) -> str:
        self._need("the")
        for kind in ("user", "service"):
            if self._take(kind):
                return f"{kind}:{self._name()}"
        raise self._lost("user")

    # --- does -------------------------------------------------------------------------------------

    def _does(self) -> None:
        self._need("may")
        if self._take("not"):
            self._put("effect", "forbid")
        self._everything = self._take("do", "anything", "to")
        if self._everything:
            return
        verbs, _ = self._listed(self._verb, self._is_verb)
        self._put("actions", frozenset(Action(verb) for verb in verbs))

    def _is_verb(self, further: int) -> bool:
        kind, text = self._peek(further)
        return kind == "word" and any(verb.split()[0] == text for verb in VERBS.values())

    def _verb(self) -> str:
        for action, verb in VERBS.items():
            if self._take(*verb.split()):
                return action.value
        raise self._lost("what they may do")

    # --- to what ----------------------------------------------------------------------------------

    def _what(self) -> None:
        self._of_datasets = True
        if self._take("every", "dataset") or self._take("any", "dataset"):
            if not self._is("of", "a", "sensitivity") and self._take("of"):
                domains, _ = self._names()
                self._put("domains", tuple(domains))
            if self._is_quality():
                self._qualities()
        elif self._take("everything") or self._take("anything"):
            self._of_datasets = False
            self._as_far_as()
        else:
            self._named()

    def _named(self) -> None:
        names, joint = self._listed(self._name, self._is_name)
        if not joint and (self._take("and") or self._take("or")):
            if not (self._take("everything", "in") or self._take("anything", "in")):
                raise self._lost("everything in it")
            if not (self._take("it") or self._take("them")):
                raise self._lost("it")
            self._of_datasets = False
            self._put("domains", tuple(names))
            self._as_far_as()
        else:
            self._put("names", tuple(names))

    def _as_far_as(self) -> None:
        if self._take(",", "as", "far", "as"):
            self._qualities()

    def _is_quality(self) -> bool:
        return self._peek()[1] in {"named", "tagged", "not", "classified", "of", "owned", "whose", "within"}

    def _qualities(self) -> None:
        self._quality()
        while self._take(",", "and"):
            self._quality()

    def _quality(self) -> None:
        if self._take("named"):
            self._put("names", tuple(self._names()[0]))
        elif self._take("tagged"):
            tags, joint = self._names()
            # Of one tag it is the same whether all of them are asked for, or any: who says both says it twice.
            again = len(tags) == 1 and "tags_all" in self._found
            self._put("tags_any" if joint == "or" or again else "tags_all", frozenset(tags))
        elif self._take("not", "tagged"):
            self._put("tags_none", frozenset(self._names()[0]))
        elif self._take("of", "a", "sensitivity"):
            self._sensitivity()
        elif self._take("owned", "by"):
            owners, _ = self._listed(self._owner, lambda further: self._is_person(further) or self._is_name(further))
            self._put("owners", tuple(owners))
        elif self._take("within"):
            self._name()  # The scope: that it is this one shows when the sentence is said again.
        else:
            for words, field in _TEXTS.items():
                if self._take(*words):
                    self._put(field, frozenset(self._names()[0]))
                    return
            raise self._lost()

    def _owner(self) -> str:
        return self._name() if self._is_name() else self._subject()

    def _sensitivity(self) -> None:
        if self._take("from"):
            self._put("sensitivity_at_least", self._number())
            self._need("to")
            self._put("sensitivity_at_most", self._number())
        elif self._take("of", "at", "least"):
            self._put("sensitivity_at_least", self._number())
        else:
            self._need("of", "at", "most")
            self._put("sensitivity_at_most", self._number())

    def _number(self) -> int:
        kind, text = self._peek()
        if kind != "word" or not _NUMBER.match(text):
            raise self._lost("a whole number")
        self._next()
        return int(text)

    # --- and all that narrows it ------------------------------------------------------------------

    def _narrowed(self) -> None:
        if self._take("in", "the", "project"):
            self._put("projects", frozenset(self._names()[0]))
        elif self._take("in"):
            self._put("environments", frozenset(self._names()[0]))
        elif self._take("for", "the", "purpose"):
            self._put("purposes", frozenset(self._names()[0]))
        elif self._is("from") or self._is("until"):
            self._times()
        elif self._take("if"):
            self._put("attributes", self._demands())
        elif self._take("except"):
            self._put("except_groups", self._people())
        elif self._take("when"):
            self._clauses.append(f"when {{ {self._cedar()} }}")
        elif self._is("unless", "their"):
            self._next()
            self._put("except_attributes", self._demands())
        elif self._take("unless"):
            self._clauses.append(f"unless {{ {self._cedar()} }}")
        else:
            raise self._lost()

    def _times(self) -> None:
        if self._take("from"):
            self._put("valid_from", self._moment())
            if self._take("on"):
                return
        self._need("until")
        self._put("valid_to", self._moment())

    def _moment(self) -> datetime:
        since_midnight = timedelta()
        kind, text = self._peek()
        if kind == "time":
            self._next()
            since_midnight = _since_midnight(text)
            self._need("UTC", "on")
        day, month, year = (self._next()[1] for _ in range(3))
        if not _DAY.match(day) or month not in MONTHS or not _YEAR.match(year):
            raise self._lost("a day such as 31 March 2027")
        try:
            return datetime(int(year), MONTHS.index(month) + 1, int(day), tzinfo=UTC) + since_midnight
        except (ValueError, OverflowError):
            _refuse(f"There is no {day} {month} {year}.")

    def _demands(self) -> tuple[Demand, ...]:
        found = [self._demand()]
        while self._is(",", "and", "their"):
            self._next()
            self._next()
            demand = self._demand()
            # Of one text it is the same whether all are asked for, or any, as with tags.
            again = any((demand.attribute, demand.comparison) == (each.attribute, each.comparison) for each in found)
            found.append(replace(demand, comparison=Comparison.ANY_OF) if again else demand)
        return tuple(found)

    def _demand(self) -> Demand:
        self._need("their")
        kind, attribute = self._next()
        if kind != "word":
            raise self._lost("an attribute")
        demand = self._asked(attribute)
        if self._take("(", "or", "unknown"):
            self._need(")")
        return demand

    def _asked(self, attribute: str) -> Demand:
        if self._take("include"):
            texts, joint = self._names()
            return Demand(attribute, Comparison.ANY_OF if joint == "or" else Comparison.ALL_OF, frozenset(texts))
        self._need("is")
        if self._take("at", "least"):
            return Demand(attribute, Comparison.AT_LEAST, self._number())
        if self._take("at", "most"):
            return Demand(attribute, Comparison.AT_MOST, self._number())
        for word, so in (("true", True), ("false", False)):
            if self._take(word):
                return Demand(attribute, Comparison.IS, so)
        return Demand(attribute, Comparison.ONE_OF, frozenset(self._names()[0]))

    def _cedar(self) -> str:
        """A condition in Cedar: up to what else narrows the rule, or to the end."""
        start, depth, quoted = self._at, 0, False
        at = start
        while at < len(self._text):
            character = self._text[at]
            if quoted:
                at += 1 if character == "\\" else 0
                quoted = character != '"'
            elif character == '"':
                quoted = True
            elif depth == 0 and self._text.startswith(_AFTER_CEDAR, at):
                break
            else:
                depth += (character in _OPENING) - (character in _CLOSING)
            at += 1
        self._at = min(at, len(self._text))
        return self._text[start : self._at].strip()


#: What texts are said of an attribute, and in which field of a form they stand.
_TEXTS: Final[Mapping[tuple[str, ...], str]] = {
    ("classified",): "classifications",
    ("whose", "layer", "is"): "layers",
    ("whose", "lifecycle", "is"): "lifecycles",
}


def _unescaped(found: re.Match[str]) -> str:
    return chr(min(int(found[1], 16), 0x10FFFF)) if found[1] else str(found[2])


def _since_midnight(text: str) -> timedelta:
    hours, minutes, *seconds = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0)
