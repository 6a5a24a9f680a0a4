"""``muniment audit show|export|unusual``: a running service's ledger, read, taken out and looked at over the wire.

So the rights of whoever asks hold, and that they asked is recorded.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from muniment.core.exports import Format
from muniment.core.ledger import Event, Outcome
from muniment.core.tellings import Telling

if TYPE_CHECKING:
    from muniment.core.checkpoints import Check
    from muniment.core.export_proofs import Proven

_URL = click.option("--url", help="Where Muniment is; else MUNIMENT_URL.")
_COLUMNS: Final = ("at", "event", "outcome", "subject", "environment", "datasets", "policies", "id")
#: The most characters of a cell that are shown.
_WIDEST: Final = 44


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The filters of ``GET /v1/ledger`` as options."""
    for option in reversed(
        (
            click.option("--subject", help="Whose rows, as user:ann."),
            click.option("--about", help="Rows of others about this subject."),
            click.option("--dataset", help="Rows that name this dataset."),
            click.option("--domain", help="Rows that name a dataset in this domain or below it."),
            click.option(
                "--event",
                multiple=True,
                type=click.Choice([each.value for each in Event]),
                metavar="EVENT",
                help="Of this event.",
            ),
            click.option(
                "--kind", multiple=True, type=click.Choice([each.value for each in Telling]), help="What rows tell."
            ),
            click.option("--outcome", type=click.Choice([each.value for each in Outcome])),
            click.option("--environment"),
            click.option("--project"),
            click.option("--purpose"),
            click.option("--policy", help="Rows that this policy settled, or that changed it."),
            click.option("--address", help="Where requests came from."),
            click.option("--request-id"),
            click.option("--receipt"),
            click.option("--run"),
            click.option("--since", help="From this time on (RFC 3339), such as 2027-03-01T00:00:00Z."),
            click.option("--until", help="Up to this time, and without it."),
        )
    ):
        command = option(command)
    return command


@click.command()
@_filters
@_URL
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many rows at most.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each row.")
def show(url: str | None, limit: int, as_json: bool, **filters: Any) -> None:
    """Show rows of the ledger, newest first.

    Yourself you may always read about (--subject); about others with audit. That you asked is recorded.
    """
    from muniment.steward.connection import connect

    service = connect(url)
    with service.understood():
        page = service.get("/v1/ledger", {**_given(filters), "limit": limit})
        if as_json:
            for row in page["items"]:
                click.echo(json.dumps(row, ensure_ascii=False))
            return
        click.echo(_table([{name: _shown(row[name]) for name in _COLUMNS} for row in page["items"]]))
        if page["next"] is not None:
            click.echo("There are more, older than these: a larger --limit, or --until.", err=True)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_filters
@_URL
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.value for each in Format]),
    help="Else by the ending of FILE; else jsonl.",
)
def export(file: Path, url: str | None, format_: str | None, **filters: Any) -> None:
    """Take rows of the ledger into a file with their proof.

    All that is sealed, or what the filters leave of it. `muniment audit verify FILE` holds it against the seals'
    key later, without the service.
    """
    from muniment.steward.connection import connect

    ending = file.suffix.removeprefix(".")
    chosen = format_ or (ending if ending in set(Format) else Format.JSONL.value)
    service = connect(url)
    size = _kept(file, lambda: service.stream("/v1/ledger/export", {**_given(filters), "format": chosen}))
    proof = (
        "It carries no proof." if chosen == Format.OCSF else f"Hold it against the key: muniment audit verify {file}"
    )
    click.echo(f"Exported to {file}: {size:,} bytes. {proof}")


def _kept(file: Path, parts: Callable[[], Any]) -> int:
    """Write parts into a file that appears when it is whole, and that only this user reads."""
    from muniment.steward.refusals import Refused

    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            size = sum(out.write(part) for part in parts())
        fresh.replace(file)
    except OSError as failed:
        raise Refused(f"{file} cannot be written: {failed.strerror}.") from None
    finally:
        fresh.unlink(missing_ok=True)
    return size


