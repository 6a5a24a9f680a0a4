"""Keys of Muniment's own at the doors: who makes them, what they open, and how they end.

Seen to fail: with the bounds of a key not looked at in `House.confined`, with `check_opens` taken out, with `Keys`
not comparing the roster's version, with `roster.changed` taken out of `revoke`, and with any key read by anybody.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event

from demo.issuer import RunningIssuer
from muniment.api.bounds import CHANGES, PROVISIONING, RUNS, opens
from muniment.core.keys import LOOKS, MOST_IN_FORCE, written
from muniment.core.limits import rates_from
from muniment.core.roster import Enrolment
from muniment.core.sign_ins import Use
from muniment.core.subjects import Subject
from muniment.store import roster
from tests.api.running import Caller, Running, found_company, grant, refusal, running

pytestmark = pytest.mark.anyio

RUN = {"environment": "dev", "project": "forecast", "purpose": "planning"}


def wish(service: str = "service:nightly", use: str = "runs", **more: object) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(days=30)
    bounds = RUN if use == "runs" else {}
    return {"service": service, "use": use, "until": until.isoformat(), "because": "a test", **bounds, **more}


async def made(by: Caller, **more: Any) -> dict[str, Any]:
    """A new key, which must succeed."""
    answer = await by.post("/v1/keys", wish(**more))
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def holder(at: Running, **more: Any) -> Caller:
    """Somebody who holds a key that Root made."""
    return Caller(at.http, (await made(at.root, **more))["key"])


async def rows(service: Running, event: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await service.root.read(f"/v1/ledger?event={event}&limit=1000"))["items"]
    return found


@pytest.fixture(scope="module")
async def workers(issuer: RunningIssuer, module_company: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two workers on one database."""
    async with running(issuer, module_company) as first, running(issuer, module_company) as second:
        await first.root.make("/v1/grants/root-audits", grant("user:root", ["audit"], on={"domain": "all"}))
        discovers = grant("service:asker", ["discover"], on={"dataset": "sales.orders"})
        await first.root.make("/v1/grants/asker-discovers", discovers)
        yield first, second


# --- making one -----------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_never_kept(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    answer = await service.root.post("/v1/keys", wish())
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    key = answer.json()["key"]
    assert LOOKS.fullmatch(key)

    assert "key" not in await service.root.read(f"/v1/keys/{answer.json()['id']}")
    assert key not in (await service.root.get("/v1/keys")).text
    with psycopg.connect(service.url.replace("+psycopg", "")) as connection:
        for table in ("keys", "ledger", "key_uses"):
            assert key not in str(connection.execute(f"SELECT * FROM {table}").fetchall())


async def test_making_and_revoking_a_key_are_in_the_ledger(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    key = await made(service.root)
    assert (await service.root.send("DELETE", f"/v1/keys/{key['id']}?because=not+needed")).status_code == 204

    (making, *_), (revoking, *_) = await rows(service, "key.made"), await rows(service, "key.revoked")
    for row in (making, revoking):
        assert row["subject"] == "user:root"
        assert row["credential"] == "token"
        assert row["details"]["key"] == f"key:{key['id']}"
        assert row["details"]["service"] == "service:nightly"
    assert making["details"]["environment"] == "dev"
    assert revoking["details"]["reason"] == "not needed"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2999-01-01T00:00:00Z"}, "until"),
        ({"until": None}, "until"),
        ({"service": "user:ann"}, "service"),
        ({"service": "service:muniment"}, "service"),
        ({"environment": "prd"}, "environment"),
        ({"environment": "base"}, "environment"),
        ({"project": None}, "project"),
        ({"purpose": None}, "purpose"),
        ({"environment": None}, "environment"),
        ({"use": "everything"}, "use"),
        ({"use": "changes"}, "environment"),
        ({"because": ""}, "because"),
    ],
    ids=str,
)
async def test_a_key_that_is_not_bound_as_it_must_be_is_not_made(
    workers: tuple[Running, Running], wrong: dict[str, Any], where: str
) -> None:
    service, _ = workers
    body = {name: value for name, value in {**wish(), **wrong}.items() if value is not None}
    problem = refusal(await service.root.post("/v1/keys", body), 422)
    assert where in [fault["at"] for fault in problem["errors"]]


