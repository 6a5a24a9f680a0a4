"""Alive, ready, and what a client must know before it signs in."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from muniment.api.catalogs import KEYS
from muniment.core.problems import Problem
from muniment.store import ledger_order, seals
from muniment.store.databases import Database
from muniment.store.migrations import state

router = APIRouter(tags=["health"])

#: Rows that have waited so long for their seal are told of.
_LATE = timedelta(minutes=1)


@router.get("/healthz")
async def get_health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Something that is needed does not answer."}})
async def get_readiness(request: Request) -> Response:
    """The database answers and its schema is one to work on; else 503 says what is not so. Late seals are told of."""
    db: Database = request.app.state.house.db
    checks = {"database": "answers", "schema": "current"}
    try:
        stands = await state(db)
        checks["schema"] = stands.value
        ready = stands.serves
        late = await _sealing(db) if ready else ""
        if late:
            checks["sealing"] = late
    except Problem as problem:
        checks = {"database": problem.detail, "schema": "unknown"}
        ready = False
    body = {"status": "ready" if ready else "not ready", "checks": checks}
    return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")


async def _sealing(db: Database) -> str:
    """What keeps rows from being sealed, or checkpoints from their witnesses; the service answers nevertheless."""
    async with db.begin() as tx:
        now = (await seals.snapshot(tx)).at
        oldest = await seals.oldest_unsealed(tx, await ledger_order.clusters(tx))
        told = await seals.witnesses(tx)
    late = [f"behind since {oldest.isoformat()}"] if oldest is not None and now - oldest > _LATE else []
    away = [f"the witness {each.name} cannot be told" for each in told if each.fault is not None]
    return "; ".join([*late, *away])


@router.get("/.well-known/muniment")
async def get_description(request: Request) -> dict[str, Any]:
    """The issuers that people and jobs sign in with, whose signature leases bear, and the versions spoken here."""
    public_url: str = request.app.state.public_url
    return {
        "service": "muniment",
        "version": version("muniment"),
        "api": ["v1"],
        "public_url": public_url,
        "lease_issuer": public_url,
        "lease_keys": f"{public_url}{KEYS}",
        "issuers": request.app.state.described_issuers,
    }
