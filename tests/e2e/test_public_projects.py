"""Whole public projects, as their authors wrote them: run as they are, then governed, with the same results.

| project | of | at |
| --- | --- | --- |
| ``spaceflights-pandas`` | ``kedro-org/kedro-starters`` | ``7350687b`` |
| ``kedro-intermediate/extending-kedro``, ``…/advanced-configuration`` | ``kedro-org/kedro-academy`` | ``b20f9f2a`` |
| ``cache-dataset-example``, ``memory-profile-pipeline`` | ``noklam/kedro-example`` | ``07ee72e6`` |

Nothing of them is kept here. They are fetched only when that is asked for: ``MUNIMENT_PUBLIC_PROJECTS=fetch`` gets them
from GitHub, and a folder named there holds clones (``kedro-org+kedro-starters``, …). The environment that runs them,
with the packages that their requirements name, is made for the test. ``./dev projects`` does all of it.

The starter is made into a project as ``kedro new`` does it. The four others were made for Kedro 0.19: for both runs
their ``kedro_init_version`` is lifted to 1.0.0, as Kedro's own migration guide says. Otherwise a project is changed by
what ``muniment import`` writes, ``conf/base/muniment.yml``, and by nothing else: its ``catalog.yml`` stays where it is,
and the governed definitions go before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
import yaml

SOURCE = os.environ.get("MUNIMENT_PUBLIC_PROJECTS", "").strip()
CLIENT = Path(__file__).parents[2] / "client"
PACKAGES = (
    "kedro==1.7.0",
    "kedro-datasets[pandas-csvdataset,pandas-exceldataset,pandas-parquetdataset]==9.6.0",
    "kedro-datasets[plotly-plotlydataset,plotly-jsondataset,matplotlib-matplotlibdataset]==9.6.0",
    "scikit-learn",
    "seaborn",
    "polars",
)
STARTERS = ("kedro-org/kedro-starters", "7350687ba69dd7811bb2d9b90485db9ade9f9008")
ACADEMY = ("kedro-org/kedro-academy", "b20f9f2a1c95cc9dbaf36d4c8cb3e6ff2c90fea2")
EXAMPLES = ("noklam/kedro-example", "07ee72e69d15d12a144c5162832ed45c549c0148")
#: What the projects' own nodes say of the models that they have learned.
_LEARNED = re.compile(r"coefficient R\^2 of [0-9.]+")
_VERSION = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")

pytestmark = pytest.mark.skipif(not SOURCE, reason="MUNIMENT_PUBLIC_PROJECTS does not say where public projects are")


@dataclass(frozen=True)
class Public:
    """A project of somebody else's: where it stands, and how many datasets its catalog has and its pipeline uses."""

    repository: str
    commit: str
    folder: str
    datasets: int
    used: int
    starter: bool = False

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z]+", "_", self.folder.rpartition("/")[2])


