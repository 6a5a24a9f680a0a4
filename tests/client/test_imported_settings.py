"""What `muniment import` writes into a project's muniment.yml lets the plugin load what was imported."""

from __future__ import annotations

from pathlib import Path

import yaml

from kedro_muniment.config import KEYS
from kedro_muniment.entries.definitions import Building
from muniment.core.dataset_types import KnownTypes
from muniment.core.projects.conf import read_conf
from muniment.core.projects.governed import Aim, govern
from muniment.core.projects.written import settings_text

TYPES = KnownTypes.newest()
CONF = """\
"Model@pandas": {type: pandas.ParquetDataset, filepath: s3://lake/model}
"Model@pickle": {type: pickle.PickleDataset, filepath: s3://lake/model}
"{Region}.orders": {type: pandas.CSVDataset, filepath: "data/{Region}.csv"}
"x.y": {type: acme.datasets.Letter}
any: {type: pandas.GenericDataset, file_format: pickle, filepath: data/any}
"""


def _settings(text: str) -> dict:
    imported = govern(read_conf({"base/catalog.yml": text}), Aim("shop", TYPES))
    assert not imported.left
    return _said(imported)


def _said(imported) -> dict:
    written = settings_text(imported, TYPES, domain="shop", url="https://m.example.org", default_environment="dev")
    said = {}
    for key, value in yaml.safe_load(written).items():
        said |= KEYS[key](value)
    return said


def test_every_key_and_name_that_an_import_writes_is_one_that_the_plugin_takes():
    said = _settings(CONF)
    assert dict(said["names"]) == {
        "Model@pandas": "shop.model_pandas",
        "Model@pickle": "shop.model_pickle",
        "any": "shop.any",
        "x.y": "shop.x_y",
        "{region}.orders": "shop.{region}_orders",
    }
    assert (said["project_paths"], said["governed"]) == (True, ("shop.*",))


def test_every_type_that_can_be_imported_is_allowed_by_what_the_import_writes():
    allowed = 0
    for kind in (*TYPES.types, "acme.datasets.Letter"):
        known = TYPES.find(kind)
        needed = {parameter.name for parameter in known.parameters if parameter.required} if known else set()
        usual = {"filepath": "s3://lake/x", "path": "s3://lake/x", "dataset": "text.TextDataset"}
        entry = {"type": kind, **{name: usual.get(name, "x") for name in sorted(needed)}}
        imported = govern(read_conf({"base/catalog.yml": yaml.safe_dump({"one": entry})}), Aim("shop", TYPES))
        if imported.taken:
            said = _said(imported)
            permitted = {key: said[key] for key in ("types", "allow_code_formats") if key in said}
            Building(Path(), **permitted)._check_type(kind, {})
            allowed += 1
    assert allowed > 80
