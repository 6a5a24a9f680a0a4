"""Reports of use: what a client says that it loaded, saved or refused.

A report is a claim. Nobody can check whether data was read in somebody else's process, so nothing here decides or
refuses by what is claimed: it is written down as said, by whom, beside what the ledger itself knows of it. A name is
not looked up, and so none tells whether there is such a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from muniment.core.decisions import Wanted
from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.sign_ins import Bounds

#: How many uses one report may tell of.
MOST_USES: Final = 1_000

#: How far a client's clock may be off before what it says is doubted.
SKEW: Final = timedelta(minutes=5)

#: How late a use is usually told of: an offline run's comes with the next run that reaches the service.
LATE: Final = timedelta(days=30)


class Ended(StrEnum):
    """How a use ended. One that the client refused itself is told of because the service never heard of it."""

    DONE = "done"
    REFUSED = "refused"


class Doubt(StrEnum):
    """What makes the time that a client says doubtful."""

    IN_THE_FUTURE = "in_the_future"
    LONG_AGO = "long_ago"
    BEFORE_THE_LEASE = "before_the_lease"
    AFTER_THE_LEASE = "after_the_lease"


@dataclass(frozen=True, slots=True)
class Given:
    """A lease or a catalog that the ledger knows to have been given: when, until when, and for what."""

    at: datetime
    until: datetime | None
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use as a client tells it. ``id`` is the client's own for it, so that it can tell it again.

    ``dataset`` is the governed name, ``name`` the project's. ``receipt`` is that of the lease that gave it.
    """

    id: UUID
    dataset: str
    action: str
    at: datetime
    ended: Ended = Ended.DONE
    receipt: str | None = None
    environment: str | None = None
    project: str | None = None
    run: str | None = None
    session: str | None = None
    pipeline: str | None = None
    node: str | None = None
    name: str | None = None
    version: str | None = None

    @property
    def claimed_receipt(self) -> UUID | None:
        """The receipt, where what was said can be one."""
        try:
            return UUID(self.receipt) if self.receipt else None
        except ValueError:
            return None

    def given_by(self, known: Mapping[UUID, Given]) -> Given | None:
        """The lease that the use says it was under, if it is one of those that are known."""
        claimed = self.claimed_receipt
        return known.get(claimed) if claimed is not None else None

    def wanted(self, bounds: Bounds | None) -> Wanted:
        """What was used, as a question that may be confined; who says no environment means that of its key."""
        bound = bounds.environment if bounds is not None else None
        return Wanted(self.environment or bound or "", self.project)


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """How often a dataset was loaded and saved on a day (UTC), and by how many subjects."""

    day: date
    loads: int
    saves: int
    subjects: int


def row_of(occasion: Occasion, use: Use, wanted: Wanted, given: Given | None) -> Row:
    """The row that tells of a use. Its receipt is that of the lease, if the subject was given one by that name."""
    written = row(
        occasion,
        Event.USE_REPORTED if use.ended is Ended.DONE else Event.REFUSAL_REPORTED,
        Outcome.DONE if use.ended is Ended.DONE else Outcome.DENIED,
        environment=wanted.environment or (given.wanted.environment if given else None),
        project=wanted.project or (given.wanted.project if given else None),
        purpose=wanted.purpose or (given.wanted.purpose if given else None),
        run=use.run,
        datasets=(use.dataset,),
        details={name: said for name, said in _details(occasion, use, given).items() if said is not None},
    )
    known = use.claimed_receipt if given is not None else None
    return replace(written, id=derived(occasion.request_id, f"use {use.id}"), receipt=known)


def _details(occasion: Occasion, use: Use, given: Given | None) -> dict[str, object]:
    return {
        "use": str(use.id),
        "action": use.action,
        "said_at": write_moment(use.at),
        "doubts": list(_doubts(occasion.at, use.at, given)),
        "receipt": use.receipt,
        "receipt_known": given is not None,
        "session": use.session,
        "pipeline": use.pipeline,
        "node": use.node,
        "name": use.name,
        "version": use.version,
    }


def _doubts(now: datetime, said: datetime, given: Given | None) -> Iterator[Doubt]:
    if said > now + SKEW:
        yield Doubt.IN_THE_FUTURE
    if said < now - LATE:
        yield Doubt.LONG_AGO
    if given is not None and said < given.at - SKEW:
        yield Doubt.BEFORE_THE_LEASE
    if given is not None and given.until is not None and said > given.until + SKEW:
        yield Doubt.AFTER_THE_LEASE
