"""The project's catalog and the governed one as a single catalog, each name by a stated rule.

A governed name is governed whether or not the service gives it: one that the project defines itself as well is
an error, unless ``precedence:`` says who wins. What is governed and not usable here stands in the catalog as a
refusal (``refused.py``), and never as nothing. So does a governed name that the project's pipelines use and the
service does not give: left out, it would become a ``MemoryDataset`` wherever no hook runs.

What Kedro gets holds no pattern of the service. A name that it gives stands before each of the project's own patterns;
one that is no catch-all gives way to it as an entry of that name would (``precedence:``), a catch-all always.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

import parse  # type: ignore[import-untyped]

from kedro_muniment.config import Config, Precedence
from kedro_muniment.entries import refused
from kedro_muniment.entries.definitions import LONGEST_NAME, PLACEHOLDER, Building, is_name, specificity
from kedro_muniment.leases.lease import Lease
from kedro_muniment.naming import TRANSCODED, Naming, both_names, ends_of, is_parameter
from kedro_muniment.problems import BadConfig, Unusable, plain

UNKNOWN: Final = "does not exist, or you may not know of it"
OBLIGED: Final = (
    "it is given with an obligation, which this version of kedro-muniment cannot keep; "
    "ask its owner, or upgrade the plugin"
)
UNLISTED: Final = "is not in this project's catalog under that name; list it under `names:` in muniment.yml"
UNNAMED: Final = (
    "no governed dataset can be called that: governed names are made of a-z, 0-9 and _; "
    "map this one by itself under `names:` in muniment.yml"
)
PROVENANCE: Final[Mapping[str, str]] = {"service": "Muniment", "project": "the project's catalog"}

logger = logging.getLogger("kedro_muniment")


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
    #: The key of ``names:`` that gives it this name; ``None`` where it is called as the service calls it.
    named_by: str | None = None
    #: The service's factory pattern that makes it.
    made_by: str | None = None
    #: The project's own entry, or pattern, that gives way to it.
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Patterns:
    """Factory patterns in Kedro's order."""

    #: Each with what every name that it matches begins and ends with: most are told apart by that alone.
    _ordered: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(cls, names: Collection[str]) -> Patterns:
        patterns = sorted((name for name in names if PLACEHOLDER.search(name)), key=specificity)
        return cls(tuple((name, *ends_of(name.lower())) for name in patterns))

    def match(self, name: str, *, catch_all: bool = True) -> str | None:
        """The pattern that Kedro would take for a name that has no entry. Kedro reads them without regard to case."""
        lower = name.lower()
        for pattern, start, end in self._ordered:
            if not catch_all and not PLACEHOLDER.sub("", pattern):
                continue
            if lower.startswith(start) and lower.endswith(end) and _reads(pattern, name):
                return pattern
        return None


def _reads(pattern: str, name: str) -> bool:
    """Whether a pattern matches; one that cannot be read does not, and Kedro says so itself when it comes to it."""
    try:
        return _compiled(pattern).parse(name) is not None
    except (ValueError, NotImplementedError):
        return False


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> Any:
    return parse.compile(pattern)


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged catalog by the project's names."""

    entries: Mapping[str, Entry]
    naming: Naming
    _patterns: Patterns = field(default_factory=Patterns, repr=False)
    #: Names for which the project's own pattern is used, because ``precedence:`` says so.
    _stood_in_for: frozenset[str] = frozenset()

    def catalog(self) -> dict[str, Any]:
        """What Kedro is given: plain data, and a copy of its own, because Kedro writes into it."""
        return {name: _copied(entry.definition) for name, entry in self.entries.items()}

    def served(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.provenance == "service"]

    def entry_for(self, name: str) -> Entry | None:
        """The entry that Kedro takes for a name: its own, else the most specific of the project's patterns."""
        if name in self.entries:
            return self.entries[name]
        pattern = self._patterns.match(name)
        return self.entries[pattern] if pattern else None

    def governed(self, name: str) -> str | None:
        """The governed name behind a project's name, or ``None`` where the project's own data is used for it.

        Whatever is served under a name is governed, even where the project's settings say nothing of it.
        """
        if self.stands_in(name):
            return None
        governed = self.naming.governed(name)
        if governed is not None:
            return governed
        entry = self.entries.get(name)
        return entry.governed if entry is not None and entry.provenance == "service" else None

    def stands_in(self, name: str) -> bool:
        """Whether the project's own entry is used for this governed name, because ``precedence:`` says so."""
        entry = self.entries.get(name)
        if entry is not None:
            return entry.provenance == "project" and entry.governed is not None
        if name in self._stood_in_for:
            return True
        pattern = self.entry_for(name)
        return pattern is not None and pattern.provenance == "project" and pattern.governed is not None

    def instead_of(self, entry: Entry) -> str | None:
        """The project's own entry that gives way to a served one, or its pattern: catch-alls give way to everything."""
        if entry.provenance == "project" or entry.instead_of is not None:
            return entry.instead_of
        return self._patterns.match(entry.name, catch_all=False)

    def refusal_of(self, name: str) -> str | None:
        """Why what the service gives may not be used under this name here, as the end of a sentence."""
        entry = self.entry_for(name)
        if entry is None:
            return UNLISTED
        if entry.provenance == "project":
            return f"the project's own pattern {entry.name!r} would be used for it; narrow or rename that pattern"
        return entry.refusal


