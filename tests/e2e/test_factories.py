"""Factory patterns from end to end: a running service, Kedro's runners, and a name that is denied under a pattern."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

PIPELINE = """
from kedro.pipeline import Node, Pipeline


def total(sales):
    return {"total": sum(sales)}


def register_pipelines():
    made = {
        region: Pipeline([Node(total, f"shops.{region}_sales", f"shops.{region}_totals", name=f"total_{region}")])
        for region in ("emea", "apac", "secret")
    }
    return {**made, "__default__": made["emea"] + made["apac"]}
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake") / "shops"
    folder.mkdir()
    for region in ("emea", "apac", "secret"):
        (folder / f"{region}.json").write_text("[1, 2, 3]")
    return folder


@pytest.fixture(scope="module")
def run(
    service: Any, lake: Path, own_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Ann's `kedro run` of a project whose catalog is empty. She may use all of shops but what is tagged `closed`."""
    _declare(service, lake)
    folder = tmp_path_factory.mktemp("project")
    _write_project(folder, service.url)
    env = own_environment(
        XDG_CACHE_HOME=str(tmp_path_factory.mktemp("cache")), COLUMNS="200", MUNIMENT_TOKEN=service.issuer.token("ann")
    )

    def kedro(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kedro", "run", *arguments],
            cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    return kedro


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_pipeline_loads_and_saves_what_patterns_make(run, lake, runner):
    ran = run("--runner", runner)
    assert ran.returncode == 0, ran.stderr
    for region in ("emea", "apac"):
        written = lake / f"{region}-totals.json"
        assert json.loads(written.read_text()) == {"total": 6}
        written.unlink()


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_an_explicit_name_that_is_denied_is_refused_though_a_pattern_would_make_it(run, lake, runner):
    ran = run("--pipelines", "secret", "--runner", runner)
    assert ran.returncode == 1
    assert "shops.secret_sales, load: does not exist, or you may not know of it" in ran.stderr
    assert "total_secret" in ran.stderr
    assert "Running node" not in ran.stdout
    assert not (lake / "secret-totals.json").exists()


def _declare(service: Any, lake: Path) -> None:
    service.make("ada", "environments", "live")
    service.make("ada", "domains", "shops", owner="group:shopkeepers", locations=[f"{lake.as_uri()}/"])
    for leaf, name in (
        ("{region}_sales", "{region}"),
        ("{region}_totals", "{region}-totals"),
        ("secret_sales", "secret"),
    ):
        definition = {"type": "json.JSONDataset", "filepath": f"{lake.as_uri()}/{name}.json"}
        tags = ["closed"] if leaf == "secret_sales" else []
        service.make("ada", "datasets", f"shops.{leaf}", environments={"base": definition}, tags=tags)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    given = {"actions": ["load", "save"], "on": {"domain": "shops"}, "until": until}
    service.make("ada", "grants", "ann-shops", to={"subject": "user:ann"}, **given)
    closed = (
        'forbid (principal == User::"ann", action in [Action::"discover", Action::"load", Action::"save"], '
        'resource is Dataset) when { resource.tags.contains("closed") };'
    )
    service.make("ada", "policies", "closed", cedar=closed, scope="shops")


def _write_project(folder: Path, url: str) -> None:
    package = folder / "src" / "shops_report"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "settings.py").touch()
    (package / "pipeline_registry.py").write_text(PIPELINE)
    (folder / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "shops_report"\nproject_name = "Shops"\nkedro_init_version = "1.0.0"\n'
    )
    (folder / "conf" / "local").mkdir(parents=True)
    (folder / "conf" / "base").mkdir()
    settings = {"url": url, "default_environment": "live", "governed": ["shops.*"]}
    (folder / "conf" / "base" / "muniment.yml").write_text(yaml.safe_dump(settings))
