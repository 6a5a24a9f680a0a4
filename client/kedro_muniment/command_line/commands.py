"""``kedro muniment …``: what a person asks at the keyboard, and what a pipeline's CI asks.

Every command takes ``--json``, and then answers with one JSON document on the *last line* of its output: Kedro itself
writes log lines before it. Exit codes: 0 it is so; 1 the service says no (or the pipeline may not run); 2 wrong usage;
3 not signed in; 4 the service cannot be reached; 5 the project's settings are not usable; 6 the service refused for
another reason.

Kedro imports this module for every command, so it imports nothing that ``--help`` and Tab do not need.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from kedro_muniment.command_line import access, completing, starters
from kedro_muniment.command_line.options import (
    catalog_from_option,
    env_option,
    examples,
    json_option,
    listed,
    params_option,
    selectors,
    url_option,
)
from kedro_muniment.problems import Denied, plain

BEGINNING = """\
\b
To begin:
  kedro muniment login --url https://muniment.example.org
  kedro muniment init
  kedro muniment doctor
and then, as ever:
  kedro run

\b
Exit codes, of kedro run too where Muniment stops it:
  0  it is so
  1  the service says no, or the pipeline may not run
  2  wrong usage
  3  not signed in, or the token is not accepted
  4  the service cannot be reached
  5  the project's settings are not usable
  6  the service refused for another reason
"""


# Kedro takes the commands of the group that an entry point names, and shows its docstring to everybody: it has none.
@click.group(name="muniment")
def commands() -> None: ...


class InOrder(click.Group):
    """Commands in the order in which a newcomer meets them."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@commands.group(name="muniment", cls=InOrder, epilog=BEGINNING)
def muniment() -> None:
    """Governed data: what is yours, why, and what a pipeline may use."""


# --- a project begins ----------------------------------------------------------------------------


@muniment.command(
    epilog=examples(
        "kedro muniment init", "kedro muniment init --url https://muniment.example.org --domain sales --environment dev"
    )
)
@click.option("--url", prompt="Address of the Muniment service", help="For example https://muniment.example.org")
@click.option("--domain", "-d", "domains", multiple=True, help="A domain that this project uses; may be repeated.")
@click.option("--environment", default="dev", show_default=True, help="The service's environment for Kedro's `local`.")
@json_option
def init(url: str, domains: tuple[str, ...], environment: str, as_json: bool) -> None:
    """Write the project's settings, without secrets.

    They stand in conf/base/muniment.yml, with comments. Who is signed in already is offered the domains that there
    are, and names of the project that are the last part of a governed one are mapped to it. A file that is there is
    never written over.
    """
    from kedro_muniment.command_line import project, showing, starting

    folder = project.conf_source() / "base"
    starting.refuse_second(folder)
    offer = starting.offered(starting.checked_address(url), environment)
    chosen = domains or _chosen(offer.domains)
    names = starting.matching(project.dataset_names(), offer.datasets, chosen) if offer.datasets else {}
    file = starting.written(folder, starting.Settings(url, environment, chosen, names))
    following = ["kedro muniment login"] if offer.datasets is None else []
    following += ["kedro muniment doctor", "kedro muniment check", "kedro run"]
    told = {"file": str(file), "url": url, "governed": [f"{domain}.*" for domain in chosen], "names": names}

    def lines() -> Iterator[str]:
        yield f"Wrote {file}. Commit it: it holds no secret."
        yield from (f"  {local} is {governed}" for local, governed in names.items())
        yield from ([f"  {offer.told}"] if offer.told else [])
        yield "Next:"
        yield from (f"  {command}" for command in following)

    showing.show({**told, "next": following}, as_json, lines)


def _chosen(domains: Sequence[str]) -> tuple[str, ...]:
    """Of the domains that there are, those that the person at the terminal says; nobody there: none."""
    if not domains or not _is_asked():
        return ()
    said = click.prompt("Domains that this project uses, separated by commas", default=", ".join(domains))
    return tuple(part.strip() for part in said.split(",") if part.strip())


def _is_asked() -> bool:
    return sys.stdin.isatty()


for command in starters.COMMANDS:
    muniment.add_command(command)


# --- signing in ----------------------------------------------------------------------------------


