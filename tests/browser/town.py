"""One service that a browser reaches over HTTP, with a small company in it in which something has happened.

People sign in at a real provider. What stands there, others made through the JSON doors before the first page is looked
at: requests that wait, access that ends soon, a rule that is due, a run that said what it used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from fastapi import FastAPI

from muniment.app import create_app, prepare
from muniment.core.limits import rates_from
from muniment.flows.seal_ledger import seal_once
from muniment.identity.issuers import issuers_from
from muniment.identity.seal_keys import SealKeys
from muniment.settings import Settings
from tests.api.running import NO_LIMITS, Caller, Running, dataset, found_company, free_port, grant
from tests.providers.oidc_provider import ACCOUNTS, OidcProvider
from tests.web.visiting import described, register

#: Who looks at pages: what they are to the service, and the groups in their tokens.
PEOPLE: Final[Mapping[str, Mapping[str, object]]] = {
    **ACCOUNTS,
    "audrey": {"name": "Audrey the auditor", "groups": ["auditors"]},
    "hugo": {"name": "Hugo the steward of hr", "groups": ["people-and-culture"]},
}


@dataclass(frozen=True)
class Town:
    """The service, where a browser finds it, and those who call its JSON doors."""

    app: FastAPI
    base: str
    provider: OidcProvider
    http: httpx.AsyncClient
    #: The platform team's folder.
    starters: Path
    #: What stands in addresses and chance has made: the id of a request that waits, and of a row of the ledger.
    filled: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Caller:
        if name not in PEOPLE:
            raise AttributeError(name)
        return Caller(self.http, self.provider.token_for(name))


@asynccontextmanager
async def running_town(provider: OidcProvider, url: str, starters: Path) -> AsyncIterator[Town]:
    """The town on a migrated database, until the block ends."""
    # A name: what a browser keeps for the provider, on the address that this name has, is kept apart.
    port = free_port()
    base = f"http://localhost:{port}"
    register(
        provider,
        redirect_uris=[f"{base}/sign-in/callback"],
        post_logout_redirect_uris=[f"{base}/signed-out"],
    )
    settings = Settings(
        issuers=issuers_from([described(provider.issuer)]),
        bootstrap_admin="user:root",
        limits=rates_from(NO_LIMITS),
        public_url=base,
        starters=starters,
    )
    (starters / "1").mkdir(parents=True)
    (starters / "1" / "starters.yml").write_text("groups: [{id: house, title: Our own}]\n")
    await prepare(settings, url)
    app = create_app(settings, url)
    numbered = f"http://127.0.0.1:{port}"
    async with _served(app, port), httpx.AsyncClient(base_url=numbered, trust_env=False) as http:
        town = Town(app, base, provider, http, starters)
        town.filled.update(await live(town))
        await seal_once(app.state.house.db, SealKeys(settings.seal_key_path))
        yield town


@asynccontextmanager
async def _served(app: FastAPI, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), serving
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await serving


async def live(town: Town | Running) -> Mapping[str, str]:
    """What happened here before anybody looked; gives the ids that stand in addresses."""
    await found_company(town)
    soon, today = datetime.now(UTC) + timedelta(days=5), datetime.now(UTC).date()
    root, sam, ann = town.root, town.sam, town.ann
    orders: dict[str, Any] = dataset(
        "s3://lake/sales/orders.csv",
        description="Every order, a line for each position, since 2019.",
        tags=["orders", "daily"],
        classification="internal",
        layer="primary",
        columns=[
            {"name": "order_id", "type": "string", "description": "Its number."},
            {"name": "email", "type": "string", "description": "Of who ordered.", "tags": ["personal"]},
            {"name": "amount", "type": "decimal(12,2)", "description": "In euros, without tax."},
        ],
    )
    answer = await sam.put("/v1/datasets/sales.orders", orders, after=1)
    assert answer.status_code == 200, answer.text
    approving = grant("user:sam", ["approve", "load", "save"], on={"domain": "sales"})
    await root.make("/v1/grants/sam-approves-sales", approving)
    await root.make("/v1/grants/analysts-know-sales", grant("group:analysts", ["discover"], on={"domain": "sales"}))
    leads = grant("user:ann", ["load"], on={"dataset": "sales.emea.leads"}, because="the campaign of this spring")
    await sam.make("/v1/grants/ann-loads-leads", {**leads, "until": soon.isoformat(), "environments": ["dev"]})
    due = {"scope": "sales", "cedar": _TARGETS, "review_by": today.isoformat(), "reason": "the plan of this year"}
    await root.make("/v1/policies/analysts-read-targets", due)
    asked = {"actions": ["save"], "datasets": ["sales.targets"], "environments": ["dev"]}
    request = await ann.post("/v1/requests", {**asked, "because": "The targets of next year are ours to write."})
    assert request.status_code == 201, request.text
    answer = await ann.get("/v1/leases?environment=dev&project=churn")
    assert answer.status_code == 200, answer.text
    used = {
        "id": "00000000-0000-4000-8000-000000000001",
        "dataset": "sales.orders",
        "action": "load",
        "at": datetime.now(UTC).isoformat(),
        "environment": "dev",
        "project": "churn",
        "run": "run-1",
    }
    answer = await ann.post("/v1/use", {"events": [used]})
    assert answer.status_code == 200, answer.text
    (row, *_) = (await town.audrey.read("/v1/ledger?subject=user:ann&event=lease.served"))["items"]
    return {"request": request.json()["id"], "row": row["id"]}


_TARGETS: Final = (
    'permit (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.targets") '
    'when { context.environment == "dev" };'
)
