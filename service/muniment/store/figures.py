"""The ledger's rows counted by Postgres: of those alone that a reader may see, in one time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, Select, Text, func, literal, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.figures import COUNTED, MOST, By, Figure
from muniment.core.ledger import Event, Question
from muniment.core.oversight import Reader
from muniment.store.ledger import needed
from muniment.store.ledger_questions import conditions, readable
from muniment.store.tables import ledger, subject_states

_DAY: Final = func.to_char(func.timezone("UTC", ledger.c.at), "YYYY-MM-DD")


async def counted(
    tx: AsyncConnection, question: Question, reader: Reader, by: By, most: int = MOST
) -> tuple[tuple[Figure, ...], int]:
    """The figures by name, those with the most first (days in their order), and how many names more there are.

    At least so many more: nobody counts past some.
    """
    with needed():
        found = [Figure(*each) for each in await tx.execute(_asked(question, reader, by, most))]
    if by is By.DAY:
        return tuple(found), 0
    return tuple(found[:most]), max(len(found) - most, 0)


def _asked(question: Question, reader: Reader, by: By, most: int) -> Select[Any]:
    events = [event.value for each in COUNTED.values() for event in each]
    where = [
        ledger.c.xact < text("pg_snapshot_xmin(pg_current_snapshot())"),
        ledger.c.event.in_(events),
        or_(*readable(reader)),
        *conditions(question),
    ]
    name, rows = _KEYS[by]()
    named = select(name.label("name"), ledger.c.event.label("event")).select_from(rows).where(*where).subquery()
    counts = {each: _count(named.c.event, events) for each, events in COUNTED.items()}
    asked = select(named.c.name, *(count.label(each) for each, count in counts.items())).group_by(named.c.name)
    if by is By.DAY:
        return asked.order_by(named.c.name)
    # The name last, so that two with as many have one order.
    return asked.order_by(func.count().desc(), named.c.name.collate("C")).limit(most + 10 * MOST)


def _count(event: ColumnElement[str], events: tuple[Event, ...]) -> ColumnElement[int]:
    return func.count().filter(event.in_([each.value for each in events]))


def _of_day() -> tuple[ColumnElement[str], Any]:
    return _DAY, ledger


def _of_dataset() -> tuple[ColumnElement[str], Any]:
    name = func.unnest(ledger.c.datasets).table_valued("name", name="named").render_derived().lateral()
    return name.c.name, ledger.join(name, literal(value=True))


def _of_domain() -> tuple[ColumnElement[str], Any]:
    name, rows = _of_dataset()
    return func.ledger_domain(name), rows


def _of_project() -> tuple[ColumnElement[str], Any]:
    return func.coalesce(ledger.c.project, ""), ledger


def _of_subject() -> tuple[ColumnElement[str], Any]:
    return ledger.c.subject, ledger


def _of_team() -> tuple[ColumnElement[str], Any]:
    """By the groups that the subject's token had brought; who is in several counts for each, who is in none for ''."""
    states = subject_states
    groups = func.coalesce(func.nullif(states.c.groups, literal([], ARRAY(Text))), literal([""], ARRAY(Text)))
    team = func.unnest(groups).table_valued("name", name="team").render_derived().lateral()
    rows = ledger.join(states, states.c.digest == ledger.c.subject_state).join(team, literal(value=True))
    return team.c.name, rows


_KEYS: Final[Mapping[By, Any]] = {
    By.DAY: _of_day,
    By.DOMAIN: _of_domain,
    By.DATASET: _of_dataset,
    By.TEAM: _of_team,
    By.PROJECT: _of_project,
    By.SUBJECT: _of_subject,
}
