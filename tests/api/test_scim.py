"""An identity provider keeps people and groups here: what it says is so for the next request, at every worker.

Ann, Sam and the others sign in with tokens of the same issuer; Root is the one who may provision, or a key of the
service identity ``directory``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from demo.issuer import RunningIssuer
from muniment.api.identifiers import new_id
from muniment.core.roster import Enrolment
from muniment.core.sessions import Session, Vouched
from muniment.core.subjects import Subject
from muniment.identity.issuers import issuers_from
from muniment.store import roster, sessions, subjects
from muniment.store.databases import Database
from tests.api.running import Caller, Running, grant, running
from tests.owning import owned

pytestmark = pytest.mark.anyio

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

ORDERS = "/v1/leases?environment=dev"


@pytest.fixture
async def workers(issuer: RunningIssuer, company_database: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two workers on one database, with a small company: what is told to the first is asked of the second."""
    async with running(issuer, company_database) as first, running(issuer, company_database) as second:
        yield first, second


def user(name: str, **more: object) -> dict[str, Any]:
    return {"schemas": [USER], "userName": name, "active": True, **more}


def group(name: str, *members: str, **more: object) -> dict[str, Any]:
    return {"schemas": [GROUP], "displayName": name, "members": [{"value": id_} for id_ in members], **more}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": list(operations)}


async def told(caller: Caller, kind: str, body: dict[str, Any], base: str = "/scim/v2") -> str:
    """Tell of a person or a group that must be taken; gives its id."""
    answer = await caller.post(f"{base}/{kind}", body)
    assert answer.status_code == 201, answer.text
    id_: str = answer.json()["id"]
    return id_


async def patching(caller: Caller, kind: str, id_: str, *operations: dict[str, Any]) -> httpx.Response:
    answer = await caller.send("PATCH", f"/scim/v2/{kind}/{id_}", json=patch(*operations))
    assert answer.status_code in {200, 204}, answer.text
    return answer


