"""What people install: the service with its migrations, the client with next to nothing."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return {project: build(project, tmp_path_factory.mktemp(project)) for project in ("service", "client")}


def build(project: str, into: Path, hook: str = "build_wheel") -> zipfile.ZipFile:
    program = f"import sys; from hatchling.build import {hook}; {hook}(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", program, str(into)], cwd=ROOT / project, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return zipfile.ZipFile(next(into.glob("*.whl")))


def read(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(next(path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))).decode()


def required(wheel: zipfile.ZipFile) -> set[str]:
    return {
        Requirement(text).name for text in email.message_from_string(read(wheel, "METADATA")).get_all("Requires-Dist")
    }


def test_the_service_brings_every_migration(wheels):
    here = {
        f"muniment/migrations/{path.relative_to(ROOT / 'migrations').as_posix()}"
        for path in (ROOT / "migrations").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheels["service"].namelist() if name.startswith("muniment/migrations/")}
    assert "muniment/migrations/env.py" in packed
    assert packed == here


def test_installed_in_place_the_service_has_no_second_copy_of_the_migrations(tmp_path):
    assert not [name for name in build("service", tmp_path, "build_editable").namelist() if "migrations" in name]


@pytest.mark.parametrize(("project", "package"), [("service", "muniment"), ("client", "kedro_muniment")])
def test_a_wheel_holds_its_package_whole_and_nothing_else(wheels, project, package):
    here = {
        f"{package}/{path.relative_to(ROOT / project / package).as_posix()}"
        for path in (ROOT / project / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheels[project].namelist() if ".dist-info/" not in name}
    assert f"{package}/py.typed" in packed
    assert {name for name in packed if not name.startswith("muniment/migrations/")} == here


def test_the_client_requires_three_distributions_and_no_more(wheels):
    assert required(wheels["client"]) == {"kedro", "httpx", "authlib"}


def test_neither_distribution_needs_the_other(wheels):
    assert not {"kedro", "kedro-datasets", "kedro-muniment"} & required(wheels["service"])
    assert "muniment" not in required(wheels["client"])


def test_kedro_finds_the_client_and_the_shell_finds_the_service(wheels):
    client = read(wheels["client"], "entry_points.txt")
    assert "[kedro.hooks]\nmuniment = kedro_muniment.hooks:hooks" in client
    assert "[kedro.global_commands]\nmuniment = kedro_muniment.commands:commands" in client
    assert "[console_scripts]\nmuniment = muniment.cli:main" in read(wheels["service"], "entry_points.txt")


@pytest.mark.parametrize("project", ["service", "client"])
def test_a_wheel_carries_its_license(wheels, project):
    assert read(wheels[project], "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
