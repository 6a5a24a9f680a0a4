"""An auditor asks who read a dataset in some time, under which rules, and whether the record of it is whole.

Told apart are who *was given* it (a lease that named it, or one of a whole catalog, decided again from what was so
then) and who *says* that they used it. The work is bounded, and the answer says what was not looked at. Whoever audits
the dataset's domain alone is told what is said about it; leases of whole catalogs are for those who audit everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from muniment.core.catalog import write_moment
from muniment.core.datasets import Dataset
from muniment.core.environments import checked_known
from muniment.core.figures import EARLIEST
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of, refusal
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.reads import LONGEST, MOST_SPANS, USUAL, Alike, Gave, ReadBy, gave, matters, read_by, spans
from muniment.core.realm import Realm
from muniment.core.subjects import SubjectState
from muniment.core.visibility import may_name
from muniment.flows.house import House, aside
from muniment.store import changes, reads, subjects
from muniment.store.reads import Asked

#: How many datasets are found by words, and how many words are looked for.
MOST_FOUND = 20
_MOST_WORDS = 10


@dataclass(frozen=True, slots=True)
class Readers:
    """Who read it, in which time; ``whole`` says that nothing was left out of the answer.

    ``by_leases`` says whether leases of whole catalogs were looked at, ``decided`` how many that differ, and
    ``undecided`` how many of those could not be decided again: too many revisions, or what they name is gone.
    """

    dataset: str
    since: datetime
    until: datetime
    found: tuple[ReadBy, ...]
    by_leases: bool
    decided: int
    undecided: int
    cut: bool
    revision: int

    @property
    def whole(self) -> bool:
        """Whether nothing was left out of the answer."""
        return self.by_leases and not self.undecided and not self.cut


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
        alike, all_leases = await reads.leases(tx, asked) if reader.everything else ([], True)
        states = await subjects.of_digests(tx, {each.state for each in alike})
    given, undecided = await _given(house, alike, states, dataset)
    found = await aside(lambda: read_by(given, claimed))
    return Readers(
        dataset,
        begin,
        end,
        found,
        by_leases=reader.everything,
        decided=len(alike) - undecided,
        undecided=undecided,
        cut=not (all_claims and all_leases),
        revision=realm.revision,
    )


async def find_audited(house: House, occasion: Occasion, text: str) -> Sequence[Dataset]:
    """The datasets whose readers the asker may ask about and that have all of these words in what is said of them."""
    realm = await house.realms.current()
    words = [word.removesuffix("s") for word in text.lower().split()][:_MOST_WORDS]
    async with house.refusals_recorded(occasion, realm):
        reader = await aside(lambda: reader_of(realm, occasion.asker, occasion.at))
        if not reader.audits:
            raise NotAllowed("To ask who read a dataset you need audit on its domain, or on all.")
    details = {"read": "readers", "search": " ".join(words)}
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return await aside(lambda: list(islice(_having(realm, reader, words), MOST_FOUND)))


def _having(realm: Realm, reader: Reader, words: Sequence[str]) -> Iterator[Dataset]:
    """Those datasets, by name: those first whose names have the words."""
    names = sorted(
        name for name, dataset in realm.datasets.items() if reader.everything or dataset.domain in reader.audited
    )
    named = [name for name in names if _all_in(words, name)]
    yield from (realm.datasets[name] for name in named)
    beside = set(named)
    yield from (realm.datasets[n] for n in names if n not in beside and _all_in(words, _said_of(realm.datasets[n])))


def _said_of(dataset: Dataset) -> str:
    columns = " ".join(column.name for column in dataset.columns)
    return f"{dataset.name} {dataset.description} {' '.join(sorted(dataset.tags))} {columns}".lower()


def _all_in(words: Sequence[str], text: str) -> bool:
    return all(word in text for word in words)


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
    house: House, alike: Sequence[Alike], states: dict[str, SubjectState], dataset: str
) -> tuple[list[Gave], int]:
    """What leases gave of the dataset, and how many that differ could not be decided again.

    Revisions between which nothing changed that matters to the dataset are one: the realm is looked up once for them.
    """
    if not alike:
        return [], 0
    revisions = {each.revision for each in alike}
    async with house.db.begin() as tx:
        mattering = await changes.that_matter(tx, min(revisions), max(revisions), matters(dataset))
    looked_at = spans(revisions, mattering)[:MOST_SPANS]
    found: list[Gave] = []
    decided = 0
    for span in looked_at:
        here = [each for each in alike if each.revision in span and each.state in states]
        decided += len(here)
        there = await house.realms.at(span[0])
        found += await aside(partial(_gave, there, here, states, dataset))
    return found, len(alike) - decided


def _gave(there: Realm, alike: Sequence[Alike], states: dict[str, SubjectState], dataset: str) -> list[Gave]:
    found = (gave(there, states[each.state], each, dataset) for each in alike)
    return [each for each in found if each is not None]
