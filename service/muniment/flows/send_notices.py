"""People are told what they did not ask about: what is new in the record, and what the calendar says.

One process at a time does this, in rounds (``store/notices.py``). Whom something concerns is decided when it comes up;
what each may be told is decided again when it is sent, by the realm as it is then. A mail has its row in the ledger
before it leaves. It leaves at least once: one that was under way when the process died is sent again, with the same
Message-ID (decision 0045).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import UUID

from muniment.core.approvers import meant, members
from muniment.core.deputies import Deputyship
from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.notices import (
    CHOSEN,
    KEPT,
    LATE,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    MOST_CALLS,
    TIME_TO_CONFIRM,
    Choice,
    Letter,
    Matter,
    Notice,
    NoticeKind,
    Pace,
    Tidings,
    Words,
    address_of,
    due_at,
    letter,
    of_days,
    of_request,
    of_use,
    payload,
    wait_after,
    words,
)
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.requests import EXPIRES_AFTER, AccessRequest, State, id_floor
from muniment.core.subjects import ITSELF, Subject, SubjectState
from muniment.core.webhooks import Secrets, Verdict, asked_wait, headers, judged, parse_url
from muniment.flows.house import House, aside
from muniment.identity.envelopes import NotOpened
from muniment.identity.notices import opened
from muniment.post.mail import Mail, Mailer, MailServer, Undelivered, connected
from muniment.post.webhooks import Answer
from muniment.store import deputies, ledger, notices, requests, subjects
from muniment.store.databases import Transaction
from muniment.store.notices import MAIL, WEBHOOK, Desk, Kept, Receiver

logger = logging.getLogger("muniment")

#: How many rows of the ledger are read together, and how many mails go in one round.
_TOGETHER: Final = 500
_MOST_MAILS: Final = 200

#: How many programs are sent something at once: each may be slow.
_CALLS: Final = 32

#: How often the calendar is looked at.
_SWEEPS: Final = timedelta(hours=1)

#: How long nothing is tried after the server took nothing, whatever waits.
_HELD_BACK: Final = timedelta(minutes=10)

#: What the ledger names as the client where the service tells people something by itself.
_CLIENT: Final = "muniment notices"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to: how many notices were made, how many mails left, and how many programs took one."""

    made: int = 0
    sent: int = 0
    called: int = 0


async def go_round(
    house: House, holder: UUID, at: datetime, turn: UUID, stopping: asyncio.Event | None = None
) -> Round | None:
    """Read what is new, look at the calendar, and send what is due; None while another process does.

    ``turn`` is an id of this round's own, from which the ids of what it makes follow. Once it is ``stopping``, the mail
    under way is the last one.
    """
    async with house.db.begin() as tx:
        desk = await notices.hold_desk(tx, holder)
    if desk is None:
        return None
    made = await _read_news(house, holder, desk, at, turn)
    if desk.swept_at is None or not timedelta(0) <= at - desk.swept_at < _SWEEPS:
        made += await _sweep(house, at, turn)
    sent = await _send_due(house, house.mail, holder, at, turn, stopping or asyncio.Event()) if house.mail else 0
    return Round(made, sent, await _call_due(house, holder, at, turn))


async def leave(house: House, holder: UUID) -> None:
    """Let another process go on."""
    async with house.db.begin() as tx:
        await notices.leave_desk(tx, holder)


# --- what there is to tell ------------------------------------------------------------------------------------------


async def _read_news(house: House, holder: UUID, desk: Desk, at: datetime, turn: UUID) -> int:
    """Make notices of what is new in the ledger; gives how many."""
    made, place = 0, desk.place
    while True:
        async with house.db.begin() as tx:
            rows, read = await notices.news(tx, place, _TOGETHER)
            concerned = await _requests_of(tx, rows)
            firsts = [each for each in _one_of_each(rows) if not await notices.used_before(tx, each)]
            named = await deputies.standing(tx, at) if concerned else []
        realm = await house.realms.current()
        states = await _concerned_by(house, realm, concerned, firsts, named)
        told = await aside(partial(_of_rows, realm, states, at, concerned, firsts, named)) if states else []
        async with house.db.begin() as tx:
            if read is not None and read != place and not await notices.read_on(tx, holder, read):
                return made
            made += await _keep(tx, house, realm, states, at, turn, told)
        place = read
        if len(rows) < _TOGETHER:
            return made


