"""Webhooks: where rows of the ledger are sent, how far each has come, and what became of what was sent.

One process at a time sends for a webhook. It holds it for some seconds and says so again
while it goes on; when it dies, another one takes over after that (:func:`claim`). What it
finds out it writes down only while it holds the webhook. The clock for this is Postgres'.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CursorResult, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from muniment.core.ledger import Event, Place
from muniment.core.selections import Selection
from muniment.core.subjects import Subject
from muniment.core.webhooks import Delivery, Sealed, State, Stopped, Webhook
from muniment.store.databases import Transaction
from muniment.store.present import Now
from muniment.store.tables import realm_counter, webhook_deliveries, webhook_progress, webhooks

#: For how long it is known what became of a row: one that was taken, and one that was not.
KEPT: Final = timedelta(days=7)
KEPT_DEAD: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Standing:
    """A webhook as it is now for the process that holds it, and what is so of the realm and the roster."""

    webhook: Webhook
    sealed: Sealed
    place: Place
    dead_in_a_row: int
    waiting: Delivery | None
    now: Now


async def add(tx: Transaction, webhook: Webhook, sealed: bytes, place: Place) -> bool:
    """Keep a new webhook, which is sent what comes behind a place; whether its id was free."""
    values = {
        "key": webhook.key,
        "subject": str(webhook.subject),
        "id": webhook.id,
        "at": webhook.at,
        "secret": sealed,
        "secret_version": 1,
        **_changing(webhook),
    }
    added = insert(webhooks).values(values).on_conflict_do_nothing().returning(webhooks.c.key)
    if (await tx.execute(added)).one_or_none() is None:
        return False
    await tx.execute(insert(webhook_progress).values(webhook=webhook.key, place=place.text, due=func.clock_timestamp()))
    return True


async def change(tx: Transaction, webhook: Webhook) -> None:
    """Keep a webhook as it is now; it is its turn at once, and what failed before is not held against it."""
    await tx.execute(update(webhooks).where(webhooks.c.key == webhook.key).values(**_changing(webhook)))
    await tx.execute(
        update(webhook_progress)
        .where(webhook_progress.c.webhook == webhook.key)
        .values(due=func.clock_timestamp(), dead_in_a_row=0)
    )


async def change_secret(tx: Transaction, key: UUID, sealed: bytes, version: int, former_until: datetime | None) -> None:
    """Let another secret sign; the one of before signs beside it until its end, if it has one."""
    columns = webhooks.c
    former = {"former_secret": columns.secret if former_until is not None else None, "former_until": former_until}
    await tx.execute(update(webhooks).where(columns.key == key).values(secret=sealed, secret_version=version, **former))


async def stop(tx: Transaction, key: UUID, why: Stopped, at: datetime) -> None:
    """Send nothing more, until somebody makes it active again."""
    await tx.execute(
        update(webhooks)
        .where(webhooks.c.key == key)
        .values(active=False, stopped=why.value, changed_at=at, version=webhooks.c.version + 1)
    )


async def remove(tx: Transaction, key: UUID) -> None:
    """Forget a webhook, and what became of what was sent."""
    await tx.execute(delete(webhooks).where(webhooks.c.key == key))


async def named(tx: Transaction, subject: Subject, id_: str, *, to_change: bool = False) -> Webhook | None:
    """A subject's webhook of this id; ``to_change`` lets nobody else change it until the transaction ends."""
    question = select(webhooks).where(webhooks.c.subject == str(subject), webhooks.c.id == id_)
    row = (await tx.execute(question.with_for_update() if to_change else question)).one_or_none()
    return _read(row) if row is not None else None


async def secret_version(tx: Transaction, key: UUID) -> int:
    """Under which version a webhook's secret is sealed now."""
    found: int = (await tx.execute(select(webhooks.c.secret_version).where(webhooks.c.key == key))).scalar_one()
    return found


async def secrets_of(tx: Transaction, key: UUID) -> Sealed:
    """The secrets of a webhook."""
    return _sealed((await tx.execute(select(webhooks).where(webhooks.c.key == key))).one())


async def count_of(tx: Transaction, subject: Subject) -> int:
    """How many webhooks a subject has."""
    question = select(func.count()).select_from(webhooks).where(webhooks.c.subject == str(subject))
    found: int = (await tx.execute(question)).scalar_one()
    return found


async def listed(
    tx: Transaction, *, subject: Subject | None, after: tuple[str, str] | None, limit: int
) -> list[Webhook]:
    """Webhooks by subject and id, behind a subject and id; of one subject, or of all."""
    question = select(webhooks).order_by(webhooks.c.subject, webhooks.c.id).limit(limit)
    if subject is not None:
        question = question.where(webhooks.c.subject == str(subject))
    if after is not None:
        owner, id_ = after
        behind = (webhooks.c.subject == owner) & (webhooks.c.id > id_)
        question = question.where((webhooks.c.subject > owner) | behind)
    return [_read(row) for row in await tx.execute(question)]


