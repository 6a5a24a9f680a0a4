"""`./dev starters`: every pair of choices of the project page, generated, installed and run.

    ./dev starters              all of them: an environment and some minutes each
    ./dev starters --most 2     the first two
    ./dev starters --list       what each is made of

The tests generate them all and read every file; here each gets an environment of its own, with the Python that it asks
for where this machine has that, else with this one, and does what its README and its CI say: it is installed from what
it pins, its pipeline runs, and each of its checks does. Then once more as its image is made, without Docker: from what
a run needs alone, in a folder of what .dockerignore leaves.
With pyenv, PYENV_VERSION=3.13.0:3.12.1:3.11.7 lets each find its Python.
The client comes from this checkout. No service is asked: the pipeline runs on the data that its tests have.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from muniment.core.starters.offers import shelf
from tests.starters.pairs import Row, choices, named, pairwise, project

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev starters", description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--most", type=int, default=None, help="only so many")
    asked = parser.parse_args(arguments)
    offer = shelf().newest
    rows = pairwise(choices(offer))[: asked.most]
    if asked.list:
        print("\n".join(named(row) for row in rows))
        return 0
    failed = 0
    for row in rows:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="muniment-starter-") as folder:
            said = _tried(Path(folder), row, python := _python(row["python"]))
        failed += said is not None
        verdict = "passed" if said is None else "FAILED"
        print(f"{verdict}  {time.monotonic() - began:5.0f} s  {named(row)}  with {python}", flush=True)
        if said is not None:
            print(said, flush=True)
    print(f"{len(rows) - failed} of {len(rows)} projects install, run and pass their checks.")
    return 1 if failed else 0


def _python(wanted: str) -> str:
    """The Python of that version, if there is one here; else this one."""
    found = subprocess.run([UV, "python", "find", "--no-python-downloads", wanted], capture_output=True, check=False)
    return wanted if found.returncode == 0 else f"{sys.version_info[0]}.{sys.version_info[1]}"


def _tried(folder: Path, row: Row, version: str) -> str | None:
    """What went wrong, if anything did."""
    _, files = project(shelf().newest, row)
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_text(file.text, encoding="utf-8")
    checks = [line.split() for line in _checks(folder) if line != "kedro muniment check"]
    environment = folder / ".venv"
    steps = [*_installing(environment, version, "requirements-dev.txt", folder), *checks, *_runs(folder)]
    said = _failed(steps, folder, environment)
    shutil.rmtree(environment)
    return said or _image_failed(folder, version)


def _image_failed(folder: Path, version: str) -> str | None:
    """What goes wrong where the project is installed and run as its Dockerfile says."""
    with tempfile.TemporaryDirectory(prefix="muniment-image-") as root:
        environment, home = Path(root, "environment"), Path(root, "home", "project")
        ignored = [
            line for line in (folder / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"
        ]
        told = _failed(_installing(environment, version, "requirements.txt", folder), folder, environment)
        if told is not None:
            return told
        shutil.copytree(folder, home, ignore=shutil.ignore_patterns(*(each.removeprefix("**/") for each in ignored)))
        (command,) = re.findall(r"^CMD (\[.*\])$", (folder / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
        return _failed([[*run[:-2], *json.loads(command)] for run in _runs(home)], home, environment)


def _installing(environment: Path, version: str, requirements: str, folder: Path) -> list[list[str]]:
    """A new environment with what a file names; the client comes from this checkout."""
    overridden = environment.parent / "overrides.txt"
    overridden.write_text(f"kedro-muniment @ {(ROOT / 'client').as_uri()}\n", encoding="utf-8")
    python = str(environment / "bin" / "python")
    return [
        [str(UV), "venv", "--quiet", "--no-python-downloads", "--python", version, str(environment)],
        [str(UV), "pip", "install", "--quiet", "--python", python, "--requirement", str(folder / requirements),
         "--override", str(overridden)],
        ["rm", str(overridden)],
    ]  # fmt: skip


def _runs(folder: Path) -> list[list[str]]:
    """How the pipeline is run; without tests there is no recorded catalog, and it is only built."""
    recorded = (folder / "tests" / "catalog.yml").exists()
    return [["env", "MUNIMENT_CATALOG_FROM=tests/catalog.yml", "kedro", "run"]] if recorded else []


def _failed(steps: list[list[str]], folder: Path, environment: Path) -> str | None:
    """What the first step says that fails."""
    for step in steps:
        done = _run(step, folder, environment)
        if done.returncode:
            return f"  {' '.join(step)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return None


def _checks(folder: Path) -> list[str]:
    """The commands that the README gives under "Work on it", and those of the project's CI, each once."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    told: list[str | None] = [
        *readme.partition("## Work on it")[2].split("```")[1].removeprefix("console").split("\n")[1:-1]
    ]
    read: Mapping[str, Callable[[Any], list[str | None]]] = {
        ".github/workflows/ci.yml": lambda said: [step.get("run") for step in said["jobs"]["check"]["steps"]],
        ".gitlab-ci.yml": lambda said: said["check"]["script"],
    }
    for path, commands in read.items():
        if (folder / path).exists():
            told += commands(yaml.safe_load((folder / path).read_text(encoding="utf-8")))
    return [line for line in dict.fromkeys(told) if line and not line.startswith("pip install ")]


def _run(step: list[str], folder: Path, environment: Path) -> subprocess.CompletedProcess[str]:
    left = {
        name: value for name, value in os.environ.items() if not name.startswith(("MUNIMENT_", "KEDRO_", "VIRTUAL_"))
    }
    env = {**left, "DO_NOT_TRACK": "1", "PATH": f"{environment / 'bin'}{os.pathsep}{left['PATH']}"}
    return subprocess.run(step, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
