"""Credentials are fetched when a dataset is built, once, from where the project says, and are shown nowhere."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys
from multiprocessing.reduction import ForkingPickler

import fsspec
import keyring
import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem
from kedro.config import OmegaConfigLoader
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.runner import ParallelRunner
from keyring.backend import KeyringBackend

from kedro_muniment.config import of
from kedro_muniment.entries import credentials, guarded
from kedro_muniment.entries.credentials import Own, Secret, Secrets
from kedro_muniment.problems import BadConfig
from tests.client.test_guarded import guard
from tests.client.tracebacks import shown

CANARY = "canary-that-sings-in-no-log"


def sources(**said):
    return of({"url": "https://muniment.example.org", "credentials": said}, "a test").credentials


class Keyed(MemoryFileSystem):
    """A store that opens for the right key only, and that keeps what it was opened with, as stores do."""

    protocol = "keyed"
    cachable = False

    def __init__(self, key=None, **options):
        super().__init__(key=key, **options)
        if key != CANARY:
            raise PermissionError


@pytest.fixture
def keyed():
    fsspec.register_implementation("keyed", Keyed, clobber=True)
    with Keyed(CANARY).open("/orders.json", "w") as file:
        file.write("[1]")
    return {"type": "json.JSONDataset", "filepath": "keyed:///orders.json", "credentials": "lake"}


def built(definition, secrets):
    return AbstractDataset.from_config("orders", guarded.definition(definition, guard(), secrets))


def test_an_environments_variables_are_named_one_by_one_or_by_a_prefix(monkeypatch):
    monkeypatch.setenv("LAKE_KEY", CANARY)
    monkeypatch.setenv("LAKE_REGION", "north")
    said = sources(
        one={"environment": {"client_kwargs": {"secret": "LAKE_KEY"}}}, all={"environment": "LAKE_"},
        none={"environment": "RIVER_"}, unset={"environment": {"key": "RIVER_KEY"}},
    )  # fmt: skip
    secrets = Secrets(Own.none(), said)
    assert secrets.value_of("one") == {"client_kwargs": {"secret": CANARY}}
    assert secrets.value_of("all") == {"key": CANARY, "region": "north"}
    with pytest.raises(DatasetError, match=r"'none' could not be fetched: no environment variable begins with RIVER_"):
        secrets.value_of("none")
    with pytest.raises(DatasetError, match=r"'unset' could not be fetched: the environment variable RIVER_KEY is not"):
        secrets.value_of("unset")


class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return CANARY if (service, username) == ("lake", "key") else None

    def set_password(self, service, username, password):
        raise AssertionError

    def delete_password(self, service, username):
        raise AssertionError


def test_a_keyrings_entries_are_named_as_service_and_user():
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        secrets = Secrets(Own.none(), sources(lake={"keyring": {"key": "lake/key"}}, sea={"keyring": {"key": "sea/k"}}))
        assert secrets.value_of("lake") == {"key": CANARY}
        with pytest.raises(DatasetError, match=r"'sea' could not be fetched: the keyring has no entry of sea for k"):
            secrets.value_of("sea")
    finally:
        keyring.set_keyring(before)


@pytest.fixture
def team(tmp_path, monkeypatch):
    """A module of the team's own that gives credentials, and counts."""
    (tmp_path / "team_secrets.py").write_text(
        f"asked = []\ndef fetch(name):\n    asked.append(name)\n    return {{'key': {CANARY!r}}}\n"
        f"def fail(name):\n    raise ValueError({CANARY!r})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("team_secrets", None)


def test_the_teams_own_function_is_asked_once_for_each_name_and_only_when_a_dataset_is_built(team, keyed):
    secrets = Secrets(Own.none(), sources(**{"*": {"callable": "team_secrets:fetch"}}))
    catalog = DataCatalog.from_config(
        {name: guarded.definition(keyed, guard(), secrets) for name in ("orders", "again", "never")}
    )
    assert catalog.to_config()
    assert repr(catalog)
    assert "team_secrets" not in sys.modules
    assert catalog.load("orders") == catalog.load("again") == [1]
    assert sys.modules["team_secrets"].asked == ["lake"]


@pytest.mark.parametrize("function", ["team_secrets:fail", "team_secrets:gone", "no_such_module:fetch"])
def test_of_a_function_that_fails_only_the_kind_of_its_error_is_told(team, keyed, function):
    secrets = Secrets(Own.none(), sources(lake={"callable": function}))
    with pytest.raises(DatasetError, match=r"'lake' could not be fetched: .* failed with \w+\.") as error:
        built(keyed, secrets)
    assert CANARY not in str(error.value)
    assert CANARY not in shown(error.value)


@pytest.mark.parametrize(
    "said",
    [
        {"lake": CANARY},
        {"lake": {"key": CANARY}},
        {"lake": {"environment": {"key": 7}}},
        {"lake": {"keyring": {"key": "no-slash"}}},
        {"lake": {"callable": "no_colon"}},
        {"lake": {"environment": "A_", "callable": "a:b"}},
        ["lake"],
    ],
    ids=["text", "inline", "number", "entry", "function", "two", "list"],
)
def test_where_they_come_from_is_checked_when_the_settings_are_read_and_a_secret_there_is_not_repeated(said):
    with pytest.raises(BadConfig) as refused:
        of({"url": "https://muniment.example.org", "credentials": said}, "muniment.yml")
    assert CANARY not in str(refused.value)


def test_the_projects_own_file_goes_first(governed, service, keyed):
    governed.write("conf/local/credentials.yml", yaml.safe_dump({"lake": {"key": CANARY}}))
    names = {"orders": "sales.orders", "report": "sales.report"}
    governed.configure(service.url, names=names, credentials={"*": {"environment": {"key": "NO_SUCH_VARIABLE"}}})
    service.serve("sales.orders", keyed, "load")
    assert governed.context().catalog.load("orders") == [1]


def test_a_projects_own_entry_may_name_what_a_source_gives_and_no_more(governed, service, keyed, monkeypatch):
    monkeypatch.setenv("LAKE_KEY", CANARY)
    governed.own(mine=keyed)
    names = {"orders": "sales.orders", "report": "sales.report"}
    governed.configure(service.url, names=names, credentials={"lake": {"environment": "LAKE_"}})
    catalog = governed.context().catalog
    assert CANARY not in repr(catalog.to_config())
    assert catalog.load("mine") == [1]
    governed.own(mine={**keyed, "credentials": "river"})
    with pytest.raises(KeyError, match="Unable to find credentials 'river'"):
        governed.context().catalog  # noqa: B018


def sent(catalog):
    """What Kedro's ParallelRunner sends of a catalog to its workers, with every task."""
    return pickle.dumps((catalog._config_resolver, catalog._lazy_datasets, catalog._datasets))


def test_a_secret_is_in_no_repr_no_configuration_no_pickle_and_no_log(governed, service, keyed, caplog):
    governed.write("conf/local/credentials.yml", yaml.safe_dump({"lake": {"key": CANARY}}))
    parts = {"type": "partitions.PartitionedDataset", "path": "keyed:///parts", "dataset": "json.JSONDataset"}
    service.serve("sales.orders", keyed, "load")
    service.serve("sales.parts", {**parts, "credentials": "lake"})
    service.serve("sales.cached", {"type": "CachedDataset", "dataset": keyed})
    context = governed.context()
    caplog.set_level(logging.DEBUG)
    logging.getLogger("kedro_muniment").addHandler(caplog.handler)
    catalog = context.catalog
    lazily = repr(catalog.to_config()) + repr(catalog) + repr(sent(catalog)) + repr(context.config_loader)
    catalog["sales.parts"].save({"a": [1]})
    assert catalog.load("orders") == catalog.load("sales.cached") == [1]
    made = [catalog["orders"], catalog["sales.parts"], catalog["sales.cached"]]
    shows = [repr(made), str(made), repr(catalog.to_config()), repr(catalog), yaml.dump(catalog.to_config()[0])]
    shows += [repr(ForkingPickler.dumps(each).tobytes()) for each in made] + [repr(sent(catalog))]
    logging.getLogger("kedro_muniment").removeHandler(caplog.handler)
    assert made[0]._fs.storage_options["key"] == CANARY, "the store itself was opened with it"
    assert CANARY not in lazily + "".join(shows) + caplog.text
    assert "'lake'" in repr(catalog.to_config()[1])


def test_a_copy_in_this_process_goes_on_with_what_it_has(keyed, monkeypatch):
    monkeypatch.setenv("LAKE_KEY", CANARY)
    made = built(keyed, Secrets(Own.none(), sources(lake={"environment": "LAKE_"})))
    monkeypatch.delenv("LAKE_KEY")
    assert copy.deepcopy(made).load() == [1]


def test_another_process_is_told_where_to_look_and_builds_the_dataset_at_its_first_use(keyed, tmp_path):
    for env in ("base", "local"):
        (tmp_path / env).mkdir()
    file = tmp_path / "local" / "credentials.yml"
    file.write_text(json.dumps({"lake": {"key": CANARY}}))
    made = built(keyed, Secrets(Own.of(OmegaConfigLoader(str(tmp_path), base_env="base", default_run_env="local"))))
    sent = bytes(ForkingPickler.dumps(made))
    assert CANARY.encode() not in sent
    other = pickle.loads(sent)  # noqa: S301
    assert guarded.guard_of(other) == guard()
    assert "_fs" not in vars(other)
    assert other._protocol == "keyed", "asked for what it has when it is built, it is built"
    assert other.load() == [1]
    file.unlink()
    credentials._again.cache_clear()
    with pytest.raises(DatasetError, match=r"needs the credentials 'lake', which this project does not define"):
        pickle.loads(sent).load()  # noqa: S301


def test_a_worker_that_cannot_make_the_projects_loader_says_so(keyed):
    place = ("not a loader", "conf", None, ())
    made = Secrets(credentials._own_at(*place))
    with pytest.raises(DatasetError, match=r"This worker process cannot read the project's credentials \(TypeError\)"):
        made.value_of("lake")


def test_workers_look_for_themselves(governed, service, tmp_path):
    governed.write("conf/local/credentials.yml", yaml.safe_dump({"lake": {"use_listings_cache": False}}))
    service.serve("sales.report", {**governed.json_at("report"), "credentials": "lake"})
    governed.session().run(runner=ParallelRunner())
    assert json.loads((governed.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}


def test_a_secret_shows_and_compares_as_its_name_and_reads_as_its_value(monkeypatch):
    monkeypatch.setenv("LAKE_KEY", CANARY)
    secrets = Secrets(Own.none(), sources(lake={"environment": "LAKE_"}))
    held = Secret("lake", secrets)
    assert repr(held) == "<credentials 'lake'>"
    assert repr(secrets) == "Secrets(hidden)"
    assert copy.deepcopy(held) is held
    assert {**held} == dict(held) == held.copy() == {"key": CANARY}
    assert CANARY.encode() not in pickle.dumps(held)
    assert pickle.loads(pickle.dumps(held)).revealed() == {"key": CANARY}  # noqa: S301
