"""How the demonstration speaks: plain text, one line a step with its seconds, tables in columns."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

WIDTH = 118


class DemonstrationFailed(Exception):
    """The demonstration goes no further; the message says what is so and what to do."""


def must(so: bool, otherwise: str) -> None:  # noqa: FBT001 - a statement that has to be true
    """What is shown is checked: a demonstration that cannot fail shows nothing."""
    if not so:
        raise DemonstrationFailed(otherwise)


@dataclass
class Step:
    """One thing that is being done; ``found`` is what came of it."""

    found: str = ""


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Say what is being done while it is done, then how long it took and what came of it."""
    print(f"  {name:<34}", end="", flush=True)
    began = time.monotonic()
    doing = Step()
    try:
        yield doing
    except BaseException:
        print(f"{time.monotonic() - began:6.1f} s  stopped here", flush=True)
        raise
    print(f"{time.monotonic() - began:6.1f} s  {doing.found}", flush=True)


def heading(text: str) -> None:
    """The beginning of a part."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def paragraph(text: str) -> None:
    """Sentences, wrapped."""
    print(textwrap.fill(text, WIDTH), flush=True)


def quoted(text: str) -> None:
    """What somebody else said, as they said it."""
    print(textwrap.indent(text.rstrip(), "  | "), flush=True)


def by_domain(names: Mapping[str, str]) -> None:
    """Names of datasets, each with what is added to it, gathered by domain."""
    gathered: dict[str, list[str]] = {}
    for name, added in sorted(names.items()):
        domain, _, leaf = name.rpartition(".")
        gathered.setdefault(domain, []).append(leaf + added)
    for domain, leaves in gathered.items():
        print(textwrap.fill("  ".join(leaves), WIDTH, initial_indent=f"  {domain:<17} ", subsequent_indent=" " * 20))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their heads, each column as wide as it needs to be."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    for line in (heads, ["-" * width for width in widths], *texts):
        print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
