"""Somebody says how they want to be told: by mail or not, at once or once a day, and at which address.

An address counts once whoever reads what comes to it has said so, by the link in a mail. Who follows the link that ends
such mails need not sign in: the mail came to them. Neither a link nor an address stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, row
from muniment.core.notices import (
    CHOSEN,
    Address,
    Choice,
    Notice,
    NoticeKind,
    Pace,
    address_of,
    checked_mailbox,
    due_at,
)
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, StaleEdit, TooMany
from muniment.core.subjects import Subject
from muniment.core.webhooks import parse_url, written_secret
from muniment.flows.house import House
from muniment.identity.notices import sealed
from muniment.store import ledger, notices
from muniment.store.databases import Transaction
from muniment.store.notices import Receiver

#: How many mails to an address that is not confirmed, and how many tests, one subject may cause in a period.
_MOST: Final = 5
_PERIODS: Final[Mapping[NoticeKind, timedelta]] = {
    NoticeKind.ADDRESS: timedelta(days=1),
    NoticeKind.TEST: timedelta(hours=1),
}

#: How often a choice is made again that another one has overtaken.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Preferences:
    """What somebody chose and where their mails go; ``mails`` says whether this service sends any."""

    choice: Choice
    address: Address | None
    mails: bool
    webhook: str | None
    revision: int

    @property
    def says(self) -> str:
        """What that comes to, in a sentence."""
        if not self.mails:
            return "This Muniment sends no mails. What it has to tell you is in /v1/notices."
        if self.address is None:
            return "No mail goes to you, because no address of yours is known. Give one: POST /v1/notices/address."
        if self.choice.quiet:
            return f"No mail goes to {self.address.mailbox}, because you want quiet."
        return f"Mails go to {self.address.mailbox}" + ("." if self.address.confirmed else ", as your sign-in says.")


async def read_preferences(house: House, occasion: Occasion) -> Preferences:
    """How the asker is told."""
    realm = await house.realms.current(occasion.revision)
    await house.ledger.record(
        row(occasion, Event.NOTICES_READ, Outcome.ALLOWED, revision=realm.revision, details={"read": "preferences"})
    )
    async with house.db.begin() as tx:
        return await _preferences(tx, house, occasion, realm.revision)


async def choose_notices(
    house: House,
    occasion: Occasion,
    mail: Mapping[NoticeKind, Pace],
    webhook: Mapping[NoticeKind, bool],
    after_version: int,
    *,
    quiet: bool,
) -> Preferences:
    """From now on the asker is told so; what is not named stays as it is."""
    realm = await house.realms.current(occasion.revision)
    async with house.db.begin() as tx:
        stands = await _choice(tx, occasion.subject)
        if stands.version != after_version:
            detail = f"What you chose stands at version {stands.version} now: read it again, then choose."
            raise StaleEdit(detail, version=stands.version)
        chosen = await notices.choose(
            tx,
            occasion.subject,
            replace(stands, mail={**stands.mail, **mail}, webhook={**stands.webhook, **webhook}, quiet=quiet),
        )
        await _tell(tx, occasion, occasion.subject, **_said(chosen))
        return await _preferences(tx, house, occasion, realm.revision)


async def ask_for_address(house: House, occasion: Occasion, mailbox: str) -> Preferences:
    """Send a link to an address; the asker's mails go there once it has been followed."""
    realm = await house.realms.current(occasion.revision)
    checked = checked_mailbox(mailbox)
    if house.mail is None:
        raise Conflict(
            "This Muniment sends no mails, so no address can be confirmed. What it tells you is in /v1/notices."
        )
    async with house.db.begin() as tx:
        await _made(tx, house, occasion, NoticeKind.ADDRESS, {"mailbox": checked})
        await _tell(tx, occasion, occasion.subject, address="asked for")
        return await _preferences(tx, house, occasion, realm.revision)


async def remove_address(house: House, occasion: Occasion) -> Preferences:
    """Forget the address that the asker confirmed."""
    realm = await house.realms.current(occasion.revision)
    async with house.db.begin() as tx:
        await notices.remove_address(tx, occasion.subject)
        await _tell(tx, occasion, occasion.subject, address="removed")
        return await _preferences(tx, house, occasion, realm.revision)


async def send_test(house: House, occasion: Occasion) -> Preferences:
    """Tell the asker something that means nothing, by every way that they chose."""
    realm = await house.realms.current(occasion.revision)
    async with house.db.begin() as tx:
        await _made(tx, house, occasion, NoticeKind.TEST, {})
        await _tell(tx, occasion, occasion.subject, test="asked for")
        return await _preferences(tx, house, occasion, realm.revision)


async def call_webhook(house: House, occasion: Occasion, url: str, drawn: bytes) -> tuple[Preferences, str]:
    """From now on a program of the asker's is sent what they are told; gives the secret by which it knows that.

    ``drawn`` is what the secret is made of. Another program that was sent it before is sent nothing more.
    """
    realm = await house.realms.current(occasion.revision)
    if parse_url(url).plain and not house.messenger.calls_plainly:
        message = "The address must begin with https://; without it only MUNIMENT_WEBHOOK_NETWORKS are called."
        raise Invalid(message, [Fault("url", message)])
    key = derived(occasion.request_id, "notice webhook")
    async with house.db.begin() as tx:
        receiver = Receiver(key, url, sealed(house.envelopes, key, drawn))
        await notices.put_receiver(tx, occasion.subject, receiver, occasion.at)
        await _tell(tx, occasion, occasion.subject, webhook=parse_url(url).origin)
        return await _preferences(tx, house, occasion, realm.revision), written_secret(drawn)


