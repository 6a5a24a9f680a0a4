"""An auditor takes rows out of the ledger with the proof of each; everybody their own. That they did is recorded.

Whoever keeps the ledger takes out a month before it goes.

What comes out is what was sealed when the export began: one checkpoint proves all of it. It is read some seals at a
time, each time in a transaction that has ended before they are handed on, so that a slow reader holds none open and a
ledger of any length needs the memory of a few.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from muniment.core.exports import Format, Head, Line
from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Place, Question, row
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader
from muniment.core.problems import Conflict
from muniment.core.seals import Seal, Stored
from muniment.flows.house import House, aside
from muniment.flows.review_ledger import admitted_reader
from muniment.post.export_files import MEDIA, Sending, file_name, written
from muniment.store import exports, ledger, ledger_order, partitions, seals
from muniment.store.databases import Database, Transaction
from muniment.store.exports import Paths
from muniment.store.partitions import Month

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


def of_month(month: Month) -> Question:
    """What asks for the rows of a month."""
    return Question(since=month.begin, until=month.end)


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
    reading = _Reading(house.db, None if head.complete else question, reader, newest.size, Span(0, newest.number))
    parts = _sent(Sending(head, file), reading.lines())
    return Export(parts, file_name(format_, newest.number), MEDIA[format_], realm.revision)


async def export_month(
    db: Database, occasion: Occasion, month: Month, format_: Format, account: str
) -> AsyncIterator[bytes]:
    """The parts of a file of a whole month, all of which must be sealed; that it is taken out is recorded before any.

    What was sealed before its first row and after its last is not read.
    """
    file = await aside(lambda: written(format_))
    question = of_month(month)
    async with db.begin() as tx:
        newest = await seals.head(tx)
        span = await _span(tx, month)
        if newest is None or span is None:
            raise Conflict(f"{month.name} cannot be taken out: not all of it is sealed. See: muniment audit verify")
        told = {"format": format_.value, "checkpoint": newest.number, **question.told, "account": account}
        made = row(occasion, Event.LEDGER_EXPORTED, Outcome.ALLOWED, details=told)
        await ledger.append(tx, [replace(made, id=derived(occasion.request_id, f"exported {month.name}"))])
        head = Head(
            made_at=write_moment(occasion.at),
            asked=question.told,
            reader=str(occasion.subject),
            complete=False,
            checkpoint=newest.checkpoint,
            announcements=await exports.announcements(tx),
        )
    keeper = Reader(head.reader, everything=True, audited=frozenset())
    async for part in _sent(Sending(head, file), _Reading(db, question, keeper, newest.size, span).lines()):
        yield part


async def _span(tx: Transaction, month: Month) -> Span | None:
    """The seals in which a month's rows stand; None where not all of them are sealed."""
    ends = await partitions.ends(tx, month, await ledger_order.clusters(tx))
    if ends is None:
        return Span(0, 0)
    begin, end = ends
    first, last = await seals.holding(tx, begin), await seals.holding(tx, end)
    if first is None or last is None:
        return None
    return Span(first.number - 1, last.number, Place(begin.cluster, begin.xact, begin.seq - 1))


async def _sent(file: Sending, lines: AsyncIterator[Sequence[Line]]) -> AsyncIterator[bytes]:
    yield file.begin()
    async for some in lines:
        if some:
            yield await aside(partial(file.some, some))
    yield await aside(file.end)


@dataclass(frozen=True, slots=True)
class Span:
    """The seals behind the number ``after``, up to ``last``, of which the rows behind a place are read."""

    after: int
    last: int
    place: Place = _BEGINNING


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read of some seals, as rows of the tree of a size: all of it, or what answers a question."""

    db: Database
    question: Question | None
    reader: Reader
    size: int
    span: Span

    async def lines(self) -> AsyncIterator[Sequence[Line]]:
        """The lines, some at a time."""
        paths = Paths(self.size)
        after, number = self.span.place, self.span.after
        while number < self.span.last:
            read: list[Line] = []
            async with self.db.begin() as tx:
                clusters = await ledger_order.clusters(tx)
                found = await seals.following(tx, number, _AT_ONCE)
                for seal in found:
                    if seal.number > self.span.last:
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
