"""A project's conf is read as Kedro reads it, governed without loss, and written back as it was."""

from __future__ import annotations

import warnings

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from muniment.core.problems import Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.projects.conf import REASONS, Reason, read_conf
from muniment.core.projects.governed import Aim, govern
from muniment.core.projects.values import Reading, Unread, Why
from muniment.core.projects.written import Naming, naming_of, settings_text, without, write_conf
from tests.core.confs import TYPES, read_by_kedro, same
from tests.core.generated_confs import CANARY, SECRETS, confs

AIM = Aim("shop", TYPES)
#: Kedro takes a tenth of a second to read a conf.
_EXAMPLES = 50 if settings.default.max_examples <= 100 else settings.default.max_examples
GIVEN = {"who": "ann", "client": "c2", "year": 1999}
RESOLVERS = {"acme": lambda word: f"acme-{word}"}


def _imported(texts, aim=AIM):
    return govern(read_conf(texts), aim)


def _catalog(text, name="orders", **files):
    """What one catalog of base becomes, and its entry ``orders``."""
    imported = _imported({"base/catalog.yml": text, **files})
    taken = {each.name: each for each in imported.taken}
    return taken.get(name), {left.name: left.reason for left in imported.left}


def _exported(texts, imported):
    """The conf written back; what a project imported is cut out of its files first."""
    taken_names = {taken.name for taken in imported.taken}
    texts = {path: text if path.endswith("globals.yml") else without(text, taken_names) for path, text in texts.items()}
    datasets = {taken.governed: taken.environments for taken in imported.taken}
    naming = Naming(imported.names, imported.environments)
    return write_conf(datasets, naming, {"base": imported.variables}, texts)


# --- laws ---------------------------------------------------------------------------------------


@given(confs())
def test_every_entry_of_any_conf_is_governed_or_left_with_a_reason_whatever_the_order_of_its_files(texts):
    imported = _imported(texts)
    assert imported == _imported(dict(reversed(texts.items())))
    assert imported.taken_count + len(imported.left) == imported.count
    assert len({taken.governed for taken in imported.taken}) == len(imported.taken)
    assert all(left.reason in REASONS for left in imported.left)


@given(confs(), st.sampled_from([{}, GIVEN]))
@settings(max_examples=_EXAMPLES)
def test_any_conf_governed_and_written_back_loads_in_kedro_as_it_did(texts, given_parameters):
    imported = _imported(texts)
    after = _exported(texts, imported)
    governed = {taken.name for taken in imported.taken}
    for environment in {path.partition("/")[0] for path in texts} - {"base"} or {"local"}:
        try:
            was = read_by_kedro(texts, environment, {"who": "bob", **given_parameters}, RESOLVERS)
        except Exception as refused:  # noqa: BLE001 - whatever Kedro says of a conf that it cannot load
            event(f"Kedro refuses: {type(refused).__name__}")
            continue
        now = read_by_kedro(after, environment, {"who": "bob", **given_parameters}, RESOLVERS)
        event("Kedro loads it")
        assert {name: same(entry) for name, entry in now.items()} == {
            # Placeholders bind nothing outside their entry: an export calls them as the governed pattern does.
            name.replace("{Region}", "{region}") if name in governed else name: same(entry)
            for name, entry in was.items()
        }


