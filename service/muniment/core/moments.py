"""Moments as Cedar writes them, how finely they are told apart, and how answers tell them.

Source: RFC 80 of Cedar (https://github.com/cedar-policy/rfcs), the extension type ``datetime``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

#: The moments that a policy may name: every one of them, and the tick after it, is a datetime.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

#: How finely Cedar's moments are told apart.
TICK = timedelta(milliseconds=1)

_LONGEST = timedelta(days=10_000 * 366)

_DATETIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?(Z|[+-]\d\d[0-5]\d))?\Z", re.ASCII)


def read_datetime(text: str) -> datetime | None:
    """A datetime as Cedar writes it, in UTC; nothing if it is not one that a policy may name."""
    if not _DATETIME.match(text):
        return None
    try:
        read = datetime.fromisoformat(text)
        moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if EARLIEST <= moment <= LATEST else None


_DURATION = re.compile(r"(-?)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?\Z", re.ASCII)


def read_duration(text: str) -> timedelta | None:
    """A duration as Cedar writes it; nothing if it is none, or of more than 10,000 years."""
    found = _DURATION.match(text)
    if found is None or not any(found.groups()[1:]):
        return None
    days, hours, minutes, seconds, milliseconds = (int(part or 0) for part in found.groups()[1:])
    try:
        read = timedelta(days, seconds, 0, milliseconds, minutes, hours)
    except OverflowError:
        return None
    if read > _LONGEST:
        return None
    return -read if found[1] else read


def earlier(moment: datetime, by: timedelta) -> datetime | None:
    """The moment that lies so much before another; nothing if a policy may not name it."""
    try:
        found = moment - by
    except OverflowError:
        return None
    return found if EARLIEST <= found <= LATEST else None


def write_datetime(at: datetime) -> str:
    """A moment as a Cedar literal's text, in UTC, to the millisecond (cut off, never rounded up)."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def write_moment(at: datetime) -> str:
    """A moment as JSON carries it (RFC 3339, UTC)."""
    return at.isoformat().replace("+00:00", "Z")


def ticked(at: datetime) -> datetime:
    """The moment in UTC as Cedar sees it: what is finer than a millisecond is cut off."""
    moment = at.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
