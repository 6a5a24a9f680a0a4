"""The service sends the rows of the ledger to the webhooks that take them.

Every worker looks for webhooks that nobody sends for, and holds each that it sends for
(``store/webhooks.py``), so one receiver never waits for another, and what a dead worker held is
taken over. Before each row it is asked anew whether the webhook stands and what its subject may
read; what became of the row is written down before the next one is sent. So a row is sent at
least once: again, with the same id, where a worker died in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from muniment.core.ledger import Event, Outcome, Place, Row, row
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of
from muniment.core.problems import Problem
from muniment.core.subjects import SubjectState
from muniment.core.webhooks import (
    Delivery,
    Patience,
    State,
    Stopped,
    Verdict,
    Webhook,
    asked_wait,
    headers,
    judged,
    parse_url,
    payload,
)
from muniment.flows.house import House, aside
from muniment.identity.envelopes import NotOpened
from muniment.identity.webhooks import opened
from muniment.post.webhooks import Answer
from muniment.store import ledger, subjects, webhooks
from muniment.store.databases import Transaction
from muniment.store.present import Now
from muniment.store.webhooks import Standing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a worker looks for what is to be sent, how long it holds what it sends, and how patient it is."""

    look: timedelta = timedelta(seconds=1)
    hold: timedelta = timedelta(seconds=12)
    #: Where nothing is to be sent of what came, that is written down so often.
    move: timedelta = timedelta(seconds=5)
    forget: timedelta = timedelta(hours=1)
    patience: Patience = field(default_factory=Patience)
    #: For how many webhooks one worker sends at once.
    most: int = 256
    page: int = 64


@dataclass(slots=True)
class _Turn:
    """What a worker knows of a webhook that it sends for: ``seen`` may be further than what is ``stored``.

    ``ahead`` are rows behind ``seen`` that were read already; whether each may be sent is another question.
    """

    key: UUID
    stored: Place | None = None
    seen: Place | None = None
    ahead: deque[tuple[Place, Row]] = field(default_factory=deque)
    stored_at: float = 0.0
    asked: tuple[Now, str, datetime] | None = None
    reader: Reader | None = None


@dataclass(frozen=True, slots=True)
class _Head:
    """The row that is to be sent next, and what is known of sending it."""

    row: Row
    delivery: Delivery


