"""People are told what they did not ask about, through the doors and over a real mail server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from demo.issuer import RunningIssuer
from muniment import app
from muniment.api.identifiers import new_id
from muniment.core.notices import MOST_ATTEMPTS
from muniment.flows.house import House
from muniment.flows.send_notices import Round, go_round
from muniment.identity.issuers import issuers_from
from muniment.post.mail import MailServer
from muniment.store.notices import CLAIMED, HELD
from tests.api.receiving import receiving as receiving_webhooks
from tests.api.running import Caller, Running, dataset, found_company, grant, refusal, running
from tests.post.receiving import Received, receiving

pytestmark = pytest.mark.anyio

PUBLIC = "https://muniment.example"
HOLDER = uuid4()
numbers = count(1)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Received]:
    async with receiving() as started:
        yield started


@pytest.fixture(scope="module")
async def company(issuer: RunningIssuer, module_database: str, server: Received) -> AsyncIterator[Running]:
    """The company with mail: analysts may know of all in sales, and Sam approves there, as Root may, who has none.

    Sam and Hugo own sales.
    """
    described = {
        "name": "corp", "issuer": issuer.url, "audience": "muniment", "client_id": "kedro-muniment", "default": True,
        "kind": {"services_where": {"kind": "service"}},
        "attributes": {"clearance": {"claim": "clr", "type": "long"}, "email": {"claim": "email", "type": "string"}},
    }  # fmt: skip
    more = {
        "issuers": issuers_from([described]),
        "smtp": server.server(),
        "public_url": PUBLIC,
        "webhook_networks": ["127.0.0.0/8"],
    }
    async with running(issuer, module_database, **more) as started:
        await found_company(started)
        root = started.root
        await root.make("/v1/grants/analysts-know-sales", grant("group:analysts", ["discover"], on={"domain": "sales"}))
        await root.make("/v1/grants/sam-approves", grant("user:sam", ["approve"], on={"domain": "sales"}))
        await root.make("/v1/groups/sales-owners", {"members": ["user:sam", "user:hugo"]})
        yield started


@dataclass
class _Before:
    """The notices that were there when a test began."""

    ids: frozenset[str] = frozenset()


BEFORE = _Before()


@pytest.fixture
async def received(server: Received) -> Received:
    """The server, with no mail in it, which takes what comes."""
    server.mails.clear()
    server.taken.clear()
    server.answer = server.answer_to_recipient = server.hold = None
    return server


@pytest.fixture
async def service(company: Running, received: Received) -> Running:
    """The company, of which everybody has been told everything, and in which nobody has chosen anything."""
    for name in ("sam", "ann", "audrey", "eve", "hugo"):
        await mailed(company, name).read("/v1/whoami")
    await execute(company, "UPDATE notice_desk SET holder = NULL, held_until = '-infinity', swept_at = '-infinity'")
    await execute(company, "UPDATE notice_choices SET mail = '{}', webhook = '{}', quiet = false")
    for table in ("notice_addresses", "notice_webhooks"):
        await execute(company, f"DELETE FROM {table}")
    await a_round(company)
    await execute(company, "UPDATE notice_sendings SET state = 'dropped' WHERE state = 'waiting'")
    received.mails.clear()
    received.taken.clear()
    BEFORE.ids = frozenset(await execute(company, "SELECT id::text FROM notices"))
    return company


async def execute(service: Running, statement: str) -> list[Any]:
    """Done straight in the database; gives the first column of what it answers."""
    async with house_of(service).db.begin() as tx:
        done = await tx.exec_driver_sql(statement)
        return list(done.scalars()) if done.returns_rows else []


def mailed(service: Running, name: str, **claims: object) -> Caller:
    """Somebody whose token says their address."""
    return service.somebody(name, **{"email": f"{name}@example.org", **claims})


async def a_round(service: Running, at: datetime | None = None, holder: UUID = HOLDER) -> Round | None:
    at = at or datetime.now(UTC)
    return await go_round(house_of(service), holder, at, new_id(at))


def house_of(service: Running) -> House:
    house: House = service.app.state.house
    return house


async def asked(service: Running, **more: Any) -> tuple[str, dict[str, Any]]:
    """The name of a new dataset in sales, for which Ann has asked, and her request."""
    name = f"sales.asked_for_{next(numbers)}"
    await mailed(service, "sam").make(f"/v1/datasets/{name}", dataset(f"s3://lake/sales/{name}.csv"))
    body = {"actions": ["load"], "datasets": [name], "environments": ["dev"], "because": "the quarterly report", **more}
    answer = await mailed(service, "ann").post("/v1/requests", body)
    assert answer.status_code == 201, answer.text
    return name, answer.json()


def text_of(mail: EmailMessage) -> str:
    text: str = mail.get_content()
    return text.replace("\r\n", "\n")


async def inbox(caller: Caller) -> list[dict[str, Any]]:
    """What somebody was told since the test began."""
    items: list[dict[str, Any]] = (await caller.read("/v1/notices"))["items"]
    return [item for item in items if item["id"] not in BEFORE.ids]


async def choose(caller: Caller, **chosen: Any) -> dict[str, Any]:
    after = (await caller.read("/v1/notices/preferences"))["version"]
    answer = await caller.put("/v1/notices/preferences", chosen, after)
    assert answer.status_code == 200, answer.text
    kept: dict[str, Any] = answer.json()
    return kept


# --- asked and decided ----------------------------------------------------------------------------------------------


async def test_whoever_may_decide_is_told_that_somebody_asks(service: Running, received: Received) -> None:
    name, request = await asked(service)

    await a_round(service)

    (mail,) = received.mails
    assert mail["To"] == "sam@example.org"
    assert mail["Subject"] == f"Muniment: user:ann asks for {name}"
    text = text_of(mail)
    assert f"user:ann asks to load {name} in dev" in text
    assert "Why: the quarterly report" in text
    assert request["id"] in text
    assert f"{PUBLIC}/notices" in text
    (told,) = await inbox(mailed(service, "sam"))
    assert (told["kind"], told["open"], told["about"]) == ("asked", True, {"request": request["id"]})
    assert told["mail"]["state"] == "sent"
    assert await inbox(mailed(service, "ann")) == []


async def test_a_mail_has_its_row_which_holds_no_address(service: Running, received: Received) -> None:
    name, request = await asked(service)
    await a_round(service)
    rows = (await service.audrey.read("/v1/ledger?event=notice.sent"))["items"][: len(received.mails)]
    assert len(received.mails) == 1
    assert (rows[0]["subject"], rows[0]["datasets"]) == ("service:muniment", [name])
    assert rows[0]["details"]["to"] == "user:sam"
    assert [each["request"] for each in rows[0]["details"]["notices"]] == [request["id"]]
    assert "example.org" not in str(rows)


async def test_without_a_row_no_mail_leaves(service: Running, received: Received, monkeypatch) -> None:
    await asked(service)

    async def refuse(*_: object) -> None:
        raise RuntimeError("no ledger")

    with monkeypatch.context() as patched:
        patched.setattr("muniment.flows.send_notices.ledger.append", refuse)
        with pytest.raises(RuntimeError):
            await a_round(service)
    assert not received.mails


@pytest.mark.parametrize(("verb", "word"), [("approve", "approved"), ("deny", "denied")], ids=["approved", "denied"])
async def test_whoever_asked_is_told_what_was_decided_and_why(
    service: Running, received: Received, verb: str, word: str
) -> None:
    name, request = await asked(service)
    body = {"comment": "welcome"} if verb == "approve" else {"because": "use the totals"}
    assert (await service.sam.post(f"/v1/requests/{request['id']}/{verb}", body)).status_code == 200

    await a_round(service)

    (mail,) = received.mails
    assert (mail["To"], mail["Subject"]) == ("ann@example.org", f"Muniment: Your request for {name} is {word}")
    assert f"user:sam has {word} your request for {name}" in text_of(mail)
    assert ("welcome" if verb == "approve" else "use the totals") in text_of(mail)


async def test_nobody_is_told_twice_of_one_thing(service: Running, received: Received) -> None:
    await asked(service)
    for hours in range(4):
        await a_round(service, datetime.now(UTC) + timedelta(hours=hours))
    assert len(received.mails) == 1


async def test_a_request_that_rises_is_told_to_those_to_whom_it_comes(service: Running, received: Received) -> None:
    name, _ = await asked(service)
    await service.somebody("eve", sub="theo", email="theo@example.org").read("/v1/whoami")
    await service.root.make("/v1/grants/theo-approves", grant("user:theo", ["approve"], on={"domain": "all"}))
    await service.root.make("/v1/grants/theo-knows", grant("user:theo", ["discover"], on={"domain": "sales"}))
    forbid = f'forbid (principal == User::"theo", action == Action::"approve", resource == Dataset::"{name}");'
    await service.root.make("/v1/policies/not-theo", {"scope": "sales", "cedar": forbid, "reason": "he waits"})
    await a_round(service)
    assert not received.to("theo@example.org")
    assert (await service.root.delete("/v1/policies/not-theo", 1)).status_code == 204
    await a_round(service, datetime.now(UTC) + timedelta(hours=2))
    assert len([mail for mail in received.to("theo@example.org") if name in mail["Subject"]]) == 1
    assert (await service.root.delete("/v1/grants/theo-approves", 1)).status_code == 204


# --- what the reader may not see ------------------------------------------------------------------------------------


async def test_who_has_lost_the_right_by_then_is_sent_nothing(service: Running, received: Received) -> None:
    received.answer = "451 later"
    name, _ = await asked(service)
    await a_round(service)
    assert len(await inbox(mailed(service, "sam"))) == 1
    forbid = f'forbid (principal == User::"sam", action == Action::"approve", resource == Dataset::"{name}");'
    await service.root.make("/v1/policies/not-sam", {"scope": "all", "cedar": forbid, "reason": "he moved"})
    received.answer = None

    await a_round(service, datetime.now(UTC) + timedelta(minutes=5))

    assert not received.mails
    assert await inbox(mailed(service, "sam")) == []


async def test_what_became_hidden_is_not_named_to_whoever_asked_for_it(service: Running, received: Received) -> None:
    name, request = await asked(service)
    assert (await service.sam.post(f"/v1/requests/{request['id']}/deny", {"because": "no"})).status_code == 200
    forbid = f'forbid (principal == User::"ann", action, resource == Dataset::"{name}");'
    await service.root.make("/v1/policies/hidden-from-ann", {"scope": "sales", "cedar": forbid, "reason": "a secret"})

    await a_round(service)

    (mail,) = received.to("ann@example.org")
    assert name not in text_of(mail) + mail["Subject"]
    assert name not in str(await inbox(mailed(service, "ann")))
    assert mail["Subject"] == "Muniment: Your request for access is denied"


async def test_what_is_settled_meanwhile_is_not_sent(service: Running, received: Received) -> None:
    received.answer = "451 later"
    _, request = await asked(service)
    await a_round(service)
    assert (await service.ann.post(f"/v1/requests/{request['id']}/withdraw", {})).status_code == 200
    received.answer = None
    await a_round(service, datetime.now(UTC) + timedelta(minutes=5))
    assert not received.mails
    (told,) = await inbox(mailed(service, "sam"))
    assert (told["open"], told["mail"]["state"]) == (False, "dropped")


# --- ends and reviews -----------------------------------------------------------------------------------------------


async def test_holder_and_owner_are_told_that_access_ends_a_week_before(service: Running, received: Received) -> None:
    until = datetime.now(UTC) + timedelta(days=20)
    sam = mailed(service, "sam")
    ending = grant("group:analysts", ["load"], on={"dataset": "sales.targets"}, until=until.isoformat())
    await service.root.make("/v1/grants/analysts-for-a-while", ending)
    await choose(mailed(service, "ann"), mail={"ends": "at_once"})
    await choose(sam, mail={"ends": "at_once"})

    await a_round(service, until - timedelta(days=8))
    assert not received.mails
    await a_round(service, until - timedelta(days=6))
    await a_round(service, until - timedelta(days=5))

    (to_ann,), (to_sam,) = received.to("ann@example.org"), received.to("sam@example.org")
    assert len(received.mails) == 2
    assert f"ends on {until:%Y-%m-%d %H:%M} UTC" in to_ann["Subject"]
    assert "You have it as a member of group:analysts." in text_of(to_ann)
    assert "analysts-for-a-while" not in text_of(to_ann)
    assert "The grant analysts-for-a-while, by which group:analysts may load sales.targets" in text_of(to_sam)


async def test_who_may_not_know_the_dataset_by_then_is_not_told_that_it_ends(
    service: Running, received: Received
) -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    await service.root.make(
        "/v1/grants/eve-saves", grant("user:eve", ["load"], on={"dataset": "hr.salaries"}, until=until.isoformat())
    )
    forbid = 'forbid (principal == User::"eve", action, resource == Dataset::"hr.salaries");'
    await service.root.make("/v1/policies/not-eve", {"scope": "hr", "cedar": forbid, "reason": "she left"})
    await choose(mailed(service, "eve"), mail={"ends": "at_once"})
    await a_round(service, datetime.now(UTC) + timedelta(hours=2))
    assert not received.to("eve@example.org")
    assert await inbox(mailed(service, "eve")) == []


async def test_owners_are_told_which_rule_is_to_be_looked_at_again(service: Running, received: Received) -> None:
    sam = mailed(service, "sam")
    day = (datetime.now(UTC) + timedelta(days=5)).date().isoformat()
    await service.root.make(
        "/v1/grants/looked-at", grant("group:analysts", ["load"], on={"dataset": "sales.targets"}, review_by=day)
    )
    hr = grant("group:analysts", ["discover"], on={"domain": "hr"}, review_by=day)
    await service.root.make("/v1/grants/hr-looked-at", hr)
    await choose(sam, mail={"review": "at_once"})
    await a_round(service, datetime.now(UTC) + timedelta(hours=2))
    (mail,) = received.to("sam@example.org")
    assert mail["Subject"] == f"Muniment: looked-at is to be reviewed by {day}"
    assert "hr-looked-at" not in text_of(mail)
    assert [each["about"]["rule"] for each in await inbox(mailed(service, "hugo"))] == ["grant:hr-looked-at"]


# --- the first use --------------------------------------------------------------------------------------------------


async def used(caller: Caller, name: str) -> None:
    event = {"id": str(uuid4()), "dataset": name, "action": "load", "at": datetime.now(UTC).isoformat()}
    answer = await caller.post("/v1/use", {"events": [{**event, "environment": "dev"}]})
    assert answer.status_code == 200, answer.text


async def test_an_owner_who_audits_is_told_of_the_first_use_by_somebody_and_no_other(
    service: Running, received: Received
) -> None:
    await service.root.make("/v1/grants/sam-audits", grant("user:sam", ["audit"], on={"domain": "sales"}))
    await choose(mailed(service, "sam"), mail={"first_use": "at_once"})
    await choose(mailed(service, "hugo"), mail={"first_use": "at_once"})
    for _ in range(2):
        await used(mailed(service, "ann"), "sales.orders")
        await used(mailed(service, "ann"), "sales.nothing_of_that_name")
        await a_round(service)
    (mail,) = received.mails
    assert (mail["To"], mail["Subject"]) == (
        "sam@example.org",
        "Muniment: user:ann used sales.orders for the first time",
    )


# --- what people choose ---------------------------------------------------------------------------------------------


async def test_people_choose_what_they_are_told_by_mail_and_find_all_in_the_inbox(
    service: Running, received: Received
) -> None:
    sam = mailed(service, "sam")
    before = await sam.read("/v1/notices/preferences")
    assert (before["mail"]["asked"], before["address"], before["confirmed"]) == ("at_once", "sam@example.org", False)
    kept = await choose(sam, mail={"asked": "off"})
    assert kept["mail"] == {**before["mail"], "asked": "off"}
    await asked(service)
    await a_round(service)
    assert not received.mails
    assert [(each["kind"], each["mail"]) for each in await inbox(sam)] == [("asked", None)]
    refusal(await sam.put("/v1/notices/preferences", {"quiet": True}, kept["version"] + 1), 412)
    refusal(await sam.put("/v1/notices/preferences", {"quiet": True}, 0), 412)
    assert (await choose(sam, quiet=True))["says"].startswith("No mail goes to sam@example.org")
    rows = (await service.audrey.read("/v1/ledger?event=notices.chosen"))["items"]
    assert [row["details"]["quiet"] for row in rows[:2]] == [True, False]


async def test_quiet_holds_for_what_waits_already(service: Running, received: Received) -> None:
    received.answer = "451 later"
    await asked(service)
    await a_round(service)
    received.answer = None
    await choose(mailed(service, "sam"), quiet=True)
    await a_round(service, datetime.now(UTC) + timedelta(minutes=5))
    assert not received.mails


async def test_what_goes_once_a_day_goes_in_one_mail_in_the_morning(service: Running, received: Received) -> None:
    await choose(mailed(service, "sam"), mail={"asked": "daily"})
    names = [(await asked(service))[0] for _ in range(3)]
    await a_round(service)
    assert not received.mails
    morning = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    await a_round(service, morning + timedelta(hours=7, minutes=1))
    (mail,) = received.mails
    assert mail["Subject"] == "Muniment: 3 notices"
    assert all(name in text_of(mail) for name in names)


async def test_without_an_address_nothing_is_sent_and_the_preferences_say_so(
    service: Running, received: Received
) -> None:
    await service.sam.read("/v1/whoami")  # with a token that names no address
    await asked(service)
    await service.sam.read("/v1/whoami")
    await a_round(service)
    assert not received.mails
    assert (await service.sam.read("/v1/notices/preferences"))["says"].startswith("No mail goes to you")
    assert len(await inbox(service.sam)) == 1


# --- links ----------------------------------------------------------------------------------------------------------


async def post_link(service: Running, link: str, method: str = "POST") -> httpx.Response:
    """What somebody does who has nothing but the mail: no token, no cookie."""
    split = urlsplit(link)
    assert f"{split.scheme}://{split.netloc}" == PUBLIC
    form = {"content": b"List-Unsubscribe=One-Click", "headers": {"content-type": "application/x-www-form-urlencoded"}}
    return await service.http.request(method, f"{split.path}?{split.query}", **(form if method == "POST" else {}))


async def test_the_link_in_a_mail_ends_such_mails_with_one_click_and_no_sign_in(
    service: Running, received: Received
) -> None:
    await asked(service)
    await a_round(service)
    (mail,) = received.mails
    link = mail["List-Unsubscribe"].strip("<>")
    assert link in text_of(mail).replace("\n", " ")

    before = await mailed(service, "sam").read("/v1/notices/preferences")
    looked = await post_link(service, link, "GET")
    assert (looked.status_code, "somebody asks for access" in looked.text) == (200, True)
    sam = mailed(service, "sam")
    assert (await sam.read("/v1/notices/preferences"))["mail"]["asked"] == "at_once"
    for _ in range(2):
        assert (await post_link(service, link)).status_code == 200

    after = await sam.read("/v1/notices/preferences")
    assert (after["mail"]["asked"], after["mail"]["decided"]) == ("off", "at_once")
    assert after["version"] == before["version"] + 1
    await asked(service)
    await a_round(service)
    assert len(received.mails) == 1


async def test_a_link_that_was_changed_does_nothing(service: Running, received: Received) -> None:
    await asked(service)
    await a_round(service)
    link = received.mails[0]["List-Unsubscribe"].strip("<>")
    body, _, mac = link.rpartition(".")
    other = house_of(service).links.unsubscribe
    assert other is not None
    for changed in (f"{body}.{mac[:-2]}AA", f"{body}x.{mac}", body, f"{PUBLIC}/notices/unsubscribe?token=x.y"):
        assert (await post_link(service, changed)).status_code == 404
        assert (await post_link(service, changed.replace("unsubscribe?", "address?"))).status_code == 404
    assert (await post_link(service, link.replace("unsubscribe?", "address?"))).status_code == 404
    assert (await mailed(service, "sam").read("/v1/notices/preferences"))["mail"]["asked"] == "at_once"


async def test_an_address_counts_once_who_reads_it_has_said_so(service: Running, received: Received) -> None:
    sam = mailed(service, "sam")
    answer = await sam.post("/v1/notices/address", {"address": "sam@home.example"})
    assert (answer.status_code, answer.json()["address"]) == (202, "sam@example.org")
    await a_round(service)
    (mail,) = received.to("sam@home.example")
    (link,) = re.findall(r"https://\S+/notices/address\S+", text_of(mail))
    assert "token" not in str(await inbox(sam))
    assert (await post_link(service, link, "GET")).status_code == 200
    assert not (await sam.read("/v1/notices/preferences"))["confirmed"]

    assert (await post_link(service, link)).status_code == 200

    after = await sam.read("/v1/notices/preferences")
    assert (after["address"], after["confirmed"]) == ("sam@home.example", True)
    await asked(service)
    await a_round(service)
    assert len(received.to("sam@home.example")) == 2
    rows = (await service.audrey.read("/v1/ledger?event=notices.chosen"))["items"]
    assert [row["details"]["address"] for row in rows[:2]] == ["confirmed", "asked for"]
    assert "home.example" not in str(rows)
    removed = await sam.send("DELETE", "/v1/notices/address")
    assert removed.json()["address"] == "sam@example.org"


async def test_nobody_is_flooded_with_mails_that_ask_for_a_confirmation(service: Running, received: Received) -> None:
    for number in range(5):
        answer = await service.eve.post("/v1/notices/address", {"address": f"victim{number}@example.net"})
        assert answer.status_code == 202
    refused = await service.eve.post("/v1/notices/address", {"address": "victim@example.net"})
    refusal(refused, 429)
    for wrong in ("a b@example.org", "a@b\r\nBcc: c@example.org", "<a@example.org>", "a@@example.org"):
        refusal(await service.ann.post("/v1/notices/address", {"address": wrong}), 422)


async def test_a_test_tells_whether_mail_arrives(service: Running, received: Received) -> None:
    assert (await mailed(service, "ann").post("/v1/notices/test", None)).status_code == 202
    await a_round(service)
    (mail,) = received.mails
    assert (mail["To"], mail["Subject"], mail["List-Unsubscribe"]) == ("ann@example.org", "Muniment: A test", None)


# --- when the mail server, or the service, is away ------------------------------------------------------------------


async def test_mails_wait_while_the_server_is_away_and_go_when_it_is_back(service: Running, received: Received) -> None:
    await asked(service)
    at = datetime.now(UTC)
    with served_by(service, received.server(port=1)):
        assert await a_round(service, at) == Round(made=2)
        assert await a_round(service, at + timedelta(seconds=20)) == Round()
        (told,) = await inbox(mailed(service, "sam"))
        said = "No mail server answers at 127.0.0.1:1: Connection refused"
        assert (told["mail"]["state"], told["mail"]["why"]) == ("waiting", said)
    assert await a_round(service, at + timedelta(seconds=31)) == Round(sent=1)
    assert len(received.mails) == 1


async def test_what_a_server_will_never_take_is_given_up_and_the_inbox_says_so(
    service: Running, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    received.answer_to_recipient = "550 no such mailbox"
    await asked(service)
    await a_round(service)
    await a_round(service, datetime.now(UTC) + timedelta(hours=3))
    (told,) = await inbox(mailed(service, "sam"))
    assert told["mail"]["state"] == "given up"
    assert told["mail"]["why"] == "The server refuses the address: 550 no such mailbox"
    assert "A mail to user:sam is given up after 1 attempts" in caplog.text
    assert "example.org" not in caplog.text


async def test_what_is_refused_again_and_again_is_given_up_in_the_end(service: Running, received: Received) -> None:
    received.answer = "451 try later"
    await asked(service)
    at, attempts = datetime.now(UTC), 0
    waiting = "SELECT count(*) FROM notice_sendings WHERE state = 'waiting'"
    while not attempts or await execute(service, waiting) == [1]:
        await a_round(service, at)
        at += timedelta(hours=7)
        attempts += 1
    assert attempts == MOST_ATTEMPTS
    (told,) = await inbox(mailed(service, "sam"))
    assert (told["mail"]["state"], told["mail"]["why"]) == ("given up", "The server refuses the mail: 451 try later")


async def test_a_worker_that_dies_while_a_mail_is_under_way_doubles_that_one_at_most(
    service: Running, received: Received
) -> None:
    for _ in range(3):
        await asked(service)
    received.hold = asyncio.Event()
    dying = asyncio.create_task(a_round(service))
    await received.taken.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    received.hold = None
    at = datetime.now(UTC)

    await a_round(service, at + timedelta(seconds=1))
    assert len(received.mails) == 3
    await a_round(service, at + CLAIMED + timedelta(seconds=1))
    await a_round(service, at + 2 * CLAIMED + timedelta(seconds=1))

    names = [mail["Message-ID"] for mail in received.mails]
    assert (len(names), len(set(names)), names[0]) == (4, 3, names[-1])


async def test_one_worker_tells_and_another_goes_on_when_it_has_died(service: Running, received: Received) -> None:
    await asked(service)
    await execute(service, "UPDATE notice_desk SET holder = NULL, held_until = '-infinity'")
    holders = [uuid4(), uuid4(), uuid4()]
    rounds = dict(zip(holders, await asyncio.gather(*(a_round(service, holder=each) for each in holders)), strict=True))
    (first,) = [each for each in holders if rounds[each] is not None]
    assert rounds[first] == Round(made=2, sent=1)
    second = next(each for each in holders if each != first)
    assert await a_round(service, holder=second) is None
    await execute(service, f"UPDATE notice_desk SET held_until = held_until - interval '{HELD.total_seconds()} s'")
    assert await a_round(service, holder=second) == Round()
    assert await a_round(service, holder=first) is None
    assert len(received.mails) == 1


async def test_without_a_mail_server_there_is_the_inbox(service: Running, received: Received) -> None:
    with served_by(service, None):
        await asked(service)
        assert await a_round(service) == Round(made=2)
        sam = mailed(service, "sam")
        assert [each["kind"] for each in await inbox(sam)] == ["asked"]
        assert (await sam.read("/v1/notices/preferences"))["says"].startswith("This Muniment sends no mails")
        refusal(await sam.post("/v1/notices/address", {"address": "sam@example.org"}), 409)
    assert not received.mails


async def test_the_service_tells_people_by_itself(
    issuer: RunningIssuer, database: str, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_TELL_SECONDS", 0.05)
    async with running(issuer, database, smtp=received.server()) as service:
        await service.eve.post("/v1/notices/address", {"address": "eve@example.net"})
        async with asyncio.timeout(60):
            await received.taken.wait()
    (mail,) = received.mails
    assert (mail["To"], mail["List-Unsubscribe"]) == ("eve@example.net", None)


# --- webhooks -------------------------------------------------------------------------------------------------------


async def taking(caller: Caller, url: str) -> Webhook:
    """Somebody's own program takes what they are told; gives what its messages are verified with."""
    answer = await caller.post("/v1/notices/webhook", {"url": url})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    return Webhook(answer.json()["secret"])


