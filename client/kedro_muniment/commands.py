"""``kedro muniment …``: what a person asks at the keyboard, and what a pipeline's CI asks.

Every command but ``init`` takes ``--json``, and answers with one JSON document on the *last line* of its output:
Kedro itself writes log lines before it. Exit codes: 0 it is so; 1 the service says no (or the pipeline may
not run); 2 wrong usage; 3 not signed in; 4 the service cannot be reached; 5 the project's settings are not
usable; 6 the service refused for another reason.

Kedro imports this module for every command, so it imports nothing that ``--help`` does not need.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kedro_muniment.problems import BadConfig, Denied, MunimentError, plain

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader

    from kedro_muniment.config import Config
    from kedro_muniment.governing import Governed
    from kedro_muniment.merging import Entry
    from kedro_muniment.service import Service
    from kedro_muniment.telling import Telling

TEMPLATE = """\
# Muniment: which of this project's data is governed, and where its catalog comes from.
# Plain YAML: nothing is resolved here. No secrets: sign in with `kedro muniment login`.

# The service's address (MUNIMENT_URL wins over it).
url: {url}

# The service's environment for each of Kedro's (MUNIMENT_ENVIRONMENT wins over it).
environments:
  local: {environment}
# default_environment: {environment}    # for every Kedro environment that is not listed

# Names that begin so are governed: if Muniment does not give one to you, the run is refused before its first node.
governed: {governed}

# This project's own names for governed datasets, so that pipelines need not change.
names: {{}}
#  orders: sales.orders

# Who wins when catalog.yml defines a governed name as well: error, warn, governed or local.
precedence:
  default: error

# project: my-project           # sent along, for policies that ask for it
# purpose: forecasting
# types: [my_package.MyDataset]             # further dataset types that may be built here
# allow_code_formats: [pickle.PickleDataset]   # formats whose content runs as code when loaded
# project_paths: true           # definitions may point into this project (project://data/…)
"""

env_option = click.option("--env", "-e", default=None, help="Kedro configuration environment. Default: local.")
url_option = click.option("--url", default=None, help="The service's address; else MUNIMENT_URL, or the project's.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


# Kedro takes the commands of the group that an entry point names, and shows its docstring to everybody: it has none.
@click.group(name="muniment")
def commands() -> None: ...


@commands.group(name="muniment")
def muniment() -> None:
    """Governed data: what is yours, why, and what a pipeline may use."""


@muniment.command()
@click.option("--url", prompt="Address of the Muniment service", help="For example https://muniment.example.org")
@click.option("--domain", "-d", "domains", multiple=True, help="A domain that this project uses; may be repeated.")
@click.option("--environment", default="dev", show_default=True, help="The service's environment for Kedro's `local`.")
def init(url: str, domains: tuple[str, ...], environment: str) -> None:
    """Write conf/base/muniment.yml, with comments and without secrets."""
    from kedro_muniment import config

    folder = _conf_source() / "base"
    for name in config.FILE_NAMES:
        if (folder / name).exists():
            raise BadConfig(f"{folder / name} is there already. Edit it, or move it away first.")
    try:
        config.KEYS["url"](url)
    except ValueError as error:
        raise BadConfig(f"--url must be {error}.") from None
    file = folder / config.FILE_NAMES[0]
    folder.mkdir(parents=True, exist_ok=True)
    governed = json.dumps([f"{domain}.*" for domain in domains])
    filled = TEMPLATE.format(url=json.dumps(url), environment=json.dumps(environment), governed=governed)
    file.write_text(filled if domains else filled.replace("governed: []", '# governed: ["sales.*"]'), encoding="utf-8")
    click.echo(f"Wrote {file}. Now sign in: kedro muniment login")


@muniment.command()
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
    from kedro_muniment import telling

    told = signed_in(telling.here(), url, device=device, browser=browser, issuer=issuer, port=port, env=env)
    _show(told, as_json, lambda _: [login_line(told)])


def signed_in(
    teller: Telling,
    url: str | None,
    *,
    device: bool = False,
    browser: bool = False,
    issuer: str | None = None,
    port: int = 0,
    env: str | None = None,
) -> dict[str, Any]:
    """Sign in at a service by its address, or at the project's; what came of it."""
    from kedro_muniment import people

    if device and browser:
        raise click.UsageError("Choose one of --device and --browser.")
    way: people.Way | None = "device" if device else "browser" if browser else None
    sign_in, tokens = people.login(_address(url, env), teller, way=way, issuer=issuer, port=port)
    return {
        "service": sign_in.url,
        "issuer": sign_in.issuer,
        "subject": sign_in.subject,
        "until": tokens.ends.isoformat() if tokens.ends else None,
        "renewed": tokens.refresh is not None,
        "kept": sign_in.where(),
        "overridden_by": _overriding(),
    }


