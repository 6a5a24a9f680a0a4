"""The house's law: imports go down, nouns have names, and only the doors know the world outside."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service" / "muniment"
#: Functions of their arguments, all of them; of jinja2 the sandbox, with templates that it is handed.
CORE_MAY_IMPORT = {"muniment", "cedarpy", "jinja2", "orjson", "yaml", "zstandard"}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "services", "managers", "manager", "base", "misc"}


def lint(folder, config=ROOT / "pyproject.toml"):
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "service"), str(folder / "client")])},
        capture_output=True,
        text=True,
        check=False,
    )


def sources(*folders: Path) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_contract_is_kept():
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("service/muniment/stray.py", '"""On no floor."""\n'),
        ("service/muniment/store/upwards.py", "import muniment.flows\n"),
        ("service/muniment/identity/sideways.py", "import muniment.store\n"),
        ("service/muniment/core/late.py", "import time\n"),
        ("service/muniment/core/homeless.py", '"""In no room."""\n'),
        ("service/muniment/core/merkle.py", "import muniment.core.realm\n"),
        ("service/muniment/flows/wordy.py", "import sqlalchemy\n"),
        ("service/muniment/store/guest.py", "import kedro\n"),
        ("client/kedro_muniment/overreach.py", "import muniment.core\n"),
        ("service/muniment/steward/short_cut.py", "import muniment.store\n"),
    ],
)
def test_a_breach_is_found(tmp_path, place, text):
    for package in ("service/muniment", "client/kedro_muniment"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / place).write_text(text)
    linted = lint(tmp_path)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    assert "BROKEN" in linted.stdout


def test_no_contract_has_an_exception():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert [contract["id"] for contract in contracts if contract.get("exhaustive")] == ["floors", "rooms"]
    assert not [key for contract in contracts for key in contract if "ignore" in key]


def test_the_page_on_the_house_names_what_stands_in_each_room():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rooms = next(contract["layers"] for contract in contracts["contracts"] if contract["id"] == "rooms")
    page = (ROOT / "docs" / "explanation" / "the-house.md").read_text(encoding="utf-8")
    told = [line.split(" | ")[2].rstrip(" |") for line in page.splitlines() if line.startswith("| **")]
    assert told == [", ".join(f"`{module}`" for module in room.split(" : ")) for room in rooms]


def test_no_module_goes_without_a_name_of_its_own():
    folders = (SERVICE, ROOT / "client", ROOT / "demo", ROOT / "migrations", ROOT / "tests")
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    assert not [path for path in modules if NAMELESS & {path.stem, *path.relative_to(ROOT).parent.parts}]


def test_the_core_imports_only_the_standard_library_and_pure_functions():
    allowed = CORE_MAY_IMPORT | sys.stdlib_module_names
    found = {
        (path.name, name)
        for path, module in sources(SERVICE / "core")
        for name in imported(module)
        if name.partition(".")[0] not in allowed
    }
    assert not found


def test_only_settings_reads_the_environment():
    readers = {
        str(path.relative_to(SERVICE))
        for path, module in sources(SERVICE)
        for node in ast.walk(module)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {"environ", "getenv"} & {a.name for a in node.names}
        )
    }
    assert readers <= {"settings.py"}


def test_nothing_imports_the_deprecated_half_of_authlib():
    found = [
        (path, name)
        for path, module in sources(SERVICE, ROOT / "client", ROOT / "demo")
        for name in imported(module)
        if name.startswith("authlib.jose")
    ]
    assert not found


def test_every_module_opens_by_saying_what_it_is_for():
    silent = [
        path for path, module in sources(SERVICE, ROOT / "client") if module.body and not ast.get_docstring(module)
    ]
    assert not silent
