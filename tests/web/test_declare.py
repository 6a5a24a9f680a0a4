"""A steward declares and changes datasets with a form or its YAML, and sees what that does before it is saved.

Seen to fail: with the seal of what was seen left unchecked, with the version left out of the form, with the fields of a
refused form filled anew, and with the form held above a YAML that was changed too.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from demo.issuer import RunningIssuer
from muniment.flows import change_together
from tests.api.running import Running, csv, dataset, grant, running
from tests.api.test_no_record_no_answer import no_ledger
from tests.web.letting_in import Visitor, let_in, said
from tests.web.sending import sent_by

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company; its analysts load what is classified as internal, too."""
    async with running(issuer, module_company) as started:
        cedar = 'permit(principal in Group::"analysts", action == Action::"load", resource)\n'
        cedar += 'when { resource.classification == "open" };'
        await started.root.make("/v1/policies/open-to-analysts", {"cedar": cedar, "scope": "sales", "reason": "open"})
        for caller in (started.ann, started.eve, started.audrey):
            await caller.read("/v1/whoami")
        yield started


@pytest.fixture(scope="module")
async def sam(service: Running) -> Visitor:
    return await let_in(service, "user:sam")


def form_of(answer: httpx.Response, action: str) -> dict[str, str]:
    """The fields of a form as somebody sees them, without what only the page's own buttons say."""
    sent = sent_by(answer.text, action)
    return {name: value.replace("\r\n", "\n") for name, value in sent.items() if name not in {"form", "do"}}


async def filled(sam: Visitor, name: str, fields: Mapping[str, str], *, do: str = "check") -> httpx.Response:
    """A dataset's form, filled in and sent."""
    page = await sam.get(f"/declare/{name}")
    assert page.status_code == 200, said(page)
    return await sam.post(f"/declare/{name}", {**form_of(page, f"/declare/{name}"), **fields, "do": do})


async def saved(sam: Visitor, review: httpx.Response, name: str, **more: str) -> httpx.Response:
    """What the page that shows the consequences saves."""
    assert review.status_code == 200, said(review)
    return await sam.post(f"/declare/{name}/save", {**form_of(review, f"/declare/{name}/save"), **more})


async def standing(service: Running, name: str) -> dict[str, Any]:
    return await service.sam.read(f"/v1/datasets/{name}")


# --- declaring ------------------------------------------------------------------------------------


async def test_a_dataset_is_declared_from_its_name_its_type_and_the_types_own_form(service: Running, sam: Visitor):
    beginning = await sam.read("/declare")
    assert '<option value="pandas.ParquetDataset">' in beginning
    assert '<option value="hr">' not in beginning
    on = await sam.get("/declare?domain=sales&leaf=customers&type=pandas.CSVDataset")
    assert on.headers["location"] == "/declare/sales.customers?type=pandas.CSVDataset"
    page = await sam.get(on.headers["location"])
    fields = form_of(page, "/declare/sales.customers")
    assert {"layer.0.text.filepath", "layer.0.yaml.load_args", "layer.0.flag.versioned"} <= fields.keys()
    assert "s3://lake/sales/" in page.text
    fields |= {
        "layer.0.text.filepath": "s3://lake/sales/customers.csv",
        "layer.0.yaml.load_args": "sep: ';'\nna_values: [none]",
        "description": "Everybody who ever bought something.",
        "tags": "gold, checked",
        "column.0.name": "email",
        "column.0.tags": "personal",
    }
    review = await sam.post("/declare/sales.customers", {**fields, "do": "check"})
    assert "filepath: s3://lake/sales/customers.csv" in review.text
    done = await saved(sam, review, "sales.customers", reason="the first of them")
    assert done.headers["location"] == "/declare/sales.customers?done=declared"
    stands = await standing(service, "sales.customers")
    assert stands["definitions"]["base"] == csv(
        "s3://lake/sales/customers.csv", load_args={"sep": ";", "na_values": ["none"]}
    )
    assert (stands["tags"], stands["owner"]) == (["checked", "gold"], "group:sales-owners")
    assert stands["columns"] == [{"name": "email", "type": "", "description": "", "tags": ["personal"]}]
    assert "It is declared." in await sam.read(done.headers["location"])
    rows = await service.audrey.read("/v1/ledger?event=dataset.declared&dataset=sales.customers")
    assert [row["details"]["reason"] for row in rows["items"]] == ["the first of them"]


