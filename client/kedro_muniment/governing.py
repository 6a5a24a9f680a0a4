"""One Kedro context under Muniment: settings, lease and merged catalog, from context to run.

This is the whole of what happens, in order: read the settings, sign in, fetch the lease and the further names that the
project uses, check and merge, give Kedro the merged catalog; later, before a run, ask whether it may happen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException

from kedro_muniment import lease as leases
from kedro_muniment import preflight
from kedro_muniment.config import Config, kedro_env
from kedro_muniment.credentials import Credentials
from kedro_muniment.definitions import Building
from kedro_muniment.factories import with_made_names
from kedro_muniment.lease import Lease
from kedro_muniment.merging import Merged, both_names, merge
from kedro_muniment.problems import RunRefused
from kedro_muniment.service import Service
from kedro_muniment.signing_in import token

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader
    from kedro.framework.context import KedroContext
    from kedro.pipeline import Pipeline

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Governed:
    """A context whose catalog is governed."""

    #: Environment, project and purpose, as every question says them.
    asked: Mapping[str, str]
    service: Service
    lease: Lease
    merged: Merged

    def ask(self, pipeline: Pipeline) -> preflight.Verdict:
        return preflight.ask(self.service, self.asked, self.lease, self.merged, pipeline)

    def refuse_unless(self, action: str, name: str) -> None:
        """The lease's own word on one use, at the moment of the use."""
        if self.merged.naming.governed(name) is None or self.merged.stands_in(name):
            return
        entry = self.merged.entry_for(name)
        shown = both_names(name, self.merged.naming.governed(name))
        if entry is not None and entry.refusal is None and action not in entry.actions:
            allowed = " and ".join(entry.actions) or "nothing"
            raise RunRefused(f"{shown}: you may {allowed}, not {action}. Ask why: kedro muniment why {entry.governed}")
        if entry is not None and entry.end is not None and entry.end <= datetime.now(UTC):
            raise RunRefused(f"{shown}: your access has ended. Ask why: kedro muniment why {entry.governed}")

    def summary(self) -> str:
        served = self.merged.served()
        read_only = sum(entry.actions == ("load",) for entry in served)
        refused = sum(entry.refusal is not None for entry in served)
        details = [f"{read_only} read-only"] if read_only else []
        details += [f"{refused} refused here"] if refused else []
        counted = f"{len(served)} governed dataset" + ("" if len(served) == 1 else "s")
        counted += f" ({', '.join(details)})" if details else ""
        return f"{counted} as {self.lease.subject}, env {self.lease.environment}, revision {self.lease.revision}"


def govern(context: KedroContext, config: Config) -> Governed:
    """Fetch what the user may use, and make it the context's catalog."""
    loader = context.config_loader
    asked = config.asking(kedro_env(loader))
    service = Service(config.url, token(config.url))
    own = _own(loader, "catalog")
    lease = with_made_names(service, asked, leases.fetch(service, asked), config, own)
    building = Building(
        context.project_path,
        config.types,
        config.allow_code_formats,
        config.project_paths,
        loader.runtime_params or {},
    )
    merged = merge(own, lease, config, building)
    loader["catalog"] = merged.catalog()
    if any(_names_credentials(entry.definition) for entry in merged.served()):
        loader["credentials"] = Credentials(_own(loader, "credentials"))
    governed = Governed(asked, service, lease, merged)
    if config.governed is None and not lease.catalog:
        logger.warning(
            "Muniment gives you nothing in %s, and muniment.yml does not say which names are governed: all but those "
            'under `names:` and in their domains count as the project\'s own. Write them: governed: ["sales.*"].',
            lease.environment,
        )
    _say(governed.summary())
    return governed


def _own(loader: AbstractConfigLoader, key: str) -> dict[str, Any]:
    """What the project itself configures; a project may have none."""
    try:
        return dict(loader[key])
    except MissingConfigException:
        return {}


def _names_credentials(definition: Any) -> bool:
    if not isinstance(definition, dict):
        return False
    return "credentials" in definition or any(_names_credentials(held) for held in definition.values())


def _say(line: str) -> None:
    """Shown like Kedro's own lines, unless the project's logging says otherwise about this logger."""
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.info(line)
