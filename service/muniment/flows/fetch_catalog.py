"""A project, a person or a script fetches the catalog that is theirs.

The ledger row is durable before the text leaves this flow: a catalog that nobody can
account for is not served. A lease is the same catalog with what may be done to each
dataset and until when, and a signature over all of it. Leases are for now; a catalog can be fetched as it was, and that
of somebody else by those who audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from muniment.core import catalog as catalogs
from muniment.core.catalog import Catalog
from muniment.core.codings import Body
from muniment.core.decisions import EVALUATOR, UNSTEADY, Listing, Wanted, boundaries
from muniment.core.environments import checked_known
from muniment.core.judgements import digest_of_lease
from muniment.core.keys import check_speaks_for_itself
from muniment.core.leases import Statement, ends, own_ends_hold_until
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.past import Standpoint, catalog_from, catalog_of_names, told
from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import audits_somewhere, notice
from muniment.flows.house import House, aside
from muniment.flows.past import Point, placed

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
    about: Subject | None = None
    point: Point | None = None

    @property
    def of_now(self) -> bool:
        """Whether the asker's own catalog of this moment is asked for."""
        return self.about is None and self.point is None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer: its text, or nothing when the caller holds it already; of a lease, the signed statement of it."""

    body: bytes | None
    tag: str
    revision: int
    receipt: UUID
    entries: int
    lease: str | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is given, before it is written out: a function of the realm, the asker and the question."""

    realm: Realm
    catalog: Catalog
    ends: Mapping[str, datetime]
    patterns: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)
    notices: Mapping[str, str] = field(default_factory=dict)
    from_where: Mapping[str, object] = field(default_factory=dict)

    def tag(self, asked: Asked) -> str:
        beside = (sorted(self.ends.items()), sorted(self.patterns.items()), sorted(self.notices.items()))
        extra = repr(beside) if asked.media is Media.LEASE else ""
        return catalogs.tag(self.catalog, media=asked.media, coding=asked.coding, asked=asked.names, extra=extra)

    def decided_sha256(self, asked: Asked) -> str:
        """The digest of all that was decided: of a lease, the patterns that it names too."""
        decided = self.catalog.sha256
        return digest_of_lease(decided, self.patterns) if asked.media is Media.LEASE else decided

    def text(self, asked: Asked) -> bytes:
        match asked.media:
            case Media.YAML:
                return catalogs.as_yaml(self.realm, self.catalog)
            case Media.JSON:
                return catalogs.as_json(self.realm, self.catalog)
            case Media.LEASE:
                return catalogs.as_lease(self.realm, self.catalog, self.ends, self.patterns, self.notices)


async def fetch_catalog(house: House, occasion: Occasion, asked: Asked) -> Fetched:
    """What the subject may use, rendered; written down before it is given."""
    asked = replace(asked, wanted=await house.confined(occasion, asked.wanted))
    realm = await house.realms.current(occasion.revision)
    prepared = await (_prepared if asked.of_now else _as_it_was)(house, realm, occasion, asked)
    receipt = occasion.receipt
    tag = prepared.tag(asked)
    unchanged = tag in asked.known or "*" in asked.known
    body = None if unchanged else await _body(house, prepared, asked, tag)
    given = await _statement(house, occasion, prepared, asked, tag) if asked.media is Media.LEASE else None
    await house.ledger.record(
        row(
            occasion,
            Event.LEASE_SERVED if asked.media is Media.LEASE else Event.CATALOG_SERVED,
            Outcome.ALLOWED,
            revision=prepared.realm.revision,
            environment=asked.wanted.environment,
            project=asked.wanted.project,
            purpose=asked.wanted.purpose,
            datasets=asked.names or (),
            decided_sha256=prepared.decided_sha256(asked),
            evaluator=EVALUATOR,
            details={
                "entries": len(prepared.catalog.entries),
                "unchanged": unchanged,
                **({} if given is None else _written_down(given, prepared)),
                **({} if asked.names is None else _named(asked.names, prepared)),
                **prepared.from_where,
            },
        )
    )
    lease = None if given is None else house.signer.signed(given.claims, occasion.at)
    encoded = None if body is None else body.encoded
    return Fetched(encoded, tag, prepared.realm.revision, receipt, len(prepared.catalog.entries), lease)


def _named(names: tuple[str, ...], prepared: _Prepared) -> Mapping[str, object]:
    """What the ledger keeps of names that were asked for: how many, and which of them were not given."""
    withheld = [*set(names).difference(prepared.catalog.names)]
    return {"named": len(names), **({"withheld": sorted(withheld)} if withheld else {})}


async def _body(house: House, prepared: _Prepared, asked: Asked, tag: str) -> Body:
    """The text in its coding; equal tags mean equal bytes, so it is encoded once."""
    body = house.bodies.get(tag)
    if body is None:
        body = await aside(lambda: Body.of(prepared.text(asked), asked.coding))
        house.bodies.put(tag, body)
        house.digests.put(tag, body.sha256)
    return body


async def _statement(house: House, occasion: Occasion, prepared: _Prepared, asked: Asked, tag: str) -> Statement:
    """What is signed of a lease; of an unchanged one it is enough to know the digest of its body."""
    sha256 = house.digests.get(tag) or (await _body(house, prepared, asked, tag)).sha256
    return Statement(
        issuer=house.signer.issuer,
        occasion=occasion,
        until=house.lengths.end(occasion),
        wanted=asked.wanted,
        names=asked.names,
        revision=prepared.realm.revision,
        receipt=occasion.receipt,
        body_sha256=sha256,
    )


