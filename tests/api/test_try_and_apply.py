"""Promise 6: several changes are seen before they are made, and made as they were seen, all or none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.running import Caller, Running, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

LOAD_TARGETS = grant("group:analysts", ["load"], on={"dataset": "sales.targets"})


def put(kind: str, id_: str, body: object, **more: object) -> dict[str, Any]:
    return {"put": {"kind": kind, "id": id_, "body": body, **more}}


def delete(kind: str, id_: str, **more: object) -> dict[str, Any]:
    return {"delete": {"kind": kind, "id": id_, **more}}


async def attempt(caller: Caller, *changes: object, query: str = "") -> httpx.Response:
    return await caller.post(f"/v1/try{query}", {"changes": list(changes)})


async def tried(caller: Caller, *changes: object, query: str = "") -> dict[str, Any]:
    answer = await attempt(caller, *changes, query=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def apply(caller: Caller, *changes: object, at: int, **more: object) -> httpx.Response:
    return await caller.send(
        "POST", "/v1/apply", json={"changes": list(changes), **more}, headers={"If-Match": f'"{at}"'}
    )


async def applied(service: Running, caller: Caller, *changes: object) -> dict[str, Any]:
    answer = await apply(caller, *changes, at=await revision_of(service))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def effects(found: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    return {(each["subject"], each["action"], each["dataset"], each["environment"]) for each in found["items"]}


async def meet(service: Running, *names: str) -> None:
    """Somebody is known from when they first asked."""
    for name in names:
        await getattr(service, name).read("/v1/whoami")


# --- what a change does ----------------------------------------------------------------------------


async def test_a_trial_tells_who_would_gain_what_and_changes_nothing(company: Running) -> None:
    await meet(company, "ann", "eve")
    before = await revision_of(company)
    found = await tried(company.root, put("grant", "analysts-load-targets", LOAD_TARGETS))
    expected = {("user:ann", a, "sales.targets", e) for a in ("discover", "load") for e in ("dev", "prod")}
    assert effects(found["gained"]) >= expected
    assert {each["subject"] for each in found["gained"]["items"]} == {"user:ann"}
    assert found["gained"]["subjects"] == 1
    assert found["lost"]["count"] == 0
    assert found["changes"] == [{"kind": "grant", "id": "analysts-load-targets", "version": 0}]
    assert await revision_of(company) == before == found["revision"]
    assert "sales.targets" not in await company.ann.catalog()


async def test_what_is_applied_is_what_was_tried(company: Running) -> None:
    await meet(company, "ann")
    changes = [
        put("grant", "analysts-load-targets", LOAD_TARGETS),
        delete("grant", "analysts-load-orders"),
    ]
    found = await tried(company.root, *changes)
    catalogs = {e: await company.ann.catalog(e) for e in ("dev", "prod")}
    answer = await apply(company.root, *changes, at=found["revision"])
    assert answer.status_code == 200, answer.text
    for environment, had in catalogs.items():
        has = await company.ann.catalog(environment)
        gained = {
            name for _, action, name, there in effects(found["gained"]) if (action, there) == ("load", environment)
        }
        lost = {name for _, action, name, there in effects(found["lost"]) if (action, there) == ("load", environment)}
        assert gained == has.keys() - had.keys() == {"sales.targets"}
        assert lost == had.keys() - has.keys() == {"sales.orders"}


async def test_a_set_is_one_revision_with_one_row(company: Running) -> None:
    before = await revision_of(company)
    made = await applied(
        company,
        company.root,
        put("group", "friends", {"members": ["user:eve"]}),
        put("grant", "friends-load", grant("group:friends", ["load"], on={"dataset": "sales.orders"})),
    )
    assert made["revision"] == before + 1
    assert made["changes"] == [
        {"kind": "group", "id": "friends", "before": 0, "after": 1},
        {"kind": "grant", "id": "friends-load", "before": 0, "after": 1},
    ]
    rows = (await company.audrey.read("/v1/ledger?event=realm.applied"))["items"]
    assert [row["revision"] for row in rows] == [before + 1]
    assert [each["event"] for each in rows[0]["details"]["changes"]] == ["group.changed", "grant.made"]
    assert rows[0]["policies"] == ["grant:friends-load"]
    assert "sales.orders" in await company.eve.catalog()


async def test_each_change_of_a_set_is_in_the_ledger_by_its_name_for_whoever_audits_there(company: Running) -> None:
    """Seen to fail with the set told in one row alone."""
    audits = grant("user:eve", ["audit"], on={"domain": "sales"})
    await company.root.make("/v1/grants/eve-audits-sales", audits)
    changes = [
        put("dataset", "sales.bills", dataset("s3://lake/sales/bills.csv")),
        put("dataset", "hr.bonuses", dataset("s3://lake/hr/bonuses.csv")),
        delete("dataset", "sales.targets"),
    ]
    made = await applied(company, company.root, *changes)
    for auditor, names in ((company.audrey, {"sales.bills", "hr.bonuses"}), (company.eve, {"sales.bills"})):
        rows = (await auditor.read("/v1/ledger?event=dataset.declared&since=2020-01-01T00:00:00Z"))["items"]
        rows = [row for row in rows if row["revision"] == made["revision"]]
        assert {name for row in rows for name in row["datasets"]} == names
        assert len(rows) == len(names)
    (retired,) = (await company.eve.read("/v1/ledger?dataset=sales.targets&event=dataset.retired"))["items"]
    (whole,) = (await company.audrey.read("/v1/ledger?event=realm.applied"))["items"]
    assert (retired["receipt"], retired["request_id"]) == (whole["receipt"], whole["request_id"])
    assert retired["details"]["versions"] == [{"kind": "dataset", "key": "sales.targets", "before": 1, "after": 2}]
    assert "hr.bonuses" not in str((await company.eve.read("/v1/ledger?limit=1000"))["items"])
    streamed = await company.eve.get("/v1/ledger/events?follow=false&after=0.0.0&event=dataset.declared&domain=sales")
    assert "sales.bills" in streamed.text


async def test_a_set_of_one_is_told_as_the_change_that_it_is(company: Running) -> None:
    """Seen to fail with every set told as one."""
    change = put("dataset", "sales.bills", dataset("s3://lake/sales/bills.csv"))
    await applied(company, company.root, change)
    rows = (await company.audrey.read("/v1/ledger?dataset=sales.bills&kind=changed"))["items"]
    assert [row["event"] for row in rows] == ["dataset.declared"]


async def test_a_set_may_declare_a_domain_a_dataset_in_it_and_a_rule_about_that(company: Running) -> None:
    await meet(company, "eve")
    changes = [
        put("environment", "lab", {}),
        put("domain", "ops", {"owner": "group:ops", "locations": ["s3://lake/ops/"]}),
        put("dataset", "ops.logs", dataset("s3://lake/ops/logs.csv")),
        put("grant", "eve-logs", grant("user:eve", ["load"], on={"dataset": "ops.logs"}, environments=["lab"])),
        put("policy", "no-logs", {"scope": "ops", "cedar": 'forbid (principal == User::"ann", action, resource);'}),
    ]
    found = await tried(company.root, *changes)
    assert ("user:eve", "load", "ops.logs", "lab") in effects(found["gained"])
    answer = await apply(company.root, *changes, at=found["revision"], reason="the new area")
    assert answer.status_code == 200, answer.text
    assert "ops.logs" in await company.eve.catalog("lab")


async def test_what_moves_together_is_judged_when_all_has_moved(company: Running) -> None:
    moved = [
        put("domain", "hr", {"owner": "group:hr-owners", "locations": ["s3://vault/hr/"]}),
        put("dataset", "hr.salaries", dataset("s3://vault/hr/salaries.csv", classification="secret")),
    ]
    problem = refusal(await attempt(company.root, moved[0]), 422)
    assert "no longer be sound" in problem["detail"]
    assert (await applied(company, company.root, *moved))["changes"][1]["after"] == 2


async def test_who_loses_a_dataset_that_is_retired_is_told(company: Running) -> None:
    await meet(company, "ann")
    found = await tried(company.root, delete("dataset", "sales.orders"))
    assert effects(found["lost"]) == {("user:ann", "load", "sales.orders", e) for e in ("dev", "prod")}


async def test_rights_to_govern_are_told_apart_from_data(company: Running) -> None:
    await meet(company, "eve")
    found = await tried(
        company.root, put("grant", "eve-declares", grant("user:eve", ["declare"], on={"domain": "sales"}))
    )
    (right,) = found["governing"]["gained"]["items"]
    assert (right["subject"], right["action"], right["on"]) == ("user:eve", "declare", {"domain": "sales"})
    assert found["gained"]["count"] == 0


async def test_a_long_answer_is_cut_and_says_so(company: Running) -> None:
    await meet(company, "ann")
    found = await tried(company.root, put("grant", "analysts-load-targets", LOAD_TARGETS), query="?limit=1")
    assert len(found["gained"]["items"]) == 1
    assert found["gained"]["more"]
    assert found["gained"]["count"] > 1


async def test_a_trial_is_in_the_ledger_and_so_is_one_that_was_refused(company: Running) -> None:
    await tried(company.root, put("grant", "analysts-load-targets", LOAD_TARGETS))
    refusal(await attempt(company.eve, put("grant", "mine", LOAD_TARGETS)), 404)
    rows = (await company.audrey.read("/v1/ledger?event=change.tried"))["items"]
    assert [(row["subject"], row["outcome"]) for row in rows] == [("user:eve", "denied"), ("user:root", "allowed")]


# --- recorded runs ---------------------------------------------------------------------------------


async def test_a_trial_tells_which_recorded_runs_would_have_failed(company: Running) -> None:
    asked = {"environment": "prod", "project": "revenue", "load": ["sales.orders"]}
    assert (await company.ann.post("/v1/preflight", asked)).json()["allowed"]
    assert (await company.ann.post("/v1/preflight", asked)).json()["allowed"]
    await company.nightly.post("/v1/preflight", {"environment": "prod", "save": ["sales.targets"]})
    found = await tried(company.root, delete("grant", "analysts-load-orders"))
    (failing,) = found["runs"]["items"]
    assert failing["subject"] == "user:ann"
    assert (failing["project"], failing["environment"]) == ("revenue", "prod")
    assert (failing["action"], failing["dataset"], failing["times"]) == ("load", "sales.orders", 2)
    assert found["runs"]["complete"]


async def test_a_run_that_asked_for_names_by_a_lease_would_have_failed_too(company: Running) -> None:
    assert (await company.ann.get("/v1/leases?environment=dev&names=sales.orders")).status_code == 200
    found = await tried(company.root, delete("grant", "analysts-load-orders"))
    assert [each["dataset"] for each in found["runs"]["items"]] == ["sales.orders"]


async def test_what_was_refused_then_or_would_be_refused_anyway_is_not_the_changes_doing(company: Running) -> None:
    asked = {"environment": "prod", "load": ["sales.orders", "sales.targets"]}
    assert not (await company.ann.post("/v1/preflight", asked)).json()["allowed"]
    assert (await company.root.delete("/v1/grants/analysts-load-orders", after=1)).status_code == 204
    found = await tried(
        company.root, put("policy", "none", {"cedar": "forbid (principal, action, resource);", "scope": "hr"})
    )
    assert found["runs"]["count"] == 0


# --- what may not be made --------------------------------------------------------------------------


async def test_a_refused_set_says_which_change_and_changes_nothing(company: Running) -> None:
    before = await revision_of(company)
    changes = [
        put("dataset", "sales.plans", dataset("s3://lake/sales/plans.csv")),
        put("dataset", "sales.costs", dataset("s3://elsewhere/costs.csv")),
    ]
    for send in (attempt(company.sam, *changes), apply(company.sam, *changes, at=before)):
        problem = refusal(await send, 422)
        assert problem["change"] == 1
        assert problem["detail"].startswith("changes.1 (put dataset sales.costs): ")
        assert problem["errors"][0]["at"] == "changes.1.environments.base.filepath"
    assert await revision_of(company) == before
    refusal(await company.sam.get("/v1/datasets/sales.plans"), 404)


async def test_nobody_takes_a_right_in_a_set_and_gives_it_back_in_the_same(company: Running) -> None:
    """Seen to fail with the author's access compared before and after the whole set alone."""
    take = 'permit (principal == User::"root", action in [Action::"discover", Action::"load"], resource);'
    take_and_give_back = [
        put("policy", "take", {"cedar": take, "scope": "hr"}),
        put("dataset", "sales.copy", dataset("s3://lake/sales/copy.csv")),
        put("policy", "give-back", {"cedar": take.replace("permit", "forbid"), "scope": "hr"}),
    ]
    problem = refusal(await attempt(company.root, *take_and_give_back), 403)
    assert "widen your own access" in problem["detail"]
    assert problem["change"] == 0
    refusal(await apply(company.root, *take_and_give_back, at=await revision_of(company)), 403)


