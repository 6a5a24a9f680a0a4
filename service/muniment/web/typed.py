"""What somebody typed into a form, read field by field: every fault is noted with its field, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from muniment.core.problems import Fault, Invalid
from muniment.core.projects import texts
from muniment.web.words.policies import TYPED

Read = TypeVar("Read")

#: Control characters, and those that change the direction of writing: nobody sees what they do to a text.
_UNREADABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_LONGEST_LINE: Final = 500
_LONGEST_LABEL: Final = 100
_LONGEST_TEXT: Final = 1_000_000
_MOST_LINES: Final = 500
_LONGS: Final = range(-(2**63), 2**63)


class Reading:
    """One form on its way into values."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self.faults: list[Fault] = []

    def text(self, name: str, longest: int = _LONGEST_TEXT) -> str:
        """What stands in a field, whatever its lines."""
        found = self._fields.get(name, "").replace("\r\n", "\n").replace("\r", "\n")
        if len(found) > longest:
            self.wrong(name, TYPED["long"].format(longest=longest))
            return ""
        if _UNREADABLE.search(found):
            self.wrong(name, TYPED["unreadable"])
            return ""
        return found

    def line(self, name: str, longest: int = _LONGEST_LINE) -> str:
        """One line, without what stands around it."""
        found = self.text(name).strip()
        if "\n" in found:
            self.wrong(name, TYPED["line"])
        elif len(found) > longest:
            self.wrong(name, TYPED["long"].format(longest=longest))
        else:
            return found
        return ""

    def lines(self, name: str, longest: int = _LONGEST_LABEL, most: int = _MOST_LINES) -> tuple[str, ...]:
        """The lines of a field that say something."""
        found = [line.strip() for line in self.text(name).split("\n") if line.strip()]
        if len(found) > most:
            self.wrong(name, TYPED["lines"].format(most=most))
        elif any(len(line) > longest for line in found):
            self.wrong(name, TYPED["long"].format(longest=longest))
        else:
            return tuple(found)
        return ()

    def day(self, name: str) -> date | None:
        """A day, such as 2027-03-31."""
        return self._read(name, date.fromisoformat, TYPED["day"])

    def moment(self, name: str) -> datetime | None:
        """The beginning of a day in UTC, or a moment of it."""
        return self._read(name, _moment, TYPED["moment"])

    def number(self, name: str) -> int | None:
        """A whole number."""
        return self._read(name, _number, TYPED["number"])

    def choice(self, name: str, known: Callable[[str], Read], default: Read) -> Read:
        """One of a closed list."""
        found = self._read(name, known, TYPED["choice"])
        return default if found is None else found

    def choices(self, name: str, known: Callable[[str], Read]) -> frozenset[Read]:
        """Those of a closed list that are ticked."""
        found = []
        for each in self.lines(name):
            try:
                found.append(known(each))
            except ValueError:
                self.wrong(name, TYPED["choice"])
        return frozenset(found)

    def plain_data(self, name: str) -> Mapping[str, object]:
        """A mapping, as YAML."""
        text = self.text(name)
        if not text.strip():
            return {}
        try:
            found = texts.parse(text, of_kedro=False)
        except Invalid as refused:
            self.wrong(name, refused.detail)
            return {}
        return {str(key): value for key, value in found.items()}

    def each(self, name: str, values: Iterable[str], read: Callable[[str], Read]) -> tuple[Read, ...]:
        """Values of a field, each read as the core reads it."""
        found = []
        for value in values:
            try:
                found.append(read(value))
            except Invalid as refused:
                self.wrong(name, refused.detail)
        return tuple(found)

    def wrong(self, name: str, message: str) -> None:
        """Note what is wrong with a field."""
        self.faults.append(Fault(name, message))

    def check(self) -> None:
        """Refuse the form, if anything is wrong with it."""
        if self.faults:
            raise Invalid(self.faults[0].message, self.faults)

    def _read(self, name: str, read: Callable[[str], Read], message: str) -> Read | None:
        text = self.line(name)
        if not text:
            return None
        try:
            return read(text)
        except (ValueError, OverflowError):
            self.wrong(name, message)
            return None


def errors_of(faults: Sequence[Fault], fields: Iterable[str]) -> dict[str, str]:
    """What is wrong, by field; what belongs to none that is shown stands under no name."""
    known = frozenset(fields)
    found: dict[str, str] = {}
    for fault in faults:
        field = fault.at.partition(".")[0]
        name = field if field in known else ""
        said = said_of(fault)
        found[name] = f"{found[name]} {said}" if name in found else said
    return found


def said_of(fault: Fault) -> str:
    """What is wrong, and in a text where."""
    where = TYPED["place"].format(line=fault.line, column=fault.column) if fault.line else ""
    return f"{where}{fault.message}"


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _number(text: str) -> int:
    found = int(text)
    if found not in _LONGS:
        raise ValueError(text)
    return found
