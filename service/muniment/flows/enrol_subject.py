"""An administrator decides whether a subject may sign in; everybody may end their own sign-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.roster import Enrolment
from muniment.core.schema import Action
from muniment.core.sessions import Why
from muniment.core.subjects import Subject
from muniment.core.visibility import may_govern
from muniment.flows.end_access import end_access
from muniment.flows.house import House, aside
from muniment.store import keys, ledger, roster, sessions, subjects
from muniment.store.databases import Transaction


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Whether a subject may sign in, when it was last seen, if ever, and the revision that was asked."""

    enrolment: Enrolment
    seen_at: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class SignInsEnded:
    """How many sessions and which keys ended; tokens are not counted, since nobody but their issuer knows them."""

    sessions: int
    keys: tuple[str, ...]
    revision: int


async def read_enrolment(house: House, occasion: Occasion, subject: Subject) -> Enrolled:
    """Whether a subject may sign in: to administrators and auditors of everything, and to the subject itself."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        if subject != occasion.subject:
            await _check_oversees(realm, occasion)
        async with house.db.begin() as tx:
            enrolment = await roster.of(tx, subject)
            known = await subjects.newest_of(tx, subject)
        if known is None and enrolment.at is None:
            raise NotFound
    details = {"about": str(subject)}
    await house.ledger.record(
        row(occasion, Event.SUBJECT_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return Enrolled(enrolment, known.seen_at if known else None, realm.revision)


async def end_subject(house: House, occasion: Occasion, subject: Subject, reason: str) -> Enrolled:
    """End a subject's access and all that it signed in with, and admit it no more."""
    async with _deciding(house, occasion) as (realm, tx):
        if subject == occasion.subject:
            raise Conflict("Nobody ends their own access: another administrator does it.")
        ended = await end_access(tx, occasion, subject, reason)
        await _tell(tx, occasion, realm, Event.SUBJECT_ENDED, {**ended.details(), "reason": reason})
        return await _enrolled(tx, subject, realm)


async def admit_subject(house: House, occasion: Occasion, subject: Subject, reason: str) -> Enrolled:
    """Admit a subject again, with new sign-ins alone.

    Raises :class:`Conflict` for one that may sign in, and for one that its identity provider has deprovisioned.
    """
    async with _deciding(house, occasion) as (realm, tx):
        stands = await roster.of(tx, subject)
        if stands.active:
            raise Conflict(f"{subject} may sign in already.")
        if stands.provider is not None:
            raise Conflict(f"{subject} was deprovisioned by the identity provider, which alone can provision it again.")
        await roster.put(tx, stands.admitted(occasion.at, str(occasion.subject), reason))
        await _tell(tx, occasion, realm, Event.SUBJECT_ADMITTED, {"about": str(subject), "reason": reason})
        return await _enrolled(tx, subject, realm)


async def end_sign_ins(house: House, occasion: Occasion, subject: Subject, reason: str) -> SignInsEnded:
    """End all that a subject has signed in with until now: tokens, sessions and keys; it may sign in anew."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        if subject != occasion.subject:
            await _check_administers(realm, occasion)
    own, by = subject == occasion.subject, str(occasion.subject)
    async with house.db.begin() as tx:
        # Who is shut out meanwhile stays so: what stands is read with nobody else deciding.
        await roster.hold(tx)
        stands = await roster.of(tx, subject)
        ending = Enrolment(
            subject,
            active=stands.active,
            tokens_since=occasion.at,
            at=occasion.at,
            by=by if stands.active else stands.by,
            reason=reason if stands.active else stands.reason,
            provider=stands.provider,
        )
        await roster.put(tx, ending)
        why = Why.BY_ITS_SUBJECT if own else Why.BY_AN_ADMINISTRATOR
        ended = len(await sessions.end_sessions_of(tx, subject, why, occasion.at))
        revoked = await keys.revoke_keys_of(tx, subject, why=reason or why, by=by, at=occasion.at)
        details = {"about": str(subject), "sessions": ended, "keys": revoked, "reason": reason}
        await _tell(tx, occasion, realm, Event.SIGN_INS_ENDED, details)
    return SignInsEnded(ended, tuple(revoked), realm.revision)


async def end_all_sign_ins(house: House, occasion: Occasion, reason: str) -> SignInsEnded:
    """End all that anybody has signed in with until now, the asker included; everybody may sign in anew."""
    by = str(occasion.subject)
    async with _deciding(house, occasion) as (realm, tx):
        await roster.end_all(tx, occasion.at, occasion.subject, reason)
        ended = len(await sessions.end_all_sessions(tx, Why.BY_AN_ADMINISTRATOR, occasion.at))
        revoked = await keys.revoke_all_keys(tx, why=reason, by=by, at=occasion.at)
        details = {"about": "everybody", "sessions": ended, "keys": revoked, "reason": reason}
        await _tell(tx, occasion, realm, Event.SIGN_INS_ENDED, details)
    return SignInsEnded(ended, tuple(revoked), realm.revision)


@asynccontextmanager
async def _deciding(house: House, occasion: Occasion) -> AsyncIterator[tuple[Realm, Transaction]]:
    """A transaction for whoever administers everything; who does not is refused, and that is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        await _check_administers(realm, occasion)
    async with house.db.begin() as tx:
        # Two who decide about one subject follow each other.
        await roster.changed(tx)
        yield realm, tx


async def _check_administers(realm: Realm, occasion: Occasion) -> None:
    if not await _may(realm, occasion, Action.ADMINISTER):
        raise NotAllowed("To decide who may sign in you need administer on all.")


async def _check_oversees(realm: Realm, occasion: Occasion) -> None:
    if not (await _may(realm, occasion, Action.ADMINISTER) or await _may(realm, occasion, Action.AUDIT)):
        raise NotAllowed("To see who may sign in you need administer or audit on all.")


async def _may(realm: Realm, occasion: Occasion, action: Action) -> bool:
    return await aside(partial(may_govern, realm, occasion.asker, occasion.at, action, ROOT))


async def _tell(tx: Transaction, occasion: Occasion, realm: Realm, event: Event, details: Mapping[str, object]) -> None:
    await ledger.append(tx, [row(occasion, event, Outcome.DONE, revision=realm.revision, details=details)])


async def _enrolled(tx: Transaction, subject: Subject, realm: Realm) -> Enrolled:
    known = await subjects.newest_of(tx, subject)
    return Enrolled(await roster.of(tx, subject), known.seen_at if known else None, realm.revision)
