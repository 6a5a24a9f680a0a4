"""What people install: the service with its migrations, the client with next to nothing."""

import ast
import email
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
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


def required(wheel: zipfile.ZipFile, extra: str = "") -> set[str]:
    """What installing it brings, where an extra is asked for or none."""
    listed = email.message_from_string(read(wheel, "METADATA")).get_all("Requires-Dist")
    asked = [Requirement(text) for text in listed]
    return {each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})}


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


def test_the_systems_keyring_is_the_clients_one_extra(wheels):
    assert required(wheels["client"], "keyring") - required(wheels["client"]) == {"keyring"}
    assert email.message_from_string(read(wheels["client"], "METADATA")).get_all("Provides-Extra") == ["keyring"]


def test_the_client_imports_those_and_what_kedro_brings_its_plugins():
    """What another distribution happens to bring may go away with it: so Authlib must still ask for `cryptography`."""
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "client/kedro_muniment").rglob("*.py")]
    named = {name.partition(".")[0] for module in modules for name in imported(module)}
    of = metadata.packages_distributions()
    found = {each.lower() for name in named - sys.stdlib_module_names - {"kedro_muniment"} for each in of[name]}
    kedros = {Requirement(text).name.lower() for text in metadata.requires("kedro") or () if "extra ==" not in text}
    optional = {"keyring", "ipython", "pytest"}  # an extra; and only inside of a notebook, or of pytest, which run it
    signing = {"cryptography"} & {Requirement(text).name.lower() for text in metadata.requires("authlib") or ()}
    assert found - kedros - optional - signing == {"kedro", "httpx", "authlib"}


def test_pytest_is_known_to_its_plugin_alone():
    """Nothing else imports that module, so nothing but pytest needs pytest."""
    users = {
        path.name: [*imported(ast.parse(path.read_text(encoding="utf-8")))]
        for path in (ROOT / "client/kedro_muniment").rglob("*.py")
    }
    assert [name for name, modules in users.items() if "pytest" in modules] == ["testing.py"]
    assert not [name for name, modules in users.items() if "kedro_muniment.testing" in modules]


def test_authlib_is_known_to_one_module_of_the_client():
    users = {
        path.name
        for path in (ROOT / "client/kedro_muniment").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] == "authlib"
    }
    assert users == {"oauth.py"}


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_neither_distribution_needs_the_other(wheels):
    assert not {"kedro", "kedro-datasets", "kedro-muniment"} & required(wheels["service"])
    assert "muniment" not in required(wheels["client"])


def test_kedro_finds_the_client_and_the_shell_finds_the_service(wheels):
    client = read(wheels["client"], "entry_points.txt")
    assert "[kedro.hooks]\nmuniment = kedro_muniment.hooks:hooks" in client
    assert "[kedro.global_commands]\nmuniment = kedro_muniment.command_line.commands:commands" in client
    assert "[console_scripts]\nmuniment = muniment.cli:main" in read(wheels["service"], "entry_points.txt")


@pytest.mark.parametrize("project", ["service", "client"])
def test_a_wheel_carries_its_license(wheels, project):
    assert read(wheels[project], "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
