"""A service that was taken over, or talked into serving something else: what it sends is held to what it may send."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kedro.io import DatasetError

from kedro_muniment.entries.definitions import Building
from kedro_muniment.problems import BadConfig, ServiceRefused, Unusable

CSV = {"type": "pandas.CSVDataset", "filepath": "s3://lake/x.csv"}
CLEAR = "\x1b[2J"


@pytest.mark.parametrize(
    "definition",
    [
        {**CSV, "credentials": {"key": "k", "client_kwargs": {"endpoint_url": "https://elsewhere.example.org"}}},
        {**CSV, "credentials": ["user", "password"]},
        {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite:////home/ann/x.db"}},
        {"type": "partitions.PartitionedDataset", "path": "s3://lake/p/", "dataset": {**CSV, "credentials": {"a": 1}}},
        {"type": "partitions.IncrementalDataset", "path": "s3://lake/p/", "checkpoint": {"credentials": {"a": 1}}},
        {**CSV, "load_args": {"credentials": {"key": "k"}}},
    ],
    ids=["endpoint", "list", "database", "nested", "checkpoint", "arguments"],
)
def test_a_definition_names_credentials_and_brings_none(definition):
    with pytest.raises(Unusable, match="it may only name some of the project's"):
        Building(Path("/project")).usable(definition)


@pytest.mark.parametrize("named", ["lake_keys", None])
def test_credentials_by_name_are_as_ever(named):
    assert Building(Path("/project")).usable({**CSV, "credentials": named}) == {**CSV, "credentials": named}


def test_a_placeholder_that_never_closes_is_read_in_one_pass():
    endless = {**CSV, "load_args": {"sep": "${runtime_params:x," + " " * 100_000}}
    with pytest.raises(Unusable, match="which nothing may resolve here"):
        Building(Path("/project")).usable(endless)


def test_of_actions_only_those_are_taken_that_there_are_and_no_terminal_is_written_to(governed, service, said):
    service.serve("sales.orders", governed.json_at("orders"), f"load{CLEAR}", "load", "destroy")
    with pytest.raises(DatasetError) as refused:
        governed.context().catalog.save("orders", [1])
    assert "orders (sales.orders): you may load, not save." in str(refused.value)
    assert CLEAR not in "".join([str(refused.value), *said])


@pytest.mark.parametrize(
    "odd",
    [
        {"actions": {"sales.orders": "load"}},
        {"actions": {"sales.orders": {"load": True}}},
        {"ends": {"sales.orders": "0001-01-01T00:00:00+14:00"}},
        {"ends": {"sales.orders": "9999-12-31T23:59:59-14:00"}},
    ],
    ids=["a text of actions", "a mapping of actions", "an end before all time", "an end after all time"],
)
def test_what_cannot_be_read_ends_in_a_sentence(governed, service, monkeypatch, odd):
    given = service.lease
    monkeypatch.setattr(service, "lease", lambda names: given(names) | odd)
    with pytest.raises(ServiceRefused, match="does not understand"):
        governed.context()


def test_a_pattern_that_nobody_can_read_makes_nothing_and_breaks_nothing(governed, service, monkeypatch):
    given = service.lease
    monkeypatch.setattr(service, "lease", lambda names: given(names) | {"patterns": {"sales.{a:zz!}": ["load"]}})
    service.serve("sales.{region}_orders", governed.json_at("orders"), "load")
    governed.configure(service.url, names={"orders": "sales.north_orders", "report": "sales.report"})
    assert governed.context().catalog.load("orders") == [1, 2]


def test_a_million_strange_names_are_told_in_one_line(governed, service, said):
    for number in range(50):
        service.serve(f"{CLEAR}{number}" * 100, CSV)
    governed.context()
    (line,) = [each for each in said if "which no governed dataset can have" in each]
    assert "and 49 more with names" in line
    assert CLEAR not in line
    assert len(line) < 500


@pytest.mark.parametrize(
    "recorded",
    [
        {"sales.{a:zz!}": CSV},
        {"sales.x": CSV, "_muniment": {"actions": {"sales.x": [["load"]]}}},
        {"sales.x": CSV, "_muniment": {"withheld": 5}},
    ],
    ids=["a format", "a list of lists", "a number"],
)
def test_a_recording_that_cannot_be_read_ends_in_a_sentence(governed, recorded_catalog, recorded):
    file = governed.path / "recorded.yml"
    file.write_text(json.dumps(recorded))
    recorded_catalog(file)
    with pytest.raises(BadConfig, match=r"recorded\.yml"):
        governed.context()


def test_a_recordings_keys_are_text_as_a_services_are(governed, recorded_catalog):
    file = governed.path / "recorded.yml"
    file.write_text("sales.orders: {type: pandas.CSVDataset, filepath: orders.csv, load_args: {dtype: {0: str}}}\n")
    (governed.path / "orders.csv").write_text("0\n007\n")
    recorded_catalog(file)
    assert governed.context().catalog.load("orders")["0"].tolist() == ["007"]


@pytest.mark.parametrize("taken_out", [True, False])
def test_what_a_pipeline_hands_on_goes_elsewhere_only_where_the_project_lets_it_and_never_in_silence(
    governed, service, said, taken_out
):
    registry = governed.path / "src" / governed.package / "pipeline_registry.py"
    registry.write_text(registry.read_text().replace('="lines"', '="cleaned.lines"'))
    names = {"orders": "sales.orders", "report": "sales.report"}
    governed.configure(service.url, names=names, governed=["sales.*", *(["!cleaned.*"] if taken_out else [])])
    elsewhere = governed.json_at("elsewhere")
    service.serve("cleaned.lines", elsewhere, "load", "save")
    service.serve("cleaned.other", governed.json_at("other", [3]), "load")
    session = governed.session()
    assert session.load_context().catalog.load("cleaned.other") == [3]
    session.run()
    assert json.loads((governed.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}
    assert Path(elsewhere["filepath"]).exists() is not taken_out
    assert any("Muniment gives cleaned.lines, which" in line for line in said) is not taken_out
