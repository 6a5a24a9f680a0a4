"""Real input that nobody here wrote: the data and the catalog of Kedro's own starter, governed and as it is.

The same pipeline runs with the starter's ``catalog.yml``, and with an empty one whose entries Muniment
serves. Whatever it writes must be the same, with each of Kedro's runners.
"""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

STARTER = Path(__file__).parents[3] / "shared" / "projects" / "spaceflights"

pytestmark = pytest.mark.skipif(
    not STARTER.is_dir(), reason="Kedro's spaceflights starter is not beside the checkout (../shared/projects)"
)

TABLES = ("preprocessed_companies", "preprocessed_shuttles", "model_input_table")

PIPELINE = '''
"""Companies, shuttles and their reviews: put in order, joined, and a price learned from them."""

import pandas as pd
from kedro.pipeline import Node, Pipeline
from sklearn.linear_model import LinearRegression


def tidy_companies(companies):
    rating = pd.to_numeric(companies["company_rating"].str.removesuffix("%")) / 100
    return companies.assign(company_rating=rating, iata_approved=companies["iata_approved"] == "t")


def tidy_shuttles(shuttles):
    price = pd.to_numeric(shuttles["price"].str.replace("[$,]", "", regex=True))
    checks = {name: shuttles[name] == "t" for name in ("d_check_complete", "moon_clearance_complete")}
    return shuttles.assign(price=price, **checks)


def join(companies, shuttles, reviews):
    rated = shuttles.merge(reviews, left_on="id", right_on="shuttle_id").drop(columns="id")
    return rated.merge(companies, left_on="company_id", right_on="id").drop(columns="id").dropna()


def split(table, options):
    held_out = table.sample(frac=options["test_size"], random_state=options["random_state"])
    return table.drop(index=held_out.index)


def learn(training, options):
    return LinearRegression().fit(training[options["features"]].astype(float), training["price"])


def register_pipelines():
    return {
        "__default__": Pipeline(
            [
                Node(tidy_companies, "companies", "preprocessed_companies"),
                Node(tidy_shuttles, "shuttles", "preprocessed_shuttles"),
                Node(join, ["preprocessed_companies", "preprocessed_shuttles", "reviews"], "model_input_table"),
                Node(split, ["model_input_table", "params:model_options"], "training"),
                Node(learn, ["training", "params:model_options"], "regressor"),
            ]
        )
    }
'''


