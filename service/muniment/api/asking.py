"""Who asks: each door's first step, which makes a request an occasion."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer

from muniment.core.occasions import Occasion
from muniment.core.problems import NotSignedIn, TokenRefused
from muniment.core.sign_ins import SignIn
from muniment.flows.house import House
from muniment.identity.bearer import Bearer
from muniment.store.present import Present
from muniment.store.refusals import Refusals
from muniment.store.roster import Roster
from muniment.store.subjects import Sightings

_LONGEST_CLIENT = 200
_scheme = HTTPBearer(auto_error=False, description="A token of one of the configured OpenID Connect issuers.")


class Doorkeeper:
    """Knows a subject by its credential, remembers what was known of it, and counts those who were refused."""

    def __init__(
        self, bearer: Bearer, present: Present, roster: Roster, sightings: Sightings, refusals: Refusals
    ) -> None:
        self._bearer = bearer
        self._present = present
        self._roster = roster
        self._sightings = sightings
        self._refusals = refusals

    async def occasion(self, request: Request) -> Occasion:
        """The occasion of a request; its subject state is kept before anything is decided."""
        at: datetime = request.state.at
        sign_in = await self.admitted(request)
        await self._sightings.note(sign_in.state, at)
        request_id: UUID = request.state.request_id
        client = request.headers.get("user-agent", "")[:_LONGEST_CLIENT]
        return Occasion(sign_in.state, at, request_id, _address(request), client, sign_in.credential, sign_in.bounds)

    async def admitted(self, request: Request) -> SignIn:
        """The sign-in of who sends a request, as the roster lets it stand now; a refusal is counted."""
        at: datetime = request.state.at
        try:
            sign_in = await self._bearer.verify(_token(request), at)
            now = await self._present.now()
            return replace(sign_in, state=await self._roster.admit(sign_in, now.roster))
        except NotSignedIn as refused:
            self._refusals.note(_address(request), type(refused).__name__, at)
            raise


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not token.strip():
        raise NotSignedIn("Sign in first: send a token as Authorization: Bearer <token>.")
    if scheme.lower() != "bearer":
        raise TokenRefused("The Authorization header must be Bearer <token>.")
    return token.strip()


def house_of(request: Request) -> House:
    """The house that this worker wired at its start."""
    house: House = request.app.state.house
    return house


async def occasion_of(
    request: Request, response: Response, _documented: Annotated[object, Depends(_scheme)]
) -> Occasion:
    """The occasion of a request that a signed-in subject makes; what is answered carries its receipt."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    occasion = await doorkeeper.occasion(request)
    response.headers["Muniment-Receipt"] = str(occasion.receipt)
    return occasion


#: What a route takes to know who asks, and the house it calls its flow with.
Asking = Annotated[Occasion, Depends(occasion_of)]
Housed = Annotated[House, Depends(house_of)]