def refused(answer: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The error in an answer, in SCIM's own shape (RFC 7644, 3.12)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/scim+json"
    error: dict[str, Any] = answer.json()
    assert error["schemas"] == [ERROR]
    assert error["status"] == str(status)
    assert error.get("scimType") == kind
    return error


async def lease(caller: Caller) -> set[str]:
    return set((await caller.read(ORDERS))["catalog"])


async def newest_row(service: Running, event: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = (await service.audrey.read(f"/v1/ledger?event={event}"))["items"]
    return rows[0]


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/scim/v2/Users", "/scim/v2/Groups", "/scim/corp/v2/Users"])
async def test_only_whoever_administers_everything_provisions(service: Running, path: str) -> None:
    body = user("zoe") if "Users" in path else group("zoes")
    for caller in (service.ann, service.sam, service.audrey):
        refused(await caller.get(path), 403)
        refused(await caller.post(path, body), 403)
        refused(await caller.get(f"{path}/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"), 403)
    refused(await service.nobody.get(path), 401)
    row = await newest_row(service, "change.refused")
    assert row["subject"] == "user:audrey"
    assert row["details"]["directory"] == "corp"


async def test_a_key_for_provisioning_provisions_and_no_other_key_does(company: Running) -> None:
    root = company.root
    await root.make("/v1/grants/directory", grant("service:directory", ["administer"], on={"domain": "all"}))
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = {}
    for use in ("provisioning", "changes"):
        body = {"service": "service:directory", "use": use, "until": until, "because": "the directory"}
        answer = await root.post("/v1/keys", body)
        assert answer.status_code == 201, answer.text
        made[use] = Caller(company.http, answer.json()["key"])
    id_ = await told(made["provisioning"], "Users", user("zoe"))
    refused(await made["changes"].get(f"/scim/v2/Users/{id_}"), 403)
    row = await newest_row(company, "user.provisioned")
    assert row["subject"] == "service:directory"
    assert row["details"]["about"] == "user:zoe"


async def test_an_issuer_that_there_is_not_has_no_directory(service: Running) -> None:
    refused(await service.root.get("/scim/nowhere/v2/Users"), 404)
    refused(await service.root.get("/scim/v2/Persons"), 404)
    refused(await service.root.send("PATCH", "/scim/v2/Users"), 405)


async def test_nobody_adds_themselves_to_a_group(company: Running) -> None:
    root = company.root
    zoe = await told(root, "Users", user("zoe"))
    analysts = await told(root, "Groups", group("analysts", zoe))
    rename = {"op": "replace", "path": "userName", "value": "root"}
    refused(await root.send("PATCH", f"/scim/v2/Users/{zoe}", json=patch(rename)), 403)
    me = await told(root, "Users", user("root"))
    refused(await root.post("/scim/v2/Groups", group("others", me)), 403)
    add = {"op": "add", "path": "members", "value": [{"value": me}]}
    refused(await root.send("PATCH", f"/scim/v2/Groups/{analysts}", json=patch(add)), 403)
    assert await lease(root) == set()


async def test_nobody_shuts_themselves_out(company: Running) -> None:
    me = await told(company.root, "Users", user("root"))
    refused(await company.root.send("DELETE", f"/scim/v2/Users/{me}"), 409)
    away = {"op": "replace", "path": "active", "value": False}
    refused(await company.root.send("PATCH", f"/scim/v2/Users/{me}", json=patch(away)), 409)
    assert (await company.root.read(f"/scim/v2/Users/{me}"))["active"] is True


# --- groups ----------------------------------------------------------------------------------------------------------


async def test_a_provisioned_group_has_the_members_that_provisioning_says_whatever_tokens_say(
    workers: tuple[Running, Running],
) -> None:
    """Seen to fail with ``Place.admit`` giving the state of the credential."""
    here, there = workers
    assert "sales.orders" in await lease(there.ann)
    bea = there.somebody("eve", sub="bea")
    analysts = await told(here.root, "Groups", group("analysts"))
    assert "sales.orders" not in await lease(there.ann)
    member = await told(here.root, "Users", user("bea"))
    await patching(here.root, "Groups", analysts, {"op": "add", "path": "members", "value": [{"value": member}]})
    assert "sales.orders" in await lease(bea)
    assert "sales.orders" not in await lease(there.ann)


async def test_a_membership_that_was_taken_away_is_so_for_the_next_request_at_every_worker(
    workers: tuple[Running, Running],
) -> None:
    """Seen to fail with the roster not counted on when a group is changed."""
    here, there = workers
    ann = await told(here.root, "Users", user("ann"))
    analysts = await told(here.root, "Groups", group("analysts"))
    for remove in (
        {"op": "remove", "path": f'members[value eq "{ann}"]'},
        {"op": "Remove", "path": "members", "value": [{"value": ann}]},
        {"op": "replace", "path": "members", "value": []},
        {"op": "remove", "path": "members"},
    ):
        await patching(here.root, "Groups", analysts, {"op": "Add", "path": "members", "value": [{"value": ann}]})
        assert "sales.orders" in await lease(there.ann)
        await patching(here.root, "Groups", analysts, remove)
        assert "sales.orders" not in await lease(there.ann)


async def test_the_name_of_a_group_that_is_gone_or_renamed_brings_nobody_anything(
    workers: tuple[Running, Running],
) -> None:
    """Seen to fail with names held only as long as their group stands."""
    here, there = workers
    ann = await told(here.root, "Users", user("ann"))
    analysts = await told(here.root, "Groups", group("analysts", ann))
    await patching(here.root, "Groups", analysts, {"op": "replace", "value": {"id": analysts, "displayName": "others"}})
    assert "sales.orders" not in await lease(there.ann)
    assert (await there.ann.read("/v1/whoami"))["groups"] == ["group:others"]
    await patching(here.root, "Groups", analysts, {"op": "replace", "path": "displayName", "value": "analysts"})
    assert "sales.orders" in await lease(there.ann)
    assert (await here.root.send("DELETE", f"/scim/v2/Groups/{analysts}")).status_code == 204
    assert "sales.orders" not in await lease(there.ann)
    refused(await here.root.get(f"/scim/v2/Groups/{analysts}"), 404)


async def test_a_local_group_and_a_provisioned_one_do_not_take_each_others_names(company: Running) -> None:
    root = company.root
    await root.make("/v1/groups/local", {"members": ["user:ann"]})
    refused(await root.post("/scim/v2/Groups", group("local")), 409, "uniqueness")
    provisioned = await told(root, "Groups", group("provisioned"))
    answer = await root.put("/v1/groups/provisioned", {"members": ["user:ann"]}, after=0)
    assert answer.status_code == 409
    await root.send("DELETE", f"/scim/v2/Groups/{provisioned}")
    assert (await root.put("/v1/groups/provisioned", {}, after=0)).status_code == 409


@pytest.mark.parametrize("name", ["user:ann", "service:nightly", "corp|analysts", " analysts", "a\u200bb", "x" * 201])
async def test_a_group_cannot_have_a_name_that_means_somebody_or_cannot_be_seen(service: Running, name: str) -> None:
    refused(await service.root.post("/scim/v2/Groups", group(name)), 400, "invalidValue")


async def test_groups_have_no_groups_and_members_are_people_of_the_directory(service: Running) -> None:
    inner = await told(service.root, "Groups", group("inner"))
    for member in ({"value": inner, "type": "Group"}, {"value": inner}, {"value": "nobody"}, {"display": "Ann"}):
        body = {"schemas": [GROUP], "displayName": "outer", "members": [member]}
        refused(await service.root.post("/scim/v2/Groups", body), 400, "invalidValue")


# --- people ----------------------------------------------------------------------------------------------------------


async def test_people_are_known_before_they_ever_sign_in(company: Running) -> None:
    zoe = await told(company.root, "Users", user("zoe"))
    who = "/v1/who?action=load&dataset=sales.orders&environment=dev"
    assert "user:zoe" not in [each["subject"] for each in (await company.audrey.read(who))["items"]]
    analysts = await told(company.root, "Groups", group("analysts", zoe))
    assert "user:zoe" in [each["subject"] for each in (await company.audrey.read(who))["items"]]
    await patching(company.root, "Groups", analysts, {"op": "remove", "path": f'members[value eq "{zoe}"]'})
    assert "user:zoe" not in [each["subject"] for each in (await company.audrey.read(who))["items"]]


async def test_who_of_the_past_knows_of_memberships_that_came_and_went(company: Running) -> None:
    """Seen to fail with a state's first moment alone looked at: it was known by then, and again the newest."""
    zoe = await told(company.root, "Users", user("zoe"))
    analysts = await told(company.root, "Groups", group("analysts"))
    moments = {}
    for turn in range(4):
        is_in = turn % 2 == 0
        await patching(
            company.root, "Groups", analysts, {"op": "replace", "path": "members", "value": [{"value": zoe}] * is_in}
        )
        moments[datetime.now(UTC).isoformat()] = is_in
    for moment, was_in in moments.items():
        params = {"action": "load", "dataset": "sales.orders", "environment": "dev", "at": moment}
        found = (await company.audrey.get("/v1/who", params=params)).json()["items"]
        assert ("user:zoe" in [each["subject"] for each in found]) is was_in


async def test_deprovisioning_ends_all_that_a_subject_has_in_one_entry(workers: tuple[Running, Running]) -> None:
    here, there = workers
    zoe = there.somebody("ann", sub="zoe")
    id_ = await told(here.root, "Users", user("zoe", displayName="Zoe Zander"))
    assert "sales.orders" in await lease(zoe)
    wish = {"actions": ["save"], "datasets": ["sales.orders"], "environments": ["dev"], "because": "a report"}
    asked = (await zoe.post("/v1/requests", wish)).json()["id"]
    receipt = (await zoe.get(ORDERS)).headers["muniment-receipt"]
    await here.root.make("/v1/grants/zoe", grant("user:zoe", ["administer"], on={"domain": "all"}))
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wish = {"service": "service:jobs", "use": "changes", "until": until, "because": "a job"}
    key = (await zoe.post("/v1/keys", wish)).json()
    session = await _session(there, zoe)
    answer = await patching(here.root, "Users", id_, {"op": "Replace", "path": "active", "value": "False"})
    assert answer.json()["active"] is False
    assert (await zoe.get(ORDERS)).status_code == 401
    assert (await there.somebody("ann", sub="zoe", iat=_soon()).get(ORDERS)).status_code == 401
    request = await there.root.read(f"/v1/requests/{asked}")
    assert request["state"] == "withdrawn"
    assert await _standing(there, session) is None
    assert (await Caller(there.http, key["key"]).get("/v1/whoami")).status_code == 200
    rows = (await there.audrey.read("/v1/ledger?event=subject.deprovisioned"))["items"]
    (row,) = rows
    assert row["details"]["about"] == "user:zoe"
    assert row["details"]["requests"] == [asked]
    assert len(row["details"]["sessions"]) == 1
    assert row["details"]["keys_made"] == [key["id"]]
    assert receipt in [each["receipt"] for each in row["details"]["leases"]]
    assert "Zander" not in str(rows)


async def test_whoever_is_active_again_signs_in_anew(workers: tuple[Running, Running]) -> None:
    here, there = workers
    zoe = there.somebody("ann", sub="zoe")
    id_ = await told(here.root, "Users", user("zoe"))
    assert (await zoe.get(ORDERS)).status_code == 200
    await patching(here.root, "Users", id_, {"op": "replace", "value": {"active": False}})
    assert (await zoe.get(ORDERS)).status_code == 401
    await patching(here.root, "Users", id_, {"op": "replace", "value": {"active": True}})
    assert (await zoe.get(ORDERS)).status_code == 401
    assert (await there.somebody("ann", sub="zoe", iat=_soon()).get(ORDERS)).status_code == 200


async def test_whoever_is_deleted_is_shut_out_until_told_of_again(workers: tuple[Running, Running]) -> None:
    here, there = workers
    zoe = there.somebody("ann", sub="zoe")
    id_ = await told(here.root, "Users", user("zoe"))
    analysts = await told(here.root, "Groups", group("analysts", id_))
    assert "sales.orders" in await lease(zoe)
    assert (await here.root.send("DELETE", f"/scim/v2/Users/{id_}")).status_code == 204
    assert (await zoe.get(ORDERS)).status_code == 401
    held = await here.root.read(f"/scim/v2/Groups/{analysts}")
    assert held.get("members", []) == []
    assert held["meta"]["version"] == 'W/"2"'
    refused(await here.root.get(f"/scim/v2/Users/{id_}"), 404)
    again = await told(here.root, "Users", user("zoe"))
    assert again != id_
    assert await lease(there.somebody("ann", sub="zoe", iat=_soon())) == set()


async def test_whom_an_administrator_shut_out_no_provider_admits(company: Running) -> None:
    id_ = await told(company.root, "Users", user("zoe"))
    async with company.app.state.house.db.begin() as tx:
        ended = Enrolment(Subject.parse("user:zoe"), active=False, at=datetime.now(UTC), by="user:root", reason="why")
        await roster.put(tx, ended)
    for active in (False, True):
        await patching(company.root, "Users", id_, {"op": "replace", "path": "active", "value": active})
    assert (await company.somebody("eve", sub="zoe", iat=_soon()).get("/v1/whoami")).status_code == 401


async def test_whoever_is_renamed_is_another_subject(workers: tuple[Running, Running]) -> None:
    here, there = workers
    zoe, zora = there.somebody("eve", sub="zoe"), there.somebody("eve", sub="zora")
    id_ = await told(here.root, "Users", user("zoe"))
    await told(here.root, "Groups", group("analysts", id_))
    assert "sales.orders" in await lease(zoe)
    await patching(here.root, "Users", id_, {"op": "replace", "path": "userName", "value": "zora"})
    assert (await zoe.get(ORDERS)).status_code == 401
    assert "sales.orders" in await lease(zora)
    details = (await newest_row(there, "subject.deprovisioned"))["details"]
    assert (details["about"], details["now"]) == ("user:zoe", "user:zora")


async def test_of_whom_it_is_no_longer_said_that_they_are_active_is_not(company: Running) -> None:
    id_ = await told(company.root, "Users", user("zoe"))
    answer = await patching(company.root, "Users", id_, {"op": "remove", "path": "active"})
    assert "active" not in answer.json()
    assert (await company.somebody("eve", sub="zoe", iat=_soon()).get("/v1/whoami")).status_code == 401


async def test_a_replacement_that_leaves_out_active_leaves_it_as_it_is(company: Running) -> None:
    id_ = await told(company.root, "Users", user("zoe", active=False))
    body = {"schemas": [USER], "userName": "zoe", "displayName": "Zoe"}
    answer = await company.root.send("PUT", f"/scim/v2/Users/{id_}", json=body)
    assert answer.json()["active"] is False
    assert (await company.somebody("eve", sub="zoe", iat=_soon()).get("/v1/whoami")).status_code == 401


async def test_two_people_do_not_have_one_name(service: Running) -> None:
    await told(service.root, "Users", user("Twin@corp.example"))
    refused(await service.root.post("/scim/v2/Users", user("twin@CORP.example")), 409, "uniqueness")


async def test_the_people_of_another_issuer_are_named_with_it(issuer: RunningIssuer, database: str) -> None:
    def issuer_of(name: str, url: str, **more: object) -> dict[str, object]:
        return {"name": name, "issuer": url, "audience": "muniment", **more}

    described = [
        issuer_of("main", "https://elsewhere.example", default=True),
        issuer_of("corp", issuer.url, scim_subject="externalId"),
        issuer_of("ci", "https://ci.example", kind="services"),
    ]
    settings = {"issuers": issuers_from(described), "bootstrap_admin": "user:corp|root"}
    async with running(issuer, database, **settings) as service:
        refused(await service.root.post("/scim/corp/v2/Users", user("zoe")), 400, "invalidValue")
        id_ = await told(service.root, "Users", user("zoe@corp.example", externalId="zoe"), "/scim/corp/v2")
        await told(service.root, "Groups", group("readers", id_), "/scim/corp/v2")
        myself = await service.somebody("eve", sub="zoe").read("/v1/whoami")
        assert (myself["subject"], myself["groups"]) == ("user:corp|zoe", ["group:corp|readers"])
        assert (await service.root.read("/scim/v2/Users"))["totalResults"] == 0
        refused(await service.root.get(f"/scim/v2/Users/{id_}"), 404)
        refused(await service.root.post("/scim/v2/Users", user("corp|eve")), 400, "invalidValue")
        refused(await service.root.get("/scim/ci/v2/Users"), 404)


# --- one transaction -------------------------------------------------------------------------------------------------


async def test_without_its_row_nothing_is_changed(company: Running) -> None:
    """Seen to fail with the row left out of a deletion."""
    id_ = await told(company.root, "Users", user("ann"))
    db = Database.open(owned(company.url))
    async with db.begin() as tx:
        await _run(tx, "ALTER TABLE ledger ADD CONSTRAINT no_more CHECK (false) NOT VALID")
    refused(await company.root.send("DELETE", f"/scim/v2/Users/{id_}"), 503)
    async with db.begin() as tx:
        await _run(tx, "ALTER TABLE ledger DROP CONSTRAINT no_more")
        assert (await roster.of(tx, Subject.parse("user:ann"))).active
    await db.close()
    assert (await company.root.get(f"/scim/v2/Users/{id_}")).status_code == 200
    assert (await company.ann.get(ORDERS)).status_code == 200


async def test_each_change_is_one_row_even_of_what_is_so_already(company: Running) -> None:
    id_ = await told(company.root, "Users", user("zoe"))
    analysts = await told(company.root, "Groups", group("analysts", id_))
    for kind, thing, body in (("Users", id_, user("zoe")), ("Groups", analysts, group("analysts", id_))):
        answer = await company.root.send("PUT", f"/scim/v2/{kind}/{thing}", json=body)
        assert answer.headers["etag"] == 'W/"1"'
        receipt = answer.headers["muniment-receipt"]
        (row,) = (await company.audrey.read(f"/v1/ledger?receipt={receipt}"))["items"]
        assert row["details"]["fields"] == []


# --- the protocol ----------------------------------------------------------------------------------------------------


async def test_what_is_not_kept_is_let_go(service: Running) -> None:
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    body = user(
        "nia",
        schemas=[USER, enterprise],
        emails=[{"value": "nia@corp.example", "type": "work", "primary": True}],
        **{enterprise: {"department": "sales"}},
    )
    body["name"] = {"givenName": "Nia", "familyName": "Nolan"}
    id_ = await told(service.root, "Users", body)
    await patching(
        service.root,
        "Users",
        id_,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "other@corp.example"},
        {"op": "Add", "path": f"{enterprise}:department", "value": "hr"},
        {"op": "Replace", "value": {"name.givenName": "Nora", "displayName": "Nora"}},
    )
    kept = await service.root.read(f"/scim/v2/Users/{id_}")
    assert kept.keys() == {"schemas", "id", "userName", "displayName", "active", "meta"}
    assert kept["displayName"] == "Nora"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('userName eq "F.ONE"', {"f.one"}),
        ('userName eq "f.one" and active eq true', {"f.one"}),
        ('userName eq "f.one" and active eq false', set()),
        ('externalId eq "f-2"', {"f.two"}),
        ('displayName sw "Fay" and not (externalId eq "f-2")', {"f.one"}),
        ('userName co ".t" and displayName pr', {"f.two"}),
        ('externalId eq "f-1" or externalId eq "f-2"', {"f.one", "f.two"}),
        ('meta.created gt "2020-01-01T00:00:00Z" and userName sw "f."', {"f.one", "f.two"}),
        (f'{USER}:userName eq "f.two"', {"f.two"}),
        ('id eq "not an id"', set()),
    ],
)
async def test_people_are_found_by_filters(service: Running, query: str, found: set[str]) -> None:
    for name, external in (("f.one", "f-1"), ("f.two", "f-2")):
        await service.root.post("/scim/v2/Users", user(name, externalId=external, displayName=f"Fay {name}"))
    params = {"filter": query}
    for answer in (
        await service.root.get("/scim/v2/Users", params=params),
        await service.root.post("/scim/v2/Users/.search", params),
    ):
        assert {each["userName"] for each in answer.json()["Resources"]} == found
        assert answer.json()["totalResults"] == len(found)


