"""Cedar expressions of every type, with every operator in every position, as policies have them.

A grammar with types: each :class:`Form` says what it gives, what it takes and of which
variables it speaks itself. :meth:`Writer.write` makes an expression of a wanted type that
speaks of exactly the wanted variables: so an operator can be had over the principal alone,
over the resource alone, over both (a join) or over nothing. Most of what is written passes
Cedar's validator; some errs when it is evaluated, whether it passes or not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ATTRIBUTES = {"clearance": "long", "team": "string", "skills": "set", "staff": "boolean"}
DOMAINS = ("sales", "sales.emea", "sales.emea.uk", "hr", "hr.pay", "ops")
LEAVES = (
    "orders",
    "people",
    "costs",
    "rates",
    "plans",
    "logs",
    "orders_old",
    "o2",
    "{region}_rows",
    "x_{year}_{month}",
)
NAMES = tuple(f"{domain}.{leaf}" for domain in DOMAINS for leaf in LEAVES)
MADE = ("sales.north_rows", "hr.pay.south_rows", "ops.x_26_06")
LOCAL = ("team", "squad", "guild", "office", "region", "world")
TOLD = ("analysts", "engineers")
PERSONS = ("user:ann", "service:etl")
OWNERS = (*LOCAL, *TOLD, *PERSONS)
USERS = ("ann", "bob", "cy")
SERVICES = ("etl", "bot")
#: Tags, skills, teams and classifications have words in common, so that what compares them may hit.
WORDS = ("public", "internal", "eu", "top*secret", "größe")
ENVIRONMENTS = ("dev", "prod")
LIFECYCLES = ("active", "draft", "deprecated")
LAYERS = ("raw", "mart")
LONGS = (0, 1, 2, 3, 5, 10)

PRINCIPAL, ACTION, RESOURCE, CONTEXT = "principal", "action", "resource", "context"

#: The variables that a condition may speak of together, those that are wanted often more often.
POSITIONS = (
    *[frozenset[str]()] * 2,
    *[frozenset({RESOURCE})] * 6,
    *[frozenset({PRINCIPAL})] * 4,
    *[frozenset({CONTEXT})] * 4,
    *[frozenset({PRINCIPAL, RESOURCE})] * 6,
    *[frozenset({CONTEXT, RESOURCE})] * 3,
    *[frozenset({PRINCIPAL, CONTEXT})] * 2,
    *[frozenset({PRINCIPAL, CONTEXT, RESOURCE})] * 2,
    frozenset({ACTION}),
    frozenset({ACTION, RESOURCE}),
)


@dataclass(frozen=True, slots=True)
class Form:
    """An operator or a leaf: ``{}`` in its text is an operand, ``$long`` and its like a literal.

    ``only`` says where it fits the schema: everywhere, for ``data`` actions, or where the
    resource is a ``dataset``. ``needs`` is the optional attribute that must be there.
    """

    name: str
    gives: str
    takes: tuple[str, ...]
    text: str
    speaks: frozenset[str] = frozenset()
    only: str = ""
    needs: str = ""


def _operators() -> Iterator[Form]:
    types = ("bool", "long", "string", "strings", "group", "groups", "decimal", "ip", "datetime", "duration", "record")
    for type_ in types:
        yield Form("eq", "bool", (type_, type_), "({} == {})")
        yield Form("not_eq", "bool", (type_, type_), "({} != {})")
        yield Form("if", type_, ("bool", type_, type_), "(if {} then {} else {})")
    for name, sign in {"less": "<", "less_eq": "<=", "greater": ">", "greater_eq": ">="}.items():
        for type_ in ("long", "datetime", "duration"):
            yield Form(name, "bool", (type_, type_), f"({{}} {sign} {{}})")
    for method in ("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"):
        yield Form(method, "bool", ("decimal", "decimal"), f"{{}}.{method}({{}})")
    for method in ("isIpv4", "isIpv6", "isLoopback", "isMulticast"):
        yield Form(method, "bool", ("ip",), f"{{}}.{method}()")
    yield Form("isInRange", "bool", ("ip", "ip"), "{}.isInRange({})")
    for unit in ("Milliseconds", "Seconds", "Minutes", "Hours", "Days"):
        yield Form(f"to{unit}", "long", ("duration",), f"{{}}.to{unit}()")
    for name, sign in {"add": "+", "sub": "-", "mul": "*"}.items():
        yield Form(name, "long", ("long", "long"), f"({{}} {sign} {{}})")
    for type_, method in {"strings": "contains", "groups": "contains"}.items():
        yield Form("contains", "bool", (type_, type_[:-1]), f"{{}}.{method}({{}})")
    for type_ in ("strings", "groups"):
        yield Form("containsAll", "bool", (type_, type_), "{}.containsAll({})")
        yield Form("containsAny", "bool", (type_, type_), "{}.containsAny({})")
        yield Form("isEmpty", "bool", (type_,), "{}.isEmpty()")
        yield Form("set", type_, (type_[:-1],), "[{}]")
        yield Form("set", type_, (type_[:-1], type_[:-1]), "[{}, {}]")
    yield from (
        Form("not", "bool", ("bool",), "(!{})"),
        Form("and", "bool", ("bool", "bool"), "({} && {})"),
        Form("or", "bool", ("bool", "bool"), "({} || {})"),
        Form("in", "bool", ("group", "group"), "({} in {})"),
        Form("in", "bool", ("group", "groups"), "({} in {})"),
        Form("in", "bool", ("domain", "domain"), "({} in {})"),
        Form("is", "bool", ("group",), "({} is Group)"),
        Form("is_in", "bool", ("group", "group"), "({} is Group in {})"),
        Form("like", "bool", ("string",), "({} like $pattern)"),
        Form("has", "bool", ("record",), "({} has a)"),
        Form("has", "bool", ("nested",), "({} has n.b)"),
        Form("has", "bool", ("domain",), "({} has owner)"),
        Form("neg", "long", ("long",), "(-{})"),
        Form("get", "long", ("record",), "{}.a"),
        Form("get", "long", ("record",), '{}["a"]'),
        Form("get", "string", ("record",), "{}.b"),
        Form("get", "long", ("nested",), "{}.n.a"),
        Form("get", "string", ("nested",), '{}["n"]["b"]'),
        Form("get", "group", ("domain",), "{}.owner"),
        Form("if", "domain", ("bool", "domain", "domain"), "(if {} then {} else {})"),
        Form("record", "record", ("long", "string"), "{{a: {}, b: {}}}"),
        Form("record", "nested", ("record",), "{{n: {}}}"),
        Form("if", "nested", ("bool", "nested", "nested"), "(if {} then {} else {})"),
        Form("offset", "datetime", ("datetime", "duration"), "{}.offset({})"),
        Form("toDate", "datetime", ("datetime",), "{}.toDate()"),
        Form("toTime", "duration", ("datetime",), "{}.toTime()"),
        Form("durationSince", "duration", ("datetime", "datetime"), "{}.durationSince({})"),
    )


def _entities() -> Iterator[Form]:
    """What is asked of the principal and the resource themselves."""
    principal, resource, action = frozenset({PRINCIPAL}), frozenset({RESOURCE}), frozenset({ACTION})
    yield Form("in", "bool", ("group",), "(principal in {})", principal)
    yield Form("in", "bool", ("groups",), "(principal in {})", principal)
    yield Form("is_in", "bool", ("group",), "(principal is $kind in {})", principal)
    yield Form("in", "bool", ("domain",), "(resource in {})", resource)
    yield Form("is_in", "bool", ("domain",), "(resource is Dataset in {})", resource)
    for text in ("principal == $subject", "$subject != principal", "principal is $kind", "principal has $attribute"):
        yield Form(_named(text), "bool", (), f"({text})", principal)
    yield Form("contains", "bool", (), "(principal is User && [$user, $user].contains(principal))", principal)
    for text in (
        "resource in $domain",
        "resource in [$domain, $domain]",
        "resource is Dataset",
        "resource is Dataset in $domain",
        "resource == $dataset",
        "$dataset == resource",
        "$dataset != resource",
        "resource in $dataset",
        "resource in [$dataset, $dataset]",
        "resource has layer",
        "resource has owner",
    ):
        yield Form(_named(text), "bool", (), f"({text})", resource)
    yield Form("contains", "bool", (), "[$dataset, $dataset].contains(resource)", resource, only="dataset")
    for text in ("resource.owner in $group", "resource.owner is Group in $group", "resource.owner == $group"):
        yield Form(_named(text), "bool", (), f"({text})", resource)
    yield Form("in", "bool", (), "(principal in [$group, $group])", principal)
    yield Form("in", "bool", (), "(principal in resource.owner)", principal | resource)
    yield Form("in", "bool", (), "(principal in [resource.owner, $group])", principal | resource)
    for text in ("action == $action", "action in [$action, $action]", "$action != action"):
        yield Form(_named(text), "bool", (), f"({text})", action)


def _attributes() -> Iterator[Form]:
    principal, resource, context = frozenset({PRINCIPAL}), frozenset({RESOURCE}), frozenset({CONTEXT})
    for type_, attribute in {"long": "clearance", "string": "team", "strings": "skills", "bool": "staff"}.items():
        yield from _optional(type_, PRINCIPAL, attribute)
    yield Form("get", "string", (), "principal.issuer", principal)
    for type_, attribute in (
        ("string", "name"),
        ("string", "classification"),
        ("string", "lifecycle"),
        ("strings", "tags"),
        ("long", "sensitivity"),
    ):
        yield Form("get", type_, (), f"resource.{attribute}", resource, only="dataset")
    yield Form("get", "group", (), "resource.owner", resource)
    yield from _optional("string", RESOURCE, "layer")
    yield Form("get", "string", (), "context.environment", context, only="data")
    yield from _optional("string", CONTEXT, "purpose")
    yield from _optional("string", CONTEXT, "project")
    yield Form("eq", "bool", (), "(resource.name == $name)", resource, only="dataset")
    yield Form("eq", "bool", (), "($name != resource.name)", resource, only="dataset")
    yield Form("like", "bool", (), "(resource.name like $names)", resource, only="dataset")
    yield Form("contains", "bool", (), "[$name, $name].contains(resource.name)", resource, only="dataset")
    yield Form("eq", "bool", (), "(resource.lifecycle == $lifecycle)", resource, only="dataset")
    yield Form("eq", "bool", (), "(context.environment == $environment)", context, only="data")
    yield Form("contains", "bool", (), "[$environment].contains(context.environment)", context, only="data")
    for sign in ("==", "!=", "<", "<=", ">", ">="):
        yield Form(_named(f" {sign} "), "bool", (), f"(context.now {sign} $moment)", context)
        yield Form(_named(f" {sign} "), "bool", (), f"($moment {sign} context.now)", context)
    for sign in ("==", "!=", "<", "<=", ">", ">="):
        name = _named(f" {sign} ")
        yield Form(name, "bool", (), f"(context.now.toTime() {sign} $time)", context, only="now")
        yield Form(name, "bool", (), f"($time {sign} context.now.toTime())", context, only="now")
        yield Form(name, "bool", (), f"(context.now.offset($duration) {sign} $moment)", context, only="now")
        yield Form(name, "bool", (), f"(context.now.toDate() {sign} $datetime)", context, only="now")
        yield Form(name, "bool", (), f"(context.now.durationSince($moment) {sign} $duration)", context, only="now")
    yield Form("contains", "bool", (), "[context.now].contains($moment)", context, only="now")
    yield Form("get", "datetime", (), "context.now", context, only="now")


def _optional(type_: str, variable: str, attribute: str) -> Iterator[Form]:
    """An attribute that may be missing: bare (then somebody has to ask for it before), or asked for on the spot."""
    speaks, path = frozenset({variable}), f"{variable}.{attribute}"
    only = {PRINCIPAL: "", RESOURCE: "dataset", CONTEXT: "data"}[variable]
    asked = f"{variable} has {attribute}"
    literal = "$skills" if type_ == "strings" else f"${type_}"
    yield Form("get", type_, (), path, speaks, only, needs=asked)
    yield Form("get", type_, (), f"(if {asked} then {path} else {literal})", speaks, only)
    if type_ == "long":
        yield Form("less_eq", "bool", (), f"({asked} && $long <= {path})", speaks, only)
    if type_ == "string":
        yield Form("eq", "bool", (), f"({asked} && {path} == $string)", speaks, only)
        yield Form("like", "bool", (), f"({asked} && {path} like $pattern)", speaks, only)
    yield Form("has", "bool", (), f"({asked})", speaks, only)


def _literals() -> Iterator[Form]:
    listed = ("bool", "long", "string", "group", "domain", "decimal", "ip", "datetime", "duration", "record", "nested")
    for type_ in listed:
        yield Form("literal", type_, (), f"${type_}")
    yield Form("literal", "strings", (), "$skills")
    yield Form("literal", "groups", (), "[$group, $group]")
    yield Form("error", "long", (), "(9223372036854775807 + $long)")
    yield Form("error", "group", (), 'Domain::"nowhere".owner')


def _named(text: str) -> str:
    signs = {" is ": "is", " in ": "in", " has ": "has", "==": "eq", "!=": "not_eq"}
    signs |= {" <= ": "less_eq", " >= ": "greater_eq", " < ": "less", " > ": "greater"}
    found = [name for sign, name in signs.items() if sign in text]
    return "is_in" if found[:2] == ["is", "in"] else found[0]


def _grouped(forms: Iterable[Form]) -> Mapping[str, Mapping[str, Sequence[Form]]]:
    found: defaultdict[str, defaultdict[str, list[Form]]] = defaultdict(lambda: defaultdict(list))
    for form in forms:
        found[form.gives][form.name].append(form)
    return found


FORMS = _grouped([*_operators(), *_entities(), *_attributes(), *_literals()])

_OPERATORS = tuple(_operators())

#: What can be aimed at: the forms of each operator.
AIMS = tuple(
    tuple(form for form in _OPERATORS if form.name == name) for name in sorted({form.name for form in _OPERATORS})
)


def _typical() -> Iterator[Form]:
    """What most policies ask, in the words in which they ask it; what may be missing is not asked for first."""
    skills, layer, purpose = "principal has skills", "resource has layer", "context has purpose"
    clearance, team = "principal has clearance", "principal has team"
    for sign in ("<", "<=", ">", ">=", "==", "!="):
        yield Form(
            "", "bool", (), f"(principal.clearance {sign} resource.sensitivity)", needs=clearance, only="dataset"
        )
        yield Form("", "bool", (), f"(principal.clearance {sign} $long)", needs=clearance)
        yield Form("", "bool", (), f"(resource.sensitivity {sign} $long)", only="dataset")
    for text, needs, only in (
        ("principal.team == resource.classification", team, "dataset"),
        ("[principal.team, $word].contains(resource.classification)", team, "dataset"),
        ("resource.tags.contains(principal.team)", team, "dataset"),
        ("resource.tags.containsAny(principal.skills)", skills, "dataset"),
        ("principal.skills.containsAll(resource.tags)", skills, "dataset"),
        ("principal.skills.contains(resource.classification)", skills, "dataset"),
        ("resource.tags.containsAny([$word, $word])", "", "dataset"),
        ("resource.tags.containsAll([$word, $word])", "", "dataset"),
        ("resource.tags.contains($word)", "", "dataset"),
        ('resource.layer != "raw"', layer, "dataset"),
        ("resource.layer like $pattern", layer, "dataset"),
        ("resource.classification like $pattern", "", "dataset"),
        ("context.purpose == $string", purpose, "data"),
        ("principal.team like $pattern", team, ""),
        ("principal.skills.contains($word)", skills, ""),
        *[("principal.skills.containsAny([$word, $word])", skills, "")] * 4,
        ("principal.staff", "principal has staff", ""),
    ):
        yield Form("", "bool", (), f"({text})", needs=needs, only=only)
    # Where a slip shows itself in few answers, the words are written often.
    groups = ("principal in [$group, $group]", "principal in [$group, $group, $group]")
    owners = ("resource.owner in $group", "resource.owner in [$group, $group]", "resource.owner is Group in $group")
    yield from (Form("", "bool", (), f"({text})") for text in (*groups, *owners) * 4)
    named = ("resource.name like $names", "resource.tags.containsAny([$word, $word])")
    yield from (Form("", "bool", (), f"({text})", only="dataset") for text in named * 4)
    for text in ('resource.layer == "raw"', '"mart" == resource.layer', '["raw", "none"].contains(resource.layer)'):
        yield from [Form("", "bool", (), f"({text})", needs=layer, only="dataset")] * 3
    leaves = [*_entities(), *_attributes()]
    yield from (form for form in leaves if form.gives == "bool" and not form.takes and "context.now" not in form.text)


TYPICAL = tuple(_typical())

#: What compares the time with something.
TIMELY = tuple(form for form in _attributes() if "context.now" in form.text and form.gives == "bool")


def _around(type_: str) -> Sequence[Form]:
    """The operators that take a type; those that ask something of it, if there are any."""
    taking = [form for form in _OPERATORS if type_ in form.takes and form.name != "if"]
    return [form for form in taking if form.gives == "bool"] or taking


AROUND = {type_: _around(type_) for type_ in FORMS}


def quoted(text: str) -> str:
    """A string literal of Cedar."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quoted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(quoted, texts))


