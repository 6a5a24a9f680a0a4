"""``names:`` one by one and by pattern, in both directions: what is governed, what is the project's own, who wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.io import DatasetError

from kedro_muniment.config import Config
from kedro_muniment.entries.definitions import Building
from kedro_muniment.entries.merging import merge
from kedro_muniment.hooks import hooks
from kedro_muniment.leases.lease import Lease
from kedro_muniment.naming import Names
from kedro_muniment.problems import BadConfig, RunRefused

CSV = {"type": "pandas.CSVDataset", "filepath": "/lake/x.csv"}
CATCH_ALL = {"{name}": "sales.{name}"}


def merged(given=(), names=None, own=(), used=(), **settings):
    """The merged catalog of a project where the service gives these names."""
    lease = Lease(dict.fromkeys(given, CSV), dict.fromkeys(given, ("load", "save")), {}, "dev", "user:ann", "1", "r-1")
    config = Config("https://muniment.example.org", names=names or {}, **settings)
    own = {name: {"type": "MemoryDataset"} for name in own}
    return merge(own, lease, config, Building(Path("/project")), used)


# --- Patterns, in both directions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "given", "listed"),
    [
        (CATCH_ALL, "sales.orders", "orders"),
        (CATCH_ALL, "sales.emea.orders", "emea.orders"),
        (CATCH_ALL, "finance.rates", "finance.rates"),
        ({"{region}.orders": "sales.{region}_orders"}, "sales.emea_orders", "emea.orders"),
        ({"{region}.orders": "sales.{region}_orders"}, "sales.returns", "sales.returns"),
        ({"{a}_{b}": "sales.{b}_{a}"}, "sales.x_y", "y_x"),
        ({"{a}_{b}": "sales.{b}_{a}"}, "sales.x_y_z", "sales.x_y_z"),  # y_z_x would be read as sales.z_x_y
        ({"raw.{domain}.{name}": "{domain}.{name}"}, "sales.orders", "raw.sales.orders"),
        ({**CATCH_ALL, "{name}_eu": "sales.{name}_europe"}, "sales.orders_europe", "orders_eu"),
        ({**CATCH_ALL, "raw": "sales.orders"}, "sales.orders", "raw"),
        ({**CATCH_ALL, "orders": "sales.returns"}, "sales.orders", "sales.orders"),
    ],
)
def test_a_served_dataset_is_listed_under_the_projects_name_for_it(names, given, listed):
    found = merged([given], names)
    assert [entry.name for entry in found.served() if entry.refusal is None] == [listed]
    assert found.governed(listed) == given


@pytest.mark.parametrize(
    ("name", "governed"),
    [
        ("orders", "sales.orders"),
        ("orders@pandas", "sales.orders"),
        ("emea_orders", "sales.of_emea"),  # the most specific pattern
        ("special_orders", "hr.special"),  # one by one goes before every pattern
        ("Orders", None),  # no governed dataset can be called sales.Orders
        ("parameters", None),
        ("params:orders", None),
        ("lines", None),  # not given: the project's own
    ],
)
def test_one_by_one_goes_before_patterns_and_the_most_specific_pattern_before_the_others(name, governed):
    names = {**CATCH_ALL, "{region}_orders": "sales.of_{region}", "special_orders": "hr.special"}
    given = ["sales.orders", "sales.of_emea", "sales.emea_orders", "sales.parameters", "hr.special", "sales.of_special"]
    assert merged(given, names, used=[name]).governed(name) == governed


def test_where_the_most_specific_pattern_gives_nothing_no_other_takes_over():
    names = {**CATCH_ALL, "{region}_orders": "sales.of_{region}"}
    assert merged(["sales.emea_orders"], names).governed("emea_orders") is None


segments = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
sides = st.sampled_from([
    ("{a}", "sales.{a}"), ("{a}.{b}", "sales.{a}_{b}"), ("{a}_raw", "raw.{a}"), ("x{a}", "sales.x.{a}"),
    ("{b}__{a}", "{a}.{b}"), ("{a}@pandas", "sales.{a}_pandas"),
])  # fmt: skip


@given(st.lists(sides, unique_by=lambda pair: pair[0], max_size=4), st.lists(segments, min_size=2, max_size=3))
def test_a_name_that_is_listed_by_a_pattern_always_leads_back_to_the_same_dataset(patterns, parts):
    names = Names.of(dict(patterns))
    governed = ".".join(parts)
    found = names.to_local(governed)
    if found is not None:
        assert names.by_pattern(found[0]) == governed
        assert names.given_for(found[0]) == found[1]


def test_kedro_reads_a_pattern_as_names_does():
    """The same text, as a key of a catalog: the same names match, with the same in its placeholders."""
    from parse import parse

    patterns = ["{name}", "{a}.{b}", "raw_{a}_{b}", "{a}@{b}", "x{a}y"]
    names = ["orders", "a.b.c", "raw_x_y_z", "RAW_x_y", "o@p", "xy", "x1y", "X.Y", "a@b@c"]
    for pattern in patterns:
        ours = Names.of(
            {pattern: "d." + "_".join(f"{{{part}}}" for part in ("name", "a", "b") if f"{{{part}}}" in pattern)}
        )
        for name in names:
            read = parse(pattern, name)
            if "@" in pattern or "@" not in name:
                assert ours.patterns[0].in_local(name) == (read.named if read else None), (pattern, name)


def test_two_datasets_that_would_have_one_name_are_said_and_the_mapping_stands(said):
    found = merged(["a.x", "s.a.x"], {"{name}": "s.{name}"})
    assert found.entries["a.x"].governed == "s.a.x"
    assert [line for line in said if line.startswith("WARNING a.x is listed nowhere here, because s.a.x is called a.x")]


def test_what_a_person_calls_a_dataset_is_understood_by_either_name():
    names = Names.of({**CATCH_ALL, "rates": "finance.rates"})
    for said, meant in [("orders", "sales.orders"), ("sales.orders", "sales.orders"), ("rates", "finance.rates")]:
        assert names.meant(said) == meant
    assert Names.of({}).meant("sales.orders") == "sales.orders"


# --- What a catch-all reaches, and what it leaves ------------------------------------------------


@pytest.mark.parametrize(
    ("globs", "governed"),
    [
        (None, None),
        (("finance.*",), None),
        (("sales.*",), "sales.lines"),
        (("sales.lines",), "sales.lines"),
        (("sales.*", "!sales.lines"), None),
        (("sales.*", "!lin*"), None),
        (("sales.*", "!other"), "sales.lines"),
    ],
)
def test_a_name_that_only_a_pattern_maps_is_governed_if_it_is_given_or_said_to_be(globs, governed):
    assert merged([], CATCH_ALL, governed=globs, used=["lines"]).governed("lines") == governed
    assert merged(["sales.lines"], CATCH_ALL, governed=globs).governed("lines") == "sales.lines"


def test_a_governed_name_that_pipelines_use_and_nobody_gives_stands_as_a_refusal():
    found = merged([], CATCH_ALL, governed=("sales.*",), used=["lines", "params:x", "parameters"])
    assert set(found.entries) == {"lines"}
    assert "lines (sales.lines) does not exist" in found.catalog()["lines"]["sentence"]


@pytest.fixture
def mapped(governed, service):
    """The same project with one pattern for all its names: ``lines`` is handed on in memory."""
    governed.write("conf/base/catalog.yml", "{}")
    governed.configure(service.url, names=CATCH_ALL)
    return governed


def test_a_project_whose_names_are_all_mapped_runs_and_hands_its_own_data_on_in_memory(mapped, service, said):
    mapped.session().run()
    report = mapped.path.parent / "lake" / "report.json"
    assert json.loads(report.read_text()) == {"report": {"lines": [1, 2]}}
    assert service.asked[-1].body["load"] == ["sales.orders"]
    assert service.asked[-1].body["save"] == ["sales.report"]
    (line,) = [line for line in said if "The project's own, though a pattern under `names:` would map them" in line]
    assert ": lines. " in line


def test_once_it_is_said_what_is_governed_nothing_is_said_of_the_rest(mapped, service, said):
    mapped.configure(service.url, names=CATCH_ALL, governed=["sales.orders", "sales.report"])
    mapped.session().run()
    assert not [line for line in said if "The project's own" in line]


@pytest.mark.parametrize("known", [False, True])
def test_what_a_run_reads_and_no_node_makes_is_refused_with_both_names(mapped, service, known):
    """Hidden, or known and not Ann's: it can be nothing that the project hands on in memory."""
    del service.catalog["sales.orders"], service.actions["sales.orders"]
    service.discoverable.update({"sales.orders"} if known else set())
    with pytest.raises(RunRefused) as refused:
        mapped.session().run()
    why = (
        "no policy permits it" if known else "does not exist, or you may not know of it; and no node of this run makes"
    )
    assert f"orders (sales.orders), load: {why}" in str(refused.value)
    assert "needed by: take_orders" in str(refused.value)
    assert not mapped.first_node_ran


