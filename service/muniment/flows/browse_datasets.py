"""Somebody looks at what there is: the datasets that they may know of, and nothing else.

Discovering shows a dataset's name, domain, owner, description, tags, classification,
columns, lifecycle and the names of its environments. Definitions need load or save
there, or declare.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from muniment.core.datasets import Dataset, Definition, Lifecycle
from muniment.core.decisions import Decided, Listing, Wanted, decide, decide_governing
from muniment.core.directory import Count, Facet, Looked
from muniment.core.entries import Compared, Entry, entries_of, side_by_side
from muniment.core.environments import checked_known
from muniment.core.explanations import in_force, why_withheld
from muniment.core.kept import Kept
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import NotFound
from muniment.core.realm import Realm
from muniment.core.requests import EXPIRES_AFTER, MOST_UNDECIDED, REQUESTABLE, State, command, id_floor
from muniment.core.schema import Action
from muniment.core.visibility import (
    find,
    knowledge,
    may_govern,
    not_served,
    sees_definitions,
    visible_successor,
)
from muniment.flows.house import House, aside
from muniment.store import datasets, kept, requests, uses
from muniment.store.databases import Transaction
from muniment.store.lines import Version

#: Within which time the last save of a dataset is looked for.
FRESH: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Filter:
    """What to look for; every field narrows.

    ``text`` is words, as a search takes them (:meth:`muniment.core.directory.Directory.worded`), or a part of a name or
    a description, as it stands there.
    """

    text: str | None = None
    domain: str | None = None
    tag: str | None = None
    owner: str | None = None
    lifecycle: Lifecycle | None = None
    environment: str | None = None

    def matches(self, dataset: Dataset, worded: Container[str]) -> bool:
        """Whether a dataset is looked for; ``worded`` are the names of those in which the text's words are."""
        return (
            (self.domain is None or f"{dataset.domain}.".startswith(f"{self.domain}."))
            and (self.tag is None or self.tag in dataset.tags)
            and (self.owner is None or self.owner == dataset.owner)
            and (self.lifecycle is None or self.lifecycle is dataset.lifecycle)
            and (self.text is None or dataset.name in worded or self._holds(self.text, dataset))
        )

    @staticmethod
    def _holds(text: str, dataset: Dataset) -> bool:
        return text.casefold() in f"{dataset.name}\n{dataset.description}".casefold()


@dataclass(frozen=True, slots=True)
class Seen:
    """A dataset as one subject may see it: definitions only where they may, their own actions by environment.

    ``withheld`` says by environment why they do not get what policies let them load.
    """

    dataset: Dataset
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    actions: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)
    governing: tuple[Action, ...] = ()
    revision: int = 0
    withheld: Mapping[str, str] = field(default_factory=dict)
    #: What of it is kept in files in git.
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class SeenVersion:
    """One version of a dataset, as one subject may see it."""

    version: int
    revision: int
    at: datetime
    subject: str
    seen: Seen | None