async def _requests_of(tx: Transaction, rows: Iterable[Row]) -> list[AccessRequest]:
    """The requests that rows tell of, as they stand now."""
    ids = {str(each.details["request"]): None for each in rows if "request" in each.details}
    found = [await requests.newest(tx, id_) for id_ in ids]
    return [each for each in found if each is not None]


def _one_of_each(rows: Iterable[Row]) -> Iterator[Row]:
    """The first of the rows that tell of a use, for each subject and dataset."""
    seen: set[tuple[str, str]] = set()
    for each in rows:
        key = (each.subject, each.datasets[0] if each.datasets else "")
        if each.event is Event.USE_REPORTED and key not in seen:
            seen.add(key)
            yield each


#: Something to tell, with what its words are made of.
_News = tuple[Tidings, Matter]


async def _concerned_by(
    house: House,
    realm: Realm,
    concerned: Sequence[AccessRequest],
    firsts: Sequence[Row],
    named: Sequence[Deputyship],
) -> Sequence[SubjectState]:
    """Those of all subjects who can have to do with what is new: most of them need not be looked at."""
    if not concerned and not firsts:
        return ()
    people = {str(each) for deputyship in named for each in (deputyship.principal, deputyship.deputy)}
    people |= {str(each.requester) for each in concerned}
    used = (realm.resolve(each.datasets[0]) for each in firsts if each.datasets)
    people |= {dataset.owner for dataset in used if dataset is not None}
    among = members(realm, people)
    if concerned:
        among |= await aside(lambda: meant(realm, {each.domain for each in concerned}))
    async with house.db.begin() as tx:
        if among.anybody:
            return [known.state for known in await subjects.newest(tx)]
        return [known.state for known in await subjects.newest_among(tx, among.subjects, among.groups)]


def _of_rows(
    realm: Realm,
    states: Sequence[SubjectState],
    at: datetime,
    concerned: Iterable[AccessRequest],
    firsts: Iterable[Row],
    named: Sequence[Deputyship] = (),
) -> list[_News]:
    people = {each for deputyship in named for each in (deputyship.principal, deputyship.deputy)}
    among: dict[str, list[SubjectState]] = {}
    found: list[tuple[Tidings | None, Matter]] = []
    for request in concerned:
        if request.domain not in among:
            may = meant(realm, [request.domain])
            among[request.domain] = [each for each in states if may.includes(each) or each.subject in people]
        found.append((of_request(realm, among[request.domain], at, request, named), request))
    found += [(of_use(realm, states, each), each) for each in firsts]
    return [(tidings, matter) for tidings, matter in found if tidings is not None]


async def _sweep(house: House, at: datetime, turn: UUID) -> int:
    """Make notices of what no row tells: what comes to further approvers, expires, ends, or is to be reviewed."""
    realm = await house.realms.current()
    async with house.db.begin() as tx:
        states = [known.state for known in await subjects.newest(tx)]
        undecided = await _undecided(tx, at)
        named = await deputies.standing(tx, at)
    told = await aside(
        lambda: [
            *_of_rows(realm, states, at, undecided, (), named),
            *((tidings, None) for tidings in of_days(realm, states, at)),
        ]
    )
    async with house.db.begin() as tx:
        await notices.swept(tx, at)
        await notices.forget(tx, at - KEPT)
        return await _keep(tx, house, realm, states, at, turn, told)


async def _undecided(tx: Transaction, at: datetime) -> list[AccessRequest]:
    """The requests that wait for a decision, and those that expired lately without one."""
    since = id_floor(at - EXPIRES_AFTER - LATE)
    found: list[AccessRequest] = []
    before: str | None = None
    while True:
        batch = await requests.older(tx, limit=_TOGETHER, before=before, since=since)
        found += [
            each
            for each in batch
            if each.state(at) is State.PENDING or (each.state(at) is State.EXPIRED and each.expires_at > at - LATE)
        ]
        if len(batch) < _TOGETHER:
            return found
        before = batch[-1].id


async def _keep(
    tx: Transaction,
    house: House,
    realm: Realm,
    states: Sequence[SubjectState],
    at: datetime,
    turn: UUID,
    told: Sequence[_News],
) -> int:
    """Keep what is news to each of those whom it concerns and who may know it, and let it go out as they chose."""
    by_subject = {state.subject: state for state in states}
    principals: dict[Subject, list[SubjectState]] = {}
    for each in await deputies.standing(tx, at) if told else ():
        if each.principal in by_subject:
            principals.setdefault(each.deputy, []).append(by_subject[each.principal])
    made = await aside(partial(_made, realm, by_subject, at, turn, told, principals)) if told else []
    new = await notices.add(tx, made)
    fresh = [notice for notice in made if notice.id in new]
    if fresh:
        await _let_go(tx, house, fresh, by_subject)
    return len(fresh)


