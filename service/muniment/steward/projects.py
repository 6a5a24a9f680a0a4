"""``muniment import`` and ``muniment export --kedro``, as people call them.

Nothing heavy is imported before a command is carried out, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from muniment.core.comparing import Compared
    from muniment.core.kept import Address
    from muniment.steward.connection import Connection
    from muniment.steward.importing import Read
    from muniment.steward.plans import Foreseen, Part

_NOT_ALLOWED: Final = 403
_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow", "!": "magenta", "?": "cyan"}


class _Pairs(click.ParamType):  # type: ignore[type-arg]
    """``ONE=OTHER``."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        one, equals, other = str(value).partition("=")
        if not equals or not one or not other:
            self.fail(f"{value!r} is not of the form ONE=OTHER", param, ctx)
        return one, other


@click.command("import")
@click.argument("conf", metavar="CONF", type=click.Path(path_type=Path))
@click.option("--domain", required=True, help="The domain in which the datasets shall stand.")
@click.option("--owner", help="group:NAME, who owns them; needed for a new domain, else the domain's owner.")
@click.option("--url", help="Where Muniment is; else MUNIMENT_URL.")
@click.option(
    "--environment",
    "environments",
    type=_Pairs(),
    multiple=True,
    metavar="KEDRO=SERVICE",
    help="What one of Kedro's environments is called by the service; else the same.",
)
@click.option("--default-environment", help="The service's environment of a plain `kedro run`.")
@click.option(
    "--location",
    "moved",
    type=_Pairs(),
    multiple=True,
    metavar="PREFIX=URL",
    help="Where data lies from now on, by how its path begins: data/01_raw/=s3://lake/raw/.",
)
@click.option(
    "--fill",
    "fills",
    type=_Pairs(),
    multiple=True,
    metavar="NAME=VALUE",
    help="What stands for {{ cookiecutter.NAME }} in a project template.",
)
@click.option("--overwrite", is_flag=True, help="Also change what stands there as something else than in CONF.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Import without being asked.")
@click.option(
    "--write", is_flag=True, help="Then write the conf's muniment.yml, and cut what is governed out of its catalogs."
)
@click.option("--to", "files", type=click.Path(path_type=Path), help="Write files for git there; ask no service.")
@click.option("--reason", default="", help="Why; it stands in the ledger.")
@click.option("--json", "as_json", is_flag=True, help="For programs; needs --yes, --dry-run or --to.")
def import_project(
    conf: Path,
    domain: str,
    owner: str | None,
    url: str | None,
    environments: Sequence[tuple[str, str]],
    default_environment: str | None,
    moved: Sequence[tuple[str, str]],
    fills: Sequence[tuple[str, str]],
    files: Path | None,
    reason: str,
    **how: bool,
) -> None:
    """Declare the catalog of a Kedro project.

    That in CONF is declared for all its environments: shown first, then all or nothing. Every entry is governed, or
    listed with the reason why it stays the project's own. No secret is sent.
    """
    from muniment.core.names import checked_domain
    from muniment.steward.importing import Wanted

    if how["as_json"] and not (how["yes"] or how["dry_run"] or files):
        raise click.UsageError("--json asks nobody: say --yes or --dry-run too.")
    if how["dry_run"] and (how["write"] or how["yes"]):
        raise click.UsageError("--dry-run changes nothing: leave out --write and --yes.")
    group = owner if owner is None or ":" in owner else f"group:{owner}"
    wanted = Wanted(checked_domain(domain), group, dict(environments), dict(moved), dict(fills))
    if files is not None:
        _into_files(conf, wanted, files, as_json=how["as_json"])
        return
    _Import(conf, wanted, url, default_environment).run(reason=reason, **how)


def _into_files(conf: Path, wanted: Any, files: Path, *, as_json: bool) -> None:
    from muniment.core.file_texts import texts_of
    from muniment.steward import directories, importing

    read = importing.read(conf, wanted, {})
    directories.write(files, texts_of(importing.bodies(read), files.resolve().name))
    if as_json:
        click.echo(json.dumps({**importing.as_json(read), "written": str(files)}, indent=2, ensure_ascii=False))
        return
    _tell(importing.told(read))
    click.echo(f"Written for git: {files}. muniment plan {files} shows what it changes.")


