"""The project's catalog and the governed one as a single catalog, each name by a stated rule.

A governed name is governed whether or not the service gives it: one that the project defines itself as well is
an error, unless ``precedence:`` says who wins. What is governed and not usable here stands in the catalog as a
refusal (``refused.py``), and never as nothing.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from kedro_muniment import refused
from kedro_muniment.config import Config
from kedro_muniment.definitions import Building, is_name, most_specific
from kedro_muniment.lease import Lease, top_domains
from kedro_muniment.problems import BadConfig, Unusable, plain

UNKNOWN: Final = "does not exist, or you may not know of it"
OBLIGED: Final = (
    "it is given with an obligation, which this version of kedro-muniment cannot keep; "
    "ask its owner, or upgrade the plugin"
)
PROVENANCE: Final[Mapping[str, str]] = {"service": "Muniment", "project": "the project's catalog"}

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Naming:
    """Which of the project's names are governed, and under what name the service knows them."""

    names: Mapping[str, str]
    globs: tuple[str, ...] | None
    domains: frozenset[str]

    @classmethod
    def of(cls, config: Config, lease: Lease) -> Naming:
        return cls(config.names, config.governed, lease.domains | top_domains(config.names.values()))

    def governed(self, name: str) -> str | None:
        """The governed name, or ``None`` for a name that is the project's own. Transcoding is stripped."""
        bare = name.partition("@")[0]
        mapped = self._mapped(name, bare)
        if mapped is not None:
            return mapped
        return bare if self._claimed(bare) else None

    def _mapped(self, name: str, bare: str) -> str | None:
        """By the name itself, or by any other transcoding of it: to Kedro they are one dataset."""
        exact = self.names.get(name) or self.names.get(bare)
        return exact or next((held for local, held in self.names.items() if local.partition("@")[0] == bare), None)

    def _claimed(self, name: str) -> bool:
        if name in self.names.values():
            return True
        if self.globs is None:
            domain, dot, _ = name.partition(".")
            return bool(dot) and domain in self.domains
        return any(fnmatchcase(name, glob) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the merged catalog, and where it comes from."""

    name: str
    definition: Any
    provenance: Literal["service", "project"]
    #: The name that the service knows; for a project's own entry, the governed name that it stands in for.
    governed: str | None = None
    actions: tuple[str, ...] = ()
    #: When the permission ends, where it ends before the lease does.
    end: datetime | None = None
    #: Why this project may not use it, as the end of a sentence.
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged catalog by the project's names."""

    entries: Mapping[str, Entry]
    naming: Naming

    def catalog(self) -> dict[str, Any]:
        """What Kedro is given: plain data, and a copy of its own, because Kedro writes into it."""
        return {name: copy.deepcopy(entry.definition) for name, entry in self.entries.items()}

    def served(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.provenance == "service"]

    def entry_for(self, name: str) -> Entry | None:
        """The entry that Kedro takes for a name: its own, else the most specific of the project's patterns."""
        if name in self.entries:
            return self.entries[name]
        pattern = most_specific(list(self.entries), name)
        return self.entries[pattern] if pattern else None

    def stands_in(self, name: str) -> bool:
        """Whether the project's own entry is used for this governed name, because ``precedence:`` says so."""
        entry = self.entry_for(name)
        return entry is not None and entry.provenance == "project" and entry.governed is not None

    def refusal_of(self, name: str) -> str | None:
        """Why what the service gives may not be used under this name here, as the end of a sentence."""
        entry = self.entry_for(name)
        if entry is None:
            return "is not in this project's catalog under that name; list it under `names:` in muniment.yml"
        if entry.provenance == "project":
            return f"the project's own pattern {entry.name!r} would be used for it; narrow or rename that pattern"
        return entry.refusal


def merge(own: Mapping[str, Any], lease: Lease, config: Config, building: Building) -> Merged:
    naming = Naming.of(config, lease)
    kept = _own_entries(own, naming, config)
    served = _served_entries(lease, config, building)
    return Merged({**served, **kept}, naming)


def _own_entries(own: Mapping[str, Any], naming: Naming, config: Config) -> dict[str, Entry]:
    """The project's entries without those that give way to the governed ones of the same name."""
    kept: dict[str, Entry] = {}
    taken: list[str] = []
    for name, definition in own.items():
        governed = naming.governed(name)
        choice = config.precedence_of(name, governed) if governed else "local"
        if choice == "local":
            kept[name] = Entry(name, definition, "project", governed)
        elif choice == "error":
            taken.append(both_names(name, governed))
        elif choice == "warn":
            logger.warning(
                "The project's own definition of %s is not used: it is governed.", both_names(name, governed)
            )
    if taken:
        raise BadConfig(
            f"The project's catalog defines governed names itself: {', '.join(sorted(taken))}. Take them out of "
            "catalog.yml, or say under `precedence:` in muniment.yml who wins for each: governed, warn or local."
        )
    return kept


def _served_entries(lease: Lease, config: Config, building: Building) -> dict[str, Entry]:
    """Each governed dataset under the project's names for it, else under its own."""
    entries: dict[str, Entry] = {}
    mapped = set(config.names.values())
    for governed, definition in lease.catalog.items():
        if not is_name(governed):
            # Not even as a refusal: Kedro would resolve other names by a pattern, denied ones and the project's own.
            logger.warning("The service gave an entry named %r, which no governed dataset can have.", plain(governed))
        elif governed not in mapped:
            entries[governed] = _entry(governed, governed, definition, lease, building)
    entries.update(_withheld_names(lease))
    for local, governed in config.names.items():
        if governed in lease.catalog:
            entries[local] = _entry(local, governed, lease.catalog[governed], lease, building)
        else:
            sentence = f"{both_names(local, governed)} {UNKNOWN}."
            entries[local] = Entry(local, refused.definition(sentence), "service", governed, refusal=UNKNOWN)
    return entries


def _withheld_names(lease: Lease) -> Iterator[tuple[str, Entry]]:
    """Names that are given under an obligation and without a definition: each stands there as a refusal."""
    for governed in sorted(lease.obliged - lease.catalog.keys()):
        if is_name(governed):
            sentence = f"{governed} is not usable here: {OBLIGED}."
            yield governed, Entry(governed, refused.definition(sentence), "service", governed, refusal=OBLIGED)


def _entry(local: str, governed: str, definition: Any, lease: Lease, building: Building) -> Entry:
    """What is served, if this project may build it."""
    actions = tuple(lease.actions.get(governed, ()))
    end = lease.ends.get(governed)
    try:
        if governed in lease.obliged:
            raise Unusable(OBLIGED)  # noqa: TRY301 - it ends as every other reason does
        return Entry(local, building.usable(definition), "service", governed, actions, end)
    except Unusable as reason:
        why = plain(reason)
        sentence = f"{both_names(local, governed)} is served and not usable here: {why}."
        return Entry(local, refused.definition(sentence), "service", governed, actions, end, why)


def both_names(local: str, governed: str | None) -> str:
    """A dataset as people see it: the project's name, and the governed one where it differs."""
    return local if governed is None or local == governed else f"{local} ({governed})"
