"""Provisioned people and groups: what stands now, as the last word of each identity provider left it.

Unlike the realm's nouns they are no lines of versions: what is kept of a person ends when the
provider says so. What was changed, by whom and when stands in the ledger. The changes of one
directory follow one another (:func:`alone`), and each that takes something away counts the
roster on (``store/roster.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, Uuid, any_, bindparam, delete, func, literal, select, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from muniment.core.problems import Conflict
from muniment.core.provisioning import Group, GroupRecord, Sought, User, UserRecord, folded
from muniment.core.subjects import Subject
from muniment.store.databases import Transaction
from muniment.store.tables import (
    issuers,
    provisioned_groups,
    provisioned_members,
    provisioned_names,
    provisioned_users,
    subject_states,
    subjects,
)

_users, _groups, _members, _names = (
    provisioned_users.c,
    provisioned_groups.c,
    provisioned_members.c,
    provisioned_names.c,
)


async def alone(tx: Transaction, issuer: str) -> None:
    """Nobody else changes this directory until the transaction ends."""
    await tx.execute(select(issuers.c.name).where(issuers.c.name == issuer).with_for_update())


# --- people ---------------------------------------------------------------------------------------------------------


async def users(tx: Transaction, issuer: str, sought: Sought) -> tuple[list[User], int]:
    """The people of a directory who may be meant, the oldest first, and how many they are on all pages."""
    question = select(provisioned_users).where(_users.issuer == issuer)
    if sought.id is not None:
        question = question.where(_users.id == _uuid(sought.id))
    if sought.user_name is not None:
        question = question.where(_users.folded_name == folded(sought.user_name))
    if sought.external_id is not None:
        question = question.where(_users.external_id == sought.external_id)
    rows, total = await _page(tx, question.order_by(_users.id), sought)
    return [_user(row) for row in rows], total


async def user(tx: Transaction, issuer: str, id_: str) -> User | None:
    """A person of a directory."""
    found, _ = await users(tx, issuer, Sought(id=id_))
    return found[0] if found else None


async def users_of(tx: Transaction, issuer: str, ids: Collection[str]) -> list[User]:
    """Those of the people of a directory who have one of these ids."""
    question = select(provisioned_users).where(_users.issuer == issuer, _users.id == any_(_ids("ids", ids)))
    return [_user(row) for row in await tx.execute(question.order_by(_users.id))]


async def put_user(tx: Transaction, issuer: str, user: User, *, new: bool) -> None:
    """Keep a person as said; :class:`Conflict` where somebody else has the name or is the subject."""
    values = {
        "id": _uuid(user.id),
        "issuer": issuer,
        "subject": str(user.subject),
        "user_name": user.record.user_name,
        "folded_name": folded(user.record.user_name),
        "external_id": user.record.external_id,
        "display_name": user.record.display_name,
        "active": user.record.active,
        "version": user.version,
        "made_at": user.made_at,
        "changed_at": user.changed_at,
    }
    statement = (
        insert(provisioned_users).values(values)
        if new
        else update(provisioned_users).where(_users.id == values["id"]).values(values)
    )
    try:
        async with tx.begin_nested():
            await tx.execute(statement)
    except IntegrityError as error:
        _taken("Somebody in this directory has this userName already, or is the same subject.", error)


async def end_user(tx: Transaction, user: User) -> None:
    """Forget a person, who is then in no group any more."""
    await tx.execute(delete(provisioned_users).where(_users.id == _uuid(user.id)))


# --- groups ---------------------------------------------------------------------------------------------------------


async def groups(tx: Transaction, issuer: str, sought: Sought, *, with_members: bool = True) -> tuple[list[Group], int]:
    """The groups of a directory that may be meant, the oldest first, and how many they are on all pages."""
    question = select(provisioned_groups).where(_groups.issuer == issuer)
    if sought.id is not None:
        question = question.where(_groups.id == _uuid(sought.id))
    if sought.display_name is not None:
        question = question.where(_groups.display_name == sought.display_name)
    if sought.external_id is not None:
        question = question.where(_groups.external_id == sought.external_id)
    if sought.member is not None:
        member = _members.user_id == _uuid(sought.member)
        question = question.where(_groups.id.in_(select(_members.group_id).where(member)))
    rows, total = await _page(tx, question.order_by(_groups.id), sought)
    found = [_group(row) for row in rows]
    return (await _filled(tx, found) if with_members else found), total


async def group(tx: Transaction, issuer: str, id_: str, *, with_members: bool = True) -> Group | None:
    """A group of a directory."""
    found, _ = await groups(tx, issuer, Sought(id=id_), with_members=with_members)
    return found[0] if found else None


async def groups_with(tx: Transaction, user: User) -> list[Group]:
    """The groups that a person is in, without their members."""
    within = select(_members.group_id).where(_members.user_id == _uuid(user.id))
    question = select(provisioned_groups).where(_groups.id.in_(within)).order_by(_groups.id)
    return [_group(row) for row in await tx.execute(question)]


async def put_group(tx: Transaction, issuer: str, before: Group | None, group: Group) -> None:
    """Keep a group as said, and hold its name; :class:`Conflict` where another one has the name."""
    values = {
        "id": _uuid(group.id),
        "issuer": issuer,
        "name": group.name,
        "display_name": group.record.display_name,
        "external_id": group.record.external_id,
        "version": group.version,
        "made_at": group.made_at,
        "changed_at": group.changed_at,
    }
    statement = (
        insert(provisioned_groups).values(values)
        if before is None
        else update(provisioned_groups).where(_groups.id == values["id"]).values(values)
    )
    try:
        async with tx.begin_nested():
            await tx.execute(statement)
    except IntegrityError as error:
        _taken("This directory has a group of this displayName already.", error)
    held = insert(provisioned_names).values(name=group.name, since=group.changed_at)
    await tx.execute(held.on_conflict_do_nothing())
    were = before.record.members if before is not None else frozenset()
    await _join(tx, group, group.record.members - were)
    await _leave(tx, group, were - group.record.members)


async def touch_groups(tx: Transaction, touched: Iterable[Group], at: datetime) -> None:
    """Give groups their next version: somebody left them."""
    ids = _ids("ids", [group.id for group in touched])
    moved = update(provisioned_groups).where(_groups.id == any_(ids))
    await tx.execute(moved.values(version=_groups.version + 1, changed_at=at))


async def end_group(tx: Transaction, group: Group) -> None:
    """Forget a group; its name stays held."""
    await tx.execute(delete(provisioned_groups).where(_groups.id == _uuid(group.id)))


# --- what the roster asks -------------------------------------------------------------------------------------------


async def place(tx: Transaction, subject: Subject, names: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The provisioned groups that a subject is in, and those of these names that provisioning holds."""
    within = (
        select(_groups.name, literal(value=True).label("within"))
        .join(provisioned_members, _members.group_id == _groups.id)
        .join(provisioned_users, _users.id == _members.user_id)
        .where(_users.subject == str(subject), _users.active)
    )
    wanted = bindparam("names", sorted(names), ARRAY(Text))
    named = select(_names.name, literal(value=False).label("within")).where(_names.name == any_(wanted))
    found = [(row.name, row.within) for row in await tx.execute(union_all(within, named))]
    return frozenset(name for name, is_in in found if is_in), frozenset(name for name, is_in in found if not is_in)