async def test_a_program_of_ones_own_is_sent_the_same_signed(service: Running, received: Received) -> None:
    sam = mailed(service, "sam")
    async with receiving_webhooks() as program:
        knows = await taking(sam, program.url)
        assert (await sam.read("/v1/notices/preferences"))["url"] == program.url
        name, request = await asked(service)
        assert await a_round(service) == Round(made=2, sent=1, called=1)
        await choose(sam, webhook={"asked": False})
        await asked(service)
        await choose(sam, webhook={"asked": True}, quiet=True)
        await a_round(service)
    (message,) = program.came
    said = knows.verify(message.body, dict(message.headers))
    (told, *_) = [each for each in await inbox(sam) if each["about"] == {"request": request["id"]}]
    assert (said["type"], message.id, said["data"]["id"]) == ("notice.asked", told["id"], told["id"])
    assert {field: said["data"][field] for field in ("title", "text", "about")} == {
        field: told[field] for field in ("title", "text", "about")
    }
    assert name in said["data"]["text"]
    rows = (await service.audrey.read("/v1/ledger?event=notice.sent"))["items"]
    assert [row["details"]["to"] for row in rows if row["details"]["channel"] == "webhook"] == ["user:sam"]
    assert program.url not in str(rows)
    shown = str((await service.audrey.read("/v1/ledger?event=notices.chosen"))["items"])
    assert "/hook" not in shown
    assert "whsec_" not in shown + str(await sam.read("/v1/notices/preferences"))


