"""Somebody who audits has rows of the ledger sent to an address, looks how that goes, or has some sent again.

A webhook is its subject's: it sends what that one may read, and its subject alone decides where to. Administrators of
everything do that for service identities, in whose name they act anyway; they see all webhooks, and may remove each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Place, Row, row
from muniment.core.names import ROOT, checked_id
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound, StaleEdit
from muniment.core.realm import Realm
from muniment.core.selections import Selection
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.core.visibility import administers, audits_somewhere
from muniment.core.webhooks import (
    LONGEST_OVERLAP,
    MOST_OF_ONE,
    Delivery,
    State,
    Verdict,
    Webhook,
    headers,
    judged,
    parse_url,
    trial,
    written_secret,
)
from muniment.flows.change_realm import refused_changes_recorded
from muniment.flows.house import House, aside
from muniment.identity.envelopes import NotOpened
from muniment.identity.webhooks import opened, sealed
from muniment.post.webhooks import Answer
from muniment.store import ledger, ledger_order, roster, subjects, webhooks
from muniment.store.databases import Transaction


@dataclass(frozen=True, slots=True)
class Wish:
    """A webhook as somebody wants it."""

    url: str
    selection: Selection
    description: str
    active: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A webhook as it stands, at a revision: ``own`` says whether the asker decides where it sends to.

    ``secret`` is told when it is new, and never again.
    """

    webhook: Webhook
    revision: int
    own: bool = True
    counts: Mapping[State, int] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a message that was sent to see whether it arrives."""

    taken: bool
    answer: Answer
    revision: int


async def put_webhook(
    house: House, occasion: Occasion, whose: Subject, id_: str, wish: Wish, after: int, drawn: bytes
) -> Held:
    """Make a webhook, or change it after a version; it is kept, and recorded, when this returns."""
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        await _check_may_hold(house, realm, occasion, whose)
        checked_id(id_)
        _check_url(house, wish.url)
        async with house.db.begin() as tx:
            # What is made while its maker's sign-ins are being ended would outlive them.
            await roster.check_stands(tx, occasion)
            standing = await webhooks.named(tx, whose, id_, to_change=True)
            _check_version(standing, after)
            if standing is None:
                kept, secret = await _made(house, tx, occasion, whose, id_, wish, drawn)
            else:
                kept, secret = await _changed(tx, occasion, standing, wish), None
            await ledger.append(tx, [_row(occasion, Event.WEBHOOK_CHANGED, realm, kept, _details(kept))])
            counts = await webhooks.counts(tx, [kept.key])
    return Held(kept, realm.revision, counts=counts[kept.key], secret=secret)


async def list_webhooks(
    house: House, occasion: Occasion, whose: Subject | None, after: tuple[str, str] | None, limit: int
) -> tuple[Sequence[Held], bool, int]:
    """One's own webhooks, to administrators all; and whether more follow."""
    realm = await house.realms.current()
    governs = await aside(partial(_administers, realm, occasion))
    subject = whose if governs else occasion.subject
    async with house.db.begin() as tx:
        found: list[Webhook] = []
        if governs or whose in {None, occasion.subject}:
            found = await webhooks.listed(tx, subject=subject, after=after, limit=limit + 1)
        counts = await webhooks.counts(tx, [each.key for each in found])
    await house.ledger.record(row(occasion, Event.WEBHOOK_READ, Outcome.ALLOWED, revision=realm.revision))
    held = [
        Held(each, realm.revision, own=_decides(occasion, each.subject, governs=governs), counts=counts[each.key])
        for each in found[:limit]
    ]
    return held, len(found) > limit, realm.revision


