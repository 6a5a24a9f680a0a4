"""An identity provider keeps its people and groups here in step with its own.

Whoever administers everything may, or holds a key that is for provisioning this directory. Nobody adds
themselves to a group so. A change is made of what stands, with nobody else changing the directory
meanwhile; it comes with its row of the ledger in one transaction, and the requests that begin
after it honour it: who may sign in, and who is in which group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.core.provisioning import (
    DEPROVISIONED,
    Directory,
    Group,
    GroupRecord,
    Sought,
    User,
    UserRecord,
    checked_texts,
    differing,
    settled,
)
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.sessions import Why
from muniment.core.sign_ins import Use
from muniment.core.subjects import Subject
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import told_of
from muniment.flows.end_access import Ended, end_access
from muniment.flows.house import House, aside
from muniment.store import issuers, ledger, provisioning, roster, subjects
from muniment.store.databases import Transaction

Thing = TypeVar("Thing", User, Group)


@dataclass(frozen=True, slots=True)
class Found(Generic[Thing]):
    """What may be meant by a question, the oldest first; ``total`` is how many there are on all pages."""

    things: Sequence[Thing]
    total: int


#: Says from what stands what shall stand; what it raises changes nothing.
UserChange = Callable[[User], UserRecord]
GroupChange = Callable[[Group], GroupRecord]


# --- reading --------------------------------------------------------------------------------------------------------


async def find_users(house: House, occasion: Occasion, directory: Directory, sought: Sought) -> Found[User]:
    """The people of a directory who may be meant."""
    await _read(house, occasion, directory, "users")
    async with house.db.begin() as tx:
        return Found(*await provisioning.users(tx, directory.issuer, sought))


async def find_groups(
    house: House, occasion: Occasion, directory: Directory, sought: Sought, *, with_members: bool
) -> Found[Group]:
    """The groups of a directory that may be meant."""
    await _read(house, occasion, directory, "groups")
    async with house.db.begin() as tx:
        return Found(*await provisioning.groups(tx, directory.issuer, sought, with_members=with_members))


async def find_all(
    house: House, occasion: Occasion, directory: Directory, *, with_members: bool
) -> tuple[Found[User], Found[Group]]:
    """All the people and groups of a directory."""
    await _read(house, occasion, directory, "users and groups")
    async with house.db.begin() as tx:
        people = Found(*await provisioning.users(tx, directory.issuer, Sought()))
        groups = await provisioning.groups(tx, directory.issuer, Sought(), with_members=with_members)
    return people, Found(*groups)


async def read_user(house: House, occasion: Occasion, directory: Directory, id_: str) -> User:
    """One person of a directory."""
    await _read(house, occasion, directory, "users")
    async with house.db.begin() as tx:
        return _there(await provisioning.user(tx, directory.issuer, id_))


async def read_group(house: House, occasion: Occasion, directory: Directory, id_: str, *, with_members: bool) -> Group:
    """One group of a directory."""
    await _read(house, occasion, directory, "groups")
    async with house.db.begin() as tx:
        return _there(await provisioning.group(tx, directory.issuer, id_, with_members=with_members))


async def _read(house: House, occasion: Occasion, directory: Directory, what: str) -> None:
    """Let whoever may provision read, and write it down before anything is given."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        await aside(lambda: _check_may(realm, occasion, directory))
    details = {"directory": directory.issuer, "read": what}
    await house.ledger.record(
        row(occasion, Event.PROVISIONING_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )


# --- people ---------------------------------------------------------------------------------------------------------


async def create_user(house: House, occasion: Occasion, directory: Directory, record: UserRecord) -> User:
    """Somebody is told of for the first time, or again after they were deprovisioned."""
    async with _changing(house, occasion, directory) as (tx, names):
        checked_texts(record)
        subject = directory.subject_of(record, names)
        made = User(str(derived(occasion.request_id, "user")), record, subject, occasion.at, occasion.at)
        await provisioning.put_user(tx, directory.issuer, made, new=True)
        if record.active:
            await _admit(tx, occasion, subject)
            await _settle(tx, occasion, directory, [subject])
            await _tell(tx, occasion, directory, Event.USER_PROVISIONED, _of_user(None, made))
        else:
            ended = await _end(tx, occasion, directory, subject)
            await _tell(tx, occasion, directory, Event.SUBJECT_DEPROVISIONED, _of_user(None, made) | ended.details())
        return made


async def change_user(
    house: House,
    occasion: Occasion,
    directory: Directory,
    id_: str,
    versions: Collection[int] | None,
    change: UserChange,
) -> User:
    """A person is told of otherwise. Whoever is no longer active, or no longer this subject, is shut out."""
    async with _changing(house, occasion, directory) as (tx, names):
        before = _there(await provisioning.user(tx, directory.issuer, id_))
        _check_version(before.version, versions)
        record = await aside(lambda: change(before))
        if record == before.record:
            await _tell(tx, occasion, directory, Event.USER_PROVISIONED, _of_user(before, before))
            return before
        checked_texts(record)
        subject = directory.subject_of(record, names)
        after = replace(before, record=record, subject=subject, changed_at=occasion.at, version=before.version + 1)
        moved = after.subject != before.subject
        if moved and subject == occasion.subject and await provisioning.groups_with(tx, before):
            raise _adding_oneself()
        await provisioning.put_user(tx, directory.issuer, after, new=False)
        ended = None
        if moved or (before.record.active and not record.active):
            ended = await _end(tx, occasion, directory, before.subject)
        if record.active and (moved or not before.record.active):
            await _admit(tx, occasion, subject)
            await _settle(tx, occasion, directory, [subject])
        event = Event.SUBJECT_DEPROVISIONED if ended else Event.USER_PROVISIONED
        await _tell(tx, occasion, directory, event, _of_user(before, after) | (ended.details() if ended else {}))
        return after


async def delete_user(
    house: House, occasion: Occasion, directory: Directory, id_: str, versions: Collection[int] | None
) -> None:
    """A person is gone: their access ends, and what was kept of them is forgotten."""
    async with _changing(house, occasion, directory) as (tx, _):
        before = _there(await provisioning.user(tx, directory.issuer, id_))
        _check_version(before.version, versions)
        groups = await provisioning.groups_with(tx, before)
        await provisioning.end_user(tx, before)
        await provisioning.touch_groups(tx, groups, occasion.at)
        ended = await _end(tx, occasion, directory, before.subject)
        left = {"user": before.id, "gone": True, "groups": [group.name for group in groups]}
        await _tell(tx, occasion, directory, Event.SUBJECT_DEPROVISIONED, left | ended.details())


async def _end(tx: Transaction, occasion: Occasion, directory: Directory, subject: Subject) -> Ended:
    if subject == occasion.subject:
        raise Conflict("Nobody deprovisions themselves: whoever administers Muniment beside you does it.")
    await roster.hold(tx)
    stands = await roster.of(tx, subject)
    # What an administrator has ended stays ended by the administrator: no provider undoes it (`_admit`).
    reason, provider = (DEPROVISIONED, directory.issuer) if stands.active else (stands.reason, stands.provider)
    return await end_access(tx, occasion, subject, reason, Why.DEPROVISIONED, provider)


async def _admit(tx: Transaction, occasion: Occasion, subject: Subject) -> None:
    """Admit whom provisioning shut out, with new sign-ins alone; what an administrator ended stays ended."""
    await roster.hold(tx)
    stands = await roster.of(tx, subject)
    if not stands.active and stands.provider is not None:
        await roster.put(tx, stands.admitted(occasion.at, str(occasion.subject), "provisioned again"))


def _of_user(before: User | None, after: User) -> dict[str, object]:
    """What the ledger tells of a person: who, and which attributes changed, without what they say."""
    told: dict[str, object] = {
        "user": after.id,
        "about": str(after.subject),
        "fields": list(differing(before.record if before else None, after.record)),
        "active": after.record.active,
        "version": after.version,
    }
    return told if before is None or before.subject == after.subject else told | {"now": str(after.subject)}


# --- groups ---------------------------------------------------------------------------------------------------------


async def create_group(house: House, occasion: Occasion, directory: Directory, record: GroupRecord) -> Group:
    """A group is told of. From now on it has these members, whatever credentials say."""
    async with _changing(house, occasion, directory) as (tx, names):
        checked_texts(record)
        id_ = str(derived(occasion.request_id, "group"))
        made = Group(id_, record, directory.group_of(record, names), occasion.at, occasion.at)
        await _put_group(house, tx, occasion, directory, None, made)
        return made


async def change_group(
    house: House,
    occasion: Occasion,
    directory: Directory,
    id_: str,
    versions: Collection[int] | None,
    change: GroupChange,
) -> Group:
    """A group is told of otherwise: its name, or its members."""
    async with _changing(house, occasion, directory) as (tx, names):
        before = _there(await provisioning.group(tx, directory.issuer, id_))
        _check_version(before.version, versions)
        record = await aside(lambda: change(before))
        if record == before.record:
            told = {"group": before.name, "id": before.id, "fields": [], "version": before.version}
            await _tell(tx, occasion, directory, Event.GROUP_PROVISIONED, told)
            return before
        checked_texts(record)
        after = replace(
            before,
            record=record,
            name=directory.group_of(record, names),
            changed_at=occasion.at,
            version=before.version + 1,
        )
        await _put_group(house, tx, occasion, directory, before, after)
        return after


async def delete_group(
    house: House, occasion: Occasion, directory: Directory, id_: str, versions: Collection[int] | None
) -> None:
    """A group is gone: nobody is in it any more, whatever credentials say."""
    async with _changing(house, occasion, directory) as (tx, _):
        before = _there(await provisioning.group(tx, directory.issuer, id_))
        _check_version(before.version, versions)
        left = await _subjects(tx, directory, before.record.members)
        await provisioning.end_group(tx, before)
        await roster.changed(tx)
        await _settle(tx, occasion, directory, left.values())
        told = {"group": before.name, "id": before.id, "gone": True, "removed": sorted(map(str, left.values()))}
        await _tell(tx, occasion, directory, Event.GROUP_PROVISIONED, told)


async def _put_group(
    house: House, tx: Transaction, occasion: Occasion, directory: Directory, before: Group | None, after: Group
) -> None:
    """Keep a group, with all that follows for those who are or were in it, and its row of the ledger."""
    were = before.record.members if before is not None else frozenset()
    joining, leaving = after.record.members - were, were - after.record.members
    people = await _subjects(tx, directory, after.record.members | were)
    _check_known(joining, people)
    if occasion.subject in {people[id_] for id_ in joining}:
        raise _adding_oneself()
    renamed = before is None or before.name != after.name
    if renamed:
        await _check_free(house, tx, occasion, after, [people[id_] for id_ in after.record.members])
    affected = set(people.values()) if renamed else {people[id_] for id_ in joining | leaving}
    if renamed:
        affected.update(await provisioning.known_in(tx, after.name))
    await provisioning.put_group(tx, directory.issuer, before, after)
    await roster.changed(tx)
    await _settle(tx, occasion, directory, affected)
    told: dict[str, object] = {
        "group": after.name,
        "id": after.id,
        "fields": list(differing(before.record if before else None, after.record)),
        "added": sorted(str(people[id_]) for id_ in joining),
        "removed": sorted(str(people[id_]) for id_ in leaving),
        "version": after.version,
    }
    if before is not None and renamed:
        told["was"] = before.name
    await _tell(tx, occasion, directory, Event.GROUP_PROVISIONED, told)


async def _check_free(
    house: House, tx: Transaction, occasion: Occasion, group: Group, members: Collection[Subject]
) -> None:
    """Refuse the name of a local group, and a new name by which whoever asks would be in another group."""
    realm = await house.realms.within(tx)
    if group.name in realm.groups:
        raise Conflict("Muniment has a local group of this name; rename one of them.", scimType="uniqueness")
    if occasion.subject in members:
        raise _adding_oneself()


def _check_known(joining: frozenset[str], people: Collection[str]) -> None:
    if any(id_ not in people for id_ in joining):
        message = "A member is the id of a user of this directory; provision the user first. Groups have no groups."
        raise Invalid(message, [Fault("members", message)], scimType="invalidValue")


async def _subjects(tx: Transaction, directory: Directory, ids: Collection[str]) -> dict[str, Subject]:
    return {user.id: user.subject for user in await provisioning.users_of(tx, directory.issuer, ids)}


# --- what all changes share -----------------------------------------------------------------------------------------


@asynccontextmanager
async def _changing(
    house: House, occasion: Occasion, directory: Directory
) -> AsyncIterator[tuple[Transaction, frozenset[str]]]:
    """A transaction in which nobody else changes the directory, and the names of all issuers.

    A refused change is written down before the refusal leaves.
    """
    try:
        realm = await house.realms.current()
        await aside(partial(_check_may, realm, occasion, directory))
        async with house.db.begin() as tx:
            await provisioning.alone(tx, directory.issuer)
            yield tx, await issuers.names(tx)
    except Unavailable:
        raise
    except Problem as refused:
        details = {**told_of(refused), "directory": directory.issuer}
        await house.ledger.record(row(occasion, Event.CHANGE_REFUSED, Outcome.DENIED, details=details))
        raise


def _check_may(realm: Realm, occasion: Occasion, directory: Directory) -> None:
    bounds = occasion.bounds
    if bounds is not None and bounds.use is not Use.PROVISIONING:
        raise NotAllowed("This key is not for provisioning.")
    # One provider's key must not speak of the people of another: those may administer.
    if bounds is not None and not directory.is_named(bounds.directory):
        raise NotAllowed("This key is for another directory. Use the key that was made for this one.")
    if not may_govern(realm, occasion.asker, occasion.at, Action.ADMINISTER, ROOT):
        raise NotAllowed("To provision people and groups you need administer on all.")


def _check_version(version: int, versions: Collection[int] | None) -> None:
    if versions is not None and version not in versions:
        detail = f"Somebody changed this meanwhile; it is at version {version} now. Read it again, then change it."
        raise StaleEdit(detail, version=version)


def _adding_oneself() -> NotAllowed:
    return NotAllowed("Nobody adds themselves to a group: somebody else who administers Muniment does it.")


def _there(found: Thing | None) -> Thing:
    if found is None:
        raise NotFound
    return found


async def _settle(tx: Transaction, occasion: Occasion, directory: Directory, affected: Iterable[Subject]) -> None:
    """Make what is known of some subjects what provisioning says, at once and before they ask again."""
    concerned = list(affected)
    member_of = await provisioning.memberships(tx, concerned)
    known = await subjects.last_known(tx, concerned)
    held = await provisioning.held(tx, {name for state in known.values() for name in state.groups})
    states = [settled(known.get(subject), subject, directory.issuer, member_of[subject], held) for subject in concerned]
    await subjects.settle(tx, [state for state in states if state != known.get(state.subject)], occasion.subject)


async def _tell(
    tx: Transaction, occasion: Occasion, directory: Directory, event: Event, details: dict[str, object]
) -> None:
    told = row(occasion, event, Outcome.DONE, details={"directory": directory.issuer, **details})
    await ledger.append(tx, [told])
