"""Whether the rows of an export are such as its head says that were asked for, as far as the rows alone tell.

Nobody signs a head: whoever has a file can give it the head of another one. A row that does not answer what the head
asks shows that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from muniment.core.exports import Broken
from muniment.core.seals import Stored, microseconds

Answers = Callable[[Stored], bool]

#: The filters that are about one field of a row.
_FIELDS: Final = frozenset(
    {"outcome", "environment", "project", "purpose", "run", "receipt", "request_id", "address", "subject"}
)
#: Of these nothing is left once who was erased.
_OF_WHO: Final = frozenset({"address", "subject"})


def answering(asked: Mapping[str, Any]) -> Answers:
    """What tells whether a row answers what was asked; raises :class:`Broken` where nobody could have asked that."""
    try:
        conditions = [*_conditions(asked)]
    except (ValueError, TypeError) as error:
        raise Broken("The head of the file cannot be read: nobody can ask what it says was asked.") from error
    return lambda row: all(holds(row) for holds in conditions)


def _conditions(asked: Mapping[str, Any]) -> Iterator[Answers]:
    for name, value in asked.items():
        if name == "events":
            yield _is_one_of(frozenset(value))
        elif not isinstance(value, str):
            raise TypeError(name)
        elif name in _FIELDS:
            yield _has(name, value)
        elif name == "dataset":
            yield _names(value)
        elif name == "domain":
            yield _lies_in(f"{value}.")
        elif name in {"since", "until"}:
            yield _is_of(name, microseconds(datetime.fromisoformat(value)))


def _is_one_of(events: frozenset[Any]) -> Answers:
    return lambda row: row.event in events


def _has(name: str, value: str) -> Answers:
    def has(row: Stored) -> bool:
        there = getattr(row, name)
        if name in _OF_WHO and row.who_sha256 is not None:
            return True
        # A subject may be asked for by its bare name.
        return there == value or (name == "subject" and there.partition(":")[2] == value)

    return has


def _names(dataset: str) -> Answers:
    return lambda row: dataset in row.datasets


def _lies_in(domain: str) -> Answers:
    return lambda row: any(each.startswith(domain) for each in row.datasets)


def _is_of(name: str, at: int) -> Answers:
    return lambda row: row.at >= at if name == "since" else row.at < at