@muniment.command(
    epilog=examples(
        "kedro muniment login",
        "kedro muniment login --device          (over SSH, in a container)",
        "kedro muniment login --url https://muniment.example.org     (outside of a project)",
    )
)
@url_option
@click.option("--device", is_flag=True, help="Show a link and a code, to be opened on any device.")
@click.option("--browser", is_flag=True, help="Use the browser of this machine.")
@click.option("--issuer", default=None, help="The sign-in provider, by the name that the service has for it.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="The port of --browser on 127.0.0.1.")
@env_option
@json_option
def login(
    url: str | None, device: bool, browser: bool, issuer: str | None, port: int, env: str | None, as_json: bool
) -> None:
    """Sign in. The sign-in is kept for this service, and renewed by itself."""
    from kedro_muniment.command_line import entering, showing
    from kedro_muniment.sign_in import telling

    told = entering.signed_in(telling.here(), url, device=device, browser=browser, issuer=issuer, port=port, env=env)
    showing.show(told, as_json, lambda: [entering.login_line(told)])


@muniment.command()
@url_option
@click.option("--all", "everywhere", is_flag=True, help="Of every service that you are signed in to.")
@env_option
@json_option
def logout(url: str | None, everywhere: bool, env: str | None, as_json: bool) -> None:
    """Sign out.

    The provider revokes the sign-in, and it is kept no longer.
    """
    from kedro_muniment.command_line import entering, showing

    told = entering.signed_out(url, everywhere=everywhere, env=env)
    showing.show({"signed_out": told}, as_json, lambda: entering.logout_lines(told))


@muniment.command()
@url_option
@env_option
@json_option
def whoami(url: str | None, env: str | None, as_json: bool) -> None:
    """Who you are to the service.

    Subject, groups, attributes and roles; by which credential, and until when.
    """
    from kedro_muniment.command_line import project, showing

    service = project.service_at(url, env)
    answer = service.whoami()
    ends = service.token.until()
    told: dict[str, Any] = {
        "service": service.url,
        "credential": service.token.source,
        "until": ends.isoformat() if ends else None,
    }
    told |= answer
    said = {**told, "until": showing.moment(ends) if ends else None}
    showing.show(told, as_json, lambda: showing.pairs({key: held for key, held in said.items() if held}))


# --- what is there -------------------------------------------------------------------------------


@muniment.command(
    name="list",
    epilog=examples(
        "kedro muniment list",
        "kedro muniment list orders",
        "kedro muniment list --domain sales --action save --env prod",
    ),
)
@click.argument("search", default="", shell_complete=completing.datasets)
@click.option("--domain", "-d", default=None, help="Only of this domain and those below it.")
@click.option("--action", "-a", default=None, type=click.Choice(["load", "save"]), help="Only what you may do this to.")
@catalog_from_option
@env_option
@json_option
def list_(
    search: str, domain: str | None, action: str | None, catalog_from: Path | None, env: str | None, as_json: bool
) -> None:
    """What is governed here, and what you may do.

    The governed datasets of this project, by both names.
    SEARCH is looked for in both names and in the type.
    """
    from kedro_muniment.command_line import describing, project, showing

    with project.governed(env, catalog_from=catalog_from) as governed:
        entries = describing.governed_entries(governed, search=search, domain=domain, action=action)
        lease = governed.lease
        told = {
            "subject": lease.subject,
            "environment": lease.environment,
            "revision": lease.revision,
            "datasets": [describing.as_json(entry, governed) for entry in entries],
            "patterns": {name: list(actions) for name, actions in lease.patterns.items()},
        }
        lines = [describing.line(entry, governed) for entry in entries]
        notes = list(describing.notes(entries, governed))
    showing.show(
        told,
        as_json,
        lambda: [governed.summary(), *lines, *notes],
        lambda: describing.table(entries, governed),
    )


@muniment.command(epilog=examples("kedro muniment show orders", "kedro muniment show sales.orders --env prod --json"))
@click.argument("name", shell_complete=completing.datasets)
@catalog_from_option
@params_option
@env_option
@json_option
def show(name: str, catalog_from: Path | None, params: dict[str, Any], env: str | None, as_json: bool) -> None:
    """One dataset, and where it comes from.

    NAME is the one here or in Muniment. You are shown its definition, what you may do, and why it is not usable.
    """
    from kedro_muniment.command_line import describing, project, showing

    with project.governed(env, params=params, catalog_from=catalog_from) as governed:
        found = (entry for entry in governed.merged.entries.values() if name in {entry.name, entry.governed})
        entry = next(found, None) or governed.merged.entry_for(name)
        if entry is None:
            raise Denied(f"{name} does not exist, or you may not know of it. See: kedro muniment list")
        told = describing.in_full(name, entry, governed, project.loader(env))
    showing.show(told, as_json, lambda: describing.full_lines(told))


@muniment.command(
    epilog=examples("kedro muniment why orders", "kedro muniment why sales.orders --action save --environment prod")
)
@click.argument("name", shell_complete=completing.datasets)
@click.option("--action", default="load", show_default=True, type=click.Choice(["discover", "load", "save"]))
@click.option("--environment", default=None, help="The service's environment, whatever Kedro's is.")
@env_option
@json_option
def why(name: str, action: str, environment: str | None, env: str | None, as_json: bool) -> None:
    """Why you may, or may not, use a dataset.

    Exits with 1 where you may not.
    """
    from kedro_muniment import pages
    from kedro_muniment.command_line import project, showing

    service, config, asked = project.service(env, environment)
    meant = project.meant(config, name)
    answer = service.explain(asked, action, meant)
    if answer.get("request"):
        answer = {**answer, "page": pages.to_ask(service.url, asked, meant, action)}
    showing.show(answer, as_json, lambda: _explained(answer))
    if answer.get("allowed") is not True:
        raise click.exceptions.Exit(Denied.exit_code)


def _explained(answer: Mapping[str, Any]) -> Iterator[str]:
    """A decision as a person reads it: the answer, what settled it, what would change it, what to do."""
    from kedro_muniment.command_line import showing

    yield f"{'Yes' if answer.get('allowed') is True else 'No'}: {plain(answer.get('reason') or 'no reason was given')}."
    said = {
        "settled by": [f"{each['id']} ({each['effect']}): {each['reason']}" for each in answer.get("rules") or ()],
        "would be yes with": answer.get("missing"),
        "withheld by": answer.get("obligations"),
        "owner to ask": answer.get("owner"),
        "ask with": answer.get("request"),
        "or here": answer.get("page"),
    }
    yield from (f"  {line}" for line in showing.pairs({key: held for key, held in said.items() if held}))


# --- what is not there yet --------------------------------------------------------------------------

for command in access.COMMANDS:
    muniment.add_command(command)


# --- before a run --------------------------------------------------------------------------------


@muniment.command(
    epilog=examples(
        "kedro muniment check",
        "kedro muniment check --pipeline reporting --env prod",
        "kedro muniment check --from-nodes clean_orders --tags nightly --json",
        "kedro muniment check --catalog-from tests/catalog.yml       (without a service)",
    )
)
@click.option(
    "--pipeline",
    "-p",
    "pipelines",
    multiple=True,
    help="A registered pipeline; may be repeated. Default: __default__.",
    shell_complete=completing.pipelines,
)
@click.option("--pipelines", "more", default="", callback=listed, help="Several of them, between commas.")
@selectors
@params_option
@catalog_from_option
@env_option
@json_option
def check(
    pipelines: tuple[str, ...],
    more: list[str],
    params: dict[str, Any],
    catalog_from: Path | None,
    env: str | None,
    as_json: bool,
    **filters: list[str],
) -> None:
    """Say whether a run may happen, and run nothing.

    It asks what a run as you asks, for CI too, and selects nodes as `kedro run` does: several pipelines are one run.
    Exits with 1 where the run may not happen.
    """
    from kedro_muniment.command_line import project, showing

    names = tuple(dict.fromkeys((*pipelines, *more)))
    with project.governed(env, params=params, catalog_from=catalog_from) as governed:
        verdict = governed.ask(project.pipeline(names, filters))
    told = {"pipelines": list(names) or ["__default__"], **verdict.as_json()}
    showing.show(told, as_json, lambda: [verdict.told()])
    if verdict.refusals:
        raise click.exceptions.Exit(Denied.exit_code)


@muniment.command(
    epilog=examples(
        "kedro muniment record tests/catalog.yml --data tests/data", "MUNIMENT_CATALOG_FROM=tests/catalog.yml kedro run"
    )
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--all", "everything", is_flag=True, help="All that is yours, and not only what this project uses.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="A folder of the project where the tests' files lie, instead of where the service says.",
)
@click.option("--force", is_flag=True, help="Write over a file that was written by hand.")
@env_option
@json_option
def record(file: Path, everything: bool, data: Path | None, force: bool, env: str | None, as_json: bool) -> None:
    """Write what is yours to a file, for tests.

    They run without the service then. The file is a Kedro catalog that can be read and edited, with what may be done
    with each dataset. It holds no secret. Tests use it by MUNIMENT_CATALOG_FROM=FILE, and `kedro muniment check
    --catalog-from FILE` does.
    """
    from kedro_muniment.command_line import project, showing
    from kedro_muniment.leases import recorded

    if project.recording() is not None:
        raise click.UsageError("MUNIMENT_CATALOG_FROM is set: a recording is not recorded again. Unset it first.")
    recorded.refuse_by_hand(file, force=force)
    with project.governed(env) as governed:
        used = None if everything else project.dataset_names()
        text, names = recorded.written(governed, used, data)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    told = {"file": str(file), "environment": governed.lease.environment, "datasets": names}
    showing.show(told, as_json, lambda: [f"Wrote {len(names)} datasets to {file}. Read it before you commit it."])


@muniment.command()
@env_option
@json_option
def doctor(env: str | None, as_json: bool) -> None:
    """Go through everything, and say what is wrong.

    Versions, settings, sign-in, service, clock, lease and what is usable. Exits with the code of the first that is
    wrong.
    """
    from kedro_muniment.command_line import examining, showing

    findings, code = examining.examined(env)
    told = {"steps": [finding.as_json() for finding in findings]}
    showing.show(told, as_json, lambda: [finding.line() for finding in findings])
    raise click.exceptions.Exit(code)
