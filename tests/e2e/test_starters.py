"""A project is started at a real service and runs at once: over governed data, and its own tests without any."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

DATASETS = {
    "garden.roses": {"type": "pandas.CSVDataset", "filepath": "roses.csv"},
    "garden.tools": {"type": "json.JSONDataset", "filepath": "tools.json"},
    "garden.secrets": {"type": "pickle.PickleDataset", "filepath": "secrets.pkl"},
}


@pytest.fixture(scope="module")
def garden(service, tmp_path_factory) -> None:
    """Datasets that Ann may load, and one that she may save."""
    lake = tmp_path_factory.mktemp("garden")
    (lake / "roses.csv").write_text("name,colour\nAnn,red\nSam,white\n")
    (lake / "tools.json").write_text('["spade", "rake", "hoe"]')
    for name in ("gardening",):
        if service.ask("ada", "GET", f"/v1/environments/{name}").status_code == 404:
            service.make("ada", "environments", name)
    service.make("ada", "groups", "gardeners", members=["user:sam"])
    service.make("ada", "domains", "garden", owner="group:gardeners", locations=[f"{lake.as_uri()}/"])
    means = {"actions": ["declare", "discover", "grant", "load", "save"], "on": {"domain": "garden"}}
    service.make("ada", "grants", "sam-gardens", to={"subject": "user:sam"}, because="a test", **means)
    for name, definition in DATASETS.items():
        placed = {**definition, "filepath": f"{lake.as_uri()}/{definition['filepath']}"}
        service.make("sam", "datasets", name, environments={"base": placed})
    given = {
        "actions": ["load"],
        "on": {"domain": "garden"},
        "until": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }
    service.make("sam", "grants", "ann-gardens", to={"subject": "user:ann"}, **given)


def test_a_project_is_started_runs_on_what_is_ones_own_and_passes_its_tests(
    service, garden, own_environment, tmp_path
) -> None:
    cache = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    signed_in = own_environment(MUNIMENT_TOKEN=service.issuer.token("ann"), COLUMNS="200", **cache)

    def ran(folder: Path, *command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    names = ",".join(DATASETS)
    new = ["kedro", "muniment", "new", "Rose report", "--url", service.url, "--environment", "gardening"]
    ran(tmp_path, *new, "--datasets", names, "--tools", "lint,test,log,docs,data", env=signed_in)
    folder = tmp_path / "rose-report"
    ran(folder, "kedro", "run", env=signed_in)
    seen = json.loads((folder / "data" / "08_reporting" / "overview.json").read_text())["datasets"]
    assert seen == {
        "roses": {"kind": "DataFrame", "rows": 2, "columns": ["name", "colour"]},
        "tools": {"kind": "list", "rows": 3, "columns": []},
    }
    assert yaml.safe_load((folder / "conf" / "base" / "muniment.yml").read_text())["names"].keys() == {
        "roses", "tools", "secrets",
    }  # fmt: skip
    ran(folder, "pytest", "-q", "-p", "no:cacheprovider", env=own_environment(**cache))
    (row,) = service.get("ann", "/v1/ledger", subject="user:ann", event="project.started")["items"]
    assert row["datasets"] == sorted(DATASETS)
    used = service.get("ann", "/v1/ledger", subject="user:ann", event="use.reported", project="rose-report")["items"]
    assert {tuple(each["datasets"]) for each in used} == {("garden.roses",), ("garden.tools",)}
