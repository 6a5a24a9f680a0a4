"""``kedro run`` in a governed project: what runs, what is refused, and that refusals come before the first node."""

from __future__ import annotations

import json

import pytest
from kedro.io import DatasetError
from kedro.runner import SequentialRunner, ThreadRunner

from kedro_muniment.problems import BadConfig, NotSignedIn, RunRefused

RUNNERS = ["SequentialRunner", "ThreadRunner", "ParallelRunner"]
CLOSED = "http://127.0.0.1:9"
USES = [("load", "orders", "sales.orders", "take_orders"), ("save", "report", "sales.report", "write_report")]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_permitted_pipeline_runs_under_its_own_names_in_every_runner(governed, service, runner):
    ran = governed.kedro("run", "--runner", runner)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = governed.path.parent / "lake" / "report.json"
    assert json.loads(report.read_text()) == {"report": {"lines": [1, 2]}}
    assert service.paths() == ["/v1/leases", "/v1/preflight"]
    preflight = service.asked[1].body
    assert (preflight["load"], preflight["save"]) == (["sales.orders"], ["sales.report"])
    assert "2 governed datasets (1 read-only) as user:ann, env dev, revision 812" in ran.stdout
    assert service.uses() == USES
    assert {use["run"] for use in service.reported} == {preflight["run"]}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_refused_pipeline_runs_no_node_in_any_runner(governed, service, runner):
    service.actions["sales.report"] = ["load"]
    ran = governed.kedro("run", "--runner", runner)
    assert ran.returncode == 1
    assert "report (sales.report), save: no policy permits it" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not governed.first_node_ran


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_that_are_no_forks_run_too(governed, service, start):
    ran = governed.kedro("run", "--runner", "ParallelRunner", KEDRO_MP_CONTEXT=start)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads((governed.path.parent / "lake" / "report.json").read_text()) == {"report": {"lines": [1, 2]}}
    assert service.uses() == USES
    assert {use["run"] for use in service.reported} == {service.asked[-1].body["run"]}


def test_each_run_of_a_service_session_is_asked_about_by_itself(governed, service):
    sessions = pytest.importorskip("kedro.framework.session.service_session", reason="not in the first Kedro 1")
    governed.session()
    session = sessions.KedroServiceSession.create(project_path=governed.path)
    session.run()
    service.actions["sales.orders"] = []
    with pytest.raises(RunRefused, match="orders"):
        session.run()
    assert service.paths() == ["/v1/leases", "/v1/preflight"] * 2


def test_one_refusal_lists_every_obstacle_with_nodes_owner_and_command(governed, service):
    service.actions.update({"sales.orders": ["save"], "sales.report": ["load"]})
    with pytest.raises(RunRefused) as refused, governed.session() as session:
        session.run()
    told = str(refused.value)
    assert "as user:ann in dev, 2 uses of data are refused" in told
    for line in (
        "orders (sales.orders), load: no policy permits it",
        "needed by: take_orders",
        "report (sales.report), save: no policy permits it",
        "needed by: write_report",
        "owner to ask: group:sales-stewards",
        "explained by: kedro muniment why sales.orders --action load --environment dev",
    ):
        assert line in told
    assert not governed.first_node_ran


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner])
def test_a_hidden_governed_output_is_refused_and_never_a_memory_dataset(governed, service, runner):
    governed.nodes("orders", "sales.secret")
    with pytest.raises(RunRefused, match=r"sales.secret, save: does not exist, or you may not know of it") as refused:
        governed.session().run(runner=runner())
    assert "owner" not in str(refused.value)
    assert not governed.first_node_ran


def test_hidden_and_never_existing_datasets_are_refused_in_the_same_words(governed, service):
    def told(name):
        governed.nodes("orders", name)
        with pytest.raises(RunRefused) as refused:
            governed.session().run()
        return str(refused.value).replace(name, "NAME")

    service.catalog["sales.hidden"] = governed.json_at("hidden")  # exists; Ann has no action on it
    service.actions["sales.hidden"] = []
    assert told("sales.hidden") == told("sales.never_was")


def test_a_mapped_name_that_is_not_served_refuses_in_a_notebook_too(governed, service):
    del service.catalog["sales.orders"]
    catalog = governed.context().catalog
    with pytest.raises(Exception, match=r"orders \(sales.orders\) does not exist, or you may not know of it"):
        catalog.load("orders")


