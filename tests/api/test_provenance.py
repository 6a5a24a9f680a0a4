"""Variables, and where each value comes from: told to those who see the definition, kept sound by every change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Running, csv, dataset, grant, refusal

pytestmark = pytest.mark.anyio

DEFINITION = "/v1/datasets/sales.emea.stock/definition"


@pytest.fixture
async def layered(company: Running) -> Running:
    """A dataset that takes a part of its path from each of those who can give one."""
    root = company.root
    await root.put("/v1/domains/sales", {**SALES, "variables": {"tier": "gold", "zone": "far"}}, after=1)
    emea = {"owner": "group:sales-owners", "variables": {"zone": "eu"}}
    await root.put("/v1/domains/sales.emea", emea, after=1)
    await root.put("/v1/environments/prod", {"variables": {"tier": "platinum"}}, after=1)
    path = "s3://lake/sales/${globals:tier}/${globals:zone}/${globals:kind, raw}/x.csv"
    layers = {
        "base": csv(path, load_args={"sep": ";", "na_values": ["", "n/a"], "nrows": "${runtime_params:rows, 10}"}),
        "prod": csv("s3://lake/sales/prod/x.csv"),
    }
    await company.sam.make("/v1/datasets/sales.emea.stock", {"environments": layers})
    await root.make("/v1/grants/ann-stock", grant("user:ann", ["load"], on=STOCK, environments=["dev"]))
    return company


SALES = {"owner": "group:sales-owners", "locations": ["s3://lake/sales/"]}
STOCK = {"dataset": "sales.emea.stock"}


def origins(answer: dict[str, Any], at: str) -> list[dict[str, Any]]:
    """Who gave a value, without what says nothing."""
    (value,) = (value for value in answer["values"] if value["at"] == at)
    return [{key: held for key, held in origin.items() if held is not None} for origin in value["origins"]]


async def test_each_value_says_who_gave_it(layered: Running) -> None:
    answer = await layered.ann.read(f"{DEFINITION}?environment=dev")
    assert answer["definition"] == (await layered.ann.catalog())["sales.emea.stock"]
    assert (answer["version"], answer["layer"], answer["pattern"]) == (1, "base", None)
    itself = {"source": "dataset", "name": "sales.emea.stock", "version": 1, "layer": "base"}
    assert [value["at"] for value in answer["values"]] == [
        "type", "filepath", "load_args.sep", "load_args.na_values.0", "load_args.na_values.1", "load_args.nrows",
    ]  # fmt: skip
    assert origins(answer, "load_args.na_values.1") == [itself]
    assert origins(answer, "filepath") == [
        itself,
        {"source": "domain", "name": "sales", "version": 2, "variable": "tier", "value": "gold"},
        {"source": "domain", "name": "sales.emea", "version": 2, "variable": "zone", "value": "eu"},
        {"source": "default", "variable": "kind", "value": "raw"},
    ]
    assert origins(answer, "load_args.nrows") == [itself, {"source": "run", "variable": "rows", "value": 10}]
    (path,) = (value for value in answer["values"] if value["at"] == "filepath")
    assert path["value"] == "s3://lake/sales/gold/eu/raw/x.csv"
    assert path["written"] == "s3://lake/sales/${globals:tier}/${globals:zone}/${globals:kind, raw}/x.csv"


async def test_an_environments_layer_and_variables_stand_before_the_others(layered: Running) -> None:
    answer = await layered.sam.read(f"{DEFINITION}?environment=prod")
    assert answer["layer"] == "prod"
    assert answer["definition"] == csv("s3://lake/sales/prod/x.csv")
    moved = {"environments": {"base": csv("s3://lake/sales/${globals:tier}/x.csv")}}
    assert (await layered.sam.put("/v1/datasets/sales.emea.stock", moved, after=1)).status_code == 200
    answer = await layered.sam.read(f"{DEFINITION}?environment=prod")
    tier = {"source": "environment", "name": "prod", "version": 2, "variable": "tier", "value": "platinum"}
    assert origins(answer, "filepath")[1:] == [tier]


async def test_it_is_told_where_the_definition_is_served_to_the_asker_and_to_stewards(layered: Running) -> None:
    """A shared layer has other values in another environment: who uses one does not read the other's."""
    moved = {"environments": {"base": csv("s3://lake/sales/${globals:tier}/x.csv")}}
    await layered.sam.put("/v1/datasets/sales.emea.stock", moved, after=1)
    assert (await layered.ann.get(f"{DEFINITION}?environment=dev")).status_code == 200
    problem = refusal(await layered.ann.get(f"{DEFINITION}?environment=prod"), 403)
    assert "platinum" not in str(problem)
    unknown = refusal(await layered.eve.get(f"{DEFINITION}?environment=dev"), 404)
    never = refusal(await layered.eve.get("/v1/datasets/sales.emea.never/definition?environment=dev"), 404)
    assert unknown == never
    refusal(await layered.ann.get(f"{DEFINITION}?environment=qa"), 422)
    refusal(await layered.ann.get(f"{DEFINITION}?environment=base"), 422)


