"""What the service states of a lease: whose it is, what was asked, from when until when, and the digest of its body.

A statement is believed by its signature alone (``signatures.py``), and then held against what was asked and who asked:
a lease that is rightly signed for another subject, environment or service is worth nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kedro_muniment.leases import signatures
from kedro_muniment.leases.signatures import Keys, UnknownKey, Unproved
from kedro_muniment.problems import plain

AUDIENCE: Final = "kedro"


class OtherIssuer(UnknownKey):
    """It was made under another name than the service is known by."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose statements are believed: the service by its own name, and the keys that it showed."""

    issuer: str
    keys: Keys

    def read(self, text: str) -> Statement:
        """What is stated, if this service stated it; :class:`UnknownKey` where newer keys, or its newer name, may."""
        statement = _understood(signatures.proved(text, self.keys))
        if statement.issuer != self.issuer:
            raise OtherIssuer(f"it was made by another service ({plain(statement.issuer)})")
        return statement


@dataclass(frozen=True, slots=True)
class Statement:
    """The claims (RFC 7519, 4.1, and Muniment's own)."""

    issuer: str
    subject: str
    issued: datetime
    until: datetime
    environment: str
    project: str | None
    purpose: str | None
    #: The digest of the names that were asked for; ``None``: everything was.
    names: str | None
    revision: str
    receipt: str
    body_sha256: str

    def fault(self, asked: Mapping[str, str], subject: str | None) -> str | None:
        """What is wrong with it for one who asked this, in words that end a sentence; ``None`` if nothing is.

        A key may be bound to a project and a purpose, which the service then adds to what was asked.
        """
        if subject is not None and self.subject != subject:
            return f"it is for {plain(self.subject)}, and you are {plain(subject)}"
        if self.environment != asked["environment"]:
            return f"it is for the environment {plain(self.environment)}, and {asked['environment']} was asked for"
        for said, wanted in ((self.project, asked.get("project")), (self.purpose, asked.get("purpose"))):
            if wanted is not None and said != wanted:
                return f"it is for {plain(said)}, and {wanted} was asked for"
        if self.names != digest_of_names(asked.get("names")):
            return "it is for other names than were asked for"
        return None


def digest_of_names(names: str | None) -> str | None:
    """SHA-256 (hex) of the names that were asked for, each once, sorted, with commas between them."""
    if names is None:
        return None
    listed = {name.strip() for name in names.split(",")} - {""}
    return hashlib.sha256(",".join(sorted(listed)).encode()).hexdigest()


def _understood(claims: Mapping[str, Any]) -> Statement:
    try:
        if claims["aud"] != AUDIENCE:
            raise Unproved("it is for another program")
        return Statement(
            issuer=_text(claims["iss"]),
            subject=_text(claims["sub"]),
            issued=_moment(claims["iat"]),
            until=_moment(claims["exp"]),
            environment=_text(claims["environment"]),
            project=_text_or_none(claims["project"]),
            purpose=_text_or_none(claims["purpose"]),
            names=_text_or_none(claims.get("names")),
            revision=plain(claims["revision"]),
            receipt=plain(claims["receipt"]),
            body_sha256=_text(claims["body_sha256"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise Unproved("it does not state what a lease states") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _moment(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return datetime.fromtimestamp(value, UTC)
