"""Promise 7: a catalog and a decision can be asked as of any earlier revision or time, and hidden stays hidden.

Seen to fail with a past catalog given uncut (Ann read where the salaries had lain), with the newest state of a subject
taken for the one of then, and with the realm of today.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from demo.issuer import RunningIssuer
from tests.api.running import Caller, Running, dataset, found_company, grant, refusal, revision_of, running
from tests.api.test_leaks import assert_alike

pytestmark = pytest.mark.anyio

TARGETS = grant("user:ann", ["load"], on={"dataset": "sales.targets"})
SALARIES = grant("user:ann", ["load"], on={"dataset": "hr.salaries"})


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def names(caller: Caller, **asked: str | int) -> set[str]:
    """The names in a catalog."""
    return set(await caller.catalog(**{name: str(value) for name, value in asked.items()}))


async def leave(service: Running, id_: str, body: dict[str, object]) -> tuple[str, int]:
    """Give leave and take it back; gives the time and the revision between the two."""
    await service.root.make(f"/v1/grants/{id_}", body)
    between, revision = now(), await revision_of(service)
    assert (await service.root.delete(f"/v1/grants/{id_}", after=1)).status_code == 204
    return between, revision


async def test_what_ann_could_load_before_her_grant_ended_is_told_to_the_auditor(company: Running) -> None:
    await company.ann.catalog()
    between, revision = await leave(company, "ann-salaries", SALARIES)
    for at in (between, revision):
        assert "hr.salaries" in await names(company.audrey, at=at, subject="user:ann")
    assert "hr.salaries" not in await names(company.audrey, subject="user:ann")
    assert "hr.salaries" not in await names(company.audrey, at=now(), subject="user:ann")


async def test_the_definition_is_the_one_of_then(company: Running) -> None:
    await company.ann.catalog()
    before = await revision_of(company)
    moved = await company.sam.put("/v1/datasets/sales.orders", dataset("s3://lake/sales/moved.csv"), after=1)
    assert moved.status_code == 200

    then = await company.ann.catalog(at=str(before), names="sales.orders,sales.unheard_of")
    today = await company.ann.catalog()

    assert then["sales.orders"]["filepath"] == "s3://lake/sales/orders.csv"
    assert today["sales.orders"]["filepath"] == "s3://lake/sales/moved.csv"


async def test_ann_is_told_of_the_past_only_what_she_may_load_or_save_today(company: Running) -> None:
    await company.ann.catalog()
    salaries, _ = await leave(company, "ann-salaries", SALARIES)
    targets, _ = await leave(company, "ann-targets", TARGETS)
    # She may know of the targets today, and no more.
    await company.root.make(
        "/v1/grants/ann-discovers-targets", grant("user:ann", ["discover"], on={"dataset": "sales.targets"})
    )
    assert await names(company.ann, at=salaries) == {"sales.orders"}
    assert await names(company.ann, at=targets) == {"sales.orders"}
    assert await names(company.ann, at=targets, names="sales.targets,hr.salaries") == set()

    await company.root.make("/v1/grants/ann-saves-targets", {**TARGETS, "actions": ["save"]})

    assert await names(company.ann, at=targets) == {"sales.orders", "sales.targets"}


async def test_of_the_past_of_others_only_auditors_are_told_and_only_where_they_audit(company: Running) -> None:
    await company.ann.catalog()
    between, _ = await leave(company, "ann-salaries", SALARIES)
    await company.root.make("/v1/grants/eve-audits-hr", grant("user:eve", ["audit"], on={"domain": "hr"}))

    assert await names(company.eve, at=between, subject="user:ann") == {"hr.salaries"}
    problem = refusal(await company.sam.get(f"/v1/catalog?environment=dev&at={between}&subject=user:ann"), 403)
    assert "audit" in problem["detail"]
    refusal(await company.audrey.get("/v1/catalog?environment=dev&subject=user:nobody-ever"), 404)


async def test_the_groups_of_then_decide_and_not_those_of_today(company: Running) -> None:
    await company.ann.catalog()
    between = now()
    await company.somebody("ann", groups=[]).catalog()
    later = now()

    assert await names(company.audrey, at=between, subject="user:ann") == {"sales.orders"}
    assert await names(company.audrey, at=later, subject="user:ann") == set()


async def test_the_time_of_then_decides_and_not_that_of_today(company: Running) -> None:
    await company.ann.catalog()
    until = datetime.now(UTC) + timedelta(seconds=1)
    await company.root.make("/v1/grants/ann-targets", {**TARGETS, "until": until.isoformat()})
    revision, between = await revision_of(company), now()
    await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.05)

    assert "sales.targets" not in await names(company.audrey, subject="user:ann")
    for at in (between, revision):
        assert "sales.targets" in await names(company.audrey, at=at, subject="user:ann")
    assert "sales.targets" not in await names(company.audrey, at=now(), subject="user:ann")


async def explained(caller: Caller, **asked: str | int) -> dict[str, Any]:
    """Why, in dev, to load."""
    query = httpx.QueryParams({"action": "load", "environment": "dev", **asked})
    told: dict[str, Any] = await caller.read(f"/v1/explain?{query}")
    return told


async def test_why_somebody_could_load_a_dataset_is_told_to_the_auditor_after_the_grant_ended(company: Running) -> None:
    await company.ann.catalog()
    between, revision = await leave(company, "ann-salaries", SALARIES)
    for at in (between, revision):
        told = await explained(company.audrey, dataset="hr.salaries", subject="user:ann", at=at)
        assert (told["allowed"], told["because"], told["revision"]) == (True, ["grant:ann-salaries"], revision)
        assert told["reason"].startswith("user:ann may load it: permitted by grant:ann-salaries")
        assert told["subject_seen_at"] <= between
    today = await explained(company.audrey, dataset="hr.salaries", subject="user:ann")
    assert (today["allowed"], today["because"]) == (False, [])


async def test_anybody_may_ask_why_of_the_past_about_what_they_may_know_of_today(company: Running) -> None:
    await company.ann.catalog()
    salaries, _ = await leave(company, "ann-salaries", SALARIES)
    targets, _ = await leave(company, "ann-targets", TARGETS)
    path = "/v1/explain?action=load&environment=dev"
    refusal(await company.ann.get(f"{path}&dataset=hr.salaries&at={salaries}"), 404)
    refusal(await company.ann.get(f"{path}&dataset=sales.targets&at={targets}"), 404)
    await company.root.make(
        "/v1/grants/ann-discovers-targets", grant("user:ann", ["discover"], on={"dataset": "sales.targets"})
    )
    assert (await explained(company.ann, dataset="sales.targets", at=targets))["allowed"] is True
    assert (await explained(company.ann, dataset="sales.targets"))["allowed"] is False


async def test_what_is_used_instead_is_told_to_those_alone_who_may_know_of_it_today(company: Running) -> None:
    await company.ann.catalog()
    await company.root.make("/v1/grants/ann-salaries", SALARIES)
    both = company.somebody("root", sub="both")
    for domain in ("sales", "hr"):
        grants = grant("user:both", ["declare", "classify", "discover"], on={"domain": domain})
        await company.root.make(f"/v1/grants/both-{domain}", grants)
    retired = dataset("s3://lake/sales/orders.csv", lifecycle="retired", successor="hr.salaries")
    assert (await both.put("/v1/datasets/sales.orders", retired, after=1)).status_code == 200
    between = now()
    assert "use hr.salaries" in (await explained(company.ann, dataset="sales.orders", at=between))["reason"]

    await company.root.delete("/v1/grants/ann-salaries", after=1)

    assert (await explained(company.ann, dataset="sales.orders", at=between))["reason"] == "it is retired"


async def test_a_dataset_was_not_there_before_it_was_declared(company: Running) -> None:
    await company.ann.catalog()
    before = now()
    await company.sam.make("/v1/datasets/sales.new", dataset("s3://lake/sales/new.csv"))
    path = "/v1/explain?action=load&environment=dev&dataset=sales.new"
    assert (await company.sam.get(path)).status_code == 200
    refusal(await company.sam.get(f"{path}&at={before}"), 404)
    assert "sales.new" not in await names(company.audrey, at=before, subject="user:ann")


async def test_a_lease_is_never_for_the_past_nor_for_others(company: Running) -> None:
    for asked in ("at=1", f"at={now()}", "at=", "subject=user:ann"):
        problem = refusal(await company.ann.get(f"/v1/leases?environment=dev&{asked}"), 422)
        assert [fault["at"] for fault in problem["errors"]] == [asked.partition("=")[0]]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("999999", "There is no revision 999999"),
        ("9" * 18, "There is no revision"),
        ("2999-01-01T00:00:00Z", "This time has not come"),
        ("2026-03-01T00:00:00", "with its zone"),
        ("yesterday", "with its zone"),
        ("-1", "with its zone"),
        ("1.5", "with its zone"),
        ("", "with its zone"),
        ("1999-01-01T00:00:00Z", "Nothing was known of user:ann"),
    ],
)
async def test_what_is_not_a_moment_of_the_past_is_refused_with_words(service: Running, at: str, words: str) -> None:
    await service.ann.catalog()
    problem = refusal(await service.ann.get("/v1/catalog", params={"environment": "dev", "at": at}), 422)
    assert words in problem["detail"]
    assert problem["errors"][0]["at"] == "at"


async def test_an_environment_that_came_later_was_not_there(company: Running) -> None:
    await company.ann.catalog()
    before = now()
    await company.root.make("/v1/environments/qa", {})
    assert (await company.ann.get("/v1/catalog?environment=qa")).status_code == 200
    refusal(await company.ann.get(f"/v1/catalog?environment=qa&at={before}"), 422)


async def test_the_answer_and_its_row_say_which_state_was_asked(company: Running) -> None:
    await company.ann.catalog()
    between, revision = await leave(company, "ann-targets", TARGETS)
    answer = await company.ann.get(f"/v1/catalog?environment=dev&at={between}")
    assert answer.headers["muniment-revision"] == str(revision)

    (row,) = (await company.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]

    assert (row["event"], row["revision"]) == ("catalog.served", revision)
    assert row["details"]["at"] == between
    assert row["details"]["about"] == "user:ann"
    assert row["details"]["about_state"] == row["subject_state"]
    assert row["details"]["read_at"] == await revision_of(company)


async def test_a_past_catalog_that_is_held_already_is_not_sent_again(company: Running) -> None:
    await company.ann.catalog()
    between, _ = await leave(company, "ann-targets", TARGETS)
    path = f"/v1/catalog?environment=dev&at={between}"
    given = await company.ann.get(path)
    assert (await company.ann.get(path, headers={"If-None-Match": given.headers["etag"]})).status_code == 304


@pytest.fixture
async def alike(
    issuer: RunningIssuer, made_database: Callable[[], AbstractContextManager[str]]
) -> AsyncIterator[list[Running]]:
    """A service in which Ann once had the salaries, and a new dataset was made and hidden; and one without all that."""
    async with AsyncExitStack() as stack:
        services = []
        for had in (True, False):
            url = stack.enter_context(made_database())
            service = await stack.enter_async_context(running(issuer, url))
            await found_company(service)
            await service.ann.catalog()
            if had:
                await service.root.make("/v1/grants/ann-salaries", SALARIES)
            services.append(service)
        yield services


async def test_the_past_tells_nobody_of_what_is_hidden_from_them_today(alike: list[Running]) -> None:
    had, never = alike
    between = now()
    assert (await had.root.delete("/v1/grants/ann-salaries", after=1)).status_code == 204
    for who in ("ann", "eve", "nightly"):
        for path in (
            f"/v1/catalog?environment=dev&at={between}",
            f"/v1/catalog?environment=dev&at={between}&names=hr.salaries,sales.orders",
            f"/v1/catalog?environment=dev&at={between}&subject=user:ann",
            f"/v1/catalog?environment=qa&at={between}",
            f"/v1/explain?environment=dev&action=load&dataset=hr.salaries&at={between}",
            f"/v1/explain?environment=dev&action=load&dataset=hr.salaries&at={between}&subject=user:ann",
        ):
            there, elsewhere = await getattr(had, who).get(path), await getattr(never, who).get(path)
            assert_alike(there, elsewhere, f"{who}: {path}")