@settings(max_examples=_EXAMPLES)
@given(confs(), st.sampled_from(SECRETS), st.sampled_from(["orders", "Orders.x"]))
def test_a_secret_in_an_entry_goes_nowhere(texts, secret, name):
    entry = {"type": "pandas.CSVDataset", "filepath": "data/x.csv", **secret}
    texts = {**texts, "base/catalog_secret.yml": yaml.safe_dump({f"{name}_secret": entry})}

    imported = _imported(texts)

    assert CANARY not in repr(imported)
    (left,) = [left for left in imported.left if left.name == f"{name}_secret"]
    assert left.reason in {Reason.SECRET, Reason.SERVER}


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "${a.b}", "z${a.b}", "${a}", "${n}", "z${n}", "${t}/x", "\\\\${a.b}", "a\\b", "${q}", "${ a.b }", "${a[b]}",
        "${a.c[0]}", "${a.c.0}", "${.l}", "${..l}", "${rp:x}", "${rp:x, 1}", "${rp:x,}", "${rp:x,null}",
        "${rp:'x', \"a, b\"}", "${rp:x, a b c }", "${rp:x,1e3}", "${rp:x,[1,2]}", "${rp:x,{a:1}}", "${rp:x, ${a.b}}",
        "${rp: x , ${a.b}/k}", "${rp:x,s3://a/b}", "${rp:x,01}", "${rp:x,1_000}", "${rp:x,0x1f}", "${rp:x,TRUE}",
        "${rp:x,a\\,b}", "${rp:x.y.z,d}", "${rp:X-y,d}", "$x", "$", "}", "{a}", "${rp:x,''}", "${${l}}", "${a-b}",
        "$${a.b}", "${rp:x,inf}", "${rp:x,.5}", "${rp:x,+1}", "${rp:x,1.}", "${rp:x,01.5}", "${rp:x,'a${a.b}c'}",
        "${a.b}\\", "${rp:x,a'b}", "${rp:x,(b)}", "${rp:1,2}", "${rp:x,???}", "${rp:x,$a}", "${missing}", "${rp:x,yes}",
        "${rp:x,~}", "${rp:x,a{b}", "${rp:${l},z}", "${rp:x,-}", "${rp:x,é}", "${rp:x,a[0]}", "${rp:x,\"it's\"}",
        "${rp:x,'it\\'s'}", "${rp:x,a=b}", "${rp:x,a\\ b}", "${rp:x,1_0.5}", "${rp:x,5.0e-1}", "???", "\\???",
        "a $ {b} ${a.b}$", "\\$", "$\\{", "a\\\\${l}b", "${a.c}", "${d.r}", "${d.rr}", "${e}", "${x}", "${m}",
        "${e.s}", "${a.c.-1}", "${nothing:x}",
    ],
)  # fmt: skip
def test_a_text_means_what_omegaconf_says_it_means(text):
    tree = {"x": text, "a": {"b": 1, "c": [1, 2]}, "n": None, "t": True, "q": "${a.b}", "l": "l", "m": "???"}
    tree |= {"d": {"r": "${.s}", "s": "S", "rr": "${..l}"}, "e": "${d}"}
    try:
        ours = Reading(tree, {"rp": _pair}).value("x")
    except Unread:
        ours = Unread
    assert ours == _by_omegaconf(tree)
    assert type(ours) is type(_by_omegaconf(tree))


def _pair(arguments):
    if not 1 <= len(arguments) <= 2:
        raise Unread(Why.REFERENCE, "not so")
    return [arguments[0], arguments[1] if len(arguments) > 1 else "none"]


def _by_omegaconf(tree):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        OmegaConf.register_new_resolver("rp", lambda name, default="none": [name, default], replace=True)
        try:
            return OmegaConf.to_container(OmegaConf.create(dict(tree)), resolve=True)["x"]
        except (OmegaConfBaseException, TypeError):
            return Unread
        finally:
            OmegaConf.clear_resolver("rp")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e3", 1000.0), ("a: 2020-01-01", "2020-01-01"), ("a: 12:30", 750), ("a: yes", True), ("a: 0o7", "0o7"),
        ("a: 010", 8), ("a: 1_000", 1000), ("a: .5", 0.5), ("a: ~", None), ("a: '1e3'", "1e3"), ("a: 1.e+3", 1000.0),
    ],
)  # fmt: skip
def test_yaml_is_read_as_kedro_reads_it(text, value):
    assert projects_yaml.parse(text)["a"] == value
    assert read_by_kedro({"base/catalog.yml": text}, "local")["a"] == value


def test_anchors_and_merge_keys_are_written_out_and_the_own_key_wins():
    taken, _ = _catalog(
        "_csv: &csv {type: pandas.CSVDataset, load_args: &args {sep: ;}}\n"
        "orders: {<<: *csv, filepath: data/o.csv, load_args: {<<: *args, nrows: 1}}\n"
    )
    assert taken.environments["base"] == {
        "type": "pandas.CSVDataset",
        "load_args": {"sep": ";", "nrows": 1},
        "filepath": "project://data/o.csv",
    }


def test_aliases_that_grow_without_bounds_are_refused_before_they_grow():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(Invalid, match="too many values"):
        projects_yaml.parse(bomb)
    _, left = _catalog("orders: ${_a}\n_a: ${_b}${_b}\n_b: ${_c}${_c}${_c}\n_c: " + "x" * 40_000)
    assert left == {"orders": Reason.REFERENCE}