@dataclass(frozen=True)
class Project:
    """A Kedro project on disk, and the folder in which its data lies."""

    folder: Path
    data: Path

    def run(self, runner: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kedro", "run", "--runner", runner],
            cwd=self.folder, env=env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def table(self, name: str) -> pd.DataFrame:
        (file,) = self.data.glob(f"*/{name}.parquet")
        return pd.read_parquet(file)

    def coefficients(self) -> list[float]:
        """What the one model that was written has learned."""
        (file,) = self.data.glob("06_models/regressor.pickle/*/regressor.pickle")
        return list(pickle.loads(file.read_bytes()).coef_)  # noqa: S301 - written by the run just before

    def forget_results(self) -> None:
        for folder in self.data.iterdir():
            if folder.name != "01_raw":
                shutil.rmtree(folder)


@pytest.fixture(scope="module")
def entries() -> dict[str, dict[str, Any]]:
    """The starter's own catalog."""
    return yaml.safe_load((STARTER / "conf" / "base" / "catalog.yml").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory, environment_of) -> Project:
    """The project with its own catalog and its own copy of the data, run without Muniment."""
    folder = tmp_path_factory.mktemp("alone")
    _write_project(folder)
    shutil.copy(STARTER / "conf" / "base" / "catalog.yml", folder / "conf" / "base")
    shutil.copytree(STARTER / "data", folder / "data")
    project = Project(folder, folder / "data")
    ran = project.run("SequentialRunner", environment_of(None))
    assert ran.returncode == 0, ran.stderr
    return project


@pytest.fixture(scope="module")
def governed(tmp_path_factory, service, entries) -> Project:
    """The project with an empty catalog; its entries are declared in the service, its data lies in the lake."""
    lake = tmp_path_factory.mktemp("lake") / "spaceflights"
    shutil.copytree(STARTER / "data", lake)
    _declare(service, entries, lake)
    folder = tmp_path_factory.mktemp("governed")
    _write_project(folder)
    settings = {
        "url": service.url,
        "default_environment": "prod",
        "names": {name: f"spaceflights.{name}" for name in entries},
        "allow_code_formats": ["pickle.PickleDataset"],
    }
    (folder / "conf" / "base" / "muniment.yml").write_text(yaml.safe_dump(settings))
    return Project(folder, lake)


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_governed_catalog_gives_the_results_of_the_projects_own(alone, governed, service, environment_of, runner):
    governed.forget_results()
    ran = governed.run(runner, environment_of("ann"))
    assert ran.returncode == 0, ran.stderr
    assert "as user:ann, env prod" in ran.stdout.replace("\n", " ")
    for name in TABLES:
        pd.testing.assert_frame_equal(governed.table(name), alone.table(name))
        assert len(governed.table(name)) > 100
    assert governed.coefficients() == pytest.approx(alone.coefficients(), rel=1e-6)
    assert not (governed.folder / "data").exists()
    _check_reported(service)


def _check_reported(service) -> None:
    """The ledger has of Ann's last run what it asked for, what she was given for it, and that she used just that."""
    (asked,) = service.get("ann", "/v1/ledger", subject="user:ann", event="preflight.allowed", limit="1")["items"]
    rows = service.get("ann", "/v1/ledger", subject="user:ann", event="use.reported", run=asked["run"])["items"]
    used = [(row["details"]["action"], *row["datasets"]) for row in rows]
    assert sorted(set(used)) == sorted((done, name) for done in ("load", "save") for name in asked["details"][done])
    (receipt,) = {row["receipt"] for row in rows}
    (lease,) = service.get("ann", "/v1/ledger", subject="user:ann", event="lease.served", receipt=receipt)["items"]
    assert lease["at"] < asked["at"] < rows[-1]["at"]


def test_every_entry_of_the_starter_is_served_as_it_was_written(service, governed, entries):
    catalog = service.get("ann", "/v1/catalog", environment="prod")
    # Other tests give Ann other domains on the same service.
    served = {name: entry for name, entry in catalog.items() if name.startswith("spaceflights.")}
    assert served.keys() == {f"spaceflights.{name}" for name in entries}
    for name, entry in entries.items():
        assert served[f"spaceflights.{name}"] == _placed(entry, governed.data)


def test_whoever_has_no_grant_is_refused_before_the_first_node(governed, environment_of):
    governed.forget_results()
    ran = governed.run("SequentialRunner", environment_of("ada"))
    assert ran.returncode == 1
    assert "companies (spaceflights.companies), load" in ran.stderr
    assert "Running node" not in ran.stdout
    assert [folder.name for folder in governed.data.iterdir()] == ["01_raw"]


def test_a_model_is_not_unpickled_unless_the_project_says_so(governed, environment_of, tmp_path):
    cautious = Project(tmp_path / "cautious", governed.data)
    shutil.copytree(governed.folder, cautious.folder)
    file = cautious.folder / "conf" / "base" / "muniment.yml"
    settings = yaml.safe_load(file.read_text())
    del settings["allow_code_formats"]
    file.write_text(yaml.safe_dump(settings))
    ran = cautious.run("SequentialRunner", environment_of("ann"))
    assert ran.returncode == 1
    assert "regressor (spaceflights.regressor), save" in ran.stderr
    assert "allow_code_formats" in ran.stderr


@pytest.fixture(scope="module")
def environment_of(service, own_environment, tmp_path_factory):
    """What is in the environment of somebody's run; of nobody's, nothing of Muniment."""
    cache = tmp_path_factory.mktemp("cache")

    def environment(person: str | None) -> dict[str, str]:
        signed_in = {"MUNIMENT_TOKEN": service.issuer.token(person)} if person else {}
        return own_environment(XDG_CACHE_HOME=str(cache), COLUMNS="200", **signed_in)

    return environment


def _write_project(folder: Path) -> None:
    package = folder / "src" / "spaceflights"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "settings.py").touch()
    (package / "pipeline_registry.py").write_text(PIPELINE)
    (folder / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "spaceflights"\nproject_name = "Spaceflights"\nkedro_init_version = "1.0.0"\n'
    )
    (folder / "conf" / "local").mkdir(parents=True)
    (folder / "conf" / "base").mkdir()
    for file in (STARTER / "conf" / "base").glob("parameters*.yml"):
        shutil.copy(file, folder / "conf" / "base")


def _declare(service, entries: dict[str, dict[str, Any]], lake: Path) -> None:
    """Ada makes room, Sam declares, and lets Ann use it."""
    service.make("ada", "environments", "prod")
    service.make("ada", "groups", "stewards", members=["user:sam"])
    service.make("ada", "domains", "spaceflights", owner="group:stewards", locations=[f"{lake.as_uri()}/"])
    service.make(
        "ada", "policies", "owners", cedar="permit (principal, action, resource) when { principal in resource.owner };"
    )
    for name, entry in entries.items():
        service.make("sam", "datasets", f"spaceflights.{name}", environments={"base": _placed(entry, lake)})
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    given = {"actions": ["load", "save"], "on": {"domain": "spaceflights"}, "until": until}
    service.make("sam", "grants", "ann-flies", to={"subject": "user:ann"}, **given)


def _placed(entry: dict[str, Any], lake: Path) -> dict[str, Any]:
    """An entry with its place in the lake."""
    return {**entry, "filepath": entry["filepath"].replace("data/", f"{lake.as_uri()}/", 1)}
