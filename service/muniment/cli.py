"""``muniment``: serve, upgrade the database, audit the ledger, help in an emergency, show the configuration."""

from __future__ import annotations

import asyncio
import gc
import getpass
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

import click

from muniment.core.exports import Format
from muniment.core.occasions import Occasion
from muniment.core.problems import CannotStart, Problem, Unavailable
from muniment.safe_start import banner, refuse_danger
from muniment.settings import Settings, in_force, read, surroundings
from muniment.steward import commands as steward
from muniment.steward import ledgers, projects, starters
from muniment.steward.refusals import StewardError

if TYPE_CHECKING:
    from muniment.core.ledger import Question
    from muniment.core.replays import Replayed
    from muniment.core.verdicts import Verdict
    from muniment.identity.examination import Examination
    from muniment.keeping import Keeping
    from muniment.store.roles import Standing

Done = TypeVar("Done")

#: After how many decisions computed again it is told how far that has come.
_TELL_EVERY = 10_000

#: After how many rows verified it is told how far that has come.
_TELL_ROWS = 100_000

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


for _command in (
    steward.plan,
    steward.apply,
    steward.adopt,
    steward.export_files,
    projects.import_project,
    starters.starters,
):
    main.add_command(_command)


@main.command()
@click.option("--upgrade", is_flag=True, help="Upgrade a configured database first; an embedded one always is.")
def serve(upgrade: bool) -> None:
    """Run the service."""
    settings = read()
    accepted = refuse_danger(settings, surroundings())
    _log(settings)
    if accepted:
        click.echo(banner(accepted), err=True)
    _stop_by_leaving()
    with _databases(settings) as (url, owner_url):
        if upgrade or settings.database_url is None:
            _upgrade(url, owner_url)
        _serve(settings, url)


def _upgrade(url: str, owner_url: str) -> None:
    from muniment.store import migrations, roles

    migrations.upgrade(owner_url, roles.role_of(url))


def _serve(settings: Settings, url: str) -> None:
    with _uncollected():
        import uvicorn

        from muniment.app import create_app, metrics_served, prepare
        from muniment.sealing import sealed_beside

    link = asyncio.run(prepare(settings, url))
    if link is not None:
        click.echo(
            "muniment: Nobody administers this realm yet. Whoever opens this link first and signs in will:", err=True
        )
        click.echo(f"    {link}", err=True)
        click.echo("It works once, for a day; each start prints another.", err=True)
    if not settings.issuers:
        click.echo("muniment: MUNIMENT_ISSUERS names no issuer, so nobody can sign in.", err=True)
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "access_log": False,
        "log_level": "warning",
        # Its lines go where all others go.
        "log_config": None,
        "server_header": False,
        "timeout_graceful_shutdown": 10,
        # On a machine that has too much to do a worker is slow to say that it lives, and is not killed for it.
        "timeout_worker_healthcheck": 30,
        # Uvicorn's own default believes whoever calls from this machine.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": [str(network) for network in settings.trusted_proxies],
    }
    with metrics_served(settings), sealed_beside(settings):
        click.echo(f"Muniment serves at http://{settings.host}:{settings.port} (Ctrl-C stops it)", err=True)
        if settings.workers == 1:
            uvicorn.run(create_app(settings, url, alone=True), **options)
        else:
            uvicorn.run("muniment.app:from_environment", factory=True, workers=settings.workers, **options)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is imported stays: to look for garbage among it would take a sixth of what a start takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@main.group()
