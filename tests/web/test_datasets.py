"""Browsing and searching datasets, and everything that a dataset's pages tell to whom."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from demo.issuer import RunningIssuer
from tests.api.running import Caller, Running, csv, dataset, grant, running
from tests.api.test_no_record_no_answer import no_ledger
from tests.web.letting_in import Visitor, let_in, said
from tests.web.visiting import SESSION

pytestmark = pytest.mark.anyio

HOSTILE = {
    "markup": '<script>alert("x")</script>',
    "a quote": '"><img src=x onerror=alert(1)>',
    "much": "orders " * 1500,
    "emoji": "😀" * 300,
    "from right to left": "\u202e\u05e1\u05d3\u05e8\u2066",
    "template": "{{ 'evil' | upper }}{% raw %}",
    "nothing": "\x00",
    "half of a pair": "%ED%A0%80",
}

#: What is asked in addresses.
ASKED = {
    "/datasets": ("search", "tag", "domain", "environment", "page"),
    "/datasets/sales.orders/access": ("environment", "action"),
    "/datasets/sales.orders/access/people": ("after",),
}

PAGES = (
    "/datasets",
    "/datasets/sales.orders",
    "/datasets/sales.orders/history",
    "/datasets/sales.orders/lineage",
    "/datasets/sales.orders/use",
    "/datasets/sales.orders/access",
    "/datasets/sales.orders/access/people",
    "/datasets/sales.orders/consumers",
)


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company, whose orders are described, read at one node beside salaries, and written into a report."""
    async with running(issuer, module_company) as started:
        await _furnish(started)
        yield started


async def _furnish(service: Running) -> None:
    root, sam, hugo = service.root, service.sam, service.hugo
    described = dataset(
        "s3://lake/sales/orders.csv",
        description="Every order, a line for each position.",
        tags=["gold"],
        columns=[
            {"name": "order_id", "type": "string", "description": "Its number."},
            {"name": "email", "type": "string", "tags": ["personal"]},
        ],
    )
    described["environments"]["prod"] = csv("s3://lake/sales/released.csv", load_args={"sep": ";"})
    assert (await sam.put("/v1/datasets/sales.orders", described, after=1)).status_code == 200
    await sam.make("/v1/datasets/sales.report", dataset("s3://lake/sales/report.csv", description="What it comes to."))
    await sam.make("/v1/datasets/sales.trial", {"environments": {"dev": csv("s3://lake/sales/trial.csv")}})
    old = dataset("s3://lake/sales/old.csv", lifecycle="deprecated", successor="sales.report")
    await sam.make("/v1/datasets/sales.old_report", old)
    await sam.make("/v1/datasets/sales.plans", dataset("s3://lake/sales/plans.csv", lifecycle="draft"))
    for id_, to, actions, on in (
        ("analysts-know-sales", "group:analysts", ["discover"], {"domain": "sales"}),
        ("analysts-load-trial", "group:analysts", ["load"], {"dataset": "sales.trial"}),
        ("nightly-works", "service:nightly", ["load", "save"], {"domain": "sales"}),
    ):
        await root.make(f"/v1/grants/{id_}", grant(to, actions, on=on))
    await root.make("/v1/grants/nightly-pays", grant("service:nightly", ["load"], on={"domain": "hr"}))
    await root.make("/v1/grants/ann-makes-emea", grant("user:ann", ["load"], on={"dataset": "sales.emea_orders"}))
    steps = (("load", "sales.orders"), ("load", "hr.salaries"), ("save", "sales.report"))
    await _reported(service.nightly, "revenue", "sum_up", "night-1", *steps)
    await _reported(service.nightly, "revenue", "sum_up", "night-2", *steps, days=3)
    await _reported(service.ann, "churn", "train", "ann-1", ("load", "sales.orders"))
    for visitor in (hugo, service.eve):
        await visitor.read("/v1/whoami")


