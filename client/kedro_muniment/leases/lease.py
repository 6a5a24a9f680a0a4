"""What the service gave: the catalog for one subject in one environment, signed, verified, and kept on disk.

Every start asks the service, which answers 304 with a fresh signature when the kept body is still right. Where it
cannot be reached usably, the run goes on from a lease that is kept, until its end, and a sentence says so. An answer of
the service, a refusal too, always stands before what is kept.

Nothing is used that a key of the service did not sign for who asks and for what was asked, kept or not. Without the
service nobody but this machine's clock tells how late it is; so a clock that is behind a time that was seen, in a lease
or as one was used, is not believed.
Decision: 0031.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kedro_muniment.leases import signatures
from kedro_muniment.leases.kept import Kept, Mark, Shelf
from kedro_muniment.leases.signatures import UnknownKey, Unproved
from kedro_muniment.leases.statements import OtherIssuer, Statement, Trust
from kedro_muniment.problems import ServiceRefused, Unreachable, plain
from kedro_muniment.service import NOT_MODIFIED, TIMEOUT_SECONDS, Answer, Service

HEADER: Final = "Muniment-Lease"
#: What can be done with a dataset.
ACTIONS: Final = ("load", "save")
#: How long the service is waited for where a kept lease would do: all of the first question, and of those for its keys.
PATIENCE_SECONDS: Final = 5.0
#: How far two clocks may be apart without a word.
LEEWAY: Final = timedelta(minutes=5)

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Lease:
    """The catalog by governed name, and what may be done with each entry."""

    catalog: Mapping[str, Any]
    actions: Mapping[str, Sequence[str]]
    ends: Mapping[str, datetime]
    environment: str
    subject: str
    revision: str
    receipt: str
    #: Names that are given under a condition which this version of the plugin cannot keep.
    obliged: frozenset[str] = frozenset()
    #: Factory patterns by name, and what may be done with what is called so; what they make is asked for by name.
    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Names of the catalog that were asked for by themselves: a factory pattern makes them.
    made: frozenset[str] = frozenset()
    #: From when, and until when, all of it holds.
    issued: datetime = _BEGINNING
    until: datetime = _END
    #: It is no earlier than this, whatever this machine's clock says.
    seen: datetime = _BEGINNING
    #: Why the service was not reached, and this is the kept lease; ``None`` where the service answered.
    away: str | None = None
    #: What is to be said of a name, that it is deprecated and what follows it.
    notices: Mapping[str, str] = field(default_factory=dict)

    @property
    def domains(self) -> frozenset[str]:
        """The top domains that the lease knows by the names in it."""
        return top_domains([*self.catalog, *self.patterns])

    def now(self) -> datetime:
        """What time it is for this lease: a clock that was set back does not make it longer."""
        return max(datetime.now(UTC), self.seen)

    def is_over(self, name: str) -> bool:
        """Whether it gives this dataset no longer: as a whole, or since the permission for this one ended sooner."""
        return min(self.until, self.ends.get(name, self.until)) <= self.now()


def say_kept(lease: Lease) -> None:
    """Say that this is a kept lease, and why."""
    logger.warning(
        "%s This run goes on from the lease that was given at %s; it holds until %s, and what has changed since is not "
        "known here.",
        lease.away,
        _told(lease.issued),
        _told(lease.until),
    )


def top_domains(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in names if "." in name)


def fetch(service: Service, asked: Mapping[str, str], at: datetime | None = None) -> Lease:
    """The lease that holds now: the service's, or where it cannot be reached the kept one, with a warning.

    Raises :class:`Unreachable` where nothing that is kept can be used, and says why.
    """
    asking = _Asking.of(service, asked, at or datetime.now(UTC))
    try:
        return asking.given()
    except Unreachable as problem:
        return asking.kept_instead(problem)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question for a lease: what is asked, by whom, when, and what is kept from before."""

    service: Service
    asked: Mapping[str, str]
    at: datetime
    shelf: Shelf
    mark: Mark
    kept: Kept | None
    #: The tag of the kept lease, if that is whole.
    tag: str | None
    #: What the kept lease states, or why it cannot be used without the service.
    standing: Statement | str
    #: Until when the service is waited for, on the monotonic clock.
    deadline: float

    @classmethod
    def of(cls, service: Service, asked: Mapping[str, str], at: datetime) -> _Asking:
        shelf = Shelf.of(service.url, service.token.bearer(), asked)
        kept, mark = shelf.lease(), shelf.mark()
        stated = _stated(kept)
        standing = stated if isinstance(stated, str) else _standing(stated, mark, shelf.question, at)
        if not isinstance(standing, str):
            standing = _fault(standing, mark, asked, service.token.subject or mark.subject) or standing
        tag = None if kept is None or isinstance(stated, str) else kept.etag
        seconds = TIMEOUT_SECONDS if isinstance(standing, str) else PATIENCE_SECONDS
        return cls(service, asked, at, shelf, mark, kept, tag, standing, time.monotonic() + seconds)

    def given(self) -> Lease:
        """What the service gives now, verified and kept."""
        lease = self._believed(self.service.lease(self.asked, self.tag, self._left()), self.tag)
        if lease is None:  # the tag stands for another body than the kept one
            lease = self._believed(self.service.lease(self.asked, None, self._left()), None)
        if lease is None:
            raise ServiceRefused(f"{self.service.url} answered that nothing has changed, and was not asked that.")
        return lease

    def kept_instead(self, problem: Unreachable) -> Lease:
        """The kept lease, where it can be used; else the problem, and why what is kept is of no use."""
        if self.kept is None:
            raise problem
        if isinstance(self.standing, str):
            raise Unreachable(f"{problem.message} The lease that is kept here is not used: {self.standing}.") from None
        why = problem.message.partition(" Nothing was run.")[0]
        seen = max(self.at, self.standing.issued, self.mark.seen or self.at)
        lease = replace(_lease(json.loads(self.kept.body), self.standing, self.service), away=why, seen=seen)
        self.shelf.note(replace(self.mark, seen=seen))
        if "names" not in self.asked:
            say_kept(lease)
        return lease

    def _left(self) -> float:
        return max(self.deadline - time.monotonic(), 0.1)

    def _believed(self, answer: Answer, tag: str | None) -> Lease | None:
        """The lease that an answer gives, verified and kept; ``None`` if it stands for a body that is not here."""
        statement, trust = self._proved(answer)
        self._refuse_strange(answer, statement)
        text, etag = answer.headers[HEADER], answer.headers.get("ETag") or tag
        if answer.status != NOT_MODIFIED:
            kept, body = Kept.of(etag, text, trust, answer.content), answer.body
            if kept.sha256 != statement.body_sha256:
                raise self._refused("what came with it is not what was signed")
        elif self.kept is not None and tag is not None and self.kept.sha256 == statement.body_sha256:
            kept, body = replace(self.kept, statement=text, trust=trust), json.loads(self.kept.body)
        else:
            return None
        lease = replace(_lease(body, statement, self.service), seen=statement.issued)
        self._keep(kept, statement)
        return lease

    def _proved(self, answer: Answer) -> tuple[Statement, Trust]:
        """What is stated, and whom that proves; the service's keys are asked for where those from before do not do."""
        text = answer.headers.get(HEADER)
        if text is None and "Muniment-Revision" not in answer.headers:
            raise self.service.strange(answer.status)
        if text is None:
            raise ServiceRefused(
                f"{self.service.url} gave a lease that it did not sign: it is older than this version of "
                "kedro-muniment. Nothing of it is used. Ask whoever runs Muniment to upgrade it."
            )
        try:
            for trust in (self.kept.trust if self.kept else None, self.service.memory.trust):
                with contextlib.suppress(UnknownKey):
                    if trust is not None:
                        return trust.read(text), trust
            trust = self.service.memory.trust = self._shown()
            return trust.read(text), trust
        except Unproved as fault:
            if isinstance(fault, UnknownKey) and not isinstance(fault, OtherIssuer):
                raise Unreachable(
                    f"{self.service.url} gave a lease under a key that it does not show. Nothing was run. Try again; "
                    "if it lasts, tell whoever runs Muniment: all its hosts must have one secret."
                ) from None
            raise self._refused(str(fault)) from None

    def _shown(self) -> Trust:
        """Whose statements are believed now, by the service's own word over this connection."""
        described = self.service.described(self._left()).body
        issuer = described.get("lease_issuer")
        keys = signatures.keys_of(self.service.lease_keys(self._left()))
        if not isinstance(issuer, str) or not keys:
            raise self._refused("it shows no key that signs leases")
        return Trust(issuer, keys)

    def _refuse_strange(self, answer: Answer, statement: Statement) -> None:
        """Refuse what is rightly signed, and is not for who asked, for what was asked, or for now."""
        expected = self.service.token.subject
        if expected is not None and statement.subject != expected:
            raise ServiceRefused(
                f"{self.service.url} gave a lease for {plain(statement.subject)}, and you signed in as "
                f"{plain(expected)}. Nothing of it is used. Sign in again: kedro muniment login"
            )
        fault = statement.fault(self.asked, _subject(answer.headers.get("Muniment-Subject")))
        if fault is not None:
            raise self._refused(fault)
        if statement.until <= self.at - LEEWAY:
            raise ServiceRefused(
                f"{self.service.url} gave a lease until {_told(statement.until)}, and by this machine's clock it is "
                f"{_told(self.at)}. Nothing was run. Set the clock of this machine."
            )
        if statement.issued > self.at + LEEWAY:
            behind = round((statement.issued - self.at).total_seconds() / 60)
            logger.warning("This machine's clock is %s minutes behind %s. Set it.", behind, self.service.url)

    def _refused(self, fault: str) -> ServiceRefused:
        return ServiceRefused(
            f"{self.service.url} gave a lease that is not to be believed: {fault}. Nothing of it is used. Check the "
            "address (`url:` in muniment.yml, or MUNIMENT_URL); if it is right, tell whoever runs Muniment."
        )

    def _keep(self, lease: Kept, statement: Statement) -> None:
        """Keep it for the next start. The mark is the service's word, also where it is behind what was seen before."""
        issued = {self.shelf.question: statement.issued.timestamp()} if self.shelf.keep(lease) else {}
        self.shelf.note(Mark(statement.issuer, statement.subject, statement.issued, {**self.mark.issued, **issued}))
        if self.kept is None:
            self.shelf.tidy()


