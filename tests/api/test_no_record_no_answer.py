"""Promise 3: what cannot be written to the ledger is not served, and not done.

Seen to fail, route by route, with the call of `house.ledger.record` taken out of a flow, and with `ledger.append` taken
out of `change_realm`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from demo.issuer import RunningIssuer
from muniment.core.keys import Key, written
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.requests import AccessRequest, Terms
from muniment.core.schema import Action
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Kind, Subject
from muniment.flows.seal_ledger import seal_once
from muniment.identity.seal_keys import SealKeys
from muniment.post.mail import MailServer
from muniment.store import ledger, requests
from tests.api.running import FOREVER, Running, dataset, found_company, grant, refusal, revision_of, running
from tests.owning import libpq

pytestmark = pytest.mark.anyio

REFUSING = """
    CREATE FUNCTION refuse_rows() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'the disk of the ledger is full' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER refuse_rows BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_rows();
"""

WAYS = {
    "its disk is full": (REFUSING, "DROP FUNCTION refuse_rows CASCADE"),
    "a row breaks a rule": (
        "ALTER TABLE ledger ADD CONSTRAINT no_more CHECK (false) NOT VALID",
        "ALTER TABLE ledger DROP CONSTRAINT no_more",
    ),
    "it is gone": ("ALTER TABLE ledger RENAME TO ledger_elsewhere", "ALTER TABLE ledger_elsewhere RENAME TO ledger"),
}

#: Ann's request for access, which Root may decide on.
REQUEST = "0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"

#: A key of the job's.
KEY = "0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6b"
SHOWN = written(bytes(32))

#: The id of a row of the ledger.
DECIDED = UUID("019d6a9e-0000-7000-8000-000000000000")

READING = [
    "/v1/catalog?environment=dev",
    "/v1/catalog?environment=dev&names=sales.orders",
    "/v1/catalog?environment=dev&at=17",
    "/v1/explain?action=load&dataset=sales.orders&environment=dev&subject=user:second&at=17",
    "/v1/who?action=load&dataset=sales.orders&environment=dev&at=17",
    "/v1/leases?environment=dev",
    "/v1/leases?environment=dev&names=sales.orders",
    "/v1/explain?action=load&dataset=sales.orders&environment=dev",
    "/v1/who?action=load&dataset=sales.orders&environment=dev",
    "/v1/datasets",
    "/v1/datasets/search?search=ord&may=use",
    "/v1/datasets/sales.orders",
    "/v1/datasets/sales.orders/mine",
    "/v1/datasets/sales.orders/history",
    "/v1/datasets/sales.orders/definition?environment=dev",
    "/v1/datasets/sales.orders/projects",
    "/v1/datasets/sales.orders/lineage",
    "/v1/datasets/sales.orders/use",
    "/v1/domains",
    "/v1/domains/sales",
    "/v1/environments",
    "/v1/environments/dev",
    "/v1/groups",
    "/v1/groups/planners",
    "/v1/policies",
    "/v1/policies/closed",
    "/v1/grants",
    "/v1/grants/analysts-load-orders",
    "/v1/realm?kind=dataset",
    "/v1/requests",
    f"/v1/requests/{REQUEST}",
    "/v1/deputy",
    "/v1/lint",
    "/v1/reviews",
    "/v1/projects/offer",
    "/v1/projects/new.zip?name=Report&environment=dev&datasets=sales.orders",
    "/v1/notices",
    "/v1/notices/preferences",
    "/v1/subjects/user:ann",
    "/v1/subjects/user:root/holdings",
    "/v1/keys",
    f"/v1/keys/{KEY}",
    "/v1/whoami",
    "/v1/webhooks",
    "/v1/webhooks/siem",
    "/v1/webhooks/siem/deliveries",
    "/v1/ledger",
    "/v1/ledger/events?follow=false",
    "/v1/ledger/holds",
    "/v1/ledger/seals",
    f"/v1/ledger/proofs/inclusion?id={DECIDED}",
    "/v1/ledger/proofs/consistency?first=1&second=1",
    "/v1/ledger/unusual",
    "/v1/ledger/readers?dataset=sales.orders",
    "/v1/ledger/figures",
    "/v1/ledger/views",
    "/v1/ledger/export",
    f"/v1/ledger/{DECIDED}/decision",
]

#: What is read of provisioned people and groups: no decision of the realm's, but written down alike.
PROVISIONED = [
    "/scim/v2/Users",
    '/scim/v2/Users?filter=userName eq "zoe"',
    "/scim/v2/Users/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6c",
    "/scim/v2/Groups",
    "/scim/v2/Groups/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6c",
]

DESCRIBING = {
    "/scim/v2/ServiceProviderConfig",
    "/scim/v2/Schemas",
    "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
    "/scim/v2/ResourceTypes",
    "/scim/v2/ResourceTypes/User",
}

WELL_KNOWN = {"/.well-known/muniment", "/.well-known/authzen-configuration", "/v1/leases/keys"}
#: What holds the ledger to what it once said: for everybody, and only worth something if it needs no right.
PUBLISHED = {"/v1/ledger/checkpoint", "/v1/ledger/keys"}
UNDECIDED = {"/v1/schema", "/healthz", "/readyz", *WELL_KNOWN, *PUBLISHED}

_ORDERS = {"type": "dataset", "id": "sales.orders"}
_MAY = {"subject": {"type": "user", "id": "root"}, "resource": _ORDERS, "context": {"environment": "dev"}}
_LOAD = {"name": "load"}

ASKING = {
    "/v1/preflight": {"environment": "dev", "load": ["sales.orders"]},
    "/v1/requests": {
        "actions": ["save"],
        "datasets": ["sales.targets"],
        "environments": ["dev"],
        "because": "a report",
    },
    "/v1/projects/preview": {"name": "Report", "environment": "dev", "datasets": ["sales.orders"]},
    "/v1/try": {"changes": [{"delete": {"kind": "grant", "id": "analysts-load-orders"}}]},
    "/v1/policies/read": {"cedar": 'forbid (principal, action == Action::"save", resource);'},
    "/access/v1/evaluation": {**_MAY, "action": _LOAD},
    "/access/v1/evaluations": {**_MAY, "action": _LOAD, "evaluations": [{}, {}]},
    "/access/v1/search/subject": {**_MAY, "action": _LOAD},
    "/access/v1/search/resource": {**_MAY, "action": _LOAD},
    "/access/v1/search/action": _MAY,
}

CHANGING = {
    "/v1/datasets/sales.new": dataset("s3://lake/sales/new.csv"),
    "/v1/domains/new": {"owner": "group:new"},
    "/v1/environments/new": {},
    "/v1/groups/new": {},
    "/v1/policies/new": {"cedar": 'forbid (principal, action == Action::"save", resource);'},
    "/v1/grants/new": grant("user:x", ["load"], on={"domain": "sales"}),
    "/v1/webhooks/new": {"url": "https://siem.example.org/"},
}

#: A question that Root would keep.
VIEW = "/v1/ledger/views/new"

#: Somebody whose access has ended, and may be admitted again.
LEAVER = "leaver"

_UNTIL = (datetime.now(UTC) + timedelta(days=9)).isoformat()
_WHY = {"reason": "a test"}

#: What Root may do beside: every address that does something and makes no thing of a name. The last ends everybody's
#: sign-ins.
DOING: Mapping[str, Mapping[str, object]] = {
    f"/v1/requests/{REQUEST}/approve": {},
    f"/v1/requests/{REQUEST}/deny": {"because": "no"},
    "/v1/requests/renewals": {"grant": "nothing"},
    "/v1/use": {"events": [{"id": KEY, "dataset": "sales.orders", "action": "load", "at": _UNTIL}]},
    "/v1/reviews": {"decisions": [{"kind": "grant", "id": "analysts-load-orders", "version": 1, "end": _WHY}]},
    "/v1/keys": {"service": "service:nightly", "use": "changes", "until": _UNTIL, "because": "a test"},
    "/v1/notices/address": {"address": "root@example.org"},
    "/v1/notices/test": {},
    "/v1/notices/webhook": {"url": "https://hooks.example.org/muniment"},
    "/v1/webhooks/siem/secret": {},
    "/v1/webhooks/siem/test": {},
    "/v1/webhooks/siem/replay": {"dead": True},
    "/v1/break-glass": {"actions": ["load"], "on": {"dataset": "hr.salaries"}, "hours": 1, "because": "a test"},
    "/v1/first-administrator": {"secret": "of no link"},
    "/v1/subjects/user:sam/hand-over": {"to": "user:ann", "reason": "leaves"},
    "/v1/subjects/user:ann/end": _WHY,
    f"/v1/subjects/user:{LEAVER}/admit": _WHY,
    "/v1/subjects/user:ann/end-sign-ins": _WHY,
    "/v1/subjects/user:root/end-sign-ins": _WHY,
    "/v1/subjects/end-sign-ins": _WHY,
}
ENDING = {
    "/v1/grants/analysts-load-orders": 1,
    "/v1/datasets/sales.orders": 1,
    "/v1/policies/closed": 1,
    "/v1/groups/planners": 1,
    "/v1/webhooks/siem": 1,
}

_SCIM = "urn:ietf:params:scim:schemas:core:2.0"
_PATCHING = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}

#: What a directory tells: of somebody and a group, who are there, and of others.
TELLING: Mapping[str, Mapping[str, object]] = {
    "POST /scim/v2/Users": {"schemas": [f"{_SCIM}:User"], "userName": "zoe"},
    "PUT /scim/v2/Users/{person}": {"schemas": [f"{_SCIM}:User"], "userName": "wanda", "displayName": "Wanda"},
    "PATCH /scim/v2/Users/{person}": {**_PATCHING, "Operations": [{"op": "replace", "path": "active", "value": False}]},
    "DELETE /scim/v2/Users/{person}": {},
    "POST /scim/v2/Groups": {"schemas": [f"{_SCIM}:Group"], "displayName": "zoes"},
    "PUT /scim/v2/Groups/{team}": {"schemas": [f"{_SCIM}:Group"], "displayName": "directors", "members": []},
    "PATCH /scim/v2/Groups/{team}": {**_PATCHING, "Operations": [{"op": "remove", "path": "members"}]},
    "DELETE /scim/v2/Groups/{team}": {},
}
SEARCHING = ("/scim/v2/Users/.search", "/scim/v2/Groups/.search", "/scim/v2/.search")


@pytest.fixture(scope="module")
async def everything(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    """The company, in which Root may also load the orders: so every address has something to give."""
    mail = MailServer(host="127.0.0.1", port=1, security="none", sender="muniment@example.org")
    async with running(issuer, module_database, break_glass="group:platform", smtp=mail) as service:
        await found_company(service)
        other = service.somebody("root", sub="second")
        await service.root.make(
            "/v1/grants/second", grant("user:second", ["administer", "declare"], on={"domain": "all"})
        )
        await other.make("/v1/grants/root-loads", grant("user:root", ["load"], on={"dataset": "sales.orders"}))
        await service.root.make("/v1/groups/planners", {"members": ["user:ann"]})
        await service.root.make("/v1/webhooks/siem", {"url": "https://siem.example.org/", "active": False})
        await service.root.make("/v1/policies/closed", CHANGING["/v1/policies/new"])
        await service.ann.read("/v1/whoami")
        await ask_as_ann(service)
        await decide_for_root(service)
        await keep_a_key(service)
        assert (await service.root.post(f"/v1/subjects/user:{LEAVER}/end", _WHY)).status_code == 200
        await seal_once(service.app.state.house.db, SealKeys(service.settings.seal_key_path))
        yield service


@pytest.fixture(scope="module")
async def provisioned(everything: Running) -> Mapping[str, str]:
    """The ids of somebody who was provisioned, and of a group with them in it."""

    async def made(kind: str, **said: object) -> str:
        answer = await everything.root.post(f"/scim/v2/{kind}s", {"schemas": [f"{_SCIM}:{kind}"], **said})
        assert answer.status_code == 201, answer.text
        id_: str = answer.json()["id"]
        return id_

    person = await made("User", userName="wanda")
    return {"person": person, "team": await made("Group", displayName="directors", members=[{"value": person}])}


async def ask_as_ann(service: Running) -> None:
    """The request, with an id that is known here."""
    at = datetime.now(UTC)
    terms = Terms(frozenset({Action.SAVE}), ("sales.orders",), frozenset({"dev"}), at + timedelta(days=9))
    wish = AccessRequest(REQUEST, Subject(Kind.USER, "ann"), terms, "a report", at)
    async with service.app.state.house.db.begin() as tx:
        await requests.append(tx, wish, 0)


async def keep_a_key(service: Running) -> None:
    """A key, with an id that is known here."""
    at = datetime.now(UTC)
    bounds, until = Bounds(Use.CHANGES), at + timedelta(days=9)
    nightly, root = Subject(Kind.SERVICE, "nightly"), Subject(Kind.USER, "root")
    key = Key(id=KEY, subject=nightly, bounds=bounds, at=at, by=root, because="a test", until=until)
    async with service.app.state.house.db.begin() as tx:
        await service.app.state.house.keys.keep(tx, key, SHOWN)


async def decide_for_root(service: Running) -> None:
    """A decision, in a row with an id that is known here."""
    at = datetime.fromtimestamp((DECIDED.int >> 80) / 1000, UTC)
    given = Row(id=DECIDED, at=at, event=Event.CATALOG_SERVED, outcome=Outcome.ALLOWED, subject="user:root")
    async with service.app.state.house.db.begin() as tx:
        await ledger.append(tx, [given])


@contextmanager
def no_ledger(service: Running, way: str) -> Iterator[None]:
    """The ledger takes no rows, as long as the block lasts."""
    before, after = WAYS[way]
    with psycopg.connect(libpq(service.url), autocommit=True) as connection:
        connection.execute(before)
        try:
            yield
        finally:
            connection.execute(after)


def rows(service: Running) -> int:
    with psycopg.connect(service.url.replace("+psycopg", "")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM ledger").fetchone() or (0,)
        return int(count)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_read_without_a_record(everything: Running, way: str) -> None:
    root = everything.root
    given = {path: await root.get(path) for path in READING}
    assert {answer.status_code for answer in given.values()} == {200}

    with no_ledger(everything, way):
        for path in READING:
            known = {"If-None-Match": given[path].headers.get("etag", "*")}
            for headers in ({}, known):
                answer = await root.get(path, headers=headers)
                refusal(answer, 503)
                assert "sales" not in answer.text
                assert "etag" not in answer.headers
        for path, body in ASKING.items():
            answer = await root.post(path, body)
            refusal(answer, 503)
            assert "sales" not in answer.text

    for path in READING:
        assert (await root.get(path)).status_code == 200


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_changed_without_a_record(
    everything: Running, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = await revision_of(everything)

    with no_ledger(everything, way), caplog.at_level(logging.CRITICAL, logger="muniment"):
        for path, body in CHANGING.items():
            refusal(await everything.root.put(path, body, after=0), 503)
        for path, version in ENDING.items():
            refusal(await everything.root.delete(path, after=version), 503)
        at = {"If-Match": f'"{before}"'}
        refusal(await everything.root.send("POST", "/v1/apply", json=ASKING["/v1/try"], headers=at), 503)
        for path, body in DOING.items():
            refusal(await everything.root.post(path, body), 503)
        refusal(await everything.ann.post(f"/v1/requests/{REQUEST}/withdraw", {}), 503)
        refusal(await everything.root.send("DELETE", f"/v1/keys/{KEY}"), 503)
        refusal(await everything.root.put("/v1/notices/preferences", {"quiet": True}, after=0), 503)
        deputy = {"deputy": "user:sam", "until": _UNTIL}
        refusal(await everything.root.send("PUT", "/v1/deputy", json=deputy), 503)
        refusal(await everything.root.send("PUT", VIEW, json={"question": {}}), 503)
        for path in (VIEW, "/v1/notices/address", "/v1/notices/webhook", "/v1/deputy"):
            refusal(await everything.root.send("DELETE", path), 503)
        refusal(await everything.nobody.post("/v1/keys/revoke", {"key": SHOWN}), 503)
    assert "GLASS" not in caplog.text  # nobody has broken it

    (key,) = (await everything.root.read("/v1/keys"))["items"]
    assert key["revoked"] is None
    for name, active in (("ann", True), (LEAVER, False), ("root", True)):
        found = await everything.root.read(f"/v1/subjects/user:{name}")
        assert (found["active"], found["tokens_since"] is None) == (active, active)
    assert (await everything.ann.get("/v1/whoami")).status_code == 200
    assert (await everything.root.read(f"/v1/requests/{REQUEST}"))["version"] == 1
    assert await revision_of(everything) == before
    for path in CHANGING:
        assert (await everything.root.get(path)).status_code == 404


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_provisioned_without_a_record(
    everything: Running, provisioned: Mapping[str, str], way: str
) -> None:
    root = everything.root
    stands = [(await root.read(path))["Resources"] for path in ("/scim/v2/Users", "/scim/v2/Groups")]
    assert [len(each) for each in stands] == [1, 1]

    with no_ledger(everything, way):
        for path in PROVISIONED:
            refusal(await root.get(path), 503)
        for path in SEARCHING:
            refusal(await root.post(path, {}), 503)
        for told, body in TELLING.items():
            method, path = told.split()
            refusal(await root.send(method, path.format(**provisioned), json=body), 503)

    assert [(await root.read(path))["Resources"] for path in ("/scim/v2/Users", "/scim/v2/Groups")] == stands
    assert (await root.read("/v1/subjects/user:wanda"))["active"]


@pytest.mark.parametrize("way", WAYS)
async def test_no_refusal_is_told_without_a_record(everything: Running, way: str) -> None:
    """Who probed what one may not know of is written down too."""
    hidden = (
        "/v1/datasets/hr.salaries",
        "/v1/datasets/hr.salaries/history",
        "/v1/datasets/hr.salaries/definition?environment=dev",
        "/v1/datasets/hr.salaries/lineage",
        "/v1/datasets/hr.salaries/use",
        "/v1/explain?action=load&dataset=hr.salaries&environment=dev",
    )
    with no_ledger(everything, way):
        for path in (*hidden, *(path.replace("salaries", "nothing") for path in hidden)):
            refusal(await everything.eve.get(path), 503)
        refusal(await everything.eve.put("/v1/datasets/hr.salaries", {}, after=1), 503)
        refusal(await everything.eve.put("/v1/groups/mine", {}, after=0), 503)
        for path, body in DOING.items():
            refusal(await everything.eve.post(path, body), 503)
        for path in (*PROVISIONED, f"/v1/keys/{KEY}", "/v1/subjects/user:ann"):
            refusal(await everything.eve.get(path), 503)


async def test_every_decided_answer_is_one_row_and_carries_its_receipt(everything: Running) -> None:
    for path in READING:
        before = rows(everything)
        answer = await everything.root.get(path)
        assert rows(everything) == before + 1, path
        assert answer.headers["muniment-receipt"], path
        assert int(answer.headers["muniment-revision"]) > 0, path
        found = await everything.root.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}")
        assert [row["request_id"] for row in found["items"]] == [answer.headers["muniment-request-id"]], path


async def test_every_change_is_one_row_with_its_versions(everything: Running) -> None:
    body = grant("user:x", ["load"], on={"dataset": "sales.orders"})

    made = await everything.root.put("/v1/grants/recorded", body, after=0)
    ended = await everything.root.delete("/v1/grants/recorded", after=1)

    for answer, event, versions in ((made, "grant.made", (0, 1)), (ended, "grant.ended", (1, None))):
        found = await everything.root.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}")
        (row,) = found["items"]
        assert (row["event"], row["subject"], row["outcome"]) == (event, "user:root", "done")
        assert row["revision"] == int(answer.headers["muniment-revision"])
        assert row["datasets"] == ["sales.orders"]
        (change,) = row["details"]["versions"]
        assert (change["before"], change["after"]) == versions
    assert body["because"] == FOREVER


async def test_these_tests_know_every_address(everything: Running) -> None:
    """An address that is new must be added above, to the decided ones or to those that decide nothing."""
    beside = (f"/v1/requests/{REQUEST}/withdraw", "/v1/keys/revoke", "/v1/apply")
    asked = {
        *(f"GET {path.partition('?')[0]}" for path in (*READING, *PROVISIONED, *DESCRIBING, *UNDECIDED)),
        *(f"PUT {path}" for path in (*CHANGING, "/v1/notices/preferences", "/v1/deputy", VIEW)),
        *(f"POST {path}" for path in (*ASKING, *DOING, *SEARCHING, *beside)),
        *(f"DELETE {path}" for path in (*ENDING, f"/v1/keys/{KEY}", "/v1/notices/address", "/v1/notices/webhook")),
        "DELETE /v1/deputy",
        f"DELETE {VIEW}",
        *TELLING,
    }
    for method, template in everything.routes:
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", f"{method} {template}"))
        assert any(pattern.fullmatch(each) for each in asked), f"{method} {template}"
