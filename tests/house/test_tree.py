"""What lies in the checkout: the fixed top level, and nothing that belongs to one machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIXED = {"pyproject.toml", "service", "client", "migrations", "tests", "docker-compose.yml", "README.md"}
BESIDE = {"dev", "demo", "docs", "requirements.lock", "LICENSE", "mkdocs.yml"}
# Pieced together, so that this page does not hold what it forbids.
REGISTRIES = [
    r"pypi\." + "org",
    "python" + "hosted",
    "extra" + "-index-url",
    "/opt/" + "pypi",
]
MACHINES = [
    r"(?<![\w.}>-])/" + "work/",
    r"(?<![\w.}>-])/" + "root/",
    r"(?<![\w.}>-])/Users" + r"/\w",
    r"\.py" + "env/versions",
]


def files() -> list[Path]:
    """What git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in filter(None, listed.stdout.split("\0")) if (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    read = []
    for path in files():
        try:
            read.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return read


def test_the_top_level_is_as_fixed():
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    assert top >= FIXED | {"dev", "requirements.lock", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= FIXED | BESIDE


@pytest.mark.parametrize("pattern", REGISTRIES + MACHINES)
def test_no_file_speaks_of_a_registry_or_of_one_machine(pattern):
    found = [f"{path.relative_to(ROOT)}: {hit.group()}" for path, text in texts() for hit in re.finditer(pattern, text)]
    assert not found


def test_what_is_run_is_executable():
    for name in ("dev", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111
        assert (ROOT / name).read_text(encoding="utf-8").startswith("#!/usr/bin/env ")


def test_each_distribution_carries_the_license():
    license_text = (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in license_text
    assert all((ROOT / project / "LICENSE").read_bytes() == license_text for project in ("service", "client"))


def test_tests_have_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))
