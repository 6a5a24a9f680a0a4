"""The setting that names issuers, read field by field.

Each field is taken once, in the type that it must have; what is left over is refused by
name. A field that is misspelt would otherwise be a rule that silently does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Never

from muniment.core.problems import CannotStart


def refuse(what: str) -> Never:
    """Refuse to start; the words name the place, and hold no value that may be a secret."""
    message = f"MUNIMENT_ISSUERS can't be used: {what}. Correct it, and see what is in force with: muniment config"
    raise CannotStart(message)


_ABSENT = object()


class Fields:
    """The fields of one object in the settings. Each is taken once; what is left over is refused by name."""

    def __init__(self, where: str, given: object) -> None:
        self.where = where
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            refuse(f"{where} must be an object with named fields")
        self._left: dict[str, object] = dict(given)

    def refuse(self, name: str, what: str) -> Never:
        refuse(f"in {self.where}, “{name}” {what}")

    def take(self, name: str, default: object = _ABSENT) -> object:
        value = self._left.pop(name, default)
        if value is _ABSENT:
            self.refuse(name, "is missing")
        return value

    def text(self, name: str, default: object = _ABSENT) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or not value or not value.isprintable():
            self.refuse(name, "must be a text")
        return value

    def text_or_none(self, name: str, default: str | None) -> str | None:
        if self._left.get(name, default) is None:
            self._left.pop(name, None)
            return None
        return self.text(name, default)

    def flag(self, name: str) -> bool:
        value = self.take(name, default=False)
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return value

    def seconds(self, name: str, default: int, most: int) -> int:
        value = self.take(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self.refuse(name, f"must be a whole number of seconds from 0 to {most}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.take(name, [])
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            self.refuse(name, "must be a list of texts")
        return tuple(value)

    def mapping(self, name: str) -> Mapping[str, object]:
        value = self.take(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
            self.refuse(name, "must be an object with named fields")
        return value

    def end(self) -> None:
        if self._left:
            refuse(f"{self.where} has a field “{min(self._left)}”, which Muniment does not know")
