"""A run asks for what its pipelines need, where the project says so, and is refused what it would be refused anyway.

Seen to fail with the names of patterns not asked for, with everything asked for, with the names that were asked for
last forgotten, and with `governed:` not looked at.
"""

from __future__ import annotations

import json
from contextlib import contextmanager

import click
import pytest
from kedro.io.core import DatasetNotFoundError

from kedro_muniment.entries.needed import MANY, MOST_NAMES
from kedro_muniment.problems import BadConfig, RunRefused

NAMES = {"orders": "sales.orders", "report": "sales.report"}


@contextmanager
def as_command(*names):
    """What the code of a block runs in: a command of click's, as Kedro's are."""
    context = None
    for name in names:
        context = click.Context(click.Command(name), parent=context, info_name=name)
    with context:
        yield


def run(project):
    with as_command("kedro", "run"):
        return project.session().run()


@pytest.fixture
def needing(governed, service):
    """Ann may use hundreds of datasets, of which the pipeline uses two and what a pattern makes."""
    for number in range(200):
        service.serve(f"sales.table_{number}", governed.json_at(f"table_{number}"), "load")
    governed.configure(service.url, names=NAMES, governed=["sales.*"], fetch="needed")
    return governed


def asked(service):
    """The names of each question for a lease; nothing where it was for everything."""
    return [each.query.get("names") for each in service.asked if each.path == "/v1/leases"]


def away(service):
    for path in ("/v1/leases", "/v1/preflight"):
        service.instead[path] = (503, "text/plain", "")


def test_a_run_asks_for_the_names_that_its_pipelines_and_its_settings_name(needing, service):
    run(needing)
    assert asked(service) == ["sales.orders,sales.report"]
    assert needing.first_node_ran
    report = needing.path.parent / "lake" / "report.json"
    assert json.loads(report.read_text()) == {"report": {"lines": [1, 2]}}


def test_kedro_run_asks_for_less_and_every_other_command_for_everything(needing, service):
    ran = needing.kedro("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert asked(service) == ["sales.orders,sales.report"]
    listed = needing.kedro("muniment", "show", "sales.table_199")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert asked(service)[1:] == [None]
    assert "sales.table_199" in listed.stdout


@pytest.mark.parametrize("command", [("kedro", "viz", "run"), ("kedro", "catalog"), ("kedro", "jupyter")])
def test_another_command_has_everything(needing, service, command):
    with as_command(*command):
        catalog = needing.context().catalog
    assert asked(service) == [None]
    assert "sales.table_7" in catalog


def test_a_notebook_and_a_script_have_everything(needing, service):
    assert "sales.table_7" in needing.context().catalog
    needing.session().run()
    assert asked(service) == [None, None]


def test_a_packaged_projects_own_command_asks_for_less(needing, service):
    with as_command("run"):
        needing.session().run()
    assert asked(service) == ["sales.orders,sales.report"]


def test_what_is_asked_for_is_each_name_that_a_name_of_the_project_can_mean(needing, service):
    needing.nodes("sales.emea_orders", "emea_report")
    names = {"{name}_report": "sales.{name}_report", "apac": "sales.apac_orders"}
    service.serve("sales.{region}_orders", needing.json_at("{region}_orders"), "load")
    needing.json_at("emea_orders", [3])
    needing.own(emea_report=needing.json_at("own"))
    needing.configure(service.url, names=names, governed=["sales.*_orders"], fetch="needed")
    run(needing)
    assert asked(service) == ["sales.apac_orders,sales.emea_orders,sales.emea_report"]
    assert json.loads((needing.path.parent / "lake" / "own.json").read_text()) == {"report": {"lines": [3]}}


def test_a_governed_name_that_is_not_given_is_refused_as_ever(needing, service):
    needing.nodes("sales.secret", "sales.hidden")
    with pytest.raises(RunRefused) as few:
        run(needing)
    needing.configure(service.url, names=NAMES, governed=["sales.*"])
    with pytest.raises(RunRefused) as all_:
        run(needing)
    assert asked(service) == ["sales.hidden,sales.orders,sales.report,sales.secret", None, "sales.hidden,sales.secret"]
    assert str(few.value) == str(all_.value)
    assert not needing.first_node_ran


def test_without_a_word_on_what_is_governed_everything_is_asked_for(needing, service):
    needing.configure(service.url, names=NAMES, fetch="needed")
    run(needing)
    assert asked(service) == [None]


def test_very_many_names_are_asked_for_as_everything(needing, service):
    many = {f"local_{number}": f"sales.table_{number}" for number in range(MOST_NAMES)}
    needing.configure(service.url, names={**NAMES, **many}, governed=["sales.*"], fetch="needed")
    run(needing)
    assert asked(service)[0] is None


def test_a_run_without_the_service_goes_on_from_what_was_given_for_its_names(needing, service, said):
    run(needing)
    away(service)
    run(needing)
    assert len([line for line in said if "goes on from the lease that was given" in line]) == 1


def test_a_run_of_other_names_without_the_service_is_refused_those_alone(needing, service):
    run(needing)
    needing.nodes("orders", "sales.table_1")
    away(service)
    with pytest.raises(RunRefused) as refused:
        run(needing)
    assert "sales.table_1, save" in str(refused.value)
    assert "sales.orders" not in str(refused.value)
    needing.nodes("orders", "report")
    run(needing)


def test_a_run_without_the_service_takes_what_a_notebook_was_given(needing, service):
    needing.context()
    away(service)
    run(needing)
    assert needing.first_node_ran


def test_a_recorded_catalog_is_taken_whole(needing, service, monkeypatch):
    recorded = {name: service.catalog[name] for name in ("sales.orders", "sales.report", "sales.table_3")}
    needing.write("tests/catalog.yml", needing.yaml(recorded))
    monkeypatch.setenv("MUNIMENT_CATALOG_FROM", "tests/catalog.yml")
    monkeypatch.delenv("MUNIMENT_TOKEN")
    with as_command("kedro", "run"):
        assert "sales.table_3" in needing.context().catalog
        needing.session().run()
    assert service.asked == []


def test_what_no_pipeline_uses_is_not_in_the_catalog_of_a_run(needing):
    with as_command("kedro", "run"), pytest.raises(DatasetNotFoundError):
        needing.context().catalog.load("sales.table_1")


def test_a_run_that_uses_little_of_much_is_told_how_to_ask_for_less(needing, service, said):
    for number in range(200, MANY + 1):
        service.serve(f"sales.table_{number}", service.catalog["sales.table_0"], "load")
    needing.configure(service.url, names=NAMES, governed=["sales.*"])
    run(needing)
    needing.configure(service.url, names=NAMES, governed=["sales.*"], fetch="all")
    run(needing)
    assert len([line for line in said if "`fetch: needed`" in line]) == 1


def test_another_word_for_it_is_refused(needing, service):
    needing.configure(service.url, names=NAMES, governed=["sales.*"], fetch="some")
    with pytest.raises(BadConfig, match="one of all, needed"):
        needing.context()
