"""An auditor looks at how much was given, used and refused, by day, domain, team and the like. That is recorded.

Counted is what the reader may read and nothing else: who audits one domain gets the figures of that one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from muniment.core.figures import EARLIEST, LONG, LONGEST, MOST, USUAL, By, Figures, every_day
from muniment.core.ledger import Event, Outcome, Question, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.flows.house import House
from muniment.flows.review_ledger import admitted_reader
from muniment.store import figures


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted, each once, and in which time."""

    of: tuple[Figures, ...]
    since: datetime
    until: datetime
    revision: int

    @property
    def long(self) -> bool:
        """Whether so much time was looked through that it may have taken a moment."""
        return self.until - self.since > LONG


async def count_ledger(
    house: House, occasion: Occasion, question: Question, by: Collection[By], most: int = MOST
) -> Counted:
    """The figures of what answers a question, in its time or else the last thirty days; of each so many names."""
    until = min(question.until or occasion.at, occasion.at)
    since = question.since or max(until, EARLIEST) - USUAL
    if since >= until:
        message = "The time that is counted begins before it ends, and has begun."
        raise Invalid(message, [Fault("since", message)])
    if until - since > LONGEST:
        message = f"At most {LONGEST.days} days are counted at once; ask for a shorter time."
        raise Invalid(message, [Fault("since", message)])
    asked = replace(question, since=since, until=until)
    realm = await house.realms.current()
    reader = await admitted_reader(house, occasion, realm, asked)
    if By.TEAM in by and not reader.everything:
        async with house.refusals_recorded(occasion, realm):
            raise NotAllowed("To count by team you need audit on all: who is in which group is told to nobody else.")
    details = {"read": "figures", "by": [each.value for each in by], **asked.told}
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    found = []
    for each in by:
        async with house.db.begin() as tx:
            named, untold = await figures.counted(tx, asked, reader, each, most)
        told = every_day(named, since, until) if each is By.DAY else named
        found.append(Figures(each, since, until, told, untold))
    return Counted(tuple(found), since, until, realm.revision)
