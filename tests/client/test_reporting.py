"""What a project used is told to the service: once each, in which run and node, whoever ran it and however it ended.

That workers of all kinds do so is in ``test_runs.py``, that kills lose nothing in ``test_spool.py``. Seen to fail: with
the run taken from the process alone, with the node not kept for saves in other threads, and with no send at the exit.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kedro.io import DatasetError
from kedro.runner import SequentialRunner, ThreadRunner

from kedro_muniment.problems import RunRefused
from kedro_muniment.use import reporting

WHOLE = [("load", "orders", "sales.orders", "take_orders"), ("save", "report", "sales.report", "write_report")]
AWAY = (503, "application/problem+json", '{"title": "Database unavailable", "detail": "Try again."}')


def test_threads_that_load_and_save_report_run_and_node(governed, service):
    governed.session().run(runner=SequentialRunner(is_async=True))
    assert service.uses() == WHOLE
    (preflight,) = (asked.body for asked in service.asked if asked.path == "/v1/preflight")
    told = {
        (each["run"], each["pipeline"], each["receipt"], each["environment"], each["outcome"])
        for each in service.reported
    }
    assert told == {(preflight["run"], "__default__", "r-1", "dev", "done")}


def test_a_run_that_fails_reports_what_it_had_used(governed, service):
    text = (governed.path / "src" / governed.package / "pipeline_registry.py").read_text()
    governed.write(
        f"src/{governed.package}/pipeline_registry.py", text.replace('return {"lines"', 'raise KeyError; {"l"')
    )
    with pytest.raises(KeyError):
        governed.session().run()
    assert service.uses() == WHOLE[:1]
    assert reporting.current_run() is None


def test_a_notebook_reports_as_it_ends_and_names_no_run(governed, service):
    catalog = governed.context().catalog
    catalog.load("orders")
    with pytest.raises(DatasetError, match="you may load, not save"):
        catalog.save("orders", [3])
    assert service.reported == []
    reporting._send_at_exit()
    assert [(each["action"], each["outcome"]) for each in service.reported] == [("load", "done"), ("save", "refused")]
    assert all("run" not in each and "node" not in each for each in service.reported)


STAYING = """
import time
from pathlib import Path
from kedro.pipeline import Node, Pipeline

def take(orders):
    Path(__file__).with_name("ran").write_text("the first node ran")
    time.sleep(60)

def register_pipelines():
    return {"__default__": Pipeline([Node(take, inputs="orders", outputs="report", name="take_orders")])}
"""


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM"])
def test_what_a_run_used_that_is_ended_by_a_signal_is_reported(governed, service, ending):
    """Who is interrupted says so in going; who is ended leaves it to the next run."""
    registry = f"src/{governed.package}/pipeline_registry.py"
    before = (governed.path / registry).read_text()
    governed.write(registry, STAYING)
    command = [sys.executable, "-m", "kedro", "run"]
    with subprocess.Popen(
        command, cwd=governed.path, env=governed.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        deadline = time.monotonic() + 60
        while not governed.first_node_ran and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(getattr(signal, ending))
        said, _ = run.communicate(timeout=60)
    assert service.uses() == (WHOLE[:1] if ending == "SIGINT" else []), said.decode()
    assert b"could not be reported" not in said

    governed.write(registry, before)
    governed.session().run()
    assert service.uses() == sorted([*WHOLE, WHOLE[0]])
    assert len(service.reported) == 3


def test_a_run_goes_well_whether_or_not_it_can_be_reported_and_the_next_one_reports_both(governed, service, said):
    service.instead["/v1/use"] = AWAY
    governed.session().run()
    assert [line for line in said if "WARNING" in line] == [
        f"WARNING {reporting.UNREPORTED}: Muniment at {service.url} did not answer."
    ]
    del service.instead["/v1/use"]
    governed.session().run()
    assert service.uses() == sorted(WHOLE * 2)
    assert len({each["run"] for each in service.reported}) == 2


def test_what_is_used_and_refused_while_the_service_is_away_is_reported_when_it_is_back(governed, service):
    governed.session().run()
    service.reported.clear()
    service.instead |= dict.fromkeys(("/v1/leases", "/v1/preflight", "/v1/use"), AWAY)
    governed.session().run()
    governed.nodes("orders", "sales.secret")
    with pytest.raises(RunRefused, match=r"sales.secret"):
        governed.session().run()
    assert service.reported == []

    service.instead.clear()
    governed.nodes("orders", "report")
    governed.session().run()
    assert service.uses() == sorted(WHOLE * 2)
    (refused,) = (each for each in service.reported if each["outcome"] == "refused")
    assert (refused["action"], refused["dataset"], refused["node"]) == ("save", "sales.secret", "write_report")
    assert refused["run"] not in {each["run"] for each in service.reported if each["outcome"] == "done"}


def test_a_run_that_somebody_interrupted_is_over_when_the_next_one_begins():
    first, second = reporting.Run("first"), reporting.Run("second")
    reporting.run_began(first)
    reporting.run_began(second)
    with ThreadPoolExecutor() as pool:
        assert pool.submit(reporting.current_run).result() == second
    reporting.run_ended(second)
    assert reporting.current_run() is None


def test_a_save_that_fails_is_no_use(governed, service):
    service.catalog["sales.report"] = {"type": "json.JSONDataset", "filepath": "/proc/self/nowhere/report.json"}
    with pytest.raises(DatasetError):
        governed.session().run()
    assert service.uses() == WHOLE[:1]


MEETING = """
import threading
from kedro.pipeline import Node, Pipeline

MET = threading.Barrier(2)

def take(orders):
    MET.wait(30)
    return orders

def register_pipelines():
    return {
        name: Pipeline([Node(take, inputs="orders", outputs="report", name=f"take_in_{name}")])
        for name in ("one", "other")
    }
"""


def test_runs_that_overlap_in_one_process_are_told_apart(governed, service):
    governed.write(f"src/{governed.package}/pipeline_registry.py", MEETING)
    sessions = {name: governed.session() for name in ("one", "other")}
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(session.run, pipeline_names=[name], runner=ThreadRunner()) for name, session in sessions.items()
        ]
        for run in runs:
            run.result()
    told = {(each["run"], each["pipeline"], each["node"], each["action"]) for each in service.reported}
    assert told == {
        (session.session_id, name, f"take_in_{name}", action)
        for name, session in sessions.items()
        for action in ("load", "save")
    }