def database() -> None:
    """Look after the database's schema."""


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database to this release's schema.

    The service's role is given what it needs, and no more.
    """
    settings = read()
    _log(settings)
    with _databases(settings) as (url, owner_url):
        _upgrade(url, owner_url)
    click.echo("The database is at this release's schema.")


@database.command("roles")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def database_roles(as_json: bool) -> None:
    """Show who owns the ledger, and what the service's role may do.

    And the SQL that mends what is not so. Exit code 1 when the role may do too much, or lacks something.
    """
    from muniment.store import roles

    settings = read()
    with _databases(settings) as (url, owner_url):
        standing = roles.standing_at(owner_url, roles.role_of(url))
    click.echo(json.dumps(_standing_as_json(standing), indent=2) if as_json else _standing_as_told(standing))
    sys.exit(1 if standing.differences else 0)


def _standing_as_json(standing: Standing) -> dict[str, Any]:
    return {
        "owner": standing.owner,
        "service": standing.service,
        "rights": {name: list(rights) for name, rights in standing.rights.items()},
        "differences": [
            {"words": each.words, "too_much": each.too_much, "by_owner": each.by_owner, "sql": list(each.mending)}
            for each in standing.differences
        ],
    }


def _standing_as_told(standing: Standing) -> str:
    width = max((len(name) for name in standing.rights), default=0)
    lines = [f"The ledger belongs to {standing.owner or 'nobody yet'}; the service works as {standing.service}.", ""]
    lines += [f"{name:<{width}}  {', '.join(rights) or 'nothing'}" for name, rights in standing.rights.items()]
    if not standing.differences:
        return "\n".join([*lines, "", "The service may do what it needs, and nothing else."])
    for each in standing.differences:
        lines += ["", each.words, *(f"    {line}{'' if line.startswith('--') else ';'}" for line in each.mending)]
    by_owner = any(each.by_owner for each in standing.differences)
    return "\n".join([*lines, *(["", "muniment database upgrade mends what the owner may mend."] if by_owner else [])])


@main.group()
def audit() -> None:
    """Hold the ledger to the truth."""


for _command in (ledgers.show, ledgers.export, ledgers.unusual):
    audit.add_command(_command)


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
    with _uncollected():
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


@audit.command("verify")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--key", "keys", multiple=True, help="A key that must have sealed it, as GET /v1/ledger/keys showed it.")
@click.option(
    "--witness",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of checkpoints, in the place of the witnesses that are set.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify_ledger(file: Path | None, keys: tuple[str, ...], files: tuple[Path, ...], as_json: bool) -> None:
    """Prove that the ledger is as it was sealed.

    No row was changed, removed, inserted or put elsewhere since.

    With FILE, an export is held against its own checkpoint, offline: say --key, and no witness.

    Exit code 0: it holds; 1: it does not; 2: that could not be found out.
    """
    if file is not None:
        _verify_export(file, keys, as_json=as_json)
    settings = read()
    try:
        with _database(settings) as url:
            verdict = asyncio.run(_verify(settings, url, keys, files, quiet=as_json))
    except Problem as problem:
        click.echo(f"muniment: {problem.detail}", err=True)
        sys.exit(2)
    click.echo(json.dumps(_verdict_as_json(verdict), indent=2) if as_json else _verdict_as_told(verdict))
    sys.exit(0 if verdict.holds else 1)


def _verify_export(file: Path, keys: tuple[str, ...], *, as_json: bool) -> NoReturn:
    from muniment.identity.seal_keys import holds

    try:
        proven = ledgers.verify_file(file, keys, holds)
    except (Problem, StewardError) as unknown:
        click.echo(f"muniment: {unknown}", err=True)
        sys.exit(2)
    told = json.dumps(ledgers.verdict_as_json(proven), indent=2) if as_json else ledgers.verdict_in_words(proven)
    click.echo(told)
    sys.exit(0 if proven.holds else 1)


async def _verify(
    settings: Settings, url: str, keys: tuple[str, ...], files: tuple[Path, ...], *, quiet: bool
) -> Verdict:
    from muniment.core.checkpoints import VerifierKey
    from muniment.flows.verify_ledger import verify_ledger
    from muniment.sealing import audited
    from muniment.store.witnesses import FileWitness, WitnessAway

    told = 0

    def tell(rows: int, of: int) -> None:
        nonlocal told
        if not quiet and rows >= told + _TELL_ROWS:
            told = rows
            click.echo(f"muniment: {rows:,} rows of {of:,}", err=True)

    async with audited(settings, url) as (db, auditing):
        pinned = [VerifierKey.parse(key) for key in keys] or auditing.pinned
        # Who keeps some checkpoints of their own choice need not keep them all.
        witnesses = [FileWitness(path, wants_all=False) for path in files] or auditing.witnesses
        try:
            return await verify_ledger(db, replace(auditing, pinned=pinned, witnesses=witnesses), tell)
        except WitnessAway as away:
            raise Unavailable(f"A witness cannot be read: {away}. Mend that, or name others: --witness FILE") from away


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    def moment(at: datetime | None) -> str | None:
        return at.isoformat() if at is not None else None

    return {
        "holds": verdict.holds,
        "proven_until": moment(verdict.proven_until),
        "rows": verdict.rows,
        "seals": verdict.seals,
        "sealed": verdict.sealed,
        "unsealed": verdict.unsealed,
        "retired": verdict.retired,
        "erased": verdict.erased,
        "keys": [key.text for key in verdict.keys],
        "pinned": verdict.pinned,
        "witnesses": [
            {"name": each.name, "checkpoints": each.checkpoints, "number": each.number, "at": moment(each.at)}
            for each in verdict.witnesses
        ],
        "restorations": [{"seal": number, **asdict(lost)} for number, lost in verdict.restorations],
        "faults": [
            {
                "kind": each.kind.value,
                "position": each.position,
                "id": each.id,
                "at": moment(each.at),
                "seal": each.seal,
                "rows": each.rows,
                "words": each.words,
            }
            for each in verdict.faults
        ],
        "untold": verdict.untold,
    }


def _verdict_as_told(verdict: Verdict) -> str:
    """The verdict for people: what is proven, by which keys and witnesses, and each fault with its row.

    What the database says of itself is shown as a terminal may show it: who changed it could write there, too.
    """
    from muniment.steward.refusals import plain

    until = verdict.proven_until
    proven = f"{verdict.rows:,} rows, all up to {until.isoformat()}" if until is not None else "nothing"
    lines = [
        f"Proven       {proven}",
        f"Sealed       {verdict.sealed:,} rows in {verdict.seals:,} seals",
        f"Not sealed   {verdict.unsealed:,} rows, which nothing proves yet",
    ]
    if verdict.retired or verdict.erased:
        lines.append(
            f"As recorded  {verdict.retired:,} rows were retired, and of {verdict.erased:,} fields were erased"
        )
    lines += [f"Key          {plain(key.text)}" for key in verdict.keys]
    for each in verdict.witnesses:
        upto = f", the newest {each.number} of {each.at.isoformat()}" if each.at is not None else ""
        lines.append(f"Witness      {each.name} keeps the same {each.checkpoints:,} checkpoints{upto}")
    for number, lost in verdict.restorations:
        which = f"checkpoints {lost.first_lost} to {lost.last_lost}"
        lines.append(f"Restored     {which} were lost, as seal {number} says: {plain(lost.because)}")
    if not verdict.pinned:
        lines.append("             Nobody vouches for the key: compare it with one that you noted, or name that: --key")
    if not any(each.checkpoints for each in verdict.witnesses):
        lines.append("             No witness keeps checkpoints, so whether the end was cut off nobody can tell.")
    for fault in verdict.faults:
        where = [] if fault.position is None else [f"position {fault.position:,}"]
        where += [] if fault.id is None else [f"row {plain(fault.id)}"]
        where += [] if fault.at is None else [f"of {fault.at.isoformat()}"]
        where += [] if fault.seal is None else [f"seal {fault.seal}"]
        where += [f"{fault.rows:,} rows"] if fault.rows > 1 else []
        lines += ["", f"{fault.kind.value.upper()}  {', '.join(where)}".rstrip(), f"    {plain(fault.words)}"]
    if verdict.untold:
        lines += ["", f"And {verdict.untold:,} more."]
    return "\n".join([*lines, "", "The ledger holds." if verdict.holds else "The ledger does not hold."])


@audit.command("seal")
@click.option("--once", is_flag=True, help="Seal what is there, tell the witnesses, and end.")
def seal_ledger(once: bool) -> None:
    """Seal the ledger until this is stopped.

    For where the service does not do it (MUNIMENT_SEALING=false).
    """
    settings = read()
    _log(settings)
    _stop_by_leaving()
    with _database(settings) as url:
        count = asyncio.run(_seal(settings, url, once=once))
    click.echo(f"Sealed: {count:,} rows.")


async def _seal(settings: Settings, url: str, *, once: bool) -> int:
    from muniment.sealing import seal_on, sealer

    if not once:
        await seal_on(settings, url)
    async with sealer(settings, url) as working:
        await working.hold_to_witnesses()
        count = await working.seal_all()
        for told in await working.tell_witnesses():
            if told.fault is not None:
                click.echo(f"muniment: the witness {told.name} cannot be told: {told.fault}", err=True)
        return count


@audit.command("rotate-key")
@click.option("--because", required=True, help="Why; it stands in the ledger.")
def rotate_seal_key(because: str) -> None:
    """Let a new key seal the ledger from now on.

    The old one signs that it does, and is removed.
    """
    settings = read()
    with _database(settings) as url:
        made = asyncio.run(_rotate(settings, url, because))
    click.echo(made)
    click.echo("This key seals from now on. Whoever noted the one before can go on from it.", err=True)


async def _rotate(settings: Settings, url: str, because: str) -> str:
    from muniment.sealing import sealer

    async with sealer(settings, url) as working:
        await working.hold_to_witnesses()
        return await working.rotate(_occasion("muniment audit rotate-key"), because, _account())


@audit.command("accept-restore")
@click.option("--because", required=True, help="Why; it stands in the ledger and in the signed checkpoint.")
def accept_restore(because: str) -> None:
    """Go on sealing a database restored from an older backup.

    One that is older than what its witnesses know: a signed checkpoint says for ever which ones were lost.
    """
    settings = read()
    with _database(settings) as url:
        first, last = asyncio.run(_accept_restore(settings, url, because))
    click.echo(f"Checkpoints {first} to {last} are lost, as is said from now on; sealing goes on.")


async def _accept_restore(settings: Settings, url: str, because: str) -> tuple[int, int]:
    from muniment.sealing import sealer

    async with sealer(settings, url) as working:
        lost = await working.accept_restore(_occasion("muniment audit accept-restore"), because, _account())
        await working.tell_witnesses()
        return lost.first_lost, lost.last_lost


def _occasion(client: str) -> Occasion:
    """An occasion of the service's own, on which somebody at the machine does something."""
    from muniment.api.identifiers import new_id
    from muniment.core.subjects import ITSELF

    at = datetime.now(UTC)
    return Occasion(ITSELF, at, new_id(at), client=client)


