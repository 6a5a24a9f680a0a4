"""Who has to wait: the gate before every door, which asks nobody and verifies nothing.

Three things are limited. Failed sign-ins, by address: whoever guesses at credentials. The
pages that begin a sign-in, by address: each makes the service write something down. And
refusals, by subject: whoever asks for name after name. What has to wait is answered 429
with ``Retry-After`` (RFC 6585, 4; RFC 9110, 10.2.3) before its body is read, its token
verified, or the database asked.

Many people share an address, behind a proxy of their office or their provider. So the
limits by address hold for credentials that have not proven good here yet: one that has is
remembered by its digest until it fails, and passes whatever its neighbours do. It is
verified like any other, and its subject has a limit of its own.

And of all requests together only so many are at work at once. One more is answered 503, at
once: what a process can do in a second stays what those are given who were let in, and
whoever is turned away can ask another process, or again.

Each process counts for itself, in memory of a bounded size. A caller who reaches several
processes gets as many times the rate, and a restart forgets. What is guarded so is work,
quiet and the size of the record: secrets are too long to be guessed at any rate.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from muniment.core.addresses import owner_of
from muniment.core.limits import Rate, Rates
from muniment.core.problems import Busy, TooMany
from muniment.core.subjects import Subject

#: How many callers a tally tells apart, and how many good credentials are remembered.
MOST_REMEMBERED: Final = 16_384

#: Asked by those who watch over the service; never limited, and never counted.
WATCHED: Final = frozenset({"/healthz", "/readyz", "/metrics"})

#: How many requests a process has at work at once, where no setting says otherwise (decision 0042).
MOST_AT_ONCE: Final = 256

#: The pages of a browser's sign-in.
SIGN_INS: Final = frozenset({"/sign-in", "/sign-in/callback"})

#: Where a refusal is a failed sign-in, although no ``Authorization`` came with the request.
SECRET_DOORS: Final = SIGN_INS | {"/back-channel-logout"}

#: The cookie of a browser's session (``web/visiting.py``).
_SESSION: Final = "__Host-muniment"

_UNAUTHORIZED, _FORBIDDEN, _MISSING, _TOO_MANY = 401, 403, 404, 429
_REFUSALS: Final = range(400, 500)


class Tally:
    """How much of a rate each caller has used up.

    It is kept as the moment when all of it is free again (the generic cell rate algorithm,
    ITU-T I.371): one number for each caller, and the wait follows from it. Of more than
    ``most`` callers those who were counted longest ago are forgotten.
    """

    def __init__(self, rate: Rate, *, most: int = MOST_REMEMBERED) -> None:
        self._rate = rate
        self._most = most
        self._free: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free)

    def wait(self, whose: str, at: datetime) -> float:
        """Seconds until there is room for one more; 0 when there is room."""
        moment = at.timestamp()
        room_in = self._used_until(whose, moment) - moment - self._rate.seconds + self._rate.step
        # To the microsecond: many steps do not add up to the period exactly.
        return max(0.0, round(room_in, 6))

    def has_room(self, whose: str, at: datetime) -> bool:
        """Whether there is room for one more; at once for those of whom nothing is counted."""
        return whose not in self._free or self.wait(whose, at) == 0

    def count(self, whose: str, at: datetime) -> None:
        """Count one, whether there was room or not; nobody owes more than the whole rate."""
        moment = at.timestamp()
        full = moment + self._rate.seconds
        self._free[whose] = min(full, self._used_until(whose, moment) + self._rate.step)
        self._free.move_to_end(whose)
        if len(self._free) > self._most:
            self._free.popitem(last=False)

    def _used_until(self, whose: str, moment: float) -> float:
        free = self._free.get(whose, moment)
        # Later than the whole rate it can only be after the clock was set back.
        return free if moment <= free <= moment + self._rate.seconds else moment


@dataclass(frozen=True, slots=True)
class Credential:
    """The digest of what a request signs in with, and whether a browser keeps it: a session ends all by itself."""

    digest: bytes
    of_browser: bool


@dataclass(slots=True)
class Visit:
    """One request, as long as it lasts: where from, with which credential, and by whom, once that is known."""

    gate: Gate
    path: str
    address: str
    owner: str
    credential: Credential | None
    at: datetime
    subject: str | None = None

    def of(self, subject: Subject) -> None:
        """The sign-in holds, and is this subject's; raises :class:`TooMany` when the subject has to wait."""
        self.subject = str(subject)
        self.gate.check_subject(self.subject, self.at)

    def failed(self) -> None:
        """A secret was shown and is none, whatever will be answered."""
        self.gate.count_failed(self)

    def lapsed(self) -> None:
        """A browser's session is over, or never was."""
        self.gate.count_refused(self)


