"""Notices: whom they are for, how they go out, what people chose, and which process writes them now.

One process at a time *holds the desk*: it reads what is new in the ledger, looks at the calendar and sends. It says so
in a row that it renews, so after it has died another one takes over within :data:`HELD`. A notice stands once for each
recipient, kind and thing, whoever makes it and how often. A sending is claimed before anything leaves and settled
afterwards: one that was under way when its process died is sent again when the claim has ended, so at most the mail
under way is ever sent twice, and none is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, delete, func, literal, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from muniment.core.ledger import Event, Place, Row
from muniment.core.notices import EVENTS, MOST_IN_A_MAIL, USUAL, Choice, Matter, Notice, NoticeKind, Pace
from muniment.core.problems import StaleEdit
from muniment.core.subjects import Subject
from muniment.store import ledger, ledger_order, requests, tables
from muniment.store.databases import Transaction
from muniment.store.tables import (
    notice_addresses,
    notice_choices,
    notice_desk,
    notice_sendings,
    notice_webhooks,
    notices,
)

MAIL: Final = "mail"
WEBHOOK: Final = "webhook"

#: How long the desk is held without a word of its holder.
HELD: Final = timedelta(seconds=60)

#: How long a claim stands: longer than any server may take.
CLAIMED: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Desk:
    """How far the ledger has been read, and when the calendar was looked at; nothing before the first time."""

    place: Place | None
    swept_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sending:
    """How a notice goes out: one row of what waits, is sent, or was left."""

    channel: str
    pace: Pace
    state: str
    attempts: int
    due: datetime
    ended_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A notice as it stands, with how it goes out on one channel, if it does."""

    notice: Notice
    sending: Sending | None


# --- the desk -------------------------------------------------------------------------------------------------------


async def hold_desk(tx: Transaction, holder: UUID) -> Desk | None:
    """Hold the desk from now on, or go on holding it; None while somebody else does."""
    columns = notice_desk.c
    holding = (
        update(notice_desk)
        .where(or_(columns.holder == holder, columns.held_until < func.clock_timestamp()))
        .values(holder=holder, held_until=func.clock_timestamp() + HELD)
        .returning(columns.place, func.nullif(columns.swept_at, text("'-infinity'")).label("swept_at"))
    )
    found = (await tx.execute(holding)).one_or_none()
    if found is None:
        return None
    return Desk(Place.parse(found.place) if found.place else None, found.swept_at)


async def leave_desk(tx: Transaction, holder: UUID) -> None:
    """Let another one hold the desk at once."""
    await tx.execute(
        update(notice_desk).where(notice_desk.c.holder == holder).values(holder=None, held_until=text("'-infinity'"))
    )


async def read_on(tx: Transaction, holder: UUID, place: Place) -> bool:
    """Remember how far the ledger has been read; False if the desk is no longer this holder's."""
    moving = update(notice_desk).where(notice_desk.c.holder == holder).values(place=place.text)
    return (await tx.execute(moving.returning(notice_desk.c.one))).one_or_none() is not None


async def swept(tx: Transaction, at: datetime) -> None:
    """Remember when the calendar was looked at."""
    await tx.execute(update(notice_desk).values(swept_at=at))


async def forget(tx: Transaction, before: datetime) -> None:
    """Forget the notices from before a moment."""
    await tx.execute(delete(notices).where(notices.c.at < before))


async def news(tx: Transaction, after: Place | None, limit: int) -> tuple[Sequence[Row], Place | None]:
    """The rows behind a place that people may be told of, in the order of their commits, and how far that was read.

    Before anything was read, nothing is news but what comes from now on.
    """
    # Asked first: whatever is committed before it has settled by then is among the rows, or behind this place.
    settled = await ledger_order.last(tx)
    if after is None:
        return [], settled or Place(0, 0, 0)
    rows = await ledger_order.following(tx, after, limit, tables.ledger.c.event.in_(EVENTS))
    if len(rows) == limit or settled is None:
        return [row for _, row in rows], rows[-1][0] if rows else None
    return [row for _, row in rows], max(settled, *(place for place, _ in rows), after)


async def used_before(tx: Transaction, row: Row) -> bool:
    """Whether the ledger tells of an earlier use of a row's dataset by its subject."""
    columns = tables.ledger.c
    earlier = select(columns.id).where(
        columns.subject == row.subject,
        columns.event == Event.USE_REPORTED,
        columns.datasets.contains(list(row.datasets)),
        tuple_(columns.at, columns.id) < tuple_(literal(row.at), literal(row.id)),
    )
    return (await tx.execute(earlier.limit(1))).one_or_none() is not None


# --- notices --------------------------------------------------------------------------------------------------------


async def add(tx: Transaction, made: Iterable[Notice]) -> frozenset[UUID]:
    """Keep the notices of which nobody was told before; gives the ids of those."""
    rows = [
        {
            "id": notice.id,
            "recipient": str(notice.recipient),
            "kind": notice.kind.value,
            "thing": notice.thing,
            "at": notice.at,
            "about": dict(notice.about),
        }
        for notice in made
    ]
    if not rows:
        return frozenset()
    statement = insert(notices).values(rows).on_conflict_do_nothing().returning(notices.c.id)
    return frozenset((await tx.execute(statement)).scalars())