PROJECTS = (
    Public(*STARTERS, "spaceflights-pandas", 10, 10, starter=True),
    Public(*ACADEMY, "kedro-intermediate/extending-kedro", 7, 7),
    Public(*ACADEMY, "kedro-intermediate/advanced-configuration", 7, 7),
    Public(*EXAMPLES, "cache-dataset-example", 7, 7),
    Public(*EXAMPLES, "memory-profile-pipeline", 7, 7),
)


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """A Python of its own with what the projects need, and the plugin."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    _run([sys.executable, "-m", "uv", "venv", "-q", "-p", sys.executable, str(place)])
    python = place / "bin" / "python"
    _run([sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), *PACKAGES, str(CLIENT)])
    return python


@pytest.fixture(scope="session")
def fetched(tmp_path_factory):
    """The files of one folder of a repository, at one commit."""

    def fetch(public: Public) -> Path:
        place = tmp_path_factory.mktemp(public.name)
        clone = place / "clone"
        if SOURCE == "fetch":
            _run(["git", "init", "-q", str(clone)])
            address = f"https://github.com/{public.repository}.git"
            _run(["git", "-C", str(clone), "fetch", "-q", "--depth=1", address, public.commit])
        else:
            named = Path(SOURCE) / public.repository.replace("/", "+")
            clone = named / "repo" if (named / "repo").is_dir() else named
        told = _run(["git", "-C", str(clone), "archive", public.commit, public.folder], text=False)
        with tarfile.open(fileobj=BytesIO(told.stdout)) as archive:
            archive.extractall(place / "tree", filter="data")
        return place / "tree" / public.folder

    return fetch


@pytest.mark.parametrize("public", PROJECTS, ids=lambda public: public.name)
def test_a_public_project_gives_the_same_results_when_it_is_governed(
    public, fetched, python, service, own_environment, tmp_path
):
    plain = _made(public, fetched(public), python, tmp_path)
    governed = tmp_path / "governed"
    shutil.copytree(plain, governed)
    before = _files(plain / "data")

    alone = _kedro(python, plain, own_environment(), "run")
    _import(public, governed, service, own_environment)
    told = _kedro(python, governed, own_environment(MUNIMENT_TOKEN=service.issuer.token("ann")), "run")

    results = _files(plain / "data")
    assert results.keys() - before.keys(), "the plain run wrote nothing that could be compared"
    assert _files(governed / "data") == results
    assert _LEARNED.findall(told) == _LEARNED.findall(alone)
    reported = service.get("ada", "/v1/ledger", event="use.reported", subject="user:ann", limit="1000")["items"]
    used = {name for row in reported for name in row["datasets"] if name.startswith(f"{public.name}.")}
    assert len(used) == public.used, sorted(used)


def _made(public: Public, source: Path, python: Path, tmp_path: Path) -> Path:
    """The project as its author would run it."""
    place = tmp_path / "plain"
    if public.starter:
        answers = {
            "output_dir": str(tmp_path),
            "project_name": "plain",
            "repo_name": "plain",
            "python_package": "plain",
        }
        (tmp_path / "answers.yml").write_text(yaml.safe_dump({**answers, "kedro_version": "1.7.0"}))
        command = [str(python), "-m", "kedro", "new", "--starter", str(source), "-c", str(tmp_path / "answers.yml")]
        _run(command, cwd=tmp_path, env={**os.environ, "DO_NOT_TRACK": "1"})
        return place
    shutil.copytree(source, place)
    settings = place / "pyproject.toml"
    lifted = re.sub(r'(kedro_init_version = )"0\.19\.\d+"', r'\1"1.0.0"', settings.read_text())
    settings.write_text(lifted)
    return place


def _import(public: Public, project: Path, service, own_environment) -> None:
    """Ada imports the project as it is, and gives Ann its domain; the project gets the plugin's configuration."""
    service.ask("ada", "PUT", "/v1/environments/dev", json={}, headers={"If-None-Match": "*"})
    environment = own_environment(MUNIMENT_URL=service.url, MUNIMENT_TOKEN=service.issuer.token("ada"))
    muniment = str(Path(sys.executable).with_name("muniment"))
    command = [muniment, "import", str(project / "conf"), "--domain", public.name, "--owner", "group:platform"]
    told = json.loads(_run([*command, "--default-environment", "dev", "--yes", "--json"], env=environment).stdout)
    assert (len(told["governed"]), told["left"]) == (public.datasets, [])
    service.make(
        "ada",
        "grants",
        f"ann-{public.name}",
        to={"subject": "user:ann"},
        actions=["load", "save"],
        on={"domain": public.name},
        because="Runs the project.",
    )
    settings = yaml.safe_load(told["settings"])
    # The project keeps its catalog.yml, so it has to say who wins.
    file = project / "conf" / "base" / "muniment.yml"
    file.write_text(yaml.safe_dump({**settings, "precedence": {"default": "governed"}}))


def _kedro(python: Path, project: Path, environment: dict[str, str], *arguments: str) -> str:
    apart = {f"XDG_{name}_HOME": str(project.parent / name.lower()) for name in ("CACHE", "CONFIG", "STATE", "DATA")}
    wide = {**environment, **apart, "COLUMNS": "300"}
    ran = _run([str(python), "-m", "kedro", *arguments], cwd=project, env=wide)
    return ran.stdout + ran.stderr


def _files(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest; the moments of versions are told as such."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        _VERSION.sub("VERSION", file.relative_to(folder).as_posix()): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def _run(command, *, text=True, **rest):
    ran = subprocess.run(command, capture_output=True, text=text, timeout=600, check=False, **rest)
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}"
    return ran
