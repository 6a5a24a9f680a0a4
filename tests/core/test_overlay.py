"""Environments over ``base``, variables, and factory patterns do what they do in a project: asked of Kedro itself."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader
from kedro.io.catalog_config_resolver import CatalogConfigResolver

from muniment.core.catalog import as_json, entry_of, made
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide
from muniment.core.definitions import check, with_placeholders
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.names import is_dataset
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA

pytestmark = pytest.mark.filterwarnings(r"ignore:register_new_resolver\(\) is deprecated:UserWarning")

ANN = SubjectState(Subject.parse("user:ann"), "corp")
NAMES = ("sales.orders", "sales.rates", "sales.targets")
TYPES = KnownTypes.newest()
LAYERS = ("base", "dev", "prod")
VARIABLES = ("bucket", "tier", "zone")

texts = st.sampled_from(
    ["lake", "${globals:bucket}", "/${globals:tier}/x", "${globals:zone, eu}", "${globals:zone, 1}"]
)
arguments = st.dictionaries(st.sampled_from(["sep", "header", "dtype"]), texts | st.integers(0, 3), max_size=2)
definitions = st.fixed_dictionaries(
    {"type": st.sampled_from(["pandas.CSVDataset", "json.JSONDataset"]), "filepath": texts},
    optional={"load_args": arguments, "save_args": arguments},
)
catalogs = st.fixed_dictionaries(
    {layer: st.dictionaries(st.sampled_from(NAMES), definitions, max_size=2) for layer in LAYERS}
)
#: Of each variable that has no default, ``base`` has a value: Kedro refuses the whole catalog for one that has none.
values = st.sampled_from(["red", "blue"])
variables = st.fixed_dictionaries(
    {
        "base": st.fixed_dictionaries({"bucket": values, "tier": values}, optional={"zone": values}),
        **{layer: st.dictionaries(st.sampled_from(VARIABLES), values) for layer in ("dev", "prod")},
    }
)


def realm_of(datasets: Mapping[str, Mapping[str, Any]], given: Mapping[str, Mapping[str, str]]) -> Realm:
    """What stands in a project's catalogs by layer, as the service keeps it."""
    layered = {name: {layer: held[name] for layer, held in datasets.items() if name in held} for name in NAMES}
    return Realm(
        1,
        SCHEMA,
        datasets={name: Dataset(name, "team", environments=layers, version=1) for name, layers in layered.items()},
        domains={"sales": Domain("sales", "team")},
        environments={name: Environment(name, variables=held) for name, held in given.items()},
        policies={"all": Policy("all", "permit (principal, action, resource);")},
    )


def kedros(
    folder: Path, datasets: Mapping[str, Mapping[str, Any]], given: Mapping[str, Mapping[str, str]], environment: str
) -> Any:
    """The catalog that Kedro reads from the same, in files."""
    for layer in LAYERS:
        (folder / layer).mkdir()
        (folder / layer / "catalog.yml").write_text(yaml.safe_dump(datasets[layer]))
        (folder / layer / "globals.yml").write_text(yaml.safe_dump(given[layer]))
    loader = OmegaConfigLoader(str(folder), env=environment, base_env="base", default_run_env="dev")
    return loader["catalog"]


@given(catalogs, variables, st.sampled_from(["dev", "prod"]))
def test_what_is_served_in_an_environment_is_what_kedro_makes_of_the_same_files(datasets, given, environment):
    """Seen to fail with an environment's definition merged into that of ``base``, key by key."""
    realm = realm_of(datasets, given)
    wanted = Wanted(environment)
    decided = [(d, decide(realm, ANN, wanted, NOON, d)) for d in realm.datasets.values()]
    catalog = made(realm, wanted, [entry_of(dataset, each, wanted) for dataset, each in decided])
    with tempfile.TemporaryDirectory() as folder:
        assert json.loads(as_json(realm, catalog)) == kedros(Path(folder), datasets, given, environment)


# --- factories -------------------------------------------------------------------------------------

leaves = st.text("ab_", min_size=1, max_size=4)
literals = st.text("ab_", max_size=2)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """A factory pattern; several are often as specific as one another."""
    parts = draw(st.lists(literals, min_size=2, max_size=4))
    name = "sales." + "".join(f"{text}{{p{index}}}" for index, text in enumerate(parts[:-1])) + parts[-1]
    return name if is_dataset(name) else "sales.{p0}_a"


@given(st.lists(patterns(), min_size=1, max_size=6, unique=True), st.lists(leaves, max_size=2), leaves)
def test_the_name_itself_stands_first_then_the_pattern_that_kedro_takes(names, explicit, leaf):
    declared = {
        name: {"type": "json.JSONDataset", "filepath": f"/{number}/{name}"} for number, name in enumerate(names)
    }
    declared |= {f"sales.{held}": {"type": "json.JSONDataset", "filepath": f"/own/{held}"} for held in explicit}
    realm = Realm(
        1,
        SCHEMA,
        datasets={name: Dataset(name, "team", environments={"base": held}) for name, held in declared.items()},
        domains={"sales": Domain("sales", "team")},
    )
    resolver = CatalogConfigResolver(copy.deepcopy(declared), default_runtime_patterns={"{rest}": {"type": "x.None"}})
    name = f"sales.{leaf}"
    found = realm.resolve(name)
    assert (found.environments["base"] if found else {"type": "x.None"}) == resolver.resolve_pattern(name)


BRACED = ["{region}", "{{", "}}", "{{region}}", "{{{region}}}", "{{x}}", "a", "/", "}", "{"]


@given(st.lists(st.sampled_from(BRACED), max_size=5))
def test_a_text_in_a_pattern_is_filled_in_as_kedro_formats_it(parts):
    """What may be declared, that is: a lone brace is refused."""
    pattern, name = "sales.{region}_orders", "sales.emea_orders"
    text = "".join(parts)
    definition = {"type": "pandas.CSVDataset", "filepath": "project://data/x.csv", "load_args": {"x": [text]}}
    if check(definition, name=pattern, types=TYPES, locations=[]):
        return
    formatted = CatalogConfigResolver._resolve_dataset_config(name, pattern, copy.deepcopy(definition))
    assert with_placeholders(definition, {"region": "emea"}) == formatted


def test_what_is_filled_in_later_keeps_its_braces():
    text = "{{{region}}}/${globals:tier, raw}/${runtime_params:day, 1}}}"
    assert with_placeholders({"a": [text]}, {"region": "emea"}) == {
        "a": ["{emea}/${globals:tier, raw}/${runtime_params:day, 1}}"]
    }
