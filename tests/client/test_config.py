"""``muniment.yml``: what it may say, and how it says what is wrong; who wins where two catalogs meet."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kedro_muniment.config import read
from kedro_muniment.problems import BadConfig, RunRefused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url: [", "muniment.yml, line 1 is not YAML"),
        ("- url", "holds a list; it must hold keys"),
        ("url: https://m.example.org\nurls: x\nnmaes: {}", "has unknown keys: nmaes, urls. Known are: url,"),
        ("governed: ['sales.*']", "has no `url:`"),
        ("url: 7", "`url:` in .* must be an address such as https://muniment.example.org, not a number"),
        ("url: muniment", "must be an address"),
        ("url: ftp://m.example.org", "must be an address"),
        ("url: https://ann:pw@m.example.org", "holds a user or a password"),
        ("url: http://m.example.org", "is plain HTTP, which would show your token"),
        ("url: ${oc.env:HOME}", "nothing is resolved there"),
        ("url: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("url: https://m.example.org\nenvironments: [dev]", "`environments:` .* a mapping from text to text"),
        ("url: https://m.example.org\nenvironments: {local: 7}", "`environments:` .* a mapping from text to text"),
        ("url: https://m.example.org\ngoverned: sales.*", "`governed:` .* a list of text"),
        ("url: https://m.example.org\nnames: [a]", "`names:` .* a mapping from text to text"),
        ("url: https://m.example.org\nnames: {'{x}': 'sales.{y}'}", "both sides need the same placeholders"),
        ("url: https://m.example.org\nnames: {'{x}': sales.x}", "both sides need the same placeholders"),
        ("url: https://m.example.org\nnames: {x: 'sales.{x}'}", "both sides need the same placeholders"),
        ("url: https://m.example.org\nnames: {'{x:d}': 'sales.{x:d}'}", "a placeholder is a name in braces"),
        ("url: https://m.example.org\nnames: {'{}_o': 'sales.{}_o'}", "a placeholder is a name in braces"),
        ("url: https://m.example.org\nnames: {'{x}_{x}': 'sales.{x}_{x}'}", "once on each side"),
        ("url: https://m.example.org\nnames: {'{x}': '{x}'}", "a governed name begins with its domain"),
        ("url: https://m.example.org\nnames: {'{x}': 'Sales.{x}'}", "a governed name begins with its domain"),
        ("url: https://m.example.org\nnames: {'{x}': 'sales.{x}', '{y}': 'hr.{y}'}", "maps every name by each of"),
        ("url: https://m.example.org\nnames: {'params:{x}': 'sales.{x}'}", "parameters are the project's own"),
        ("url: https://m.example.org\nnames: {'params:x': sales.x}", "parameters are the project's own"),
        ("url: https://m.example.org\nprecedence: {default: maybe}", "one of error, warn, local, governed"),
        ("url: https://m.example.org\nproject_paths: 'yes'", "`project_paths:` .* must be true or false, not text"),
        ("url: https://m.example.org\nproject: ''", "`project:` .* must be text"),
        ("url: https://m.example.org\ngoverned:", "`governed:` in .* is empty. Write a value, or take the line out"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(project, text, said):
    project.write("conf/base/muniment.yml", text)
    with pytest.raises(BadConfig, match=said):
        project.context()


def test_an_empty_file_configures_nothing(project):
    project.write("conf/base/muniment.yml", "# to be filled\n")
    assert read(project.context().config_loader) is None


def test_the_runs_environment_overlays_base_key_by_key(governed, service):
    governed.write("conf/local/muniment.yml", "default_environment: sandbox\n")
    governed.context()
    assert service.asked[-1].query["environment"] == "sandbox"
    assert service.url == read(governed.context().config_loader).url


def test_the_variables_win_over_the_file(governed, service, monkeypatch):
    governed.configure("https://elsewhere.example.org")
    monkeypatch.setenv("MUNIMENT_URL", f"{service.url}/")
    monkeypatch.setenv("MUNIMENT_ENVIRONMENT", "staging")
    governed.context()
    assert service.asked[-1].path == "/v1/leases"
    assert service.asked[-1].query["environment"] == "staging"


def test_an_emptied_list_in_the_runs_environment_does_not_end_the_governing(governed, service):
    governed.write("conf/local/muniment.yml", "governed:\n#  - sales.*\n")
    with pytest.raises(BadConfig, match=r"`governed:` in .*local/muniment.yml is empty"):
        governed.context()


def test_the_address_alone_configures_nothing(project, service, monkeypatch):
    monkeypatch.setenv("MUNIMENT_URL", service.url)
    monkeypatch.delenv("MUNIMENT_TOKEN")
    project.own(orders=project.json_at("orders", [1]), report=project.json_at("report"))
    project.session().run()
    assert project.first_node_ran
    assert service.asked == []


def test_a_conf_source_that_is_a_file_address_is_read(governed, service):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(governed.path)
    session = KedroSession.create(governed.path, conf_source=(governed.path / "conf").as_uri(), save_on_close=False)
    assert session.load_context().catalog.load("orders") == [1, 2]
    assert service.paths() == ["/v1/leases"]


@pytest.fixture
def remote(governed):
    """The project's configuration behind an address, as in a bucket."""
    import fsspec
    from kedro.config import OmegaConfigLoader

    memory = fsspec.filesystem("memory")
    memory.pipe("/conf/base/muniment.yml", (governed.path / "conf/base/muniment.yml").read_bytes())
    yield OmegaConfigLoader("memory://conf", base_env="base", default_run_env="local")
    memory.rm("/conf", recursive=True)