def test_a_hidden_output_under_a_catch_all_is_refused_where_governed_says_so(mapped, service):
    mapped.configure(service.url, names=CATCH_ALL, governed=["sales.*", "!lines"])
    del service.catalog["sales.report"], service.actions["sales.report"]
    with pytest.raises(RunRefused, match=r"report \(sales.report\), save: does not exist, or you may not know of it\n"):
        mapped.session().run()
    assert not mapped.first_node_ran
    with pytest.raises(DatasetError, match=r"report \(sales.report\) does not exist"):
        mapped.context().catalog.save("report", {})


def test_the_projects_own_definition_of_a_name_that_a_pattern_maps_is_its_own_until_it_is_given(mapped, service):
    mapped.own(lines=mapped.json_at("mine"))
    mapped.session().run()
    assert json.loads((mapped.path.parent / "lake" / "mine.json").read_text()) == {"lines": [1, 2]}
    service.serve("sales.lines", mapped.json_at("theirs"))
    with pytest.raises(BadConfig, match=r"defines governed names itself: lines \(sales.lines\)"):
        mapped.context()


def test_names_of_a_namespace_are_mapped_like_others(mapped, service):
    service.serve("sales.emea_orders", mapped.json_at("emea", [5]), "load")
    mapped.configure(service.url, names={"{region}.orders": "sales.{region}_orders"}, governed=["sales.*"])
    mapped.nodes("emea.orders", "own_report")
    mapped.session().run()
    assert service.asked[-1].body["load"] == ["sales.emea_orders"]
    assert mapped.context().catalog.load("emea.orders") == [5]


