"""How a command's answer is shown: as one JSON document, as a table in a terminal, else as lines.

Lines are for pipes and logs: one thing a line, nothing cut off, no colours. A table is made by rich, which Kedro
brings, and which is imported when one is shown.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kedro_muniment.problems import plain

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """What is shown in columns; a column that every row leaves empty is left out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: What stands below it, a line each.
    notes: Sequence[str] = ()

    def drawn(self) -> RichTable:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = [number for number in range(len(self.columns)) if any(row[number] for row in self.rows)]
        drawn = RichTable(box=box.SIMPLE_HEAD)
        for number in shown:
            drawn.add_column(self.columns[number], overflow="fold")
        for row in self.rows:
            # As Text, since rich would read square brackets in a string as its own markup.
            drawn.add_row(*(Text(row[number]) for number in shown))
        return drawn


def show(
    told: Any, as_json: bool, lines: Callable[[], Iterable[str]], table: Callable[[], Table] | None = None
) -> None:
    """The answer in the form that is asked for, or that fits where it goes."""
    if as_json:
        _let_nothing_follow()
        click.echo(json.dumps(told, default=str))
    elif table is not None and in_terminal():
        _draw(table())
    else:
        for line in lines():
            click.echo(line)


def _let_nothing_follow() -> None:
    """Kedro's telemetry says after a command, on standard output, that it was sent: it says so on standard error."""
    logger = logging.getLogger("kedro_telemetry")
    if logger.propagate:
        logger.propagate = False
        logger.addHandler(logging.StreamHandler())


def in_terminal() -> bool:
    """Whether a person looks on, in a terminal that can draw."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"


def _draw(table: Table) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)
    # Beside the table and not in it: there rich would break the title at the table's width.
    console.print(Text(table.title, style="bold"))
    if table.rows:
        console.print(table.drawn())
    for note in table.notes:
        console.print(Text(note))


def pairs(told: Mapping[str, Any]) -> list[str]:
    """A mapping as lines, without what is nothing."""
    return [f"{plain(key)}: {_inline(held)}" for key, held in told.items() if held is not None]


def _inline(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(held, str) for held in value):
        return plain(", ".join(value)) or "none"
    return plain(value) if isinstance(value, str) else plain(json.dumps(value, ensure_ascii=False, default=str))


def moment(at: datetime | str) -> str:
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