async def counts(tx: Transaction, keys: Collection[UUID]) -> dict[UUID, dict[State, int]]:
    """How many rows of some webhooks are in each state, of those that are neither taken nor withheld."""
    columns = webhook_deliveries.c
    question = (
        select(columns.webhook, columns.state, func.count().label("many"))
        .where(columns.webhook.in_(keys), columns.state.in_([State.WAITING, State.DEAD]))
        .group_by(columns.webhook, columns.state)
    )
    found: dict[UUID, dict[State, int]] = {key: {} for key in keys}
    for row in await tx.execute(question):
        found[row.webhook][State(row.state)] = row.many
    return found


async def deliveries(
    tx: Transaction, key: UUID, *, state: State | None, before: int | None, limit: int
) -> list[Delivery]:
    """What became of a webhook's rows, the last ones first: those before a position, in one state or in any."""
    columns = webhook_deliveries.c
    question = select(webhook_deliveries).where(columns.webhook == key)
    if state is not None:
        question = question.where(columns.state == state.value)
    if before is not None:
        question = question.where(columns.position < before)
    question = question.order_by(columns.position.desc()).limit(limit)
    return [_delivery(row) for row in await tx.execute(question)]


# --- sending again --------------------------------------------------------------------------------------------------


async def revive(tx: Transaction, key: UUID) -> int:
    """Let all rows that were put aside be sent again, before what is new; gives how many those are."""
    columns = webhook_deliveries.c
    revived: CursorResult[Any] = await tx.execute(
        update(webhook_deliveries)
        .where(columns.webhook == key, columns.state == State.DEAD.value)
        .values(state=State.WAITING.value, tries=0)
    )
    await _at_once(tx, key)
    return revived.rowcount


async def go_back(tx: Transaction, key: UUID, place: Place) -> None:
    """Let everything behind a place be sent, as if none of it had been; what waits is among it, or is dropped."""
    columns = webhook_deliveries.c
    await tx.execute(delete(webhook_deliveries).where(columns.webhook == key, columns.state == State.WAITING.value))
    await tx.execute(
        update(webhook_progress).where(webhook_progress.c.webhook == key).values(place=place.text, dead_in_a_row=0)
    )
    await _at_once(tx, key)


async def _at_once(tx: Transaction, key: UUID) -> None:
    await tx.execute(
        update(webhook_progress).where(webhook_progress.c.webhook == key).values(due=func.clock_timestamp())
    )


# --- the process that sends -----------------------------------------------------------------------------------------

_CLAIM: Final = text(
    """
    UPDATE webhook_progress SET holder = :holder, held_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE webhook IN (
      SELECT progress.webhook FROM webhook_progress AS progress JOIN webhooks ON webhooks.key = progress.webhook
      WHERE webhooks.active AND progress.due <= clock_timestamp() AND progress.held_until <= clock_timestamp()
      ORDER BY progress.due LIMIT :most FOR UPDATE OF progress SKIP LOCKED
    ) RETURNING webhook
    """
)
_RENEW: Final = text(
    """
    UPDATE webhook_progress SET held_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE webhook = ANY (:held) AND holder = :holder AND held_until > clock_timestamp() RETURNING webhook
    """
)


async def claim(tx: Transaction, holder: UUID, lasting: timedelta, most: int) -> list[UUID]:
    """Take over webhooks whose turn it is and which nobody holds."""
    given = {"holder": holder, "seconds": lasting.total_seconds(), "most": most}
    return list((await tx.execute(_CLAIM, given)).scalars())


async def renew(tx: Transaction, holder: UUID, held: Collection[UUID], lasting: timedelta) -> frozenset[UUID]:
    """Go on holding those of these that one holds; gives which those are."""
    given = {"holder": holder, "held": list(held), "seconds": lasting.total_seconds()}
    return frozenset((await tx.execute(_RENEW, given)).scalars())


async def let_go(tx: Transaction, holder: UUID, key: UUID | None = None) -> None:
    """Hold a webhook no more, or none of them."""
    held = update(webhook_progress).where(webhook_progress.c.holder == holder)
    if key is not None:
        held = held.where(webhook_progress.c.webhook == key)
    await tx.execute(held.values(holder=None, held_until=text("'-infinity'")))


