"""Every decision of every kind, of a service with rules of every kind, is the same after many later changes.

And one rule that is changed behind the service's back shows, as does a row that was tampered with.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from muniment.app import archive
from muniment.core.ledger import Event, Question
from muniment.core.replays import DECISIONS, NO_DECISIONS
from muniment.flows.replay_decisions import replay_all
from muniment.store.databases import Database
from tests.api.running import FOREVER, Caller, Running, dataset, grant, refusal, revision_of
from tests.api.test_past import now
from tests.api.test_replay import change_much, decide_much, decision, row_of
from tests.owning import owned

pytestmark = pytest.mark.anyio

LOAD = 'action in [Action::"discover", Action::"load"]'

#: What policies can be: cheap and dear to decide, about the time, the purpose, the project, attributes and tags.
POLICIES = {
    "reckoning": f"permit (principal, {LOAD}, resource) when {{ principal has clearance && "
    "principal.clearance * 2 + resource.sensitivity * 3 - 1 >= 5 };",
    "overflowing": 'forbid (principal, action == Action::"save", resource) when { principal has clearance && '
    "principal.clearance * 9223372036854775807 > 0 };",
    "working-hours": f'permit (principal in Group::"analysts", {LOAD}, resource) when {{ '
    'context.now.toTime() >= duration("6h") && context.now.toTime() < duration("18h") && '
    'resource.tags.contains("day") };',
    "unsteady": f'permit (principal in Group::"jobs", {LOAD}, resource) when {{ '
    'context.now.durationSince(datetime("2024-01-01")).toSeconds() > 60 && resource.tags.contains("unsteady") };',
    "for-a-purpose": f'permit (principal in Group::"jobs", {LOAD}, resource) when {{ context has purpose && '
    'context.purpose == "q" };',
    "not-here": 'forbid (principal, action, resource) when { context has project && context.project like "no*" };',
    "made": f'permit (principal in Group::"planners", {LOAD}, resource) when {{ resource.name like "*_orders" }};',
}

MASKS: dict[str, dict[str, Any]] = {
    "mask": {"kind": "mask", "obligation": {"columns": ["email"], "action": "replace-with-null"}},
    "filter": {"kind": "row_filter", "obligation": {"type": "eq", "term": "region", "value": "eu"}},
}

PEOPLE = ("ann", "sam", "eve", "nightly")


async def found_rules(service: Running) -> None:
    """Rules of every kind on top of the company's, requests among them: Sam and Theo approve in sales."""
    root, sam = service.root, service.sam
    for id_, cedar in POLICIES.items():
        await root.make(f"/v1/policies/{id_}", {"cedar": cedar, "scope": "sales"})
    for id_, what in MASKS.items():
        cedar = f'permit (principal in Group::"{id_}ed", action == Action::"load", resource == Dataset::"sales.dayly");'
        await root.make(f"/v1/policies/{id_}", {"cedar": cedar, "scope": "sales", **what})
    datasets: dict[str, dict[str, Any]] = {
        "dayly": {"tags": ["day"], "sensitivity": 2},
        "shaky": {"tags": ["unsteady"]},
        "guarded": {"classification": "restricted"},
    }
    for name, more in datasets.items():
        await sam.make(f"/v1/datasets/sales.{name}", dataset(f"s3://lake/sales/{name}.csv", **more))
    await root.make("/v1/grants/known", grant("group:analysts", ["discover"], on={"domain": "sales"}))
    for name in ("sam", "theo"):
        await root.make(f"/v1/grants/{name}-approves", grant(f"user:{name}", ["approve"], on={"domain": "sales"}))
    await root.make("/v1/grants/theo-knows", grant("user:theo", ["discover"], on={"domain": "sales"}))


async def ask_as_others_do(service: Running) -> int:
    """Evaluations, searches and questions who may; gives how many were answered."""
    count = 0
    dev = {"environment": "dev", "project": "p", "purpose": "q"}
    things = [
        *({"type": "dataset", "id": f"sales.{leaf}"} for leaf in ("orders", "dayly", "eu_orders", "never")),
        {"type": "dataset", "id": "hr.salaries"},
        {"type": "domain", "id": "sales"},
        {"type": "planet", "id": "sales"},
    ]
    subjects = [{"type": "service" if p == "nightly" else "user", "id": p} for p in (*PEOPLE, "never-seen", " no")]
    nowhere = {"subject": subjects[0], "context": {"environment": "no"}}
    each = [*({"subject": subject} for subject in subjects), {"subject": {"type": "user"}}, nowhere]
    for caller in (service.audrey, service.sam):
        for action in ("discover", "load", "approve", "fly"):
            semantic = {"evaluations_semantic": "deny_on_first_deny" if action == "load" else "execute_all"}
            for thing in things:
                whole = {"action": {"name": action}, "resource": thing, "context": dev}
                count += await answered(caller, "evaluations", {**whole, "evaluations": each, "options": semantic})
                for kind, limit in (("user", 2), ("ghost", 100)):
                    asked = {**whole, "subject": {"type": kind}, "page": {"limit": limit}}
                    count += await answered(caller, "search/subject", asked)
            for subject, kind in product(subjects[1:], ("dataset", "domain")):
                asked = {"subject": subject, "action": {"name": action}, "resource": {"type": kind}, "context": dev}
                count += await answered(caller, "search/resource", asked)
        for subject, thing in product(subjects[1:], things):
            count += await answered(caller, "search/action", {"subject": subject, "resource": thing, "context": dev})
    return count


