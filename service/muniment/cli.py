"""``muniment``: serve, upgrade the database, audit the ledger, help in an emergency, show the configuration."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from muniment.core.problems import Problem
from muniment.safe_start import banner, refuse_danger
from muniment.settings import Settings, in_force, read, surroundings
from muniment.steward import commands as steward
from muniment.steward import projects

if TYPE_CHECKING:
    from muniment.core.ledger import Question
    from muniment.core.replays import Replayed
    from muniment.identity.examination import Examination

#: After how many decisions computed again it is told how far that has come.
_TELL_EVERY = 10_000

_OF_A_STATE = ("subject", "issuer", "groups", "attributes")
_VERDICTS = {
    "holds": "The token holds. Whether its sign-in has been ended is known to the service alone.",
    "wrong": "The token is refused.",
    "not checked": "Nothing is wrong with the token in what could be checked.",
}


class _Commands(click.Group):
    """Problems end a command with their words and exit code 1, never with a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Problem as problem:
            click.echo(f"muniment: {problem.detail}", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("muniment"), prog_name="muniment")
def main() -> None:
    """Serve to each user the Kedro catalog that this user may use, and nothing else."""


for _command in (steward.plan, steward.apply, steward.adopt, steward.export_files, projects.import_project):
    main.add_command(_command)


@main.command()
@click.option("--upgrade", is_flag=True, help="Upgrade a configured database first; an embedded one always is.")
def serve(upgrade: bool) -> None:
    """Run the service."""
    settings = read()
    accepted = refuse_danger(settings, surroundings())
    _log()
    if accepted:
        click.echo(banner(accepted), err=True)
    _stop_by_leaving()
    with _database(settings) as url:
        _serve(settings, url, upgrade=upgrade or settings.database_url is None)


def _serve(settings: Settings, url: str, *, upgrade: bool) -> None:
    import uvicorn

    from muniment.app import create_app, prepare
    from muniment.store import migrations

    if upgrade:
        migrations.upgrade(url)
    link = asyncio.run(prepare(settings, url))
    if link is not None:
        click.echo(
            "muniment: Nobody administers this realm yet. Whoever opens this link first and signs in will:", err=True
        )
        click.echo(f"    {link}", err=True)
        click.echo("It works once, for a day; each start prints another.", err=True)
    if not settings.issuers:
        click.echo("muniment: MUNIMENT_ISSUERS names no issuer, so nobody can sign in.", err=True)
    click.echo(f"Muniment serves at http://{settings.host}:{settings.port} (Ctrl-C stops it)", err=True)
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": 10,
        # Uvicorn's own default believes whoever calls from this machine.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": [str(network) for network in settings.trusted_proxies],
    }
    if settings.workers == 1:
        uvicorn.run(create_app(settings, url), **options)
    else:
        uvicorn.run("muniment.app:from_environment", factory=True, workers=settings.workers, **options)


@main.group()
def database() -> None:
    """Look after the database's schema."""


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database to this release's schema."""
    from muniment.store import migrations

    settings = read()
    _log()
    with _database(settings) as url:
        migrations.upgrade(url)
    click.echo("The database is at this release's schema.")


@main.group()
def audit() -> None:
    """Hold the ledger to the truth."""


@audit.command("replay")
@click.option("--since", help="From this time on (RFC 3339), such as 2027-03-01T00:00:00Z; absent: from the beginning.")
@click.option("--until", help="Up to this time, and without it.")
@click.option("--subject", help="Only what was decided for this subject, as user:ann.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each decision, and one for all.")
def replay_ledger(since: str | None, until: str | None, subject: str | None, as_json: bool) -> None:
    """Compute every recorded decision again.

    Exit code 1 when any is not the one that was recorded.
    """
    from muniment.core.ledger import Question

    question = Question(subject=subject, since=_moment("--since", since), until=_moment("--until", until))
    settings = read()
    with _database(settings) as url:
        differing = asyncio.run(_replay(settings, url, question, as_json=as_json))
    sys.exit(1 if differing else 0)


async def _replay(settings: Settings, url: str, question: Question, *, as_json: bool) -> int:
    """Replay the rows of a question, and tell of each as it comes; gives how many were not equal."""
    from muniment.app import archive
    from muniment.flows.replay_decisions import replay_all

    count = differing = 0
    async with archive(settings, url) as rows:
        async for replayed in replay_all(rows, question):
            count += 1
            differing += not replayed.equal
            if as_json:
                click.echo(json.dumps(_told(replayed)))
            elif not replayed.equal:
                click.echo(_sentence(replayed))
            if count % _TELL_EVERY == 0:
                click.echo(f"muniment: {count:,} decisions so far, back to {replayed.row.at.isoformat()}", err=True)
    if as_json:
        click.echo(json.dumps({"decisions": count, "differing": differing}))
    else:
        click.echo(f"Decisions computed again: {count:,}; different from what was recorded: {differing:,}.")
    return differing