def _stated(kept: Kept | None) -> Statement | str:
    """What a kept lease states, if it is whole and was signed; else what is wrong with it, to end a sentence."""
    if kept is None:
        return "there is none"
    try:
        statement = kept.trust.read(kept.statement)
    except Unproved as fault:
        return str(fault)
    return statement if kept.sha256 == statement.body_sha256 else "it is not what was signed"


def _standing(statement: Statement, mark: Mark, question: str, at: datetime) -> Statement | str:
    """The same, if it still holds and none is known that was given later."""
    seen = max(statement.issued, mark.seen or statement.issued)
    if at < seen - LEEWAY:
        return f"this machine's clock says {_told(at)}, and it was {_told(seen)} already. Set the clock"
    if statement.until <= max(at, seen):
        return f"it ended at {_told(statement.until)}. A run starts again when the service can be reached"
    if statement.issued.timestamp() < mark.issued.get(question, 0.0) - LEEWAY.total_seconds():
        return "it is older than the last one that was given here"
    return statement


def _fault(statement: Statement, mark: Mark, asked: Mapping[str, str], subject: str | None) -> str | None:
    """Why it is none of this service for who asks now; both must have been named by the service before."""
    if mark.issuer is None:
        return "nobody here knows any more whom the service takes you for"
    if statement.issuer != mark.issuer:
        return f"it was made by another service ({plain(statement.issuer)})"
    return statement.fault(asked, subject)


