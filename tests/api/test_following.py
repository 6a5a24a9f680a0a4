"""Server-Sent Events: who follows the ledger is told each row that they may read, once, wherever they go on from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from muniment.api.identifiers import new_id
from muniment.core.ledger import Event, Outcome, Place, Row
from muniment.core.occasions import Occasion
from muniment.core.selections import Selection
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.flows.follow_ledger import MOST_OF_ONE, begin_following, follow_ledger
from muniment.store import ledger
from tests.api.meanwhile import before_the_next_page
from tests.api.running import Caller, Running, grant, refusal
from tests.tampering import tamper

pytestmark = pytest.mark.anyio

USED = "event=use.reported"


@dataclass(frozen=True)
class Told:
    """One event of a stream."""

    id: str
    event: str
    row: dict[str, Any]


def read(stream: str) -> Iterator[Told]:
    """The events of a stream (WHATWG HTML, 9.2.6); comments are passed over."""
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            yield Told(fields["id"], fields["event"], json.loads(fields["data"]))


async def caught_up(caller: Caller, query: str = USED, **headers: str) -> list[Told]:
    """What a stream tells that ends where nothing more stands."""
    answer = await caller.get(f"/v1/ledger/events?follow=false&{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(read(answer.text))


async def written(service: Running, *datasets: str, subject: str = "user:nobody") -> list[str]:
    """A row about each of some datasets, each in a transaction of its own; gives their ids."""
    made = []
    for name in datasets:
        at = datetime.now(UTC)
        row = Row(
            id=new_id(at), at=at, event=Event.USE_REPORTED, outcome=Outcome.DONE, subject=subject, datasets=(name,)
        )
        async with service.app.state.house.db.begin() as tx:
            await ledger.append(tx, [row])
        made.append(str(row.id))
    return made


def ids(told: list[Told]) -> list[str]:
    return [each.row["id"] for each in told]


async def test_from_every_place_nothing_is_left_out_and_nothing_told_twice(service: Running) -> None:
    """Seen to fail with `>=` for `>` in `following`, and with the place of the page's first row kept."""
    before = await service.app.state.house.tail.end()
    made = await written(service, *["sales.orders", "hr.salaries", "sales.targets"] * 30)
    told = await caught_up(service.audrey, f"{USED}&after={before.text}")
    assert ids(told) == made
    assert sorted(told, key=lambda each: Place.parse(each.id)) == told
    for number, each in enumerate(told):
        if number % 7 == 0:
            header = {"Last-Event-ID": each.id}
            assert ids(await caught_up(service.audrey, f"{USED}&after={before.text}", **header)) == made[number + 1 :]
    assert await caught_up(service.audrey) == []


async def test_a_place_in_the_database_of_before_a_restore_leads_on(company: Running) -> None:
    audrey = company.audrey
    start = await company.app.state.house.tail.end()
    made = await written(company, "sales.orders", "sales.orders")
    restore = """
        INSERT INTO ledger_clusters (cluster, system, after_seq, at)
        SELECT max(cluster) + 1, 'another one', (SELECT max(seq) FROM ledger), now() FROM ledger_clusters
    """
    tamper(company.url, restore)
    made += await written(company, "sales.orders", "sales.orders")
    told = await caught_up(audrey, f"{USED}&after={start.text}")
    assert ids(told) == made
    assert len({Place.parse(each.id).cluster for each in told}) == 2
    assert ids(await caught_up(audrey, f"{USED}&after={told[0].id}")) == made[1:]


async def test_a_place_that_was_lost_with_a_restore_is_refused_since_rows_would_be_left_out(service: Running) -> None:
    end = await service.app.state.house.tail.end()
    lost = replace(end, xact=end.xact + 1_000_000)
    problem = refusal(await service.audrey.get(f"/v1/ledger/events?after={lost.text}"), 422)
    assert "restored from a backup" in problem["detail"]


async def test_each_is_told_what_they_may_read_and_no_more(service: Running) -> None:
    """Seen to fail with `reader.may_read` taken out of `follow_ledger`."""
    await service.root.make("/v1/grants/sam-audits", grant("user:sam", ["audit"], on={"domain": "sales"}))
    start = f"{USED}&after={(await service.app.state.house.tail.end()).text}"
    orders, salaries = await written(service, "sales.orders", "hr.salaries")
    (own,) = await written(service, "hr.salaries", subject="user:ann")
    assert ids(await caught_up(service.audrey, start)) == [orders, salaries, own]
    assert ids(await caught_up(service.sam, start)) == [orders]
    assert ids(await caught_up(service.ann, start)) == [own]
    assert ids(await caught_up(service.eve, start)) == []
    assert ids(await caught_up(service.audrey, f"{start}&dataset=sales.orders")) == [orders]
    assert ids(await caught_up(service.audrey, f"{start}&domain=hr&domain=sales.emea")) == [salaries, own]


async def test_that_somebody_follows_is_recorded_at_the_start_and_at_each_return(service: Running) -> None:
    start = (await service.app.state.house.tail.end()).text
    await caught_up(service.sam, f"event=catalog.served&after={start}")
    await caught_up(service.sam, USED, **{"Last-Event-ID": start})
    told = await caught_up(service.audrey, f"event=ledger.read&after={start}")
    assert [each.row["details"] for each in told if each.row["subject"] == "user:sam"] == [
        {"followed": True, "after": start, "events": ["catalog.served"]},
        {"followed": True, "after": start, "events": ["use.reported"]},
    ]


