"""The catalog: exactly what one subject may load or save in one environment, as Kedro expects it.

An entry is rendered once for each version of its dataset; a catalog is a join of
rendered entries. What is decided has a digest of its own, over names, where and in which
version they were declared, actions and obligations, so a new renderer changes no proof.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter, itemgetter
from types import MappingProxyType

import orjson
import yaml

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Listing, Wanted
from muniment.core.definitions import variables_of, with_variables
from muniment.core.environments import BASE
from muniment.core.names import lineage
from muniment.core.problems import InvalidDefinition
from muniment.core.realm import Realm
from muniment.core.schema import Action

#: A text that no YAML reader takes for anything else, unless it is one of the words below.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_]*(?:[./=:-]+[A-Za-z0-9_]+)*\Z", re.ASCII)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})

#: Which renderer writes the bodies: part of their tags, raised when the same decision is written otherwise.
RENDERER = 1

#: The width at which YAML is folded: never, so that a path stays on its line.
_ONE_LINE = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a catalog: a dataset that has a definition here, and what may be done with it."""

    dataset: Dataset
    actions: tuple[Action, ...]
    obligations: tuple[str, ...] = ()
    line: bytes = field(default=b"", init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The entries that one decision gave, in the order of their names."""

    wanted: Wanted
    entries: tuple[Entry, ...]
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the entries, sorted."""
        return tuple(entry.dataset.name for entry in self.entries)


def catalog_of(realm: Realm, listing: Listing, wanted: Wanted) -> Catalog:
    """The datasets that may be loaded or saved, that are alive, and that have a definition there."""
    found: list[Entry] = []
    last, held = None, dict[str, object]()
    for name, actions in listing.usable():
        if actions is not last:
            last, held = actions, realm.entries.setdefault((wanted.environment, actions), {})
        dataset, entry = realm.datasets[name], held.get(name)
        if not isinstance(entry, Entry) or entry.dataset is not dataset:
            entry = None if dataset.is_pattern else _given(dataset, actions, wanted)
            if entry is None:
                continue
            held[name] = entry
        found.append(entry)
    return made(realm, wanted, found)


def made(realm: Realm, wanted: Wanted, entries: Iterable[Entry | None]) -> Catalog:
    """A catalog of entries already decided."""
    found = tuple(sorted((entry for entry in entries if entry), key=attrgetter("dataset.name")))
    return Catalog(wanted, found, digest(realm, wanted.environment, found))


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a catalog: so many entries, of those whose names come after one."""

    limit: int
    after: str = ""


def page_of(realm: Realm, catalog: Catalog, page: Page) -> tuple[Catalog, str | None]:
    """A page of a catalog, and after which name the next one begins, if there is one."""
    first = bisect_right(catalog.entries, page.after, key=lambda entry: entry.dataset.name)
    entries = catalog.entries[first : first + page.limit]
    more = len(catalog.entries) > first + page.limit
    part = Catalog(catalog.wanted, entries, digest(realm, catalog.wanted.environment, entries))
    return part, entries[-1].dataset.name if more else None


def entry_of(dataset: Dataset, decided: Decided, wanted: Wanted) -> Entry | None:
    """The dataset's line in a catalog, if it has one. A factory pattern has none: the names that it makes have."""
    return None if dataset.is_pattern else _given(dataset, decided.actions, wanted)


def patterns_of(realm: Realm, listing: Listing, wanted: Wanted) -> Mapping[str, tuple[Action, ...]]:
    """The factory patterns that may be used there under their own names, with what may be done to those.

    They are told by name alone. Kedro would resolve every name by a pattern that it held, and a
    name that is denied too; each name that a pattern makes is decided on for itself.
    """
    usable = ((p.name, listing.decided[p.name].actions) for p in realm.factories)
    found = ((name, _given(realm.datasets[name], actions, wanted)) for name, actions in usable)
    return {name: entry.actions for name, entry in sorted(found, key=itemgetter(0)) if entry}


def _given(dataset: Dataset, actions: tuple[Action, ...], wanted: Wanted) -> Entry | None:
    if not actions or not dataset.served or dataset.definition(wanted.environment) is None:
        return None
    return Entry(dataset, actions)


def digest(realm: Realm, environment: str, entries: Sequence[Entry]) -> str:
    """SHA-256 (hex) over canonical ``[name, version, actions, obligations, source]`` and the variables' versions.

    The source is the name that the version counts: a name that a factory pattern made has
    the pattern's version, and would be taken for a dataset of its own otherwise.
    """
    lines = b",".join([_line(realm, entry) for entry in entries])
    domains = {above for domain in {entry.dataset.domain for entry in entries} for above in lineage(domain)}
    variables = [
        [name, realm.domains[name].version]
        for name in sorted(domains)
        if name in realm.domains and realm.domains[name].variables
    ]
    layers = [
        [name, realm.environments[name].version]
        for name in (BASE, environment)
        if name in realm.environments and realm.environments[name].variables
    ]
    return hashlib.sha256(b"[[" + lines + b"]," + orjson.dumps([variables, layers])[1:]).hexdigest()


def _line(realm: Realm, entry: Entry) -> bytes:
    """What a digest says of an entry; written once, for an entry is shared by the catalogs that hold it."""
    if not entry.line:
        dataset = entry.dataset
        said = [dataset.name, dataset.version, [*entry.actions], [*entry.obligations], realm.source_of(dataset.name)]
        # A copy, which takes as many bytes as it has: what orjson gives keeps some thousands more.
        object.__setattr__(entry, "line", bytes(memoryview(orjson.dumps(said))))
    return entry.line


def tag(catalog: Catalog, *, media: str, coding: str, asked: Sequence[str] | None, extra: str = "") -> str:
    """A strong entity tag (RFC 9110, 8.8.3): equal tags mean equal bytes, unrelated changes keep it."""
    wanted = catalog.wanted
    covered = [
        RENDERER,
        catalog.sha256,
        wanted.environment,
        wanted.project,
        wanted.purpose,
        None if asked is None else sorted(asked),
        media,
        coding,
        extra,
    ]
    return f'"{hashlib.sha256(orjson.dumps(covered)).hexdigest()[:40]}"'


def as_yaml(realm: Realm, catalog: Catalog) -> bytes:
    """The catalog as ``catalog.yml`` (RFC 9512)."""
    fragments = [_fragment(realm, entry.dataset, catalog.wanted.environment, _yaml) for entry in catalog.entries]
    return b"".join(fragments) or b"{}\n"


def as_json(realm: Realm, catalog: Catalog) -> bytes:
    """The catalog as JSON: the same mapping."""
    fragments = [_fragment(realm, entry.dataset, catalog.wanted.environment, _json) for entry in catalog.entries]
    return b"{" + b",".join(fragments) + b"}"


def as_lease(
    realm: Realm,
    catalog: Catalog,
    ends: Mapping[str, datetime],
    patterns: Mapping[str, Sequence[Action]] = MappingProxyType({}),
    notices: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The body of a lease: ``{catalog, actions, patterns, obligations, ends, notices}``, ends as RFC 3339.

    A dataset that is decided and yet not served (a draft, say) has no name in it anywhere.
    """
    spelled = {given: [*map(str, given)] for given in {entry.actions for entry in catalog.entries}}
    actions = {entry.dataset.name: spelled[entry.actions] for entry in catalog.entries}
    ending = {name: write_moment(end) for name, end in ends.items() if name in actions}
    said = {name: notice for name, notice in notices.items() if name in actions}
    rest = {"actions": actions, "patterns": dict(patterns), "obligations": {}, "ends": ending, "notices": said}
    return b'{"catalog":' + as_json(realm, catalog) + b"," + orjson.dumps(rest)[1:]


def render_ahead(realm: Realm, most: int = 50_000) -> Realm:
    """Render what leases will hold, before anybody waits for it: all of it, where that is not more than so many.

    (Of a larger realm an entry is rendered when first somebody is given it.)
    """
    served = [dataset for dataset in realm.datasets.values() if dataset.served and not dataset.is_pattern]
    if len(served) * len(realm.environment_names) > most:
        return realm
    for dataset in served:
        once: dict[bytes, tuple[Dataset, bytes]] = {}  # most are written alike in every environment
        for environment in realm.environment_names:
            if dataset.definition(environment) is not None:
                text = _fragment(realm, dataset, environment, _json)
                realm.rendered[dataset.name, environment, _json.__name__] = once.setdefault(text, (dataset, text))
    return realm


def write_moment(at: datetime) -> str:
    """A moment as JSON carries it (RFC 3339, UTC)."""
    return at.isoformat().replace("+00:00", "Z")


def resolved(realm: Realm, dataset: Dataset, environment: str) -> Mapping[str, object]:
    """The definition in force with ``${globals:…}`` filled from the variables of domain and environment.

    What nothing gives a value to stays as it is written: a reader fails at that one
    dataset, by its name, and not at the whole catalog.
    """
    definition = dataset.definition(environment) or {}
    left = {name: f"${{globals:{name}}}" for name in unfilled(realm, dataset, environment)}
    return with_variables(definition, {**left, **realm.variables_of(dataset.domain, environment)})


def unfilled(realm: Realm, dataset: Dataset, environment: str) -> tuple[str, ...]:
    """The variables that a definition names and nothing gives a value to."""
    definition = dataset.definition(environment) or {}
    unknown = variables_of(definition) - realm.variables_of(dataset.domain, environment).keys()
    return tuple(sorted(name for name in unknown if not _has_default(definition, name)))


def _has_default(definition: Mapping[str, object], variable: str) -> bool:
    """Whether a definition can do without the value of a variable."""
    try:
        with_variables(definition, dict.fromkeys(variables_of(definition) - {variable}, ""))
    except InvalidDefinition:
        return False
    return True


def _fragment(
    realm: Realm, dataset: Dataset, environment: str, write: Callable[[str, Mapping[str, object]], bytes]
) -> bytes:
    """A rendered entry, rendered at most once for each version of its dataset and of the variables."""
    key = (dataset.name, environment, write.__name__)
    held = realm.rendered.get(key)
    if held is not None and held[0] is dataset:
        return held[1]
    text = write(dataset.name, resolved(realm, dataset, environment))
    if realm.datasets.get(dataset.name) is dataset:
        realm.rendered[key] = (dataset, text)
    return text


def _json(name: str, definition: Mapping[str, object]) -> bytes:
    return orjson.dumps(name) + b":" + orjson.dumps(definition)


def dumped(entries: Mapping[str, object]) -> str:
    """Entries of a catalog as YAML that every reader of it understands."""
    return yaml.dump(entries, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_ONE_LINE)


def _yaml(name: str, definition: Mapping[str, object]) -> bytes:
    return dumped({name: definition}).encode()


class Dumper(yaml.CSafeDumper):
    """PyYAML's safe dumper as every reader of YAML understands it.

    Without anchors, which people do not expect in a catalog; and with quotes around every
    text that is not plainly one: YAML 1.1, 1.2 and OmegaConf read ``1e3``, ``0o7``, ``y`` or
    ``12:30`` each in their own way.
    """

    def ignore_aliases(self, _data: object) -> bool:
        """Write a value out each time that it occurs."""
        return True


def written(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    """A text on one line, in quotes unless every reader of YAML takes it for a text without."""
    plain = _PLAIN.match(text) and text.lower() not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


Dumper.add_representer(str, written)
