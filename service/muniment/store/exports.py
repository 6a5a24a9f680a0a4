"""What an export reads: which rows of a seal answer a question, and the paths of many rows to one root.

The rows of a seal stand side by side in the tree, so their paths consist of the same few hashes: those inside the seal
are computed from its leaves, and those beside it are read once and kept, up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, cast, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.ledger import Question
from muniment.core.merkle import Subtree, inclusion_spans, node_hash, root_of, subtrees
from muniment.core.oversight import Reader
from muniment.core.seals import Seal, Stored
from muniment.store import seals
from muniment.store.ledger_questions import conditions, readable
from muniment.store.tables import TransactionId, ledger, ledger_seals

#: How many hashes of elsewhere in the tree are kept.
_MOST_KEPT = 4096


async def answering(tx: AsyncConnection, question: Question, reader: Reader, rows: Sequence[Stored]) -> frozenset[str]:
    """The ids of those of these rows, which lie side by side, that answer a question and that a reader may see."""
    if not rows:
        return frozenset()
    first, last = min(each.xact for each in rows), max(each.xact for each in rows)
    ids = literal([UUID(each.id) for each in rows], ARRAY(Uuid))
    asked = select(ledger.c.id).where(
        ledger.c.xact.between(_transaction(first), _transaction(last)),
        ledger.c.id == any_(ids),
        or_(*readable(reader)),
        *conditions(question),
    )
    return frozenset(map(str, (await tx.execute(asked)).scalars()))


def _transaction(number: int) -> ColumnElement[Any]:
    return cast(literal(str(number)), TransactionId)


async def announcements(tx: AsyncConnection) -> list[str]:
    """The notes that announce a key, the first one first: by them one key follows on another."""
    columns = ledger_seals.c
    asked = select(columns.checkpoint).where(columns.checkpoint.contains("\nkey ")).order_by(columns.number)
    return list((await tx.execute(asked)).scalars())


class Paths:
    """Makes the paths of rows in the tree of a size, seal after seal."""

    def __init__(self, size: int) -> None:
        """Of the tree of so many leaves."""
        self._size = size
        self._kept: dict[Subtree, bytes] = {}

    async def of(self, tx: AsyncConnection, seal: Seal, positions: Iterable[int]) -> Mapping[int, Sequence[bytes]]:
        """The paths of these rows of one seal."""
        spans = {position: inclusion_spans(position, self._size) for position in positions}
        needed = {span for each in spans.values() for span in each}
        within = _within(seal)
        beside = {each for span in needed for each in subtrees(span)} - within.keys()
        within |= await self._read(tx, beside)
        roots = {span: root_of(span, within) for span in needed}
        return {position: [roots[span] for span in each] for position, each in spans.items()}

    async def _read(self, tx: AsyncConnection, beside: set[Subtree]) -> Mapping[Subtree, bytes]:
        missing = beside - self._kept.keys()
        if len(self._kept) + len(missing) > _MOST_KEPT:
            self._kept = {each: self._kept[each] for each in beside - missing}
        self._kept |= await seals.roots(tx, missing)
        return {each: self._kept[each] for each in beside}


def _within(seal: Seal) -> dict[Subtree, bytes]:
    """The roots of all full subtrees that stand inside a seal."""
    level = {index: seal.leaf_at(index) for index in range(seal.first, seal.size)}
    found: dict[Subtree, bytes] = {}
    height = 0
    while level:
        found |= {(height, index): root for index, root in level.items()}
        height += 1
        level = {
            index >> 1: node_hash(level[index], level[index + 1])
            for index in level
            if not index & 1 and index + 1 in level
        }
    return found
