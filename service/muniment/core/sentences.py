"""Rules in plain English: one sentence for every policy and grant.

The sentence says what the rule says and no more: whom it means, what they may or may not do, to
what, where, until when, and who is left out. What has no words stands as Cedar text behind *when* or
*unless*. Two rules that say different things have different sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache, reduce

from cedarpy import pst

from muniment.core.expressions import quoted, write_expression
from muniment.core.forms import Comparison, Demand
from muniment.core.grants import Grant
from muniment.core.groups import is_builtin
from muniment.core.masks import Mask, MaskAction, read_mask
from muniment.core.moments import write_datetime
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import InvalidPolicy
from muniment.core.readings import Reading, reading
from muniment.core.row_filters import read_row_filter
from muniment.core.schema import DATA_ACTIONS, Action

VERBS: Mapping[Action, str] = {
    Action.DISCOVER: "discover",
    Action.LOAD: "load",
    Action.SAVE: "save",
    Action.DECLARE: "declare",
    Action.CLASSIFY: "classify",
    Action.GRANT: "grant access to",
    Action.APPROVE: "approve requests for",
    Action.AUDIT: "audit",
    Action.ADMINISTER: "administer",
}

#: What is said of what a mask leaves, of how a row filter compares a column, and of what it states of one.
MASKED: Mapping[MaskAction, str] = {
    MaskAction.REPLACE_WITH_NULL: "replaced with null",
    MaskAction.MASK_TO_FIXED_VALUE: "replaced with a fixed value",
    MaskAction.SHA_256_QUERY_LOCAL: "hashed anew for each query",
    MaskAction.MASK_ALPHANUM: "letters and digits replaced",
    MaskAction.SHA_256_GLOBAL: "hashed",
    MaskAction.TRUNCATE_TO_YEAR: "cut down to the year",
    MaskAction.TRUNCATE_TO_MONTH: "cut down to the month",
    MaskAction.SHOW_LAST_4: "but for the last four characters",
    MaskAction.SHOW_FIRST_4: "but for the first four characters",
}

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

#: A name that stands in a sentence as it is; any other stands in quotes.
_PLAIN = re.compile(r"[\w|@{}*-](?:[\w.|@{}*-]*[\w|@{}*-])?\Z")
OUR_WORDS = frozenset({
    "and", "anything", "as", "classified", "every", "everything", "except", "for", "from", "if", "in", "is", "itself",
    "may", "members", "named", "not", "of", "on", "only", "or", "owned", "tagged", "the", "unless", "until", "when",
    "where", "who", "whose", "with", "within",
})  # fmt: skip

COMPARED: Mapping[str, str] = {
    "eq": "=",
    "not-eq": "<>",
    "lt": "<",
    "lt-eq": "<=",
    "gt": ">",
    "gt-eq": ">=",
    "starts-with": "starts with",
    "not-starts-with": "does not start with",
}
STATED: Mapping[str, str] = {
    "is-null": "is null",
    "not-null": "is not null",
    "is-nan": "is not a number",
    "not-nan": "is a number",
    "in": "is one of",
    "not-in": "is none of",
}


def sentence(rule: Policy | Grant) -> str:
    """What a rule says, in one sentence on one line."""
    policy = rule.policy() if isinstance(rule, Grant) else rule
    if policy.obligation is None:
        return _said(policy.cedar, policy.scope, policy.kind)
    return _Saying(policy, reading(policy.cedar, policy.kind)).sentence()


@lru_cache(maxsize=20_000)
def _said(cedar: str, scope: str, kind: PolicyKind) -> str:
    """The sentence of a rule that demands nothing: it depends on no more than this."""
    return _Saying(Policy("", cedar, scope=scope, kind=kind), reading(cedar, kind)).sentence()


class _Saying:
    """One policy on its way into words."""

    def __init__(self, policy: Policy, read: Reading) -> None:
        self._policy = policy
        self._read = read
        self._form = read.form
        self._forbids = read.form.effect == "forbid"
        #: What joins things of which each one is meant.
        self._joint = "or" if self._forbids else "and"

    def sentence(self) -> str:
        """Who, does what, to what; and all that narrows it."""
        said = f"{self._who()} {self._does()}"
        said = "".join([said, *(f", {part}" for part in self._narrowed())])
        return f"{said[0].upper()}{said[1:]}."

    # --- who --------------------------------------------------------------------------------------

    def _who(self) -> str:
        type_ = self._read.principals
        if not self._form.principals:
            if self._forbids:
                return f"no {type_.lower()}" if type_ else "nobody"
            return f"any {type_.lower()}" if type_ else "everybody"
        named = _people(self._form.principals)
        return f"{type_.lower()}s who are {named}" if type_ else named

    def _does(self) -> str:
        match self._policy.kind:
            case PolicyKind.MASK:
                return f"{self._sees()} {self._what()} with {_masked(self._policy.obligation)}"
            case PolicyKind.ROW_FILTER:
                return f"{self._sees()} only those rows of {self._what()} where {_left(self._policy.obligation)}"
            case _:
                may = "may not" if self._forbids and self._form.principals else "may"
                return f"{may} {self._verbs()} {self._what()}"

    def _sees(self) -> str:
        alone = not self._form.principals or (len(self._form.principals) == 1 and is_builtin(self._form.principals[0]))
        return "sees" if alone and not (self._form.principals and self._read.principals) else "see"

    def _verbs(self) -> str:
        every = set(Action) - ({Action.ADMINISTER} if self._of_datasets else set())
        if self._form.actions >= every:
            return "do anything to"
        verbs = [verb for action, verb in VERBS.items() if action in self._form.actions]
        return _listed(verbs, self._joint) if verbs else "do nothing to"

    # --- to what ----------------------------------------------------------------------------------

    @property
    def _of_datasets(self) -> bool:
        if self._read.resources == "Domain":
            return False
        return self._form.reads_datasets or self._read.resources is not None or self._form.actions <= set(DATA_ACTIONS)

    def _what(self) -> str:
        scope, form = self._policy.scope, self._form
        if self._read.itself is not None:
            inside = "" if scope in lineage(self._read.itself) else f" within {_name(scope)}"
            return f"the domain {_name(self._read.itself)} itself{inside}"
        qualities = list(self._qualities())
        exact = not any("*" in name for name in form.names)
        if exact and form.names and not form.domains and not qualities and self._within(form.names):
            return _listed(map(_name, form.names), self._joint)
        domains = [name for name in form.domains if name != ROOT] or ([scope] if scope != ROOT else [])
        if form.names:
            qualities.insert(0, f"named {_listed(map(_name, form.names), 'or')}")
        if form.domains and not self._within(form.domains):
            qualities.append(f"within {_name(scope)}")
        if self._of_datasets:
            return self._things("dataset", domains, qualities)
        if self._read.resources == "Domain":
            return self._things("domain", domains, qualities)
        return self._everything(domains, qualities)

    def _things(self, noun: str, domains: Sequence[str], qualities: Sequence[str]) -> str:
        each = "any" if self._forbids else "every"
        place = f" of {_listed(map(_name, domains), 'or')}" if domains else ""
        return f"{each} {noun}{place}{''.join(f' {quality}' for quality in [_qualified(qualities)] if quality)}"

    def _everything(self, domains: Sequence[str], qualities: Sequence[str]) -> str:
        """Domains and all that is in them, themselves included."""
        each = "anything" if self._forbids else "everything"
        them = "it" if len(domains) == 1 else "them"
        place = _listed([*map(_name, domains), f"{each} in {them}"], self._joint) if domains else each
        return f"{place}, as far as {_qualified(qualities)}" if qualities else place

    def _within(self, places: Iterable[str]) -> bool:
        """Whether the places, domains or datasets, all lie in the policy's scope."""
        scope = self._policy.scope
        return all(scope in lineage(place if place in self._form.domains else domain_of(place)) for place in places)

    def _qualities(self) -> Iterator[str]:
        form = self._form
        if form.tags_all:
            yield f"tagged {_listed(_names(form.tags_all), 'and')}"
        if form.tags_any:
            yield f"tagged {_listed(_names(form.tags_any), 'or')}"
        if form.tags_none:
            yield f"not tagged {_listed(_names(form.tags_none), 'or')}"
        if form.classifications:
            yield f"classified {_listed(_names(form.classifications), 'or')}"
        yield from _sensitivity(form.sensitivity_at_least, form.sensitivity_at_most)
        if form.owners:
            yield f"owned by {_listed(map(_owner, form.owners), 'or')}"
        if form.layers:
            yield f"whose layer is {_listed(_names(form.layers), 'or')}"
        if form.lifecycles:
            yield f"whose lifecycle is {_listed(_names(form.lifecycles), 'or')}"

    # --- and all that narrows it ------------------------------------------------------------------

    def _narrowed(self) -> Iterator[str]:
        form = self._form
        if form.environments:
            yield f"in {_listed(_names(form.environments), self._joint)}"
        if form.purposes:
            yield f"for the purpose {_listed(_names(form.purposes), 'or')}"
        if form.projects:
            yield f"in the project {_listed(_names(form.projects), 'or')}"
        if form.valid_from or form.valid_to:
            begins = f"from {_moment(form.valid_from)}" if form.valid_from else ""
            ends = f"until {_moment(form.valid_to)}" if form.valid_to else "on"
            yield f"{begins} {ends}".strip()
        if form.attributes:
            yield f"if {_demanded(form.attributes, without=form.restricts)}"
        when = [clause.expr for clause in self._read.rest if isinstance(clause, pst.When)]
        if when:
            yield f"when {write_expression(reduce(_both, when))}"
        if form.except_groups:
            yield f"except {_people(form.except_groups)}"
        if form.except_attributes:
            yield f"unless {_demanded(form.except_attributes, without=not form.restricts)}"
        unless = [clause.expr for clause in self._read.rest if isinstance(clause, pst.Unless)]
        if unless:
            yield f"unless {write_expression(reduce(_either, unless))}"


