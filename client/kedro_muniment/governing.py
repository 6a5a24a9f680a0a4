"""One project's catalog under Muniment: settings, lease and merged catalog, from Kedro's loader to the run.

This is the whole of what happens, in order: read the settings, sign in, fetch the lease and the further names that the
project uses, check and merge, give Kedro the merged catalog; later, before a run, ask whether it may happen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException

from kedro_muniment import pages
from kedro_muniment.config import Config, kedro_env
from kedro_muniment.entries import guarded, needed, preflight, refused
from kedro_muniment.entries.credentials import Credentials, Own, Secrets
from kedro_muniment.entries.definitions import Building
from kedro_muniment.entries.factories import named_in_pipelines, with_made_names
from kedro_muniment.entries.guarded import Guard, Terms
from kedro_muniment.entries.merging import UNKNOWN, Entry, Merged, merge
from kedro_muniment.leases import following, recorded
from kedro_muniment.leases import lease as leases
from kedro_muniment.leases.lease import Lease
from kedro_muniment.naming import both_names
from kedro_muniment.service import Service
from kedro_muniment.sign_in.signing_in import asker
from kedro_muniment.use import reporting

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader
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

    def ask(self, pipeline: Pipeline, run: str | None = None) -> preflight.Verdict:
        """May this pipeline run? With the id of the run that begins, the ledger joins what it does to this."""
        asked = {**self.asked, "run": run} if run else self.asked
        return preflight.ask(self.service, asked, self.lease, self.merged, pipeline)

    def catalog(self, secrets: Secrets) -> dict[str, Any]:
        """What Kedro is given: each governed dataset under its guard, secrets by their names."""
        terms = Terms.of(self.lease, self.service.url, {} if isinstance(self.service, recorded.Unasked) else self.asked)
        catalog = self.merged.catalog()
        for name, entry in self.merged.entries.items():
            if entry.provenance == "service" and entry.refusal is None:
                catalog[name] = guarded.definition(catalog[name], self._guard(entry, terms), secrets)
            elif entry.refusal == UNKNOWN and entry.governed is not None and terms.asked:
                # Of what is hidden the page says no more than this: so it is named for whatever is not given.
                page = pages.to_ask(self.service.url, self.asked, entry.governed, "load")
                sentence = f"{both_names(entry.name, entry.governed)} {UNKNOWN}. If you know of it, ask for it: {page}"
                catalog[name] = refused.definition(sentence)
        return catalog

    def _guard(self, entry: Entry, terms: Terms) -> Guard:
        governed = entry.governed or entry.name
        given = following.fingerprint(self.lease.catalog[governed])
        return Guard(governed, entry.name, entry.actions, entry.end, terms, given, governed in self.lease.made)

    def summary(self) -> str:
        served = self.merged.served()
        read_only = sum(entry.actions == ("load",) for entry in served)
        refused = sum(entry.refusal is not None for entry in served)
        details = [f"{read_only} read-only"] if read_only else []
        details += [f"{refused} refused here"] if refused else []
        counted = f"{len(served)} governed dataset" + ("" if len(served) == 1 else "s")
        counted += f" ({', '.join(details)})" if details else ""
        return f"{counted} as {self.lease.subject}, env {self.lease.environment}, revision {self.lease.revision}"


def govern(loader: AbstractConfigLoader, project: Path, config: Config) -> Governed:
    """Fetch what the user may use, and make it the catalog that this loader gives."""
    building = Building(
        project,
        config.types,
        config.allow_code_formats,
        config.project_paths,
        loader.runtime_params or {},
    )
    asked = config.asking(kedro_env(loader))
    governed = fetched(_own(loader, "catalog"), config, asked, building, named_in_pipelines())
    own = Own.of(loader) if config.credentials or names_credentials(governed.merged) else Own.none()
    secrets = Secrets(own, config.credentials)
    loader["catalog"] = governed.catalog(secrets)
    if config.credentials:
        loader["credentials"] = Credentials(_own(loader, "credentials"), secrets)
    _say(governed.summary())
    return governed


def fetched(
    own: Mapping[str, Any], config: Config, asked: Mapping[str, str], building: Building, used: frozenset[str]
) -> Governed:
    """The lease and the merged catalog: the project's own entries, and what is given under their names and others."""
    service, fetch = _giver(config, building.project_path)
    names = None if isinstance(service, recorded.Unasked) else needed.names(config, used)
    if names is not None:
        lease = needed.lease(service, fetch, asked, names)
    else:
        lease = with_made_names(fetch, asked, fetch(asked), config, own, used)
        needed.say_less_would_do(config, lease, used)
    reporting.answering(service, lease.subject)
    if config.governed is None and not lease.catalog:
        logger.warning(
            "Muniment gives you nothing in %s, and muniment.yml does not say which names are governed: all but those "
            'under `names:` and in their domains count as the project\'s own. Write them: governed: ["sales.*"].',
            lease.environment,
        )
    return Governed(asked, service, lease, merge(own, lease, config, building, used))


def _giver(config: Config, project: Path) -> tuple[Service, Callable[[Mapping[str, str]], Lease]]:
    """Who is asked for the lease, and how: the service, or a recorded catalog in its place."""
    recording = recorded.named(project)
    if recording is None:
        service = Service(config.url, asker(config.url))
        return service, partial(leases.fetch, service)
    logger.warning(recording.banner())
    return recorded.Unasked.of(recording), recording.lease


def _own(loader: AbstractConfigLoader, key: str) -> dict[str, Any]:
    """What the project itself configures; a project may have none."""
    try:
        return dict(loader[key])
    except MissingConfigException:
        return {}


def names_credentials(merged: Merged) -> bool:
    """Whether anything that is served names credentials. Where nothing does, the project's own are left unread."""
    return any(_holds_credentials(entry.definition) for entry in merged.served())


def _holds_credentials(definition: Any) -> bool:
    if not isinstance(definition, dict):
        return False
    return "credentials" in definition or any(_holds_credentials(held) for held in definition.values())


def _say(line: str) -> None:
    """Shown like Kedro's own lines, unless the project's logging says otherwise about this logger."""
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.info(line)
