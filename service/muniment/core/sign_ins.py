"""A sign-in: what a credential that was believed says of who asks, and for how long.

Credentials are of three makes: a token of an identity provider, a key of Muniment's own,
and the session of a browser. Whatever the make, the doors go on with a sign-in alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from muniment.core.subjects import SubjectState


class Use(StrEnum):
    """What a key of Muniment's own may be used for."""

    RUNS = "runs"
    CHANGES = "changes"
    PROVISIONING = "provisioning"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a credential is bound to, beyond its subject; None binds nothing.

    One for provisioning writes one ``directory`` alone, that of the issuer of this name; None is the default one's.
    """

    use: Use
    environment: str | None = None
    project: str | None = None
    purpose: str | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    """A credential that was believed.

    ``state`` is what the credential alone says of its subject; ``since`` is when its subject
    signed in with it (of a token the claim ``auth_time``, else ``iat``), None where nobody
    knows; ``until`` is its end. ``credential`` is its name in the ledger: ``token``,
    ``key:<id>`` or ``session:<id>``.
    """

    state: SubjectState
    since: datetime | None
    until: datetime
    credential: str = "token"
    bounds: Bounds | None = None
