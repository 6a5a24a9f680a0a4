"""``/v1/ledger/events``: the ledger as it grows, as Server-Sent Events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Name
from muniment.api.limits import Gate
from muniment.api.versions import HEADERS
from muniment.core.ledger import Event, Place, Row
from muniment.core.problems import Fault, Invalid, Unavailable
from muniment.core.selections import MOST_NAMES, checked_selection
from muniment.core.webhooks import written
from muniment.flows.follow_ledger import Seat, Told, begin_following, follow_ledger

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

_MEDIA: Final = "text/event-stream"

#: What a reader does who was cut off: it waits so many milliseconds and comes again with the last id it has heard.
_RETRY: Final = b"retry: 2000\n\n"
_SILENCE: Final = b": nothing new\n\n"

#: What each event is made of (HTML, 9.2.5): all of it text.
_EVENT: Final = {
    "type": "object",
    "description": "One event.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "The place of the row."},
        "event": {"type": "string"},
        "data": {"type": "string", "description": "The row, as GET /v1/ledger shows it, in JSON."},
    },
}

#: How long a reader may take for what was sent; one who takes longer is cut off, and may come again.
_PATIENCE_SECONDS: Final = 30.0


class Stream(StreamingResponse):
    """Events, sent as fast as the reader takes them: nothing is kept for one who is slow."""

    media_type = _MEDIA

    def __init__(
        self, content: AsyncIterator[bytes], status_code: int = 200, *, headers: Mapping[str, str], seat: Seat
    ) -> None:
        super().__init__(content, status_code, headers)
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it is over, or until the reader leaves or takes nothing any more."""

        async def patiently(message: Message) -> None:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await send(message)

        # Whoever only listens is at no work that others would have to wait for.
        gate: Gate = scope["app"].state.gate
        gate.at_work -= 1
        try:
            await super().__call__(scope, receive, patiently)
        except TimeoutError:
            return
        finally:
            gate.at_work += 1
            self._seat.leave()


@router.get("/events", response_class=Stream, responses={200: {"content": {_MEDIA: {"schema": _EVENT}}}})
async def get_events(
    request: Request,
    house: Housed,
    asking: Asking,
    event: Annotated[
        list[Event],
        Query(default_factory=list, max_length=len(Event), description="Only these events; may be repeated."),
    ],
    dataset: Annotated[
        list[Name], Query(default_factory=list, max_length=MOST_NAMES, description="Only about these datasets.")
    ],
    domain: Annotated[
        list[Name], Query(default_factory=list, max_length=MOST_NAMES, description="Only about these domains.")
    ],
    after: Annotated[
        str | None, Query(max_length=100, description="The id after which to begin; else from now on.")
    ] = None,
    follow: Annotated[bool, Query(description="`false` ends the answer where nothing more stands.")] = True,  # noqa: FBT002
    last_event_id: Annotated[str | None, Header(description="What a reader sends who comes again.")] = None,
) -> Stream:
    """Each row that you may read, as it comes: `event` is its event, `id` its place, `data` the row.

    Send the last `id` as `Last-Event-ID`, or as `after`, to go on from there. The answer ends with your sign-in.
    """
    selection = checked_selection(event, dataset, domain)
    place = _place(last_event_id or after)
    goes_on = follow and not request.state.bodiless
    seat: Seat = request.app.state.followers.enter(str(asking.subject))
    try:
        following = await begin_following(house, asking, selection, place, goes_on=goes_on)
    except BaseException:
        seat.leave()
        raise
    pages = follow_ledger(house, asking, following, _clock, request.app.state.leaving)
    headers = {
        **HEADERS,
        "Muniment-Revision": str(following.revision),
        "Muniment-Receipt": str(asking.receipt),
        "X-Accel-Buffering": "no",
    }
    return Stream(_told(pages), headers=headers, seat=seat)


async def _told(pages: AsyncGenerator[Told]) -> AsyncIterator[bytes]:
    async with aclosing(pages):
        yield _RETRY
        try:
            async for page in pages:
                yield b"".join(_written(*each) for each in page) if page else _SILENCE
        except Unavailable:
            return  # Whoever follows comes again, and goes on from the last place.


def _written(place: Place, row: Row) -> bytes:
    """One event. A row is one line: JSON escapes what would end it."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place.text.encode(), row.event.encode(), orjson.dumps(written(row)))


def _place(text: str | None) -> Place | None:
    try:
        return Place.parse(text) if text else None
    except Invalid as refused:
        raise Invalid(refused.detail, [Fault("after", refused.detail)]) from refused


def _clock() -> datetime:
    return datetime.now(UTC)