@dataclass(frozen=True, slots=True)
class Searched:
    """A page of what was found, how much there is of it, and how much of what else would narrow it.

    ``stewarded`` are those of the page in whose domain the asker declares, ``columns`` by name those that were found.
    """

    found: tuple[Seen, ...]
    stewarded: frozenset[str]
    columns: Mapping[str, tuple[str, ...]]
    total: int
    facets: Mapping[Facet, tuple[Count, ...]]
    revision: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A dataset, or a name that a factory pattern makes, with all that its own page tells.

    ``entries`` are those that the asker may read, ``compared`` their values side by side; ``asking`` is by environment
    what the asker is not given and could ask for. ``pattern`` made the name, for those who may know of it; ``made``
    says that one did. ``fresh`` is by environment when a run last reported within :data:`FRESH` that it saved it: for
    those who may read or write the data there, or oversee its use. ``asked`` are the asker's own undecided requests, by
    environment and action.
    """

    seen: Seen
    entries: tuple[Entry, ...]
    compared: tuple[Compared, ...]
    environments: tuple[str, ...]
    asking: Mapping[str, tuple[Action, ...]]
    made: bool
    pattern: str | None
    fresh: Mapping[str, datetime | None]
    asked: Mapping[tuple[str, Action], str] = field(default_factory=dict)


async def search_datasets(house: House, occasion: Occasion, looked: Looked, first: int, limit: int) -> Searched:
    """Those of the datasets that the asker may know of which are looked for, and how many there are of each kind."""
    realm = await house.realms.current()
    checked_known(looked.chosen.get(Facet.ENVIRONMENT, ()), realm.environment_names)
    listings = {name: await house.listing(realm, occasion, Wanted(name)) for name in realm.environment_names}
    searched = await aside(lambda: _searched(realm, occasion, looked, listings, first, limit))
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={"listed": len(searched.found), "first": first},
        )
    )
    return searched


async def known_environments(house: House) -> tuple[str, ...]:
    """The environments that can be asked for. Their names are no secret, and it is not recorded that they were told."""
    return (await house.realms.current()).environment_names


async def show_dataset(house: House, occasion: Occasion, name: str) -> Shown:
    """A dataset, or a name that a factory pattern makes, if the asker may know of it."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, name):
        shown = await aside(lambda: _shown(realm, occasion, name))
    source = shown.pattern or name
    async with house.db.begin() as tx:
        held = await kept.standing(tx, "dataset", [source])
        saved = await uses.last_saved(tx, name, shown.fresh, occasion.at - FRESH) if shown.fresh else {}
        asked = await _asked(tx, realm, occasion, name) if any(shown.asking.values()) else {}
    await house.record_reading(occasion, realm, name)
    fresh = {environment: saved.get(environment) for environment in shown.fresh}
    return replace(shown, seen=replace(shown.seen, kept=held.get(("dataset", source))), fresh=fresh, asked=asked)


async def _asked(tx: Transaction, realm: Realm, occasion: Occasion, name: str) -> dict[tuple[str, Action], str]:
    """The requests of the asker's own for a dataset that nobody has decided on, the newest of each kind."""
    since = id_floor(occasion.at - EXPIRES_AFTER)
    own = await requests.older(tx, limit=MOST_UNDECIDED, since=since, requester=occasion.subject)
    return {
        (environment, action): each.id
        for each in reversed(own)
        if each.state(occasion.at) is State.PENDING and name in each.terms.datasets
        for environment in each.terms.environments or realm.environment_names
        for action in each.terms.actions
    }


async def list_datasets(
    house: House, occasion: Occasion, wanted: Filter, limit: int, after: str
) -> tuple[list[Seen], str | None, int]:
    """A page of the datasets that the asker may know of, in the order of their names, and where the next begins."""
    realm = await house.realms.current()
    if wanted.environment is not None:
        checked_known([wanted.environment], realm.environment_names)
    listings = {name: await house.listing(realm, occasion, Wanted(name)) for name in realm.environment_names}
    found, following = await aside(lambda: _page(realm, occasion, wanted, listings, limit, after))
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            environment=wanted.environment,
            details={"listed": len(found), "after": after},
        )
    )
    return found, following, realm.revision


async def read_dataset(house: House, occasion: Occasion, name: str) -> Seen:
    """One dataset, if the asker may know of it."""
    realm = await house.realms.current()
    dataset = await _declared(house, realm, occasion, name)
    seen = await aside(lambda: _seen(realm, occasion, dataset))
    async with house.db.begin() as tx:
        held = await kept.standing(tx, "dataset", [name])
    await house.record_reading(occasion, realm, name)
    return replace(seen, kept=held.get(("dataset", name)))


async def read_history(
    house: House, occasion: Occasion, name: str, limit: int, after: int | None, *, made: bool = False
) -> tuple[list[SeenVersion], int | None, int]:
    """The versions of a dataset, the newest first; each cut to what the asker may see of it now.

    With ``made``, a name that a factory pattern makes has the pattern's, for those who may know of that.
    """
    realm = await house.realms.current()
    if made and name not in realm.datasets:
        async with house.refusals_recorded(occasion, realm, name):
            if await aside(lambda: find(realm, occasion.asker, occasion.at, name)) is None:
                raise NotFound
        source = await aside(lambda: _pattern(realm, occasion, name))
        if source is None:
            await house.record_reading(occasion, realm, name)
            return [], None, realm.revision
        name = source
    dataset = await _declared(house, realm, occasion, name)
    async with house.db.begin() as tx:
        versions = await datasets.LINE.history(tx, name, limit=limit + 1, after=after)
    page = await aside(lambda: _cut_each(realm, occasion, dataset, versions[:limit]))
    await house.record_reading(occasion, realm, name)
    return page, page[-1].version if len(versions) > limit else None, realm.revision


