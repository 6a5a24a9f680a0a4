"""Lines of grants."""

from __future__ import annotations

from datetime import datetime

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
    }


def _read(key: str, version: int, body: Body) -> Grant:
    until = body["until"]
    return Grant(
        id=key,
        to=body["to"],
        actions=frozenset(map(Action, body["actions"])),
        on=body["on"],
        kind=body["kind"],
        environments=frozenset(body["environments"]),
        until=datetime.fromisoformat(until) if until is not None else None,
        because=body["because"],
        version=version,
    )


LINE = Line("grant", Grant, tables.grants, _write, _read)
