"""History shows no definition to anybody who could not use it today."""

from __future__ import annotations

import pytest

from tests.api.running import Caller, Running, csv, grant

pytestmark = pytest.mark.anyio

DEV, PROD = csv("s3://lake/sales/dev.csv"), csv("s3://lake/sales/prod.csv")


async def definitions(caller: Caller, name: str) -> list[dict[str, object]]:
    """What the caller reads in each version, the newest first."""
    versions = await caller.read(f"/v1/datasets/{name}/history")
    return [version["dataset"]["definitions"] for version in versions["items"]]


async def test_who_may_only_discover_reads_no_definition_of_any_version(company: Running) -> None:
    """Seen to fail with `everything` looking at the current version alone, which here defines nothing."""
    await company.root.make("/v1/grants/eve-knows", grant("user:eve", ["discover"], on={"dataset": "sales.targets"}))
    await company.sam.put("/v1/datasets/sales.targets", {"environments": {}}, after=1)

    assert await definitions(company.eve, "sales.targets") == [{}, {}]


async def test_who_loads_in_one_environment_never_reads_what_stood_in_another(company: Running) -> None:
    path = "/v1/datasets/sales.two"
    await company.sam.make(path, {"environments": {"dev": DEV, "prod": PROD}})
    await company.sam.put(path, {"environments": {"dev": DEV}}, after=1)
    on = {"dataset": "sales.two"}
    await company.root.make("/v1/grants/eve-dev", grant("user:eve", ["load"], on=on, environments=["dev"]))

    assert await definitions(company.eve, "sales.two") == [{"dev": DEV}, {"dev": DEV}]


async def test_what_base_said_is_read_by_who_fell_back_to_it_in_that_version(company: Running) -> None:
    path = "/v1/datasets/sales.two"
    await company.sam.make(path, {"environments": {"base": PROD}})
    await company.sam.put(path, {"environments": {"dev": DEV}}, after=1)
    on = {"dataset": "sales.two"}
    await company.root.make("/v1/grants/eve-dev", grant("user:eve", ["load"], on=on, environments=["dev"]))

    assert await definitions(company.eve, "sales.two") == [{"dev": DEV}, {"base": PROD}]


async def test_who_declares_there_reads_all_that_every_version_said(company: Running) -> None:
    await company.sam.put("/v1/datasets/sales.targets", {"environments": {}}, after=1)

    assert await definitions(company.sam, "sales.targets") == [{}, {"base": csv("s3://lake/sales/targets.csv")}]