@pytest.mark.parametrize("query", ["userName eq", 'nickName eq "x"', "active gt true", 'userName xx "y"', "(" * 200])
async def test_a_filter_that_means_nothing_is_refused(service: Running, query: str) -> None:
    refused(await service.root.get("/scim/v2/Users", params={"filter": query}), 400, "invalidFilter")


async def test_groups_are_found_by_their_members(service: Running) -> None:
    one, two = [await told(service.root, "Users", user(name)) for name in ("g.one", "g.two")]
    await told(service.root, "Groups", group("g.ones", one, externalId="g-1"))
    both = await told(service.root, "Groups", group("g.both", one, two))
    for query, found in (
        (f'members eq "{two}"', {"g.both"}),
        (f'members.value eq "{one}"', {"g.ones", "g.both"}),
        (f'members[value eq "{two}"]', {"g.both"}),
        (f'id eq "{both}" and members eq "{two}"', {"g.both"}),
        ('displayName eq "g.ones"', {"g.ones"}),
        ('externalId eq "g-1"', {"g.ones"}),
    ):
        params = {"filter": query, "excludedAttributes": "members"}
        answer = (await service.root.get("/scim/v2/Groups", params=params)).json()
        assert {each["displayName"] for each in answer["Resources"]} == found, query
        assert all("members" not in each for each in answer["Resources"])
    shown = await service.root.read(f"/scim/v2/Groups/{both}")
    assert {member["value"] for member in shown["members"]} == {one, two}
    assert {member["$ref"].rpartition("/")[2] for member in shown["members"]} == {one, two}