async def test_nobody_uses_in_a_set_what_they_could_not_use_before_it(company: Running) -> None:
    """The place that is only an administrator's to give stays so, whatever stands before it in the set."""
    rights = put("grant", "sam-administers", grant("user:sam", ["administer"], on={"domain": "sales"}))
    place = put("domain", "sales.own", {"owner": "group:stewards", "locations": ["s3://lake/sales/own/"]})
    problem = refusal(await attempt(company.sam, rights, place), 403)
    assert problem["change"] == 0
    assert refusal(await attempt(company.sam, place), 403)["change"] == 0


async def test_a_set_that_leaves_no_administrator_is_refused(company: Running) -> None:
    only = delete("grant", "bootstrap")
    problem = refusal(await attempt(company.root, only), 403)
    assert "leave nobody who may administer" in problem["detail"]
    refusal(await apply(company.root, only, at=await revision_of(company)), 403)
    await meet(company, "audrey")
    heir = put("grant", "audrey-administers", grant("user:audrey", ["administer"], on={"domain": "all"}))
    await applied(company, company.root, heir, only)
    assert (await company.audrey.get("/v1/policies")).status_code == 200


async def test_groups_that_lie_in_each_other_are_refused(company: Running) -> None:
    changes = [put("group", "one", {"parents": ["group:two"]}), put("group", "two", {"parents": ["group:one"]})]
    problem = refusal(await attempt(company.root, *changes), 422)
    assert problem["change"] == 1
    assert "part of itself" in problem["detail"]


