"""Wherever and however Kedro runs: each selector, generator nodes, loading in threads, notebooks, packaged projects."""

from __future__ import annotations

import json
import shutil

import pytest
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.runner import SequentialRunner, ThreadRunner

from kedro_muniment.entries.guarded import guard_of
from kedro_muniment.problems import RunRefused

PIPELINES = """
from kedro.pipeline import Node, Pipeline, pipeline

def take(orders):
    return {"lines": orders}

def report(lines, day):
    return {"report": lines, "day": day}

def in_chunks(orders):
    for order in orders:
        yield {"order": order}

def confirm(orders):
    return {"confirmed": len(orders)}

def register_pipelines():
    main = Pipeline([
        Node(take, inputs="orders", outputs="lines", name="take_orders", tags=["first"]),
        Node(report, inputs=["lines", "params:threshold"], outputs="report", name="write_report", tags=["last"]),
    ])
    return {
        "__default__": main,
        "spaced": pipeline(main, namespace="emea", inputs="orders", outputs="report", parameters="params:threshold"),
        "chunks": Pipeline([Node(in_chunks, inputs="orders", outputs="report", name="chunks")]),
        "confirming": Pipeline([Node(confirm, inputs="orders", outputs="report", confirms="orders", name="confirm")]),
    }
"""
BOTH = (["sales.orders"], ["sales.report"])
FIRST = (["sales.orders"], [])
LAST = ([], ["sales.report"])


@pytest.fixture
def many(governed):
    governed.write(f"src/{governed.package}/pipeline_registry.py", PIPELINES)
    governed.write("data/lines.json", '{"lines": [7]}')
    return governed


def asked(service):
    body = next(each.body for each in reversed(service.asked) if each.path == "/v1/preflight")
    return body["load"], body["save"]


@pytest.mark.parametrize(
    ("chosen", "needed"),
    [
        ({}, BOTH),
        ({"node_names": ["take_orders"]}, FIRST),
        ({"tags": ["last"]}, LAST),
        ({"from_nodes": ["write_report"]}, LAST),
        ({"to_nodes": ["take_orders"]}, FIRST),
        ({"from_inputs": ["lines"]}, LAST),
        ({"to_outputs": ["lines"]}, FIRST),
        ({"pipeline_name": "spaced", "namespaces": ["emea"]}, BOTH),
        ({"pipeline_name": "chunks"}, BOTH),
    ],
    ids=["all", "nodes", "tags", "from-nodes", "to-nodes", "from-inputs", "to-outputs", "namespaces", "pipeline"],
)
def test_what_a_selector_leaves_is_asked_about_and_runs(many, service, chosen, needed):
    if chosen.get("pipeline_name") == "chunks":
        service.serve("sales.report", {"type": "CachedDataset", "dataset": many.json_at("report")})
    many.session().run(**chosen)
    assert asked(service) == needed
    written = [event["dataset"] for event in service.reported if event["action"] == "save"]
    assert set(written) == set(needed[1])


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner])
def test_a_run_that_loads_and_saves_in_threads_is_governed_there(many, service, runner):
    kwargs = {"is_async": True} if runner is SequentialRunner else {}
    many.session(runtime_params={"threshold": 5}).run(runner=runner(**kwargs))
    told = json.loads((many.path.parent / "lake" / "report.json").read_text())
    assert told == {"report": {"lines": [1, 2]}, "day": 5}
    assert {(event["dataset"], event["action"]) for event in service.reported} == {
        ("sales.orders", "load"), ("sales.report", "save")
    }  # fmt: skip
    assert {event["node"] for event in service.reported} == {"take_orders", "write_report"}


def test_a_load_version_is_chosen_for_a_governed_dataset(many, service):
    lake = many.path.parent / "lake" / "versions.json"
    for version in ("2024-01-01T00.00.00.000Z", "2024-01-02T00.00.00.000Z"):
        (lake / version).mkdir(parents=True)
        (lake / version / "versions.json").write_text(json.dumps([version]))
    service.serve("sales.orders", {"type": "json.JSONDataset", "filepath": str(lake), "versioned": True}, "load")
    many.session().run(load_versions={"orders": "2024-01-01T00.00.00.000Z"})
    told = json.loads((many.path.parent / "lake" / "report.json").read_text())
    assert told["report"]["lines"] == ["2024-01-01T00.00.00.000Z"]
    assert {event.get("version") for event in service.reported if event["action"] == "load"} == {
        "2024-01-01T00.00.00.000Z"
    }


def test_confirming_needs_the_permission_to_save_before_the_run_as_in_it(many, service):
    parts = many.path.parent / "lake" / "parts"
    parts.mkdir()
    (parts / "a").write_text("[1]")
    kind = {"type": "partitions.IncrementalDataset", "path": str(parts), "dataset": "json.JSONDataset"}
    service.serve("sales.orders", kind, "load")
    with pytest.raises(RunRefused, match=r"orders \(sales\.orders\), save"):
        many.session().run(pipeline_name="confirming")
    service.serve("sales.orders", kind)
    many.session().run(pipeline_name="confirming")
    assert (parts / "CHECKPOINT").exists()


def test_a_notebook_that_reloads_into_another_environment_has_that_ones_permissions(many, service):
    many.write("conf/prod/muniment.yml", "default_environment: prod\n")
    first = many.context().catalog
    service.actions["sales.orders"] = ["save"]
    second = many.context(env="prod").catalog
    assert service.asked[-1].query["environment"] == "prod"
    assert first.load("orders") == [1, 2]
    assert guard_of(second["orders"]).terms.environment == "prod"
    with pytest.raises(DatasetError, match="you may save, not load"):
        second.load("orders")


def test_a_packaged_project_runs_governed_far_from_its_sources(many, service, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(many.path / "conf", elsewhere / "conf")
    monkeypatch.syspath_prepend(str(many.path / "src"))
    monkeypatch.chdir(elsewhere)
    configure_project(many.package)
    conf = str(elsewhere / "conf")
    with KedroSession.create(project_path=elsewhere, conf_source=conf, save_on_close=False) as session:
        session.run()
    assert asked(service) == BOTH
    assert json.loads((many.path.parent / "lake" / "report.json").read_text())["report"] == {"lines": [1, 2]}
