"""Which doors a key of Muniment's own opens: those of its use, and no other.

What is not named here is shut to keys, a door that is made later included. With which
environment, project and purpose a door is then asked is the flows' to see to
(:meth:`muniment.flows.house.House.confined`).
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from muniment.core.problems import NotAllowed
from muniment.core.sign_ins import Bounds, Use

#: What a run asks, by method and address template. Each of these questions is confined to what the key is bound to.
RUNS: Final = frozenset(
    {
        ("GET", "/v1/leases"),
        ("GET", "/v1/catalog"),
        ("POST", "/v1/preflight"),
        ("POST", "/v1/use"),
        ("GET", "/v1/explain"),
        ("POST", "/v1/requests"),
        ("GET", "/v1/whoami"),
    }
)

#: The nouns that are governed and read with a key for changes. Not the means to run, which a key has only for one
#: environment, project and purpose; nor keys, the first start and emergencies, which take somebody who has signed in.
CHANGES: Final = (
    "/v1/apply",
    "/v1/datasets",
    "/v1/domains",
    "/v1/environments",
    "/v1/explain",
    "/v1/grants",
    "/v1/groups",
    "/v1/ledger",
    "/v1/lint",
    "/v1/policies",
    "/v1/realm",
    "/v1/requests",
    "/v1/reviews",
    "/v1/schema",
    "/v1/subjects",
    "/v1/try",
    "/v1/who",
    "/v1/whoami",
    "/access/v1",
)

#: Where users and groups are provisioned (RFC 7644).
PROVISIONING: Final = ("/scim",)


def opens(use: Use, method: str, template: str) -> bool:
    """Whether a key of this use opens a door: a method at an address, as its template writes that."""
    match use:
        case Use.RUNS:
            return (method, template) in RUNS
        case Use.CHANGES:
            return _below(template, CHANGES)
        case Use.PROVISIONING:
            return _below(template, PROVISIONING)


def check_opens(bounds: Bounds | None, request: Request) -> None:
    """Refuse a door that is not of the use of the key by which somebody has signed in."""
    if bounds is None:
        return
    template: str = request.scope["route"].path
    if not opens(bounds.use, request.method, template):
        raise NotAllowed(f"This key is for {bounds.use}, and for nothing else. Use a key that was made for this.")


def _below(template: str, addresses: tuple[str, ...]) -> bool:
    return any(template == address or template.startswith(f"{address}/") for address in addresses)
