"""Sessions: somebody is signed in with a browser, from a moment on, until one of several ends.

A session ends by itself when it is not used for a while, and in any case after its longest
time; and it is ended by whoever holds it, by the provider that vouched for it, or by whoever
administers Muniment. An ended session never comes back: signing in again makes another one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from muniment.core.problems import Fault, Invalid
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import Subject, SubjectState

#: How long somebody has to sign in at the provider, once they were sent there.
TIME_TO_SIGN_IN = timedelta(minutes=10)

#: How exactly the last use of a session is known.
USE_IS_NOTED = timedelta(minutes=1)

#: The longest address that somebody comes back to, in characters.
LONGEST_PATH = 1000

#: The random bytes of a secret that a browser keeps, and their length in base64url.
SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

#: What browsers take for a slash, for nothing at all, or for the end of a line.
_NOT_IN_PATHS = re.compile(r"[^\x21-\x5b\x5d-\x7e]")


class Why(StrEnum):
    """How a session came to its end before its time."""

    SIGNED_OUT = "signed out"
    SIGNED_IN_AGAIN = "signed in again"
    BY_ITS_SUBJECT = "ended by its subject"
    BY_ITS_PROVIDER = "ended by its provider"
    BY_AN_ADMINISTRATOR = "ended by an administrator"
    DEPROVISIONED = "deprovisioned"


@dataclass(frozen=True, slots=True)
class Hours:
    """How long sessions are: without use, and in all."""

    idle: timedelta = timedelta(hours=1)
    longest: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who vouched for a session: the issuer by its name, and the provider's own names of subject and session.

    ``session`` is the claim ``sid`` (OpenID Connect Back-Channel Logout 1.0, 2.1), where the provider gives one.
    """

    issuer: str
    subject: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session. ``since`` is when its subject signed in at the provider, ``used`` its last use."""

    id: UUID
    state: SubjectState
    vouched: Vouched
    since: datetime
    began: datetime
    used: datetime
    until: datetime
    address: str = ""
    client: str = ""

    @property
    def subject(self) -> Subject:
        """Who is signed in."""
        return self.state.subject

    @property
    def sign_in(self) -> SignIn:
        """The session as the doors know every credential."""
        return SignIn(self.state, self.since, self.until, credential=f"session:{self.id}")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that somebody was sent to a provider for: with which issuer, and where they come back to."""

    issuer: str
    to: str
    until: datetime


def is_secret(text: str) -> bool:
    """Whether a text can be a secret that Muniment gave a browser."""
    return bool(_SECRET.fullmatch(text))


def kept_of(secret: str) -> bytes:
    """What is kept of a secret of 256 random bits: its SHA-256, which gives nothing of it back."""
    return hashlib.sha256(secret.encode()).digest()


def derived_secret(secret: str, purpose: str) -> str:
    """A secret of its own for one purpose (HMAC-SHA256), in the 43 characters of base64url.

    Whoever learns it learns neither the secret nor what it gives for another purpose.
    """
    digest = hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def form_token(secret: str) -> str:
    """What every form of a page carries: nobody who can't read the browser's cookie can know it."""
    return derived_secret(secret, "form")


def is_form_token(given: str, secret: str) -> bool:
    """Whether a form came from a page that was made for this browser; compared in constant time."""
    return hmac.compare_digest(given.encode(), form_token(secret).encode())


def local_path(text: str) -> str:
    r"""An address of this service, to come back to after signing in; raises :class:`Invalid` for any other.

    Browsers read ``//host`` and ``/\host`` as another host, and leave out tabs and line ends
    before they look (WHATWG URL, 4.4): only what is a path to everybody is one here.
    """
    if not text.startswith("/") or text.startswith("//") or len(text) > LONGEST_PATH or _NOT_IN_PATHS.search(text):
        message = "The address to come back to must be a path of this service, such as /account."
        raise Invalid(message, [Fault("to", message)])
    return text