async def test_a_set_tried_at_another_revision_is_not_applied(company: Running) -> None:
    changes = [put("grant", "analysts-load-targets", LOAD_TARGETS)]
    at = (await tried(company.root, *changes))["revision"]
    await company.root.make("/v1/environments/lab", {})
    problem = refusal(await apply(company.root, *changes, at=at), 412)
    assert problem["revision"] == at + 1
    assert f"tried at revision {at}" in problem["detail"]
    refusal(await company.root.post("/v1/apply", {"changes": changes}), 428)
    refusal(await company.root.send("POST", "/v1/apply", json={"changes": changes}, headers={"If-Match": "7"}), 422)


@pytest.mark.parametrize("version", [0, 2, 7])
async def test_a_change_that_begins_from_another_version_is_refused(company: Running, version: int) -> None:
    stale = put("grant", "analysts-load-orders", LOAD_TARGETS, version=version)
    for send in (attempt(company.root, stale), apply(company.root, stale, at=await revision_of(company))):
        problem = refusal(await send, 412)
        assert problem["version"] == 1
        assert problem["change"] == 0
    seen = put("grant", "analysts-load-orders", LOAD_TARGETS, version=1)
    assert (await tried(company.root, seen))["changes"][0]["version"] == 1


@pytest.mark.parametrize(
    ("changes", "at", "words"),
    [
        ([], "", "something to keep"),
        ([{}], "changes.0", "exactly one"),
        ([{**put("group", "g", {}), **delete("group", "g")}], "changes.0", "exactly one"),
        ([put("robot", "r", {})], "changes.0.put", "'dataset'"),
        ([delete("domain", "sales")], "changes.0.delete.kind", "'dataset'"),
        ([put("group", "g", {"colour": "red"})], "changes.0.put.group.body.colour", "no such field"),
        ([put("group", "g", {}), delete("group", "g")], "changes.1", "changed twice"),
        ([put("grant", "g", grant("user:x", ["load"], on={}))], "changes.0.on", "exactly one"),
        ([delete("grant", "g", version=-1)], "changes.0.delete.version", "greater"),
    ],
)  # fmt: skip
async def test_what_is_no_change_is_refused_with_its_place(
    service: Running, changes: list[Any], at: str, words: str
) -> None:
    problem = refusal(await attempt(service.root, *changes), 422)
    assert at in {error["at"] for error in problem["errors"]}, problem
    assert any(words in error["message"] for error in problem["errors"]), problem


