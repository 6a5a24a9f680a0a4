"""Three people run the same pipeline: one who may, one who may not, one for whom it reads dev.

Each runs a copy of the example project of their own, as ``kedro run`` in a process, with nothing but
an address and a token in the environment. What happened is judged here, from outside: by exit
codes, by the files that are there or not, by the numbers in the report, and by the ledger.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from demo import lake
from demo.entering import Desk, introduced
from demo.place import Place, remove_if_there
from demo.processes import Process, Processes, ended, surroundings
from demo.telling import by_domain, must, paragraph, quoted, table

PROJECT = Path(__file__).with_name("project")
AUDITOR = "eve"
UNKNOWN = "does not exist, or you may not know of it"

_LONGEST_RUN_SECONDS = 300.0
_REFUSED = 1
_HIDDEN = "finance.targets"
_KNOWN_AND_NOT_HERS = "customers.accounts"


#: How a catalog is shown: what is only loaded bears no mark.
_MARKS = {("load",): "", ("load", "save"): "*", ("save",): " (save only)"}


@dataclass(frozen=True)
class Runner:
    """Somebody who runs the pipeline, in which environment, with which arguments to ``kedro run``."""

    person: str
    stage: lake.Stage
    arguments: tuple[str, ...]
    expectation: Literal["runs", "refused"]


ANN = Runner("ann", "prod", ("--env", "prod"), "runs")
CARA = Runner("cara", "prod", ("--env", "prod"), "refused")
DAN = Runner("dan", "dev", (), "runs")
RUNNERS = (ANN, CARA, DAN)


@dataclass(frozen=True)
class Run:
    """A run that has ended, and what it said."""

    runner: Runner
    folder: Path
    code: int
    output: str
    errors: str


def project_of(place: Place, person: str) -> Path:
    """The copy of the project that this person runs."""
    return place.runs / person / "quarterly-report"


def run_all(place: Place, processes: Processes, desk: Desk) -> list[Run]:
    """Let all three run at once; they know nothing of each other."""
    for stage in lake.STAGES:
        remove_if_there(lake.report_of(place.lake, stage))
    running = [(runner, _start(place, processes, desk, runner)) for runner in RUNNERS]
    return [_finished(place, runner, process) for runner, process in running]


def show_catalog(desk: Desk, runner: Runner) -> None:
    """What a person's catalog holds; nobody sees another one's."""
    lease = desk.get(runner.person, "/v1/leases", environment=runner.stage)
    actions: Mapping[str, Sequence[str]] = lease["actions"]
    load, save = (sum(action in held for held in actions.values()) for action in ("load", "save"))
    must(set(actions) == set(lease["catalog"]), f"The lease of {runner.person} speaks of what it does not hold.")
    if runner.expectation == "refused":
        held = {_HIDDEN, _KNOWN_AND_NOT_HERS} & set(actions)
        must(not held, f"The catalog of {runner.person} should not hold {', '.join(held)}.")
    print(f"\n{introduced(runner.person)}, in {runner.stage}: {len(actions)} datasets, {load} to load, {save} to save")
    by_domain({name: _MARKS[tuple(sorted(held))] for name, held in actions.items()})


def judge(place: Place, run: Run) -> None:
    """Refuse to call it a success unless it was one."""
    told = f"See {place.logs}."
    if run.runner.expectation == "refused":
        _judge_refusal(run, told)
        return
    who = introduced(run.runner.person)
    must(run.code == 0, f"The run of {who}, should have succeeded, and ended with {run.code}. {told}")
    report = lake.report_of(place.lake, run.runner.stage)
    must(report.exists(), f"The run of {who}, left no report in {report}. {told}")
    wanted, found = lake.expected(lake.made_up(run.runner.stage)), lake.reported(report)
    same = wanted.orders == found.orders and math.isclose(wanted.revenue_eur, found.revenue_eur, abs_tol=1)
    must(same, f"The report of {who}, should come to {wanted}, and comes to {found}. {told}")
    must(_intermediate(run).exists(), f"The run of {who}, left no local data in {run.folder}. {told}")


def tell(place: Place, run: Run) -> None:
    """What a person sees, in a few lines."""
    command = " ".join(["kedro run", *run.runner.arguments])
    print(f"\n{introduced(run.runner.person)}: {command}   (exit {run.code})")
    if run.runner.expectation == "refused":
        quoted(run.errors)
        return
    found = lake.reported(lake.report_of(place.lake, run.runner.stage))
    quoted(
        f"{_line_with(run.output, ' as user:')}\n"
        f"sales.quarterly_report of {run.runner.stage}: {found.orders:,} orders, {found.revenue_eur:,.2f} EUR"
    )


def show_ledger(desk: Desk, since: datetime) -> None:
    """What the ledger holds about the three runs, as the auditor reads it."""
    rows: list[Mapping[str, Any]] = []
    for runner in RUNNERS:
        found = desk.get(AUDITOR, "/v1/ledger", subject=f"user:{runner.person}", since=since.isoformat())["items"]
        settled = "preflight.allowed" if runner.expectation == "runs" else "access.denied"
        for event in ("lease.served", settled):
            so = any(row["event"] == event and row["environment"] == runner.stage for row in found)
            must(so, f"The ledger has no row {event} for {runner.person} in {runner.stage}.")
        rows += found
    heads = ("at (UTC)", "subject", "event", "outcome", "environment", "revision", "datasets", "settled by", "receipt")
    table(heads, [_cells(row) for row in sorted(rows, key=lambda row: str(row["at"]))])


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    policies = len(row["policies"])
    return (
        str(row["at"])[11:23],
        row["subject"],
        row["event"],
        row["outcome"],
        row["environment"],
        row["revision"],
        len(row["datasets"]) or row["details"].get("entries", ""),
        f"{policies} policies" if policies != 1 else row["policies"][0],
        f"…{str(row['receipt'])[-12:]}",
    )


def _start(place: Place, processes: Processes, desk: Desk, runner: Runner) -> Process:
    folder = project_of(place, runner.person)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__", "*.parquet", "*.json"))
    env = surroundings(
        MUNIMENT_URL=desk.url,
        MUNIMENT_TOKEN=desk.token(runner.person),
        XDG_CACHE_HOME=str(place.runs / runner.person / "cache"),
        XDG_STATE_HOME=str(place.runs / runner.person / "state"),
        COLUMNS="150",
    )
    command = [sys.executable, "-m", "kedro", "run", *runner.arguments]
    output, errors = _logs(place, runner)
    return processes.start(command, output, errors=errors, env=env, cwd=folder)


def _finished(place: Place, runner: Runner, process: Process) -> Run:
    must(ended(process, _LONGEST_RUN_SECONDS), f"The run of {runner.person} does not end. See {place.logs}.")
    output, errors = (log.read_text(errors="replace") for log in _logs(place, runner))
    return Run(runner, project_of(place, runner.person), process.returncode, output, errors)


def _logs(place: Place, runner: Runner) -> tuple[Path, Path]:
    return place.logs / f"run-{runner.person}.log", place.logs / f"run-{runner.person}-errors.log"


def _judge_refusal(run: Run, told: str) -> None:
    who = introduced(run.runner.person)
    must(run.code == _REFUSED, f"The run of {who}, should have been refused with exit 1, not {run.code}. {told}")
    ran = "Running node" in run.output or _intermediate(run).exists()
    must(not ran, f"The run of {who}, was refused only after its first node. {told}")
    must("Traceback" not in run.errors, f"{who}, was shown a stack trace. {told}")
    hidden = next((line for line in run.errors.splitlines() if _HIDDEN in line), "")
    must(UNKNOWN in hidden, f"The refusal should say of {_HIDDEN} that it {UNKNOWN}. {told}")
    must(_KNOWN_AND_NOT_HERS in run.errors, f"The refusal should name {_KNOWN_AND_NOT_HERS}. {told}")


def _intermediate(run: Run) -> Path:
    """What the first node writes."""
    return run.folder / "data" / "02_intermediate" / "kept_orders.parquet"


def _line_with(text: str, part: str) -> str:
    """The plugin's own line among those of Kedro."""
    found = next((line for line in text.splitlines() if part in line), "")
    before, _, after = found.partition("INFO")
    return " ".join((after or before).rsplit("  ", maxsplit=1)[0].split())


def explain_the_example() -> None:
    """What the pipeline needs, before anybody runs it."""
    paragraph(
        "The pipeline reads orders, returns, accounts, rates and targets, keeps intermediate data to itself, and "
        "writes sales.quarterly_report. Its project holds neither a path nor a secret."
    )
