"""What files in git keep: by which source, which fields, and what was last applied of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.running import Caller, Running, csv, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

LEADS = "s3://lake/sales/leads.csv"


def put(kind: str, id_: str, body: object, *fields: str, otherwise: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"put": {"kind": kind, "id": id_, "body": body, "kept": {"fields": [*fields], "otherwise": [*otherwise]}}}


async def apply(service: Running, caller: Caller, *changes: object, **more: object) -> httpx.Response:
    body = {"changes": list(changes), "source": "definitions", **more}
    at = await revision_of(service)
    return await caller.send("POST", "/v1/apply", json=body, headers={"If-Match": f'"{at}"'})


async def applied(service: Running, caller: Caller, *changes: object, **more: object) -> dict[str, Any]:
    answer = await apply(service, caller, *changes, **more)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def pieces(caller: Caller, kind: str) -> dict[str, Any]:
    page = await caller.read(f"/v1/realm?kind={kind}&limit=1000")
    assert page["next"] is None
    return {each["id"]: each for each in [*page["items"], *page["gone"]]}


async def test_what_was_applied_stays_known_when_somebody_changes_it_by_hand(company: Running) -> None:
    sam = company.sam
    wanted = dataset(LEADS, description="Who may buy.")
    await applied(company, sam, put("dataset", "sales.leads", wanted, "description", "environments.base"))
    made = (await pieces(sam, "dataset"))["sales.leads"]
    assert made["kept_in"] == {"source": "definitions", "fields": {"description": 1, "environments.base": 1}}
    assert (made["base"], made["by"]) == ({}, "user:sam")

    await sam.put("/v1/datasets/sales.leads", {**made["body"], "description": "By hand."}, after=1)

    changed = (await pieces(sam, "dataset"))["sales.leads"]
    assert changed["version"] == 2
    assert changed["body"]["description"] == "By hand."
    assert changed["base"] == {"description": "Who may buy.", "environments.base": csv(LEADS)}


async def test_a_field_that_stands_otherwise_keeps_what_the_files_said_before(company: Running) -> None:
    sam = company.sam
    await applied(
        company, sam, put("dataset", "sales.leads", dataset(LEADS, description="One."), "description", "tags")
    )
    await sam.put("/v1/datasets/sales.leads", dataset(LEADS, description="By hand."), after=1)

    body = dataset(LEADS, description="By hand.", tags=["core"])
    await applied(company, sam, put("dataset", "sales.leads", body, "tags", otherwise=("description",)))

    found = (await pieces(sam, "dataset"))["sales.leads"]
    assert found["kept_in"]["fields"] == {"description": 1, "tags": 3}
    assert found["base"] == {"description": "One."}


async def test_what_stands_already_can_be_kept_and_let_go_without_being_changed(company: Running) -> None:
    sam = company.sam
    keep = {"kind": "dataset", "id": "sales.orders", "version": 1, "kept": {"fields": ["description"]}}
    await applied(company, sam, keep=[keep])
    kept = (await pieces(sam, "dataset"))["sales.orders"]
    assert (kept["version"], kept["kept_in"]["fields"]) == (1, {"description": 1})

    await applied(company, sam, keep=[{"kind": "dataset", "id": "sales.orders"}])

    assert (await pieces(sam, "dataset"))["sales.orders"]["kept_in"] is None


async def test_whoever_reads_a_thing_is_told_what_of_it_is_kept(company: Running) -> None:
    kept = {"source": "definitions", "fields": {"description": 1}}
    keep = [{"kind": "dataset", "id": "sales.orders", "kept": {"fields": ["description"]}}]
    await applied(company, company.sam, keep=keep)
    assert (await company.ann.read("/v1/datasets/sales.orders"))["kept_in"] == kept
    assert (await company.sam.read("/v1/datasets/sales.targets"))["kept_in"] is None
    await applied(company, company.root, keep=[{**keep[0], "kind": "domain", "id": "sales"}])
    assert (await company.sam.read("/v1/domains/sales"))["kept_in"] == kept
    listed = (await company.sam.read("/v1/domains"))["items"]
    assert {each["name"]: each["kept_in"] for each in listed} == {"sales": kept, "sales.emea": None}


async def test_what_another_source_keeps_is_told_to_those_alone_who_may_put_it(company: Running) -> None:
    keep = [{"kind": "dataset", "id": "hr.salaries", "kept": {"fields": ["description"]}}]
    await applied(company, company.hugo, keep=keep)
    for name in ("hr.salaries", "hr.nothing"):
        asked = [{"kind": "dataset", "id": name}]
        for door in ("/v1/try", "/v1/apply"):
            headers = {"If-Match": f'"{await revision_of(company)}"'}
            body = {"keep": asked, "source": "probe"}
            refusal(await company.sam.send("POST", door, json=body, headers=headers), 404)


async def test_only_who_may_put_a_thing_may_say_that_it_is_kept(company: Running) -> None:
    keep = {"kind": "dataset", "id": "sales.orders", "kept": {"fields": ["description"]}}
    refusal(await apply(company, company.hugo, keep=[keep]), 404)
    refusal(await apply(company, company.eve, keep=[keep]), 404)
    refusal(await apply(company, company.sam, keep=[{"kind": "environment", "id": "dev"}]), 404)
    assert (await pieces(company.sam, "dataset"))["sales.orders"]["kept_in"] is None


async def test_one_source_keeps_a_thing_until_another_takes_it_over(company: Running) -> None:
    sam = company.sam
    keep = [{"kind": "dataset", "id": "sales.orders", "kept": {"fields": ["description"]}}]
    await applied(company, sam, keep=keep)

    said = refusal(await apply(company, sam, keep=keep, source="others"), 409)
    assert "dataset sales.orders is kept in definitions, and not in others" in said["detail"]
    tried = await sam.post("/v1/try", {"changes": [], "keep": keep, "source": "others"})
    refusal(tried, 409)

    await applied(company, sam, keep=keep, source="others", take_over=True)
    assert (await pieces(sam, "dataset"))["sales.orders"]["kept_in"]["source"] == "others"


async def test_what_was_kept_and_is_gone_is_told_to_those_who_would_see_it(company: Running) -> None:
    root = company.root
    body = grant("group:analysts", ["load"], on={"dataset": "hr.salaries"})
    await applied(company, root, put("grant", "analysts-in-hr", body, "to", "actions", "on", "because"))
    await root.delete("/v1/grants/analysts-in-hr", after=1)

    gone = (await pieces(root, "grant"))["analysts-in-hr"]
    assert (gone["version"], gone["body"], gone["by"]) == (0, None, "user:root")
    assert gone["base"]["on"] == {"dataset": "hr.salaries"}
    assert "analysts-in-hr" in await pieces(company.hugo, "grant")
    assert "analysts-in-hr" not in await pieces(company.sam, "grant")


async def test_the_realm_shows_to_each_what_they_may_put(company: Running) -> None:
    assert {*await pieces(company.sam, "dataset")} == {
        "sales.emea.leads",
        "sales.orders",
        "sales.targets",
        "sales.{region}_orders",
    }
    assert {*await pieces(company.hugo, "dataset")} == {"hr.salaries"}
    assert {*await pieces(company.hugo, "domain")} == {"hr"}
    for kind in ("environment", "group", "domain", "dataset", "policy", "grant"):
        assert await pieces(company.eve, kind) == {}
    assert {*await pieces(company.root, "environment")} == {"dev", "prod"}


async def test_every_body_of_the_realm_puts_the_very_same_thing(company: Running) -> None:
    """All fields of a body are there, in its one spelling: what is put so is read back so."""
    root, sam = company.root, company.sam
    await root.make("/v1/groups/analysts-of-hr", {"members": ["user:ann"], "parents": ["group:all-of-hr"]})
    cedar = 'permit(principal == User::"ann",action==Action::"load",resource);'
    await root.make("/v1/policies/readers", {"cedar": cedar, "scope": "hr"})
    for caller, kind, door in (
        (root, "environment", "environments"),
        (root, "group", "groups"),
        (root, "domain", "domains"),
        (sam, "dataset", "datasets"),
        (root, "policy", "policies"),
        (root, "grant", "grants"),
    ):
        for id_, piece in (await pieces(caller, kind)).items():
            answer = await caller.put(f"/v1/{door}/{id_}", piece["body"], after=piece["version"])
            assert answer.status_code == 200, answer.text
            assert (await pieces(caller, kind))[id_]["body"] == piece["body"]
            schema = company.app.openapi()["components"]["schemas"][f"{kind.capitalize()}Body"]
            derived = {"domain": {"parent"}, "dataset": {"domain"}, "policy": {"form"}}.get(kind, set())
            assert piece["body"].keys() == schema["properties"].keys() - derived
