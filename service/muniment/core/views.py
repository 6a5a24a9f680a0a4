"""Saved views of the ledger: questions that somebody asks again, by a name of their own.

A view is its owner's. A shared one is told to those who audit everything besides, and to nobody else: a question may
name what others may not know of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from muniment.core.ledger import Event, Outcome, Question
from muniment.core.problems import Fault, Invalid

#: The most views that one subject may keep, the longest name, and the longest time that a view may look back.
MOST_VIEWS: Final = 100
LONGEST_NAME: Final = 80
LONGEST_DAYS: Final = 3660

_NAME: Final = re.compile(r"\w(?:[\w .,:;&'()+-]*[\w.)])?")
_MOMENTS: Final = frozenset({"since", "until"})
_IDS: Final = frozenset({"request_id", "receipt"})


@dataclass(frozen=True, slots=True)
class View:
    """A question by its name. With ``days`` it is about so many days before it is asked, whenever that is."""

    owner: str
    name: str
    question: Question
    days: int | None
    shared: bool
    at: datetime

    def asked(self, at: datetime) -> Question:
        """The question as it is asked at a moment."""
        return self.question if self.days is None else since_days(self.question, self.days, at)


def since_days(question: Question, days: int, at: datetime) -> Question:
    """The question about the last days before a moment."""
    given = {field.name: getattr(question, field.name) for field in fields(question)}
    return Question(**(given | {"since": at - timedelta(days=days), "until": None}))


def checked_name(name: str) -> str:
    """The name of a view; :class:`Invalid` for what is none."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        message = (
            f"A view's name has at most {LONGEST_NAME} letters, digits, spaces and marks such as , : & ( ) + -, and "
            "begins with a letter or a digit."
        )
        raise Invalid(message, [Fault("name", message)])
    return name


def checked_days(question: Question, days: int | None) -> int | None:
    """How many days a view looks back; :class:`Invalid` for too many, or where the question says a time itself."""
    if days is None:
        return None
    if not 1 <= days <= LONGEST_DAYS:
        message = f"A view looks back between 1 and {LONGEST_DAYS} days."
        raise Invalid(message, [Fault("days", message)])
    if question.since is not None or question.until is not None:
        message = "A view is about the last days, or about a time of its own: give one of them."
        raise Invalid(message, [Fault("days", message)])
    return days


def read_question(told: Mapping[str, object]) -> Question:
    """The question that :attr:`Question.told` wrote."""
    return Question(**{name: _read(name, value) for name, value in told.items()})  # type: ignore[arg-type]


def _read(name: str, value: object) -> object:
    if name == "events" and isinstance(value, list):
        return tuple(Event(each) for each in value)
    if name == "outcome":
        return Outcome(str(value))
    if name in _MOMENTS:
        return datetime.fromisoformat(str(value))
    return UUID(str(value)) if name in _IDS else str(value)
