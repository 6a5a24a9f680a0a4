"""A service that runs on while its database is restored into another cluster: what it writes there is in its order."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from demo.issuer import RunningIssuer
from muniment.app import create_app, prepare
from muniment.flows.seal_ledger import seal_once
from muniment.flows.verify_ledger import Auditing, verify_ledger
from muniment.identity.seal_keys import SealKeys
from muniment.store import ledger_order
from tests.api.running import Caller, settings_for
from tests.tampering import tamper

pytestmark = pytest.mark.anyio

#: What a restored dump looks like: rows of a cluster that was further in its transactions than this one is.
_MOVED = (
    "UPDATE ledger_clusters SET system = 'the one before'",
    "UPDATE ledger SET xact = (xact::text::bigint + 1000000000)::text::xid8",
)


async def test_a_worker_notes_in_which_cluster_it_writes_before_it_writes(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    """No other process may have met the new database before: the sealer meets it when it can."""
    settings = settings_for(issuer, data_dir=tmp_path)
    await prepare(settings, database)
    tamper(database, *_MOVED)

    app = create_app(settings, database)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
    ):
        await Caller(http, issuer.token("root")).read("/v1/keys")
        db, keys = app.state.house.db, SealKeys(settings.seal_key_path)
        async with db.begin() as tx:
            clusters = await ledger_order.clusters(tx)
        assert [each.number for each in clusters] == [1, 2]
        assert await seal_once(db, keys) > clusters[1].after_seq
        verdict = await verify_ledger(db, Auditing([keys.current.public]))
        assert verdict.holds, verdict.faults
