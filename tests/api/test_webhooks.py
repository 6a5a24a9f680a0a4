"""Webhooks: each row that its subject may read, signed, in order, at least once, and nothing else to nobody else."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from sqlalchemy import text
from standardwebhooks import Webhook as Reference
from standardwebhooks import WebhookVerificationError

from demo.issuer import RunningIssuer
from muniment.api.identifiers import new_id
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.occasions import Occasion
from muniment.core.subjects import ITSELF
from muniment.core.webhooks import Patience
from muniment.flows.send_webhooks import Pace, Sender
from muniment.post.webhooks import Messenger
from muniment.store import ledger
from muniment.store.ledger_tail import Tail
from tests.api.meanwhile import before_the_next_page
from tests.api.receiving import TAKEN, Answered, Message, Receiver, receiving
from tests.api.running import Caller, Running, grant, refusal, running

pytestmark = pytest.mark.anyio

#: This machine may be called, for the receivers of the tests.
LOOPBACK = ("127.0.0.0/8",)

SOON = timedelta(milliseconds=30)
FAST = Pace(look=SOON, hold=timedelta(seconds=5), move=SOON, patience=Patience(waits=(SOON,) * 8))
#: How long a receiver may take here.
SECONDS = 0.7

FAILS: Answered = (500, {})


@asynccontextmanager
async def sending(service: Running, pace: Pace = FAST) -> AsyncIterator[Sender]:
    """What a worker of the service would send with, if it were in a hurry."""

    def occasion() -> Occasion:
        at = datetime.now(UTC)
        return Occasion(ITSELF, at, new_id(at))

    house = service.app.state.house
    async with aclosing(Messenger(map(ip_network, LOOPBACK), seconds=SECONDS)) as messenger:
        hurried = replace(house, tail=Tail(house.db, seconds=0.03), messenger=messenger)
        sender = Sender(hurried, uuid4(), occasion, lambda: 0.5, pace)
        await sender.start()
        try:
            yield sender
        finally:
            await sender.stop()


@pytest.fixture(scope="module")
async def calling(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """A service with the small company in it that may call receivers on this machine, and does so in a hurry."""
    async with running(issuer, module_company, webhook_networks=LOOPBACK) as started:
        await started.app.state.sender.stop()
        async with sending(started):
            yield started


@pytest.fixture(scope="module")
async def careful(calling: Running) -> AsyncIterator[Running]:
    """The same service, with no network listed that it may call."""
    async with running(calling.issuer, calling.url) as started:
        await started.app.state.sender.stop()
        yield started


@pytest.fixture(autouse=True)
async def _none_left(calling: Running) -> AsyncIterator[None]:
    """No webhook outlives its test."""
    yield
    async with calling.app.state.house.db.begin() as tx:
        await tx.execute(text("DELETE FROM webhooks"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as started:
        yield started


async def hooked(caller: Caller, receiver: Receiver, **more: Any) -> tuple[str, dict[str, Any]]:
    """A new webhook of the caller's to a receiver, for rows about use unless the test says otherwise."""
    path = f"/v1/webhooks/hook-{uuid4().hex[:8]}"
    return path, await caller.make(path, {"url": receiver.url, "events": ["use.reported"], **more})


async def written(service: Running, count: int, **more: Any) -> list[str]:
    """Rows that are written to the ledger, as many transactions of ten; gives their ids."""
    made = []
    for _ in range(count):
        at = datetime.now(UTC)
        usual = {"event": Event.USE_REPORTED, "outcome": Outcome.DONE, "subject": "user:ann"}
        made.append(Row(id=new_id(at), at=at, **{**usual, "datasets": ("sales.orders",), **more}))
    for begin in range(0, count, 10):
        async with service.app.state.house.db.begin() as tx:
            await ledger.append(tx, made[begin : begin + 10])
    return [str(row.id) for row in made]


def ids(receiver: Receiver) -> list[str]:
    return [message.id for message in receiver.came]


async def stopped(caller: Caller, path: str) -> str:
    """Why a webhook was stopped, once it is."""
    async with asyncio.timeout(30):
        while (told := await caller.read(path))["stopped"] is None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)
    assert told["active"] is False
    why: str = told["stopped"]
    return why


