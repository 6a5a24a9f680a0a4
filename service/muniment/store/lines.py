"""Lines of versions: how every noun of the realm is kept.

A line is all versions of the noun at one key. The newest is current; at revision *r* it
is the newest that *r* or an earlier revision made. A version without a value ends the
line, and a later one may begin it again: numbers are never used twice. Nothing is
changed in place, so two editors collide on the next number, and the collision is
:class:`StaleEdit`.

A body is the noun as JSON, without its key and version, kept to the letter: Postgres' type
is ``json`` because ``jsonb`` reorders what a steward wrote, and rounds a float of 1e16.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import anyio.to_thread
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Row,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.problems import Fault, Invalid, StaleEdit
from muniment.core.realm import Noun
from muniment.store.databases import write_json
from muniment.store.tables import revisions

#: A noun's JSON object.
Body = Mapping[str, Any]

#: How many versions are read while other requests wait.
_READ_AT_ONCE = 500

N = TypeVar("N", bound=Noun)


@dataclass(frozen=True, slots=True)
class Version(Generic[N]):
    """One version in a line's history; without a value the line ended there."""

    key: str
    version: int
    revision: int
    at: datetime
    subject: str
    reason: str
    value: N | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Since when a noun stands as it does, and who put it so."""

    since: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Edit(Generic[N]):
    """A value to put at a key, or none to end its line, if ``after`` is still the version there.

    ``after=0`` means that nothing stands there.
    """

    key: str
    after: int
    value: N | None


@dataclass(frozen=True, slots=True)
class _Newest:
    """How far a line has come."""

    version: int
    ended: bool


_NEVER = _Newest(0, ended=True)


# Each change waits for these two: they are written once for a table, not each time.


@cache
def _ends(table: Table) -> Select[Any]:
    """How far the lines at some ``keys`` have come."""
    return (
        select(table.c.key, table.c.version, table.c.body.is_(None).label("ended"))
        .ext(distinct_on(table.c.key))
        .where(table.c.key == any_(bindparam("keys", type_=ARRAY(Text))))
        .order_by(table.c.key, table.c.version.desc())
    )


@cache
def _insertion(table: Table) -> Executable:
    """Adds the versions that nobody has added meanwhile, and gives their keys."""
    given = (
        func.unnest(
            bindparam("keys", type_=ARRAY(Text)),
            bindparam("versions", type_=ARRAY(Integer)),
            bindparam("bodies", type_=ARRAY(Text)),
        )
        .table_valued("key", "version", "body", name="given")
        .render_derived()
    )
    rows = select(given.c.key, given.c.version, bindparam("revision", type_=BigInteger), cast(given.c.body, JSON))
    return (
        insert(table)
        .from_select(["key", "version", "revision", "body"], rows)
        .on_conflict_do_nothing()
        .returning(table.c.key)
    )


@dataclass(frozen=True, slots=True)
class Line(Generic[N]):
    """The lines of one noun: its word in messages and in the change log, its table, its JSON."""

    word: str
    kind: type[N]
    table: Table
    write: Callable[[N], Body]
    read: Callable[[str, int, Body], N]

    async def current(self, tx: AsyncConnection, key: str) -> N | None:
        """What stands at a key now."""
        return self._value((await tx.execute(self._newest(key))).one_or_none())

    async def version(self, tx: AsyncConnection, key: str) -> int:
        """The number of the newest version at a key, an end included; 0 if there never was one."""
        row = (await tx.execute(self._newest(key))).one_or_none()
        return row.version if row else 0

    async def history(
        self, tx: AsyncConnection, key: str, *, limit: int = 100, after: int | None = None
    ) -> list[Version[N]]:
        """The versions at a key, newest first; with ``after`` those older than that version."""
        table = self.table
        question = (
            select(table, revisions.c.at, revisions.c.subject, revisions.c.reason)
            .join(revisions, revisions.c.revision == table.c.revision)
            .where(table.c.key == key)
            .order_by(table.c.version.desc())
            .limit(limit)
        )
        if after is not None:
            question = question.where(table.c.version < after)
        return [
            Version(row.key, row.version, row.revision, row.at, row.subject, row.reason, self._value(row))
            for row in await tx.execute(question)
        ]

    async def at(self, tx: AsyncConnection, revision: int) -> dict[str, N]:
        """All that stood at a revision, by key, in the order of the keys."""
        table = self.table
        question = (
            select(table.c.key, table.c.version, table.c.body)
            .ext(distinct_on(table.c.key))
            .where(table.c.revision <= revision)
            .order_by(table.c.key, table.c.version.desc())
        )
        found: dict[str, N] = {}
        rows = await tx.stream(question)
        async for part in rows.partitions(_READ_AT_ONCE):
            # Requests go on between the parts, and while a part is read.
            found |= await anyio.to_thread.run_sync(self._values, part)
        return found

    async def ever(self, tx: AsyncConnection, keys: Iterable[str], upto: int) -> Mapping[str, Sequence[N]]:
        """All that ever stood at these keys until a revision, the oldest first."""
        table = self.table
        named = any_(bindparam("keys", sorted(keys), ARRAY(Text)))
        question = (
            select(table.c.key, table.c.version, table.c.body)
            .where(table.c.key == named, table.c.revision <= upto)
            .order_by(table.c.key, table.c.version)
        )
        found: defaultdict[str, list[N]] = defaultdict(list)
        for row in await tx.execute(question):
            if row.body is not None:
                found[row.key].append(self.read(row.key, row.version, row.body))
        return found

    async def standing(self, tx: AsyncConnection, among: Iterable[str] | None = None) -> dict[str, Standing]:
        """Since when all that stands now stands as it does, or what of it is ``among`` some keys, and who put it so."""
        table = self.table
        newest = (
            select(table.c.key, table.c.revision, table.c.body.is_not(None).label("stands"))
            .ext(distinct_on(table.c.key))
            .where(true() if among is None else table.c.key.in_(list(among)))
            .order_by(table.c.key, table.c.version.desc())
            .subquery("newest")
        )
        question = (
            select(newest.c.key, revisions.c.at, revisions.c.subject)
            .join(revisions, revisions.c.revision == newest.c.revision)
            .where(newest.c.stands)
            .order_by(newest.c.key)
        )
        return {row.key: Standing(row.at, row.subject) for row in await tx.execute(question)}

    async def append(self, tx: AsyncConnection, edits: Sequence[Edit[N]], revision: int) -> list[int]:
        """Add one version for each edit; gives the numbers that these versions have.

        One revision changes a key at most once. Raises :class:`StaleEdit` for the first
        edit whose key has moved on; the transaction is then to be left.
        """
        if len({edit.key for edit in edits}) < len(edits):
            message = f"One change names the same {self.word} twice; name it once."
            raise Invalid(message, [Fault("changes", message)])
        keys = [edit.key for edit in edits]
        newest = await self._newest_of(tx, keys)
        for edit in edits:
            self._refuse_stale(edit, newest.get(edit.key, _NEVER))
        versions = [newest.get(key, _NEVER).version + 1 for key in keys]
        written = await self._insert(tx, edits, versions, revision)
        if len(written) < len(edits):
            lost = next(edit for edit in edits if edit.key not in written)
            raise self._stale(lost.after, (await self._newest_of(tx, [lost.key]))[lost.key])
        return versions

    async def _insert(
        self, tx: AsyncConnection, edits: Sequence[Edit[N]], versions: Sequence[int], revision: int
    ) -> set[str]:
        """Insert the versions that nobody has inserted meanwhile; gives their keys."""
        given = {
            "keys": [edit.key for edit in edits],
            "versions": list(versions),
            "bodies": [self._body(edit) for edit in edits],
            "revision": revision,
        }
        return set((await tx.execute(_insertion(self.table), given)).scalars())

    def _body(self, edit: Edit[N]) -> str | None:
        if edit.value is None:
            return None
        try:
            return write_json(self.write(edit.value)).decode()
        except TypeError as error:
            message = f"The {self.word} holds half a character, or a number beyond 64 bits. Leave it out and try again."
            raise Invalid(message, [Fault(edit.key, message)]) from error

    def _refuse_stale(self, edit: Edit[N], newest: _Newest) -> None:
        fits = newest.ended if edit.after == 0 else edit.after == newest.version and not newest.ended
        if not fits or (edit.value is None and newest.ended):
            raise self._stale(edit.after, newest)

    def _stale(self, after: int, newest: _Newest) -> StaleEdit:
        if after == 0 and not newest.ended:
            happened = f"There is such a {self.word} already. It is at version {newest.version}"
        elif newest == _NEVER or after == 0:
            happened = f"There is no such {self.word} now"
        elif newest.ended:
            happened = f"Someone ended this {self.word} at version {newest.version}"
        else:
            happened = f"Someone changed this {self.word} after version {after}. It is at version {newest.version} now"
        return StaleEdit(f"{happened}: reload it and try again.", version=newest.version)

    async def _newest_of(self, tx: AsyncConnection, keys: Iterable[str]) -> dict[str, _Newest]:
        rows = await tx.execute(_ends(self.table), {"keys": list(keys)})
        return {row.key: _Newest(row.version, row.ended) for row in rows}

    def _newest(self, key: str) -> Select[Any]:
        table = self.table
        return select(table).where(table.c.key == key).order_by(table.c.version.desc()).limit(1)

    def _values(self, rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, N]:
        return {row.key: self.read(row.key, row.version, row.body) for row in rows if row.body is not None}

    def _value(self, row: Row[Any] | None) -> N | None:
        if row is None or row.body is None:
            return None
        return self.read(row.key, row.version, row.body)
