"""The roster: enrolments as versions that only grow, and the number that says that something was taken away.

Whatever ends a sign-in counts the roster on in its own transaction (:func:`changed`), and
every request learns the number (``store/present.py``). So what a process remembers of the
roster holds while the number stands, and a revocation is honoured by the next request.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.occasions import Occasion
from muniment.core.roster import Enrolment, Place
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import Subject, SubjectState
from muniment.store import provisioning
from muniment.store.databases import Database
from muniment.store.tables import enrolments, realm_counter, sign_ins_ended


class Roster:
    """The places of subjects that one process remembers; ``remembered`` bounds them."""

    def __init__(self, db: Database, *, remembered: int = 10_000) -> None:
        self._db = db
        self._remembered = remembered
        self._places: OrderedDict[str, tuple[int, Place]] = OrderedDict()

    async def admit(self, sign_in: SignIn, version: int) -> SubjectState:
        """What is known of who signs in, by the roster of this version or a later one.

        Raises :class:`TokenRefused` for a sign-in that has been ended.
        """
        digest = sign_in.state.digest
        known = self._places.get(digest)
        if known is None or known[0] != version:
            async with self._db.begin() as tx:
                known = (version, await place_of(tx, sign_in.state))
            self._places[digest] = known
            if len(self._places) > self._remembered:
                self._places.popitem(last=False)
        self._places.move_to_end(digest)
        return known[1].admit(sign_in)


async def changed(tx: AsyncConnection) -> int:
    """Something was taken away: the roster's next version, which every later request will know of."""
    count = update(realm_counter).values(roster=realm_counter.c.roster + 1).returning(realm_counter.c.roster)
    version: int = (await tx.execute(count)).scalar_one()
    return version


async def hold(tx: AsyncConnection) -> None:
    """Nobody else changes the roster until this transaction ends: what is read of it stands."""
    await tx.execute(select(realm_counter.c.roster).with_for_update())


async def check_stands(tx: AsyncConnection, occasion: Occasion) -> None:
    """Refuse who asks if their sign-in was ended since the request began; it is not ended while this transaction lasts.

    For what outlives the request that makes it. Raises :class:`TokenRefused`.
    """
    await hold(tx)
    until = occasion.until or occasion.at
    sign_in = SignIn(occasion.asker, occasion.since, until, occasion.credential, occasion.bounds)
    (await place_of(tx, occasion.asker)).admit(sign_in)


async def place_of(tx: AsyncConnection, state: SubjectState) -> Place:
    """What the roster holds of a subject in a state."""
    member_of, held = await provisioning.place(tx, state.subject, state.groups)
    return Place(await of(tx, state.subject), member_of, held, await ended_before(tx))


async def ended_before(tx: AsyncConnection) -> datetime | None:
    """The moment before which everybody's sign-ins have ended, if ever they were."""
    found: datetime | None = (await tx.execute(select(func.max(sign_ins_ended.c.at)))).scalar_one()
    return found


async def end_all(tx: AsyncConnection, at: datetime, by: Subject, reason: str) -> None:
    """End everybody's sign-ins that began before a moment."""
    await changed(tx)
    await tx.execute(insert(sign_ins_ended).values(at=at, by=str(by), reason=reason))


async def of(tx: AsyncConnection, subject: Subject) -> Enrolment:
    """A subject's enrolment as it stands; one of whom nobody said anything is admitted."""
    question = (
        select(enrolments).where(enrolments.c.subject == str(subject)).order_by(enrolments.c.version.desc()).limit(1)
    )
    row = (await tx.execute(question)).one_or_none()
    return _read(row) if row is not None else Enrolment(subject)


async def put(tx: AsyncConnection, enrolment: Enrolment) -> None:
    """Say whether a subject may sign in, from now on."""
    last = select(func.max(enrolments.c.version)).where(enrolments.c.subject == str(enrolment.subject))
    # The counter's row is locked first: two who decide about one subject follow each other.
    await changed(tx)
    version: int = ((await tx.execute(last)).scalar_one() or 0) + 1
    await tx.execute(
        insert(enrolments).values(
            subject=str(enrolment.subject),
            version=version,
            at=enrolment.at,
            active=enrolment.active,
            tokens_since=enrolment.tokens_since,
            by=enrolment.by,
            reason=enrolment.reason,
            provider=enrolment.provider,
        )
    )


def _read(row: Any) -> Enrolment:
    return Enrolment(
        subject=Subject.parse(row.subject),
        active=row.active,
        tokens_since=row.tokens_since,
        at=row.at,
        by=row.by,
        reason=row.reason,
        provider=row.provider,
    )
