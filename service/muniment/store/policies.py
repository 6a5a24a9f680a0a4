"""Lines of policies."""

from __future__ import annotations

from datetime import date

from muniment.core.policies import Policy, PolicyKind
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(policy: Policy) -> Body:
    return {
        "cedar": policy.cedar,
        "scope": policy.scope,
        "reason": policy.reason,
        "review_by": policy.review_by,
        "kind": policy.kind,
        "obligation": policy.obligation,
        "cases": list(policy.cases),
    }


def _read(key: str, version: int, body: Body) -> Policy:
    review_by = body["review_by"]
    return Policy(
        id=key,
        cedar=body["cedar"],
        scope=body["scope"],
        reason=body["reason"],
        review_by=date.fromisoformat(review_by) if review_by is not None else None,
        kind=PolicyKind(body.get("kind", PolicyKind.ACCESS)),
        obligation=body.get("obligation"),
        cases=tuple(body.get("cases", ())),
        version=version,
    )


LINE = Line("policy", Policy, tables.policies, _write, _read)