def _written_down(given: Statement, prepared: _Prepared) -> Mapping[str, object]:
    """What the ledger keeps of a lease: until when it holds, and what proves later which body it was."""
    return {
        "patterns": len(prepared.patterns),
        "until": catalogs.write_moment(given.until),
        "body_sha256": given.body_sha256,
    }


async def _prepared(house: House, realm: Realm, occasion: Occasion, asked: Asked) -> _Prepared:
    checked_known([asked.wanted.environment], realm.environment_names)
    _check_number(asked)
    if asked.names is not None:
        names = asked.names
        return await aside(lambda: _of_names(house, realm, occasion, asked, names))
    listing = await house.listing(realm, occasion, asked.wanted)
    key = (occasion.asker.digest, asked.wanted, asked.media is Media.LEASE)
    known = house.prepared.get(realm.revision, key, occasion.at)
    if isinstance(known, _Prepared):
        return known
    prepared = await aside(lambda: _of_all(house, realm, occasion, asked, listing))
    until = _holds_until(house, occasion, prepared, asked, listing)
    house.prepared.put(realm.revision, key, prepared, until, 1 + len(prepared.catalog.entries), since=listing.since)
    return prepared


async def _as_it_was(house: House, realm: Realm, occasion: Occasion, asked: Asked) -> _Prepared:
    """A catalog of an earlier moment, or somebody else's: as much of it as the asker may be told today."""
    about = asked.about or occasion.subject
    async with house.refusals_recorded(occasion, realm):
        check_speaks_for_itself(occasion.bounds)
    reader = Standpoint(realm, occasion.asker, occasion.at)
    async with house.refusals_recorded(occasion, realm):
        if about != occasion.subject and not await aside(lambda: audits_somewhere(realm, occasion.asker, occasion.at)):
            raise NotAllowed("You may fetch your own catalog; to fetch that of others you need audit in a domain.")
        there = await placed(house, occasion, realm, about, asked.point)
    standpoint = there.standpoint
    checked_known([asked.wanted.environment], standpoint.realm.environment_names)
    _check_number(asked)
    decided = await aside(lambda: catalog_from(standpoint, asked.wanted, asked.names))
    cut = await aside(lambda: told(decided, standpoint.realm, reader, own=about == occasion.subject))
    return _Prepared(standpoint.realm, cut, {}, from_where=there.details)


def _check_number(asked: Asked) -> None:
    if asked.names is not None and len(asked.names) > MOST_NAMES:
        message = f"At most {MOST_NAMES} names can be asked for at once; ask for the whole catalog, or in parts."
        raise Invalid(message, [Fault("names", message)])


def _of_all(house: House, realm: Realm, occasion: Occasion, asked: Asked, listing: Listing) -> _Prepared:
    catalog = catalogs.catalog_of(realm, listing, asked.wanted)
    patterns = catalogs.patterns_of(realm, listing, asked.wanted) if asked.media is Media.LEASE else {}
    ending, notices = _ends(house, realm, occasion, asked, catalog), _notices(realm, occasion, asked, catalog)
    return _Prepared(realm, catalog, ending, patterns, notices)


def _of_names(house: House, realm: Realm, occasion: Occasion, asked: Asked, names: tuple[str, ...]) -> _Prepared:
    """Only these names, those that factory patterns make included; what is hidden is as if not asked for."""
    catalog = catalog_of_names(Standpoint(realm, occasion.asker, occasion.at), asked.wanted, names)
    ending, notices = _ends(house, realm, occasion, asked, catalog), _notices(realm, occasion, asked, catalog)
    return _Prepared(realm, catalog, ending, notices=notices)


def _ends(
    house: House,
    realm: Realm,
    occasion: Occasion,
    asked: Asked,
    catalog: Catalog,
) -> Mapping[str, datetime]:
    """When what the lease gives ends; of what it does not give (a draft, say) not even the tag may tell."""
    if asked.media is not Media.LEASE:
        return {}
    until = occasion.at + house.lengths.of(occasion.asker)
    given = {entry.dataset.name: frozenset(entry.actions) for entry in catalog.entries}
    return ends(realm, occasion.asker, asked.wanted, occasion.at, until, given)


def _notices(realm: Realm, occasion: Occasion, asked: Asked, catalog: Catalog) -> Mapping[str, str]:
    """Which of the datasets are deprecated, in words: a run that goes on without the service says so too."""
    if asked.media is not Media.LEASE:
        return {}
    said = ((e.dataset.name, notice(realm, occasion.asker, occasion.at, e.dataset)) for e in catalog.entries)
    return {name: text for name, text in said if text is not None}


def _holds_until(
    house: House, occasion: Occasion, prepared: _Prepared, asked: Asked, listing: Listing
) -> datetime | None:
    """When this would be prepared differently: a decision changes, or its change comes within a lease's length."""
    if asked.media is not Media.LEASE:
        return listing.until
    length: timedelta = house.lengths.of(occasion.asker)
    concerning = prepared.realm.concerning(occasion.asker)
    moments = [listing.until, own_ends_hold_until(prepared.realm, occasion.at)]
    moments += [moment - length for moment in boundaries(concerning, occasion.at + length)]
    if prepared.notices:
        # Whether a successor may be known can hang on what the listing does not ask, such as declaring.
        moments += boundaries(concerning, occasion.at)[:1]
        moments += [occasion.at + UNSTEADY] if any(policy.unsteady for policy in concerning) else []
    return min([moment for moment in moments if moment is not None], default=None)
