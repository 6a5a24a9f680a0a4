"""Fixtures of pytest for a project's own tests: the governed catalog from a file or a mapping, without a service.

pytest finds this module by the entry point ``pytest11``, as long as kedro-muniment is installed. It does nothing for
who asks for nothing: no fixture of it is used by itself, and Kedro is not imported::

    def test_the_report_is_made(recorded_catalog, tmp_path):
        recorded_catalog({"sales.orders": {"type": "pandas.CSVDataset", "filepath": "tests/orders.csv"}})
        with KedroSession.create(project_path=PROJECT, env="test") as session:
            session.run()

``pytest --muniment-catalog-from tests/catalog.yml``, or ``muniment_catalog_from`` in pytest's settings, holds for every
test of a session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

VARIABLE: Final = "MUNIMENT_CATALOG_FROM"
#: Each names a credential, and beside a recorded catalog a credential is refused.
CREDENTIALS: Final = (
    "MUNIMENT_TOKEN",
    "MUNIMENT_TOKEN_FILE",
    "MUNIMENT_KEY",
    "MUNIMENT_CLIENT_SECRET",
    "MUNIMENT_CLIENT_SECRET_FILE",
    "MUNIMENT_CLIENT_KEY_FILE",
    "MUNIMENT_WORKLOAD",
)

RecordedCatalog = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "A recorded catalog that stands in Muniment's place for these tests: see `kedro muniment record`."
    parser.getgroup("muniment").addoption("--muniment-catalog-from", metavar="FILE", default=None, help=told)
    parser.addini("muniment_catalog_from", told, default=None)


def pytest_configure(config: pytest.Config) -> None:
    named = config.getoption("muniment_catalog_from", None) or config.getini("muniment_catalog_from")
    if named:
        patched = pytest.MonkeyPatch()
        config.add_cleanup(patched.undo)
        _use(patched, config.rootpath / str(named))


@pytest.fixture
def recorded_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RecordedCatalog:
    """Makes a recorded catalog the governed one for this test: ``recorded_catalog(file)`` or of a mapping.

    ``recorded_catalog({name: definition, …}, actions={name: ["load"]}, environment="dev")``: without ``actions`` each
    dataset may be loaded and saved. It holds for processes that the test starts, too. It gives the file.
    """

    def use(
        catalog: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]],
        *,
        actions: Mapping[str, Sequence[str]] | None = None,
        **head: Any,
    ) -> Path:
        if isinstance(catalog, Mapping):
            said = {"actions": {name: list(given) for name, given in (actions or {}).items()}, **head}
            file = tmp_path / "recorded_catalog.yml"
            file.write_text(_yaml({"_muniment": said, **catalog}), encoding="utf-8")
        elif actions or head:
            raise TypeError("What may be done with the datasets of a file stands in the file, under `_muniment:`.")
        else:
            file = Path(catalog).resolve()
        _use(monkeypatch, file)
        return file

    return use


def _use(patched: pytest.MonkeyPatch, file: Path) -> None:
    for name in CREDENTIALS:
        patched.delenv(name, raising=False)
    patched.setenv(VARIABLE, str(file))


def _yaml(document: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump({name: _plain(held) for name, held in document.items()}, sort_keys=False)
    return text


def _plain(value: Any) -> Any:
    """Mappings, sequences and paths as YAML has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
