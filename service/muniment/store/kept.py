"""Which fields of which things are kept in files: rows that only grow, of which the newest of a thing stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Integer, Text, any_, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.bodies import word_of
from muniment.core.kept import Address, Keeping, Kept
from muniment.core.realm import Noun
from muniment.store.changes import LINES
from muniment.store.lines import Line, Standing
from muniment.store.tables import kept_in_files, revisions


async def standing(tx: AsyncConnection, kind: str, keys: Iterable[str] | None = None) -> dict[Address, Kept]:
    """What is kept of the things of a kind, of those named or of all."""
    table = kept_in_files
    newest = (
        select(table)
        .ext(distinct_on(table.c.key))
        .where(table.c.kind == kind)
        .order_by(table.c.key, table.c.turn.desc())
    )
    if keys is not None:
        newest = newest.where(table.c.key == any_(bindparam("keys", list(keys), ARRAY(Text))))
    found = await tx.execute(newest)
    return {(kind, row.key): Kept(kind, row.key, row.source, row.fields) for row in found if row.fields is not None}


async def append(tx: AsyncConnection, source: str, kept: Mapping[Address, Keeping | None], revision: int) -> None:
    """Write what a source keeps of each thing, as the thing stands now; nothing, where it lets go."""
    for line in LINES:
        kind = word_of(line.kind)
        keys = sorted(key for of, key in kept if of == kind)
        if not keys:
            continue
        before = await standing(tx, kind, keys)
        question = (
            select(line.table.c.key, func.max(line.table.c.version).label("version"))
            .where(line.table.c.key == any_(bindparam("keys", keys, ARRAY(Text))))
            .group_by(line.table.c.key)
        )
        versions = {row.key: row.version for row in await tx.execute(question)}
        rows = [
            {
                "kind": kind,
                "key": key,
                "source": source,
                "fields": None if held is None else held.after(before.get((kind, key)), versions[key]),
                "revision": revision,
            }
            for key in keys
            for held in (kept[kind, key],)
        ]
        await tx.execute(insert(kept_in_files), rows)


async def at_versions(tx: AsyncConnection, wanted: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str, int], Noun]:
    """Things as they stood at versions, each by kind, key and version."""
    by_kind: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for kind, key, version in wanted:
        by_kind[kind].append((key, version))
    found: dict[tuple[str, str, int], Noun] = {}
    for line in LINES:
        kind = word_of(line.kind)
        named = by_kind.get(kind)
        if not named:
            continue
        given = (
            func.unnest(
                bindparam("keys", [key for key, _ in named], ARRAY(Text)),
                bindparam("versions", [version for _, version in named], ARRAY(Integer)),
            )
            .table_valued("key", "version", name="given")
            .render_derived()
        )
        table = line.table
        question = select(table.c.key, table.c.version, table.c.body).join(
            given, (table.c.key == given.c.key) & (table.c.version == given.c.version)
        )
        for row in await tx.execute(question):
            if row.body is not None:
                found[kind, row.key, row.version] = line.read(row.key, row.version, row.body)
    return found


async def endings(tx: AsyncConnection, line: Line[Any], keys: Sequence[str]) -> dict[str, Standing]:
    """Since when things are no more, and who ended them."""
    if not keys:
        return {}
    table = line.table
    newest = (
        select(table.c.key, table.c.revision)
        .ext(distinct_on(table.c.key))
        .where(table.c.key == any_(bindparam("keys", list(keys), ARRAY(Text))))
        .order_by(table.c.key, table.c.version.desc())
        .subquery("newest")
    )
    question = select(newest.c.key, revisions.c.at, revisions.c.subject).join(
        revisions, revisions.c.revision == newest.c.revision
    )
    return {row.key: Standing(row.at, row.subject) for row in await tx.execute(question)}
