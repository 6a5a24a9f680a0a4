"""Drafts of rules as pages hold them: one draft, written as a form, as a sentence or as Cedar.

Whatever somebody typed stays as it is until they leave the page. Another view of it is made of what the draft says,
and only where that view says the very same; a text that has no place in a form stays Cedar, and the page says why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from muniment.core.drafts import unsaid
from muniment.core.file_texts import yaml_of
from muniment.core.forms import Comparison, Demand, Form
from muniment.core.grant_readings import grant_in, grant_said
from muniment.core.grants import Grant
from muniment.core.groups import is_builtin, parse_group, write_group
from muniment.core.masks import Mask, MaskAction, read_mask, write_mask
from muniment.core.moments import write_moment
from muniment.core.names import ROOT, checked_dataset, checked_domain, checked_id
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Fault, Invalid
from muniment.core.readings import form_of
from muniment.core.schema import Action
from muniment.core.sentence_readings import policy_said, sentence_to_write
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.web.typed import Reading
from muniment.web.words.policies import DRAFTS


class View(StrEnum):
    """The three ways in which a draft is written."""

    FORM = "form"
    SENTENCE = "sentence"
    CEDAR = "cedar"


#: The fields of a policy that every view has; a sentence says of which kind it is and what it demands.
_COMMON: Final = ("id", "scope", "reason", "review_by", "cases")
_BESIDE: Final = ("kind", "obligation")

#: The fields of a form that hold texts, one on each line.
_GROUPS: Final = ("principals", "except_groups", "owners")
_TUPLES: Final = ("domains", "names")
_SETS: Final = (
    "tags_all",
    "tags_any",
    "tags_none",
    "classifications",
    "environments",
    "purposes",
    "layers",
    "lifecycles",
    "projects",
)
_MOMENTS: Final = ("valid_from", "valid_to")
_NUMBERS: Final = ("sensitivity_at_least", "sensitivity_at_most")
_DEMANDS: Final = ("attributes", "except_attributes")

#: All fields of each view.
FIELDS: Final[Mapping[View, tuple[str, ...]]] = {
    View.FORM: (*_COMMON, *_BESIDE, "effect", "actions", *_GROUPS, *_TUPLES, *_SETS, *_MOMENTS, *_NUMBERS, *_DEMANDS),
    View.SENTENCE: (*_COMMON, "sentence"),
    View.CEDAR: (*_COMMON, *_BESIDE, "cedar"),
}

#: What every view of a grant has beside what the grant says, and all fields of each view.
_GRANTS: Final = ("because", "review_by")
GRANT_FIELDS: Final[Mapping[View, tuple[str, ...]]] = {
    View.FORM: ("to_kind", "to", "actions", "on_kind", "on", "environments", "purposes", "until", *_GRANTS),
    View.SENTENCE: ("sentence", *_GRANTS),
    View.CEDAR: ("cedar", *_GRANTS),
}

#: How a demand on an attribute is written, beside the name of the attribute.
_ASKED: Final[Mapping[Comparison, str]] = {
    Comparison.AT_LEAST: "at least",
    Comparison.AT_MOST: "at most",
    Comparison.ONE_OF: "is one of",
    Comparison.ANY_OF: "has any of",
    Comparison.ALL_OF: "has all of",
    Comparison.IS: "is",
}
_BOOLEANS: Final = {"true": True, "false": False}

#: How long a line about an attribute is at most, in characters.
_LONGEST_DEMAND: Final = 500

#: The id of a draft that has none yet.
_UNNAMED: Final = "draft"


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed of a rule, by field; what is ticked stands one on each line."""

    view: View = View.FORM
    fields: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """What stands in a field."""
        return self.fields.get(name, "")

    def ticked(self, name: str) -> tuple[str, ...]:
        """What is ticked in a field."""
        return tuple(self.value(name).split())

    def shown(self) -> Mapping[str, str]:
        """The fields that travel with a page that does not show them."""
        names = dict.fromkeys((*FIELDS[self.view], *GRANT_FIELDS[self.view]))
        return {"view": self.view.value, **{name: self.fields[name] for name in names if name in self.fields}}


