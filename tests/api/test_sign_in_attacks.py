"""What somebody would try against the doors of sign-in: races with their own end, names of others, doubled headers.

Each is refused, or changes nothing. What is tried against single tokens stands in `tests/identity`, against the
pages in `tests/web`; `docs/explanation/sign-in-attacks.md` says which test holds which item of RFC 8725 and RFC 9700.

Seen to fail: with the lock left out of `end_sign_ins` and of `provision`, `check_stands` out of `make_key`, the
lock out of `begin_realm`, `check_not_joining` out of `change_realm`, and `is_named` out of `provision`; with those
who left counted among approvers, with a provider's end known by its reason, with a first of two headers taken, and with
the roster counted on by a key that is revoked already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from demo.issuer import RunningIssuer
from muniment.api.identifiers import new_id
from muniment.app import prepare
from muniment.core.provisioning import DEPROVISIONED, Group, GroupRecord
from muniment.core.roster import Enrolment
from muniment.core.subjects import Subject
from muniment.identity.issuers import issuers_from
from muniment.store import keys, provisioning, roster
from muniment.store.databases import Transaction
from muniment.store.present import Present
from tests.api.running import Caller, Running, dataset, found_company, grant, refusal, running, settings_for

pytestmark = pytest.mark.anyio

ANN, NIGHTLY = Subject.parse("user:ann"), Subject.parse("service:nightly")
WHY = {"reason": "left the company"}


def user(name: str) -> dict[str, object]:
    """A person as an identity provider tells of them."""
    return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "active": True}


async def provisioned(service: Running, name: str) -> str:
    """Root tells of a person, who must be taken; gives the id."""
    answer = await service.root.post("/scim/v2/Users", user(name))
    assert answer.status_code == 201, answer.text
    id_: str = answer.json()["id"]
    return id_


# --- races with one's own end ---------------------------------------------------------------------------------------


@asynccontextmanager
async def overtaking(
    service: Running, request: Awaitable[httpx.Response]
) -> AsyncIterator[tuple[Transaction, list[httpx.Response]]]:
    """A transaction that takes something away, and a request that began before it ends and has to wait for it."""
    answers: list[httpx.Response] = []
    async with service.app.state.house.db.begin() as tx:
        await roster.changed(tx)

        async def sent() -> None:
            answers.append(await request)

        sending = asyncio.create_task(sent())
        try:
            yield tx, answers
            await _somebody_waits(service.url)
        except BaseException:
            sending.cancel()
            raise
    await sending


async def _somebody_waits(url: str) -> None:
    """Until a statement at this database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        while (await (await connection.execute(waiting)).fetchone()) == (0,):
            await connection.rollback()
            await asyncio.sleep(0.01)


async def test_who_ends_their_own_sign_ins_does_not_undo_the_end_of_their_access(company: Running) -> None:
    await company.ann.read("/v1/whoami")
    now = datetime.now(UTC)
    ending = company.ann.post("/v1/subjects/user:ann/end-sign-ins", WHY)
    async with overtaking(company, ending) as (tx, answers):
        await roster.put(tx, Enrolment(ANN, active=False, tokens_since=now, at=now, by="user:root", reason="left"))
    assert answers
    enrolment = await company.root.read("/v1/subjects/user:ann")
    assert (enrolment["active"], enrolment["reason"]) == (False, "left")


async def test_who_is_provisioned_again_does_not_undo_what_an_administrator_decides_meanwhile(company: Running) -> None:
    id_ = await provisioned(company, "ann")
    assert (await company.root.send("DELETE", f"/scim/v2/Users/{id_}")).status_code == 204
    now = datetime.now(UTC)
    async with overtaking(company, company.root.post("/scim/v2/Users", user("ann"))) as (tx, answers):
        await roster.put(tx, Enrolment(ANN, active=False, tokens_since=now, at=now, by="user:root", reason="left"))
    assert answers[0].status_code == 201
    enrolment = await company.root.read("/v1/subjects/user:ann")
    assert (enrolment["active"], enrolment["reason"]) == (False, "left")


