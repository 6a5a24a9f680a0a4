"""Reads what one process has counted, and leaves it where all processes' numbers are: each second, and at the end.

What is asked of the database and not of the process (how far the ledger is sealed, say) is
asked every few seconds, whether or not whoever does that work is alive to tell.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from muniment.api.limits import Gate
from muniment.api.metrics import BUILD, Numbers, Own, Shared, registry, spreading
from muniment.api.short_way import Repeats
from muniment.api.watching import Requests
from muniment.core.measures import Spread
from muniment.core.problems import NotFound, Problem
from muniment.core.watchers import Watchers
from muniment.flows.house import House
from muniment.flows.watch_over import known_to_database
from muniment.identity.bearer import Bearer

logger = logging.getLogger("muniment")

#: Where callers from the networks that may read the numbers find them.
METRICS_AT: Final = "/metrics"

_LEFT_EVERY_SECONDS: Final = 1.0
_ASKED_EVERY_SECONDS: Final = 5.0
_LOOKED_AT_EVERY_SECONDS: Final = 0.1

router = APIRouter()


@dataclass(slots=True)
class Measuring:
    """What one process counts, and where it leaves that."""

    house: House
    bearer: Bearer
    requests: Requests
    gate: Gate
    repeats: Repeats
    shared: Shared
    own: Own
    held: Spread = field(default_factory=Spread)
    known: Numbers = field(default_factory=dict)

    def numbers(self) -> Numbers:
        """All that was counted here so far."""
        house, ledger = self.house, self.house.ledger
        plain = {
            "muniment_ledger_rows_total": ledger.batches.total,
            "muniment_ledger_refused_total": ledger.refused,
            "muniment_ledger_waiting_rows": ledger.waiting,
            "muniment_realm_revision": house.realms.revision,
            "muniment_listings_decided_total": house.listings.put_in,
            "muniment_listings_remembered_total": house.listings.found,
            "muniment_bodies_held_bytes": house.bodies.bytes_held + self.repeats.bytes_held,
            "muniment_answers_repeated_total": self.repeats.given,
            "muniment_http_requests_in_flight": self.gate.at_work,
            "muniment_tokens_verified_total": self.bearer.verified,
            "muniment_tokens_remembered_total": self.bearer.remembered,
            "muniment_database_connections_in_use": house.db.lent,
            "muniment_database_connections_most": house.db.most_lent,
            "muniment_workers": 1,
            "muniment_process_cpu_seconds_total": process_time(),
            "muniment_process_resident_memory_bytes": _memory(),
        }
        spreads = {
            "muniment_ledger_batch_rows": ledger.batches,
            "muniment_ledger_commit_duration_seconds": ledger.commits,
            "muniment_realm_patch_duration_seconds": house.realms.patches,
            "muniment_loop_held_seconds": self.held,
        }
        return {
            **{(name, ()): float(value) for name, value in plain.items()},
            **{(name, ()): spreading(spread) for name, spread in spreads.items()},
            **self.requests.numbers(),
            **self.known,
            **BUILD,
        }

    async def leave(self) -> None:
        """Leave the numbers as they are now."""
        numbers = self.numbers()
        await asyncio.to_thread(self.own.leave, numbers)

    async def leave_on(self) -> None:
        """Leave them each second."""
        while True:
            try:
                await self.leave()
            except OSError as failed:
                logger.warning("The metrics could not be kept: %s", failed.strerror)
            await asyncio.sleep(_LEFT_EVERY_SECONDS)

    async def ask_on(self) -> None:
        """Ask the database every few seconds; what it does not answer is not told."""
        while True:
            try:
                told = await known_to_database(self.house, datetime.now(UTC))
            except Problem:
                told = {}
            self.known = {(name, ()): float(value) for name, value in told.items()}
            await asyncio.sleep(_ASKED_EVERY_SECONDS)

    async def look_on(self) -> None:
        """Look how late the loop wakes who sleeps: for so long something else held it."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _LOOKED_AT_EVERY_SECONDS
            await asyncio.sleep(_LOOKED_AT_EVERY_SECONDS)
            self.held.add(max(0.0, clock() - due))


@asynccontextmanager
async def measuring(
    directory: Path, house: House, bearer: Bearer, requests: Requests, gate: Gate, repeats: Repeats
) -> AsyncIterator[Measuring]:
    """Count as long as the block lasts."""
    shared = Shared(directory)
    measured = Measuring(house, bearer, requests, gate, repeats, shared, shared.own())
    tasks = [asyncio.create_task(work()) for work in (measured.leave_on, measured.ask_on, measured.look_on)]
    try:
        yield measured
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(OSError):
            await measured.leave()
        measured.own.close()


@router.get(METRICS_AT, include_in_schema=False)
async def get_metrics(request: Request) -> Response:
    """The numbers of all processes, for callers from the networks that may read them; for others nothing is here."""
    watchers: Watchers = request.app.state.watchers
    measured: Measuring | None = request.app.state.measuring
    if measured is None or not watchers.may_ask_from(request.client.host if request.client else ""):
        raise NotFound
    await measured.leave()
    encode, media = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(encode, registry(measured.shared))
    return Response(text, headers={"Content-Type": media, "Cache-Control": "no-store"})


def _memory() -> float:
    """Bytes of this process that are in memory; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0.0
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return float(pages) * os.sysconf("SC_PAGE_SIZE")
