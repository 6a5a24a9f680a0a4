"""The roster: which subjects may sign in now, and which provisioned groups they are in.

It belongs to no revision of the realm: a realm says what a subject may do, the roster
whether the subject may ask at all. Subjects are admitted until somebody says otherwise;
what was said stays readable, as versions of an enrolment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from muniment.core.problems import TokenRefused
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import Subject, SubjectState


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Whether a subject may sign in, as somebody (``by``) decided it at a moment.

    Sign-ins that began before ``tokens_since`` have ended, whoever issued them; those
    of which nobody knows when they began have ended too. ``provider`` is the issuer by whose
    provisioning a subject was shut out, None where an administrator said so.
    """

    subject: Subject
    active: bool = True
    tokens_since: datetime | None = None
    at: datetime | None = None
    by: str = ""
    reason: str = ""
    provider: str | None = None

    def check(self, sign_in: SignIn) -> None:
        """Refuse a sign-in that has been ended; raises :class:`TokenRefused`."""
        if not self.active:
            raise TokenRefused(
                "Your access to Muniment has been ended. If that is a mistake, ask whoever administers Muniment."
            )
        _check_since(sign_in, self.tokens_since)

    def admitted(self, at: datetime, by: str, reason: str) -> Enrolment:
        """The same subject let in again, with new sign-ins alone: those that began from this moment on.

        Tokens tell whole seconds, so one of the second of the admission is new, unless the end was in it too.
        """
        second = at.replace(microsecond=0)
        since = max(self.tokens_since or second, second)
        return Enrolment(self.subject, tokens_since=since, at=at, by=by, reason=reason)


@dataclass(frozen=True, slots=True)
class Place:
    """What the roster holds of one subject state.

    ``provisioned`` are those of the groups that the state brings whose members are
    provisioned, ``member_of`` the provisioned groups that its subject is in. Everybody's
    sign-ins that began before ``ended_before`` have ended.
    """

    enrolment: Enrolment
    member_of: frozenset[str] = frozenset()
    provisioned: frozenset[str] = frozenset()
    ended_before: datetime | None = None

    def admit(self, sign_in: SignIn) -> SubjectState:
        """What is known of who signs in; raises :class:`TokenRefused`.

        A provisioned group has the members that provisioning says, whatever a credential says.
        """
        self.enrolment.check(sign_in)
        _check_since(sign_in, self.ended_before)
        state = sign_in.state
        groups = (state.groups - self.provisioned) | self.member_of
        return state if groups == state.groups else replace(state, groups=groups)


def _check_since(sign_in: SignIn, since: datetime | None) -> None:
    if since is not None and (sign_in.since is None or sign_in.since < since):
        raise TokenRefused("This sign-in has been ended. Sign in again.")
