"""Sessions of browsers, the sign-ins that lead to them, and the logout tokens that end them.

Whether a session stands is asked of Postgres at each request: no process remembers one, so
one that was ended is refused by the next request, wherever that arrives. A secret is found
by its SHA-256, and stands nowhere itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, false, select, update
from sqlalchemy.dialects.postgresql import insert

from muniment.core.sessions import USE_IS_NOTED, Begun, Session, Vouched, Why
from muniment.core.subjects import Subject
from muniment.store import subjects
from muniment.store.databases import Transaction
from muniment.store.tables import logout_tokens_seen, sessions, sign_ins_begun

#: For how long the row of a session is kept after its end.
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that was just ended: which, whose, and with what was known of its subject."""

    id: UUID
    subject: Subject
    subject_state: str
    issuer: str


async def expect(tx: Transaction, begun: Begun, *, state: bytes, browser: bytes, at: datetime) -> None:
    """Expect somebody back from a provider, with this state and in this browser; forget who did not come in time."""
    await tx.execute(delete(sign_ins_begun).where(sign_ins_begun.c.until <= at))
    await tx.execute(
        insert(sign_ins_begun).values(
            state=state, browser=browser, issuer=begun.issuer, path=begun.to, until=begun.until
        )
    )


async def arrived(tx: Transaction, *, state: bytes, browser: bytes, at: datetime) -> Begun | None:
    """The sign-in that was begun in this browser with this state, which nobody will find again."""
    columns = sign_ins_begun.c
    taken = (
        delete(sign_ins_begun)
        .where(columns.state == state, columns.browser == browser, columns.until > at)
        .returning(columns.issuer, columns.path, columns.until)
    )
    row = (await tx.execute(taken)).one_or_none()
    return Begun(row.issuer, row.path, row.until) if row is not None else None


async def begin(tx: Transaction, session: Session, secret: bytes) -> None:
    """Keep a new session, with what its provider said of the subject. Rows that are of no more use go."""
    await subjects.keep(tx, session.state, session.began)
    await tx.execute(delete(sessions).where(sessions.c.until < session.began - KEPT))
    await tx.execute(
        insert(sessions).values(
            id=session.id,
            secret=secret,
            subject=str(session.subject),
            subject_state=session.state.digest,
            issuer=session.vouched.issuer,
            issuer_subject=session.vouched.subject,
            issuer_session=session.vouched.session,
            since=session.since,
            began=session.began,
            used=session.used,
            until=session.until,
            address=session.address,
            client=session.client,
        )
    )


async def presented(tx: Transaction, secret: bytes, at: datetime, idle: timedelta) -> Session | None:
    """The session that stands at a moment and has this secret.

    That it was used is noted each minute, and more often where it would end for want of that.
    """
    question = select(sessions).where(sessions.c.secret == secret, *_standing(at, idle))
    row = (await tx.execute(question)).one_or_none()
    if row is None:
        return None
    if at - row.used >= min(USE_IS_NOTED, idle / 4):
        await tx.execute(update(sessions).where(sessions.c.id == row.id, sessions.c.used < at).values(used=at))
    (session,) = await _read(tx, [row])
    return session


async def standing(tx: Transaction, subject: Subject, at: datetime, idle: timedelta) -> list[Session]:
    """The sessions of a subject that stand at a moment, the last used first."""
    question = (
        select(sessions)
        .where(sessions.c.subject == str(subject), *_standing(at, idle))
        .order_by(sessions.c.used.desc(), sessions.c.id)
    )
    return await _read(tx, list(await tx.execute(question)))


async def end(tx: Transaction, id_: UUID, subject: Subject, why: Why, at: datetime) -> Ended | None:
    """End one session of a subject, if it has such a one that has not been ended."""
    ended = await _end(tx, why, at, sessions.c.id == id_, sessions.c.subject == str(subject))
    return ended[0] if ended else None


async def end_of_secret(tx: Transaction, secret: bytes, why: Why, at: datetime) -> Ended | None:
    """End the session that has this secret, if there is one that has not been ended."""
    ended = await _end(tx, why, at, sessions.c.secret == secret)
    return ended[0] if ended else None


async def end_sessions_of(tx: Transaction, subject: Subject, why: Why, at: datetime) -> list[Ended]:
    """End every session of a subject; gives those that there were."""
    return await _end(tx, why, at, sessions.c.subject == str(subject))


async def end_all_sessions(tx: Transaction, why: Why, at: datetime) -> list[Ended]:
    """End every session of everybody; gives those that there were."""
    return await _end(tx, why, at)


async def end_vouched(
    tx: Transaction, issuer: str, subject: str | None, session: str | None, at: datetime
) -> list[Ended]:
    """End what a provider no longer vouches for: one session of its own, or all of a subject.

    A session of the subject of which the provider never said which of its own it is, may be that one.
    """
    named = []
    if subject is not None:
        named.append(sessions.c.issuer_subject == subject)
    if session is not None:
        nameless = sessions.c.issuer_session.is_(None)
        named.append((sessions.c.issuer_session == session) | (nameless if subject is not None else false()))
    return await _end(tx, Why.BY_ITS_PROVIDER, at, sessions.c.issuer == issuer, *named) if named else []


async def see_logout_token(tx: Transaction, issuer: str, token: bytes, at: datetime, until: datetime) -> bool:
    """Whether a logout token is new; it will not be again. Those that could not be sent again are forgotten."""
    await tx.execute(delete(logout_tokens_seen).where(logout_tokens_seen.c.until <= at))
    seen = insert(logout_tokens_seen).values(issuer=issuer, token=token, until=until).on_conflict_do_nothing()
    return (await tx.execute(seen.returning(logout_tokens_seen.c.token))).one_or_none() is not None


async def _end(tx: Transaction, why: Why, at: datetime, *which: ColumnElement[bool]) -> list[Ended]:
    columns = sessions.c
    ended = (
        update(sessions)
        .where(columns.ended.is_(None), columns.until > at, *which)
        .values(ended=at, why=why.value)
        .returning(columns.id, columns.subject, columns.subject_state, columns.issuer)
    )
    return [Ended(row.id, Subject.parse(row.subject), row.subject_state, row.issuer) for row in await tx.execute(ended)]


def _standing(at: datetime, idle: timedelta) -> tuple[ColumnElement[bool], ...]:
    return sessions.c.ended.is_(None), sessions.c.until > at, sessions.c.used > at - idle


async def _read(tx: Transaction, rows: Sequence[Any]) -> list[Session]:
    states = await subjects.of_digests(tx, {row.subject_state for row in rows})
    return [
        Session(
            id=row.id,
            state=states[row.subject_state],
            vouched=Vouched(row.issuer, row.issuer_subject, row.issuer_session),
            since=row.since,
            began=row.began,
            used=row.used,
            until=row.until,
            address=row.address,
            client=row.client,
        )
        for row in rows
    ]
