"""``kedro muniment …``: answers for people and for scripts, and exit codes that scripts may rely on."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from kedro_muniment.commands import commands

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


@pytest.mark.parametrize("name", ["orders", "sales.orders"])
def test_show_finds_a_dataset_by_either_name(muniment, governed, name):
    shown = answer(muniment("show", name, "--json"))
    assert (shown["name"], shown["dataset"]) == ("orders", "sales.orders")
    assert shown["definition"] == governed.json_at("orders")


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


def test_the_command_that_a_refusal_names_works_as_it_stands(muniment, governed, service):
    service.actions["sales.report"] = []
    service.discoverable.add("sales.report")
    (refusal,) = answer(muniment("check", "--json"))["refusals"]
    governed.write("conf/base/muniment.yml", governed.yaml({"url": service.url}))  # no environment is mapped
    assert muniment(*refusal["explain"].split()[2:]).exit_code == 1
    assert service.asked[-1].query == {"action": "save", "dataset": "sales.report", "environment": "dev"}


def test_check_asks_what_a_run_asks_and_runs_nothing(muniment, governed, service):
    fine = muniment("check")
    assert fine.exit_code == 0, fine.output
    assert "__default__ may run as user:ann in dev: 2 uses of governed data allowed." in fine.stdout
    service.actions["sales.report"] = []
    refused = muniment("check", "--json")
    assert refused.exit_code == 1
    (refusal,) = answer(refused)["refusals"]
    assert (refusal["governed"], refusal["action"], refusal["nodes"]) == ("sales.report", "save", ["write_report"])
    assert not governed.first_node_ran


def test_check_of_a_pipeline_that_is_not_there_is_wrong_usage(muniment):
    result = muniment("check", "--pipeline", "nope")
    assert result.exit_code == 2
    assert "There are: __default__" in result.output


def test_the_environment_of_a_command_is_kedros(muniment, governed, service):
    governed.configure(service.url, environments={"prod": "production"})
    governed.write("conf/prod/.gitkeep", "")
    assert muniment("list", "--env", "prod").exit_code == 0
    assert service.asked[-1].query["environment"] == "production"


def test_doctor_says_where_it_stops(muniment, service):
    fine = muniment("doctor")
    assert fine.exit_code == 0
    assert "ok  service: answers, and knows you as user:ann" in fine.stdout
    stopped = muniment("doctor", "--json", MUNIMENT_URL=CLOSED)
    assert stopped.exit_code == 4
    assert [step["fine"] for step in answer(stopped)["steps"]] == [True, True, False]


def test_each_way_of_failing_has_its_exit_code(muniment, governed, service, tmp_path, monkeypatch):
    assert muniment("whoami", MUNIMENT_TOKEN="").exit_code == 3
    assert muniment("list", MUNIMENT_TOKEN="stale").exit_code == 3
    assert muniment("list", MUNIMENT_URL=CLOSED).exit_code == 4
    assert muniment("list", MUNIMENT_URL="nonsense").exit_code == 5
    service.instead["/v1/whoami"] = (500, "text/html", "<html>")
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


def test_init_writes_a_file_that_works_and_holds_no_secret(muniment, governed, service):
    file = governed.path / "conf/base/muniment.yml"
    file.unlink()
    made = muniment("init", "--url", service.url, "--domain", "sales", "--environment", "dev")
    assert made.exit_code == 0, made.output
    assert 'governed: ["sales.*"]' in file.read_text()
    assert "never-to-be-seen" not in file.read_text()
    assert {entry["name"] for entry in answer(muniment("list", "--json"))["datasets"]} == {
        "sales.orders",
        "sales.report",
    }
    again = muniment("init", "--url", service.url)
    assert again.exit_code == 5
    assert "is there already" in again.output


def test_init_without_domains_leaves_every_known_domain_governed(muniment, governed, service):
    (governed.path / "conf/base/muniment.yml").unlink()
    assert muniment("init", "--url", service.url).exit_code == 0
    governed.nodes("sales.nope", "own")
    assert muniment("check").exit_code == 1


def test_init_refuses_an_address_that_is_none(muniment, governed):
    (governed.path / "conf/base/muniment.yml").unlink()
    result = muniment("init", "--url", "muniment")
    assert result.exit_code == 5
    assert not (governed.path / "conf/base/muniment.yml").exists()


def test_through_kedro_itself_json_is_the_last_line(governed):
    ran = governed.kedro("muniment", "list", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["subject"] == "user:ann"