async def test_what_is_wrong_stands_beside_its_field_and_all_that_was_typed_stays(sam: Visitor):
    refused = await filled(
        sam,
        "sales.wrong",
        {
            "layer.0.type": "pandas.CSVDataset",
            "description": "Typed <b>once</b>.",
            "sensitivity": "many",
            "successor": "hr.salaries",
        },
    )
    assert refused.status_code == 422
    assert 'href="#sensitivity"' in refused.text
    assert 'value="many"' in refused.text
    assert "Typed &lt;b&gt;once&lt;/b&gt;." in refused.text
    refused = await sam.post(
        "/declare/sales.wrong",
        {
            **form_of(refused, "/declare/sales.wrong"),
            "sensitivity": "4",
            "layer.0.text.filepath": "s3://lake/hr/x.csv",
            "layer.0.yaml.load_args": "[1, 2",
            "do": "check",
        },
    )
    assert refused.status_code == 422
    for field in ("layer.0.text.filepath", "layer.0.yaml.load_args", "successor"):
        assert f'id="{field}-wrong"' in refused.text
    assert "does not lie inside a location" in refused.text
    held = form_of(refused, "/declare/sales.wrong")
    assert held["layer.0.text.filepath"] == "s3://lake/hr/x.csv"
    assert held["layer.0.yaml.load_args"] == "[1, 2"


async def test_a_secret_is_refused_and_stands_in_no_ledger(service: Running, sam: Visitor):
    typed = (
        "sales.secret:\n  type: pandas.CSVDataset\n  filepath: s3://lake/x.csv\n  load_args: {password: hush-4711}\n"
    )
    refused = await filled(sam, "sales.secret", {"yaml": typed})
    assert refused.status_code == 422
    assert "must not hold a secret" in refused.text
    rows = await service.audrey.read("/v1/ledger?limit=1000")
    assert "hush-4711" not in str(rows)


# --- the form and the YAML ------------------------------------------------------------------------


async def test_the_form_follows_the_yaml_and_the_yaml_the_form(sam: Visitor):
    name = "sales.both_ways"
    typed = (
        f"# A comment.\n{name}:\n  filepath: s3://lake/sales/b.csv\n  type: pandas.CSVDataset\n  muniment:\n"
        "    description: from the YAML\n    environments:\n      prod:\n        type: pandas.ParquetDataset\n"
        "        filepath: s3://lake/sales/b.parquet\n        load_args: {columns: [id, {nested: yes}]}\n"
    )
    page = await filled(sam, name, {"yaml": typed}, do="form")
    fields = form_of(page, f"/declare/{name}")
    assert fields["description"] == "from the YAML"
    assert fields["layer.0.text.filepath"] == "s3://lake/sales/b.csv"
    assert fields["layer.1.name"] == "prod"
    assert fields["layer.1.yaml.load_args"] == "columns:\n- id\n- nested: true"
    assert fields["yaml"] == typed
    page = await sam.post(
        f"/declare/{name}", {**fields, "layer.1.text.filepath": "s3://lake/sales/c.parquet", "do": "yaml"}
    )
    written = form_of(page, f"/declare/{name}")["yaml"]
    assert written.startswith(f"{name}:\n  filepath: s3://lake/sales/b.csv\n  type: pandas.CSVDataset\n")
    assert "s3://lake/sales/c.parquet" in written
    assert "comment" not in written


async def test_where_both_were_changed_nothing_is_thrown_away_until_somebody_chooses(sam: Visitor):
    name = "sales.orders"
    page = await sam.get(f"/declare/{name}")
    fields = form_of(page, f"/declare/{name}")
    both = {**fields, "description": "by form", "yaml": fields["yaml"].replace("Every order.", "by YAML")}
    asked = await sam.post(f"/declare/{name}", {**both, "do": "check"})
    assert asked.status_code == 422
    assert "were both changed" in asked.text
    held = form_of(asked, f"/declare/{name}")
    assert (held["description"], "by YAML" in held["yaml"]) == ("by form", True)
    for do, word in (("yaml", "by form"), ("form", "by YAML")):
        chosen = await sam.post(f"/declare/{name}", {**held, "do": do})
        settled = form_of(chosen, f"/declare/{name}")
        assert settled["description"] == word
        assert word in settled["yaml"]


