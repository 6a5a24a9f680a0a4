"""Keys of Muniment's own: their hashes and what they are bound to, never the keys themselves.

Keys and their revocations only grow; only the last use of each is written over. What a
process remembers of a key holds while the roster's version stands (``store/present.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.dialects.postgresql import insert

from muniment.core.keys import Ending, Key, LastUse, Pepper, check_well_formed, is_well_formed, refused
from muniment.core.sign_ins import Bounds, SignIn, Use
from muniment.core.subjects import Subject
from muniment.store import roster, subjects
from muniment.store.databases import Database, Transaction
from muniment.store.tables import key_endings, key_uses, keys

_Name = TypeVar("_Name", bytes, str)
_Value = TypeVar("_Value")

#: How exactly the last use of a key is known.
_USE_KNOWN_TO: Final = timedelta(minutes=5)


class Keys:
    """The keys that one process remembers, by their hashes; ``remembered`` bounds them."""

    def __init__(self, db: Database, pepper: Pepper, *, remembered: int = 10_000) -> None:
        self._db = db
        self._pepper = pepper
        self._remembered = remembered
        self._known: OrderedDict[bytes, tuple[int, SignIn]] = OrderedDict()
        self._used: OrderedDict[str, datetime] = OrderedDict()

    async def verify(self, text: str, at: datetime, version: int) -> SignIn:
        """The sign-in of who presents a key at that time, by the roster of this version or a later one.

        Raises :class:`TokenRefused` for what is no key, and for one that was revoked or has ended.
        """
        check_well_formed(text)
        hashed = self._pepper.hashed(text)
        known = self._known.get(hashed)
        if known is None or known[0] != version:
            known = (version, await self._found(hashed, at))
            _keep(self._known, hashed, known, self._remembered)
        if at >= known[1].until:
            raise refused()
        return known[1]

    def digest_of(self, text: str) -> bytes:
        """What a key is remembered by."""
        return self._pepper.hashed(text)

    def still_holds(self, hashed: bytes, sign_in: SignIn, at: datetime, version: int) -> bool:
        """Whether verifying the key of this hash would give this sign-in, and write down no use of it."""
        known = self._known.get(hashed)
        return known == (version, sign_in) and at < sign_in.until and self._was_used(sign_in, at)

    async def keep(self, tx: Transaction, key: Key, text: str) -> None:
        """Keep a new key."""
        await add(tx, key, self._pepper.hashed(text), self._pepper.name)

    async def find(self, tx: Transaction, text: str) -> Key | None:
        """The key that this text is, in force or not."""
        return await of_hash(tx, self._pepper.hashed(text)) if is_well_formed(text) else None

    async def note_use(self, sign_in: SignIn, address: str, at: datetime) -> None:
        """Write down that a key was used, if this process has not done so in the last minutes."""
        kind, _, id_ = sign_in.credential.partition(":")
        if kind != "key" or self._was_used(sign_in, at):
            return
        async with self._db.begin() as tx:
            await use(tx, id_, LastUse(at, address))
        _keep(self._used, id_, at, self._remembered)

    def _was_used(self, sign_in: SignIn, at: datetime) -> bool:
        """Whether this process has written down in the last minutes that a key was used."""
        used = self._used.get(sign_in.credential.partition(":")[2])
        return used is not None and abs(at - used) < _USE_KNOWN_TO

    async def _found(self, hashed: bytes, at: datetime) -> SignIn:
        async with self._db.begin() as tx:
            key = await of_hash(tx, hashed)
            if key is None or not key.holds(at):
                raise refused()
            said = await subjects.of_digest(tx, key.state) if key.state is not None else None
        return key.sign_in(said)


async def add(tx: Transaction, key: Key, hashed: bytes, pepper: str) -> None:
    """Keep a new key by its hash under the secret of this name."""
    await tx.execute(
        insert(keys).values(
            id=key.id,
            hashed=hashed,
            pepper=pepper,
            subject=str(key.subject),
            state=key.state,
            use=key.bounds.use,
            environment=key.bounds.environment,
            project=key.bounds.project,
            purpose=key.bounds.purpose,
            directory=key.bounds.directory,
            at=key.at,
            by=str(key.by),
            because=key.because,
            until=key.until,
        )
    )


async def of_hash(tx: Transaction, hashed: bytes) -> Key | None:
    """The key that has this hash."""
    row = (await tx.execute(_all().where(keys.c.hashed == hashed))).one_or_none()
    return _read(row) if row is not None else None


async def of_id(tx: Transaction, id_: str) -> Key | None:
    """The key of this id."""
    row = (await tx.execute(_all().where(keys.c.id == id_))).one_or_none()
    return _read(row) if row is not None else None


async def older(tx: Transaction, *, limit: int, before: str | None = None, subject: Subject | None = None) -> list[Key]:
    """Keys, the newest first: those before an id, of one subject."""
    question = _all()
    if before is not None:
        question = question.where(keys.c.id < before)
    if subject is not None:
        question = question.where(keys.c.subject == str(subject))
    return [_read(row) for row in await tx.execute(question.order_by(keys.c.id.desc()).limit(limit))]


async def in_force(tx: Transaction, subject: Subject, at: datetime) -> int:
    """How many keys of a subject are in force at a moment."""
    question = (
        select(func.count())
        .select_from(keys.outerjoin(key_endings, key_endings.c.key == keys.c.id))
        .where(keys.c.subject == str(subject), keys.c.until > at, key_endings.c.key.is_(None))
    )
    found: int = (await tx.execute(question)).scalar_one()
    return found


async def made_by(tx: Transaction, subject: Subject, at: datetime) -> list[str]:
    """The ids of the keys in force at a moment that a subject made for others."""
    question = (
        select(keys.c.id)
        .outerjoin(key_endings, key_endings.c.key == keys.c.id)
        .where(keys.c.by == str(subject), keys.c.subject != str(subject))
        .where(keys.c.until > at, key_endings.c.key.is_(None))
        .order_by(keys.c.id)
    )
    return list((await tx.execute(question)).scalars())


async def standing_made_by(tx: Transaction, maker: Subject, at: datetime) -> list[Key]:
    """The keys in force at a moment that a subject made, the newest first."""
    question = _all().where(keys.c.by == str(maker), keys.c.until > at, key_endings.c.key.is_(None))
    return [_read(row) for row in await tx.execute(question.order_by(keys.c.id.desc()))]


async def of_other_peppers(tx: Transaction, pepper: str, at: datetime) -> int:
    """How many keys are in force at a moment that were hashed under another secret than that of this name."""
    question = (
        select(func.count())
        .select_from(keys.outerjoin(key_endings, key_endings.c.key == keys.c.id))
        .where(keys.c.pepper != pepper, keys.c.until > at, key_endings.c.key.is_(None))
    )
    found: int = (await tx.execute(question)).scalar_one()
    return found


async def revoke(tx: Transaction, id_: str, ending: Ending) -> bool:
    """Revoke a key for every request that begins from now on; whether it was not revoked before.

    Only then the roster is counted on: nobody makes everybody be looked up anew by a key that is long revoked.
    """
    await roster.hold(tx)
    revoked = bool(await _end(tx, [id_], ending))
    if revoked:
        await roster.changed(tx)
    return revoked


async def revoke_keys_of(tx: Transaction, subject: Subject, *, why: str, by: str, at: datetime) -> list[str]:
    """Revoke every key of a subject that is in force; gives their ids. The roster is counted on."""
    return await _end_standing(tx, Ending(by, at, why), keys.c.subject == str(subject))


async def revoke_all_keys(tx: Transaction, *, why: str, by: str, at: datetime) -> list[str]:
    """Revoke every key that is in force, whoever it is for; gives their ids. The roster is counted on."""
    return await _end_standing(tx, Ending(by, at, why))


async def use(tx: Transaction, id_: str, last: LastUse) -> None:
    """Say when a key was last used; an earlier use than the one that stands changes nothing."""
    used = insert(key_uses).values(key=id_, at=last.at, address=last.address)
    await tx.execute(
        used.on_conflict_do_update(
            index_elements=[key_uses.c.key],
            set_={"at": used.excluded.at, "address": used.excluded.address},
            where=key_uses.c.at < used.excluded.at,
        )
    )


async def _end_standing(tx: Transaction, ending: Ending, *which: ColumnElement[bool]) -> list[str]:
    await roster.changed(tx)
    question = (
        select(keys.c.id)
        .outerjoin(key_endings, key_endings.c.key == keys.c.id)
        .where(keys.c.until > ending.at, key_endings.c.key.is_(None), *which)
        .order_by(keys.c.id)
    )
    return await _end(tx, list((await tx.execute(question)).scalars()), ending)


async def _end(tx: Transaction, ids: list[str], ending: Ending) -> list[str]:
    if not ids:
        return []
    rows = [{"key": id_, "at": ending.at, "by": ending.by, "because": ending.because} for id_ in ids]
    ended = insert(key_endings).values(rows).on_conflict_do_nothing().returning(key_endings.c.key)
    return sorted((await tx.execute(ended)).scalars())


def _all() -> Select[Any]:
    ended, used = key_endings.c, key_uses.c
    return select(
        keys,
        ended.at.label("ended_at"),
        ended.by.label("ended_by"),
        ended.because.label("ended_because"),
        used.at.label("used_at"),
        used.address.label("used_from"),
    ).select_from(keys.outerjoin(key_endings, ended.key == keys.c.id).outerjoin(key_uses, used.key == keys.c.id))


def _read(row: Any) -> Key:
    return Key(
        id=row.id,
        subject=Subject.parse(row.subject),
        bounds=Bounds(Use(row.use), row.environment, row.project, row.purpose, row.directory),
        at=row.at,
        by=Subject.parse(row.by),
        because=row.because,
        until=row.until,
        state=row.state,
        ending=Ending(row.ended_by, row.ended_at, row.ended_because) if row.ended_at is not None else None,
        used=LastUse(row.used_at, row.used_from) if row.used_at is not None else None,
    )


def _keep(held: OrderedDict[_Name, _Value], key: _Name, value: _Value, most: int) -> None:
    """Remember one thing more; the least recently kept goes first."""
    held[key] = value
    held.move_to_end(key)
    if len(held) > most:
        held.popitem(last=False)
