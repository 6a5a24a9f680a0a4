"""``/v1/keys``: keys of Muniment's own, where no identity provider reaches."""

from __future__ import annotations

import secrets
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StringConstraints

from muniment.api.asking import Asking, Doorkeeper, Housed
from muniment.api.bodies import Body, Limit, Line, Moment, Name, Page
from muniment.api.versions import stamp
from muniment.core.keys import RANDOM_BYTES, Key
from muniment.core.moments import write_moment
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Subject
from muniment.flows.hold_keys import Wish, list_keys, make_key, read_key, revoke_key, revoke_shown_key

router = APIRouter(prefix="/v1/keys", tags=["keys"])

_Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]


class KeyBody(Body):
    """A key for a service identity: what it is for, and until when. `runs` need environment, project and purpose.

    `provisioning` is of one directory: that of the issuer of this name, without a name of the default one.
    """

    service: Name
    use: Annotated[Use, Field(strict=False)]
    environment: _Word | None = None
    project: _Word | None = None
    purpose: _Word | None = None
    directory: _Word | None = None
    until: Annotated[Moment, Field(strict=False)]
    because: Annotated[Line, Field(min_length=1)]


class EndingAnswer(Body):
    """A key was revoked."""

    by: str
    at: str
    because: str


class LastUseAnswer(Body):
    """When a key last signed somebody in, to five minutes, and from where."""

    at: str
    address: str


class KeyAnswer(Body):
    """What is known of a key: never the key itself."""

    id: str
    service: str
    use: Use
    environment: str | None
    project: str | None
    purpose: str | None
    directory: str | None
    until: str
    at: str
    by: str
    because: str
    revoked: EndingAnswer | None
    last_used: LastUseAnswer | None


class NewKeyAnswer(KeyAnswer):
    """A new key. `key` is told this once."""

    key: str


class ShownBody(Body):
    """The text of a key."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=500)]


@router.post("", status_code=201)
async def post_key(house: Housed, asking: Asking, response: Response, body: KeyBody) -> NewKeyAnswer:
    """Make a key. It is shown in this answer and nowhere again."""
    bounds = Bounds(body.use, body.environment, body.project, body.purpose, body.directory)
    wish = Wish(Subject.parse(body.service), bounds, body.until, body.because)
    made = await make_key(house, asking, wish, secrets.token_bytes(RANDOM_BYTES))
    stamp(response, revision=made.revision)
    response.headers["Cache-Control"] = "no-store"
    return NewKeyAnswer.model_validate({**dict(_answer(made.key)), "key": made.text})


@router.get("")
async def get_keys(
    house: Housed,
    asking: Asking,
    response: Response,
    service: Annotated[Name | None, Query(description="Only those of this service identity, service:<id>.")] = None,
    limit: Annotated[Limit, Query()] = 100,
    after: UUID | None = None,
) -> Page[KeyAnswer]:
    """All keys to administrators, your own to you; the newest first."""
    of = Subject.parse(service) if service else None
    found, following, revision = await list_keys(house, asking, of, limit, str(after) if after else None)
    stamp(response, revision=revision)
    return Page(items=[_answer(key) for key in found], next=following)


@router.post("/revoke", status_code=204)
async def post_revocation(house: Housed, request: Request, body: ShownBody) -> None:
    """Revoke a key by showing it, signed in or not. The answer is the same whatever is shown."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    if not await revoke_shown_key(house, doorkeeper.own_occasion(request), body.key):
        doorkeeper.refuse_shown(request)


@router.get("/{id}")
async def get_key(house: Housed, asking: Asking, response: Response, id: UUID) -> KeyAnswer:  # noqa: A002
    """What is known of a key, its last use included."""
    told = await read_key(house, asking, str(id))
    stamp(response, revision=told.revision)
    return _answer(told.key)


@router.delete("/{id}", status_code=204)
async def delete_key(
    house: Housed,
    asking: Asking,
    response: Response,
    id: UUID,  # noqa: A002 - as the address says it
    because: Annotated[Line, Query(description="Why, for the ledger.")] = "",
) -> None:
    """Revoke a key, for every request that begins from now on. One that was revoked stays so."""
    stamp(response, revision=await revoke_key(house, asking, str(id), because))


def _answer(key: Key) -> KeyAnswer:
    ending, used = key.ending, key.used
    return KeyAnswer(
        id=key.id,
        service=str(key.subject),
        use=key.bounds.use,
        environment=key.bounds.environment,
        project=key.bounds.project,
        purpose=key.bounds.purpose,
        directory=key.bounds.directory,
        until=write_moment(key.until),
        at=write_moment(key.at),
        by=str(key.by),
        because=key.because,
        revoked=EndingAnswer(by=ending.by, at=write_moment(ending.at), because=ending.because) if ending else None,
        last_used=LastUseAnswer(at=write_moment(used.at), address=used.address) if used else None,
    )
