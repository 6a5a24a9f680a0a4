"""How long rows of the ledger are kept: for ever, or so many whole months after their own.

Months go whole and the oldest first, so that what is left always begins at one moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from muniment.core.leases import LONGEST
from muniment.core.problems import Fault, Invalid

_MONTHS: Final = 12


def month_of(text: str) -> datetime:
    """The first moment of a month, written as 2026-01."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        message = "Write a month as 2026-01: what lies before its first moment is meant."
        raise Invalid(message, [Fault("before", message)]) from None


def kept_since(at: datetime, months: int) -> datetime:
    """The first moment of the months that must be kept: so many whole ones before that of ``at``."""
    number = at.year * _MONTHS + at.month - 1 - months
    return datetime(number // _MONTHS, number % _MONTHS + 1, 1, tzinfo=UTC)


def checked(before: datetime, at: datetime, months: int | None) -> datetime:
    """The moment before which rows may go; raises :class:`Invalid` where they have to stay.

    Those of leases that may still be in force stay in any case: a report of use is held against them.
    """
    newest = kept_since(at - LONGEST, 0)
    if before > newest:
        message = f"Rows from {newest:%Y-%m} on are not over yet: leases of that time may still be in force."
        raise Invalid(message, [Fault("before", message)])
    if months is not None and before > kept_since(at, months):
        message = (
            f"MUNIMENT_RETENTION keeps rows for {months} months, so those from {kept_since(at, months):%Y-%m} on stay. "
            "Retire an earlier time, or change the setting."
        )
        raise Invalid(message, [Fault("before", message)])
    return before
