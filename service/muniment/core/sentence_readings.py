"""Reading a sentence back: the Cedar text that it says.

The grammar is that of :mod:`muniment.core.sentences`, and no more: what is read is said again, and only a sentence
that comes back with the very same words is taken. So nothing that somebody wrote is passed over, and nothing is
guessed; whoever wrote it otherwise is told how Muniment would say what it understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from muniment.core.forms import Comparison, Demand, Form
from muniment.core.masks import read_mask, write_mask
from muniment.core.names import lineage
from muniment.core.obligation_readings import mask_in, row_filter_in, spelt
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid, InvalidPolicy
from muniment.core.readings import Reading, reading
from muniment.core.row_filters import read_row_filter, write_row_filter
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.sentence_tokens import Tokens, refuse, tokens_of
from muniment.core.sentences import MONTHS, VERBS, sentence

#: The longest sentence that is read, in characters.
LONGEST: Final = 10_000

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}\Z")
_DAY: Final = re.compile(r"[0-9]{1,2}\Z")
_YEAR: Final = re.compile(r"[0-9]{4}\Z")

#: Where a condition in Cedar ends: before what else narrows the rule.
_AFTER_CEDAR: Final = (", except ", ", unless ")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Said:
    """What a sentence says: the Cedar text of a policy, of which kind it is, and what it demands."""

    cedar: str
    kind: PolicyKind = PolicyKind.ACCESS
    obligation: Mapping[str, object] | None = None


def policy_said(text: str, scope: str) -> Said:
    """The policy of a scope that a sentence says; :class:`InvalidPolicy` where it cannot be read."""
    said = text.strip().removesuffix(".")
    if not said or len(said) > LONGEST:
        refuse("Write one sentence, such as: Members of analysts may load every dataset of sales, in prod.")
    try:
        found = _Parser(said).policy()
        again = sentence(Policy("", found.cedar, scope=scope, kind=found.kind, obligation=found.obligation))
    except InvalidPolicy as refused:
        if any(fault.at == "sentence" for fault in refused.faults):
            raise
        refuse(refused.detail)
    except Invalid as refused:
        refuse(refused.detail)
    check_same(said, again)
    return found


def check_same(said: str, again: str) -> None:
    """Refuse a sentence that has other words than the one by which what was understood is said."""
    if tokens_of(said) != tokens_of(again.removesuffix(".")):
        refuse(f"Muniment would say what it understood so: {again} If that is what you mean, write it so.")


def sentence_to_write(policy: Policy) -> str | None:
    """The sentence of a policy, where it is read back as all that the policy says; else none."""
    said = sentence(policy)
    try:
        found = policy_said(said, policy.scope)
    except Invalid:
        return None
    again = replace(policy, cedar=found.cedar, kind=found.kind, obligation=found.obligation)
    return said if same(policy, again) else None


def same(one: Policy, other: Policy) -> bool:
    """Whether two policies of one scope say the same, whatever their texts look like."""
    if (one.kind, one.scope) != (other.kind, other.scope):
        return False
    return _demanded(one) == _demanded(other) and _plainly(one) == _plainly(other)


def _demanded(policy: Policy) -> str:
    """What a policy demands, in one spelling of it; what cannot be told is as it is."""
    payload = policy.obligation
    try:
        match policy.kind:
            case PolicyKind.MASK:
                return spelt(write_mask(read_mask(payload or {})))
            case PolicyKind.ROW_FILTER:
                return spelt(write_row_filter(read_row_filter(payload)))
            case PolicyKind.ACCESS:
                return spelt(payload)
    except InvalidPolicy:
        return spelt(payload)


def _plainly(policy: Policy) -> Reading:
    """What a policy says, without what it says twice, and with one way of saying what can be said in two."""
    read = reading(policy.cedar, policy.kind)
    form = read.form
    if not set(lineage(policy.scope)).isdisjoint(form.domains):
        form = replace(form, domains=())  # One of them is the scope, or holds it: the policy reaches all that is in it.
    if len(form.tags_any) == 1:
        form = replace(form, tags_all=form.tags_all | form.tags_any, tags_any=frozenset())
    form = replace(form, attributes=_of_one(form.attributes), except_attributes=_of_one(form.except_attributes))
    of_datasets = form.reads_datasets or form.actions <= set(DATA_ACTIONS)
    resources = "Dataset" if read.resources is None and of_datasets else read.resources
    return replace(read, form=form, resources=resources)


def _of_one(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    """To have any of one text is to have all of it."""
    return tuple(
        replace(each, comparison=Comparison.ALL_OF)
        if each.comparison is Comparison.ANY_OF and isinstance(each.value, frozenset) and len(each.value) == 1
        else each
        for each in demands
    )


class _Parser(Tokens):
    """One sentence, read from left to right."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._found: dict[str, Any] = {}
        self._clauses: list[str] = []
        self._everything = False
        self._of_datasets = True
        self._obligation: Mapping[str, object] | None = None

    def policy(self) -> Said:
        self._who()
        self._does()
        while self.take(","):
            self._narrowed()
        if self.peek()[1]:
            raise self.lost()
        if self._everything:
            every = frozenset(Action)
            self._found["actions"] = every - {Action.ADMINISTER} if self._of_datasets else every
        form = Form(**self._found)
        cedar = "\n".join([form.cedar().removesuffix(";"), *self._clauses]) + ";"
        return Said(cedar, form.kind, self._obligation)

    def _put(self, field: str, value: object) -> None:
        if field in self._found:
            raise self.lost()
        self._found[field] = value

    # --- who --------------------------------------------------------------------------------------

    def _who(self) -> None:
        if self.take("nobody"):
            self._put("effect", "forbid")
        elif not self.take("everybody"):
            self._put("principals", self._people())

    def _people(self) -> tuple[str, ...]:
        if not self._is_person(0):
            raise self.lost("members of")
        found, _ = self.listed(self._person, lambda further: self._is_person(further) or self.is_name(further))
        return tuple(found)

    def _is_person(self, further: int) -> bool:
        return self.peek(further) in {("word", "members"), ("word", "the")}

    def _person(self) -> str:
        if self.take("members", "of") or self.is_name():
            return self.name()
        return self._subject()

    def _subject(self) -> str:
        self.need("the")
        for kind in ("user", "service"):
            if self.take(kind):
                return f"{kind}:{self.name()}"
        raise self.lost("user")

    # --- does -------------------------------------------------------------------------------------

    def _does(self) -> None:
        if self.take("see") or self.take("sees"):
            self._sees()
            return
        self.need("may")
        if self.take("not"):
            self._put("effect", "forbid")
        self._everything = self.take("do", "anything", "to")
        if not self._everything:
            verbs, _ = self.listed(self._verb, self._is_verb)
            self._put("actions", frozenset(Action(verb) for verb in verbs))
        self._what()

    def _sees(self) -> None:
        """What comes with loading: only some rows, or columns that are masked."""
        self._put("actions", frozenset({Action.LOAD}))
        if self.take("only", "those", "rows", "of"):
            self._put("kind", PolicyKind.ROW_FILTER)
            self._what()
            self.need("where")
            self._obligation = row_filter_in(self)
        else:
            self._put("kind", PolicyKind.MASK)
            self._what()
            self.need("with")
            self._obligation = mask_in(self)

    def _is_verb(self, further: int) -> bool:
        kind, text = self.peek(further)
        return kind == "word" and any(verb.split()[0] == text for verb in VERBS.values())

    def _verb(self) -> str:
        for action, verb in VERBS.items():
            if self.take(*verb.split()):
                return action.value
        raise self.lost("what they may do")

    # --- to what ----------------------------------------------------------------------------------

    def _what(self) -> None:
        if self.take("every", "dataset") or self.take("any", "dataset"):
            if not self.comes("of", "a", "sensitivity") and self.take("of"):
                domains, _ = self.names()
                self._put("domains", tuple(domains))
            if self._is_quality():
                self._qualities()
        elif self.take("everything") or self.take("anything"):
            self._of_datasets = False
            self._as_far_as()
        else:
            self._named()

    def _named(self) -> None:
        names, joint = self.listed(self.name, self.is_name)
        if not joint and (self.take("and") or self.take("or")):
            if not (self.take("everything", "in") or self.take("anything", "in")):
                raise self.lost("everything in it")
            if not (self.take("it") or self.take("them")):
                raise self.lost("it")
            self._of_datasets = False
            self._put("domains", tuple(names))
            self._as_far_as()
        else:
            self._put("names", tuple(names))

    def _as_far_as(self) -> None:
        if self.take(",", "as", "far", "as"):
            self._qualities()

    def _is_quality(self) -> bool:
        return self.peek()[1] in {"named", "tagged", "not", "classified", "of", "owned", "whose", "within"}

    def _qualities(self) -> None:
        self._quality()
        while self.take(",", "and"):
            self._quality()

    def _quality(self) -> None:
        if self.take("named"):
            self._put("names", tuple(self.names()[0]))
        elif self.take("tagged"):
            tags, joint = self.names()
            # Of one tag it is the same whether all of them are asked for, or any: who says both says it twice.
            again = len(tags) == 1 and "tags_all" in self._found
            self._put("tags_any" if joint == "or" or again else "tags_all", frozenset(tags))
        elif self.take("not", "tagged"):
            self._put("tags_none", frozenset(self.names()[0]))
        elif self.take("of", "a", "sensitivity"):
            self._sensitivity()
        elif self.take("owned", "by"):
            owners, _ = self.listed(self._owner, lambda further: self._is_person(further) or self.is_name(further))
            self._put("owners", tuple(owners))
        elif self.take("within"):
            self.name()  # The scope: that it is this one shows when the sentence is said again.
        else:
            for words, field in _TEXTS.items():
                if self.take(*words):
                    self._put(field, frozenset(self.names()[0]))
                    return
            raise self.lost()

    def _owner(self) -> str:
        return self.name() if self.is_name() else self._subject()

    def _sensitivity(self) -> None:
        if self.take("from"):
            self._put("sensitivity_at_least", self._number())
            self.need("to")
            self._put("sensitivity_at_most", self._number())
        elif self.take("of", "at", "least"):
            self._put("sensitivity_at_least", self._number())
        else:
            self.need("of", "at", "most")
            self._put("sensitivity_at_most", self._number())

    def _number(self) -> int:
        kind, text = self.peek()
        if kind != "word" or not _NUMBER.match(text):
            raise self.lost("a whole number")
        self.next()
        return int(text)

    # --- and all that narrows it ------------------------------------------------------------------

    def _narrowed(self) -> None:
        if self.take("in", "the", "project"):
            self._put("projects", frozenset(self.names()[0]))
        elif self.take("in"):
            self._put("environments", frozenset(self.names()[0]))
        elif self.take("for", "the", "purpose"):
            self._put("purposes", frozenset(self.names()[0]))
        elif self.comes("from") or self.comes("until"):
            self._times()
        elif self.take("if"):
            self._put("attributes", self._demands())
        elif self.take("except"):
            self._put("except_groups", self._people())
        elif self.take("when"):
            self._clauses.append(f"when {{ {self._cedar()} }}")
        elif self.comes("unless", "their"):
            self.next()
            self._put("except_attributes", self._demands())
        elif self.take("unless"):
            self._clauses.append(f"unless {{ {self._cedar()} }}")
        else:
            raise self.lost()

    def _times(self) -> None:
        if self.take("from"):
            self._put("valid_from", self._moment())
            if self.take("on"):
                return
        self.need("until")
        self._put("valid_to", self._moment())

    def _moment(self) -> datetime:
        since_midnight = timedelta()
        kind, text = self.peek()
        if kind == "time":
            self.next()
            since_midnight = _since_midnight(text)
            self.need("UTC", "on")
        day, month, year = (self.next()[1] for _ in range(3))
        if not _DAY.match(day) or month not in MONTHS or not _YEAR.match(year):
            raise self.lost("a day such as 31 March 2027")
        try:
            return datetime(int(year), MONTHS.index(month) + 1, int(day), tzinfo=UTC) + since_midnight
        except (ValueError, OverflowError):
            refuse(f"There is no {day} {month} {year}.")

    def _demands(self) -> tuple[Demand, ...]:
        found = [self._demand()]
        while self.comes(",", "and", "their"):
            self.next()
            self.next()
            demand = self._demand()
            # Of one text it is the same whether all are asked for, or any, as with tags.
            again = any((demand.attribute, demand.comparison) == (each.attribute, each.comparison) for each in found)
            found.append(replace(demand, comparison=Comparison.ANY_OF) if again else demand)
        return tuple(found)

    def _demand(self) -> Demand:
        self.need("their")
        kind, attribute = self.next()
        if kind != "word":
            raise self.lost("an attribute")
        demand = self._asked(attribute)
        if self.take("(", "or", "unknown"):
            self.need(")")
        return demand

    def _asked(self, attribute: str) -> Demand:
        if self.take("include"):
            texts, joint = self.names()
            return Demand(attribute, Comparison.ANY_OF if joint == "or" else Comparison.ALL_OF, frozenset(texts))
        self.need("is")
        if self.take("at", "least"):
            return Demand(attribute, Comparison.AT_LEAST, self._number())
        if self.take("at", "most"):
            return Demand(attribute, Comparison.AT_MOST, self._number())
        for word, so in (("true", True), ("false", False)):
            if self.take(word):
                return Demand(attribute, Comparison.IS, so)
        return Demand(attribute, Comparison.ONE_OF, frozenset(self.names()[0]))

    def _cedar(self) -> str:
        """A condition in Cedar: up to what else narrows the rule, or to the end."""
        start, depth, quoted = self.at, 0, False
        at = start
        while at < len(self.text):
            character = self.text[at]
            if quoted:
                at += 1 if character == "\\" else 0
                quoted = character != '"'
            elif character == '"':
                quoted = True
            elif depth == 0 and self.text.startswith(_AFTER_CEDAR, at):
                break
            else:
                depth += (character in _OPENING) - (character in _CLOSING)
            at += 1
        self.at = min(at, len(self.text))
        return self.text[start : self.at].strip()


#: What texts are said of an attribute, and in which field of a form they stand.
_TEXTS: Final[Mapping[tuple[str, ...], str]] = {
    ("classified",): "classifications",
    ("whose", "layer", "is"): "layers",
    ("whose", "lifecycle", "is"): "lifecycles",
}


def _since_midnight(text: str) -> timedelta:
    hours, minutes, *seconds = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0)
