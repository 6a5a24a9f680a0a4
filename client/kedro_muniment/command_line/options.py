"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kedro_muniment.command_line import completing

Command = TypeVar("Command", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """What stands below a command's help, each example in a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def listed(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Names between commas, read as ``kedro run`` reads them."""
    from kedro.framework.cli.utils import split_node_names

    listed: list[str] = split_node_names(context, parameter, value)
    return listed


def runtime_params(context: click.Context, parameter: click.Parameter, value: str) -> dict[str, Any]:
    """Kedro's own reading of ``--params``, which it offers to nobody else: the two must not differ."""
    from kedro.framework.cli.utils import _split_params

    params: dict[str, Any] = _split_params(context, parameter, value)
    return params


env_option = click.option(
    "--env",
    "-e",
    default=None,
    help="Kedro's environment. Default: local.",
    shell_complete=completing.environments,
)
url_option = click.option("--url", default=None, help="The service's address; else MUNIMENT_URL, or the project's.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, on the last line.")
catalog_from_option = click.option(
    "--catalog-from",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="A recorded catalog in the service's place: see `kedro muniment record`.",
)
params_option = click.option(
    "--params",
    type=click.UNPROCESSED,
    default="",
    callback=runtime_params,
    help="Runtime parameters as for `kedro run`: a=1,b=2.",
)


def selectors(command: Command) -> Command:
    """The options by which ``kedro run`` selects nodes, under the names that ``Pipeline.filter`` has for them."""
    for option, name, help_ in reversed([
        ("--tags", "tags", "Only nodes with one of these tags."),
        ("--nodes", "node_names", "Only these nodes."),
        ("--from-nodes", "from_nodes", "From these nodes on."),
        ("--to-nodes", "to_nodes", "Up to these nodes."),
        ("--from-inputs", "from_inputs", "From these datasets on."),
        ("--to-outputs", "to_outputs", "Up to these datasets."),
        ("--namespaces", "node_namespaces", "Only nodes of these namespaces."),
    ]):  # fmt: skip
        command = click.option(option, name, default="", callback=listed, help=f"{help_} Between commas.")(command)
    return command