def _overriding() -> str | None:
    """The variable of the environment that names a credential, and so goes before what is kept."""
    import os

    from kedro_muniment import jobs

    return next((name for name in jobs.CREDENTIALS if os.environ.get(name, "").strip()), None)


def login_line(told: Mapping[str, Any]) -> str:
    lasting = "it is renewed by itself" if told["renewed"] else f"it ends at {told['until'] or 'a time nobody said'}"
    line = f"Signed in to {told['service']} as {plain(told['subject'])}. Kept in {told['kept']}; {lasting}."
    if told["overridden_by"] is not None:
        line += f" But {told['overridden_by']} is set, and goes before it: unset it to use what you signed in with."
    return line


@muniment.command()
@url_option
@click.option("--all", "everywhere", is_flag=True, help="Of every service that you are signed in to.")
@env_option
@json_option
def logout(url: str | None, everywhere: bool, env: str | None, as_json: bool) -> None:
    """Sign out: the provider revokes the sign-in, and it is kept no longer."""
    told = signed_out(url, everywhere=everywhere, env=env)
    _show({"signed_out": told}, as_json, lambda _: logout_lines(told))


def signed_out(url: str | None, *, everywhere: bool = False, env: str | None = None) -> list[dict[str, Any]]:
    """Sign out of one service or of all; what came of each."""
    from kedro_muniment import keeping, people

    kept = keeping.known(None if everywhere else _address(url, env))
    return [each.as_json() for each in people.logout(kept)]


def logout_lines(told: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"Signed out of {each['url']} ({plain(each['subject'])})."
        + (f" {plain(each['told'])}: until its end the sign-in may live on there." if each["told"] else "")
        for each in told
    ]
    overriding = _overriding()
    still = [f"{overriding} is still set, and is used: unset it to ask as nobody."] if overriding else []
    return [*(lines or ["You were not signed in."]), *still]


@muniment.command()
@url_option
@env_option
@json_option
def whoami(url: str | None, env: str | None, as_json: bool) -> None:
    """Who you are to the service: subject, groups, attributes; by which credential, and until when."""
    from kedro_muniment.service import Service
    from kedro_muniment.signing_in import token

    address = _address(url, env)
    service = Service(address, token(address))
    answer = service.whoami()
    ends = service.token.until()
    told = {"service": address, "credential": service.token.source, "until": ends.isoformat() if ends else None}
    _show({**told, **answer}, as_json, _whoami_lines)


@muniment.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """The governed datasets of this project, and what you may do with each."""
    with _governed(env) as (governed, _):
        told = {
            "subject": governed.lease.subject,
            "environment": governed.lease.environment,
            "revision": governed.lease.revision,
            "datasets": [_entry_json(entry) for entry in _governed_entries(governed)],
            "patterns": {name: list(actions) for name, actions in governed.lease.patterns.items()},
        }
    patterns = [_pattern_line(name, actions) for name, actions in governed.lease.patterns.items()]
    _show(told, as_json, lambda _: [governed.summary(), *map(_entry_line, _governed_entries(governed)), *patterns])


@muniment.command()
@click.argument("name")
@env_option
@json_option
def show(name: str, env: str | None, as_json: bool) -> None:
    """One dataset by its name here or in Muniment: definition, permissions, provenance."""
    with _governed(env) as (governed, _):
        entries = governed.merged.entries.values()
        entry = next((found for found in entries if name in {found.name, found.governed}), None)
        entry = entry or governed.merged.entry_for(name)
        if entry is None:
            raise Denied(f"{name} does not exist, or you may not know of it. See: kedro muniment list")
        told = {**_entry_json(entry), "definition": entry.definition}
    _show(told, as_json, _mapping_lines)


