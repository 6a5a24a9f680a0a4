"""A secret that is sent and never shown: the bearer token that goes with a request, and every other of its kind.

A traceback may be shown with the local variables of its frames. So the secret stands in no variable of a function
that can raise: it goes from where it was kept into :class:`Token`, and from there into the request that is sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from typing_extensions import override

from kedro_muniment.problems import MunimentError


class Token:
    """A secret that is in no ``repr``, no log and no pickle, and where it comes from."""

    __slots__ = ("_secret", "advice", "ends", "issuer", "source", "subject")

    def __init__(
        self,
        secret: str,
        *,
        source: str = "MUNIMENT_TOKEN",
        advice: str = "Set MUNIMENT_TOKEN to a fresh access token.",
        issuer: str | None = None,
        subject: str | None = None,
        ends: datetime | None = None,
    ) -> None:
        self._secret = secret
        #: What `whoami` says was signed in with.
        self.source = source
        #: What to do when the service does not accept it.
        self.advice = advice
        #: Who the service took its bearer for at sign-in, where that was asked; a lease of another is refused.
        self.issuer = issuer
        self.subject = subject
        self.ends = ends

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A token is not pickled.")

    def __bool__(self) -> bool:
        return bool(self._secret)

    def revealed(self) -> str:
        """The secret itself, for what is about to send or keep it; no variable should hold it."""
        return self._secret

    @property
    def problem(self) -> MunimentError | None:
        """Why there is nothing to send now, where there is nothing (:class:`Awaited`)."""
        return None

    def until(self) -> datetime | None:
        """When it ends, as far as that can be told: said with it, or read in a JWT, which nobody has verified."""
        if self.ends is not None:
            return self.ends
        try:
            return datetime.fromtimestamp(float(self._claims()["exp"]), UTC)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError):
            return None

    def is_sendable(self) -> bool:
        """Whether a header can hold it as it is."""
        return self._secret.isascii() and self._secret.isprintable() and " " not in self._secret

    def is_text(self) -> bool:
        """Whether anything can be sent of it at all: an environment may hold any bytes."""
        return not any("\ud800" <= character <= "\udfff" for character in self._secret)

    def is_replaced(self) -> bool:
        """Whether another stands in its place now that it was refused; the service is asked once more then."""
        return False

    def is_same(self, other: Token) -> bool:
        """Whether both are one secret."""
        return self._secret == other._secret

    def authorize(self, headers: MutableMapping[str, str]) -> None:
        """Write it into a request's headers; they are httpx's, whose ``repr`` hides it."""
        headers["Authorization"] = f"Bearer {self._secret}"

    def bearer(self) -> str:
        """A digest that tells one bearer from another, and says nothing of the secret.

        Issuer and subject where they are known or the token is a JWT that can be read, so that a renewed token finds
        the same lease; else the token as a whole.
        """
        if self.issuer is not None and self.subject is not None:
            return hashlib.sha256(json.dumps([self.issuer, self.subject]).encode()).hexdigest()
        try:
            claims = self._claims()
            known = json.dumps([claims["iss"], claims["sub"]])
        except (IndexError, KeyError, TypeError, ValueError, RecursionError):
            known = self._secret
        return hashlib.sha256(known.encode()).hexdigest()

    def _claims(self) -> Any:
        """What a JWT says, unverified; whatever is no JWT raises."""
        payload = self._secret.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Awaited(Token):
    """In the place of a token that cannot be had now: it is known whose it would be, and nothing is sent.

    A start that has a lease kept for its holder may go on from it; everything else is told the problem.
    """

    __slots__ = ("_holder", "_problem")

    def __init__(
        self,
        problem: MunimentError,
        *,
        source: str,
        issuer: str | None = None,
        subject: str | None = None,
        holder: str | None = None,
    ) -> None:
        super().__init__("", source=source, issuer=issuer, subject=subject)
        self._problem = problem
        self._holder = holder

    @property
    @override
    def problem(self) -> MunimentError:
        return self._problem

    def __bool__(self) -> bool:
        return True

    @override
    def authorize(self, headers: MutableMapping[str, str]) -> None:
        """Nothing is written: the service's own answer to nobody shows at least that it is there."""

    @override
    def bearer(self) -> str:
        return self._holder or super().bearer()