async def _declared(house: House, realm: Realm, occasion: Occasion, name: str) -> Dataset:
    """The dataset that is declared under this very name, if the asker may know of it."""
    async with house.refusals_recorded(occasion, realm, name):
        dataset = await aside(lambda: find(realm, occasion.asker, occasion.at, name))
        if dataset is None or name not in realm.datasets:
            raise NotFound
        return dataset


def _searched(
    realm: Realm, occasion: Occasion, looked: Looked, listings: Mapping[str, Listing], first: int, limit: int
) -> Searched:
    known = knowledge(realm, occasion.asker, occasion.at, listings)
    found = realm.directory.find(realm.shelf, known, looked)
    page = [realm.datasets[name] for name in found.names[first : first + limit]]
    return Searched(
        found=tuple(
            _listed(realm, occasion, dataset, {k: each.decided[dataset.name] for k, each in listings.items()})
            for dataset in page
        ),
        stewarded=frozenset(realm.shelf.names(known.stewarded & realm.shelf.bits(dataset.name for dataset in page))),
        columns={dataset.name: realm.directory.columns_found(dataset, looked.words) for dataset in page},
        total=len(found.names),
        facets=found.facets,
        revision=realm.revision,
    )


def _page(
    realm: Realm, occasion: Occasion, wanted: Filter, listings: Mapping[str, Listing], limit: int, after: str
) -> tuple[list[Seen], str | None]:
    declared = _domains_declared(realm, occasion)
    asked = listings.values() if wanted.environment is None else [listings[wanted.environment]]
    discovered = {
        name
        for listing in asked
        for name in listing.names(Action.DISCOVER)
        if realm.datasets[name].lifecycle is not Lifecycle.DRAFT
    }
    known = [
        name
        for name, dataset in sorted(realm.datasets.items())
        if name > after and (name in discovered or dataset.domain in declared)
    ]
    among = realm.shelf.bits(known) if wanted.text else 0
    worded = frozenset(realm.directory.worded(realm.shelf, wanted.text or "", among))
    matching = (realm.datasets[name] for name in known if wanted.matches(realm.datasets[name], worded))
    page: list[Seen] = []
    for dataset in matching:
        if len(page) == limit:
            return page, page[-1].dataset.name
        page.append(_listed(realm, occasion, dataset, {k: each.decided[dataset.name] for k, each in listings.items()}))
    return page, None


def _listed(realm: Realm, occasion: Occasion, dataset: Dataset, decided: Mapping[str, Decided]) -> Seen:
    return Seen(
        dataset,
        actions={name: each.actions for name, each in decided.items() if each.actions},
        withheld=_withheld(realm, occasion, decided),
        revision=realm.revision,
    )


