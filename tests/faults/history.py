"""What happened while faults were made: each request, change and fault with its times, in a file that only grows.

All times are of one monotonic clock, that of the process that asks. So one may say of two of them
which was first, and nothing here trusts a clock of the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

#: What may be done to each dataset of an answer, by its name.
Given = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a lease or a catalog, and what came of it; ``status`` 0 is no answer at all, and ``lost`` why.

    ``body`` is the digest of what was received, and ``given`` in the history says what that holds.
    """

    who: str
    event: str
    environment: str
    began: int
    ended: int
    status: int
    lost: str = ""
    problem: str = ""
    receipt: str = ""
    revision: int = -1
    tag: str = ""
    body: str = ""

    @property
    def answered(self) -> bool:
        """Whether the caller was given something."""
        return self.status in {200, 304}


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of a policy or a grant, and what came of it; of one without an answer nobody knows whether it stands.

    ``body`` is what was to stand there; None ends the thing.
    """

    kind: str
    key: str
    body: Mapping[str, Any] | None
    began: int
    ended: int
    status: int
    lost: str = ""
    problem: str = ""
    revision: int = -1

    @property
    def acknowledged(self) -> bool:
        """Whether its author was told that it stands."""
        return self.status in {200, 201, 204}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from when on it was made, and when its cause was gone."""

    name: str
    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Received:
    """What a body holds, told once for each digest."""

    body: str
    given: Given


Told = Asked | Changed | Fault | Received
_KINDS: Mapping[str, type[Told]] = {each.__name__.lower(): each for each in (Asked, Changed, Fault, Received)}


@dataclass
class History:
    """All that was told, in the order in which it ended."""

    asked: list[Asked] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    given: dict[str, Given] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Iterator[Told]) -> History:
        """A history of what was told."""
        history = cls()
        for each in told:
            match each:
                case Asked():
                    history.asked.append(each)
                case Changed():
                    history.changed.append(each)
                case Fault():
                    history.faults.append(each)
                case Received():
                    history.given[each.body] = each.given
        return history


class Recorder:
    """Writes a history into a file, a line for each thing as it ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def tell(self, told: Told) -> None:
        """Add what has just ended."""
        self._file.write(orjson.dumps({"told": type(told).__name__.lower(), **asdict(told)}) + b"\n")

    def knows(self, body: str) -> bool:
        """Whether it has been told what a body holds; it counts as told from now on."""
        known = body in self._known
        self._known.add(body)
        return known


def read(path: Path) -> History:
    """The history that a file holds."""
    with path.open("rb") as lines:
        return History.of(_read(line) for line in lines)


def _read(line: bytes) -> Told:
    said = orjson.loads(line)
    told = said.pop("told")
    if told == "received":
        return Received(said["body"], {name: tuple(actions) for name, actions in said["given"].items()})
    return _KINDS[told](**said)