@audit.command("hold")
@click.option("--because", required=True, help="Why; it stands in the ledger.")
@click.option("--since", help="Only rows from this time on (RFC 3339).")
@click.option("--until", help="Only rows up to this time, and without it.")
@click.option("--subject", help="Only rows of this subject, as user:ann.")
@click.option("--dataset", help="Only rows about this dataset.")
def hold_ledger(because: str, since: str | None, until: str | None, subject: str | None, dataset: str | None) -> None:
    """Put a legal hold on rows of the ledger, or on all of it.

    What is held is neither retired nor erased until the hold is released. Its id is on standard output.
    """
    from muniment.core.holds import Hold
    from muniment.flows.hold_rows import hold_rows

    begin, end, account = _moment("--since", since), _moment("--until", until), _account()

    async def work(kept: Keeping) -> Hold:
        occasion = kept.occasion
        wanted = Hold(occasion.row_id, occasion.at, because, account, begin, end, subject, dataset)
        return await hold_rows(kept.db, kept.keys, occasion, wanted)

    made = _keep("muniment audit hold", work)
    click.echo(str(made.id))
    click.echo(f"Held: {made.words}. Release it with: muniment audit release {made.id} --because …", err=True)


@audit.command("release")
@click.argument("hold", type=click.UUID)
@click.option("--because", required=True, help="Why; it stands in the ledger.")
def release_ledger(hold: UUID, because: str) -> None:
    """Release a legal hold."""
    from muniment.flows.hold_rows import release_rows

    account = _account()
    found = _keep(
        "muniment audit release",
        lambda kept: release_rows(kept.db, kept.keys, kept.occasion, hold, because, account),
    )
    click.echo(f"Released: {found.words}.")


