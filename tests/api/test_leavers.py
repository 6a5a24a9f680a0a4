"""Somebody leaves: what they hold is shown to who may see it, and handed over in one change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Running, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def leaving(company: Running) -> Running:
    """The company from which Ben leaves: he owns, is in a group, is granted something, is named, and wrote a rule."""
    root = company.root
    ben = company.somebody("eve", sub="ben", groups=["analysts", "solo"])
    await ben.get("/v1/whoami")
    await root.make("/v1/domains/sales.apac", {"owner": "user:ben"})
    await root.make("/v1/domains/hr.pay", {"owner": "group:solo"})
    await root.make("/v1/groups/helpers", {"members": ["user:ben", "user:ann"]})
    stewarding = grant("user:ben", ["declare", "grant", "discover"], on={"domain": "sales"})
    await root.make("/v1/grants/ben-stewards", stewarding)
    await root.make("/v1/grants/ben-hr", grant("user:ben", ["load"], on={"dataset": "hr.salaries"}))
    await root.make("/v1/grants/ben-makes", grant("user:ben", ["classify"], on={"domain": "sales"}))
    owned = dataset("s3://lake/sales/ben.csv", owner="user:ben")
    await ben.make("/v1/datasets/sales.bens", owned)
    browse = 'permit (principal in Group::"x", action == Action::"discover", resource);'
    await ben.make("/v1/policies/bens", {"scope": "sales", "cedar": browse})
    only = 'permit (principal == User::"ben", action == Action::"discover", resource);'
    await root.make("/v1/policies/for-ben", {"scope": "hr", "cedar": only})
    but = 'forbid (principal, action == Action::"save", resource) unless { principal == User::"ben" };'
    await root.make("/v1/policies/all-but-ben", {"scope": "hr", "cedar": but})
    never = 'forbid (principal == User::"ben", action == Action::"save", resource);'
    await root.make("/v1/policies/never-ben", {"scope": "hr", "cedar": never})
    return company


async def hand_over(service: Running, who: str, to: str, subject: str = "user:ben") -> Any:
    body = {"to": to, "reason": "Ben leaves at the end of the month"}
    return await getattr(service, who).send("POST", f"/v1/subjects/{subject}/hand-over", json=body)


async def test_an_auditor_sees_all_that_somebody_holds(leaving: Running) -> None:
    held = await leaving.audrey.read("/v1/subjects/user:ben/holdings")
    assert held["owns"] == {"domains": ["sales.apac"], "datasets": ["sales.bens"]}
    assert held["alone"] == {"group:solo": ["hr.pay"]}
    assert held["groups"] == ["group:helpers"]
    assert held["token_groups"] == ["group:analysts", "group:solo"]
    assert [rule["id"] for rule in held["addressed"]] == [
        "for-ben", "grant:ben-hr", "grant:ben-makes", "grant:ben-stewards", "never-ben",
    ]  # fmt: skip
    assert held["addressed"][1]["says"] == "The user ben may load hr.salaries."
    assert [rule["id"] for rule in held["named"]] == ["all-but-ben"]
    assert held["wrote"] == ["bens"]
    assert held["may_use"] == {
        "hr.salaries": {"dev": ["load"], "prod": ["load"]},
        "sales.orders": {"dev": ["load"], "prod": ["load"]},
    }


async def test_a_steward_sees_what_lies_in_their_own_scopes(leaving: Running) -> None:
    held = await leaving.sam.read("/v1/subjects/user:ben/holdings")
    assert held["owns"] == {"domains": ["sales.apac"], "datasets": ["sales.bens"]}
    assert [rule["id"] for rule in held["addressed"]] == ["grant:ben-makes", "grant:ben-stewards"]
    assert held["wrote"] == ["bens"]
    assert list(held["may_use"]) == ["sales.orders"]
    assert held["token_groups"] == []
    assert held["alone"] == {}
    assert "hr" not in str(held)


async def test_whoever_reads_no_rules_is_refused_alike_about_everybody(leaving: Running) -> None:
    said = {
        (answer.status_code, answer.text)
        for subject in ("user:ben", "user:ann", "user:whoever")
        for answer in [await leaving.ann.get(f"/v1/subjects/{subject}/holdings")]
    }
    assert len(said) == 1
    refusal(await leaving.ann.get("/v1/subjects/user:ben/holdings"), 403)
    refusal(await leaving.audrey.get("/v1/subjects/user:whoever/holdings"), 404)
    refusal(await leaving.audrey.get("/v1/subjects/ben/holdings"), 422)


async def test_all_that_somebody_holds_is_handed_over_in_one_change(leaving: Running) -> None:
    before = await revision_of(leaving)
    answer = await hand_over(leaving, "root", "user:sam")
    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert done["owns"] == {"domains": ["sales.apac"], "datasets": ["sales.bens"]}
    assert done["groups"] == ["group:helpers"]
    assert done["ended"] == ["grant:ben-hr", "grant:ben-makes", "grant:ben-stewards", "for-ben"]
    assert done["still_named"] == ["never-ben", "all-but-ben"]
    assert done["revision"] == before + 1
    root = leaving.root
    assert (await root.read("/v1/domains/sales.apac"))["owner"] == "user:sam"
    assert (await leaving.sam.read("/v1/datasets/sales.bens"))["owner"] == "user:sam"
    assert (await root.read("/v1/groups/helpers"))["members"] == ["user:ann"]
    assert (await root.get("/v1/grants/ben-hr")).status_code == 404
    (row,) = (await leaving.audrey.read("/v1/ledger?event=subject.handed_over"))["items"]
    assert row["details"]["about"] == "user:ben"
    assert row["details"]["to"] == "user:sam"
    assert row["details"]["reason"] == "Ben leaves at the end of the month"
    assert row["datasets"] == ["sales.bens"]
    left = await leaving.audrey.read("/v1/subjects/user:ben/holdings")
    assert left["owns"] == {"domains": [], "datasets": []}
    assert list(left["may_use"]) == ["sales.orders"]
    refusal(await hand_over(leaving, "root", "user:sam"), 409)


async def test_only_an_administrator_hands_over_and_only_to_somebody_who_is_known(leaving: Running) -> None:
    before = await revision_of(leaving)
    refusal(await hand_over(leaving, "sam", "user:sam"), 403)
    refusal(await hand_over(leaving, "eve", "user:eve", "user:whoever"), 403)
    for nobody in ("user:ben", "user:whoever", "group:nobody-is-in"):
        assert refusal(await hand_over(leaving, "root", nobody), 422)["errors"][0]["at"] == "to"
    refusal(await hand_over(leaving, "root", "ben"), 422)
    assert await revision_of(leaving) == before
    assert (await hand_over(leaving, "root", "group:helpers")).status_code == 200


async def test_nobody_hands_themselves_data_over(leaving: Running) -> None:
    owners = 'permit (principal, action == Action::"load", resource is Dataset) when { principal in resource.owner };'
    await leaving.root.make("/v1/policies/owners", {"scope": "all", "cedar": owners})
    problem = refusal(await hand_over(leaving, "root", "user:root"), 403)
    assert "widen your own access" in problem["detail"]


async def test_the_last_administrator_is_not_handed_over(leaving: Running) -> None:
    refusal(await hand_over(leaving, "root", "user:sam", "user:root"), 403)