async def answered(caller: Caller, what: str, asked: object) -> bool:
    return (await caller.post(f"/access/v1/{what}", asked)).status_code == 200


async def ask_who(service: Running, *points: object) -> int:
    """Who may, now and at earlier points, page by page; gives how many pages were answered."""
    count = 0
    for caller in (service.audrey,):
        for point in (None, *points):
            for asked in (
                *({"action": action, "dataset": name, "environment": "dev", "purpose": "q"}
                  for action in ("discover", "load", "save") for name in ("sales.orders", "sales.dayly")),
                {"action": "grant", "domain": "sales"},
                {"action": "administer", "domain": "all"},
                {"action": "approve", "dataset": "sales.orders"},
            ):  # fmt: skip
                after: str | None = ""
                while after is not None:
                    page = {**asked, "limit": 1, "after": after, **({} if point is None else {"at": point})}
                    answer = await caller.get("/v1/who", params=page)
                    count += answer.status_code == 200
                    after = answer.json()["next"] if answer.status_code == 200 else None
    return count


async def request_much(service: Running, turn: int) -> int:
    """Requests that are approved, denied, seconded and then approved by another, and taken back."""
    theo = service.somebody("sam", sub="theo")

    async def made(*names: str) -> str:
        asked = {"actions": ["load", "save"], "datasets": names, "environments": ["prod"], "because": f"turn {turn}"}
        answer = await service.ann.post("/v1/requests", asked)
        assert answer.status_code == 201, answer.text
        id_: str = answer.json()["id"]
        return id_

    async def done(caller: Caller, id_: str, verb: str, **body: Any) -> None:
        answer = await caller.post(f"/v1/requests/{id_}/{verb}", body)
        assert answer.status_code == 200, answer.text

    await done(service.sam, await made("sales.targets", "sales.shaky"), "approve", datasets=["sales.targets"])
    await done(theo, await made("sales.targets"), "deny", because="you have it")
    await done(service.ann, await made("sales.shaky"), "withdraw")
    guarded = await made("sales.guarded")
    await done(service.sam, guarded, "approve")
    await done(theo, guarded, "approve")
    return 4


async def replayed(service: Running, doubt: timedelta | None = None) -> tuple[int, list[str]]:
    """How many decisions were computed again by somebody who holds nothing of them, and those that differ."""
    async with archive(service.settings, service.url) as rows:
        held = rows if doubt is None else type(rows)(rows.db, rows.realms, doubt)
        found = [each async for each in replay_all(held, Question())]
    return len(found), [f"{each.row.event} {each.row.details}: {each.fault}" for each in found if not each.equal]


async def run(service: Running, *statements: str) -> list[Any]:
    """Do as somebody could who owns the database; gives what the last statement found, or how many rows it changed."""
    *before, last = statements
    db = Database.open(owned(service.url))
    try:
        async with db.begin() as tx:
            for statement in before:
                await tx.execute(text(statement))
            done = await tx.execute(text(last))
            return list(done.scalars()) if done.returns_rows else [done.rowcount]
    finally:
        await db.close()


async def test_every_event_holds_a_decision_or_says_why_it_holds_none() -> None:
    assert DECISIONS | NO_DECISIONS.keys() == set(Event)
    assert not DECISIONS & NO_DECISIONS.keys()


