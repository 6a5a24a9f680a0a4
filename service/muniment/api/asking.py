"""Who asks: each door's first step, which makes a request an occasion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer

from muniment.api.bounds import check_opens
from muniment.api.limits import Visit
from muniment.core import keys
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed, NotSignedIn, TokenRefused
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import ITSELF
from muniment.core.tracing import Step
from muniment.flows.house import House
from muniment.identity.bearer import Bearer, digest_of
from muniment.store.keys import Keys
from muniment.store.present import Now, Present
from muniment.store.refusals import Refusals
from muniment.store.roster import Roster
from muniment.store.subjects import Sightings

_LONGEST_CLIENT = 200

_scheme = HTTPBearer(auto_error=False, description="A token of one of the configured OpenID Connect issuers.")


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who was let in, as the roster lets the sign-in stand at ``now``.

    ``still_holds`` tells of a later moment, at which the roster is the same, whether the same
    credential would be let in again without asking or telling anybody.
    """

    sign_in: SignIn
    now: Now
    still_holds: Callable[[datetime], bool]


class Doorkeeper:
    """Knows a subject by its credential, remembers what was known of it, and counts those who were refused."""

    def __init__(
        self, bearer: Bearer, keys: Keys, present: Present, roster: Roster, sightings: Sightings, refusals: Refusals
    ) -> None:
        self._bearer = bearer
        self._keys = keys
        self._present = present
        self._roster = roster
        self._sightings = sightings
        self._refusals = refusals

    async def occasion(self, request: Request) -> Occasion:
        """The occasion of a request; its subject state is kept before anything is decided."""
        at: datetime = request.state.at
        admitted = request.state.admitted = await self._admitted(request)
        sign_in = admitted.sign_in
        await self._sightings.note(sign_in.state, at)
        await self._keys.note_use(sign_in, _address(request), at)
        return replace(
            self.own_occasion(request),
            asker=sign_in.state,
            credential=sign_in.credential,
            bounds=sign_in.bounds,
            since=sign_in.since,
            until=sign_in.until,
            revision=admitted.now.revision,
            roster=admitted.now.roster,
        )

    def own_occasion(self, request: Request) -> Occasion:
        """The occasion of a request in which nobody is signed in: what is done then, the service does itself."""
        at: datetime = request.state.at
        request_id: UUID = request.state.request_id
        client = request.headers.get("user-agent", "")[:_LONGEST_CLIENT]
        return Occasion(ITSELF, at, request_id, _address(request), client)

    async def admitted(self, request: Request) -> SignIn:
        """The sign-in of who sends a request, as the roster lets it stand now; a refusal is counted."""
        return (await self._admitted(request)).sign_in

    async def _admitted(self, request: Request) -> Admitted:
        at: datetime = request.state.at
        try:
            credential = _token(request)
            known = self._of_key if credential.startswith(keys.PREFIX) else self._of_token
            admitted = await known(credential, request)
            state = await self._roster.admit(admitted.sign_in, admitted.now.roster)
            return replace(admitted, sign_in=replace(admitted.sign_in, state=state))
        except NotSignedIn as refused:
            self._refusals.note(_address(request), type(refused).__name__, at)
            raise

    async def _of_token(self, token: str, request: Request) -> Admitted:
        """The sign-in of an identity provider's token, and what is so now."""
        sign_in = await self._bearer.verify(token, request.state.at)
        request.state.visit.of(sign_in.state.subject)
        now = await self._present.now()
        return Admitted(sign_in, now, partial(self._bearer.still_holds, digest_of(token), sign_in))

    async def _of_key(self, key: str, request: Request) -> Admitted:
        """The sign-in of a key of Muniment's own, and what is so now. About what is no key nobody is asked."""
        keys.check_well_formed(key)
        now = await self._present.now()
        sign_in = await self._keys.verify(key, request.state.at, now.roster)
        request.state.visit.of(sign_in.state.subject)
        held = partial(self._keys.still_holds, self._keys.digest_of(key), sign_in, version=now.roster)
        return Admitted(sign_in, now, held)

    def refuse_shown(self, request: Request) -> None:
        """Count a secret that was shown in a body and is none, as a failed sign-in is."""
        visit: Visit = request.state.visit
        visit.failed()
        self._refusals.note(_address(request), TokenRefused.__name__, request.state.at)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _token(request: Request) -> str:
    sent = request.headers.getlist("authorization")
    if len(sent) > 1:
        # Whatever stands before the service may have looked at another one than the service would.
        raise TokenRefused("Send one Authorization header, and no second one.")
    scheme, _, token = "".join(sent).partition(" ")
    if not token.strip():
        raise NotSignedIn("Sign in first: send a token as Authorization: Bearer <token>.")
    if scheme.lower() != "bearer":
        raise TokenRefused("The Authorization header must be Bearer <token>.")
    return token.strip()


def house_of(request: Request) -> House:
    """The house that this worker wired at its start."""
    house: House = request.app.state.house
    return house


async def _housed(request: Request) -> House:
    """The same for routes: whatever is not ``async``, FastAPI sends to a thread, and the request waits for both."""
    return house_of(request)


async def occasion_of(
    request: Request, response: Response, _documented: Annotated[object, Depends(_scheme)]
) -> Occasion:
    """The occasion of a request that a signed-in subject makes; what is answered carries its receipt."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    with house_of(request).tracing.step(Step.SIGN_IN):
        occasion = await doorkeeper.occasion(request)
    await _check_opens(request, occasion)
    response.headers["Muniment-Receipt"] = str(occasion.receipt)
    return occasion


async def _check_opens(request: Request, occasion: Occasion) -> None:
    """Refuse a key at a door that is not of its use, and write that down: it may be in the wrong hands."""
    try:
        check_opens(occasion.bounds, request)
    except NotAllowed as refused:
        await house_of(request).record_denial(occasion, refused)
        raise


#: What a route takes to know who asks, and the house it calls its flow with.
Asking = Annotated[Occasion, Depends(occasion_of)]
Housed = Annotated[House, Depends(_housed)]
