"""What real projects wrote in their catalogs is taken, or refused for a reason that is true of the entry.

The catalogs are public teaching and starter projects', read where they lie beside the
checkout. They hold relative paths, which no governed definition may, so most entries
are refused as they stand; the last test says the same things the governed way and
sees them taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from muniment.core.dataset_types import KnownTypes
from muniment.core.definitions import check
from muniment.core.locations import parse_location

CATALOGS = Path(__file__).parents[3] / "shared" / "catalogs"
FILES = sorted(CATALOGS.rglob("catalog*.yml"))
TYPES = KnownTypes.newest()
#: Where a company would keep what these projects keep: the bucket and the mounted folder that they name.
LOCATIONS = (parse_location("s3://spaceflights/"), parse_location("/dbfs/FileStore/"))

pytestmark = pytest.mark.skipif(not FILES, reason="no real catalogs beside the checkout")


def _catalog(file):
    # A catalog of a cookiecutter template is YAML only once the project's name is filled in.
    text = file.read_text(encoding="utf-8").replace("{{ cookiecutter.python_package }}", "company")
    return yaml.safe_load(text) or {}


def _entries():
    for file in FILES:
        for name, entry in _catalog(file).items():
            if not name.startswith("_"):
                yield file, name, entry


def _faults():
    for file, name, entry in _entries():
        for fault in check(entry, name=name, types=TYPES, locations=LOCATIONS):
            yield f"{file.relative_to(CATALOGS)}: {name}", entry, fault


def _at(entry, path):
    """What stands at a fault's place; the entry's own key may hold dots nowhere in these catalogs."""
    for key in path.split("."):
        entry = entry[int(key) if isinstance(entry, list) else key] if not isinstance(entry, str) else entry
    return entry


def _is_custom(entry, path):
    name = _at(entry, path)
    packages = ("kedro.", "kedro_datasets.", "kedro_datasets_experimental.")
    stable = {known.rpartition(".")[0] for known in TYPES.types}
    return not name.startswith(packages) and name.rpartition(".")[0] not in stable


#: What a refusal says, and what must be true of the entry for it to be right.
REASONS: dict[str, Callable[[object, str], object]] = {
    "A relative path means another place": lambda e, at: re.match(r"(?!/)[\w${}.,: -]+(/|$)", _at(e, at)),
    "Unknown type": _is_custom,
    "is not what the type is called today": lambda e, at: TYPES.find(_at(e, at)) is None,
    "${runtime_params:name}, each with or without a default, can be filled in": lambda e, at: re.search(
        r"\$\{(_|\w+:\}|kedro_root|pl:)", _at(e, at)
    ),
    "A path begins with its location": lambda e, at: _at(e, at).startswith("${"),
    "layer stands under metadata": lambda e, _: "layer" in e,
    "An argument must not name a server": lambda e, at: _at(e, at).startswith("data/"),
    "must not hold a secret": lambda _, at: at.endswith("secret"),
    "must not say which server": lambda _, at: at.endswith((".key", ".client_kwargs")),
}


def test_every_refusal_of_a_real_entry_is_for_a_reason_that_is_true_of_it():
    wrong = [
        f"{where} {fault.at}: {fault.message}"
        for where, entry, fault in _faults()
        if not any(words in fault.message and holds(entry, fault.at) for words, holds in REASONS.items())
    ]
    assert not wrong


def test_no_type_that_kedro_datasets_has_under_any_spelling_is_called_unknown():
    unknown = {_at(entry, fault.at) for _, entry, fault in _faults() if fault.message.startswith("Unknown type")}
    names = {known.rpartition(".")[2].lower() for known in TYPES.types}
    assert unknown
    assert not {name for name in unknown if name.rpartition(".")[2].lower() in names}


def test_an_old_spelling_is_refused_with_a_name_that_exists():
    told = {re.search(r"Write (\S+)\.$", fault.message)[1] for _, _, fault in _faults() if "today" in fault.message}
    assert "pandas.CSVDataset" in told
    assert all(TYPES.find(name) for name in told)


def test_almost_every_real_entry_is_taken_once_it_says_the_same_things_the_governed_way():
    taken, refused = 0, {}
    for file, name, entry in _entries():
        said = _governed(entry, {key: value for key, value in _catalog(file).items() if key.startswith("_")})
        faults = check(said, name=name, types=_knowing(said["type"]), locations=LOCATIONS)
        if faults:
            refused[name] = refused.get(name, set()) | {fault.at for fault in faults}
        else:
            taken += 1
    # The one that holds keys and a server stays refused, for both.
    assert refused == {"companies": {"fs_args.key", "fs_args.secret", "fs_args.client_kwargs"}}
    assert taken > 300


def _knowing(name):
    return TYPES if TYPES.find(name) is not None else TYPES.registering([name])


def _governed(entry, own):
    """The entry as a steward would declare it: variables resolved, names of today, paths that say whose they are."""
    said = _rewritten(entry, own)
    layer = said.pop("layer", None)
    if layer is not None:
        said.setdefault("metadata", {"kedro-viz": {"layer": layer}})
    return said


def _rewritten(value, own, key=""):
    if isinstance(value, dict):
        return {inner: _rewritten(item, own, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, own) for item in value]
    if not isinstance(value, str):
        return value
    if key in {"type", "dataset"}:
        return TYPES.renamed(value) or value
    value = _resolved(value, own)
    if key in {"filepath", "path"}:
        value = re.sub(r"(?<!:)//", "/", value.replace("file:///", "/"))
        own = value.lstrip("/").removeprefix("data/")
        return value if value.startswith(("/dbfs/", "s3://")) else f"project://data/{own}"
    return value


def _resolved(value, own):
    while (found := re.search(r"\$\{(_\w+)\}", value)) is not None:
        value = value.replace(found[0], str(own.get(found[1], "somewhere")))
    return re.sub(r"\$\{kedro_root:\}/", "", re.sub(r"\$\{pl:(\w+)\}", r"\1", value))
