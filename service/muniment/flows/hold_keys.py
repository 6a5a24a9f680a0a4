"""Somebody makes a key of Muniment's own for a job, looks at the keys that there are, or revokes one.

Administrators of everything make keys for any service identity. A service identity whose
identity provider vouches for it may make one for itself: it then speaks as that sign-in
does, for no longer, and for less. A key makes no keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from muniment.core.identifiers import derived
from muniment.core.keys import (
    MOST_IN_FORCE,
    Ending,
    Key,
    check_bounds,
    check_end,
    check_subject,
    credential,
    written,
)
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.sign_ins import Bounds
from muniment.core.subjects import Subject
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import refused_changes_recorded
from muniment.flows.house import House, aside
from muniment.store import issuers, keys, ledger, roster
from muniment.store.databases import Transaction

#: Whoever revokes a key by showing it; who that is nobody knows.
_HOLDER = "whoever holds it"


@dataclass(frozen=True, slots=True)
class Wish:
    """A key as somebody wants it."""

    subject: Subject
    bounds: Bounds
    until: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Made:
    """A new key with its text, which nobody can tell again."""

    key: Key
    text: str
    revision: int


@dataclass(frozen=True, slots=True)
class Told:
    """A key as it stands, at a revision of the realm."""

    key: Key
    revision: int


async def make_key(house: House, occasion: Occasion, wish: Wish, drawn: bytes) -> Made:
    """Make a key of random bytes; it is kept, and recorded, when this returns."""
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        own = await _check_may_make(realm, occasion, wish)
        check_subject(wish.subject)
        check_bounds(wish.bounds, realm.environment_names)
        check_end(wish.until, occasion.at, house.longest_key)
        if own and occasion.until is not None and wish.until > occasion.until:
            message = f"A key for yourself ends with your sign-in, {occasion.until.isoformat()}, or before."
            raise Invalid(message, [Fault("until", message)])
        key = Key(
            id=str(derived(occasion.request_id, "key")),
            subject=wish.subject,
            bounds=wish.bounds,
            at=occasion.at,
            by=occasion.subject,
            because=wish.because,
            until=wish.until,
            state=occasion.asker.digest if own else None,
        )
        text = written(drawn)
        async with house.db.begin() as tx:
            # A key that is made while its maker's sign-ins are being ended would outlive them.
            await roster.check_stands(tx, occasion)
            await _check_directory(tx, key.bounds)
            await _check_room(tx, key)
            await house.keys.keep(tx, key, text)
            made = row(occasion, Event.KEY_MADE, Outcome.DONE, revision=realm.revision, details=_details(key))
            await ledger.append(tx, [made])
    return Made(key, text, realm.revision)


async def list_keys(
    house: House, occasion: Occasion, service: Subject | None, limit: int, after: str | None
) -> tuple[Sequence[Key], str | None, int]:
    """All keys to administrators, one's own to everybody else; the newest first."""
    realm = await house.realms.current()
    if not await aside(partial(_administers, realm, occasion)):
        if service not in {None, occasion.subject}:
            return await _told(house, occasion, realm, [], limit)
        service = occasion.subject
    async with house.db.begin() as tx:
        found = await keys.older(tx, limit=limit + 1, before=after, subject=service)
    return await _told(house, occasion, realm, found, limit)