def test_names_that_a_pattern_maps_are_asked_for_where_a_factory_pattern_may_make_them(mapped, service):
    lake = mapped.path.parent / "lake"
    service.serve("sales.{kind}_lines", {"type": "json.JSONDataset", "filepath": f"{lake}/{{kind}}.json"}, "load")
    (lake / "old.json").write_text("[7]")
    mapped.nodes("old_lines", "report")
    mapped.session().run()
    entry = hooks.of(mapped.context()).merged.entries["old_lines"]
    assert (entry.governed, entry.named_by, entry.made_by) == ("sales.old_lines", "{name}", "sales.{kind}_lines")
    assert json.loads((lake / "report.json").read_text()) == {"report": {"lines": [7]}}


def test_a_name_that_its_pattern_cannot_name_is_refused_and_not_handed_on_in_memory(mapped, service):
    mapped.configure(service.url, names={"{region}.orders": "sales.{region}_orders"}, governed=["sales.*"])
    mapped.nodes("UK.orders", "own_report")
    with pytest.raises(RunRefused, match=r"UK.orders \(sales.UK_orders\), load: no governed dataset can be called"):
        mapped.session().run()


def test_a_name_that_a_catch_all_cannot_name_is_the_projects_own():
    found = merged([], CATCH_ALL, used=["X_train"])
    assert (found.governed("X_train"), "X_train" in found.entries) == (None, False)


# --- Transcoding ---------------------------------------------------------------------------------