def _both(left: pst.Expr, right: pst.Expr) -> pst.Expr:
    return pst.BinaryOp("and", left, right)


def _either(left: pst.Expr, right: pst.Expr) -> pst.Expr:
    return pst.BinaryOp("or", left, right)


# --- parts of sentences -----------------------------------------------------------------------------


def _people(ids: Iterable[str]) -> str:
    """Groups and subjects: ``members of analysts or engineers``, ``the user ann``."""
    groups = [_name(id_) for id_ in ids if not is_builtin(id_)]
    single = [_subject(id_) for id_ in ids if is_builtin(id_)]
    if not single:
        return f"members of {_listed(groups, 'or')}"
    return _listed([*(f"members of {group}" for group in groups), *single], "or")


def _subject(id_: str) -> str:
    kind, _, name = id_.partition(":")
    return f"the {kind} {_name(name)}"


def _owner(id_: str) -> str:
    return _subject(id_) if is_builtin(id_) else _name(id_)


def _demanded(demands: Iterable[Demand], *, without: bool) -> str:
    unknown = " (or unknown)" if without else ""
    return _qualified([f"their {_asked(demand)}{unknown}" for demand in demands])


def _asked(demand: Demand) -> str:
    attribute = demand.attribute
    match demand.comparison, demand.value:
        case Comparison.ONE_OF, frozenset(texts):
            return f"{attribute} is {_listed(_names(texts), 'or')}"
        case (Comparison.ANY_OF | Comparison.ALL_OF) as how, frozenset(texts):
            return f"{attribute} include {_listed(_names(texts), 'or' if how is Comparison.ANY_OF else 'and')}"
        case Comparison.IS, so:
            return f"{attribute} is {'true' if so else 'false'}"
        case comparison, number:
            return f"{attribute} is {comparison.replace('_', ' ')} {number}"


