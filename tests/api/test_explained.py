"""Promise 4: every denial says who you are, what was denied, which rule decided, whom to ask and what to type to ask.

Every permission can say why. Seen to fail with `because` left empty in `_settled`, and with no `owner` in a verdict.
"""

from __future__ import annotations

import pytest

from tests.api.running import FOREVER, Running, grant, refusal

pytestmark = pytest.mark.anyio

CLOSED = {
    "cedar": 'forbid (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.targets");',
    "scope": "sales",
    "reason": "the targets are not out yet",
}


async def ask(
    service: Running, who: str, name: str, action: str = "load", environment: str = "dev"
) -> dict[str, object]:
    """The verdict on one thing, which must be the same wherever it is asked for."""
    caller = getattr(service, who)
    asked = {"environment": environment, action: [name]}
    (verdict,) = (await caller.post("/v1/preflight", asked)).json()["verdicts"]
    explained = await caller.get(f"/v1/explain?action={action}&dataset={name}&environment={environment}")
    if verdict["known"]:
        told = explained.json()
        assert (told["allowed"], told["reason"]) == (verdict["allowed"], verdict["reason"])
        assert (told["because"], told["owner"]) == (verdict["because"], verdict["owner"])
        if not verdict["allowed"]:
            assert told["explain"] == verdict["explain"]
    else:
        refusal(explained, 404)
    found: dict[str, object] = verdict
    return found


async def test_a_permission_says_why(company: Running) -> None:
    verdict = await ask(company, "ann", "sales.orders")
    assert verdict["allowed"] is True
    assert verdict["because"] == ["grant:analysts-load-orders"]
    assert verdict["reason"] == f"user:ann may load it: permitted by grant:analysts-load-orders ({FOREVER})"


async def test_a_denial_that_no_policy_lifts_says_what_is_missing_and_whom_to_ask(company: Running) -> None:
    verdict = await ask(company, "ann", "sales.orders", action="save")
    assert verdict["allowed"] is False
    assert verdict["reason"] == "user:ann may not save it: no policy permits it"
    assert verdict["owner"] == "group:sales-owners"
    assert verdict["explain"] == "kedro muniment why sales.orders --action save --environment dev"


async def test_a_denial_by_a_rule_names_the_rule_and_its_reason_and_what_it_beat(company: Running) -> None:
    # Root discovers no more than before: the forbid is for analysts.
    await company.root.make("/v1/grants/ann-targets", grant("user:ann", ["load"], on={"dataset": "sales.targets"}))
    await company.root.make("/v1/policies/closed", CLOSED)

    verdict = await ask(company, "ann", "sales.targets")

    assert verdict["reason"] == "user:ann may not load it: forbidden by closed (the targets are not out yet)"
    assert verdict["because"] == ["closed"]
    told = await company.ann.read("/v1/explain?action=load&dataset=sales.targets&environment=dev")
    assert told["beaten"] == ["grant:ann-targets"]
    assert {rule["id"]: rule["effect"] for rule in told["rules"]} == {"closed": "forbid", "grant:ann-targets": "permit"}


async def test_a_denial_in_one_environment_names_the_others(company: Running) -> None:
    in_prod = grant("user:eve", ["load"], on={"dataset": "sales.targets"}, environments=["prod"])
    await company.root.make("/v1/grants/eve-in-prod", in_prod)

    verdict = await ask(company, "eve", "sales.targets")

    assert verdict["reason"] == "user:eve may not load it: no policy permits it (permitted in prod, not in dev)"


async def test_a_denial_names_the_group_that_would_do(company: Running) -> None:
    await company.root.make("/v1/grants/eve-knows", grant("user:eve", ["discover"], on={"dataset": "sales.orders"}))
    verdict = await ask(company, "eve", "sales.orders")
    assert verdict["reason"] == "user:eve may not load it: no policy permits it (members of group:analysts may)"


async def test_of_what_one_may_not_know_nothing_is_said_but_that(company: Running) -> None:
    for name in ("hr.salaries", "hr.nothing"):
        verdict = await ask(company, "ann", name)
        assert (verdict["known"], verdict["allowed"]) == (False, False)
        assert verdict["reason"] == "does not exist, or you may not know of it"
        assert (verdict["because"], verdict["owner"], verdict["explain"], verdict["notice"]) == ([], None, None, None)


async def test_a_denial_is_in_the_ledger_with_what_was_denied(company: Running) -> None:
    asked = {"environment": "dev", "load": ["sales.orders"], "save": ["sales.orders", "hr.salaries"], "project": "p"}
    answer = await company.ann.post("/v1/preflight", asked)
    assert answer.json()["allowed"] is False

    (row,) = (await company.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]

    assert (row["event"], row["outcome"], row["subject"]) == ("access.denied", "denied", "user:ann")
    assert row["details"]["refused"] == ["save sales.orders", "save hr.salaries"]
    assert (row["project"], row["datasets"]) == ("p", ["hr.salaries", "sales.orders"])


async def test_a_refused_change_says_who_owns_what_it_was_about(company: Running) -> None:
    problem = refusal(await company.ann.put("/v1/datasets/sales.orders", {}, after=1), 403)
    assert problem["detail"] == "You may not declare in sales; its owner is group:sales-owners."