@dataclass(frozen=True, slots=True)
class Switched:
    """A draft in the view that was asked for; or in the one that it was in, and why it stays there."""

    typed: Typed
    why: str = ""


# --- policies ---------------------------------------------------------------------------------------


def policy_of(id_: str, typed: Typed) -> Policy:
    """The policy that a draft says; :class:`Invalid` names every field that cannot be read."""
    reading = Reading(typed.fields)
    kind = reading.choice("kind", PolicyKind, PolicyKind.ACCESS)
    scope = reading.line("scope", LONGEST_ASKED) or ROOT
    obligation = reading.plain_data("obligation") or None
    common = Policy(
        id=id_,
        cedar="",
        scope=scope,
        reason=reading.line("reason"),
        review_by=reading.day("review_by"),
        kind=kind,
        obligation=obligation,
        cases=_cases(reading),
    )
    reading.each("id", [id_], checked_id)
    match typed.view:
        case View.FORM:
            form = _form(reading, kind)
            reading.check()
            return replace(common, cedar=form.cedar())
        case View.SENTENCE:
            said = reading.text("sentence")
            reading.check()
            found = policy_said(said, scope)
            return replace(common, cedar=found.cedar, kind=found.kind, obligation=found.obligation)
        case View.CEDAR:
            cedar = reading.text("cedar")
            reading.check()
            return replace(common, cedar=cedar)


def typed_of(policy: Policy, view: View) -> Switched:
    """A policy as a draft; in Cedar, where the view that is asked for cannot say the same."""
    common = {
        "id": policy.id,
        "kind": policy.kind.value,
        "scope": policy.scope,
        "obligation": yaml_of(policy.obligation) if policy.obligation else "",
        "reason": policy.reason,
        "review_by": policy.review_by.isoformat() if policy.review_by else "",
        "cases": yaml_of({"cases": [dict(case) for case in policy.cases]}) if policy.cases else "",
    }
    cedar = Switched(Typed(View.CEDAR, {**common, "cedar": policy.cedar.strip()}))
    match view:
        case View.FORM:
            form = form_of(policy.cedar, policy.kind)
            fields = written_form(form) if form is not None else {}
            if form is None or _read_again(fields, policy.kind) != form:
                return replace(cedar, why=_no_form(policy))
            return Switched(Typed(View.FORM, {**common, **fields}))
        case View.SENTENCE:
            said = sentence_to_write(policy)
            if said is None:
                return replace(cedar, why=DRAFTS["no_sentence"])
            return Switched(Typed(View.SENTENCE, {**common, "sentence": said}))
        case View.CEDAR:
            return cedar


def switched(typed: Typed, view: View) -> Switched:
    """A draft in another view; :class:`Invalid` where what is typed cannot be read in its own.

    It may have no name yet.
    """
    return _turned(typed, typed_of(policy_of(_UNNAMED, typed), view))


def mask_in(typed: Typed) -> Mask | None:
    """The mask that a draft demands, if it demands one; :class:`Invalid` for anything else that stands there."""
    reading = Reading(typed.fields)
    stands = reading.plain_data("obligation")
    reading.check()
    return read_mask(stands) if stands else None


def masking(typed: Typed, picked: Collection[str], offered: Collection[str], action: str) -> Typed:
    """The draft with these columns in its mask, beside those of it that were not offered to be picked.

    A draft that demands nothing yet becomes a mask, which is about loading and takes no action of its own.
    """
    stands = mask_in(typed)
    chosen = MaskAction(action) if action in set(MaskAction) else MaskAction.REPLACE_WITH_NULL
    if stands is None and not picked:
        return typed
    others, tags = ((*stands.columns,), stands.column_tags) if stands is not None else ((), ())
    columns = sorted({*picked, *(each for each in others if each not in offered)})
    written = write_mask(Mask(chosen, tuple(columns), tags))
    mask = {"kind": PolicyKind.MASK.value, "actions": "", "obligation": yaml_of(written)}
    return replace(typed, fields={**typed.fields, **mask})


def _turned(typed: Typed, into: Switched) -> Switched:
    """What was typed, in the view that it was turned into; Cedar that could not be turned stays as it was typed."""
    if into.why and typed.view is View.CEDAR:
        return Switched(typed, into.why)
    return replace(into, typed=replace(into.typed, fields={**into.typed.fields, "id": typed.value("id")}))