def _sensitivity(least: int | None, most: int | None) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"of a sensitivity from {least} to {most}"
    elif least is not None:
        yield f"of a sensitivity of at least {least}"
    elif most is not None:
        yield f"of a sensitivity of at most {most}"


def _moment(at: datetime) -> str:
    """A day in words; with the time in front of it, where it is not the day's beginning (UTC)."""
    day = f"{at.day} {MONTHS[at.month - 1]} {at.year}"
    time = write_datetime(at)[11:-1].removesuffix(".000")
    return day if time == "00:00:00" else f"{time.removesuffix(':00')} UTC on {day}"


def _name(text: str) -> str:
    """A name as it stands in a sentence: in quotes, where it could be taken for words of ours or runs on."""
    return text if _PLAIN.match(text) and text not in OUR_WORDS else quoted(text)


def _names(texts: Iterable[str]) -> list[str]:
    return [_name(text) for text in sorted(texts)]


def _listed(items: Iterable[str], word: str) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *others, last = items
    return f"{', '.join(others)} {word} {last}" if others else last


def _qualified(qualities: Sequence[str]) -> str:
    """What holds together; the comma keeps apart what has an *or* of its own."""
    return ", and ".join(qualities)


# --- what a reader is bound to ----------------------------------------------------------------------


def _masked(obligation: Mapping[str, object] | None) -> str:
    try:
        mask = read_mask(obligation or {})
    except InvalidPolicy:
        return "columns masked that cannot be told"
    return f"{_columns(mask)} masked ({MASKED[mask.action]})"


