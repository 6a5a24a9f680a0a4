"""Governed datasets are what they were declared as, and refuse what the lease does not give, wherever they are used."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.reduction import ForkingPickler

import pandas as pd
import pytest
import yaml
from kedro.io import AbstractDataset, CachedDataset, DataCatalog, DatasetError, MemoryDataset
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.partitions import IncrementalDataset, PartitionedDataset

from kedro_muniment.entries import guarded
from kedro_muniment.entries.credentials import Own, Secrets
from kedro_muniment.entries.guarded import Guard, Terms, guard_of
from kedro_muniment.entries.refused import UseRefused
from kedro_muniment.problems import BadConfig, MunimentError, RunRefused

EVER = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
#: A recorded catalog's place: what is used of it is reported to nobody.
TERMS = Terms("recorded.yml", "user:ann", "dev", "r-1", EVER, LONG_AGO)
NO_SECRETS = Secrets(Own.none())

KINDS = {
    "json": {"type": "json.JSONDataset", "filepath": "lake/orders.json"},
    "versioned": {"type": "json.JSONDataset", "filepath": "lake/orders_v.json", "versioned": True},
    "full path": {"type": "kedro_datasets.json.json_dataset.JSONDataset", "filepath": "lake/orders.json"},
    "csv": {"type": "pandas.CSVDataset", "filepath": "lake/orders.csv", "load_args": {"sep": ";"}},
    "partitioned": {"type": "partitions.PartitionedDataset", "path": "lake/parts", "dataset": "json.JSONDataset"},
    "nested": {
        "type": "partitions.PartitionedDataset",
        "path": "lake/parts",
        "dataset": {"type": "pandas.CSVDataset", "save_args": {"index": False}},
    },
    "incremental": {"type": "partitions.IncrementalDataset", "path": "lake/parts", "dataset": "json.JSONDataset"},
    "cached": {
        "type": "CachedDataset",
        "versioned": True,
        "dataset": {"type": "json.JSONDataset", "filepath": "lake/orders_c.json"},
    },
    "memory": {"type": "MemoryDataset", "data": [1, 2]},
    "described": {"type": "json.JSONDataset", "filepath": "lake/o.json", "metadata": {"kedro-viz": {"layer": "raw"}}},
}  # fmt: skip
SAVED = "2024-01-01T00.00.00.000Z"


def guard(*actions, end=None, terms=TERMS):
    return Guard("sales.orders", "orders", actions or ("load", "save"), end, terms)


def definitions(tmp_path, kind):
    """What is served, and the same under its guard; with places of this test's own."""
    text = json.dumps(KINDS[kind]).replace("lake/", f"{tmp_path.as_posix()}/")
    return json.loads(text), guarded.definition(json.loads(text), guard(), NO_SECRETS)


def catalogs(tmp_path, kind):
    plain, under_guard = definitions(tmp_path, kind)
    return (DataCatalog.from_config({"orders": each}, save_version=SAVED) for each in (plain, under_guard))


def dataset(tmp_path, kind, *actions, **terms):
    plain, _ = definitions(tmp_path, kind)
    held = guarded.definition(plain, guard(*actions, **terms), NO_SECRETS)
    return AbstractDataset.from_config("orders", held, None, SAVED)


@pytest.mark.parametrize("kind", KINDS)
def test_what_people_and_kedro_see_of_a_dataset_is_the_real_one(tmp_path, kind):
    plain, under_guard = catalogs(tmp_path, kind)
    assert under_guard.to_config() == plain.to_config()
    assert repr(under_guard) == repr(plain)
    assert under_guard.get_type("orders") == plain.get_type("orders")
    assert guard_of(under_guard["orders"]) is not None
    plain["orders"]
    assert under_guard.to_config() == plain.to_config()
    assert repr(under_guard["orders"]) == repr(plain["orders"])
    assert str(under_guard) == str(plain)
    assert under_guard.get_type("orders") == plain.get_type("orders")
    real = type(plain["orders"])
    assert isinstance(under_guard["orders"], real)
    assert under_guard.filter(by_type=real) == ["orders"]
    assert "muniment" not in repr(under_guard["orders"]) + str(under_guard.to_config())


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_reads_as_it_was_served(tmp_path, kind):
    plain, under_guard = definitions(tmp_path, kind)
    assert under_guard == plain
    assert yaml.safe_dump(under_guard) == yaml.safe_dump(plain) == yaml.dump(under_guard)
    assert json.dumps(under_guard) == json.dumps(plain)
    assert pickle.loads(pickle.dumps(under_guard)) == plain  # noqa: S301


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_keeps_its_guard_and_what_it_is_in_copies_and_in_other_processes(tmp_path, kind):
    made = dataset(tmp_path, kind)
    plain = AbstractDataset.from_config("orders", definitions(tmp_path, kind)[0], None, SAVED)
    for copied in (copy.deepcopy, copy.copy, lambda held: pickle.loads(ForkingPickler.dumps(held))):  # noqa: S301
        other = copied(made)
        assert type(other) is type(made)
        assert guard_of(other) == guard_of(made)
        assert repr(other) == repr(copied(plain))
        assert other is not made


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])  # Kedro leaves those out of it
def test_a_catalog_that_is_built_of_anothers_configuration_keeps_its_guards(tmp_path, kind):
    plain, _ = definitions(tmp_path, kind)
    catalog = DataCatalog.from_config({"orders": guarded.definition(plain, guard("load"), NO_SECRETS)})
    made = catalog["orders"]  # a dataset now, and no longer its definition
    config, credentials, *_ = catalog.to_config()
    again = DataCatalog.from_config(config, credentials)["orders"]
    assert (type(again), guard_of(again)) == (type(made), guard_of(made))
    with pytest.raises(UseRefused, match=r"you may load, not save"):
        again.save([1])


