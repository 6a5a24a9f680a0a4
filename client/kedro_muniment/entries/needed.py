"""Only what a run needs: the names that the project's pipelines use, in place of everything that its user may.

Whoever may use ten thousand datasets runs a pipeline of twelve. Where ``fetch: needed`` stands in muniment.yml,
``kedro run`` asks for every name that the pipelines and the lines of ``names:`` can mean, and for nothing else; what is
given of them is signed, kept and merged like everything. Every other command, a notebook and a script have the whole.

Which names are governed must not depend on what else is given: so this is for projects whose ``governed:`` says it.
Without the service a run goes on from what was asked for last, be it other names. Decision: 0047.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kedro_muniment.config import Config
from kedro_muniment.entries.definitions import is_name
from kedro_muniment.entries.factories import joined, questions
from kedro_muniment.leases.kept import Shelf
from kedro_muniment.leases.lease import Lease, say_kept
from kedro_muniment.naming import TRANSCODED, Names
from kedro_muniment.problems import Unreachable

if TYPE_CHECKING:
    from kedro_muniment.service import Service

    Fetch = Callable[[Mapping[str, str]], Lease]

NEEDED: Final = "needed"
#: More names than this are asked for as everything.
MOST_NAMES: Final = 500
#: From how many entries on a run that uses few of them is told how to ask for less.
MANY: Final = 1_000

logger = logging.getLogger("kedro_muniment")


def is_run() -> bool:
    """Whether this process is ``kedro run``, or a packaged project's own command."""
    click = sys.modules.get("click")
    context = None if click is None else click.get_current_context(silent=True)
    if context is None or context.command.name != "run":
        return False
    return context.parent is None or context.parent.parent is None


def names(config: Config, used: Collection[str]) -> list[str] | None:
    """What to ask for in place of everything; ``None`` where everything is asked for."""
    if config.fetch != NEEDED or config.governed is None or not is_run():
        return None
    read = Names.of(config.names)
    meant = set(read.exact.values())
    for local in used:
        written = local.partition(TRANSCODED)[0]
        meant.update(name for name in (read.one_by_one(local), read.by_pattern(local), written) if name is not None)
    needed = sorted(filter(is_name, meant))
    return needed if 0 < len(needed) <= MOST_NAMES else None


def lease(service: Service, fetch: Fetch, asked: Mapping[str, str], needed: Sequence[str]) -> Lease:
    """What is given of some names; without the service what was given last, be it of other names, or of all."""
    shelf = Shelf.of(service.url, service.token.bearer(), asked)
    try:
        given = _of(fetch, asked, needed)
    except Unreachable:
        last = shelf.names()
        if not last or list(needed) == last:
            return fetch(asked)
        given = _of(fetch, asked, last)
    if given.away is None:
        shelf.note_names(needed)
    else:
        say_kept(given)
    return given


def say_less_would_do(config: Config, given: Lease, used: Collection[str]) -> None:
    """Tell a run that uses little of much how to ask for less."""
    if config.fetch is None and config.governed is not None and len(given.catalog) > MANY > len(used) and is_run():
        logger.info(
            "Muniment gives you %s datasets, and this project's pipelines use %s names. `fetch: needed` in "
            "muniment.yml lets `kedro run` ask for those alone.",
            f"{len(given.catalog):,}",
            f"{len(used):,}",
        )


def _of(fetch: Fetch, asked: Mapping[str, str], needed: Sequence[str]) -> Lease:
    first, *others = (fetch({**asked, "names": ",".join(part)}) for part in questions(needed))
    given = replace(first, made=frozenset(first.catalog))
    for more in others:
        given = joined(given, more)
    return given
