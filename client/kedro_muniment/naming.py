"""What a project's names mean to the service: one by one, by pattern, or as they are written.

``names:`` maps the project's names to governed ones. An entry without placeholders speaks of one name, and goes before
every pattern; of the patterns that match, the one with the most text outside its placeholders is the only one that
counts, as in Kedro's own catalog.

A name that is mapped by itself is governed, whatever the service gives. A pattern reaches further than anybody means it
to: ``"{name}": "spaceflights.{name}"`` matches each table that a pipeline hands on in memory. So a name that only a
pattern maps is governed if the service gives it, or if ``governed:`` matches what the pattern makes of it; else it is
the project's own (:meth:`Naming.leaves` tells which). Decision: 0032.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from kedro_muniment.entries.definitions import PLACEHOLDER, is_name, specificity
from kedro_muniment.problems import BadConfig

if TYPE_CHECKING:
    from kedro_muniment.config import Config
    from kedro_muniment.leases.lease import Lease

#: What stands before a glob under ``governed:`` that takes names out again.
EXCEPT: Final = "!"
TRANSCODED: Final = "@"

NAMED: Final = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One line of ``names:`` with placeholders, read in both directions."""

    local: str
    governed: str
    _local: re.Pattern[str] = field(repr=False)
    _governed: re.Pattern[str] = field(repr=False)
    #: What every name begins and ends with that matches: most are told apart by that alone.
    _local_ends: tuple[str, str] = field(repr=False)
    _governed_ends: tuple[str, str] = field(repr=False)

    @classmethod
    def of(cls, local: str, governed: str) -> NamePattern:
        """The pattern, if both sides can be read from the other; else :class:`BadConfig` says what is wrong."""
        said = f"`names:` maps {local!r} to {governed!r}"
        placeholders = [sorted(NAMED.findall(side)) for side in (local, governed)]
        for side, found in zip((local, governed), placeholders, strict=True):
            if {"{", "}"} & {*NAMED.sub("", side)} or len(set(found)) != len(found):
                raise BadConfig(f"{said}: a placeholder is a name in braces, such as {{region}}, once on each side.")
        if placeholders[0] != placeholders[1]:
            raise BadConfig(f"{said}: both sides need the same placeholders, so that each name can be read from both.")
        if not is_name(NAMED.sub("x", governed)):
            raise BadConfig(f"{said}: a governed name begins with its domain, such as sales.{{region}}_orders.")
        # Kedro reads a project's patterns without regard to case; governed names are in lower case.
        readable = _readable(local, re.IGNORECASE), _readable(governed)
        return cls(local, governed, *readable, ends_of(local.lower()), ends_of(governed))

    def in_local(self, name: str) -> Mapping[str, str] | None:
        """What stands in the placeholders of one of the project's names; ``None`` where it does not match."""
        start, end = self._local_ends
        lower = name.lower()
        found = self._local.fullmatch(name) if lower.startswith(start) and lower.endswith(end) else None
        return None if found is None else found.groupdict()

    def in_governed(self, name: str) -> Mapping[str, str] | None:
        start, end = self._governed_ends
        found = self._governed.fullmatch(name) if name.startswith(start) and name.endswith(end) else None
        return None if found is None else found.groupdict()


def ends_of(pattern: str) -> tuple[str, str]:
    """The text before the first placeholder of a pattern, and after the last."""
    return pattern[: pattern.index("{")], pattern[pattern.rindex("}") + 1 :]