@click.command()
@_URL
@click.option("--since", help="From this time on (RFC 3339); else the last seven days.")
@click.option("--until", help="Up to this time, and without it; else now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def unusual(url: str | None, since: str | None, until: str | None, as_json: bool) -> None:
    """Look at what is unusual in the ledger.

    These are statistics and no proof of anything: each comes with its numbers, and most have a plain reason.
    """
    from muniment.steward.connection import connect
    from muniment.steward.refusals import plain

    service = connect(url)
    with service.understood():
        said = service.get("/v1/ledger/unusual", {k: v for k, v in (("since", since), ("until", until)) if v})
        if as_json:
            click.echo(json.dumps(said, indent=2, ensure_ascii=False))
            return
        for each in said["items"]:
            click.echo(plain(f"{each['at']}  {each['kind']}: {each['words']}"))
        click.echo(f"{len(said['items'])} unusual things from {said['since']} to {said['until']}. {said['note']}")


def verify_file(path: Path, pinned: Iterable[str], check: Check) -> Proven:
    """Hold an exported file against its checkpoint, by keys that were kept elsewhere or the one that it names."""
    from muniment.core.checkpoints import VerifierKey
    from muniment.core.export_proofs import prove
    from muniment.steward.export_files import read

    return prove(read(path), check, [VerifierKey.parse(each) for each in pinned])


def verdict_in_words(proven: Proven) -> str:
    """What came of verifying a file, for people: the first fault first."""
    from muniment.steward.refusals import plain

    lines = [_fault_in_words(fault) for fault in proven.faults]
    if not proven.holds or proven.checkpoint is None:
        return "\n".join(["This export is not what was sealed.", *lines])
    sealed = proven.checkpoint
    lines.append(f"{proven.rows:,} rows are as they were sealed (checkpoint {sealed.number}, {sealed.at.isoformat()}).")
    if proven.absent:
        lines.append(
            f"Of {proven.absent:,} more there is the leaf alone: they were retired, as a signed row of it says."
        )
    if proven.erased:
        by = "a signed row of it says so" if proven.whole else "only the ledger can say whether that was in order"
        lines.append(f"From {proven.erased:,} of them something was erased: {by}.")
    lines.append(
        "It is proven that none is missing up to that checkpoint."
        if proven.whole
        else "It was made by filters, or by somebody who may not read everything: that none is missing is not proven."
    )
    if not proven.pinned and proven.key is not None:
        lines.append(
            f"The key is the one that the file names, {plain(proven.key.text)}: whoever made the file may have made "
            "that too. Compare it with one that you have kept, or say --key."
        )
    return "\n".join(lines)


def verdict_as_json(proven: Proven) -> dict[str, Any]:
    """The same for programs."""
    sealed = proven.checkpoint
    return {
        "holds": proven.holds,
        "whole": proven.whole,
        "rows": proven.rows,
        "absent": proven.absent,
        "erased": proven.erased,
        "first": proven.first,
        "last": proven.last,
        "checkpoint": None
        if sealed is None
        else {"number": sealed.number, "size": sealed.size, "at": sealed.at.isoformat()},
        "key": None if proven.key is None else proven.key.text,
        "pinned": proven.pinned,
        "faults": [
            {"kind": fault.kind.value, "position": fault.position, "id": fault.id, "words": fault.words}
            for fault in proven.faults
        ],
    }


def _fault_in_words(fault: Any) -> str:
    """A fault in one line that a terminal may show: what stands in a file is anybody's."""
    from muniment.steward.refusals import plain

    where = "" if fault.position is None else f" at position {fault.position:,}"
    which = "" if fault.id is None else f", row {fault.id}"
    return plain(f"{fault.kind}{where}{which}: {fault.words}")


def _given(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in filters.items() if value}


def _shown(value: Any) -> str:
    from muniment.steward.refusals import plain

    text = plain(", ".join(map(str, value)) if isinstance(value, list) else str(value or ""))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _table(rows: list[dict[str, str]]) -> str:
    lines = [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in _COLUMNS}
    return "\n".join("  ".join(f"{line[name]:<{widths[name]}}" for name in _COLUMNS).rstrip() for line in lines)
