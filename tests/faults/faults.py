"""`./dev faults`: what the service promises, held against a history in which its machines are hurt all the time.

    ./dev faults                     every kind of fault, again and again, until 100,000 requests were answered
    ./dev faults --requests 20000    fewer
    ./dev faults --seconds 60        at least so long
    ./dev faults --history FILE      keep what happened there

It starts what it needs (PostgreSQL on a disk of its own, an issuer, the service with two workers, a network between
them), listens on 127.0.0.1 alone, and leaves nothing behind. Callers fetch leases and catalogs, a steward changes the
rules at five a second. Afterwards each answer is held against the ledger and against Cedar. It ends with 1 when a
promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # `python tests/faults/faults.py` puts this folder on the path; what is imported stands below the checkout.
    sys.path[0] = str(Path(__file__).parents[2])

import httpx
import psutil  # type: ignore[import-untyped]

from demo.issuer import running_issuer
from tests.faults import checker, history
from tests.faults.callers import Caller, Changer, Line
from tests.faults.history import Fault, History, Recorder
from tests.faults.machines import (
    FULL_DISK,
    FURTHER,
    QUICK,
    SEALING,
    Kind,
    Machines,
    machines,
    place,
    postgres,
    small_disk,
)
from tests.faults.realm import ASKING, PEOPLE, Steward, evidence, found

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer

CALLERS = 32
CHANGES_A_SECOND = 5

#: Within so many seconds after a fault's cause is gone, everybody is answered again.
HEALS_SECONDS = 30
_BETWEEN_SECONDS = 3.0
_LONGEST_SECONDS = 1500

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long it goes on, and with what."""

    kinds: Sequence[Kind]
    requests: int
    seconds: float = 0.0
    callers: int = CALLERS
    between: float = _BETWEEN_SECONDS
    pause: float = 0.0
    changes: float = CHANGES_A_SECOND
    seed: int = 1


@dataclass
class Course:
    """What has come of it so far."""

    callers: list[Caller]
    changers: list[Changer]
    began: float = field(default_factory=time.monotonic)
    ending: bool = False

    @property
    def answered(self) -> int:
        return sum(caller.answered for caller in self.callers)

    @property
    def changed(self) -> int:
        return sum(changer.made for changer in self.changers)

    def over(self) -> bool:
        return self.ending


@dataclass(frozen=True)
class Told:
    """What a run comes to."""

    history: History
    violations: list[checker.Violation]
    seconds: float
    cpu_seconds: float


async def run(plan: Plan, machines: Machines, issuer: RunningIssuer, path: Path, tell: Tell) -> Told:
    """Ask, change and hurt until the plan is fulfilled, and hold what happened against the ledger and Cedar."""
    tokens = {name: issuer.token(name) for name in PEOPLE}
    root = {"Authorization": f"Bearer {tokens['root']}"}
    await _found(machines, root)
    with Recorder(path) as recorder:
        course = _course(plan, machines.port, recorder, tokens)
        before = _cpu_seconds()
        async with asyncio.TaskGroup() as group:
            for caller in course.callers:
                group.create_task(caller.ask_until(course.over))
            for changer in course.changers:
                group.create_task(changer.change_until(course.over))
            try:
                await _hurt(plan, machines, course, recorder, tell)
            finally:
                course.ending = True
        seconds, used = time.monotonic() - course.began, _cpu_seconds() - before
    tell("holding it against the ledger and Cedar")
    happened = history.read(path)
    held = await evidence(machines.url, happened)
    broken = await asyncio.to_thread(checker.violations, happened, held, heals=HEALS_SECONDS)
    if unproven := await asyncio.to_thread(machines.verified):
        broken.append(checker.Violation("unproven", unproven))
    return Told(happened, broken, seconds, used)


def _course(plan: Plan, port: int, recorder: Recorder, tokens: dict[str, str]) -> Course:
    random = Random(plan.seed)
    asking = itertools.islice(itertools.cycle(ASKING), plan.callers)
    callers = [
        Caller(
            who,
            Line(port, {"Authorization": f"Bearer {tokens[who.partition(':')[2]]}"}),
            recorder,
            Random(random.random()),
            plan.pause,
        )
        for who in asking
    ]
    changer = Changer(
        Line(port, {"Authorization": f"Bearer {tokens['root']}"}),
        recorder,
        Steward(Random(random.random())),
        1 / plan.changes,
    )
    return Course(callers, [changer])


