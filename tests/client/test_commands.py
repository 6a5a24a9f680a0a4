"""``kedro muniment …``: answers for people and for scripts, and exit codes that scripts may rely on."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from click.testing import CliRunner

from kedro_muniment.command_line import showing
from kedro_muniment.command_line.commands import commands

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def muniment(governed, monkeypatch):
    """The command line in this process, inside the governed project."""
    monkeypatch.chdir(governed.path)

    def run(*arguments, **env):
        return CliRunner().invoke(commands, ["muniment", *arguments], env=env)

    return run


def answer(result):
    return json.loads(result.stdout.splitlines()[-1])


def test_whoami_says_who_the_service_takes_you_for(muniment):
    assert "subject: user:ann" in muniment("whoami").stdout
    assert answer(muniment("whoami", "--json"))["groups"] == ["group:analysts"]


def test_list_gives_both_names_actions_and_what_is_refused_here(muniment, governed, service):
    service.serve("sales.model", {"type": "pickle.PickleDataset", "filepath": "/lake/model.pkl"})
    told = muniment("list").stdout
    assert "orders (sales.orders): load" in told
    assert "report (sales.report): load and save" in told
    assert "sales.model: refused: pickle.PickleDataset is not loaded here" in told
    listed = answer(muniment("list", "--json"))
    assert (listed["subject"], listed["environment"], listed["revision"]) == ("user:ann", "dev", "812")
    by_name = {entry["name"]: entry for entry in listed["datasets"]}
    assert by_name["orders"]["dataset"] == "sales.orders"
    assert by_name["orders"]["actions"] == ["load"]
    assert by_name["orders"]["from"] == "Muniment"


def test_list_shows_where_the_projects_own_definition_is_used(muniment, governed, service):
    governed.own(orders=governed.json_at("mine", [0]))
    governed.configure(service.url, names={"orders": "sales.orders"}, precedence={"orders": "local"})
    assert "orders (sales.orders): the project's own definition is used" in muniment("list").stdout


def test_list_gives_what_is_searched_for(muniment, governed, service):
    service.serve("finance.targets", {"type": "pandas.CSVDataset", "filepath": "/lake/targets.csv"}, "load")

    def found(*arguments):
        return [entry["name"] for entry in answer(muniment("list", *arguments, "--json"))["datasets"]]

    assert found() == ["finance.targets", "orders", "report"]
    assert found("ORDER") == ["orders"]
    assert found("csv") == ["finance.targets"]
    assert found("--domain", "sales") == ["orders", "report"]
    assert found("--action", "save") == ["report"]
    assert found("orders", "--action", "save") == []
    assert muniment("list", "--action", "own").exit_code == 2


def test_a_table_says_a_name_once_where_both_are_the_same(muniment, governed, service, monkeypatch):
    monkeypatch.setattr(showing, "in_terminal", lambda: True)
    service.serve("sales.targets", governed.json_at("targets"), "load")
    assert "in Muniment" in muniment("list").stdout
    assert muniment("list", COLUMNS="100").stdout.count("sales.targets") == 1
    assert "in Muniment" not in muniment("list", "targets").stdout


@pytest.mark.parametrize("arguments", [["nowhere"], ["--domain", "finance"]], ids=" ".join)
def test_a_list_says_that_nothing_matches(muniment, arguments):
    assert "None of them is what you look for." in muniment("list", *arguments).stdout
    assert "None of them" not in muniment("list").stdout


def test_deprecated_names_show_their_successor_and_ends_their_time(muniment, governed, service):
    service.notices["sales.orders"] = "deprecated; use sales.order_lines"
    service.ends["sales.orders"] = "2100-01-02T03:04:05+00:00"
    told = "deprecated; use sales.order_lines"
    assert f"orders (sales.orders): load; until 2100-01-02 03:04 UTC; {told}" in muniment("list").stdout
    shown = answer(muniment("show", "orders", "--json"))
    assert (shown["notice"], shown["ends"]) == (told, "2100-01-02T03:04:05+00:00")
    checked = muniment("check")
    assert checked.exit_code == 0
    assert f"orders (sales.orders): {told}" in checked.stdout


@pytest.mark.parametrize("name", ["orders", "sales.orders"])
def test_show_finds_a_dataset_by_either_name(muniment, governed, name):
    shown = answer(muniment("show", name, "--json"))
    assert (shown["name"], shown["dataset"]) == ("orders", "sales.orders")
    assert shown["definition"] == governed.json_at("orders")


def test_show_is_read_as_it_would_stand_in_a_catalog(muniment, governed):
    told = muniment("show", "orders").stdout
    head, _, definition = told.partition("\n\n")
    assert yaml.safe_load(definition) == {"orders": governed.json_at("orders")}
    for line in ("orders (sales.orders)", "  you may: load", "  comes from: Muniment", "called so by: 'orders' under"):
        assert line in head


def test_show_says_why_something_is_not_usable_and_what_was_served(muniment, service):
    service.serve("sales.model", {"type": "pickle.PickleDataset", "filepath": "/lake/model.pkl"})
    shown = answer(muniment("show", "sales.model", "--json"))
    assert "allow_code_formats" in shown["refused"]
    assert shown["definition"] == {"type": "pickle.PickleDataset", "filepath": "/lake/model.pkl"}


def test_show_names_the_file_of_the_projects_own_and_hides_what_is_secret(muniment, governed):
    governed.write(
        "conf/base/catalog_own.yml",
        "# a comment\nmine:\n  type: json.JSONDataset\n  filepath: data/mine.json\n"
        '  credentials: {key: never-to-be-seen}\n"{region}_raw":\n  type: json.JSONDataset\n  filepath: data/x.json\n',
    )
    shown = muniment("show", "mine").stdout
    assert "comes from: the project's catalog, conf/base/catalog_own.yml, line 2" in shown
    assert "never-to-be-seen" not in shown
    by_pattern = muniment("show", "emea_raw").stdout
    assert "catalog_own.yml, line 6" in by_pattern
    assert "by the project's pattern: {region}_raw" in by_pattern


def test_show_of_an_unknown_dataset_exits_with_1(muniment):
    result = muniment("show", "sales.never_was")
    assert result.exit_code == 1
    assert "does not exist, or you may not know of it" in result.output


def test_why_takes_the_projects_name_and_exits_by_the_answer(muniment, service):
    assert muniment("why", "orders").exit_code == 0
    assert service.asked[-1].query == {"action": "load", "dataset": "sales.orders", "environment": "dev"}
    denied = muniment("why", "orders", "--action", "save", "--json")
    assert denied.exit_code == 1
    assert answer(denied)["owner"] == "group:sales-stewards"


def test_why_says_what_settled_it_and_what_to_do(muniment, service):
    denied = muniment("why", "orders", "--action", "save")
    assert "No: no policy permits it." in denied.stdout
    assert "  owner to ask: group:sales-stewards" in denied.stdout


def test_the_command_that_a_refusal_names_works_as_it_stands(muniment, governed, service):
    service.actions["sales.report"] = []
    service.discoverable.add("sales.report")
    (refusal,) = answer(muniment("check", "--json"))["refusals"]
    governed.write("conf/base/muniment.yml", governed.yaml({"url": service.url}))  # no environment is mapped
    assert muniment(*refusal["explain"].split()[2:]).exit_code == 1
    assert service.asked[-1].query == {"action": "save", "dataset": "sales.report", "environment": "dev"}


@pytest.mark.parametrize("command", ["why", "request"])
def test_a_name_that_is_not_there_is_named(muniment, service, command):
    because = ["--because", "x"] if command == "request" else []
    missing = {"title": "Not found", "detail": "There is nothing here, or nothing that you may know of."}
    for path in ("/v1/explain", "/v1/requests"):
        service.instead[path] = (404, "application/problem+json", json.dumps(missing))
    result = muniment(command, "sales.ordres", *because)
    assert result.exit_code == 1
    assert "sales.ordres does not exist, or you may not know of it. See: kedro muniment list" in result.output


@pytest.mark.parametrize("command", ["why", "request"])
def test_a_name_without_a_domain_is_not_asked_about(muniment, service, command):
    result = muniment(command, "ordres", *(["--because", "x"] if command == "request" else []))
    assert result.exit_code == 1
    assert "ordres is no governed name, which has its domain before it" in result.output
    assert service.paths() == []


def test_a_slip_in_names_is_told_with_what_is_meant_perhaps(muniment, governed, service):
    governed.configure(service.url, names={"orders": "sales.ordres", "report": "sales.report"})
    refused = muniment("check")
    assert refused.exit_code == 1
    assert "orders (sales.ordres), load: does not exist, or you may not know of it" in refused.output
    assert "is meant perhaps: sales.orders" in refused.output


@pytest.mark.parametrize(("missing", "is_told"), [("orders", True), ("report", True), ("lines", False)])
def test_a_name_that_stands_nowhere_is_told_with_the_governed_one_that_ends_in_it(
    muniment, governed, service, missing, is_told
):
    service.serve("sales.lines", governed.json_at("lines"), "load", "save")
    names = {"orders": "sales.orders", "report": "sales.report"}
    names.pop(missing, None)
    governed.configure(service.url, names=names, governed=["sales.*"])
    line = f"{missing}: stands in no catalog; if sales.{missing} is meant, write under `names:` in muniment.yml:"
    assert (line in muniment("check").stdout) is is_told
    governed.configure(service.url, names=names, governed=["sales.*", f"!{missing}"])
    assert line not in muniment("check").stdout, "said to be the project's own"


def test_check_says_once_what_is_to_be_known(muniment, service, said):
    service.notices["sales.orders"] = "deprecated; use sales.order_lines"
    assert "orders (sales.orders): deprecated; use sales.order_lines" in muniment("check").stdout
    assert not [line for line in said if "deprecated" in line]


def test_check_asks_what_a_run_asks_and_runs_nothing(muniment, governed, service):
    fine = muniment("check")
    assert fine.exit_code == 0, fine.output
    assert "It may run as user:ann in dev: 2 uses of governed data allowed." in fine.stdout
    service.actions["sales.report"] = []
    refused = muniment("check", "--json")
    assert refused.exit_code == 1
    (refusal,) = answer(refused)["refusals"]
    assert (refusal["governed"], refusal["action"], refusal["nodes"]) == ("sales.report", "save", ["write_report"])
    assert not governed.first_node_ran


@pytest.mark.parametrize(
    ("selected", "asked"),
    [
        (["--nodes", "take_orders"], [("load", "orders")]),
        (["--from-nodes", "write_report"], [("save", "report")]),
        (["--to-outputs", "lines"], [("load", "orders")]),
        (["--from-inputs", "lines"], [("save", "report")]),
        (["--to-nodes", "take_orders", "--pipelines", "__default__,other"], [("load", "orders")]),
        (["--tags", "nightly", "-p", "other"], [("load", "sales.night")]),
        (["--namespaces", "nowhere"], None),
        (["--nodes", "nope"], None),
    ],
    ids=lambda value: "_".join(value).replace("--", "") if value and isinstance(value[0], str) else "",
)
def test_check_selects_as_a_run_does(muniment, governed, service, selected, asked):
    service.serve("sales.night", governed.json_at("night", [1]), "load")
    registry = governed.path / "src" / governed.package / "pipeline_registry.py"
    registry.write_text(
        registry.read_text()
        + """
