"""Masks and row filters through the doors: whom one binds does not get the dataset, is told why, and cannot lift it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.running import Running, dataset, grant, refusal

pytestmark = pytest.mark.anyio

ORDERS = "/v1/datasets/sales.orders"
WHY = (
    "user:ann may load it only masked by no-emails (emails are for customer care), "
    "which nothing here enforces yet, so it is withheld"
)


def loading(name: str, who: str = 'principal in Group::"analysts"') -> str:
    return f'permit ({who}, action == Action::"load", resource == Dataset::"{name}");'


def mask(name: str = "sales.orders", who: str = 'principal in Group::"analysts"', **obligation: Any) -> dict[str, Any]:
    """A mask on the reading of one dataset."""
    demanded = obligation or {"columns": ["email"], "action": "replace-with-null"}
    return {
        "kind": "mask",
        "scope": "sales",
        "cedar": loading(name, who),
        "obligation": demanded,
        "reason": "emails are for customer care",
    }


async def verdict(service: Running, who: str, name: str, action: str = "load") -> dict[str, Any]:
    """What a run and a question are told, which must be the same."""
    caller = getattr(service, who)
    (told,) = (await caller.post("/v1/preflight", {"environment": "dev", action: [name]})).json()["verdicts"]
    explained = await caller.read(f"/v1/explain?action={action}&dataset={name}&environment=dev")
    same = ("allowed", "reason", "because", "obligations", "explain" if not told["allowed"] else "owner")
    assert [told[key] for key in same] == [explained[key] for key in same]
    found: dict[str, Any] = explained
    return found


async def test_whom_a_mask_binds_no_longer_gets_the_dataset(company: Running) -> None:
    assert "sales.orders" in await company.ann.catalog()
    assert (await company.ann.read(ORDERS))["definitions"]

    await company.sam.make("/v1/policies/no-emails", mask())

    assert "sales.orders" not in await company.ann.catalog()
    assert await company.ann.catalog(names="sales.orders") == {}
    lease = await company.ann.get("/v1/leases?environment=dev")
    assert "sales.orders" not in lease.text
    assert "orders.csv" not in lease.text
    seen = await company.ann.read(ORDERS)
    assert seen["definitions"] == {}
    history = await company.ann.read(f"{ORDERS}/history")
    assert [version["dataset"]["definitions"] for version in history["items"]] == [{}]


async def test_whom_a_mask_binds_may_know_of_the_dataset_and_is_told_why_it_is_withheld(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask())

    (listed,) = (await company.ann.read("/v1/datasets"))["items"]
    mine = await company.ann.read(f"{ORDERS}/mine")

    for told in (listed, mine):
        assert told["name"] == "sales.orders"
        assert told["actions"] == {}
        assert told["withheld"] == {"dev": WHY, "prod": WHY}


async def test_a_run_and_a_question_are_told_the_mask_in_icebergs_words(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask())

    told = await verdict(company, "ann", "sales.orders")

    assert told["allowed"] is False
    assert told["reason"] == WHY
    assert told["because"] == ["no-emails"]
    assert told["beaten"] == ["grant:analysts-load-orders"]
    assert {rule["id"]: rule["effect"] for rule in told["rules"]} == {
        "no-emails": "mask",
        "grant:analysts-load-orders": "permit",
    }
    assert told["obligations"] == {"required-column-projections": [{"column": "email", "action": "replace-with-null"}]}
    ledger = await company.audrey.read("/v1/ledger?event=access.denied&subject=user:ann")
    assert ledger["items"][0]["policies"] == ["no-emails"]


async def test_whom_no_mask_binds_is_told_of_none(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask(who='principal == User::"eve"'))
    told = await verdict(company, "ann", "sales.orders")
    assert (told["allowed"], told["obligations"]) == (True, None)
    assert (await company.ann.read(f"{ORDERS}/mine"))["withheld"] == {}


async def test_a_mask_lets_nobody_load_or_know_of_anything(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask(who='principal == User::"eve"'))
    refusal(await company.eve.get(ORDERS), 404)
    assert await company.eve.catalog() == {}


async def test_a_new_broad_grant_unmasks_nobody(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask())
    await company.root.make("/v1/grants/all-sales", grant("user:ann", ["load", "save"], on={"domain": "sales"}))
    assert "sales.orders" not in await company.ann.catalog()
    assert "sales.targets" in await company.ann.catalog()


async def test_who_reads_masked_does_not_save(company: Running) -> None:
    assert (await verdict(company, "nightly", "sales.targets", "save"))["allowed"] is True
    bound = mask("sales.targets", 'principal == Service::"nightly"')
    await company.sam.make("/v1/policies/no-emails", bound)

    told = await verdict(company, "nightly", "sales.targets", "save")

    assert told["allowed"] is False
    assert told["reason"] == (
        "service:nightly may save it only if they read it whole; "
        "it is masked by no-emails (emails are for customer care)"
    )
    assert "sales.targets" not in await company.nightly.catalog()


async def test_a_mask_that_begins_within_a_lease_ends_the_dataset_in_it(company: Running) -> None:
    begins = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    form = {"actions": ["load"], "resources": {"names": ["sales.orders"]}, "valid_from": begins}
    later = {key: value for key, value in mask().items() if key != "cedar"}
    await company.root.make("/v1/policies/no-emails", {**later, "form": form})
    lease = await company.ann.read("/v1/leases?environment=dev")
    assert lease["ends"] == {"sales.orders": begins}


async def test_a_name_that_a_factory_pattern_makes_is_masked_too(company: Running) -> None:
    await company.root.make("/v1/grants/ann-sales", grant("user:ann", ["load"], on={"domain": "sales"}))
    assert "sales.emea_orders" in await company.ann.catalog(names="sales.emea_orders")
    text = 'permit (principal, action == Action::"load", resource) when { resource.name like "sales.*_orders" };'
    await company.root.make("/v1/policies/no-emails", {**mask(), "cedar": text})
    assert await company.ann.catalog(names="sales.emea_orders") == {}


async def test_a_filter_and_masks_are_told_together_the_strictest_and_all(company: Running) -> None:
    columns = [{"name": "email", "tags": ["pii"]}, {"name": "phone", "tags": ["pii"]}, {"name": "region"}]
    changed = dataset("s3://lake/sales/orders.csv", columns=columns)
    assert (await company.sam.put(ORDERS, changed, after=1)).status_code == 200
    await company.sam.make("/v1/policies/pii", mask(column_tags=["pii"], action="show-last-4"))
    await company.sam.make("/v1/policies/no-emails", mask())
    europe = {"type": "eq", "term": "region", "value": "EU"}
    await company.sam.make("/v1/policies/europe", {**mask(), "kind": "row_filter", "obligation": europe})

    told = await verdict(company, "ann", "sales.orders")

    assert told["because"] == ["europe", "no-emails", "pii"]
    assert told["obligations"] == {
        "required-column-projections": [
            {"column": "email", "action": "replace-with-null"},
            {"column": "phone", "action": "show-last-4"},
        ],
        "required-row-filter": {
            "type": "eq",
            "left": {"type": "reference", "name": "region"},
            "right": {"type": "literal", "value": "EU"},
        },
    }


async def test_a_mask_is_read_as_it_is_kept(company: Running) -> None:
    made = await company.sam.make("/v1/policies/no-emails", mask())
    assert made["kind"] == "mask"
    assert made["obligation"] == {"columns": ["email"], "action": "replace-with-null"}
    assert await company.sam.read("/v1/policies/no-emails") == {**made, "kept_in": None}


async def test_a_mask_in_the_simple_form_is_a_mask(company: Running) -> None:
    form = {
        "principals": {"groups": ["analysts"]},
        "actions": ["load"],
        "resources": {"names": ["sales.orders"]},
    }
    given = {key: value for key, value in mask().items() if key != "cedar"}
    await company.sam.make("/v1/policies/no-emails", {**given, "form": form})
    assert (await verdict(company, "ann", "sales.orders"))["because"] == ["no-emails"]


async def test_an_action_that_nobody_knows_is_refused_where_it_stands(company: Running) -> None:
    problem = refusal(
        await company.sam.put("/v1/policies/blur", mask(columns=["email"], action="blur"), after=0),
        422,
    )
    assert [error["at"] for error in problem["errors"]] == ["obligation.action"]
    assert "show-last-4" in problem["errors"][0]["message"]


# --- who may lift one -----------------------------------------------------------------------------------------------


async def test_who_does_not_hold_load_cannot_lift_a_mask_and_an_administrator_can(company: Running) -> None:
    await company.sam.make("/v1/policies/no-emails", mask())

    problem = refusal(await company.sam.delete("/v1/policies/no-emails", after=1), 403)
    assert "you do not hold: load" in problem["detail"]
    lighter = mask(columns=["email"], action="show-first-4")
    refusal(await company.sam.put("/v1/policies/no-emails", lighter, after=1), 403)

    assert (await company.root.delete("/v1/policies/no-emails", after=1)).status_code == 204
    assert "sales.orders" in await company.ann.catalog()


@pytest.fixture
async def bound_steward(company: Running) -> Running:
    """Sam may load all of sales, and reads what is tagged as personal masked."""
    columns = [{"name": "email", "tags": ["pii"]}, {"name": "phone", "tags": ["pii"]}]
    changed = dataset("s3://lake/sales/orders.csv", columns=columns)
    assert (await company.sam.put(ORDERS, changed, after=1)).status_code == 200
    await company.root.make("/v1/grants/sam-loads", grant("user:sam", ["load"], on={"domain": "sales"}))
    bound = mask(who='principal == User::"sam"', column_tags=["pii"], action="mask-alphanum")
    await company.root.make("/v1/policies/no-emails", bound)
    return company


async def test_whom_a_mask_binds_cannot_lift_or_lighten_it(bound_steward: Running) -> None:
    sam = bound_steward.sam
    refusal(await sam.delete("/v1/policies/no-emails", after=1), 403)
    for changed in ({"columns": ["id"], "action": "mask-alphanum"}, {"column_tags": ["pii"], "action": "show-last-4"}):
        given = mask(who='principal == User::"sam"', **changed)
        refusal(await sam.put("/v1/policies/no-emails", given, after=1), 403)


async def test_whom_a_mask_binds_cannot_take_its_tag_from_a_column(bound_steward: Running) -> None:
    untagged = dataset("s3://lake/sales/orders.csv", columns=[{"name": "email"}, {"name": "phone", "tags": ["pii"]}])
    problem = refusal(await bound_steward.sam.put(ORDERS, untagged, after=2), 403)
    assert "widen your own access" in problem["detail"]


async def test_whom_a_mask_binds_cannot_hand_on_what_they_read_masked(bound_steward: Running) -> None:
    given = grant("user:eve", ["load"], on={"dataset": "sales.orders"})
    problem = refusal(await bound_steward.sam.put("/v1/grants/eve", given, after=0), 403)
    assert "you do not hold: load" in problem["detail"]


async def test_the_tags_of_columns_need_classify(company: Running) -> None:
    await company.root.make("/v1/grants/eve-declares", grant("user:eve", ["declare"], on={"domain": "sales.emea"}))
    tagged = dataset("s3://lake/sales/emea/mail.csv", columns=[{"name": "email", "tags": ["pii"]}])
    problem = refusal(await company.eve.put("/v1/datasets/sales.emea.mail", tagged, after=0), 403)
    assert "tags of columns" in problem["detail"]
