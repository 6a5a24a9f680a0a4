"""Beside the plugins that it meets most: kedro-viz and kedro-mlflow, which `./dev matrix` installs."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest

from kedro_muniment.entries.guarded import guard_of
from kedro_muniment.problems import RunRefused

#: What other people's packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

GOVERNED = """
from kedro_muniment.loader import GovernedConfigLoader
CONFIG_LOADER_CLASS = GovernedConfigLoader
CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}
"""


@pytest.fixture(autouse=True)
def _where_mlflow_keeps_things(governed, monkeypatch):
    """In the project, and no run of it is left open. Without kedro-mlflow nobody reads this."""
    place = f"sqlite:///{(governed.path / 'mlflow.db').as_posix()}"
    settings = {"server": {"mlflow_tracking_uri": place}, "tracking": {"experiment": {"name": "governed"}}}
    governed.write("conf/base/mlflow.yml", governed.yaml(settings))
    monkeypatch.chdir(governed.path)
    yield
    while (mlflow := sys.modules.get("mlflow")) is not None and mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def tabled(governed, service):
    """The orders are a table that has a preview, and the report one that may only be saved."""
    lake = governed.path.parent / "lake"
    pd.DataFrame({"n": [1, 2]}).to_csv(lake / "orders.csv", index=False)
    pd.DataFrame({"n": [3]}).to_csv(lake / "report.csv", index=False)
    service.serve("sales.orders", {"type": "pandas.CSVDataset", "filepath": str(lake / "orders.csv")}, "load")
    service.serve("sales.report", {"type": "pandas.CSVDataset", "filepath": str(lake / "report.csv")}, "save")
    return governed


@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "with the loader"])
def test_kedro_viz_shows_the_governed_catalog_and_previews_what_may_be_loaded(tabled, hooks):
    loading = pytest.importorskip("kedro_viz.integrations.kedro.data_loader", reason="kedro-viz is not installed")
    from kedro_viz.data_access import data_access_manager
    from kedro_viz.models.flowchart.node_metadata import DataNodeMetadata
    from kedro_viz.server import populate_data

    if not hooks:
        tabled.write(f"src/{tabled.package}/settings.py", GOVERNED)
    tabled.session()
    catalog, pipelines, extras = loading.load_data(tabled.path, include_hooks=hooks)
    data_access_manager.reset_fields()
    populate_data(data_access_manager, catalog, pipelines, extras)
    shown = {node.name: node for node in data_access_manager.nodes.as_list() if node.type == "data"}
    for name in ("orders", "report"):
        assert shown[name].dataset_type == "pandas.csv_dataset.CSVDataset"
        assert guard_of(shown[name].kedro_obj) is not None
    orders, report = (DataNodeMetadata(data_node=shown[name]) for name in ("orders", "report"))
    assert orders.preview["data"] == [[1], [2]]
    assert orders.preview_type == "TablePreview"
    assert report.preview is None
    assert orders.filepath == str(tabled.path.parent / "lake" / "orders.csv")


def test_kedro_viz_builds_a_static_site_from_it(tabled, tmp_path):
    pytest.importorskip("kedro_viz", reason="kedro-viz is not installed")
    ran = tabled.kedro("viz", "build", "--include-hooks", MPLCONFIGDIR=str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    main = json.loads((tabled.path / "build" / "api" / "main").read_text())
    assert {"orders", "report"} <= {node["name"] for node in main["nodes"]}
    assert "muniment" not in json.dumps(main)


@pytest.fixture
def tracked(governed):
    pytest.importorskip("kedro_mlflow", reason="kedro-mlflow is not installed")
    return governed


def test_kedro_mlflow_tracks_a_governed_run(tracked):
    import mlflow

    tracked.session().run()
    assert json.loads((tracked.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}
    found = mlflow.search_runs(experiment_names=["governed"])
    assert list(found["status"]) == ["FINISHED"]


def test_kedro_mlflow_stands_aside_where_a_run_is_refused(tracked, service):
    service.actions["sales.report"] = ["load"]
    with pytest.raises(RunRefused, match=r"report \(sales\.report\), save"):
        tracked.session().run()
    assert not tracked.first_node_ran


def test_what_kedro_mlflow_wraps_is_governed_in_its_wrapping(tracked, service):
    import mlflow

    kind = "kedro_mlflow.io.artifacts.MlflowArtifactDataset"
    service.serve("sales.report", {"type": kind, "dataset": tracked.json_at("report")})
    names = {"orders": "sales.orders", "report": "sales.report"}
    tracked.configure(service.url, names=names, governed=["sales.*"], types=[kind])
    tracked.session().run()
    (run,) = mlflow.search_runs(experiment_names=["governed"], output_format="list")
    assert [each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["report.json"]
    service.actions["sales.report"] = ["save"]
    with pytest.raises(RunRefused, match=r"report \(sales\.report\): you may save, not load"):
        tracked.context().catalog["report"].load()
