"""What was known of subjects when their tokens were verified.

States are addressed by their content and only added, so a process may remember for ever
that it has stored one. Which state is a subject's *newest* is another matter: a subject
may change from one state to another and back, each time at another worker, and no worker's
memory knows of the others. So nobody remembers it. :func:`Sightings.note` sets it when a
state is new to the process, and every row of the ledger says it again in the statement that
writes it (``ledger.append``): what decided last is what stands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Row,
    Select,
    Text,
    any_,
    bindparam,
    case,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import Insert, distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.subjects import Attribute, Kind, Subject, SubjectState
from muniment.store.databases import Database, write_json
from muniment.store.ledger import needed
from muniment.store.tables import (
    deputies,
    enrolments,
    ledger,
    provisioned_names,
    provisioned_states,
    subject_states,
    subjects,
)


@dataclass(frozen=True, slots=True)
class Known:
    """A subject's newest state, and when it was seen in it (to the hour, while nothing changes).

    ``active`` says whether the subject may sign in: at the moment in question, where there is one.
    """

    state: SubjectState
    seen_at: datetime
    active: bool = True


class Sightings:
    """What this process has stored of subjects; ``remembered`` bounds its memory."""

    def __init__(self, db: Database, *, remembered: int = 10_000) -> None:
        self._db = db
        self._remembered = remembered
        self._stored: OrderedDict[str, None] = OrderedDict()

    async def note(self, state: SubjectState, at: datetime) -> None:
        """The state is stored when this returns; of a known one Postgres hears nothing."""
        digest = state.digest
        if digest in self._stored:
            self._stored.move_to_end(digest)
            return
        async with self._db.begin() as tx:
            await _store(tx, state, digest, at)
        self._stored[digest] = None
        if len(self._stored) > self._remembered:
            self._stored.popitem(last=False)


async def newest(tx: AsyncConnection) -> list[Known]:
    """Every subject ever seen that may sign in, in its newest state, by name."""
    question = _newest().order_by(subjects.c.name)
    return [known for row in await tx.execute(question) if (known := _known(row)).active]


async def newest_of(tx: AsyncConnection, subject: Subject) -> Known | None:
    """A subject's newest state, if it was ever seen, though it may not sign in any more."""
    row = (await tx.execute(_newest().where(subjects.c.name == str(subject)))).one_or_none()
    return _known(row) if row else None


async def newest_of_each(tx: AsyncConnection, wanted: Iterable[Subject]) -> list[Known]:
    """The newest states of those of the subjects that were ever seen and may sign in, by name."""
    names = bindparam("names", sorted(map(str, wanted)), ARRAY(Text))
    question = _newest().where(subjects.c.name == any_(names)).order_by(subjects.c.name)
    return [known for row in await tx.execute(question) if (known := _known(row)).active]


async def newest_among(tx: AsyncConnection, names: Iterable[str], groups: Iterable[str]) -> list[Known]:
    """The newest states of those who have one of these names, or whose provider says one of these groups, by name."""
    wanted = bindparam("names", sorted(names), ARRAY(Text))
    said = bindparam("groups", sorted(groups), ARRAY(Text))
    question = _newest().where((subjects.c.name == any_(wanted)) | subject_states.c.groups.bool_op("&&")(said))
    return [known for row in await tx.execute(question.order_by(subjects.c.name)) if (known := _known(row)).active]


async def principals_of(tx: AsyncConnection, deputy: Subject, at: datetime) -> list[Known]:
    """The newest states of those in whose place somebody decides on requests at a moment, by name."""
    question = _newest().join(deputies, deputies.c.principal == subjects.c.name)
    question = question.where(deputies.c.deputy == str(deputy), deputies.c.at <= at, deputies.c.until > at)
    return [known for row in await tx.execute(question.order_by(subjects.c.name)) if (known := _known(row)).active]


async def last_known(tx: AsyncConnection, wanted: Iterable[Subject]) -> dict[Subject, SubjectState]:
    """The newest states of those of the subjects that were ever seen, whether they may sign in or not."""
    names = bindparam("names", sorted(map(str, wanted)), ARRAY(Text))
    found = [_state(row) for row in await tx.execute(_newest().where(subjects.c.name == any_(names)))]
    return {state.subject: state for state in found}