async def read_webhook(house: House, occasion: Occasion, whose: Subject, id_: str) -> Held:
    """One webhook, to its subject and to administrators."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        held = await _find(house, realm, occasion, whose, id_)
    await house.ledger.record(_row(occasion, Event.WEBHOOK_READ, realm, held.webhook, outcome=Outcome.ALLOWED))
    return held


async def end_webhook(house: House, occasion: Occasion, whose: Subject, id_: str, after: int) -> int:
    """Remove a webhook; what it has sent is not known any more."""
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        await _find(house, realm, occasion, whose, id_)
        async with house.db.begin() as tx:
            standing = await webhooks.named(tx, whose, id_, to_change=True)
            _check_version(standing, after)
            if standing is None:
                raise NotFound
            await webhooks.remove(tx, standing.key)
            await ledger.append(tx, [_row(occasion, Event.WEBHOOK_ENDED, realm, standing)])
    return realm.revision


async def change_secret(
    house: House, occasion: Occasion, whose: Subject, id_: str, overlap: timedelta, drawn: bytes
) -> Held:
    """Let a new secret sign, and the former one beside it for a while."""
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        message = f"The former secret signs on for at most {LONGEST_OVERLAP // timedelta(hours=1)} hours."
        raise Invalid(message, [Fault("keep_hours", message)])
    realm = await house.realms.current()
    until = occasion.at + overlap if overlap else None
    async with refused_changes_recorded(house, occasion, realm):
        await _find(house, realm, occasion, whose, id_, to_decide=True)
        async with house.db.begin() as tx:
            await roster.check_stands(tx, occasion)
            standing = await _needed(tx, whose, id_)
            version = (await webhooks.secrets_of(tx, standing.key)).version + 1
            kept = sealed(house.envelopes, standing.key, version, drawn)
            await webhooks.change_secret(tx, standing.key, kept, version, until)
            details = {"former_until": until.isoformat() if until is not None else None}
            await ledger.append(tx, [_row(occasion, Event.WEBHOOK_SECRET_CHANGED, realm, standing, details)])
    return Held(replace(standing, former_until=until), realm.revision, secret=written_secret(drawn))


async def try_webhook(house: House, occasion: Occasion, whose: Subject, id_: str) -> Trial:
    """Send a message that is no row of the ledger, and say what came of it."""
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        held = await _find(house, realm, occasion, whose, id_, to_decide=True)
    webhook = held.webhook
    async with house.db.begin() as tx:
        kept = await webhooks.secrets_of(tx, webhook.key)
    await house.ledger.record(_row(occasion, Event.WEBHOOK_TESTED, realm, webhook))
    try:
        secrets = opened(house.envelopes, webhook.key, kept, occasion.at)
    except NotOpened as refused:
        raise Conflict("The webhook's secret cannot be read any more. Make another: POST …/secret.") from refused
    body = trial(webhook, occasion.at)
    signed = headers(secrets, str(derived(occasion.request_id, "webhook")), occasion.at, body)
    answer = await house.messenger.send(parse_url(webhook.url), signed, body)
    return Trial(judged(answer.status) is Verdict.TAKEN, answer, realm.revision)


async def list_deliveries(
    house: House, occasion: Occasion, whose: Subject, id_: str, state: State | None, before: int | None, limit: int
) -> tuple[Sequence[Delivery], bool, int]:
    """What became of the rows that a webhook was to send, the last ones first; and whether more follow."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        held = await _find(house, realm, occasion, whose, id_)
    await house.ledger.record(_row(occasion, Event.WEBHOOK_READ, realm, held.webhook, outcome=Outcome.ALLOWED))
    async with house.db.begin() as tx:
        found = await webhooks.deliveries(tx, held.webhook.key, state=state, before=before, limit=limit + 1)
    return found[:limit], len(found) > limit, realm.revision


async def replay(
    house: House, occasion: Occasion, whose: Subject, id_: str, begin: Place | datetime | None
) -> tuple[Webhook, int, int]:
    """Send again: what was put aside where no beginning is given, else all rows behind a place or from a time on.

    Gives the webhook and how many rows were put aside; it says whether they are sent now.
    """
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        await _find(house, realm, occasion, whose, id_, to_decide=True)
        async with house.db.begin() as tx:
            standing = await _needed(tx, whose, id_)
            revived = 0
            if begin is None:
                revived = await webhooks.revive(tx, standing.key)
            else:
                with ledger.needed():
                    place = begin if isinstance(begin, Place) else await ledger_order.before(tx, begin)
                await webhooks.go_back(tx, standing.key, place)
            details = {"from": _written(begin)}
            await ledger.append(tx, [_row(occasion, Event.WEBHOOK_REPLAYED, realm, standing, details)])
    return standing, revived, realm.revision


async def _made(
    house: House, tx: Transaction, occasion: Occasion, whose: Subject, id_: str, wish: Wish, drawn: bytes
) -> tuple[Webhook, str]:
    if await webhooks.count_of(tx, whose) >= MOST_OF_ONE:
        raise Conflict(f"{whose} has {MOST_OF_ONE} webhooks. Remove those that nobody uses.")
    webhook = Webhook(
        key=derived(occasion.request_id, "webhook"),
        subject=whose,
        id=id_,
        url=wish.url,
        selection=wish.selection,
        description=wish.description,
        active=wish.active,
        by=occasion.subject,
        at=occasion.at,
        changed_at=occasion.at,
    )
    with ledger.needed():
        place = await ledger_order.last(tx) or Place(0, 0, 0)
    if not await webhooks.add(tx, webhook, sealed(house.envelopes, webhook.key, 1, drawn), place):
        raise StaleEdit("Somebody has just made a webhook of this id: reload it and try again.", version=1)
    return webhook, written_secret(drawn)


