"""Asking for access and deciding on it, through the doors: the approval is the grant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from demo.issuer import RunningIssuer
from muniment.core.requests import AccessRequest, Terms, id_floor
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject
from muniment.store import requests
from tests.api.running import FOREVER, Caller, Running, dataset, grant, refusal, revision_of, running

pytestmark = pytest.mark.anyio

numbers = count(1)
NEVER = str(uuid4())


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company: analysts may know of all in sales, and Sam and Theo approve there; neither may load anything."""
    async with running(issuer, module_company) as started:
        knowing = grant("group:analysts", ["discover"], on={"domain": "sales"})
        await started.root.make("/v1/grants/analysts-know-sales", knowing)
        for name in ("sam", "theo"):
            approving = grant(f"user:{name}", ["approve", "discover"], on={"domain": "sales"})
            await started.root.make(f"/v1/grants/{name}-approves", approving)
        yield started


async def declared(service: Running, domain: str = "sales", **more: Any) -> str:
    """The name of a new dataset, which analysts may know of and nobody may load."""
    name = f"{domain}.asked_for_{next(numbers)}"
    await service.sam.make(f"/v1/datasets/{name}", dataset(f"s3://lake/sales/{name}.csv", **more))
    return name


def wish(*names: str, **more: Any) -> dict[str, Any]:
    return {
        "actions": ["load"],
        "datasets": list(names),
        "environments": ["dev"],
        "because": "the quarterly report",
        **more,
    }


