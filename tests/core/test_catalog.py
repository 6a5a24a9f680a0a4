"""What is served is what Kedro itself loads, to the letter; its digest is over what was decided and no more."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from muniment.core.catalog import (
    Catalog,
    Entry,
    as_json,
    as_lease,
    as_yaml,
    catalog_of,
    entry_of,
    made,
    patterns_of,
    resolved,
    tag,
    unfilled,
)
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Wanted, decide, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.policies import Policy
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA

ANN = SubjectState(Subject.parse("user:ann"), "corp")
PROD = Wanted("prod")
GOLDEN = Path(__file__).parent / "golden"

ORDERS = Dataset(
    "sales.orders",
    "team",
    environments={
        "base": {"type": "pandas.CSVDataset", "filepath": "/data/dev/orders.csv"},
        "prod": {
            "type": "pandas.CSVDataset",
            "filepath": "/data/${globals:bucket}/orders.csv",
            "load_args": {"sep": ";", "dtype": {"zip": "str"}, "na_values": ["", "no"], "nrows": 10},
            "versioned": True,
        },
    },
    version=3,
)
ROWS = Dataset(
    "sales.{region}_rows",
    "team",
    environments={"base": {"type": "json.JSONDataset", "filepath": "/data/{region}/rows.json"}},
    version=2,
)
PEOPLE = Dataset("hr.people", "team", environments={"dev": {"type": "json.JSONDataset", "filepath": "/p"}}, version=1)


def realm(*datasets: Dataset) -> Realm:
    return Realm(
        1,
        SCHEMA,
        datasets={dataset.name: dataset for dataset in datasets or (ORDERS, ROWS, PEOPLE)},
        domains={
            "sales": Domain("sales", "team", variables={"bucket": "lake", "region": "emea"}, version=5),
            "hr": Domain("hr", "team", version=2),
        },
        environments={"dev": Environment("dev", version=1), "prod": Environment("prod", version=1)},
        policies={"all": Policy("all", "permit (principal, action, resource);")},
    )


def served(house: Realm, wanted: Wanted = PROD) -> Catalog:
    return catalog_of(house, list_all(house, ANN, wanted, NOON), wanted)


def patterns(house: Realm, wanted: Wanted = PROD) -> dict[str, Any]:
    return dict(patterns_of(house, list_all(house, ANN, wanted, NOON), wanted))


def asked_for(house: Realm, *names: str, wanted: Wanted = PROD) -> Catalog:
    """The catalog of these names alone."""
    found = [dataset for dataset in map(house.resolve, names) if dataset]
    entries = [entry_of(dataset, decide(house, ANN, wanted, NOON, dataset), wanted) for dataset in found]
    return made(house, wanted, entries)


def defined(definition: dict[str, Any]) -> Realm:
    return realm(replace(ORDERS, environments={"base": definition}))


def read_both(house: Realm) -> dict[str, Any]:
    """The catalog as JSON and as YAML, which say the same."""
    catalog = served(house)
    read: dict[str, Any] = json.loads(as_json(house, catalog))
    assert yaml.safe_load(as_yaml(house, catalog)) == read
    return read


# --- golden ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["catalog.yml", "catalog.json", "lease.json"])
def test_what_is_served_is_what_was_reviewed(name):
    house = realm()
    catalog = served(house)
    text = {
        "catalog.yml": as_yaml(house, catalog),
        "catalog.json": as_json(house, catalog),
        "lease.json": as_lease(house, catalog, {"sales.orders": NOON + timedelta(hours=1)}, patterns(house)),
    }[name]
    assert text.decode().rstrip("\n") == (GOLDEN / name).read_text(encoding="utf-8").rstrip("\n")


# --- Kedro loads it --------------------------------------------------------------------------------


def test_kedro_loads_what_is_served():
    house = realm()
    loaded = DataCatalog.from_config(json.loads(as_json(house, served(house))))
    orders = loaded["sales.orders"]
    assert type(orders).__name__ == "CSVDataset"
    assert str(orders._filepath) == "/data/lake/orders.csv"
    assert orders._load_args["dtype"] == {"zip": "str"}
    made_by_pattern = DataCatalog.from_config(json.loads(as_json(house, asked_for(house, "sales.north_rows"))))
    assert str(made_by_pattern["sales.north_rows"]._filepath) == "/data/north/rows.json"


HOSTILE = [
    "yes",
    "No",
    "y",
    "n",
    "on",
    "OFF",
    "true",
    "null",
    "~",
    "",
    " ",
    "1e3",
    "1_000",
    "0o7",
    "0x1F",
    "0b1",
    "010",
    ".5",
    "12",
    "12:30",
    "-.inf",
    ".NaN",
    "nan",
    "2024-01-01",
    "2024-01-01T10:00:00Z",
    "=",
    "<<",
    "!!python/object:os.system",
    "&a",
    "*a",
    "a: #b",
    "a #b",
    "- a",
    "---",
    "...",
    "? a",
    "%TAG",
    "@a",
    "`a`",
    "{a}",
    "[a]",
    "'a'",
    '"a"',
    "a\nb\n",
    "\ttab",
    "a\\nb",
    "x" * 500,
    "trailing ",
    "a:",
    ":a",
    "é 漢字 🙂",
    "\u2028line",
    "\ufeffbom",
    "\u0085next",
    "nul\x07",
    "s3://lake/sales/orders.csv",
]


@pytest.mark.filterwarnings("ignore:register_new_resolver:UserWarning")  # Kedro's own, with OmegaConf 2.4
@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_stays_that_text_for_every_reader(text, tmp_path):
    definition = {"type": "pandas.CSVDataset", "filepath": "/x", "load_args": {"sep": text, "names": [text]}}
    house = defined(definition)
    assert read_both(house)["sales.orders"] == definition
    (tmp_path / "base").mkdir()
    (tmp_path / "local").mkdir()
    (tmp_path / "base" / "catalog.yml").write_bytes(as_yaml(house, served(house)))
    kedros = OmegaConfigLoader(str(tmp_path), base_env="base", default_run_env="local")
    assert kedros["catalog"]["sales.orders"] == definition


@pytest.mark.parametrize("key", [key for key in HOSTILE if "\n" not in key])
def test_a_key_stays_that_key(key):
    definition = {"type": "pandas.CSVDataset", "load_args": {"dtype": {key: "str"}}}
    assert read_both(defined(definition))["sales.orders"] == definition


PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    PLAIN | st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "${" not in text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc:# '-", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_yaml_and_json_say_the_same(value):
    definition = {"type": "pandas.CSVDataset", "load_args": {"value": value}}
    assert read_both(defined(definition))["sales.orders"] == definition


def test_a_value_that_occurs_twice_is_written_twice():
    again = {"a": 1}
    house = defined({"type": "x.Y", "load_args": again, "save_args": again})
    assert b"&" not in as_yaml(house, served(house))


def test_an_empty_catalog_is_an_empty_mapping():
    house = replace(realm(), policies={})
    assert read_both(house) == {}


# --- which entries ---------------------------------------------------------------------------------


def test_a_dataset_without_a_definition_there_is_not_in_the_catalog():
    assert served(realm()).names == ("sales.orders",)
    assert "hr.people" in served(realm(), Wanted("dev")).names


@pytest.mark.parametrize(
    ("lifecycle", "there"), [("draft", False), ("active", True), ("deprecated", True), ("retired", False)]
)
def test_drafts_and_retired_datasets_are_in_no_catalog_and_no_lease(lifecycle, there):
    house = realm(replace(ORDERS, lifecycle=Lifecycle(lifecycle)), ROWS)
    catalog = served(house)
    assert ("sales.orders" in catalog.names) is there
    lease = as_lease(house, catalog, {"sales.orders": NOON, "hr.people": NOON})
    assert (b"sales.orders" in lease) is there
    assert json.loads(lease)["ends"] == ({"sales.orders": "2026-06-01T12:00:00Z"} if there else {})


def test_a_name_that_a_pattern_makes_is_an_entry_of_its_own():
    house = realm()
    catalog = asked_for(house, "sales.north_rows")
    assert json.loads(as_json(house, catalog))["sales.north_rows"]["filepath"] == "/data/north/rows.json"


# --- factory patterns ------------------------------------------------------------------------------

DENIED = 'forbid (principal, action, resource) when { resource.name like "sales.secret_*" };'


def test_no_catalog_holds_a_pattern_not_even_one_that_is_asked_for():
    """Kedro would resolve every name by it. Seen to fail with patterns served as datasets are."""
    house = realm()
    assert served(house).names == ("sales.orders",)
    assert asked_for(house, ROWS.name).names == ()


def test_a_pattern_is_told_by_name_with_what_may_be_done_to_what_is_called_so():
    house = realm()
    assert patterns(house) == {ROWS.name: (Action.LOAD, Action.SAVE)}
    loads = Policy("all", 'permit (principal, action == Action::"load", resource);')
    assert patterns(replace(house, policies={"all": loads})) == {ROWS.name: (Action.LOAD,)}
    assert patterns(replace(house, policies={})) == {}


@pytest.mark.parametrize(
    "pattern",
    [
        replace(ROWS, lifecycle=Lifecycle.DRAFT),
        replace(ROWS, lifecycle=Lifecycle.RETIRED),
        replace(ROWS, environments={"dev": ROWS.environments["base"]}),
    ],
)
def test_a_pattern_that_serves_nothing_there_is_not_told(pattern):
    assert patterns(realm(ORDERS, pattern)) == {}


def test_each_name_that_a_pattern_makes_is_decided_on_for_itself():
    house = realm()
    house = replace(house, policies={**house.policies, "no": Policy("no", DENIED)})
    assert asked_for(house, "sales.north_rows", "sales.secret_rows").names == ("sales.north_rows",)


@pytest.mark.parametrize("lifecycle", list(Lifecycle))
def test_an_explicit_name_that_is_denied_is_reached_through_no_pattern(lifecycle):
    explicit = replace(ORDERS, name="sales.north_rows", tags=frozenset({"pii"}), lifecycle=lifecycle)
    house = realm(ROWS, explicit)
    forbid = Policy("no", 'forbid (principal, action, resource) when { resource.tags.contains("pii") };')
    house = replace(house, policies={**house.policies, "no": forbid})
    assert asked_for(house, "sales.north_rows", "sales.south_rows").names == ("sales.south_rows",)


def test_a_more_specific_pattern_that_is_denied_gives_way_to_no_other():
    north = replace(ROWS, name="sales.north_{kind}_rows", tags=frozenset({"pii"}))
    house = realm(ROWS, north)
    forbid = Policy("no", 'forbid (principal, action, resource) when { resource.tags.contains("pii") };')
    house = replace(house, policies={**house.policies, "no": forbid})
    assert asked_for(house, "sales.north_cold_rows", "sales.south_cold_rows").names == ("sales.south_cold_rows",)


def test_saving_alone_is_served_as_saving_alone():
    house = replace(realm(), policies={"p": Policy("p", 'permit (principal, action == Action::"save", resource);')})
    lease = json.loads(as_lease(house, served(house), {}, patterns(house)))
    assert lease["actions"] == {"sales.orders": ["save"]}
    assert lease["patterns"] == {"sales.{region}_rows": ["save"]}


# --- variables -------------------------------------------------------------------------------------


def variable(house: Realm, text: str) -> object:
    dataset = replace(ORDERS, environments={"base": {"type": "x.Y", "filepath": text}})
    return resolved(house, dataset, "prod")["filepath"]


def test_the_word_of_the_environment_beats_that_of_the_domain():
    house = replace(realm(), environments={"prod": Environment("prod", variables={"bucket": "vault"})})
    assert variable(realm(), "/data/${globals:bucket}/${globals:region}") == "/data/lake/emea"
    assert variable(house, "/data/${globals:bucket}/${globals:region}") == "/data/vault/emea"


def test_a_near_domain_beats_a_far_one_and_an_environment_its_base():
    house = realm(replace(ORDERS, name="sales.emea.orders"))
    house = replace(
        house, domains={**house.domains, "sales.emea": Domain("sales.emea", "team", variables={"bucket": "near"})}
    )
    assert house.variables_of("sales.emea", "prod")["bucket"] == "near"
    layered = replace(
        house,
        environments={
            "base": Environment("base", variables={"bucket": "below"}),
            "prod": Environment("prod", variables={"bucket": "above"}),
        },
    )
    assert layered.variables_of("sales.emea", "prod")["bucket"] == "above"
    assert layered.variables_of("sales.emea", "dev")["bucket"] == "below"


def test_a_default_stands_where_nothing_gives_a_value():
    assert variable(realm(), "/data/${globals:tier, raw}") == "/data/raw"


def test_a_variable_without_a_value_stays_as_it_is_written_and_is_named():
    house = defined(
        {"type": "x.Y", "filepath": "/${globals:tier}/${globals:bucket}", "load_args": {"a": ["${globals:b, 1}"]}}
    )
    dataset = house.datasets["sales.orders"]
    assert unfilled(house, dataset, "prod") == ("tier",)
    assert resolved(house, dataset, "prod")["filepath"] == "/${globals:tier}/lake"


def test_a_variable_that_changes_is_served_at_once():
    house = realm()
    assert b"/data/lake/" in as_json(house, served(house))
    moved = house.after(2, [Change(Domain, "sales", Domain("sales", "team", variables={"bucket": "sea"}, version=6))])
    assert b"/data/sea/" in as_json(moved, served(moved))
    assert b"/data/lake/" in as_json(house, served(house))


def test_what_is_only_supposed_never_reaches_a_catalog_that_is_served():
    house = realm()
    served_before = as_json(house, served(house))
    other = replace(ORDERS, environments={"base": {"type": "x.Y", "filepath": "/other"}})
    supposed = house.after(2, [Change(Dataset, "sales.orders", other)])
    assert b"/other" in as_json(supposed, served(supposed))
    assert as_json(house, served(house)) == served_before


# --- digest and tags -------------------------------------------------------------------------------

UNRELATED = [
    Change(Policy, "more", Policy("more", 'permit (principal == User::"bob", action, resource);')),
    Change(Policy, "all2", Policy("all2", "permit (principal, action, resource);")),
    Change(Dataset, "hr.people", replace(PEOPLE, version=2, description="other")),
    Change(Domain, "hr", Domain("hr", "office", variables={"a": "b"}, version=3)),
    Change(Environment, "dev", Environment("dev", variables={"bucket": "dev"}, version=2)),
    Change(Environment, "prod", Environment("prod", description="the real one", version=2)),
]
RELATED = [
    Change(Dataset, "sales.orders", replace(ORDERS, version=4)),
    Change(Dataset, "sales.orders", None),
    Change(Domain, "sales", Domain("sales", "team", variables={"bucket": "sea"}, version=6)),
    Change(Environment, "prod", Environment("prod", variables={"bucket": "vault"}, version=2)),
    Change(Environment, "base", Environment("base", variables={"tier": "gold"}, version=1)),
    Change(Policy, "no", Policy("no", 'forbid (principal, action == Action::"save", resource);')),
]


@pytest.mark.parametrize("change", UNRELATED)
def test_what_is_decided_has_the_same_digest_whatever_else_changes(change):
    assert served(realm().after(2, [change])).sha256 == served(realm()).sha256


@pytest.mark.parametrize("change", RELATED)
def test_what_is_decided_has_another_digest_when_it_changes(change):
    assert served(realm().after(2, [change])).sha256 != served(realm()).sha256


NEIGHBOURS = ("a", "a.b", "a.b.c", "a_b", "ab", "b")


@given(
    st.sets(st.sampled_from([f"{domain}.{leaf}" for domain in NEIGHBOURS for leaf in "xyz"])),
    st.sets(st.sampled_from([ROOT, *NEIGHBOURS])),
)
@example({"ab.x"}, {"a"})
def test_a_digest_is_over_the_variables_of_the_domains_of_entries_and_of_those_above(names, with_variables):
    """By its definition. Seen to fail with what begins alike taken for what stands below."""
    house = replace(
        realm(),
        domains={
            name: Domain(name, "team", variables={"a": "b"} if name in with_variables else {}, version=number)
            for number, name in enumerate([ROOT, *NEIGHBOURS])
        },
    )
    entries = [Entry(Dataset(name, "team", version=7), (Action.LOAD,)) for name in names]
    above = {domain for name in names for domain in lineage(domain_of(name))}
    lines = [[name, 7, ["load"], [], None] for name in sorted(names)]
    variables = [[name, house.domains[name].version] for name in sorted(above & with_variables)]
    assert made(house, PROD, entries).sha256 == sha256(orjson.dumps([lines, variables, []])).hexdigest()


def test_an_entry_that_is_held_takes_hundreds_of_bytes_and_not_thousands():
    many = realm(*(replace(ORDERS, name=f"sales.orders_{number}") for number in range(1000)))
    everything = list_all(many, ANN, PROD, NOON)
    tracemalloc.start()
    try:
        held = catalog_of(many, everything, PROD)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(held.entries) == 1000
    assert taken < 1000 * 1000


def test_a_tag_is_the_same_for_the_same_answer_and_for_no_other():
    house = realm()
    catalog = served(house)

    def tagged(of: Catalog = catalog, **other: Any) -> str:
        return tag(of, **{"media": "json", "coding": "", "asked": None, **other})

    tags = [
        tagged(),
        tagged(media="yaml"),
        tagged(coding="gzip"),
        tagged(asked=["a"]),
        tagged(asked=[]),
        tagged(extra="x"),
        tagged(served(house, Wanted("prod", project="churn"))),
        tagged(served(house, Wanted("prod", purpose="churn"))),
        tagged(served(house.after(2, [RELATED[0]]))),
    ]
    assert len(set(tags)) == len(tags)
    assert tagged() == tagged(served(realm()))
    assert tagged(asked=["b", "a"]) == tagged(asked=["a", "b"])
    assert all(text.startswith('"') and text.endswith('"') and text[1:-1].isalnum() for text in tags)


@given(st.sets(st.sampled_from(["sales.orders", "sales.{region}_rows", "hr.people"])))
def test_the_entries_of_a_part_are_those_of_the_whole(names):
    house = realm()
    part = catalog_of(house, list_all(house, ANN, PROD, NOON, only=names), PROD)
    assert part.entries == tuple(entry for entry in served(house).entries if entry.dataset.name in names)
    assert all(entry.actions == (Action.LOAD, Action.SAVE) for entry in part.entries)


def test_a_name_that_a_pattern_made_and_one_declared_since_have_different_tags():
    wanted = Wanted("dev")
    before = realm(ROWS)
    declared = replace(
        ROWS, name="sales.eu_rows", environments={"base": {"type": "json.JSONDataset", "filepath": "/x"}}
    )
    after = before.after(2, [Change(Dataset, declared.name, declared)])
    tags = set()
    for house in (before, after):
        dataset = house.resolve("sales.eu_rows")
        assert dataset is not None
        catalog = made(house, wanted, [entry_of(dataset, decide(house, ANN, wanted, NOON, dataset), wanted)])
        tags.add(tag(catalog, media="application/json", coding="identity", asked=["sales.eu_rows"]))
    assert len(tags) == 2


def test_another_renderer_changes_the_tag_and_not_the_digest(monkeypatch):
    catalog = served(realm())
    held = tag(catalog, media="application/json", coding="identity", asked=None)
    monkeypatch.setattr("muniment.core.catalog.RENDERER", 0)
    assert tag(catalog, media="application/json", coding="identity", asked=None) != held
    assert served(realm()).sha256 == catalog.sha256