async def test_pages_follow_one_another(company: Running) -> None:
    for number in range(7):
        await told(company.root, "Users", user(f"p{number}", displayName=f"{9 - number}"))
    seen: list[str] = []
    for start in (1, 4, 7, 10):
        page = await company.root.read(f"/scim/v2/Users?startIndex={start}&count=3")
        assert page["totalResults"] == 7
        assert page["startIndex"] == start
        seen += [each["userName"] for each in page["Resources"]]
    assert seen == [f"p{number}" for number in range(7)]
    ordered = await company.root.read("/scim/v2/Users?sortBy=displayName&sortOrder=ascending&count=2&startIndex=2")
    assert [each["userName"] for each in ordered["Resources"]] == ["p5", "p4"]
    none = await company.root.read("/scim/v2/Users?count=0&startIndex=-3")
    assert (none["totalResults"], none["Resources"], none["startIndex"]) == (7, [], 1)
    shown = await company.root.read("/scim/v2/Users?attributes=userName&count=1")
    assert shown["Resources"][0].keys() == {"schemas", "id", "userName"}


async def test_of_two_who_change_the_same_version_the_second_is_refused(company: Running) -> None:
    made = await company.root.post("/scim/v2/Users", user("zoe"))
    address, tag = f"/scim/v2/Users/{made.json()['id']}", made.headers["etag"]
    assert made.json()["meta"]["version"] == tag
    assert made.headers["location"] == made.json()["meta"]["location"]
    first = await company.root.send("PUT", address, json=user("zoe", displayName="Z"), headers={"If-Match": tag})
    assert first.status_code == 200
    for method, body in (
        ("PUT", user("zoe")),
        ("PATCH", patch({"op": "remove", "path": "displayName"})),
        ("DELETE", None),
    ):
        refused(await company.root.send(method, address, json=body, headers={"If-Match": tag}), 412)
    held = await company.root.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (held.status_code, held.text) == (304, "")
    same = await company.root.send("PUT", address, json=user("zoe", displayName="Z"))
    assert same.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"schemas": [USER]}, "invalidValue"),
        ({"schemas": [USER], "userName": ""}, "invalidValue"),
        ({"schemas": [USER], "userName": ["zoe"]}, "invalidValue"),
        ({"schemas": [USER], "userName": "zoe", "active": "perhaps"}, "invalidValue"),
        ({"schemas": [USER], "userName": "x" * 201}, "invalidValue"),
        ({"schemas": [USER], "userName": "zoe", "displayName": "x" * 201}, "invalidValue"),
    ],
)
async def test_what_cannot_be_kept_is_refused(service: Running, body: dict[str, Any], kind: str) -> None:
    refused(await service.root.post("/scim/v2/Users", body), 400, kind)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "remove"}, "noTarget"),
        ({"op": "jump", "path": "active", "value": True}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "members[value eq", "value": "x"}, "invalidPath"),
    ],
)
async def test_an_operation_that_cannot_be_done_changes_nothing(
    service: Running, operation: dict[str, Any], kind: str
) -> None:
    found = await service.root.get("/scim/v2/Users", params={"filter": 'userName eq "ops"'})
    resources = found.json()["Resources"]
    id_ = resources[0]["id"] if resources else await told(service.root, "Users", user("ops"))
    before = await service.root.read(f"/scim/v2/Users/{id_}")
    rename = {"op": "replace", "path": "displayName", "value": "other"}
    answer = await service.root.send("PATCH", f"/scim/v2/Users/{id_}", json=patch(rename, operation))
    refused(answer, 400, kind)
    assert await service.root.read(f"/scim/v2/Users/{id_}") == before