async def ask(caller: Caller, *names: str, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/requests", wish(*names, **more))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def decide(caller: Caller, request: dict[str, Any], verb: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = await caller.post(f"/v1/requests/{request['id']}/{verb}", body)
    assert answer.status_code == status, answer.text
    decided: dict[str, Any] = answer.json()
    return decided


async def listed(caller: Caller, query: str = "") -> list[str]:
    return [item["id"] for item in (await caller.read(f"/v1/requests{query}"))["items"]]


def theo(service: Running) -> Caller:
    return service.somebody("sam", sub="theo")


async def test_the_approval_is_the_grant(service: Running) -> None:
    name = await declared(service)
    assert name not in await service.ann.catalog()
    asked = await ask(service.ann, name)
    assert (asked["state"], asked["approvals_needed"], asked["may_decide"]) == ("pending", 1, False)
    before = await revision_of(service)

    approved = await decide(service.sam, asked, "approve", comment="until the report is out")

    assert (approved["state"], approved["version"]) == ("approved", 2)
    seen = await service.ann.read(f"/v1/requests/{asked['id']}")
    assert (seen["state"], seen["grants"]) == ("approved", [f"req-{asked['id']}"])
    assert name in await service.ann.catalog()
    assert name not in await service.ann.catalog("prod")
    assert await revision_of(service) == before + 1
    given = await service.root.read(f"/v1/grants/req-{asked['id']}")
    assert given["to"] == "user:ann"
    assert given["until"] == asked["asked"]["until"]
    assert given["because"] == "the quarterly report"
    rows = (await service.audrey.read(f"/v1/ledger?dataset={name}"))["items"]
    told = [row for row in rows if row["event"].startswith(("request.", "grant."))]
    assert [row["event"] for row in told] == ["request.approved", "request.made"]
    assert told[0]["revision"] == before + 1
    assert told[0]["policies"] == [f"grant:req-{asked['id']}"]
    assert told[0]["details"]["requester"] == "user:ann"


async def test_an_approver_need_not_hold_what_they_hand_on(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name, actions=["load", "save"])
    await decide(service.sam, asked, "approve")
    assert name not in await service.sam.catalog()
    lease = await service.ann.read("/v1/leases?environment=dev")
    assert lease["actions"][name] == ["load", "save"]


async def test_several_datasets_of_a_domain_get_a_grant_each(service: Running) -> None:
    names = [await declared(service), await declared(service)]
    asked = await ask(service.ann, *names)
    approved = await decide(service.sam, asked, "approve")
    assert approved["grants"] == [f"req-{asked['id']}-1", f"req-{asked['id']}-2"]
    assert set(names) <= (await service.ann.catalog()).keys()


async def test_access_for_a_purpose_is_for_that_purpose_alone(service: Running) -> None:
    name = await declared(service)
    await decide(service.sam, await ask(service.ann, name, purpose="forecasting"), "approve")
    assert name in await service.ann.catalog(purpose="forecasting")
    assert name not in await service.ann.catalog()


async def test_a_name_that_a_pattern_makes_can_be_asked_for(service: Running) -> None:
    await decide(service.sam, await ask(service.ann, "sales.north_orders"), "approve")
    assert (await service.ann.catalog(names="sales.north_orders")).keys() == {"sales.north_orders"}
    assert await service.ann.catalog(names="sales.south_orders") == {}


async def test_what_may_not_be_known_of_is_not_found_whether_it_is_there_or_not(service: Running) -> None:
    hidden = await service.ann.post("/v1/requests", wish("hr.salaries"))
    never = await service.ann.post("/v1/requests", wish("hr.never_was"))
    refusal(hidden, 404)
    assert hidden.content == never.content
    among_known = await service.ann.post("/v1/requests", wish("sales.orders", "sales.never_was", actions=["save"]))
    assert among_known.content == never.content


async def test_a_request_of_others_is_nobodys_business(service: Running) -> None:
    asked = await ask(service.ann, await declared(service))
    for stranger in (service.eve, service.hugo, service.nightly):
        assert asked["id"] not in await listed(stranger)
        for verb, body in (("approve", {}), ("deny", {"because": "no"}), ("withdraw", {})):
            there = await stranger.post(f"/v1/requests/{asked['id']}/{verb}", body)
            elsewhere = await stranger.post(f"/v1/requests/{NEVER}/{verb}", body)
            assert refusal(there, 404) == refusal(elsewhere, 404)
        assert (await stranger.get(f"/v1/requests/{asked['id']}")).status_code == 404


async def test_an_approver_is_not_told_of_datasets_that_they_may_not_know_of(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    blind = grant("user:blind", ["approve"], on={"domain": "sales"})
    await service.root.make("/v1/grants/blind-approves", blind)
    blind_one = service.somebody("eve", sub="blind")
    assert asked["id"] not in await listed(blind_one)
    assert (await blind_one.get(f"/v1/requests/{asked['id']}")).status_code == 404


async def test_nobody_decides_on_their_own_request(service: Running) -> None:
    name = await declared(service)
    await service.root.make(f"/v1/grants/own-{next(numbers)}", grant("user:ann", ["approve"], on={"dataset": name}))
    asked = await ask(service.ann, name)
    assert "somebody else" in (await decide(service.ann, asked, "approve", 403))["detail"]
    assert "somebody else" in (await decide(service.ann, asked, "deny", 403, because="no"))["detail"]
    assert name not in await service.ann.catalog()
    own = await service.ann.read("/v1/ledger?subject=user:ann&event=access.denied")
    assert own["items"]


async def test_an_approver_may_approve_a_part(service: Running) -> None:
    names = sorted([await declared(service), await declared(service)])
    asked = await ask(service.ann, *names, actions=["load", "save"], environments=["dev", "prod"])
    sooner = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    part = {"datasets": names[:1], "actions": ["load"], "environments": ["prod"], "until": sooner}
    approved = await decide(service.sam, asked, "approve", **part, comment="prod is enough")
    assert approved["narrowed"]["datasets"] == names[:1]
    given = await service.root.read(f"/v1/grants/{approved['grants'][0]}")
    assert (given["actions"], given["environments"]) == (["load"], ["prod"])
    assert approved["decision"]["because"] == "prod is enough"
    assert names[0] in await service.ann.catalog("prod")
    assert names[1] not in await service.ann.catalog("prod")


@pytest.mark.parametrize(
    "more",
    [
        {"actions": ["load", "save"]},
        {"datasets": ["sales.orders"]},
        {"environments": ["prod"]},
        {"until": (datetime.now(UTC) + timedelta(days=400)).isoformat()},
        {"until": "2020-01-01T00:00:00Z"},
    ],
)
async def test_an_approver_adds_nothing(service: Running, more: dict[str, Any]) -> None:
    asked = await ask(service.ann, await declared(service))
    problem = await decide(service.sam, asked, "approve", 422, **more)
    assert [error["at"] for error in problem["errors"]] == list(more)


async def test_restricted_data_takes_two_approvers(service: Running) -> None:
    name = await declared(service, classification="restricted")
    asked = await ask(service.ann, name)
    assert asked["approvals_needed"] == 2

    first = await decide(service.sam, asked, "approve", comment="fine by me")

    assert (first["state"], first["may_decide"], len(first["approvals"])) == ("pending", False, 1)
    assert name not in await service.ann.catalog()
    assert "somebody else" in (await decide(service.sam, asked, "approve", 403))["detail"]
    (denied,) = (await service.audrey.read(f"/v1/ledger?dataset={name}&event=access.denied"))["items"]
    assert denied["subject"] == "user:sam"
    second = await decide(theo(service), asked, "approve")
    assert [each["by"] for each in second["approvals"]] == ["user:sam", "user:theo"]
    assert second["state"] == "approved"
    assert name in await service.ann.catalog()
    rows = (await service.audrey.read(f"/v1/ledger?dataset={name}&limit=9"))["items"]
    events = [row["event"] for row in rows if row["event"].startswith("request.")]
    assert events == ["request.approved", "request.seconded", "request.made"]


async def test_a_first_yes_ends_with_the_right_of_whoever_said_it(service: Running) -> None:
    name = await declared(service, classification="restricted")
    asked = await ask(service.ann, name)
    await decide(service.sam, asked, "approve")
    shut = f'forbid(principal == User::"sam", action == Action::"approve", resource == Dataset::"{name}");'
    await service.root.make(f"/v1/policies/shut-{name}", {"scope": "sales", "cedar": shut, "reason": "moved on"})
    only = await decide(theo(service), asked, "approve")
    assert (only["state"], [each["by"] for each in only["approvals"]]) == ("pending", ["user:theo"])
    assert name not in await service.ann.catalog()


async def test_the_second_approver_gives_no_more_than_the_first_has_left(service: Running) -> None:
    name = await declared(service, classification="restricted")
    asked = await ask(service.ann, name, actions=["load", "save"])
    await decide(service.sam, asked, "approve", actions=["load"])
    await decide(theo(service), asked, "approve", 422, actions=["load", "save"])
    await decide(theo(service), asked, "approve")
    assert (await service.ann.read("/v1/leases?environment=dev"))["actions"][name] == ["load"]


async def test_what_has_become_restricted_takes_two_as_well_and_what_was_stays_so(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    body = dataset(f"s3://lake/sales/{name}.csv", classification="restricted")
    assert (await service.sam.put(f"/v1/datasets/{name}", body, after=1)).status_code == 200
    assert (await decide(service.sam, asked, "approve"))["state"] == "pending"
    body = dataset(f"s3://lake/sales/{name}.csv")
    assert (await service.sam.put(f"/v1/datasets/{name}", body, after=2)).status_code == 200
    await decide(service.sam, asked, "approve", 403)


async def test_a_denial_says_why(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    await decide(service.sam, asked, "deny", 422, because="  ")
    await decide(service.sam, asked, "deny", because="use the monthly one")
    seen = await service.ann.read(f"/v1/requests/{asked['id']}")
    assert (seen["state"], seen["decision"]["because"]) == ("denied", "use the monthly one")
    (told,) = (await service.audrey.read(f"/v1/ledger?dataset={name}&event=request.denied"))["items"]
    assert (told["details"]["because"], told["details"]["reason"]) == ("the quarterly report", "use the monthly one")
    assert name not in await service.ann.catalog()


async def test_whoever_asked_takes_it_back_and_nobody_else(service: Running) -> None:
    asked = await ask(service.ann, await declared(service))
    assert "you may deny it" in (await decide(service.sam, asked, "withdraw", 403))["detail"]
    assert (await decide(service.ann, asked, "withdraw"))["state"] == "withdrawn"
    assert "withdrawn since" in (await decide(service.sam, asked, "approve", 412))["detail"]


async def test_a_decision_is_made_once(service: Running) -> None:
    asked = await ask(service.ann, await declared(service))
    await decide(service.sam, asked, "deny", because="no")
    for verb, body in (("approve", {}), ("deny", {"because": "no"})):
        problem = await decide(theo(service), asked, verb, 412, **body)
        assert problem["version"] == 2
        assert "denied since" in problem["detail"]


async def test_of_two_who_decide_at_once_one_is_told_so(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    answers = await asyncio.gather(
        service.sam.post(f"/v1/requests/{asked['id']}/approve", {}),
        theo(service).post(f"/v1/requests/{asked['id']}/approve", {}),
        theo(service).post(f"/v1/requests/{asked['id']}/deny", {"because": "no"}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    seen = await service.ann.read(f"/v1/requests/{asked['id']}")
    assert seen["version"] == 2
    assert (name in await service.ann.catalog()) == (seen["state"] == "approved")


async def test_a_decision_on_an_older_version_is_refused(service: Running) -> None:
    name = await declared(service, classification="restricted")
    asked = await ask(service.ann, name)
    await decide(service.sam, asked, "approve")
    path = f"/v1/requests/{asked['id']}/approve"
    stale = await theo(service).send("POST", path, json={}, headers={"If-Match": '"1"'})
    assert refusal(stale, 412)["version"] == 2
    fresh = await theo(service).send("POST", path, json={}, headers={"If-Match": '"2"'})
    assert fresh.status_code == 200


async def test_an_approval_says_that_the_dataset_was_retired(service: Running) -> None:
    names = sorted([await declared(service), await declared(service)])
    asked = await ask(service.ann, *names)
    assert (await service.sam.delete(f"/v1/datasets/{names[0]}", after=1)).status_code == 200
    assert (
        f"{names[0]} cannot be given in dev: it is retired"
        in (await decide(service.sam, asked, "approve", 409))["detail"]
    )
    await decide(service.sam, asked, "approve", datasets=names[1:])
    assert names[1] in await service.ann.catalog()


async def test_an_approval_says_that_the_requester_may_no_longer_know_of_it(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    forbid = f'forbid (principal == User::"ann", action, resource == Dataset::"{name}");'
    await service.root.make(f"/v1/policies/hide-{next(numbers)}", {"cedar": forbid, "scope": "all"})
    assert f"user:ann may no longer know of {name}" in (await decide(service.sam, asked, "approve", 409))["detail"]


async def test_an_approval_says_what_was_allowed_before_and_what_still_is_not(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name, actions=["load", "save"])
    await service.root.make(f"/v1/grants/before-{next(numbers)}", grant("user:ann", ["load"], on={"dataset": name}))
    forbid = f'forbid (principal, action == Action::"save", resource == Dataset::"{name}");'
    await service.root.make(f"/v1/policies/frozen-{next(numbers)}", {"cedar": forbid, "scope": "all"})
    assert (await decide(service.sam, asked, "approve"))["notes"] == [
        f"user:ann may load {name} in dev already.",
        f"user:ann may not save {name} in dev even so: another rule stands against it.",
    ]


async def test_a_forbidden_approver_does_not_approve(service: Running) -> None:
    name = await declared(service)
    asked = await ask(service.ann, name)
    only_theo = f'forbid (principal, action == Action::"approve", resource == Dataset::"{name}") unless'
    body = {"cedar": f'{only_theo} {{ principal == User::"theo" }};', "scope": "all"}
    await service.root.make(f"/v1/policies/only-theo-{next(numbers)}", body)
    assert asked["id"] not in await listed(service.sam)
    await decide(service.sam, asked, "approve", 404)
    await decide(service.root, asked, "approve", 403)
    await decide(theo(service), asked, "approve")


async def test_lists_show_ones_own_and_what_has_come_to_one(service: Running) -> None:
    asked = await ask(service.ann, await declared(service))
    done = await ask(service.ann, await declared(service))
    await decide(service.sam, done, "deny", because="no")
    assert {asked["id"], done["id"]} <= set(await listed(service.ann))
    assert await listed(service.ann, "?mine=false") == []
    assert asked["id"] in await listed(service.sam, "?mine=false&state=pending")
    assert done["id"] not in await listed(service.sam, "?mine=false&state=pending")
    assert done["id"] in await listed(service.sam, "?state=denied")
    assert await listed(service.sam, "?mine=true") == []
    assert asked["id"] in await listed(service.audrey)
    assert asked["id"] not in await listed(service.audrey, "?mine=false")
    assert (await service.audrey.read(f"/v1/requests/{asked['id']}"))["may_decide"] is False


async def test_a_list_goes_on_where_a_page_ended(service: Running) -> None:
    for _ in range(3):
        await ask(service.ann, await declared(service))
    whole = await listed(service.ann)
    assert whole == sorted(whole, reverse=True)
    paged: list[str] = []
    after = ""
    while True:
        page = await service.ann.read(f"/v1/requests?limit=2{after}")
        paged.extend(item["id"] for item in page["items"])
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert paged == whole


async def test_a_request_that_waits_comes_to_those_above_and_last_to_administrators(service: Running) -> None:
    name = await declared(service, "sales.emea")
    body = {"cedar": 'permit (principal == User::"vera", action == Action::"approve", resource == Domain::"sales");'}
    await service.root.make("/v1/policies/vera-approves-in-sales-alone", body)
    await service.root.make("/v1/grants/vera-knows", grant("user:vera", ["discover"], on={"domain": "sales"}))
    await service.root.make("/v1/grants/olga-administers", grant("user:olga", ["administer"], on={"domain": "all"}))
    vera, olga = service.somebody("eve", sub="vera"), service.somebody("eve", sub="olga")
    ages = {days: await asked_before(service, name, timedelta(days=days)) for days in (1, 4, 10, 31)}

    assert await listed(vera, "?mine=false&state=pending") == [ages[4], ages[10]]
    assert await listed(olga, "?mine=false&state=pending") == [ages[10]]
    assert await listed(vera, "?mine=false&state=expired") == [ages[31]]
    seen = await vera.read(f"/v1/requests/{ages[4]}")
    assert (seen["escalated_to"], seen["administrators"]) == (["sales"], False)
    await decide(vera, {"id": ages[1]}, "approve", 404)
    assert "expired" in (await decide(service.sam, {"id": ages[31]}, "approve", 412))["detail"]
    await decide(vera, {"id": ages[4]}, "approve")
    assert name in await service.somebody("ann", sub="old-ann").catalog()


async def asked_before(service: Running, name: str, ago: timedelta) -> str:
    """A request that another analyst made some time ago."""
    await service.somebody("ann", sub="old-ann").catalog()
    at = datetime.now(UTC) - ago
    terms = Terms(frozenset({Action.LOAD}), (name,), frozenset({"dev"}), datetime.now(UTC) + timedelta(days=60))
    request = AccessRequest(id_floor(at), Subject(Kind.USER, "old-ann"), terms, because="the report", at=at)
    async with service.app.state.house.db.begin() as tx:
        await requests.append(tx, request, 1)
    return request.id


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"actions": ["discover"]}, "actions"),
        ({"actions": ["approve"]}, "actions"),
        ({"environments": ["qa"]}, "environments"),
        ({"environments": ["base"]}, "environments"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": (datetime.now(UTC) + timedelta(days=366)).isoformat()}, "until"),
        ({"because": " "}, "because"),
        ({"datasets": ["sales.orders", "sales.emea.leads"]}, "datasets"),
        ({"datasets": ["hr.salaries", "sales.orders"]}, "datasets"),
        ({"datasets": ["sales.{region}_orders"]}, "datasets"),
        ({"datasets": ["sales.targets", "sales.targets"]}, "datasets"),
    ],
)
async def test_what_nobody_could_grant_is_refused(service: Running, more: dict[str, Any], at: str) -> None:
    answer = await service.ann.post("/v1/requests", wish("sales.targets", **{"because": "x", **more}))
    assert [error["at"] for error in refusal(answer, 422)["errors"]] == [at]


async def test_what_one_may_do_already_is_not_asked_for(service: Running) -> None:
    problem = refusal(await service.ann.post("/v1/requests", wish("sales.orders")), 409)
    assert "already" in problem["detail"]


async def test_what_ends_sooner_can_be_asked_for_again(service: Running) -> None:
    name = await declared(service)
    ending = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    for_now = grant("user:ann", ["load"], on={"dataset": name}, until=ending)
    await service.root.make(f"/v1/grants/for-now-{next(numbers)}", for_now)
    within = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    refusal(await service.ann.post("/v1/requests", wish(name, until=within)), 409)
    await ask(service.ann, name)


async def test_the_same_is_not_asked_for_twice(service: Running) -> None:
    asked = await ask(service.ann, await declared(service))
    again = await service.ann.post("/v1/requests", wish(*asked["asked"]["datasets"]))
    assert asked["id"] in refusal(again, 409)["detail"]
    await decide(service.ann, asked, "withdraw")
    await ask(service.ann, *asked["asked"]["datasets"])


async def test_what_is_not_served_is_not_asked_for(service: Running) -> None:
    name = await declared(service)
    assert (await service.sam.delete(f"/v1/datasets/{name}", after=1)).status_code == 200
    assert "it is retired" in refusal(await service.ann.post("/v1/requests", wish(name)), 409)["detail"]


async def test_a_request_has_a_reason_of_one_line(service: Running) -> None:
    for because in ("", "two\nlines", "x" * 501):
        refusal(await service.ann.post("/v1/requests", wish("sales.targets", because=because)), 422)
    assert FOREVER not in (await service.ann.get("/v1/requests")).text
