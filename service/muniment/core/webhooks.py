"""Webhooks: rows of the ledger are sent to an address as they come, signed, in order, until they are taken.

A webhook belongs to a subject and is sent what that subject may read, decided for each row when it is
sent. What a receiver does not take is tried again after longer and longer waits, and later
rows wait behind it; what it has not taken in the end is put aside, and can be sent again. One
that takes nothing any more is sent nothing more, until somebody says so.

Messages and signatures are those of Standard Webhooks 1.0 (standardwebhooks.com).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import orjson

from muniment.core.ledger import Place, Row
from muniment.core.moments import write_moment
from muniment.core.problems import Fault, Invalid
from muniment.core.selections import Selection
from muniment.core.subjects import Subject

#: How many webhooks one subject may have.
MOST_OF_ONE: Final = 20

#: How many random bytes a secret is made of (Standard Webhooks: between 24 and 64).
SECRET_BYTES: Final = 32
#: What a secret begins with when it is shown.
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the secret itself comes after it

#: For how long a secret that was replaced may sign beside the new one.
LONGEST_OVERLAP: Final = timedelta(days=7)

#: The longest address, in characters.
LONGEST_URL: Final = 2000

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<target>(?:/[!-\"$-~]*)?(?:\?[!-\"$-~]*)?)"
)
_PORTS: Final = {"https": 443, "http": 80}
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Url:
    """Where a webhook is sent, read once: whoever connects reads no text again."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def plain(self) -> bool:
        """Whether what is sent there could be read on its way."""
        return self.scheme == "http"

    @property
    def authority(self) -> str:
        """The host, with the port where that is not the usual one (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The address without what may be a secret in it."""
        return f"{self.scheme}://{self.authority}"


def parse_url(text: str) -> Url:
    """Read an address: http or https, a host, no name or password, no fragment, ASCII; raises :class:`Invalid`."""
    found = _URL.fullmatch(text) if len(text) <= LONGEST_URL else None
    if found is None:
        raise _no_url()
    host = found["host"].removeprefix("[").removesuffix("]").lower()
    port = int(found["port"]) if found["port"] else _PORTS[found["scheme"]]
    if not 0 < port <= _LAST_PORT or (":" in host and not _is_ipv6(host)):
        raise _no_url()
    target = found["target"]
    return Url(found["scheme"], host, port, target if target.startswith("/") else f"/{target}")


class Stopped(StrEnum):
    """Why the service itself sends nothing more to a webhook."""

    GONE = "gone"
    FAILING = "failing"
    NO_RIGHT = "no-right"
    SECRET_LOST = "secret-lost"  # noqa: S105 - the name of a reason

    @property
    def words(self) -> str:
        """The same for whoever reads it."""
        return _STOPPED[self]