def _told(replayed: Replayed) -> dict[str, Any]:
    row = replayed.row
    return {
        "id": str(row.id),
        "at": row.at.isoformat(),
        "event": row.event.value,
        "subject": row.subject,
        "revision": row.revision,
        "recorded": row.decided_sha256,
        "computed": replayed.computed,
        "equal": replayed.equal,
        "same_evaluator": replayed.same_evaluator,
        "fault": replayed.fault,
    }


def _sentence(replayed: Replayed) -> str:
    row = replayed.row
    what = replayed.fault or f"recorded {row.decided_sha256}, computed {replayed.computed}"
    other = "" if replayed.same_evaluator else f" (it was decided by another evaluator: {row.evaluator})"
    return f"{row.at.isoformat()} {row.event} {row.subject} {row.id}: {what}{other}"


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise click.BadParameter("must be a time with its zone, such as 2027-03-01T00:00:00Z", param_hint=option)
    return read


@main.command("break-glass")
@click.option("--because", required=True, help="Why; it stands in the ledger.")
@click.option("--hours", type=click.FloatRange(0, 8, min_open=True), default=8, show_default=True, help="For how long.")
def break_glass(because: str, hours: float) -> None:
    """Make an emergency key, where nobody who may help can sign in.

    With it one governs everything for some hours, as service:break-glass, and reads no data. The key alone is on
    standard output.
    """
    from muniment.app import emergency_key

    settings = read()
    _log()
    with _database(settings) as url:
        made = asyncio.run(emergency_key(settings, url, timedelta(hours=hours), because, _account()))
    click.echo(made.text)
    click.echo(f"The glass is broken until {made.until.isoformat()}. The key is not told again.", err=True)
    if made.forbidden:
        click.echo(f"A rule forbids it all the same to {', '.join(made.forbidden)}.", err=True)


def _account() -> str:
    """Whose account of this machine runs the command: whoever runs it may say so falsely."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        return f"uid {os.getuid()}"


@main.group()
def doctor() -> None:
    """Find out what is wrong."""


@doctor.command("identity")
@click.option("--token", required=True, help="The token; - reads it from standard input, where no history keeps it.")
@click.option("--offline", is_flag=True, help="Ask no issuer: whether the signature holds stays open.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_identity(token: str, offline: bool, as_json: bool) -> None:
    """Say what this service makes of a token, check by check.

    Exit code 0: it holds; 1: it does not; 2: that could not be found out. The token is not shown.
    """
    from muniment.identity.examination import Outcome

    settings = read()
    text = sys.stdin.read() if token == "-" else token  # noqa: S105 - a dash, as programs write it
    examined = asyncio.run(_examined(settings, text.strip(), offline=offline))
    if as_json:
        click.echo(json.dumps(_as_json(examined), indent=2))
    else:
        click.echo(_as_told(examined))
    sys.exit({Outcome.HOLDS: 0, Outcome.WRONG: 1}.get(examined.outcome, 2))


async def _examined(settings: Settings, token: str, *, offline: bool) -> Examination:
    import httpx

    from muniment.identity.examination import examine

    async with httpx.AsyncClient(trust_env=False) as http:
        return await examine(token, settings.issuers, None if offline else http, datetime.now(UTC))


def _as_json(examined: Examination) -> dict[str, Any]:
    state = examined.state
    attributes = {} if state is None else state.attributes
    return {
        "outcome": examined.outcome.value,
        "subject": None if state is None else str(state.subject),
        "issuer": examined.issuer,
        "groups": [] if state is None else sorted(state.groups),
        "attributes": {
            name: sorted(value) if isinstance(value, frozenset) else value for name, value in attributes.items()
        },
        "findings": [
            {"check": found.check, "outcome": found.outcome.value, "words": found.words} for found in examined.findings
        ],
    }


def _as_told(examined: Examination) -> str:
    lines = [f"{found.outcome:<11}  {found.check}: {found.words}".rstrip(": ") for found in examined.findings]
    if examined.state is not None:
        told = _as_json(examined)
        lines += [f"{name}: {json.dumps(told[name], ensure_ascii=False)}" for name in _OF_A_STATE]
    return "\n".join([*lines, _VERDICTS[examined.outcome]])


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def config(as_json: bool) -> None:
    """Show every setting in force and its source.

    Secrets are hidden.
    """
    rows = in_force(read())
    if as_json:
        click.echo(json.dumps([{"name": r.name, "value": r.value, "source": r.source} for r in rows], indent=2))
        return
    width = max(len(r.name) for r in rows)
    for setting in rows:
        click.echo(f"{setting.name:<{width}}  {setting.value}  ({setting.source})")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The configured database, or the embedded one, which runs as long as this lasts."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    from muniment.store import embedded
    from muniment.store.postgres_binaries import in_directory

    chosen = settings.postgres_binaries
    server = embedded.start(settings.data_dir, binaries=in_directory(chosen) if chosen else None)
    try:
        yield server.url
    finally:
        server.stop()


def _stop_by_leaving() -> None:
    """Let a signal end the command by the way out, so that what it has started is stopped in order.

    The server handles the same signals while it runs, and raises them again when it has finished.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(0))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("alembic", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