def test_a_remote_conf_source_is_said_to_switch_the_governing_off(remote, said):
    assert read(remote) is None
    (line,) = said
    assert line.startswith("WARNING Muniment governs nothing in this run: the conf source memory://conf is remote")


def test_with_a_remote_conf_source_the_address_alone_governs(remote, service, said, monkeypatch):
    monkeypatch.setenv("MUNIMENT_URL", service.url)
    assert read(remote).url == service.url
    assert said == []


def test_a_project_without_a_catalog_gets_the_governed_one(governed):
    (governed.path / "conf/base/catalog.yml").unlink()
    assert set(governed.context().catalog.keys()) >= {"orders", "report"}


def test_a_start_is_told_in_one_line(governed, said):
    governed.context()
    assert said == ["INFO 2 governed datasets (1 read-only) as user:ann, env dev, revision 812"]


@pytest.mark.parametrize("name", ["orders", "sales.orders", "sales.hidden", "sales.{anything}"])
def test_defining_a_governed_name_is_an_error_whether_or_not_it_is_served(governed, name):
    governed.own(**{name: governed.json_at("mine", [0])})
    with pytest.raises(BadConfig, match=r"defines governed names itself") as refused:
        governed.context()
    assert name in str(refused.value)
    assert "precedence:" in str(refused.value)


def configured(governed, service, choice, name="default"):
    names = {"orders": "sales.orders", "report": "sales.report"}
    governed.configure(service.url, names=names, governed=["sales.*"], precedence={name: choice})


@pytest.mark.parametrize("name", ["default", "orders", "sales.orders"])
def test_the_local_definition_wins_where_precedence_says_so_and_is_not_asked_about(governed, service, name):
    governed.own(orders=governed.json_at("mine", [0]))
    configured(governed, service, "local", name)
    session = governed.session()
    session.run()
    assert service.asked[-1].body["load"] == []
    assert governed.context().catalog.load("orders") == [0]