def _columns(mask: Mask) -> str:
    columns = f"the column{'s' if len(mask.columns) > 1 else ''} {_listed(map(_name, mask.columns or ('',)), 'and')}"
    tagged = f"every column tagged {_listed(map(_name, mask.column_tags or ('',)), 'or')}"
    if mask.columns and mask.column_tags:
        return f"{columns}, and {tagged},"
    return columns if mask.columns else tagged


def _left(obligation: Mapping[str, object] | None) -> str:
    try:
        return _predicate(read_row_filter(obligation))
    except InvalidPolicy:
        return "a condition holds that cannot be told"


def _predicate(predicate: object) -> str:
    match predicate:
        case True | {"type": "true"}:
            return "anything is so"
        case {"type": "and" | "or" as word, "left": left, "right": right}:
            return f"{_bracketed(left, {'and', 'or'} - {word})} {word} {_bracketed(right, {'and', 'or'})}"
        case {"type": "not", "child": child}:
            return f"not ({_predicate(child)})"
        case {"type": str(type_), "left": column, "right": value} if type_ in COMPARED:
            return f"{_column(column)} {COMPARED[type_]} {_value(value)}"
        case {"type": str(type_), "child": column, "values": {"values": [*values], "data-type": data_type}}:
            typed = [f"{data_type} {_bare(value)}" for value in values]
            return f"{_column(column)} {STATED[type_]} {_listed(typed, 'or')}"
        case {"type": str(type_), "child": column, "values": [*values]}:
            return f"{_column(column)} {STATED[type_]} {_listed(map(_value, values), 'or')}"
        case {"type": str(type_), "child": column}:
            return f"{_column(column)} {STATED[type_]}"
        case _:
            return "nothing is so"


def _bracketed(predicate: object, words: AbstractSet[str]) -> str:
    """One side of *and* or *or*, in brackets where it is one of these itself, and would be taken for another's part."""
    inner = isinstance(predicate, Mapping) and predicate.get("type") in words
    return f"({_predicate(predicate)})" if inner else _predicate(predicate)


def _column(reference: object) -> str:
    return _name(str(reference["name"])) if isinstance(reference, Mapping) else ""


def _value(literal: object) -> str:
    match literal:
        case {"value": value, "data-type": type_}:
            return f"{type_} {_bare(value)}"
        case {"value": value}:
            return _bare(value)
        case _:
            return ""


def _bare(value: object) -> str:
    if isinstance(value, str):
        doubled = quoted(value)[1:-1].replace("'", "''")
        return f"'{doubled}'"
    return str(value).lower()