def test_without_globs_every_name_of_a_known_domain_is_governed(governed, service):
    governed.configure(service.url, names={"orders": "sales.orders"})
    governed.nodes("orders", "sales.anything")
    with pytest.raises(RunRefused, match=r"sales.anything, save"):
        governed.session().run()


def test_other_names_are_the_projects_own_and_asked_about_by_nobody(governed, service):
    governed.nodes("threshold_free", "marketing.thing")
    governed.own(threshold_free=governed.json_at("free", 5))
    governed.session().run()
    assert "/v1/preflight" not in service.paths()


def test_a_governed_dataset_made_and_read_inside_needs_both_permissions(governed, service):
    text = (governed.path / "src" / governed.package / "pipeline_registry.py").read_text()
    governed.write(f"src/{governed.package}/pipeline_registry.py", text.replace('"lines"', '"sales.lines"'))
    service.serve("sales.lines", governed.json_at("lines"), "save")
    with pytest.raises(RunRefused, match=r"sales.lines, load") as refused:
        governed.session().run()
    assert "sales.lines, save" not in str(refused.value)
    assert "needed by: write_report" in str(refused.value)


def test_only_the_filtered_pipeline_is_asked_about(governed, service):
    service.actions["sales.report"] = []
    governed.session().run(node_names=["take_orders"])
    assert service.asked[-1].body["load"] == ["sales.orders"]
    assert service.asked[-1].body["save"] == []


def test_transcoded_names_are_one_governed_dataset(governed, service):
    governed.configure(
        service.url, names={"orders@json": "sales.orders", "report": "sales.report"}, governed=["sales.*"]
    )
    governed.nodes("orders@json", "report")
    governed.session().run()
    assert service.asked[-1].body["load"] == ["sales.orders"]


def test_a_pattern_gives_each_name_its_definition(governed, service):
    lake = governed.path.parent / "lake"
    service.serve("sales.{region}_orders", {"type": "json.JSONDataset", "filepath": f"{lake}/{{region}}.json"}, "load")
    (lake / "emea.json").write_text("[3]")
    governed.configure(
        service.url, names={"orders": "sales.emea_orders", "report": "sales.report"}, governed=["sales.*"]
    )
    governed.session().run()
    assert service.asked[-1].body["load"] == ["sales.emea_orders"]
    assert json.loads((lake / "report.json").read_text()) == {"report": {"lines": [3]}}


def test_a_transcoded_name_is_not_filled_into_a_pattern(governed, service):
    lake = governed.path.parent / "lake"
    service.serve("sales.report_{region}", {"type": "json.JSONDataset", "filepath": f"{lake}/{{region}}.json"})
    governed.nodes("orders", "sales.report_emea@json")
    with pytest.raises(RunRefused, match=r"is not in this project's catalog under that name; list it under `names:`"):
        governed.session().run()
    names = {"orders": "sales.orders", "sales.report_emea@json": "sales.report_emea"}
    governed.configure(service.url, names=names, governed=["sales.*"])
    governed.session().run()
    assert {file.name for file in lake.iterdir()} == {"orders.json", "emea.json"}


def test_a_lost_grant_makes_no_mapped_domain_the_projects_own(governed, service, said):
    service.catalog.clear()
    service.actions.clear()
    governed.configure(service.url, names={"rates": "sales.rates"})
    governed.own(orders=governed.json_at("orders", [1]))
    governed.nodes("orders", "sales.report")
    with pytest.raises(RunRefused, match=r"sales.report, save: does not exist, or you may not know of it"):
        governed.session().run()


def test_that_nothing_is_given_and_no_names_are_said_to_be_governed_is_a_warning(governed, service, said):
    service.catalog.clear()
    service.actions.clear()
    governed.configure(service.url)
    governed.context()
    assert [
        line for line in said if line.startswith("WARNING Muniment gives you nothing in dev") and "governed:" in line
    ]
    said.clear()
    governed.configure(service.url, governed=["sales.*"])
    governed.context()
    assert not [line for line in said if line.startswith("WARNING")]


