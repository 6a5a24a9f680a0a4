"""Somebody watches over the service: what the database knows of work that waits.

Whoever does that work may be another process, or none: so it is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from muniment.flows.house import House
from muniment.store import backlogs


async def known_to_database(house: House, at: datetime) -> Mapping[str, float]:
    """What the database tells now, by the names of the metrics."""
    async with house.db.begin() as tx:
        sealed = await backlogs.sealed(tx, at)
        witnessed = await backlogs.witnessed(tx)
        notices = await backlogs.notices(tx, at)
        deliveries = await backlogs.deliveries(tx, at)
        stopped = await backlogs.webhooks_stopped(tx)
    return {
        "muniment_seal_rows": sealed.rows,
        "muniment_seal_lag_seconds": sealed.behind.total_seconds(),
        "muniment_witness_behind_seals": witnessed.behind,
        "muniment_witness_failing": witnessed.failing,
        "muniment_notices_waiting": notices.waiting,
        "muniment_notices_oldest_seconds": notices.oldest.total_seconds(),
        "muniment_webhook_rows_waiting": deliveries.waiting,
        "muniment_webhook_oldest_seconds": deliveries.oldest.total_seconds(),
        "muniment_webhooks_stopped": stopped,
    }
