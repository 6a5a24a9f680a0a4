"""What was measured, in words and columns that say what they are; and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.measures import REPEATING, Figures, Measured, Plan, PolicyChanges, Repeated

#: From here on the asking had no processor left, so the server was not at its limit.
_ASKING_BUSY = 0.9

_COLUMNS = (
    f"{'':<20}{'callers':>8}{'bytes':>11}{'p50 ms':>9}{'p99 ms':>9}{'a second':>10}{'turns':>16}"
    f"{'CPU µs':>8}{'PG µs':>7}  │{'p50 ms':>8}{'p99 ms':>8}{'a second':>10}{'CPU µs':>8}  │{'p50':>7}{'CPU':>7}"
)
_ABOVE = f"{'':<98}  │{'the bare answer of the same bytes':^34}  │{'ours / bare':^14}"

_READING = """\
How to read it
  first lease   the first GET /v1/leases (zstd) of a subject, one caller, until the last byte: the token is verified,
                the subject's state stored, everything decided, encoded and recorded, and rendered what nobody had yet.
                “cold” is the first request after the start of the worker, which loads the whole realm as well.
  repeated      {repeating} subjects in turn ask for what they asked for before. Each caller is one connection
                on 127.0.0.1 with one question on its way. Every answer is recorded in the ledger before it is given.
  bare          a constant of the same status and bytes from an ASGI function, under the same uvicorn options, asked
                with the same headers; it records nothing. Both take turns of {slice} s, {rounds} each.
  turns         the slowest and the fastest turn, requests a second: how far the machine's other guests reach.
  CPU, PG       processor time of the worker, and of all of PostgreSQL, for each request. The kernel counts in steps
                of 10 ms, so a cell of few requests is rough.
  *             the asking itself used more than {busy:.0%} of a processor there: the server may be faster than shown.
  policy change a policy is put by a steward. The next request after the acknowledgement is the one that is timed;
                it was decided by the new rule, each time. “realm brought forward” is the benchmark's own process doing
                what a worker does on that request: ask for the revision, read the change, patch the realm.
