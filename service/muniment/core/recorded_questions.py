"""How questions of other systems stand in a row of the ledger, and are read from it again.

What one function here writes the other reads: so a row holds all of a question that its
answer depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from muniment.core.decisions import Wanted
from muniment.core.evaluations import Answer, Question, Thing
from muniment.core.judgements import Judged
from muniment.core.schema import Action
from muniment.core.subjects import Subject


class Sought(StrEnum):
    """What a search is for: that which its question leaves open."""

    SUBJECTS = "subjects"
    THINGS = "things"
    ACTIONS = "actions"


def write_question(question: Question) -> dict[str, object]:
    """A question as it was understood, but for the circumstances."""
    return {
        "about": str(question.about) if question.about else None,
        "action": question.action,
        "thing": question.thing,
        "name": question.name,
    }


def write_answered(question: Question, answer: Answer) -> dict[str, object]:
    """A question with its circumstances, and its answer."""
    told = write_question(question) | {"allowed": answer.allowed}
    wanted = question.wanted
    if wanted is not None:
        said = {"environment": wanted.environment, "project": wanted.project, "purpose": wanted.purpose}
        told |= {name: value for name, value in said.items() if value is not None}
    return told


def read_question(told: Mapping[str, object]) -> Question:
    """A question as it was written, with the circumstances that are said beside it; else a :class:`ValueError`."""
    about, action, thing = (_text(told, name) for name in ("about", "action", "thing"))
    environment = _text(told, "environment")
    return Question(
        Subject.parse(about) if about is not None else None,
        Action(action) if action is not None else None,
        Thing(thing) if thing is not None else None,
        _text(told, "name") or "",
        None if environment is None else Wanted(environment, _text(told, "project"), _text(told, "purpose")),
    )


def line_of(question: Question, answer: Answer) -> Judged:
    """What was judged where a question was answered."""
    return Judged(
        question.name,
        question.action,
        known=answer.reason is not None,
        allowed=answer.allowed,
        because=answer.because,
        about=str(question.about) if question.about else None,
        wanted=question.wanted,
        on_domain=question.thing is Thing.DOMAIN,
        wrong=answer.problem.title if answer.problem else None,
    )


def _text(told: Mapping[str, object], name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        message = f"{name} is no text"
        raise ValueError(message)
    return value
