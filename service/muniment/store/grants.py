"""Lines of grants."""

from __future__ import annotations

from datetime import date, datetime

from muniment.core.grants import Grant
from muniment.core.schema import Action
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(grant: Grant) -> Body:
    return {
        "to": grant.to,
        "actions": sorted(grant.actions),
        "on": grant.on,
        "kind": grant.kind,
        "environments": sorted(grant.environments),
        "until": grant.until,
        "because": grant.because,
        "review_by": grant.review_by,
        "purposes": sorted(grant.purposes),
    }


def _read(key: str, version: int, body: Body) -> Grant:
    until = body["until"]
    review_by = body.get("review_by")
    return Grant(
        id=key,
        to=body["to"],
        actions=frozenset(map(Action, body["actions"])),
        on=body["on"],
        kind=body["kind"],
        environments=frozenset(body["environments"]),
        until=datetime.fromisoformat(until) if until is not None else None,
        because=body["because"],
        review_by=date.fromisoformat(review_by) if review_by is not None else None,
        purposes=frozenset(body.get("purposes", ())),
        version=version,
    )


LINE = Line("grant", Grant, tables.grants, _write, _read)