async def _reported(caller: Caller, project: str, node: str, run: str, *steps: tuple[str, str], days: int = 0) -> None:
    """What a run loaded and saved at one node, under a lease."""
    answer = await caller.get(f"/v1/leases?environment=dev&project={project}")
    assert answer.status_code == 200, answer.text
    at = datetime.now(UTC) - timedelta(days=days)
    events = [
        {
            "id": str(uuid5(NAMESPACE_URL, f"{run} {action} {name}")),
            "receipt": answer.headers["muniment-receipt"],
            "dataset": name,
            "action": action,
            "at": at.isoformat(),
            "environment": "dev",
            "project": project,
            "run": run,
            "node": node,
        }
        for action, name in steps
    ]
    assert (await caller.post("/v1/use", {"events": events})).status_code == 200


@pytest.fixture(scope="module")
async def ann(service: Running) -> Visitor:
    return await let_in(service, "user:ann")


@pytest.fixture(scope="module")
async def sam(service: Running) -> Visitor:
    return await let_in(service, "user:sam")


@pytest.fixture(scope="module")
async def eve(service: Running) -> Visitor:
    return await let_in(service, "user:eve")


def names(page: str) -> list[str]:
    """The datasets that were found, in their order."""
    return re.findall(r'<h3><a href="/datasets/[^"]+"><bdi>([^<]+)</bdi>', page)


def facets(page: str) -> Mapping[str, str]:
    """The values beside the results, with how many there are of each."""
    found = re.findall(r'<li><a href="[^"]*"[^>]*><bdi>([^<]+)</bdi>.*?<span class="quiet">(\d+)</span></li>', page)
    return dict(found)


def link(page: str, text: str) -> str:
    """Where the link of this text leads."""
    (address,) = re.findall(rf'<a [^>]*href="([^"]+)"[^>]*>{re.escape(text)}</a>', page)
    return html.unescape(address)


# --- finding ----------------------------------------------------------------------------------------------------------


async def test_words_and_facets_narrow_and_stand_in_the_address(ann: Visitor):
    page = await ann.read("/datasets?search=ord")
    assert names(page)[0] == "sales.orders"
    assert facets(page)["gold"] == "1"
    (address,) = re.findall(r'<a href="([^"]+tag=gold)">', page)
    narrowed = await ann.read(html.unescape(address))
    assert names(narrowed) == ["sales.orders"]
    assert "Take back" in narrowed
    assert 'value="ord"' in narrowed
    assert names(await ann.read("/datasets?domain=sales.emea")) == ["sales.emea.leads"]
    assert names(await ann.read("/datasets?search=email")) == ["sales.orders"]
    assert "1 dataset<" in await ann.read("/datasets?search=email")
    assert "Nothing was found" in await ann.read("/datasets?search=nowhere")


