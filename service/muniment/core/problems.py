"""Every way in which Muniment refuses, in words for the person who reads them.

The tree knows no status codes: the doors map it (``api/problems.py``). A problem's
message says what is so and what to do now. Where the existence of something is in
question there is one answer, :class:`NotFound`, and it says the same words whether
the thing is hidden or was never there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Problem(Exception):
    """Muniment refuses. The message is meant for the person who asked."""

    title = "Refused"

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        #: Extension members (RFC 9457, 3.2) that travel with the problem.
        self.members: Mapping[str, object] = members


class NotSignedIn(Problem):
    """Nobody is known to ask: no credential, or one that was not accepted."""

    title = "Not signed in"


class TokenRefused(NotSignedIn):
    """A bearer token was presented and does not hold."""

    title = "Token refused"


class SignInRefused(NotSignedIn):
    """A sign-in with a browser does not hold. ``reason`` is one of few words, for whoever runs the service."""

    title = "Sign-in refused"

    def __init__(
        self, reason: str, detail: str = "This sign-in does not hold, so nobody was signed in. Begin again."
    ) -> None:
        super().__init__(detail)
        self.reason = reason


class NotAllowed(Problem):
    """The asker may know of the thing, and may not do this to it."""

    title = "Not allowed"


class NotFound(Problem):
    """The thing does not exist, or the asker may not know of it: one answer for both."""

    title = "Not found"

    def __init__(self) -> None:
        super().__init__("There is nothing here, or nothing that you may know of.")


class Conflict(Problem):
    """The change contradicts something that stands."""

    title = "Conflict"


class CaseFails(Problem):
    """The change contradicts a case that a policy carries; the member ``cases`` says which."""

    title = "Case fails"


class StaleEdit(Problem):
    """Someone changed the thing after the version that this edit began from."""

    title = "Stale edit"


class TooSlow(Problem):
    """The request took longer to arrive than Muniment waits."""

    title = "Too slow"


class TooLarge(Problem):
    """The request is bigger than Muniment reads."""

    title = "Too large"


class TooMany(Problem):
    """So many of this kind came from the caller that the next has to wait, for so many ``seconds``."""

    title = "Too many"

    def __init__(self, detail: str, *, seconds: int) -> None:
        super().__init__(detail)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input: where it stands, and what to do.

    ``line`` and ``column`` are a place in a text, counted from 1, where ``at`` is one.
    """

    at: str
    message: str
    line: int | None = None
    column: int | None = None


class Invalid(Problem):
    """The input is well-meant and wrong; :attr:`faults` names every place."""

    title = "Invalid input"

    def __init__(self, detail: str, faults: Sequence[Fault] = (), **members: object) -> None:
        super().__init__(detail, **members)
        self.faults = tuple(faults)


class InvalidDefinition(Invalid):
    """A definition that Kedro could not use, or that must not be served."""

    title = "Invalid definition"


class InvalidPolicy(Invalid):
    """A policy that does not parse, or that does not fit the schema."""

    title = "Invalid policy"


class UnknownEnvironment(Invalid):
    """An environment outside the closed list of environments."""

    title = "Unknown environment"


class VersionNeeded(Problem):
    """An edit that does not say which version it began from."""

    title = "Version needed"


class Unavailable(Problem):
    """Something that Muniment needs does not answer; nothing was given, nothing changed."""

    title = "Unavailable"


class LedgerUnavailable(Unavailable):
    """The record could not be written, so the answer is not given."""

    title = "No record, no answer"


class Busy(Unavailable):
    """As much of this kind as Muniment does at once is being done for others."""

    title = "Busy"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer."""

    title = "Database unavailable"


class Unconfirmed(Problem):
    """The engine and Cedar itself come to different decisions where both are asked; nothing is allowed."""

    title = "Decision not confirmed"


class CannotStart(Problem):
    """The service refuses to start; the message ends with the command that mends it."""

    title = "Cannot start"


class SchemaTooOld(CannotStart):
    """The database is at an older migration than this release needs."""

    title = "Database is older than this release"


class SchemaTooNew(CannotStart):
    """The database was upgraded by a newer release than this one."""

    title = "Database is newer than this release"