async def send(tx: Transaction, sendings: Iterable[tuple[UUID, Pace, datetime]], channel: str = MAIL) -> None:
    """Let notices go out when they are due."""
    rows = [
        {"notice": id_, "channel": channel, "pace": pace.value, "due": due, "state": "waiting"}
        for id_, pace, due in sendings
    ]
    if rows:
        await tx.execute(insert(notice_sendings).values(rows).on_conflict_do_nothing())


async def inbox(tx: Transaction, recipient: Subject, limit: int, before: UUID | None) -> list[Kept]:
    """What somebody was told of, the newest first."""
    question = (
        select(notices, *(notice_sendings.c[name] for name in _OF_SENDING))
        .outerjoin(notice_sendings, (notice_sendings.c.notice == notices.c.id) & (notice_sendings.c.channel == MAIL))
        .where(notices.c.recipient == str(recipient))
        .order_by(notices.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        question = question.where(notices.c.id < before)
    return [Kept(_notice(row), _sending(row)) for row in await tx.execute(question)]


async def count_of(tx: Transaction, recipient: Subject, kind: NoticeKind, since: datetime) -> int:
    """How often somebody was told something of a kind since a moment."""
    question = select(func.count()).where(
        notices.c.recipient == str(recipient), notices.c.kind == kind.value, notices.c.at >= since
    )
    found: int = (await tx.execute(question)).scalar_one()
    return found


async def matter_of(tx: Transaction, notice: Notice) -> Matter:
    """What a notice is about, as it stands: a request, or a row of the ledger."""
    if "request" in notice.about:
        return await requests.newest(tx, notice.about["request"])
    return await ledger.of_id(tx, UUID(notice.about["row"])) if "row" in notice.about else None


# --- sending --------------------------------------------------------------------------------------------------------


async def claim(tx: Transaction, at: datetime) -> list[Kept]:
    """Claim what goes into the next mail: one notice, or all of somebody's that go once a day; nothing is due: none."""
    ready = _ready(at, MAIL)
    found = list(await tx.execute(ready.limit(1)))
    if found and found[0].pace == Pace.DAILY:
        same = ready.where(notice_sendings.c.pace == Pace.DAILY.value, notices.c.recipient == found[0].recipient)
        found = list(await tx.execute(same.limit(MOST_IN_A_MAIL)))
    await _try(tx, [row.id for row in found], at, MAIL)
    return [Kept(_notice(row), _sending(row, tried=1)) for row in found]


def _ready(at: datetime, channel: str) -> Select[Any]:
    """What is due on a channel and claimed by nobody, the first due first."""
    return (
        select(notices, *(notice_sendings.c[name] for name in _OF_SENDING))
        .join(notice_sendings, notice_sendings.c.notice == notices.c.id)
        .where(
            notice_sendings.c.channel == channel,
            notice_sendings.c.state == "waiting",
            notice_sendings.c.due <= at,
            or_(notice_sendings.c.claimed_until.is_(None), notice_sendings.c.claimed_until <= at),
        )
        .order_by(notice_sendings.c.due, notices.c.id)
    )


async def _try(tx: Transaction, ids: Collection[UUID], at: datetime, channel: str) -> None:
    columns = notice_sendings.c
    if ids:
        await _of(tx, ids, channel, attempts=columns.attempts + 1, claimed_until=at + CLAIMED)


async def claim_calls(tx: Transaction, at: datetime, limit: int) -> list[Kept]:
    """Claim what goes to webhooks, each by itself."""
    found = list(await tx.execute(_ready(at, WEBHOOK).limit(limit)))
    await _try(tx, [row.id for row in found], at, WEBHOOK)
    return [Kept(_notice(row), _sending(row, tried=1)) for row in found]


async def settle(
    tx: Transaction, ids: Collection[UUID], state: str, at: datetime, why: str = "", channel: str = MAIL
) -> None:
    """These sendings have ended so."""
    await _of(tx, ids, channel, state=state, ended_at=at, claimed_until=None, why=why)


async def postpone(tx: Transaction, ids: Collection[UUID], due: datetime, why: str, channel: str = MAIL) -> None:
    """These sendings are tried again later."""
    await _of(tx, ids, channel, due=due, claimed_until=None, why=why)


async def hold_back(tx: Transaction, until: datetime) -> None:
    """Try nothing before a moment: the server takes none."""
    columns = notice_sendings.c
    waiting = update(notice_sendings).where(columns.state == "waiting", columns.channel == MAIL, columns.due < until)
    await tx.execute(waiting.values(due=literal(until)))


async def _of(tx: Transaction, ids: Collection[UUID], channel: str, **values: Any) -> None:
    columns = notice_sendings.c
    await tx.execute(
        update(notice_sendings).where(columns.notice.in_(list(ids)), columns.channel == channel).values(**values)
    )


# --- what people chose ----------------------------------------------------------------------------------------------


async def choices(tx: Transaction, wanted: Iterable[Subject]) -> dict[Subject, Choice]:
    """What each of these chose, of those who have chosen."""
    question = select(notice_choices).where(notice_choices.c.subject.in_(sorted(map(str, wanted))))
    return {Subject.parse(row.subject): _choice(row) for row in await tx.execute(question)}


async def choose(tx: Transaction, subject: Subject, choice: Choice) -> Choice:
    """Keep a choice that follows the version it has; raises :class:`StaleEdit` if another one came between."""
    written = {
        "mail": {kind.value: pace.value for kind, pace in choice.mail.items()},
        "webhook": {kind.value: on for kind, on in choice.webhook.items()},
        "quiet": choice.quiet,
    }
    columns = notice_choices.c
    putting = insert(notice_choices).values(subject=str(subject), version=choice.version + 1, **written)
    putting = putting.on_conflict_do_update(
        index_elements=[columns.subject],
        set_={name: putting.excluded[name] for name in ("version", *written)},
        where=columns.version == choice.version,
    )
    kept = (await tx.execute(putting.returning(notice_choices))).one_or_none()
    if kept is None or (choice.version == 0 and kept.version != 1):
        stands = (await choices(tx, [subject])).get(subject, Choice()).version
        detail = f"What you chose stands at version {stands} now: read it again, then choose."
        raise StaleEdit(detail, version=stands)
    return _choice(kept)


async def addresses(tx: Transaction, wanted: Iterable[Subject]) -> dict[Subject, str]:
    """The addresses that these have confirmed."""
    question = select(notice_addresses).where(notice_addresses.c.subject.in_(sorted(map(str, wanted))))
    return {Subject.parse(row.subject): row.mailbox for row in await tx.execute(question)}


async def confirm(tx: Transaction, subject: Subject, mailbox: str, at: datetime) -> None:
    """A subject's mails go to this address from now on."""
    putting = insert(notice_addresses).values(subject=str(subject), mailbox=mailbox, confirmed_at=at)
    await tx.execute(
        putting.on_conflict_do_update(
            index_elements=[notice_addresses.c.subject],
            set_={"mailbox": putting.excluded.mailbox, "confirmed_at": putting.excluded.confirmed_at},
        )
    )


async def remove_address(tx: Transaction, subject: Subject) -> None:
    """Forget the address that a subject confirmed, if it did."""
    await tx.execute(delete(notice_addresses).where(notice_addresses.c.subject == str(subject)))


@dataclass(frozen=True, slots=True)
class Receiver:
    """A program that takes a subject's notices: where, and the secret by which it knows them, as it is kept."""

    key: UUID
    url: str
    sealed: bytes = field(repr=False)


async def receivers(tx: Transaction, wanted: Iterable[Subject]) -> dict[Subject, Receiver]:
    """The programs that take the notices of these."""
    question = select(notice_webhooks).where(notice_webhooks.c.subject.in_(sorted(map(str, wanted))))
    return {Subject.parse(row.subject): Receiver(row.key, row.url, row.sealed) for row in await tx.execute(question)}


async def put_receiver(tx: Transaction, subject: Subject, receiver: Receiver, at: datetime) -> None:
    """A subject's notices go to this program from now on."""
    putting = insert(notice_webhooks).values(
        subject=str(subject), key=receiver.key, url=receiver.url, sealed=receiver.sealed, at=at
    )
    await tx.execute(
        putting.on_conflict_do_update(
            index_elements=[notice_webhooks.c.subject],
            set_={name: putting.excluded[name] for name in ("key", "url", "sealed", "at")},
        )
    )


async def remove_receiver(tx: Transaction, subject: Subject, key: UUID | None = None) -> None:
    """No program takes a subject's notices any more; with a key, if it is still that one."""
    gone = delete(notice_webhooks).where(notice_webhooks.c.subject == str(subject))
    await tx.execute(gone if key is None else gone.where(notice_webhooks.c.key == key))


_OF_SENDING: Final = ("channel", "pace", "state", "attempts", "due", "ended_at", "why")


def _notice(row: Any) -> Notice:
    return Notice(
        id=row.id,
        recipient=Subject.parse(row.recipient),
        kind=NoticeKind(row.kind),
        thing=row.thing,
        at=row.at,
        about=row.about,
    )


def _sending(row: Any, tried: int = 0) -> Sending | None:
    if row.channel is None:
        return None
    return Sending(row.channel, Pace(row.pace), row.state, row.attempts + tried, row.due, row.ended_at, row.why)


def _choice(row: Any) -> Choice:
    chosen = {kind: Pace(row.mail.get(kind.value, usual)) for kind, usual in USUAL.items()}
    called = {kind: bool(row.webhook.get(kind.value, True)) for kind in USUAL}
    return Choice(chosen, called, row.quiet, row.version)
