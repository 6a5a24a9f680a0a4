"""An approver names who decides on requests in their place until a day, and ends that before.

Written down with the change itself. What a deputy may do is not kept anywhere: it is decided with each
request, by what the approver may do then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from muniment.core.deputies import Deputyship, checked
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import NotFound
from muniment.core.subjects import Subject
from muniment.flows.house import House
from muniment.store import deputies, ledger


@dataclass(frozen=True, slots=True)
class Deputies:
    """Who decides in the asker's place, and in whose place the asker does."""

    mine: Deputyship | None
    of_others: Sequence[Deputyship]
    revision: int


async def name_deputy(
    house: House, occasion: Occasion, deputy: Subject, until: datetime, because: str = ""
) -> Deputyship:
    """Let somebody decide on requests in the asker's place; whoever did so before does not any more."""
    realm = await house.realms.current()
    named = Deputyship(occasion.subject, deputy, occasion.at, until, because.strip())
    async with house.refusals_recorded(occasion, realm):
        checked(realm, occasion.asker, named)
    async with house.db.begin() as tx:
        await deputies.put(tx, named)
        told = row(occasion, Event.DEPUTY_NAMED, Outcome.DONE, revision=realm.revision, details=_details(named))
        await ledger.append(tx, [told])
    return named


async def end_deputy(house: House, occasion: Occasion) -> None:
    """Nobody decides in the asker's place any more; :class:`NotFound` where nobody did."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm), house.db.begin() as tx:
        ended = await deputies.end(tx, occasion.subject)
        if ended is None or not ended.stands(occasion.at):
            raise NotFound
        told = row(occasion, Event.DEPUTY_ENDED, Outcome.DONE, revision=realm.revision, details=_details(ended))
        await ledger.append(tx, [told])


async def read_deputies(house: House, occasion: Occasion) -> Deputies:
    """Who decides in the asker's place, and in whose place the asker does."""
    realm = await house.realms.current()
    async with house.db.begin() as tx:
        found = Deputies(
            await deputies.of(tx, occasion.subject, occasion.at),
            await deputies.standing_for(tx, occasion.subject, occasion.at),
            realm.revision,
        )
    await house.ledger.record(row(occasion, Event.REQUEST_READ, Outcome.ALLOWED, revision=realm.revision))
    return found


def _details(named: Deputyship) -> dict[str, object]:
    return {
        "about": str(named.deputy),
        "since": named.at.isoformat(),
        "until": named.until.isoformat(),
        "because": named.because,
    }
