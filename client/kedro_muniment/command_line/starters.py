"""``kedro muniment new`` and ``update``: a project that the service makes, and what became of its templates since."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kedro_muniment.command_line import project, showing
from kedro_muniment.command_line.options import env_option, examples, json_option, url_option
from kedro_muniment.problems import BadConfig, Denied


@click.command(
    epilog=examples(
        'kedro muniment new "Quarterly report" --url https://muniment.example.org',
        'kedro muniment new "Quarterly report" --datasets sales.orders,finance.targets --tools lint,test,docs',
    )
)
@click.argument("name")
@click.option("--description", default=None, help="What it is for, in a line.")
@click.option("--package", default=None, help="The Python package; else made of the name.")
@click.option("--starter", default=None, help="What it begins with; else the first that is offered.")
@click.option("--kedro", default=None, help="Kedro's version; else the newest that is offered.")
@click.option("--python", default=None, help="Python's version; else the first that is offered.")
@click.option("--tools", default=None, help="Which tools, between commas; '' for none. Default: lint,test.")
@click.option("--packages", default=None, help="Packages of the platform team's list, between commas.")
@click.option("--ci", default=None, help="Where every change is checked.")
@click.option("--environment", default=None, help="The service's environment in which it works.")
@click.option("--datasets", default=None, help="Datasets that are yours, between commas.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where its folder goes.")
@url_option
@json_option
def new(name: str, into: Path, url: str | None, as_json: bool, **answers: str | None) -> None:
    """Start a project that runs at once.

    The service makes it, from your platform team's templates and with datasets that are yours; what there is to choose
    shows on its page /projects/new. A folder that is there is never written over.
    """
    from kedro_muniment.starters.archives import Project

    told = {"name": name, **{key: value for key, value in answers.items() if value is not None}}
    made = Project.read(project.service_at(url, None).project(told))
    target = made.write(into)
    newer = made.needs_python(sys.version_info[:2])
    following = [
        f"cd {shlex.quote(str(target))}",
        f"python{newer or ''} -m venv .venv && . .venv/bin/activate",
        "pip install --requirement requirements-dev.txt",
        "kedro run",
    ]

    def lines() -> Iterator[str]:
        yield f"Wrote {len(made.files)} files to {target}. Its README says how it is run."
        if newer:
            yield f"It needs Python {newer}, and this is {sys.version_info[0]}.{sys.version_info[1]}."
        yield "Next:"
        yield from (f"  {command}" for command in following)

    showing.show({"folder": str(target), "files": sorted(made.files), "next": following}, as_json, lines)


@click.command(epilog=examples("kedro muniment update", "kedro muniment update --patch update.patch"))
@click.option(
    "--patch",
    "to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write a patch to this file, for git apply, and change nothing.",
)
@url_option
@env_option
@json_option
def update(to: Path | None, url: str | None, env: str | None, as_json: bool) -> None:
    """Bring in what changed in the templates.

    What the project was made of is merged with what its templates are now, by the answers in .muniment-project.yml. It
    needs a project without changes that are not committed, and commits nothing: look at `git diff`. Exits with 1 where
    you and the templates changed the same lines; git's marks stand there.
    """
    from kedro_muniment.starters import updating
    from kedro_muniment.starters.archives import Project

    folder = project.here()
    record = updating.read_record(folder)
    if to is None:
        updating.refuse_unsaved(folder)
    service = project.service_at(url, env)
    newest = str(service.offer({"limit": "1"})["version"])
    made: list[updating.Change] = []
    if newest != record.version:
        try:
            before, after = (
                Project.read(service.project({**record.answers, "version": version}))
                for version in (record.version, newest)
            )
        except Denied as refused:
            raise Denied(
                f"{refused.message}\n  A dataset that the project began with may no longer be yours. Take it out of "
                f"`datasets` in {updating.RECORD}, and run this again."
            ) from None
        made = updating.changes(folder, before, after)
    if to is not None:
        try:
            to.write_bytes(updating.patch(made))
        except OSError as error:
            raise BadConfig(f"{to} cannot be written: {error.strerror}. Nothing was changed.") from error
    else:
        updating.apply(folder, made)
    told: dict[str, Any] = {
        "from": record.version,
        "to": newest,
        "files": {change.path: change.kind.value for change in made},
        "patch": str(to) if to is not None else None,
    }
    showing.show(told, as_json, lambda: _updated(told))
    if updating.Kind.CONFLICT.value in told["files"].values():
        raise click.exceptions.Exit(Denied.exit_code)


def _updated(told: dict[str, Any]) -> Iterator[str]:
    if not told["files"]:
        yield f"Nothing to do: the templates are those of version {told['to']}."
        return
    yield f"From templates {told['from']} to {told['to']}:"
    width = max(map(len, told["files"].values()))
    yield from (f"  {kind:<{width}}  {path}" for path, kind in told["files"].items())
    if "conflict" in told["files"].values():
        yield "conflict: you and the templates changed the same lines. Look for <<<<<<< there, and keep what is right."
    if "kept" in told["files"].values():
        yield "kept: the templates changed a file that you removed, or removed one that you changed. Yours stays."
    yield f"Apply it with: git apply {told['patch']}" if told["patch"] else "Nothing is committed. Look at it: git diff"


COMMANDS: Final = (new, update)