async def test_what_a_program_does_not_take_is_tried_again_and_what_is_hidden_by_then_is_not_sent(
    service: Running, received: Received
) -> None:
    sam, at = mailed(service, "sam"), datetime.now(UTC)
    answers = {"now": (503, {"Retry-After": "300"})}

    async def answer(_: object) -> Any:
        return answers["now"]

    async with receiving_webhooks() as program:
        program.answer = answer
        await taking(sam, program.url)
        await asked(service)
        assert await a_round(service, at) == Round(made=2, sent=1)
        name, _ = await asked(service)
        await a_round(service, at + timedelta(seconds=1))
        assert len(program.came) == 2
        forbid = f'forbid (principal == User::"sam", action == Action::"approve", resource == Dataset::"{name}");'
        await service.root.make(f"/v1/policies/not-sam-{name}", {"scope": "all", "cedar": forbid, "reason": "moved"})
        assert await a_round(service, at + timedelta(seconds=299)) == Round()
        answers["now"] = (204, {})
        assert await a_round(service, at + timedelta(seconds=302)) == Round(called=1)
        assert [message.id for message in program.came] == [
            program.came[0].id, program.came[1].id, program.came[0].id,
        ]  # fmt: skip
        answers["now"] = (410, {})
        await asked(service)
        await a_round(service, at + timedelta(seconds=303))
        assert (await sam.read("/v1/notices/preferences"))["url"] is None


async def test_no_program_is_called_where_it_must_not_be(service: Running) -> None:
    for url in ("ftp://example.org/x", "https://user:password@example.org/", "https://example.org/#x", "http:///x/yz"):
        refusal(await service.ann.post("/v1/notices/webhook", {"url": url}), 422)
    await taking(service.ann, "https://10.1.2.3/metadata")
    assert (await service.ann.post("/v1/notices/test", {})).status_code == 202
    assert await a_round(service) == Round()
    (why,) = await execute(service, "SELECT why FROM notice_sendings WHERE channel = 'webhook' AND state = 'waiting'")
    assert why.startswith("the host is none that this service may call")
    assert (await service.ann.send("DELETE", "/v1/notices/webhook")).json()["url"] is None


@contextmanager
def served_by(service: Running, server: MailServer | None) -> Iterator[None]:
    """Another mail server than the usual, until the block ends."""
    house = house_of(service)
    usual = house.mail
    object.__setattr__(house, "mail", server)
    try:
        yield
    finally:
        object.__setattr__(house, "mail", usual)