def _made(
    realm: Realm,
    states: Mapping[Subject, SubjectState],
    at: datetime,
    turn: UUID,
    told: Sequence[_News],
    principals: Mapping[Subject, Sequence[SubjectState]],
) -> list[Notice]:
    found = []
    for tidings, matter in told:
        for recipient in tidings.recipients:
            id_ = derived(turn, f"{tidings.kind} {tidings.thing} {recipient}")
            notice = Notice(
                id=id_, recipient=recipient, kind=tidings.kind, thing=tidings.thing, at=at, about=tidings.about
            )
            state = states.get(recipient)
            through = principals.get(recipient, ())
            if state is not None and words(realm, state, at, notice, matter, through) is not None:
                found.append(notice)
    return found


async def _let_go(
    tx: Transaction, house: House, made: Sequence[Notice], states: Mapping[Subject, SubjectState]
) -> None:
    """Let notices go by mail to those who have an address and want it, and to the programs that take them."""
    recipients = {notice.recipient for notice in made}
    chosen, confirmed = await notices.choices(tx, recipients), await notices.addresses(tx, recipients)
    sendings = []
    for notice in made:
        pace = chosen.get(notice.recipient, Choice()).pace(notice.kind)
        mailbox = notice.about.get("mailbox") or address_of(confirmed.get(notice.recipient), states[notice.recipient])
        if mailbox is not None and pace is not Pace.OFF:
            sendings.append((notice.id, pace, due_at(pace, notice.at)))
    if house.mail is not None:
        await notices.send(tx, sendings)
    called = await notices.receivers(tx, recipients)
    calls = [
        (notice.id, Pace.AT_ONCE, notice.at)
        for notice in made
        if notice.recipient in called and chosen.get(notice.recipient, Choice()).calls(notice.kind)
    ]
    await notices.send(tx, calls, WEBHOOK)


# --- sending --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ready:
    """A mail as it leaves, the notices that it tells, and those that are left because there is nothing to tell."""

    mail: Mail | None
    told: tuple[Notice, ...]
    left: Mapping[UUID, str]
    datasets: tuple[str, ...]
    revision: int


async def _send_due(
    house: House, server: MailServer, holder: UUID, at: datetime, turn: UUID, stopping: asyncio.Event
) -> int:
    """Send what is due, one mail after the other on one connection; gives how many left."""
    claimed, sent = await _claimed(house, holder, at), 0
    if not claimed:
        return 0
    try:
        async with connected(server) as mailer:
            for number in range(1, _MOST_MAILS + 1):
                sent += await _send(house, mailer, claimed, at, derived(turn, f"mail {number}"))
                if stopping.is_set() or number == _MOST_MAILS:
                    break
                claimed = await _claimed(house, holder, at)
                if not claimed:
                    break
    except Undelivered as failed:
        await _hold_back(house, claimed, at, failed)
    return sent


async def _claimed(house: House, holder: UUID, at: datetime) -> list[Kept]:
    """What goes into the next mail, if the desk is still this process's."""
    async with house.db.begin() as tx:
        return await notices.claim(tx, at) if await notices.hold_desk(tx, holder) is not None else []


async def _send(house: House, mailer: Mailer, claimed: Sequence[Kept], at: datetime, id_: UUID) -> int:
    """Put claimed notices into words, write that down, and hand the mail over; raises what the whole server refuses."""
    ready = await _made_ready(house, claimed, at)
    async with house.db.begin() as tx:
        for left, why in ready.left.items():
            await notices.settle(tx, [left], "dropped", at, why)
        if ready.mail is not None:
            await ledger.append(tx, [_row(ready.told, ready.datasets, ready.revision, claimed, MAIL, at, id_)])
    if ready.mail is None:
        return 0
    ids = [notice.id for notice in ready.told]
    try:
        await mailer.send(ready.mail)
    except Undelivered as failed:
        if failed.server:
            raise
        await _put_off(house, claimed, ids, at, failed)
        return 0
    async with house.db.begin() as tx:
        await notices.settle(tx, ids, "sent", at)
    return 1