# --- what may be known -----------------------------------------------------------------------------


async def test_whoever_may_not_make_a_change_may_not_try_it(service: Running) -> None:
    for caller in (service.ann, service.eve):
        refusal(await attempt(caller, put("grant", "mine", LOAD_TARGETS)), 404)
        refusal(await attempt(caller, put("group", "g", {"members": ["user:eve"]})), 403)
        refusal(await attempt(caller, delete("dataset", "hr.salaries")), 404)
    refusal(await attempt(service.nobody, put("group", "g", {})), 401)


async def test_a_trial_tells_nothing_of_datasets_that_its_author_may_not_know_of(company: Running) -> None:
    """Seen to fail with every effect told to who administers the scope: Eve learned the name of each dataset."""
    await meet(company, "ann")
    eve_rules = grant("user:eve", ["administer"], on={"domain": "sales"})
    await company.root.make("/v1/grants/eve-administers", eve_rules)
    of_one = grant("user:eve", ["discover"], on={"dataset": "sales.orders"})
    await company.root.make("/v1/grants/eve-discovers", of_one)
    await company.ann.post("/v1/preflight", {"environment": "dev", "load": ["sales.orders"]})

    permit = {"scope": "sales", "cedar": 'permit (principal in Group::"analysts", action, resource);'}
    found = await attempt(company.eve, put("policy", "wide", permit))
    assert found.status_code == 200, found.text
    assert {name for _, _, name, _ in effects(found.json()["gained"])} == {"sales.orders"}
    for hidden in ("targets", "leads", "_orders", "salaries"):
        assert hidden not in found.text
    everybody = await tried(company.root, put("policy", "wide", permit))
    assert {name for _, _, name, _ in effects(everybody["gained"])} >= {"sales.targets", "sales.emea.leads"}

    forbid = {"scope": "sales", "cedar": 'forbid (principal in Group::"analysts", action, resource);'}
    stopped = await tried(company.eve, put("policy", "closed", forbid))
    assert [each["dataset"] for each in stopped["runs"]["items"]] == ["sales.orders"]


async def test_a_trial_tells_nothing_of_other_areas(company: Running) -> None:
    await meet(company, "ann", "hugo")
    await company.root.make("/v1/grants/hugo-sees", grant("user:hugo", ["discover"], on={"domain": "sales"}))
    permit = {"scope": "all", "cedar": 'permit (principal in Group::"analysts", action == Action::"load", resource);'}
    await applied(company, company.root, put("policy", "wide", permit))
    await company.root.make("/v1/grants/hugo-administers", grant("user:hugo", ["administer"], on={"domain": "hr"}))
    shut = {"scope": "hr", "cedar": 'forbid (principal in Group::"analysts", action, resource);'}
    found = await tried(company.hugo, put("policy", "shut", shut))
    assert {name for _, _, name, _ in effects(found["lost"])} == {"hr.salaries"}
