"""What each distribution asks to be installed is what it uses: nothing more, and nothing that only happens to be there.

Seen to fail with a dependency declared that nothing imports, and with one taken away that something does.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import files, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
#: What is in each distribution.
SOURCES = {
    "service": [ROOT / "service" / "muniment", ROOT / "migrations"],
    "client": [ROOT / "client" / "kedro_muniment"],
}
#: What no page of ours imports, by what does so whenever it is there.
LOADED_BY = {"httptools": "uvicorn", "uvloop": "uvicorn"}
#: What is looked at where somebody works in it, and is imported nowhere else.
WHERE_ONE_IS = {"client": {"ipython", "pytest"}, "service": set()}


def declared(project: str) -> dict[str, Requirement]:
    """What installing a distribution brings, and what its extras add."""
    told = tomllib.loads((ROOT / project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [
        *told["dependencies"],
        *(each for extra in told.get("optional-dependencies", {}).values() for each in extra),
    ]
    return {canonicalize_name(Requirement(each).name): Requirement(each) for each in listed}


def needed_by(distribution: str) -> list[tuple[str, Requirement]]:
    """What another distribution asks for, its extras' too; what an extra widens stands there twice."""
    asked = map(Requirement, requires(distribution) or ())
    return [(canonicalize_name(each.name), each) for each in asked]


def imported(project: str) -> set[str]:
    """The distributions whose modules a distribution imports, however lazily."""
    known = packages_distributions()
    found = set()
    for folder in SOURCES[project]:
        for path in folder.rglob("*.py"):
            for module in _modules(ast.parse(path.read_text(encoding="utf-8"))):
                found.update(canonicalize_name(each) for each in _bringing(module, known))
    return found - {"muniment", "kedro-muniment"}


def _bringing(module: str, known: Mapping[str, list[str]]) -> list[str]:
    """The distributions that a module comes with: of those that share a namespace, the one whose file it is."""
    sharing = known.get(module.partition(".")[0], [])
    if len(set(sharing)) == 1:
        return sharing
    begins = module.replace(".", "/")
    return [each for each in sharing if any(str(file).startswith(begins) for file in files(each) or ())]


def _modules(page: ast.Module) -> Iterator[str]:
    for node in ast.walk(page):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            # What is looked for without being imported: importlib.util.find_spec("…").
            case ast.Call(
                func=ast.Attribute(attr="find_spec" | "import_module"), args=[ast.Constant(value=str(module))]
            ):
                yield module


@pytest.mark.parametrize("project", SOURCES)
def test_each_declared_dependency_is_imported(project: str) -> None:
    assert declared(project).keys() - imported(project) - LOADED_BY.keys() == set()


@pytest.mark.parametrize("project", SOURCES)
def test_whatever_is_imported_is_declared_or_asked_for_by_something_declared(project: str) -> None:
    """FastAPI's Starlette and Kedro's click are there wherever their hosts are: theirs to bring, at their version."""
    brought = {name for each in declared(project) for name, asked in needed_by(each) if _always(asked)}
    assert imported(project) - declared(project).keys() - brought - WHERE_ONE_IS[project] == set()


def _always(asked: Requirement) -> bool:
    return asked.marker is None or "extra" not in str(asked.marker)


@pytest.mark.parametrize(("name", "loader"), LOADED_BY.items())
def test_what_another_loads_is_named_by_it_and_imported_by_nothing_of_ours(name: str, loader: str) -> None:
    assert name in dict(needed_by(loader))
    assert name not in imported("service")
    assert name in declared("service")