async def _changed(tx: Transaction, occasion: Occasion, standing: Webhook, wish: Wish) -> Webhook:
    changed = replace(
        standing,
        url=wish.url,
        selection=wish.selection,
        description=wish.description,
        active=wish.active,
        version=standing.version + 1,
        by=occasion.subject,
        changed_at=occasion.at,
        stopped=None if wish.active else standing.stopped,
    )
    await webhooks.change(tx, changed)
    return changed


async def _check_may_hold(house: House, realm: Realm, occasion: Occasion, whose: Subject) -> None:
    """The asker decides for the subject, and the subject audits something; raises :class:`NotAllowed`."""
    governs = await aside(partial(_administers, realm, occasion))
    if not _decides(occasion, whose, governs=governs):
        raise NotAllowed("You may make webhooks of your own. With administer on all, also those of a service:<id>.")
    state = occasion.asker
    if whose != occasion.subject:
        async with house.db.begin() as tx:
            known = await subjects.newest_of(tx, whose)
        state = known.state if known is not None else SubjectState(whose, "muniment")
    if not await aside(partial(audits_somewhere, realm, state, occasion.at)):
        raise NotAllowed("Webhooks send what their subject audits, and it audits nothing. It needs audit on a domain.")


def _check_url(house: House, text: str) -> None:
    if parse_url(text).plain and not house.messenger.calls_plainly:
        message = "The address must begin with https://; without it only MUNIMENT_WEBHOOK_NETWORKS are called."
        raise Invalid(message, [Fault("url", message)])


def _check_version(standing: Webhook | None, after: int) -> None:
    version = standing.version if standing is not None else 0
    if version != after:
        happened = f"It is at version {version} now" if version else "There is no such webhook now"
        raise StaleEdit(f"{happened}: reload it and try again.", version=version)


async def _find(
    house: House, realm: Realm, occasion: Occasion, whose: Subject, id_: str, *, to_decide: bool = False
) -> Held:
    """A webhook that the asker may see; ``to_decide`` where only who decides over it may go on."""
    governs = await aside(partial(_administers, realm, occasion))
    async with house.db.begin() as tx:
        found = await webhooks.named(tx, whose, id_)
        counts = await webhooks.counts(tx, [found.key]) if found is not None else {}
    if found is None or not (governs or found.subject == occasion.subject):
        raise NotFound
    own = _decides(occasion, whose, governs=governs)
    if to_decide and not own:
        raise NotAllowed("This is somebody else's webhook: you may look at it and remove it, and do no more with it.")
    return Held(found, realm.revision, own=own, counts=counts[found.key])


async def _needed(tx: Transaction, whose: Subject, id_: str) -> Webhook:
    found = await webhooks.named(tx, whose, id_, to_change=True)
    if found is None:
        raise NotFound
    return found


def _decides(occasion: Occasion, whose: Subject, *, governs: bool) -> bool:
    return whose == occasion.subject or (governs and whose.kind is Kind.SERVICE)


def _administers(realm: Realm, occasion: Occasion) -> bool:
    return administers(realm, occasion.asker, occasion.at, ROOT)


def _row(
    occasion: Occasion,
    event: Event,
    realm: Realm,
    webhook: Webhook,
    details: Mapping[str, object] | None = None,
    *,
    outcome: Outcome = Outcome.DONE,
) -> Row:
    named = {"webhook": webhook.id, "of": str(webhook.subject)}
    return row(occasion, event, outcome, revision=realm.revision, details={**named, **(details or {})})


def _details(webhook: Webhook) -> Mapping[str, object]:
    """What the ledger tells of a webhook. Of its address only the host: the rest may be a secret of the receiver's."""
    return {
        "to": parse_url(webhook.url).origin,
        "events": sorted(webhook.selection.events),
        "datasets": sorted(webhook.selection.datasets),
        "domains": sorted(webhook.selection.domains),
        "active": webhook.active,
        "version": webhook.version,
    }


def _written(begin: Place | datetime | None) -> str:
    if begin is None:
        return "what was put aside"
    return begin.text if isinstance(begin, Place) else begin.isoformat()
