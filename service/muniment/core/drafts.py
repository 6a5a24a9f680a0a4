"""Drafts of policies: what a text would be if it were kept, and every fault that keeps it from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cedarpy import pst

from muniment.core.expressions import quoted, write_expression
from muniment.core.forms import Form
from muniment.core.policies import Policy, PolicyKind, checked
from muniment.core.problems import Fault, Invalid
from muniment.core.readings import form_of, reading
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


def unsaid(cedar: str, kind: PolicyKind = PolicyKind.ACCESS) -> tuple[str, ...]:
    """What of a policy's text no form has a field for, in Cedar's words: why it stays Cedar."""
    read = reading(cedar, kind)
    rest = [
        f"{'when' if isinstance(clause, pst.When) else 'unless'} {{ {write_expression(clause.expr)} }}"
        for clause in read.rest
    ]
    if read.principals:
        rest.append(f"principal is {read.principals}")
    if read.itself is not None:
        rest.append(f"resource == Domain::{quoted(read.itself)}")
    elif read.resources == "Domain":
        rest.append("resource is Domain")
    return tuple(rest)
