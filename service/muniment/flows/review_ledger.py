"""An auditor reads the ledger; who audits a domain its part; anybody what it holds about themselves. It is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from muniment.core.ledger import Event, Outcome, Question, Row, row
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.tellings import Telling, events_that
from muniment.flows.house import House, aside
from muniment.store import ledger
from muniment.store.ledger import Read


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A page of rows, and the revision by which it was decided what its reader may see."""

    page: Read
    revision: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What somebody who comes to read may read, and the environments that there are."""

    reader: Reader
    environments: Sequence[str]

    def own(self, question: Question) -> Question:
        """The question as its asker may ask it: about themselves, where they audit nothing and name nobody."""
        if self.reader.audits or question.subject is not None:
            return question
        return replace(question, subject=self.reader.subject)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The last rows about something, those apart that tell different things; ``more`` where there are others."""

    telling: Telling
    rows: Sequence[Row]
    more: bool


#: How many rows of each kind are gathered about something, and from how long ago.
_MOST_GATHERED = 5
GATHERED_SINCE = timedelta(days=92)


async def reading_desk(house: House, occasion: Occasion) -> Desk:
    """What the asker may read; it is decided anew for every question, and this tells what to offer."""
    realm = await house.realms.current()
    reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
    return Desk(reader, sorted(realm.environment_names))


async def read_row(house: House, occasion: Occasion, id_: UUID) -> Row:
    """One row that the asker may read; :class:`NotFound` for every other, and for none."""
    realm = await house.realms.current()
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details={"row": str(id_)})
    )
    reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
    async with house.db.begin() as tx:
        found = await ledger.of_id(tx, id_)
    if found is None or not reader.may_read(found):
        raise NotFound
    return found


async def gather(house: House, occasion: Occasion, question: Question) -> Sequence[Gathered]:
    """The last rows that answer a question, what they tell apart, and of each kind some."""
    realm = await house.realms.current()
    reader = await admitted_reader(house, occasion, realm, question)
    details = {"read": "gathered", **question.told}
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    found = []
    async with house.db.begin() as tx:
        for telling in Telling:
            asked = replace(question, events=events_that(telling))
            page = await ledger.reading(tx, asked, limit=_MOST_GATHERED, reader=reader)
            found.append(Gathered(telling, page.rows, page.following is not None))
    return found


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