async def test_yaml_that_cannot_be_read_stays_with_the_line_that_is_wrong_and_nothing_else_is_told(sam: Visitor):
    """Seen to fail with what the empty fields lack told beside it."""
    refused = await filled(sam, "sales.unread", {"yaml": "sales.unread:\n  type: [\n"}, do="form")
    assert "Line 3: The file is not YAML." in html.unescape(refused.text)
    assert "Name the dataset" not in html.unescape(refused.text)
    assert form_of(refused, "/declare/sales.unread")["yaml"] == "sales.unread:\n  type: [\n"


async def test_rows_and_environments_come_and_go_without_scripts(sam: Visitor):
    name = "sales.rows"
    page = await filled(sam, name, {"column.0.name": "one", "layer.0.type": "pandas.CSVDataset"}, do="add-column")
    fields = form_of(page, f"/declare/{name}")
    assert (fields["column.0.name"], fields["column.1.name"]) == ("one", "")
    page = await sam.post(
        f"/declare/{name}", {**fields, "column.1.name": "two", "environment": "prod", "do": "add-environment"}
    )
    fields = form_of(page, f"/declare/{name}")
    assert (fields["layer.1.name"], fields["layer.1.type"]) == ("prod", "pandas.CSVDataset")
    page = await sam.post(f"/declare/{name}", {**fields, "do": "drop-column:0"})
    fields = form_of(page, f"/declare/{name}")
    assert fields["column.0.name"] == "two"
    page = await sam.post(f"/declare/{name}", {**fields, "do": "drop-environment:0"})
    assert form_of(page, f"/declare/{name}")["layer.0.name"] == "prod"


# --- what it does to people -----------------------------------------------------------------------


async def test_what_a_label_does_to_people_is_seen_before_it_is_saved(service: Running, sam: Visitor):
    await service.sam.make("/v1/datasets/sales.seen", dataset("s3://lake/sales/seen.csv", classification="shut"))
    review = await filled(sam, "sales.seen", {"classification": "open"})
    assert "user:ann" in said(review)
    assert "would gain access" in said(review)
    assert (await standing(service, "sales.seen"))["classification"] == "shut"
    done = await saved(sam, review, "sales.seen")
    assert done.headers["location"].endswith("done=changed")
    assert (await standing(service, "sales.seen"))["classification"] == "open"
    assert (await service.ann.catalog()).keys() >= {"sales.seen"}


async def test_what_would_do_something_else_by_now_is_shown_anew_and_not_saved(service: Running, sam: Visitor):
    await service.sam.make("/v1/datasets/sales.moved", dataset("s3://lake/sales/moved.csv", classification="shut"))
    review = await filled(sam, "sales.moved", {"classification": "open"})
    await service.root.make("/v1/groups/moved", {"members": ["user:eve"]})
    cedar = 'permit(principal in Group::"moved", action == Action::"load", resource)\n'
    cedar += 'when { resource.classification == "open" };'
    await service.root.make("/v1/policies/open-to-moved", {"cedar": cedar, "scope": "sales", "reason": "too"})
    again = await saved(sam, review, "sales.moved")
    assert again.status_code == 200
    assert "Something else was changed since you looked" in again.text
    assert "user:eve" in said(again)
    assert (await standing(service, "sales.moved"))["classification"] == "shut"
    done = await saved(sam, again, "sales.moved")
    assert done.status_code == 303


async def test_what_does_the_same_is_saved_though_the_realm_moved_on(service: Running, sam: Visitor):
    await service.sam.make("/v1/datasets/sales.calm", dataset("s3://lake/sales/calm.csv"))
    review = await filled(sam, "sales.calm", {"description": "calmer"})
    await service.root.make("/v1/environments/elsewhere", {"description": "and nothing to do with it"})
    assert (await saved(sam, review, "sales.calm")).status_code == 303


