"""A project, a person or a script fetches the catalog that is theirs.

The ledger row is durable before the text leaves this flow: a catalog that nobody can
account for is not served. A lease is the same catalog with what may be done to each
dataset and until when, and a signature over all of it. Leases are for now; a catalog can be fetched as it was, and that
of somebody else by those who audit.

What was given can be given again (:class:`Again`), as long as it would be decided as it was:
all of it but its time, its receipt and its signature is ready then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from muniment.core import catalog as catalogs
from muniment.core.catalog import Catalog, Page
from muniment.core.codings import Body
from muniment.core.datasets import Lifecycle
from muniment.core.decisions import EVALUATOR, UNSTEADY, Listing, Wanted, boundaries, holding
from muniment.core.environments import checked_known
from muniment.core.footing import Footing
from muniment.core.identifiers import Texts
from muniment.core.judgements import digest_of_lease
from muniment.core.keys import check_speaks_for_itself
from muniment.core.leases import Length, Statement, ends, own_ends_hold_until
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.moments import write_moment
from muniment.core.occasions import Occasion
from muniment.core.past import Standpoint, catalog_from, catalog_of_names, told
from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import audits_somewhere, notice
from muniment.flows.house import House, Lane, aside
from muniment.flows.past import Point, placed
from muniment.identity.signing import Signer
from muniment.store.committer import Committer, Stencil
from muniment.store.present import Now

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
    page: Page | None = None

    @property
    def of_now(self) -> bool:
        """Whether the asker's own catalog of this moment is asked for."""
        return self.about is None and self.point is None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer: its text, or nothing when the caller holds it already; of a lease, the signed statement of it.

    ``again`` is what it takes to give it again, if that can be done. Of a page, ``following`` is the name after which
    the next one begins.
    """

    body: bytes | None
    tag: str
    revision: int
    receipt: UUID
    entries: int
    lease: str | None = None
    again: Again | None = None
    following: str | None = None


@dataclass(frozen=True, slots=True)
class _Lease:
    """What makes a catalog a lease: the statement that is signed of it, and how long it holds."""

    statement: Statement
    length: Length

    def ends(self, at: datetime) -> str:
        """What the ledger keeps of its end, as the first of a row's details."""
        return f'"until":"{write_moment(self.length.end(at))}",'

    def signed(self, signer: Signer, at: datetime, receipt: str, revision: int) -> bytes:
        return signer.sealed(self.statement.claims(at, self.length.end(at), receipt, revision), at)


@dataclass(frozen=True, slots=True)
class Again:
    """An answer that was given once, to be given again to whoever asks the same in the same way.

    It holds from ``since`` until ``until``, at the revision of the realm and the version of the
    roster that are ``present``: :meth:`record` writes a row only where those are so still. It stands on a ``footing``
    that may bear it at later revisions, too (:meth:`carried`).
    """

    present: Now
    since: datetime
    until: datetime | None
    tag: str
    _stencil: Stencil
    _lease: _Lease | None
    _footing: Footing

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 1024 + self._stencil.size + self._footing.size

    def carried(self, realm: Realm, roster: int) -> Again | None:
        """The same answer at another revision; None where it may be another one there, or its asker is not the same."""
        if roster != self.present.roster or not self._footing.bears_in(realm):
            return None
        present = Now(realm.revision, roster)
        return replace(self, present=present, _stencil=self._stencil.at(present))

    def holds(self, at: datetime) -> bool:
        """Whether it would be decided so at a moment, as far as time has a say."""
        return self.since <= at and (self.until is None or at < self.until)

    def record(self, ledger: Committer, at: datetime, ids: Texts) -> asyncio.Future[Now]:
        """Have it written down that it is given; it may be given where what is awaited is what was ``present``."""
        further = "" if self._lease is None else self._lease.ends(at)
        request_id, receipt, row_id = ids
        text = self._stencil.filled(at.isoformat(), row_id, request_id, receipt, further)
        return ledger.submit(at, text)

    def signed(self, signer: Signer, at: datetime, receipt: str) -> bytes | None:
        """Of a lease, its signed statement; not to be given before it is written down."""
        return None if self._lease is None else self._lease.signed(signer, at, receipt, self.present.revision)


