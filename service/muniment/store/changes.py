"""What each revision changed: written together with the lines, read to bring a realm forward.

The log points into the lines, so what stood before a change is the version before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import BigInteger, Select, bindparam, func, insert, literal, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.realm import Change, Noun
from muniment.store import datasets, domains, environments, grants, groups, policies
from muniment.store.lines import Edit, Line
from muniment.store.tables import change_log

#: The lines of every noun that makes a realm.
LINES: Sequence[Line[Any]] = (
    datasets.LINE,
    domains.LINE,
    environments.LINE,
    groups.LINE,
    policies.LINE,
    grants.LINE,
)

_BY_KIND: Mapping[type[Noun], Line[Any]] = {line.kind: line for line in LINES}
_BY_WORD: Mapping[str, Line[Any]] = {line.word: line for line in LINES}


async def append(tx: AsyncConnection, revision: int, edits: Sequence[tuple[Change, int]]) -> list[Noun | None]:
    """Write the changes of a new revision; gives each noun with its version, in their order.

    Each change comes with the version that it began from: 0 where nothing may stand yet.
    Raises :class:`StaleEdit` when another version stands there.
    """
    versions: dict[int, int] = {}
    of_kind: defaultdict[type[Noun], list[int]] = defaultdict(list)
    for position, (change, _) in enumerate(edits):
        of_kind[change.kind].append(position)
    for kind, positions in of_kind.items():
        wanted = [Edit(edits[position][0].key, edits[position][1], edits[position][0].after) for position in positions]
        versions |= zip(positions, await _BY_KIND[kind].append(tx, wanted, revision), strict=True)
    if edits:
        await tx.execute(
            insert(change_log),
            [
                {
                    "revision": revision,
                    "position": position,
                    "kind": _BY_KIND[change.kind].word,
                    "key": change.key,
                    "version": versions[position],
                    "operation": "put" if change.after is not None else "end",
                }
                for position, (change, _) in enumerate(edits)
            ],
        )
    return [
        replace(change.after, version=versions[position]) if change.after is not None else None
        for position, (change, _) in enumerate(edits)
    ]


#: Written once: to put it together takes longer than to execute it, and everybody's requests wait for it.
_BETWEEN: Final = union_all(
    *(
        select(
            change_log.c.revision,
            change_log.c.position,
            literal(line.word).label("kind"),
            line.table.c.key,
            line.table.c.version,
            line.table.c.body,
        )
        .join(line.table, (line.table.c.key == change_log.c.key) & (line.table.c.version == change_log.c.version))
        .where(
            change_log.c.kind == line.word,
            change_log.c.revision > bindparam("after", type_=BigInteger),
            change_log.c.revision <= bindparam("upto", type_=BigInteger),
        )
        for line in LINES
    )
).order_by("revision", "position")


async def between(tx: AsyncConnection, after: int, upto: int) -> list[Change]:
    """What changed after one revision, up to and with another, in order."""
    rows = await tx.execute(_BETWEEN, {"after": after, "upto": upto})
    return [_change(_BY_WORD[row.kind], row) for row in rows]


async def apart(tx: AsyncConnection, one: int, other: int) -> int:
    """How many things changed between two revisions, each counted once."""
    touched = _touched(one, other).distinct().subquery()
    found: int = (await tx.execute(select(func.count()).select_from(touched))).scalar_one()
    return found


async def leading(tx: AsyncConnection, held: int, to: int) -> list[Change]:
    """What makes the realm of one revision that of another, which may be the earlier: each thing once."""
    rows = await tx.execute(union_all(*(_stood(line, held, to) for line in LINES)).order_by("kind", "key"))
    return [_change(_BY_WORD[row.kind], row) for row in rows]


async def that_matter(
    tx: AsyncConnection, after: int, upto: int, matters: Callable[[type[Noun], str, Sequence[Noun]], bool]
) -> list[int]:
    """The revisions after one, up to and with another, that changed something that matters, in their order.

    It is said of what is changed by its kind, its key, and all that ever stood there until then.
    """
    log = change_log.c
    changed = list(
        await tx.execute(select(log.revision, log.kind, log.key).where(log.revision > after, log.revision <= upto))
    )
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for each in changed:
        keys[each.kind].add(each.key)
    mattering: set[tuple[str, str]] = set()
    for word, named in keys.items():
        line = _BY_WORD[word]
        stood = await line.ever(tx, named, upto)
        mattering.update((word, key) for key in named if matters(line.kind, key, stood[key]))
    return sorted({each.revision for each in changed if (each.kind, each.key) in mattering})


def _touched(one: int, other: int) -> Select[Any]:
    after, upto = sorted((one, other))
    return select(change_log.c.kind, change_log.c.key).where(
        change_log.c.revision > after, change_log.c.revision <= upto
    )


def _stood(line: Line[Any], held: int, to: int) -> Select[Any]:
    """What stood at a revision, of the things that changed on the way to it; no version where nothing did."""
    touched = _touched(held, to).where(change_log.c.kind == line.word).distinct().subquery()
    then = (
        select(line.table.c.version, line.table.c.body)
        .where(line.table.c.key == touched.c.key, line.table.c.revision <= to)
        .order_by(line.table.c.version.desc())
        .limit(1)
        .lateral()
    )
    return select(literal(line.word).label("kind"), touched.c.key, then.c.version, then.c.body).select_from(
        touched.outerjoin(then, true())
    )


def _change(line: Line[Any], row: Any) -> Change:
    value = line.read(row.key, row.version, row.body) if row.body is not None else None
    return Change(line.kind, row.key, value)
