"""Names that the service's factory patterns make, in real runs: each asked for by name, and no pattern believed."""

from __future__ import annotations

import json

import pytest
from kedro.io import DatasetError
from kedro.io.core import DatasetNotFoundError

from kedro_muniment.entries.factories import LONGEST_QUESTION
from kedro_muniment.hooks import hooks
from kedro_muniment.problems import RunRefused

RUNNERS = ["SequentialRunner", "ThreadRunner", "ParallelRunner"]
PATTERN = "sales.{region}_orders"


@pytest.fixture
def made(governed, service):
    """The pipeline loads ``sales.emea_orders`` and saves ``sales.emea_report``, which patterns make."""
    lake = governed.path.parent / "lake"
    (lake / "emea_orders.json").write_text("[3]")
    (lake / "apac_orders.json").write_text("[4]")
    service.serve(PATTERN, at(lake, "{region}_orders"), "load")
    service.serve("sales.{region}_report", at(lake, "{region}_report"), "load", "save")
    governed.configure(service.url, governed=["sales.*"])
    governed.nodes("sales.emea_orders", "sales.emea_report")
    return governed


def at(lake, name):
    return {"type": "json.JSONDataset", "filepath": f"{lake}/{name}.json"}


def asked_names(service):
    return [asked.query["names"].split(",") for asked in service.asked if "names" in asked.query]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_pipeline_uses_what_patterns_make_in_every_runner(made, service, runner):
    ran = made.kedro("run", "--runner", runner)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = made.path.parent / "lake" / "emea_report.json"
    assert json.loads(report.read_text()) == {"report": {"lines": [3]}}
    assert service.paths() == ["/v1/leases", "/v1/leases", "/v1/preflight"]
    assert asked_names(service) == [["sales.emea_orders", "sales.emea_report"]]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_denied_name_is_refused_in_every_runner_though_a_pattern_would_make_it(made, service, runner):
    service.denied.add("sales.emea_orders")
    ran = made.kedro("run", "--runner", runner)
    assert ran.returncode == 1
    assert "sales.emea_orders, load: does not exist, or you may not know of it" in ran.stderr
    assert not made.first_node_ran


def test_a_denied_name_is_a_refusal_in_the_catalog_that_a_notebook_has(made, service):
    """No hook fires there. Seen to fail with served patterns taken over: Kedro resolved the name by one."""
    service.gives_patterns = True
    service.denied.add("sales.emea_orders")
    catalog = made.context().catalog
    with pytest.raises(DatasetError, match=r"sales.emea_orders does not exist, or you may not know of it"):
        catalog.load("sales.emea_orders")
    with pytest.raises(DatasetNotFoundError):
        catalog.load("sales.apac_orders")
    assert catalog.exists("sales.emea_report") is False


def test_a_name_that_no_pipeline_uses_is_asked_for_under_names(made, service):
    with pytest.raises(DatasetNotFoundError):
        made.context().catalog.load("sales.apac_orders")
    made.configure(service.url, governed=["sales.*"], names={"apac": "sales.apac_orders"})
    assert made.context().catalog.load("apac") == [4]
    assert asked_names(service)[-1] == ["sales.apac_orders", "sales.emea_orders", "sales.emea_report"]


def test_versions_of_what_a_pattern_makes_are_chosen_on_the_command_line(made, service):
    lake = made.path.parent / "lake"
    service.serve(PATTERN, {**at(lake, "{region}"), "versioned": True}, "load")
    for version, value in (("2026-01-01T00.00.00.000Z", [7]), ("2026-02-01T00.00.00.000Z", [8])):
        file = lake / "emea.json" / version / "emea.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(value))
    ran = made.kedro("run", "--load-versions", "sales.emea_orders:2026-01-01T00.00.00.000Z")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads((lake / "emea_report.json").read_text()) == {"report": {"lines": [7]}}


def test_a_pattern_in_a_lease_is_not_believed(made, service, said):
    """A service that gave one away would give every name that it makes. Said, and left out."""
    service.gives_patterns = True
    service.denied.add("sales.emea_orders")
    with pytest.raises(RunRefused, match=r"sales.emea_orders, load"):
        made.session().run()
    assert [line for line in said if "sales.{region}_orders" in line and "no governed dataset can have" in line]


def test_only_governed_names_that_the_lease_lacks_are_asked_for(made, service):
    made.nodes("orders", "sales.emea_report")
    names = {"orders": "sales.orders"}
    made.configure(service.url, governed=["sales.*"], names=names)
    made.context()
    assert asked_names(service) == [["sales.emea_report"]]
    made.nodes("orders", "own_report")
    made.context()
    assert len(asked_names(service)) == 1


@pytest.mark.parametrize(("choice", "asked"), [("local", False), ("governed", True)])
def test_a_name_that_the_project_defines_is_asked_for_only_if_the_service_wins(made, service, choice, asked):
    made.own(**{"sales.emea_orders": made.json_at("mine", [0])})
    made.configure(service.url, governed=["sales.*"], precedence={"default": choice})
    assert made.context().catalog.load("sales.emea_orders") == ([3] if asked else [0])
    assert ("sales.emea_orders" in asked_names(service)[-1]) is asked


def test_the_domains_of_patterns_are_known_to_a_project_that_does_not_say_what_is_governed(made, service):
    for name in ("sales.orders", "sales.report"):
        del service.catalog[name]
        del service.actions[name]
    made.configure(service.url)
    made.nodes("sales.emea_orders", "sales.other")
    with pytest.raises(RunRefused, match=r"sales.other, save: does not exist, or you may not know of it"):
        made.session().run()


def test_many_names_are_asked_for_in_questions_of_a_bounded_length(made, service):
    names = {f"local_{number}": f"sales.region_number_{number}_orders" for number in range(300)}
    made.configure(service.url, governed=["sales.*"], names=names)
    catalog = made.context().catalog
    assert set(names) <= set(catalog.keys())
    questions = [",".join(names) for names in asked_names(service)]
    assert len(questions) > 1
    assert max(map(len, questions)) <= LONGEST_QUESTION


def test_the_second_answer_is_kept_like_the_first(made, service):
    made.context()
    made.context()
    leases = [asked for asked in service.asked if asked.path == "/v1/leases"]
    assert [asked.status for asked in leases] == [200, 200, 304, 304]


def test_a_project_whose_pipelines_cannot_be_read_is_told_so_and_what_it_has(made, said):
    """Kedro says itself what is wrong there, to whoever asks for pipelines; `kedro muniment list` does not."""
    made.write(f"src/{made.package}/pipeline_registry.py", "raise RuntimeError('half written')")
    context = made.context()
    assert hooks.of(context).merged.entries.keys() >= {"sales.orders", "sales.report"}
    assert [line for line in said if "pipelines cannot be read (half written)" in line]


def test_the_list_tells_patterns_as_what_they_are(made):
    told = json.loads(made.kedro("muniment", "list", "--json").stdout.splitlines()[-1])
    assert told["patterns"] == {PATTERN: ["load"], "sales.{region}_report": ["load", "save"]}
    assert {entry["name"] for entry in told["datasets"]} >= {"sales.emea_orders", "sales.emea_report"}
    shown = made.kedro("muniment", "list").stdout
    assert "sales.{region}_orders: load, each name that it makes for itself" in shown
