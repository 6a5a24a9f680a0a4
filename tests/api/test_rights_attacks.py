"""Ways in which somebody might come by a right that is not theirs, each tried through the doors, and each refused."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from muniment.core import policies
from tests.api.running import Running, dataset, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

numbers = count(1)


def loading(whom: str, condition: str, *, on: str = "hr") -> dict[str, Any]:
    """A policy of everything: somebody may load what is in a domain, under a condition."""
    text = f'permit(principal == {whom}, action == Action::"load", resource in Domain::"{on}") when {{ {condition} }};'
    return {"scope": "all", "cedar": text, "reason": "an attack"}


ROOT = 'User::"root"'

#: Conditions that hold on some occasion that no literal of theirs tells.
HIDDEN_OCCASIONS = {
    "a purpose other than all that are named": 'context has purpose && context.purpose != "(another)"',
    "a purpose like a pattern, and not its literals": (
        'context has purpose && context.purpose like "x*" && context.purpose != "x"'
    ),
    "the dataset's name as the purpose": "context has purpose && context.purpose == resource.name",
    "another purpose than project": "context has purpose && context has project && context.purpose != context.project",
    "the time of another time zone": 'context.now.offset(duration("1h")).toTime() < duration("2h")',
    "a day to come": 'context.now.toDate() == datetime("2031-01-01")',
    "a duration since a moment": 'context.now.durationSince(datetime("2030-01-01")) > duration("1h")',
    "an hour of a day to come": (
        'context.now > datetime("2031-01-01") && context.now.toTime() > duration("20h") '
        '&& context.now < datetime("2031-01-02")'
    ),
}


@pytest.mark.parametrize("condition", HIDDEN_OCCASIONS.values(), ids=HIDDEN_OCCASIONS)
async def test_nobody_gives_themselves_access_for_an_occasion_that_is_hard_to_find(
    service: Running, condition: str
) -> None:
    answer = await service.root.put(f"/v1/policies/attack-{next(numbers)}", loading(ROOT, condition), after=0)
    assert "widen your own access" in refusal(answer, 403)["detail"]
    tried = await service.root.post(
        "/v1/try", {"changes": [{"put": {"policy": {"id": "attack", **loading(ROOT, condition)}}}]}
    )
    assert tried.status_code in {403, 422}


async def test_a_rule_for_others_may_speak_of_any_occasion(service: Running) -> None:
    for condition in HIDDEN_OCCASIONS.values():
        await service.root.make(f"/v1/policies/for-ann-{next(numbers)}", loading('User::"ann"', condition))


async def test_a_variable_leads_nobody_to_a_path_whose_data_they_may_not_load(company: Running) -> None:
    root, sam = company.root, company.sam
    await root.put("/v1/domains/sales", {
        "owner": "group:sales-owners", "locations": ["s3://lake/sales/"], "variables": {"folder": "mine"},
    }, after=1)  # fmt: skip
    await sam.make("/v1/datasets/sales.mine", dataset("s3://lake/sales/${globals:folder}/orders.csv"))
    await root.make("/v1/grants/sam-loads-mine", grant("user:sam", ["load"], on={"dataset": "sales.mine"}))
    await sam.make("/v1/datasets/sales.secret", dataset("s3://lake/sales/closed/orders.csv"))
    stands = await sam.read("/v1/domains/sales")
    moved = {
        "owner": stands["owner"], "locations": stands["locations"], "description": "", "variables": {"folder": "closed"}
    }  # fmt: skip
    answer = await sam.put("/v1/domains/sales", moved, after=2)
    refusal(answer, 403)
    applied = await sam.send(
        "POST", "/v1/apply", json={"changes": [{"put": {"domain": {"name": "sales", **moved}}}]},
        headers={"If-Match": f'"{await revision_of(company)}"'},
    )  # fmt: skip
    assert applied.status_code >= 400, applied.text
    assert "closed" not in str(await sam.catalog())
    elsewhere = {**moved, "variables": {"folder": "open"}}
    assert (await sam.put("/v1/domains/sales", elsewhere, after=2)).status_code == 200


async def test_no_grant_can_be_made_to_look_like_an_approval(service: Running) -> None:
    forged = grant("user:eve", ["discover"], on={"domain": "sales"})
    answer = await service.sam.put(f"/v1/grants/req-{uuid4()}", forged, after=0)
    refusal(answer, 409, 422)


async def test_a_text_is_not_read_for_somebody_who_may_not_write_there(service: Running) -> None:
    def held() -> int:
        return policies._compiled.cache_info().currsize

    before = held()
    for number in range(5):
        text = (
            f'permit(principal, action == Action::"load", resource) when {{ resource.name == "n{number}-{uuid4()}" }};'
        )
        answer = await service.eve.put("/v1/policies/eves", {"scope": "all", "cedar": text, "reason": "x"}, after=0)
        refusal(answer, 403)
        unread = await service.eve.put(
            "/v1/policies/eves", {"scope": "all", "cedar": "permit(", "reason": "x"}, after=0
        )
        refusal(unread, 403)
    assert held() == before


MASKING = 'permit(principal, action == Action::"load", resource);'
HASHED = {"columns": ["email"], "action": "replace-with-null"}
LIGHTER: dict[str, dict[str, Any]] = {
    "a permit": {
        "kind": "access",
        "cedar": 'permit(principal == User::"eve", action == Action::"discover", resource);',
    },
    "a forbid": {"kind": "access", "cedar": 'forbid(principal == User::"eve", action == Action::"load", resource);'},
    "a mask that shows more": {"obligation": {"columns": ["email"], "action": "show-first-4"}},
    "a mask of another column": {"obligation": {"columns": ["name"], "action": "replace-with-null"}},
    "a mask in a part": {"scope": "sales.emea"},
    "a filter": {
        "kind": "row_filter",
        "obligation": {"type": "not-null", "child": {"type": "reference", "name": "email"}},
    },
}


@pytest.mark.parametrize("lighter", LIGHTER.values(), ids=LIGHTER)
async def test_who_may_not_hand_on_what_a_mask_withholds_puts_nothing_else_in_its_place(
    service: Running, lighter: dict[str, Any]
) -> None:
    id_ = f"mask-{next(numbers)}"
    mask = {"kind": "mask", "scope": "sales", "cedar": MASKING, "obligation": HASHED, "reason": "personal data"}
    await service.root.make(f"/v1/policies/{id_}", mask)
    if lighter.get("kind") == "access":
        mask.pop("obligation")
    answer = await service.sam.put(f"/v1/policies/{id_}", {**mask, **lighter}, after=1)
    assert "hand on" in refusal(answer, 403)["detail"]
    assert "hand on" in refusal(await service.sam.delete(f"/v1/policies/{id_}", after=1), 403)["detail"]


async def test_a_token_without_groups_gives_nobody_what_another_sign_in_of_theirs_would_have(service: Running) -> None:
    known = await service.root.read("/v1/whoami")
    group = next(name for name in known["groups"] if name.startswith("group:"))
    poor = service.somebody("root", groups=[])
    widening = grant(group, ["load"], on={"domain": "all"})
    answer = await poor.put("/v1/grants/by-a-poorer-token", widening, after=0)
    assert "widen your own access" in refusal(answer, 403)["detail"]
    await poor.make("/v1/grants/for-others", grant("group:elsewhere", ["load"], on={"domain": "all"}))
