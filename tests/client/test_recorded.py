"""A governed catalog from a file: a project's own tests run without a service, and are refused what a run would be."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kedro.io import DatasetError

from kedro_muniment.command_line.commands import commands
from kedro_muniment.leases import recorded
from kedro_muniment.problems import BadConfig, RunRefused
from kedro_muniment.sign_in import jobs
from kedro_muniment.use import reporting, spool

pytest_plugins = ["pytester", "kedro_muniment.testing"]

#: Nobody answers there: whoever asked it would fail.
NOWHERE = "https://muniment.invalid"


@pytest.fixture
def small(project):
    """A project that maps its names to governed ones, of a service that is nowhere."""
    project.configure(
        NOWHERE, names={"orders": "sales.orders", "report": "sales.report"}, governed=["sales.*", "finance.*"]
    )
    return project


@pytest.fixture
def entries(small):
    """What such a file gives: Ann's orders, and the report that the pipeline writes."""
    return {"sales.orders": small.json_at("orders", [1, 2]), "sales.report": small.json_at("report")}


def test_a_project_runs_from_a_recorded_catalog_and_each_start_says_so(small, entries, recorded_catalog, said):
    file = recorded_catalog(entries, actions={"sales.orders": ["load"]})
    with small.session() as session:
        session.run()
    assert json.loads((small.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}
    assert f"WARNING No service was asked: the governed catalog comes from {file}" in "\n".join(said)
    assert "INFO 2 governed datasets (1 read-only) as nobody (no service was asked), env dev" in "\n".join(said)


def test_nothing_of_it_is_reported_as_used(small, entries, recorded_catalog):
    recorded_catalog(entries)
    small.session().run()
    assert small.first_node_ran
    assert not [each for each in spool.waiting() if not each.recipient.url.startswith("http")]
    assert all(spool.own.is_empty(recipient) for recipient in reporting._services if recipient.url.endswith(".yml"))


def test_what_the_file_does_not_give_is_refused_before_the_first_node(small, entries, recorded_catalog):
    recorded_catalog(entries, actions={"sales.report": ["load"]})
    small.nodes("finance.targets", "report")
    with pytest.raises(RunRefused) as refused:
        small.session().run()
    assert "finance.targets, load: does not exist, or you may not know of it" in str(refused.value)
    assert "report (sales.report), save: the recorded catalog lets you load it" in str(refused.value)
    assert not small.first_node_ran


def test_read_only_holds_in_a_notebook_too(small, entries, recorded_catalog):
    recorded_catalog(entries, actions={"sales.orders": ["load"]})
    catalog = small.context().catalog
    assert catalog.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match=r"orders \(sales.orders\): you may load, not save"):
        catalog.save("orders", [3])


def test_the_projects_list_of_allowed_types_holds_for_it(small, entries, recorded_catalog):
    recorded_catalog({**entries, "sales.orders": {"type": "pickle.PickleDataset", "filepath": "/lake/orders.pkl"}})
    with pytest.raises(RunRefused, match=r"allow_code_formats"):
        small.session().run()


def test_a_relative_path_is_the_projects(small, entries, recorded_catalog):
    small.write("tests/orders.json", "[7]")
    recorded_catalog({**entries, "sales.orders": {"type": "json.JSONDataset", "filepath": "tests/orders.json"}})
    assert small.context().catalog.load("orders") == [7]


def test_a_pattern_gives_each_name_that_the_project_uses(small, entries, recorded_catalog):
    small.configure(NOWHERE, names={"orders": "sales.emea_orders", "report": "sales.report"}, governed=["sales.*"])
    small.json_at("emea", [3])
    pattern = {"type": "json.JSONDataset", "filepath": str(small.path.parent / "lake" / "{region}.json")}
    recorded_catalog({"sales.report": entries["sales.report"], "sales.{region}_orders": pattern})
    small.session().run()
    assert json.loads((small.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [3]}}


def test_deprecated_names_say_by_what_to_replace_them(small, entries, recorded_catalog, said):
    recorded_catalog(entries, notices={"sales.orders": "deprecated; use sales.order_lines"})
    small.session().run()
    assert "WARNING orders (sales.orders): deprecated; use sales.order_lines" in said