def _readable(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """The pattern as Kedro's own matching reads it: each placeholder takes as little as it can."""
    parts = NAMED.split(pattern)
    texts = [re.escape(part) if at % 2 == 0 else f"(?P<{part}>.+?)" for at, part in enumerate(parts)]
    return re.compile("".join(texts), flags | re.DOTALL)


def is_parameter(name: str) -> bool:
    """Whether Kedro takes a name for a parameter: those are the project's own, always."""
    return name == "parameters" or name.startswith("params:")


def both_names(local: str, governed: str | None) -> str:
    """A dataset as people see it: the project's name, and the governed one where it differs."""
    return local if governed is None or local == governed else f"{local} ({governed})"


@dataclass(frozen=True, slots=True)
class Names:
    """``names:`` of a project, read once.

    Transcodings (``orders@pandas``) may each be mapped; the bare name holds for those that are not.
    """

    exact: Mapping[str, str]
    patterns: tuple[NamePattern, ...]
    _by_bare: Mapping[str, str]

    @classmethod
    def of(cls, names: Mapping[str, str]) -> Names:
        exact = {local: governed for local, governed in names.items() if "{" not in local + governed}
        patterns = [NamePattern.of(local, governed) for local, governed in names.items() if local not in exact]
        _refuse_two_catch_alls(patterns)
        by_bare: dict[str, str] = {}
        for local, governed in exact.items():
            by_bare.setdefault(local.partition(TRANSCODED)[0], governed)
        return cls(exact, tuple(sorted(patterns, key=lambda pattern: specificity(pattern.local))), by_bare)

    def one_by_one(self, name: str) -> str | None:
        """By an entry for the name itself, for its bare name, or for another of its transcodings, in this order."""
        bare = name.partition(TRANSCODED)[0]
        return self.exact.get(name) or self.exact.get(bare) or self._by_bare.get(bare)

    def given_for(self, name: str) -> str | None:
        """The key of ``names:`` whose definition a name is built with. Another transcoding's would be a guess."""
        bare = name.partition(TRANSCODED)[0]
        key = next((key for key in (name, bare) if key in self.exact), None)
        if key is not None or bare in self._by_bare:
            return key
        pattern, _ = self._most_specific(name)
        return pattern.local if pattern else None

    def by_pattern(self, name: str) -> str | None:
        """By the most specific of the patterns that match, if that makes a name that a governed dataset can have."""
        _, made = self._made(name)
        return made if made is not None and is_name(made) else None

    def unnamed(self, name: str) -> str | None:
        """What a pattern with text of its own makes of a name, where no governed dataset can be called so.

        A project that has such a pattern keeps what it matches: to hand that on in memory would be to lose it.
        """
        pattern, made = self._made(name)
        return None if pattern is None or made is None or is_name(made) or not NAMED.sub("", pattern.local) else made

    def _made(self, name: str) -> tuple[NamePattern | None, str | None]:
        pattern, found = self._most_specific(name)
        return pattern, None if pattern is None or found is None else pattern.governed.format_map(found)

    def _most_specific(self, name: str) -> tuple[NamePattern | None, Mapping[str, str] | None]:
        """The pattern that counts for a name, and what stands in its placeholders."""
        if self.patterns and not is_parameter(name):
            bare = name.partition(TRANSCODED)[0]
            for pattern in self.patterns:
                # A pattern that says nothing of transcoding holds for all transcodings of a name.
                found = pattern.in_local(name if TRANSCODED in pattern.local else bare)
                if found is not None:
                    return pattern, found
        return None, None

    def meant(self, name: str) -> str:
        """The governed name that a person means who writes the project's name for it, or the governed one itself."""
        mapped = self.one_by_one(name)
        if mapped is not None:
            return mapped
        return name if self.to_local(name) is not None else self.by_pattern(name) or name

    def to_local(self, governed: str) -> tuple[str, str] | None:
        """The project's name for a governed one and the pattern that makes it, if that leads back to the same."""
        for pattern in self.patterns:
            found = pattern.in_governed(governed)
            if found is not None:
                local = pattern.local.format_map(found)
                if self.one_by_one(local) is None and self.by_pattern(local) == governed:
                    return local, pattern.local
        return None


def _refuse_two_catch_alls(patterns: Iterable[NamePattern]) -> None:
    catch_alls = sorted(pattern.local for pattern in patterns if not PLACEHOLDER.sub("", pattern.local))
    if len(catch_alls) > 1:
        raise BadConfig(f"`names:` maps every name by each of {', '.join(catch_alls)}. Keep one of them.")


@dataclass(frozen=True, slots=True)
class Naming:
    """Which of the project's names are governed, and under what name the service knows them."""

    names: Names
    #: What the service gives here, by governed name.
    given: frozenset[str]
    _domains: frozenset[str]
    _named: frozenset[str]
    _claimed: re.Pattern[str] | None
    _excepted: re.Pattern[str] | None

    @classmethod
    def of(cls, config: Config, lease: Lease) -> Naming:
        names = Names.of(config.names)
        globs = config.governed
        templates = [pattern.governed.partition(".")[0] for pattern in names.patterns]
        domains = {name.partition(".")[0] for name in names.exact.values() if "." in name}
        domains |= {domain for domain in templates if "{" not in domain}
        return cls(
            names,
            frozenset(lease.catalog.keys() | lease.obliged),
            lease.domains | domains,
            frozenset(names.exact.values()),
            None if globs is None else _any_of(glob for glob in globs if not glob.startswith(EXCEPT)),
            None if globs is None else _any_of(glob[len(EXCEPT) :] for glob in globs if glob.startswith(EXCEPT)),
        )

    def governed(self, name: str) -> str | None:
        """The governed name, or ``None`` for a name that is the project's own. Transcoding is stripped."""
        if is_parameter(name):
            return None
        mapped = self.names.one_by_one(name)
        if mapped is not None:
            return mapped
        bare = name.partition(TRANSCODED)[0]
        made = self.names.by_pattern(name)
        if made is not None and made in self.given:
            return made
        if self._claims_as_written(bare):
            return bare
        if made is None or not self._matches(made, bare):
            return None
        return bare if bare in self.given else made

    def unnamed(self, name: str) -> str | None:
        """A name that is claimed, if only a pattern maps it and no governed dataset can be called what that makes."""
        made = None if self.governed(name) is not None else self.names.unnamed(name)
        return made if made is not None and self._matches(made, name.partition(TRANSCODED)[0]) else None

    def leaves(self, name: str) -> str | None:
        """The governed name that a pattern would make of a name which is nonetheless the project's own."""
        if self.governed(name) is not None:
            return None
        made = self.names.by_pattern(name)
        return None if made is None or self._is_excepted(made, name.partition(TRANSCODED)[0]) else made

    def perhaps(self, name: str) -> str | None:
        """The one governed dataset that is given and whose name ends in this one, where no line of ``names:`` says so.

        That line may be missing. What ``governed:`` takes out again is not meant.
        """
        bare = name.partition(TRANSCODED)[0]
        found = [each for each in self.given - self._named if each.endswith(f".{bare}")]
        if len(found) != 1 or is_parameter(name) or self.names.by_pattern(name) is not None:
            return None
        return None if self._is_excepted(found[0], bare) else found[0]

    @property
    def is_drawn(self) -> bool:
        """Whether the project's settings say which names are governed."""
        return self._claimed is not None

    def is_taken_out(self, name: str) -> bool:
        """Whether ``governed:`` says of a name that it is the project's own."""
        return self._is_excepted(name, name)

    def is_mapped_by_itself(self, governed: str) -> bool:
        return governed in self._named

    def _claims_as_written(self, bare: str) -> bool:
        """Whether a name of the project is a governed one by the way it is written."""
        if bare in self._named:
            return True
        if self._claimed is None:
            domain, dot, _ = bare.partition(".")
            return bool(dot) and domain in self._domains
        return self._matches(bare, bare)

    def _matches(self, governed: str, bare: str) -> bool:
        is_claimed = self._claimed is not None and self._claimed.match(governed) is not None
        return is_claimed and not self._is_excepted(governed, bare)

    def _is_excepted(self, governed: str, bare: str) -> bool:
        excepted = self._excepted
        return excepted is not None and any(excepted.match(name) for name in (governed, bare))


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    """One expression for all globs; it matches nothing where there is none."""
    return re.compile("|".join(f"(?:{translate(glob)})" for glob in globs) or r"(?!)")