async def test_an_edit_that_lost_shows_both_versions_and_can_go_on(service: Running, sam: Visitor):
    await service.sam.make("/v1/datasets/sales.lost", dataset("s3://lake/sales/lost.csv"))
    page = await sam.get("/declare/sales.lost")
    theirs = dataset("s3://lake/sales/lost.csv", description="theirs")
    assert (await service.sam.put("/v1/datasets/sales.lost", theirs, after=1)).status_code == 200
    fields = {**form_of(page, "/declare/sales.lost"), "description": "mine", "do": "check"}
    lost = await sam.post("/declare/sales.lost", fields)
    assert lost.status_code == 412
    assert "description: theirs" in html.unescape(lost.text)
    assert "description: mine" in html.unescape(lost.text)
    mine = await sam.post("/declare/sales.lost", {**form_of(lost, "/declare/sales.lost"), "do": "back"})
    review = await sam.post("/declare/sales.lost", {**form_of(mine, "/declare/sales.lost"), "do": "check"})
    assert (await saved(sam, review, "sales.lost")).status_code == 303
    assert (await standing(service, "sales.lost"))["description"] == "mine"


async def test_who_runs_with_what_is_retired_is_seen_before_it_is(service: Running, sam: Visitor):
    await service.sam.make("/v1/datasets/sales.old", dataset("s3://lake/sales/old.csv"))
    await service.root.make(
        "/v1/grants/ann-loads-old", grant("user:ann", ["load"], on={"dataset": "sales.old"}, environments=["prod"])
    )
    asked = {"environment": "prod", "project": "churn", "load": ["sales.old"], "save": []}
    assert (await service.ann.post("/v1/preflight", asked)).status_code == 200
    page = await sam.get("/declare/sales.old/lifecycle")
    fields = form_of(page, "/declare/sales.old")
    review = await sam.post("/declare/sales.old", {**fields, "lifecycle": "retired", "do": "check"})
    for told in ("churn", "prod", "user:ann"):
        assert told in said(review)
    assert (await saved(sam, review, "sales.old")).status_code == 303
    assert (await standing(service, "sales.old"))["lifecycle"] == "retired"


# --- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/declare/{}", "/declare/{}/lifecycle"])
async def test_a_hidden_dataset_and_none_are_one_to_those_who_do_not_declare_there(
    service: Running, sam: Visitor, path: str
):
    hidden, none = [await sam.get(path.format(name)) for name in ("hr.salaries", "hr.nothing")]
    assert (hidden.status_code, none.status_code) == (404, 404)
    assert said(hidden).rpartition("Request")[0] == said(none).rpartition("Request")[0]


async def test_who_may_not_declare_is_offered_nothing_and_can_send_nothing(service: Running, sam: Visitor):
    ann = await let_in(service, "user:ann")
    assert "You may declare in no domain" in await ann.read("/declare")
    page = await sam.get("/declare/sales.orders")
    fields = form_of(page, "/declare/sales.orders")
    for path, known in (("/declare/sales.orders", 403), ("/declare/sales.orders/save", 403)):
        assert (await ann.post(path, {**fields, "do": "check"})).status_code == known
    hidden = [await ann.post(f"/declare/{name}", {"entry": "", "do": "check"}) for name in ("hr.salaries", "hr.no")]
    assert [answer.status_code for answer in hidden] == [404, 404]


async def test_nothing_is_shown_or_saved_without_a_record(service: Running, sam: Visitor):
    """Seen to fail with the rows of the form and of the domain left out."""
    review = await filled(sam, "sales.targets", {"description": "unrecorded"})
    seen = form_of(review, "/declare/sales.targets/save")
    pages = ("", "/sales.orders", "/sales.orders/lifecycle", "/import", "/domains", "/domains/sales", "/environments")
    with no_ledger(service, "its disk is full"):
        for path in pages:
            assert (await sam.get(f"/declare{path}")).status_code == 503, path
        assert (await sam.post("/declare/sales.targets/save", seen)).status_code == 503
        pasted = {"domain": "sales", "catalog.base": CATALOG, "do": "read"}
        assert (await sam.post("/declare/import", pasted)).status_code == 503
    for path in pages:
        assert (await sam.get(f"/declare{path}")).status_code == 200, path
    assert (await standing(service, "sales.targets"))["description"] == ""


# --- a whole catalog, domains, environments -----------------------------------------------------------