def test_beside_a_credential_it_is_refused(small, entries, recorded_catalog, monkeypatch):
    recorded_catalog(entries)
    monkeypatch.setenv("MUNIMENT_KEY", "mun_never-to-be-seen")
    with pytest.raises(BadConfig, match=r"and MUNIMENT_KEY names a credential for a service") as refused:
        small.context()
    assert "never-to-be-seen" not in str(refused.value)


def test_a_recording_of_another_environment_is_refused(small, entries, recorded_catalog):
    recorded_catalog(entries, environment="prod")
    with pytest.raises(BadConfig, match=r"was recorded in prod, and this is dev"):
        small.context()


def test_it_does_nothing_in_a_project_without_settings(project, recorded_catalog):
    recorded_catalog("nowhere.yml")
    project.own(orders=project.json_at("orders", [7]), report=project.json_at("report"))
    project.session().run()
    assert project.first_node_ran


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "line 1 is not YAML"),
        ("[]", "must hold a mapping"),
        ("orders: {type: json.JSONDataset}", "'orders' is no governed name"),
        ("sales.orders: 7", "sales.orders must be a mapping"),
        ("sales.orders: {type: a.B, credentials: {password: x}}", "holds no secret"),
        ("_muniment: {action: {}}", "unknown keys: action"),
        ("_muniment: {actions: {sales.ordres: [load]}}", "names sales.ordres, which the file does not define"),
        ("{_muniment: {actions: {sales.a: [own]}}, sales.a: {type: a.B}}", "must be a list of load and save"),
        ("{_muniment: {ends: {sales.a: soon}}, sales.a: {type: a.B}}", "Invalid isoformat string"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_its_name(tmp_path, text, why):
    file = tmp_path / "catalog.yml"
    file.write_text(text)
    with pytest.raises(BadConfig) as refused:
        recorded.read(file, tmp_path)
    assert str(file) in str(refused.value)
    assert why in str(refused.value)


def test_a_file_that_is_not_there_is_refused_in_words(small, recorded_catalog):
    recorded_catalog(small.path / "nowhere.yml")
    with pytest.raises(BadConfig, match=r"nowhere.yml cannot be read \(No such file or directory\)"):
        small.context()


# --- by the commands -----------------------------------------------------------------------------


def run(small, monkeypatch, *arguments, **env):
    monkeypatch.chdir(small.path)
    return CliRunner().invoke(commands, ["muniment", *arguments], env=env)


def test_check_and_list_take_a_file_beside_a_credential_too(small, entries, monkeypatch):
    assert os.environ["MUNIMENT_TOKEN"]
    small.write("tests/catalog.yml", small.yaml(entries))
    fine = run(small, monkeypatch, "check", "--catalog-from", "tests/catalog.yml", "--json")
    assert fine.exit_code == 0, fine.output
    assert json.loads(fine.stdout.splitlines()[-1])["allowed"] is True
    assert (
        "orders (sales.orders): load and save"
        in run(small, monkeypatch, "list", "--catalog-from", "tests/catalog.yml").stdout
    )
    small.write("tests/catalog.yml", small.yaml({"sales.orders": entries["sales.orders"]}))
    assert run(small, monkeypatch, "check", "--catalog-from", "tests/catalog.yml").exit_code == 1


def test_what_is_recorded_runs_without_the_service_as_it_ran_with_it(governed, service, monkeypatch):
    service.serve("sales.unused", governed.json_at("unused", []), "load")
    made = run(governed, monkeypatch, "record", "tests/catalog.yml", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout.splitlines()[-1])["datasets"] == ["sales.orders", "sales.report"]
    text = (governed.path / "tests" / "catalog.yml").read_text()
    assert "never-to-be-seen" not in text
    assert yaml.safe_load(text)["_muniment"]["actions"] == {"sales.orders": ["load"], "sales.report": ["load", "save"]}
    before = governed.context().catalog.to_config()
    asked = len(service.asked)
    monkeypatch.delenv("MUNIMENT_TOKEN")
    monkeypatch.setenv("MUNIMENT_CATALOG_FROM", "tests/catalog.yml")
    catalog = governed.context().catalog
    assert {name: catalog.to_config()[0][name] for name in ("orders", "report")} == {
        name: before[0][name] for name in ("orders", "report")
    }
    governed.session().run()
    assert governed.first_node_ran
    assert len(service.asked) == asked


def test_a_pattern_of_names_records_no_more_than_is_used(governed, service, monkeypatch):
    service.serve("sales.unused", governed.json_at("unused", []), "load")
    governed.configure(service.url, names={"{name}": "sales.{name}"}, governed=["sales.*", "!lines"])
    assert run(governed, monkeypatch, "record", "tests/catalog.yml").exit_code == 0
    text = (governed.path / "tests" / "catalog.yml").read_text()
    assert [name for name in yaml.safe_load(text) if name != "_muniment"] == ["sales.orders", "sales.report"]


def test_files_of_a_recording_can_lie_in_the_project(governed, service, monkeypatch):
    service.serve("sales.orders", {**governed.json_at("orders"), "credentials": "lake"}, "load")
    assert run(governed, monkeypatch, "record", "tests/catalog.yml", "--data", "tests/data").exit_code == 0
    held = yaml.safe_load((governed.path / "tests" / "catalog.yml").read_text())["sales.orders"]
    assert held == {"type": "json.JSONDataset", "filepath": "tests/data/sales.orders.json"}


def test_a_recording_is_written_again_and_a_file_by_hand_is_not(governed, monkeypatch):
    assert run(governed, monkeypatch, "record", "tests/catalog.yml", "--all").exit_code == 0
    assert run(governed, monkeypatch, "record", "tests/catalog.yml").exit_code == 0
    (governed.path / "tests" / "catalog.yml").write_text("sales.orders: {type: json.JSONDataset}\n")
    refused = run(governed, monkeypatch, "record", "tests/catalog.yml")
    assert refused.exit_code == 5
    assert "was not written by `kedro muniment record`" in refused.output
    assert run(governed, monkeypatch, "record", "tests/catalog.yml", "--force").exit_code == 0


# --- as a plugin of pytest -----------------------------------------------------------------------


def test_pytest_takes_a_file_for_all_tests_and_undoes_it(pytester, monkeypatch):
    monkeypatch.setenv("MUNIMENT_TOKEN", "never-to-be-seen")
    pytester.makepyfile(
        """
        import os
        def test_it():
            assert os.environ["MUNIMENT_CATALOG_FROM"].endswith("/tests/catalog.yml")
            assert "MUNIMENT_TOKEN" not in os.environ
        """
    )
    ran = pytester.inline_run("-p", "kedro_muniment.testing", "--muniment-catalog-from", "tests/catalog.yml")
    ran.assertoutcome(passed=1)
    pytester.makeini("[pytest]\nmuniment_catalog_from = tests/catalog.yml")
    pytester.inline_run("-p", "kedro_muniment.testing").assertoutcome(passed=1)
    assert "MUNIMENT_CATALOG_FROM" not in os.environ
    assert os.environ["MUNIMENT_TOKEN"] == "never-to-be-seen"


def test_the_plugin_costs_nothing_where_it_is_not_used(project):
    from kedro_muniment import testing

    ran = project.python(
        """
        import sys, kedro_muniment.testing
        late = ("kedro", "yaml", "click", "kedro_muniment.leases.recorded")
        print("LOADED", [name for name in late if name in sys.modules])
        """
    )
    assert "LOADED []" in ran.stdout, ran.stdout + ran.stderr
    told = tomllib.loads((Path(__file__).parents[2] / "client" / "pyproject.toml").read_text())
    # Under its own name, so that `-p kedro_muniment.testing` finds the one that is there already.
    assert told["project"]["entry-points"]["pytest11"] == {"kedro_muniment.testing": "kedro_muniment.testing"}
    assert {*testing.CREDENTIALS} == {*jobs.CREDENTIALS}