def test_transcodings_may_each_be_mapped_and_the_bare_name_holds_for_the_others():
    names = {"orders@pandas": "sales.orders_pandas", "orders": "sales.orders"}
    used = ["orders@pandas", "orders@spark", "orders"]
    found = merged(["sales.orders", "sales.orders_pandas"], names, used=used)
    assert {name: found.governed(name) for name in used} == {
        "orders@pandas": "sales.orders_pandas", "orders@spark": "sales.orders", "orders": "sales.orders",
    }  # fmt: skip
    assert {name: found.entries[name].named_by for name in used} == {
        "orders@pandas": "orders@pandas", "orders@spark": "orders", "orders": "orders",
    }  # fmt: skip


def test_a_transcoding_that_is_not_mapped_among_others_that_are_is_refused_rather_than_guessed():
    names = {"orders@pandas": "sales.orders_pandas", "orders@json": "sales.orders_json"}
    found = merged(["sales.orders_pandas", "sales.orders_json"], names, used=["orders@spark"])
    assert found.governed("orders@spark") is not None
    assert found.refusal_of("orders@spark") == found.entries["orders@spark"].refusal
    assert "is not in this project's catalog under that name" in found.refusal_of("orders@spark")


def test_a_pattern_may_speak_of_transcoding():
    found = merged(["sales.orders_pandas"], {**CATCH_ALL, "{name}@{kind}": "sales.{name}_{kind}"})
    assert found.governed("orders@pandas") == "sales.orders_pandas"


# --- Precedence ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precedence", "choice"),
    [
        ({"sales.*": "local"}, "local"),
        ({"{region}_orders": "local"}, "local"),
        ({"*": "warn", "sales.emea_*": "governed", "sales.*": "local"}, "governed"),
        ({"*": "warn", "emea_orders": "local"}, "local"),
        ({"default": "governed", "hr.*": "local"}, "governed"),
    ],
)
def test_precedence_is_said_of_names_and_patterns_the_most_specific_first(project, service, precedence, choice):
    from kedro_muniment.config import read

    project.configure(service.url, names={"emea_orders": "sales.emea_orders"}, precedence=precedence)
    from kedro.config import OmegaConfigLoader

    loader = OmegaConfigLoader(str(project.path / "conf"), base_env="base", default_run_env="local")
    assert read(loader).precedence_of("emea_orders", "sales.emea_orders") == choice


@pytest.mark.parametrize(("choice", "listed"), [("local", False), ("governed", True), ("error", True)])
def test_a_pattern_of_the_project_is_used_for_a_governed_name_where_precedence_says_so(choice, listed):
    settings = {"governed": ("sales.*",), "precedence": {"sales.emea_orders": choice}}
    found = merged(["sales.emea_orders"], own=["{domain}.emea_{rest}"], used=["sales.emea_orders"], **settings)
    assert ("sales.emea_orders" in found.entries) is listed
    assert found.stands_in("sales.emea_orders") is not listed
    assert (found.governed("sales.emea_orders") is None) is not listed


def test_a_catch_all_of_the_project_is_never_used_for_what_the_service_gives():
    found = merged(["sales.orders"], own=["{anything}"], governed=("sales.*",), default_precedence="local")
    assert found.entry_for("sales.orders").provenance == "service"


def test_an_entry_says_what_of_the_project_gives_way_to_it():
    found = merged(["sales.orders"], {"orders": "sales.orders"}, own=["orders"], default_precedence="governed")
    assert found.instead_of(found.entries["orders"]) == "orders"
    found = merged(["sales.orders", "hr.x"], own=["sales.{kind}", "{any}"], governed=("sales.orders", "hr.x"))
    assert found.instead_of(found.entries["sales.orders"]) == "sales.{kind}"
    assert found.instead_of(found.entries["hr.x"]) is None


def test_what_is_served_is_governed_even_where_the_settings_say_nothing_of_it():
    found = merged(["sales.orders"], governed=("finance.*",), used=["sales.orders"])
    assert found.governed("sales.orders") == "sales.orders"
    assert merged(["sales.orders"], governed=("finance.*",), own=["sales.orders"]).governed("sales.orders") is None


