"""What is read of a request, in which order, and how long: never before its sender is known, never without end."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muniment.api import reading_requests
from muniment.api.plain_data import from_yaml
from muniment.core.problems import Invalid
from tests.api.running import Caller, Running, after_version, csv, dataset, grant, refusal

pytestmark = pytest.mark.anyio

YAML = {"Content-Type": "application/yaml"}
LONG = "s" * 221


async def slowly(service: Running, caller: Caller, path: str, body: object, seconds: float) -> tuple[int, Any]:
    """The answer to a PUT of a new thing whose body comes after so many seconds."""
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    said: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(seconds)
        return waiting.pop()

    async def send(message: Any) -> None:
        said.append(message)

    await service.app(_scope(caller, path), receive, send)
    return said[0]["status"], json.loads(b"".join(message.get("body", b"") for message in said))


async def test_a_right_that_ends_while_a_body_is_on_its_way_is_not_used(company: Running) -> None:
    """Seen to fail with the time of a request taken before its body was read."""
    end = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    await company.root.make("/v1/grants/eve-declares", grant("user:eve", ["declare"], on={"domain": "hr"}, until=end))

    status, problem = await slowly(
        company, company.eve, "/v1/datasets/hr.late", dataset("s3://lake/hr/late.csv"), seconds=1.2
    )

    assert (status, problem["type"]) == (404, "/problems/not-found")


async def test_a_body_that_takes_too_long_is_not_waited_for(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_requests, "LONGEST_SECONDS", 0.05)

    status, problem = await slowly(service, service.sam, "/v1/datasets/sales.late", {}, seconds=5)

    assert (status, problem["type"]) == (408, "/problems/too-slow")


@pytest.mark.parametrize("path", [f"/v1/datasets/{LONG}", f"/v1/datasets/{LONG}/history", f"/v1/groups/{LONG}"])
async def test_a_name_too_long_for_anything_is_the_name_of_nothing(service: Running, path: str) -> None:
    never = await service.root.get("/v1/datasets/sales.never")

    refusal(answer := await service.root.get(path), 404)
    assert answer.content == never.content


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/catalog?environment=dev&names=sales.orders,{LONG}",
        f"/v1/leases?environment=dev&names={LONG}",
        f"/v1/explain?environment=dev&action=load&dataset={LONG}",
        f"/v1/explain?environment=dev&action=load&dataset=sales.orders&subject=user:{LONG}",
        f"/v1/ledger?dataset={LONG}",
        f"/v1/ledger?subject={LONG}",
        f"/v1/datasets?after={LONG}",
        f"/v1/grants?after={LONG}",
    ],
)
async def test_a_name_too_long_for_anything_is_refused_in_a_question(service: Running, path: str) -> None:
    refusal(await service.root.get(path), 422)


async def test_names_that_no_index_can_hold_never_refuse_the_neighbours(service: Running) -> None:
    """Seen to fail with 503 for most of the others: the ledger refused the rows of a batch together."""
    name = secrets.token_urlsafe(5000)

    async def ask(caller: Caller, path: str) -> int:
        return (await caller.get(path)).status_code

    asked = [(service.ann, "/v1/whoami"), (service.eve, f"/v1/datasets/{name}")] * 10
    assert await asyncio.gather(*(ask(*each) for each in asked)) == [200, 404] * 10


@pytest.mark.parametrize("body", [b"{", b"a: " + b"1:" * 20_000 + b"1", b"{}"])
@pytest.mark.parametrize("caller", ["nobody", "stranger"])
async def test_the_body_of_somebody_unknown_is_not_read(service: Running, caller: str, body: bytes) -> None:
    """Seen to fail with 422: what nobody had signed was parsed before it was asked who sent it."""
    asking = service.nobody if caller == "nobody" else Caller(service.http, "not.a.token")

    answer = await asking.send("POST", "/v1/preflight", content=body, headers=YAML)

    refusal(answer, 401)


async def test_a_grant_in_yaml_needs_no_quotes(company: Running) -> None:
    """Seen to fail with YAML 1.1, which takes `on` for true."""
    text = (
        b"to: {group: analysts}\nactions: [load]\non: {dataset: sales.targets}\nbecause: as long as the team exists\n"
    )

    answer = await company.root.send("PUT", "/v1/grants/in-yaml", content=text, headers={**YAML, **after_version(0)})

    assert answer.status_code == 201, answer.text
    assert answer.json()["on"] == {"dataset": "sales.targets"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("Off", "Off"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("12", 12),
        ("+12", 12),
        ("-012", -12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("190:20:30", "190:20:30"),
        ("1.5", 1.5),
        (".5e2", 50.0),
        ("1.", 1.0),
        ("1:30.5", "1:30.5"),
        ("2026-03-02", "2026-03-02"),
        ("=", "="),
        ("'12'", "12"),
    ],
)
def test_a_plain_word_is_read_as_yaml_1_2_reads_it(text: str, value: object) -> None:
    assert from_yaml(f"a: {text}".encode()) == {"a": value}
    assert type(from_yaml(f"- {text}".encode())[0]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "! 12",
        "!!int 190:20:30",
        "!!float 1:30.5",
        "!!str x",
        "!!int x",
        "1e999",
        "-.INF",
        ".NaN",
        "9" * 30,
        "0x" + "f" * 9_000,
    ],
)
def test_numbers_and_tags_that_are_not_plain_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        from_yaml(f"a: {text}".encode())


def test_a_text_that_looks_like_a_long_time_of_day_costs_nothing() -> None:
    """Seen to fail in YAML 1.1, which reads it as a number of base 60: many seconds."""
    text = "1" + ":1" * 400_000
    assert from_yaml(f"a: {text}".encode()) == {"a": text}


async def test_a_body_without_an_end_of_its_own_is_read_once_its_sender_is_known(service: Running) -> None:
    body = dataset("s3://lake/sales/known.csv", description="é" * 9_000)

    status, kept = await slowly(service, service.sam, "/v1/datasets/sales.known", body, seconds=0)

    assert status == 201
    assert kept["definitions"]["base"] == csv("s3://lake/sales/known.csv")


def _scope(caller: Caller, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {caller.token}".encode()),
            (b"if-none-match", b"*"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