async def _made_ready(house: House, claimed: Sequence[Kept], at: datetime) -> _Ready:
    """The mail of what its reader may know now, and still wants to."""
    said = await _told(house, claimed, at, lambda choice, kind: choice.pace(kind) is not Pace.OFF)
    address = claimed[0].notice.about.get("mailbox")
    if address is None and said.known is not None and (found := address_of(said.mailbox, said.known)) is not None:
        address = found.mailbox
    if address is None:
        return _Ready(None, (), {kept.notice.id: "has no address any more" for kept in claimed}, (), said.revision)
    told = [notice for notice, _ in said.told]
    mail = _mail(house, told, [text for _, text in said.told], address, at) if told else None
    return _Ready(mail, tuple(told), said.left, said.datasets, said.revision)


@dataclass(frozen=True, slots=True)
class _Told:
    """What of some claimed notices of one subject is told, in which words; and what is left, and why."""

    told: tuple[tuple[Notice, Words], ...]
    left: Mapping[UUID, str]
    revision: int
    known: SubjectState | None = None
    mailbox: str | None = None
    receiver: Receiver | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """Those that are named."""
        return tuple(sorted({name for _, text in self.told for name in text.datasets}))


async def _told(
    house: House, claimed: Sequence[Kept], at: datetime, wanted: Callable[[Choice, NoticeKind], bool]
) -> _Told:
    """Put claimed notices of one subject into words, by what it may know now and still wants."""
    recipient, about = claimed[0].notice.recipient, [kept.notice for kept in claimed]
    async with house.db.begin() as tx:
        known = await subjects.newest_of(tx, recipient)
        choice = (await notices.choices(tx, [recipient])).get(recipient, Choice())
        mailbox = (await notices.addresses(tx, [recipient])).get(recipient)
        receiver = (await notices.receivers(tx, [recipient])).get(recipient)
        matters = [await notices.matter_of(tx, notice) for notice in about]
        principals = [each.state for each in await subjects.principals_of(tx, recipient, at)]
    realm = await house.realms.current()
    if known is None or not known.active:
        return _Told((), {notice.id: "may not sign in any more" for notice in about}, realm.revision)
    said = await aside(
        lambda: [
            words(realm, known.state, at, notice, matter, principals)
            for notice, matter in zip(about, matters, strict=True)
        ]
    )
    told: list[tuple[Notice, Words]] = []
    left: dict[UUID, str] = {}
    for notice, text in zip(about, said, strict=True):
        if not wanted(choice, notice.kind):
            left[notice.id] = "is not wanted any more"
        elif text is None or not text.open:
            left[notice.id] = "has nothing to tell any more"
        else:
            told.append((notice, text))
    return _Told(tuple(told), left, realm.revision, known.state, mailbox, receiver)


def _mail(house: House, told: Sequence[Notice], said: Sequence[Words], address: str, at: datetime) -> Mail:
    public, first = house.signer.issuer, told[0]
    kinds = sorted({notice.kind for notice in told} & set(CHOSEN))
    unsubscribe = None
    if kinds:
        unsubscribe = _address(f"{public}/notices/unsubscribe", house.links.unsubscribe(first.recipient, kinds))
    link = f"{public}/notices"
    if first.kind is NoticeKind.ADDRESS:
        token = house.links.confirm(first.recipient, address, first.at + TIME_TO_CONFIRM)
        link = _address(f"{public}/notices/address", token)
    written: Letter = letter(said, link=link, unsubscribe=unsubscribe, public=public)
    return Mail(
        to=address,
        title=written.title,
        text=written.text,
        at=at,
        name=str(derived(first.id, " ".join(str(notice.id) for notice in told))),
        list_name=first.kind.value.replace("_", "-") if len(kinds) == 1 else "notices",
        unsubscribe=unsubscribe if public.startswith("https://") else None,
    )


def _address(page: str, token: str) -> str:
    return f"{page}?token={quote(token, safe='')}"


def _row(
    told: Sequence[Notice],
    datasets: tuple[str, ...],
    revision: int,
    claimed: Sequence[Kept],
    channel: str,
    at: datetime,
    id_: UUID,
) -> Row:
    """What the ledger tells of a message: to whom what went. Neither its words nor its address are there."""
    return row(
        Occasion(ITSELF, at, id_, client=_CLIENT),
        Event.NOTICE_SENT,
        Outcome.DONE,
        revision=revision,
        datasets=datasets,
        details={
            "to": str(told[0].recipient),
            "channel": channel,
            "attempt": _attempts(claimed),
            "notices": [{"id": str(notice.id), "kind": notice.kind.value, **_about(notice)} for notice in told],
        },
    )