async def test_where_nothing_is_defined_there_is_nothing_to_tell(layered: Running) -> None:
    only_prod = {"environments": {"prod": csv("s3://lake/sales/p.csv")}}
    await layered.sam.make("/v1/datasets/sales.prod_only", only_prod)
    problem = refusal(await layered.sam.get("/v1/datasets/sales.prod_only/definition?environment=dev"), 422)
    assert problem["detail"] == "sales.prod_only has no definition in dev."


async def test_a_name_that_a_pattern_makes_has_its_origin_in_the_pattern(layered: Running) -> None:
    """The pattern is named to those who may know of it, and to nobody else."""
    await layered.root.make("/v1/grants/eve-apac", grant("user:eve", ["load"], on={"dataset": "sales.apac_orders"}))
    path = "/v1/datasets/sales.apac_orders/definition?environment=dev"
    answer = await layered.sam.read(path)
    assert answer["definition"]["filepath"] == "s3://lake/sales/apac/orders.csv"
    assert answer["pattern"] == "sales.{region}_orders"
    assert (await layered.eve.read(path)) == {**answer, "pattern": None}


async def test_a_definition_with_a_variable_that_nothing_gives_is_refused_in_each_environment(company: Running) -> None:
    body = dataset("s3://lake/sales/${globals:depot}/x.csv")
    problem = refusal(await company.sam.put("/v1/datasets/sales.stock", body, after=0), 422)
    assert [fault["at"] for fault in problem["errors"]] == ["environments.base (in dev)", "environments.base (in prod)"]
    await company.root.put("/v1/environments/dev", {"variables": {"depot": "a"}}, after=1)
    problem = refusal(await company.sam.put("/v1/datasets/sales.stock", body, after=0), 422)
    assert [fault["at"] for fault in problem["errors"]] == ["environments.base (in prod)"]


async def test_a_variable_that_a_served_dataset_needs_cannot_be_taken_away(layered: Running) -> None:
    """The dataset is named to those who may know of it; what was retired needs nothing any more."""
    boss = layered.somebody("root", sub="boss")
    await layered.root.make("/v1/grants/boss", grant("user:boss", ["administer"], on={"domain": "all"}))
    problem = refusal(await boss.put("/v1/domains/sales", SALES, after=2), 422)
    assert problem["errors"] == [{"at": "", "message": "A dataset that you may not know of would no longer be sound."}]
    problem = refusal(await layered.sam.put("/v1/domains/sales", SALES, after=2), 422)
    assert problem["errors"][0]["at"] == "sales.emea.stock"
    assert "No value for tier" in problem["errors"][0]["message"]
    assert (await layered.sam.delete("/v1/datasets/sales.emea.stock", after=1)).status_code == 200
    assert (await boss.put("/v1/domains/sales", SALES, after=2)).status_code == 200
    body = {"environments": {"base": csv("s3://lake/sales/${globals:tier}/x.csv")}}
    refusal(await layered.sam.put("/v1/datasets/sales.emea.stock", body, after=2), 422)


@pytest.mark.parametrize("value", ["..", "../hr", "a/b", "", "x:y", "~", ".hidden", "a b", "%2e%2e", "${globals:zone}"])
async def test_no_variable_moves_a_path_out_of_its_location(layered: Running, value: str) -> None:
    """Nor in a domain, nor in one environment alone. What such a value would have given nobody learns."""
    sales = {**SALES, "variables": {"tier": value, "zone": "far"}}
    refusal(await layered.sam.put("/v1/domains/sales", sales, after=2), 422)
    refusal(await layered.root.put("/v1/environments/dev", {"variables": {"tier": value}}, after=1), 422)
    assert (await layered.ann.catalog())["sales.emea.stock"]["filepath"] == "s3://lake/sales/gold/eu/raw/x.csv"


@pytest.mark.parametrize("value", ["s3://lake/hr/salaries.csv", "/etc/passwd", "project://conf/x", "relative.csv"])
async def test_a_variable_that_is_a_whole_path_stays_inside_too(layered: Running, value: str) -> None:
    root = layered.root
    await root.put("/v1/environments/dev", {"variables": {"place": "s3://lake/sales/dev.csv"}}, after=1)
    await root.put(
        "/v1/environments/prod", {"variables": {"place": "s3://lake/sales/prod.csv", "tier": "platinum"}}, after=2
    )
    answer = await layered.sam.put("/v1/datasets/sales.whole", dataset("${globals:place}"), after=0)
    if answer.status_code == 201:
        refusal(await root.put("/v1/environments/dev", {"variables": {"place": value}}, after=2), 422)
    else:
        refusal(answer, 422)


async def test_an_environment_that_leaves_a_served_dataset_without_a_value_is_not_made(layered: Running) -> None:
    """A new environment is asked for as much as an old one. Its own variables can give what is missing."""
    root, sam = layered.root, layered.sam
    for name in ("dev", "prod"):
        await root.put(f"/v1/environments/{name}", {"variables": {"depot": "a"}}, after=1 if name == "dev" else 2)
    await sam.make("/v1/datasets/sales.depots", dataset("s3://lake/sales/${globals:depot}/x.csv"))
    refusal(await root.put("/v1/environments/qa", {}, after=0), 422)
    await root.make("/v1/environments/qa", {"variables": {"depot": "q"}})
    assert (await sam.read("/v1/datasets/sales.depots/definition?environment=qa"))["definition"]["filepath"] == (
        "s3://lake/sales/q/x.csv"
    )
