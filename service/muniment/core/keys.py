"""Keys of Muniment's own, for jobs that no identity provider reaches.

A key is bound to one service identity and one use; one for runs also to an environment, a
project and a purpose. It has an end, and it is shown once: what is kept of it is an HMAC
under a secret that is not in the database. It is random, so a fast hash is enough, and
its checksum tells scanners and the doors a key from what only looks like one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from muniment.core.decisions import Wanted
from muniment.core.environments import checked_known
from muniment.core.problems import Fault, Invalid, NotAllowed, TokenRefused
from muniment.core.sign_ins import Bounds, SignIn, Use
from muniment.core.subjects import Kind, Subject, SubjectState

#: What every key begins with.
PREFIX: Final = "mun_"

#: The name that stands where an issuer would: a key's subject is vouched for by Muniment, and no issuer has this name.
ISSUER: Final = "muniment"

#: The service identity that emergency keys are for (:mod:`muniment.core.break_glass`).
HELPER: Final = "break-glass"

#: Service identities of Muniment's own: no provider vouches for them, and nobody asks for keys for them.
RESERVED: Final = frozenset({ISSUER, HELPER})

#: How many random bytes a key is made of.
RANDOM_BYTES: Final = 32

#: How many keys of one service identity may be in force at once.
MOST_IN_FORCE: Final = 100

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS: Final = 43
_CHECKSUM_DIGITS: Final = 6

#: How every key looks; secret scanners search for the same.
LOOKS: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_DIGITS + _CHECKSUM_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Pepper:
    """The secret under which keys are hashed. Every worker and host of one database has the same."""

    _secret: bytes = field(repr=False)

    def hashed(self, key: str) -> bytes:
        """What is kept of a key: HMAC-SHA256 (RFC 2104) of its text."""
        return hmac.digest(self._secret, b"key " + key.encode(), hashlib.sha256)

    @property
    def name(self) -> str:
        """Tells this secret from others, and nothing else of it."""
        return hmac.digest(self._secret, b"name", hashlib.sha256)[:8].hex()


@dataclass(frozen=True, slots=True)
class Ending:
    """A key was revoked: by whom, when and why."""

    by: str
    at: datetime
    because: str


@dataclass(frozen=True, slots=True)
class LastUse:
    """When a key last signed somebody in, to five minutes, and from which address."""

    at: datetime
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a key, which is all but the key itself.

    ``state`` is the digest of what its maker's token said, where a service made it for
    itself: such a key says the same of it. One that an administrator made says the subject's name alone.
    """

    id: str
    subject: Subject
    bounds: Bounds
    at: datetime
    by: Subject
    because: str
    until: datetime
    state: str | None = None
    ending: Ending | None = None
    used: LastUse | None = None

    def holds(self, at: datetime) -> bool:
        """Whether the key is in force at a moment."""
        return self.ending is None and at < self.until

    def sign_in(self, said: SubjectState | None) -> SignIn:
        """What the key says of who presents it; ``said`` is the state that it is made with."""
        state = said or SubjectState(self.subject, ISSUER)
        return SignIn(state, since=self.at, until=self.until, credential=credential(self.id), bounds=self.bounds)


def credential(id_: str) -> str:
    """The name of a key in the ledger."""
    return f"key:{id_}"


def written(drawn: bytes) -> str:
    """The key that random bytes make: the prefix, 256 bits in base 62, and their CRC-32 in six digits more."""
    if len(drawn) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} random bytes")
    body = _in_digits(int.from_bytes(drawn), _RANDOM_DIGITS)
    return f"{PREFIX}{body}{_checksum(body)}"


def is_well_formed(text: str) -> bool:
    """Whether a text looks like a key and its checksum holds: what is no key need not be looked for."""
    if not LOOKS.fullmatch(text):
        return False
    body = text.removeprefix(PREFIX)
    return _checksum(body[:_RANDOM_DIGITS]) == body[_RANDOM_DIGITS:]


def check_well_formed(text: str) -> None:
    """Refuse what is no key, without looking for it."""
    if not is_well_formed(text):
        raise refused()


def refused() -> TokenRefused:
    """The one answer to every key that does not hold, whyever that is."""
    return TokenRefused("The key does not hold. It is mistyped, has ended, or was revoked: ask for a new one.")


def confined(bounds: Bounds | None, wanted: Wanted) -> Wanted:
    """The question as whoever is so bound may ask it: what it leaves out is what the bounds say.

    Raises :class:`NotAllowed` where it says something else.
    """
    if bounds is None:
        return wanted
    return Wanted(
        _confined("environment", bounds.environment, wanted.environment) or wanted.environment,
        _confined("project", bounds.project, wanted.project),
        _confined("purpose", bounds.purpose, wanted.purpose),
    )


def _confined(what: str, bound: str | None, asked: str | None) -> str | None:
    if bound is not None and asked not in {None, bound}:
        raise NotAllowed(f"This key is for another {what}. Use the key that was made for this {what}, or leave it out.")
    return asked if bound is None else bound


def check_speaks_for_itself(bounds: Bounds | None) -> None:
    """Refuse a question about others, or about the past, to whoever may only run."""
    if bounds is not None and bounds.use is Use.RUNS:
        raise NotAllowed("This key is for runs: it asks for its own service, and for now.")


def check_bounds(bounds: Bounds, environments: Collection[str]) -> None:
    """Refuse bounds that leave open what a run is for, or that narrow what they cannot."""
    given = {"environment": bounds.environment, "project": bounds.project, "purpose": bounds.purpose}
    if bounds.use is Use.RUNS:
        faults = [Fault(name, f"A key for runs is bound to one {name}.") for name, said in given.items() if not said]
    else:
        faults = [Fault(name, f"A key for {bounds.use} has no {name}.") for name, said in given.items() if said]
    if bounds.directory is not None and bounds.use is not Use.PROVISIONING:
        faults.append(Fault("directory", f"A key for {bounds.use} has no directory."))
    if faults:
        raise Invalid("The key's use and what it is bound to do not fit.", faults)
    if bounds.environment is not None:
        checked_known([bounds.environment], environments)


def check_subject(subject: Subject) -> None:
    """Refuse a key for a person, and one for a service identity of Muniment's own."""
    if subject.kind is not Kind.SERVICE:
        message = "A key is a service identity's, service:<id>; people sign in with their identity provider."
        raise Invalid(message, [Fault("service", message)])
    if subject.id in RESERVED:
        message = f"{subject} is Muniment's own: the service itself, or help in an emergency. Choose another name."
        raise Invalid(message, [Fault("service", message)])


def check_end(until: datetime, at: datetime, longest: timedelta) -> None:
    """Refuse an end that has passed, or that is further away than the settings let it be."""
    if not at < until <= at + longest:
        message = f"A key ends within {longest.days} days from now; MUNIMENT_KEY_DAYS says so."
        raise Invalid(message, [Fault("until", message)])


def _checksum(body: str) -> str:
    return _in_digits(crc32(body.encode()), _CHECKSUM_DIGITS)


def _in_digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
