"""Whatever is sent, the answer is one clear problem; nothing is half-written and the service lives on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.running import Running, after_version, csv, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

#: The id of a request that nobody made.
NEVER = "0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"

#: Every address that takes a body, with a body that it would take.
WRITING = {
    "/v1/datasets/sales.fresh": dataset("s3://lake/sales/fresh.csv"),
    "/v1/domains/sales.fresh": {"owner": "group:sales-owners"},
    "/v1/environments/fresh": {"description": "fresh"},
    "/v1/groups/fresh": {"members": ["user:ann"]},
    "/v1/policies/fresh": {"form": {"actions": ["load"], "principals": {"groups": ["g"]}}, "scope": "sales"},
    "/v1/grants/fresh": grant("group:fresh", ["discover"], on={"domain": "sales"}),
    "/v1/preflight": {"environment": "dev", "load": ["sales.orders"]},
    "/v1/use": {"events": [{"id": NEVER, "dataset": "sales.orders", "action": "load", "at": "2026-01-01T00:00:00Z"}]},
    "/v1/requests": {
        "actions": ["save"],
        "datasets": ["sales.orders"],
        "environments": ["dev"],
        "because": "a report",
    },
    f"/v1/requests/{NEVER}/approve": {"comment": "fine"},
    f"/v1/requests/{NEVER}/deny": {"because": "no"},
    f"/v1/requests/{NEVER}/withdraw": {},
    "/v1/requests/renewals": {"grant": "nothing"},
    "/v1/deputy": {"deputy": "user:theo", "until": "2030-01-01T00:00:00Z"},
    "/v1/projects/preview": {"name": "Report", "environment": "dev"},
    "/v1/notices/preferences": {"mail": {"asked": "off"}},
    "/v1/notices/address": {"address": "ann@example.org"},
    "/v1/notices/webhook": {"url": "https://hooks.example.org/ann"},
    "/v1/reviews": {"decisions": [{"kind": "grant", "id": "fresh", "version": 1, "end": {"reason": "over"}}]},
    "/v1/subjects/user:ben/hand-over": {"to": "user:sam", "reason": "leaves"},
    "/v1/keys": {"service": "service:x", "use": "changes", "until": "2030-01-01T00:00:00Z", "because": "a test"},
    "/v1/keys/revoke": {"key": "mun_nonsense"},
    "/v1/webhooks/fresh": {"url": "https://siem.example.org/", "active": False},
    "/v1/ledger/views/fresh": {"question": {"domain": "sales"}, "days": 7},
    "/v1/webhooks/fresh/secret": {"keep_hours": 1},
    "/v1/webhooks/fresh/replay": {"dead": True},
    "/v1/subjects/end-sign-ins": {"reason": "a key has leaked"},
    **{f"/v1/subjects/user:ben/{done}": {"reason": "leaves"} for done in ("end", "admit", "end-sign-ins")},
    "/v1/break-glass": {"actions": ["load"], "on": {"domain": "sales"}, "hours": 1, "because": "a flood"},
    "/v1/first-administrator": {"secret": "of no link"},
    "/v1/policies/read": {"scope": "sales", "cedar": "permit (principal, action, resource);"},
    "/v1/try": {"changes": [{"delete": {"kind": "grant", "id": "fresh"}}]},
    "/v1/apply": {"changes": [{"delete": {"kind": "grant", "id": "fresh"}}]},
}

#: The addresses whose bodies are of another's making, where a wrong one is answered as that standard has it.
OF_STANDARDS = ("/access/v1/", "/scim/v2/")

PUTTING = {path for path in WRITING if path.count("/") == 3 and path.endswith(("fresh", "preferences"))} | {
    "/v1/deputy",
    "/v1/ledger/views/fresh",
}

NAMES_THAT_NOBODY_HAS = {
    "path traversal": "../../etc/passwd",
    "encoded traversal": "..%2f..%2fetc%2fpasswd",
    "prototype": "__proto__",
    "a name of 300 characters": "sales." + "a" * 294,
    "an at sign": "sales.orders@pandas",
    "a parameter": "params:sales.orders",
    "upper case": "Sales.Orders",
    "a space": "sales. orders",
    "only a pattern": "sales.{anything}",
    "SQL": "sales.x';drop table datasets;--",
    "digits of another script": "sales.orders१",
    "a homoglyph": "sales.\u043erders",
}

UNREADABLE_NAMES = {
    "NUL": "sales.%00orders",
    "a control character": "sales.%1borders",
    "a line break in disguise": "sales.%c2%85orders",
    "half a character": "sales.%ed%a0%80",
    "broken UTF-8": "sales.%ff%fe",
    "right-to-left override": "sales.%e2%80%aeorders",
    "a byte order mark": "%ef%bb%bfsales.orders",
}

BODIES = {
    "nothing": b"",
    "no JSON": b"{not json",
    "two values": b"{}{}",
    "a text": b'"hello"',
    "a list": b"[]",
    "null": b"null",
    "NaN": b'{"sensitivity": NaN}',
    "infinity": b'{"sensitivity": 1e999}',
    "half a character": rb'{"description": "\ud800"}',
    "NUL": rb'{"description": "\u0000"}',
    "right-to-left": '{"description": "\u202egpj.exe"}'.encode(),
    "broken UTF-8": b'{"description": "\xff"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "many values": b"[" + b"1," * 200_000 + b"1]",
    "a number of 5,000 digits": b'{"sensitivity": ' + b"9" * 5_000 + b"}",
    "prototype": b'{"__proto__": {"admin": true}}',
    "UTF-16": '{"description": "x"}'.encode("utf-16"),
    "a zip": b"PK\x03\x04" + b"\x00" * 64,
}

YAML_BODIES = {
    "a tag that makes an object": b"description: !!python/object/apply:os.system ['id']",
    "a tag that names a class": b"description: !!python/name:os.system",
    "a tag of one's own": b"description: !include /etc/passwd",
    "an anchor": b"description: &a x\ntags: [*a, *a]",
    "a billion laughs": b"a: &a [x]\n"
    + b"".join(b"%c: &%c [*%c,*%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 110)),
    "a merge key": b"<<: {description: x}\nowner: group:x",
    "a merge key with an anchor": b"x: &x {a: 1}\n<<: *x",
    "two documents": b"description: x\n---\ndescription: y",
    "a key twice": b"description: x\ndescription: y",
    "a key that is no text": b"1: x",
    "a list as a key": b"? [a, b]\n: x",
    "a set": b"tags: !!set {a, b}",
    "binary": b"description: !!binary aGVsbG8=",
    "not a number": b"sensitivity: .nan",
    "infinity": b"sensitivity: .inf",
    "a number beyond 64 bits": b"sensitivity: " + b"9" * 30,
    "a number of 5,000 digits": b"sensitivity: " + b"9" * 5_000,
    "half a character": rb'description: "\ud800"',
    "NUL": rb'description: "\0"',
    "deep lists": b"[" * 5_000 + b"]" * 5_000,
    "deep objects": b"{a: " * 5_000 + b"}" * 5_000,
    "broken UTF-8": b"description: \xff\xfe\xfa",
    "no YAML": b"description: [unclosed",
    "a tab": b"a:\n\t- b",
}


async def test_every_bad_json_body_is_refused_with_a_problem_at_every_door(service: Running) -> None:
    before = await revision_of(service)

    for path in WRITING:
        for body in BODIES.values():
            headers = {**_condition(path), "Content-Type": "application/json"}
            answer = await service.root.send(_method(path), path, content=body, headers=headers)
            # Of somebody who need not be signed in, no large body is looked at.
            refusal(answer, *((413, 422) if path == "/v1/keys/revoke" else (422,)))

    assert await revision_of(service) == before


async def test_every_bad_body_is_refused_as_its_standard_has_it(service: Running) -> None:
    """AuthZEN 1.0, 10.1 and RFC 7644, 3.12 answer 400 to what cannot be read."""
    asked = 0
    for method, path in taking_bodies(service):
        if path.startswith(OF_STANDARDS):
            media = "application/scim+json" if path.startswith("/scim/") else "application/json"
            for what, body in BODIES.items():
                headers = {"Content-Type": media}
                answer = await service.root.send(method, path.replace("{id}", NEVER), content=body, headers=headers)
                # A question passes over what SCIM does not know; what would be kept of somebody does not.
                known = path.endswith("/.search") and what == "prototype"
                refusal(answer, 400) if not known else answer.raise_for_status()
                asked += 1
    assert asked == 14 * len(BODIES)


async def test_every_address_that_takes_a_body_is_among_these(service: Running) -> None:
    for method, template in taking_bodies(service):
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        known = any(re.fullmatch(pattern, path) and _method(path) == method for path in WRITING)
        assert known or template.startswith(OF_STANDARDS), f"{method} {template}"


def taking_bodies(service: Running) -> list[tuple[str, str]]:
    """The methods and address templates that take a body, as the service describes itself."""
    paths = service.app.openapi()["paths"].items()
    return [(m.upper(), path) for path, each in paths for m, described in each.items() if "requestBody" in described]


def _method(path: str) -> str:
    return "PUT" if path in PUTTING else "POST"


def _condition(path: str) -> dict[str, str]:
    """The header under which a change begins, where one has to be."""
    return {"If-Match": '"1"'} if path == "/v1/apply" else {"If-None-Match": "*"}


@pytest.mark.parametrize("what", YAML_BODIES)
async def test_yaml_that_is_more_than_plain_data_is_refused(service: Running, what: str) -> None:
    before = await revision_of(service)

    for media in ("application/yaml", "text/x-yaml; charset=utf-8"):
        headers = {"If-None-Match": "*", "Content-Type": media}
        path = "/v1/datasets/sales.fresh"
        answer = await service.sam.send("PUT", path, content=YAML_BODIES[what], headers=headers)
        refusal(answer, 422)

    assert await revision_of(service) == before


async def test_a_dataset_can_be_declared_with_plain_yaml(service: Running) -> None:
    text = b"description: As a file.\nenvironments:\n  base: {type: pandas.CSVDataset, filepath: 's3://lake/sales/y.csv'}\n"
    headers = {"If-None-Match": "*", "Content-Type": "application/yaml"}

    answer = await service.sam.send("PUT", "/v1/datasets/sales.from_yaml", content=text, headers=headers)

    assert answer.status_code == 201, answer.text
    assert answer.json()["definitions"]["base"] == csv("s3://lake/sales/y.csv")


@pytest.mark.parametrize("path", WRITING)
async def test_an_unknown_field_is_refused_by_its_name(service: Running, path: str) -> None:
    body = {**WRITING[path], "surprise": 1}

    answer = await service.root.send(_method(path), path, json=body, headers=_condition(path))

    problem = refusal(answer, 422)
    assert [error["at"] for error in problem["errors"]] == ["surprise"]


async def test_ten_megabytes_are_refused_before_they_are_read(service: Running) -> None:
    body = json.dumps({"description": "x" * 10_000_000}).encode()

    answer = await service.sam.send("PUT", "/v1/datasets/sales.big", content=body, headers=after_version(0))

    refusal(answer, 413)


async def test_ten_megabytes_in_pieces_of_unknown_number_are_refused_where_it_becomes_too_much(
    service: Running,
) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(160):
            sent += 1
            yield b" " * 65_536

    answer = await service.sam.send("PUT", "/v1/datasets/sales.big", content=pieces(), headers=after_version(0))

    refusal(answer, 413)
    assert sent < 32


@pytest.mark.parametrize("length", ["-1", "many", "²", "1e3", "99999999999999999999"])
async def test_a_length_that_is_no_length_is_refused(service: Running, length: str) -> None:
    headers = {**after_version(0), "Content-Length": length.encode("latin-1")}

    answer = await service.sam.send("PUT", "/v1/datasets/sales.big", content=b"{}", headers=headers)  # type: ignore[arg-type]

    refusal(answer, 413, 422)


@pytest.mark.parametrize("what", NAMES_THAT_NOBODY_HAS)
async def test_a_hostile_name_is_refused_wherever_a_name_is_taken(service: Running, what: str) -> None:
    name = NAMES_THAT_NOBODY_HAS[what]
    before = await revision_of(service)

    for noun in ("datasets", "domains", "environments", "groups", "policies", "grants"):
        body = next(body for path, body in WRITING.items() if path.startswith(f"/v1/{noun}/"))
        refusal(await service.root.get(f"/v1/{noun}/{name}"), 404)
        if noun != "groups":  # An identity provider gives groups whatever names it likes.
            refusal(await service.root.put(f"/v1/{noun}/{name}", body, after=0), 404, 422)
    for path in (f"/v1/datasets/{name}/history", f"/v1/datasets/{name}/mine"):
        refusal(await service.root.get(path), 404)
    asked = {"environment": "dev", "names": name}
    catalog = await service.root.get("/v1/catalog", params=asked)
    assert catalog.text == "{}\n" if len(name) <= 220 else refusal(catalog, 422)
    refusal(await service.root.get("/v1/explain", params={**asked, "action": "load", "dataset": name}), 404, 422)
    preflight = await service.root.post("/v1/preflight", {"environment": "dev", "load": [name[:220]]})
    assert preflight.json()["verdicts"][0]["known"] is False

    assert await revision_of(service) == before


@pytest.mark.parametrize("what", UNREADABLE_NAMES)
async def test_an_address_that_cannot_be_shown_is_refused(service: Running, what: str) -> None:
    name = UNREADABLE_NAMES[what]

    for path in (f"/v1/datasets/{name}", f"/v1/catalog?environment={name}", f"/v1/ledger?subject={name}"):
        refusal(await service.root.get(path), 422)
    refusal(await service.root.send("PUT", f"/v1/groups/{name}", json={}, headers=after_version(0)), 422)


async def test_an_unknown_type_is_refused_with_its_place(service: Running) -> None:
    body = {"environments": {"base": {"type": "evil.Dataset", "filepath": "s3://lake/sales/x.csv"}}}

    problem = refusal(await service.sam.put("/v1/datasets/sales.evil", body, after=0), 422)

    assert problem["type"] == "/problems/invalid-definition"
    assert problem["errors"][0]["at"] == "environments.base.type"


@pytest.mark.parametrize(
    "definition",
    [
        csv("s3://lake/hr/salaries.csv"),
        csv("s3://lake/sales/../hr/salaries.csv"),
        csv("s3://lake/sales/%2e%2e/hr/salaries.csv"),
        csv("s3://lake/sales-secret/orders.csv"),
        csv("s3://lake/sales/*.csv"),
        csv("simplecache::s3://lake/sales/x.csv"),
        csv("/home/ann/.ssh/id_rsa"),
        csv("file:///etc/passwd"),
        csv("https://evil.example/x.csv"),
        csv("s3://lake/sales/${oc.env:AWS_SECRET_ACCESS_KEY}.csv"),
        csv("s3://lake/sales/x.csv", fs_args={"endpoint_url": "https://evil.example"}),
        csv("s3://lake/sales/x.csv", credentials={"key": "AKIA0000000000000000", "secret": "x"}),
        csv("s3://lake/sales/x.csv", load_args={"password": "hunter2"}),
        {"type": "pickle.PickleDataset", "filepath": "s3://lake/sales/x.pkl", "backend": "os"},
        {"type": "os.system", "filepath": "s3://lake/sales/x"},
        {"filepath": "s3://lake/sales/x.csv"},
        {"type": ["pandas.CSVDataset"], "filepath": "s3://lake/sales/x.csv"},
        {},
    ],
    ids=json.dumps,
)
async def test_what_must_not_be_served_is_refused_when_it_is_declared(
    service: Running, definition: dict[str, Any]
) -> None:
    """Promise 10, the service's half. Seen to fail with `check` in `flows/declare_dataset.py` giving no faults."""
    before = await revision_of(service)

    answer = await service.sam.put("/v1/datasets/sales.code", {"environments": {"base": definition}}, after=0)

    problem = refusal(answer, 422)
    assert all(error["at"].startswith("environments.base") for error in problem["errors"])
    assert "hunter2" not in answer.text
    assert "AKIA0000000000000000" not in answer.text
    assert await revision_of(service) == before


