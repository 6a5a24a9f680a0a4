"""What the unusual is looked for in: counts of the ledger's rows, by subject and day, and what came for the first time.

Each question is bound by its window and by the history before it (:data:`muniment.core.unusual.HISTORY`), and asks
about the events that have an index of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy import Row as DatabaseRow
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Event
from muniment.core.unusual import HISTORY, IN_A_ROW, LAST, Day, First, Refused

#: What a subject was given, and what it says that it used.
_GIVEN: Final = [Event.CATALOG_SERVED.value, Event.LEASE_SERVED.value, Event.USE_REPORTED.value]
_REFUSED: Final = [Event.ACCESS_DENIED.value, Event.REFUSAL_REPORTED.value]

#: How far back it is looked for whether a dataset was used before.
_EVER: Final = timedelta(days=365)

_DAYS: Final = text(
    """
    SELECT subject, CAST(at AT TIME ZONE 'UTC' AS date) AS day, count(*) AS times
    FROM ledger WHERE event = ANY(:events) AND at >= :began AND at < :until AND subject <> '' GROUP BY 1, 2
    """
).bindparams(bindparam("events", type_=ARRAY(Text)))
_USES: Final = text(
    """
    SELECT subject, name AS what, min(at) AS at, min(min(at)) OVER (PARTITION BY subject) AS known
    FROM ledger, unnest(datasets) AS name
    WHERE event = 'use.reported' AND at >= :began AND at < :until GROUP BY subject, name
    """
)
_CAME: Final = """
    SELECT subject, {what} AS what, min(at) AS at, min(min(at)) OVER (PARTITION BY subject) AS known
    FROM ledger WHERE event = ANY(:events) AND at >= :began AND at < :until AND subject <> '' GROUP BY 1, 2
"""
_ADDRESSES: Final = text(_CAME.format(what="address")).bindparams(bindparam("events", type_=ARRAY(Text)))
_CLIENTS: Final = text(_CAME.format(what="split_part(split_part(client, ' ', 1), '/', 1)")).bindparams(
    bindparam("events", type_=ARRAY(Text))
)
_IN_A_ROW: Final = text(
    """
    SELECT subject, count(*) AS times, min(at) AS first, max(at) AS last
    FROM (
      SELECT subject, at, event = ANY(:refused) AS refused,
        count(*) FILTER (WHERE event <> ALL(:refused)) OVER (PARTITION BY subject ORDER BY at, id) AS given
      FROM ledger WHERE event = ANY(:events) AND at >= :since AND at < :until AND subject <> ''
    ) AS told
    WHERE refused GROUP BY subject, given HAVING count(*) >= :least ORDER BY last DESC LIMIT :limit
    """
).bindparams(bindparam("events", type_=ARRAY(Text)), bindparam("refused", type_=ARRAY(Text)))
_LAST: Final = text(
    """
    SELECT subject, subject_state AS state, name AS dataset, count(*) AS times, max(at) AS at
    FROM ledger, unnest(datasets) AS name
    WHERE event = 'use.reported' AND at >= :began AND at < :until
      AND (name = CAST(:on AS text) OR ledger_domains(ARRAY[name]) @> ARRAY[CAST(:domain AS text)])
    GROUP BY subject, subject_state, name ORDER BY at DESC LIMIT :limit
    """
)


async def days(tx: AsyncConnection, since: datetime, until: datetime) -> list[Day]:
    """How much each subject was given and used a day, in the window and in the history before it."""
    asked = {"events": _GIVEN, "began": since - HISTORY, "until": until}
    return [Day(each.subject, each.day, each.times) for each in await tx.execute(_DAYS, asked)]


async def first_uses(tx: AsyncConnection, since: datetime, until: datetime) -> list[First]:
    """The datasets that subjects used in the window and not in the year before it."""
    found = await tx.execute(_USES, {"began": since - _EVER, "until": until})
    return [First(each.subject, each.what, each.at, each.known) for each in found if each.at >= since]


async def first_addresses(tx: AsyncConnection, since: datetime, until: datetime) -> list[First]:
    """The addresses that subjects came from in the window and not in the history before it."""
    asked = {"events": _GIVEN, "began": since - HISTORY, "until": until}
    return _firsts(list(await tx.execute(_ADDRESSES, asked)), since)


async def first_clients(tx: AsyncConnection, since: datetime, until: datetime) -> list[First]:
    """The clients, by their names, that subjects used in the window and not in the history before it."""
    asked = {"events": _GIVEN, "began": since - HISTORY, "until": until}
    return _firsts(list(await tx.execute(_CLIENTS, asked)), since)


def _firsts(found: Sequence[DatabaseRow[Any]], since: datetime) -> list[First]:
    before: dict[str, list[str]] = {}
    for each in found:
        if each.at < since:
            before.setdefault(each.subject, []).append(each.what)
    return [
        First(each.subject, each.what, each.at, each.known, tuple(before.get(each.subject, ())))
        for each in found
        if each.at >= since
    ]


async def refusals_in_a_row(tx: AsyncConnection, since: datetime, until: datetime, limit: int) -> list[Refused]:
    """Where subjects were refused again and again in the window, with nothing given between; the last ones."""
    asked = {
        "events": [*_GIVEN, *_REFUSED, Event.PREFLIGHT_ALLOWED.value],
        "refused": _REFUSED,
        "since": since,
        "until": until,
        "least": IN_A_ROW,
        "limit": limit,
    }
    found = await tx.execute(_IN_A_ROW, asked)
    return [Refused(each.subject, each.times, each.first, each.last) for each in found]


@dataclass(frozen=True, slots=True)
class Used:
    """How often a subject, in a state, used a dataset, and when last."""

    subject: str
    state: str
    dataset: str
    count: int
    at: datetime


async def last_uses(tx: AsyncConnection, on: str, until: datetime, limit: int, *, on_dataset: bool) -> list[Used]:
    """Who used a dataset, or those of a domain, in the last hour before a moment."""
    asked = {
        "on": on if on_dataset else "",
        "domain": "" if on_dataset else on,
        "began": until - LAST,
        "until": until,
        "limit": limit,
    }
    found = await tx.execute(_LAST, asked)
    return [Used(each.subject, each.state, each.dataset, each.times, each.at) for each in found]