async def settle(tx: AsyncConnection, states: Iterable[SubjectState], beside: Subject) -> None:
    """From now on these are the newest states of their subjects, whatever a request under way was decided by.

    The subjects are locked in the order of their names, with the one ``beside`` them whose row of the
    ledger follows: so two transactions that write about the same subjects do not wait for each other.
    """
    given = list(states)
    if not given:
        return
    names = bindparam("names", sorted({str(beside), *(str(state.subject) for state in given)}), ARRAY(Text))
    await tx.execute(
        select(subjects.c.name).where(subjects.c.name == any_(names)).order_by(subjects.c.name).with_for_update()
    )
    await tx.execute(_SETTLE, {"states": write_json([_encoded(state) for state in given]).decode()})


async def newest_at(tx: AsyncConnection, moment: datetime) -> list[Known]:
    """Every subject that had been seen at a moment and could sign in then, in the state it was last seen in, by name.

    :class:`LedgerUnavailable` where there is no ledger to tell it.
    """
    with needed():
        found = await tx.execute(_seen_by(moment).order_by("name"))
        return [known for row in found if (known := _known(row)).active]


async def state_at(tx: AsyncConnection, subject: Subject, moment: datetime) -> Known | None:
    """The state that a subject was last seen in at a moment, if it had been seen by then.

    :class:`LedgerUnavailable` where there is no ledger to tell it.
    """
    with needed():
        row = (await tx.execute(_seen_by(moment, subject))).one_or_none()
    return _known(row) if row else None


async def of_digest(tx: AsyncConnection, digest: str) -> SubjectState | None:
    """The state that has this address, as it was stored."""
    row = (await tx.execute(select(subject_states).where(subject_states.c.digest == digest))).one_or_none()
    return _state(row) if row else None


async def count(tx: AsyncConnection) -> int:
    """How many subjects were ever seen."""
    found: int = (await tx.execute(select(func.count()).select_from(subjects))).scalar_one()
    return found


async def provider_groups(tx: AsyncConnection, names: Iterable[str]) -> frozenset[str]:
    """Those of these names that a provider's group has: a token has brought it, or it was provisioned."""
    wanted = bindparam("names", list(names), ARRAY(Text))
    brought = (
        select(func.unnest(subject_states.c.groups).label("name"))
        .where(subject_states.c.groups.bool_op("&&")(wanted))
        .subquery()
    )
    sent = select(brought.c.name).where(brought.c.name == any_(wanted))
    held = select(provisioned_names.c.name).where(provisioned_names.c.name == any_(wanted))
    return frozenset((await tx.execute(sent.union(held))).scalars())


async def keep(tx: AsyncConnection, state: SubjectState, at: datetime) -> None:
    """Keep a state that may not be what stands of its subject: what a credential said, before provisioning is heard."""
    await tx.execute(_stored(state, state.digest, at))


def _stored(state: SubjectState, digest: str, at: datetime) -> Insert:
    return (
        insert(subject_states)
        .values(
            digest=digest,
            issuer=state.issuer,
            kind=state.subject.kind,
            id=state.subject.id,
            groups=sorted(state.groups),
            attributes={name: _written(value) for name, value in state.attributes.items()},
            first_seen=at,
        )
        .on_conflict_do_nothing()
    )


async def _store(tx: AsyncConnection, state: SubjectState, digest: str, at: datetime) -> None:
    stored = _stored(state, digest, at).cte("stored")
    sighting = insert(subjects).values(name=str(state.subject), digest=digest, seen_at=at)
    await tx.execute(
        sighting.add_cte(stored).on_conflict_do_update(
            index_elements=[subjects.c.name],
            set_={"digest": sighting.excluded.digest, "seen_at": sighting.excluded.seen_at},
            where=(subjects.c.digest != sighting.excluded.digest) & (subjects.c.seen_at < sighting.excluded.seen_at),
        )
    )


#: Written once: each change asks it.
_OF_DIGESTS: Final = select(subject_states).where(
    subject_states.c.digest == any_(bindparam("digests", type_=ARRAY(Text)))
)


async def of_digests(tx: AsyncConnection, digests: Iterable[str]) -> dict[str, SubjectState]:
    """The states that have these addresses, by address."""
    wanted = sorted(digests)
    if not wanted:
        return {}
    rows = await tx.execute(_OF_DIGESTS, {"digests": wanted})
    return {row.digest: _state(row) for row in rows}


