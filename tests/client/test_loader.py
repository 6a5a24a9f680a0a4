"""The governed catalog where no hook runs, and where there is no Kedro project at all."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, DatasetError

from kedro_muniment import GovernedConfigLoader, muniment_catalog
from kedro_muniment.entries.guarded import guard_of
from kedro_muniment.hooks import hooks
from kedro_muniment.loader import Governing
from kedro_muniment.problems import BadConfig, RunRefused

GOVERNED = """
from kedro_muniment.loader import GovernedConfigLoader
CONFIG_LOADER_CLASS = GovernedConfigLoader
CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}
"""
WITHOUT_HOOKS = GOVERNED + "DISABLE_HOOKS_FOR_PLUGINS = ('kedro-muniment',)\n"


def settings(project, text):
    project.write(f"src/{project.package}/settings.py", text)


def test_a_tool_that_runs_no_hooks_reads_the_governed_catalog(governed, service):
    settings(governed, WITHOUT_HOOKS)
    catalog = governed.context().catalog
    assert service.paths() == ["/v1/leases"]
    assert catalog.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match="you may load, not save"):
        catalog.save("orders", [3])


def test_where_hooks_run_as_well_the_service_is_asked_once_and_the_run_is_asked_about(governed, service):
    settings(governed, GOVERNED)
    session = governed.session()
    context = session.load_context()
    assert hooks.of(context) is context.config_loader.muniment()
    session.run()
    assert service.paths() == ["/v1/leases", "/v1/leases", "/v1/preflight"]
    service.actions["sales.report"] = ["load"]
    with pytest.raises(RunRefused, match=r"report \(sales\.report\), save"):
        governed.session().run()


def test_nothing_is_asked_before_the_catalog_is_read(governed, service):
    loader = GovernedConfigLoader(str(governed.path / "conf"), base_env="base", default_run_env="local")
    assert loader["parameters"] == {"threshold": 1}
    assert service.paths() == []
    assert loader["catalog"]["orders"]["type"] == "json.JSONDataset"
    assert loader["catalog"]["orders"]["filepath"].startswith(str(governed.path.parent))
    assert service.paths() == ["/v1/leases"]


def test_unconfigured_it_is_kedros_own_loader(project):
    project.own(orders=project.json_at("orders", [7]))
    loader = GovernedConfigLoader(str(project.path / "conf"), base_env="base", default_run_env="local")
    plain = OmegaConfigLoader(str(project.path / "conf"), base_env="base", default_run_env="local")
    assert loader["catalog"] == plain["catalog"]
    assert loader.muniment() is None


def test_a_projects_own_loader_governs_with_governing_before_it(governed):
    class Own(OmegaConfigLoader):
        def __getitem__(self, key):
            return {**super().__getitem__(key), "from_their_loader": {"type": "MemoryDataset"}}

    class Loader(Governing, Own):
        pass

    catalog = Loader(str(governed.path / "conf"), base_env="base", default_run_env="local")["catalog"]
    assert guard_of(DataCatalog.from_config(catalog)["orders"]) is not None
    assert "from_their_loader" in catalog


def test_kedros_inspection_sees_the_governed_catalog_with_its_real_types(governed):
    snapshots = pytest.importorskip("kedro.inspection", reason="not in the first Kedro 1")
    settings(governed, WITHOUT_HOOKS)
    governed.session()
    told = snapshots.get_project_snapshot(governed.path)
    assert {name: each.type for name, each in told.datasets.items()} == {
        "lines": "json.JSONDataset", "orders": "json.JSONDataset", "report": "json.JSONDataset"
    }  # fmt: skip


@pytest.fixture
def nowhere(project, tmp_path, monkeypatch):
    """A directory that is no project, with Ann signed in."""
    place = tmp_path / "nowhere"
    place.mkdir()
    monkeypatch.chdir(place)
    return project


def test_without_a_project_the_catalog_is_one_call(nowhere, service):
    service.serve("sales.orders", nowhere.json_at("orders", [1, 2]), "load")
    catalog = muniment_catalog(environment="prod", url=service.url, project="churn", purpose="forecast")
    assert catalog.load("sales.orders") == [1, 2]
    asked = service.asked[0].query
    assert (asked["environment"], asked["project"], asked["purpose"]) == ("prod", "churn", "forecast")
    with pytest.raises(DatasetError, match=r"sales\.orders: you may load, not save"):
        catalog.save("sales.orders", [])


def test_its_names_types_parameters_and_credentials_are_said_as_in_a_project(nowhere, service, monkeypatch):
    monkeypatch.setenv("MUNIMENT_URL", service.url)
    monkeypatch.setenv("LAKE_USE_LISTINGS_CACHE", "")
    lake = nowhere.json_at("emea", [3])["filepath"].removesuffix("emea.json")
    made = {"type": "json.JSONDataset", "filepath": f"{lake}{{region}}.json", "credentials": "lake"}
    service.serve("sales.{region}_orders", made, "load")
    service.serve("sales.model", {"type": "pickle.PickleDataset", "filepath": f"{lake}model.pkl"})
    service.serve("sales.own", {"type": "pathlib.Path"})
    service.serve("sales.day", {"type": "MemoryDataset", "data": "${runtime_params:day, monday}"}, "load")
    catalog = muniment_catalog(
        "dev", names={"orders": "sales.emea_orders"}, datasets=["sales.apac_orders"],
        runtime_params={"day": "friday"}, credentials={"lake": {"environment": "LAKE_"}},
        allow_code_formats=["pickle.PickleDataset"],
    )  # fmt: skip
    assert catalog.load("orders") == [3]
    assert catalog.load("sales.day") == "friday"
    assert catalog["sales.model"]
    assert "sales.apac_orders" in catalog
    with pytest.raises(DatasetError, match=r"the type pathlib\.Path is not one that this project allows"):
        catalog.load("sales.own")


def test_it_says_what_is_missing_in_a_sentence(nowhere):
    with pytest.raises(BadConfig, match=r"muniment_catalog\(…, url=…\), or set MUNIMENT_URL"):
        muniment_catalog("dev")
    with pytest.raises(BadConfig, match=r"`names:` in muniment_catalog\(…\) must be a mapping"):
        muniment_catalog("dev", url="https://muniment.example.org", names={"a": 1})


def test_what_is_used_without_a_project_is_reported_when_the_process_ends(nowhere, service):
    service.serve("sales.orders", nowhere.json_at("orders", [1, 2]), "load")
    code = f"""
        from kedro_muniment import muniment_catalog
        print(muniment_catalog("dev", url={service.url!r}).load("sales.orders"))
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", dedent(code)],
        env=nowhere.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("[1, 2]\n")
    (event,) = service.reported
    assert (event["dataset"], event["action"], event["outcome"]) == ("sales.orders", "load", "done")
    assert "run" not in event