@pytest.mark.parametrize(("choice", "warnings"), [("warn", 1), ("governed", 0)])
def test_the_governed_definition_wins_where_precedence_says_so(governed, service, said, choice, warnings):
    governed.own(orders=governed.json_at("mine", [0]))
    configured(governed, service, choice)
    assert governed.context().catalog.load("orders") == [1, 2]
    told = [line for line in said if line.startswith("WARNING")]
    assert (
        told
        == ["WARNING The project's own definition of orders (sales.orders) is not used: it is governed."] * warnings
    )


def test_a_governed_name_that_is_not_served_falls_back_to_nothing(governed, service):
    """That the governed definition wins does not mean that the local one takes over where it is withheld."""
    governed.own(orders=governed.json_at("mine", [0]))
    configured(governed, service, "governed")
    del service.catalog["sales.orders"]
    del service.actions["sales.orders"]
    with pytest.raises(RunRefused, match=r"orders .sales.orders., load: does not exist, or you may not know of it"):
        governed.session().run()


def test_the_projects_catch_all_captures_no_governed_name(governed, service):
    governed.own(**{"{anything}": {"type": "json.JSONDataset", "filepath": str(governed.path / "{anything}.json")}})
    governed.nodes("orders", "sales.hidden")
    with pytest.raises(RunRefused, match=r"sales.hidden, save: does not exist"):
        governed.session().run()
    assert not (governed.path / "sales.hidden.json").exists()


def test_a_local_pattern_never_stands_before_a_name_that_the_service_gives(governed, service):
    service.serve("sales.{region}_orders", governed.json_at("x", [3]), "load")
    governed.configure(service.url, governed=["sales.*_orders"])
    governed.own(**{"sales.emea_{rest}rders": governed.json_at("mine", [0])})
    governed.nodes("sales.emea_orders", "own_report")
    assert governed.context().catalog.load("sales.emea_orders") == [3]
    del service.catalog["sales.{region}_orders"]
    with pytest.raises(RunRefused, match=r"sales.emea_orders, load: does not exist, or you may not know of it"):
        governed.session().run()
    assert governed.context().catalog.exists("sales.apac_other") is False


def test_datasets_are_listed_under_the_projects_names_alone(governed, service):
    service.serve("sales.more", governed.json_at("more", [4]), "load")
    keys = set(governed.context().catalog.keys())
    assert {"orders", "report", "sales.more"} <= keys
    assert not {"sales.orders", "sales.report"} & keys


def test_using_a_mapped_dataset_under_its_other_name_is_refused_rather_than_kept_in_memory(governed):
    governed.nodes("sales.orders", "report")
    with pytest.raises(RunRefused, match=r"is not in this project's catalog under that name"):
        governed.session().run()


def test_a_mapped_dataset_never_takes_a_patterns_definition_under_its_other_name(governed, service):
    lake = governed.path.parent / "lake"
    service.serve("sales.{name}", {"type": "json.JSONDataset", "filepath": f"{lake}/pattern_{{name}}.json"})
    governed.nodes("orders", "sales.report")
    with pytest.raises(RunRefused, match=r"sales.report, save: is not in this project's catalog under that name"):
        governed.session().run()
    assert not (lake / "pattern_report.json").exists()


def test_every_transcoding_of_a_mapped_name_is_governed(governed, service):
    names = {"orders": "sales.orders", "report@json": "sales.report"}
    governed.configure(service.url, names=names, governed=["sales.*"])
    governed.nodes("orders", "report@pandas")
    with pytest.raises(RunRefused, match=r"report@pandas \(sales.report\), save: is not in this project's catalog"):
        governed.session().run()
    governed.own(**{"report@pandas": governed.json_at("mine")})
    with pytest.raises(BadConfig, match=r"defines governed names itself: report@pandas \(sales.report\)"):
        governed.context()


def test_a_project_that_is_not_configured_pays_for_nothing_that_speaks_to_a_network():
    """Seen to fail with `urllib.request` imported by the settings: with it came ssl, some 40 ms."""
    code = "import sys, kedro_muniment.hooks, kedro_muniment.config; print({'ssl', 'http.client'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
