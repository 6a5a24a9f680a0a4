"""`./dev starters`: every pair of choices of the project page, generated, installed and run.

    ./dev starters              all of them: an environment and some minutes each
    ./dev starters --most 2     the first two
    ./dev starters --list       what each is made of

The tests generate them all and read every file; here each gets an environment of its own, with the Python that it asks
for where this machine has that, else with this one, and does what its README says: it is installed from what it pins,
its pipeline runs, and each of its checks does.
The client comes from this checkout. No service is asked: the pipeline runs on the data that its tests have.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    python = folder / ".venv" / "bin" / "python"
    checks = [line for line in _checks(folder) if line != "kedro muniment check"]
    recording = (
        ["env", "MUNIMENT_CATALOG_FROM=tests/catalog.yml"] if (folder / "tests" / "catalog.yml").exists() else []
    )
    # Without tests there is no recorded catalog; then the data is not governed and the pipeline is only built.
    runs = [[*recording, "kedro", "run"]] if recording else []
    overridden = folder / "overrides.txt"
    overridden.write_text(f"kedro-muniment @ {(ROOT / 'client').as_uri()}\n", encoding="utf-8")
    steps = [
        [str(UV), "venv", "--quiet", "--no-python-downloads", "--python", version, str(folder / ".venv")],
        [str(UV), "pip", "install", "--quiet", "--python", str(python), "--requirement", "requirements-dev.txt",
         "--override", str(overridden)],
        *([*line.split()] for line in checks),
        *runs,
    ]  # fmt: skip
    for step in steps:
        done = _run(step, folder)
        if done.returncode:
            return f"  {' '.join(step)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        if step[0] == str(UV) and step[1] == "pip":
            overridden.unlink()
    return None


def _checks(folder: Path) -> list[str]:
    """The commands that the README gives under "Work on it"."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    return readme.partition("## Work on it")[2].split("```")[1].removeprefix("console").split("\n")[1:-1]


def _run(step: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    left = {
        name: value for name, value in os.environ.items() if not name.startswith(("MUNIMENT_", "KEDRO_", "VIRTUAL_"))
    }
    env = {**left, "DO_NOT_TRACK": "1", "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{left['PATH']}"}
    return subprocess.run(step, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