def _lease(body: Any, statement: Statement, service: Service) -> Lease:
    try:
        return Lease(
            catalog=_mapping(body["catalog"]),
            actions=_actions(body["actions"]),
            ends={name: _time(end) for name, end in _mapping(body.get("ends") or {}).items()},
            environment=statement.environment,
            subject=plain(statement.subject),
            revision=statement.revision,
            receipt=statement.receipt,
            patterns=_actions(body.get("patterns") or {}),
            obliged=frozenset(name for name, held in _mapping(body.get("obligations") or {}).items() if held),
            issued=statement.issued,
            until=statement.until,
            notices={name: plain(told) for name, told in _mapping(body.get("notices") or {}).items()},
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ServiceRefused(
            f"{service.url} gave a lease that this version of kedro-muniment does not understand "
            f"({plain(error)}). Check the address, and whether the plugin needs an upgrade."
        ) from None


def _subject(header: str | None) -> str | None:
    """Whom the answer is for by its header. A header is ASCII: the service escapes what is not."""
    if not header:
        return None
    try:
        return header.encode("ascii").decode("unicode_escape")
    except UnicodeError:
        return header


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {type(value).__name__}")
    return value


def _actions(said: Any) -> Mapping[str, Sequence[str]]:
    """What may be done by name; what else is given is nothing that this version lets anybody do."""
    return {name: tuple(each for each in ACTIONS if each in _list(given)) for name, given in _mapping(said).items()}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return value


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
