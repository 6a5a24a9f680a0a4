"""The types that Kedro knows, by every name that people write, and which of them run code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.dataset_types import CODE_FORMATS, RUNS_CODE, KnownTypes, from_json, runs_code, to_json
from muniment.core.problems import Invalid

TYPES = KnownTypes.newest()


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("pandas.CSVDataset", "pandas.CSVDataset"),
        ("kedro_datasets.pandas.CSVDataset", "pandas.CSVDataset"),
        ("kedro_datasets.pandas.csv_dataset.CSVDataset", "pandas.CSVDataset"),
        ("pandas.csv_dataset.CSVDataset", "pandas.CSVDataset"),
        ("MemoryDataset", "MemoryDataset"),
        ("kedro.io.MemoryDataset", "MemoryDataset"),
        ("kedro.io.cached_dataset.CachedDataset", "CachedDataset"),
        ("kedro_datasets_experimental.pypdf.PDFDataset", "kedro_datasets_experimental.pypdf.PDFDataset"),
        ("pypdf.PDFDataset", None),
        ("pandas.CSVDataSet", None),
        ("os.system", None),
    ],
)
def test_a_type_has_one_name_whichever_way_kedro_lets_it_be_spelled(spelling, canonical):
    assert TYPES.canonical(spelling) == canonical


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pandas.CSVDataSet", "pandas.CSVDataset"),
        ("kedro.extras.datasets.pandas.CSVDataSet", "pandas.CSVDataset"),
        ("pickle.PickleDataSet", "pickle.PickleDataset"),
        ("PartitionedDataSet", "partitions.PartitionedDataset"),
        ("kedro.io.PartitionedDataset", "partitions.PartitionedDataset"),
        ("IncrementalDataSet", "partitions.IncrementalDataset"),
        ("CachedDataSet", "CachedDataset"),
        ("matplotlib.MatplotlibWriter", "matplotlib.MatplotlibDataset"),
        ("pypdf.PDFDataset", "kedro_datasets_experimental.pypdf.PDFDataset"),
        ("kedro_datasets_experimental.langchain.ChatOpenAIDataset", "langchain.ChatOpenAIDataset"),
        ("tracking.MetricsDataSet", "json.JSONDataset"),
        ("pandas.CSVDataset", None),
        ("acme.LedgerDataset", None),
    ],
)
def test_an_old_name_leads_to_the_name_of_today(old, new):
    assert TYPES.renamed(old) == new


def test_every_old_name_leads_to_a_type_that_is_known():
    old = [known.removesuffix("Dataset") + "DataSet" for known in TYPES.types if known.endswith("Dataset")]
    assert old
    assert all(TYPES.find(TYPES.renamed(name) or "") for name in old)


@pytest.mark.parametrize(
    ("meant", "suggested"),
    [("pandas.CsvDataset", "pandas.CSVDataset"), ("panda.ParquetDataset", "pandas.ParquetDataset"), ("zzz", None)],
)
def test_a_mistyped_name_is_answered_with_the_nearest(meant, suggested):
    assert TYPES.suggest(meant) == suggested


def test_what_is_known_of_a_type_answers_the_questions_that_serving_asks():
    csv, delta = TYPES.types["pandas.CSVDataset"], TYPES.types["pandas.DeltaTableDataset"]
    query, writer = TYPES.types["pandas.SQLQueryDataset"], TYPES.types["matplotlib.MatplotlibDataset"]
    assert (csv.accepts_filepath, csv.credentials, csv.versioned, csv.accepts_metadata) == (True, True, True, True)
    assert (delta.accepts_metadata, delta.versioned) == (False, False)
    assert (query.loads, query.saves) == (True, False)
    assert (writer.loads, writer.saves) == (False, True)
    assert TYPES.types["partitions.PartitionedDataset"].path_parameters == ("path",)


def test_a_version_that_was_not_surveyed_is_refused_with_those_that_were():
    with pytest.raises(Invalid, match=TYPES.version):
        KnownTypes.load("0.0.1")


def test_what_is_shipped_reads_back_as_it_was():
    assert from_json(to_json(TYPES)) == TYPES


def test_a_registered_type_is_known_by_its_own_name_only():
    types = TYPES.registering(["acme.datasets.LedgerDataset"])
    assert types.canonical("acme.datasets.LedgerDataset") == "acme.datasets.LedgerDataset"
    assert types.suggest("acme.datasets.LegerDataset") == "acme.datasets.LedgerDataset"
    assert TYPES.canonical("acme.datasets.LedgerDataset") is None


@pytest.mark.parametrize("name", ["Ledger", "", ".a.B", "a..B", "a.B.", "kedro.io.LambdaDataset", "a b.C", "a.{b}"])
def test_what_is_no_import_path_of_a_class_cannot_be_registered(name):
    with pytest.raises(Invalid):
        TYPES.registering([name])


def test_every_format_said_to_run_code_is_a_type_that_exists():
    assert {*RUNS_CODE, *CODE_FORMATS} <= TYPES.types.keys()


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "pickle.PickleDataset", "filepath": "x"},
        {"type": "pickle.PickleDataSet", "filepath": "x"},
        {"type": "kedro_datasets.pickle.PickleDataset", "filepath": "x"},
        {"type": "kedro_datasets.pickle.pickle_dataset.PickleDataset", "filepath": "x"},
        {"type": "pandas.GenericDataset", "file_format": "pickle"},
        {"type": "pandas.GenericDataset", "file_format": "PICKLE"},
        {"type": "pandas.GenericDataset", "file_format": "${runtime_params:format, csv}"},
        {"type": "pandas.GenericDataset", "file_format": "{format}"},
        {"type": "pandas.GenericDataset"},
        {"type": "partitions.PartitionedDataset", "dataset": "pickle.PickleDataset"},
        {"type": "partitions.PartitionedDataset", "dataset": {"type": "pickle.PickleDataset"}},
        {"type": "CachedDataset", "dataset": {"type": "CachedDataset", "dataset": {"type": "redis.PickleDataset"}}},
        {"type": "api.APIDataset", "response_dataset": "pickle.PickleDataset"},
        {"type": "partitions.IncrementalDataset", "dataset": "text.TextDataset",
         "checkpoint": {"type": "pickle.PickleDataset"}},
        {"type": "pandas.CSVDataset", "load_args": {"deep": [{"allow_pickle": True}]}},
        {"type": "huggingface.CSVDataset", "load_args": {"trust_remote_code": "yes"}},
        {"type": "kedro_datasets_experimental.pytorch.PyTorchDataset", "load_args": {"weights_only": True}},
        {"type": "acme.Unheard"},
        {"type": None},
        {},
    ],
)  # fmt: skip
def test_a_definition_that_can_run_its_datas_code_is_known_wherever_that_stands(definition):
    assert runs_code(definition, TYPES)


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "pandas.CSVDataset", "filepath": "x"},
        {"type": "pandas.GenericDataset", "file_format": "csv"},
        {"type": "partitions.PartitionedDataset", "dataset": "pandas.CSVDataset"},
        {"type": "plotly.PlotlyDataset", "plotly_args": {"type": "bar"}},
        {"type": "pandas.GBQTableDataset", "dataset": "warehouse.sales", "table_name": "orders"},
        {
            "type": "partitions.IncrementalDataset",
            "dataset": "text.TextDataset",
            "checkpoint": {"force_checkpoint": "a"},
        },
        {"type": "pandas.CSVDataset", "load_args": {"allow_pickle": False}},
        {"type": "MemoryDataset"},
    ],
)
def test_plain_data_is_not_said_to_run_code(definition):
    assert not runs_code(definition, TYPES)


def test_a_registered_type_counts_as_running_code_because_nobody_knows_its_format():
    assert runs_code({"type": "acme.LedgerDataset"}, TYPES.registering(["acme.LedgerDataset"]))


@given(st.sampled_from(sorted(RUNS_CODE)), st.integers(0, 5))
def test_no_number_of_wrappings_hides_a_format_that_runs_code(name, wrappings):
    definition: dict[str, object] = {"type": name}
    for _ in range(wrappings):
        definition = {"type": "CachedDataset", "dataset": definition}
    assert runs_code(definition, TYPES)
