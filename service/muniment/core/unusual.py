"""A first look at the unusual: what the ledger's numbers say, and no more than that.

These are statistics. Each thing that is told has its numbers with it, most have a plain reason, and what is not told
may be wrong all the same. How often the model of volumes is alarmed by nothing, and how much it finds, is measured on
made-up days whose truth is known (``tests/core/test_unusual.py``); the documentation says those figures.

**Volume.** A subject's days are compared with its own earlier days, those on which it did anything at all: what varies
more than by chance alone (weeks, seasons, ends of months) varies in the history too. The number of an active day, less
one, is taken for negative binomial (a Poisson number whose rate itself varies), with the mean and the variance of the
history. A day is unusual when so large a number has a probability below :data:`RARE`, and is large besides
(:data:`LEAST`, and :data:`TIMES` the mean): what is rare and small is nobody's concern.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Final

#: How rare a day's volume must be to be told.
RARE: Final = 3e-4
#: The least volume that is told, and how many times the mean of the history it must be.
LEAST: Final = 20
TIMES: Final = 3.0
#: How far back a history goes, and how many active days it must have to say anything.
HISTORY: Final = timedelta(days=60)
LEAST_DAYS: Final = 10
#: How long a subject must be known before what is new about it is told.
KNOWN: Final = timedelta(days=14)
#: How many refusals, with nothing given between them, are told.
IN_A_ROW: Final = 5
#: How shortly before a grant's end its use is told.
LAST: Final = timedelta(hours=1)
#: How long a grant must stand unused to be told.
UNUSED: Final = timedelta(days=90)


class Kind(StrEnum):
    """What may be unusual."""

    FIRST_USE = "first-use"
    VOLUME = "volume"
    LAST_HOUR = "last-hour"
    UNUSED_GRANT = "unused-grant"
    REFUSED_IN_A_ROW = "refused-in-a-row"
    NEW_ADDRESS = "new-address"
    NEW_CLIENT = "new-client"


@dataclass(frozen=True, slots=True)
class Unusual:
    """One thing that stands out, in a sentence and in its numbers."""

    kind: Kind
    at: datetime
    words: str
    subject: str | None = None
    dataset: str | None = None
    policy: str | None = None
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Day:
    """How much a subject was given, and said that it used, on one day (UTC)."""

    subject: str
    day: date
    count: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A day's volume beside the history: how probable so much is, if the model fits."""

    day: Day
    mean: float
    days: int
    probability: float


def volumes(days: Iterable[Day], since: date) -> Iterator[Volume]:
    """The days from ``since`` on whose volume is far above their subject's own history; the days come in any order."""
    of_subject: dict[str, dict[date, int]] = {}
    for each in days:
        of_subject.setdefault(each.subject, {})[each.day] = each.count
    for subject, counts in sorted(of_subject.items()):
        for day, count in sorted(counts.items()):
            if day < since or count < LEAST:
                continue
            history = [number for earlier, number in counts.items() if day - HISTORY <= earlier < day and number]
            if len(history) < LEAST_DAYS:
                continue
            mean = math.fsum(history) / len(history)
            probability = tail(count, history)
            if count >= TIMES * mean and probability < RARE:
                yield Volume(Day(subject, day, count), mean, len(history), probability)


def tail(count: int, history: Sequence[int]) -> float:
    """How probable at least this number is on an active day, by a negative binomial with the history's moments.

    Shifted by one, since a day without anything is none of these. With a variance that is no larger than the mean it
    is taken for Poisson. The history is short, so its variance is taken as larger by what estimating it may miss.
    """
    days = len(history)
    mean = max(math.fsum(number - 1 for number in history) / days, 1 / days)
    spread = math.fsum((number - 1 - mean) ** 2 for number in history) / max(days - 1, 1)
    variance = spread * (1 + 1 / days) * (1 + 2 * math.sqrt(2 / max(days - 1, 1)))
    return _at_least(count - 1, mean, max(variance, mean * (1 + 1e-9)))


def _at_least(number: int, mean: float, variance: float) -> float:
    """P(X ≥ number) of a negative binomial by its mean and variance, summed from there until nothing is added."""
    shape = mean * mean / (variance - mean)
    success = mean / variance
    log_failure = math.log1p(-success)
    term = math.exp(
        math.lgamma(number + shape)
        - math.lgamma(shape)
        - math.lgamma(number + 1)
        + shape * math.log(success)
        + number * log_failure
    )
    if number <= mean:
        return 1.0
    total, failure = 0.0, math.exp(log_failure)
    while term > total * 1e-12:
        total += term
        term *= failure * (number + shape) / (number + 1)
        number += 1
    return min(total, 1.0)


