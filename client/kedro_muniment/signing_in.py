"""Who asks: the bearer token that goes with every request, kept where it cannot be shown.

For now the token comes from ``MUNIMENT_TOKEN`` alone. Nothing here decides by what the token says: the service
verifies it. The client reads the subject in it only to keep one person's cached lease apart from another's.

A traceback may be shown with the local variables of its frames. So the secret stands in no variable of a function
that can raise: it goes from the environment into :class:`Token`, and from there into the request that is sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import MutableMapping
from typing import NoReturn

from kedro_muniment.problems import NotSignedIn


class Token:
    """A secret that is in no ``repr``, no log and no pickle."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A token is not pickled.")

    def __bool__(self) -> bool:
        return bool(self._secret)

    def is_sendable(self) -> bool:
        """Whether a header can hold it as it is."""
        return self._secret.isascii() and self._secret.isprintable() and " " not in self._secret

    def authorize(self, headers: MutableMapping[str, str]) -> None:
        """Write it into a request's headers; they are httpx's, whose ``repr`` hides it."""
        headers["Authorization"] = f"Bearer {self._secret}"

    def bearer(self) -> str:
        """A digest that tells one bearer from another, and says nothing of the secret.

        Issuer and subject where the token is a JWT that can be read, so that a renewed token finds the same
        lease; else the token as a whole.
        """
        try:
            payload = self._secret.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            known = json.dumps([claims["iss"], claims["sub"]])
        except (IndexError, KeyError, TypeError, ValueError, RecursionError):
            known = self._secret
        return hashlib.sha256(known.encode()).hexdigest()


def token() -> Token:
    """The token to ask with; refused where there is none."""
    found = Token(os.environ.get("MUNIMENT_TOKEN", "").strip())
    if not found:
        raise NotSignedIn(
            "You are not signed in to Muniment. Set MUNIMENT_TOKEN to an access token, and run this again."
        )
    if not found.is_sendable():
        raise NotSignedIn("MUNIMENT_TOKEN holds something that is not a token. Set it again, without the word Bearer.")
    return found