@pytest.mark.parametrize("kind", ["json", "versioned", "cached", "memory"])
def test_what_is_saved_is_loaded_again(tmp_path, kind):
    made = dataset(tmp_path, kind)
    made.save([5])
    assert made.load() == [5]
    assert made.exists()
    made.release()


def test_read_only_data_is_not_saved_and_save_only_data_is_neither_loaded_nor_previewed(tmp_path):
    pd.DataFrame({"n": [1]}).to_csv(tmp_path / "orders.csv", sep=";", index=False)
    read_only = dataset(tmp_path, "csv", "load")
    assert read_only.load()["n"].tolist() == [1]
    with pytest.raises(UseRefused, match=r"^orders \(sales\.orders\): you may load, not save\. Ask why: kedro"):
        read_only.save(pd.DataFrame())
    assert (tmp_path / "orders.csv").read_text() == "n\n1\n"
    save_only = dataset(tmp_path, "csv", "save")
    for use in (save_only.load, save_only.preview):
        with pytest.raises(UseRefused, match=r"you may save, not load"):
            use()
    assert save_only.exists()


def test_a_refusal_is_a_datasets_error_to_kedro_and_a_sentence_on_a_command_line(tmp_path):
    assert issubclass(UseRefused, DatasetError)
    assert issubclass(UseRefused, MunimentError)
    refusal = UseRefused("orders: you may load, not save.")
    assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)  # noqa: S301


@pytest.mark.parametrize("use", ["load", "exists", "save"])
def test_nothing_is_used_after_the_permission_or_the_lease_has_ended(tmp_path, use):
    past = datetime(2024, 2, 3, 4, 5, tzinfo=UTC)
    given = [[1]] if use == "save" else []
    with pytest.raises(UseRefused, match=r"your access ended at"):
        getattr(dataset(tmp_path, "json", end=past), use)(*given)
    with pytest.raises(UseRefused, match=r"the lease that gives it ended at 2024-02-03 04:05 UTC, by the recorded"):
        getattr(dataset(tmp_path, "json", terms=replace(TERMS, until=past)), use)(*given)
    assert not (tmp_path / "orders.json").exists()


def test_a_clock_that_was_set_back_makes_no_permission_longer(tmp_path):
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert not dataset(tmp_path, "json", end=soon).exists()
    with pytest.raises(UseRefused, match=r"your access ended at"):
        dataset(tmp_path, "json", end=soon, terms=replace(TERMS, seen=soon)).exists()