async def test_a_busy_service_is_computed_again_whole_and_one_rule_changed_afterwards_shows(company: Running) -> None:
    await found_rules(company)
    for person in PEOPLE:
        await getattr(company, person).get("/v1/whoami")
    count = await decide_much(company)
    for turn in (1, 2):
        between, before = now(), await revision_of(company)
        await change_much(company, turn)
        for id_ in MASKS:
            bound = {"members": ["user:ann"] if turn == 1 else ["service:nightly"]}
            group = await company.root.put(f"/v1/groups/{id_}ed", bound, after=turn - 1)
            assert group.status_code in {200, 201}, group.text
        count += await decide_much(company, past=between)
        count += await request_much(company, turn)
        count += await ask_who(company, between, before)
        if turn == 1:
            count += await ask_as_others_do(company)
    for id_ in POLICIES:
        assert (await company.root.delete(f"/v1/policies/{id_}", after=1)).status_code == 204

    again, differing = await replayed(company)

    assert differing == []
    assert (again, again > 500) == (count, True)
    assert set(await run(company, "SELECT DISTINCT event FROM ledger WHERE decided_sha256 IS NOT NULL")) == DECISIONS

    changed = await run(
        company,
        "ALTER TABLE policies DISABLE TRIGGER USER",
        "UPDATE policies SET body = replace(body::text, '* 2 +', '* 1 +')::json WHERE key = 'reckoning'",
    )
    assert changed == [2]
    _, differing = await replayed(company)
    assert {each.partition(" ")[0] for each in differing} >= {
        "catalog.served",
        "lease.served",
        "access.denied",
        "access.explained",
        "access.evaluated",
        "access.searched",
    }


WHO = "/v1/who?action=load&dataset=sales.orders&environment=dev"


async def test_somebody_left_out_of_an_answer_who_may_shows(company: Running) -> None:
    """Once it is certain how everybody was known when it was asked."""
    await company.ann.catalog()
    await company.root.make("/v1/grants/eve-too", grant("user:eve", ["load"], on={"dataset": "sales.orders"}))
    await company.eve.catalog()
    given = await company.audrey.get(WHO)
    assert [each["subject"] for each in given.json()["items"]] == ["user:ann", "user:eve"]
    assert (await replayed(company, timedelta(0)))[1] == []
    left = await company.audrey.get(WHO + "&limit=1")
    assert left.json()["next"] == "user:ann"

    await run(
        company,
        "ALTER TABLE ledger DISABLE TRIGGER USER",
        "UPDATE ledger SET details = details || jsonb_build_object('found_states', '[]'::jsonb), "
        "decided_sha256 = encode(sha256('[]'), 'hex') WHERE event = 'access.searched'",
    )

    _, differing = await replayed(company, timedelta(0))
    assert len(differing) == 2


EVES = "(SELECT digest FROM subject_states WHERE id = 'eve')"


@pytest.mark.parametrize(
    "tampering",
    [
        "decided_sha256 = repeat('0', 64)",
        "decided_sha256 = NULL",
        "revision = 3",
        "details = details || '{\"about_states\": {}}'",
        f"details = details || jsonb_build_object('about_states', jsonb_build_object('user:ann', {EVES}))",
        "details = jsonb_set(details, '{evaluations,0,about}', '\"user:eve\"')",
        "details = jsonb_set(details, '{evaluations,0,action}', '\"save\"')",
        "details = jsonb_set(details, '{evaluations,0,action}', '\"fly\"')",
        "details = jsonb_set(details, '{evaluations,0,name}', '7')",
        "details = details - 'evaluations'",
    ],
)
async def test_an_evaluation_that_was_tampered_with_is_caught(company: Running, tampering: str) -> None:
    for caller in (company.ann, company.eve):
        await caller.get("/v1/whoami")
    orders = {"type": "dataset", "id": "sales.orders"}
    ann = {"type": "user", "id": "ann"}
    asked = {"subject": ann, "action": {"name": "load"}, "resource": orders, "context": {"environment": "dev"}}
    assert await answered(company.audrey, "evaluation", asked)
    assert await replayed(company) == (1, [])
    update = f"UPDATE ledger SET {tampering} WHERE event = 'access.evaluated'"
    assert await run(company, "ALTER TABLE ledger DISABLE TRIGGER USER", update) == [1]
    assert len((await replayed(company))[1]) == 1


async def test_the_right_of_an_approver_is_shown_as_it_was_when_they_approved(company: Running) -> None:
    await company.root.make("/v1/grants/known", grant("group:analysts", ["discover"], on={"domain": "sales"}))
    await company.root.make("/v1/grants/sam-approves", grant("user:sam", ["approve"], on={"domain": "sales"}))
    wish = {"actions": ["load"], "datasets": ["sales.targets"], "environments": ["dev"], "because": FOREVER}
    asked = (await company.ann.post("/v1/requests", wish)).json()
    approval = await company.sam.post(f"/v1/requests/{asked['id']}/approve", {})
    assert (await company.root.delete("/v1/grants/sam-approves", after=1)).status_code == 204

    again = await decision(company.audrey, (await row_of(company, approval))["id"])

    assert again["equal"] is True
    (told,) = again["decided"]
    assert (told["dataset"], told["action"], told["allowed"]) == ("sales.targets", "approve", True)
    assert told["because"] == ["grant:sam-approves"]


