"""How answers look: a table for a person in a terminal, of any width; lines for everybody else."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections import Counter
from dataclasses import replace

import pytest

from kedro_muniment.command_line import showing
from kedro_muniment.command_line.showing import Table

TABLE = Table(
    "2 governed datasets as user:ann",
    ["here", "in Muniment", "you may", "until", "what to know"],
    [
        ("orders", "sales.orders", "load", "", "[red]deprecated[/red]; use sales.order_lines"),
        ("report", "sales.report", "load and save", "", ""),
    ],
    ["  sales.{region}_orders: load"],
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of a given width, and what is shown in it."""

    def shown(width, **env):
        for name, value in {"COLUMNS": str(width), "TERM": "xterm-256color", **env}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", Terminal())
        showing.show({"told": 1}, False, lambda: ["a line"], lambda: TABLE)
        return sys.stdout.getvalue()

    return shown


def letters(text):
    return Counter(character for character in text if character.isalnum())


@pytest.mark.parametrize("width", [30, 60, 200])
def test_a_table_fits_its_terminal_and_loses_nothing(terminal, width):
    told = terminal(width, NO_COLOR="1")
    assert all(len(line) <= width for line in told.splitlines())
    shown = [TABLE.title, *TABLE.notes, *(cell for row in (TABLE.columns, *TABLE.rows) for cell in row)]
    shown.remove("until")  # a column that is empty is left out
    assert letters(told) == letters("".join(shown))
    if width == 200:
        assert "[red]deprecated[/red]; use sales.order_lines" in told, "markup in a text is text"
        assert "sales.{region}_orders: load" in told


def test_the_title_of_a_narrow_table_is_not_broken(terminal, monkeypatch):
    monkeypatch.setattr(
        f"{__name__}.TABLE", replace(TABLE, title="a title much wider than it", rows=[("a", *[""] * 4)])
    )
    assert "a title much wider than it\n" in terminal(60, NO_COLOR="1")


def test_colours_are_left_out_where_nobody_wants_them(terminal):
    assert "\x1b[" in terminal(80)
    assert "\x1b[" not in terminal(80, NO_COLOR="1")


def test_a_terminal_that_cannot_draw_and_a_pipe_get_lines(terminal, capsys):
    assert terminal(80, TERM="dumb") == "a line\n"


def test_a_pipe_gets_lines_and_a_script_gets_one_document(capsys):
    showing.show({"told": 1}, False, lambda: ["a line"], lambda: TABLE)
    showing.show({"told": 1}, True, lambda: ["a line"], lambda: TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a line"
    assert json.loads(lines[-1]) == {"told": 1}


@pytest.fixture
def telemetry():
    """The logger of Kedro's telemetry, as it is before anything was shown."""
    logger = logging.getLogger("kedro_telemetry")
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = True, []
    yield logging.getLogger("kedro_telemetry.plugin")
    logger.propagate, logger.handlers = before


def test_nothing_follows_the_document_on_standard_output(telemetry, capsys):
    """Kedro's telemetry has its say after each command, when the answer was given."""
    to_output = logging.StreamHandler(sys.stdout)
    logging.getLogger().addHandler(to_output)
    showing.show({"told": 1}, True, list)
    telemetry.error("We count you.")
    logging.getLogger().removeHandler(to_output)
    said = capsys.readouterr()
    assert said.out == '{"told": 1}\n'
    assert said.err == "We count you.\n"