async def test_who_is_deprovisioned_while_an_administrator_shuts_them_out_stays_shut_out(company: Running) -> None:
    id_ = await provisioned(company, "ann")
    now = datetime.now(UTC)
    leaving = company.root.send("DELETE", f"/scim/v2/Users/{id_}")
    async with overtaking(company, leaving) as (tx, answers):
        await roster.put(tx, Enrolment(ANN, active=False, tokens_since=now, at=now, by="user:root", reason="left"))
    assert answers[0].status_code == 204
    await provisioned(company, "ann")
    enrolment = await company.root.read("/v1/subjects/user:ann")
    assert (enrolment["active"], enrolment["reason"]) == (False, "left")


@pytest.mark.parametrize("maker", ["nightly", "root"])
async def test_nobody_makes_a_key_that_outlives_the_end_of_their_sign_ins(company: Running, maker: str) -> None:
    caller: Caller = getattr(company, maker)
    subject = Subject.parse((await caller.read("/v1/whoami"))["subject"])
    now = datetime.now(UTC)
    until = (now + timedelta(minutes=5)).isoformat()
    wish = {"service": "service:nightly", "use": "changes", "until": until, "because": "to stay"}
    # Who ends the sign-ins began before the request that makes the key, and is acknowledged after it began.
    async with overtaking(company, caller.post("/v1/keys", wish)) as (tx, answers):
        await roster.put(tx, Enrolment(subject, tokens_since=now, at=now, by="user:sam", reason="stolen"))
        assert await keys.revoke_keys_of(tx, subject, why="stolen", by="user:sam", at=now) == []
    refusal(answers[0], 401)
    async with company.app.state.house.db.begin() as tx:
        assert await keys.in_force(tx, NIGHTLY, now) == 0


async def test_the_yes_of_somebody_who_left_does_not_count(company: Running) -> None:
    for name in ("sam", "audrey"):
        rights = grant(f"user:{name}", ["approve", "discover"], on={"domain": "sales"})
        await company.root.make(f"/v1/grants/{name}-approves", rights)
    await company.root.make("/v1/grants/ann-knows", grant("user:ann", ["discover"], on={"domain": "sales"}))
    restricted = dataset("s3://lake/sales/margins.csv", classification="restricted")
    await company.sam.make("/v1/datasets/sales.margins", restricted)
    wish = {"actions": ["load"], "datasets": ["sales.margins"], "environments": ["dev"], "because": "a report"}
    asked = (await company.ann.post("/v1/requests", wish)).json()
    door = f"/v1/requests/{asked['id']}/approve"
    assert (await company.sam.post(door, {})).json()["approvals"]
    assert (await company.root.post("/v1/subjects/user:sam/end", WHY)).status_code == 200
    told = (await company.audrey.post(door, {})).json()
    assert (told["state"], [each["by"] for each in told["approvals"]]) == ("pending", ["user:audrey"])


async def test_of_two_who_follow_the_first_link_at_once_one_administers(issuer: RunningIssuer, database: str) -> None:
    link = await prepare(settings_for(issuer, bootstrap_admin=None), database)
    assert link is not None
    body = {"secret": link.partition("?link=")[2]}
    async with running(issuer, database, bootstrap_admin=None) as here:
        following = [caller.post("/v1/first-administrator", body) for caller in (here.ann, here.eve, here.sam)]
        answers = await asyncio.gather(*following)
        assert sorted(answer.status_code for answer in answers) == [201, 404, 404]
        callers = dict(zip((here.ann, here.eve, here.sam), answers, strict=True))
        for caller, answer in callers.items():
            governs = bool((await caller.read("/v1/whoami"))["domains"])
            assert governs == (answer.status_code == 201)


async def test_no_key_is_made_for_a_service_whose_access_ends_meanwhile(company: Running) -> None:
    now = datetime.now(UTC)
    until = (now + timedelta(minutes=5)).isoformat()
    wish = {"service": "service:nightly", "use": "changes", "until": until, "because": "it asked for one"}
    async with overtaking(company, company.root.post("/v1/keys", wish)) as (tx, answers):
        await roster.put(tx, Enrolment(NIGHTLY, active=False, tokens_since=now, at=now, by="user:sam", reason="gone"))
    refusal(answers[0], 409)


