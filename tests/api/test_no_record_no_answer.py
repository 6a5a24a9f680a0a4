"""Promise 3: what cannot be written to the ledger is not served, and not done.

Seen to fail, route by route, with the call of `house.ledger.record` taken out of a flow, and with `ledger.append` taken
out of `change_realm`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
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
from muniment.store import ledger, requests
from tests.api.running import FOREVER, Running, dataset, found_company, grant, refusal, revision_of, running

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
    "/v1/datasets/sales.orders",
    "/v1/datasets/sales.orders/mine",
    "/v1/datasets/sales.orders/history",
    "/v1/datasets/sales.orders/definition?environment=dev",
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
    "/v1/requests",
    f"/v1/requests/{REQUEST}",
    "/v1/lint",
    "/v1/reviews",
    "/v1/subjects/user:root/holdings",
    "/v1/keys",
    f"/v1/keys/{KEY}",
    "/v1/whoami",
    "/v1/ledger",
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

UNDECIDED = {"/v1/schema", "/healthz", "/readyz", "/.well-known/muniment", "/.well-known/authzen-configuration"}

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
    "/v1/try": {"changes": [{"delete": {"kind": "grant", "id": "analysts-load-orders"}}]},
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
}


@pytest.fixture(scope="module")
async def everything(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    """The company, in which Root may also load the orders: so every address has something to give."""
    async with running(issuer, module_database) as service:
        await found_company(service)
        other = service.somebody("root", sub="second")
        await service.root.make(
            "/v1/grants/second", grant("user:second", ["administer", "declare"], on={"domain": "all"})
        )
        await other.make("/v1/grants/root-loads", grant("user:root", ["load"], on={"dataset": "sales.orders"}))
        await service.root.make("/v1/groups/planners", {"members": ["user:ann"]})
        await service.root.make("/v1/policies/closed", CHANGING["/v1/policies/new"])
        await service.ann.read("/v1/whoami")
        await ask_as_ann(service)
        await decide_for_root(service)
        await keep_a_key(service)
        yield service


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
    with psycopg.connect(service.url.replace("+psycopg", ""), autocommit=True) as connection:
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
async def test_nothing_is_changed_without_a_record(everything: Running, way: str) -> None:
    before = await revision_of(everything)

    with no_ledger(everything, way):
        for path, body in CHANGING.items():
            refusal(await everything.root.put(path, body, after=0), 503)
        refusal(await everything.root.delete("/v1/grants/analysts-load-orders", after=1), 503)
        refusal(await everything.root.delete("/v1/datasets/sales.orders", after=1), 503)
        at = {"If-Match": f'"{before}"'}
        refusal(await everything.root.send("POST", "/v1/apply", json=ASKING["/v1/try"], headers=at), 503)
        refusal(await everything.root.post(f"/v1/requests/{REQUEST}/approve", {}), 503)
        refusal(await everything.root.post(f"/v1/requests/{REQUEST}/deny", {"because": "no"}), 503)
        refusal(await everything.ann.post(f"/v1/requests/{REQUEST}/withdraw", {}), 503)
        until = (datetime.now(UTC) + timedelta(days=9)).isoformat()
        wish = {"service": "service:nightly", "use": "changes", "until": until, "because": "a test"}
        refusal(await everything.root.post("/v1/keys", wish), 503)
        refusal(await everything.root.send("DELETE", f"/v1/keys/{KEY}"), 503)
        refusal(await everything.nobody.post("/v1/keys/revoke", {"key": SHOWN}), 503)

    (key,) = (await everything.root.read("/v1/keys"))["items"]
    assert key["revoked"] is None
    assert (await everything.root.read(f"/v1/requests/{REQUEST}"))["version"] == 1
    assert await revision_of(everything) == before
    for path in CHANGING:
        assert (await everything.root.get(path)).status_code == 404


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_provisioned_without_a_record(everything: Running, way: str) -> None:
    user, group = ({"schemas": [f"urn:ietf:params:scim:schemas:core:2.0:{kind}"]} for kind in ("User", "Group"))
    with no_ledger(everything, way):
        for path in PROVISIONED:
            refusal(await everything.root.get(path), 503)
        for path in ("/scim/v2/Users/.search", "/scim/v2/Groups/.search", "/scim/v2/.search"):
            refusal(await everything.root.post(path, {}), 503)
        refusal(await everything.root.post("/scim/v2/Users", {**user, "userName": "zoe"}), 503)
        refusal(await everything.root.post("/scim/v2/Groups", {**group, "displayName": "zoes"}), 503)
    for path in ("/scim/v2/Users", "/scim/v2/Groups"):
        assert (await everything.root.read(path))["totalResults"] == 0


@pytest.mark.parametrize("way", WAYS)
async def test_no_refusal_is_told_without_a_record(everything: Running, way: str) -> None:
    """Who probed what one may not know of is written down too."""
    hidden = (
        "/v1/datasets/hr.salaries",
        "/v1/datasets/hr.salaries/history",
        "/v1/datasets/hr.salaries/definition?environment=dev",
        "/v1/explain?action=load&dataset=hr.salaries&environment=dev",
    )
    with no_ledger(everything, way):
        for path in (*hidden, *(path.replace("salaries", "nothing") for path in hidden)):
            refusal(await everything.eve.get(path), 503)
        refusal(await everything.eve.put("/v1/datasets/hr.salaries", {}, after=1), 503)
        refusal(await everything.eve.put("/v1/groups/mine", {}, after=0), 503)


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


async def test_these_tests_know_every_address_that_is_read(everything: Running) -> None:
    """An address that is new must be added above, to the decided ones or to those that decide nothing."""
    asked = {path.partition("?")[0] for path in (*READING, *PROVISIONED)} | DESCRIBING | UNDECIDED
    for method, template in everything.routes:
        prefix = template.partition("{")[0]
        if method == "GET" and "{" not in template:
            assert template in asked, template
        elif method == "GET":
            assert any(path.startswith(prefix) for path in asked), template
        elif method == "PUT":
            assert any(path.startswith(prefix) for path in (*CHANGING, *PROVISIONED)), template