@muniment.command()
@click.argument("name")
@click.option("--action", default="load", show_default=True, type=click.Choice(["discover", "load", "save"]))
@click.option("--environment", default=None, help="The service's environment, whatever Kedro's is.")
@env_option
@json_option
def why(name: str, action: str, environment: str | None, env: str | None, as_json: bool) -> None:
    """Why you may, or may not, use a dataset. Exits with 1 where you may not."""
    service, config, asked = _service(env, environment)
    answer = service.explain(asked, action, config.names.get(name, name))
    _show(answer, as_json, _mapping_lines)
    if answer.get("allowed") is not True:
        raise click.exceptions.Exit(Denied.exit_code)


@muniment.command()
@click.option("--pipeline", "-p", "pipeline_name", default="__default__", help="A registered pipeline's name.")
@env_option
@json_option
def check(pipeline_name: str, env: str | None, as_json: bool) -> None:
    """May this pipeline run as you? Asks what a run asks, and runs nothing. Exits with 1 where it may not."""
    with _governed(env) as (governed, _):
        from kedro.framework.project import pipelines

        pipeline = pipelines.get(pipeline_name)
        if pipeline is None:
            raise click.UsageError(
                f"No pipeline is named {pipeline_name!r}. There are: {', '.join(sorted(pipelines))}."
            )
        verdict = governed.ask(pipeline)
    told = {
        "allowed": not verdict.refusals,
        "subject": verdict.subject,
        "environment": verdict.environment,
        "asked": [{"action": need.action, "dataset": need.governed, "name": need.local} for need in verdict.needs],
        "refusals": [refusal.as_json() for refusal in verdict.refusals],
    }
    count = len(verdict.needs)
    fine = (
        f"{pipeline_name} may run as {verdict.subject} in {verdict.environment}: {count} uses of governed data allowed."
    )
    _show(told, as_json, lambda _: [verdict.told() if verdict.refusals else fine])
    if verdict.refusals:
        raise click.exceptions.Exit(Denied.exit_code)


