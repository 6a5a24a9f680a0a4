"""A project, a person or a script fetches the catalog that is theirs.

The ledger row is durable before the text leaves this flow: a catalog that nobody can
account for is not served. A lease is the same catalog with what may be done to each
dataset and until when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from muniment.core import catalog as catalogs
from muniment.core.catalog import Catalog
from muniment.core.codings import encode
from muniment.core.decisions import EVALUATOR, Decided, Listing, Wanted, boundaries, decide
from muniment.core.environments import checked_known
from muniment.core.leases import ends
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.visibility import imagined, may_name
from muniment.flows.house import House, aside

#: How many names can be asked for at once.
MOST_NAMES = 500


class Media(StrEnum):
    """The forms in which a catalog is given."""

    YAML = "application/yaml"
    JSON = "application/json"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, in which form; ``known`` are the tags that the caller holds already."""

    wanted: Wanted
    media: Media
    coding: str = "identity"
    names: tuple[str, ...] | None = None
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer: its text, or nothing when the caller holds it already."""

    body: bytes | None
    tag: str
    revision: int
    receipt: UUID
    entries: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is given, before it is written out: a function of the realm, the asker and the question."""

    realm: Realm
    catalog: Catalog
    ends: Mapping[str, datetime]

    def tag(self, asked: Asked) -> str:
        extra = "" if asked.media is not Media.LEASE else repr(sorted(self.ends.items()))
        return catalogs.tag(self.catalog, media=asked.media, coding=asked.coding, asked=asked.names, extra=extra)

    def text(self, asked: Asked) -> bytes:
        match asked.media:
            case Media.YAML:
                return catalogs.as_yaml(self.realm, self.catalog)
            case Media.JSON:
                return catalogs.as_json(self.realm, self.catalog)
            case Media.LEASE:
                return catalogs.as_lease(self.realm, self.catalog, self.ends)


async def fetch_catalog(house: House, occasion: Occasion, asked: Asked) -> Fetched:
    """What the subject may use, rendered; written down before it is given."""
    realm = await house.realms.current()
    checked_known([asked.wanted.environment], realm.environment_names)
    prepared = await _prepared(house, realm, occasion, asked)
    receipt = occasion.receipt
    tag = prepared.tag(asked)
    unchanged = tag in asked.known or "*" in asked.known
    body = None if unchanged else await _body(house, prepared, asked, tag)
    await house.ledger.record(
        row(
            occasion,
            Event.LEASE_SERVED if asked.media is Media.LEASE else Event.CATALOG_SERVED,
            Outcome.ALLOWED,
            revision=realm.revision,
            environment=asked.wanted.environment,
            project=asked.wanted.project,
            purpose=asked.wanted.purpose,
            datasets=asked.names or (),
            decided_sha256=prepared.catalog.sha256,
            evaluator=EVALUATOR,
            details={"entries": len(prepared.catalog.entries), "unchanged": unchanged},
        )
    )
    return Fetched(body, tag, realm.revision, receipt, len(prepared.catalog.entries))


async def _body(house: House, prepared: _Prepared, asked: Asked, tag: str) -> bytes:
    """The text in its coding; equal tags mean equal bytes, so it is encoded once."""
    body = house.bodies.get(tag)
    if body is None:
        body = await aside(lambda: encode(prepared.text(asked), asked.coding))
        house.bodies.put(tag, body)
    return body


async def _prepared(house: House, realm: Realm, occasion: Occasion, asked: Asked) -> _Prepared:
    if asked.names is not None:
        names = asked.names
        return await aside(lambda: _of_names(house, realm, occasion, asked, names))
    listing = await house.listing(realm, occasion, asked.wanted)
    key = (occasion.asker.digest, asked.wanted, asked.media is Media.LEASE)
    known = house.prepared.get(realm.revision, key, occasion.at)
    if isinstance(known, _Prepared):
        return known
    prepared = await aside(lambda: _of_all(house, realm, occasion, asked, listing))
    until = _holds_until(house, realm, occasion, asked, listing)
    house.prepared.put(realm.revision, key, prepared, until, 1 + len(prepared.catalog.entries))
    return prepared


def _of_all(house: House, realm: Realm, occasion: Occasion, asked: Asked, listing: Listing) -> _Prepared:
    catalog = catalogs.catalog_of(realm, listing, asked.wanted)
    return _Prepared(realm, catalog, _ends(house, realm, occasion, asked, catalog, listing.decided))


def _of_names(house: House, realm: Realm, occasion: Occasion, asked: Asked, names: tuple[str, ...]) -> _Prepared:
    """Only these names, those that factory patterns make included; what is hidden is as if not asked for."""
    if len(names) > MOST_NAMES:
        message = f"At most {MOST_NAMES} names can be asked for at once; ask for the whole catalog, or in parts."
        raise Invalid(message, [Fault("names", message)])
    names = tuple(filter(may_name, names))
    found = {dataset.name: dataset for dataset in map(realm.resolve, names) if dataset is not None}
    # A name that nothing has is decided on too: how long it takes tells nobody that it is free.
    decided = {
        name: decide(realm, occasion.asker, asked.wanted, occasion.at, found.get(name) or imagined(realm, name))
        for name in names
    }
    entries = (catalogs.entry_of(found[name], decided[name], asked.wanted) for name in found)
    catalog = catalogs.made(realm, asked.wanted, entries)
    return _Prepared(realm, catalog, _ends(house, realm, occasion, asked, catalog, decided))


def _ends(
    house: House,
    realm: Realm,
    occasion: Occasion,
    asked: Asked,
    catalog: Catalog,
    decided: Mapping[str, Decided],
) -> Mapping[str, datetime]:
    """When what the lease gives ends; of what it does not give (a draft, say) not even the tag may tell."""
    if asked.media is not Media.LEASE:
        return {}
    until = occasion.at + house.lengths.of(occasion.asker)
    given = Listing(realm.revision, {name: decided[name] for name in catalog.names}, None)
    return ends(realm, occasion.asker, asked.wanted, occasion.at, until, given)


def _holds_until(house: House, realm: Realm, occasion: Occasion, asked: Asked, listing: Listing) -> datetime | None:
    """When this would be prepared differently: a decision changes, or its change comes within a lease's length."""
    if asked.media is not Media.LEASE:
        return listing.until
    length: timedelta = house.lengths.of(occasion.asker)
    comes_near = [m - length for m in boundaries(realm.concerning(occasion.asker)) if m - length > occasion.at]
    return min([moment for moment in (listing.until, *comes_near) if moment is not None], default=None)