async def test_who_shows_a_revoked_key_again_and_again_makes_nobody_be_looked_up_anew(company: Running) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wish = {"service": "service:nightly", "use": "changes", "until": until, "because": "it was published"}
    made = (await company.root.post("/v1/keys", wish)).json()
    present: Present = company.app.state.doorkeeper._present
    counts = []
    for _ in range(3):
        assert (await company.nobody.post("/v1/keys/revoke", {"key": made["key"]})).status_code == 204
        assert (await company.root.send("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
        counts.append((await present.now()).roster)
    assert len(set(counts)) == 1
    told = (await company.audrey.read("/v1/ledger?event=key.revoked"))["items"]
    assert len(told) == 1


# --- an administrator who would keep others out ---------------------------------------------------------------------


async def test_an_administrator_cannot_speak_in_the_name_of_the_identity_provider(company: Running) -> None:
    await company.ann.read("/v1/whoami")
    assert (await company.root.post("/v1/subjects/user:ann/end", {"reason": DEPROVISIONED})).status_code == 200
    assert (await company.root.post("/v1/subjects/user:ann/admit", {"reason": "it was a trick"})).status_code == 200


async def test_whom_a_provider_shut_out_it_alone_admits_whatever_their_sign_ins_come_to(company: Running) -> None:
    id_ = await provisioned(company, "ann")
    assert (await company.root.send("DELETE", f"/scim/v2/Users/{id_}")).status_code == 204
    assert (await company.root.post("/v1/subjects/user:ann/end-sign-ins", WHY)).status_code == 200
    refusal(await company.root.post("/v1/subjects/user:ann/admit", WHY), 409)
    await provisioned(company, "ann")
    assert (await company.root.read("/v1/subjects/user:ann"))["active"] is True


async def test_a_local_group_does_not_take_the_name_of_one_that_is_provisioned_meanwhile(company: Running) -> None:
    now = datetime.now(UTC)
    told = Group(new_id(now).hex, GroupRecord("readers"), "readers", now, now)
    making = company.root.put("/v1/groups/readers", {"members": ["user:ann"], "parents": []}, after=0)
    async with overtaking(company, making) as (tx, answers):
        await provisioning.put_group(tx, "corp", None, told)
    refusal(answers[0], 409)


# --- whoever holds a key for provisioning ---------------------------------------------------------------------------


@pytest.fixture
async def two_directories(issuer: RunningIssuer, database: str) -> AsyncIterator[Running]:
    """The company, whose partners have an identity provider of their own."""
    corp, partner = (
        {"name": name, "issuer": url, "audience": "muniment", "default": name == "corp"}
        for name, url in (("corp", issuer.url), ("partner", "https://partner.example"))
    )
    async with running(issuer, database, issuers=issuers_from([corp, partner])) as service:
        await found_company(service)
        await service.root.make("/v1/grants/partner", grant("service:scim", ["administer"], on={"domain": "all"}))
        yield service


async def provisioner(service: Running, **more: object) -> Caller:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wish = {"service": "service:scim", "use": "provisioning", "until": until, "because": "SCIM", **more}
    answer = await service.root.post("/v1/keys", wish)
    assert answer.status_code == 201, answer.text
    assert answer.json()["directory"] == more.get("directory")
    return Caller(service.http, answer.json()["key"])


async def test_a_key_for_one_directory_says_nothing_of_the_people_of_another(two_directories: Running) -> None:
    service = two_directories
    ours, theirs = await provisioner(service), await provisioner(service, directory="partner")
    for key, own, foreign in ((ours, "/scim/v2", "/scim/partner/v2"), (theirs, "/scim/partner/v2", "/scim/v2")):
        assert (await key.post(f"{own}/Users", user("mallory"))).status_code == 201
        assert (await key.post(f"{foreign}/Users", user("oscar"))).status_code == 403
        assert (await key.get(f"{foreign}/Users")).status_code == 403
    made = await ours.post("/scim/corp/v2/Users", user("zoe"))
    assert made.status_code == 201
    assert (await theirs.send("DELETE", f"/scim/v2/Users/{made.json()['id']}")).status_code == 403


@pytest.mark.parametrize(("use", "directory"), [("changes", "corp"), ("provisioning", "nowhere")])
async def test_a_directory_is_that_of_an_issuer_and_of_a_key_for_provisioning(
    company: Running, use: str, directory: str
) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wish = {"service": "service:scim", "use": use, "until": until, "because": "SCIM", "directory": directory}
    problem = refusal(await company.root.post("/v1/keys", wish), 422)
    assert [each["at"] for each in problem["errors"]] == ["directory"]


async def test_an_administrator_does_not_name_themselves_for_emergencies(issuer: RunningIssuer, database: str) -> None:
    async with running(issuer, database, break_glass="group:emergencies") as service:
        await found_company(service)
        root, sam = service.root, service.sam
        await root.make("/v1/grants/sam-administers", grant("user:sam", ["administer"], on={"domain": "all"}))
        helpers: dict[str, object] = {"members": ["user:root"], "parents": []}
        refusal(await root.put("/v1/groups/emergencies", helpers, after=0), 403)
        await root.make("/v1/groups/emergencies", {"members": ["user:ann"], "parents": []})
        refusal(await root.put("/v1/groups/helpers", {**helpers, "parents": ["group:emergencies"]}, after=0), 403)
        both: dict[str, object] = {"members": ["user:ann", "user:root"], "parents": []}
        refusal(await root.put("/v1/groups/emergencies", both, after=1), 403)
        emergency = {"actions": ["load"], "on": {"dataset": "hr.salaries"}, "hours": 1, "because": "curious"}
        refusal(await root.post("/v1/break-glass", emergency), 403)
        # Somebody else names them; and who is named already may change the group.
        assert (await sam.put("/v1/groups/emergencies", both, after=1)).status_code == 200
        assert (await root.put("/v1/groups/emergencies", {**both, "description": "two"}, after=2)).status_code == 200


# --- where a credential stands --------------------------------------------------------------------------------------


def bearer(token: str | None) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


async def test_of_two_credentials_none_is_taken(service: Running) -> None:
    good, bad = service.ann.token, "x"
    for headers in ([bearer(good), bearer(bad)], [bearer(bad), bearer(good)], [bearer(good), bearer(good)]):
        refusal(await service.http.request("GET", "/v1/whoami", headers=headers), 401)
    refusal(await service.http.request("GET", "/v1/whoami", headers={"Authorization": f"Bearer {good}, x"}), 401)
    refusal(await service.http.request("GET", "/v1/whoami", headers={"Authorization": f"Bearer Bearer {good}"}), 401)


@pytest.mark.parametrize("name", ["access_token", "token", "key", "authorization"])
async def test_no_credential_is_taken_from_the_address(service: Running, name: str) -> None:
    refusal(await service.nobody.get(f"/v1/whoami?{name}={service.ann.token}"), 401)


async def test_no_credential_is_taken_from_a_body_or_a_cookie(service: Running) -> None:
    token = service.ann.token
    refusal(await service.nobody.send("POST", "/v1/preflight", data={"access_token": token}), 401)
    for cookie in ("access_token", "Authorization", "__Host-muniment"):
        refusal(await service.nobody.get("/v1/whoami", headers={"Cookie": f"{cookie}={token}"}), 401)


# --- what cannot be written down ------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["userName", "externalId", "id"])
@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800"])
async def test_a_filter_with_what_is_no_text_is_refused(service: Running, attribute: str, escape: str) -> None:
    question = {"filter": f'{attribute} eq "a{escape}"'}
    assert (await service.root.get(f"/scim/v2/Users?{httpx.QueryParams(question)}")).status_code == 400
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], **question}
    assert (await service.root.post("/scim/v2/Users/.search", search)).status_code == 400
