"""What was known of subjects when their tokens were verified.

States are addressed by their content and only added, so a process may remember for ever
that it has stored one. Which state is a subject's *newest* is another matter: a subject
may change from one state to another and back, each time at another worker, and no worker's
memory knows of the others. So nobody remembers it. :func:`Sightings.note` sets it when a
state is new to the process, and every row of the ledger says it again in the statement that
writes it (``ledger.append``): what decided last is what stands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Row, Select, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.subjects import Attribute, Kind, Subject, SubjectState
from muniment.store.databases import Database
from muniment.store.tables import subject_states, subjects


@dataclass(frozen=True, slots=True)
class Known:
    """A subject's newest state, and when it was seen in it (to the hour, while nothing changes)."""

    state: SubjectState
    seen_at: datetime


class Sightings:
    """What this process has stored of subjects; ``remembered`` bounds its memory."""

    def __init__(self, db: Database, *, remembered: int = 10_000) -> None:
        self._db = db
        self._remembered = remembered
        self._stored: OrderedDict[str, None] = OrderedDict()

    async def note(self, state: SubjectState, at: datetime) -> None:
        """The state is stored when this returns; of a known one Postgres hears nothing."""
        digest = state.digest
        if digest in self._stored:
            self._stored.move_to_end(digest)
            return
        async with self._db.begin() as tx:
            await _store(tx, state, digest, at)
        self._stored[digest] = None
        if len(self._stored) > self._remembered:
            self._stored.popitem(last=False)


async def newest(tx: AsyncConnection) -> list[Known]:
    """Every subject ever seen in its newest state, by name."""
    return [_known(row) for row in await tx.execute(_newest().order_by(subjects.c.name))]


async def newest_of(tx: AsyncConnection, subject: Subject) -> Known | None:
    """A subject's newest state, if it was ever seen."""
    row = (await tx.execute(_newest().where(subjects.c.name == str(subject)))).one_or_none()
    return _known(row) if row else None


async def count(tx: AsyncConnection) -> int:
    """How many subjects were ever seen."""
    found: int = (await tx.execute(select(func.count()).select_from(subjects))).scalar_one()
    return found


async def provider_groups(tx: AsyncConnection, names: Iterable[str]) -> frozenset[str]:
    """Those of these names that a token has ever brought as a group's."""
    wanted = bindparam("names", list(names), ARRAY(Text))
    brought = (
        select(func.unnest(subject_states.c.groups).label("name"))
        .where(subject_states.c.groups.bool_op("&&")(wanted))
        .subquery()
    )
    question = select(brought.c.name).distinct().where(brought.c.name == any_(wanted))
    return frozenset((await tx.execute(question)).scalars())


async def _store(tx: AsyncConnection, state: SubjectState, digest: str, at: datetime) -> None:
    stored = (
        insert(subject_states)
        .values(
            digest=digest,
            issuer=state.issuer,
            kind=state.subject.kind,
            id=state.subject.id,
            groups=sorted(state.groups),
            attributes={name: _written(value) for name, value in state.attributes.items()},
            first_seen=at,
        )
        .on_conflict_do_nothing()
        .cte("stored")
    )
    sighting = insert(subjects).values(name=str(state.subject), digest=digest, seen_at=at)
    await tx.execute(
        sighting.add_cte(stored).on_conflict_do_update(
            index_elements=[subjects.c.name],
            set_={"digest": sighting.excluded.digest, "seen_at": sighting.excluded.seen_at},
            where=(subjects.c.digest != sighting.excluded.digest) & (subjects.c.seen_at < sighting.excluded.seen_at),
        )
    )


def _newest() -> Select[Any]:
    return select(subject_states, subjects.c.seen_at).join(subjects, subjects.c.digest == subject_states.c.digest)


def _known(row: Row[Any]) -> Known:
    state = SubjectState(
        subject=Subject(Kind(row.kind), row.id),
        issuer=row.issuer,
        groups=frozenset(row.groups),
        attributes={name: _read(value) for name, value in row.attributes.items()},
    )
    return Known(state, row.seen_at)


def _written(value: Attribute) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def _read(value: Any) -> Attribute:
    found: Attribute = frozenset(value) if isinstance(value, list) else value
    return found