def _called(function: str, texts: str) -> tuple[str, ...]:
    return tuple(f'{function}("{text}")' for text in texts.split())


def _entities_of(type_: str, ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{type_}::{quoted(id_)}" for id_ in ids)


def _moment(milliseconds: int) -> str:
    """A literal of the moment that lies so much after noon."""
    text = (NOON + timedelta(milliseconds=milliseconds)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f'datetime("{text}Z")'


_USERS = _entities_of("User", (*USERS, "stranger"))

_LITERALS: Mapping[str, Sequence[str]] = {
    "bool": ("true", "false"),
    "long": (*map(str, LONGS + LONGS), "-1", "4611686018427387904"),
    "string": _quoted((*WORDS, *WORDS, *ENVIRONMENTS, *LAYERS, "active", "audit", "corp", "", 'a "quoted" \\ one')),
    "word": _quoted(WORDS),
    # A backslash before a star takes its meaning away.
    "pattern": (
        *('"*"', '"p*"', '"*l"', '"*e*"', '"in*al"', '"*r*o*"', '"gr*ße"', '"prod"', '"a*u*t"', '""'),
        *(r'"top\*secret"', r'"top\**"', r'"*\**"', r'"\*"'),
    ),
    "name": _quoted((*NAMES, *MADE)),
    "names": _quoted(
        (*(f"{domain}.*" for domain in DOMAINS), *(f"*.{leaf}" for leaf in LEAVES), "*.o*", "s*m*a*s", "")
    ),
    "attribute": tuple(ATTRIBUTES),
    "kind": ("User", "Service"),
    "lifecycle": _quoted(LIFECYCLES),
    "environment": _quoted(ENVIRONMENTS),
    "group": _entities_of("Group", (*OWNERS, "nobody")),
    "domain": _entities_of("Domain", (*DOMAINS, *DOMAINS, "all", "nowhere")),
    "dataset": _entities_of("Dataset", (*NAMES, *MADE, "none.such")),
    "user": _USERS,
    "subject": (*_USERS, *_entities_of("Service", SERVICES)),
    "action": _entities_of("Action", ("discover", "load", "save")),
    "moment": tuple(map(_moment, (-86_400_000, -5000, -1, 0, 0, 1, 2, 60_000, 86_400_000 * 40))),
    "time": _called("duration", "12h 12h 11h59m59s999ms 9h 43200001ms 0ms 24h -1ms 23h59m59s999ms"),
    "datetime": _called(
        "datetime",
        "2026-06-01 2026-06-01T12:00:00Z 2026-06-01T14:00:00+0200 2026-06-01T11:59:59.999Z 1969-01-02",
    ),
    "duration": _called("duration", "0ms 1ms -1ms 90m 12h 1d2h3m4s5ms -1d 106751991167d"),
    "ip": _called("ip", "10.0.0.1 10.0.0.0/8 127.0.0.1 127.0.0.0/8 224.0.0.1 ::1 ff02::1 2001:db8::/32 10.1.2.3"),
    "decimal": _called("decimal", "1.0 1.2345 -0.5 0.0 922337203685477.5807 2.5"),
}
_HOLE = re.compile(r"\$([a-z]+)")


#: What lies outside of the part of Cedar that most policies are written in.
_RARE_TYPES = frozenset({"decimal", "ip", "datetime", "duration", "record", "nested"})
_RARE = frozenset({"add", "sub", "mul", "neg", "error"})


class Writer:
    """Writes expressions; what an expression needs to be there, it adds to ``needs``.

    ``actions`` is ``data`` where only those are spoken of, else the resource may be a domain
    and the context has no environment. Without ``time``, ``context.now`` is compared with
    literals alone. What is ``plain`` has no arithmetic and no values but those of attributes.
    ``forgets`` is how often it is not asked whether something is there before it is used,
    ``timely`` how often the time is asked for.
    """

    def __init__(
        self,
        random: Random,
        *,
        actions: str = "data",
        time: bool = True,
        plain: bool = False,
        forgets: float = 0.1,
        timely: float = 0,
    ) -> None:
        self.random = random
        self.needs: list[str] = []
        self.looks_at_datasets = False
        self._plain = plain
        self._forgets = forgets
        self._timely = timely
        self._hidden = {"now"} if plain or not time else set()
        self._hidden |= {"data"} if actions != "data" else set()

    def write(self, type_: str, speaks: frozenset[str], depth: int) -> str:
        """An expression of a type that speaks of these variables."""
        return self._written(self._form(type_, speaks, depth), speaks, depth)

    def _written(self, form: Form, speaks: frozenset[str], depth: int) -> str:
        if form.needs:
            self.needs.append(form.needs)
        self.looks_at_datasets |= form.only == "dataset"
        shares = self._shared(speaks - form.speaks, len(form.takes), freely=depth > 0)
        if form.name == "if" and depth <= 0:
            shares = [speaks, frozenset(), frozenset()]
        operands = [self.write(taken, share, depth - 1) for taken, share in zip(form.takes, shares, strict=True)]
        return self._filled(form.text).format(*operands)

    def condition(self, depth: int) -> str:
        """A condition of a policy: one thing asked, or several joined."""
        if depth and self.random.random() < 0.45:
            left, right = self.condition(depth - 1), self.condition(depth - 1)
            joined = [f"({left} && {right})", f"({left} || {right})", f"(!{left})"]
            joined.append(f"(if {self.condition(0)} then {left} else {right})")
            return self.random.choice(joined)
        if self.random.random() < self._timely:
            return self._filled(self.random.choice(TIMELY).text)
        if self._plain and self.random.random() < 0.8:
            typical = self.random.choice([form for form in TYPICAL if form.only not in self._hidden])
            return self._written(typical, frozenset(), 0)
        speaks = self.random.choice(POSITIONS)
        if not self._plain and self.random.random() < 0.6:
            return self._aimed(self.random.choice(self.random.choice(AIMS)), speaks)
        return self.write("bool", speaks, self.random.choice([0, 0, 1, 1, 2]))

    def _aimed(self, form: Form, speaks: frozenset[str]) -> str:
        """A condition in which the operator has all of these variables below it."""
        type_, text = form.gives, self._written(form, speaks, 1)
        while type_ != "bool":
            around = self.random.choice(AROUND[type_])
            place = self.random.choice([index for index, taken in enumerate(around.takes) if taken == type_])
            others = [self.write(taken, frozenset(), 0) for taken in around.takes]
            type_, text = around.gives, self._filled(around.text).format(*others[:place], text, *others[place + 1 :])
        return text

    def guarded(self, condition: str) -> str:
        """The condition, after most of what it needs has been asked for."""
        asked = list(dict.fromkeys(need for need in self.needs if self.random.random() >= self._forgets))
        if self.looks_at_datasets and "data" in self._hidden:
            asked.insert(0, "resource is Dataset")
        self.needs.clear()
        return " && ".join([*asked, condition])

    def _form(self, type_: str, speaks: frozenset[str], depth: int) -> Form:
        fitting = {name: [form for form in forms if self._fits(form, speaks)] for name, forms in FORMS[type_].items()}
        leaves = [found for forms in fitting.values() if (found := [form for form in forms if not form.takes])]
        if leaves and (depth <= 0 or self.random.random() < (0.4 if self._plain else 0.25)):
            return self.random.choice(self.random.choice(leaves))
        if depth <= 0:
            return self.random.choice(fitting["and"] + fitting["or"] if type_ == "bool" else fitting["if"])
        named = [name for name, forms in fitting.items() if any(form.takes for form in forms)]
        return self.random.choice([form for form in fitting[self.random.choice(named)] if form.takes])

    def _fits(self, form: Form, speaks: frozenset[str]) -> bool:
        fits = form.speaks <= speaks if form.takes else form.speaks == speaks
        return fits and form.only not in self._hidden and not (self._plain and self._is_rare(form))

    @staticmethod
    def _is_rare(form: Form) -> bool:
        of_domains = "domain" in form.takes and form.gives != "domain" and not form.speaks
        return form.name in _RARE or of_domains or not _RARE_TYPES.isdisjoint(form.takes)

    def _shared(self, speaks: frozenset[str], count: int, *, freely: bool) -> list[frozenset[str]]:
        """The variables dealt out to operands; ``freely``, one operand may have another's besides."""
        shares: list[set[str]] = [set() for _ in range(count)]
        places = self.random.sample(range(count), count)
        for number, variable in enumerate(self.random.sample(sorted(speaks), len(speaks)) if count else ()):
            shares[places[number % count]].add(variable)
            if freely and self.random.random() < 0.15:
                shares[self.random.choice(places)].add(variable)
        return [frozenset(share) for share in shares]

    def _filled(self, text: str) -> str:
        return _HOLE.sub(lambda hole: self._literal(hole[1]).replace("{", "{{").replace("}", "}}"), text)

    def _literal(self, kind: str) -> str:
        if kind == "skills":
            return f"[{self._literal('word')}, {self._literal('word')}]"
        if kind == "record":
            return f"{{a: {self.random.choice(LONGS)}, b: {self._literal('word')}}}"
        if kind == "nested":
            return f"{{n: {self._literal('record')}}}"
        return self.random.choice(_LITERALS[kind])