async def test_a_caller_who_leaves_in_the_middle_of_a_body_changes_nothing(service: Running) -> None:
    """A beginning of YAML is YAML too. Seen to fail with a part that arrived taken for the whole."""
    whole = b"description: x\nenvironments: {}\nowner: group:everybody-who-was-cut-off"
    pieces = [{"type": "http.request", "body": whole[:31], "more_body": True}, {"type": "http.disconnect"}]
    answers: list[Any] = []

    async def receive() -> Any:
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answers.append(message)

    before = await revision_of(service)
    await service.app(_scope(service, "PUT", "/v1/datasets/sales.half"), receive, send)

    assert await revision_of(service) == before
    assert [message["status"] for message in answers if "status" in message] in ([], [422])


async def test_a_large_yaml_body_holds_up_nobody_else(service: Running) -> None:
    """Seen to fail with YAML read on the event loop: the other caller waited several seconds."""
    text = b"columns:\n" + b"- {name: c, type: x}\n" * 19_000
    headers = {"If-None-Match": "*", "Content-Type": "application/yaml"}
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - began)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.05)
    began = loop.time()
    answer = await service.ann.send("PUT", "/v1/datasets/sales.long", content=text, headers=headers)
    took = loop.time() - began
    await asyncio.sleep(0.05)
    beating.cancel()

    refusal(answer, 403, 404, 422)
    assert longest < took / 2


def _scope(service: Running, method: str, path: str) -> dict[str, Any]:
    token = service.sam.token or ""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {token}".encode()),
            (b"if-none-match", b"*"),
            (b"content-type", b"application/yaml"),
            (b"transfer-encoding", b"chunked"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