def written_form(form: Form) -> dict[str, str]:
    """The fields that say a form."""
    return {
        "effect": form.effect,
        "actions": "\n".join(sorted(form.actions)),
        **{name: "\n".join(map(_written_group, getattr(form, name))) for name in _GROUPS},
        **{name: "\n".join(getattr(form, name)) for name in _TUPLES},
        **{name: "\n".join(sorted(getattr(form, name))) for name in _SETS},
        **{name: _written_moment(form, name) for name in _MOMENTS},
        **{name: _written_number(getattr(form, name)) for name in _NUMBERS},
        **{name: "\n".join(map(_written_demand, getattr(form, name))) for name in _DEMANDS},
    }


def _cases(reading: Reading) -> tuple[Mapping[str, object], ...]:
    found = reading.plain_data("cases")
    if not found:
        return ()
    cases = found.get("cases")
    if found.keys() != {"cases"} or not isinstance(cases, list) or not all(isinstance(each, dict) for each in cases):
        reading.wrong("cases", DRAFTS["cases"])
        return ()
    return tuple(cases)


def _form(reading: Reading, kind: PolicyKind) -> Form:
    actions = frozenset({Action.LOAD}) if kind is not PolicyKind.ACCESS else reading.choices("actions", Action)
    forbids = kind is PolicyKind.ACCESS and reading.line("effect") == "forbid"
    fields: dict[str, Any] = {
        **{name: reading.each(name, reading.lines(name, LONGEST_ASKED), _group) for name in _GROUPS},
        **{name: reading.lines(name, LONGEST_ASKED) for name in _TUPLES},
        **{name: frozenset(reading.lines(name)) for name in _SETS},
        **{name: reading.moment(name) for name in _MOMENTS},
        **{name: reading.number(name) for name in _NUMBERS},
        **{name: reading.each(name, reading.lines(name, _LONGEST_DEMAND), _demand) for name in _DEMANDS},
    }
    return Form(actions=actions, effect="forbid" if forbids else "permit", kind=kind, **fields)


def _read_again(fields: Mapping[str, str], kind: PolicyKind) -> Form | None:
    reading = Reading(fields)
    form = _form(reading, kind)
    return None if reading.faults else form


def _no_form(policy: Policy) -> str:
    rest = unsaid(policy.cedar, policy.kind)
    if not rest:
        return DRAFTS["no_form"]
    return DRAFTS["no_field"].format(rest="; ".join(rest))


def _group(text: str) -> str:
    return parse_group(text if is_builtin(text) or text.startswith("group:") else f"group:{text}")


def _written_group(id_: str) -> str:
    return id_ if is_builtin(id_) else f"group:{id_}"


def _written_moment(form: Form, name: str) -> str:
    moment = getattr(form, name)
    if moment is None:
        return ""
    text: str = write_moment(moment)
    return text.partition("T")[0] if moment == moment.replace(hour=0, minute=0, second=0, microsecond=0) else text


def _written_number(number: int | None) -> str:
    return "" if number is None else str(number)


def _demand(text: str) -> Demand:
    """A demand such as ``clearance at least 3`` or ``team is one of core, data``."""
    attribute, _, rest = text.partition(" ")
    for comparison, words in _ASKED.items():
        if not rest.startswith(f"{words} "):
            continue
        value = rest.removeprefix(words).strip()
        if comparison is Comparison.IS and value in _BOOLEANS:
            return Demand(attribute, comparison, _BOOLEANS[value])
        if comparison in {Comparison.AT_LEAST, Comparison.AT_MOST} and value.removeprefix("-").isdecimal():
            return Demand(attribute, comparison, int(value))
        if comparison in {Comparison.ONE_OF, Comparison.ANY_OF, Comparison.ALL_OF}:
            listed = frozenset(part.strip() for part in value.split(",") if part.strip())
            if listed:
                return Demand(attribute, comparison, listed)
    message = DRAFTS["demand"]
    raise Invalid(message, [Fault("attributes", message)])


