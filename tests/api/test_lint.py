"""What is doubtful about the rules, as those are told who read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.running import Running, grant, refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def doubtful(company: Running) -> Running:
    """The company with rules that are doubtful; those of whom they speak have been here."""
    root = company.root
    await company.ann.get("/v1/whoami")
    await root.make("/v1/grants/hugo-loads", grant("user:hugo", ["load"], on={"domain": "hr"}))
    await root.make("/v1/grants/typo", grant("group:analists", ["load"], on={"domain": "sales"}))
    soon = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    await root.make("/v1/grants/ending", grant("user:ann", ["load"], on={"dataset": "sales.targets"}, until=soon))
    has = "principal has clearance && principal.clearance < 2"
    lets = f'forbid (principal, action == Action::"load", resource) when {{ {has} }};'
    await root.make("/v1/policies/lets", {"scope": "hr", "cedar": lets})
    beaten = 'forbid (principal, action == Action::"load", resource) unless { principal == User::"nobody" };'
    await root.make("/v1/policies/shut", {"scope": "hr", "cedar": beaten})
    return company


async def doubts(service: Running, who: str, query: str = "") -> set[tuple[str, str]]:
    found = await getattr(service, who).read(f"/v1/lint{query}")
    return {(item["rule"], item["doubt"]) for item in found["items"]}


async def test_an_auditor_is_told_of_all_that_is_doubtful(doubtful: Running) -> None:
    found = await doubts(doubtful, "audrey")
    assert {
        ("grant:hugo-loads", "beaten"),
        ("grant:typo", "unknown-group"),
        ("grant:typo", "meets-nobody"),
        ("grant:ending", "ends-soon"),
        ("lets", "lets-through"),
    } <= found
    assert ("grant:sam-stewards-sales", "beaten") not in found


async def test_a_steward_is_told_of_the_rules_in_their_own_scope(doubtful: Running) -> None:
    assert {rule for rule, _ in await doubts(doubtful, "sam")} <= {
        "grant:typo", "grant:ending", "grant:sam-stewards-sales", "grant:analysts-load-orders",
        "grant:nightly-writes-targets",
    }  # fmt: skip
    assert ("grant:hugo-loads", "beaten") in await doubts(doubtful, "hugo")
    assert await doubts(doubtful, "ann") == set()


async def test_findings_are_narrowed_by_scope_and_doubt_and_come_in_pages(doubtful: Running) -> None:
    assert {rule for rule, _ in await doubts(doubtful, "audrey", "?scope=hr&doubt=beaten")} == {"grant:hugo-loads"}
    assert ("grant:ending", "ends-soon") not in await doubts(doubtful, "audrey", "?soon_days=1")
    everything = await doubtful.audrey.read("/v1/lint")
    paged, after = [], ""
    while after is not None:
        page = await doubtful.audrey.send("GET", "/v1/lint", params={"limit": 2, "after": after})
        paged, after = [*paged, *page.json()["items"]], page.json()["next"]
    assert paged == everything["items"]
    refusal(await doubtful.audrey.get("/v1/lint?doubt=ugly"), 422)


async def test_what_was_looked_at_is_said_and_the_looking_is_recorded(doubtful: Running) -> None:
    found = await doubtful.audrey.read("/v1/lint")
    assert found["looked_at"]["rules"] == 11
    assert found["looked_at"]["datasets"] == 5
    assert found["looked_at"]["unjudged"] == []
    rows = (await doubtful.audrey.read("/v1/ledger?event=rules.read&limit=1"))["items"]
    assert rows[0]["details"]["read"] == "lint"


async def test_a_grant_on_which_a_checked_run_rested_is_used(company: Running) -> None:
    house = company.app.state.house
    await company.ann.send("POST", "/v1/preflight", json={"environment": "dev", "load": ["sales.orders"], "save": []})
    async with house.db.begin() as tx:
        from muniment.core.ledger import Event
        from muniment.store import ledger

        used = await ledger.last_settled(tx, (Event.PREFLIGHT_ALLOWED,), datetime.now(UTC) - timedelta(days=1))
        later = await ledger.last_settled(tx, (Event.PREFLIGHT_ALLOWED,), datetime.now(UTC) + timedelta(days=1))
    assert set(used) == {"grant:analysts-load-orders"}
    assert later == {}
