"""Revisions: the numbers of the states of the realm, and who made each of them, when and why.

One row holds the counter, and its lock orders all changes, so revisions follow the order
of commits; a sequence would not. Revision 0 is the empty realm of the first migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.store.tables import realm_counter, revisions


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the realm, and the change that made it."""

    revision: int
    at: datetime
    subject: str
    subject_state: str
    request_id: UUID | None
    reason: str


# Each change waits for these statements: they are written once, not each time.
_NEWEST: Final = select(realm_counter.c.revision)
_LOCKED: Final = _NEWEST.with_for_update()
_NEXT: Final = text(
    """
    WITH made AS (
      UPDATE realm_counter SET revision = revision + 1 RETURNING revision
    )
    INSERT INTO revisions (revision, at, subject, subject_state, request_id, reason)
    SELECT made.revision, greatest(previous.at, clock_timestamp()), :subject, :subject_state, :request_id, :reason
    FROM made LEFT JOIN revisions AS previous ON previous.revision = made.revision - 1
    RETURNING revision
    """
).bindparams(bindparam("request_id", type_=Uuid))


async def newest(tx: AsyncConnection) -> int:
    """The revision that is current."""
    found: int = (await tx.execute(_NEWEST)).scalar_one()
    return found


async def lock(tx: AsyncConnection) -> int:
    """The revision that is current, and stays so until this transaction ends."""
    found: int = (await tx.execute(_LOCKED)).scalar_one()
    return found


async def next(tx: AsyncConnection, occasion: Occasion, reason: str) -> int:  # noqa: A001  read as revisions.next
    """The number of a new revision; every other change waits until this transaction ends.

    Time never runs backwards from one revision to the next.
    """
    made: int = (
        await tx.execute(
            _NEXT,
            {
                "subject": str(occasion.subject),
                "subject_state": occasion.asker.digest,
                "request_id": occasion.request_id,
                "reason": reason,
            },
        )
    ).scalar_one()
    return made


async def at(tx: AsyncConnection, moment: datetime) -> int:
    """The revision that was current at a moment; 0, the empty realm, before the first."""
    question = select(func.max(revisions.c.revision)).where(revisions.c.at <= moment)
    return (await tx.execute(question)).scalar_one() or 0


async def made(tx: AsyncConnection, revision: int) -> Revision:
    """A revision and its maker; :class:`Invalid` for a number that no revision has."""
    row = (await tx.execute(select(revisions).where(revisions.c.revision == revision))).one_or_none()
    if row is None:
        message = f"There is no revision {revision}; the newest is {await newest(tx)}."
        raise Invalid(message, [Fault("at", message)])
    return Revision(*row)


async def ended(tx: AsyncConnection, revision: int) -> datetime | None:
    """When a revision ceased to be current, if it has."""
    question = select(revisions.c.at).where(revisions.c.revision == revision + 1)
    found: datetime | None = (await tx.execute(question)).scalar_one_or_none()
    return found