class Gate:
    """Knows who has to wait, for one process. ``note`` counts who was turned away.

    ``most_at_once`` are the requests that are let in at once; ``at_work`` those that are.
    """

    def __init__(
        self, rates: Rates, note: Callable[[str, str, datetime], None], most_at_once: int = MOST_AT_ONCE
    ) -> None:
        self.at_work = 0
        self.most_at_once = most_at_once
        self._sign_ins = Tally(rates.sign_ins)
        self._failed = Tally(rates.failed_sign_ins)
        self._refused_addresses = Tally(rates.refused)
        self._refused_subjects = Tally(rates.refused)
        self._good: OrderedDict[bytes, str] = OrderedDict()
        self._note = note

    def enter(self, scope: Scope) -> None:
        """Let a request in; raises :class:`TooMany` when it has to wait."""
        address = scope["client"][0] if scope.get("client") else ""
        at: datetime = scope["state"]["at"]
        visit = Visit(self, scope["path"], address, owner_of(address), _credential(scope), at)
        scope["state"]["visit"] = visit
        if visit.path not in WATCHED:
            if self.at_work >= self.most_at_once:
                raise Busy("Muniment has as many requests at work as it can answer in time; try again in a moment.")
            self._check(visit)

    def passes(self, digest: bytes, subject: str, at: datetime) -> bool:
        """Whether a request with a credential of this digest, known to be this subject's, would be let in."""
        if (
            self._good.get(digest) != subject
            or self.at_work >= self.most_at_once
            or not self._refused_subjects.has_room(subject, at)
        ):
            return False
        self._good.move_to_end(digest)
        return True

    def count_failed(self, visit: Visit) -> None:
        """Count a failed sign-in, and think no better of its credential than of any other."""
        self._forget(visit)
        self._failed.count(visit.owner, visit.at)

    def count_refused(self, visit: Visit) -> None:
        """Count a refusal of nobody in particular."""
        self._forget(visit)
        self._refused_addresses.count(visit.owner, visit.at)

    def check_subject(self, subject: str, at: datetime) -> None:
        """Raises :class:`TooMany` when a subject has been refused too often."""
        _wait(self._refused_subjects.wait(subject, at), "Muniment has refused you more often than it does in a while")

    def watching(self, scope: Scope, send: Send) -> Send:
        """Send an answer, and learn from its status how the visit ended."""

        async def watched(message: Message) -> None:
            visit: Visit | None = scope["state"].get("visit")
            if message["type"] == "http.response.start" and visit is not None:
                self._leave(visit, message["status"])
            await send(message)

        return watched

    def _check(self, visit: Visit) -> None:
        if visit.path in SIGN_INS:
            _wait(self._sign_ins.wait(visit.owner, visit.at), "Too many sign-ins were begun from your address")
            self._sign_ins.count(visit.owner, visit.at)
        known = self._good.get(visit.credential.digest) if visit.credential is not None else None
        if known is not None:
            self.check_subject(known, visit.at)
            return
        failed, refused = self._failed.wait(visit.owner, visit.at), self._refused_addresses.wait(visit.owner, visit.at)
        _wait(failed, "Too many sign-ins from your address have failed")
        _wait(refused, "Too many requests from your address were refused")

    def _leave(self, visit: Visit, status: int) -> None:
        if visit.path in WATCHED:
            return
        if status == _TOO_MANY:
            self._note(visit.address, TooMany.__name__, visit.at)
        elif visit.subject is not None and status != _UNAUTHORIZED:
            self._remember(visit.credential, visit.subject)
            if status in {_FORBIDDEN, _MISSING}:
                self._refused_subjects.count(visit.subject, visit.at)
        elif status == _UNAUTHORIZED and visit.credential is not None and not visit.credential.of_browser:
            self.count_failed(visit)
        elif status in _REFUSALS:
            (self.count_failed if visit.path in SECRET_DOORS else self.count_refused)(visit)

    def _remember(self, credential: Credential | None, subject: str) -> None:
        if credential is None:
            return
        self._good[credential.digest] = subject
        self._good.move_to_end(credential.digest)
        if len(self._good) > MOST_REMEMBERED:
            self._good.popitem(last=False)

    def _forget(self, visit: Visit) -> None:
        if visit.credential is not None:
            self._good.pop(visit.credential.digest, None)


def _credential(scope: Scope) -> Credential | None:
    """What a request signs in with; nobody reads here what it says."""
    headers = Headers(scope=scope)
    presented = headers.get("authorization")
    if presented:
        return Credential(digest_of(presented), of_browser=False)
    pairs = (each.strip().partition("=") for each in headers.get("cookie", "").split(";"))
    session = next((value for name, _, value in pairs if name == _SESSION), None)
    return Credential(digest_of(session), of_browser=True) if session else None


def digest_of(secret: str) -> bytes:
    """What a credential is remembered by."""
    return hashlib.sha256(secret.encode()).digest()


def _wait(seconds: float, why: str) -> None:
    if seconds <= 0:
        return
    whole = math.ceil(seconds)
    raise TooMany(f"{why}. Try again in {whole} second{'s' if whole > 1 else ''}.", seconds=whole)
