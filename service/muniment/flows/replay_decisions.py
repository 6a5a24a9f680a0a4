"""An auditor has decisions computed again, one or all of a time, and compared with what the ledger says was given.

Anybody may do so with the rows about themselves. What is computed is compared whole; what
of it is told is cut to the datasets that the asker may know of today.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from muniment.core.judgements import Judged
from muniment.core.ledger import Event, Outcome, Question, Row, row
from muniment.core.names import ROOT, domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversight
from muniment.core.problems import Fault, Invalid, NotFound, Problem, Unavailable
from muniment.core.realm import Realm
from muniment.core.replays import (
    NO_DECISIONS,
    Beside,
    Replayed,
    asks_about_all,
    flaw_of,
    holds_decision,
    moment_of,
    reader_of,
    recorded,
    replay,
    request_of,
    revision_of,
    state_of,
    states_of,
    until_of,
)
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each, known, may_govern, roles
from muniment.flows.house import House, aside
from muniment.store import ledger, requests, subjects
from muniment.store.databases import Database, Transaction
from muniment.store.realms import Realms

#: How many rows are read at once, and how many subject states are held.
_AT_ONCE = 1000
_MOST_STATES = 10_000


@dataclass(frozen=True, slots=True)
class Told:
    """A decision computed again, as much of it as the asker may be told."""

    replayed: Replayed
    judged: tuple[Judged, ...]
    revision: int


@dataclass(frozen=True)
class Archive:
    """Where the realms and the subject states are found that rows name; the ones of the row before are held.

    ``doubt`` is for how long around a search it is uncertain who was known to it: as long as a
    request may be under way.
    """

    db: Database
    realms: Realms
    doubt: timedelta = timedelta(seconds=30)
    _states: OrderedDict[str, SubjectState] = field(default_factory=OrderedDict)
    _last: list[Realm] = field(default_factory=list)

    async def replayed(self, row: Row) -> Replayed:
        """A row's decision, computed again; with the reason where that cannot be done."""
        flaw = flaw_of(row)
        if flaw is None:
            try:
                return await self._replayed(row)
            except Unavailable:
                raise
            except Problem as refused:
                flaw = refused.detail
            except (ValueError, LookupError):
                flaw = "The row holds what no decision was ever recorded with."
        return Replayed(row, None, fault=flaw)

    async def _replayed(self, row: Row) -> Replayed:
        realm = await self._realm(revision_of(row))
        reading = reader_of(row)
        reader = None if reading is None else await self._realm(reading)
        about, asker = await self._state(state_of(row)), await self._state(row.subject_state)
        if about is None or asker is None:
            return Replayed(row, None, fault="The subject state that the row names is not kept.")
        if str(asker.subject) != row.subject or about.digest != state_of(row) or asker.digest != row.subject_state:
            return Replayed(row, None, fault="The subject state that the row names is not that of its subject.")
        beside = await self._beside(row)
        return await aside(lambda: replay(recorded(row, realm, about, reader, asker, beside)))

    async def _beside(self, row: Row) -> Beside:
        """What the decision was made about beside its realm and its subject."""
        request, named = request_of(row), states_of(row)
        async with self.db.begin() as tx:
            return Beside(
                await subjects.of_digests(tx, named) if named else {},
                await self._known(tx, row) if asks_about_all(row) else (),
                await requests.of_version(tx, *request) if request else None,
            )

    async def _known(self, tx: Transaction, row: Row) -> Sequence[SubjectState]:
        """All of whom it is certain in which state they were when a row's decision was made about everybody.

        What was written while that was under way may have been seen by it or not: whoever was
        in another state shortly before or after is left out.
        """
        then = await _states_at(tx, until_of(row))
        if moment_of(row) < until_of(row):
            then |= await _states_at(tx, moment_of(row))
        if until_of(row) + self.doubt > row.at:
            early, late = await _states_at(tx, row.at - self.doubt), await _states_at(tx, row.at + self.doubt)
            then = {name: state for name, state in then.items() if early.get(name) == late.get(name) == state}
        return list(then.values())

    async def _realm(self, revision: int) -> Realm:
        held = next((realm for realm in self._last if realm.revision == revision), None)
        if held is None:
            held = await self.realms.at(revision)
            self._last[:] = [held, *self._last[:1]]
        return held

    async def _state(self, digest: str) -> SubjectState | None:
        if digest not in self._states:
            async with self.db.begin() as tx:
                found = await subjects.of_digest(tx, digest)
            if found is None:
                return None
            self._states[digest] = found
            if len(self._states) > _MOST_STATES:
                self._states.popitem(last=False)
        return self._states[digest]


async def _states_at(tx: Transaction, moment: datetime) -> dict[Subject, SubjectState]:
    return {known.state.subject: known.state for known in await subjects.newest_at(tx, moment)}


async def replay_decision(house: House, occasion: Occasion, id_: UUID) -> Told:
    """The decision of one row, computed again; that it was asked for is written down."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        audits = await aside(lambda: may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, ROOT))
        async with house.db.begin() as tx:
            found = await ledger.of_id(tx, id_)
        if found is None or not (audits or found.subject == str(occasion.subject)):
            raise NotFound
    if not holds_decision(found):
        why = NO_DECISIONS.get(found.event, "It tells of a refusal, and not of what was asked.")
        message = f"This row ({found.event}) holds no decision that could be computed again. {why}"
        raise Invalid(message, [Fault("id", message)])
    replayed = await Archive(house.db, house.realms).replayed(found)
    told = replayed.judged
    if not audits:
        told = await aside(lambda: tuple(_cut(realm, occasion, replayed)))
    await house.ledger.record(
        row(
            occasion,
            Event.DECISION_REPLAYED,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={"id": str(id_), "equal": replayed.equal},
        )
    )
    return Told(replayed, told, realm.revision)


async def replay_all(archive: Archive, question: Question) -> AsyncIterator[Replayed]:
    """Every decision that the ledger holds for a question, computed again, the newest first."""
    after: str | None = None
    while True:
        async with archive.db.begin() as tx:
            page = await ledger.reading(tx, question, limit=_AT_ONCE, after=after)
        for each in page.rows:
            if holds_decision(each):
                yield await archive.replayed(each)
        after = page.following
        if after is None:
            return


def _cut(realm: Realm, occasion: Occasion, replayed: Replayed) -> Iterable[Judged]:
    """What was decided about what the asker may know of today: of others, where they may ask about others."""
    asker, at, judged = occasion.asker, occasion.at, replayed.judged
    names = {each.dataset for each in judged if not each.on_domain}
    declared = names & realm.datasets.keys()
    may_know = set(known(realm, asker, at, realm.environment_names, declared))
    others = sorted(names - may_know)
    may_know.update(name for name, dataset in find_each(realm, asker, at, others).items() if dataset is not None)
    governed = roles(realm, asker, at).keys() if len(names) < len(judged) else frozenset()
    about = replayed.row.details.get("about") or replayed.row.subject
    of_others = [each for each in judged if (each.about or about) != str(occasion.subject)]
    places = oversight(realm, asker, at, map(_domain, of_others))
    return (
        each
        for each in judged
        if (each.dataset in (governed if each.on_domain else may_know))
        and ((each.about or about) == str(occasion.subject) or places.covers(_domain(each)))
    )


def _domain(each: Judged) -> str:
    return each.dataset if each.on_domain else domain_of(each.dataset)
