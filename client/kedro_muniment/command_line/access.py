"""``kedro muniment request`` and the commands beside it: to ask for access, and to decide on what others ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from kedro_muniment.command_line import completing, project, showing
from kedro_muniment.command_line.options import env_option, examples, json_option, url_option
from kedro_muniment.problems import Denied, plain

if TYPE_CHECKING:
    from kedro_muniment.service import Service


@click.command(
    epilog=examples(
        'kedro muniment request orders --because "the quarterly report"',
        "kedro muniment request sales.orders sales.targets --load --environment prod --until 2027-03-31",
    )
)
@click.argument("datasets", nargs=-1, required=True, shell_complete=completing.datasets)
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
    """Ask for access to datasets.

    DATASETS are names here or in Muniment. Those of several domains become a request for each.
    """
    from kedro_muniment.command_line import requests

    service, config, asked = project.service(env, environments[0] if environments else None)
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
    for names in requests.by_domain(project.meant(config, name) for name in datasets):
        made.append(service.request(wished, names))
        if not as_json:  # Each as it is made: a later one may be refused.
            showing.show(made[-1], as_json, partial(_with_page, service, made[-1]))
    if as_json:
        showing.show({"requests": made}, as_json, list)


@click.command(
    epilog=examples(
        "kedro muniment renew 0191d7a4-…",
        'kedro muniment renew req-0191d7a4-… --until 2027-06-30 --because "the report goes on"',
    )
)
@click.argument("request_id")
@click.option("--until", default=None, help="Until when: a day such as 2027-03-31, or a moment (RFC 3339).")
@click.option("--because", default=None, help="Why you still need it; else the reason is the same as before.")
@url_option
@env_option
@json_option
def renew(
    request_id: str, until: str | None, because: str | None, url: str | None, env: str | None, as_json: bool
) -> None:
    """Ask for access that you have once more.

    REQUEST_ID is the request by which you got it, or the grant (req-…). It is asked for as it was given.
    """
    from kedro_muniment.command_line import requests

    service = project.service_at(url, env)
    wished = {"grant": _grant_of(service, request_id), "because": because}
    wished["until"] = requests.moment(until) if until is not None else None
    told = service.renew({key: value for key, value in wished.items() if value is not None})
    showing.show(told, as_json, lambda: _with_page(service, told))


def _grant_of(service: Service, named: str) -> str:
    """The grant that is meant: a request has made at least one, and any of them stands for all."""
    try:
        request = str(UUID(named))
    except ValueError:
        return named.removeprefix("grant:")
    grants = service.asked(request)["grants"]
    if not grants:
        raise Denied(f"Request {request} gave no access that could be asked for again. See: kedro muniment requests")
    return str(grants[0])


def _with_page(service: Service, request: Mapping[str, Any]) -> Iterator[str]:
    """A request as a person reads it, and the page that says where it stands."""
    from kedro_muniment import pages
    from kedro_muniment.command_line import requests

    yield from requests.lines(request)
    yield f"  see: {pages.of_request(service.url, plain(request['id']))}"


@click.command(name="requests", epilog=examples("kedro muniment requests", "kedro muniment requests --to-decide"))
@click.option("--to-decide", is_flag=True, help="Those of others that wait for your decision, instead of your own.")
@click.option("--state", default=None, type=click.Choice(["pending", "approved", "denied", "withdrawn", "expired"]))
@url_option
@env_option
@json_option
def requests_(to_decide: bool, state: str | None, url: str | None, env: str | None, as_json: bool) -> None:
    """Your requests, or those that wait for you.

    Requests for access, and what became of them.
    """
    from kedro_muniment.command_line import requests

    service = project.service_at(url, env)
    asked = {"mine": "false", "state": state or "pending"} if to_decide else {"mine": "true"}
    found = list(requests.every(service, {**asked, **({"state": state} if state else {})}))
    if to_decide and state is None:
        found = [each for each in found if each["may_decide"]]
    told = [line for each in found for line in requests.lines(each)]
    showing.show({"requests": found}, as_json, lambda: told or ["There are none."])


@click.command(
    epilog=examples(
        "kedro muniment approve 0191d7a4-…",
        'kedro muniment approve 0191d7a4-… --load --until 2027-03-31 --comment "for the report"',
    )
)
@click.argument("request_id")
@click.option("--load", is_flag=True, help="Only to load.")
@click.option("--save", is_flag=True, help="Only to save.")
@click.option("--dataset", "datasets", multiple=True, help="Only this dataset; may be repeated.")
@click.option("--environment", "environments", multiple=True, help="Only in this environment; may be repeated.")
@click.option("--until", default=None, help="No longer than until this day or moment.")
@click.option("--comment", default="", help="What you want said with it.")
@url_option
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
    url: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Approve a request, or a part of it.

    The approval is the grant.
    """
    from kedro_muniment.command_line import requests

    left = {
        "actions": _actions(load, save),
        "datasets": list(datasets),
        "environments": list(environments),
        "until": requests.moment(until) if until else None,
    }
    _decide(url, env, as_json, request_id, "approve", {"comment": comment, **{k: v for k, v in left.items() if v}})


@click.command()
@click.argument("request_id")
@click.option("--because", prompt="Because", help="Why not; asked for if not given.")
@url_option
@env_option
@json_option
def deny(request_id: str, because: str, url: str | None, env: str | None, as_json: bool) -> None:
    """Deny a request, and say why."""
    _decide(url, env, as_json, request_id, "deny", {"because": because})


@click.command()
@click.argument("request_id")
@click.option("--because", default="", help="Why, if that helps anybody.")
@url_option
@env_option
@json_option
def withdraw(request_id: str, because: str, url: str | None, env: str | None, as_json: bool) -> None:
    """Take your own request back."""
    _decide(url, env, as_json, request_id, "withdraw", {"because": because})


def _decide(
    url: str | None, env: str | None, as_json: bool, request_id: str, verb: str, said: Mapping[str, object]
) -> None:
    from kedro_muniment.command_line import requests

    told = project.service_at(url, env).decide(request_id, verb, said)
    showing.show(told, as_json, lambda: requests.lines(told))


def _actions(load: bool, save: bool) -> list[str]:
    return [action for action, wanted in (("load", load), ("save", save)) if wanted]


COMMANDS: Final = (request, renew, requests_, approve, deny, withdraw)
