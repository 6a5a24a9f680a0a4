"""Reading a grant back: from Cedar, or from a sentence, where it says no more than a grant can.

A grant is the simplest of forms, and keeps what it says and not its text. So a text is taken only if the grant that is
made of it says the very same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from muniment.core.drafts import unsaid
from muniment.core.forms import Form
from muniment.core.grants import Grant
from muniment.core.names import ROOT, checked_dataset, checked_domain
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Fault, InvalidPolicy
from muniment.core.readings import reading
from muniment.core.sentence_readings import check_same, policy_said, same
from muniment.core.sentences import sentence

#: What a form says and a grant has no place for, in words.
_BEYOND: Final[Mapping[str, str]] = {
    "except_groups": "who is left out",
    "attributes": "attributes of whoever asks",
    "except_attributes": "attributes of whoever is left out",
    "tags_all": "tags",
    "tags_any": "tags",
    "tags_none": "tags",
    "classifications": "classifications",
    "owners": "owners",
    "layers": "layers",
    "lifecycles": "lifecycles",
    "sensitivity_at_least": "sensitivity",
    "sensitivity_at_most": "sensitivity",
    "projects": "projects",
    "valid_from": "when it begins",
}


def grant_in(cedar: str, rest: Grant) -> Grant:
    """The grant that a Cedar text is, with what ``rest`` has beside its words: its id, why it stands, its review.

    Raises :class:`InvalidPolicy`, with what a grant has no place for.
    """
    read = reading(cedar)
    beyond = [*dict.fromkeys(words for name, words in _BEYOND.items() if getattr(read.form, name)), *unsaid(cedar)]
    place = _place(read.form)
    if read.form.effect == "forbid":
        beyond.append("that it forbids")
    if len(read.form.principals) != 1:
        beyond.append("anybody else than one person, job or group")
    if place is None:
        beyond.append("anything else than one dataset or one domain")
    if beyond or place is None:
        raise _more_than_a_grant("; ".join(beyond))
    grant = replace(
        rest,
        to=read.form.principals[0],
        actions=read.form.actions,
        on=checked_dataset(place.name) if place.kind == "dataset" else checked_domain(place.name),
        kind=place.kind,
        environments=read.form.environments,
        purposes=read.form.purposes,
        until=read.form.valid_to,
    )
    if not same(replace(grant.policy(), scope=ROOT), Policy("", cedar, scope=ROOT)):
        raise _more_than_a_grant("something that has no words")
    return grant


def grant_said(text: str, rest: Grant) -> Grant:
    """The grant that a sentence says; :class:`InvalidPolicy` where it says none, or more."""
    found = policy_said(text, ROOT)
    if found.kind is not PolicyKind.ACCESS:
        raise _more_than_a_grant("what columns or rows somebody sees")
    grant = grant_in(found.cedar, rest)
    check_same(text.strip().removesuffix("."), sentence(grant))
    return grant


@dataclass(frozen=True, slots=True)
class _Place:
    """The one dataset or domain that a grant is on."""

    kind: Literal["dataset", "domain"]
    name: str


def _place(form: Form) -> _Place | None:
    """The one dataset or domain that a form is about; without any it is about all."""
    match form.names, form.domains:
        case (name,), () if "*" not in name:
            return _Place("dataset", name)
        case (), (name,):
            return _Place("domain", name)
        case (), ():
            return _Place("domain", ROOT)
        case _:
            return None


def _more_than_a_grant(beyond: str) -> InvalidPolicy:
    message = (
        "Access is given to one person, job or group, for one dataset or domain; for anything more write a policy. "
        f"This says more: {beyond}."
    )
    return InvalidPolicy(message, [Fault("cedar", message)])