_registered = register_pipelines
def register_pipelines():
    night = Node(take, inputs="sales.night", outputs="night", name="take_night", tags=["nightly"])
    return {**_registered(), "other": Pipeline([night])}
"""
    )
    checked = muniment("check", *selected, "--json")
    if asked is None:
        assert checked.exit_code == 2, checked.output
    else:
        assert [(need["action"], need["name"]) for need in answer(checked)["asked"]] == asked


def test_check_fills_runtime_parameters(muniment, governed, service):
    service.serve("sales.orders", {"type": "json.JSONDataset", "filepath": "/lake/x.json",
                                   "load_args": {"mode": "${runtime_params:how}"}}, "load")  # fmt: skip
    assert muniment("check").exit_code == 1
    assert muniment("check", "--params", "how=fast").exit_code == 0


def test_check_of_a_pipeline_that_is_not_there_is_wrong_usage(muniment):
    result = muniment("check", "--pipeline", "nope")
    assert result.exit_code == 2
    assert "There are: __default__" in result.output


def test_the_environment_of_a_command_is_kedros(muniment, governed, service):
    governed.configure(service.url, environments={"prod": "production"})
    governed.write("conf/prod/.gitkeep", "")
    assert muniment("list", "--env", "prod").exit_code == 0
    assert service.asked[-1].query["environment"] == "production"


def test_doctor_goes_through_everything(muniment, governed, service):
    service.serve("sales.model", {"type": "pickle.PickleDataset", "filepath": "/lake/model.pkl"})
    fine = muniment("doctor")
    assert fine.exit_code == 0, fine.output
    for line in (
        "ok  versions: kedro-muniment 0.1.0, Kedro ",
        "ok  hooks: are on",
        f"ok  settings: {service.url}, environment dev",
        "ok  sign-in: MUNIMENT_TOKEN",
        "ok  service: answers, and knows you as user:ann",
        "ok  clock: agrees with the service's",
        "ok  lease: revision 812, its signature holds, until ",
        "kept here, so a run goes on from it while the service is away",
        "??  usable here: sales.model: pickle.PickleDataset is not loaded here",
        "ok  reports: everything that was used here is told",
    ):
        assert line in fine.stdout, fine.stdout


def test_doctor_says_what_is_wrong_and_exits_so(muniment, governed, service):
    away = muniment("doctor", "--json", MUNIMENT_URL=CLOSED)
    assert away.exit_code == 4
    steps = {step["step"]: step for step in answer(away)["steps"]}
    assert not steps["service"]["fine"]
    assert not steps["stopped"]["fine"]
    assert muniment("doctor").exit_code == 0
    service.instead["/v1/whoami"] = service.instead["/v1/leases"] = (503, "text/plain", "")
    offline = muniment("doctor")
    assert offline.exit_code == 4
    assert "NO  service: " in offline.stdout
    assert "it is the kept one, since the service is away" in offline.stdout


def test_doctor_says_that_the_plugin_is_switched_off(muniment, governed):
    governed.write(f"src/{governed.package}/settings.py", "DISABLE_HOOKS_FOR_PLUGINS = ('kedro-muniment',)\n")
    assert "NO  hooks: are off: DISABLE_HOOKS_FOR_PLUGINS" in muniment("doctor").stdout
    listed = muniment("list")
    assert listed.exit_code == 5
    assert "take kedro-muniment out of DISABLE_HOOKS_FOR_PLUGINS" in listed.output


@pytest.mark.parametrize(("hours", "told"), [(-2, "7200 s behind"), (2, "7200 s ahead of")])
def test_doctor_tells_how_far_the_clock_is_off(hours, told):
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime
    from types import SimpleNamespace

    from kedro_muniment.command_line.examining import _clock

    theirs = format_datetime(datetime.now(UTC) - timedelta(hours=hours), usegmt=True)
    service = SimpleNamespace(described=lambda: SimpleNamespace(headers={"Date": theirs}))
    off = _clock(service)
    assert off.state == "odd"
    assert re.search(r"\d+ s (behind|ahead of)", off.found)[1] == told.partition(" s ")[2]


def test_each_way_of_failing_has_its_exit_code(muniment, governed, service, tmp_path, monkeypatch):
    assert muniment("whoami", MUNIMENT_TOKEN="").exit_code == 3
    assert muniment("list", MUNIMENT_TOKEN="stale").exit_code == 3
    assert muniment("list", MUNIMENT_URL=CLOSED).exit_code == 4
    assert muniment("list", MUNIMENT_URL="nonsense").exit_code == 5
    service.instead["/v1/whoami"] = (500, "text/html", "<html>")
    assert muniment("whoami").exit_code == 4
    service.instead["/v1/whoami"] = (422, "application/problem+json", '{"title": "No"}')
    assert muniment("whoami").exit_code == 6
    assert muniment("why").exit_code == 2
    (governed.path / "conf/base/muniment.yml").unlink()
    unconfigured = muniment("list")
    assert unconfigured.exit_code == 5
    assert "kedro muniment init" in unconfigured.output
    monkeypatch.chdir(tmp_path)
    outside = muniment("whoami")
    assert outside.exit_code == 2
    assert "not inside a Kedro project" in outside.output


def test_a_problem_is_shown_with_title_detail_and_each_error(muniment, service):
    problem = {
        "title": "Unknown environment",
        "detail": "There is no environment dev.\u001b[31m",
        "status": 422,
        "errors": [{"at": "environment", "message": "choose prod"}],
    }
    service.instead["/v1/leases"] = (422, "application/problem+json", json.dumps(problem))
    result = muniment("list")
    assert result.exit_code == 6
    assert "Unknown environment: There is no environment dev." in result.output
    assert "environment: choose prod" in result.output
    assert "\u001b" not in result.output


def test_what_the_whole_of_a_problem_says_is_not_said_again(muniment, service):
    problem = {"title": "Unknown environment", "detail": "There is none such.", "status": 422}
    problem["errors"] = [{"at": "environment", "message": "There is none such."}]
    service.instead["/v1/leases"] = (422, "application/problem+json", json.dumps(problem))
    assert muniment("list").output.count("There is none such.") == 1


@pytest.mark.parametrize("command", ["login", "logout", "whoami", "requests"])
def test_outside_of_a_project_a_command_about_a_service_asks_for_its_address(muniment, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path.parent)
    result = muniment(command)
    assert result.exit_code == 2
    assert "Say which service, with --url or MUNIMENT_URL." in result.output


def test_init_writes_a_file_that_works_and_holds_no_secret(muniment, governed, service):
    file = governed.path / "conf/base/muniment.yml"
    file.unlink()
    made = muniment("init", "--url", service.url, "--domain", "sales", "--environment", "dev")
    assert made.exit_code == 0, made.output
    assert 'governed: ["sales.*"]' in file.read_text()
    assert "never-to-be-seen" not in file.read_text()
    assert {entry["dataset"] for entry in answer(muniment("list", "--json"))["datasets"]} == {
        "sales.orders",
        "sales.report",
    }
    again = muniment("init", "--url", service.url)
    assert again.exit_code == 5
    assert "is there already" in again.output


def test_init_without_domains_leaves_every_known_domain_governed(muniment, governed, service):
    (governed.path / "conf/base/muniment.yml").unlink()
    governed.nodes("sales.nope", "own")
    assert muniment("init", "--url", service.url).exit_code == 0
    assert muniment("check").exit_code == 1


def test_init_maps_the_projects_names_to_governed_ones(muniment, governed, service):
    (governed.path / "conf/base/muniment.yml").unlink()
    service.discoverable.update({"finance.report", "sales.emea.report"})
    made = muniment("init", "--url", service.url, "--domain", "sales", "--json")
    assert made.exit_code == 0, made.output
    # Two datasets of the domain end in `report`, so that nobody guesses which one is meant.
    assert answer(made)["names"] == {"orders": "sales.orders"}
    assert answer(made)["next"] == ["kedro muniment doctor", "kedro muniment check", "kedro run"]
    assert "orders (sales.orders): load" in muniment("list").stdout


def test_init_offers_a_person_at_a_terminal_the_domains_that_there_are(governed, service, monkeypatch):
    from kedro_muniment.command_line import commands as module

    (governed.path / "conf/base/muniment.yml").unlink()
    service.discoverable.add("finance.targets")
    monkeypatch.chdir(governed.path)
    monkeypatch.setattr(module, "_is_asked", lambda: True)
    made = CliRunner().invoke(commands, ["muniment", "init"], input=f"{service.url}\nfinance\n")
    assert made.exit_code == 0, made.output
    assert "Domains that this project uses, separated by commas [finance, sales]: finance" in made.output
    assert 'governed: ["finance.*"]' in (governed.path / "conf/base/muniment.yml").read_text()


def test_init_works_before_anybody_signed_in(muniment, governed, service):
    (governed.path / "conf/base/muniment.yml").unlink()
    made = muniment("init", "--url", service.url, MUNIMENT_TOKEN="")
    assert made.exit_code == 0, made.output
    assert "You are not signed in there yet." in made.output
    assert "Next:\n  kedro muniment login\n" in made.output
    (governed.path / "conf/base/muniment.yml").unlink()
    assert muniment("init", "--url", CLOSED).exit_code == 0


def test_init_refuses_an_address_that_is_none(muniment, governed):
    (governed.path / "conf/base/muniment.yml").unlink()
    result = muniment("init", "--url", "muniment")
    assert result.exit_code == 5
    assert not (governed.path / "conf/base/muniment.yml").exists()


def test_through_kedro_itself_json_is_the_last_line(governed):
    ran = governed.kedro("muniment", "list", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["subject"] == "user:ann"