class Sender:
    """Sends for one worker. ``occasion`` makes one of the service itself, now; ``lot`` draws between 0 and 1."""

    def __init__(
        self,
        house: House,
        holder: UUID,
        occasion: Callable[[], Occasion],
        lot: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        self._house = house
        self._holder = holder
        self._occasion = occasion
        self._lot = lot
        self._pace = pace or Pace()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._looking: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        self._looking = (
            asyncio.create_task(self._again_and_again(self._look, self._pace.look), name="webhooks"),
            asyncio.create_task(self._again_and_again(self._forget, self._pace.forget), name="webhooks forgotten"),
        )

    async def stop(self) -> None:
        """Send no more, and let others go on at once; what was under way is sent again."""
        tasks = [*self._looking, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        with suppress(Problem):
            async with self._house.db.begin() as tx:
                await webhooks.let_go(tx, self._holder)

    async def _again_and_again(self, what: Callable[[], Awaitable[None]], wait: timedelta) -> None:
        reachable = True
        while True:
            try:
                await what()
                reachable = True
            except Problem as problem:
                if reachable:
                    logger.warning("webhooks could not be looked after: %s", problem.detail)
                reachable = False
            except Exception:
                # A fault of ours: the next look may do better, and the others go on.
                logger.exception("webhooks could not be looked after")
            await asyncio.sleep(wait.total_seconds())

    async def _look(self) -> None:
        """Go on holding what is sent for, let go of what is not one's own any more, and take what nobody holds."""
        pace = self._pace
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}
        async with self._house.db.begin() as tx:
            held = await webhooks.renew(tx, self._holder, self._tasks.keys(), pace.hold) if self._tasks else frozenset()
            room = pace.most - len(self._tasks)
            claimed = await webhooks.claim(tx, self._holder, pace.hold, room) if room > 0 else []
        for key in self._tasks.keys() - held:
            self._tasks[key].cancel()
        for key in claimed:
            if key in self._tasks:
                self._tasks[key].cancel()
            self._tasks[key] = asyncio.create_task(self._send_on(key), name="webhook")

    async def _forget(self) -> None:
        while True:
            async with self._house.db.begin() as tx:
                if not await webhooks.forget(tx, 1000):
                    return

    async def _send_on(self, key: UUID) -> None:
        """Send for one webhook until it is over, or until it has to wait."""
        turn = _Turn(key)
        try:
            async with self._house.tail.following():
                while await self._send_next(turn):
                    pass
        except Problem as problem:
            logger.warning("a webhook has to wait: %s", problem.detail)
        except Exception:
            logger.exception("a webhook could not be sent")
            await self._wait(key, self._pace.patience.waits[-1])
        else:
            return

    async def _send_next(self, turn: _Turn) -> bool:
        """Send one row, or wait for one; whether to go on."""
        async with self._house.db.begin() as tx:
            standing = await webhooks.standing(tx, self._holder, turn.key)
            known = await subjects.newest_of(tx, standing.webhook.subject) if standing is not None else None
            if standing is not None and self._is_worth_moving(turn, standing) and turn.seen is not None:
                await webhooks.move(tx, self._holder, turn.key, turn.seen)
                turn.stored = turn.seen
        if standing is None:
            return False
        webhook, occasion = standing.webhook, self._occasion()
        state = known.state if known is not None else SubjectState(webhook.subject, "muniment")
        reader = await self._reader(turn, standing.now, state, occasion.at)
        if (known is not None and not known.active) or not reader.audits:
            return await self._stop(webhook, Stopped.NO_RIGHT)
        head = await self._head(turn, standing, reader, occasion.at)
        if head is None:
            return True
        try:
            secrets = opened(self._house.envelopes, webhook.key, standing.sealed, occasion.at)
        except NotOpened:
            return await self._stop(webhook, Stopped.SECRET_LOST)
        body = payload(head.row)
        signed = headers(secrets, str(head.row.id), occasion.at, body)
        answer = await self._house.messenger.send(parse_url(webhook.url), signed, body)
        return await self._settle(turn, standing, head.delivery, answer)

    def _is_worth_moving(self, turn: _Turn, standing: Standing) -> bool:
        """Whether to write down how far one has come; a place that somebody else has set stands before one's own."""
        if turn.stored != standing.place:
            turn.stored = turn.seen = standing.place
            turn.ahead.clear()
        now = asyncio.get_running_loop().time()
        if turn.seen == turn.stored or now - turn.stored_at < self._pace.move.total_seconds():
            return False
        turn.stored_at = now
        return True

    async def _reader(self, turn: _Turn, now: Now, state: SubjectState, at: datetime) -> Reader:
        """What the subject may read now. Rights begin and end by the clock too, so it is asked anew each second."""
        if turn.reader is None or turn.asked is None or turn.asked[:2] != (now, state.digest) or _past(turn, at):
            realm = await self._house.realms.current(now.revision)
            turn.reader = await aside(partial(reader_of, realm, state, at))
            turn.asked = (now, state.digest, at)
        return turn.reader

    async def _head(self, turn: _Turn, standing: Standing, reader: Reader, at: datetime) -> _Head | None:
        """The next row to send, what waits before what is new; None where there is none yet."""
        if standing.waiting is not None:
            return await self._waiting(turn, standing, standing.waiting, reader, at)
        if not turn.ahead:
            place = turn.seen or standing.place
            turn.ahead.extend(await self._house.tail.after(place, self._pace.page))
            if not turn.ahead:
                await self._house.tail.news(place, standing.now, self._pace.look.total_seconds())
            # These may have been written after a right had ended that stood when it was asked: asked anew, then sent.
            return None
        while turn.ahead:
            stands, found = turn.ahead[0]
            if reader.may_read(found) and standing.webhook.selection.takes(found):
                delivery = Delivery(
                    row=found.id, at=found.at, event=found.event.value, place=stands, first_at=at, last_at=at
                )
                return _Head(found, delivery)
            turn.seen = stands
            turn.ahead.popleft()
        return None

    async def _waiting(
        self, turn: _Turn, standing: Standing, delivery: Delivery, reader: Reader, at: datetime
    ) -> _Head | None:
        """A row that was tried before, if it may still be sent."""
        async with self._house.db.begin() as tx:
            found = await ledger.of_id(tx, delivery.row)
            if found is not None and reader.may_read(found) and standing.webhook.selection.takes(found):
                return _Head(found, delivery)
            withheld = replace(delivery, state=State.WITHHELD, why=None, last_at=at)
            await webhooks.note(tx, self._holder, turn.key, withheld, dead_in_a_row=standing.dead_in_a_row)
        return None

    async def _settle(self, turn: _Turn, standing: Standing, delivery: Delivery, answer: Answer) -> bool:
        """Write down what became of a row; whether to go on."""
        at, verdict = self._occasion().at, judged(answer.status)
        tried = replace(delivery, tries=delivery.tries + 1, status=answer.status, why=answer.why, last_at=at)
        wait = None
        if verdict not in {Verdict.TAKEN, Verdict.GONE}:
            wait = self._pace.patience.wait(verdict, tried.tries, asked_wait(answer.retry_after, at), self._lot())
        dead = standing.dead_in_a_row
        match verdict:
            case Verdict.TAKEN:
                tried, dead = replace(tried, state=State.DELIVERED), 0
            case Verdict.GONE:
                tried = replace(tried, state=State.WAITING)
            case _ if wait is None:
                tried, dead = replace(tried, state=State.DEAD), dead + 1
            case _:
                tried = replace(tried, state=State.WAITING)
        async with self._house.db.begin() as tx:
            if await webhooks.standing(tx, self._holder, turn.key) is None:
                return False
            await webhooks.note(tx, self._holder, turn.key, tried, dead_in_a_row=dead)
            if standing.waiting is None:
                await webhooks.move(tx, self._holder, turn.key, tried.place)
                turn.stored = turn.seen = tried.place
                turn.ahead.popleft()
            if verdict is Verdict.GONE:
                await self._note_stop(tx, standing.webhook, Stopped.GONE)
            elif dead >= self._pace.patience.most_dead:
                await self._note_stop(tx, standing.webhook, Stopped.FAILING)
            elif wait is not None:
                await webhooks.wait(tx, self._holder, turn.key, wait)
        return tried.state in {State.DELIVERED, State.DEAD}

    async def _stop(self, webhook: Webhook, why: Stopped) -> bool:
        async with self._house.db.begin() as tx:
            if await webhooks.standing(tx, self._holder, webhook.key) is not None:
                await self._note_stop(tx, webhook, why)
        return False

    async def _note_stop(self, tx: Transaction, webhook: Webhook, why: Stopped) -> None:
        occasion = self._occasion()
        await webhooks.stop(tx, webhook.key, why, occasion.at)
        await webhooks.let_go(tx, self._holder, webhook.key)
        details = {"webhook": webhook.id, "of": str(webhook.subject), "why": why.value}
        await ledger.append(tx, [row(occasion, Event.WEBHOOK_STOPPED, Outcome.DONE, details=details)])

    async def _wait(self, key: UUID, lasting: timedelta) -> None:
        with suppress(Problem):
            async with self._house.db.begin() as tx:
                await webhooks.wait(tx, self._holder, key, lasting)


def _past(turn: _Turn, at: datetime) -> bool:
    return turn.asked is None or not timedelta(0) <= at - turn.asked[2] < timedelta(seconds=1)