async def _found(machines: Machines, root: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=machines.served.base, headers=root, trust_env=False, timeout=30) as http:
        for path, body in found():
            answer = await http.put(f"/v1/{path}", json=body, headers={"If-None-Match": "*"})
            if answer.status_code != 201:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")


async def _hurt(plan: Plan, machines: Machines, course: Course, recorder: Recorder, tell: Tell) -> None:
    """One fault after the other, each after the one before has healed."""
    await _quiet(course, plan.between)
    for number, kind in enumerate(itertools.cycle(plan.kinds)):
        elapsed = time.monotonic() - course.began
        enough = number >= len(plan.kinds) and course.answered >= plan.requests and elapsed >= plan.seconds
        if enough or elapsed > _LONGEST_SECONDS or machines.served.process.poll() is not None:
            return
        tell(f"{course.answered:,} answers, {course.changed} changes; {kind.name}")
        began = time.monotonic_ns()
        cure = await asyncio.to_thread(kind.make, machines)
        if cure is not None:
            await asyncio.sleep(kind.lasts)
            cure()
        recorder.tell(Fault(kind.name, began, time.monotonic_ns()))
        await _quiet(course, plan.between)


async def _quiet(course: Course, seconds: float) -> None:
    """Wait until somebody is answered, as long as that may take, and then a little."""
    enough, deadline = course.answered + len(course.callers), time.monotonic() + HEALS_SECONDS
    while course.answered < enough and time.monotonic() < deadline:  # noqa: ASYNC110  every caller would set the event
        await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)


def _cpu_seconds() -> float:
    used = psutil.Process().cpu_times()
    return float(used.user + used.system)


def text(told: Told) -> str:
    """The report."""
    asked, changed = told.history.asked, told.history.changed
    failed = sum(not each.answered for each in asked)
    lines = [
        f"{len(asked):,} requests in {told.seconds:.0f} s: {len(asked) - failed:,} answered, {failed:,} not.",
        f"{sum(each.acknowledged for each in changed):,} changes of {len(changed):,} acknowledged.",
        "",
        f"{'fault':<40} {'times':>5}  answered again after, at most",
    ]
    for name, gaps in sorted(checker.gaps(told.history).items()):
        lines.append(f"{name:<40} {len(gaps):>5}  {max(gaps):.2f} s")
    lines += ["", f"Broken promises: {len(told.violations)}"]
    lines += [f"  {each.kind}: {each.words}" for each in told.violations[:50]]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run it and print; 130 when it was interrupted, 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="go on until so many were answered")
    parser.add_argument("--seconds", type=float, default=0.0, help="and at least so long")
    parser.add_argument("--callers", type=int, default=CALLERS, help="how many ask at once")
    parser.add_argument("--seed", type=int, default=1, help="what they ask and what is changed hangs on it")
    parser.add_argument("--history", type=Path, metavar="FILE", help="keep what happened there")
    chosen = parser.parse_args(arguments)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        told = _whole(chosen)
    except KeyboardInterrupt:
        print("\nStopped, with everything that was started.", file=sys.stderr)
        return 130
    print(text(told), flush=True)
    return 1 if told.violations else 0


def _whole(chosen: argparse.Namespace) -> Told:
    began = time.monotonic()

    def tell(words: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {words}", file=sys.stderr, flush=True)

    with place() as folder, small_disk(folder) as disk:
        if disk is None:
            tell("no disk is filled: this account may mount none of its own")
        with postgres(disk or folder) as server, running_issuer(PEOPLE) as issuer:
            kinds = (*QUICK, *SEALING, *FURTHER, *(FULL_DISK if disk else ()))
            plan = Plan(kinds, chosen.requests, chosen.seconds, chosen.callers, seed=chosen.seed)
            return asyncio.run(_run(plan, folder, server, disk, issuer, chosen.history, tell))


async def _run(
    plan: Plan,
    folder: Path,
    server: Any,
    disk: Path | None,
    issuer: RunningIssuer,
    kept: Path | None,
    tell: Tell,
) -> Told:
    async with machines(issuer, folder, server, disk, {}) as started:
        return await run(plan, started, issuer, kept or folder / "history.jsonl", tell)


if __name__ == "__main__":
    sys.exit(main())