CATALOG = """
_csv: &csv
  type: pandas.CSVDataset

Bills:
  <<: *csv
  filepath: s3://lake/sales/bills.csv

orders:
  <<: *csv
  filepath: s3://lake/sales/other/orders.csv

leaky:
  <<: *csv
  filepath: data/leaky.csv
  credentials: {password: hush-4712}

far:
  <<: *csv
  filepath: s3://elsewhere/far.csv

from_git:
  <<: *csv
  filepath: s3://lake/sales/from_git.csv
  muniment: {tags: [gold]}
"""


async def test_a_pasted_catalog_is_seen_entry_by_entry_and_declared_together(service: Running, sam: Visitor):
    pasted = {"domain": "sales", "catalog.base": CATALOG, "catalog.prod": "", "globals": ""}
    page = await sam.post("/declare/import", {**pasted, "do": "read"})
    text = said(page)
    assert page.status_code == 200, text
    for told in (
        "sales.bills",
        "stands otherwise",
        "not lie inside a location",
        "It holds a secret",
        "block muniment:",
    ):
        assert told in text
    ticked = [line for line in page.text.splitlines() if 'name="take"' in line and "checked" in line]
    assert ["sales.bills" in line for line in ticked] == [True]
    refused = await sam.post("/declare/import", {**pasted, "take": ["sales.bills", "sales.far"], "do": "check"})
    assert refused.status_code == 422
    assert "sales.far" in said(refused)
    review = await sam.post("/declare/import", {**pasted, "take": ["sales.bills"], "do": "check"})
    saved = await sam.post("/declare/import/save", form_of(review, "/declare/import/save"))
    assert saved.status_code == 303, said(saved)
    for _ in range(2):
        done = await sam.get(saved.headers["location"])
        assert done.status_code == 200, said(done)
        assert "Bills: sales.bills" in said(done)
        assert "What came over (1) sales.bills" in said(done)
        assert "What did not come over (4)" in said(done)
        for told in ("far It was to be mended first.", "orders It was not chosen.", "leaky It holds a secret."):
            assert told in said(done)
    with no_ledger(service, "its disk is full"):
        assert (await sam.get(saved.headers["location"])).status_code == 503
    assert (await (await let_in(service, "user:root")).get(saved.headers["location"])).status_code == 404
    stands = await standing(service, "sales.bills")
    assert stands["definitions"]["base"] == csv("s3://lake/sales/bills.csv")
    assert stands["version"] == (await standing(service, "sales.orders"))["version"] == 1
    rows = await service.audrey.read("/v1/ledger?limit=1000")
    assert "hush-4712" not in str(rows)


async def test_what_is_pasted_is_judged_once_when_it_is_saved(
    service: Running, sam: Visitor, monkeypatch: pytest.MonkeyPatch
):
    """Of a whole catalog that takes seconds. Seen to fail with `apply_changes` for `apply_as_tried`."""
    judged, check = [], change_together.check_gains
    monkeypatch.setattr(change_together, "check_gains", lambda *said: (judged.append(1), check(*said)))
    text = "once: {type: pandas.CSVDataset, filepath: s3://lake/sales/once.csv}"
    fields = {"domain": "sales", "catalog.base": text, "catalog.prod": "", "globals": "", "take": ["sales.once"]}
    review = await sam.post("/declare/import", {**fields, "do": "check"})
    judged.clear()
    saved = await sam.post("/declare/import/save", form_of(review, "/declare/import/save"))
    assert saved.status_code == 303, said(saved)
    assert (await standing(service, "sales.once"))["version"] == 1
    assert judged == [1]


async def test_a_long_catalog_of_several_files_comes_over_and_what_stands_so_already_is_counted(
    service: Running, sam: Visitor
):
    """Seen to fail with forms of 32 KiB at most, with the texts read as one file, and with all entries listed."""
    files = [
        f"# {'long ' * 4_000}\n_csv: &csv {{type: pandas.CSVDataset}}\nsame: {{<<: *csv, filepath: s3://lake/sales/{part}/same.csv}}\n"
        + "".join(
            f"{part}_{number}:\n  <<: *csv\n  filepath: s3://lake/sales/{part}/{number}.csv\n" for number in range(152)
        )
        for part in ("one", "two")
    ]
    pasted = {"domain": "sales", "catalog.base": "---\n" + "---\n".join(files), "catalog.prod": "", "globals": ""}
    page = await sam.post("/declare/import", {**pasted, "do": "read"})
    assert page.status_code == 200, said(page)
    assert "304 new" in said(page)
    assert "It stands in base/catalog.yml and base/catalog_2.yml." in said(page)
    assert "bring these in, then paste the others" in said(page).casefold()
    some = [f"sales.one_{number}" for number in range(10)]
    review = await sam.post("/declare/import", {**pasted, "take": some, "do": "check"})
    done = await sam.post("/declare/import/save", {**form_of(review, "/declare/import/save"), "take": some})
    assert done.status_code == 303, said(done)
    again = await sam.post("/declare/import", {**pasted, "do": "read"})
    assert "294 new, 10 standing so already" in said(again)
    assert 'value="sales.one_9"' not in again.text


