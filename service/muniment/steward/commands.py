"""``muniment plan``, ``apply``, ``adopt`` and ``export``: a directory of files in git, held against a running service.

Nothing heavy is imported before a command is carried out, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from muniment.steward.projects import export_conf

if TYPE_CHECKING:
    from muniment.core.comparing import Compared
    from muniment.core.files import Files
    from muniment.steward.connection import Connection
    from muniment.steward.plans import Foreseen, Part

#: As terraform's -detailed-exitcode says that there are changes.
_CHANGES: Final = 2
_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow", "!": "magenta", "?": "cyan"}

_DIRECTORY = click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path))
_URL = click.option("--url", help="Where Muniment is; else MUNIMENT_URL.")
_SOURCE = click.option(
    "--source", help="What the directory is called to the service; else as its source.yml says, else its own name."
)
_PRUNE = click.option("--prune", is_flag=True, help="End what left the files: rules and groups; datasets are retired.")
_LET_GO = click.option("--let-go", is_flag=True, help="Leave what left the files to the pages, as it stands.")
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Put back what was changed by hand, as the files say it.")
_TAKE_OVER = click.option("--take-over", is_flag=True, help="Keep here what the files of another source keep.")


class _Mistyped(click.UsageError):
    """A mistyped command whose exit code does not say that there are changes."""

    exit_code = 1


class _Plan(click.Command):
    """A command whose exit code 2 says that there are changes; so a mistyped one ends with 1."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **extra)
        except click.UsageError as wrong:
            raise _Mistyped(wrong.format_message(), wrong.ctx) from None


@click.command(cls=_Plan)
@_DIRECTORY
@_URL
@_SOURCE
@_PRUNE
@_LET_GO
@_OVERWRITE
@_TAKE_OVER
@click.option("--detailed-exitcode", is_flag=True, help="Exit code 2 when there are changes, 0 when there are none.")
@click.option("--markdown", is_flag=True, help="For a comment on a pull request.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def plan(
    directory: Path,
    url: str | None,
    source: str | None,
    detailed_exitcode: bool,
    markdown: bool,
    as_json: bool,
    **how: bool,
) -> None:
    """Show what files would change.

    What the files in DIRECTORY say is held against what stands: things, fields and people. Nothing is changed. What
    was changed by hand since the files were last applied is shown with who changed it and when.
    """
    drawn = _drawn(directory, url, source, how)
    foreseen = drawn.foreseen()
    if as_json:
        click.echo(json.dumps(drawn.as_json(foreseen), indent=2, ensure_ascii=False))
    elif markdown:
        click.echo(drawn.as_markdown(foreseen))
    else:
        drawn.tell(foreseen)
    if detailed_exitcode and (drawn.changes or drawn.unsettled):
        raise SystemExit(_CHANGES)


@click.command()
@_DIRECTORY
@_URL
@_SOURCE
@_PRUNE
@_LET_GO
@_OVERWRITE
@_TAKE_OVER
@click.option("--yes", is_flag=True, help="Apply without being asked.")
@click.option("--in-parts", is_flag=True, help="Apply more than fits into one revision, as several.")
@click.option("--reason", default="", help="Why; it stands in the ledger. Such as the commit.")
@click.option("--json", "as_json", is_flag=True, help="For programs; needs --yes.")
def apply(
    directory: Path,
    url: str | None,
    source: str | None,
    yes: bool,
    in_parts: bool,
    reason: str,
    as_json: bool,
    **how: bool,
) -> None:
    """Make things as files say.

    What the files in DIRECTORY say is tried, shown, and after a yes made, all or none, in one revision. What was
    changed by hand since the last time stays as it is, unless --overwrite says otherwise. Where files and hands
    changed the same, nothing is applied until somebody decides.
    """
    from muniment.steward.refusals import Refused

    if as_json and not yes:
        raise click.UsageError("--json asks nobody: say --yes too.")
    drawn = _drawn(directory, url, source, how)
    drawn.refuse_undecided()
    foreseen = drawn.foreseen()
    if not as_json:
        drawn.tell(foreseen)
    if len(drawn.parts) > 1 and not in_parts:
        raise Refused(
            f"That is more than one revision holds: it takes {len(drawn.parts)} parts, each all or none. "
            "Say --in-parts, or apply less at once."
        )
    if drawn.parts and not yes:
        if not sys.stdin.isatty():
            raise Refused("Nobody can be asked here: say --yes. Nothing was changed.")
        click.confirm("Apply this?", abort=True)
    revision = drawn.carry_out(foreseen, reason)
    if as_json:
        click.echo(json.dumps({**drawn.as_json(foreseen), "applied": revision}, indent=2, ensure_ascii=False))
    elif revision is not None:
        click.echo(f"Applied: revision {revision}.")