async def deliveries(caller: Caller, path: str, state: str, *, count: int = 1) -> list[dict[str, Any]]:
    """What became of a webhook's rows, once so many are in a state."""
    async with asyncio.timeout(30):
        while len(found := (await caller.read(f"{path}/deliveries?state={state}"))["items"]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    items: list[dict[str, Any]] = found
    return items


# --- what is sent ---------------------------------------------------------------------------------------------------


async def test_an_auditor_is_sent_what_happens_signed_as_the_standard_has_it(
    calling: Running, receiver: Receiver
) -> None:
    _, made = await hooked(calling.audrey, receiver, events=["catalog.served"])
    assert made["secret"].startswith("whsec_")

    await calling.ann.catalog()
    await receiver.until(lambda came: len(came) == 1)

    (message,) = receiver.came
    said = Reference(made["secret"]).verify(message.body, dict(message.headers))
    (row, *_) = (await calling.audrey.read("/v1/ledger?event=catalog.served"))["items"]
    assert said == {"type": "catalog.served", "timestamp": row["at"], "data": row}
    assert message.id == row["id"]


async def test_many_rows_come_once_each_in_the_order_of_the_ledger(calling: Running, receiver: Receiver) -> None:
    await hooked(calling.audrey, receiver, url=f"{receiver.url}?all")
    count = 1000 if settings.get_current_profile_name() == "deep" else 300
    made = await written(calling, count)
    await receiver.until(lambda came: len(came) >= count, seconds=300)
    assert ids(receiver) == made


async def test_only_what_is_selected_and_may_be_read_is_sent(calling: Running) -> None:
    """Seen to fail with `reader.may_read` taken out of `_head`."""
    root = calling.root
    await root.make("/v1/grants/sam-audits-sales", grant("user:sam", ["audit"], on={"domain": "sales"}))
    async with receiving() as all_of_it, receiving() as of_sales, receiving() as of_orders:
        await hooked(calling.audrey, all_of_it)
        await hooked(calling.sam, of_sales)
        await hooked(calling.audrey, of_orders, datasets=["sales.orders"], domains=["hr"])
        rows = {}
        for names in (("hr.salaries",), ("sales.orders",), ("sales.orders", "hr.salaries"), ("sales.targets",), ()):
            (rows[names],) = await written(calling, 1, datasets=names)
        (last,) = await written(calling, 1)
        for receiver in (all_of_it, of_sales, of_orders):
            await receiver.until(lambda came: came[-1].id == last)

    assert ids(all_of_it) == [*rows.values(), last]
    assert ids(of_sales) == [rows["sales.orders",], rows["sales.targets",], last]
    assert ids(of_orders) == [rows["hr.salaries",], rows["sales.orders",], rows["sales.orders", "hr.salaries"], last]


async def test_while_a_secret_is_replaced_both_sign_and_then_the_new_one_alone(
    calling: Running, receiver: Receiver
) -> None:
    path, made = await hooked(calling.audrey, receiver)
    first = made["secret"]
    second = (await calling.audrey.post(f"{path}/secret", {"keep_hours": 1})).json()["secret"]
    await written(calling, 1)
    await receiver.until(lambda came: len(came) == 1)
    third = (await calling.audrey.post(f"{path}/secret", {"keep_hours": 0})).json()["secret"]
    await written(calling, 1)
    await receiver.until(lambda came: len(came) == 2)

    before, after = receiver.came
    for secret in (first, second):
        Reference(secret).verify(before.body, dict(before.headers))
    Reference(third).verify(after.body, dict(after.headers))
    with pytest.raises(WebhookVerificationError):
        Reference(second).verify(after.body, dict(after.headers))


# --- receivers that do not take it ----------------------------------------------------------------------------------


async def test_a_row_that_is_not_taken_is_sent_again_and_no_later_one_before_it(
    calling: Running, receiver: Receiver
) -> None:
    async def fail_twice(message: Message) -> Answered:
        return FAILS if ids(receiver).count(message.id) < 3 else TAKEN

    receiver.answer = fail_twice
    path, made = await hooked(calling.audrey, receiver)
    rows = await written(calling, 2)
    await receiver.until(lambda came: len(came) == 6)
    assert ids(receiver) == [rows[0]] * 3 + [rows[1]] * 3
    for message in receiver.came:
        Reference(made["secret"]).verify(message.body, dict(message.headers))
    assert {each["tries"] for each in await deliveries(calling.audrey, path, "delivered", count=2)} == {3}


async def test_a_receiver_that_hangs_delays_nobody_else(calling: Running, receiver: Receiver) -> None:
    async def hang(_: Message) -> Answered:
        await asyncio.Event().wait()
        return TAKEN

    async with receiving() as hanging:
        hanging.answer = hang
        path, _ = await hooked(calling.audrey, hanging)
        await hooked(calling.audrey, receiver)
        rows = await written(calling, 20)
        await receiver.until(lambda came: len(came) == 20)
        assert ids(receiver) == rows
        (waiting,) = await deliveries(calling.audrey, path, "waiting")
        assert (waiting["row"], waiting["why"]) == (rows[0], f"no answer in {SECONDS:g} seconds")
        assert (await calling.audrey.delete(path, after=1)).status_code == 204


async def test_what_is_refused_again_and_again_is_put_aside_and_can_be_sent_again(
    calling: Running, receiver: Receiver
) -> None:
    """A redirect is a refusal too: nothing is sent where it leads."""
    poison: list[str] = []

    async def refuse(message: Message) -> Answered:
        return (307, {"Location": f"{receiver.url}/elsewhere"}) if message.id in poison else TAKEN

    receiver.answer = refuse
    path, _ = await hooked(calling.audrey, receiver, active=False)
    rows = await written(calling, 3)
    poison.append(rows[1])
    await calling.audrey.put(path, {"url": receiver.url, "events": ["use.reported"]}, after=1)
    await receiver.until(lambda came: came[-1].id == rows[2])

    assert ids(receiver) == [rows[0], *[rows[1]] * 4, rows[2]]
    assert {message.path for message in receiver.came} == {"/hook"}
    (dead,) = await deliveries(calling.audrey, path, "dead")
    assert (dead["row"], dead["status"], dead["tries"]) == (rows[1], 307, 4)
    assert (await calling.audrey.read(path))["dead"] == 1

    poison.clear()
    again = await calling.audrey.post(f"{path}/replay", {"dead": True})
    assert again.json() == {"revived": 1, "active": True}
    await receiver.until(lambda came: [each.id for each in came].count(rows[1]) == 5)
    await deliveries(calling.audrey, path, "delivered", count=3)
    assert (await calling.audrey.read(path))["dead"] == 0


async def test_everything_can_be_sent_again_from_a_place_or_a_time(calling: Running, receiver: Receiver) -> None:
    path, _ = await hooked(calling.audrey, receiver)
    rows = await written(calling, 4)
    await receiver.until(lambda came: len(came) == 4)
    told = await deliveries(calling.audrey, path, "delivered", count=4)
    assert [each["row"] for each in told] == rows[::-1]

    await calling.audrey.post(f"{path}/replay", {"after": told[2]["place"]})
    await receiver.until(lambda came: len(came) == 6)
    await calling.audrey.post(f"{path}/replay", {"since": told[3]["at"]})
    await receiver.until(lambda came: len(came) == 10)
    assert ids(receiver) == rows + rows[2:] + rows


async def test_a_receiver_that_is_gone_is_left_alone(calling: Running, receiver: Receiver) -> None:
    async def gone(_: Message) -> Answered:
        return (410, {})

    receiver.answer = gone
    path, _ = await hooked(calling.audrey, receiver)
    rows = await written(calling, 2)
    assert "410" in await stopped(calling.audrey, path)
    assert ids(receiver) == rows[:1]
    told = await calling.audrey.read("/v1/ledger?event=webhook.stopped")
    assert told["items"][0]["details"] == {"webhook": path.rpartition("/")[2], "of": "user:audrey", "why": "gone"}

    receiver.answer = None
    await calling.audrey.put(path, {"url": receiver.url, "events": ["use.reported"]}, after=2)
    await receiver.until(lambda came: len(came) == 3)
    assert ids(receiver) == [rows[0], *rows]


async def test_one_that_takes_nothing_any_more_is_stopped_and_nothing_is_lost(
    calling: Running, receiver: Receiver
) -> None:
    async def broken(_: Message) -> Answered:
        return (404, {})

    receiver.answer = broken
    path, _ = await hooked(calling.audrey, receiver)
    rows = await written(calling, 7)
    assert "one row after another" in await stopped(calling.audrey, path)
    assert sorted(set(ids(receiver)), key=rows.index) == rows[:5]

    receiver.answer, receiver.came = None, []
    await calling.audrey.post(f"{path}/replay", {"dead": True})
    await calling.audrey.put(path, {"url": receiver.url, "events": ["use.reported"]}, after=2)
    await receiver.until(lambda came: len(came) == 7)
    assert ids(receiver) == rows


async def test_a_receiver_that_asks_for_time_is_given_it(calling: Running, receiver: Receiver) -> None:
    async def later(_: Message) -> Answered:
        return (429, {"Retry-After": "3600"})

    receiver.answer = later
    path, _ = await hooked(calling.audrey, receiver)
    rows = await written(calling, 1)
    (waiting,) = await deliveries(calling.audrey, path, "waiting")
    assert (waiting["row"], waiting["status"]) == (rows[0], 429)
    question = text("SELECT due - now() FROM webhook_progress JOIN webhooks ON key = webhook WHERE id = :id")
    async with calling.app.state.house.db.begin() as tx:
        due = (await tx.execute(question, {"id": path.rpartition("/")[2]})).scalar_one()
    assert timedelta(minutes=58) < due <= timedelta(hours=1)


# --- whose right it is ----------------------------------------------------------------------------------------------


async def test_a_right_that_was_taken_away_holds_for_the_next_row(calling: Running, receiver: Receiver) -> None:
    """Seen to fail with the reader kept for as long as a webhook is sent for."""
    root, hugo = calling.root, calling.hugo
    await root.make("/v1/grants/hugo-audits-hr", grant("user:hugo", ["audit"], on={"domain": "hr"}))
    await root.make("/v1/grants/hugo-audits-sales", grant("user:hugo", ["audit"], on={"domain": "sales"}))
    hold, went_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Message) -> Answered:
        hold.set()
        await went_on.wait()
        return TAKEN

    receiver.answer = wait
    path, _ = await hooked(hugo, receiver)
    rows = await written(calling, 3)
    (of_hr,) = await written(calling, 1, datasets=("hr.salaries",))
    await hold.wait()
    assert (await root.delete("/v1/grants/hugo-audits-sales", after=1)).status_code == 204
    went_on.set()
    await receiver.until(lambda came: came[-1].id == of_hr)
    assert ids(receiver) == [rows[0], of_hr]

    assert (await root.delete("/v1/grants/hugo-audits-hr", after=1)).status_code == 204
    assert "audits nothing any more" in await stopped(hugo, path)


