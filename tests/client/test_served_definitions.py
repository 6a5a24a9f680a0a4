"""What a served definition can do to a client: nothing that the project did not allow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from kedro.io import DatasetError
from kedro.runner import SequentialRunner, ThreadRunner

from kedro_muniment.entries.definitions import ALLOWED, CODE_FORMATS, Building, canonical, is_name, most_specific
from kedro_muniment.problems import RunRefused, Unusable
from muniment.core.dataset_types import Accepts, KnownTypes

CSV = {"type": "pandas.CSVDataset", "filepath": "/lake/x.csv"}


def usable(definition, **allowed):
    return Building(Path("/project"), **allowed).usable(definition)


@pytest.fixture
def evil(governed):
    """A module that leaves a mark when it is imported."""
    mark = governed.path / "imported"
    governed.write(
        "src/evil_module.py", f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass EvilDataset: ...\n"
    )
    return mark


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "evil_module.EvilDataset"},
        {"type": "partitions.PartitionedDataset", "path": "/lake", "dataset": "evil_module.EvilDataset"},
        {"type": "partitions.PartitionedDataset", "path": "/lake", "dataset": {"type": "evil_module.EvilDataset"}},
        {"type": "CachedDataset", "dataset": {"type": "CachedDataset", "dataset": {"type": "evil_module.EvilDataset"}}},
        {
            "type": "partitions.IncrementalDataset",
            "path": "/lake",
            "dataset": "json.JSONDataset",
            "checkpoint": {"comparison_func": "evil_module.EvilDataset"},
        },
        {"type": "json.JSONDataset", "filepath": "/lake/x.json", "validator": "evil_module.EvilDataset"},
        {"type": "api.APIDataset", "url": "https://x", "response_dataset": "evil_module.EvilDataset"},
        {"type": "api.APIDataset", "url": "https://x", "response_dataset": {"type": "evil_module.EvilDataset"}},
        {"type": "api.APIDataset", "url": "https://x", "response_dataset": {"type": "evil_module"}},
        {"type": "json.JSONDataset", "filepath": "/lake/x.json", "further": {"deep": [{"type": "evil_module.Evil"}]}},
        {"type": "pickle.PickleDataset", "filepath": "/lake/x.pkl", "backend": "evil_module"},
    ],
)
def test_a_served_type_is_refused_by_name_and_never_imported(governed, service, evil, definition):
    service.serve("sales.orders", definition)
    with pytest.raises(RunRefused, match=r"orders \(sales.orders\), load: "):
        governed.session().run()
    with pytest.raises(DatasetError, match=r"orders \(sales.orders\) is served and not usable here"):
        governed.context().catalog.load("orders")
    assert not evil.exists()
    assert "evil_module" not in sys.modules
    assert not governed.first_node_ran


def test_every_argument_that_the_service_knows_as_a_dataset_is_checked_as_one():
    types = KnownTypes.newest()
    nested = {
        (types.find(getattr(known, "name", known)).name, parameter.name, accepted)
        for known in types.types
        for parameter in types.find(getattr(known, "name", known)).parameters
        for accepted in parameter.accepts
        if accepted in {Accepts.DATASET, Accepts.CHECKPOINT}
    }
    assert len(nested) >= 6
    for kind, argument, accepted in nested:
        values = [{"type": "evil_module.EvilDataset"}, {"type": "pickle.PickleDataset"}]
        values += ["evil_module.EvilDataset", "pickle.PickleDataset"] if accepted is Accepts.DATASET else []
        for value in values:
            with pytest.raises(Unusable):
                usable({"type": kind, argument: value}, types=frozenset({kind}))


def test_a_project_may_allow_a_type_of_its_own(governed, service, evil):
    governed.write(
        "src/own_types.py",
        "from kedro_datasets.json import JSONDataset\nclass ShoutingDataset(JSONDataset):\n"
        "    def load(self):\n        return ['LOUD', *super().load()]\n",
    )
    service.serve("sales.orders", {**governed.json_at("orders", [1]), "type": "own_types.ShoutingDataset"}, "load")
    governed.configure(service.url, names={"orders": "sales.orders"}, types=["own_types.ShoutingDataset"])
    assert governed.context().catalog.load("orders") == ["LOUD", 1]


def test_an_allowed_type_of_ones_own_may_not_bring_others_along():
    own = frozenset({"own_types.MyPartitions"})
    for dataset in ("evil_module.Thing", {"type": "evil_module.Thing"}, {"type": "pickle.PickleDataset"}):
        with pytest.raises(Unusable):
            usable({"type": "own_types.MyPartitions", "path": "/lake", "dataset": dataset}, types=own)


CODE = [
    {"type": "pickle.PickleDataset", "filepath": "/lake/x.pkl"},
    {"type": "kedro_datasets.pickle.PickleDataset", "filepath": "/lake/x.pkl"},
    {"type": "redis.PickleDataset", "key": "x"},
    {"type": "pandas.GenericDataset", "file_format": "pickle", "filepath": "/lake/x.pkl"},
    {"type": "pandas.GenericDataset", "file_format": "PICKLE ", "filepath": "/lake/x.pkl"},
    {"type": "pandas.HDFDataset", "key": "x", "filepath": "/lake/x.h5"},
    {"type": "CachedDataset", "dataset": {"type": "pickle.PickleDataset", "filepath": "/lake/x.pkl"}},
    {"type": "api.APIDataset", "url": "https://x", "response_dataset": "pickle.PickleDataset"},
    {"type": "pandas.GenericDataset", "file_format": "x", "filepath": "/lake/x", "load_args": {"allow_pickle": True}},
    {"type": "pandas.GenericDataset", "file_format": "x", "filepath": "/lake/x",
     "load_args": {"deep": [{"trust_remote_code": "yes"}]}},
    {"type": "partitions.PartitionedDataset", "path": "/lake", "dataset": "pickle.PickleDataset"},
    {"type": "partitions.IncrementalDataset", "path": "/l", "dataset": "json.JSONDataset",
     "checkpoint": {"type": "pickle.PickleDataset"}},
]  # fmt: skip


@pytest.mark.parametrize("definition", CODE)
def test_a_format_that_runs_code_needs_the_projects_word(definition):
    with pytest.raises(Unusable, match=r"list it under `allow_code_formats:`"):
        usable(definition)
    with pytest.raises(Unusable, match=r"allow_code_formats"):
        usable(definition, types=frozenset(CODE_FORMATS))  # `types:` is not that word
    allowed = frozenset({"pickle.PickleDataset", "redis.PickleDataset", "pandas.GenericDataset", "pandas.HDFDataset"})
    assert usable(definition, allow_code_formats=allowed) == definition


def test_a_switch_that_is_off_runs_no_code():
    definition = {**CSV, "load_args": {"allow_pickle": False, "trust_remote_code": None}}
    assert usable(definition) == definition


def test_an_allowed_pickle_may_not_choose_a_module_to_import():
    allowed = frozenset({"pickle.PickleDataset"})
    definition = {"type": "pickle.PickleDataset", "filepath": "/lake/x.pkl", "backend": "os"}
    with pytest.raises(Unusable, match=r"would import a module of that name"):
        usable(definition, allow_code_formats=allowed)
    assert usable({**definition, "backend": "joblib"}, allow_code_formats=allowed)


@pytest.mark.parametrize(
    "kind", [None, 7, "", "LambdaDataset", "kedro.io.LambdaDataset", "pandas.CSVDataSet", "os.path",
             "pandas.CSVDataset ", "kedro.io.pandas.CSVDataset", ".pandas.CSVDataset", ["pandas.CSVDataset"]],
)  # fmt: skip
def test_a_type_outside_the_exact_list_is_refused(kind):
    with pytest.raises(Unusable):
        usable({**CSV, "type": kind})


@pytest.mark.parametrize("kind", ["pandas.CSVDataset", "kedro_datasets.pandas.CSVDataset", "kedro.io.MemoryDataset"])
def test_the_usual_spellings_of_allowed_types_pass(kind):
    assert usable({"type": kind}) == {"type": kind}


def test_a_column_called_type_or_validator_is_no_type():
    definition = {**CSV, "load_args": {"dtype": {"type": "str", "validator": "str", "dataset_type": "str"}}}
    assert usable(definition) == definition


def test_the_list_names_only_types_that_kedro_datasets_has_or_had():
    import ast
    from importlib.util import find_spec

    known = set()
    for package in ("kedro_datasets", "kedro_datasets_experimental"):
        spec = find_spec(package)
        (root,) = spec.submodule_search_locations
        for file in Path(root).rglob("*.py"):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    known.add(canonical(f"{package}.{file.parent.name}.{node.name}"))
    gone_since_9 = {"matplotlib.MatplotlibWriter", "pandas.DeltaSharingDataset"}
    missing = {name for name in (ALLOWED | set(CODE_FORMATS)) if "." in name} - known
    assert missing <= gone_since_9


INJECTIONS = [
    "${oc.env:SECRET}",
    "a-${oc.env:SECRET}",
    "${globals:x}",
    "${my.resolver:1}",
    "${runtime_params:${oc.env:X}}",
]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("place", ["filepath", "type", "load_args", "list", "key"])
def test_nothing_served_is_resolved(text, place):
    definition = {
        "filepath": {**CSV, "filepath": text},
        "type": {**CSV, "type": text},
        "load_args": {**CSV, "load_args": {"deep": {"er": text}}},
        "list": {**CSV, "load_args": {"names": ["a", text]}},
        "key": {**CSV, "load_args": {text: 1}},
    }[place]
    with pytest.raises(Unusable, match=r"which nothing may resolve here"):
        usable(definition)


def test_the_clients_environment_is_not_read_in_a_real_run(governed, service, monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    service.serve("sales.orders", {"type": "json.JSONDataset", "filepath": "/lake/${oc.env:SECRET}.json"})
    with pytest.raises(RunRefused) as refused:
        governed.session().run()
    assert "which nothing may resolve here" in str(refused.value)
    assert "swordfish" not in str(refused.value)


def test_runtime_parameters_are_filled_as_plain_values(governed, service):
    (governed.path.parent / "lake" / "2024.json").write_text("[2024]")
    (governed.path.parent / "lake" / "2023.json").write_text("[2023]")
    lake = governed.path.parent / "lake"
    path = f"{lake}/${{runtime_params:year, 2023}}.json"
    service.serve("sales.orders", {"type": "json.JSONDataset", "filepath": path})
    assert governed.context().catalog.load("orders") == [2023]
    assert governed.context(runtime_params={"year": 2024}).catalog.load("orders") == [2024]


@pytest.mark.parametrize(
    ("text", "params", "value"),
    [
        ("${runtime_params:n, 10}", {}, 10),
        ("${runtime_params:n, 'ten'}", {}, "ten"),
        ("${runtime_params:n, true}", {}, True),
        ("${runtime_params:n, a: b}", {}, "a: b"),
        ("${runtime_params:a.b, 1}", {"a": {"b": 2}}, 2),
        ("x-${runtime_params:n, 1}-y", {"n": "z"}, "x-z-y"),
        ("${runtime_params:run-id, 1}", {"run-id": 2}, 2),
        ("${runtime_params:n, 1}", {"n": None}, 1),
        ("${runtime_params:n}", {"n": False}, False),
    ],
)
def test_a_runtime_parameter_or_its_default_becomes_the_value(text, params, value):
    assert usable({**CSV, "load_args": {"n": text}}, runtime_params=params)["load_args"]["n"] == value


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("${runtime_params:n}", {}),
        ("${runtime_params:n, 1}", {"n": {"type": "evil"}}),
        ("${runtime_params:n, 1}", {"n": ["a"]}),
    ],
)
def test_a_runtime_parameter_that_is_absent_or_no_plain_value_is_refused(text, params):
    with pytest.raises(Unusable, match=r"runtime parameter 'n'"):
        usable({**CSV, "load_args": {"n": text}}, runtime_params=params)


@pytest.mark.parametrize(
    "default",
    ["10", "007", "-5", "1e3", ".5", "1_000", "true", "TRUE", "null", "inf", "c1", "2024-01-01", "'007'", "a b", "10%"],
)
def test_a_default_is_read_as_kedro_reads_it(default):
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("as_kedro_does", lambda _, given: given, replace=True)
    text = f"${{runtime_params:n, {default}}}"
    read = OmegaConf.create({"n": text.replace("runtime_params", "as_kedro_does")}).n
    assert repr(usable({**CSV, "load_args": {"n": text}})["load_args"]["n"]) == repr(read)


@pytest.mark.parametrize(
    ("path", "params", "filled"),
    [
        ("/lake/${runtime_params:client, c1}/x.json", {}, "/lake/c1/x.json"),
        ("/lake/${runtime_params:client}/x.json", {"client": "c2"}, "/lake/c2/x.json"),
        ("/lake/run_${runtime_params:ids.run}.json", {"ids": {"run": 7}}, "/lake/run_7.json"),
        ("s3://lake/${runtime_params:client}/x.json", {"client": "eu=1.b"}, "s3://lake/eu=1.b/x.json"),
        ("project://data/${runtime_params:client, c1}/x.json", {}, "/project/data/c1/x.json"),
    ],
)
def test_a_runtime_parameter_stands_within_one_segment_of_a_path(path, params, filled):
    assert usable({**CSV, "filepath": path}, runtime_params=params, project_paths=True)["filepath"] == filled


@pytest.mark.parametrize(
    "value", ["a/b", "..", ".", "", "a\\b", "~", "s3://x", "a::b", "x y", "*", "{name}", "${x}", "a\nb", "é"]
)
@pytest.mark.parametrize(
    "path", ["/lake/${runtime_params:client}/x.json", "project://data/${runtime_params:client}/x.json"]
)
def test_a_value_that_is_no_plain_segment_is_refused_in_a_path(path, value):
    with pytest.raises(Unusable, match=r"the runtime parameter 'client' may not choose a path"):
        usable({**CSV, "filepath": path}, runtime_params={"client": value}, project_paths=True)


def test_without_a_default_a_run_is_told_which_parameter_to_give(governed, service):
    service.serve("sales.orders", {**CSV, "filepath": "/lake/${runtime_params:client}/x.csv"}, "load")
    with pytest.raises(RunRefused, match=r"orders \(sales.orders\), load: it needs .* 'client': add --params client=…"):
        governed.session().run()


REFUSED_PATHS = [
    "lake/x.csv",
    "/lake/../x",
    "~/x",
    "/lake::x",
    "file://x",
    "project://conf/x",
    "${oc.env:X}",
    "",
    7,
    {"x": 1},
    ["/x", "y"],
]


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_a_path_is_checked_though_all_else_was_found_usable_before(path):
    """Definitions that differ in their paths alone are checked once, but for these."""
    building = Building(Path("/project"))
    args = {"type": "pandas.CSVDataset", "load_args": {"sep": ";"}}
    for good in ("/lake/a.csv", "/lake/b.csv"):
        assert building.usable({**args, "filepath": good})["filepath"] == good
    for one in (building, Building(Path("/project"))):
        with pytest.raises(Unusable) as refused:
            one.usable({**args, "filepath": path})
        assert str(path) in str(refused.value) or "filepath" in str(refused.value)


@pytest.mark.parametrize("definition", CODE)
def test_what_is_refused_once_is_refused_again(definition):
    building = Building(Path("/project"))
    for _ in range(2):
        with pytest.raises(Unusable):
            building.usable(definition)


def test_a_runtime_parameter_never_chooses_the_type():
    with pytest.raises(Unusable, match=r"which nothing may resolve here"):
        usable({**CSV, "type": "${runtime_params:kind, pandas.CSVDataset}"})


def test_a_path_inside_the_project_needs_the_projects_word(governed, service):
    inside = {"type": "json.JSONDataset", "filepath": "project://data/orders.json"}
    governed.write("data/orders.json", "[5]")
    service.serve("sales.orders", inside, "load")
    with pytest.raises(RunRefused, match=r"write `project_paths: true` in muniment.yml"):
        governed.session().run()
    assert not governed.first_node_ran
    governed.configure(service.url, names={"orders": "sales.orders"}, project_paths=True)
    assert governed.context().catalog.load("orders") == [5]


@pytest.mark.parametrize(
    "path", ["project://../x", "project://a/../../x", "project:///etc/passwd", "project://", "project://a\\..\\x",
             "project://C:/x", "project://~/x", "PROJECT://../x", " project://../x", "project:////host/x"],
)  # fmt: skip
def test_a_path_that_leaves_the_project_is_refused(path):
    with pytest.raises(Unusable, match=r"does not stay inside the project.s data folder"):
        usable({**CSV, "filepath": path}, project_paths=True)


@pytest.mark.parametrize(
    "name", ["orders", "{anything}", "{a}.orders", "parameters", "params:x", "sales.x@y", "Sales.x", "sales..x",
             "sales.", "sales.{}", "sales.{x!r}", "sales.x_{REGION}", "s." + "x" * 200],
)  # fmt: skip
def test_a_served_name_that_no_governed_dataset_can_have_is_left_out(governed, service, said, name):
    assert not is_name(name)
    service.serve(name, CSV)
    assert set(governed.context().catalog.keys()) >= {"orders", "report"}
    assert [line for line in said if "which no governed dataset can have" in line]


def test_a_catch_all_from_the_service_captures_nothing(governed, service):
    governed.write("conf/base/catalog.yml", "{}")  # `lines` is a MemoryDataset now
    service.serve("{anything}", {"type": "json.JSONDataset", "filepath": "/lake/{anything}.json"})
    governed.session().run()
    assert json.loads((governed.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}


@pytest.mark.parametrize("definition", [None, 7, "x", [], {}, {"filepath": "/x"}])
def test_what_is_no_definition_is_refused_alone(governed, service, definition):
    service.serve("sales.odd", definition)
    catalog = governed.context().catalog
    assert catalog.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match=r"is served and not usable here"):
        catalog.load("sales.odd")


def test_a_definition_nested_without_end_is_refused():
    deep = {"type": "MemoryDataset"}
    for _ in range(400):
        deep = {"type": "CachedDataset", "dataset": deep}
    with pytest.raises(Unusable, match=r"nested deeper"):
        usable(deep)


def test_refused_datasets_are_sent_to_no_worker_and_no_runtime(governed, service):
    service.serve("sales.orders", {"type": "pickle.PickleDataset", "filepath": "/lake/x.pkl"})
    for runner in (SequentialRunner(), ThreadRunner()):
        with pytest.raises(RunRefused, match=r"a pickle runs code when it is loaded"):
            governed.session().run(runner=runner)


def test_the_most_specific_pattern_is_the_one_that_kedro_takes():
    from kedro.io.catalog_config_resolver import CatalogConfigResolver

    patterns = ["sales.{a}", "sales.{a}_orders", "sales.{a}_{b}", "{default}", "sales.x{a}_orders"]
    resolver = CatalogConfigResolver({pattern: {"type": "MemoryDataset"} for pattern in patterns}, {}, {})
    for name in ("sales.x", "sales.emea_orders", "sales.xy_orders", "sales.a_b", "other"):
        chosen = resolver.match_dataset_pattern(name) or resolver.match_user_catch_all_pattern(name)
        assert most_specific(patterns, name) == chosen
