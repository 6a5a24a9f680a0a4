"""`./dev bench`: how fast the service is, on this machine, beside the same machine's bare ASGI answer.

    ./dev bench            every realm, every question: some minutes
    ./dev bench --quick    the smallest and the largest realm, fewer questions: a minute or two
    ./dev bench --deciding what deciding alone costs, beside Cedar asked one by one; no service is started
    ./dev bench --revoking what a revocation costs over two workers, and whether every later request honours it
    ./dev bench --starting what the plugin costs `kedro run`, beside the same project without it
    ./dev bench --serving  the hot path beside the bare answer, itself without the ledger, and the plain route
    ./dev bench --peers    the same listing beside Feast, Tiled and Datasette, which it installs for itself
    ./dev bench --soaking  half an hour (--quick: a minute) at 70 % of what the service can do, while policies change
    ./dev bench --pages    what each page costs in the largest realm, and how much its first load is
    ./dev bench --verifying what sealing and verifying a million rows of the ledger cost (--quick: 100,000)
    ./dev bench --json FILE

It starts what it needs (PostgreSQL, an issuer, the service, the bare answer), listens on
127.0.0.1 alone, and leaves nothing behind. It holds nothing against a target: it tells.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer
    from tests.bench.measures import Measured, Plan, Tell
    from tests.bench.report import Machine
    from tests.bench.servers import Postgres

Found = TypeVar("Found")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 130 when it was interrupted, 1 when something was not as it must be."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the smallest and the largest realm: a minute or two")
    parser.add_argument("--deciding", action="store_true", help="only what deciding costs, beside Cedar")
    parser.add_argument("--revoking", action="store_true", help="only revocations, over two workers")
    parser.add_argument("--starting", action="store_true", help="only the plugin, beside a project without it")
    parser.add_argument("--serving", action="store_true", help="only the hot path, beside what one would write first")
    parser.add_argument("--peers", action="store_true", help="only listing, beside Feast, Tiled and Datasette")
    parser.add_argument("--soaking", action="store_true", help="only half an hour at 70 %% of what the service can do")
    parser.add_argument("--pages", action="store_true", help="only the pages, in the largest realm")
    parser.add_argument("--verifying", action="store_true", help="only a sealed ledger, verified")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    chosen = parser.parse_args(arguments)
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"there is no folder for {chosen.json}")
    # `python tests/bench/bench.py` puts this folder on the path; what is imported stands below the checkout.
    sys.path[0] = str(Path(__file__).parents[2])
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        part = _chosen(chosen)
        return part(quick=chosen.quick, json_file=chosen.json)
    except KeyboardInterrupt:
        print("\nStopped, with everything that was started.", file=sys.stderr)
        return 130


def _chosen(chosen: argparse.Namespace) -> Callable[..., int]:
    parts: dict[str, Callable[..., int]] = {
        "deciding": _deciding,
        "revoking": _revoking,
        "starting": _starting,
        "serving": _serving,
        "peers": _peers,
        "soaking": _soaking,
        "pages": _pages,
        "verifying": _verifying,
    }
    return next((part for name, part in parts.items() if getattr(chosen, name)), _bench)


def _deciding(*, quick: bool, json_file: Path | None) -> int:
    """What deciding costs by itself."""
    import json
    from dataclasses import asdict

    from tests.bench import deciding
    from tests.bench.fixture import Misshapen

    def tell(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    try:
        measured = [deciding.measure(size, tell) for size in (deciding.QUICK_SIZES if quick else deciding.SIZES)]
    except Misshapen as failed:
        print(f"\nThe benchmark ends without a result: {failed}", file=sys.stderr)
        return 1
    print(deciding.text(measured), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n", encoding="utf-8")
    return 0


def _verifying(*, quick: bool, json_file: Path | None) -> int:
    """What sealing and verifying cost."""
    import json
    from dataclasses import asdict

    from muniment.core.problems import Problem
    from tests.bench import verifying
    from tests.bench.servers import DidNotStart, postgres

    def tell(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    try:
        with postgres() as server:
            rows = verifying.QUICK_ROWS if quick else verifying.ROWS
            measured = asyncio.run(verifying.measure(server, rows, tell))
    except (DidNotStart, verifying.NotFound, Problem, OSError) as failed:
        print(f"\nThe benchmark ends without a result: {failed}", file=sys.stderr)
        return 1
    print(verifying.text(measured), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(measured), indent=2) + "\n", encoding="utf-8")
    return 0


def _revoking(*, quick: bool, json_file: Path | None) -> int:
    """What taking access away costs, and whether it holds."""
    from tests.bench import revoking

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[list[revoking.Revoked]]:
        return revoking.measure(server, issuer, 20 if quick else 200, tell)

    found = _beside(measured, revoking.text, json_file)
    return 1 if found is None or any(each.broken for each in found) else 0


def _starting(*, quick: bool, json_file: Path | None) -> int:
    """What the plugin costs a project that starts."""
    from tests.bench import starting

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[starting.Measured]:
        return starting.measure(server, issuer, 5 if quick else 15, tell)

    return 1 if _beside(measured, starting.text, json_file) is None else 0


def _serving(*, quick: bool, json_file: Path | None) -> int:
    """What an audited answer costs."""
    from tests.bench import serving

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[serving.Served]:
        return serving.measure(server, issuer, serving.QUICK if quick else serving.FULL, tell)

    return 1 if _beside(measured, serving.text, json_file) is None else 0


def _peers(*, quick: bool, json_file: Path | None) -> int:
    """The same listing from services that one could take instead."""
    from tests.bench import among_peers

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[list[among_peers.Listed]]:
        return among_peers.measure(server, issuer, 100 if quick else among_peers.ENTRIES, tell)

    return 1 if _beside(measured, among_peers.text, json_file, ann=among_peers.ANN) is None else 0


def _soaking(*, quick: bool, json_file: Path | None) -> int:
    """Whether the service holds its pace."""
    from tests.bench import soaking

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[soaking.Soaked]:
        return soaking.measure(server, issuer, 1 if quick else 30, tell)

    return 1 if _beside(measured, soaking.text, json_file) is None else 0


def _pages(*, quick: bool, json_file: Path | None) -> int:
    """What people wait for."""
    from tests.bench import looking

    def measured(server: Postgres, issuer: RunningIssuer, tell: Tell) -> Awaitable[looking.Looks]:
        return looking.measure(server, issuer, looking.QUICK_TIMES if quick else looking.TIMES, tell)

    return 1 if _beside(measured, looking.text, json_file) is None else 0


def _beside(
    measure: Callable[[Postgres, RunningIssuer, Tell], Awaitable[Found]],
    text: Callable[[Found], str],
    json_file: Path | None,
    **further: Mapping[str, object],
) -> Found | None:
    """Measure one part beside a PostgreSQL and an issuer of its own, and tell; None when it ends without a result."""
    import json

    import uvloop
    from pydantic_core import to_jsonable_python

    from muniment.core.problems import Problem
    from tests.bench.caller import WrongAnswer
    from tests.bench.measures import QUICK
    from tests.bench.servers import DidNotStart, postgres

    def tell(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    async def measured(server: Postgres, issuer: RunningIssuer) -> Found:
        return await measure(server, issuer, tell)

    try:
        with (
            postgres() as server,
            _issuer(QUICK, **further) as issuer,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            found = runner.run(measured(server, issuer))
    except (DidNotStart, WrongAnswer, Problem, OSError, EOFError) as failed:
        print(f"\nThe benchmark ends without a result: {str(failed) or repr(failed)}", file=sys.stderr)
        return None
    print(text(found), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(to_jsonable_python(found), indent=2) + "\n", encoding="utf-8")
    return found


def _bench(*, quick: bool, json_file: Path | None) -> int:
    from muniment.core.problems import Problem
    from tests.bench import report
    from tests.bench.caller import WrongAnswer
    from tests.bench.fixture import Misshapen
    from tests.bench.measures import FULL, QUICK
    from tests.bench.servers import DidNotStart

    plan = QUICK if quick else FULL
    began = time.monotonic()

    def tell(words: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {words}", file=sys.stderr, flush=True)

    try:
        machine, measured = _measured(plan, tell)
    except (DidNotStart, Misshapen, WrongAnswer, Problem, OSError, EOFError) as failed:
        print(f"\nThe benchmark ends without a result: {str(failed) or repr(failed)}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    print(report.text(machine, plan, measured, seconds), flush=True)
    if json_file is not None:
        json_file.write_text(report.as_json(machine, plan, measured, seconds), encoding="utf-8")
    return 0


def _measured(plan: Plan, tell: Tell) -> tuple[Machine, list[Measured]]:
    """Start what all realms are measured with, measure one after the other, and stop it."""
    import uvloop

    from tests.bench.report import Machine
    from tests.bench.servers import postgres

    tell("starting PostgreSQL, an issuer and the bare answer")
    with postgres() as server, _issuer(plan) as issuer:
        machine = Machine(server.version(), [server.commit_milliseconds()], load_before=os.getloadavg())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(_each(plan, server, issuer, machine, tell))
        machine.load_after = os.getloadavg()
    return machine, measured


async def _each(plan: Plan, server: Postgres, issuer: RunningIssuer, machine: Machine, tell: Tell) -> list[Measured]:
    from tests.bench.measures import measure
    from tests.bench.servers import bare

    measured = []
    async with bare() as constant:
        for size in plan.sizes:
            measured.append(await measure(size, plan, server, constant, issuer, tell))
            machine.commit_ms.append(server.commit_milliseconds())
    return measured


@contextmanager
def _issuer(plan: Plan, **further: Mapping[str, object]) -> Iterator[RunningIssuer]:
    """The issuer of everybody's tokens. It is born deaf to Ctrl-C, and ends when this block does."""
    from demo.issuer import running_issuer
    from tests.bench.fixture import STEWARD, people

    known = {person.id: person.as_claimed() for person in people(plan.subjects)} | {STEWARD: {}} | further
    with ExitStack() as stack:
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            issuer = stack.enter_context(running_issuer(known))
        finally:
            signal.signal(signal.SIGINT, heard)
        yield issuer


if __name__ == "__main__":
    sys.exit(main())