def _attempts(claimed: Sequence[Kept]) -> int:
    return max(kept.sending.attempts for kept in claimed if kept.sending is not None)


def _about(notice: Notice) -> Mapping[str, str]:
    return {name: said for name, said in notice.about.items() if name != "mailbox"}


async def _put_off(
    house: House, claimed: Sequence[Kept], ids: Sequence[UUID], at: datetime, failed: Undelivered
) -> None:
    """The server refused this mail: try again later, or give up."""
    attempts = _attempts(claimed)
    over = failed.final or attempts >= MOST_ATTEMPTS
    async with house.db.begin() as tx:
        if over:
            await notices.settle(tx, ids, "given up", at, str(failed))
        else:
            await notices.postpone(tx, ids, at + wait_after(attempts), str(failed))
    if over:
        logger.warning("A mail to %s is given up after %d attempts. %s", claimed[0].notice.recipient, attempts, failed)


async def _hold_back(house: House, claimed: Sequence[Kept], at: datetime, failed: Undelivered) -> None:
    """The server takes nothing: what was claimed waits its turn again, and nothing else is tried for a while."""
    await _put_off(house, claimed, [kept.notice.id for kept in claimed], at, failed)
    attempts = _attempts(claimed)
    async with house.db.begin() as tx:
        await notices.hold_back(tx, at + min(_HELD_BACK, wait_after(attempts)))
    logger.warning("Mails wait: %s", failed)


# --- programs that take notices -------------------------------------------------------------------------------------


async def _call_due(house: House, holder: UUID, at: datetime, turn: UUID) -> int:
    """Send what is due to the programs that take notices, to several at once; gives how many took one."""
    async with house.db.begin() as tx:
        if await notices.hold_desk(tx, holder) is None:
            return 0
        claimed = await notices.claim_calls(tx, at, _CALLS)
    calls = (_call(house, kept, at, derived(turn, f"call {kept.notice.id}")) for kept in claimed)
    # Whatever happens to one, the others are brought to their end.
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes.count(True)


async def _call(house: House, kept: Kept, at: datetime, id_: UUID) -> bool:
    """Put a notice into words, write that down, and send it; what came of it is written down too."""
    said = await _told(house, [kept], at, lambda choice, kind: choice.calls(kind))
    receiver, ids = said.receiver, [kept.notice.id]
    if receiver is None or not said.told:
        why = said.left.get(kept.notice.id, "nobody takes it any more")
        async with house.db.begin() as tx:
            await notices.settle(tx, ids, "dropped", at, why, WEBHOOK)
        return False
    ((notice, text),) = said.told
    try:
        secret = opened(house.envelopes, receiver.key, receiver.sealed)
    except NotOpened:
        why = "its secret cannot be read any more: give the address again (POST /v1/notices/webhook)"
        async with house.db.begin() as tx:
            await notices.settle(tx, ids, "given up", at, why, WEBHOOK)
        return False
    async with house.db.begin() as tx:
        await ledger.append(tx, [_row([notice], said.datasets, said.revision, [kept], WEBHOOK, at, id_)])
    body = payload(notice, text)
    signed = headers(Secrets(secret), str(notice.id), at, body)
    answer = await house.messenger.send(parse_url(receiver.url), signed, body)
    return await _came_of(house, kept, receiver, answer, at)


async def _came_of(house: House, kept: Kept, receiver: Receiver, answer: Answer, at: datetime) -> bool:
    """Write down what a program answered: it is tried again, or not."""
    verdict, attempts, ids = judged(answer.status), _attempts([kept]), [kept.notice.id]
    why = "" if verdict is Verdict.TAKEN else answer.why or f"it was answered with {answer.status}"
    async with house.db.begin() as tx:
        match verdict:
            case Verdict.TAKEN:
                await notices.settle(tx, ids, "sent", at, channel=WEBHOOK)
            case Verdict.GONE:
                await notices.remove_receiver(tx, kept.notice.recipient, receiver.key)
                await notices.settle(tx, ids, "given up", at, why, WEBHOOK)
            case _ if attempts >= MOST_CALLS:
                await notices.settle(tx, ids, "given up", at, why, WEBHOOK)
            case _:
                wait = max(wait_after(attempts), min(asked_wait(answer.retry_after, at), LONGEST_WAIT))
                await notices.postpone(tx, ids, at + wait, why, WEBHOOK)
    return verdict is Verdict.TAKEN