@muniment.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--load", is_flag=True, help="To load them: what is asked for when nothing is said.")
@click.option("--save", is_flag=True, help="To save them.")
@click.option("--environment", "environments", multiple=True, help="The service's environment; may be repeated.")
@click.option("--until", default=None, help="Until when: a day such as 2027-03-31, or a moment (RFC 3339).")
@click.option("--because", prompt="Because", help="Why you need it; asked for if not given.")
@env_option
@json_option
def request(
    datasets: tuple[str, ...],
    load: bool,
    save: bool,
    environments: tuple[str, ...],
    until: str | None,
    because: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Ask for access to datasets, by their names here or in Muniment. One request for each domain."""
    from kedro_muniment import requests

    service, config, asked = _service(env, environments[0] if environments else None)
    wished: dict[str, Any] = {
        "actions": _actions(load, save) or ["load"],
        "environments": list(environments) or [asked["environment"]],
        "because": because,
    }
    if until is not None:
        wished["until"] = requests.moment(until)
    if config.purpose is not None:
        wished["purpose"] = config.purpose
    made = []
    for names in requests.by_domain(config.names.get(name, name) for name in datasets):
        made.append(service.request({**wished, "datasets": names}))
        if not as_json:
            _show(made[-1], as_json, lambda told: list(requests.lines(told)))
    if as_json:
        _show({"requests": made}, as_json, _mapping_lines)


@muniment.command(name="requests")
@click.option("--to-decide", is_flag=True, help="Those of others that wait for your decision, instead of your own.")
@click.option("--state", default=None, type=click.Choice(["pending", "approved", "denied", "withdrawn", "expired"]))
@env_option
@json_option
def requests_(to_decide: bool, state: str | None, env: str | None, as_json: bool) -> None:
    """Your requests for access and what became of them, or those that wait for your decision."""
    from kedro_muniment import requests

    service, _, _ = _service(env)
    asked = {"mine": "false", "state": state or "pending"} if to_decide else {"mine": "true"}
    found = list(requests.every(service, {**asked, **({"state": state} if state else {})}))
    if to_decide and state is None:
        found = [each for each in found if each["may_decide"]]
    told = [line for each in found for line in requests.lines(each)]
    _show({"requests": found}, as_json, lambda _: told or ["There are none."])


@muniment.command()
@click.argument("request_id")
@click.option("--load", is_flag=True, help="Only to load.")
@click.option("--save", is_flag=True, help="Only to save.")
@click.option("--dataset", "datasets", multiple=True, help="Only this dataset; may be repeated.")
@click.option("--environment", "environments", multiple=True, help="Only in this environment; may be repeated.")
@click.option("--until", default=None, help="No longer than until this day or moment.")
@click.option("--comment", default="", help="What you want said with it.")
@env_option
@json_option
def approve(
    request_id: str,
    load: bool,
    save: bool,
    datasets: tuple[str, ...],
    environments: tuple[str, ...],
    until: str | None,
    comment: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Approve somebody's request for access, or a part of it. The approval is the grant."""
    from kedro_muniment import requests

    left = {
        "actions": _actions(load, save),
        "datasets": list(datasets),
        "environments": list(environments),
        "until": requests.moment(until) if until else None,
    }
    _decide(env, as_json, request_id, "approve", {"comment": comment, **{k: v for k, v in left.items() if v}})


@muniment.command()
@click.argument("request_id")
@click.option("--because", prompt="Because", help="Why not; asked for if not given.")
@env_option
@json_option
def deny(request_id: str, because: str, env: str | None, as_json: bool) -> None:
    """Deny somebody's request for access, and say why."""
    _decide(env, as_json, request_id, "deny", {"because": because})


@muniment.command()
@click.argument("request_id")
@click.option("--because", default="", help="Why, if that helps anybody.")
@env_option
@json_option
def withdraw(request_id: str, because: str, env: str | None, as_json: bool) -> None:
    """Take your own request for access back."""
    _decide(env, as_json, request_id, "withdraw", {"because": because})


def _decide(env: str | None, as_json: bool, request_id: str, verb: str, said: Mapping[str, object]) -> None:
    from kedro_muniment import requests

    service, _, _ = _service(env)
    _show(service.decide(request_id, verb, said), as_json, lambda told: list(requests.lines(told)))


def _actions(load: bool, save: bool) -> list[str]:
    return [action for action, wanted in (("load", load), ("save", save)) if wanted]


@muniment.command()
@env_option
@json_option
def doctor(env: str | None, as_json: bool) -> None:
    """Go through settings, sign-in, service and catalog, and say where it stops."""
    steps: list[dict[str, Any]] = []
    code = 0
    try:
        for step, found in _examination(env):
            steps.append({"step": step, "fine": True, "found": found})
    except MunimentError as problem:
        code = problem.exit_code
        steps.append({"step": "stopped", "fine": False, "found": problem.message})
    _show(
        {"steps": steps},
        as_json,
        lambda _: [f"{'ok ' if s['fine'] else 'NO '} {s['step']}: {s['found']}" for s in steps],
    )
    raise click.exceptions.Exit(code)


def _examination(env: str | None) -> Iterator[tuple[str, str]]:
    from kedro_muniment import jobs

    service, config, asked = _service(env)
    yield "settings", f"{config.url}, environment {asked['environment']}"
    yield "sign-in", jobs.described(config.url) or service.token.source
    yield "service", f"answers, and knows you as {plain(service.whoami().get('subject'))}"
    with _governed(env) as (governed, _):
        yield "catalog", governed.summary()
        refused = [entry for entry in _governed_entries(governed) if entry.refusal]
        yield (
            "usable here",
            "; ".join(f"{entry.name}: {entry.refusal}" for entry in refused) or "everything that is served",
        )


def _conf_source() -> Path:
    from kedro.framework.project import settings

    return _project() / str(settings.CONF_SOURCE)


def _project() -> Path:
    """The project around the current directory, made ready as Kedro does it."""
    from kedro.framework.startup import bootstrap_project
    from kedro.utils import find_kedro_project

    found = find_kedro_project(Path.cwd())
    if found is None:
        raise click.UsageError("This is not inside a Kedro project. Change into one, and run this again.")
    bootstrap_project(Path(found))
    return Path(found)


def _service(env: str | None, environment: str | None = None) -> tuple[Service, Config, dict[str, str]]:
    """The service that this project's settings name, without fetching a catalog from it."""
    from kedro_muniment import config as settings
    from kedro_muniment.service import Service
    from kedro_muniment.signing_in import token

    loader = _loader(env)
    config = _configured(settings.read(loader))
    asked = config.asking(settings.kedro_env(loader), environment)
    return Service(config.url, token(config.url)), config, asked


def _address(url: str | None, env: str | None) -> str:
    """The service's address: as it was given, or as the environment or the project around here says."""
    import os

    from kedro_muniment import config as settings
    from kedro_muniment.people import address

    given = url or os.environ.get("MUNIMENT_URL", "").strip()
    return address(given) if given else address(_configured(settings.read(_loader(env))).url)


def _loader(env: str | None) -> AbstractConfigLoader:
    import os

    from kedro.framework.project import settings

    source = _conf_source()
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(source),
        env=env or os.environ.get("KEDRO_ENV"),
        runtime_params=None,
        **settings.CONFIG_LOADER_ARGS,
    )
    return loader