async def read_key(house: House, occasion: Occasion, id_: str) -> Told:
    """One key, to administrators and to the service identity that it is for."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        key = await _find(house, realm, occasion, id_)
    await house.ledger.record(
        row(occasion, Event.KEY_READ, Outcome.ALLOWED, revision=realm.revision, details={"key": id_})
    )
    return Told(key, realm.revision)


async def revoke_key(house: House, occasion: Occasion, id_: str, because: str) -> int:
    """Revoke a key: the next request with it, at any worker, is refused. One that was revoked stays so."""
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        key = await _find(house, realm, occasion, id_)
    async with house.db.begin() as tx:
        await _revoke(tx, occasion, key, Ending(str(occasion.subject), occasion.at, because), realm.revision)
    return realm.revision


async def revoke_shown_key(house: House, occasion: Occasion, text: str) -> bool:
    """Revoke the key that somebody holds, whoever they are; whether there was one to revoke is for the doors alone.

    The occasion is the service's own: nobody is signed in.
    """
    async with house.db.begin() as tx:
        key = await house.keys.find(tx, text)
        if key is None:
            return False
        because = "It was shown to be revoked: somebody knows it."
        holding = replace(occasion, credential=credential(key.id))
        return await _revoke(tx, holding, key, Ending(_HOLDER, occasion.at, because), None)


async def _revoke(tx: Transaction, occasion: Occasion, key: Key, ending: Ending, revision: int | None) -> bool:
    """End a key and write that down, if it has not been revoked before; whether that is so."""
    if key.ending is not None or not await keys.revoke(tx, key.id, ending):
        return False
    details = {**_details(key), "by": ending.by, "reason": ending.because}
    await ledger.append(tx, [row(occasion, Event.KEY_REVOKED, Outcome.DONE, revision=revision, details=details)])
    return True


async def _check_may_make(realm: Realm, occasion: Occasion, wish: Wish) -> bool:
    """Whether the asker makes a key for itself; raises :class:`NotAllowed` where it may make none."""
    if occasion.bounds is not None:
        raise NotAllowed("A key makes no keys. Sign in with your identity provider.")
    if await aside(partial(_administers, realm, occasion)):
        return False
    if wish.subject == occasion.subject and occasion.credential == "token":
        return True
    raise NotAllowed(
        "Keys are made by administrators: you need administer on all. A service identity makes keys for itself "
        "with a token of its identity provider."
    )


async def _check_room(tx: Transaction, key: Key) -> None:
    """Refuse a key for a subject that may not sign in, and one more than anybody can keep an eye on."""
    if not (await roster.of(tx, key.subject)).active:
        raise Conflict(f"{key.subject} may not sign in, so a key would open nothing. Admit it again first.")
    if await keys.in_force(tx, key.subject, key.at) >= MOST_IN_FORCE:
        raise Conflict(f"{key.subject} has {MOST_IN_FORCE} keys in force. Revoke those that nothing uses.")


async def _check_directory(tx: Transaction, bounds: Bounds) -> None:
    """Refuse a key for the directory of an issuer that there never was."""
    if bounds.directory is not None and bounds.directory not in await issuers.names(tx):
        message = "No issuer has this name; MUNIMENT_ISSUERS names them."
        raise Invalid(message, [Fault("directory", message)])


def _administers(realm: Realm, occasion: Occasion) -> bool:
    return may_govern(realm, occasion.asker, occasion.at, Action.ADMINISTER, ROOT)


async def _find(house: House, realm: Realm, occasion: Occasion, id_: str) -> Key:
    async with house.db.begin() as tx:
        key = await keys.of_id(tx, id_)
    administers = await aside(partial(_administers, realm, occasion))
    if key is None or not (administers or key.subject == occasion.subject):
        raise NotFound
    return key


async def _told(
    house: House, occasion: Occasion, realm: Realm, found: Sequence[Key], limit: int
) -> tuple[Sequence[Key], str | None, int]:
    await house.ledger.record(row(occasion, Event.KEY_READ, Outcome.ALLOWED, revision=realm.revision))
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None, realm.revision


def _details(key: Key) -> dict[str, object]:
    """What the ledger tells of a key."""
    return {
        "key": credential(key.id),
        "service": str(key.subject),
        "use": key.bounds.use.value,
        "environment": key.bounds.environment,
        "project": key.bounds.project,
        "purpose": key.bounds.purpose,
        "directory": key.bounds.directory,
        "until": key.until.isoformat(),
        "because": key.because,
    }