async def test_a_dataset_with_the_longest_description_goes_through_its_form(service: Running, sam: Visitor):
    long = "ä" * 10_000
    review = await filled(
        sam,
        "sales.told",
        {
            "layer.0.type": "pandas.CSVDataset",
            "layer.0.text.filepath": "s3://lake/sales/told.csv",
            "description": long,
        },
    )
    assert review.status_code == 200, said(review)
    await saved(sam, review, "sales.told")
    assert (await standing(service, "sales.told"))["description"] == long


async def test_an_administrator_makes_a_domain_and_an_environment(service: Running):
    await service.root.read("/v1/whoami")
    root = await let_in(service, "user:root")
    assert (await root.get("/declare/domains?name=ops")).headers["location"] == "/declare/domains/ops"
    for place, fields, wrong, field in (
        (
            "/declare/domains/ops",
            {"owner": "ops", "locations": "s3://lake/ops/", "variables": "stage: one"},
            {"locations": "s3://lake/sales/mine/", "owner": "ops"},
            "locations",
        ),
        (
            "/declare/environments/stage",
            {"description": "before prod", "variables": "stage: two"},
            {"variables": "stage: 2"},
            "variables",
        ),
    ):
        page = await root.get(place)
        refused = await root.post(place, {**form_of(page, place), **wrong})
        assert refused.status_code == 422, said(refused)
        assert f'id="{field}-wrong"' in refused.text
        review = await root.post(place, {**form_of(page, place), **fields})
        assert review.status_code == 200, said(review)
        done = await root.post(f"{place}/save", form_of(review, f"{place}/save"))
        assert done.headers["location"] == f"{place}?done=yes"
    assert (await service.root.read("/v1/domains/ops"))["locations"] == ["s3://lake/ops/"]
    assert (await service.root.read("/v1/environments/stage"))["variables"] == {"stage": "two"}


async def test_of_two_who_change_a_domain_the_second_sees_both_and_goes_on_with_what_is_theirs_to_say(
    service: Running, sam: Visitor
):
    """Seen to fail with what only an administrator sets taken from the form that lost."""
    place = "/declare/domains/sales"
    page = form_of(await sam.get(place), place)
    stands = await service.root.read("/v1/domains/sales")
    moved = {key: stands[key] for key in ("owner", "locations")} | {"description": "theirs", "lease_hours": 4}
    assert (await service.root.put("/v1/domains/sales", moved, after=stands["version"])).status_code == 200
    lost = await sam.post(place, {**page, "description": "mine"})
    assert lost.status_code == 412, said(lost)
    for told in ("Somebody was faster", "description: theirs", "description: mine"):
        assert told in html.unescape(lost.text)
    mine = await sam.post(place, {**form_of(lost, place), "do": "back"})
    review = await sam.post(place, form_of(mine, place))
    done = await sam.post(f"{place}/save", form_of(review, f"{place}/save"))
    assert done.headers["location"] == f"{place}?done=yes"
    stands = await service.root.read("/v1/domains/sales")
    assert (stands["description"], stands["lease_hours"]) == ("mine", 4)


async def test_a_steward_reads_a_domains_means_and_cannot_change_them(sam: Visitor):
    page = await sam.get("/declare/domains/sales")
    fields = form_of(page, "/declare/domains/sales")
    assert fields["locations"] == "s3://lake/sales/"
    refused = await sam.post("/declare/domains/sales", {**fields, "locations": "s3://lake/"})
    assert refused.status_code == 403
    assert "Only an administrator" in said(refused)
    hidden, none = [await sam.get(f"/declare/domains/{name}") for name in ("hr", "nothing")]
    assert (hidden.status_code, none.status_code) == (404, 404)
