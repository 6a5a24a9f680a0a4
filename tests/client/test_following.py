"""Who works on past the end of a lease is asked about again, and goes on by what the service says then, or not at all.

Seen to fail: with the guard deciding by the first lease alone, with the definition not compared, with the subject not
compared, and with names that patterns make asked for without their names.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from kedro.io import DatasetError
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

from kedro_muniment.leases import following
from kedro_muniment.problems import RunRefused

AWAY = (503, "text/html", "<html>")
WHOLE = [("load", "orders", "sales.orders", "take_orders"), ("save", "report", "sales.report", "write_report")]
#: Each dataset's lease ends between the question before the run and the first use.
ENDING = """
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from kedro.framework.hooks import hook_impl

class Ending:
    @hook_impl(trylast=True)
    def before_pipeline_run(self, catalog):
        for name in ("orders", "report"):
            held = vars(catalog[name])["_muniment"]
            terms = replace(held.guard.terms, until=datetime.now(UTC) - timedelta(minutes=1), receipt="r-0")
            held.guard = replace(held.guard, terms=terms)

HOOKS = (Ending(),)
"""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(following, "_here", following._Following())


@pytest.fixture
def lasting(governed):
    """A project whose runs last longer than their lease."""
    governed.write(f"src/{governed.package}/settings.py", ENDING)
    return governed


def ended(service):
    """The service's next lease has just ended when it comes; clocks may be that much apart."""
    service.stating = {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 60}


def report_of(project):
    with suppress(FileNotFoundError):
        return json.loads((project.path.parent / "lake/report.json").read_text())


@pytest.fixture
def old(governed, service):
    """The catalog of a notebook whose lease has ended, and a service that gives another."""
    ended(service)
    catalog = governed.context().catalog
    service.stating = {}
    service.asked.clear()
    return catalog


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner, ParallelRunner])
def test_a_run_that_outlives_its_lease_saves_what_it_made_by_a_new_one(lasting, service, runner):
    lasting.session().run(runner=runner())
    assert report_of(lasting) == {"report": {"lines": [1, 2]}}
    assert service.uses() == WHOLE
    assert {each["receipt"] for each in service.reported} == {"r-1"}, "that of the lease which gave them"


def test_a_worker_that_is_no_fork_asks_by_itself(lasting, service):
    ran = lasting.kedro("run", "--runner", "ParallelRunner", KEDRO_MP_CONTEXT="spawn")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert report_of(lasting) == {"report": {"lines": [1, 2]}}
    assert service.uses() == WHOLE
    assert service.paths().count("/v1/leases") > 1


def test_the_service_is_asked_once_for_all_datasets_and_threads_of_a_process(old, service):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: old.load("orders"), range(8))) == [[1, 2]] * 8
    old.save("report", [3])
    assert service.paths() == ["/v1/leases"]


def test_a_dataset_that_ends_sooner_is_asked_about_again_each_time_that_it_ends(governed, service):
    service.ends["sales.orders"] = "2020-01-01T00:00:00Z"
    catalog = governed.context().catalog
    with pytest.raises(DatasetError, match=r"your access ended at 2020-01-01 00:00 UTC, and is not given again\."):
        catalog.load("orders")
    service.ends["sales.orders"] = "2999-01-01T00:00:00Z"
    assert catalog.load("orders") == [1, 2]
    service.ends["sales.orders"] = "2020-01-01T00:00:00Z"
    assert catalog.load("orders") == [1, 2], "until what was given then ends"


def test_what_a_pattern_makes_is_asked_for_by_name(governed, service):
    file = governed.json_at("eu", [3])["filepath"]
    path = file.replace("eu.json", "{region}.json")
    service.serve("sales.{region}_orders", {"type": "json.JSONDataset", "filepath": path}, "load")
    governed.nodes("sales.eu_orders", "report")
    ended(service)
    catalog = governed.context().catalog
    service.stating = {}
    assert catalog.load("sales.eu_orders") == [3]
    assert service.asked[-1].query["names"] == "sales.eu_orders"


REFUSING = {
    "it is not given any more": (
        lambda service: service.actions.pop("sales.report") and service.catalog.pop("sales.report"),
        r"ended at \S+ \S+ UTC, and is not given again\. Ask why: kedro muniment why sales\.report",
    ),
    "it is given to be loaded": (
        lambda service: service.actions.update({"sales.report": ["load"]}),
        r"and is not given again",
    ),
    "it lies elsewhere now": (
        lambda service: service.catalog["sales.report"].update(filepath="/proc/self/elsewhere.json"),
        r"and Muniment gives it with another definition now\. Start again",
    ),
    "the new one is over too": (ended, r"and is not given again"),
    "somebody else has signed in": (
        lambda service: setattr(service, "subject", "user:bob"),
        r"and it was given to user:ann: you are user:bob now\.",
    ),
    "the service is away": (
        lambda service: service.instead.update({"/v1/leases": AWAY}),
        r"and no new lease can be had\. \S+ answered 503, and not as Muniment does\. Check the address .* it ended at",
    ),
    "the sign-in has ended": (
        lambda _: os.environ.update(MUNIMENT_TOKEN="x"),  # undone by the fixture
        r"and no new lease can be had\. Token refused",
    ),
}


@pytest.mark.parametrize("why", REFUSING)
def test_what_the_service_does_not_give_again_is_refused_in_one_sentence_and_not_written(governed, service, old, why):
    change, told = REFUSING[why]
    change(service)
    with pytest.raises(DatasetError, match=told) as refused:
        old.save("report", [3])
    assert "Nothing was run" not in str(refused.value)
    assert report_of(governed) is None


def test_a_run_whose_sign_in_is_over_by_then_ends_with_one_sentence(lasting, service):
    settings = f"src/{lasting.package}/settings.py"
    over = '("report",):\n            import os; os.environ["MUNIMENT_TOKEN"] = "x"'
    lasting.write(settings, ENDING.replace('("orders", "report"):', over))
    with pytest.raises(
        RunRefused, match=r"^report: report \(sales\.report\): the lease .*: It has expired\."
    ) as refused:
        lasting.session().run(runner=ParallelRunner())
    assert refused.value.__cause__ is None
    assert service.uses() == WHOLE[:1]
    assert report_of(lasting) is None


def test_a_service_that_was_away_is_not_waited_for_by_each_thread(old, service):
    service.instead["/v1/leases"] = AWAY
    for _ in range(3):
        with pytest.raises(DatasetError, match="no new lease can be had"):
            old.load("orders")
    assert service.paths() == ["/v1/leases"]


def test_no_service_is_asked_about_a_recorded_catalog(governed, service, monkeypatch):
    recording = {
        "_muniment": {"ends": {"sales.orders": "2020-01-01T00:00:00+00:00"}},
        "sales.orders": governed.json_at("orders", [1]),
    }
    file = governed.write("recorded.yml", governed.yaml(recording))
    monkeypatch.setenv("MUNIMENT_CATALOG_FROM", str(file))
    monkeypatch.delenv("MUNIMENT_TOKEN")
    catalog = governed.context().catalog
    with pytest.raises(DatasetError, match=r"your access ended at 2020-01-01 00:00 UTC, by the recorded catalog\."):
        catalog.load("orders")
    assert service.paths() == []