class _Import:
    """An import as it was drawn up: what the conf becomes, and the parts in which that is tried and applied."""

    def __init__(self, conf: Path, wanted: Any, url: str | None, default_environment: str | None) -> None:
        from muniment.steward import importing
        from muniment.steward.connection import connect
        from muniment.steward.plans import parts_of
        from muniment.steward.standing import read_live

        self.connection: Connection = connect(url)
        standing: Mapping[Address, Any] = importing.with_surroundings(
            self.connection, read_live(self.connection), wanted.domain
        )
        self.read: Read = importing.read(conf, wanted, standing)
        self.compared: Sequence[Compared] = importing.compared(self.read, standing)
        self.parts: list[Part] = parts_of([each for each in self.compared if not each.blocked], kept=False)
        known = [key for kind, key in standing if kind == "environment"]
        self.settings = importing.settings(self.read, self.connection.url, default_environment, known)

    def run(self, *, dry_run: bool, yes: bool, write: bool, overwrite: bool, reason: str, as_json: bool) -> None:
        """Show it, and make it so once somebody says yes."""
        if not as_json:
            self._tell_things()
        self._refuse_undecided(overwrite=overwrite)
        foreseen = self._foreseen()
        if not as_json:
            self._tell_people(foreseen)
        applied = None
        if not dry_run:
            applied = self._applied(foreseen, reason, yes=yes)
        written = self._written() if write else []
        if as_json:
            click.echo(json.dumps(self._as_json(foreseen, applied, written), indent=2, ensure_ascii=False))
            return
        if applied is not None:
            click.echo(f"Imported: revision {applied}.")
        if write:
            for path in written:
                click.echo(f"Written: {path}")
        elif self.settings != self.read.settings:
            click.echo()
            click.echo(f"This belongs into {self.read.directory}/base/muniment.yml (--write does it):")
            click.echo()
            click.echo(self.settings, nl=False)

    def _foreseen(self) -> Foreseen | None:
        from muniment.steward.importing import needed_of_an_administrator
        from muniment.steward.plans import foresee
        from muniment.steward.refusals import Refused

        try:
            return foresee(self.connection, self.parts[0]) if self.parts else None
        except Refused as refused:
            needed = needed_of_an_administrator(self.compared)
            if refused.status != _NOT_ALLOWED or not needed:
                raise
            message = f"{refused.message}\nThis has to be made by an administrator first:\n{needed}"
            raise Refused(message, refused.status, refused.problem) from None

    def _applied(self, foreseen: Foreseen | None, reason: str, *, yes: bool) -> int | None:
        from muniment.steward.plans import carry_out, foresee
        from muniment.steward.refusals import Refused

        if self.parts and not yes:
            if not sys.stdin.isatty():
                raise Refused("Nobody can be asked here: say --yes. Nothing was changed.")
            click.confirm("Import this?", abort=True)
        revision = None
        for part in self.parts:
            # What comes after the first part can be tried when that is made.
            tried = foreseen if foreseen is not None and revision is None else foresee(self.connection, part)
            because = reason or f"import of {self.read.directory.resolve().parent.name}"
            revision = carry_out(self.connection, part, tried.revision, take_over=False, reason=because)
        return revision

    def _refuse_undecided(self, *, overwrite: bool) -> None:
        from muniment.steward.importing import others
        from muniment.steward.plans import told_things
        from muniment.steward.refusals import Refused

        blocked = [each for each in self.compared if each.blocked]
        if blocked:
            told = "\n".join(told_things(blocked))
            raise Refused(f"Files in git keep some of these; import into those: --to DIR. Nothing was changed.\n{told}")
        standing = () if overwrite else others(self.read, self.compared)
        if standing:
            named = ", ".join(each.key for each in standing)
            raise Refused(
                f"These stand already, as something else than the conf says: {named}. Nothing was changed. If they are "
                "another project's, import into another domain, or give these names of their own under names: in "
                "base/muniment.yml. If they are this project's, say --overwrite."
            )

    def _written(self) -> list[str]:
        from muniment.steward.importing import rewrite

        return [str(path) for path in rewrite(self.read, self.settings)]

    def _tell_things(self) -> None:
        from muniment.steward.importing import told
        from muniment.steward.plans import told_things

        _tell(told(self.read))
        click.echo()
        _tell(f"  {line}" for line in told_things(self.compared))

    def _tell_people(self, foreseen: Foreseen | None) -> None:
        from muniment.steward.plans import summary, told_people

        if foreseen is not None:
            _tell(f"  {line}" for line in told_people(foreseen.answer))
        click.echo(summary(self.compared))

    def _as_json(self, foreseen: Foreseen | None, applied: int | None, written: Sequence[str]) -> dict[str, Any]:
        from muniment.steward import importing, plans

        return {
            **importing.as_json(self.read),
            "settings": self.settings,
            "plan": plans.as_json(self.compared, foreseen),
            "applied": applied,
            "written": list(written),
        }


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.secho(line, fg=_COLOURS.get(line.lstrip()[:1]))


def export_conf(directory: Path, domain: str | None, project: Path | None, url: str | None) -> None:
    """Write the catalog of a domain as a Kedro project's conf."""
    from muniment.core.names import checked_domain
    from muniment.core.projects.written import Naming
    from muniment.steward import exporting
    from muniment.steward.connection import connect
    from muniment.steward.standing import read_live

    conf = exporting.project_conf(directory, project)
    naming = exporting.naming_in(conf) if conf is not None else Naming()
    domains = [checked_domain(domain)] if domain is not None else [*exporting.domains_of(naming)]
    if not domains:
        raise click.UsageError("--kedro needs --domain, or a project whose muniment.yml maps names.")
    governed = exporting.Governed(read_live(connect(url)), domains)
    for file in exporting.export(governed, naming, directory, conf):
        click.echo(f"Written: {file}")
    if conf is None:
        click.echo("The names are the governed ones: --project CONF turns them back into a project's.", err=True)
    lost = exporting.missing(governed, naming)
    if lost:
        click.echo(f"Not among what you may declare there, and so not written: {', '.join(lost)}.", err=True)
        raise SystemExit(1)
