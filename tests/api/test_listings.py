"""What one subject asks of one revision is decided once, however many ask at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from muniment.api.identifiers import new_id
from muniment.core.decisions import Wanted
from muniment.core.occasions import Occasion
from muniment.core.subjects import Kind, Subject, SubjectState
from tests.api.running import Running

pytestmark = pytest.mark.anyio


def occasion() -> Occasion:
    at = datetime.now(UTC)
    return Occasion(SubjectState(Subject(Kind.USER, "ann"), "corp", frozenset({"analysts"})), at, new_id(at))


async def test_first_fetches_that_meet_decide_once(service: Running) -> None:
    """Seen to fail with as many decisions as callers: each found that nothing was remembered yet."""
    house = service.app.state.house
    realm = await house.realms.current()

    listings = await asyncio.gather(*(house.listing(realm, occasion(), Wanted("dev")) for _ in range(5)))

    assert len({id(listing) for listing in listings}) == 1
    assert listings[0].decided["sales.orders"].load.allowed


async def test_a_caller_who_leaves_takes_nobody_along(service: Running) -> None:
    house = service.app.state.house
    realm = await house.realms.current()
    asking = [asyncio.create_task(house.listing(realm, occasion(), Wanted("prod"))) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()

    left, *stayed = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(left, asyncio.CancelledError)
    assert stayed[0] is stayed[1]
    assert stayed[0].decided["sales.orders"].load.allowed


async def test_the_realm_is_there_before_anybody_asks(fresh: Running) -> None:
    """Seen to fail: the first request of each worker paid for loading everything."""
    assert fresh.app.state.house.realms._held is not None
