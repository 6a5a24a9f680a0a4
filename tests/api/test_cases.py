"""A policy's cases through the doors: written with it, and held against every change of anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Running, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

ANN_LOADS = {
    "name": "Ann reports",
    "subject": "user:ann",
    "groups": ["analysts"],
    "action": "load",
    "dataset": "sales.orders",
    "environment": "prod",
    "allowed": True,
}
PROMISE: dict[str, Any] = {
    "scope": "sales",
    "cedar": 'forbid (principal == User::"nobody", action == Action::"discover", resource);',
    "cases": [ANN_LOADS],
}


@pytest.fixture
async def promised(company: Running) -> Running:
    """The company, in which a policy promises that Ann loads the orders."""
    await company.sam.make("/v1/policies/promise", PROMISE)
    return company


async def test_a_case_is_kept_with_its_policy_as_it_was_written(promised: Running) -> None:
    assert (await promised.sam.read("/v1/policies/promise"))["cases"] == [ANN_LOADS]


async def test_a_change_of_whatever_noun_by_which_a_case_would_fail_is_refused_and_changes_nothing(
    promised: Running,
) -> None:
    root, sam = promised.root, promised.sam
    before = await revision_of(promised)
    closed = {"scope": "sales", "cedar": "forbid (principal, action, resource);"}
    tagged = 'forbid (principal, action, resource is Dataset) when { resource.tags.contains("pii") };'
    orders = dataset("s3://lake/sales/orders.csv", description="Every order.", tags=["pii"])
    for answer in (
        await sam.put("/v1/policies/closed", closed, after=0),
        await root.delete("/v1/grants/analysts-load-orders", after=1),
        await root.put("/v1/groups/analysts", {"members": ["user:ben"]}, after=0),
    ):
        assert refusal(answer, 409)["type"] == "/problems/case-fails"
    assert await revision_of(promised) == before
    await root.make("/v1/policies/pii", {"scope": "sales", "cedar": tagged})
    problem = refusal(await sam.put("/v1/datasets/sales.orders", orders, after=1), 409)
    assert problem["title"] == "Case fails"
    assert problem["cases"] == [
        {
            "policy": "promise",
            "case": "Ann reports",
            "says": "user:ann may load sales.orders in prod",
            "found": "user:ann could not load sales.orders in prod",
            "because": ["pii"],
        }
    ]
    assert "promise: user:ann may load sales.orders in prod; but then user:ann could not" in problem["detail"]
    rows = (await promised.audrey.read("/v1/ledger?event=change.refused&limit=1"))["items"]
    assert rows[0]["details"] == {"problem": "Case fails"}


async def test_a_case_that_does_not_hold_is_not_written_and_one_that_is_not_sound_says_where(company: Running) -> None:
    false = {**PROMISE, "cases": [{**ANN_LOADS, "allowed": False}]}
    assert refusal(await company.sam.put("/v1/policies/promise", false, after=0), 409)["title"] == "Case fails"
    strange = {**PROMISE, "cases": [ANN_LOADS, {**ANN_LOADS, "environment": "prd"}]}
    problem = refusal(await company.sam.put("/v1/policies/promise", strange, after=0), 422)
    assert [fault["at"] for fault in problem["errors"]] == ["cases.1.environment"]
    misspelt = {**PROMISE, "cases": [{**ANN_LOADS, "dataste": "sales.orders"}]}
    problem = refusal(await company.sam.put("/v1/policies/promise", misspelt, after=0), 422)
    assert problem["errors"][0]["at"] == "cases.0.dataste"


async def test_a_case_that_is_no_longer_meant_is_taken_away_and_the_change_made(promised: Running) -> None:
    assert (await promised.sam.put("/v1/policies/promise", {**PROMISE, "cases": []}, after=1)).status_code == 200
    assert (await promised.root.delete("/v1/grants/analysts-load-orders", after=1)).status_code == 204


async def test_a_set_of_changes_is_held_against_the_cases_as_a_whole(promised: Running) -> None:
    root = promised.root
    gone = {"delete": {"kind": "grant", "id": "analysts-load-orders"}}
    instead = grant("group:analysts", ["load"], on={"domain": "sales"})
    given = {"put": {"kind": "grant", "id": "analysts-load-sales", "body": instead}}
    at = {"If-Match": f'"{await revision_of(promised)}"'}

    refusal(await root.send("POST", "/v1/apply", json={"changes": [gone]}, headers=at), 409)
    both = await root.send("POST", "/v1/apply", json={"changes": [gone, given]}, headers=at)

    assert both.status_code == 200, both.text


async def test_who_reads_no_rules_there_is_told_of_a_case_only_that_it_would_fail(company: Running) -> None:
    case = {"name": "the board reads orders", "group": "board", "action": "load", "dataset": "sales.orders",
            "allowed": True}  # fmt: skip
    root, sam = company.root, company.sam
    await root.make("/v1/grants/board", grant("group:board", ["load"], on={"domain": "sales"}))
    await root.make("/v1/policies/board-reads", {**PROMISE, "scope": "all", "cases": [case]})
    closed = {"scope": "sales", "cedar": "forbid (principal, action, resource);"}
    problem = refusal(await sam.put("/v1/policies/closed", closed, after=0), 409)
    assert problem["cases"] == [{"policy": "board-reads", "case": "case 1"}]
    assert "orders" not in problem["detail"]
    problem = refusal(await root.put("/v1/policies/closed", closed, after=0), 409)
    assert "a member of group:board could not load sales.orders in dev" in problem["detail"]


async def test_no_member_of_a_group_stays_so_when_another_group_is_given_something(company: Running) -> None:
    case = {"group": "contractors", "action": "discover", "datasets": "hr.*", "allowed": False}
    root, hugo = company.root, company.hugo
    await hugo.make("/v1/policies/hr-promise", {**PROMISE, "scope": "hr", "cases": [case]})
    staff = grant("group:staff", ["discover"], on={"domain": "hr"})
    problem = refusal(await hugo.put("/v1/grants/staff", staff, after=0), 409)
    assert problem["cases"][0]["found"] == (
        "a member of group:contractors and group:staff could discover hr.salaries in dev"
    )
    closed = 'forbid (principal in Group::"contractors", action, resource);'
    await root.make("/v1/policies/hr-guard", {"scope": "hr", "cedar": closed})
    await hugo.make("/v1/grants/staff", staff)


async def test_nobody_learns_of_a_hidden_dataset_by_writing_a_case_about_it(company: Running) -> None:
    await company.root.make("/v1/grants/eve-grants", grant("user:eve", ["grant"], on={"domain": "sales"}))
    said = set()
    for name in ("sales.targets", "sales.no_such_thing"):
        case = {"subject": "user:x", "action": "load", "dataset": name, "allowed": True}
        answer = await company.eve.put("/v1/policies/mine", {**PROMISE, "cases": [case]}, after=0)
        said.add((answer.status_code, answer.text))
    assert len(said) == 1
    assert next(iter(said))[0] == 422
