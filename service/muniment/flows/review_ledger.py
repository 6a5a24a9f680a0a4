"""An auditor reads the ledger; who audits a domain its part; anybody what it holds about themselves. It is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from muniment.core.ledger import Event, Outcome, Question, row
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of
from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.flows.house import House, aside
from muniment.store import ledger
from muniment.store.ledger import Read


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A page of rows, and the revision by which it was decided what its reader may see."""

    page: Read
    revision: int


async def review_ledger(
    house: House, occasion: Occasion, question: Question, limit: int, after: str | None, before: str | None = None
) -> Reviewed:
    """A page of the rows that the asker may read, the newest first, and where the ones beside it begin."""
    if after is not None and before is not None:
        message = "A page lies after a cursor or before one: give one of them."
        raise Invalid(message, [Fault("before", message)])
    realm = await house.realms.current()
    reader = await admitted_reader(house, occasion, realm, question)
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=question.told)
    )
    async with house.db.begin() as tx:
        page = await ledger.reading(tx, question, limit=limit, after=after, before=before, reader=reader)
    return Reviewed(page, realm.revision)


async def admitted_reader(house: House, occasion: Occasion, realm: Realm, question: Question) -> Reader:
    """What the asker may read; a refusal, which is written down, where they ask about others and audit nothing."""
    async with house.refusals_recorded(occasion, realm):
        reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
        if not reader.audits and question.subject != reader.subject:
            raise NotAllowed(
                f"You may read what the ledger holds about yourself (subject={occasion.subject}); "
                "to read about others you need audit: on a domain for what concerns it alone, on all for everything."
            )
    return reader