async def test_pages_follow_one_another(ann: Visitor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("muniment.web.datasets._PAGE", 2)
    found, address = [], "/datasets?sort=name"
    while address:
        page = await ann.read(address)
        found += names(page)
        following = re.findall(r'<a rel="next" href="([^"]+)">', page)
        address = html.unescape(following[0]) if following else ""
    assert found == sorted(found)
    assert len(found) == len(set(found)) >= 6
    assert names(await ann.read("/datasets?page=99999")) == []


async def test_what_one_may_not_know_of_leaves_no_trace(ann: Visitor, sam: Visitor, eve: Visitor):
    everything = await ann.read("/datasets")
    for hidden in ("hr.salaries", "hr-owners", "secret", "sales.plans", "draft"):
        assert hidden not in everything
        assert f"datasets?search={hidden}" not in everything
    assert "sales.plans" in await sam.read("/datasets")
    assert "Nobody has let you know of any data yet" in await eve.read("/datasets")
    for chosen in ("owner=group:hr-owners", "domain=hr", "tag=never", "layer=never", "type=never"):
        text = await ann.read(f"/datasets?{chosen}")
        assert names(text) == []


async def test_who_may_read_or_write_the_data_somewhere_is_told_when_it_was_last_saved_there(
    ann: Visitor, sam: Visitor
):
    """Seen to fail with every environment told to whoever knows of the dataset, and with loads told as saves."""
    today = f"{datetime.now(UTC):%-d %b %Y}"
    told = {name: said(await visitor.get("/datasets/sales.report")) for name, visitor in (("ann", ann), ("sam", sam))}
    assert "Last saved Whoever may use it sees here when a run last saved it. Quality Not measured." in told["ann"]
    saved = re.escape(today) + r", \d\d:\d\d as a run reported"
    assert re.search(rf"Last saved dev: {saved} prod: no run has reported it in 90 days Quality", told["sam"])
    never = "no run has reported it in 90 days"
    assert f"Last saved dev: {never} prod: {never} Quality" in said(await ann.get("/datasets/sales.orders"))
    assert f"Last saved dev: {never} Quality" in said(await ann.get("/datasets/sales.trial"))


async def test_what_one_may_do_stands_beside_each(ann: Visitor, sam: Visitor):
    page = await ann.read("/datasets?may=use")
    assert "You may load in dev, prod" in page
    assert "sales.report" not in names(page)
    assert "sales.report" in names(await ann.read("/datasets?may=ask"))
    assert "Yours to edit" in await sam.read("/datasets?may=steward")


# --- one dataset ------------------------------------------------------------------------------------------------------


async def test_its_page_says_what_it_is_and_gives_the_entry_as_it_is_served(service: Running, ann: Visitor):
    page = await ann.read("/datasets/sales.orders")
    for text in ("Every order, a line for each position.", "group:sales-owners", "gold", "personal", "Advised"):
        assert text in page
    entries = re.findall(r'<pre id="entry-\d"[^>]*><code>(.*?)</code></pre>', page, re.DOTALL)
    served = [await service.ann.catalog(environment) for environment in ("dev", "prod")]
    wanted = [{"sales.orders": each["sales.orders"]} for each in served]
    assert [yaml.safe_load(html.unescape(entry)) for entry in entries] == wanted
    assert 'class="differs"' in page
    assert "s3://lake/sales/released.csv" in page


async def test_where_nothing_is_defined_nobody_is_told_that_they_may(ann: Visitor):
    assert "not defined there" in await ann.read("/datasets/sales.trial")
    assert "You may load in dev<" in await ann.read("/datasets?search=trial")


async def test_whoever_only_knows_of_it_sees_no_definition_and_is_led_to_ask(ann: Visitor):
    page = await ann.read("/datasets/sales.report")
    assert "s3://" not in page
    assert "You see the entry once you may load or save it" in page
    asked = urlsplit(link(page, "Ask for access"))
    assert asked.path == "/requests/new"
    assert parse_qs(asked.query) == {"dataset": ["sales.report"], "action": ["load"], "environment": ["dev"]}


async def test_its_steward_edits_it_and_sees_every_entry(sam: Visitor):
    page = await sam.read("/datasets/sales.orders")
    assert link(page, "Edit") == "/declare/sales.orders"
    assert "released.csv" in page


async def test_a_deprecated_one_leads_to_what_follows_it(ann: Visitor):
    page = await ann.read("/datasets/sales.old_report")
    assert "This dataset is deprecated." in page
    assert 'href="/datasets/sales.report"' in page


async def test_what_is_hidden_and_what_never_was_are_one_page(ann: Visitor):
    for tab in ("", "/history", "/lineage", "/use", "/access", "/access/people", "/consumers", "/made"):
        hidden, never = [await ann.get(f"/datasets/hr.{name}{tab}") for name in ("salaries", "nothing")]
        if tab == "/made":
            hidden, never = [await ann.get(str(each.headers["location"])) for each in (hidden, never)]
        assert (hidden.status_code, never.status_code) in {(404, 404), (403, 403)}, tab
        assert _comparable(hidden.text, "hr.salaries") == _comparable(never.text, "hr.nothing"), tab


def _comparable(page: str, name: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", page.replace(name, ""))


async def test_a_pattern_shows_the_names_that_it_makes(ann: Visitor):
    page = await ann.read("/datasets/sales.{region}_orders")
    assert '<input type="text" id="region" name="region"' in page
    made = await ann.get("/datasets/sales.{region}_orders/made?region=emea")
    assert (made.status_code, made.headers["location"]) == (303, "/datasets/sales.emea_orders")
    page = await ann.read("/datasets/sales.emea_orders")
    assert "s3://lake/sales/emea/orders.csv" in page
    assert "This name is made by the pattern" in page
    assert "Version 1" in await ann.read("/datasets/sales.emea_orders/history")
    refused = await ann.get("/datasets/sales.{region}_orders/made", Accept="text/html")
    assert refused.status_code == 422
    refused = await ann.get("/datasets/sales.{region}_orders/made?region=E%20M")
    assert refused.status_code == 422
    assert 'value="E M"' in refused.text
    assert "Give a value for region" in refused.text


async def test_each_version_says_what_it_changed_as_far_as_one_may_read(ann: Visitor, sam: Visitor):
    page = await ann.read("/datasets/sales.orders/history")
    assert page.index("Version 2") < page.index("Version 1")
    assert "user:sam" in page
    assert re.search(r'<tr class="added">.*?released\.csv', page, re.DOTALL)
    assert re.search(r'<tr class="removed">[^\n]*(?:\n[^\n]*){0,4}Every order\.&#34;', page, re.DOTALL)
    assert "report.csv" in await sam.read("/datasets/sales.report/history")
    assert "report.csv" not in await ann.read("/datasets/sales.report/history")


async def test_lineage_crosses_projects_and_passes_over_what_is_hidden(ann: Visitor, sam: Visitor):
    page = await sam.read("/datasets/sales.report/lineage")
    assert "sales.orders" in page
    assert "hr.salaries" not in page
    assert re.search(r"revenue.*sum_up", page)
    assert re.search(r"<text[^>]*>orders</text>", page)
    page = await ann.read("/datasets/sales.orders/lineage")
    assert 'href="/datasets/sales.report"' in page
    assert "in runs of others" in page
    assert "revenue" not in page
    assert "No run has reported it yet" in await ann.read("/datasets/sales.targets/lineage")


async def test_lineage_goes_on_step_by_step_and_ends_before_what_is_hidden(
    service: Running, ann: Visitor, sam: Visitor
):
    """What lies behind a hidden dataset is reached from nowhere. Seen to fail with what is hidden followed too."""
    nightly = service.nightly
    await _reported(nightly, "steering", "show", "show-1", ("load", "sales.report"), ("save", "sales.trial"))
    pay = (("load", "sales.trial"), ("save", "hr.salaries"), ("save", "sales.plans"))
    await _reported(nightly, "pay", "add_up", "pay-1", *pay)
    await _reported(nightly, "pay", "round", "pay-1", ("load", "hr.salaries"), ("save", "sales.old_report"))
    await _reported(nightly, "steering", "again", "show-1", ("load", "sales.trial"), ("save", "sales.report"))

    async def ways(name: str, steps: int) -> set[tuple[str, str, str]]:
        told = await service.sam.read(f"/v1/datasets/{name}/lineage?steps={steps}")
        assert told["cut"] is False
        return {(each["side"], each["dataset"], each["beside"]) for each in told["items"]}

    whole = await ways("sales.orders", 5)
    assert whole == {
        ("downstream", "sales.report", "sales.orders"),
        ("downstream", "sales.trial", "sales.report"),
        ("downstream", "sales.report", "sales.trial"),
        ("downstream", "sales.plans", "sales.trial"),
    }
    single = [await ways(name, 1) for name in ("sales.orders", "sales.report", "sales.trial", "sales.plans")]
    assert whole == {each for ways in single for each in ways if each[0] == "downstream"}

    page = await sam.read("/datasets/sales.orders/lineage?steps=3")
    assert re.search(r"<text[^>]*>trial</text>", page)
    assert re.search(r"steering.*show", page)
    assert "old_report" not in page
    assert "hr." not in page.partition("<main")[2]
    others = await ann.read("/datasets/sales.orders/lineage")
    assert 'href="/datasets/sales.trial"' in others
    assert "steering" not in others
    assert (await ann.get("/datasets/sales.orders/lineage?steps=99")).status_code == 422


async def test_use_is_everybodys_for_who_declares_there_and_ones_own_for_others(ann: Visitor, sam: Visitor):
    everybodys = await sam.read("/datasets/sales.orders/use")
    assert ("<bdi>3 ×</bdi>" in everybodys, "<bdi>0 ×</bdi>" in everybodys) == (True, True)
    assert "<svg" in everybodys
    assert "<table" in everybodys
    own = await ann.read("/datasets/sales.orders/use?days=365")
    assert "<bdi>1 ×</bdi>" in own
    assert "Most people" not in own
    assert "No run has reported" in await ann.read("/datasets/sales.report/use")


async def test_access_says_why_and_others_access_is_for_those_who_oversee(ann: Visitor, sam: Visitor):
    mine = await ann.read("/datasets/sales.orders/access")
    assert "user:ann may load it: permitted by grant:analysts-load-orders" in mine
    no = await ann.read("/datasets/sales.report/access?action=save&environment=prod")
    assert "no policy permits it" in no
    assert link(no, "Ask for access").startswith("/requests/new?dataset=sales.report")
    refused = await ann.get("/datasets/sales.orders/access/people")
    assert refused.status_code == 403
    assert "about others you need grant or audit in sales" in said(refused)
    everybody = await sam.read("/datasets/sales.orders/access/people")
    assert "user:ann" in everybody
    assert "service:nightly" in everybody
    assert (await ann.get("/datasets/sales.orders/access?environment=qa")).status_code == 422
    assert (await ann.get("/datasets/sales.orders/access?action=grant")).status_code == 422


async def test_projects_that_run_with_it_are_for_its_stewards(ann: Visitor, sam: Visitor):
    assert "revenue" in await sam.read("/datasets/sales.orders/consumers")
    refused = await ann.get("/datasets/sales.orders/consumers")
    assert refused.status_code == 403
    assert "you need declare or audit in sales" in said(refused)


# --- every page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
async def test_whatever_stands_in_an_address_is_shown_as_text_or_refused(ann: Visitor, text: str):
    for path, keys in ASKED.items():
        for key in keys:
            answer = await ann.http.get(path, params={key: text}, headers={"Cookie": _cookie(ann)})
            assert answer.status_code in {200, 403, 404, 422}, (path, key, answer.text)
            assert not re.search(r"<script>|<img|EVIL", answer.text)
    for tab in ("", "/history", "/made"):
        path = quote(f"/datasets/{text[:200]}{tab}", safe="/%")
        answer = await ann.http.get(path, headers={"Cookie": _cookie(ann)}, follow_redirects=True)
        assert answer.status_code in {404, 422}, (tab, answer.status_code)


def _cookie(visitor: Visitor) -> str:
    return f"{SESSION}={visitor.secret}"


async def test_nothing_is_shown_without_a_record(service: Running, sam: Visitor):
    """Seen to fail with the row of a search left out."""
    with no_ledger(service, "its disk is full"):
        for path in PAGES:
            assert (await sam.get(path)).status_code == 503, path
    for path in PAGES:
        assert (await sam.get(path)).status_code == 200, path


async def test_each_page_is_written_down_once(service: Running, sam: Visitor):
    for path in PAGES:
        answer = await sam.get(path)
        rows: Any = await service.audrey.read(f"/v1/ledger?request_id={answer.headers['muniment-request-id']}")
        assert len(rows["items"]) == 1, path