@audit.command("holds")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def holds_of_ledger(as_json: bool) -> None:
    """Show the legal holds in force."""
    from muniment.flows.hold_rows import list_holds

    account = _account()
    found = _keep("muniment audit holds", lambda kept: list_holds(kept.db, kept.occasion, account))
    if as_json:
        told = [{"id": str(hold.id), "at": hold.at.isoformat(), **hold.told} for hold in found]
        click.echo(json.dumps(told, indent=2))
        return
    for hold in found:
        click.echo(f"{hold.id}  since {hold.at:%Y-%m-%d}  {hold.words}: {hold.because}")
    if not found:
        click.echo("Nothing is held.")


@audit.command("retire")
@click.option("--before", help="Months before this one, as 2026-01; absent: as MUNIMENT_RETENTION says.")
@click.option("--because", default="their time is over", show_default=True, help="Why; it stands in the ledger.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep each month as a file in this folder, with its proofs, before it goes.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.value for each in Format if each is not Format.OCSF]),
    help="How the files of --to are written; else jsonl.",
)
@click.option("--dry-run", is_flag=True, help="Only say which months would go.")
def retire_months(before: str | None, because: str, folder: Path | None, format_: str | None, dry_run: bool) -> None:
    """Let whole months of the ledger go; their seals stay.

    Those that are over, sealed, proven and not held. The oldest go first. Interrupted, it goes on when it is run again.
    """
    from muniment.core import retention

    settings = read()
    now, months = datetime.now(UTC), settings.retention.months if settings.retention else None
    if before is None and months is None:
        raise CannotStart("Nothing says how long rows are kept, so none go. Set MUNIMENT_RETENTION, or give --before.")
    moment = retention.month_of(before) if before is not None else retention.kept_since(now, months or 0)
    retention.checked(moment, now, months)
    if format_ is not None and folder is None:
        raise click.UsageError("--format is of the files of --to: say where they go.")
    into = (folder, Format(format_ or Format.JSONL)) if folder is not None else None
    gone = _keep("muniment audit retire", lambda kept: _retire(kept, moment, because, into, dry_run=dry_run))
    if not gone:
        click.echo(f"Nothing before {moment:%Y-%m} is there any more.")