@pytest.mark.parametrize("level", ["[", "{a: ", "- ", "? "])
def test_what_is_nested_without_end_is_refused_before_it_overflows_the_stack(level):
    with pytest.raises(Invalid, match="nested too deep"):
        projects_yaml.parse("a:\n  " + level * 100_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv", Reason.UNREADABLE),
        ("orders: {}\norders: {}", Reason.UNREADABLE),
        ("orders:\n  type: {{ cookiecutter.python_package }}.X\n", Reason.TEMPLATE),
        ("orders: {type: pandas.CSVDataset, filepath: '/x/{{ cookiecutter.name }}/y.csv'}", Reason.TEMPLATE),
        ("orders:", Reason.NOT_A_DATASET),
        ("orders: [1]", Reason.NOT_A_DATASET),
        ("orders: {filepath: data/x.csv}", Reason.TYPE),
        ("orders: {type: CSVDatset}", Reason.TYPE),
        ("orders: {type: pandas.CSVDatset, filepath: data/x.csv}", Reason.TYPE),
        ("orders: {type: '${runtime_params:kind, pandas.CSVDataset}', filepath: data/x.csv}", Reason.TYPE),
        ("orders: {type: LambdaDataset, load: x}", Reason.TYPE),
        ("orders: {type: pandas.CSVDataset, filepath: '${oc.env:HOME}/x.csv'}", Reason.RESOLVER),
        ("orders: {type: polars.CSVDataset, filepath: data/x.csv, load_args: {s: '${pl:Utf8}'}}", Reason.RESOLVER),
        ("orders: {type: pandas.CSVDataset, filepath: '${nowhere}/x.csv'}", Reason.REFERENCE),
        ("orders: {type: pandas.CSVDataset, filepath: '${orders.filepath}'}", Reason.REFERENCE),
        ("orders: {type: pandas.CSVDataset, filepath: '${unclosed'}", Reason.REFERENCE),
        ("orders: {type: pandas.CSVDataset, filepath: 'data/${globals:absent}/x.csv'}", Reason.VARIABLE),
        ("orders: {type: pandas.CSVDataset, filepath: '${runtime_params:whole}'}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: 'data/${runtime_params:a, ../b}/x.csv'}", Reason.PARAMETER),
        ("orders: {type: text.TextDataset, filepath: data/x, metadata: {a: '\\${b}'}}", Reason.LITERAL),
        ("orders: {type: pandas.CSVDataset, filepath: ../x.csv}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: conf/local/credentials.yml}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: 'C:\\data\\x.csv'}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: 'data/*.csv'}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: 'https://x.org/y.csv'}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: 's3a://lake/y.csv'}", Reason.PATH),
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv, nrows: 3}", Reason.ARGUMENT),
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv, credentials: Dev-S3}", Reason.ARGUMENT),
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv, load_args: {1: a}}", Reason.ARGUMENT),
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv, credentials: {key: a}}", Reason.SECRET),
        ("orders: {type: pandas.CSVDataset, filepath: data/x.csv, fs_args: {client_kwargs: {}}}", Reason.SERVER),
    ],
)  # fmt: skip
def test_what_cannot_be_governed_is_left_with_its_reason(text, reason):
    _, left = _catalog(text)
    assert left == {"orders": reason}


def test_a_name_in_two_files_of_one_environment_is_left_in_both():
    entry = "orders: {type: text.TextDataset, filepath: data/x}"
    imported = _imported({"base/catalog.yml": entry, "base/catalog/more.yml": entry})
    assert [(left.file, left.reason) for left in imported.left] == [
        ("base/catalog.yml", Reason.DUPLICATE),
        ("base/catalog/more.yml", Reason.DUPLICATE),
    ]


def test_a_name_is_governed_in_all_environments_or_in_none():
    good = "orders: {type: text.TextDataset, filepath: data/x}"
    bad = "orders: {type: text.TextDataset, filepath: ../x}"
    imported = _imported({"base/catalog.yml": good, "prod/catalog.yml": bad, "test/catalog.yml": good})
    assert {left.environment: left.reason for left in imported.left} == {
        "base": Reason.SIBLING,
        "prod": Reason.PATH,
        "test": Reason.SIBLING,
    }


def test_a_directory_whose_files_say_nothing_is_no_environment():
    entry = "orders: {type: text.TextDataset, filepath: data/x}"
    silent = {"local/catalog.yml": "", "dev/catalog.yml": "# To come.\n", "test/catalog.yml": "_root: data\n"}
    imported = _imported({"base/catalog.yml": entry, **silent, "prod/globals.yml": "zone: north\n"})
    assert imported.environments == {"prod": "prod"}