#: What a row's details call the end of a lease.
_END: Final = "until"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is given, before it is written out: a function of the realm, the asker and the question."""

    realm: Realm
    catalog: Catalog
    ends: Mapping[str, datetime]
    patterns: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)
    notices: Mapping[str, str] = field(default_factory=dict)
    footing: Footing | None = None
    from_where: Mapping[str, object] = field(default_factory=dict)
    until: datetime | None = None

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
    whole, following = prepared, None
    if asked.page is not None:
        part, following = catalogs.page_of(prepared.realm, prepared.catalog, asked.page)
        prepared = replace(prepared, catalog=part)
    tag = prepared.tag(asked)
    unchanged = tag in asked.known or "*" in asked.known
    body = None if unchanged else await _body(house, prepared, asked, tag)
    lease = await _lease(house, occasion, prepared, asked, tag) if asked.media is Media.LEASE else None
    given = row(
        occasion,
        Event.CATALOG_SERVED if lease is None else Event.LEASE_SERVED,
        Outcome.ALLOWED,
        revision=prepared.realm.revision,
        environment=asked.wanted.environment,
        project=asked.wanted.project,
        purpose=asked.wanted.purpose,
        datasets=asked.names or (),
        # What was decided is the whole, of which a page is given.
        decided_sha256=whole.decided_sha256(asked),
        evaluator=EVALUATOR,
        details={
            "entries": len(prepared.catalog.entries),
            "unchanged": unchanged,
            **({} if lease is None else _written_down(lease, occasion.at, prepared)),
            **({} if asked.names is None else _named(asked.names, whole)),
            **({} if asked.page is None else _paged(asked.page, asked.names, whole)),
            **prepared.from_where,
        },
    )
    await house.ledger.record(given)
    return Fetched(
        None if body is None else body.encoded,
        tag,
        prepared.realm.revision,
        receipt,
        len(prepared.catalog.entries),
        None if lease is None else lease.signed(house.signer, occasion.at, str(receipt), realm.revision).decode(),
        _again(occasion, asked, prepared, given, tag, lease),
        following,
    )


def _again(
    occasion: Occasion, asked: Asked, prepared: _Prepared, given: Row, tag: str, lease: _Lease | None
) -> Again | None:
    """The same answer for another time; of what was, or what others may use, there is none."""
    if not asked.of_now or occasion.roster is None or prepared.footing is None:
        return None
    lasting = replace(given, details={name: value for name, value in given.details.items() if name != _END})
    present = Now(prepared.realm.revision, occasion.roster)
    stencil = Stencil.of(lasting, present)
    return Again(present, given.at, prepared.until, tag, stencil, lease, prepared.footing)


def _named(names: tuple[str, ...], prepared: _Prepared) -> Mapping[str, object]:
    """What the ledger keeps of names that were asked for: how many, and which of them were not given."""
    withheld = [*set(names).difference(prepared.catalog.names)]
    return {"named": len(names), **({"withheld": sorted(withheld)} if withheld else {})}


def _paged(page: Page, names: Collection[str] | None, whole: _Prepared) -> Mapping[str, object]:
    """What the ledger keeps of a page: which, and of how many entries.

    A row about some names tells of no other: whoever audits where those lie reads it.
    """
    after = page.after if names is None or page.after in names else ""
    return {"page": {"after": after, "limit": page.limit, "of": len(whole.catalog.entries)}}


async def _body(house: House, prepared: _Prepared, asked: Asked, tag: str) -> Body:
    """The text in its coding; equal tags mean equal bytes, so it is encoded once."""
    body = house.bodies.get(tag)
    if body is None:
        body = await aside(lambda: Body.of(prepared.text(asked), asked.coding), Lane.CATALOGS)
        house.bodies.put(tag, body)
        house.digests.put(tag, body.sha256)
    return body


async def _lease(house: House, occasion: Occasion, prepared: _Prepared, asked: Asked, tag: str) -> _Lease:
    """What is signed of a lease; of an unchanged one it is enough to know the digest of its body."""
    sha256 = house.digests.get(tag) or (await _body(house, prepared, asked, tag)).sha256
    statement = Statement(
        issuer=house.signer.issuer,
        subject=occasion.subject,
        wanted=asked.wanted,
        names=asked.names,
        sha256=sha256,
    )
    return _Lease(statement, house.lengths.to(occasion))


def _written_down(lease: _Lease, at: datetime, prepared: _Prepared) -> Mapping[str, object]:
    """What the ledger keeps of a lease: until when it holds, and what proves later which body it was."""
    return {
        "patterns": len(prepared.patterns),
        _END: write_moment(lease.length.end(at)),
        "body_sha256": lease.statement.body_sha256,
    }


async def _prepared(house: House, realm: Realm, occasion: Occasion, asked: Asked) -> _Prepared:
    checked_known([asked.wanted.environment], realm.environment_names)
    _check_number(asked)
    if asked.names is not None:
        names = asked.names
        return await aside(lambda: _of_names(house, realm, occasion, asked, names), Lane.CATALOGS)
    listing = await house.listing(realm, occasion, asked.wanted)
    key = (occasion.asker.digest, asked.wanted, asked.media is Media.LEASE)
    known = house.prepared.get(realm.revision, key, occasion.at)
    if isinstance(known, _Prepared):
        return known
    prepared = await aside(lambda: _of_all(house, realm, occasion, asked, listing), Lane.CATALOGS)
    weight = 1 + len(prepared.catalog.entries)
    house.prepared.put(realm.revision, key, prepared, prepared.until, weight, since=listing.since)
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
    footing = Footing.of(realm, occasion.asker)
    prepared = _Prepared(realm, catalog, ending, patterns, notices, footing)
    return replace(prepared, until=_holds_until(house, occasion, prepared, footing, asked, listing.until))


def _of_names(house: House, realm: Realm, occasion: Occasion, asked: Asked, names: tuple[str, ...]) -> _Prepared:
    """Only these names, those that factory patterns make included; what is hidden is as if not asked for."""
    catalog = catalog_of_names(Standpoint(realm, occasion.asker, occasion.at), asked.wanted, names)
    ending, notices = _ends(house, realm, occasion, asked, catalog), _notices(realm, occasion, asked, catalog)
    footing = Footing.of(realm, occasion.asker)
    prepared = _Prepared(realm, catalog, ending, notices=notices, footing=footing)
    _, until = holding(realm, occasion.asker, occasion.at)
    return replace(prepared, until=_holds_until(house, occasion, prepared, footing, asked, until))


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
    return ends(realm, occasion.asker, asked.wanted, occasion.at, until, catalog.by_actions(frozenset))


def _notices(realm: Realm, occasion: Occasion, asked: Asked, catalog: Catalog) -> Mapping[str, str]:
    """Which of the datasets are deprecated, in words: a run that goes on without the service says so too."""
    if asked.media is not Media.LEASE:
        return {}
    deprecated = Lifecycle.DEPRECATED  # asked for once: an enumeration takes longer to give it than a dataset
    found = [entry.dataset for entry in catalog.entries if entry.dataset.lifecycle is deprecated]
    said = ((each.name, notice(realm, occasion.asker, occasion.at, each)) for each in found)
    return {name: text for name, text in said if text is not None}


def _holds_until(
    house: House,
    occasion: Occasion,
    prepared: _Prepared,
    footing: Footing,
    asked: Asked,
    decided_until: datetime | None,
) -> datetime | None:
    """When this would be prepared differently: a decision changes, or its change comes within a lease's length."""
    if asked.media is not Media.LEASE:
        return decided_until
    length: timedelta = house.lengths.of(occasion.asker)
    concerning = [rule.policy for rule in footing.rules]
    moments = [decided_until, own_ends_hold_until(prepared.realm, occasion.at)]
    moments += [moment - length for moment in boundaries(concerning, occasion.at + length)]
    if prepared.notices:
        # Whether a successor may be known can hang on what the listing does not ask, such as declaring.
        moments += boundaries(concerning, occasion.at)[:1]
        moments += [occasion.at + UNSTEADY] if any(policy.unsteady for policy in concerning) else []
    return min([moment for moment in moments if moment is not None], default=None)
