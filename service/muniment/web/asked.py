"""What the address of a page asks of the ledger: read field by field, and written again for the next address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from muniment.core.ledger import Event, Outcome, Question
from muniment.core.tellings import Telling, events_that
from muniment.core.views import LONGEST_DAYS, View, since_days
from muniment.core.visibility import LONGEST_ASKED
from muniment.web.typed import Reading, errors_of
from muniment.web.words import WORDS

#: The fields that are texts of the question itself, those that are ids, and all of them in the order of the form.
_TEXTS: Final = (
    "subject",
    "about",
    "dataset",
    "domain",
    "environment",
    "project",
    "purpose",
    "policy",
    "address",
    "run",
)
_IDS: Final = ("receipt", "request_id")
FIELDS: Final = (*_TEXTS, *_IDS, "kind", "event", "outcome", "days", "since", "until")

#: The fields that stand in front of the others.
_FIRST: Final = frozenset({"subject", "dataset", "days", "kind", "outcome"})

_WORDS: Final = WORDS["audit"]
_DAY: Final = len("2027-03-31")


@dataclass(frozen=True)
class Asked:
    """A question with how it was typed; ``errors`` are what is wrong with it, by field."""

    fields: Mapping[str, str]
    question: Question
    days: int | None
    errors: Mapping[str, str]

    @property
    def query(self) -> str:
        """The question as the rest of an address."""
        return urlencode(self.fields)

    def at(self, path: str, **more: str) -> str:
        """An address that asks the same there."""
        query = urlencode({**self.fields, **more})
        return f"{path}?{query}" if query else path

    def now(self, at: datetime) -> Question:
        """The question as it is asked at a moment."""
        return self.question if self.days is None else since_days(self.question, self.days, at)

    @property
    def more(self) -> bool:
        """Whether anything is asked that stands behind the first fields."""
        return any(name not in _FIRST for name in self.fields)


def read_asked(fields: Mapping[str, str]) -> Asked:
    """The question that these fields ask, as far as it can be read."""
    typed = {name: fields[name].strip() for name in FIELDS if fields.get(name, "").strip()}
    reading = Reading(typed)
    found: dict[str, Any] = {name: reading.line(name, LONGEST_ASKED) or None for name in _TEXTS}
    found |= {name: _one(reading, name, UUID) for name in _IDS}
    found["outcome"] = _one(reading, "outcome", Outcome)
    found["since"] = reading.moment("since")
    found["until"] = last_of(reading, "until")
    found["events"] = _events(reading)
    days = reading.number("days")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        reading.wrong("days", str(_WORDS["wrong"]).format(what=_WORDS["days"]))
        days = None
    if days is not None and (found["since"] or found["until"]):
        reading.wrong("days", str(_WORDS["both_times"]))
    return Asked(typed, Question(**found), days, errors_of(reading.faults, FIELDS))


def last_of(reading: Reading, name: str) -> datetime | None:
    """The moment in a field, or the end of the day there."""
    found = reading.moment(name)
    whole_day = found is not None and len(reading.line(name)) == _DAY
    try:
        return found + timedelta(days=1) if found is not None and whole_day else found
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def address_of(view: View) -> str:
    """Where a saved view is asked."""
    return f"/audit?{urlencode(_fields_of(view))}"


def _fields_of(view: View) -> Mapping[str, str]:
    told = view.question.told
    told.pop("events", None)
    fields = {name: str(value) for name, value in told.items()}
    events = view.question.events
    if events is not None:
        kind = next((each for each in Telling if events_that(each) == events), None)
        fields |= {"kind": kind} if kind is not None else {"event": " ".join(events)}
    return fields | ({} if view.days is None else {"days": str(view.days)})


def _events(reading: Reading) -> tuple[Event, ...] | None:
    """The events that are asked about: those named, those that tell what is asked for, or those that are both."""
    kind = _one(reading, "kind", Telling)
    named = reading.line("event").split()
    try:
        events = tuple(Event(name) for name in named)
    except ValueError:
        reading.wrong("event", str(_WORDS["wrong"]).format(what=_WORDS["event"]))
        return None
    if kind is None:
        return events or None
    return tuple(event for event in events_that(kind) if not events or event in events)


def _one(reading: Reading, name: str, kind: Any) -> Any:
    return reading.choice(name, kind, None)
