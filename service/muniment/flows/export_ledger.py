"""An auditor takes rows out of the ledger with the proof of each; everybody their own. That they did is recorded.

What comes out is what was sealed when the export began: one checkpoint proves all of it. It is read some seals at a
time, each time in a transaction that has ended before they are handed on, so that a slow reader holds none open and a
ledger of any length needs the memory of a few.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from muniment.core.catalog import write_moment
from muniment.core.exports import Format, Head, Line
from muniment.core.ledger import Event, Outcome, Place, Question, row
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader
from muniment.core.problems import Conflict
from muniment.core.seals import Seal, Stored
from muniment.flows.house import House, aside
from muniment.flows.review_ledger import admitted_reader
from muniment.post.export_files import MEDIA, Sending, file_name, written
from muniment.store import exports, ledger_order, seals
from muniment.store.databases import Transaction
from muniment.store.exports import Paths

#: About how many rows are read at once.
_AT_ONCE = 2048

_BEGINNING = Place(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Export:
    """A file, sent as it is read, what it is called and of which media type; the revision that decided the rights."""

    parts: AsyncIterator[bytes]
    name: str
    media: str
    revision: int


async def export_ledger(house: House, occasion: Occasion, question: Question, format_: Format) -> Export:
    """The rows that answer a question and that the asker may read, of all that is sealed now; recorded before any."""
    file = await aside(lambda: written(format_))
    realm = await house.realms.current()
    reader = await admitted_reader(house, occasion, realm, question)
    async with house.db.begin() as tx:
        newest = await seals.head(tx)
        announcements = await exports.announcements(tx)
    if newest is None:
        message = "Nothing of the ledger is sealed yet, so nothing can be proven."
        raise Conflict(f"{message} Where the sealer works, rows are sealed within seconds; ask again.")
    asked = question.told
    details = {"format": format_.value, "checkpoint": newest.number, **asked}
    await house.ledger.record(
        row(occasion, Event.LEDGER_EXPORTED, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    head = Head(
        made_at=write_moment(occasion.at),
        asked=asked,
        reader=reader.subject,
        complete=reader.everything and not asked,
        checkpoint=newest.checkpoint,
        announcements=announcements,
    )
    reading = _Reading(house, None if head.complete else question, reader, newest)
    parts = _sent(Sending(head, file), reading.lines())
    return Export(parts, file_name(format_, newest.number), MEDIA[format_], realm.revision)


async def _sent(file: Sending, lines: AsyncIterator[Sequence[Line]]) -> AsyncIterator[bytes]:
    yield file.begin()
    async for some in lines:
        if some:
            yield await aside(partial(file.some, some))
    yield await aside(file.end)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read: all up to a seal, or what answers a question."""

    house: House
    question: Question | None
    reader: Reader
    newest: seals.Head

    async def lines(self) -> AsyncIterator[Sequence[Line]]:
        """The lines, some at a time."""
        paths = Paths(self.newest.size)
        after, number = _BEGINNING, 0
        while number < self.newest.number:
            read: list[Line] = []
            async with self.house.db.begin() as tx:
                clusters = await ledger_order.clusters(tx)
                found = await seals.following(tx, number, _AT_ONCE)
                for seal in found:
                    if seal.number > self.newest.number:
                        break
                    rows = await seals.rows_between(tx, clusters, after, seal.place)
                    read += await self._of_seal(tx, paths, seal, rows)
                    after = seal.place
            if not found:
                return
            yield read
            number = found[-1].number

    async def _of_seal(self, tx: Transaction, paths: Paths, seal: Seal, rows: Sequence[Stored]) -> list[Line]:
        there = {each.id: each for each in rows}
        if self.question is not None:
            answering = await exports.answering(tx, self.question, self.reader, rows)
            there = {id_: each for id_, each in there.items() if id_ in answering}
        wanted = {index: str(seal.id_at(index)) for index in range(seal.first, seal.size)}
        if self.question is not None:
            wanted = {index: id_ for index, id_ in wanted.items() if id_ in there}
        found = await paths.of(tx, seal, wanted) if wanted else {}
        return await aside(
            lambda: [
                Line.of(index, there[id_], found[index])
                if id_ in there
                else Line(index, id_, None, seal.leaf_at(index), found[index])
                for index, id_ in wanted.items()
            ]
        )
