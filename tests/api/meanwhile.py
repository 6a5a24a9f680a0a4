"""Something happens in the moment between two steps of who follows the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from muniment.core.ledger import Place, Row
from muniment.store.ledger_tail import Tail


def before_the_next_page(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]) -> None:
    """Let something happen, once, after a page of rows was asked for; it holds what was written by then."""
    after, waiting = Tail.after, [happens]

    async def late(tail: Tail, place: Place, limit: int) -> list[tuple[Place, Row]]:
        if not waiting:
            return await after(tail, place, limit)
        await waiting.pop()()
        while not (page := await after(tail, place, limit)):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        return page

    monkeypatch.setattr(Tail, "after", late)