def test_partitions_that_load_later_are_refused_then(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a").write_text("[1]")
    made = dataset(tmp_path, "partitioned", "load")
    parts = made.load()
    assert pickle.loads(pickle.dumps(parts))["a"]() == parts["a"]() == [1]  # noqa: S301
    ended = dataset(tmp_path, "partitioned", end=datetime.now(UTC) + timedelta(days=1)).load()
    late = replace(TERMS, seen=EVER)
    with pytest.raises(UseRefused, match=r"your access ended at"):
        ended["a"].func(replace(ended["a"].args[0], terms=late), ended["a"].args[1])


def test_an_incremental_dataset_is_confirmed_by_who_may_save_only(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a").write_text("[1]")
    reader = dataset(tmp_path, "incremental", "load")
    assert reader.load() == {"a": [1]}
    with pytest.raises(UseRefused, match=r"you may load, not save"):
        reader.confirm()
    writer = dataset(tmp_path, "incremental")
    assert isinstance(writer, IncrementalDataset)
    assert isinstance(writer, PartitionedDataset)
    writer.load()
    writer.confirm()
    assert dataset(tmp_path, "incremental", "load").load() == {}


def test_a_version_is_chosen_as_ever(tmp_path):
    for version in ("2024-01-01T00.00.00.000Z", "2024-01-02T00.00.00.000Z"):
        place = tmp_path / "orders_v.json" / version / "orders_v.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(version))
    _, held = definitions(tmp_path, "versioned")
    newest = DataCatalog.from_config({"orders": held})
    assert newest.load("orders") == "2024-01-02T00.00.00.000Z"
    assert newest.load("orders", version=SAVED) == SAVED
    pinned = DataCatalog.from_config({"orders": held}, load_versions={"orders": SAVED})
    assert pinned.load("orders") == SAVED
    read_only = newest.get("orders")
    assert guard_of(read_only._copy(_version=None)) == guard_of(read_only)


def test_a_datasets_own_signature_and_annotations_stay(tmp_path):
    made = dataset(tmp_path, "csv")
    for name in ("load", "save", "preview"):
        assert inspect.signature(getattr(made, name)) == inspect.signature(getattr(CSVDataset(filepath="x"), name))
    assert made.preview.__func__.__annotations__["return"] == CSVDataset.preview.__annotations__["return"]
    assert type(made).__doc__ == CSVDataset.__doc__


def test_there_is_one_guarded_class_for_each_real_one(tmp_path):
    assert type(dataset(tmp_path, "json")) is type(dataset(tmp_path, "versioned")) is guarded.guarded(JSONDataset)
    assert type(dataset(tmp_path, "cached")).__mro__[1] is CachedDataset
    assert type(dataset(tmp_path, "memory")).__mro__[1] is MemoryDataset


def test_a_dataset_that_somebody_made_of_a_governed_ones_class_is_refused(tmp_path):
    made = type(dataset(tmp_path, "json"))(filepath=str(tmp_path / "other.json"))
    with pytest.raises(UseRefused, match=r"This JSONDataset was made from a governed dataset"):
        made.save([1])
    assert not (tmp_path / "other.json").exists()


class OldFashioned(AbstractDataset):
    """A project's own type, which names its methods as Kedro did once."""

    def __init__(self, place):
        self._place = place

    def _load(self):
        return self._place

    def _save(self, data):
        raise AssertionError

    def _describe(self):
        return {"place": self._place}


class Unfinished(AbstractDataset):
    def load(self):
        return 1


def test_a_type_that_names_its_methods_as_kedro_did_once_is_guarded_as_well(tmp_path):
    held = guarded.definition({"type": f"{__name__}.OldFashioned", "place": "here"}, guard("load"), NO_SECRETS)
    made = AbstractDataset.from_config("orders", held)
    assert made.load() == "here"
    with pytest.raises(UseRefused):
        made.save(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "json.NoSuchDataset"},
        {"type": "json.JSONDataset", "filepath": "x", "no_such": 1},
        {"type": f"{__name__}.Unfinished"},
        {"type": "pathlib.Path"},
    ],
    ids=["unknown", "argument", "abstract", "no dataset"],
)
def test_what_is_wrong_with_a_definition_is_told_in_kedros_own_words(wrong):
    def told(definition):
        with pytest.raises(DatasetError) as error:
            AbstractDataset.from_config("orders", definition)
        return str(error.value)

    assert told(guarded.definition(wrong, guard(), NO_SECRETS)) == told(wrong)


def test_a_kedro_that_would_not_ask_the_guard_is_refused(monkeypatch):
    guarded._hold_the_seam.cache_clear()
    monkeypatch.delattr(guarded.Kind, "__radd__")
    with pytest.raises(BadConfig, match=r"cannot govern datasets in Kedro \d+\.\d+\.\d+"):
        guarded.definition({"type": "MemoryDataset"}, guard(), NO_SECRETS)


def test_a_notebook_is_refused_where_no_hook_runs_and_in_both_names(governed):
    catalog = governed.context().catalog
    assert catalog.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match=r"orders \(sales\.orders\): you may load, not save"):
        catalog.save("orders", [3])
    assert json.loads((governed.path.parent / "lake" / "orders.json").read_text()) == [1, 2]


#: The permission to save the report goes away between the question before the run and the use.
LOSING = """
from dataclasses import replace
from kedro.framework.hooks import hook_impl

class Losing:
    @hook_impl(trylast=True)
    def before_pipeline_run(self, catalog):
        held = vars(catalog["report"])["_muniment"]
        held.guard = replace(held.guard, actions=("load",))

HOOKS = (Losing(),)
"""


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner, ParallelRunner])
def test_a_runs_forbidden_use_ends_it_with_one_sentence_in_every_runner(governed, runner):
    governed.write(f"src/{governed.package}/settings.py", LOSING)
    with pytest.raises(RunRefused, match=r"report \(sales\.report\): you may load, not save") as refused:
        governed.session().run(runner=runner())
    assert isinstance(refused.value, UseRefused)
    assert refused.value.__cause__ is None
    assert governed.first_node_ran
    assert not (governed.path.parent / "lake" / "report.json").exists()


def test_two_sessions_of_different_environments_keep_their_own_permissions(governed, service):
    governed.write("conf/prod/.gitkeep", "")
    first = governed.context().catalog
    service.actions["sales.orders"] = ["save"]
    second = governed.context(env="prod").catalog
    assert first.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match="you may save, not load"):
        second.load("orders")
    second.save("orders", [9])
    with pytest.raises(DatasetError, match="you may load, not save"):
        first.save("orders", [1])
