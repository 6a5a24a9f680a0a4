"""``muniment starters check``: what the platform team's folder says, before anything is put in place.

It asks no service: the folder is read as the service would read it, and laid over what this release brings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from muniment.core.problems import Invalid

if TYPE_CHECKING:
    from muniment.core.starters.offers import Offer, Shelf
    from muniment.core.starters.telling import Difference

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@dataclass(frozen=True)
class _Checked:
    """A folder that can be served, and what becomes of the one that it is to replace."""

    folder: Path
    shelf: Shelf
    before: Path | None
    differences: Sequence[Difference]
    rewritten: Sequence[int]


@click.group()
def starters() -> None:
    """Look after what new projects can be made of."""


@starters.command("check")
@click.argument(
    "folder",
    envvar="MUNIMENT_STARTERS",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
)
@click.option(
    "--instead-of",
    "before",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder that is in place: say what changes, and refuse a version that is not as it was.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(folder: Path, before: Path | None, *, as_json: bool) -> None:
    """Say what a folder of starters offers, before it is put in place.

    Projects are made of every version on trial, with all choices and with none, and each of their files is read. FOLDER
    is MUNIMENT_STARTERS if it is not said. Exit code 1: it cannot be served, or takes away what was given out.
    """
    from muniment.core.starters.offers import rewritten, shelf
    from muniment.core.starters.rendering import check_templates
    from muniment.core.starters.telling import differences

    made = shelf(folder)
    own = made.newest.version.partition("+")[0]
    for number in made.theirs:
        offer = made.of(f"{own}+{number}")
        try:
            check_templates(offer)
        except Invalid as refused:
            raise Invalid(f"version {number}: {refused.detail}", refused.faults) from refused
    held = None if before is None else shelf(before)
    checked = _Checked(
        folder=folder,
        shelf=made,
        before=before,
        differences=[] if held is None else [*differences(held.newest, made.newest)],
        rewritten=() if held is None else rewritten(held, made),
    )
    if as_json:
        click.echo(json.dumps(_as_json(checked), indent=2))
    else:
        for line in _as_told(checked):
            click.echo(line)
    sys.exit(1 if checked.rewritten else 0)


def _as_json(checked: _Checked) -> dict[str, Any]:
    offer = checked.shelf.newest
    return {
        "version": offer.version,
        "versions": [*checked.shelf.theirs],
        "brought": [{"list": key, "id": id_} for key, id_ in sorted(offer.brought)],
        "without": [*offer.without],
        "differences": [
            {"sign": each.sign.value, "list": each.key[0], "id": each.key[1], "said": each.said}
            for each in checked.differences
        ],
        "rewritten": [*checked.rewritten],
    }


def _as_told(checked: _Checked) -> Iterator[str]:
    offer = checked.shelf.newest
    numbers = ", ".join(map(str, checked.shelf.theirs))
    yield f"{checked.folder} can be served, as version {offer.version}. It has: {numbers}."
    yield from _brought(offer)
    if checked.before is not None:
        yield ""
        yield f"Instead of {checked.before}:" if checked.differences else f"It offers the same as {checked.before}."
        for each in checked.differences:
            line = f"  {each.sign.value} {each.key[0]} {each.key[1]}  {each.said}".rstrip()
            yield click.style(line, fg=_COLOURS[each.sign.value])
    for number in checked.rewritten:
        yield (
            f"Version {number} is not as it was, and projects have begun with it: they could not be brought up to date "
            f"any more. Put it back, and make the change in a new version."
        )


def _brought(offer: Offer) -> Iterator[str]:
    from muniment.core.starters.telling import told

    for key, said in told(offer).items():
        if key in offer.brought:
            yield f"  {key[0]} {key[1]}  {said}".rstrip()
    if offer.without:
        yield f"  without {', '.join(offer.without)}"
