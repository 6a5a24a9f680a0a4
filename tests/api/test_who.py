"""Who may do this: every known subject that may, and why, told to those who audit, grant or administer there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Caller, Running, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio


async def who(caller: Caller, **asked: str) -> dict[str, Any]:
    """The answer, which must be one."""
    answer = await caller.get("/v1/who", params=asked)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def names(told: dict[str, Any]) -> list[str]:
    return [item["subject"] for item in told["items"]]


async def seen(service: Running, *people: str) -> None:
    """These people have asked something, and so are known."""
    for person in people:
        await getattr(service, person).read("/v1/whoami")


async def test_those_are_found_who_may_and_the_answer_says_why_and_as_of_when(service: Running) -> None:
    await seen(service, "ann", "eve", "nightly")

    told = await who(service.audrey, action="load", dataset="sales.orders", environment="dev")

    assert names(told) == ["user:ann"]
    (ann,) = told["items"]
    assert ann["because"] == ["grant:analysts-load-orders"]
    assert "permitted by grant:analysts-load-orders" in ann["reason"]
    assert ann["seen_at"].endswith("Z")
    assert told["subjects_known"] >= 6
    assert (told["next"], told["notice"]) == (None, None)


async def test_whom_explain_allows_is_found_and_nobody_else(service: Running) -> None:
    people = ("ann", "eve", "hugo", "root", "sam", "nightly")
    await seen(service, *people)
    subjects = [f"service:{person}" if person == "nightly" else f"user:{person}" for person in people]

    for dataset_ in ("sales.orders", "sales.targets", "sales.emea.leads", "hr.salaries", "sales.nordic_orders"):
        for action in ("discover", "load", "save"):
            asked = {"action": action, "dataset": dataset_, "environment": "dev"}
            allowed = set()
            for subject in subjects:
                told = await service.audrey.get("/v1/explain", params={**asked, "subject": subject})
                if told.json()["allowed"]:
                    allowed.add(subject)
            assert set(names(await who(service.audrey, **asked))) & set(subjects) == allowed, asked


async def test_a_page_follows_the_other(service: Running) -> None:
    for number in range(5):
        await service.somebody("eve", sub=f"reader{number}", groups=["page-readers"]).read("/v1/whoami")
    reading = grant("group:page-readers", ["load"], on={"dataset": "sales.emea.leads"})
    await service.root.make("/v1/grants/page-readers", reading)
    found: list[str] = []
    after: str | None = ""

    while after is not None:
        told = await who(
            service.audrey, action="load", dataset="sales.emea.leads", environment="dev", limit="2", after=after
        )
        assert len(told["items"]) <= 2
        found += names(told)
        after = told["next"]

    assert found == [f"user:reader{number}" for number in range(5)]


async def test_a_steward_is_told_of_a_dataset_that_they_know_and_grant_on(service: Running) -> None:
    await seen(service, "nightly")

    told = await who(service.sam, action="save", dataset="sales.targets", environment="prod")

    assert names(told) == ["service:nightly"]


async def test_whoever_may_not_ask_about_others_is_refused_or_told_what_is_said_of_a_name_never_used(
    service: Running,
) -> None:
    """Seen to fail with the right to ask looked at before the dataset: a hidden name was 403, as a known one is."""
    asked = "/v1/who?action=load&environment=dev&dataset="

    refusal(await service.ann.get(f"{asked}sales.orders"), 403)
    hidden = refusal(await service.ann.get(f"{asked}hr.salaries"), 404)
    unused = refusal(await service.ann.get(f"{asked}hr.nothing_at_all"), 404)

    assert hidden == unused


async def test_who_grants_in_a_domain_learns_nothing_of_what_a_rule_hides_there(company: Running) -> None:
    sharing = grant("user:gil", ["grant"], on={"domain": "hr"})
    await company.root.make("/v1/grants/gil-grants-in-hr", sharing)
    gil = company.somebody("eve", sub="gil")
    asked = {"action": "load", "environment": "dev"}

    hidden = await gil.get("/v1/who", params={**asked, "dataset": "hr.salaries"})
    unused = await gil.get("/v1/who", params={**asked, "dataset": "hr.nothing_at_all"})

    assert refusal(hidden, 404) == refusal(unused, 404)


async def test_nobody_loads_what_is_not_served_and_the_answer_says_so(company: Running) -> None:
    retired = dataset("s3://lake/sales/orders.csv", description="Every order.", lifecycle="retired")
    assert (await company.sam.put("/v1/datasets/sales.orders", retired, after=1)).status_code == 200
    await seen(company, "ann")

    told = await who(company.audrey, action="load", dataset="sales.orders", environment="dev")

    assert told["items"] == []
    assert told["notice"] == "it is retired"


async def test_a_draft_is_discovered_by_its_stewards_alone(company: Running) -> None:
    await company.root.make("/v1/grants/everybody", grant("group:analysts", ["discover"], on={"domain": "sales"}))
    await company.sam.make("/v1/datasets/sales.plans", dataset("s3://lake/sales/plans.csv", lifecycle="draft"))
    await seen(company, "ann")

    told = await who(company.audrey, action="discover", dataset="sales.plans", environment="dev")

    assert names(told) == ["user:sam"]


async def test_it_is_asked_who_governs_a_domain_or_a_dataset(service: Running) -> None:
    declarers = await who(service.audrey, action="declare", domain="sales.emea")
    assert {"user:root", "user:sam"} <= set(names(declarers))
    assert "user:hugo" not in names(declarers)
    on_dataset = await who(service.sam, action="grant", dataset="sales.orders")
    assert {"user:root", "user:sam"} <= set(names(on_dataset))
    administrators = await who(service.root, action="administer", domain="hr")
    assert names(administrators) == ["user:root"]


async def test_who_governs_a_domain_is_refused_alike_whether_there_is_one(service: Running) -> None:
    standing = refusal(await service.eve.get("/v1/who?action=approve&domain=hr"), 403)
    unused = refusal(await service.eve.get("/v1/who?action=approve&domain=zz"), 403)

    assert standing["detail"].replace(" hr.", " zz.") == unused["detail"]
    refusal(await service.audrey.get("/v1/who?action=approve&domain=zz"), 404)


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        ("action=load&dataset=sales.orders", "environment"),
        ("action=approve&domain=sales&environment=dev", "environment"),
        ("action=load&domain=sales&environment=dev", "domain"),
        ("action=approve", "dataset"),
        ("action=approve&domain=sales&dataset=sales.orders", "dataset"),
        ("action=administer&dataset=sales.orders", "dataset"),
        ("action=load&dataset=sales.orders&environment=prd", "environment"),
        ("action=own&dataset=sales.orders", "action"),
    ],
)
async def test_a_question_that_cannot_be_asked_says_what_is_wrong_with_it(
    service: Running, asked: str, at: str
) -> None:
    problem = refusal(await service.audrey.get(f"/v1/who?{asked}"), 422)
    assert at in [error["at"] for error in problem["errors"]]


async def test_one_row_tells_what_was_asked_and_who_was_found(service: Running) -> None:
    await seen(service, "ann")
    answer = await service.audrey.get("/v1/who?action=load&dataset=sales.orders&environment=dev")

    (row,) = (await service.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]

    assert (row["event"], row["outcome"], row["subject"]) == ("access.searched", "allowed", "user:audrey")
    assert (row["datasets"], row["environment"]) == (["sales.orders"], "dev")
    assert row["policies"] == ["grant:analysts-load-orders"]
    assert row["details"]["found"] == ["user:ann"]


async def test_it_is_asked_who_might_at_an_earlier_revision(company: Running) -> None:
    """Seen to fail with the policies of today asked about the subjects of then."""
    await seen(company, "ann")
    then = await revision_of(company)
    assert (await company.root.delete("/v1/grants/analysts-load-orders", after=1)).status_code == 204
    asked = {"action": "load", "dataset": "sales.orders", "environment": "dev"}

    assert names(await who(company.audrey, **asked)) == []
    told = await who(company.audrey, **asked, at=str(then))
    assert (names(told), told["revision"]) == (["user:ann"], then)
    administrators = await who(company.audrey, action="administer", domain="all", at="1")
    assert (names(administrators), administrators["revision"]) == (["user:root"], 1)


async def test_an_earlier_moment_tells_those_alone_who_may_ask_today(company: Running) -> None:
    then = await revision_of(company)
    asked = f"/v1/who?action=load&environment=dev&at={then}&dataset="

    refusal(await company.ann.get(f"{asked}sales.orders"), 403)
    assert refusal(await company.ann.get(f"{asked}hr.salaries"), 404) == refusal(
        await company.ann.get(f"{asked}hr.nothing_at_all"), 404
    )
    for at in ("999999", "2999-01-01T00:00:00Z", "yesterday"):
        path = f"/v1/who?action=load&environment=dev&dataset=sales.orders&at={at}"
        refusal(await company.audrey.get(path), 422)
