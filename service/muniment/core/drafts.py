"""Drafts of policies: what a text would be if it were kept, and every fault that keeps it from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from muniment.core.forms import Form
from muniment.core.policies import Policy, checked
from muniment.core.problems import Fault, Invalid
from muniment.core.readings import form_of
from muniment.core.sentences import sentence


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy that nobody has kept: its text (in Cedar's formatting, if it is sound), and what it says.

    What could not be kept is no form, and has no sentence: it might mean anything.
    """

    cedar: str
    form: Form | None
    sentence: str | None
    faults: tuple[Fault, ...]


def read_draft(proposed: Policy, *, schema: str, environments: Iterable[str]) -> Draft:
    """What a policy would be; everything that is wrong with it is among the faults."""
    try:
        sound = checked(proposed, schema=schema, environments=environments)
    except Invalid as refused:
        return Draft(proposed.cedar, None, None, refused.faults)
    return Draft(sound.cedar, form_of(sound.cedar, sound.kind), sentence(sound), ())
