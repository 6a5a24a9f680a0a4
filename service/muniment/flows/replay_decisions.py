"""An auditor has decisions computed again, one or all of a time, and compared with what the ledger says was given.

Anybody may do so with the rows about themselves. What is computed is compared whole; what
of it is told is cut to the datasets that the asker may know of today.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from muniment.core.ledger import Event, Outcome, Question, Row, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotFound
from muniment.core.realm import Realm
from muniment.core.replays import Judged, Replayed, flaw_of, holds_decision, reader_of, recorded, replay, state_of
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find_each, known, may_govern
from muniment.flows.house import House, aside
from muniment.store import ledger, subjects
from muniment.store.databases import Database
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
    """Where the realms and the subject states are found that rows name; the ones of the row before are held."""

    db: Database
    realms: Realms
    _states: OrderedDict[str, SubjectState] = field(default_factory=OrderedDict)
    _last: list[Realm] = field(default_factory=list)

    async def replayed(self, row: Row) -> Replayed:
        """A row's decision, computed again; with the reason where that cannot be done."""
        flaw = flaw_of(row)
        if flaw is None:
            try:
                return await self._replayed(row)
            except Invalid as refused:
                flaw = refused.detail
            except (ValueError, KeyError):
                flaw = "The row holds what no decision was ever recorded with."
        return Replayed(row, None, fault=flaw)

    async def _replayed(self, row: Row) -> Replayed:
        realm = await self._realm(row.revision or 0)
        reading = reader_of(row)
        reader = None if reading is None else await self._realm(reading)
        about, asker = await self._state(state_of(row)), await self._state(row.subject_state)
        if about is None or asker is None:
            return Replayed(row, None, fault="The subject state that the row names is not kept.")
        if str(asker.subject) != row.subject or about.digest != state_of(row) or asker.digest != row.subject_state:
            return Replayed(row, None, fault="The subject state that the row names is not that of its subject.")
        return await aside(lambda: replay(recorded(row, realm, about, reader, asker)))

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
        message = f"This row ({found.event}) holds no decision that could be computed again."
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
            rows, after = await ledger.reading(tx, question, limit=_AT_ONCE, after=after)
        for each in rows:
            if holds_decision(each):
                yield await archive.replayed(each)
        if after is None:
            return


def _cut(realm: Realm, occasion: Occasion, replayed: Replayed) -> Iterable[Judged]:
    """What was decided about datasets that the asker may know of today."""
    asker, at = occasion.asker, occasion.at
    names = {each.dataset for each in replayed.judged}
    declared = names & realm.datasets.keys()
    may_know = set(known(realm, asker, at, realm.environment_names, declared))
    others = sorted(names - may_know)
    may_know.update(name for name, dataset in find_each(realm, asker, at, others).items() if dataset is not None)
    return (each for each in replayed.judged if each.dataset in may_know)
