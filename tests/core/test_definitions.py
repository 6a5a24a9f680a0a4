"""A definition is data: what it may say, and what it is refused for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.dataset_types import KnownTypes
from muniment.core.definitions import (
    DEEPEST,
    MOST_NODES,
    canonical_json,
    check,
    path_variables_of,
    validated,
    variables_of,
    with_variables,
)
from muniment.core.locations import parse_location
from muniment.core.problems import InvalidDefinition

TYPES = KnownTypes.newest()
LOCATIONS = (parse_location("s3://lake/sales/"), parse_location("/srv/lake/sales/"))
ORDERS = {
    "type": "pandas.CSVDataset",
    "filepath": "s3://lake/sales/orders.csv",
    "load_args": {"sep": ";", "dtype": {"id": "int64", "token": "str"}, "na_values": ["#NA"]},
    "save_args": {"index": False, "date_format": "%d/%m/%Y"},
    "credentials": "lake",
    "versioned": True,
    "metadata": {"kedro-viz": {"layer": "raw"}, "docs": "https://wiki.example/orders"},
}


def faults(definition, name="sales.orders", **more):
    return check(definition, name=name, **{"types": TYPES, "locations": LOCATIONS, **more})


def only_fault(definition, name="sales.orders", **more):
    found = faults(definition, name, **more)
    assert len(found) == 1, found
    return found[0]


def orders(**changes):
    return {key: value for key, value in {**ORDERS, **changes}.items() if value is not ...}


def csv(**arguments):
    return {"type": "pandas.CSVDataset", "filepath": "s3://lake/sales/x.csv", **arguments}


@pytest.mark.parametrize(
    "definition",
    [
        ORDERS,
        orders(type="kedro_datasets.pandas.CSVDataset"),
        orders(filepath="/srv/lake/sales/orders.csv"),
        orders(filepath="project://data/01_raw/orders.csv"),
        orders(fs_args={"open_args_load": {"mode": "rb", "encoding": "utf-8"}, "open_args_save": {"mode": "w"}}),
        orders(load_args=None),
        {"type": "MemoryDataset", "copy_mode": "assign"},
        {"type": "pandas.SQLTableDataset", "credentials": "warehouse", "table_name": "orders"},
        {"type": "pandas.SQLQueryDataset", "credentials": "warehouse",
         "sql": "select a/b, c::int from t where d = '/x/y'"},
        {"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/parts/", "dataset": "pandas.CSVDataset"},
        {"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/parts", "filename_suffix": ".csv",
         "dataset": {"type": "pandas.CSVDataset", "load_args": {"sep": ";"}, "credentials": "lake"}},
        {"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/parts", "filepath_arg": "path",
         "dataset": {"type": "huggingface.CSVDataset"}},
        {"type": "partitions.IncrementalDataset", "path": "s3://lake/sales/parts", "dataset": "pandas.CSVDataset",
         "checkpoint": {"force_checkpoint": "2024-01-01", "filepath": "s3://lake/sales/parts/CHECKPOINT"}},
        {"type": "CachedDataset", "versioned": True, "dataset": csv()},
        {"type": "pickle.PickleDataset", "filepath": "s3://lake/sales/m.pkl", "backend": "joblib"},
        {"type": "plotly.PlotlyDataset", "filepath": "s3://lake/sales/p.json",
         "plotly_args": {"type": "bar", "fig": {"x": "a", "locations": "iso"}, "layout": {"title": "%{y} per head"}}},
        {"type": "langchain.ChatOpenAIDataset", "credentials": "openai", "kwargs": {"model": "gpt-4o",
         "max_tokens": 9}},
        {"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb", "database": ":memory:"}},
        {"type": "ibis.TableDataset", "table_name": "t",
         "connection": {"backend": "duckdb", "database": "/srv/lake/sales/w.duckdb"}},
        {"type": "spark.SparkDataset", "filepath": "s3://lake/sales/o.csv", "file_format": "csv",
         "load_args": {"schema": {"filepath": "s3://lake/sales/schema.json"}}},
        {"type": "pandas.HDFDataset", "filepath": "s3://lake/sales/o.h5", "key": "/orders/2024"},
        {"type": "pandas.XMLDataset", "filepath": "s3://lake/sales/o.xml", "load_args": {"xpath": "/orders/order"}},
        {"type": "kedro_datasets_experimental.opik.TraceDataset", "credentials": "opik", "project_name": "sales"},
        csv(load_args={"nrows": "${runtime_params:rows, 100}", "sep": "${globals:separator, ;}"}),
        csv(load_args={"nrows": "${runtime_params:Rows}", "x": "no default: ${runtime_params:model.Max-Rows}"}),
        csv(filepath="s3://lake/sales/${runtime_params:client_name,client_1}/orders.csv"),
        csv(filepath="s3://lake/sales/${runtime_params:agent_id}/runs/${runtime_params:run.id, 7}_scores.csv"),
        csv(filepath="project://data/${runtime_params:agent_id}/x.csv"),
        csv(filepath="s3://lake/sales/${globals:zone}/x.csv"),
        csv(filepath="s3://lake/sales/${globals:zone, raw}/x.csv"),
    ],
)  # fmt: skip
def test_what_kedro_can_use_and_everyone_may_see_is_taken(definition):
    assert faults(definition) == []


@pytest.mark.parametrize(
    ("definition", "at", "words"),
    [
        # what it is
        ([], "", "is a mapping"),
        (None, "", "is a mapping"),
        ({}, "type", "Name the dataset's type"),
        ({"type": 7}, "type", "Name the dataset's type"),
        # types
        (orders(type="pandas.CSVDataSet"), "type", "Write pandas.CSVDataset"),
        (orders(type="pandas.CsvDataset"), "type", "Did you mean pandas.CSVDataset"),
        (orders(type="os.system"), "type", "Unknown type"),
        ({"type": "kedro.io.LambdaDataset"}, "type", "made of functions"),
        (orders(type="${globals:type}"), "type", "written out"),
        (orders(type="{kind}.CSVDataset"), "type", "written out"),
        # arguments
        (orders(filepath=...), "filepath", "needs filepath"),
        (orders(filepath=None), "filepath", "needs a value"),
        (orders(encoding="utf-8"), "encoding", "takes no 'encoding'"),
        (orders(version="x"), "version", "versioned: true"),
        (orders(validator={"type": "acme.Check"}), "validator", "names code"),
        (orders(layer="raw"), "layer", "kedro-viz"),
        (orders(load_args="sep"), "load_args", "takes a mapping"),
        (orders(versioned="yes"), "versioned", "true or false"),
        (orders(_root="s3://lake"), "_root", "begin with _"),
        ({"type": "pandas.SQLTableDataset", "credentials": "w", "table_name": "t", "versioned": True},
         "versioned", "keeps no versions"),
        ({"type": "pandas.DeltaTableDataset", "filepath": "s3://lake/sales/d", "metadata": {}}, "metadata", "takes no"),
        # credentials and secrets
        (orders(credentials={"key": "a", "secret": "b"}), "credentials", "never the credentials themselves"),
        (orders(credentials="AKIA IS NOT A NAME"), "credentials", "name of credentials"),
        ({"type": "MemoryDataset", "credentials": "x"}, "credentials", "takes no credentials"),
        (csv(load_args={"password": "hunter2"}), "load_args.password", "must not hold a secret"),
        (csv(load_args={"a": [{"api_key": 12345}]}), "load_args.a.0.api_key", "must not hold a secret"),
        (csv(load_args={"secretAccessKey": "x"}), "load_args.secretAccessKey", "must not hold a secret"),
        (csv(load_args={"fs.s3a.secret.key": "x"}), "load_args.fs.s3a.secret.key", "must not hold a secret"),
        (csv(load_args={"headers": {"X-Api-Key": "x"}}), "load_args.headers.X-Api-Key", "must not hold a secret"),
        (csv(load_args={"credentials": {"key": "x"}}), "load_args.credentials", "never the credentials themselves"),
        (csv(fs_args={"secret": "x"}), "fs_args.secret", "must not hold a secret"),
        (csv(metadata={"db": {"password": "hunter2"}}), "metadata.db.password", "must not hold a secret"),
        (csv(metadata={"note": "AKIAIOSFODNN7EXAMPLE"}), "metadata.note", "must not hold a secret"),
        (csv(load_args={"x": "-----BEGIN RSA PRIVATE KEY-----"}), "load_args.x", "must not hold a secret"),
        (csv(load_args={"x": "postgresql://sam:pw@db/x"}), "load_args.x", "must not hold a secret"),
        (csv(load_args={"dtype": {"x": "Server=db;Pwd=pw"}}), "load_args.dtype.x", "must not hold a secret"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite://"}},
         "credentials", "never the credentials"),
        ({"type": "spark.GBQQueryDataset", "materialization_dataset": "d", "sql": "x", "bq_credentials": {"file": "x"}},
         "bq_credentials", "fills in only credentials"),
        # servers
        (csv(fs_args={"client_kwargs": {"endpoint_url": "http://evil"}}), "fs_args.client_kwargs", "which server"),
        (csv(fs_args={"open_args_load": {"client": 1}}), "fs_args.open_args_load.client", "holds"),
        (csv(load_args={"storage_options": {"anon": True}}), "load_args.storage_options", "which server"),
        (csv(load_args={"deep": {"proxies": ["x"]}}), "load_args.deep.proxies", "which server"),
        (csv(load_args={"fs.s3a.endpoint": "evil"}), "load_args.fs.s3a.endpoint", "which server"),
        (csv(load_args={"basePath": "/etc"}), "load_args.basePath", "nor a place"),
        (csv(load_args={"verify": False}), "load_args.verify", "which server"),
        ({"type": "langchain.ChatOpenAIDataset", "kwargs": {"base_url": "http://evil"}},
         "kwargs.base_url", "which server"),
        ({"type": "kedro_datasets_experimental.opik.TraceDataset", "credentials": "o", "host": "evil"},
         "host", "server"),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "postgres", "host": "evil"}},
         "connection.host", "which server"),
        ({"type": "api.APIDataset", "url": "https://evil/x"}, "url", "must not name a server"),
        ({"type": "redis.PickleDataset", "key": "k", "redis_args": {"from_url_args": {"url": "redis://evil"}}},
         "redis_args.from_url_args.url", "must not name a server"),
        ({"type": "spark.SparkJDBCDataset", "table": "t", "url": "jdbc:postgresql://db/x"},
         "url", "must not name a server"),
        (csv(load_args={"x": "sqlite:////etc/x.db"}), "load_args.x", "must not name a server"),
        (csv(load_args={"x": "simplecache::s3://lake/sales/x"}), "load_args.x", "must not name a server"),
        # places
        (orders(filepath="data/01_raw/x.csv"), "filepath", "project://data/01_raw/x.csv"),
        (orders(filepath="s3://lake/finance/x.csv"), "filepath", "does not lie inside"),
        (orders(filepath="s3://lake/sales/../finance/x.csv"), "filepath", "'..'"),
        (orders(filepath="/home/sam/.ssh/id_rsa"), "filepath", "does not lie inside"),
        (orders(filepath="simplecache::s3://lake/sales/x.csv"), "filepath", "chain"),
        (orders(filepath="s3://lake/sales/*.csv"), "filepath", "'*'"),
        (orders(filepath="project://data/../other/x.csv"), "filepath", "'..'"),
        (orders(filepath="project://conf/local/credentials.yml"), "filepath", "begins with project://data/"),
        (orders(filepath=7), "filepath", "is a text"),
        (csv(load_args={"stylesheet": "/etc/passwd"}), "load_args.stylesheet", "must not name a server, nor a place"),
        (csv(load_args={"anything": "~/.aws/credentials"}), "load_args.anything", "nor a place"),
        (csv(load_args={"anything": "../../secrets.csv"}), "load_args.anything", "nor a place"),
        (csv(load_args={"anything": "${runtime_params:x, /etc/passwd}"}), "load_args.anything", "nor a place"),
        ({"type": "spark.SparkDataset", "filepath": "s3://lake/sales/o",
          "load_args": {"schema": {"filepath": "s3://lake/finance/schema.json"}}},
         "load_args.schema.filepath", "does not lie inside"),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "sqlite", "database": "/etc/x.db"}},
         "connection.database", "does not lie inside"),
        ({"type": "kedro_datasets_experimental.optuna.StudyDataset", "backend": "sqlite", "database": "/etc/x.db",
          "study_name": "s"}, "database", "does not lie inside"),
        ({"type": "huggingface.CSVDataset", "path": "s3://lake/sales/hf", "data_files": {"train": "../x.csv"}},
         "data_files.train", "plain name"),
        # nested
        ({"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/p", "dataset": "pandas.CSVDataSet"},
         "dataset.type", "Write pandas.CSVDataset"),
        ({"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/p",
          "dataset": {"type": "pandas.CSVDataset", "oops": 1}}, "dataset.oops", "takes no"),
        ({"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/p", "dataset": ["pandas.CSVDataset"]},
         "dataset", "nested dataset's type"),
        ({"type": "partitions.PartitionedDataset", "path": "s3://lake/sales/p", "dataset": "pandas.CSVDataset",
          "filename_suffix": "/../../x"}, "filename_suffix", "end of a file's name"),
        ({"type": "CachedDataset", "dataset": {"type": "pandas.CSVDataset"}}, "dataset.filepath", "needs filepath"),
        ({"type": "CachedDataset", "dataset": csv(filepath="/etc/passwd")}, "dataset.filepath", "does not lie inside"),
        ({"type": "CachedDataset", "dataset": csv(versioned=True)}, "dataset.versioned", "beside CachedDataset"),
        ({"type": "partitions.IncrementalDataset", "path": "s3://lake/sales/p", "dataset": "pandas.CSVDataset",
          "checkpoint": {"comparison_func": "os.system"}}, "checkpoint.comparison_func", "names code"),
        # imports by argument
        ({"type": "pickle.PickleDataset", "filepath": "s3://lake/sales/m", "backend": "antigravity"},
         "backend", "one of"),
        ({"type": "kedro_datasets_experimental.safetensors.SafetensorsDataset", "filepath": "s3://lake/sales/m",
          "backend": "x.y"}, "backend", "one of"),
        ({"type": "polars.EagerPolarsDataset", "filepath": "s3://lake/sales/m", "file_format": "__class__"},
         "file_format", "one plain word"),
        # what is filled in
        (csv(load_args={"x": "${oc.env:SECRET}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${globals:a}${oc.env:B}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${globals:${oc.env:B}}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${globals:a, ${oc.env:B}}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${runtime_params:}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${runtime_params:a,${oc.env:B}}"}), "load_args.x", "can be filled in"),
        ({"type": "${runtime_params:type, pandas.CSVDataset}", "filepath": "s3://lake/sales/x"}, "type", "written out"),
        (csv(load_args={"x": "${_root}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "\\${oc.env:B}"}), "load_args.x", "can be filled in"),
        (csv(load_args={"x": "${"}), "load_args.x", "can be filled in"),
        (csv(filepath="${globals:root}/x.csv"), "filepath", "written out"),
        (csv(filepath="s3://lake/${globals:zone}/x.csv"), "filepath", "does not lie inside"),
        (csv(filepath="s3://lake/sales/${globals:zone, ../finance}/x.csv"), "filepath", "plain letters"),
        (csv(filepath="${runtime_params:path}"), "filepath", "written out"),
        (csv(filepath="${runtime_params:path, s3://lake/sales/x}"), "filepath", "written out"),
        (csv(filepath="s3://${runtime_params:bucket, lake}/sales/x.csv"), "filepath", "does not lie inside"),
        (csv(filepath="s3://lake/${runtime_params:domain, sales}/x.csv"), "filepath", "does not lie inside"),
        (csv(filepath="s3://lake/sales/${runtime_params:x, ../finance}/x.csv"), "filepath", "plain letters"),
        (csv(filepath="s3://lake/sales/${runtime_params:x, a/b}/x.csv"), "filepath", "plain letters"),
        (csv(filepath="s3://lake/sales/${runtime_params:x, 'a'}/x.csv"), "filepath", "reads as it is written"),
        (csv(filepath="s3://lake/sales/${runtime_params:x, 007}/x.csv"), "filepath", "reads as it is written"),
        (csv(filepath="s3://lake/sales/${runtime_params:x,}/x.csv"), "filepath", "plain letters"),
        (csv(filepath="s3://lake/sales/${runtime_params:a}${runtime_params:b, .}/x"), "filepath", "plain letters"),
        (csv(load_args={"x": "{region}"}), "load_args.x", "not in the dataset's name"),
        (csv(load_args={"x": "!!python/object:os.system"}), "load_args.x", "YAML tag"),
        # keys
        (csv(load_args={"__class__": "x"}), "load_args", "cannot be a key"),
        (csv(load_args={"${oc.env:X}": "x"}), "load_args", "cannot be a key"),
        (csv(load_args={"<<": {}}), "load_args", "cannot be a key"),
        (csv(load_args={"se\u202ep": "x"}), "load_args", "cannot be seen"),
        (csv(load_args={"": "x"}), "load_args", "must not be empty"),
        (csv(load_args={1: "x"}), "load_args", "in quotes"),
        # what JSON cannot hold
        (csv(load_args={"x": float("nan")}), "load_args.x", "finite"),
        (csv(load_args={"x": float("-inf")}), "load_args.x", "finite"),
        (csv(load_args={"x": 2**70}), "load_args.x", "63 bits"),
        (csv(load_args={"x": "\x00"}), "load_args.x", "NUL"),
        (csv(load_args={"x": "\ud800"}), "load_args.x", "half a character"),
        (csv(load_args={"x": {1, 2}}), "load_args.x", "mappings, lists, texts"),
        (csv(load_args={"x": (1, 2)}), "load_args.x", "mappings, lists, texts"),
        (csv(load_args={"x": print}), "load_args.x", "mappings, lists, texts"),
        (csv(load_args={"x": list(range(MOST_NODES))}), "", "2,000 values"),
        (csv(load_args={"x": "a" * 70_000}), "load_args.x", "64 KiB"),
        (csv(load_args={"x": ["ä" * 1000] * 40}), "", "64 KiB"),
    ],
)  # fmt: skip
def test_a_definition_is_refused_in_one_place_with_what_to_do(definition, at, words):
    fault = only_fault(definition)
    assert fault.at == at
    assert words in fault.message


def test_what_is_nested_too_deep_is_refused_before_it_is_read():
    deep: object = "x"
    for _ in range(DEEPEST * 100):
        deep = [deep]
    assert "deep" in only_fault(csv(load_args={"x": deep})).message


def test_every_fault_is_told_at_once_with_its_place():
    wrong = orders(type="pandas.CSVDataSet", filepath="x.csv", oops=1, load_args={"password": "x", "y": "${oc.env:Z}"})
    with pytest.raises(InvalidDefinition) as refused:
        validated(wrong, name="sales.orders", types=TYPES, locations=LOCATIONS, at="environments.base")
    assert [fault.at for fault in refused.value.faults] == [
        "environments.base.type",
        "environments.base.filepath",
        "environments.base.load_args.password",
        "environments.base.load_args.y",
        "environments.base.oops",
    ]


def test_a_refusal_never_repeats_the_secret():
    found = faults(csv(load_args={"password": "hunter2", "x": "postgresql://sam:hunter2@db/x"}))
    assert found
    assert not any("hunter2" in fault.message for fault in found)


def test_a_valid_definition_is_given_back_as_it_is():
    assert validated(ORDERS, name="sales.orders", types=TYPES, locations=LOCATIONS) is ORDERS


def test_project_paths_can_be_forbidden():
    assert "not allowed here" in only_fault(csv(filepath="project://data/x.csv"), project_paths=False).message


def test_placeholders_of_the_name_can_stand_behind_the_location_and_nowhere_before():
    name = "sales.{region}_orders"
    assert faults(csv(filepath="s3://lake/sales/{region}/x.csv", load_args={"sheet": "{region}"}), name) == []
    assert "does not lie inside" in only_fault(csv(filepath="s3://lake/{region}/x.csv"), name).message
    assert "does not lie inside" in only_fault(csv(filepath="s3://lake/sales{region}/x.csv"), name).message


@pytest.mark.parametrize(
    "text", ["{other}", "{region.__class__}", "{region[0]}", "{region!r}", "{region:>9}", "{}", "{0}"]
)
def test_a_factory_fills_in_the_placeholders_of_its_name_and_nothing_else(text):
    assert "can be filled in here" in only_fault(csv(load_args={"x": text}), "sales.{region}_orders").message


def test_a_lone_brace_in_a_factory_is_refused_because_kedro_would_stumble_over_it():
    assert "brace" in only_fault(csv(load_args={"x": "a } b"}), "sales.{region}_orders").message
    assert faults(csv(load_args={"x": "{{y}}"}), "sales.{region}_orders") == []
    assert faults(csv(load_args={"x": "a } b"})) == []


@pytest.mark.parametrize(
    ("filepath", "name"),
    [
        ("s3://lake/sales/emea/x.csv", "sales.apac.orders"),
        ("s3://lake/sales/", "sales.apac.orders"),
        ("s3://lake/sales", "sales.apac.orders"),
        ("s3://lake/sales/{region}/x.csv", "sales.apac.{region}_orders"),
        ("s3://lake/sales/e${globals:rest}/x.csv", "sales.apac.orders"),
    ],
)
def test_a_path_that_reaches_a_siblings_location_is_outside_although_the_ancestors_holds_it(filepath, name):
    lake, emea = parse_location("s3://lake/sales/"), parse_location("s3://lake/sales/emea/")
    fault = only_fault(csv(filepath=filepath), name, locations=[lake], foreign=[emea])
    assert "does not lie inside" in fault.message or filepath == "s3://lake/sales"


def test_a_path_beside_a_siblings_location_is_taken():
    lake, emea = parse_location("s3://lake/sales/"), parse_location("s3://lake/sales/emea/")
    for filepath in ("s3://lake/sales/apac/x.csv", "s3://lake/sales/emea.csv", "s3://lake/sales/apac/{region}.csv"):
        assert faults(csv(filepath=filepath), "sales.apac.{region}_o", locations=[lake], foreign=[emea]) == []


def test_a_registered_types_arguments_are_not_known_and_everything_else_still_holds():
    types = TYPES.registering(["acme.LedgerDataset"])
    ledger = {"type": "acme.LedgerDataset", "filepath": "s3://lake/sales/x", "anything": {"goes": 1}}
    assert faults(ledger, types=types) == []
    assert [fault.at for fault in faults({**ledger, "filepath": "/etc/passwd", "password": "x"}, types=types)] == [
        "filepath",
        "password",
    ]
    assert only_fault({**ledger, "dataset": {"type": "os.system"}}, types=types).at == "dataset.type"


def test_variables_are_found_and_filled_in_and_runtime_parameters_stay():
    written = csv(
        filepath="s3://lake/sales/${globals:zone}/x.csv",
        load_args={
            "nrows": "${globals:rows, 10}",
            "sep": "${globals:sep, ';'}",
            "skip": "${runtime_params:s, 1}",
            "both": "${globals:zone}-${runtime_params:s, 1}",
        },
    )
    assert variables_of(written) == {"zone", "rows", "sep"}
    assert with_variables(written, {"zone": "raw"}) == csv(
        filepath="s3://lake/sales/raw/x.csv",
        load_args={"nrows": 10, "sep": ";", "skip": "${runtime_params:s, 1}", "both": "raw-${runtime_params:s, 1}"},
    )


def test_the_variables_that_stand_in_paths_are_told_apart():
    written = {
        "type": "CachedDataset",
        "dataset": csv(
            filepath="s3://lake/sales/${globals:zone}/x.csv",
            load_args={"sep": "${globals:sep}", "stylesheets": ["s3://lake/sales/${globals:style}.xsl"]},
        ),
    }
    assert path_variables_of(written, TYPES) == {"zone", "style"}
    query = {"type": "pandas.SQLQueryDataset", "credentials": "db", "sql": "select a/b from ${globals:table}"}
    assert path_variables_of(query, TYPES) == frozenset()


@pytest.mark.parametrize("value", ["/etc/passwd/x", "https://evil/x", "postgresql://sam:pw@db/x", "${oc.env:HOME}"])
def test_a_variable_that_is_a_whole_argument_is_found_out_when_the_filled_definition_is_checked(value):
    written = csv(load_args={"x": "${globals:anything}"})
    assert faults(written) == []
    assert faults(with_variables(written, {"anything": value}))


def test_a_variable_without_a_value_is_named():
    with pytest.raises(InvalidDefinition, match="zone"):
        with_variables(csv(filepath="s3://lake/sales/${globals:zone}/x.csv"), {})


@pytest.mark.parametrize("value", ["../finance", "a/../../finance", "${oc.env:HOME}", "*", ""])
def test_a_variables_value_that_leads_elsewhere_is_found_when_the_filled_definition_is_checked(value):
    written = csv(filepath="s3://lake/sales/${globals:zone}/x.csv")
    assert faults(written) == []
    assert faults(with_variables(written, {"zone": value}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_no_value_whatever_makes_the_check_itself_fail(value):
    for definition in (value, {"type": value}, csv(load_args=value), csv(load_args={"x": value}), csv(fs_args=value)):
        assert isinstance(faults(definition, "sales.{region}_orders"), list)


@given(
    JSON, st.sampled_from(["dataset", "checkpoint", "metadata", "connection", "filepath", "data_files", "credentials"])
)
def test_no_argument_whatever_makes_the_check_itself_fail(value, argument):
    for name in ("partitions.IncrementalDataset", "ibis.FileDataset", "huggingface.CSVDataset", "CachedDataset"):
        assert isinstance(faults({"type": name, argument: value}), list)


@given(st.text(max_size=40))
def test_a_resolver_is_never_taken_unless_it_is_one_of_the_two(text):
    found = faults(csv(load_args={"x": "${" + text}))
    if not found:
        assert text.startswith(("globals:", "runtime_params:"))


@given(st.text(max_size=40))
def test_no_text_taken_as_a_path_lies_outside_the_locations(text):
    for path in (text, f"s3://lake/sales/{text}", f"/srv/lake/sales/{text}"):
        if not faults(csv(filepath=path)):
            assert path.startswith(
                ("s3://lake/sales/", "/srv/lake/sales/", "file:///srv/lake/sales/", "project://data/")
            )
            assert ".." not in path.split("/")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_canonical_json_does_not_depend_on_the_order_of_keys(mapping):
    assert canonical_json(mapping) == canonical_json(dict(reversed(mapping.items())))


def test_a_definition_made_to_be_slow_is_checked_in_bounded_time():
    hostile = [
        csv(load_args={str(i): "/.." * 20 for i in range(900)}),
        csv(load_args={"x": "/a" * 30_000}),
        csv(load_args={"x": "://:" * 15_000}),
        csv(load_args={"x": "{}" * 30_000}),
        csv(load_args={"x": "${globals:a," * 5_000}),
        orders(type="a." * 30_000),
    ]
    begun = time.perf_counter()
    for definition in hostile:
        assert faults(definition, "sales.{region}_orders")
    assert time.perf_counter() - begun < 60  # a reading that grows with the square would take hours
