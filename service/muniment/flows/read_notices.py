"""Somebody looks at what they were told: the inbox, which needs no mail at all.

Each notice is put into words by what its reader may know now. One that tells of what is hidden from them by now, or of
what is no more, is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from muniment.core.ledger import Event, Outcome, row
from muniment.core.notices import Matter, Notice, Words, words
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.subjects import SubjectState
from muniment.flows.house import House, aside
from muniment.store import notices, subjects
from muniment.store.notices import Kept, Sending

#: How many notices are looked at together for those that there is still something to say of.
_TOGETHER: Final = 100


@dataclass(frozen=True, slots=True)
class Read:
    """A notice in the words of now, and how it went by mail, if it did."""

    notice: Notice
    words: Words
    mail: Sending | None


async def read_notices(
    house: House, occasion: Occasion, limit: int, before: UUID | None
) -> tuple[Sequence[Read], UUID | None, int]:
    """What the asker was told, the newest first."""
    realm = await house.realms.current(occasion.revision)
    await house.ledger.record(row(occasion, Event.NOTICES_READ, Outcome.ALLOWED, revision=realm.revision))
    async with house.db.begin() as tx:
        principals = [each.state for each in await subjects.principals_of(tx, occasion.subject, occasion.at)]
    found: list[Read] = []
    while len(found) <= limit:
        async with house.db.begin() as tx:
            batch = await notices.inbox(tx, occasion.subject, _TOGETHER, before)
            matters = [await notices.matter_of(tx, kept.notice) for kept in batch]
        if not batch:
            break
        before = batch[-1].notice.id
        found += await aside(partial(_said, realm, occasion, batch, matters, principals))
    page = found[:limit]
    return page, page[-1].notice.id if len(found) > limit else None, realm.revision


def _said(
    realm: Realm,
    occasion: Occasion,
    batch: Sequence[Kept],
    matters: Sequence[Matter],
    principals: Sequence[SubjectState],
) -> list[Read]:
    found = [
        (kept, words(realm, occasion.asker, occasion.at, kept.notice, matter, principals))
        for kept, matter in zip(batch, matters, strict=True)
    ]
    return [Read(kept.notice, text, kept.sending) for kept, text in found if text is not None]
