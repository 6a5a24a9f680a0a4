"""The shipped knowledge of dataset types is what the installed kedro-datasets says.

Run with ``MUNIMENT_REGENERATE=1`` after a new version of kedro-datasets was installed: the
file of that version is then written instead of compared.
"""

from __future__ import annotations

import importlib
import inspect
import os
from importlib.metadata import version
from pathlib import Path

import kedro
import kedro_datasets
import pytest
from kedro.io.core import parse_dataset_definition

from muniment.core import dataset_types
from muniment.core.dataset_survey import KEDRO_IO, survey
from muniment.core.dataset_types import KnownTypes, to_json

INSTALLED = version("kedro-datasets")
SHIPPED = Path(dataset_types.__file__).parent / "known_types" / f"{INSTALLED}.json"


def _sources():
    """The text of kedro-datasets and of ``kedro.io``, by path; nothing of it is imported."""
    datasets, io = Path(kedro_datasets.__file__).parents[1], Path(kedro.__file__).parents[1]
    places = ((datasets, "kedro_datasets"), (datasets, "kedro_datasets_experimental"), (io, "kedro/io"))
    return {
        file.relative_to(site).as_posix(): file.read_text(encoding="utf-8")
        for site, folder in places
        for file in (site / folder).rglob("*.py")
        if "tests" not in file.relative_to(site).parts
    }


@pytest.fixture(scope="module")
def surveyed():
    return KnownTypes.of(INSTALLED, survey(_sources()))


def test_the_shipped_types_are_those_of_the_installed_version(surveyed):
    if os.environ.get("MUNIMENT_REGENERATE") == "1":
        SHIPPED.write_text(to_json(surveyed), encoding="utf-8")
    assert SHIPPED.read_text(encoding="utf-8") == to_json(surveyed)


def test_the_survey_finds_every_public_dataset(surveyed):
    names = surveyed.types.keys()
    assert set(KEDRO_IO) <= names
    assert {"pandas.CSVDataset", "spark.SparkDatasetV2", "partitions.IncrementalDataset"} <= names
    assert len(names) >= 90
    assert not any(name.rpartition(".")[2].startswith("Abstract") for name in names)


def _importable(known):
    try:
        return getattr(importlib.import_module(known.module), known.name.rpartition(".")[2])
    except ImportError:
        return None


def _of_class(found, name):
    return getattr(found, f"DEFAULT_{name.upper()}")


@pytest.mark.filterwarnings("ignore")
def test_what_the_survey_read_is_what_python_says_of_every_type_that_can_be_imported(surveyed):
    compared = 0
    for known in surveyed.types.values():
        found = _importable(known)
        if found is None:
            continue
        compared += 1
        signature = inspect.signature(found.__init__).parameters.values()
        named = [
            one for one in signature if one.name != "self" and one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}
        ]
        assert [(one.name, one.default is one.empty) for one in named] == [
            (parameter.name, parameter.required) for parameter in known.parameters
        ], known.name
        defaults = {one.name: one.default for one in named}
        for parameter in known.parameters:
            if parameter.default is not None:
                usual = defaults[parameter.name]
                assert parameter.default == (usual if usual is not None else _of_class(found, parameter.name)), known
        assert known.open_ended == any(one.kind is one.VAR_KEYWORD for one in signature), known.name
        assert issubclass(found, kedro.io.AbstractDataset), known.name
    assert compared >= 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["pandas.CSVDataset", "json.JSONDataset", "partitions.PartitionedDataset", *KEDRO_IO])
def test_kedro_itself_finds_a_type_under_every_spelling_that_counts_as_known(surveyed, name):
    known = surveyed.types[name]
    short = name.rpartition(".")[2]
    package = "kedro_datasets." if "." in name else "kedro.io."
    spellings = [name, f"{package}{name}", f"{known.module}.{short}", f"{known.module}.{short}".removeprefix(package)]
    for spelling in spellings:
        assert surveyed.canonical(spelling) == name
        assert parse_dataset_definition({"type": spelling})[0].__name__ == short
