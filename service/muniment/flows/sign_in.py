"""Somebody signs in with a browser, looks at what is theirs, and ends sessions; or their provider does.

A sign-in is begun, goes to the provider, and arrives: what was kept of it is taken away in the
moment it is looked up, so an answer counts once, and only in the browser that it was begun in.
No transaction is open while a provider is asked. What begins a session or ends one before its
time is in the ledger in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muniment.core.identifiers import derived
from muniment.core.keys import Key
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.occasions import Occasion
from muniment.core.problems import NotFound, SignInRefused, Unavailable
from muniment.core.schema import Action
from muniment.core.sessions import (
    TIME_TO_SIGN_IN,
    Begun,
    Hours,
    Session,
    Why,
    derived_secret,
    kept_of,
    local_path,
)
from muniment.core.subjects import SubjectState
from muniment.identity.browser import LOGOUT_IS_NEWS, Answer, Providers, SignedIn
from muniment.identity.code_flow import Flow
from muniment.store import keys, ledger, sessions
from muniment.store.databases import Database
from muniment.store.present import Present
from muniment.store.refusals import Refusals
from muniment.store.roster import Roster
from muniment.store.sessions import Ended
from muniment.store.subjects import Sightings


@dataclass(frozen=True)
class Entrance:
    """What browsers are let in with: the providers, and what knows whether somebody may sign in now."""

    db: Database
    providers: Providers
    present: Present
    roster: Roster
    sightings: Sightings
    refusals: Refusals
    hours: Hours


@dataclass(frozen=True, slots=True)
class Knock:
    """A request of a browser of which nobody knows yet who is in front of it."""

    at: datetime
    request_id: UUID
    address: str = ""
    client: str = ""

    def by(self, state: SubjectState, session: Session) -> Occasion:
        """The same request, once it is known who asks."""
        credential = session.sign_in.credential
        since, until = session.since, session.until
        return Occasion(
            state, self.at, self.request_id, self.address, self.client, credential, since=since, until=until
        )


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in: the occasion, and the session by which they are known.

    ``governs`` is what they may govern somewhere, for a page to offer (:mod:`muniment.flows.find_way`).
    """

    occasion: Occasion
    session: Session
    governs: frozenset[Action] = frozenset()


async def begin_sign_in(
    entrance: Entrance, knock: Knock, issuer: str, to: str, *, browser: str, state: str, anew: bool = False
) -> str:
    """The address at the provider to send this browser to; raises :class:`SignInRefused` or :class:`Unavailable`.

    ``browser`` is a secret that the browser keeps meanwhile, ``state`` a new one for this sign-in.
    """
    provider = entrance.providers.named(issuer)
    begun = Begun(provider.name, local_path(to), knock.at + TIME_TO_SIGN_IN)
    flow = _flow(browser, state)
    address = await provider.address_to_sign_in(flow, knock.at, anew=anew)
    async with entrance.db.begin() as tx:
        await sessions.expect(tx, begun, state=kept_of(state), browser=kept_of(browser), at=knock.at)
    return address


async def finish_sign_in(
    entrance: Entrance, knock: Knock, answer: Answer, *, browser: str, secret: str, former: str | None
) -> str:
    """Begin a session under a new secret, and end the one this browser had; gives where they wanted to go.

    Raises :class:`SignInRefused`, :class:`TokenRefused` for somebody who may not sign in,
    or :class:`Unavailable`. The answer has been used up even so.
    """
    async with entrance.db.begin() as tx:
        begun = await sessions.arrived(tx, state=kept_of(answer.state), browser=kept_of(browser), at=knock.at)
    if begun is None:
        raise SignInRefused("state")
    provider = entrance.providers.named(begun.issuer)
    signed_in = await provider.signed_in(_flow(browser, answer.state), answer, knock.at)
    session = _session(entrance, knock, signed_in)
    state = await _admitted(entrance, session)
    await entrance.sightings.note(state, knock.at)
    occasion = knock.by(state, session)
    async with entrance.db.begin() as tx:
        replaced = await sessions.end_of_secret(tx, kept_of(former), Why.SIGNED_IN_AGAIN, knock.at) if former else None
        await sessions.begin(tx, session, kept_of(secret))
        details = {"session": str(session.id), "issuer": session.vouched.issuer}
        if replaced is not None:
            details["replaced"] = str(replaced.id)
        await ledger.append(tx, [row(occasion, Event.SESSION_BEGAN, Outcome.DONE, details=details)])
    return begun.to


async def visit(entrance: Entrance, knock: Knock, secret: str) -> Visit | None:
    """Who is signed in with this secret; None when nobody is, or no longer.

    Raises :class:`TokenRefused` for somebody whose sign-ins were ended.
    """
    async with entrance.db.begin() as tx:
        session = await sessions.presented(tx, kept_of(secret), knock.at, entrance.hours.idle)
    if session is None:
        return None
    state = await _admitted(entrance, session)
    await entrance.sightings.note(state, knock.at)
    return Visit(knock.by(state, session), session)


