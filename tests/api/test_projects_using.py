"""Which projects use a dataset, as the ledger knows it: told to its stewards and auditors, before it is renamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import STEWARDING, Caller, Running, dataset, found_company, grant, refusal, running

pytestmark = pytest.mark.anyio

ORDERS = "/v1/datasets/sales.orders/projects"


@pytest.fixture(scope="module")
async def used(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    """The company, in which projects have run: revenue by two people in two environments, churn by one."""
    async with running(issuer, module_database) as service:
        await found_company(service)
        root = service.root
        everything = grant("group:analysts", ["load"], on={"domain": "sales"})
        await root.make("/v1/grants/analysts-load-sales", everything)
        bob = service.somebody("eve", sub="bob", groups=["analysts"])
        for who in (service.ann, bob):
            await ran(who, "dev", "revenue", "sales.orders", "sales.targets")
        await ran(service.ann, "prod", "revenue", "sales.orders")
        await leased(service.ann, "prod", "churn", "sales.orders", "sales.emea_orders")
        # Eve may use nothing: that she asked by name makes hers no project that uses it.
        await leased(service.eve, "prod", "curious", "sales.orders")
        denied = await service.eve.post("/v1/preflight", preflight("prod", "curious", "sales.orders"))
        assert not denied.json()["allowed"]
        await ran(service.ann, "dev", None, "sales.emea_orders")
        yield service


def preflight(environment: str, project: str | None, *names: str) -> dict[str, Any]:
    return {"environment": environment, "load": list(names)} | ({"project": project} if project else {})


async def ran(who: Caller, environment: str, project: str | None, *names: str) -> None:
    answer = await who.post("/v1/preflight", preflight(environment, project, *names))
    assert answer.json()["allowed"], answer.text


async def leased(who: Caller, environment: str, project: str, *names: str) -> None:
    await who.read(f"/v1/leases?environment={environment}&project={project}&names={','.join(names)}")


def told(answer: dict[str, Any]) -> dict[str | None, Any]:
    """The projects with their subjects, environments and what is known of those."""
    return {
        item["project"]: (
            item["subjects"],
            {
                each["environment"]: (
                    each["subjects"],
                    *(name for name in ("leased", "checked", "used") if each[f"last_{name}_at"]),
                )
                for each in item["environments"]
            },
        )
        for item in answer["items"]
    }


async def test_the_projects_that_ran_with_a_dataset_are_told_with_how_many_and_where(used: Running) -> None:
    """Seen to fail with those who asked by name and were given nothing counted too."""
    for who in (used.sam, used.audrey):
        answer = await who.read(ORDERS)
        assert told(answer) == {
            "churn": (1, {"prod": (1, "leased")}),
            "revenue": (2, {"dev": (2, "checked"), "prod": (1, "checked")}),
        }
        assert answer["complete"]
        assert "ann" not in str(answer)


async def test_of_a_factory_pattern_the_names_that_it_makes_are_told_and_no_others(used: Running) -> None:
    """`sales.orders` is none of them, nor is a name that has been declared for itself."""
    await used.sam.make("/v1/datasets/sales.own_orders", dataset("s3://lake/sales/own.csv"))
    await ran(used.ann, "dev", "own", "sales.own_orders")
    made = await used.sam.read("/v1/datasets/sales.{region}_orders/projects")
    assert told(made) == {None: (1, {"dev": (1, "checked")}), "churn": (1, {"prod": (1, "leased")})}
    assert [item["datasets"] for item in made["items"]] == [["sales.emea_orders"]] * 2
    one = await used.sam.read("/v1/datasets/sales.emea_orders/projects")
    assert told(one) == told(made)


async def test_a_use_is_told_of_where_its_lease_is_known(used: Running) -> None:
    lease = await used.ann.get("/v1/leases?environment=prod&project=reported&names=sales.targets")
    use = {"dataset": "sales.targets", "action": "load", "environment": "prod", "at": "2026-11-20T09:00:00Z"}
    known = {**use, "id": "01a207c4-ac28-70a6-9107-73282513a1d4", "receipt": lease.headers["muniment-receipt"]}
    invented = {**use, "id": "01a207c4-ac28-70a6-9107-73282513a1d5", "project": "invented"}
    sent = await used.ann.post("/v1/use", {"events": [{**known, "project": "reported"}, invented]})
    assert sent.status_code < 300, sent.text
    projects = told(await used.sam.read("/v1/datasets/sales.targets/projects"))
    assert projects["reported"] == (1, {"prod": (1, "leased", "used")})
    assert "invented" not in projects


async def test_projects_come_in_pages(used: Running) -> None:
    first = await used.sam.read(f"{ORDERS}?limit=1")
    assert [item["project"] for item in first["items"]] == ["churn"]
    second = await used.sam.read(f"{ORDERS}?limit=1&after={first['next']}")
    assert ([item["project"] for item in second["items"]], second["next"]) == (["revenue"], None)


async def test_who_only_uses_it_may_not_ask_and_who_does_not_know_of_it_learns_nothing(used: Running) -> None:
    refusal(await used.ann.get(ORDERS), 403)
    assert (
        refusal(await used.eve.get(ORDERS), 404)["detail"]
        == refusal(await used.eve.get("/v1/datasets/sales.nothing/projects"), 404)["detail"]
    )
    refusal(await used.hugo.get(ORDERS), 404)
    refusal(await used.audrey.get("/v1/datasets/sales.nothing/projects"), 404)
    refusal(await used.sam.get("/v1/datasets/sales.nothing/projects"), 404)


async def test_the_asking_is_recorded(used: Running) -> None:
    answer = await used.audrey.get(ORDERS)
    (row,) = (await used.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]
    assert (row["event"], row["datasets"], row["details"]["read"]) == ("dataset.read", ["sales.orders"], "projects")


async def test_a_trial_of_a_deprecation_tells_which_projects_run_with_it(used: Running) -> None:
    """Also of a retirement, by which those runs fail. Seen to fail with those who were given nothing counted too."""
    await used.root.make("/v1/grants/sam-grants", grant("user:sam", STEWARDING, on={"domain": "sales"}))
    later = dataset("s3://lake/sales/orders.csv", lifecycle="deprecated", description="Every order.")
    tried = {}
    for way, change in (
        ("deprecated", {"put": {"kind": "dataset", "id": "sales.orders", "body": later}}),
        ("retired", {"delete": {"kind": "dataset", "id": "sales.orders"}}),
    ):
        answer = await used.sam.post("/v1/try", {"changes": [change]})
        assert answer.status_code == 200, answer.text
        tried[way] = answer.json()
        found = tried[way]["ending"]
        assert {(each["project"], each["environment"], each["subjects"]) for each in found["items"]} == {
            ("revenue", "dev", 2), ("revenue", "prod", 1), ("churn", "prod", 1),
        }  # fmt: skip
        assert {each["lifecycle"] for each in found["items"]} == {way}
        assert (found["count"], found["more"]) == (3, False)
    assert tried["deprecated"]["runs"]["count"] == 0
    assert tried["retired"]["runs"]["count"] > 0