"""


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True)
class Machine:
    """Where it was measured, and what else went on there."""

    postgres: str
    commit_ms: list[float] = field(default_factory=list)
    load_before: tuple[float, float, float] = (0, 0, 0)
    load_after: tuple[float, float, float] = (0, 0, 0)
    python: str = field(default_factory=platform.python_version)
    system: str = field(default_factory=lambda: f"{platform.system()} {platform.release()} {platform.machine()}")
    processor: str = field(default_factory=_processor)
    cores: int = field(default_factory=_cores)
    packages: dict[str, str] = field(
        default_factory=lambda: {
            name: version(name) for name in ("muniment", "uvicorn", "uvloop", "httptools", "cedarpy")
        }
    )


def text(machine: Machine, plan: Plan, measured: Sequence[Measured], seconds: float) -> str:
    """The whole report."""
    return "\n".join(
        [*_machine(machine), *(line for each in measured for line in _measured(each)), _reading(plan, seconds)]
    )


def as_json(machine: Machine, plan: Plan, measured: Sequence[Measured], seconds: float) -> str:
    """The whole report for programs: every figure, and every single time of the rarer measurements."""
    whole = {
        "machine": asdict(machine),
        "plan": asdict(plan),
        "seconds": seconds,
        "measured": [_plain(each) for each in measured],
    }
    return json.dumps(whole, indent=2) + "\n"


def _plain(measured: Measured) -> dict[str, Any]:
    found = {**asdict(measured), "median_first": measured.median_first, "worst": asdict(measured.worst)}
    found["shape"]["names_of"] = {id_: len(names) for id_, names in measured.shape.names_of.items()}
    return found


def _machine(machine: Machine) -> Iterator[str]:
    packages = ", ".join(f"{name} {number}" for name, number in machine.packages.items())
    loads = " → ".join(f"{load[0]:.1f}" for load in (machine.load_before, machine.load_after))
    commits = f"{min(machine.commit_ms):.2f}–{max(machine.commit_ms):.2f} ms"
    yield ""
    yield f"Measured on {machine.cores} cores of {machine.processor}, {machine.system}"
    yield f"  Python {machine.python}, PostgreSQL {machine.postgres} (durable), {packages}"
    yield f"  one worker; the asking, the worker and PostgreSQL share the cores; load average {loads}"
    yield f"  a durable commit of one row takes {commits} here (medians of 100 commits, before and after each realm)"


def _measured(measured: Measured) -> Iterator[str]:
    yield ""
    yield f"── {measured.size} " + "─" * (120 - len(str(measured.size)))
    yield from _shape(measured)
    yield ""
    yield from _first(measured)
    yield ""
    yield _ABOVE
    yield _COLUMNS
    yield from map(_repeated, measured.repeated)
    yield ""
    if measured.changed is not None:
        yield from _changed(measured.changed)
    held = ", ".join(f"{value / 2**20:.0f} MB after {when}" for when, value in measured.memory.items())
    yield f"  memory of the worker   {held.replace('after started', 'started')}"
    yield f"  ledger                 {measured.ledger_rows:,} rows for as many answers"


def _shape(measured: Measured) -> Iterator[str]:
    shape, policies = measured.shape, sorted(measured.shape.policies_of.values())
    total = measured.size.policies
    yield (
        f"  {shape.joins / total:.0%} of the policies join, {shape.forbids / total:.0%} forbid; "
        f"{policies[0]}–{policies[-1]} apply to a subject (median {shape.median_policies:.0f})"
    )
    yield (
        f"  a subject may use {shape.shares[0]:.0%}–{shape.shares[-1]:.0%} of the datasets (median "
        f"{median(shape.shares):.0%}); to policies there are {shape.classes:,} sets of different datasets"
    )


def _first(measured: Measured) -> Iterator[str]:
    worst = measured.worst
    yield (
        f"  first lease            median {measured.median_first:.0f} ms of {len(measured.first)} new subjects "
        f"(CPU {median(first.cpu for first in measured.first):.0f} ms); worst {worst.milliseconds:.0f} ms "
        f"(CPU {worst.cpu:.0f} ms; {worst.subject}: {worst.policies} policies, {worst.entries:,} entries)"
    )
    yield f"                         cold {measured.cold.milliseconds:.0f} ms (CPU {measured.cold.cpu:.0f} ms)"


def _repeated(row: Repeated) -> str:
    bare = row.bare
    head = f"  {row.kind:<18}{row.callers:>8}{row.bytes:>11,}"
    end = f"  │{bare.p50:>8.2f}{bare.p99:>8.2f}{bare.per_second:>10,.0f}{_flag(bare)}{bare.cpu:>7.0f}  │"
    if row.ours is None:
        return head + " " * 59 + end
    ours = row.ours
    turns = f"{ours.turns[0]:,.0f}–{ours.turns[1]:,.0f}"
    return (
        f"{head}{ours.p50:>9.2f}{ours.p99:>9.2f}{ours.per_second:>10,.0f}{turns:>16}{_flag(ours)}{ours.cpu:>7.0f}"
        f"{ours.postgres_cpu:>7.0f}{end}{_ratio(ours.p50, bare.p50):>7}{_ratio(ours.cpu, bare.cpu):>7}"
    )


def _flag(figures: Figures) -> str:
    return "*" if figures.asking > _ASKING_BUSY else " "


def _ratio(ours: float, bare: float) -> str:
    return f"{ours / bare:.1f}" if bare else "–"


def _changed(changed: PolicyChanges) -> Iterator[str]:
    yield f"  policy change          acknowledged after {_spread(changed.acknowledged)}"
    yield f"                         the next request, two names {_spread(changed.one_name)}"
    yield f"                         the next request, whole lease {_spread(changed.whole_lease)}"
    yield (
        f"                         realm brought forward in {_spread(changed.realm_patched)}; "
        f"where nothing changed {_spread(changed.realm_unchanged)}"
    )


def _spread(times: Sequence[float]) -> str:
    return f"{median(times):.1f} ms (worst {max(times):.1f} of {len(times)})"


def _reading(plan: Plan, seconds: float) -> str:
    told = _READING.format(repeating=REPEATING, slice=plan.slice_seconds, rounds=plan.rounds, busy=_ASKING_BUSY)
    return f"\n{told}\nNo target stands here: these are what was seen. It took {seconds:.0f} s."
