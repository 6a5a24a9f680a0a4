"""An auditor asks who read a dataset in some time, under which rules, and whether the record of it is whole.

Told apart are who *was given* it (a lease that named it, or one of a whole catalog, decided again from what was so
then) and who *says* that they used it. The work is bounded; the answer says what was not looked at, and where to go on
(decision 0054). Whoever audits the dataset's domain alone is told what is said about it; leases of whole catalogs are
for those who audit everything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from muniment.core.environments import checked_known
from muniment.core.figures import EARLIEST
from muniment.core.ledger import Event, Outcome, row
from muniment.core.moments import write_moment
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of, refusal
from muniment.core.problems import Fault, Invalid, NotFound
from muniment.core.reads import LONGEST, USUAL, Alike, Gave, Lent, ReadBy, gave, matters, read_by, spans
from muniment.core.realm import Realm
from muniment.core.subjects import SubjectState
from muniment.core.visibility import may_name
from muniment.flows.house import House, aside
from muniment.store import changes, reads, subjects
from muniment.store.reads import Asked

#: How many leases are decided at once, before others have their turn: about a tenth of a second's work.
_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Readers:
    """Who read it, in which time; ``whole`` says that nothing was left out of the answer.

    ``by_leases`` says whether leases of whole catalogs were looked at, ``decided`` how many that differ, and
    ``undecided`` how many of those could not be decided again, since what is known of somebody was erased. ``left`` are
    leases that nobody looked at, the last of them at ``left_until``: whoever asks until then goes on. ``cut`` says that
    there were more reports than are told.
    """

    dataset: str
    since: datetime
    until: datetime
    found: tuple[ReadBy, ...]
    by_leases: bool
    decided: int
    undecided: int
    left: int
    left_until: datetime | None
    cut: bool
    revision: int

    @property
    def whole(self) -> bool:
        """Whether nothing was left out of the answer."""
        return self.by_leases and not (self.undecided or self.left or self.cut)


async def find_readers(
    house: House,
    occasion: Occasion,
    dataset: str,
    since: datetime | None,
    until: datetime | None,
    environment: str | None = None,
) -> Readers:
    """Who was given a dataset in some time and who says they used it, by subject, with the rules that let them."""
    end = min(until or occasion.at, occasion.at)
    begin = since or max(end, EARLIEST) - USUAL
    if begin >= end or end - begin > LONGEST:
        message = f"Ask about a time that has begun, and of at most {LONGEST.days} days."
        raise Invalid(message, [Fault("since", message)])
    realm = await house.realms.current()
    if environment is not None:
        checked_known([environment], realm.environment_names)
    asked = Asked(dataset, begin, end, environment)
    async with house.refusals_recorded(occasion, realm, *([dataset] if may_name(dataset) else [])):
        reader = await aside(lambda: _admitted(realm, occasion, dataset))
    details = {"read": "readers", "dataset": dataset, "since": write_moment(begin), "until": write_moment(end)}
    await house.ledger.record(
        row(
            occasion,
            Event.LEDGER_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            environment=environment,
            details=details,
        )
    )
    async with house.db.begin() as tx:
        claimed, all_claims = await reads.reports(tx, asked)
        revisions = await reads.lent_by(tx, asked) if reader.everything else None
        mattering = await changes.that_matter(tx, *revisions, matters(dataset)) if revisions else []
        lent = await reads.leases(tx, asked, mattering) if revisions else Lent([])
        states = await subjects.of_digests(tx, {each.state for each in lent.alike})
    known = [each for each in lent.alike if each.state in states]
    given = [each async for each in _given(house, known, states, dataset, mattering)]
    found = await aside(lambda: read_by(given, claimed))
    return Readers(
        dataset,
        begin,
        end,
        found,
        by_leases=reader.everything,
        decided=len(known),
        undecided=len(lent.alike) - len(known),
        left=lent.left,
        left_until=lent.left_until,
        cut=not all_claims,
        revision=realm.revision,
    )


def _admitted(realm: Realm, occasion: Occasion, dataset: str) -> Reader:
    """What the asker may read; refused whatever is there, where they do not audit the domain that the name says."""
    if not may_name(dataset):
        raise NotFound
    reader = reader_of(realm, occasion.asker, occasion.at)
    domain = domain_of(dataset)
    if not (reader.everything or domain in reader.audited):
        raise refusal(domain)
    return reader


async def _given(
    house: House, alike: Sequence[Alike], states: Mapping[str, SubjectState], dataset: str, mattering: Sequence[int]
) -> AsyncIterator[Gave]:
    """What leases gave of the dataset, the last ones first.

    Revisions between which nothing changed that matters to the dataset are one: the realm is looked up once for them.
    """
    for span in spans({each.revision for each in alike}, mattering):
        within = frozenset(span)
        here = [each for each in alike if each.revision in within]
        there = await house.realms.at(span[0])
        for begin in range(0, len(here), _AT_ONCE):
            some = here[begin : begin + _AT_ONCE]
            for each in await aside(partial(_gave, there, some, states, dataset)):
                yield each


def _gave(there: Realm, alike: Sequence[Alike], states: Mapping[str, SubjectState], dataset: str) -> list[Gave]:
    found = (gave(there, states[each.state], each, dataset) for each in alike)
    return [each for each in found if each is not None]
