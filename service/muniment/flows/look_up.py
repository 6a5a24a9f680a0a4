"""An auditor looks something up by what they have in hand: a person, a dataset, a run, a receipt. It is recorded.

Found is what the reader audits, and what stands in rows that they may read: of everything else there is no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.ledger import Event, Outcome, Question, row
from muniment.core.lookups import as_id, as_subjects, audited_having
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of
from muniment.core.problems import NotAllowed
from muniment.flows.house import House, aside
from muniment.store import ledger
from muniment.store.databases import Transaction

#: How far back it is looked for a person or a run.
FURTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What was found by a text, each by its kind: ids of rows, receipts, runs, subjects, and datasets."""

    rows: Sequence[UUID]
    receipts: Sequence[UUID]
    runs: Sequence[str]
    subjects: Sequence[str]
    datasets: Sequence[Dataset]
    revision: int

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.rows or self.receipts or self.runs or self.subjects or self.datasets)


async def look_up(house: House, occasion: Occasion, text: str) -> LookedUp:
    """What a text may mean to the asker: an id of something, somebody's name, a run, or words of datasets."""
    realm = await house.realms.current()
    reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
    await house.ledger.record(
        row(
            occasion,
            Event.LEDGER_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={"read": "lookup", "search": text},
        )
    )
    datasets = await aside(lambda: audited_having(realm, reader, text))
    asked = Question(since=occasion.at - FURTHEST)
    rows, receipts, runs, subjects = list[UUID](), list[UUID](), list[str](), list[str]()
    async with house.db.begin() as tx:
        id_ = as_id(text)
        if id_ is not None:
            found = await ledger.of_id(tx, id_)
            rows = [id_] if found is not None and reader.may_read(found) else []
            receipts = [id_] if await _any(tx, replace(asked, receipt=id_), reader) else []
        if " " not in text:
            runs = [text] if await _any(tx, replace(asked, run=text), reader) else []
            names = [str(each) for each in as_subjects(text)]
            subjects = [each for each in names if await _any(tx, replace(asked, subject=each), reader)]
    return LookedUp(rows, receipts, runs, subjects, datasets, realm.revision)


async def find_audited(house: House, occasion: Occasion, text: str) -> Sequence[Dataset]:
    """The datasets whose readers the asker may ask about and that have all of these words in what is said of them."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
        if not reader.audits:
            raise NotAllowed("To ask who read a dataset you need audit on its domain, or on all.")
    details = {"read": "readers", "search": text}
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return await aside(lambda: audited_having(realm, reader, text))


async def _any(tx: Transaction, question: Question, reader: Reader) -> bool:
    return bool((await ledger.reading(tx, question, limit=1, reader=reader)).rows)
