"""``/v1/webhooks``: rows of the ledger are sent to an address as they come."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Line, Moment, Name, Page
from muniment.api.versions import AfterVersion, stamp
from muniment.core.ledger import Event, Place
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.selections import MOST_NAMES, checked_selection
from muniment.core.subjects import Subject
from muniment.core.visibility import LONGEST_ASKED
from muniment.core.webhooks import LONGEST_URL, SECRET_BYTES, Delivery, State, parse_url
from muniment.flows.hold_webhooks import (
    Held,
    Wish,
    change_secret,
    end_webhook,
    list_deliveries,
    list_webhooks,
    put_webhook,
    read_webhook,
    replay,
    try_webhook,
)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Whose = Annotated[
    Name | None, Query(description="Whose webhook it is, as `service:siem`; yours where nothing is said.")
]
_Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
_Names = Annotated[list[Name], Field(max_length=MOST_NAMES)]


class WebhookBody(Body):
    """Where rows are sent, and which: of these events, about these datasets or these domains. Nothing named is all."""

    url: _Url
    events: Annotated[list[Annotated[Event, Field(strict=False)]], Field(max_length=len(Event))] = []
    datasets: _Names = []
    domains: _Names = []
    description: Line = ""
    active: bool = True


class WebhookAnswer(Body):
    """A webhook as it stands.

    `url` is whole for whoever decides over the webhook; others read which host that is. `stopped` says why the
    service sends nothing more, where it has stopped by itself. `waiting` and `dead` count rows that the receiver has
    not taken yet, and those that were put aside.
    """

    id: str
    subject: str
    url: str
    events: list[str]
    datasets: list[str]
    domains: list[str]
    description: str
    active: bool
    stopped: str | None
    version: int
    by: str
    at: str
    changed_at: str
    former_secret_until: str | None
    waiting: int
    dead: int


class PutWebhookAnswer(WebhookAnswer):
    """A webhook as it stands. `secret` is told where the webhook is new, and nowhere again."""

    secret: str | None


class SecretBody(Body):
    """For how many hours the former secret signs beside the new one; 0 ends it at once."""

    keep_hours: Annotated[float, Field(ge=0, le=168, strict=False)] = 24


class SecretAnswer(Body):
    """A new secret, told this once, and until when the former one signs too."""

    secret: str
    former_secret_until: str | None


class TestAnswer(Body):
    """What came of a message that was sent: whether it was taken, the status, or why there is none."""

    taken: bool
    status: int | None
    why: str | None


class ReplayBody(Body):
    """What is sent again: what was put aside (`dead`), or all behind a place (`after`) or from a time (`since`)."""

    dead: bool = False
    after: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    since: Annotated[Moment, Field(strict=False)] | None = None


class ReplayAnswer(Body):
    """How many rows that were put aside are sent again, and whether anything is sent: an inactive webhook waits."""

    revived: int
    active: bool


class DeliveryAnswer(Body):
    """What became of one row. `place` is where it stands in the ledger's order, for `replay`."""

    row: str
    event: str
    at: str
    place: str
    state: State
    tries: int
    status: int | None
    why: str | None
    first_at: str
    last_at: str


@router.get("")
async def get_webhooks(
    house: Housed,
    asking: Asking,
    response: Response,
    subject: Whose = None,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str | None, Query(max_length=2 * LONGEST_ASKED)] = None,
) -> Page[WebhookAnswer]:
    """Your webhooks, to administrators all of them; by subject and id."""
    of = Subject.parse(subject) if subject is not None else None
    found, more, revision = await list_webhooks(house, asking, of, _read_cursor(after), limit)
    stamp(response, revision=revision)
    return Page(items=[_answer(held) for held in found], next=_cursor(found[-1]) if more else None)


@router.get("/{id}")
async def get_webhook(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002 - as the address says it
    subject: Whose = None,
) -> WebhookAnswer:
    """One webhook."""
    held = await read_webhook(house, asking, _whose(asking, subject), id)
    stamp(response, version=held.webhook.version, revision=held.revision)
    return _answer(held)


@router.put("/{id}")
async def put(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    body: WebhookBody,
    after_version: AfterVersion,
    subject: Whose = None,
) -> PutWebhookAnswer:
    """Make a webhook, which begins with what comes from now on, or change it, which goes on where it was."""
    wish = Wish(body.url, checked_selection(body.events, body.datasets, body.domains), body.description, body.active)
    drawn = secrets.token_bytes(SECRET_BYTES)
    held = await put_webhook(house, asking, _whose(asking, subject), id, wish, after_version, drawn)
    stamp(response, version=held.webhook.version, revision=held.revision)
    if held.secret is not None:
        response.headers["Cache-Control"] = "no-store"
    response.status_code = 200 if after_version else 201
    return PutWebhookAnswer.model_validate({**dict(_answer(held)), "secret": held.secret})