async def test_nothing_is_sent_for_whoever_may_not_sign_in_any_more(calling: Running, receiver: Receiver) -> None:
    leaver = calling.somebody("eve", sub="leaver")
    await leaver.get("/v1/whoami")
    await calling.root.make("/v1/grants/leaver-audits", grant("user:leaver", ["audit"], on={"domain": "sales"}))
    path, _ = await hooked(leaver, receiver)
    assert (await calling.root.post("/v1/subjects/user:leaver/end", {"reason": "leaves"})).status_code == 200
    await written(calling, 1)
    assert "may not sign in" in await stopped(calling.root, f"{path}?subject=user:leaver")
    assert receiver.came == []


async def test_a_row_of_after_a_right_ended_is_judged_by_what_is_so_then(
    calling: Running, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail with rows sent in the turn that read them, by a standing from before they were written."""
    late = calling.somebody("eve", sub="late")
    await late.get("/v1/whoami")
    await calling.root.make("/v1/grants/late-audits", grant("user:late", ["audit"], on={"domain": "sales"}))

    async def ended() -> None:
        assert (await calling.root.post("/v1/subjects/user:late/end", {"reason": "leaves"})).status_code == 200
        await written(calling, 1)

    path, _ = await hooked(late, receiver)
    before_the_next_page(monkeypatch, ended)
    assert "may not sign in" in await stopped(calling.root, f"{path}?subject=user:late")
    assert receiver.came == []


async def test_whoever_audits_nothing_makes_no_webhook_and_nobody_finds_those_of_others(
    calling: Running, receiver: Receiver
) -> None:
    refusal(await calling.ann.put("/v1/webhooks/mine", {"url": receiver.url}, after=0), 403)
    path, _ = await hooked(calling.audrey, receiver, url=f"{receiver.url}?token=of-the-receiver")
    theirs = f"{path}?subject=user:audrey"
    for caller in (calling.ann, calling.sam, calling.nightly):
        refusal(await caller.get(path), 404)
        refusal(await caller.get(theirs), 404)
        assert (await caller.get("/v1/webhooks?subject=user:audrey")).json() == {"items": [], "next": None}
        for done, body in (("secret", {}), ("replay", {"dead": True}), ("test", None)):
            refusal(await caller.send("POST", f"{path}/{done}?subject=user:audrey", json=body), 404)
        refusal(await caller.delete(theirs, after=1), 404)

    seen = await calling.root.read(theirs)
    assert seen["url"] == f"http://127.0.0.1:{receiver.port}"
    assert "of-the-receiver" not in (await calling.root.get("/v1/webhooks")).text
    refusal(await calling.root.put(theirs, {"url": receiver.url}, after=1), 403)
    refusal(await calling.root.post(f"{path}/secret?subject=user:audrey", {}), 403)
    assert (await calling.root.delete(theirs, after=1)).status_code == 204
    refusal(await calling.audrey.get(path), 404)


async def test_an_administrator_makes_one_for_a_service_that_audits(calling: Running, receiver: Receiver) -> None:
    path = "/v1/webhooks/siem?subject=service:siem"
    body = {"url": receiver.url, "events": ["use.reported"]}
    refusal(await calling.root.put(path, body, after=0), 403)
    await calling.root.make("/v1/grants/siem-audits", grant("service:siem", ["audit"], on={"domain": "all"}))
    made = await calling.root.make(path, body)
    assert (made["subject"], made["by"]) == ("service:siem", "user:root")
    rows = await written(calling, 1)
    await receiver.until(lambda came: len(came) == 1)
    assert ids(receiver) == rows


# --- who sends ------------------------------------------------------------------------------------------------------


async def test_of_several_workers_one_sends_and_another_takes_over(calling: Running, receiver: Receiver) -> None:
    async with sending(calling), sending(calling):
        path, _ = await hooked(calling.audrey, receiver)
        rows = await written(calling, 30)
        await deliveries(calling.audrey, path, "delivered", count=30)
    rows += await written(calling, 10)
    await deliveries(calling.audrey, path, "delivered", count=40)
    assert ids(receiver) == rows


async def test_the_secret_of_another_webhook_opens_nothing(calling: Running, receiver: Receiver) -> None:
    """Somebody who writes into the database alone makes nobody sign for them."""
    path, made = await hooked(calling.audrey, receiver)
    other, _ = await hooked(calling.audrey, receiver, active=False)
    exchange = "UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE id = :other) WHERE id = :id"
    named = {"id": path.rpartition("/")[2], "other": other.rpartition("/")[2]}
    async with calling.app.state.house.db.begin() as tx:
        kept = (await tx.execute(text("SELECT string_agg(secret, '') FROM webhooks"))).scalar_one()
        await tx.execute(text(exchange), named)
    assert b64decode(made["secret"].removeprefix("whsec_")) not in kept
    await written(calling, 1)
    assert "secret cannot be read" in await stopped(calling.audrey, path)
    assert receiver.came == []


# --- where to -------------------------------------------------------------------------------------------------------


async def test_a_message_is_sent_to_see_whether_it_arrives(calling: Running, receiver: Receiver) -> None:
    path, made = await hooked(calling.audrey, receiver, active=False)
    told = await calling.audrey.post(f"{path}/test", None)
    assert told.json() == {"taken": True, "status": 204, "why": None}
    (message,) = receiver.came
    said = Reference(made["secret"]).verify(message.body, dict(message.headers))
    assert said["type"] == "webhook.test"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://name:password@example.com/",
        "https://example.com/#fragment",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\u00e4",
        "https://[::gg]/",
        "//example.com/",
        "http://example.com/",
    ],
    ids=ascii,
)
async def test_an_address_is_one_that_is_called_with_tls_and_holds_no_name(careful: Running, url: str) -> None:
    refused = refusal(await careful.audrey.put("/v1/webhooks/odd", {"url": url}, after=0), 422)
    assert refused["errors"][0]["at"] == "url"


async def test_this_machine_is_not_called_unless_it_is_listed(careful: Running, receiver: Receiver) -> None:
    for number, host in enumerate(("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433")):
        path = f"/v1/webhooks/inside-{number}"
        await careful.audrey.make(path, {"url": f"https://{host}:{receiver.port}/", "active": False})
        told = (await careful.audrey.post(f"{path}/test", None)).json()
        assert (told["taken"], told["status"]) == (False, None)
        assert "MUNIMENT_WEBHOOK_NETWORKS" in told["why"], host
    assert receiver.came == []
