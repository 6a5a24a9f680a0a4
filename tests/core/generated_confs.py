"""Confs of Kedro projects as people write them, and worse: layers, files, templates, anchors, factories, secrets."""

from __future__ import annotations

import yaml
from hypothesis import strategies as st

CANARY = "canary-Zx81hQ"
SECRETS = (
    {"password": CANARY},
    {"api_key": CANARY},
    {"load_args": {"storage_options": {"secret": CANARY}}},
    {"load_args": {"con": f"postgresql://app:{CANARY}@db.acme.internal/shop"}},
    {"credentials": {"key": "app", "secret": CANARY}},
    {"fs_args": {"key": "app", "secret": CANARY}},
    {"metadata": {"notes": {"access_token": CANARY}}},
)
TYPES = ("pandas.CSVDataset", "pandas.CSVDataSet", "pandas.ParquetDataset", "json.JSONDataset", "pickle.PickleDataset")
#: What any value may be made of; the last ones are read by nobody but the project.
FILLED = (
    "${_root}", "${_options.sep}", "${_options}", "${_list.0}", "${_list}", "${_nested}",
    "${runtime_params:client, c1}", "${runtime_params:year, 2024}", "${runtime_params:who}",
    "${globals:zone}", "${globals:bucket}", "${globals:deep.one}", "${globals:absent, here}", "${globals:number}",
    "${runtime_params:size, ${globals:number}}", "${runtime_params:place, ${globals:zone}}",
    "${runtime_params:quoted, 'a, b'}",
)  # fmt: skip
UNREAD = ("${acme:x}", "\\${_root}", "${globals:deep}")
PLAIN = (
    "x",
    "1e3",
    "0x1f",
    "yes",
    "null",
    "2020-01-01",
    "12:30",
    "a b",
    "é",
    "_",
    "-1",
    "[a]",
    "{x",
    "%Y",
    "",
    " y ",
    "#",
    "???",
)

_words = st.sampled_from(["orders", "items", "people", "rates", "Model", "X_train", "a1"])
_names = st.one_of(
    _words,
    st.builds("{}_{}".format, _words, _words),
    st.builds("{}.{}".format, _words, _words),
    st.builds("{}@{}".format, _words, st.sampled_from(["pandas", "spark"])),
    st.builds("{}-{}".format, _words, st.integers(0, 99)),
    st.sampled_from(
        [
            "{part}_orders",
            "{space}.{part}#csv",
            "{default}",
            "{Region}.items",
            "feat_{a}_{b}",
            "params_x",
            "2020.raw",
            "日本",
        ]
    ),
)
_texts = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(FILLED),
    st.builds("{}/{}".format, st.sampled_from(FILLED), st.sampled_from(PLAIN)),
    st.sampled_from(UNREAD),
)
_values = st.recursive(
    st.one_of(_texts, st.integers(-9, 9), st.floats(0, 1), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["sep", "nrows", "kind", "index"]), inner, max_size=2),
    ),
    max_leaves=4,
)
_segments = st.one_of(
    st.sampled_from(["raw", "01_raw", "x.csv", "", "."]),
    st.sampled_from(
        ["${runtime_params:client, c1}", "c_${runtime_params:who}", "${globals:zone}", "${_options.folder}"]
    ),
)
_paths = st.builds(
    lambda start, segments, end: "/".join([start, *segments, end]),
    st.sampled_from(
        ["data"] * 5 + ["data/", "./data", "${_root}", "s3://lake", "/mnt/lake", "${globals:bucket}", "..", "other"]
    ),
    st.lists(_segments, max_size=2),
    st.sampled_from(["orders.csv", "orders.csv", "{part}.csv", "orders", "ord ers.csv", "*.csv"]),
)


@st.composite
def entries(draw):
    """One entry of a catalog."""
    kind = draw(st.sampled_from(["file"] * 5 + ["parts", "query", "memory", "cached", "own", "none"]))
    if kind == "none":
        return draw(
            st.sampled_from([None, "text", [], {}, {"filepath": "data/x.csv"}, {"type": "NoSuch"}, {"type": 3}])
        )
    if kind == "memory":
        return {"type": "MemoryDataset", **draw(st.dictionaries(st.just("data"), _values, max_size=1))}
    if kind == "query":
        return {"type": "pandas.SQLQueryDataset", "sql": f"select {draw(_texts)} from orders", "credentials": "db"}
    file = {"type": draw(st.sampled_from(TYPES)), "filepath": draw(_paths)}
    if kind == "cached":
        return {"type": "CachedDataset", "dataset": file}
    if kind == "parts":
        nested = draw(st.sampled_from(["pandas.CSVDataSet", {"type": "json.JSONDataset"}]))
        return {"type": "partitions.PartitionedDataset", "path": draw(_paths), "dataset": nested}
    if kind == "own":
        return {"type": "acme.datasets.LedgerDataset", "book": draw(_values), "filepath": draw(_paths)}
    further = {
        "load_args": st.dictionaries(st.sampled_from(["sep", "nrows", "names"]), _values, max_size=2),
        "layer": st.just("raw"),
        "versioned": st.booleans(),
        "credentials": st.sampled_from(["dev_s3", "Dev-S3"]),
        "metadata": st.dictionaries(st.just("owner"), _texts, max_size=1),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(further)), unique=True, max_size=2))
    return file | {key: draw(further[key]) for key in chosen}


@st.composite
def confs(draw):
    """The texts of a conf by their paths."""
    texts = {}
    templates = {
        "_root": "data",
        "_options": {"sep": ";", "folder": "in"},
        "_list": ["a", "${_root}"],
        "_nested": {"k": "${.j}", "j": 1},
    }
    for layer in draw(st.sampled_from([("base",), ("base", "prod"), ("base", "prod", "local"), ("base", "Test.1")])):
        held = draw(st.dictionaries(_names, entries(), min_size=0 if layer != "base" else 1, max_size=5))
        files = {"catalog.yml": {}, "catalog_more.yaml": {}, "catalog/sub/x.yml": {}, "deep/catalog_y.json": {}}
        for name, entry in held.items():
            files[draw(st.sampled_from(sorted(files)))][name] = entry
        for file, tree in files.items():
            if tree or file == "catalog.yml":
                text = yaml.safe_dump(templates | tree, sort_keys=False, allow_unicode=True)
                texts[f"{layer}/{file}"] = f"# {file} of {layer}\n{text}"
    texts["base/globals.yml"] = "zone: north\nbucket: s3://lake\nnumber: 7\ndeep: {one: two}\n_hidden: 1\n"
    if "prod/catalog.yml" in texts and draw(st.booleans()):
        texts["prod/globals.yml"] = draw(st.sampled_from(["zone: south\n", "bucket: s3://prod\nnumber: 8\n"]))
    return texts
