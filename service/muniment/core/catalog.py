"""The catalog: exactly what one subject may load or save in one environment, as Kedro expects it.

An entry is rendered once for each version of its dataset; a catalog is a join of
rendered entries. What is decided has a digest of its own, over names, where and in which
version they were declared, actions and obligations, so a new renderer changes no proof.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import TypeVar, cast

import orjson

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Listing, Wanted
from muniment.core.definitions import variables_of, with_variables
from muniment.core.environments import BASE
from muniment.core.moments import write_moment
from muniment.core.names import ROOT
from muniment.core.problems import InvalidDefinition
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.yaml_texts import dumped

#: Which renderer writes the bodies: part of their tags, raised when the same decision is written otherwise.
RENDERER = 1

#: Of an entry: by what it is sorted, and what may be done with it.
_NAME: Callable[[Entry], str] = attrgetter("dataset.name")
_ACTIONS: Callable[[Entry], tuple[Action, ...]] = attrgetter("actions")

_Said = TypeVar("_Said")

#: Writes an entry: of its name and its definition.
_Write = Callable[[str, Mapping[str, object]], bytes]


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
        return tuple(map(_NAME, self.entries))

    def by_actions(self, said: Callable[[tuple[Action, ...]], _Said]) -> dict[str, _Said]:
        """What is said of what may be done with each of the entries, by their names: said once of those alike."""
        alike = {given: said(given) for given in set(map(_ACTIONS, self.entries))}
        return {entry.dataset.name: alike[entry.actions] for entry in self.entries}


def catalog_of(realm: Realm, listing: Listing, wanted: Wanted) -> Catalog:
    """The datasets that may be loaded or saved, that are alive, and that have a definition there."""
    found: list[Entry | None] = []
    datasets = realm.datasets
    for actions, names in listing.usable_alike():
        held = cast("dict[str, Entry]", realm.entries.setdefault((wanted.environment, actions), {}))
        found += [
            entry
            if (entry := held.get(name)) is not None and entry.dataset is datasets[name]
            else _held(held, datasets[name], actions, wanted)
            for name in names
        ]
    return made(realm, wanted, found)


def _held(held: dict[str, Entry], dataset: Dataset, actions: tuple[Action, ...], wanted: Wanted) -> Entry | None:
    """An entry that was not held yet, if there is one; from now on it is."""
    entry = None if dataset.is_pattern else _given(dataset, actions, wanted)
    if entry is not None:
        held[dataset.name] = entry
    return entry


def made(realm: Realm, wanted: Wanted, entries: Iterable[Entry | None]) -> Catalog:
    """A catalog of entries already decided."""
    found = tuple(sorted([entry for entry in entries if entry is not None], key=_NAME))
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
    The entries come in the order of their names.
    """
    lines = b",".join([entry.line or _line(realm, entry) for entry in entries])
    variables = [
        [name, domain.version]
        for name, domain in sorted(realm.domains.items())
        if domain.variables and _any_in(name, entries)
    ]
    layers = [
        [name, realm.environments[name].version]
        for name in (BASE, environment)
        if name in realm.environments and realm.environments[name].variables
    ]
    return hashlib.sha256(b"[[" + lines + b"]," + orjson.dumps([variables, layers])[1:]).hexdigest()


def _any_in(domain: str, entries: Sequence[Entry]) -> bool:
    """Whether any of the entries stands in a domain, or in one below it."""
    if domain == ROOT:
        return bool(entries)
    beginning = f"{domain}."
    first = bisect_left(entries, beginning, key=_NAME)
    return first < len(entries) and entries[first].dataset.name.startswith(beginning)


def _line(realm: Realm, entry: Entry) -> bytes:
    """What a digest says of an entry; written once, for an entry is shared by the catalogs that hold it."""
    dataset = entry.dataset
    name, source = orjson.dumps(dataset.name), orjson.dumps(realm.source_of(dataset.name))
    said = (name, dataset.version, _listed(entry.actions), _listed(entry.obligations), source)
    object.__setattr__(entry, "line", b"[%b,%d,%b,%b,%b]" % said)
    return entry.line


@lru_cache
def _listed(words: tuple[str, ...]) -> bytes:
    """Words as JSON: there are few such lists, and each entry has two of them."""
    return orjson.dumps([*words])


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
    return b"".join(_fragments(realm, catalog, _yaml)) or b"{}\n"


def as_json(realm: Realm, catalog: Catalog) -> bytes:
    """The catalog as JSON: the same mapping."""
    return b"{" + b",".join(_fragments(realm, catalog, _json)) + b"}"


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
    actions = catalog.by_actions(lambda given: [*map(str, given)])
    ending = {name: write_moment(end) for name, end in ends.items() if name in actions}
    said = {name: notice for name, notice in notices.items() if name in actions}
    rest = {"actions": actions, "patterns": dict(patterns), "obligations": {}, "ends": ending, "notices": said}
    texts = _fragments(realm, catalog, _json) or [b""]
    texts[0] = b'{"catalog":{' + texts[0]
    texts[-1] += b"}"
    texts.append(orjson.dumps(rest)[1:])
    return b",".join(texts)  # once: it may be megabytes, and each copy of it is felt


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
                text = _rendered(realm, dataset, environment, _json)
                held = realm.rendered.setdefault((environment, _json.__name__), {})
                held[dataset.name] = once.setdefault(text, (dataset, text))
    return realm


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


def _fragments(realm: Realm, catalog: Catalog, write: _Write) -> list[bytes]:
    """The rendered entries, each rendered at most once for each version of its dataset and of the variables."""
    environment = catalog.wanted.environment
    held = realm.rendered.setdefault((environment, write.__name__), {})
    return [
        known[1]
        if (known := held.get(entry.dataset.name)) is not None and known[0] is entry.dataset
        else _rendered(realm, entry.dataset, environment, write)
        for entry in catalog.entries
    ]


def _rendered(realm: Realm, dataset: Dataset, environment: str, write: _Write) -> bytes:
    """An entry, rendered now; from now on it is held where the realm knows its dataset."""
    text = write(dataset.name, resolved(realm, dataset, environment))
    if realm.datasets.get(dataset.name) is dataset:
        realm.rendered.setdefault((environment, write.__name__), {})[dataset.name] = (dataset, text)
    return text


def _json(name: str, definition: Mapping[str, object]) -> bytes:
    return orjson.dumps(name) + b":" + orjson.dumps(definition)


def _yaml(name: str, definition: Mapping[str, object]) -> bytes:
    return dumped({name: definition}).encode()