def test_merging_shares_nothing_with_what_kedro_is_given():
    """Kedro writes into the catalog that it is given."""
    found = merged(["sales.orders"], own=["lines"])
    found.catalog()["sales.orders"]["filepath"] = "elsewhere"
    assert found.catalog()["sales.orders"] == CSV == found.entries["sales.orders"].definition


# --- The verdict as it is told -------------------------------------------------------------------


def test_the_verdict_as_json_tells_refusals_notices_ends_and_what_stays_the_projects_own(mapped, service):
    from kedro.framework.project import pipelines

    service.notices["sales.orders"] = "deprecated; use sales.orders_v2"
    service.ends = {"sales.report": "2999-01-01T00:00:00Z"}
    verdict = hooks.of(mapped.context()).ask(pipelines["__default__"])
    assert verdict.as_json() == {
        "allowed": True,
        "subject": "user:ann",
        "environment": "dev",
        "asked": [
            {"action": "load", "dataset": "sales.orders", "name": "orders"},
            {"action": "save", "dataset": "sales.report", "name": "report"},
        ],
        "refusals": [],
        "notices": [{"dataset": "sales.orders", "name": "orders", "notice": "deprecated; use sales.orders_v2"}],
        "ends": [{"dataset": "sales.report", "name": "report", "at": "2999-01-01T00:00:00+00:00"}],
        "own": ["lines"],
        "away": None,
    }
    assert verdict.told().splitlines() == [
        "It may run as user:ann in dev: 2 uses of governed data allowed.",
        "  report (sales.report): your access ends at 2999-01-01 00:00 UTC. What uses it later asks again.",
        "  orders (sales.orders): deprecated; use sales.orders_v2",
    ]


def test_without_the_service_the_lease_says_what_is_deprecated_and_refuses_in_the_same_form(mapped, service):
    from kedro.framework.project import pipelines

    service.notices["sales.orders"] = "deprecated; use sales.orders_v2"
    service.actions["sales.report"] = ["load"]
    mapped.context()
    service.instead = dict.fromkeys(("/v1/leases", "/v1/preflight"), (503, "text/html", "<html>down</html>"))
    governed = hooks.of(mapped.context())
    verdict = governed.ask(pipelines["__default__"])
    assert verdict.away is not None
    assert verdict.as_json()["notices"] == [
        {"dataset": "sales.orders", "name": "orders", "notice": "deprecated; use sales.orders_v2"}
    ]
    (refusal,) = verdict.as_json()["refusals"]
    assert refusal == {
        "action": "save",
        "governed": "sales.report",
        "local": "report",
        "nodes": ("write_report",),
        "reason": "you may load, not save",
        "owner": None,
        "explain": "kedro muniment why sales.report --action save --environment dev",
        "request": None,
        "page": None,
        "similar": None,
    }


def test_what_became_permitted_after_the_catalog_was_fetched_needs_another_start(mapped, service):
    from kedro.framework.project import pipelines

    service.actions["sales.orders"] = []
    definition = service.catalog.pop("sales.orders")
    governed = hooks.of(mapped.context())
    service.serve("sales.orders", definition, "load")
    (refusal,) = governed.ask(pipelines["__default__"]).refusals
    assert "start again" in refusal.reason
    mapped.session().run()


def test_where_the_lease_is_over_nothing_runs_by_it(mapped, service):
    from dataclasses import replace
    from datetime import UTC, datetime

    from kedro.framework.project import pipelines

    governed = hooks.of(mapped.context())
    over = replace(governed, lease=replace(governed.lease, until=datetime(2020, 1, 1, tzinfo=UTC)))
    reasons = {refusal.reason for refusal in over.ask(pipelines["__default__"]).refusals}
    assert reasons == {
        "the lease that gives it ended at 2020-01-01 00:00 UTC; start again (in a notebook: %reload_kedro)"
    }


def test_a_pattern_of_the_project_that_cannot_be_read_is_kedros_to_refuse():
    found = merged(["sales.orders"], own=["{a b}", "x{kind:zzz}", "{x"], used=["sales.orders", "lines"])
    assert found.entry_for("xyz") is None
    assert found.governed("sales.orders") == "sales.orders"