async def my_sessions(entrance: Entrance, visiting: Visit) -> Sequence[Session]:
    """The asker's sessions that stand, the last used first."""
    occasion = visiting.occasion
    async with entrance.db.begin() as tx:
        return await sessions.standing(tx, occasion.subject, occasion.at, entrance.hours.idle)


async def my_keys(entrance: Entrance, visiting: Visit) -> Sequence[Key]:
    """The keys in force that the asker made, the newest first; that they were shown is recorded."""
    occasion = visiting.occasion
    async with entrance.db.begin() as tx:
        found = await keys.standing_made_by(tx, occasion.subject, occasion.at)
        if found:
            await ledger.append(tx, [row(occasion, Event.KEY_READ, Outcome.ALLOWED)])
    return found


async def end_my_session(entrance: Entrance, visiting: Visit, id_: UUID) -> None:
    """End one session of the asker's; :class:`NotFound` for any other."""
    occasion = visiting.occasion
    async with entrance.db.begin() as tx:
        ended = await sessions.end(tx, id_, occasion.subject, Why.BY_ITS_SUBJECT, occasion.at)
        if ended is None:
            raise NotFound
        await ledger.append(tx, [_ended(occasion, Why.BY_ITS_SUBJECT, [ended])])


async def end_my_sessions(entrance: Entrance, visiting: Visit) -> int:
    """End all sessions of the asker's, this one too; gives how many."""
    occasion = visiting.occasion
    async with entrance.db.begin() as tx:
        ended = await sessions.end_sessions_of(tx, occasion.subject, Why.BY_ITS_SUBJECT, occasion.at)
        await ledger.append(tx, [_ended(occasion, Why.BY_ITS_SUBJECT, ended)])
    return len(ended)


async def sign_out(entrance: Entrance, visiting: Visit) -> None:
    """End this session."""
    occasion, session = visiting.occasion, visiting.session
    async with entrance.db.begin() as tx:
        ended = await sessions.end(tx, session.id, session.subject, Why.SIGNED_OUT, occasion.at)
        if ended is not None:
            await ledger.append(tx, [_ended(occasion, Why.SIGNED_OUT, [ended])])


async def address_to_sign_out(entrance: Entrance, issuer: str, knock: Knock) -> str | None:
    """Where a browser ends its session with the provider too; None where that can't be had now."""
    try:
        return await entrance.providers.named(issuer).address_to_sign_out(knock.at)
    except (SignInRefused, Unavailable):
        return None  # signed out here in any case


async def obey_logout(entrance: Entrance, knock: Knock, token: str) -> int:
    """End what a provider says that it vouches for no longer; gives how many sessions.

    Raises :class:`SignInRefused` for a token that does not hold, or came before.
    """
    said = await entrance.providers.logged_out(token, knock.at)
    async with entrance.db.begin() as tx:
        forgotten = knock.at + 2 * LOGOUT_IS_NEWS
        if not await sessions.see_logout_token(tx, said.issuer, kept_of(said.id), knock.at, forgotten):
            raise SignInRefused("logout token: replayed")
        ended = await sessions.end_vouched(tx, said.issuer, said.subject, said.session, knock.at)
        await ledger.append(tx, _ended_by_provider(knock, ended))
    return len(ended)


def _flow(browser: str, state: str) -> Flow:
    """What a sign-in is recognised by: made of the browser's secret, so that none of it need be kept."""
    return Flow(state, derived_secret(browser, f"nonce {state}"), derived_secret(browser, f"verifier {state}"))


def _session(entrance: Entrance, knock: Knock, signed_in: SignedIn) -> Session:
    return Session(
        id=derived(knock.request_id, "session"),
        state=signed_in.state,
        vouched=signed_in.vouched,
        since=signed_in.since,
        began=knock.at,
        used=knock.at,
        until=knock.at + entrance.hours.longest,
        address=knock.address,
        client=knock.client,
    )


async def _admitted(entrance: Entrance, session: Session) -> SubjectState:
    """What is known of the session's subject, as the roster lets it stand now."""
    now = await entrance.present.now()
    return await entrance.roster.admit(session.sign_in, now.roster)


def _ended(occasion: Occasion, why: Why, ended: Sequence[Ended]) -> Row:
    details = {"why": why.value, "sessions": [str(each.id) for each in ended]}
    return row(occasion, Event.SESSION_ENDED, Outcome.DONE, details=details)


def _ended_by_provider(knock: Knock, ended: Sequence[Ended]) -> list[Row]:
    """One row for each session: nobody asked, and the subject is whom it concerns."""
    return [
        Row(
            id=derived(knock.request_id, f"row {each.id}"),
            at=knock.at,
            event=Event.SESSION_ENDED,
            outcome=Outcome.DONE,
            subject=str(each.subject),
            issuer=each.issuer,
            subject_state=each.subject_state,
            address=knock.address,
            client=knock.client,
            request_id=knock.request_id,
            details={"why": Why.BY_ITS_PROVIDER.value, "sessions": [str(each.id)]},
        )
        for each in ended
    ]