async def test_what_is_offered_is_said(service: Running) -> None:
    config = await service.root.read("/scim/v2/ServiceProviderConfig")
    supported = {
        name: config[name]["supported"] for name in ("patch", "bulk", "filter", "changePassword", "sort", "etag")
    }
    assert supported == {
        "patch": True, "bulk": False, "filter": True, "changePassword": False, "sort": True, "etag": True,
    }  # fmt: skip
    schemas = (await service.root.read("/scim/v2/Schemas"))["Resources"]
    assert {each["id"]: [attribute["name"] for attribute in each["attributes"]] for each in schemas} == {
        USER: ["userName", "displayName", "active"],
        GROUP: ["displayName", "members"],
    }
    refused(await service.nobody.get("/scim/v2/Schemas"), 401)


def _soon() -> int:
    """A second from now: a token says when it was issued in whole seconds."""
    return int(datetime.now(UTC).timestamp()) + 1


async def _run(tx: Any, statement: str) -> None:
    await tx.exec_driver_sql(statement)


async def _session(service: Running, who: Caller) -> bytes:
    """A session of somebody's browser, by what is kept of its secret."""
    subject = Subject.parse((await who.read("/v1/whoami"))["subject"])
    at = datetime.now(UTC)
    kept = subject.id.encode().ljust(32)
    async with service.app.state.house.db.begin() as tx:
        known = await subjects.newest_of(tx, subject)
        assert known is not None
        vouched = Vouched("corp", subject.id)
        began = Session(new_id(at), known.state, vouched, at, at, at, at + timedelta(hours=9))
        await sessions.begin(tx, began, kept)
    assert await _standing(service, kept) is not None
    return kept


async def _standing(service: Running, kept: bytes) -> Session | None:
    async with service.app.state.house.db.begin() as tx:
        return await sessions.presented(tx, kept, datetime.now(UTC), timedelta(hours=1))
