"""Decisions from another standpoint: an earlier revision, an earlier moment, somebody as they were known then.

A decision is a pure function of where it is made from, so the past is decided by the same
evaluator as the present. What of it may be told is a question of today: whoever audits a
domain is told all; others are told of what is theirs today as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from muniment.core import catalog as catalogs
from muniment.core.catalog import Catalog
from muniment.core.datasets import Lifecycle
from muniment.core.decisions import Wanted, decide_each, decide_governing, list_all
from muniment.core.names import domain_of
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import imagined, may_name


@dataclass(frozen=True, slots=True)
class Standpoint:
    """From where something is decided: a realm, what is known of a subject, and a moment."""

    realm: Realm
    asker: SubjectState
    at: datetime


def catalog_from(there: Standpoint, wanted: Wanted, names: Sequence[str] | None = None) -> Catalog:
    """The catalog as it is decided from there: the whole of it, or that of these names."""
    if names is None:
        return catalogs.catalog_of(there.realm, list_all(there.realm, there.asker, wanted, there.at), wanted)
    return catalog_of_names(there, wanted, names)


def catalog_of_names(there: Standpoint, wanted: Wanted, names: Iterable[str]) -> Catalog:
    """The catalog of these names, those that factory patterns make included.

    A name that nothing has is decided on too: how long it takes tells nobody that it is free.
    """
    realm = there.realm
    found = {name: realm.resolve(name) for name in names if may_name(name)}
    judged = [dataset or imagined(realm, name) for name, dataset in found.items()]
    decided = decide_each(realm, there.asker, wanted, there.at, judged)
    entries = (
        catalogs.entry_of(dataset, each, wanted)
        for dataset, each in zip(found.values(), decided, strict=True)
        if dataset is not None
    )
    return catalogs.made(realm, wanted, entries)


def told(catalog: Catalog, there: Realm, reader: Standpoint, *, own: bool) -> Catalog:
    """What a reader may be told today of a catalog that was decided there: of their own, or somebody else's.

    Definitions of their own they are told where they may load or save, declare or audit
    today; those of others where they audit.
    """
    readable = _readable(reader, catalog.wanted, catalog.names, own=own)
    return catalogs.made(there, catalog.wanted, (e for e in catalog.entries if e.dataset.name in readable))


def _readable(reader: Standpoint, wanted: Wanted, names: Sequence[str], *, own: bool) -> frozenset[str]:
    domains = sorted({domain_of(name) for name in names})
    governed = {
        domain
        for action in ((Action.AUDIT, Action.DECLARE) if own else (Action.AUDIT,))
        for domain, decision in zip(
            domains, decide_governing(reader.realm, reader.asker, action, domains, reader.at), strict=True
        )
        if decision.allowed
    }
    return frozenset(name for name in names if domain_of(name) in governed) | (
        _usable(reader, wanted, names) if own else frozenset()
    )


def _usable(reader: Standpoint, wanted: Wanted, names: Sequence[str]) -> frozenset[str]:
    """Those of the names that the reader may load or save."""
    realm = reader.realm
    # The whole realm is decided faster than a part of it: its bitmaps are held.
    usable = list_all(realm, reader.asker, wanted, reader.at).usable()
    found = {name for name, _ in usable if realm.datasets[name].lifecycle is not Lifecycle.DRAFT}
    made = [dataset for name in names if name not in realm.datasets and (dataset := realm.resolve(name))]
    of_made = decide_each(realm, reader.asker, wanted, reader.at, made)
    found.update(
        dataset.name
        for dataset, decided in zip(made, of_made, strict=True)
        if decided.actions and dataset.lifecycle is not Lifecycle.DRAFT
    )
    return frozenset(found & set(names))
