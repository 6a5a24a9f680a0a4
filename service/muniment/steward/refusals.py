"""Every way in which a steward's command ends without having done it, in words, each with an exit code of its own.

- :class:`Refused` (1): the service says no, or what was asked for cannot be done
  - :class:`Stale`: somebody changed the realm since it was tried
- :class:`NotSignedIn` (3)
- :class:`Unreachable` (4)
- :class:`BadFiles` (5): the files do not say what they should

The codes are those of the client's commands, where both have one; 2 is click's own, for a command that was mistyped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from muniment.core.problems import Fault


class StewardError(click.ClickException):
    """Something stands in the way; the message says what, and what to do."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        click.echo(f"muniment: {self.format_message()}", file=file, err=file is None)


class Refused(StewardError):
    """The service answered, and the answer is no; ``problem`` is all that it said (RFC 9457)."""

    def __init__(self, message: str, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem: Mapping[str, Any] = problem or {}


class Stale(Refused):
    """Somebody changed the realm since it was tried."""


class NotSignedIn(StewardError):
    """There is no credential, or the service does not accept it."""

    exit_code = 3


class Unreachable(StewardError):
    """The service did not answer at the address that was tried."""

    exit_code = 4


class BadFiles(StewardError):
    """The files do not say what they should; each place is listed."""

    exit_code = 5

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__("\n".join([message, *(f"  {_place(fault)}: {fault.message}" for fault in faults)]))
        self.faults = tuple(faults)


def plain(text: object) -> str:
    """What came over the wire as one line that a terminal may show: no control or direction characters."""
    return "".join(character for character in " ".join(str(text).split()) if character.isprintable())


def _place(fault: Fault) -> str:
    return fault.at if fault.line is None else f"{fault.at}:{fault.line}"