_STOPPED: Final[Mapping[Stopped, str]] = {
    Stopped.GONE: "The receiver answered 410: it wants no more.",
    Stopped.FAILING: "The receiver did not take one row after another.",
    Stopped.NO_RIGHT: "Its owner may not sign in any more, or audits nothing any more.",
    Stopped.SECRET_LOST: "Its secret cannot be read: the service's own is another one now. Change it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where rows are sent, which ones, and in whose name. ``key`` never changes, nor is it used again."""

    key: UUID
    subject: Subject
    id: str
    url: str
    selection: Selection = field(default_factory=Selection)
    description: str = ""
    active: bool = True
    version: int = 1
    by: Subject
    at: datetime
    changed_at: datetime
    stopped: Stopped | None = None
    former_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs for a webhook: the secret, and the former one until its end."""

    present: bytes = field(repr=False)
    former: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """The secrets of a webhook as they are kept: the present one, sealed under this version, and the one before it."""

    present: bytes = field(repr=False)
    version: int
    former: bytes | None = field(default=None, repr=False)
    former_until: datetime | None = None


def written_secret(drawn: bytes) -> str:
    """A secret as its receiver keeps it."""
    return _SECRET_PREFIX + b64encode(drawn).decode()


class State(StrEnum):
    """What became of a row that was to be sent."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A row on its way to a receiver, or what became of it. ``why`` is what was wrong the last time."""

    row: UUID
    at: datetime
    event: str
    place: Place
    state: State = State.WAITING
    tries: int = 0
    status: int | None = None
    why: str | None = None
    first_at: datetime
    last_at: datetime
    position: int = 0


class Verdict(StrEnum):
    """What the answer of a receiver means."""

    TAKEN = "taken"
    GONE = "gone"
    REFUSED = "refused"
    LATER = "later"


_GONE: Final = 410
#: Request Timeout, Too Early, Too Many Requests (RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4).
_LATER: Final = frozenset({408, 425, 429})


def judged(status: int | None) -> Verdict:
    """What a status means; None is no answer. A redirect is not followed, so it is a refusal."""
    if status is None or status >= 500 or status in _LATER:  # noqa: PLR2004 - RFC 9110, 15.6
        return Verdict.LATER
    if status == _GONE:
        return Verdict.GONE
    return Verdict.TAKEN if 200 <= status < 300 else Verdict.REFUSED  # noqa: PLR2004 - RFC 9110, 15.3


#: Standard Webhooks asks for tries over hours; a receiver that was rebuilt over a night finds nothing lost.
_WAITS: Final = tuple(timedelta(seconds=each) for each in (5, 30, 120, 600, 1800, 3600, 7200, 14400))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long it is tried to send one row, and how much may fail before nothing more is sent.

    ``waits`` are those between tries; of a row that the receiver refuses only the first ``waits_refused``. A
    receiver may ask for more time, up to ``longest``. After ``most_dead`` rows in a row were put
    aside the webhook stops.
    """

    waits: tuple[timedelta, ...] = _WAITS
    waits_refused: int = 3
    longest: timedelta = timedelta(days=1)
    most_dead: int = 5

    def wait(self, verdict: Verdict, tries: int, asked: timedelta, lot: float) -> timedelta | None:
        """How long to wait after so many tries; None where it is not tried again.

        ``lot`` between 0 and 1 spreads the waits by a fifth to each side, so that receivers
        that went away together are not all called at once.
        """
        waits = self.waits[: self.waits_refused] if verdict is Verdict.REFUSED else self.waits
        if tries > len(waits):
            return None
        return max(waits[tries - 1] * (0.8 + 0.4 * lot), min(asked, self.longest))


def asked_wait(retry_after: str | None, at: datetime) -> timedelta:
    """How long a receiver asks to be left alone (``Retry-After``; RFC 9110, 10.2.3)."""
    if not retry_after:
        return timedelta(0)
    if retry_after.isascii() and retry_after.isdigit():
        return timedelta(seconds=int(retry_after[:9]))
    try:
        until = datetime.strptime(retry_after, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return timedelta(0)
    return max(until - at, timedelta(0))


def payload(row: Row) -> bytes:
    """What is sent of a row: its type, its moment, and all of it as ``GET /v1/ledger`` gives it."""
    return orjson.dumps({"type": row.event.value, "timestamp": write_moment(row.at), "data": written(row)})


def written(row: Row) -> dict[str, object]:
    """A row as every door shows it."""
    shown = {each.name: getattr(row, each.name) for each in fields(Row)}
    return {**shown, "at": write_moment(row.at), "details": dict(row.details)}


def trial(webhook: Webhook, at: datetime) -> bytes:
    """What is sent to see whether a receiver takes it: no row of the ledger."""
    said = {"webhook": webhook.id, "subject": str(webhook.subject)}
    return orjson.dumps({"type": "webhook.test", "timestamp": write_moment(at), "data": said})


def headers(secrets: Secrets, id_: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """The headers of a message: its id, which stays the same when it is sent again, the time, the signatures."""
    sent = str(int(at.timestamp()))
    signed = f"{id_}.{sent}.".encode() + body
    keys = [key for key in (secrets.present, secrets.former) if key is not None]
    return {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": sent,
        "webhook-signature": " ".join(_signatures(keys, signed)),
    }


def _signatures(keys: Iterable[bytes], signed: bytes) -> Iterable[str]:
    return (f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _no_url() -> Invalid:
    message = "A webhook's address is https://host/path, without a name, a password or a fragment in it."
    return Invalid(message, [Fault("url", message)])
