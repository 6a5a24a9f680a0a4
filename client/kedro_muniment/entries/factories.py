"""Names that the service's factory patterns make: asked for one by one, before Kedro reads its catalog.

The service resolves patterns itself, because each name that a pattern makes is decided on for itself: a catalog that
held the pattern would give Kedro every such name. So the client says which names the project uses: those that its
`names:` and its pipelines name, that are governed, or may be by a pattern of `names:`, and that the lease does not give
by their own names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kedro_muniment.config import Config
from kedro_muniment.entries.definitions import is_name
from kedro_muniment.naming import Naming, is_parameter
from kedro_muniment.problems import Unreachable, plain

if TYPE_CHECKING:
    from kedro_muniment.leases.lease import Lease

#: How many characters of names stand in one question: an address must pass every proxy on its way.
LONGEST_QUESTION: Final = 4_000

logger = logging.getLogger("kedro_muniment")


def with_made_names(
    fetch: Callable[[Mapping[str, str]], Lease],
    asked: Mapping[str, str],
    lease: Lease,
    config: Config,
    own: Container[str],
    used: Collection[str],
) -> Lease:
    """The lease, and with it what is given of the further names that the project uses.

    Without the service the names that nobody has asked for before are not given: a run that needs none of them goes on.
    """
    for names in questions(_further(lease, config, own, used)):
        try:
            lease = joined(lease, fetch({**asked, "names": ",".join(names)}))
        except Unreachable:
            if lease.away is None:
                raise
    return lease


def joined(lease: Lease, more: Lease) -> Lease:
    """Both as one, which ends with the first of them."""
    return replace(
        lease,
        catalog={**lease.catalog, **more.catalog},
        actions={**lease.actions, **more.actions},
        ends={**lease.ends, **more.ends},
        obliged=lease.obliged | more.obliged,
        notices={**lease.notices, **more.notices},
        until=min(lease.until, more.until),
        away=lease.away or more.away,
        made=lease.made | more.catalog.keys(),
    )


def _further(lease: Lease, config: Config, own: Container[str], used: Collection[str]) -> list[str]:
    naming = Naming.of(config, lease)
    wanted = {governed for name in used if (governed := _wanted(name, naming, config, own)) is not None}
    return sorted(name for name in wanted.union(naming.names.exact.values()) - lease.catalog.keys() if is_name(name))


def _wanted(name: str, naming: Naming, config: Config, own: Container[str]) -> str | None:
    """The governed name to ask for, if the project does not define this one for itself."""
    governed = naming.governed(name)
    if governed is None:
        return None if name in own else naming.leaves(name)
    return None if name in own and config.precedence_of(name, governed) == "local" else governed


def named_in_pipelines() -> frozenset[str]:
    """The datasets of the project's pipelines. Kedro reads these for every run, and says itself what is wrong there."""
    from kedro.framework.project import pipelines

    try:
        read: list[Any] = list(pipelines.values())
    except Exception as error:  # noqa: BLE001 - a project's own code can raise anything, and has its own reader
        logger.warning("The project's pipelines cannot be read (%s). Their names are not asked for.", plain(error))
        return frozenset()
    named = {name for pipeline in read for name in pipeline.datasets()}
    return frozenset(name for name in named if not is_parameter(name))


def questions(names: Iterable[str]) -> Iterator[list[str]]:
    """The names in as many questions as it takes."""
    asked: list[str] = []
    for name in names:
        if asked and sum(map(len, asked)) + len(asked) + len(name) > LONGEST_QUESTION:
            yield asked
            asked = []
        asked.append(name)
    if asked:
        yield asked
