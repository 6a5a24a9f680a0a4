"""Who governs: nobody shuts the administrators out, learns what is hidden, or takes what is another's."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio.from_thread
import pytest

from muniment.api.identifiers import new_id
from muniment.core.environments import Environment
from muniment.core.ledger import Event
from muniment.core.occasions import Occasion
from muniment.core.realm import Change, Realm
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.flows.change_realm import Edit, Plan, change_realm
from muniment.store import revisions
from tests.api.running import Running, csv, dataset, grant, refusal

pytestmark = pytest.mark.anyio


async def test_a_steward_cannot_shut_the_administrators_out(company: Running) -> None:
    lock = 'forbid (principal, action, resource) unless { principal == User::"sam" };'
    await company.sam.make("/v1/policies/lock", {"scope": "sales", "cedar": lock})
    root = company.root
    assert (await root.read("/v1/policies/lock"))["scope"] == "sales"
    moved = {"owner": "group:others", "locations": ["s3://lake/sales/"]}
    assert (await root.put("/v1/domains/sales", moved, after=1)).status_code == 200
    assert (await root.delete("/v1/grants/sam-stewards-sales", after=1)).status_code < 300
    assert (await root.delete("/v1/policies/lock", after=1)).status_code < 300
    assert (await root.get("/v1/policies/lock")).status_code == 404


async def test_a_right_on_what_is_not_there_is_handed_on_only_by_who_would_hold_it(company: Running) -> None:
    await company.root.make("/v1/grants/eve-g", grant("user:eve", ["grant"], on={"domain": "sales"}))
    for name in ("sales.targets", "sales.west_orders", "sales.not_there"):
        cedar = f'permit (principal == User::"ann", action == Action::"load", resource == Dataset::"{name}");'
        refusal(await company.eve.put("/v1/policies/p", {"scope": "sales", "cedar": cedar}, after=0), 403)


async def test_a_name_declared_after_a_pattern_made_it_is_fetched_anew(company: Running) -> None:
    await company.root.make("/v1/grants/a", grant("group:analysts", ["load"], on={"domain": "sales"}))
    asked = "/v1/catalog?environment=dev&names=sales.eu_orders"
    before = await company.ann.get(asked)
    await company.sam.make("/v1/datasets/sales.eu_orders", dataset("s3://lake/sales/other/special.csv"))
    after = await company.ann.get(asked, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert "special.csv" in after.text


OWNERS = 'permit (principal, action == Action::"load", resource is Dataset) when { principal in resource.owner };'


@pytest.fixture
async def owned(company: Running) -> Running:
    """The company, where owners load what is theirs."""
    await company.root.make("/v1/policies/owners", {"scope": "all", "cedar": OWNERS})
    return company


async def test_whoever_may_not_load_a_dataset_declares_no_other_on_its_path(owned: Running) -> None:
    await owned.root.make("/v1/grants/eve", grant("user:eve", ["declare", "classify"], on={"domain": "hr"}))
    eve = owned.eve
    for path in ("s3://lake/hr/salaries.csv", "s3://lake/hr/", "s3://lake/hr/salaries.csv/part"):
        copy = dataset(path, owner="user:eve")
        problem = refusal(await eve.put("/v1/datasets/hr.copy", copy, after=0), 403)
        assert problem["detail"] == "This path is that of hr.salaries, which you may not load."
    pattern = dataset("s3://lake/hr/{name}.csv", owner="user:eve")
    refusal(await eve.put("/v1/datasets/hr.{name}_copy", pattern, after=0), 403)
    await eve.make("/v1/datasets/hr.own", dataset("s3://lake/hr/own.csv", owner="user:eve"))
    assert list(await eve.catalog()) == ["hr.own"]


async def test_a_path_is_given_a_second_name_by_who_may_load_the_first(owned: Running) -> None:
    again = dataset("s3://lake/sales/orders.csv")
    refusal(await owned.sam.put("/v1/datasets/sales.again", again, after=0), 403)
    await owned.root.make("/v1/grants/s", grant("user:sam", ["load"], on={"dataset": "sales.orders"}))
    await owned.sam.make("/v1/datasets/sales.again", again)
    assert (await owned.root.delete("/v1/grants/s", after=1)).status_code < 300
    described = {**again, "description": "The same orders."}
    assert (await owned.sam.put("/v1/datasets/sales.again", described, after=1)).status_code == 200


async def test_a_steward_who_uses_no_data_gives_a_path_a_second_name(company: Running) -> None:
    await company.sam.make("/v1/datasets/sales.again", dataset("s3://lake/sales/orders.csv"))
    assert await company.sam.catalog() == {}


async def test_a_hidden_domain_and_none_are_refused_in_the_same_words(company: Running) -> None:
    await company.root.make("/v1/domains/sales.mergers", {"owner": "group:board"})
    hide = 'forbid (principal == User::"sam", action, resource in Domain::"sales.mergers");'
    await company.root.make("/v1/policies/hide", {"scope": "all", "cedar": hide})
    sam, said = company.sam, []
    for name in ("sales.mergers", "sales.nothing"):
        rule = {"scope": name, "cedar": "forbid (principal, action, resource);"}
        answers = [
            await sam.get(f"/v1/domains/{name}"),
            await sam.put(f"/v1/domains/{name}", {"owner": "group:x"}, after=0),
            await sam.put(f"/v1/datasets/{name}.x", {}, after=0),
            await sam.put("/v1/policies/zz", rule, after=0),
            await sam.put("/v1/grants/zz", grant("user:eve", ["discover"], on={"domain": name}), after=0),
        ]
        said.append([(answer.status_code, answer.text.replace(name, "…")) for answer in answers])
    assert said[0] == said[1]


async def test_a_domains_administrator_divides_what_is_the_domains_and_takes_nothing_else(company: Running) -> None:
    await company.root.make("/v1/grants/eve", grant("user:eve", ["administer"], on={"domain": "sales"}))
    eve = company.eve
    own = {"owner": "group:sales-owners", "locations": ["s3://lake/sales/west/"]}
    await eve.make("/v1/domains/sales.west", own)
    for taken in ("s3://lake/hr/", "s3://payroll/", "file:///home/ben/"):
        claim = {"owner": "group:sales-owners", "locations": ["s3://lake/sales/", taken]}
        problem = refusal(await eve.put("/v1/domains/sales", claim, after=1), 403)
        assert "hr" not in problem["detail"].replace(taken, "")


async def test_only_who_administers_everything_learns_whose_location_is_in_the_way(company: Running) -> None:
    root = company.root
    for name, place in (("sales.west", "s3://lake/sales/west/"), ("sales.east", "s3://lake/sales/east/")):
        await root.make(f"/v1/domains/{name}", {"owner": "group:x", "locations": [place]})
    await root.make("/v1/grants/eve", grant("user:eve", ["administer"], on={"domain": "sales.west"}))
    claim = {"owner": "group:x", "locations": ["s3://lake/sales/west/", "s3://lake/sales/east/in/"]}
    told = refusal(await company.eve.put("/v1/domains/sales.west", claim, after=1), 422)["detail"]
    assert told == "s3://lake/sales/east/in/ overlaps a location of another domain."
    assert "sales.east" in refusal(await root.put("/v1/domains/sales.west", claim, after=1), 422)["detail"]


async def test_a_change_of_a_domain_is_refused_for_what_it_breaks_and_names_only_what_is_known(
    company: Running,
) -> None:
    root = company.root
    await root.make("/v1/grants/eve", grant("user:eve", ["administer"], on={"domain": "sales"}))
    none = {"owner": "group:sales-owners", "locations": []}
    told = refusal(await company.eve.put("/v1/domains/sales", none, after=1), 422)
    assert told["detail"] == "A dataset that you may not know of would no longer be sound."
    assert "leads" not in str(told)
    await root.make("/v1/grants/eve-sees", grant("user:eve", ["discover"], on={"dataset": "sales.orders"}))
    told = refusal(await company.eve.put("/v1/domains/sales", none, after=1), 422)
    assert [fault["at"] for fault in told["errors"]] == ["sales.orders"]


async def test_what_is_refused_or_mistaken_stands_in_the_ledger_without_its_words(company: Running) -> None:
    sam = company.sam
    refusal(await sam.put("/v1/datasets/sales.orders", dataset("s3://lake/sales/orders.csv"), after=7), 412)
    wrong = {"environments": {"base": {"type": "no.SuchDataset"}}}
    refusal(await sam.put("/v1/datasets/sales.orders", wrong, after=1), 422)
    rows = (await company.audrey.read("/v1/ledger?event=change.refused"))["items"]
    assert [row["details"] for row in rows] == [{"problem": "Invalid definition"}, {"problem": "Stale edit"}]


async def test_whoever_may_not_make_a_change_waits_for_no_lock(company: Running) -> None:

    house = company.app.state.house
    async with house.db.begin() as tx:
        await revisions.lock(tx)
        refusal(await company.eve.put("/v1/datasets/sales.orders", {"environments": {"dev": csv("x")}}, after=1), 404)
        refusal(await company.sam.put("/v1/policies/p", {"scope": "sales", "cedar": "nonsense"}, after=0), 422)


async def test_a_change_is_judged_anew_when_another_came_between(company: Running) -> None:
    """Seen to fail with the first judgement carried out."""
    at = datetime.now(UTC)
    root = SubjectState(Subject(Kind.USER, "root"), "corp", frozenset({"platform"}))
    judged_with: list[bool] = []

    async def between() -> None:
        await company.root.make("/v1/environments/between", {"description": "made while another change is judged"})

    def plan(realm: Realm) -> Plan:
        judged_with.append("between" in realm.environments)
        if len(judged_with) == 1:
            anyio.from_thread.run(between)
        edit = Edit(Change(Environment, "later", Environment("later")), 0)
        return Plan(Event.ENVIRONMENT_CHANGED, (edit,))

    await change_realm(company.app.state.house, Occasion(root, at, new_id(at)), plan)
    assert judged_with == [False, True]
