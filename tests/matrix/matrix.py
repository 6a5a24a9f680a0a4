"""`./dev matrix`: the plugin's tests with every Kedro that it supports, and beside the plugins that it meets most.

    ./dev matrix               all of them: an environment and some minutes each
    ./dev matrix viz mlflow    these alone
    ./dev matrix --list        their names, and what each installs

Each combination gets an environment of its own in a temporary directory, with the newest of everything that it does not
name, runs the same tests there, and leaves nothing behind but uv's cache. The lock speaks for one combination, which
`./dev check` runs; this is for the others, before a release and when Kedro has a new one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
#: What of the client is different with another Kedro: where it meets Kedro.
TESTS = (
    "test_guarded.py",
    "test_loader.py",
    "test_credentials.py",
    "test_beside.py",
    "test_everywhere.py",
    "test_runs.py",
)
BESIDE = ("test_beside.py",)
#: The conftest above this folder's starts the service, which is not what is tried here.
CLIENT = ROOT / "tests" / "client"
TOLD = "told.xml"
#: What these tests and their conftest need besides the plugin and Kedro.
TOOLS = (
    "ipython", "joserfc", "keyring", "kedro-datasets[json-jsondataset,pandas-csvdataset]", "pandas", "psutil",
    "pytest>=9", "pytest-socket>=0.7", "pytest-xdist>=3.8", "PyYAML",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Combination:
    """What one environment holds beside the newest of everything else."""

    packages: tuple[str, ...]
    python: str | None = None
    tests: tuple[str, ...] = TESTS


COMBINATIONS = {
    "kedro-1.0": Combination(("kedro==1.0.0",)),
    "kedro-1.1": Combination(("kedro==1.1.*",)),
    "kedro-1.2": Combination(("kedro==1.2.*",)),
    "kedro-1.3": Combination(("kedro==1.3.*",)),
    "kedro-1.4": Combination(("kedro==1.4.*",)),
    "kedro-1.5": Combination(("kedro==1.5.*",)),
    "kedro-1.6": Combination(("kedro==1.6.*",)),
    "newest": Combination(("kedro<2",)),
    "python-3.13": Combination(("kedro<2",), python="3.13"),
    "viz": Combination(("kedro<2", "kedro-viz")),
    # MLflow goes on with one run for a whole process, so only the tests that end it run beside it.
    "mlflow": Combination(("kedro<2", "kedro-mlflow"), tests=BESIDE),
    "viz+mlflow": Combination(("kedro<2", "kedro-viz", "kedro-mlflow"), tests=BESIDE),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one combination."""

    name: str
    kedro: str
    verdict: str
    seconds: float
    ran: int = 0
    failed: int = 0
    skipped: int = 0

    def line(self) -> str:
        counts = f"{self.ran - self.failed - self.skipped:>5} passed {self.failed:>3} failed {self.skipped:>3} skipped"
        return f"{self.name:<14}{self.kedro:<26}{counts}  {self.seconds:6.0f} s  {self.verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for, one after another; 1 when any of it failed."""
    parser = argparse.ArgumentParser(prog="./dev matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these combinations alone")
    parser.add_argument("--list", action="store_true", help="the combinations, and what each installs")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in COMBINATIONS]
    if unknown:
        parser.error(f"there is no combination {', '.join(unknown)}: known are {', '.join(COMBINATIONS)}")
    if asked.list:
        for name, combination in COMBINATIONS.items():
            print(f"{name:<14}{' '.join(combination.packages)}")
        return 0
    outcomes = []
    for name in asked.names or COMBINATIONS:
        outcomes.append(_outcome(name, COMBINATIONS[name]))
        print(outcomes[-1].line(), flush=True)
    return 0 if all(outcome.verdict == "passed" for outcome in outcomes) else 1


def _outcome(name: str, combination: Combination) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muniment-matrix-") as folder:
        place = Path(folder)
        python = _made(place / "venv", combination)
        if python is None:
            return Outcome(name, "-", "could not be installed", time.monotonic() - began)
        done = _tested(python, place, combination.tests)
        counts = _counted(place / TOLD)
        verdict = "passed" if done == 0 else f"FAILED ({done})"
        return Outcome(name, _versions(python), verdict, time.monotonic() - began, *counts)


def _made(venv: Path, combination: Combination) -> Path | None:
    """An environment with the plugin from this checkout; its Python, or nothing where it cannot be had."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    made = _ran(
        [uv, "venv", "--quiet", "--no-python-downloads", "--python", combination.python or sys.executable, str(venv)]
    )
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [*combination.packages, *TOOLS, "--editable", str(ROOT / "client")]
    if made or _ran([uv, "pip", "install", "--quiet", "--python", str(python), *wanted]):
        return None
    return python


def _tested(python: Path, place: Path, tests: Sequence[str]) -> int:
    """Run where nothing lies about: a plugin keeps what it keeps in the current directory."""
    here = place / "here"
    here.mkdir()
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), f"--confcutdir={CLIENT}"]
    # The newest of everything warns of this and that, which is not what is tried here.
    options = ["-n", "0", "-q", "--no-header", "-p", "no:cacheprovider", "-W", "default", "--disable-warnings"]
    command = [str(python), "-m", "pytest", *config, *options, f"--junit-xml={place / TOLD}"]
    return _ran([*command, *(str(CLIENT / name) for name in tests)], here)


def _ran(command: Sequence[str], place: Path = ROOT) -> int:
    return subprocess.run(command, cwd=place, env={**os.environ, "DO_NOT_TRACK": "1"}, check=False).returncode


def _counted(told: Path) -> tuple[int, int, int]:
    """How many tests ran, failed and were skipped."""
    suite = ET.parse(told).find(".//testsuite") if told.exists() else None  # noqa: S314 - written by pytest
    if suite is None:
        return 0, 0, 0
    said = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    return said["tests"], said["failures"] + said["errors"], said["skipped"]


def _versions(python: Path) -> str:
    code = (
        "import sys, importlib.metadata as m; "
        "print(m.version('kedro'), 'Python', '.'.join(map(str, sys.version_info[:2])))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return f"Kedro {done.stdout.strip()}"


if __name__ == "__main__":
    sys.exit(main())