@click.command()
@_DIRECTORY
@click.argument("names", metavar="NAMES", nargs=-1)
@_URL
@_SOURCE
def adopt(directory: Path, names: Sequence[str], url: str | None, source: str | None) -> None:
    """Take what was changed by hand into the files.

    They are those in DIRECTORY; of all things, or of those of these NAMES. Each such thing's entry is written anew;
    the rest of its file stays as it is, comments included. What comes next is a commit.
    """
    from muniment.steward import directories
    from muniment.steward.adopting import adopted

    drawn = _drawn(directory, url, source, {})
    count = 0
    for each in drawn.compared:
        if not each.drifted or each.written is None or (names and each.key not in names):
            continue
        for path in directories.adopt(directory, each.written, adopted(each)):
            click.echo(f"{each.kind} {each.key}: {directory / path}")
        count += 1
    told = f"Taken into the files: {count}." if count else "Nothing that the files keep was changed by hand."
    click.echo(told)


@click.command("export")
@_DIRECTORY
@_URL
@_SOURCE
@click.option("--kedro", is_flag=True, help="Write a Kedro conf instead, on which a project runs without Muniment.")
@click.option("--domain", help="With --kedro: whose datasets; else the domains that the project's names are in.")
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    help="With --kedro: the conf of the project, whose names and own entries are kept. Else DIR, if it is one.",
)
def export_files(
    directory: Path, url: str | None, source: str | None, kedro: bool, domain: str | None, project: Path | None
) -> None:
    """Write all that you may change into files.

    They stand in DIRECTORY, for git, and a plan of them says that there are no changes. With --kedro, write the
    conf of a Kedro project instead.
    """
    if kedro:
        export_conf(directory, domain, project, url)
        return
    from muniment.core.file_texts import texts_of
    from muniment.steward import directories
    from muniment.steward.connection import connect
    from muniment.steward.standing import exported, read_live

    bodies = exported(read_live(connect(url)))
    texts = texts_of(bodies, source or directory.resolve().name)
    directories.write(directory, texts)
    click.echo(f"Things: {len(bodies)}; files: {len(texts)}, in {directory}.")


def _drawn(directory: Path, url: str | None, source: str | None, how: dict[str, bool]) -> _Drawn:
    """A plan of a directory's files, on what stands now."""
    from muniment.core.comparing import Leaving, compare
    from muniment.steward import directories
    from muniment.steward.connection import connect
    from muniment.steward.refusals import Refused
    from muniment.steward.standing import read_live, with_texts

    if how.get("prune") and how.get("let_go"):
        raise Refused("--prune and --let-go exclude each other.")
    leaving = Leaving.PRUNE if how.get("prune") else Leaving.LET_GO if how.get("let_go") else Leaving.STAY
    files = directories.read(directory, source)
    connection = connect(url)
    files = with_texts(connection, files)
    take_over = how.get("take_over", False)
    # Asked first: what is read later is no older, and a part that only keeps things is refused if it is newer.
    with connection.understood():
        revision = connection.get("/v1/whoami")["revision"]
    compared = compare(
        files.things,
        read_live(connection),
        files.source or "",
        leaving=leaving,
        overwrite=how.get("overwrite", False),
        take_over=take_over,
    )
    return _Drawn(connection, files, compared, revision, take_over=take_over)