async def remove_webhook(house: House, occasion: Occasion) -> Preferences:
    """No program is sent what the asker is told."""
    realm = await house.realms.current(occasion.revision)
    async with house.db.begin() as tx:
        await notices.remove_receiver(tx, occasion.subject)
        await _tell(tx, occasion, occasion.subject, webhook="removed")
        return await _preferences(tx, house, occasion, realm.revision)


# --- by a link, without signing in ----------------------------------------------------------------------------------


async def confirm_address(house: House, occasion: Occasion, token: str) -> Subject:
    """Whoever holds the link reads what comes to the address; raises :class:`NotFound` for what is no such link."""
    subject, mailbox = house.links.read_confirm(token, occasion.at)
    async with house.db.begin() as tx:
        if (await notices.addresses(tx, [subject])).get(subject) != mailbox:
            await notices.confirm(tx, subject, mailbox, occasion.at)
            await _tell(tx, occasion, subject, address="confirmed")
    return subject


async def unsubscribe(house: House, occasion: Occasion, token: str) -> frozenset[NoticeKind]:
    """Whoever holds the link gets no more mails of its kinds; gives them. Raises :class:`NotFound` for no such link."""
    subject, kinds = house.links.read_unsubscribe(token)
    for _ in range(_ATTEMPTS):
        try:
            async with house.db.begin() as tx:
                stands = await _choice(tx, subject)
                if any(stands.mail[kind] is not Pace.OFF for kind in kinds):
                    chosen = await notices.choose(tx, subject, stands.without(kinds))
                    await _tell(tx, occasion, subject, **_said(chosen))
            return kinds
        except StaleEdit:
            continue
    raise Conflict("What you chose is being changed at this moment. Try again.")


def read_unsubscribe(house: House, token: str) -> frozenset[NoticeKind]:
    """Of which kinds a link ends the mails; raises :class:`NotFound` for what is no such link."""
    _, kinds = house.links.read_unsubscribe(token)
    return kinds


def read_confirm(house: House, token: str, at: datetime) -> str:
    """Which address a link confirms; raises :class:`NotFound` for what is no such link."""
    _, mailbox = house.links.read_confirm(token, at)
    return mailbox


async def _choice(tx: Transaction, subject: Subject) -> Choice:
    return (await notices.choices(tx, [subject])).get(subject, Choice())


async def _receiver(tx: Transaction, subject: Subject) -> Receiver | None:
    return (await notices.receivers(tx, [subject])).get(subject)


async def _preferences(tx: Transaction, house: House, occasion: Occasion, revision: int) -> Preferences:
    confirmed = (await notices.addresses(tx, [occasion.subject])).get(occasion.subject)
    receiver = await _receiver(tx, occasion.subject)
    return Preferences(
        choice=await _choice(tx, occasion.subject),
        address=address_of(confirmed, occasion.asker),
        mails=house.mail is not None,
        webhook=receiver.url if receiver is not None else None,
        revision=revision,
    )


async def _made(tx: Transaction, house: House, occasion: Occasion, kind: NoticeKind, about: Mapping[str, str]) -> None:
    """Make a notice that answers what the asker did, if they have not done it too often."""
    period = _PERIODS[kind]
    if await notices.count_of(tx, occasion.subject, kind, occasion.at - period) >= _MOST:
        seconds = int(period.total_seconds())
        raise TooMany(f"{_MOST} such mails in {seconds // 3600} hours are enough. Try again later.", seconds=seconds)
    notice = Notice(
        id=derived(occasion.request_id, f"notice {kind}"),
        recipient=occasion.subject,
        kind=kind,
        thing=str(occasion.request_id),
        at=occasion.at,
        about=about,
    )
    await notices.add(tx, [notice])
    confirmed = (await notices.addresses(tx, [occasion.subject])).get(occasion.subject)
    sending = [(notice.id, Pace.AT_ONCE, due_at(Pace.AT_ONCE, occasion.at))]
    if house.mail is not None and (about or address_of(confirmed, occasion.asker)):
        await notices.send(tx, sending)
    if kind is NoticeKind.TEST and await _receiver(tx, occasion.subject) is not None:
        await notices.send(tx, sending, notices.WEBHOOK)


def _said(choice: Choice) -> dict[str, object]:
    return {
        "quiet": choice.quiet,
        "mail": {kind.value: choice.mail[kind].value for kind in CHOSEN},
        "webhook": {kind.value: choice.webhook[kind] for kind in CHOSEN},
    }


async def _tell(tx: Transaction, occasion: Occasion, subject: Subject, **said: object) -> None:
    """Write down what somebody chose, whoever sent the request."""
    details = {"of": str(subject), **said}
    await ledger.append(tx, [row(occasion, Event.NOTICES_CHOSEN, Outcome.DONE, details=details)])