def merge(
    own: Mapping[str, Any], lease: Lease, config: Config, building: Building, used: Collection[str] = ()
) -> Merged:
    """One catalog of both. ``used`` are the names that the project's pipelines use, which patterns may have to make."""
    return _Merging(own, lease, config, building, used).done()


class _Merging:
    """The steps of one merge, over what they share."""

    def __init__(
        self, own: Mapping[str, Any], lease: Lease, config: Config, building: Building, used: Collection[str]
    ) -> None:
        self._own, self._lease, self._config, self._building = own, lease, config, building
        self._used = sorted(name for name in used if not is_parameter(name) and "{" not in name)
        self._used_bare = {name.partition(TRANSCODED)[0] for name in self._used}
        self._naming = Naming.of(config, lease)
        self._patterns = Patterns.of(own.keys())
        self._served_patterns = Patterns.of(lease.patterns.keys())
        self._local_wins = "local" in {config.default_precedence, *config.precedence.values()}
        self._gives_way: dict[str, str] = {}
        self._stood_in_for: set[str] = set()

    def done(self) -> Merged:
        kept = self._own_entries()
        served = {entry.name: entry for entry in self._served_entries(kept)}
        return Merged({**served, **kept}, self._naming, self._patterns, frozenset(self._stood_in_for))

    def _own_entries(self) -> dict[str, Entry]:
        """The project's entries without those that give way to the governed ones of the same name."""
        kept: dict[str, Entry] = {}
        taken: list[str] = []
        for name, definition in self._own.items():
            governed = self._naming.governed(name)
            choice: Precedence = "local" if governed is None else self._config.precedence_of(name, governed)
            if choice == "local":
                kept[name] = Entry(name, definition, "project", governed)
                continue
            self._gives_way[name] = name
            if choice == "error":
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

    def _served_entries(self, kept: Mapping[str, Entry]) -> Iterator[Entry]:
        """Each governed dataset under the project's names for it, else under its own; then what pipelines use."""
        placed: dict[str, str] = {}
        for local, governed, key in self._places():
            if local in kept or self._is_own_by_pattern(local, governed):
                continue
            if placed.setdefault(local, governed) != governed:
                logger.warning(
                    "%s is listed nowhere here, because %s is called %s in this project. Give it another name under "
                    "`names:` in muniment.yml.", governed, placed[local], local,
                )  # fmt: skip
                continue
            yield self._entry(local, governed, key)
        for local in self._used:
            if local not in placed and local not in kept:
                yield from self._used_entry(local)

    def _places(self) -> Iterator[tuple[str, str, str | None]]:
        """The project's name, the governed one, and the key of ``names:`` that joins them; strongest first."""
        names = self._naming.names
        for local, governed in names.exact.items():
            yield local, governed, local
        listed = [name for name in self._lease.catalog if is_name(name)]
        self._say_unlisted()
        withheld = sorted(name for name in self._lease.obliged - self._lease.catalog.keys() if is_name(name))
        unmapped: list[str] = []
        for governed in [*listed, *withheld]:
            if self._naming.is_mapped_by_itself(governed):
                continue
            found = names.to_local(governed)
            if found is None:
                unmapped.append(governed)
            else:
                yield found[0], governed, found[1]
        for governed in unmapped:
            if not self._is_left_to_the_project(governed):
                yield governed, governed, None

    def _is_left_to_the_project(self, name: str) -> bool:
        """Whether pipelines use a name that the project took out of what is governed. One that it forgot is told."""
        if name not in self._used_bare or self._naming.governed(name) is not None:
            return False
        if self._naming.is_taken_out(name):
            return True
        logger.warning(
            "Muniment gives %s, which this project's pipelines use and `governed:` in muniment.yml does not name: what "
            'Muniment gives is used. Name it there; or "!%s", if it is the project\'s own.',
            name,
            name,
        )
        return False

    def _say_unlisted(self) -> None:
        """Not even as a refusal: Kedro would resolve other names by a pattern, denied ones and the project's own."""
        unlisted = [name for name in self._lease.catalog if not is_name(name)]
        if unlisted:
            logger.warning(
                "The service gave %s, which no governed dataset can have. Nothing of that is used; tell whoever runs "
                "Muniment.",
                f"an entry named {plain(unlisted[0])[:LONGEST_NAME]!r}"
                + (f", and {len(unlisted) - 1:,} more with names" if len(unlisted) > 1 else ""),
            )

    def _used_entry(self, local: str) -> Iterator[Entry]:
        """What a pipeline calls by a name that is not listed: mapped by a pattern, transcoded, or not given."""
        governed = self._naming.governed(local) or self._given_as_written(local)
        unnamed = self._naming.unnamed(local) if governed is None else None
        if unnamed is not None and self._patterns.match(local, catch_all=False) is None:
            yield self._refusal(local, unnamed, UNNAMED, self._naming.names.given_for(local))
        if governed is None or self._is_own_by_pattern(local, governed):
            return
        key = self._naming.names.given_for(local)
        if governed in self._naming.given and (key is None or not is_name(governed)):
            yield self._refusal(local, governed, UNLISTED, key)
        else:
            yield self._entry(local, governed, key)

    def _given_as_written(self, local: str) -> str | None:
        """The service's own name for what it gives, in a project that says nothing of this name."""
        bare = local.partition(TRANSCODED)[0]
        if self._naming.is_taken_out(bare):
            return None
        return bare if bare in self._naming.given and self._patterns.match(local, catch_all=False) is None else None

    def _is_own_by_pattern(self, local: str, governed: str) -> bool:
        """Whether a pattern of the project, not a catch-all, is used for a governed name by ``precedence:``."""
        if not self._local_wins or self._config.precedence_of(local, governed) != "local":
            return False
        if self._patterns.match(local, catch_all=False) is None:
            return False
        self._stood_in_for.add(local)
        return True

    def _entry(self, local: str, governed: str, key: str | None) -> Entry:
        """What is served, if this project may build it."""
        lease = self._lease
        if governed in lease.obliged:
            return self._refusal(local, governed, OBLIGED, key)
        if governed not in lease.catalog:
            return self._refusal(local, governed, UNKNOWN, key)
        try:
            definition = self._building.usable(lease.catalog[governed])
        except Unusable as reason:
            return self._refusal(local, governed, plain(reason), key)
        return Entry(
            local, definition, "service", governed,
            actions=tuple(lease.actions.get(governed, ())),
            end=lease.ends.get(governed),
            named_by=key,
            made_by=self._served_patterns.match(governed) if governed in lease.made else None,
            instead_of=self._gives_way.get(local),
        )  # fmt: skip

    def _refusal(self, local: str, governed: str, why: str, key: str | None) -> Entry:
        said = why if why in {UNKNOWN, UNLISTED, UNNAMED} else f"is served and not usable here: {why}"
        return Entry(
            local, refused.definition(f"{both_names(local, governed)} {said}."), "service", governed,
            actions=tuple(self._lease.actions.get(governed, ())),
            end=self._lease.ends.get(governed),
            refusal=why,
            named_by=key,
            instead_of=self._gives_way.get(local),
        )  # fmt: skip


def _copied(value: Any) -> Any:
    """A copy of plain data whose texts and numbers are shared; a general copy takes ten times as long."""
    if type(value) is dict:
        return {key: _copied(held) for key, held in value.items()}
    if type(value) is list:
        return [_copied(held) for held in value]
    return value