def test_data_that_is_withheld_for_a_mask_is_refused_with_the_reason_that_the_service_gives(governed, service):
    del service.catalog["sales.orders"]
    reason = "user:ann may load it only masked by no-emails (privacy), which nothing here enforces yet"
    masked = {"required-column-projections": [{"column": "email", "action": "replace-with-null"}]}
    withheld = {"allowed": False, "known": True, "reason": reason, "obligations": masked, "because": ["no-emails"]}
    verdicts = [
        {**service.verdict("sales.orders", "load"), **withheld},
        {**service.verdict("sales.report", "save"), "obligations": None},
    ]
    service.instead["/v1/preflight"] = (200, "application/json", json.dumps({"verdicts": verdicts}))
    with pytest.raises(RunRefused) as refused:
        governed.session().run()
    assert f"load: {reason}" in str(refused.value)
    assert "report" not in str(refused.value)
    assert not governed.first_node_ran


@pytest.mark.parametrize("served", ["sales.orders", "sales.{name}"])
def test_data_that_comes_with_an_obligation_is_refused(governed, service, served):
    del service.catalog["sales.orders"]
    service.serve(served, governed.json_at("orders", [1, 2]), "load")
    service.obligations = {"sales.orders": {"mask": ["email"]}}
    governed.configure(service.url, names={"report": "sales.report"}, governed=["sales.*"])
    governed.nodes("sales.orders", "report")
    with pytest.raises(RunRefused, match=r"sales.orders, load: it is given with an obligation"):
        governed.session().run()
    with pytest.raises(DatasetError, match=r"obligation, which this version of kedro-muniment cannot keep"):
        governed.context().catalog.load("sales.orders")


@pytest.mark.parametrize("name", ["sales." + "x" * 200, "sales.Orders", "sales.orders-2024", "sales.{region}"])
def test_a_name_that_no_governed_dataset_can_have_is_refused_without_asking(governed, service, name):
    governed.nodes("orders", name)
    with pytest.raises(RunRefused) as refused:
        governed.session().run()
    assert f"{name}, save: does not exist, or you may not know of it" in str(refused.value)
    assert "1 use of data is refused" in str(refused.value)
    assert service.asked[-1].body["load"] == ["sales.orders"]
    assert service.asked[-1].body["save"] == []


def test_a_pipeline_of_more_names_than_one_question_holds_is_asked_about_in_several(governed, service):
    from kedro.pipeline import Node, Pipeline

    from kedro_muniment.hooks import hooks

    names = [f"sales.x{number}" for number in range(1990)]
    for name in names:
        service.serve(name, governed.json_at("x"), "load")
    governed.configure(service.url, names={"orders": "sales.orders", "report": "sales.report"}, governed=["sales.*"])
    pipeline = Pipeline([
        Node(lambda *held: held, inputs=[*names, "orders"], outputs=f"sales.y{number}", name=f"n{number}")
        for number in range(20)
    ])  # fmt: skip
    verdict = hooks.of(governed.context()).ask(pipeline)
    asked = [question.body for question in service.asked if question.path == "/v1/preflight"]
    assert [len(body["load"]) + len(body["save"]) for body in asked] == [2000, 11]
    assert {refusal.need.local for refusal in verdict.refusals} == {f"sales.y{number}" for number in range(20)}


def test_a_pipeline_may_save_what_it_may_not_load(governed, service):
    service.actions["sales.report"] = ["save"]
    governed.session().run()
    with pytest.raises(RunRefused, match=r"report \(sales.report\): you may save, not load"):
        governed.context().catalog["report"].load()


def test_a_permission_that_has_ended_is_refused_by_name_and_one_that_will_end_is_said(governed, service, said):
    service.ends = {"sales.report": "2020-01-01T00:00:00Z", "sales.orders": "2999-01-01T00:00:00+00:00"}
    with pytest.raises(RunRefused, match=r"report \(sales.report\), save: your access ended at 2020-01-01") as refused:
        governed.session().run()
    assert "orders (sales.orders), load" not in str(refused.value)
    assert not governed.first_node_ran
    service.ends.pop("sales.report")
    governed.session().run()
    assert [
        line
        for line in said
        if line.startswith("WARNING orders (sales.orders): your access ends at 2999-01-01 00:00 UTC")
    ]


def test_what_the_service_says_of_a_dataset_is_passed_on_and_the_run_goes_on(governed, service, said):
    service.notices["sales.orders"] = "deprecated; use sales.orders_v2"
    service.subject = r"user:bj\xf6rk"
    governed.session().run()
    assert "WARNING orders (sales.orders): deprecated; use sales.orders_v2" in said
    assert "as user:björk, env dev" in said[0]


