"""Who governs without knowing of a dataset is told of it by no door: not by an explanation, not by a rule."""

from __future__ import annotations

import httpx
import pytest

from tests.api.running import Caller, Running, dataset, grant, refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def eve(company: Running) -> Caller:
    """Eve, who may grant in hr and knows of nothing there; the plans are a draft, and granted already."""
    await company.root.make("/v1/grants/eve-grants", grant("user:eve", ["grant"], on={"domain": "hr"}))
    await company.hugo.make("/v1/datasets/hr.plans", dataset("s3://lake/hr/plans.csv", lifecycle="draft"))
    await company.root.make("/v1/grants/plans", grant("group:board", ["load"], on={"dataset": "hr.plans"}))
    await company.root.make("/v1/policies/plans", {"scope": "hr", "cedar": CLOSED})
    return company.eve


CLOSED = 'forbid (principal == User::"zoe", action == Action::"load", resource == Dataset::"hr.plans");'


async def explained(
    caller: Caller, name: str, action: str = "load", subject: str | None = "user:sam"
) -> httpx.Response:
    about = f"&subject={subject}" if subject else ""
    return await caller.get(f"/v1/explain?environment=dev&action={action}&dataset={name}{about}")


async def test_an_explanation_about_others_needs_that_the_asker_knows_of_the_dataset(
    eve: Caller, company: Running
) -> None:
    """Seen to fail with 200: who grants there was told of drafts."""
    await company.sam.get("/v1/whoami")
    never = refusal(await explained(eve, "hr.never"), 404)

    assert refusal(await explained(eve, "hr.plans"), 404) == never


async def test_an_auditor_may_ask_about_others_and_about_all_that_is_there(eve: Caller, company: Running) -> None:
    await company.sam.get("/v1/whoami")
    assert (await explained(company.audrey, "hr.plans")).status_code == 200


async def test_rules_on_a_dataset_that_may_not_be_known_of_are_not_shown(eve: Caller) -> None:
    """Seen to fail with both in the lists: the scope alone was looked at."""
    for noun in ("grants", "policies"):
        shown = (await eve.read(f"/v1/{noun}"))["items"]
        assert "plans" not in [rule["id"] for rule in shown]
        never = refusal(await eve.get(f"/v1/{noun}/never"), 404)
        assert refusal(await eve.get(f"/v1/{noun}/plans"), 404) == never


async def test_rules_on_hidden_datasets_are_shown_to_auditors_administrators_and_the_steward(
    eve: Caller, company: Running
) -> None:
    for reader in (company.audrey, company.root, company.hugo):
        assert (await reader.get("/v1/grants/plans")).status_code == 200
        assert (await reader.get("/v1/policies/plans")).status_code == 200


async def test_rules_on_what_may_be_known_of_are_shown_to_who_grants_there(eve: Caller, company: Running) -> None:
    on = {"dataset": "hr.salaries"}
    await company.root.make("/v1/grants/salaries", grant("group:board", ["load"], on=on))
    await company.root.make("/v1/grants/eve-knows", grant("user:eve", ["discover"], on=on))

    assert {"salaries", "eve-knows", "eve-grants"} <= {g["id"] for g in (await eve.read("/v1/grants"))["items"]}


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"lifecycle": "draft", "environments": {}}, "it is draft"),
        ({"lifecycle": "retired", "environments": {}}, "it is retired"),
        ({"environments": {}}, "it has no definition in dev"),
    ],
)
async def test_what_is_never_served_is_not_explained_as_allowed(
    company: Running, declared: dict[str, object], reason: str
) -> None:
    """Seen to fail with `allowed` true: the policies alone were asked, and a preflight said no."""
    await company.root.make("/v1/grants/sam-loads", grant("user:sam", ["load"], on={"domain": "sales"}))
    await company.sam.make("/v1/datasets/sales.absent", declared)

    told = (await explained(company.sam, "sales.absent", subject=None)).json()
    verdict = (await company.sam.post("/v1/preflight", {"environment": "dev", "load": ["sales.absent"]})).json()

    assert (told["allowed"], told["reason"]) == (False, reason)
    assert verdict["verdicts"][0]["reason"] == reason


async def test_a_retired_dataset_may_still_be_known_of(company: Running) -> None:
    await company.sam.make("/v1/datasets/sales.old", dataset("s3://lake/sales/old.csv", lifecycle="retired"))

    told = (await explained(company.sam, "sales.old", "discover", subject=None)).json()

    assert told["allowed"] is True


async def test_a_search_finds_by_words_and_counts_what_it_finds(service: Running) -> None:
    found = await service.sam.read("/v1/datasets/search?search=ord&domain=sales&limit=1")
    assert ([each["name"] for each in found["items"]], found["next"]) == (["sales.orders"], "1")
    following = await service.sam.read("/v1/datasets/search?search=ord&domain=sales&after=1")
    assert ([each["name"] for each in following["items"]], following["next"]) == (["sales.{region}_orders"], None)
    assert {each["value"]: each["count"] for each in found["facets"]["type"]} == {"pandas.CSVDataset": found["total"]}
    mine = await service.sam.read("/v1/datasets/search?may=steward&lifecycle=active&sort=sensitive&limit=2")
    assert len(mine["items"]) == 2
    hidden = await service.sam.read("/v1/datasets/search?search=salaries")
    assert (hidden["items"], hidden["total"], set(map(str, hidden["facets"].values()))) == ([], 0, {"[]"})
    # The list takes the same words, and a part of a name too.
    for q in ("ord", "order EVERY", "rders", "s.ord"):
        listed = await service.sam.read(f"/v1/datasets?q={q}&domain=sales")
        assert "sales.orders" in [each["name"] for each in listed["items"]], q
        assert "sales.targets" not in str(listed), q
    assert (await service.sam.read("/v1/datasets?q=salaries"))["items"] == []
    refusal(await service.sam.get("/v1/datasets/search?colour=red"), 422)
    refusal(await service.sam.get("/v1/datasets/search?environment=qa"), 422)