# --- governing ----------------------------------------------------------------------------------


def test_a_variable_that_is_the_same_everywhere_stays_one_and_others_are_filled_in():
    text = "orders: {type: text.TextDataset, filepath: 'data/${globals:zone}/${globals:Year}/${globals:kind}'}"
    texts = {"base/catalog.yml": text, "base/globals.yml": "zone: north\nYear: 2024\nkind: a\n"}
    imported = _imported({**texts, "prod/globals.yml": "kind: b\n"})
    (taken,) = imported.taken
    assert imported.variables == {"zone": "north"}
    assert {name: each["filepath"] for name, each in taken.environments.items()} == {
        "base": "project://data/${globals:zone}/2024/a",
        "prod": "project://data/${globals:zone}/2024/b",
    }


def test_a_variable_at_the_beginning_of_a_path_is_filled_in():
    text = "orders: {type: text.TextDataset, filepath: '${globals:bucket}/x.txt'}"
    taken, _ = _catalog(text, **{"base/globals.yml": "bucket: s3://lake/raw\n"})
    assert taken.environments["base"]["filepath"] == "s3://lake/raw/x.txt"


def test_a_variable_that_is_a_runtime_parameters_default_is_filled_in():
    text = "orders: {type: text.TextDataset, filepath: 'data/${globals:zone}/${runtime_params:at, ${globals:zone}}'}"
    taken, left = _catalog(text, **{"base/globals.yml": "zone: north\n"})
    assert not left
    assert taken.environments["base"]["filepath"] == "project://data/north/${runtime_params:at, north}"


def test_a_reference_that_leads_nowhere_is_named_with_what_kedro_writes_today():
    def told(reference):
        text = f"orders: {{type: text.TextDataset, filepath: 'data/{reference}/x'}}\n_key: {CANARY}\n"
        (left,) = _imported({"base/catalog.yml": text, "base/globals.yml": "paths: {raw: 01_raw}\n"}).left
        assert left.reason is Reason.REFERENCE
        return left.message

    assert told("${absent}") == "Nothing in its catalog is what ${absent} refers to."
    assert told("${paths.raw}").endswith("globals.yml gives it: Kedro writes ${globals:paths.raw} for that since 0.19.")
    assert told("${${_key}}") == "A reference in it leads to nothing."


def test_a_secret_that_a_variable_holds_is_no_variable_of_the_service():
    text = "orders: {type: acme.data.Table, uri: '${globals:uri}'}"
    imported = _imported({"base/catalog.yml": text, "base/globals.yml": f"uri: db://app:{CANARY}@host/x\n"})
    assert [left.reason for left in imported.left] == [Reason.SECRET]
    assert CANARY not in repr(imported)


def test_names_that_would_become_one_get_a_number_and_always_the_same_one():
    entry = "{type: text.TextDataset, filepath: data/x}"
    text = "".join(f"{name}: {entry}\n" for name in ("a.b", "a-b", "A_b", "a_b", "params", "2020.raw", "x@pandas"))
    assert _imported({"base/catalog.yml": text}).names == {
        "a_b": "shop.a_b",
        "A_b": "shop.a_b_2",
        "a-b": "shop.a_b_3",
        "a.b": "shop.a_b_4",
        "params": "shop.params_data",
        "2020.raw": "shop.d_2020_raw",
        "x@pandas": "shop.x_pandas",
    }


def test_a_factory_keeps_its_placeholders_and_its_literal_part():
    entry = "{{type: text.TextDataset, filepath: 'data/{}/x'}}\n"
    text = "'{Space}.{name}#csv': " + entry.format("{Space}/{name}") + "'{all}': " + entry.format("{all}")
    imported = _imported({"base/catalog.yml": text + "'{a}{b}_x': " + entry.format("{a}{b}")})
    (taken,) = imported.taken
    assert imported.names == {"{space}.{name}#csv": "shop.{space}__{name}_csv"}
    assert taken.name == "{Space}.{name}#csv"
    assert taken.environments["base"]["filepath"] == "project://data/{space}/{name}/x"
    assert {left.name: left.reason for left in imported.left} == {"{all}": Reason.CATCH_ALL, "{a}{b}_x": Reason.NAME}