def _written_demand(demand: Demand) -> str:
    match demand.value:
        case bool() as so:
            value = "true" if so else "false"
        case int() as number:
            value = str(number)
        case listed:
            value = ", ".join(sorted(listed))
    return f"{demand.attribute} {_ASKED[demand.comparison]} {value}"


# --- grants -----------------------------------------------------------------------------------------


def grant_of(id_: str, typed: Typed) -> Grant:
    """The grant that a draft says; :class:`Invalid` names every field that cannot be read."""
    grant = _granted(id_, typed)
    if grant.until is None and not grant.because:
        raise Invalid(DRAFTS["endless"], [Fault("until", DRAFTS["endless"])])
    return grant


def switched_grant(typed: Typed, view: View) -> Switched:
    """A draft in another view; :class:`Invalid` where what is typed cannot be read in its own."""
    return _turned(typed, typed_grant(_granted(_UNNAMED, typed), view))


def _granted(id_: str, typed: Typed) -> Grant:
    """The grant that a draft says, whether it ends or not."""
    reading = Reading(typed.fields)
    rest = Grant(id_, "", frozenset(), "", because=reading.line("because"), review_by=reading.day("review_by"))
    match typed.view:
        case View.FORM:
            return _granted_by_form(reading, rest)
        case View.SENTENCE:
            said = reading.text("sentence")
            reading.check()
            return grant_said(said, rest)
        case View.CEDAR:
            cedar = reading.text("cedar")
            reading.check()
            return grant_in(cedar, rest)


def _granted_by_form(reading: Reading, rest: Grant) -> Grant:
    kind = reading.choice("to_kind", _who, "user")
    name = reading.line("to", LONGEST_ASKED).removeprefix(f"{kind}:")
    if not name:
        reading.wrong("to", DRAFTS["nobody"])
    to = reading.each("to", [f"{kind}:{name}"] if name else [], parse_group)
    actions = reading.choices("actions", Action)
    if not actions:
        reading.wrong("actions", DRAFTS["nothing"])
    on_dataset = reading.choice("on_kind", _what, "dataset") == "dataset"
    on_name = reading.line("on", LONGEST_ASKED)
    if not on_name:
        reading.wrong("on", DRAFTS["nowhere"])
    on = reading.each("on", [on_name] if on_name else [], checked_dataset if on_dataset else checked_domain)
    found: dict[str, Any] = {
        "environments": frozenset(reading.lines("environments")),
        "purposes": frozenset(reading.lines("purposes")),
        "until": reading.moment("until"),
        "kind": "dataset" if on_dataset else "domain",
    }
    reading.check()
    return replace(rest, to=to[0], actions=actions, on=on[0], **found)


def typed_grant(grant: Grant, view: View = View.FORM) -> Switched:
    """A grant as a draft; in Cedar, where its sentence would not say the same."""
    common = {"because": grant.because, "review_by": grant.review_by.isoformat() if grant.review_by else ""}
    cedar = Switched(Typed(View.CEDAR, {**common, "cedar": grant.policy().cedar}))
    match view:
        case View.FORM:
            return Switched(Typed(View.FORM, {**common, **_written_grant(grant)}))
        case View.SENTENCE:
            said = sentence(grant)
            try:
                again = grant_said(said, grant)
            except Invalid:
                return replace(cedar, why=DRAFTS["no_sentence"])
            if again != grant:
                return replace(cedar, why=DRAFTS["no_sentence"])
            return Switched(Typed(View.SENTENCE, {**common, "sentence": said}))
        case View.CEDAR:
            return cedar


def _written_grant(grant: Grant) -> dict[str, str]:
    kind, _, name = write_group(grant.to).partition(":")
    until = grant.until
    whole = until is not None and until == until.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "to_kind": kind,
        "to": name,
        "actions": "\n".join(sorted(grant.actions)),
        "on_kind": grant.kind,
        "on": grant.on,
        "environments": "\n".join(sorted(grant.environments)),
        "purposes": "\n".join(sorted(grant.purposes)),
        "until": "" if until is None else until.date().isoformat() if whole else write_moment(until),
    }


def _who(text: str) -> str:
    if text not in {"user", "service", "group"}:
        raise ValueError(text)
    return text


def _what(text: str) -> str:
    if text not in {"dataset", "domain"}:
        raise ValueError(text)
    return text
