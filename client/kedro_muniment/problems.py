"""Every way in which the plugin refuses, in words for the person at the keyboard.

All are click exceptions: Kedro's own error class loses its message with recent click, and these show one
sentence instead of a traceback. Each has an exit code of its own, which scripts may rely on.

- :class:`MunimentError`
  - :class:`Denied` (1): the service says no
    - :class:`RunRefused`: a pipeline that may not run, with everything that stands in its way
  - :class:`NotSignedIn` (3)
  - :class:`Unreachable` (4)
  - :class:`BadConfig` (5): ``muniment.yml``, or how it meets the project's own catalog
  - :class:`ServiceRefused` (6): any other refusal, or an answer that is not Muniment's
    - :class:`NotTaken`: the service does not take what it was sent, whenever that is sent again

:class:`Unusable` is no refusal of a command: it ends as a dataset that refuses (``refused.py``).

Inside a dataset, where Kedro expects its own errors, the refusal is a ``DatasetError`` (``refused.py``).
"""

from __future__ import annotations

import click


class MunimentError(click.ClickException):
    """Something stands in the way; the message says what, and what to do."""

    exit_code = 6


class Denied(MunimentError):
    """The service answered, and the answer is no."""

    exit_code = 1


class RunRefused(Denied):
    """This pipeline may not run as this identity; the message lists everything that stands in its way."""


class NotSignedIn(MunimentError):
    """There is no token, or the service does not accept it."""

    exit_code = 3


class Unreachable(MunimentError):
    """The service did not answer at the address that was tried."""

    exit_code = 4


class BadConfig(MunimentError):
    """The project's settings for Muniment are not usable."""

    exit_code = 5


class ServiceRefused(MunimentError):
    """The service refused, or gave an answer that this version does not understand."""

    exit_code = 6


class NotTaken(ServiceRefused):
    """The service does not take what it was sent, as it stands."""


class Unusable(Exception):
    """This project may not build this definition; the message is the end of a sentence about it."""


def plain(text: object) -> str:
    """What came over the wire as one line that a terminal may show: no control or direction characters."""
    return "".join(character for character in " ".join(str(text).split()) if character.isprintable())