async def standing(tx: Transaction, holder: UUID, key: UUID) -> Standing | None:
    """How a webhook stands, until the transaction ends; None where it is not active, or somebody else sends for it."""
    progress = webhook_progress.c
    question = (
        select(webhooks, progress.place, progress.dead_in_a_row, realm_counter.c.revision, realm_counter.c.roster)
        .join_from(webhooks, webhook_progress, progress.webhook == webhooks.c.key)
        .join(realm_counter, realm_counter.c.one)
        .where(webhooks.c.key == key, webhooks.c.active)
        .where(progress.holder == holder, progress.held_until > func.clock_timestamp())
        # In this order, as whoever removes a webhook locks them.
        .with_for_update(of=[webhooks, webhook_progress], key_share=True)
    )
    row = (await tx.execute(question)).one_or_none()
    if row is None:
        return None
    columns = webhook_deliveries.c
    first = (
        select(webhook_deliveries)
        .where(columns.webhook == key, columns.state == State.WAITING.value)
        .order_by(columns.position)
        .limit(1)
    )
    waiting = (await tx.execute(first)).one_or_none()
    return Standing(
        webhook=_read(row),
        sealed=_sealed(row),
        place=Place.parse(row.place),
        dead_in_a_row=row.dead_in_a_row,
        waiting=_delivery(waiting) if waiting is not None else None,
        now=Now(row.revision, row.roster),
    )


async def move(tx: Transaction, holder: UUID, key: UUID, place: Place) -> None:
    """A webhook has come to a place; nothing before it is to be sent any more, but for what waits."""
    await tx.execute(_held(holder, key).values(place=place.text))


async def note(tx: Transaction, holder: UUID, key: UUID, delivery: Delivery, *, dead_in_a_row: int) -> None:
    """What became of a row, and how many were put aside one after another."""
    values = {
        "state": delivery.state.value,
        "tries": delivery.tries,
        "status": delivery.status,
        "why": delivery.why,
        "last_at": delivery.last_at,
    }
    noted = insert(webhook_deliveries).values(
        webhook=key,
        ledger_row=delivery.row,
        at=delivery.at,
        event=delivery.event,
        place=delivery.place.text,
        first_at=delivery.first_at,
        **values,
    )
    await tx.execute(noted.on_conflict_do_update(constraint=webhook_deliveries.primary_key, set_=values))
    await tx.execute(_held(holder, key).values(dead_in_a_row=dead_in_a_row))


async def wait(tx: Transaction, holder: UUID, key: UUID, lasting: timedelta) -> None:
    """It is a webhook's turn again after a while; until then nobody holds it."""
    due = func.clock_timestamp() + lasting
    await tx.execute(_held(holder, key).values(due=due, holder=None, held_until=text("'-infinity'")))


async def forget(tx: Transaction, most: int) -> int:
    """Forget what became of rows some time ago; gives how many those were, at most so many at a time."""
    columns = webhook_deliveries.c
    kept = func.clock_timestamp() - KEPT
    kept_dead = func.clock_timestamp() - KEPT_DEAD
    settled = columns.state.in_([State.DELIVERED.value, State.WITHHELD.value]) & (columns.last_at < kept)
    dead = (columns.state == State.DEAD.value) & (columns.last_at < kept_dead)
    old = select(columns.webhook, columns.ledger_row).where(settled | dead).limit(most).subquery("old")
    gone: CursorResult[Any] = await tx.execute(
        delete(webhook_deliveries).where(columns.webhook == old.c.webhook, columns.ledger_row == old.c.ledger_row)
    )
    return gone.rowcount


def _held(holder: UUID, key: UUID) -> Any:
    return update(webhook_progress).where(webhook_progress.c.webhook == key, webhook_progress.c.holder == holder)


def _changing(webhook: Webhook) -> dict[str, object]:
    return {
        "version": webhook.version,
        "url": webhook.url,
        "description": webhook.description,
        "events": sorted(event.value for event in webhook.selection.events),
        "datasets": sorted(webhook.selection.datasets),
        "domains": sorted(webhook.selection.domains),
        "active": webhook.active,
        "stopped": webhook.stopped.value if webhook.stopped is not None else None,
        "by": str(webhook.by),
        "changed_at": webhook.changed_at,
    }


def _read(row: Any) -> Webhook:
    return Webhook(
        key=row.key,
        subject=Subject.parse(row.subject),
        id=row.id,
        url=row.url,
        selection=Selection(frozenset(map(Event, row.events)), frozenset(row.datasets), frozenset(row.domains)),
        description=row.description,
        active=row.active,
        version=row.version,
        by=Subject.parse(row.by),
        at=row.at,
        changed_at=row.changed_at,
        stopped=Stopped(row.stopped) if row.stopped is not None else None,
        former_until=row.former_until,
    )


def _sealed(row: Any) -> Sealed:
    return Sealed(row.secret, row.secret_version, row.former_secret, row.former_until)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row=row.ledger_row,
        at=row.at,
        event=row.event,
        place=Place.parse(row.place),
        state=State(row.state),
        tries=row.tries,
        status=row.status,
        why=row.why,
        first_at=row.first_at,
        last_at=row.last_at,
        position=row.position,
    )