@router.delete("/{id}", status_code=204)
async def delete_webhook(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    after_version: AfterVersion,
    subject: Whose = None,
) -> None:
    """Remove a webhook, and what is known of its deliveries."""
    stamp(response, revision=await end_webhook(house, asking, _whose(asking, subject), id, after_version))


@router.post("/{id}/secret")
async def post_secret(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    body: SecretBody,
    subject: Whose = None,
) -> SecretAnswer:
    """Make another secret. Until the former one ends, each message is signed with both."""
    drawn = secrets.token_bytes(SECRET_BYTES)
    overlap = timedelta(hours=body.keep_hours)
    held = await change_secret(house, asking, _whose(asking, subject), id, overlap, drawn)
    stamp(response, revision=held.revision)
    response.headers["Cache-Control"] = "no-store"
    return SecretAnswer(secret=held.secret or "", former_secret_until=_moment(held))


@router.post("/{id}/test")
async def post_test(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    subject: Whose = None,
) -> TestAnswer:
    """Send a message of the type `webhook.test` now, whether the webhook is active or not."""
    trial = await try_webhook(house, asking, _whose(asking, subject), id)
    stamp(response, revision=trial.revision)
    return TestAnswer(taken=trial.taken, status=trial.answer.status, why=trial.answer.why)


@router.get("/{id}/deliveries")
async def get_deliveries(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    subject: Whose = None,
    state: State | None = None,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Page[DeliveryAnswer]:
    """What became of the rows that were to be sent, the last ones first."""
    found, more, revision = await list_deliveries(house, asking, _whose(asking, subject), id, state, after, limit)
    stamp(response, revision=revision)
    return Page(items=[_delivery(each) for each in found], next=str(found[-1].position) if more else None)


@router.post("/{id}/replay")
async def post_replay(
    house: Housed,
    asking: Asking,
    response: Response,
    id: str,  # noqa: A002
    body: ReplayBody,
    subject: Whose = None,
) -> ReplayAnswer:
    """Send rows again, each with the id that it had."""
    if sum((body.dead, body.after is not None, body.since is not None)) != 1:
        message = "Say what is sent again with one of these: dead (true), after, since."
        raise Invalid(message, [Fault("dead", message)])
    begin = Place.parse(body.after) if body.after is not None else body.since
    webhook, revived, revision = await replay(house, asking, _whose(asking, subject), id, begin)
    stamp(response, revision=revision)
    return ReplayAnswer(revived=revived, active=webhook.active)


def _whose(asking: Occasion, subject: str | None) -> Subject:
    return Subject.parse(subject) if subject is not None else asking.subject


def _answer(held: Held) -> WebhookAnswer:
    webhook = held.webhook
    return WebhookAnswer(
        id=webhook.id,
        subject=str(webhook.subject),
        url=webhook.url if held.own else parse_url(webhook.url).origin,
        events=sorted(event.value for event in webhook.selection.events),
        datasets=sorted(webhook.selection.datasets),
        domains=sorted(webhook.selection.domains),
        description=webhook.description,
        active=webhook.active,
        stopped=webhook.stopped.words if webhook.stopped is not None else None,
        version=webhook.version,
        by=str(webhook.by),
        at=write_moment(webhook.at),
        changed_at=write_moment(webhook.changed_at),
        former_secret_until=_moment(held),
        waiting=held.counts.get(State.WAITING, 0),
        dead=held.counts.get(State.DEAD, 0),
    )


def _moment(held: Held) -> str | None:
    until = held.webhook.former_until
    return write_moment(until) if until is not None else None


def _delivery(delivery: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        row=str(delivery.row),
        event=delivery.event,
        at=write_moment(delivery.at),
        place=delivery.place.text,
        state=delivery.state,
        tries=delivery.tries,
        status=delivery.status,
        why=delivery.why,
        first_at=write_moment(delivery.first_at),
        last_at=write_moment(delivery.last_at),
    )


def _cursor(held: Held) -> str:
    return f"{held.webhook.id}@{held.webhook.subject}"


def _read_cursor(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    id_, at, subject = cursor.partition("@")
    if not at:
        message = "This is no cursor of webhooks; begin again without one."
        raise Invalid(message, [Fault("after", message)])
    return subject, id_