def test_a_factory_whose_names_would_be_taken_for_another_dataset_is_left():
    entry = "{type: text.TextDataset, filepath: 'data/%s'}\n"
    exact = "companies_raw: " + entry % "exact"
    text = exact + "companies__raw: " + entry % "other" + "'{name}.raw': " + entry % "{name}"
    imported = _imported({"base/catalog.yml": text})
    assert imported.names == {name: f"shop.{name}" for name in ("companies_raw", "companies__raw")}
    assert [(left.name, left.reason) for left in imported.left] == [("{name}.raw", Reason.NAME)]


def test_factories_of_one_namespace_are_told_apart_by_more_than_one_underscore():
    entry = "{type: pickle.PickleDataset, filepath: 'data/{space}/{kind}/x'}\n"
    names = ["{space}.{kind}.model", "{space}.{kind}.study", "{space}.{kind}.node_done_{step}"]
    imported = _imported({"base/catalog.yml": "".join(f"'{name}': {entry}" for name in names)})
    assert imported.names == {
        "{space}.{kind}.model": "shop.{space}__{kind}__model",
        "{space}.{kind}.study": "shop.{space}__{kind}__study",
        "{space}.{kind}.node_done_{step}": "shop.{space}__{kind}__node_done_{step}",
    }


def test_data_can_be_moved_to_another_place_on_the_way():
    aim = Aim("shop", TYPES, moved={"data/01_raw/": "s3://lake/raw/"})
    imported = _imported({"base/catalog.yml": "a: {type: text.TextDataset, filepath: data/01_raw/a.txt}"}, aim)
    assert imported.taken[0].environments["base"]["filepath"] == "s3://lake/raw/a.txt"
    assert imported.locations == ("s3://lake/raw/",)


# --- writing back -------------------------------------------------------------------------------


def test_cutting_entries_out_of_a_text_leaves_the_rest_as_it_is_written():
    text = "# head\n_root: data\n\na:   # of a\n  b: 1\n\n# of c\nc: {d: 1}  # kept\n"
    assert without(text, {"a"}) == "# head\n_root: data\n\n\n# of c\nc: {d: 1}  # kept\n"
    assert without(text, {"z"}) == text


def test_an_anchor_that_was_cut_out_is_written_where_it_is_needed():
    text = "a: &a {type: x}\nb: *a\n"
    assert projects_yaml.parse(without(text, {"a"})) == {"b": {"type": "x"}}
    assert projects_yaml.parse(without('{"a": 1, "b": [2]}', {"a"})) == {"b": [2]}


def test_names_that_a_pattern_maps_are_turned_back():
    naming = naming_of({"names": {"{name}": "shop.{name}", "Orders": "shop.orders", "{r}.x": "shop.{r}_x"}})
    assert naming.locals_of("shop.orders") == ("Orders",)
    assert naming.locals_of("shop.items") == ("items",)
    assert naming.locals_of("other.items") == ("other.items",)


def test_settings_that_are_there_stay_and_become_longer():
    entry = "{type: text.TextDataset, filepath: data/x}"
    aim = Aim("shop", TYPES, names={"A": "shop.a", "gone": "shop.b"})
    imported = _imported({"base/catalog.yml": f"A: {entry}\na: {entry}\nb: {entry}\n"}, aim)
    standing = "# Ours.\nurl: https://one\nnames:\n  A: shop.a\n  gone: shop.b\n# And this.\ngoverned: [shop.x]\n"

    text = settings_text(imported, TYPES, domain="shop", url="https://two", standing=standing)

    assert text.startswith("# Ours.\nurl: https://one\n# And this.\n")
    assert yaml.safe_load(text) == {
        "url": "https://one",
        "names": {"A": "shop.a", "a": "shop.a_2", "b": "shop.b_2", "gone": "shop.b"},
        "governed": ["shop.x", "shop.*"],
        "project_paths": True,
    }


def test_variables_are_written_into_the_globals_that_are_there():
    definition = {"type": "text.TextDataset", "filepath": "project://data/${globals:a.b}/${globals:c}"}
    own = {"base/globals.yml": "# mine\nd: 1\n"}
    variables = {"base": {"a.b": "x", "c": "y", "unused": "z"}, "prod": {"c": "w"}}
    files = write_conf({"shop.n": {"base": definition}}, Naming({"n": "shop.n"}), variables, own)
    assert files["base/globals.yml"].startswith("# mine\nd: 1\n")
    assert read_by_kedro(files, "local") == {"n": {"type": "text.TextDataset", "filepath": "data/x/y"}}
    assert read_by_kedro(files, "prod") == {"n": {"type": "text.TextDataset", "filepath": "data/x/w"}}
