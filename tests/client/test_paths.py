"""Where a served definition may point: never to the project's code, settings or credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from kedro_muniment.entries.definitions import Building
from kedro_muniment.entries.paths import PATH_KEY
from kedro_muniment.problems import Unusable
from muniment.core.dataset_types import KnownTypes

CSV = {"type": "pandas.CSVDataset", "filepath": "/lake/x.csv"}
PARTITIONS = {"type": "partitions.IncrementalDataset", "path": "/lake/x", "dataset": "json.JSONDataset"}
IBIS = {"type": "ibis.FileDataset", "filepath": "/lake/x.csv"}
OWN = frozenset({"own_types.MyDataset"})


def usable(definition, **allowed):
    return Building(Path("/project"), **allowed).usable(definition)


@pytest.mark.parametrize(
    "path",
    [
        "conf/local/credentials.yml", "./conf/x", "../x", "x.csv", "~/.ssh/id_rsa", "C:/x", "file://conf/x", "FILE://x",
        "local://conf/x", "file:conf/x", "project:conf/x", "dbfs:/x", "{region}/x", "", " /lake/x", "\\\\host\\x",
        "/lake/../etc/x", "/lake/~/x", "s3://lake/sales/../../other/x", "s3://lake\\..\\x",
        "simplecache::s3://lake/x", "zip://x.csv::/lake/x.zip", "/lake/x::y",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", ["filepath", "path", "nested", "checkpoint", "response", "own", "list", "schema", "file_database"]
)
def test_a_path_that_means_another_place_in_each_project_is_refused(path, place):
    definition = {
        "filepath": {**CSV, "filepath": path},
        "path": {**PARTITIONS, "path": path},
        "nested": {"type": "CachedDataset", "dataset": {**CSV, "filepath": path}},
        "checkpoint": {**PARTITIONS, "checkpoint": {"filepath": path}},
        "response": {"type": "api.APIDataset", "url": "https://x", "response_dataset": {**CSV, "filepath": path}},
        "own": {"type": "own_types.MyDataset", "model_file": path},
        "list": {"type": "own_types.MyDataset", "input_files": ["/lake/x", path]},
        "schema": {"type": "spark.SparkDataset", "filepath": "/x", "load_args": {"schema": {"filepath": path}}},
        "file_database": {**IBIS, "connection": {"backend": "duckdb", "database": path}},
    }[place]
    with pytest.raises(Unusable, match=r"relative path|could lead anywhere|chains file systems"):
        usable(definition, types=OWN)


@pytest.mark.parametrize("path", ["/lake/x.csv", "s3://lake/x.csv", "abfss://c@a.dfs.core.windows.net/x", "file:///x"])
def test_absolute_paths_and_urls_stay(path):
    for definition in ({**CSV, "filepath": path}, {**PARTITIONS, "path": path}):
        assert usable(definition) == definition


def test_what_only_looks_like_a_path_by_its_name_stays():
    for definition in (
        {**CSV, "load_args": {"dtype": {"path": "str", "host": "str"}, "names": ["file", "port"], "sep": "/"}},
        {**CSV, "metadata": {"path": "see conf/base", "kedro-viz": {"layer": "raw"}}},
        {"type": "pandas.SQLQueryDataset", "sql": "select a::int from x", "credentials": "db"},
        {**PARTITIONS, "filename_suffix": ".json", "checkpoint": "2024-01-01/x.json"},
        {"type": "huggingface.CSVDataset", "path": "/lake", "data_files": {"train": "train.csv"}},
        {**IBIS, "connection": {"backend": "duckdb", "database": ":memory:", "threads": 2}},
        {**CSV, "fs_args": {"open_args_save": {"mode": "w", "encoding": "utf-8"}, "project": "gcp-project"}},
    ):
        assert usable(definition) == definition


@pytest.mark.parametrize(
    "definition",
    [
        {**CSV, "fs_args": {"endpoint_url": "https://evil"}},
        {**CSV, "fs_args": {"client_kwargs": {"endpoint_url": "https://evil"}}},
        {**CSV, "fs_args": {"config_kwargs": {"proxies": {}}}},
        {**CSV, "fs_args": {"fo": "conf/x.zip", "target_protocol": "file"}},
        {**CSV, "fs_args": {"open_args_load": {"client": "evil"}}},
        {**CSV, "fs_args": "x"},
        {**CSV, "load_args": {"storage_options": {"anon": True}}},
        {**CSV, "save_args": {"deep": [{"endpointUrl": "https://evil"}]}},
        {**CSV, "load_args": {"filesystem": "reference"}},
        {**CSV, "load_args": {"x": "simplecache::s3://lake/x"}},
        {"type": "CachedDataset", "dataset": {**CSV, "fs_args": {"endpoint_url": "https://evil"}}},
        {"type": "own_types.MyDataset", "endpoint_override": "evil"},
        {**IBIS, "connection": {"backend": "duckdb", "extensions": ["shellfs"]}},
        {**IBIS, "connection": {"backend": "duckdb", "config": {"allow_unsigned_extensions": True}}},
        {**IBIS, "connection": {"backend": "postgres", "host": "evil"}},
        {**IBIS, "connection": "duckdb://conf/x"},
        {**PARTITIONS, "filename_suffix": "/../../conf/x"},
        {"type": "huggingface.CSVDataset", "path": "/lake", "data_files": {"train": "../conf/x"}},
        {"type": "huggingface.CSVDataset", "path": "/lake", "data_files": ["https://evil/x"]},
    ],
)
def test_a_path_is_not_turned_to_another_server_or_file_system(definition):
    with pytest.raises(Unusable):
        usable(definition, types=OWN)


def test_every_argument_that_the_service_knows_as_a_path_is_checked_as_one():
    for known in KnownTypes.newest().types:
        for name in KnownTypes.newest().find(getattr(known, "name", known)).path_parameters:
            assert PATH_KEY.search(name), name


def test_a_served_relative_path_reads_nothing_of_the_project(governed, service):
    governed.write("conf/local/credentials.yml", "db:\n  password: swordfish\n")
    service.serve("sales.orders", {"type": "yaml.YAMLDataset", "filepath": "conf/local/credentials.yml"}, "load")
    with pytest.raises(DatasetError, match=r"is a relative path, which means another place in each project"):
        governed.context().catalog.load("orders")


@pytest.mark.parametrize(
    "path", ["project://conf/local/credentials.yml", "project://src/settings.py", "project://data",
             "project://data/../conf/x", "project://x", "project://DATA/x", "project://database/x", "PROJECT://conf/x"],
)  # fmt: skip
def test_of_the_project_only_its_data_folder_is_reached(path):
    with pytest.raises(Unusable, match=r"does not stay inside the project's data folder"):
        usable({**CSV, "filepath": path}, project_paths=True)


@pytest.mark.parametrize("path", ["data/link", "data/folder/x.txt"])
def test_a_link_out_of_the_data_folder_is_not_followed(tmp_path, path):
    (tmp_path / "data").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "conf" / "x.yml")
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "conf")
    building = Building(tmp_path, project_paths=True)
    with pytest.raises(Unusable, match=r"leads out of the project's data folder by a symbolic link"):
        building.usable({"type": "text.TextDataset", "filepath": f"project://{path}"})


def test_a_data_folder_that_is_itself_a_link_is_the_projects_own_choice(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data").symlink_to(tmp_path / "disk")
    given = Building(tmp_path / "project", project_paths=True).usable({**CSV, "filepath": "project://data/x.csv"})
    assert given["filepath"] == f"{tmp_path}/project/data/x.csv"


@pytest.mark.parametrize(
    ("place", "text", "params"),
    [
        ("filepath", "${runtime_params:p, project://../x}", {}),
        ("filepath", "${runtime_params:p, /lake/x.csv}", {}),
        ("filepath", "${runtime_params:p, x}", {"p": "conf/local/credentials.yml"}),
        ("filepath", "/lake/${runtime_params:p, x}", {"p": "../../etc/passwd"}),
        ("filepath", "/lake/${runtime_params:p, a/b}", {}),
        ("filepath", "${runtime_params:p, project:}//conf/x", {}),
        ("filepath", "/lake/${runtime_params:p, .}${runtime_params:q, .}/x", {}),
        ("url", "${runtime_params:p, https://evil}", {}),
        ("url", "https://${runtime_params:p, evil/x}", {}),
        ("load_args", "${runtime_params:p, project://../x}", {}),
        ("load_args", "${runtime_params:p, ~/x}", {}),
        ("load_args", "pro${runtime_params:p, ject://conf/x}", {}),
    ],
)
def test_a_runtime_parameter_never_yields_a_path(place, text, params):
    kind = "api.APIDataset" if place == "url" else "pandas.CSVDataset"
    definition = {"type": kind, "filepath": "/lake/x.csv", place: {"x": text} if place == "load_args" else text}
    with pytest.raises(Unusable, match=r"may not choose a path|does not stay inside|relative path|could lead"):
        usable(definition, runtime_params=params, project_paths=True)