@pytest.mark.parametrize(
    "after", ["nonsense", "1.2", "1.2.3.4", "-1.2.3", "1.2.99999999999999999999", "2147483648.1.1"]
)
async def test_what_is_no_place_is_refused(service: Running, after: str) -> None:
    refusal(await service.audrey.get(f"/v1/ledger/events?after={after}"), 422)
    refusal(await service.audrey.get("/v1/ledger/events", headers={"Last-Event-ID": after}), 422)


async def test_asked_for_its_head_alone_it_ends(service: Running) -> None:
    answer = await service.audrey.send("HEAD", "/v1/ledger/events")
    assert (answer.status_code, answer.content) == (200, b"")


# --- over a real connection -----------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(service: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The service behind a real server, as long as the block lasts."""
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, lifespan="off", log_level="warning", access_log=False))
    socket = server.config.bind_socket()
    serving = asyncio.create_task(server._serve([socket]))
    port = socket.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
        try:
            yield http
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def stream(http: httpx.AsyncClient, caller: Caller, query: str = USED) -> AsyncIterator[AsyncIterator[Told]]:
    """What a caller is told from now on, as it comes."""
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with http.stream("GET", f"/v1/ledger/events?{query}", headers=headers) as answer:
        assert answer.status_code == 200
        yield events(answer)


async def events(answer: httpx.Response) -> AsyncIterator[Told]:
    """The events of an answer, each as soon as it has come."""
    held = ""
    async for part in answer.aiter_text():
        *whole, held = (held + part).split("\n\n")
        for block in whole:
            for told in read(block):
                yield told


async def test_what_is_written_is_told_at_once_and_by_the_rights_of_that_moment(company: Running) -> None:
    await company.root.make("/v1/grants/sam-audits", grant("user:sam", ["audit"], on={"domain": "sales"}))
    async with listening(company) as http, stream(http, company.audrey) as all_of_it, stream(http, company.sam) as some:
        first, hidden = await written(company, "sales.orders", "hr.salaries")
        assert [(await anext(all_of_it)).row["id"] for _ in range(2)] == [first, hidden]
        assert (await anext(some)).row["id"] == first

        assert (await company.root.delete("/v1/grants/sam-audits", after=1)).status_code == 204
        await written(company, "sales.orders")
        (own,) = await written(company, "sales.orders", subject="user:sam")
        assert (await anext(some)).row["id"] == own


async def test_a_stream_ends_with_the_sign_in_and_when_the_service_stops(company: Running) -> None:
    leaver = company.somebody("eve", sub="leaver")
    async with listening(company) as http:
        async with stream(http, leaver) as told:
            (own,) = await written(company, "sales.orders", subject="user:leaver")
            assert (await anext(told)).row["id"] == own
            assert (await company.root.post("/v1/subjects/user:leaver/end", {"reason": "leaves"})).status_code == 200
            assert [each async for each in told] == []
        stopping: list[str] = []
        company.app.state.leaving = lambda: bool(stopping)
        async with stream(http, company.audrey) as told:
            stopping.append("now")
            assert [each async for each in told] == []


async def test_a_row_of_after_a_right_ended_is_judged_by_what_is_so_then(
    company: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail with the rights asked before the page was read."""
    house, at = company.app.state.house, datetime.now(UTC)
    await company.sam.get("/v1/whoami")
    await company.root.make("/v1/grants/sam-audits", grant("user:sam", ["audit"], on={"domain": "sales"}))
    sam = Occasion(SubjectState(Subject(Kind.USER, "sam"), "corp"), at, new_id(at), until=at + timedelta(hours=1))
    following = await begin_following(house, sam, Selection(), None, goes_on=True)

    async def ended() -> None:
        assert (await company.root.delete("/v1/grants/sam-audits", after=1)).status_code == 204
        await written(company, "sales.orders")
        await written(company, "sales.orders", subject="user:sam")

    async with aclosing(follow_ledger(house, sam, following, lambda: at, lambda: False)) as pages:
        before_the_next_page(monkeypatch, ended)
        async for page in pages:
            assert {row.subject for _, row in page} <= {"user:sam"}
            if page:
                break


async def test_a_stream_ends_with_the_token(company: Running) -> None:
    house, at = company.app.state.house, datetime.now(UTC)
    token = Occasion(SubjectState(Subject(Kind.USER, "audrey"), "corp"), at, new_id(at), until=at + timedelta(hours=1))
    following = await begin_following(house, token, Selection(), None, goes_on=True)
    for later, ends in ((0, False), (1, True)):
        pages = follow_ledger(house, token, following, lambda by=later: at + timedelta(hours=by), lambda: False)
        async with aclosing(pages):
            await written(company, "sales.orders")
            told = [page async for page in pages] if ends else [await anext(pages)]
            assert bool(told) is not ends


async def test_so_many_streams_of_one_subject_are_open_and_no_more(company: Running) -> None:
    followers = company.app.state.followers
    seats = [followers.enter("user:ann") for _ in range(MOST_OF_ONE)]
    refusal(await company.ann.get("/v1/ledger/events?follow=false"), 503)
    assert await caught_up(company.sam) == []
    seats.pop().leave()
    assert await caught_up(company.ann) == []
    assert await caught_up(company.ann) == []