def _withheld(realm: Realm, occasion: Occasion, decided: Mapping[str, Decided]) -> Mapping[str, str]:
    reasons = {name: why_withheld(realm, occasion.asker, each) for name, each in decided.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _domains_declared(realm: Realm, occasion: Occasion) -> frozenset[str]:
    domains = sorted({dataset.domain for dataset in realm.datasets.values()})
    decisions = decide_governing(realm, occasion.asker, Action.DECLARE, domains, occasion.at)
    return frozenset(domain for domain, decision in zip(domains, decisions, strict=True) if decision.allowed)


def _seen(realm: Realm, occasion: Occasion, dataset: Dataset) -> Seen:
    return _seen_as(realm, occasion, dataset, _decided(realm, occasion, dataset))


def _decided(realm: Realm, occasion: Occasion, dataset: Dataset) -> Mapping[str, Decided]:
    return {name: decide(realm, occasion.asker, Wanted(name), occasion.at, dataset) for name in realm.environment_names}


def _seen_as(realm: Realm, occasion: Occasion, dataset: Dataset, decided: Mapping[str, Decided]) -> Seen:
    allowed = sees_definitions(realm, occasion.asker, occasion.at, dataset)
    governing = tuple(
        action
        for action in (Action.DECLARE, Action.CLASSIFY, Action.GRANT, Action.APPROVE, Action.AUDIT)
        if decide_governing(realm, occasion.asker, action, [dataset], occasion.at)[0].allowed
    )
    return Seen(
        replace(dataset, successor=visible_successor(realm, occasion.asker, occasion.at, dataset)),
        definitions={name: value for name, value in dataset.environments.items() if name in allowed},
        actions={name: each.actions for name, each in decided.items() if each.actions},
        governing=governing,
        revision=realm.revision,
        withheld=_withheld(realm, occasion, decided),
    )


def _shown(realm: Realm, occasion: Occasion, name: str) -> Shown:
    dataset = find(realm, occasion.asker, occasion.at, name)
    if dataset is None:
        raise NotFound
    decided = _decided(realm, occasion, dataset)
    seen = _seen_as(realm, occasion, dataset, decided)
    declares = may_govern(realm, occasion.asker, occasion.at, Action.DECLARE, dataset.domain)
    readable = [
        environment
        for environment in realm.environment_names
        if declares or (environment in seen.actions and dataset.lifecycle is not Lifecycle.DRAFT)
    ]
    made = name not in realm.datasets
    entries = entries_of(realm, dataset, readable)
    return Shown(
        seen,
        entries,
        side_by_side(entries),
        realm.environment_names,
        {environment: _asking(realm, occasion, dataset, environment, each) for environment, each in decided.items()},
        made,
        _pattern(realm, occasion, name) if made else None,
        dict.fromkeys(() if dataset.is_pattern else _told_how_fresh(realm, seen, readable)),
    )


def _told_how_fresh(realm: Realm, seen: Seen, readable: Sequence[str]) -> list[str]:
    """The environments in which it is defined, of which the asker is told when it was last saved there."""
    among = realm.environment_names if Action.AUDIT in seen.governing else readable
    return [environment for environment in among if seen.dataset.definition(environment) is not None]


def _asking(
    realm: Realm, occasion: Occasion, dataset: Dataset, environment: str, decided: Decided
) -> tuple[Action, ...]:
    """What of loading and saving the asker is not given, and could be if somebody granted it."""
    if not_served(realm, occasion.asker, occasion.at, dataset, Wanted(environment)) is not None:
        return ()
    return tuple(
        action for action in REQUESTABLE if command(action, dataset.name, environment, in_force(decided, action))
    )


def _pattern(realm: Realm, occasion: Occasion, name: str) -> str | None:
    """The factory pattern that makes a name, if the asker may know of it."""
    source = realm.source_of(name)
    if source is None or source == name or find(realm, occasion.asker, occasion.at, source) is None:
        return None
    return source


def _cut_each(
    realm: Realm, occasion: Occasion, dataset: Dataset, versions: Iterable[Version[Dataset]]
) -> list[SeenVersion]:
    """Past versions, with the definitions and the successor alone that the asker may know of today.

    Whoever may use the dataset as it is now in an environment may read what an earlier version said for it.
    """
    asker, at = occasion.asker, occasion.at
    successor = visible_successor(realm, asker, at, dataset)
    readable: dict[frozenset[str], frozenset[str]] = {}

    def cut(past: Dataset) -> Seen:
        defined = frozenset(past.environments)
        if defined not in readable:
            readable[defined] = sees_definitions(realm, asker, at, replace(dataset, environments=past.environments))
        shown = replace(past, successor=successor if past.successor == successor else None)
        return Seen(shown, {name: value for name, value in past.environments.items() if name in readable[defined]})

    return [
        SeenVersion(
            found.version, found.revision, found.at, found.subject, None if found.value is None else cut(found.value)
        )
        for found in versions
    ]
