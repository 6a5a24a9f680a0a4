"""A subject's access ends, all of it: what it may sign in with, what it asked for; what it still holds is named.

A part of the transaction of whoever ends it (an administrator, or an identity provider by
provisioning), who writes the one row of the ledger about it. Leases that were given go on until
their own ends, since they are used where nobody asks again: the row names them. Keys that the
subject *made* for service identities belong to those and are not revoked, so that nobody's leaving
stops the jobs of others: the row names them too, for whoever looks after the jobs from now on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.problems import StaleEdit
from muniment.core.requests import EXPIRES_AFTER, AccessRequest, Ending, State, id_floor
from muniment.core.roster import Enrolment
from muniment.core.sessions import Why
from muniment.core.subjects import Subject
from muniment.store import keys, ledger, requests, revisions, roster, sessions
from muniment.store.databases import Transaction

#: How many requests of one subject are looked at, and how many of its leases are named, the newest first.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that still runs: the receipt it was given under, and when it ends."""

    receipt: UUID | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended with a subject's access, and what lives on: its leases, and the keys that it made for services."""

    subject: Subject
    sessions: tuple[str, ...]
    keys: tuple[str, ...]
    requests: tuple[str, ...]
    leases: tuple[Lease, ...]
    keys_made: tuple[str, ...]

    def details(self) -> dict[str, object]:
        """What the ledger tells of it."""
        return {
            "about": str(self.subject),
            "sessions": list(self.sessions),
            "keys": list(self.keys),
            "requests": list(self.requests),
            "leases": [{"receipt": str(each.receipt), "until": write_moment(each.until)} for each in self.leases],
            "keys_made": list(self.keys_made),
        }


async def end_access(
    tx: Transaction,
    occasion: Occasion,
    subject: Subject,
    reason: str,
    why: Why = Why.BY_AN_ADMINISTRATOR,
    provider: str | None = None,
) -> Ended:
    """End every sign-in of a subject and admit none until somebody says otherwise, in this transaction.

    ``why`` is how its sessions came to their end, ``provider`` the issuer that may admit it again.
    """
    by = str(occasion.subject)
    await roster.put(
        tx,
        Enrolment(
            subject,
            active=False,
            tokens_since=occasion.at,
            at=occasion.at,
            by=by,
            reason=reason,
            provider=provider,
        ),
    )
    return Ended(
        subject=subject,
        sessions=tuple(str(each.id) for each in await sessions.end_sessions_of(tx, subject, why, occasion.at)),
        keys=tuple(await keys.revoke_keys_of(tx, subject, why=reason, by=by, at=occasion.at)),
        requests=await _withdraw_requests(tx, occasion, subject, reason),
        leases=await _running_leases(tx, occasion, subject),
        keys_made=tuple(await keys.made_by(tx, subject, occasion.at)),
    )


async def _withdraw_requests(tx: Transaction, occasion: Occasion, subject: Subject, reason: str) -> tuple[str, ...]:
    """Withdraw what the subject asked for and nobody has decided on."""
    since = id_floor(occasion.at - EXPIRES_AFTER)
    revision = await revisions.newest(tx)
    asked = await requests.older(tx, limit=_MOST, since=since, requester=subject)
    return tuple([each.id for each in asked if await _withdraw(tx, occasion, each, reason, revision)])


async def _withdraw(tx: Transaction, occasion: Occasion, request: AccessRequest, reason: str, revision: int) -> bool:
    """Withdraw a request as it stands; false where it has been decided on, even just now."""
    standing: AccessRequest | None = request
    while standing is not None and standing.state(occasion.at) is State.PENDING:
        ending = Ending(State.WITHDRAWN, occasion.subject, occasion.at, reason)
        try:
            await requests.append(tx, replace(standing, ending=ending), revision)
        except StaleEdit:
            standing = await requests.newest(tx, request.id)
        else:
            return True
    return False


async def _running_leases(tx: Transaction, occasion: Occasion, subject: Subject) -> tuple[Lease, ...]:
    running = await ledger.leases_running(tx, str(subject), occasion.at, _MOST)
    return tuple(Lease(receipt, until) for receipt, until in running)
