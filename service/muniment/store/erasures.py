"""What stands of a person in the database, and the way in which it is erased: as the owner of the tables alone.

The ledger's rows are changed by one function (``ledger_erase``), the only thing that the
guard lets pass; what stands beside them goes whole. A table of people says itself which of
its columns names the person (:mod:`muniment.store.tables`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import false, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.erasures import Erasure, Names, names_of
from muniment.core.seals import moment, written
from muniment.store.databases import write_json
from muniment.store.tables import metadata, provisioned_users, sessions, subject_states

#: Erased by the function ``forget_person``, which their guard lets pass.
_GUARDED: Final = ("use_reports", "provisioned_states", "subject_states")

#: Rows of a time that may name somebody: whose subject it is, or in whose details a word stands.
_NAMING: Final = text(
    """
    SELECT at, id FROM ledger
    WHERE at >= :begin AND at < :end AND (subject = :subject OR EXISTS (
      SELECT FROM unnest(CAST(:words AS text[])) AS word WHERE strpos(details::text, word) > 0))
    ORDER BY at, id
    """
)
_ERASE: Final = text("SELECT ledger_erase(CAST(:given AS jsonb))")
_FORGET: Final = text("SELECT forget_person(:person, CAST(:digests AS text[]))")


async def known(tx: AsyncConnection, subject: str) -> tuple[Names, Sequence[str]]:
    """All that names a person, and the digests of what was known of them."""
    kind, _, id_ = subject.partition(":")
    states = select(subject_states.c.digest).where(subject_states.c.kind == kind, subject_states.c.id == id_)
    digests = list((await tx.execute(states.order_by(subject_states.c.digest))).scalars())
    users = provisioned_users.c
    told = await tx.execute(
        select(users.id, users.user_name, users.display_name, users.external_id).where(users.subject == subject)
    )
    further = {str(word) for row in told for word in row if word}
    signed_in = select(sessions.c.issuer_subject).where(sessions.c.subject == subject).distinct()
    further |= set((await tx.execute(signed_in)).scalars())
    return names_of(subject, {*digests, *further}), digests


async def is_provisioned(tx: AsyncConnection, subject: str) -> bool:
    """Whether a provider tells of the person, and not that they have left."""
    users = provisioned_users.c
    question = select(func.count()).where(users.subject == subject, users.active.isnot(false()))
    return bool((await tx.execute(question)).scalar_one())


async def naming(tx: AsyncConnection, names: Names, begin: datetime, end: datetime) -> Sequence[tuple[datetime, UUID]]:
    """Where rows of a time stand that may name the person, the oldest first."""
    words = [json.dumps(word, ensure_ascii=False)[1:-1] for word in sorted(names.words)]
    values = {"begin": begin, "end": end, "subject": names.subject, "words": words}
    return [(row.at, row.id) for row in await tx.execute(_NAMING, values)]


async def erase(tx: AsyncConnection, erasures: Sequence[Erasure]) -> int:
    """Erase what goes of rows; gives how many there were."""
    given = [
        {
            "id": each.row.id,
            "at": moment(each.row.at),
            "who": each.who and each.who.hex(),
            "told": each.told and each.told.hex(),
        }
        for each in erasures
    ]
    return int((await tx.execute(_ERASE, {"given": write_json(given).decode()})).scalar_one())


async def forget(tx: AsyncConnection, subject: str, digests: Sequence[str]) -> Mapping[str, int]:
    """Remove what stands beside the ledger about the person; gives how many rows of which tables."""
    gone: dict[str, int] = {}
    for table in reversed(metadata.sorted_tables):
        column = table.info.get("person")
        if column is not None:
            other = table.info.get("other")
            of_person = or_(*(table.c[each] == subject for each in (column, other) if each is not None))
            count = select(func.count()).select_from(table).where(of_person)
            gone[str(table.name)] = (await tx.execute(count)).scalar_one()
            if table.name not in _GUARDED:
                await tx.execute(table.delete().where(of_person))
    gone["subject_states"] = len(digests)
    await tx.execute(_FORGET, {"person": subject, "digests": list(digests)})
    return {name: count for name, count in sorted(gone.items()) if count}


async def remaining(tx: AsyncConnection, subject: str) -> Mapping[str, int]:
    """In how many rows of which tables the person is still named, anywhere in a row."""
    _, _, bare = subject.partition(":")
    found: dict[str, int] = {}
    for table in metadata.sorted_tables:
        if table is subject_states:
            question = select(func.count()).where(subject_states.c.id == bare)
        else:
            # The person as they stand in a row that is written as JSON; the table's name is our own.
            named = text(f"strpos(to_jsonb({table.name})::text, :word) > 0").bindparams(word=written(subject)[1:-1])
            question = select(func.count()).select_from(table).where(named)
        count: int = (await tx.execute(question)).scalar_one()
        if count:
            found[str(table.name)] = count
    return found
