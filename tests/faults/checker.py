"""Reads a history afterwards and says every way in which it breaks what was promised.

Nothing here is the service's own judgement: the answers are held against the ledger's rows and the lines of versions
as they stand in Postgres, and what somebody may do at a revision is asked of Cedar, dataset by dataset
(``tests/core/oracle.py``). Promised is:

1. Every answer that somebody received has its row in the ledger, once, and the row says what was given.
2. No row stands twice.
3. No answer breaks a rule that was acknowledged before its request began; and what was acknowledged stands.
4. Whatever fails, fails as a problem 503 or as no answer, while a fault lasts and some seconds afterwards; then it goes
   on without a hand.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from tests.faults.history import Asked, Changed, Fault, Given, History

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the ledger, as much of it as an answer can be held against."""

    id: str
    event: str
    subject: str
    environment: str | None
    revision: int | None
    receipt: str
    request: str
    decided_sha256: str | None
    body_sha256: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What Cedar lets somebody do at a revision, and the digest by which a row must hold that."""

    given: Given
    decided_sha256: str


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    kind: str
    words: str


@dataclass(frozen=True)
class Evidence:
    """What a history is held against.

    ``expected`` says what a subject may be given by an event, in an environment, at a revision. ``lines`` holds what
    stands at each revision that changed a thing: kind, key and body by the revision's number.
    """

    rows: Sequence[Recorded]
    expected: Callable[[str, str, str, int], Expected]
    lines: Mapping[int, tuple[str, str, Mapping[str, Any] | None]]


def violations(history: History, evidence: Evidence, *, heals: float) -> list[Violation]:
    """Every broken promise; ``heals`` is how many seconds after a fault everybody is answered again."""
    return [
        *_doubled(evidence.rows),
        *_unrecorded(history.asked, evidence.rows),
        *_misrecorded(history, evidence),
        *_stale(history),
        *_wrong(history, evidence),
        *_forgotten(history.changed, evidence),
        *_failing(history, int(heals * _SECOND)),
    ]


def _doubled(rows: Iterable[Recorded]) -> Iterator[Violation]:
    """A row that stands twice, or a request that was recorded twice."""
    for name in ("id", "request", "receipt"):
        counted = Counter(getattr(row, name) for row in rows)
        for value, times in counted.items():
            if value and times > 1:
                yield Violation("doubled", f"{times} rows have the {name} {value}.")


def _unrecorded(asked: Iterable[Asked], rows: Iterable[Recorded]) -> Iterator[Violation]:
    receipts = {row.receipt for row in rows}
    told: Counter[str] = Counter()
    for answer in asked:
        if answer.answered:
            told[answer.receipt] += 1
            if answer.receipt not in receipts:
                yield Violation("unrecorded", f"{_named(answer)} has no row with its receipt {answer.receipt!r}.")
    for receipt, times in told.items():
        if times > 1:
            yield Violation("doubled", f"{times} answers have the receipt {receipt!r}.")


def _misrecorded(history: History, evidence: Evidence) -> Iterator[Violation]:
    """A row that says another thing than its answer."""
    rows = {row.receipt: row for row in evidence.rows}
    bodies = _bodies(history.asked)
    for answer in history.asked:
        row = rows.get(answer.receipt)
        if not answer.answered or row is None:
            continue
        said = (row.event, row.subject, row.environment, row.revision)
        given = (answer.event, answer.who, answer.environment, answer.revision)
        if said != given:
            yield Violation("misrecorded", f"{_named(answer)} was {given}, and its row says {said}.")
        body = answer.body or bodies.get(_place(answer))
        if row.body_sha256 is not None and row.body_sha256 != body:
            words = f"{_named(answer)} had the body {body}, and its row says {row.body_sha256}."
            yield Violation("misrecorded", words)
        decided = evidence.expected(answer.who, answer.event, answer.environment, answer.revision).decided_sha256
        if row.decided_sha256 != decided:
            words = f"Cedar decides {decided} for {_named(answer)}, and its row says {row.decided_sha256}."
            yield Violation("misrecorded", words)


def _stale(history: History) -> Iterator[Violation]:
    """An answer by a revision from before one that was acknowledged when its request began."""
    acknowledged = sorted((change.ended, change.revision) for change in history.changed if change.acknowledged)
    moments = [ended for ended, _ in acknowledged]
    newest = [0, *accumulate((revision for _, revision in acknowledged), max)]
    for answer in history.asked:
        least = newest[bisect_left(moments, answer.began)]
        if answer.answered and answer.revision < least:
            yield Violation("stale", f"{_named(answer)} is by revision {answer.revision}, after {least} was made.")


def _wrong(history: History, evidence: Evidence) -> Iterator[Violation]:
    """An answer that gives another thing than Cedar would at the revision that it names, or by a tag of two bodies."""
    bodies = _bodies(history.asked)
    for answer in history.asked:
        if answer.status == 200 and answer.body != bodies[_place(answer)]:
            yield Violation("wrong", f"{_named(answer)} has the tag {answer.tag} of another body.")
    for answer in history.asked:
        if not answer.answered:
            continue
        # What was received; of an answer that says to go on with what one has, what was received under its tag.
        given = history.given.get(answer.body or bodies.get(_place(answer), ""))
        if given is None:
            yield Violation("wrong", f"{_named(answer)} has the tag {answer.tag} of a body that nobody received.")
            continue
        due = evidence.expected(answer.who, answer.event, answer.environment, answer.revision).given
        if given != due:
            differing = sorted(name for name in {*given, *due} if given.get(name) != due.get(name))
            yield Violation("wrong", f"{_named(answer)} at revision {answer.revision} differs on {differing}.")


def _forgotten(changed: Iterable[Changed], evidence: Evidence) -> Iterator[Violation]:
    """A change that was acknowledged and does not stand where it was said to, or not as it was sent."""
    for change in changed:
        if not change.acknowledged:
            continue
        found = evidence.lines.get(change.revision)
        if found is None:
            yield Violation("forgotten", f"{change.key} was made at revision {change.revision}, which nobody finds.")
        elif not _stands(change, found):
            words = f"{change.key} stands at revision {change.revision} as {found}, and was sent as {change.body}."
            yield Violation("forgotten", words)


#: What tells one change of a thing from every other, and is kept to the letter.
_TELLING: Mapping[str, tuple[str, ...]] = {"policy": ("cedar", "reason"), "grant": ("because",)}


def _stands(change: Changed, found: tuple[str, str, Mapping[str, Any] | None]) -> bool:
    kind, key, body = found
    if (kind, key) != (change.kind, change.key) or body is None or change.body is None:
        return (kind, key, body) == (change.kind, change.key, change.body)
    return all(body.get(name) == change.body.get(name) for name in _TELLING[kind])


def _failing(history: History, heals: int) -> Iterator[Violation]:
    """What failed without a fault, longer than a fault allows, or in another way than it may."""
    faults = sorted(history.faults, key=lambda fault: fault.began)
    told: list[Asked | Changed] = [*history.asked, *history.changed]
    for each in told:
        if each.answered if isinstance(each, Asked) else each.acknowledged:
            continue
        if each.status not in {0, 503}:
            yield Violation("failed", f"{_named(each)} was answered {each.status} {each.problem}.")
        elif each.status == 503 and not each.problem:
            yield Violation("failed", f"{_named(each)} was answered 503 without a problem in words.")
        elif not any(fault.began <= each.ended and each.began <= fault.ended + heals for fault in faults):
            yield Violation("not healed", f"{_named(each)} failed ({each.status} {each.lost}{each.problem}) unhurt.")
    served = [answer.ended for answer in history.asked if answer.answered]
    for fault in faults:
        if not any(fault.ended < moment <= fault.ended + heals for moment in served):
            yield Violation("not healed", f"Nobody was answered in {heals / _SECOND:.0f} s after {fault.name}.")


def gaps(history: History) -> dict[str, list[float]]:
    """How many seconds after the end of each fault the first request was answered that had begun after it."""
    served = sorted((answer.began, answer.ended) for answer in history.asked if answer.answered)
    found: dict[str, list[float]] = defaultdict(list)
    for fault in history.faults:
        after = [ended for began, ended in served[bisect_left(served, (fault.ended, 0)) :]]
        found[fault.name].append((min(after, default=fault.ended) - fault.ended) / _SECOND)
    return dict(found)


def expected_of(decided: Given, versions: Mapping[str, int], *, lease: bool) -> Expected:
    """What is expected of what was decided, with the digest that a row must hold of it; a catalog tells names alone.

    SHA-256 over canonical ``[[name, version, actions, obligations, source], …]`` and the versions of variables, of
    which there are none here; of a lease over that digest and its patterns, of which there are none either.
    """
    lines = [[name, versions[name], [*actions], [], name] for name, actions in sorted(decided.items())]
    catalog = hashlib.sha256(orjson.dumps([lines, [], []])).hexdigest()
    digest = hashlib.sha256(orjson.dumps([catalog, []])).hexdigest() if lease else catalog
    return Expected({name: actions if lease else () for name, actions in decided.items()}, digest)


def _bodies(asked: Iterable[Asked]) -> dict[tuple[str, str, str, str], str]:
    """The digest of the body behind each tag, which somebody received once."""
    return {_place(answer): answer.body for answer in asked if answer.status == 200}


def _place(answer: Asked) -> tuple[str, str, str, str]:
    return answer.who, answer.event, answer.environment, answer.tag


def _named(told: Asked | Changed | Fault) -> str:
    moment = f"{told.began / _SECOND:.3f} s"
    match told:
        case Asked():
            return f"{told.event} for {told.who} in {told.environment} at {moment}"
        case Changed():
            return f"the change of {told.key} at {moment}"
        case Fault():
            return f"{told.name} at {moment}"