async def held(tx: Transaction, names: Iterable[str]) -> frozenset[str]:
    """Those of these names that a provisioned group has, or had."""
    wanted = bindparam("names", sorted(names), ARRAY(Text))
    return frozenset((await tx.execute(select(_names.name).where(_names.name == any_(wanted)))).scalars())


async def memberships(tx: Transaction, wanted: Iterable[Subject]) -> dict[Subject, frozenset[str]]:
    """The names of the provisioned groups that each of some subjects is in; none for one who is deprovisioned."""
    asked = list(wanted)
    question = (
        select(_users.subject, _groups.name)
        .join(provisioned_members, _members.user_id == _users.id)
        .join(provisioned_groups, _groups.id == _members.group_id)
        .where(_users.active, _users.subject == any_(bindparam("names", list(map(str, asked)), ARRAY(Text))))
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in await tx.execute(question):
        found[row.subject].add(row.name)
    return {subject: frozenset(found[str(subject)]) for subject in asked}


async def known_in(tx: Transaction, name: str) -> list[Subject]:
    """The subjects that were in a group of this name when they were last seen."""
    question = (
        select(subjects.c.name)
        .join(subject_states, subject_states.c.digest == subjects.c.digest)
        .where(subject_states.c.groups.contains([name]))
        .order_by(subjects.c.name)
    )
    return [Subject.parse(found) for found in (await tx.execute(question)).scalars()]


# --- rows -----------------------------------------------------------------------------------------------------------


async def _page(tx: Transaction, question: Select[Any], sought: Sought) -> tuple[Sequence[Any], int]:
    """A page of the rows that answer a question, and how many answer it."""
    if sought.limit is None and not sought.start:
        rows = (await tx.execute(question)).all()
        return rows, len(rows)
    total: int = (await tx.execute(select(func.count()).select_from(question.order_by(None).subquery()))).scalar_one()
    return (await tx.execute(question.offset(sought.start).limit(sought.limit))).all(), total


async def _filled(tx: Transaction, found: Sequence[Group]) -> list[Group]:
    """Groups with their members."""
    ids = _ids("ids", [group.id for group in found])
    members: defaultdict[str, set[str]] = defaultdict(set)
    question = select(_members.group_id, _members.user_id).where(_members.group_id == any_(ids))
    for group_id, user_id in await tx.execute(question):
        members[str(group_id)].add(str(user_id))
    return [replace(group, record=replace(group.record, members=frozenset(members[group.id]))) for group in found]


async def _join(tx: Transaction, group: Group, joining: frozenset[str]) -> None:
    if not joining:
        return
    ids = _ids("ids", joining)
    people = select(literal(_uuid(group.id), Uuid), _users.id).where(_users.id == any_(ids))
    await tx.execute(insert(provisioned_members).from_select(["group_id", "user_id"], people).on_conflict_do_nothing())


async def _leave(tx: Transaction, group: Group, leaving: frozenset[str]) -> None:
    if leaving:
        gone = _members.user_id == any_(_ids("ids", leaving))
        await tx.execute(delete(provisioned_members).where(_members.group_id == _uuid(group.id), gone))


def _ids(name: str, ids: Iterable[str]) -> Any:
    return bindparam(name, sorted(map(_uuid, ids)), ARRAY(Uuid))


def _uuid(text: str) -> UUID:
    """An id as it is stored; what is no id is one that nothing has."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _taken(message: str, error: IntegrityError) -> NoReturn:
    raise Conflict(message, scimType="uniqueness") from error


def _user(row: Any) -> User:
    return User(
        id=str(row.id),
        record=UserRecord(row.user_name, row.external_id, row.display_name, row.active),
        subject=Subject.parse(row.subject),
        made_at=row.made_at,
        changed_at=row.changed_at,
        version=row.version,
    )


def _group(row: Any) -> Group:
    return Group(
        id=str(row.id),
        record=GroupRecord(row.display_name, row.external_id),
        name=row.name,
        made_at=row.made_at,
        changed_at=row.changed_at,
        version=row.version,
    )
