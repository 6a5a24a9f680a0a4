"""What an administrator gives a domain beside locations: types of its own, and shorter leases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import STEWARDING, Running, found_company, grant, refusal, running

pytestmark = pytest.mark.anyio

LEDGER = "acme.datasets.LedgerDataset"


@pytest.fixture(scope="module")
async def labs(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    """The company, in which Sam also stewards labs, a domain with a type of its own."""
    async with running(issuer, module_database) as service:
        await found_company(service)
        await service.root.make("/v1/domains/labs", domain(types=[LEDGER]))
        await service.root.make("/v1/domains/labs.deep", {"owner": "group:labs-owners"})
        await service.root.make("/v1/grants/sam-labs", grant("user:sam", STEWARDING, on={"domain": "labs"}))
        yield service


def domain(**more: Any) -> dict[str, Any]:
    return {"owner": "group:labs-owners", "locations": ["s3://lake/labs/"], **more}


def of_type(type_: str, path: str, **arguments: object) -> dict[str, Any]:
    return {"environments": {"base": {"type": type_, "filepath": path, **arguments}}}


async def version_of(service: Running, name: str) -> int:
    version: int = (await service.root.read(f"/v1/domains/{name}"))["version"]
    return version


async def test_a_type_of_a_domain_is_declared_in_it_and_below_and_nowhere_else(labs: Running) -> None:
    """Seen to fail with the service's own types alone, and with those of every domain."""
    await labs.sam.make("/v1/datasets/labs.book", of_type(LEDGER, "s3://lake/labs/book", anything=1))
    await labs.sam.make("/v1/datasets/labs.deep.book", of_type(LEDGER, "s3://lake/labs/deep/book"))
    elsewhere = await labs.sam.put("/v1/datasets/sales.book", of_type(LEDGER, "s3://lake/sales/book"), after=0)
    assert "type" in refusal(elsewhere, 422)["errors"][0]["at"]
    unknown = of_type("acme.datasets.Other", "s3://lake/labs/other")
    refusal(await labs.sam.put("/v1/datasets/labs.other", unknown, after=0), 422)


async def test_a_type_is_tried_and_applied_together_with_what_is_declared_of_it(labs: Running) -> None:
    put = [
        {"put": {"kind": "domain", "id": "fresh", "body": domain(locations=["s3://lake/fresh/"], types=[LEDGER])}},
        {"put": {"kind": "dataset", "id": "fresh.book", "body": of_type(LEDGER, "s3://lake/fresh/book")}},
    ]
    tried = await labs.root.post("/v1/try", {"changes": put})
    assert tried.status_code == 200, tried.text
    refusal(await labs.root.post("/v1/try", {"changes": [put[1]]}), 403, 404, 422)
    headers = {"If-Match": f'"{tried.json()["revision"]}"'}
    applied = await labs.root.send("POST", "/v1/apply", json={"changes": put}, headers=headers)
    assert applied.status_code == 200, applied.text
    assert (await labs.root.read("/v1/domains/fresh"))["types"] == [LEDGER]


async def test_a_type_that_datasets_are_of_cannot_be_taken_away(labs: Running) -> None:
    """Seen to fail with what is below a changed domain left out of `check_sound`."""
    await labs.root.make("/v1/domains/kept", domain(locations=["s3://lake/kept/"], types=[LEDGER, "acme.Unused"]))
    await labs.root.make("/v1/grants/sam-kept", grant("user:sam", STEWARDING, on={"domain": "kept"}))
    await labs.sam.make("/v1/datasets/kept.book", of_type(LEDGER, "s3://lake/kept/book"))
    without = domain(locations=["s3://lake/kept/"])
    problem = refusal(await labs.root.put("/v1/domains/kept", without, after=1), 422)
    assert [error["at"] for error in problem["errors"]] == ["kept.book"]
    assert (await labs.root.put("/v1/domains/kept", {**without, "types": [LEDGER]}, after=1)).status_code == 200


async def test_types_and_lease_hours_are_an_administrators(labs: Running) -> None:
    version = await version_of(labs, "labs")
    stands = domain(types=[LEDGER])
    for further in ({"types": [LEDGER, "acme.More"]}, {"types": []}, {"lease_hours": 1}):
        refusal(await labs.sam.put("/v1/domains/labs", {**stands, **further}, after=version), 403)
    described = await labs.sam.put("/v1/domains/labs", {**stands, "description": "Sam's words"}, after=version)
    assert described.json()["types"] == [LEDGER]


async def test_who_only_uses_a_domains_data_is_not_told_its_types(labs: Running) -> None:
    await labs.sam.make("/v1/datasets/labs.shown", of_type(LEDGER, "s3://lake/labs/shown"))
    await labs.root.make("/v1/grants/ann-labs", grant("user:ann", ["load"], on={"dataset": "labs.shown"}))
    told = await labs.ann.read("/v1/domains/labs")
    assert (told["types"], told["locations"]) == ([], [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"types": ["LedgerDataset"]},
        {"types": ["os; import x"]},
        {"types": ["acme.LambdaDataset"]},
        {"types": [""]},
        {"lease_hours": 0},
        {"lease_hours": 0.1},
        {"lease_hours": -3},
        {"lease_hours": 337},
        {"lease_hours": "long"},
    ],
)
async def test_what_is_no_type_and_no_length_is_refused_with_its_place(labs: Running, wrong: dict[str, Any]) -> None:
    problem = refusal(await labs.root.put("/v1/domains/wrong", domain(**wrong), after=0), 422)
    (field,) = wrong
    assert problem["errors"][0]["at"].startswith(field)


async def test_datasets_of_a_domain_end_sooner_than_the_lease_and_the_others_do_not(labs: Running) -> None:
    """Seen to fail with the ends of grants alone."""
    await labs.root.make("/v1/domains/short", domain(locations=["s3://lake/short/"], lease_hours=4))
    await labs.root.make("/v1/domains/short.deep", {"owner": "group:x", "lease_hours": 300})
    await labs.root.make("/v1/grants/sam-short", grant("user:sam", STEWARDING, on={"domain": "short"}))
    for name in ("short.one", "short.deep.two"):
        path = f"s3://lake/{name.replace('.', '/')}.csv"
        await labs.sam.make(f"/v1/datasets/{name}", of_type("pandas.CSVDataset", path))
        await labs.root.make(f"/v1/grants/eve-{name}", grant("user:eve", ["load"], on={"dataset": name}))
    await labs.root.make("/v1/grants/eve-orders", grant("user:eve", ["load"], on={"dataset": "sales.orders"}))
    assert '"lease_hours":4,' in (await labs.root.get("/v1/domains/short")).text
    before = datetime.now(UTC)
    answer = await labs.eve.get("/v1/leases?environment=dev")
    ends = {name: datetime.fromisoformat(end) for name, end in answer.json()["ends"].items()}
    assert ends.keys() == {"short.one", "short.deep.two"}
    for end in ends.values():
        assert before + timedelta(hours=3.5) <= end <= datetime.now(UTC) + timedelta(hours=4)
