"""A worker that is killed between a message and what it would write down of it loses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from demo.issuer import RunningIssuer
from tests.api.receiving import TAKEN, Answered, Message, receiving
from tests.api.running import after_version, running, serving

pytestmark = pytest.mark.anyio

LOOPBACK = ("127.0.0.0/8",)
ROWS = 20
DEATH = 7


async def test_what_a_killed_worker_had_sent_comes_again_and_all_else_once(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    """Seen to fail with the place written down before the message is sent: then one row never came."""
    came_before, dead = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> Answered:
        if len(receiver.came) == DEATH and not dead.is_set():
            came_before.set()
            await dead.wait()
        return TAKEN

    async with receiving() as receiver:
        receiver.answer = answer
        with serving(issuer, tmp_path / "said", database_url=database, webhook_networks='["127.0.0.0/8"]') as served:
            headers = {"Authorization": f"Bearer {issuer.token('root')}"}
            async with httpx.AsyncClient(base_url=served.base, headers=headers, trust_env=False) as http:
                hook = {"url": receiver.url, "events": ["use.reported"]}
                made = await http.put("/v1/webhooks/hook", json=hook, headers=after_version(0))
                assert made.status_code == 201, made.text
                used = {"dataset": "sales.orders", "action": "load", "at": "2026-01-01T00:00:00Z"}
                events = [{"id": str(uuid4()), **used} for _ in range(ROWS)]
                (await http.post("/v1/use", json={"events": events})).raise_for_status()
            async with asyncio.timeout(60):
                await came_before.wait()
            served.process.kill()
            served.process.wait(30)
            dead.set()
        async with running(issuer, database, webhook_networks=LOOPBACK) as after:
            await receiver.until(lambda came: len(came) == ROWS + 1, seconds=90)
            told = (await after.root.read("/v1/webhooks/hook/deliveries?limit=100"))["items"]

    ids = [message.id for message in receiver.came]
    assert ids[DEATH - 1] == ids[DEATH]
    once = ids[:DEATH] + ids[DEATH + 1 :]
    assert once[::-1][1:] == [each["row"] for each in told if each["state"] == "delivered"][-ROWS + 1 :]
    assert len(set(ids)) == ROWS