def _configured(config: Config | None) -> Config:
    if config is None:
        raise BadConfig("Muniment is not configured in this project. Write its settings: kedro muniment init --url …")
    return config


@contextmanager
def _governed(env: str | None) -> Iterator[tuple[Governed, Path]]:
    """The project's context as a run would have it. Only the command's own answer is printed meanwhile."""
    from kedro.framework.session import KedroSession

    from kedro_muniment.hooks import hooks

    project = _project()
    logger = logging.getLogger("kedro_muniment")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        session = KedroSession.create(project_path=project, env=env, save_on_close=False)
        with session:
            governed = hooks.of(session.load_context())
            if governed is None:
                _configured(None)
            else:
                yield governed, project
    finally:
        logger.setLevel(level)


def _governed_entries(governed: Governed) -> list[Entry]:
    entries = governed.merged.entries.values()
    return sorted((entry for entry in entries if entry.governed is not None), key=lambda entry: entry.name)


def _entry_json(entry: Entry) -> dict[str, Any]:
    from kedro_muniment.merging import PROVENANCE

    return {
        "name": entry.name,
        "dataset": entry.governed,
        "actions": list(entry.actions),
        "type": entry.definition.get("type") if isinstance(entry.definition, dict) else None,
        "from": PROVENANCE[entry.provenance],
        "ends": entry.end.isoformat() if entry.end else None,
        "refused": entry.refusal,
    }


def _entry_line(entry: Entry) -> str:
    from kedro_muniment.merging import both_names

    name = both_names(entry.name, entry.governed)
    if entry.refusal is not None:
        return f"  {name}: refused: {entry.refusal}"
    if entry.provenance == "project":
        return f"  {name}: the project's own definition is used, by `precedence:`"
    return f"  {name}: {' and '.join(entry.actions) or 'nothing'}"


def _pattern_line(name: str, actions: Sequence[str]) -> str:
    return f"  {plain(name)}: {plain(' and '.join(actions))}, each name that it makes for itself"


def _whoami_lines(answer: Mapping[str, Any]) -> list[str]:
    return _mapping_lines({key: held for key, held in answer.items() if held not in (None, [], {})})


def _mapping_lines(told: Mapping[str, Any]) -> list[str]:
    return [f"{plain(key)}: {_inline(held)}" for key, held in told.items() if held is not None]


def _inline(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(held, str) for held in value):
        return plain(", ".join(value)) or "none"
    return plain(value) if isinstance(value, str) else plain(json.dumps(value, ensure_ascii=False, default=str))


def _show(told: Any, as_json: bool, lines: Callable[[Any], list[str]]) -> None:
    if as_json:
        click.echo(json.dumps(told, default=str))
        return
    for line in lines(told):
        click.echo(line)
