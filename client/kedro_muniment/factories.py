"""Names that the service's factory patterns make: asked for one by one, before Kedro reads its catalog.

The service resolves patterns itself, because each name that a pattern makes is decided on for itself: a catalog that
held the pattern would give Kedro every such name. So the client says which names the project uses: those that its
`names:` and its pipelines name, that are governed, and that the lease does not give by their own names.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kedro_muniment import lease as leases
from kedro_muniment.config import Config
from kedro_muniment.definitions import is_name
from kedro_muniment.merging import Naming
from kedro_muniment.problems import plain

if TYPE_CHECKING:
    from kedro_muniment.lease import Lease
    from kedro_muniment.service import Service

#: How many characters of names stand in one question: an address must pass every proxy on its way.
LONGEST_QUESTION: Final = 4_000

logger = logging.getLogger("kedro_muniment")


def with_made_names(
    service: Service, asked: Mapping[str, str], lease: Lease, config: Config, own: Container[str]
) -> Lease:
    """The lease, and with it what the service gives of the further names that the project uses."""
    for names in _questions(_further(lease, config, own)):
        more = leases.fetch(service, {**asked, "names": ",".join(names)})
        lease = replace(
            lease,
            catalog={**lease.catalog, **more.catalog},
            actions={**lease.actions, **more.actions},
            ends={**lease.ends, **more.ends},
            obliged=lease.obliged | more.obliged,
        )
    return lease


def _further(lease: Lease, config: Config, own: Container[str]) -> list[str]:
    naming = Naming.of(config, lease)
    named = {name: naming.governed(name) for name in _named_in_pipelines()}
    used = {governed for name, governed in named.items() if governed and not _is_own(name, governed, config, own)}
    wanted = {name for name in used.union(config.names.values()) if is_name(name)}
    return sorted(wanted - lease.catalog.keys())


def _is_own(name: str, governed: str, config: Config, own: Container[str]) -> bool:
    """Whether the project's own definition is used for a governed name, because ``precedence:`` says so."""
    return name in own and config.precedence_of(name, governed) == "local"


def _named_in_pipelines() -> set[str]:
    """The datasets of the project's pipelines. Kedro reads these for every run, and says itself what is wrong there."""
    from kedro.framework.project import pipelines

    try:
        read: list[Any] = list(pipelines.values())
    except Exception as error:  # noqa: BLE001 - a project's own code can raise anything, and has its own reader
        logger.warning("The project's pipelines cannot be read (%s). Their names are not asked for.", plain(error))
        return set()
    named = {name for pipeline in read for name in pipeline.datasets()}
    return {name for name in named if name != "parameters" and not name.startswith("params:")}


def _questions(names: Iterable[str]) -> Iterator[list[str]]:
    asked: list[str] = []
    for name in names:
        if asked and sum(map(len, asked)) + len(asked) + len(name) > LONGEST_QUESTION:
            yield asked
            asked = []
        asked.append(name)
    if asked:
        yield asked
