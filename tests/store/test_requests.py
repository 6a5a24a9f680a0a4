"""Lines of requests: versions that follow one another, read back as they were written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from muniment.core.problems import StaleEdit
from muniment.core.requests import ESCALATES_AFTER, AccessRequest, Approval, Ending, State, Terms
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.store import requests

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, SAM, EVE = (Subject.parse(f"user:{name}") for name in ("ann", "sam", "eve"))


def request(id_: str, requester: Subject = ANN) -> AccessRequest:
    terms = Terms(
        frozenset({Action.LOAD, Action.SAVE}),
        ("sales.orders", "sales.targets"),
        frozenset({"dev", "prod"}),
        NOON + timedelta(days=90, microseconds=1),
    )
    usual = {"purpose": "forecasting", "eyes": 2, "escalates_after": timedelta(hours=5)}
    return AccessRequest(id_, requester, terms, "the quarterly “report”", NOON, **usual)


async def test_a_request_is_read_back_as_it_was_written(tx):
    made = await requests.append(tx, request("a"), 0)
    assert made == replace(request("a"), version=1)
    assert await requests.newest(tx, "a") == made
    decided = replace(
        made,
        narrowed=replace(made.asked, actions=frozenset({Action.LOAD})),
        approvals=(Approval(SAM, NOON, "fine"), Approval(EVE, NOON, deputy_of=SAM)),
        ending=Ending(State.APPROVED, EVE, NOON, "fine", SAM),
        grants=("req-a-1", "req-a-2"),
    )
    kept = await requests.append(tx, decided, 0)
    assert kept == replace(decided, version=2)
    assert await requests.newest(tx, "a") == kept


async def test_one_that_an_earlier_release_wrote_waits_as_long_as_it_did_then(tx):
    await requests.append(tx, request("a"), 0)
    earlier = (
        "INSERT INTO requests SELECT 'b', 1, revision, requester, (body::jsonb - 'escalates_after')::json FROM requests"
    )
    await tx.execute(text(earlier))
    read = await requests.newest(tx, "b")
    assert read == replace(request("b"), version=1, escalates_after=ESCALATES_AFTER)


async def test_there_may_be_none(tx):
    assert await requests.newest(tx, "a") is None
    assert await requests.older(tx, limit=9) == []


async def test_of_two_versions_that_follow_the_same_one_the_second_is_stale(tx):
    made = await requests.append(tx, request("a"), 0)
    await requests.append(tx, made, 0)
    with pytest.raises(StaleEdit, match="at the same time"):
        await requests.append(tx, made, 0)


async def test_requests_are_listed_newest_first_each_as_it_stands(tx):
    for id_, requester in (("a", ANN), ("b", EVE), ("c", ANN), ("d", ANN)):
        await requests.append(tx, request(id_, requester), 0)
    await requests.append(tx, replace(request("c"), version=1, because="another reason"), 0)

    everything = await requests.older(tx, limit=9)
    assert [(each.id, each.version) for each in everything] == [("d", 1), ("c", 2), ("b", 1), ("a", 1)]
    assert everything[1].because == "another reason"
    assert [each.id for each in await requests.older(tx, limit=2)] == ["d", "c"]
    assert [each.id for each in await requests.older(tx, limit=9, before="c")] == ["b", "a"]
    assert [each.id for each in await requests.older(tx, limit=9, since="c")] == ["d", "c"]
    assert [each.id for each in await requests.older(tx, limit=9, requester=ANN)] == ["d", "c", "a"]


@pytest.mark.parametrize(
    "change", ["UPDATE requests SET requester = 'user:eve'", "DELETE FROM requests", "TRUNCATE requests"]
)
async def test_what_was_asked_stays(owner_tx, change):
    await requests.append(owner_tx, request("a"), 0)
    with pytest.raises(IntegrityError, match="is refused on requests"):
        await owner_tx.execute(text(change))
