"""Lines of domains."""

from __future__ import annotations

from muniment.core.domains import Domain
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(domain: Domain) -> Body:
    return {
        "owner": domain.owner,
        "description": domain.description,
        "variables": domain.variables,
        "locations": domain.locations,
        "types": domain.types,
        "lease_hours": domain.lease_hours,
    }


def _read(key: str, version: int, body: Body) -> Domain:
    return Domain(
        name=key,
        owner=body["owner"],
        description=body["description"],
        variables=body["variables"],
        locations=tuple(body["locations"]),
        types=tuple(body.get("types", ())),
        lease_hours=body.get("lease_hours"),
        version=version,
    )


LINE = Line("domain", Domain, tables.domains, _write, _read)