_SETTLE: Final = text(
    """
    WITH given AS (
      SELECT * FROM jsonb_to_recordset(CAST(:states AS jsonb))
        AS given (digest text, issuer text, kind text, id text, groups text[], attributes jsonb)
    ), stored AS (
      INSERT INTO subject_states (digest, issuer, kind, id, groups, attributes, first_seen)
      SELECT digest, issuer, kind, id, groups, attributes, clock_timestamp() FROM given
      ON CONFLICT DO NOTHING
    ), told AS (
      INSERT INTO provisioned_states (name, at, digest)
      SELECT kind || ':' || id, clock_timestamp(), digest FROM given
    )
    INSERT INTO subjects (name, digest, seen_at)
    SELECT kind || ':' || id AS name, digest, clock_timestamp() FROM given ORDER BY name
    ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, seen_at = excluded.seen_at
    """
)


def _encoded(state: SubjectState) -> dict[str, object]:
    return {
        "digest": state.digest,
        "issuer": state.issuer,
        "kind": state.subject.kind,
        "id": state.subject.id,
        "groups": sorted(state.groups),
        "attributes": {name: _written(value) for name, value in state.attributes.items()},
    }


def _seen_by(moment: datetime, subject: Subject | None = None) -> Select[Any]:
    """States by what the ledger says of each subject up to a moment, or by when a state was first stored or told of."""
    stored = select(
        _named(subject_states), subject_states.c.digest, subject_states.c.first_seen.label("seen_at")
    ).where(subject_states.c.first_seen <= moment)
    told = select(
        provisioned_states.c.name, provisioned_states.c.digest, provisioned_states.c.at.label("seen_at")
    ).where(provisioned_states.c.at <= moment)
    known = select(subjects.c.name)
    if subject is not None:
        stored = stored.where(subject_states.c.kind == subject.kind, subject_states.c.id == subject.id)
        told = told.where(provisioned_states.c.name == str(subject))
        known = known.where(subjects.c.name == str(subject))
    either = stored.union_all(told).subquery("either")
    last = (
        select(either).ext(distinct_on(either.c.name)).order_by(either.c.name, either.c.seen_at.desc(), either.c.digest)
    )
    first, asked = last.subquery("first"), known.subquery("asked")
    recorded = (
        select(ledger.c.subject_state.label("digest"), ledger.c.at.label("seen_at"))
        .where(ledger.c.subject == asked.c.name, ledger.c.at <= moment)
        .order_by(ledger.c.at.desc(), ledger.c.id.desc())
        .limit(1)
        .lateral("recorded")
    )
    later = (recorded.c.seen_at.is_(None)) | (first.c.seen_at > recorded.c.seen_at)
    seen = (
        select(
            asked.c.name,
            case((later, first.c.digest), else_=recorded.c.digest).label("digest"),
            func.greatest(first.c.seen_at, recorded.c.seen_at).label("seen_at"),
        )
        .select_from(asked.outerjoin(first, first.c.name == asked.c.name).outerjoin(recorded, true()))
        .subquery("seen")
    )
    return select(subject_states, seen.c.seen_at, seen.c.name, _active(seen.c.name, moment)).join(
        seen, (seen.c.digest == subject_states.c.digest) & (seen.c.name == _named(subject_states))
    )


def _named(states: FromClause) -> ColumnElement[str]:
    return (states.c.kind + ":" + states.c.id).label("name")


def _active(name: ColumnElement[str], moment: datetime | None = None) -> ColumnElement[bool]:
    """Whether a subject may sign in: as the last version of its enrolment says, or the last one by a moment."""
    last = select(enrolments.c.active).where(enrolments.c.subject == name)
    if moment is not None:
        last = last.where(enrolments.c.at <= moment)
    return func.coalesce(last.order_by(enrolments.c.version.desc()).limit(1).scalar_subquery(), true()).label("active")


def _newest() -> Select[Any]:
    return select(subject_states, subjects.c.seen_at, _active(subjects.c.name)).join(
        subjects, subjects.c.digest == subject_states.c.digest
    )


def _known(row: Row[Any]) -> Known:
    return Known(_state(row), row.seen_at, row.active)


def _state(row: Row[Any]) -> SubjectState:
    return SubjectState(
        subject=Subject(Kind(row.kind), row.id),
        issuer=row.issuer,
        groups=frozenset(row.groups),
        attributes={name: _read(value) for name, value in row.attributes.items()},
    )


def _written(value: Attribute) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def _read(value: Any) -> Attribute:
    found: Attribute = frozenset(value) if isinstance(value, list) else value
    return found
