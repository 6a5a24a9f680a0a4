"""Access reviews: what is due is shown to who reads it, and decided in one sitting or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.running import Running, grant, refusal, revision_of

pytestmark = pytest.mark.anyio

TODAY = datetime.now(UTC).date()
YESTERDAY, NEXT_YEAR = TODAY - timedelta(days=1), TODAY + timedelta(days=365)

READERS = {
    "scope": "sales",
    "cedar": 'permit (principal in Group::"readers", action == Action::"discover", resource);',
    "reason": "readers browse sales",
    "review_by": YESTERDAY.isoformat(),
}


@pytest.fixture
async def due(company: Running) -> Running:
    """The company, with a policy and two grants to look at again."""
    root = company.root
    await root.make("/v1/policies/readers", READERS)
    loads = grant("user:ann", ["load"], on={"dataset": "sales.targets"}, environments=["prod"])
    await root.make("/v1/grants/ann-targets", {**loads, "review_by": TODAY.isoformat()})
    later = grant("user:eve", ["discover"], on={"domain": "hr"})
    await root.make("/v1/grants/eve-hr", {**later, "review_by": (TODAY + timedelta(days=9)).isoformat()})
    return company


def keep(kind: str, id_: str, version: int = 1) -> dict[str, Any]:
    return {"kind": kind, "id": id_, "version": version,
            "keep": {"review_by": NEXT_YEAR.isoformat(), "reason": "still needed for the report"}}  # fmt: skip


def end(kind: str, id_: str, version: int = 1) -> dict[str, Any]:
    return {"kind": kind, "id": id_, "version": version, "end": {"reason": "nobody asked for it"}}


async def sit(service: Running, who: str, *decisions: dict[str, Any]) -> Any:
    return await getattr(service, who).send("POST", "/v1/reviews", json={"decisions": list(decisions)})


async def test_what_is_due_is_listed_the_most_urgent_first_with_what_a_reviewer_needs(due: Running) -> None:
    await due.ann.send("POST", "/v1/preflight", json={"environment": "prod", "load": ["sales.targets"], "save": []})
    listed = (await due.audrey.read("/v1/reviews"))["items"]
    assert [(item["kind"], item["id"], item["overdue"]) for item in listed] == [
        ("policy", "readers", True),
        ("grant", "ann-targets", False),
    ]
    assert listed[1]["says"] == "The user ann may load sales.targets, in prod."
    assert listed[1]["reason"] == "as long as the team exists"
    assert listed[1]["reviewer"] == "group:sales-owners"
    assert listed[1]["by"] == "user:root"
    assert listed[1]["since"] < listed[1]["last_used"]
    assert listed[0]["last_used"] is None


async def test_what_is_due_is_narrowed_and_comes_in_pages(due: Running) -> None:
    in_ten_days = TODAY + timedelta(days=10)
    ids = [item["id"] for item in (await due.audrey.read(f"/v1/reviews?due_by={in_ten_days}"))["items"]]
    assert ids == ["readers", "ann-targets", "eve-hr"]
    hr = await due.audrey.read(f"/v1/reviews?due_by={in_ten_days}&scope=hr")
    assert [item["id"] for item in hr["items"]] == ["eve-hr"]
    first = await due.audrey.read("/v1/reviews?limit=1")
    second = await due.audrey.send("GET", "/v1/reviews", params={"limit": 1, "after": first["next"]})
    assert [item["id"] for item in second.json()["items"]] == ["ann-targets"]
    assert second.json()["next"] is None


async def test_a_steward_reviews_what_they_read_and_others_see_nothing(due: Running) -> None:
    assert [item["id"] for item in (await due.sam.read("/v1/reviews"))["items"]] == ["readers", "ann-targets"]
    assert (await due.hugo.read("/v1/reviews"))["items"] == []
    assert (await due.ann.read("/v1/reviews"))["items"] == []


async def test_a_sitting_is_one_revision_and_one_row_with_every_reason(due: Running) -> None:
    before = await revision_of(due)
    answer = await sit(due, "root", keep("policy", "readers"), end("grant", "ann-targets"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "items": [
            {"kind": "policy", "id": "readers", "version": 2, "review_by": NEXT_YEAR.isoformat()},
            {"kind": "grant", "id": "ann-targets", "version": None, "review_by": None},
        ],
        "revision": before + 1,
    }
    assert (await due.root.get("/v1/grants/ann-targets")).status_code == 404
    assert (await due.root.read("/v1/reviews"))["items"] == []
    (row,) = (await due.audrey.read("/v1/ledger?event=access.reviewed"))["items"]
    assert row["policies"] == ["readers", "grant:ann-targets"]
    assert row["details"]["reason"] == "access review: 1 kept, 1 ended"
    assert [each["reason"] for each in row["details"]["decisions"]] == [
        "still needed for the report",
        "nobody asked for it",
    ]


async def test_what_may_not_be_decided_leaves_all_as_it_was(due: Running) -> None:
    before = await revision_of(due)
    problem = refusal(await sit(due, "sam", end("policy", "readers"), keep("grant", "ann-targets")), 403)
    assert problem["detail"].startswith("grant:ann-targets: You can only hand on what you hold")
    refusal(await sit(due, "sam", end("policy", "readers"), end("grant", "eve-hr")), 404)
    assert refusal(await sit(due, "root", end("policy", "readers", 7)), 412)["version"] == 1
    refusal(await sit(due, "eve", end("policy", "readers")), 404)
    assert await revision_of(due) == before


async def test_a_steward_ends_what_they_may_not_hand_on(due: Running) -> None:
    assert (await sit(due, "sam", end("grant", "ann-targets"))).status_code == 200


@pytest.mark.parametrize(
    ("decisions", "at"),
    [
        ([], "decisions"),
        ([end("policy", "readers"), end("policy", "readers")], "decisions.1.id"),
        ([{**keep("policy", "readers"), "keep": {"review_by": TODAY.isoformat(), "reason": "x"}}],
         "decisions.0.keep.review_by"),
        ([{**keep("policy", "readers"), **end("policy", "readers")}], "decisions.0"),
        ([{"kind": "policy", "id": "readers", "version": 1}], "decisions.0"),
        ([{**end("policy", "readers"), "end": {"reason": " "}}], "decisions.0.end.reason"),
        ([{**end("policy", "readers"), "kind": "dataset"}], "decisions.0.kind"),
    ],
)  # fmt: skip
async def test_a_sitting_that_says_too_little_or_too_much_is_refused(
    service: Running, decisions: list[dict[str, Any]], at: str
) -> None:
    problem = refusal(await sit(service, "root", *decisions), 422)
    assert problem["errors"][0]["at"] == at