async def _retire(
    kept: Keeping, before: datetime, because: str, into: tuple[Path, Format] | None, *, dry_run: bool
) -> int:
    """Retire months, each kept in a folder before if one is given, and tell of each as it goes; gives how many."""
    from muniment.flows.retire_months import Retiring, due, retire_months

    count = 0
    if dry_run:
        for each in await due(kept.db, before):
            count += 1
            held = f"; it stays, held by {each.held_by[0].id}: {each.held_by[0].because}" if each.held_by else ""
            click.echo(f"{each.month.name}: {each.rows:,} rows{held}")
        return count
    retiring = Retiring(before, _account(), because)
    archive = kept.archive(*into, retiring.account) if into is not None else None
    async for each in retire_months(
        kept.db,
        kept.maintenance,
        kept.keys,
        kept.occasion,
        retiring,
        proof=kept.proven_until,
        sealing=kept.seal,
        archive=archive,
    ):
        count += 1
        where = f" They are kept in {archive.path(each.month)}" if archive is not None else ""
        click.echo(f"{each.month.name} is retired: {each.rows:,} rows.{where}")
    return count


@audit.command("erase")
@click.argument("subject")
@click.option("--because", required=True, help="Why, without the person: such as the number of their request.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def erase_person(subject: str, because: str, dry_run: bool, as_json: bool) -> None:
    """Erase a person, as user:ann, without breaking the proof.

    From the ledger, and from all that is kept beside it.
    """
    from muniment.flows import erase_person as flow

    request = flow.Request(subject, because, _account())

    async def work(kept: Keeping) -> flow.Erased:
        if dry_run:
            return await flow.erase_person(kept.db, kept.maintenance, kept.keys, kept.occasion, request, dry_run=True)
        # With another key than the ledger's nothing is erased; and what is said of it is sealed when this ends.
        await kept.seal()
        done = await flow.erase_person(kept.db, kept.maintenance, kept.keys, kept.occasion, request)
        await kept.seal()
        return done

    erased = _keep("muniment audit erase", work)
    if as_json:
        click.echo(json.dumps(asdict(erased), indent=2))
        return
    if not (erased.who or erased.details or erased.beside or erased.remaining):
        click.echo(f"Nothing here names {subject}. Is it written as in the ledger? See: muniment audit show")
        return
    gone = "would go" if dry_run else "is erased"
    click.echo(f"Rows of theirs, from which who asked {gone}: {erased.who:,}.")
    click.echo(f"Rows that name them, from which that {gone}: {erased.details:,}.")
    for name, count in erased.beside.items():
        click.echo(f"Rows of {name} removed: {count:,}.")
    for name, count in erased.remaining.items():
        click.echo(f"{'Named now' if dry_run else 'Still named'} in {name}: {count:,}.")
    if not dry_run:
        click.echo("What is still named, and why, says the manual: “Erase a person”. Backups keep what they hold.")


def _keep(client: str, work: Callable[[Keeping], Awaitable[Done]]) -> Done:
    """Do work on the ledger as the role that owns its tables."""
    from muniment.keeping import keeping

    settings = read()

    async def done(owner_url: str) -> Done:
        async with keeping(settings, owner_url, client) as kept:
            return await work(kept)

    with _databases(settings) as (_, owner_url):
        return asyncio.run(done(owner_url))


@main.command("break-glass")
@click.option("--because", required=True, help="Why; it stands in the ledger.")
@click.option("--hours", type=click.FloatRange(0, 8, min_open=True), default=8, show_default=True, help="For how long.")
def break_glass(because: str, hours: float) -> None:
    """Make an emergency key, where nobody who may help can sign in.

    With it one governs everything for some hours, as service:break-glass, and reads no data. The key alone is on
    standard output.
    """
    with _uncollected():
        from muniment.app import emergency_key

    settings = read()
    _log(settings)
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


@doctor.command("mail")
@click.option("--to", required=True, help="The address that a test mail goes to.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_mail(to: str, as_json: bool) -> None:
    """Send a test mail as MUNIMENT_SMTP says, step by step.

    Exit code 0: the server took it; 1: a step failed.
    """
    from muniment.api.identifiers import new_id
    from muniment.core.notices import checked_mailbox
    from muniment.post.mail import Mail, Outcome, tried

    settings = read()
    if settings.smtp is None:
        raise CannotStart('MUNIMENT_SMTP is not set, so no mails are sent. Set it: {"host": "…", "from": "…"}')
    at = datetime.now(UTC)
    mail = Mail(
        to=checked_mailbox(to),
        title="Muniment: A test",
        text="This mail was sent by `muniment doctor mail`. What Muniment has to tell people comes this way.\n",
        at=at,
        name=f"doctor.{new_id(at)}",
    )
    steps = asyncio.run(tried(settings.smtp, mail))
    if as_json:
        told = [{"step": step.name, "outcome": step.outcome.value, "words": step.words} for step in steps]
        click.echo(json.dumps(told, indent=2))
    else:
        for step in steps:
            click.echo(f"{step.outcome:<6}  {step.name}: {step.words}")
    sys.exit(0 if all(step.outcome is Outcome.HOLDS for step in steps) else 1)


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
    """The configured database, or the embedded one, which runs as long as this lasts, as the service sees it."""
    with _databases(settings) as (url, _):
        yield url


@contextmanager
def _databases(settings: Settings) -> Iterator[tuple[str, str]]:
    """The same, and as the role that owns its tables."""
    if settings.database_url is not None:
        yield settings.database_url, settings.owner_url or settings.database_url
        return
    from muniment.store import embedded
    from muniment.store.postgres_binaries import in_directory

    chosen = settings.postgres_binaries
    server = embedded.start(settings.data_dir, binaries=in_directory(chosen) if chosen else None)
    try:
        server.keep()
        yield server.url, server.owner_url
    finally:
        server.stop()


def _stop_by_leaving() -> None:
    """Let a signal end the command by the way out, so that what it has started is stopped in order.

    The server handles the same signals while it runs, and raises them again when it has finished.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(0))


def _log(settings: Settings) -> None:
    from muniment.api.logs import Form, configure

    configure(Form(settings.log_format))
