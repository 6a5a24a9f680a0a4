"""Where a question about the past is asked from: a revision or a time, and a subject as it was known then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.past import Standpoint
from muniment.core.problems import Conflict, Fault, Invalid, NotFound
from muniment.core.realm import Realm
from muniment.core.subjects import Subject
from muniment.flows.house import House
from muniment.store import revisions, subjects
from muniment.store.subjects import Known

#: A revision, or a time.
Point = int | datetime


@dataclass(frozen=True, slots=True)
class Past:
    """The realm as it stood at a moment, which is ``context.now`` of what is decided there.

    ``until`` is when a revision that was asked for ended: who was first seen while it stood was known then.
    """

    realm: Realm
    at: datetime
    until: datetime

    @property
    def details(self) -> Mapping[str, object]:
        """What a ledger row tells beside the revision, so that the decision can be computed again."""
        return {"at": write_moment(self.at)}


async def past(house: House, occasion: Occasion, point: Point) -> Past:
    """The realm at a revision, with the time when that was made; or at a time, with the newest revision of then.

    :class:`Invalid` for what is not past, :class:`Busy` while too many other pasts are looked up.
    """
    if isinstance(point, datetime) and point > occasion.at:
        message = "This time has not come; what will be decided then depends on what changes until then."
        raise Invalid(message, [Fault("at", message)])
    async with house.db.begin() as tx:
        if isinstance(point, datetime):
            revision, at, until = await revisions.at(tx, point), point, point
        else:
            revision, at = point, (await revisions.made(tx, point)).at
            until = await revisions.ended(tx, point) or occasion.at
    return Past(await house.realms.at(revision), at, until)


async def known_then(house: House, then: Past, subject: Subject) -> Known:
    """What was known of a subject; :class:`Invalid` before it was first seen, :class:`NotFound` if it never was."""
    async with house.db.begin() as tx:
        known = await subjects.state_at(tx, subject, then.at) or await subjects.state_at(tx, subject, then.until)
        ever = known or await subjects.newest_of(tx, subject)
    if ever is None:
        raise NotFound
    if known is not None and not known.active:
        raise Conflict(f"{subject} could not sign in to Muniment then: their access had been ended.")
    if known is None:
        message = f"Nothing was known of {subject} at {write_moment(then.at)}: ask about a later time."
        raise Invalid(message, [Fault("at", message)])
    return known


async def all_known_then(house: House, then: Past) -> list[Known]:
    """Every subject that had been seen by then, in its newest state of then, by name."""
    async with house.db.begin() as tx:
        found = {known.state.subject: known for known in await subjects.newest_at(tx, then.until)}
        if then.at < then.until:
            found |= {known.state.subject: known for known in await subjects.newest_at(tx, then.at)}
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Placed:
    """A standpoint, when its subject was last seen as it is there, and what a ledger row tells of it."""

    standpoint: Standpoint
    seen_at: datetime
    details: Mapping[str, object]


async def placed(house: House, occasion: Occasion, realm: Realm, about: Subject, point: Point | None) -> Placed:
    """The standpoint of a question: today's realm and the newest state, or those of then."""
    if point is None:
        if about == occasion.subject:
            return Placed(Standpoint(realm, occasion.asker, occasion.at), occasion.at, {})
        async with house.db.begin() as tx:
            known = await subjects.newest_of(tx, about)
        if known is None:
            raise NotFound
        if not known.active:
            raise Conflict(
                f"{about} may not sign in to Muniment: their access has been ended. "
                "Ask about a moment before that with at=."
            )
        standpoint, details = Standpoint(realm, known.state, occasion.at), dict[str, object]()
    else:
        then = await past(house, occasion, point)
        known = await known_then(house, then, about)
        standpoint, details = Standpoint(then.realm, known.state, then.at), dict(then.details)
    details |= {"about": str(about), "about_state": known.state.digest, "read_at": realm.revision}
    return Placed(standpoint, known.seen_at, details)
