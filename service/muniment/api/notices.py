"""``/v1/notices``: what one was told without asking, and how one wants to be told."""

from __future__ import annotations

import secrets
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Page
from muniment.api.versions import AfterVersion, stamp
from muniment.core.moments import write_moment
from muniment.core.notices import NoticeKind, Pace
from muniment.core.webhooks import LONGEST_URL, SECRET_BYTES
from muniment.flows.choose_notices import (
    Preferences,
    ask_for_address,
    call_webhook,
    choose_notices,
    read_preferences,
    remove_address,
    remove_webhook,
    send_test,
)
from muniment.flows.read_notices import Read, read_notices

router = APIRouter(prefix="/v1/notices", tags=["notices"])

_Pace = Annotated[Pace, Field(strict=False)]


class MailBody(Body):
    """How soon each kind goes by mail."""

    asked: _Pace | None = None
    decided: _Pace | None = None
    ends: _Pace | None = None
    review: _Pace | None = None
    first_use: _Pace | None = None


class CallsBody(Body):
    """Which kinds go to one's webhook."""

    asked: bool | None = None
    decided: bool | None = None
    ends: bool | None = None
    review: bool | None = None
    first_use: bool | None = None


class PreferencesBody(Body):
    """How somebody wants to be told; a kind that is left out stays as it is."""

    mail: MailBody = MailBody()
    webhook: CallsBody = CallsBody()
    quiet: bool = False


class AddressBody(Body):
    """Where somebody's mails shall go."""

    address: Annotated[str, Field(min_length=3, max_length=254)]


class WebhookBody(Body):
    """Which address is sent what somebody is told."""

    url: Annotated[str, Field(min_length=8, max_length=LONGEST_URL)]


class WebhookAnswer(Body):
    """The address that is sent what somebody is told, and the secret by which it knows that, told this once."""

    url: str
    secret: str


class PreferencesAnswer(Body):
    """How somebody is told, and where their mails go."""

    mail: dict[str, Pace]
    webhook: dict[str, bool]
    url: str | None
    quiet: bool
    address: str | None
    confirmed: bool
    mails: bool
    says: str
    version: int


class MailAnswer(Body):
    """How a notice went by mail: it waits until it is due, was sent, was dropped, or was given up."""

    state: str
    due: str
    ended: str | None
    why: str


class NoticeAnswer(Body):
    """One notice, in the words of now. ``about`` names what it is about, ``open`` whether anything is to be done."""

    id: str
    kind: NoticeKind
    at: str
    title: str
    text: str
    open: bool
    about: dict[str, str]
    mail: MailAnswer | None


@router.get("")
async def get_notices(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: UUID | None = None,
) -> Page[NoticeAnswer]:
    """What you were told, the newest first; what you may not know of by now is left out."""
    found, following, revision = await read_notices(house, asking, limit, after)
    stamp(response, revision=revision)
    return Page(items=[_notice(read) for read in found], next=str(following) if following else None)


@router.get("/preferences")
async def get_preferences(house: Housed, asking: Asking, response: Response) -> PreferencesAnswer:
    """How you are told, and where your mails go."""
    return _answer(response, await read_preferences(house, asking))


@router.put("/preferences")
async def put_preferences(
    house: Housed, asking: Asking, response: Response, body: PreferencesBody, after_version: AfterVersion
) -> PreferencesAnswer:
    """Choose how you are told."""
    mail = {NoticeKind(kind): pace for kind, pace in body.mail.model_dump(exclude_none=True).items()}
    calls = {NoticeKind(kind): on for kind, on in body.webhook.model_dump(exclude_none=True).items()}
    return _answer(response, await choose_notices(house, asking, mail, calls, after_version, quiet=body.quiet))


@router.post("/address", status_code=202)
async def post_address(house: Housed, asking: Asking, response: Response, body: AddressBody) -> PreferencesAnswer:
    """Ask for your mails to go to an address; it counts once you have followed the link that is sent there."""
    return _answer(response, await ask_for_address(house, asking, body.address))


@router.delete("/address")
async def delete_address(house: Housed, asking: Asking, response: Response) -> PreferencesAnswer:
    """Let the address that you confirmed be forgotten."""
    return _answer(response, await remove_address(house, asking))


@router.post("/webhook", status_code=201)
async def post_webhook(house: Housed, asking: Asking, response: Response, body: WebhookBody) -> WebhookAnswer:
    """Let a program of yours be sent what you are told, in the place of the one that was before."""
    found, secret = await call_webhook(house, asking, body.url, secrets.token_bytes(SECRET_BYTES))
    stamp(response, revision=found.revision)
    response.headers["Cache-Control"] = "no-store"
    return WebhookAnswer(url=body.url, secret=secret)


@router.delete("/webhook")
async def delete_webhook(house: Housed, asking: Asking, response: Response) -> PreferencesAnswer:
    """Send what you are told to no program."""
    return _answer(response, await remove_webhook(house, asking))


@router.post("/test", status_code=202)
async def post_test(house: Housed, asking: Asking, response: Response) -> PreferencesAnswer:
    """Be told something that means nothing, to see whether it arrives."""
    return _answer(response, await send_test(house, asking))


def _answer(response: Response, found: Preferences) -> PreferencesAnswer:
    stamp(response, version=found.choice.version or None, revision=found.revision)
    return PreferencesAnswer(
        mail={kind.value: pace for kind, pace in found.choice.mail.items()},
        webhook={kind.value: on for kind, on in found.choice.webhook.items()},
        url=found.webhook,
        quiet=found.choice.quiet,
        address=found.address.mailbox if found.address else None,
        confirmed=found.address is not None and found.address.confirmed,
        mails=found.mails,
        says=found.says,
        version=found.choice.version,
    )


def _notice(read: Read) -> NoticeAnswer:
    mail = read.mail
    return NoticeAnswer(
        id=str(read.notice.id),
        kind=read.notice.kind,
        at=write_moment(read.notice.at),
        title=read.words.title,
        text=read.words.text,
        open=read.words.open,
        about=dict(read.notice.about),
        mail=MailAnswer(
            state=mail.state,
            due=write_moment(mail.due),
            ended=write_moment(mail.ended_at) if mail.ended_at else None,
            why=mail.why,
        )
        if mail is not None
        else None,
    )