def of_volumes(days: Iterable[Day], since: datetime) -> Iterator[Unusual]:
    """Volumes far above the subject's own history."""
    for found in volumes(days, since.date()):
        day = found.day
        yield Unusual(
            Kind.VOLUME,
            datetime(day.day.year, day.day.month, day.day.day, tzinfo=since.tzinfo),
            f"{day.subject} was given or used {day.count} times on {day.day}; on the {found.days} active days "
            f"before it was {found.mean:.1f} on average",
            subject=day.subject,
            numbers={
                "count": day.count,
                "mean": round(found.mean, 2),
                "days": found.days,
                "probability": found.probability,
            },
        )


@dataclass(frozen=True, slots=True)
class First:
    """Something that a subject was first seen with: a dataset, an address, a client; and since when it is known."""

    subject: str
    what: str
    at: datetime
    known_since: datetime
    before: Sequence[str] = ()


def of_first_uses(found: Iterable[First]) -> Iterator[Unusual]:
    """First uses of a dataset, by subjects that have used others for a while."""
    for each in found:
        days = (each.at - each.known_since).days
        if each.at - each.known_since >= KNOWN:
            yield Unusual(
                Kind.FIRST_USE,
                each.at,
                f"{each.subject} used {each.what} for the first time, after {days} days with other datasets",
                subject=each.subject,
                dataset=each.what,
                numbers={"known_days": days},
            )


def of_addresses(found: Iterable[First]) -> Iterator[Unusual]:
    """First requests from a network that a subject never came from, by those who are known for a while."""
    for each in found:
        if each.at - each.known_since >= KNOWN and network(each.what) not in map(network, each.before):
            yield Unusual(
                Kind.NEW_ADDRESS,
                each.at,
                f"{each.subject} came from {each.what} for the first time, after {len(each.before)} other addresses",
                subject=each.subject,
                numbers={"address": each.what, "addresses_before": len(each.before)},
            )


def of_clients(found: Iterable[First]) -> Iterator[Unusual]:
    """First requests by a client that a subject never used; of each client its name, and not its version."""
    for each in found:
        if each.at - each.known_since >= KNOWN and each.what not in each.before:
            yield Unusual(
                Kind.NEW_CLIENT,
                each.at,
                f"{each.subject} used the client {each.what or '(none)'} for the first time",
                subject=each.subject,
                numbers={"client": each.what, "clients_before": len(each.before)},
            )


def network(address: str) -> str:
    """The network that an address is taken for: of IPv4 its /24, of IPv6 its /64; else the text itself."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{address}/{24 if found.version == 4 else 64}", strict=False))  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Refused:
    """How often a subject was refused with nothing given between, from when until when."""

    subject: str
    count: int
    first: datetime
    last: datetime


def of_refusals(found: Iterable[Refused]) -> Iterator[Unusual]:
    """Refusals in a row."""
    for each in found:
        if each.count >= IN_A_ROW:
            yield Unusual(
                Kind.REFUSED_IN_A_ROW,
                each.last,
                f"{each.subject} was refused {each.count} times in a row, with nothing given between, "
                f"within {_length(each.last - each.first)}",
                subject=each.subject,
                numbers={"count": each.count, "seconds": int((each.last - each.first).total_seconds())},
            )


@dataclass(frozen=True, slots=True)
class LastUse:
    """The uses by one subject of one dataset in the last hour of a grant that lets them."""

    policy: str
    subject: str
    dataset: str
    count: int
    at: datetime
    until: datetime


def of_last_hours(found: Iterable[LastUse]) -> Iterator[Unusual]:
    """Use in the last hour before a grant ends."""
    for each in found:
        yield Unusual(
            Kind.LAST_HOUR,
            each.at,
            f"{each.subject} used {each.dataset} {each.count} times in the last hour before the end of "
            f"{each.policy}, last {_length(each.until - each.at)} before",
            subject=each.subject,
            dataset=each.dataset,
            policy=each.policy,
            numbers={"count": each.count, "seconds_before": int((each.until - each.at).total_seconds())},
        )


@dataclass(frozen=True, slots=True)
class Idle:
    """A grant in force, since when it stands so, and when a checked run last rested on it, if one did."""

    policy: str
    to: str
    since: datetime
    used: datetime | None


def of_idle_grants(found: Iterable[Idle], now: datetime) -> Iterator[Unusual]:
    """Grants on which no checked run has rested for long."""
    for each in found:
        last = max(each.since, each.used) if each.used is not None else each.since
        if now - last >= UNUSED:
            days = (now - last).days
            yield Unusual(
                Kind.UNUSED_GRANT,
                last,
                f"No checked run has rested on {each.policy} for {days} days; it is {each.to}'s",
                policy=each.policy,
                numbers={"days": days},
            )


def _length(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"  # noqa: PLR2004
