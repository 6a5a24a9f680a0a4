"""A Kedro project runs as it did: imported and governed, and exported again with the plugin switched off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PIPELINE = """
from kedro.pipeline import Node, Pipeline


def count(companies, greeting):
    return "\\n".join(f"{greeting} {name}" for name in companies)


def lengths(text):
    return {"characters": len(text)}


def reversed_letter(letter):
    return letter[::-1]


def register_pipelines():
    made = Pipeline([
        Node(count, ["Companies", "params:greeting"], "shop.letters@text"),
        Node(lengths, "shop.letters@raw", "emea.totals"),
        Node(reversed_letter, "letter", "held"),
        Node(lengths, "held", "apac.totals"),
    ])
    return {"__default__": made}
"""
OWN_TYPE = """
from kedro.io import AbstractDataset


class LetterDataset(AbstractDataset):
    def __init__(self, to, metadata=None):
        self._to = to

    def load(self):
        return f"dear {self._to}"

    def save(self, data):
        raise AssertionError(data)

    def _describe(self):
        return {"to": self._to}
"""
CATALOG = """\
_root: data

Companies:
  type: json.JSONDataset
  filepath: ${_root}/01_raw/companies.json

shop.letters@text:
  type: text.TextDataset
  filepath: ${_root}/02/${runtime_params:client, everybody}.txt

shop.letters@raw:
  type: text.TextDataset
  filepath: ${_root}/02/${runtime_params:client, everybody}.txt

"{Region}.totals":
  type: json.JSONDataset
  filepath: data/${globals:zone}/{Region}.json

letter:
  type: letters.datasets.LetterDataset
  to: ${globals:whom, you}

# In memory, whatever nobody declared.
"{default}":
  type: MemoryDataset
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    texts = {
        "pyproject.toml": '[tool.kedro]\npackage_name = "letters"\nproject_name = "L"\nkedro_init_version = "1.0.0"\n',
        "src/letters/__init__.py": "",
        "src/letters/settings.py": "",
        "src/letters/datasets.py": OWN_TYPE,
        "src/letters/pipeline_registry.py": PIPELINE,
        "conf/base/catalog.yml": CATALOG,
        "conf/base/globals.yml": "zone: north\n",
        "conf/base/parameters.yml": "greeting: dear\n",
        "conf/local/.gitkeep": "",
        "data/01_raw/companies.json": '["one", "two"]',
    }
    for path, text in texts.items():
        file = tmp_path / "project" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "project"


def test_an_imported_project_runs_as_it_did_and_does_again_when_it_is_exported(
    service: Any, own_environment: Callable[..., dict[str, str]], project: Path, tmp_path: Path
) -> None:
    def run(*command: str, person: str = "ann") -> str:
        env = own_environment(
            MUNIMENT_URL=service.url,
            MUNIMENT_TOKEN=service.issuer.token(person),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
            COLUMNS="200",
        )
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def kedro(*arguments: str) -> dict[str, str]:
        """What a run wrote; the files are gone then."""
        said = run(sys.executable, "-m", "kedro", "run", "--params", "client=acme", *arguments)
        results = {str(file.relative_to(project)): file.read_text() for file in project.glob("data/*/*")}
        for name in results.keys() - {"data/01_raw/companies.json"}:
            (project / name).unlink()
        return {**results, "governed": str("governed datasets" in said)}

    muniment = str(Path(sys.executable).with_name("muniment"))
    service.make("ada", "environments", "letters-dev")
    before = kedro()
    assert json.loads(before["data/north/emea.json"]) == {"characters": 17}

    arguments = ("--domain", "letters", "--owner", "writers", "--default-environment", "letters-dev")
    run(muniment, "import", "conf", *arguments, "--yes", "--write", person="ada")
    to_ann = {
        "to": {"subject": "user:ann"},
        "actions": ["load", "save"],
        "on": {"domain": "letters"},
        "because": "hers",
    }
    service.make("ada", "grants", "ann-letters", **to_ann)
    governed = kedro()

    assert "Companies" not in (project / "conf/base/catalog.yml").read_text()
    assert governed == {**before, "governed": "True"}

    run(muniment, "export", "conf", "--kedro", person="ada")
    (project / "conf/base/muniment.yml").unlink()

    assert kedro() == before
