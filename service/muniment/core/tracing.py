"""Where work begins and ends, for whoever wants to follow a request through the floors.

A floor names what it does and knows nothing of who follows it, nor whether anybody does:
the door that traces (``api/traces.py``) brings a :class:`Tracing`, and without one a step
costs a tenth of a microsecond. A name is always one of the words written here, never a value:
what a subject asked for is nobody's business but the ledger's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Final, Protocol


class Step(StrEnum):
    """What a request goes through, as spans are called."""

    SIGN_IN = "sign in"
    DECIDE = "decide"
    RECORD = "record"


class Tracing(Protocol):
    """Follows what is done in the course of a request."""

    def step(self, step: Step) -> AbstractContextManager[object]:
        """Around the work of a step."""


class _Untraced:
    _nothing: Final = nullcontext()

    def step(self, step: Step) -> AbstractContextManager[object]:  # noqa: ARG002  what is not followed has no name
        return self._nothing


#: Nobody follows.
UNTRACED: Final[Tracing] = _Untraced()