class _Drawn:
    """A plan as it was drawn up: what becomes of each thing, and the parts in which it is tried and applied."""

    def __init__(
        self, connection: Connection, files: Files, compared: Sequence[Compared], revision: int, *, take_over: bool
    ) -> None:
        from muniment.steward.plans import parts_of

        self.connection = connection
        self.source = files.source or ""
        self.compared = compared
        self.take_over = take_over
        self.revision = revision
        self.changes = any(each.changes for each in compared)
        self.unsettled = any(each.drifted or each.blocked for each in compared)
        self.parts: list[Part] = parts_of(each for each in compared if not each.blocked)

    def foreseen(self) -> Foreseen | None:
        """What the service says of the first part: what comes after it can be foreseen when that is made."""
        from muniment.steward.plans import foresee

        if not self.parts or not self.parts[0].changes:
            return None  # What is only kept changes nothing for anybody.
        return foresee(self.connection, self.parts[0], self.source, take_over=self.take_over)

    def refuse_undecided(self) -> None:
        """Refuse to apply what somebody has to decide first."""
        from muniment.steward.plans import told_things
        from muniment.steward.refusals import Refused

        blocked = [each for each in self.compared if each.blocked]
        if blocked:
            told = "\n".join(told_things(blocked))
            raise Refused(
                f"Somebody has to decide first; nothing was changed.\n{told}\nmuniment adopt takes what was changed by "
                "hand into the files; --overwrite puts back what the files say; --take-over keeps here what another "
                "source keeps."
            )

    def carry_out(self, foreseen: Foreseen | None, reason: str) -> int | None:
        """Apply part after part; gives the last revision."""
        from muniment.steward.plans import carry_out, foresee

        revision = None
        for number, part in enumerate(self.parts):
            if number and part.changes:
                foreseen = foresee(self.connection, part, self.source, take_over=self.take_over)
            tried = foreseen.revision if part.changes and foreseen is not None else revision or self.revision
            revision = carry_out(
                self.connection,
                part,
                tried,
                self.source,
                take_over=self.take_over,
                reason=reason or f"files of {self.source}",
            )
            if len(self.parts) > 1:
                click.echo(f"Part {number + 1} of {len(self.parts)}: revision {revision}.", err=True)
        return revision

    def lines(self, foreseen: Foreseen | None) -> tuple[list[str], list[str]]:
        """What becomes of things, and of people."""
        from muniment.steward.plans import told_people, told_things

        return [*told_things(self.compared)], [*told_people(foreseen.answer)] if foreseen is not None else []

    def notes(self, foreseen: Foreseen | None) -> list[str]:
        """What else should be known of the plan."""
        from muniment.core.comparing import Verdict

        kept = sum(each.verdict is Verdict.KEEP and not each.differences for each in self.compared)
        what, them = ("1 thing stands", "it") if kept == 1 else (f"{kept} things stand", "them")
        said = [f"{what} as the files say; {self.source} keeps {them} from the next apply on."] * bool(kept)
        if len(self.parts) > 1:
            said.append(f"People and runs are of the first of {len(self.parts)} parts (apply --in-parts).")
        if foreseen is not None and foreseen.answer["runs"]["complete"] is False:
            said.append("There were more recorded runs than are looked at.")
        return said

    def tell(self, foreseen: Foreseen | None) -> None:
        """Show the plan."""
        from muniment.steward.plans import summary

        things, people = self.lines(foreseen)
        for line in things:
            sign = line.lstrip()[:1]
            click.secho(f"  {line}", fg=_COLOURS.get(sign))
        if things:
            click.echo()
        for line in people:
            click.secho(f"  {line}", fg=_COLOURS.get(line[:1]))
        if people:
            click.echo()
        for note in self.notes(foreseen):
            click.echo(note)
        click.echo(summary(self.compared))

    def as_markdown(self, foreseen: Foreseen | None) -> str:
        """The plan as a comment on a pull request shows it."""
        from muniment.steward.plans import summary

        things, people = self.lines(foreseen)
        said = [f"### Muniment: {summary(self.compared)}"]
        if people:
            said += ["", "```diff", *map(_fenced, people), "```"]
        if things:
            said += ["", f"<details><summary>{self.source}</summary>", "", "```diff", *map(_fenced, things), "```", ""]
            said += ["</details>"]
        return "\n".join([*said, *(f"\n{note}" for note in self.notes(foreseen))])

    def as_json(self, foreseen: Foreseen | None) -> dict[str, Any]:
        """The plan for programs."""
        from muniment.steward.plans import as_json

        return {"source": self.source, "changes": self.changes, **as_json(self.compared, foreseen)}


def _fenced(line: str) -> str:
    """A line in a fenced block of a diff: its sign first, and no fence of its own."""
    inner = line.lstrip()
    indent = " " * (len(line) - len(inner))
    sign, rest = inner[:1], inner[1:]
    shown = {"~": "!", "?": "#"}.get(sign, sign)
    return f"{shown}{indent}{rest}".replace("```", "'''")
