"""Factory patterns through the doors: each name that one makes is decided on for itself; no pattern is given away."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.running import Caller, Running, dataset, grant, refusal

pytestmark = pytest.mark.anyio

PATTERN = "sales.{region}_orders"
FOR_ANN = 'permit (principal == User::"ann", action == Action::"load", resource in Domain::"sales")'
DATA = 'action in [Action::"discover", Action::"load", Action::"save"]'
NO_PII = f'forbid (principal == User::"ann", {DATA}, resource is Dataset) when {{ resource.tags.contains("pii") }};'


@pytest.fixture
async def made(company: Running) -> Running:
    """Ann loads all of sales but what is tagged pii, and apac, which a rule denies her by its name."""
    sam, root = company.sam, company.root
    await root.make("/v1/policies/ann-sales", {"cedar": f"{FOR_ANN};", "scope": "sales"})
    await root.make("/v1/policies/no-pii", {"cedar": NO_PII, "scope": "sales"})
    likes = 'when { resource.name like "sales.apac_*" }'
    apac = f'forbid (principal == User::"ann", {DATA}, resource is Dataset) {likes};'
    await root.make("/v1/policies/no-apac", {"cedar": apac, "scope": "sales"})
    await sam.make("/v1/datasets/sales.secret_orders", dataset("s3://lake/sales/secret.csv", tags=["pii"]))
    await sam.make("/v1/datasets/sales.emea_orders", dataset("s3://lake/sales/emea-of-old.csv"))
    north = dataset("s3://lake/sales/north/{kind}.csv", tags=["pii"])
    await sam.make("/v1/datasets/sales.north_{kind}_orders", north)
    return company


async def leased(caller: Caller, *names: str) -> dict[str, Any]:
    asked = f"&names={','.join(names)}" if names else ""
    lease: dict[str, Any] = await caller.read(f"/v1/leases?environment=dev{asked}")
    return lease


async def test_no_catalog_and_no_lease_holds_a_pattern(made: Running) -> None:
    assert not [name for name in await made.ann.catalog() if "{" in name]
    lease = await leased(made.ann)
    assert not [name for name in (*lease["catalog"], *lease["actions"], *lease["ends"]) if "{" in name]
    assert lease["patterns"] == {PATTERN: ["load"]}
    assert await made.ann.catalog(names=f"{PATTERN},sales.orders") == {
        "sales.orders": (await made.ann.catalog())["sales.orders"]
    }


async def test_a_pattern_is_told_to_those_alone_who_may_use_what_is_called_so(made: Running) -> None:
    assert (await leased(made.eve))["patterns"] == {}
    assert (await leased(made.hugo))["patterns"] == {}
    assert (await leased(made.ann, PATTERN))["patterns"] == {}


async def test_each_name_is_decided_on_for_itself(made: Running) -> None:
    lease = await leased(made.ann, "sales.latam_orders", "sales.apac_orders", "sales.nothing_else")
    assert lease["actions"] == {"sales.latam_orders": ["load"]}
    assert lease["catalog"]["sales.latam_orders"]["filepath"] == "s3://lake/sales/latam/orders.csv"


async def test_an_explicit_name_stands_before_the_pattern_and_the_more_specific_one_before_the_other(
    made: Running,
) -> None:
    """Ann may not know of the explicit name, nor of what the more specific pattern makes: nothing else takes over."""
    names = ("sales.emea_orders", "sales.secret_orders", "sales.north_cold_orders")
    lease = await leased(made.ann, *names)
    assert {name: held["filepath"] for name, held in lease["catalog"].items()} == {
        "sales.emea_orders": "s3://lake/sales/emea-of-old.csv"
    }
    asked = {"environment": "dev", "load": list(names), "save": []}
    verdicts = (await made.ann.post("/v1/preflight", asked)).json()["verdicts"]
    assert [(told["allowed"], told["known"]) for told in verdicts] == [(True, True), (False, False), (False, False)]


@pytest.mark.parametrize("lifecycle", ["draft", "retired", "deprecated"])
async def test_a_name_that_is_taken_is_made_by_no_pattern_whatever_becomes_of_it(made: Running, lifecycle: str) -> None:
    body = dataset("s3://lake/sales/secret.csv", tags=["pii"], lifecycle=lifecycle)
    assert (await made.sam.put("/v1/datasets/sales.secret_orders", body, after=1)).status_code == 200
    assert (await leased(made.ann, "sales.secret_orders"))["catalog"] == {}


async def test_a_run_that_names_the_pattern_itself_is_refused(made: Running) -> None:
    asked = {"environment": "dev", "load": [PATTERN], "save": []}
    (verdict,) = (await made.ann.post("/v1/preflight", asked)).json()["verdicts"]
    assert (verdict["allowed"], verdict["known"]) == (False, True)
    assert "it is a factory pattern" in verdict["reason"]


async def test_the_pattern_is_listed_as_what_it_is(made: Running) -> None:
    listed = (await made.ann.read("/v1/datasets?domain=sales"))["items"]
    assert PATTERN in {seen["name"] for seen in listed}
    mine = await made.ann.read(f"/v1/datasets/{quote(PATTERN)}/mine")
    assert mine["actions"] == {"dev": ["load"], "prod": ["load"]}
    refusal(await made.ann.get("/v1/datasets/sales.latam_orders"), 404)
    assert "sales.north_{kind}_orders" not in {seen["name"] for seen in listed}


async def test_a_pattern_is_granted_to_nobody_and_a_name_that_it_makes_is(made: Running) -> None:
    on_pattern = grant("user:eve", ["load"], on={"dataset": PATTERN})
    problem = refusal(await made.root.put("/v1/grants/eve-all", on_pattern, after=0), 422)
    assert "each name that it makes is decided on for itself" in problem["detail"]
    await made.root.make("/v1/grants/eve-knows", grant("user:eve", ["discover"], on={"dataset": PATTERN}))
    await made.root.make("/v1/grants/eve-one", grant("user:eve", ["load"], on={"dataset": "sales.latam_orders"}))
    lease = await leased(made.eve, "sales.latam_orders", "sales.emea_orders")
    assert lease["actions"] == {"sales.latam_orders": ["load"]}


async def test_the_tag_of_a_lease_covers_its_patterns(made: Running) -> None:
    """Seen to fail with the tag made without them: the same tag stood for two bodies."""
    path = "/v1/leases?environment=dev"
    before = (await made.ann.get(path)).headers["etag"]
    await made.sam.make("/v1/datasets/sales.{region}_targets", dataset("s3://lake/sales/{region}/targets.csv"))
    answer = await made.ann.get(path, headers={"If-None-Match": before})
    assert answer.status_code == 200
    assert answer.json()["patterns"].keys() == {PATTERN, "sales.{region}_targets"}