async def test_only_administrators_make_keys_for_others(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    for caller in (service.ann, service.sam, service.audrey):
        refusal(await caller.post("/v1/keys", wish()), 403)
    refusal(await service.nightly.post("/v1/keys", wish("service:weekly")), 403)
    assert [row["subject"] for row in (await rows(service, "change.refused"))[:4]] == [
        "service:nightly", "user:audrey", "user:sam", "user:ann"
    ]  # fmt: skip


async def test_a_service_makes_a_key_for_itself_that_ends_with_its_sign_in(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    key = await made(service.nightly, until=soon)
    holds = Caller(service.http, key["key"])
    assert (await holds.read("/v1/whoami"))["groups"] == (await service.nightly.read("/v1/whoami"))["groups"] != []

    problem = refusal(await service.nightly.post("/v1/keys", wish()), 422)
    assert "sign-in" in problem["errors"][0]["message"]


@pytest.mark.parametrize("use", ["runs", "changes", "provisioning"])
async def test_a_key_makes_no_keys_and_ends_none_whatever_its_service_may(
    workers: tuple[Running, Running], use: str
) -> None:
    service, _ = workers
    if use == "runs":
        await service.root.make(
            "/v1/grants/robot-administers", grant("service:robot", ["administer", "grant"], on={"domain": "all"})
        )
    robot = await holder(service, service="service:robot", use=use)
    refusal(await robot.post("/v1/keys", wish()), 403)
    refusal(await robot.get("/v1/keys"), 403)
    other = await made(service.root)
    refusal(await robot.send("DELETE", f"/v1/keys/{other['id']}"), 403)
    assert (await service.root.read(f"/v1/keys/{other['id']}"))["revoked"] is None


async def test_one_service_has_so_many_keys_and_no_more(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    for _ in range(MOST_IN_FORCE):
        last = await made(service.root, service="service:busy")
    refusal(await service.root.post("/v1/keys", wish("service:busy")), 409)
    await service.root.send("DELETE", f"/v1/keys/{last['id']}")
    await made(service.root, service="service:busy")


# --- what a key says ------------------------------------------------------------------------------------------------


async def test_a_key_speaks_for_its_service_and_brings_no_groups(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    key = await made(service.root)
    myself = await Caller(service.http, key["key"]).read("/v1/whoami")
    assert (myself["subject"], myself["issuer"], myself["groups"]) == ("service:nightly", "muniment", [])

    (row, *_) = await rows(service, "rules.read")
    assert (row["subject"], row["credential"]) == ("service:nightly", f"key:{key['id']}")


async def test_a_local_group_lists_the_service_of_a_key(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    await service.root.make("/v1/groups/night-shift", {"members": ["service:owl"]})
    owl = await holder(service, service="service:owl")
    assert (await owl.read("/v1/whoami"))["groups"] == ["group:night-shift"]


async def test_the_last_use_is_shown_with_where_it_came_from(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    key = await made(service.root)
    assert key["last_used"] is None
    await Caller(service.http, key["key"]).read("/v1/whoami")
    used = (await service.root.read(f"/v1/keys/{key['id']}"))["last_used"]
    assert used["address"] == "127.0.0.1"
    assert datetime.now(UTC) - datetime.fromisoformat(used["at"]) < timedelta(minutes=5)


async def test_keys_are_shown_to_administrators_and_to_the_service_that_they_are_for(
    workers: tuple[Running, Running],
) -> None:
    service, _ = workers
    own, others = await made(service.root), await made(service.root, service="service:weekly")
    listed = [key["id"] for key in (await service.root.read("/v1/keys"))["items"]]
    assert listed[:2] == [others["id"], own["id"]]
    assert {key["service"] for key in (await service.nightly.read("/v1/keys"))["items"]} == {"service:nightly"}
    weekly = await service.root.read("/v1/keys?service=service:weekly")
    assert {key["service"] for key in weekly["items"]} == {"service:weekly"}
    assert (await service.nightly.read("/v1/keys?service=service:weekly"))["items"] == []
    assert (await service.ann.read("/v1/keys"))["items"] == []

    never = await service.nightly.get("/v1/keys/01980000-0000-7000-8000-000000000000")
    hidden = await service.nightly.get(f"/v1/keys/{others['id']}")
    assert refusal(hidden, 404) == refusal(never, 404)
    refusal(await service.nightly.send("DELETE", f"/v1/keys/{others['id']}"), 404)
    assert (await service.nightly.send("DELETE", f"/v1/keys/{own['id']}")).status_code == 204


async def test_a_list_of_keys_goes_on_where_it_ended(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    for _ in range(3):
        await made(service.root, service="service:paged")
    first = await service.root.read("/v1/keys?service=service:paged&limit=2")
    rest = await service.root.read(f"/v1/keys?service=service:paged&limit=2&after={first['next']}")
    assert [len(first["items"]), len(rest["items"]), rest["next"]] == [2, 1, None]


# --- what it opens --------------------------------------------------------------------------------------------------


#: What is for everybody, with a key or without.
OPEN = {"/v1/keys/revoke", "/v1/leases/keys", "/v1/ledger/checkpoint", "/v1/ledger/keys"}


async def test_every_door_is_shut_to_a_key_that_is_not_for_it(workers: tuple[Running, Running]) -> None:
    """Each route of the service is tried with each key; what none of the tables names is shut to all of them."""
    service, _ = workers
    holders = {use: await holder(service, service=f"service:walker-{use}", use=use) for use in Use}
    tried = 0
    for method, template in service.routes:
        if not template.startswith(("/v1/", "/access/", "/scim/")) or template in OPEN:
            continue
        path = template.replace("{subject}", "user:root").replace("{id}", "01980000-0000-7000-8000-000000000000")
        path = path.replace("{name}", "x.y").replace("{", "").replace("}", "")
        for use, caller in holders.items():
            if opens(use, method, template):
                continue
            answer = await caller.send(method, path)
            assert answer.status_code == 403, f"{use} {method} {template}"
            assert "This key is for" in answer.json()["detail"]
            tried += 1
    assert tried > 100


async def test_what_the_tables_name_is_there(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    routes = set(service.routes)
    assert routes >= RUNS
    for address in (*CHANGES, *(PROVISIONING if any("/scim" in path for _, path in routes) else ())):
        assert any(path == address or path.startswith(f"{address}/") for _, path in routes), address


async def test_what_loads_data_is_opened_by_a_bound_key_alone() -> None:
    for path in ("/v1/leases", "/v1/catalog", "/v1/preflight"):
        for method in ("GET", "POST"):
            assert not opens(Use.CHANGES, method, path)
            assert not opens(Use.PROVISIONING, method, path)


async def test_a_door_that_a_key_does_not_open_is_written_down(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    key = await made(service.root)
    refusal(await Caller(service.http, key["key"]).get("/v1/policies"), 403)
    (row, *_) = await rows(service, "access.denied")
    assert (row["credential"], row["outcome"]) == (f"key:{key['id']}", "denied")


async def test_with_a_key_for_changes_its_service_declares(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    await service.root.make("/v1/grants/ci-declares", grant("service:ci", ["declare"], on={"domain": "sales"}))
    ci = await holder(service, service="service:ci", use="changes")
    body = {"environments": {"base": {"type": "pandas.CSVDataset", "filepath": "s3://lake/sales/ci.csv"}}}
    await ci.make("/v1/datasets/sales.from_ci", body)
    refusal(await ci.get("/v1/leases?environment=dev"), 403)


#: Every question of a run, asked within the bounds of the key (:data:`RUN`) and, name by name, beyond them.
QUESTIONS: dict[tuple[str, str], tuple[str, dict[str, Any] | None, tuple[str, ...]]] = {
    ("GET", "/v1/leases"): ("/v1/leases", None, ("environment", "project", "purpose")),
    ("GET", "/v1/catalog"): ("/v1/catalog", None, ("environment", "project", "purpose")),
    ("GET", "/v1/explain"): (
        "/v1/explain?action=load&dataset=sales.orders",
        None,
        ("environment", "project", "purpose"),
    ),
    ("POST", "/v1/preflight"): (
        "/v1/preflight",
        {"load": ["sales.orders"]},
        ("environment", "project", "purpose"),
    ),
    ("POST", "/v1/use"): (
        "/v1/use",
        {
            "events": [
                {"id": str(UUID(int=1)), "dataset": "sales.orders", "action": "load", "at": "2026-01-01T00:00:00Z"}
            ]
        },
        ("environment", "project"),
    ),
    ("POST", "/v1/requests"): (
        "/v1/requests",
        {"actions": ["load"], "datasets": ["sales.orders"], "because": "a test"},
        ("environments", "purpose"),
    ),
    ("GET", "/v1/whoami"): ("/v1/whoami", None, ()),
}


def question(method: str, path: str, body: dict[str, Any] | None, said: dict[str, Any]) -> dict[str, Any]:
    """A request that says where, for which project and what for: in its body, or in its address."""
    if body is None:
        return {"method": method, "path": path, "params": {**_asked(path), **said}}
    if "events" in body:
        said = {"events": [{**event, **said} for event in body["events"]]}
    return {"method": method, "path": path, "json": {**body, **said}}


def _asked(path: str) -> dict[str, str]:
    return dict(part.split("=") for part in path.partition("?")[2].split("&") if part)


@pytest.mark.parametrize("door", sorted(RUNS), ids=" ".join)
async def test_a_run_asks_for_what_its_key_is_bound_to_and_for_nothing_else(
    workers: tuple[Running, Running], door: tuple[str, str]
) -> None:
    """A door that is opened to runs and not asked about here fails: each has to be confined."""
    service, _ = workers
    path, body, names = QUESTIONS[door]
    job = await holder(service, service="service:asker")
    within: dict[str, Any] = {}
    if "environment" in names:
        within = {"environment": "dev"}
    elif "environments" in names:
        within = {"environments": ["dev"]}
    answer = await job.send(**question(door[0], path, body, within))
    assert answer.status_code in {200, 201}, answer.text
    for name in names:
        beyond = {**within, name: ["prod"] if name == "environments" else "prod"}
        answer = await job.send(**question(door[0], path, body, beyond))
        assert "This key is for another" in refusal(answer, 403)["detail"]
    if "environments" in names:
        both = await job.send(**question(door[0], path, body, {"environments": ["dev", "prod"]}))
        assert "This key is for another environment" in refusal(both, 403)["detail"]


async def test_a_decision_sees_the_project_and_the_purpose_of_the_key(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    cedar = (
        'permit (principal == Service::"planner", action == Action::"load", resource == Dataset::"sales.orders") '
        'when { context has project && context.project == "forecast" '
        '&& context has purpose && context.purpose == "planning" };'
    )
    await service.root.make("/v1/policies/planner", {"cedar": cedar})
    planner = await holder(service, service="service:planner")
    assert set(await planner.catalog()) == {"sales.orders"}
    other = await holder(service, service="service:planner", purpose="marketing")
    assert await other.catalog() == {}

    (row, *_) = await rows(service, "catalog.served")
    assert (row["environment"], row["project"], row["purpose"]) == ("dev", "forecast", "marketing")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/catalog?environment=dev&subject=user:ann",
        "/v1/catalog?environment=dev&at=1",
        "/v1/explain?action=load&dataset=sales.orders&environment=dev&subject=user:ann",
        "/v1/explain?action=load&dataset=sales.orders&environment=dev&at=1",
    ],
)
async def test_a_run_asks_for_itself_and_for_now_whatever_its_service_audits(
    workers: tuple[Running, Running], path: str
) -> None:
    service, _ = workers
    name = f"watcher-{len(path)}"
    await service.root.make(f"/v1/grants/{name}", grant(f"service:{name}", ["audit"], on={"domain": "all"}))
    await service.ann.read("/v1/whoami")
    watcher = await holder(service, service=f"service:{name}")
    assert "for its own service" in refusal(await watcher.get(path), 403)["detail"]


# --- how it ends ----------------------------------------------------------------------------------------------------


async def test_a_revocation_is_honoured_by_the_next_request_at_the_other_worker(
    workers: tuple[Running, Running],
) -> None:
    here, there = workers
    for _ in range(5):
        key = await made(here.root)
        holds = [Caller(worker.http, key["key"]) for worker in (here, there)]
        for caller in holds * 2:
            assert (await caller.get("/v1/whoami")).status_code == 200
        assert (await here.root.send("DELETE", f"/v1/keys/{key['id']}")).status_code == 204
        for caller in reversed(holds):
            refusal(await caller.get("/v1/whoami"), 401)


async def test_whoever_holds_a_key_revokes_it_without_signing_in(workers: tuple[Running, Running]) -> None:
    here, there = workers
    key = await made(here.root)
    holds = Caller(there.http, key["key"])
    assert (await holds.get("/v1/whoami")).status_code == 200

    assert (await here.nobody.post("/v1/keys/revoke", {"key": key["key"]})).status_code == 204

    refusal(await holds.get("/v1/whoami"), 401)
    assert (await here.root.read(f"/v1/keys/{key['id']}"))["revoked"]["by"] == "whoever holds it"
    (row, *_) = await rows(here, "key.revoked")
    assert (row["subject"], row["credential"]) == ("service:muniment", f"key:{key['id']}")
    assert row["details"]["service"] == "service:nightly"


async def test_showing_a_key_is_answered_alike_whatever_it_is(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    revoked, stranger = await made(service.root), written(bytes(32))
    await service.root.send("DELETE", f"/v1/keys/{revoked['id']}")
    before = len(await rows(service, "key.revoked"))
    standing = (await made(service.root))["key"]

    def shape(answer: Any) -> tuple[int, bytes, list[str]]:
        return answer.status_code, answer.content, sorted(answer.headers)

    answers = [
        shape(await service.nobody.post("/v1/keys/revoke", {"key": key}))
        for key in (standing, revoked["key"], stranger, "mun_nonsense", "a password")
    ]
    assert answers == answers[:1] * 5
    assert len(await rows(service, "key.revoked")) == before + 1


async def test_who_shows_one_secret_after_another_has_to_wait(
    workers: tuple[Running, Running], issuer: RunningIssuer
) -> None:
    async with running(issuer, workers[0].url, limits=rates_from({"failed_sign_ins": "3/hour"})) as service:
        key = (await made(service.root))["key"]
        shown = [await service.nobody.post("/v1/keys/revoke", {"key": "mun_nonsense"}) for _ in range(5)]
        assert [answer.status_code for answer in shown] == [204, 204, 204, 429, 429]
        assert shown[-1].headers["retry-after"]
        # Not those who have proven who they are.
        assert (await service.root.get("/v1/whoami")).status_code == 200
        refusal(await Caller(service.http, key).get("/v1/whoami"), 429)


async def test_nobody_unknown_has_more_than_a_small_body_parsed(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    refusal(await service.nobody.post("/v1/keys/revoke", {"key": "x" * 5000}), 413)


async def test_a_refused_key_is_told_nothing_of_why(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    revoked = await made(service.root)
    await service.root.send("DELETE", f"/v1/keys/{revoked['id']}")
    mistyped = revoked["key"][:-1] + ("a" if revoked["key"][-1] != "a" else "b")
    refused = [
        refusal(await Caller(service.http, key).get("/v1/whoami"), 401)
        for key in (revoked["key"], mistyped, written(bytes(32)), "mun_")
    ]
    assert refused == refused[:1] * 4
    assert "mun_" not in json.dumps(refused)


async def test_what_is_no_key_is_refused_without_the_database(workers: tuple[Running, Running]) -> None:
    service, _ = workers
    key = (await made(service.root))["key"]
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "realm_counter" in statement or "keys" in statement:
            asked.append(statement)

    engine = service.app.state.house.db._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for mistyped in (key[:-1], key.swapcase().replace("MUN", "mun"), "mun_" + "0" * 49):
            refusal(await Caller(service.http, mistyped).get("/v1/whoami"), 401)
        assert asked == []
        await Caller(service.http, key).read("/v1/whoami")
        assert asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_a_key_of_a_subject_whose_access_was_ended_is_refused(company: Running) -> None:
    """With the roster's enrolment of the subject, as provisioning and administrators write it."""
    holds = await holder(company)
    assert (await holds.get("/v1/whoami")).status_code == 200
    nightly = Subject.parse("service:nightly")
    async with company.app.state.house.db.begin() as tx:
        await roster.put(tx, Enrolment(nightly, active=False, at=datetime.now(UTC), by="user:root", reason="gone"))
    refusal(await holds.get("/v1/whoami"), 401)
    refusal(await company.root.post("/v1/keys", wish()), 409)


async def test_a_key_goes_on_after_a_restart_and_not_under_another_secret(
    issuer: RunningIssuer, database: str, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path_factory.mktemp("secrets")
    one, other = place / "one", place / "other"
    one.write_text("one secret of at least 32 characters\n")
    other.write_text("other secret of at least 32 characters\n")
    async with running(issuer, database, secret_file=one) as service:
        await found_company(service)
        key = (await made(service.root))["key"]
    async with running(issuer, database, secret_file=one) as service:
        assert (await Caller(service.http, key).get("/v1/whoami")).status_code == 200
    assert "another secret" not in caplog.text
    async with running(issuer, database, secret_file=other) as service:
        refusal(await Caller(service.http, key).get("/v1/whoami"), 401)
    assert "1 keys in force were made under another secret" in caplog.text
    assert "one secret" not in caplog.text