def test_a_service_that_is_down_stops_the_run_with_one_sentence_and_its_address(governed):
    ran = governed.kedro("run", MUNIMENT_URL=CLOSED)
    assert ran.returncode == 4
    errors = [line for line in ran.stderr.splitlines() if line]
    assert len(errors) == 1, ran.stderr
    assert f"Muniment cannot be reached at {CLOSED}" in errors[0]
    assert not governed.first_node_ran


AWAY = {
    "cannot write its record": (
        503, "application/problem+json", '{"title": "No record, no answer", "detail": "It could not be written."}'
    ),
    "asks to wait": (429, "application/problem+json", '{"title": "Too many", "detail": "Try again in 12 seconds."}'),
    "is behind a portal": (200, "text/html", "<html>hello</html>"),
    "sends something else": (200, "application/json", "[]"),
    "nests without end": (200, "application/json", "[" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("away", AWAY)
def test_where_the_service_goes_away_before_the_question_the_lease_decides(governed, service, said, away):
    service.instead["/v1/preflight"] = AWAY[away]
    governed.session().run()
    assert governed.first_node_ran
    assert service.paths().count("/v1/preflight") == 1
    (line,) = [line for line in said if line.startswith("WARNING The lease has decided this")]
    assert f"the service was not there to be asked: {problem_of(away)}" in line


def problem_of(away):
    return {"cannot write its record": "No record, no answer", "asks to wait": "Too many"}.get(away, "")


@pytest.mark.parametrize("away", AWAY)
def test_where_the_service_goes_away_what_the_lease_does_not_give_is_refused_in_the_same_words(governed, service, away):
    governed.nodes("orders", "sales.secret")
    service.actions["sales.orders"] = ["save"]
    with pytest.raises(RunRefused) as refused:
        governed.session().run()
    asked = str(refused.value)
    service.instead["/v1/preflight"] = AWAY[away]
    with pytest.raises(RunRefused) as refused:
        governed.session().run()
    unasked = str(refused.value)
    for line in (
        "as user:ann in dev, 2 uses of data are refused",
        "sales.secret, save: does not exist, or you may not know of it",
        "explained by: kedro muniment why sales.orders --action load --environment dev",
        "needed by: take_orders",
    ):
        assert line in asked
        assert line in unasked
    assert "orders (sales.orders), load: you may save, not load" in unasked
    assert "The lease has decided this" in unasked
    assert not governed.first_node_ran


@pytest.mark.parametrize("answer", ['{"verdicts": 7}', '{"verdicts": []}', '{"verdicts": [{"allowed": true}]}', "{}"])
def test_a_verdict_that_is_not_understood_never_lets_a_run_through(governed, service, answer):
    service.instead["/v1/preflight"] = (200, "application/json", answer)
    with pytest.raises(Exception, match=r"not as Muniment|does not understand|no verdict"):
        governed.session().run()
    assert not governed.first_node_ran


def test_without_a_token_a_run_says_how_to_sign_in(governed, monkeypatch):
    monkeypatch.delenv("MUNIMENT_TOKEN")
    with pytest.raises(NotSignedIn, match=r"Sign in: kedro muniment login.*MUNIMENT_TOKEN"):
        governed.context()


def test_a_refused_token_says_what_the_service_said(governed, monkeypatch):
    monkeypatch.setenv("MUNIMENT_TOKEN", "stale")
    with pytest.raises(NotSignedIn, match=r"Token refused: It has expired\..*MUNIMENT_TOKEN"):
        governed.context()


def test_kedros_environment_is_mapped_and_an_unmapped_one_is_refused(governed, service, monkeypatch):
    governed.write("conf/prod/.gitkeep", "")
    settings = {"url": service.url, "environments": {"prod": "production"}, "governed": ["sales.*"]}
    governed.write("conf/base/muniment.yml", governed.yaml(settings))
    governed.context(env="prod")
    assert service.asked[-1].query["environment"] == "production"
    with pytest.raises(BadConfig, match=r"'local' is mapped to none of the service's"):
        governed.context()
    monkeypatch.setenv("MUNIMENT_ENVIRONMENT", "staging")
    governed.context(env="prod")
    assert service.asked[-1].query["environment"] == "staging"


def test_project_and_purpose_travel_with_both_questions(governed, service):
    governed.configure(
        service.url, names={"orders": "sales.orders", "report": "sales.report"}, project="churn", purpose="forecast"
    )
    governed.session().run()
    lease, preflight = service.asked
    assert (lease.query["project"], lease.query["purpose"]) == ("churn", "forecast")
    assert (preflight.body["project"], preflight.body["purpose"]) == ("churn", "forecast")
