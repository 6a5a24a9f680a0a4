"""Decisions computed again from what the ledger recorded, to be compared with what was given then.

A decision is a pure function of a revision, a subject state and a request, and a row of the
ledger holds all three. What was decided has a digest in the row; the same evaluator must
come to the same digest, however much has changed since. A row that was tampered with does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from muniment.core.catalog import Catalog
from muniment.core.decisions import EVALUATOR, Decision, Wanted, decide_each
from muniment.core.explanations import in_force
from muniment.core.ledger import Event, Row
from muniment.core.past import Standpoint, catalog_from, told
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find_each, withheld

#: The events whose rows hold a decision; those of ``access.denied`` do when a run was denied.
_DECISIONS = frozenset(
    {
        Event.CATALOG_SERVED,
        Event.LEASE_SERVED,
        Event.PREFLIGHT_ALLOWED,
        Event.ACCESS_DENIED,
        Event.ACCESS_EXPLAINED,
    }
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided about one action on one dataset; ``known`` is false where nothing may be said.

    ``version`` is the dataset's in a catalog, which gives its definition.
    """

    dataset: str
    action: Action
    known: bool
    allowed: bool
    because: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a row recorded of a decision, and from where it was made.

    ``there`` is the standpoint of the decision; ``reader`` the one by which it was cut to
    what might be told, where that was another.
    """

    row: Row
    there: Standpoint
    reader: Standpoint | None = None

    @property
    def wanted(self) -> Wanted:
        """What was asked about."""
        return Wanted(self.row.environment or "", self.row.project, self.row.purpose)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision computed again. ``fault`` says why it could not be, where it could not."""

    row: Row
    computed: str | None
    judged: tuple[Judged, ...] = ()
    fault: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the decision is the one that was recorded."""
        return self.computed is not None and self.computed == self.row.decided_sha256

    @property
    def same_evaluator(self) -> bool:
        """Whether the evaluator of today is the one that decided."""
        return self.row.evaluator == EVALUATOR


def digest(judged: Iterable[Judged]) -> str:
    """SHA-256 (hex) over canonical ``[name, action, known, allowed, because]``, sorted, each once.

    Obligations that stand in the way are what such a denial is because of.
    """
    lines = {(each.dataset, each.action.value, each.known, each.allowed, each.because) for each in judged}
    return hashlib.sha256(orjson.dumps(sorted(lines))).hexdigest()


def judged(dataset: str, action: Action, decision: Decision, *, allowed: bool) -> Judged:
    """A decision on a dataset that may be known; ``allowed`` is false also for what is permitted and not served."""
    return Judged(
        dataset, action, known=True, allowed=allowed, because=decision.because, obligations=decision.obligations
    )


def holds_decision(row: Row) -> bool:
    """Whether a row tells of a decision that can be computed again; a refusal of something else is none."""
    return row.event in _DECISIONS and "problem" not in row.details


def flaw_of(row: Row) -> str | None:
    """What a row of a decision lacks to be computed again, if anything."""
    if row.revision is None or row.environment is None:
        return "The row does not say what was asked."
    if row.decided_sha256 is None:
        return "The row holds no digest of what was decided."
    return None


def replay(recorded: Recorded) -> Replayed:
    """Compute a recorded decision again."""
    row = recorded.row
    match row.event:
        case Event.CATALOG_SERVED | Event.LEASE_SERVED:
            catalog = _catalog(recorded)
            return Replayed(row, catalog.sha256, tuple(_given(catalog)))
        case Event.ACCESS_EXPLAINED:
            found = tuple(_explained(recorded))
        case _:
            found = tuple(_preflighted(recorded))
    return Replayed(row, digest(found), found)


def _catalog(recorded: Recorded) -> Catalog:
    row, there = recorded.row, recorded.there
    whole = not row.datasets and "named" not in row.details
    catalog = catalog_from(there, recorded.wanted, None if whole else row.datasets)
    if recorded.reader is None:
        return catalog
    own = there.asker.subject == recorded.reader.asker.subject
    return told(catalog, there.realm, recorded.reader, own=own)


def _given(catalog: Catalog) -> Iterable[Judged]:
    for entry in catalog.entries:
        for action in entry.actions:
            yield Judged(
                entry.dataset.name,
                action,
                known=True,
                allowed=True,
                obligations=entry.obligations,
                version=entry.dataset.version,
            )


def _explained(recorded: Recorded) -> Iterable[Judged]:
    there, wanted = recorded.there, recorded.wanted
    action = Action(str(recorded.row.details.get("action")))
    for name in recorded.row.datasets:
        dataset = there.realm.resolve(name)
        if dataset is None:
            yield Judged(name, action, known=False, allowed=False)
            continue
        (decided,) = decide_each(there.realm, there.asker, wanted, there.at, [dataset])
        decision = in_force(decided, action)
        allowed = decision.allowed and not withheld(there.realm, there.asker, there.at, dataset, wanted, action)
        yield judged(name, action, decision, allowed=allowed)


def _preflighted(recorded: Recorded) -> Iterable[Judged]:
    there, wanted = recorded.there, recorded.wanted
    realm, asker, at = there.realm, there.asker, there.at
    asked = [(name, action) for action in (Action.LOAD, Action.SAVE) for name in _names(recorded.row, action)]
    known = find_each(realm, asker, at, {name: None for name, _ in asked}, wanted)
    datasets = [dataset for dataset in known.values() if dataset is not None]
    decided = dict(zip((d.name for d in datasets), decide_each(realm, asker, wanted, at, datasets), strict=True))
    for name, action in asked:
        dataset = known[name]
        if dataset is None:
            yield Judged(name, action, known=False, allowed=False)
            continue
        decision = in_force(decided[name], action)
        allowed = decision.allowed and not withheld(realm, asker, at, dataset, wanted, action)
        yield judged(name, action, decision, allowed=allowed)


def _names(row: Row, action: Action) -> Sequence[str]:
    """What a run was to load, or to save."""
    names = row.details.get(action.value)
    return [str(name) for name in names] if isinstance(names, list) else []


def moment_of(row: Row) -> datetime:
    """The moment from which a row's decision was made: the row's own, or the past one that was asked about."""
    at = row.details.get("at")
    return datetime.fromisoformat(at) if isinstance(at, str) else row.at


def state_of(row: Row) -> str:
    """The digest of the subject state that a row's decision was made about."""
    about = row.details.get("about_state")
    return about if isinstance(about, str) else row.subject_state


def reader_of(row: Row) -> int | None:
    """The revision by which it was decided what of a past decision might be told; nothing where all was."""
    read_at = row.details.get("read_at")
    return read_at if isinstance(read_at, int) else None


def recorded(row: Row, realm: Realm, about: SubjectState, reader: Realm | None, asker: SubjectState) -> Recorded:
    """A row with the realms and the subject states that it names."""
    there = Standpoint(realm, about, moment_of(row))
    return Recorded(row, there, None if reader is None else Standpoint(reader, asker, row.at))