async def test_what_was_answered_about_others_is_told_again_to_those_who_may_ask_about_them(company: Running) -> None:
    await company.ann.catalog()
    found = await row_of(company, await company.sam.get(WHO))
    assert [each["subject"] for each in (await decision(company.sam, found["id"]))["decided"]] == ["user:ann"]
    stewarding = {**grant("user:sam", ["declare", "discover"], on={"domain": "sales"})}
    assert (await company.root.put("/v1/grants/sam-stewards-sales", stewarding, after=1)).status_code == 200

    again = await decision(company.sam, found["id"])

    assert (again["equal"], again["decided"]) == (True, [])
    (told,) = (await decision(company.audrey, found["id"]))["decided"]
    assert (told["subject"], told["because"]) == ("user:ann", ["grant:analysts-load-orders"])


async def test_what_somebody_may_govern_is_shown_by_domain(company: Running) -> None:
    asked = {"subject": {"type": "user", "id": "sam"}, "action": {"name": "grant"}, "resource": {"type": "domain"}}
    answer: httpx.Response = await company.sam.post("/access/v1/search/resource", asked)
    assert [each["id"] for each in answer.json()["results"]] == ["sales", "sales.emea"]
    again = await decision(company.sam, (await row_of(company, answer))["id"])
    assert again["equal"] is True
    assert [(each["domain"], each["dataset"]) for each in again["decided"]] == [("sales", None), ("sales.emea", None)]


async def test_the_patterns_of_a_lease_are_of_what_was_decided(company: Running) -> None:
    await company.root.make("/v1/grants/all-sales", grant("user:ann", ["load"], on={"domain": "sales"}))
    row = await row_of(company, await company.ann.get("/v1/leases?environment=dev"))
    assert row["details"]["patterns"] == 1
    assert "sales.{region}_orders" in {each["dataset"] for each in (await decision(company.ann, row["id"]))["decided"]}
    assert await replayed(company) == (1, [])
    unsaid = "UPDATE ledger SET details = details - 'patterns' WHERE event = 'lease.served'"
    await run(company, "ALTER TABLE ledger DISABLE TRIGGER USER", unsaid)
    assert len((await replayed(company))[1]) == 1


async def test_a_trial_is_no_decision_that_could_be_computed_again(company: Running) -> None:
    tried = {"changes": [{"delete": {"kind": "grant", "id": "analysts-load-orders"}}]}
    row = await row_of(company, await company.root.post("/v1/try", tried))
    problem = refusal(await company.audrey.get(f"/v1/ledger/{row['id']}/decision"), 422)
    assert problem["detail"].endswith(NO_DECISIONS[Event.CHANGE_TRIED])


async def test_what_a_key_and_somebody_who_was_provisioned_were_given_is_computed_again(company: Running) -> None:
    """A key asks for its bounds alone, and who is provisioned is in the groups of the directory, not of the token."""
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    bounds = {"environment": "dev", "project": "p", "purpose": "q"}
    wish = {"service": "service:nightly", "use": "runs", "until": until, "because": "a test", **bounds}
    made = await company.root.post("/v1/keys", wish)
    assert made.status_code == 201, made.text
    job = Caller(company.http, made.json()["key"])
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "analysts", "members": []}
    told = await company.root.post("/scim/v2/Groups", group)
    assert told.status_code == 201, told.text

    for caller, held in ((job, ["sales.targets"]), (company.ann, [])):
        assert list(await caller.catalog("dev", project="p", purpose="q")) == held
        preflight = {**bounds, "load": ["sales.orders", "sales.targets"]}
        assert (await caller.post("/v1/preflight", preflight)).status_code == 200
    refusal(await job.get("/v1/catalog?environment=prod"), 403)
    assert (await company.root.send("DELETE", f"/v1/keys/{made.json()['id']}")).status_code == 204
    gone = await company.root.send("DELETE", f"/scim/v2/Groups/{told.json()['id']}")
    assert gone.status_code == 204, gone.text
    assert list(await company.ann.catalog()) == []  # a name stays held (decision 0028)

    assert await replayed(company) == (5, [])
    for event in ("key.made", "key.revoked", "group.provisioned"):
        (row, *_) = (await company.audrey.read(f"/v1/ledger?event={event}"))["items"]
        problem = refusal(await company.audrey.get(f"/v1/ledger/{row['id']}/decision"), 422)
        assert problem["detail"].endswith(NO_DECISIONS[Event(event)])
